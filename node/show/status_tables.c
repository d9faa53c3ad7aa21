/* cli_status_tables: first what a person must know (who is not well, what is wrong), then the
 * tables. Columns are as wide as what stands in them. */
#include "show/status_tables.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "member/problem_kinds.h"
#include "show/ranking.h"

enum {
    COLUMNS_MAX = 16,
    DIGEST_SHOWN = 8, /* characters: enough to see that two differ */
    GAP = 2,          /* spaces between columns */
};

/* ---- a table ---- */

struct table {
    size_t columns, count, capacity;
    const char *right; /* one character a column: 'r' = to the right, as numbers are */
    char **cells;
};

static void table_begin(struct table *t, const char *right)
{
    *t = (struct table){.columns = strlen(right), .right = right};
}

static void table_add(struct table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void table_add(struct table *t, const char *format, ...)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 64 : 2 * t->capacity;
        t->cells = memory_resize(t->cells, t->capacity * sizeof(*t->cells));
    }
    char *cell = NULL;
    va_list args;
    va_start(args, format);
    bool failed = vasprintf(&cell, format, args) < 0;
    va_end(args);
    t->cells[t->count++] = failed ? NULL : cell;
}

static const char *cell_at(const struct table *t, size_t index)
{
    return t->cells[index] ? t->cells[index] : "";
}

/* In characters: bytes that continue one of UTF-8 take no room. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

static void table_print(FILE *out, struct table *t)
{
    size_t widths[COLUMNS_MAX] = {0};
    for (size_t i = 0; i < t->count; i++) {
        size_t width = width_of(cell_at(t, i)), *widest = &widths[i % t->columns];
        *widest = width > *widest ? width : *widest;
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t column = i % t->columns;
        const char *cell = cell_at(t, i);
        bool right = t->right[column] == 'r', last = column + 1 == t->columns;
        int padding = (int)(widths[column] - width_of(cell));
        fprintf(out, "%*s%s%*s", right ? padding : 0, "", cell, right || last ? 0 : padding, "");
        fprintf(out, last ? "\n" : "%*s", GAP, "");
        free(t->cells[i]);
    }
    free(t->cells);
}

/* ---- the document ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static bool is_text(const json_t *object, const char *key, const char *text)
{
    return strcmp(text_of(object, key), text) == 0;
}

static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

static void add_number(struct table *t, const json_t *object, const char *key)
{
    table_add(t, "%" JSON_INTEGER_FORMAT, number_of(object, key));
}

/* ---- what is not as it should be ---- */

static void print_vip(FILE *out, const json_t *vip)
{
    if (!json_is_object(vip)) {
        return;
    }
    const char *holder = text_of(vip, "holder");
    fprintf(out, "virtual IP %s: %s%s\n", text_of(vip, "address"),
            holder[0] ? holder : "held by no node", is_true(vip, "conflict") ? ", CONFLICT" : "");
}

