/* schema_application: applications and their instances. */
#include <stdlib.h>

#include "conf/reader.h"
#include "conf/value.h"

#define HOUR 3600000ULL

enum {
    QUEUE_MAX = 100000,  /* waiting requests each hold a connection */
    COUNT_MAX = 1000000, /* fails, requests in flight: beyond it, 0 is meant */
};

/* ---- instance ---- */

static CONF_READER(read_instance_tls)
{
    static const struct conf_field fields[] = {
        {"verify", conf_read_boolean, .offset = offsetof(struct conf_instance_tls, verify)},
        {"ca", conf_read_path, .offset = offsetof(struct conf_instance_tls, ca)},
        {"server_name", conf_read_host, .offset = offsetof(struct conf_instance_tls, server_name)},
        {0},
    };
    struct conf_instance_tls *tls = place;
    if (value->kind == YAML_MAPPING) {
        tls->enabled = true;
        conf_read_section(r, fields, "`tls`", value, tls);
    } else if (value->kind == YAML_SCALAR && value->plain && !yaml_is_null(value)) {
        conf_read_boolean(r, field, value, &tls->enabled);
    } else if (!value->broken) {
        conf_problem(r, value,
                     "expected false, or a mapping with `verify`, `ca` and `server_name`");
    }
}

static CONF_READER(read_instance_host)
{
    const char *host = NULL;
    conf_read_host(r, field, value, &host);
    const char *wrong = host ? value_no_host(host) : "";
    if (wrong[0]) {
        conf_problem(r, value, "%s is no instance's; expected the address or name of a host",
                     wrong);
    } else if (host) {
        *(const char **)place = host;
    }
}

static const struct conf_field instance_fields[] = {
    {"name", conf_read_name, .offset = offsetof(struct conf_instance, name), .required = true},
    {"host", read_instance_host, .offset = offsetof(struct conf_instance, host), .required = true},
    {"port", conf_read_port, .offset = offsetof(struct conf_instance, port), .required = true},
    {"tls", read_instance_tls, .offset = offsetof(struct conf_instance, tls)},
    {"token", conf_read_bearer, .offset = offsetof(struct conf_instance, token), .required = true},
    {"weight", conf_read_number, .offset = offsetof(struct conf_instance, weight), .min = 1,
     .max = CONF_WEIGHT_MAX},
    {"max_fails", conf_read_number, .offset = offsetof(struct conf_instance, max_fails), .min = 0,
     .max = COUNT_MAX},
    {"fail_timeout", conf_read_duration, .offset = offsetof(struct conf_instance, fail_timeout_ms),
     .min = 1, .max = 24 * HOUR},
    {"max_in_flight", conf_read_number, .offset = offsetof(struct conf_instance, max_in_flight),
     .min = 0, .max = COUNT_MAX},
    {0},
};

static void refuse_same_name(struct conf_reader *r, const struct yaml_node *node,
                             const struct conf_instance *instances, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (instances[i].name && instances[index].name &&
            strcmp(instances[i].name, instances[index].name) == 0) {
            conf_problem(r, node, "duplicate instance name `%s`; the first is at line %u",
                         instances[i].name, instances[i].line);
            return;
        }
    }
}

static CONF_READER(read_instances)
{
    struct conf_application *application = place;
    size_t count;
    if (!conf_is_list(r, field, value, "instances", &count)) {
        return;
    }
    struct conf_instance *instances = arena_array(r->arena, count, sizeof *instances);
    application->instances = instances;
    application->instance_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct yaml_node *item = value->items[i];
        instances[i] = (struct conf_instance){.weight = 1,
                                              .max_fails = 3,
                                              .fail_timeout_ms = 30000,
                                              .tls.verify = true,
                                              .line = item->line,
                                              .column = item->column};
        if (conf_read_section(r, instance_fields, "an instance", item, &instances[i]) &&
            instances[i].name) {
            const struct yaml_node *name = yaml_tree_get(item, "name");
            refuse_same_name(r, name, instances, i);
        }
    }
}

/* ---- application ---- */

static void remember_token(struct conf_reader *r, const struct conf_application *application,
                           const struct yaml_node *node, const char *token)
{
    if (r->token_count == r->token_capacity) {
        struct conf_token_place *old = r->tokens;
        r->token_capacity = r->token_capacity ? 2 * r->token_capacity : 64;
        r->tokens = arena_array(r->arena, r->token_capacity, sizeof *r->tokens);
        if (old) {
            memcpy(r->tokens, old, r->token_count * sizeof *r->tokens);
        }
    }
    r->tokens[r->token_count++] =
        (struct conf_token_place){token, application, node->line, node->column};
}

static CONF_READER(read_user_tokens)
{
    struct conf_application *application = place;
    size_t count;
    if (!conf_is_list(r, field, value, "tokens", &count)) {
        return;
    }
    application->user_tokens = arena_array(r->arena, count, sizeof(char *));
    application->user_token_count = count;
    for (size_t i = 0; i < count; i++) {
        const char *token = NULL;
        conf_read_bearer(r, field, value->items[i], &token);
        application->user_tokens[i] = token;
        if (token) {
            remember_token(r, application, value->items[i], token);
        }
    }
}

