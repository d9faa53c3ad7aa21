/* explain: the question's parameters, the walk with a recorder, and the answer. */
#include "report/explain.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>

#include "http/reply.h"
#include "instances/registry.h"
#include "placing/placing.h"
#include "queue/request_class.h"
#include "report/gather.h"
#include "report/quotas.h"
#include "report/report.h"

enum { PARAMETERS = 5, VALUE_SIZE = 2048, EXPLAIN_ADDRESS_SIZE = INET6_ADDRSTRLEN };

/* ---- the question ---- */

struct parameter {
    const char *name;
    bool given;
    size_t size;
    char value[VALUE_SIZE]; /* decoded; NUL behind it */
};

struct question {
    struct parameter app, user, method, path, address;
    const char *wrong; /* NULL: nothing */
};

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Percent-decoded, `+` is a space. False: it is longer than is taken. */
static bool decode(struct bytes text, struct parameter *to)
{
    to->given = true;
    to->size = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i] == '+' ? ' ' : text.at[i];
        if (c == '%' && i + 2 < text.size && hex_digit(text.at[i + 1]) >= 0 &&
            hex_digit(text.at[i + 2]) >= 0) {
            c = (char)(hex_digit(text.at[i + 1]) * 16 + hex_digit(text.at[i + 2]));
            i += 2;
        }
        if (to->size + 1 >= VALUE_SIZE) {
            return false;
        }
        to->value[to->size++] = c;
    }
    to->value[to->size] = '\0';
    return true;
}

static struct parameter *parameter_of(struct question *q, struct bytes name)
{
    struct parameter *all[PARAMETERS] = {&q->app, &q->user, &q->method, &q->path, &q->address};
    for (size_t i = 0; i < PARAMETERS; i++) {
        if (bytes_equal(name, bytes_of(all[i]->name))) {
            return all[i];
        }
    }
    return NULL;
}

static void read_question(struct bytes query, struct question *q)
{
    *q = (struct question){.app.name = "app",
                           .user.name = "user",
                           .method.name = "method",
                           .path.name = "path",
                           .address.name = "address"};
    while (query.size > 0 && !q->wrong) {
        const char *end = memchr(query.at, '&', query.size);
        struct bytes pair = {query.at, end ? (size_t)(end - query.at) : query.size};
        const char *equals = pair.size ? memchr(pair.at, '=', pair.size) : NULL;
        struct bytes name = {pair.at, equals ? (size_t)(equals - pair.at) : pair.size};
        struct bytes value = {pair.at + name.size + (equals ? 1 : 0),
                              pair.size - name.size - (equals ? 1 : 0)};
        struct parameter *to = parameter_of(q, name);
        if (!to && pair.size > 0) {
            q->wrong = "The parameters are app, user, method, path and address.";
        } else if (to && !decode(value, to)) {
            q->wrong = "A parameter is longer than 2047 bytes.";
        }
        size_t taken = pair.size + (end ? 1 : 0);
        query.at += taken;
        query.size -= taken;
    }
}

/* ---- the walk ---- */

struct explanation {
    bool has_address;
    uint8_t address_raw[16]; /* IPv4 as ::ffff:a.b.c.d */
    struct snapshot_application *app;
    const struct tracked_application *tracked;
    char user[VALUE_SIZE], source[128], address[EXPLAIN_ADDRESS_SIZE];
    size_t user_size;
    bool hashed;
    uint64_t key;
    int home, instance;
    const char *placed;
    struct snapshot_walk walk;
};

static struct bytes no_header(void *arg, struct bytes name)
{
    (void)arg;
    (void)name;
    return (struct bytes){0};
}

static struct bytes no_cookie(void *arg, size_t index)
{
    (void)arg;
    (void)index;
    return (struct bytes){0};
}

/* The first source that has one, of those that a path can have; each is asked alone, by the same
 * search, to know which it was. */
static void find_user(const struct question *q, struct explanation *e)
{
    const struct user_plan *plan = &e->app->user_plan;
    const char *mark = q->path.given ? strchr(q->path.value, '?') : NULL;
    struct user_request request = {
        .header = no_header, .cookie = no_cookie, .query = bytes_of(mark ? mark + 1 : "")};
    if (q->user.given) {
        memcpy(e->user, q->user.value, q->user.size);
        e->user_size = q->user.size;
        return;
    }
    for (size_t i = 0; i < plan->count && e->user_size == 0; i++) {
        const struct user_plan one = {&plan->sources[i], 1, plan->json_inspect};
        struct user_id_search search;
        user_id_begin(&search, &one, &request);
        struct bytes value = user_id_value(&search);
        if (value.size > 0 && value.size < sizeof(e->user)) {
            memcpy(e->user, value.at, value.size);
            e->user_size = value.size;
            snprintf(e->source, sizeof(e->source), "%s:%.*s",
                     user_source_words[plan->sources[i].kind], (int)plan->sources[i].name.size,
                     plan->sources[i].name.at);
        }
        user_id_done(&search);
    }
}