const char *status_age(json_int_t now_s, json_int_t since_s, char text[24])
{
    static const struct {
        json_int_t seconds;
        char letter;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    json_int_t age_s = now_s > since_s ? now_s - since_s : 0;
    size_t unit = 0;
    while (unit < 3 && age_s < 2 * units[unit].seconds) {
        unit++;
    }
    snprintf(text, 24, "%" JSON_INTEGER_FORMAT " %c", age_s / units[unit].seconds,
             units[unit].letter);
    return text;
}

/* What to do, once a kind, in the order told. A newer node may know more kinds. */
static void print_remedies(FILE *out, const json_t *problems)
{
    bool said[PROBLEM_KINDS] = {false};
    struct table t;
    size_t index;
    json_t *problem;
    table_begin(&t, "ll");
    json_array_foreach(problems, index, problem)
    {
        unsigned id = problem_id_of(text_of(problem, "kind"));
        if (id < PROBLEM_KINDS && !said[id]) {
            said[id] = true;
            table_add(&t, "%s", problem_kinds[id].name);
            table_add(&t, "%s", problem_kinds[id].remedy);
        }
    }
    if (t.count > 0) {
        fprintf(out, "\nwhat to do:\n");
        table_print(out, &t);
    }
}

static void print_problems(FILE *out, const json_t *status)
{
    struct table t;
    size_t index;
    json_t *problem;
    const json_t *problems = json_object_get(status, "problems");
    char age[24];
    table_begin(&t, "lllrl");
    json_array_foreach(problems, index, problem)
    {
        table_add(&t, "%s", text_of(problem, "severity"));
        table_add(&t, "%s", text_of(problem, "kind"));
        table_add(&t, "%s", text_of(problem, "subject"));
        table_add(&t, "%s",
                  status_age(number_of(status, "timestamp"), number_of(problem, "since"), age));
        table_add(&t, "%s", text_of(problem, "detail"));
    }
    if (t.count > 0) {
        table_print(out, &t);
        print_remedies(out, problems);
        fprintf(out, "\n");
    }
}

enum { PROBLEMS_IN_LINE = 3 };

void status_nodes_alive(const json_t *status, char ret_text[64])
{
    const json_t *cluster = json_object_get(status, "cluster");
    json_int_t size = number_of(cluster, "size");
    snprintf(ret_text, 64, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " node%s alive",
             number_of(cluster, "alive"), size, size == 1 ? "" : "s");
}

void status_line(FILE *out, const json_t *status)
{
    const json_t *problems = json_object_get(status, "problems");
    size_t index, shown = 0;
    json_t *problem;
    json_array_foreach(problems, index, problem)
    {
        if (is_text(problem, "severity", "info") || shown == PROBLEMS_IN_LINE) {
            continue;
        }
        if (shown == 0) {
            fprintf(out, is_text(problem, "severity", "critical") ? "CRITICAL: " : "WARNING: ");
        }
        fprintf(out, "%s%s %s: %s", shown > 0 ? "; " : "", text_of(problem, "kind"),
                text_of(problem, "subject"), text_of(problem, "detail"));
        shown++;
    }
    if (shown == 0) {
        char alive[64];
        status_nodes_alive(status, alive);
        fprintf(out, "OK: %s", alive);
    }
    fprintf(out, "\n");
}

static void print_head(FILE *out, const json_t *status, const json_t *cluster)
{
    const json_t *self = json_object_get(status, "node");
    const char *name = text_of(cluster, "name"); /* "" = there is no cluster section */
    char alive[64];
    status_nodes_alive(status, alive);
    fprintf(out, "%s%s: %s, converged: %s; as seen by %s\n", name[0] ? "cluster " : "single node",
            name, alive, yes_no(is_true(cluster, "converged")), text_of(self, "name"));
    print_vip(out, json_object_get(cluster, "vip"));
}

/* ---- nodes ---- */

static void add_heard(struct table *t, const json_t *node)
{
    json_int_t ms = number_of(node, "heard_ms_ago");
    if (ms < 1000) {
        table_add(t, "%" JSON_INTEGER_FORMAT " ms", ms);
    } else {
        table_add(t, "%" JSON_INTEGER_FORMAT " s", ms / 1000);
    }
}

static void print_nodes(FILE *out, const json_t *status)
{
    static const char *const titles[] = {"NODE",     "ADDRESS", "STATE",    "VIP",    "HEARD",
                                         "VERSION",  "KEY",     "REVISION", "CONFIG", "RING",
                                         "REQUESTS", "OPEN",    NULL};
    struct table t;
    size_t count;
    struct ranked *nodes = ranking_nodes(status, &count);
    table_begin(&t, "llllrllrllrr");
    for (size_t i = 0; titles[i]; i++) {
        table_add(&t, "%s", titles[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *node = nodes[i].value;
        bool alive = is_text(node, "state", "alive");
        table_add(&t, "%s", text_of(node, "name"));
        table_add(&t, "%s", text_of(node, "address"));
        table_add(&t, "%s%s", text_of(node, "state"),
                  alive && is_true(node, "draining") ? ", draining" : "");
        table_add(&t, "%s", is_true(node, "vip_holder") ? "holds" : "-");
        add_heard(&t, node);
        table_add(&t, "%s", text_of(node, "version"));
        table_add(&t, "%s", text_of(node, "key"));
        add_number(&t, node, "config_revision");
        table_add(&t, "%.*s", DIGEST_SHOWN, text_of(node, "config_digest"));
        table_add(&t, "%.*s", DIGEST_SHOWN, text_of(node, "ring_digest"));
        add_number(&t, node, "total_requests");
        add_number(&t, node, "active_connections");
    }
    free(nodes);
    fprintf(out, "\n");
    table_print(out, &t);
}

/* ---- applications ---- */

/* No opinion is no other opinion. */
static bool votes_differ(json_t *votes)
{
    const char *name, *active = NULL, *passive = NULL;
    json_t *vote;
    json_object_foreach(votes, name, vote)
    {
        if (!is_text(vote, "active", "unknown")) {
            active = active ? active : text_of(vote, "active");
            if (!is_text(vote, "active", active)) {
                return true;
            }
        }
        passive = passive ? passive : text_of(vote, "passive");
        if (!is_text(vote, "passive", passive)) {
            return true;
        }
    }
    return false;
}

/* Nothing while all say the same: then `status` tells it. */
static void add_votes(struct table *t, json_t *votes)
{
    char *text = NULL;
    size_t size = 0;
    const char *name, *separator = "";
    json_t *vote;
    FILE *out = votes_differ(votes) ? open_memstream(&text, &size) : NULL;
    if (!out) {
        table_add(t, "%s", json_object_size(votes) > 1 ? "all the same" : "");
        return;
    }
    json_object_foreach(votes, name, vote)
    {
        bool tripped = is_text(vote, "passive", "tripped");
        fprintf(out, "%s%s: %s%s", separator, name, text_of(vote, "active"),
                tripped ? ", tripped" : "");
        separator = "; ";
    }
    fclose(out);
    table_add(t, "%s", text);
    free(text);
}

static void add_slots(struct table *t, const json_t *instance)
{
    json_int_t most = number_of(instance, "max_in_flight");
    if (most == 0) { /* no limit, so nobody counts */
        table_add(t, "-");
        return;
    }
    table_add(t, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT,
              number_of(instance, "slots_used"), most);
}

static void add_minute(struct table *t, const json_t *minute)
{
    table_add(t, "%.1f", (double)number_of(minute, "requests") / 60);
    add_number(t, minute, "p95_ms");
    add_number(t, minute, "failures");
}

static void add_instance(struct table *t, const struct ranked *one, json_int_t now_s)
{
    const json_t *instance = one->value;
    char age[24];
    table_add(t, "%s", one->application);
    table_add(t, "%s", one->name);
    table_add(t, "%s", text_of(instance, "status"));
    table_add(t, "%s", status_age(now_s, number_of(instance, "since"), age));
    table_add(t, "%s", yes_no(is_true(instance, "eligible")));
    table_add(t, "%.2f%%", 100 * json_number_value(json_object_get(instance, "ring_share")));
    add_minute(t, json_object_get(instance, "last_minute"));
    add_number(t, instance, "active_requests");
    add_slots(t, instance);
    add_number(t, instance, "queued");
    add_number(t, instance, "requests");
    table_add(t, "%s:%" JSON_INTEGER_FORMAT, text_of(instance, "host"),
              number_of(instance, "port"));
    table_add(t, "%s", text_of(json_object_get(instance, "reason"), "text"));
    add_votes(t, json_object_get(instance, "votes"));
}

static void print_latencies(FILE *out, json_t *applications)
{
    const char *name;
    json_t *app;
    json_object_foreach(applications, name, app)
    {
        const json_t *latency = json_object_get(app, "latency_ms");
        fprintf(out,
                "%s: %" JSON_INTEGER_FORMAT " requests, %" JSON_INTEGER_FORMAT
                " errors; time to first byte %g ms (p50), %g (p95), %g (p99)\n",
                name, number_of(app, "total_requests"), number_of(app, "errors"),
                json_number_value(json_object_get(latency, "p50")),
                json_number_value(json_object_get(latency, "p95")),
                json_number_value(json_object_get(latency, "p99")));
    }
}

static void print_applications(FILE *out, const json_t *status)
{
    static const char *const titles[] = {
        "APPLICATION", "INSTANCE", "STATUS", "FOR",    "ELIGIBLE", "SHARE",
        "REQ/S",       "P95 MS",   "FAILED", "ACTIVE", "SLOTS",    "QUEUED",
        "REQUESTS",    "HOST",     "WHY",    "VOTES",  NULL};
    struct table t;
    size_t count;
    struct ranked *instances = ranking_instances(status, &count);
    table_begin(&t, "lllrlrrrrrrrrlll");
    for (size_t i = 0; titles[i]; i++) {
        table_add(&t, "%s", titles[i]);
    }
    for (size_t i = 0; i < count; i++) {
        add_instance(&t, &instances[i], number_of(status, "timestamp"));
    }
    free(instances);
    fprintf(out, "\n");
    table_print(out, &t);
    fprintf(out, "REQ/S, P95 and FAILED are of the last minute, the next lines since the nodes "
                 "started. OPEN counts this question, too.\n\n");
    print_latencies(out, json_object_get(status, "applications"));
}

void status_tables(FILE *out, const json_t *status)
{
    print_problems(out, status);
    print_head(out, status, json_object_get(status, "cluster"));
    print_nodes(out, status);
    print_applications(out, status);
}