static CONF_READER(read_queue)
{
    static const struct conf_field fields[] = {
        {"size", conf_read_number, .offset = offsetof(struct conf_application, queue_size),
         .min = 1, .max = QUEUE_MAX},
        {"timeout", conf_read_duration,
         .offset = offsetof(struct conf_application, queue_timeout_ms), .min = 1, .max = HOUR},
        {0},
    };
    struct conf_application *application = place;
    (void)field;
    application->queue_set = true;
    application->queue_line = value->line;
    application->queue_column = value->column;
    conf_read_section(r, fields, "`queue`", value, application);
}

static const char *const all_down[] = {"try_all", "fail", NULL};

static const struct conf_field application_fields[] = {
    {"user_tokens", read_user_tokens, .offset = 0, .min = 1, .max = CONF_TOKENS_MAX,
     .required = true},
    {"algorithm", conf_read_choice, .offset = offsetof(struct conf_application, algorithm),
     .choices = algorithm_words},
    {"all_down", conf_read_choice_bool,
     .offset = offsetof(struct conf_application, fail_when_all_down), .choices = all_down},
    {"queue", read_queue, .offset = 0},
    {"instances", read_instances, .offset = 0, .min = 1, .max = CONF_INSTANCES_MAX,
     .required = true},
    {"health_check", conf_read_health_check,
     .offset = offsetof(struct conf_application, health_check)},
    {"retries", conf_read_retries, .offset = offsetof(struct conf_application, retries)},
    {"user_id", conf_read_user_id, .offset = offsetof(struct conf_application, user_id)},
    {0},
};

static void refuse_huge_ring(struct conf_reader *r, const struct yaml_node *node,
                             const struct conf_application *application)
{
    uint64_t points = 0;
    for (size_t i = 0; i < application->instance_count; i++) {
        points += (uint64_t)application->instances[i].weight * r->conf->virtual_nodes;
    }
    if (points > CONF_RING_POINTS_MAX) {
        conf_problem(r, node,
                     "the ring would have %llu points (sum of the weights times virtual_nodes); at "
                     "most %d are possible",
                     (unsigned long long)points, CONF_RING_POINTS_MAX);
    }
}

static void read_application(struct conf_reader *r, const struct yaml_pair *pair,
                             struct conf_application *application)
{
    struct conf *conf = r->conf;
    *application = (struct conf_application){.name = pair->key->text.at,
                                             .queue_size = 100,
                                             .queue_timeout_ms = 30000,
                                             .health_check = conf->health_check,
                                             .retries = conf->retries,
                                             .user_id = conf->user_id,
                                             .line = pair->key->line,
                                             .column = pair->key->column};
    if (!value_is_name(pair->key->text)) {
        conf_problem(r, pair->key,
                     "the name of an application has 1 to 64 letters, digits, `.`, `_` or `-`%s",
                     pair->key->text.at[0] == '.' ? ", and is not `.` or `..`" : "");
        application->name = "?";
    }
    conf_read_section(r, application_fields, "an application", pair->value, application);
    refuse_huge_ring(r, pair->key, application);
}

static int by_token_then_place(const void *left, const void *right)
{
    const struct conf_token_place *p = left, *q = right;
    int order = strcmp(p->token, q->token);
    if (order != 0) {
        return order;
    }
    if (p->line != q->line) {
        return p->line < q->line ? -1 : 1;
    }
    if (p->column != q->column) {
        return p->column < q->column ? -1 : 1;
    }
    /* in the order of the file: they stand in one array */
    return (p->application > q->application) - (p->application < q->application);
}

/* A merge or an alias brings one token to two applications: the second one is where to mend it. */
static void report_shared_token(struct conf_reader *r, const struct conf_token_place *now,
                                const struct conf_token_place *first)
{
    const struct conf_application *application = now->application;
    if (now->line == first->line && now->column == first->column) {
        problem_add(r->problems, application->line, application->column,
                    "application `%s` takes over (by `<<` or an alias) a user token of application "
                    "`%s`, line %u; give it `user_tokens` of its own",
                    application->name, first->application->name, now->line);
    } else {
        problem_add(r->problems, now->line, now->column,
                    "this user token is used already by application `%s`, line %u",
                    first->application->name, first->line);
    }
}

static void refuse_shared_tokens(struct conf_reader *r)
{
    if (r->token_count > 0) {
        qsort(r->tokens, r->token_count, sizeof *r->tokens, by_token_then_place);
    }
    for (size_t i = 1, first = 0; i < r->token_count; i++) {
        const struct conf_token_place *now = &r->tokens[i], *other = &r->tokens[first];
        if (strcmp(now->token, other->token) != 0) {
            first = i;
            continue;
        }
        report_shared_token(r, now, other);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct conf_application *p = a, *q = b;
    return strcmp(p->name, q->name);
}

CONF_READER(conf_read_applications)
{
    struct conf *conf = place;
    (void)field;
    if (value->kind != YAML_MAPPING && value->broken) {
        return;
    }
    if (value->kind != YAML_MAPPING || value->count == 0) {
        conf_problem(r, value, "`applications` must be a mapping with at least one application");
        return;
    }
    if (value->count > CONF_APPLICATIONS_MAX) {
        conf_problem(r, value, "%zu applications; at most %d are possible", value->count,
                     CONF_APPLICATIONS_MAX); /* and all are read: YAML_KEYS_MAX bounds them */
    }
    conf->applications = arena_array(r->arena, value->count, sizeof *conf->applications);
    conf->application_count = value->count;
    for (size_t i = 0; i < value->count; i++) {
        read_application(r, &value->pairs[i], &conf->applications[i]);
    }
    refuse_shared_tokens(r);
    qsort(conf->applications, conf->application_count, sizeof *conf->applications, by_name);
}