static bool is_any(void *arg, size_t member)
{
    (void)arg;
    (void)member;
    return true;
}

/* Where none is given: what the path is asked with, GET before POST (`/v1/messages`: GET,
 * `/v1/chat-messages`: POST); what most requests are, without a path. */
static const char *method_of(const struct question *q)
{
    struct bytes path = {q->path.value, strcspn(q->path.value, "?")}, id;
    if (q->method.given) {
        return q->method.value;
    }
    if (!q->path.given) {
        return "POST";
    }
    bool gets = placement_route_of(BYTES("GET"), path, &id)->pattern.size > 0;
    return !gets && placement_route_of(BYTES("POST"), path, &id)->pattern.size > 0 ? "POST" : "GET";
}

/* Does it wait for a model? What is not said is what most requests are. */
static enum slot_class class_of(const struct question *q)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", HTTP_METHOD_GET},       {"HEAD", HTTP_METHOD_HEAD},
                   {"DELETE", HTTP_METHOD_DELETE}, {"PUT", HTTP_METHOD_PUT},
                   {"PATCH", HTTP_METHOD_PATCH},   {"OPTIONS", HTTP_METHOD_OPTIONS}};
    enum http_method method = HTTP_METHOD_POST;
    for (size_t i = 0; i < sizeof(methods) / sizeof(*methods); i++) {
        method = strcmp(method_of(q), methods[i].name) == 0 ? methods[i].method : method;
    }
    const char *path = q->path.given ? q->path.value : "/v1/chat-messages";
    return request_class(method, (struct bytes){path, strcspn(path, "?")});
}

static void walk(const struct report *r, const struct question *q, struct explanation *e)
{
    const struct snapshot *snapshot = *r->snapshot;
    struct bytes user = {e->user, e->user_size};
    e->home = e->instance = -1;
    e->hashed = snapshot_ring_key(e->app, r->member->sha, user, bytes_of(e->address), &e->key);
    if (e->hashed) {
        e->home = ring_lookup(e->app->ring, e->key, is_any, NULL);
    }
    if (user.size > 0 || !e->app->reject_missing_user) {
        e->instance = snapshot_explain(e->app, e->hashed ? &e->key : NULL, class_of(q), &e->walk);
    }
    if (e->app->separate && e->instance >= 0) {
        const char *path = q->path.given ? q->path.value : "/v1/chat-messages";
        size_t size = strcspn(path, "?");
        const struct placing_question question = {
            .method = bytes_of(method_of(q)),
            .path = {path, size},
            .query = bytes_of(path[size] ? path + size + 1 : ""),
        };
        e->placed = placement_placed_word(
            placing_explain(r->placements, snapshot, e->app, &question, &e->instance));
    }
}

/* ---- the answer ---- */

static void put_text(struct buffer *b, const char *key, struct bytes text)
{
    buffer_append_format(b, "\"%s\":", key);
    if (text.size > 0) {
        buffer_append_json(b, text);
    } else {
        buffer_append_text(b, "null");
    }
}

static struct bytes name_at(const struct explanation *e, int index)
{
    return index < 0 ? BYTES("") : e->app->instances[index].name;
}

/* Why this node sends nothing there now. */
static void put_skipped(const struct report *r, struct buffer *b, const struct explanation *e,
                        size_t member)
{
    char text[REASON_TEXT_SIZE];
    struct told_reason told;
    facts_reason(r, e->tracked->instances[member], &told);
    buffer_append_text(b, "{");
    put_text(b, "instance", e->app->instances[member].name);
    buffer_append_format(b, ",\"reason\":{\"kind\":\"%s\",", reason_word(told.why.kind));
    put_text(b, "text", bytes_of(reason_text(&told.why, text)));
    buffer_append_text(b, ",");
    put_text(b, "node", bytes_of(told.node));
    buffer_append_text(b, "}}");
}

/* Of the instance that it goes to, where its host and port have a limit. */
static void put_slots(struct buffer *b, const struct explanation *e)
{
    const struct tracked_instance *i = e->instance < 0 ? NULL : e->tracked->instances[e->instance];
    if (i && i->host->slots) {
        struct host_slots_view view = host_slots_view(i->host->slots);
        size_t queued = host_slots_line_count(i->host->slots, &i->live->line);
        buffer_append_format(b, "\"max_in_flight\":%u,\"slots_used\":%u,\"queued\":%u",
                             (unsigned)view.max, (unsigned)(view.used + i->host->others.taken),
                             (unsigned)(queued + i->host->others_waiting));
    }
}

static void put_explanation(const struct report *r, struct buffer *b, const struct explanation *e)
{
    buffer_append_text(b, "{");
    put_text(b, "application", e->app->name);
    buffer_append_text(b, ",\"user\":{");
    put_text(b, "id", (struct bytes){e->user, e->user_size});
    buffer_append_text(b, ",");
    put_text(b, "source", bytes_of(e->source));
    if (e->hashed) {
        buffer_append_format(b, "},\"key\":\"%016" PRIx64 "\",", e->key);
    } else {
        buffer_append_text(b, "},\"key\":null,");
    }
    put_text(b, "home", name_at(e, e->home));
    buffer_append_text(b, ",");
    put_text(b, "instance", name_at(e, e->instance));
    buffer_append_text(b, ",");
    put_text(b, "placed", bytes_of(e->placed ? e->placed : ""));
    buffer_append_text(b, ",\"skipped\":[");
    for (size_t i = 0; i < e->walk.count; i++) {
        buffer_append_text(b, i ? "," : "");
        put_skipped(r, b, e, e->walk.skipped[i]);
    }
    buffer_append_text(b, "],\"slots\":{");
    put_slots(b, e);
    buffer_append_text(b, "},\"quotas\":[");
    const struct request_subjects whom = {
        .user = {e->user, e->user_size},
        .address = e->has_address ? e->address_raw : NULL,
    };
    explain_quotas(r, b, e->app, &whom);
    buffer_append_text(b, "]}\n");
}

/* ---- from the job to its answer ---- */

static void refuse(struct local_job *job, uint16_t status, const char *code, const char *message)
{
    job->status = status;
    http_error_body(&job->body, status, code, bytes_of(message));
}

/* The application, and the client's address as the node writes addresses. */
static const char *find_application(const struct report *r, const struct question *q,
                                    struct explanation *e)
{
    const struct snapshot *s = *r->snapshot;
    uint8_t raw[16] = {0};
    for (size_t i = 0; i < s->application_count; i++) {
        if (q->app.given ? bytes_equal(s->applications[i].name, bytes_of(q->app.value))
                         : s->application_count == 1) {
            e->app = &s->applications[i];
            e->tracked = r->registry->configured[i];
        }
    }
    int family = strchr(q->address.value, ':') ? AF_INET6 : AF_INET;
    if (q->address.given && (inet_pton(family, q->address.value, raw) != 1 ||
                             !inet_ntop(family, raw, e->address, sizeof(e->address)))) {
        return "`address` is an IPv4 or IPv6 address.";
    }
    e->has_address = q->address.given;
    if (family == AF_INET) {
        memset(&e->address_raw[10], 0xff, 2);
        memcpy(&e->address_raw[12], raw, 4);
    } else {
        memcpy(e->address_raw, raw, sizeof(raw));
    }
    if (e->app && e->app->algorithm == ALGORITHM_IP_HASH && !q->address.given) {
        return "The application's algorithm is ip_hash: `address` is missing.";
    }
    return !e->app && !q->app.given ? "`app` is missing: which application?" : NULL;
}

void explain_answer(const struct report *r, struct local_job *job)
{
    static const char v1[] = "/v1/";
    struct question q;
    struct explanation e = {0};
    read_question(buffer_bytes(&job->query_text), &q);
    if (!q.wrong && q.path.given && strncmp(q.path.value, v1, strlen(v1)) != 0) {
        q.wrong = "Only paths under /v1/ go to an instance.";
    }
    q.wrong = q.wrong ? q.wrong : find_application(r, &q, &e);
    if (q.wrong) {
        refuse(job, 400, "invalid_param", q.wrong);
        return;
    }
    if (!e.app) {
        refuse(job, 404, "not_found", "There is no such application; /status names them.");
        return;
    }
    find_user(&q, &e);
    walk(r, &q, &e);
    put_explanation(r, &job->body, &e);
}
