/* schema_application: applications and their instances. */
#include <stdlib.h>

#include "conf/read/reader.h"
#include "conf/value.h"

enum {
    QUEUE_MAX = 100000,  /* waiting requests each hold a connection */
    COUNT_MAX = 1000000, /* fails, requests in flight: beyond it, 0 is meant */
};

/* ---- instance ---- */

static const struct conf_field instance_tls_fields[] = {
    {"ca", &conf_type_path, AT(conf_instance_tls, ca),
     .help = "PEM file of who signs its certificate; without it, the system's"},
    {"certificate", &conf_type_path, AT(conf_instance_tls, certificate),
     .help = "PEM file with the chain, for an instance that asks for one"},
    {"key", &conf_type_path, AT(conf_instance_tls, key), .help = "PEM file with its private key"},
    {"server_name", &conf_type_host, AT(conf_instance_tls, server_name),
     .help = "whom its certificate is for; without it, host"},
    {"verify", &conf_type_boolean, AT(conf_instance_tls, verify), .standard = "true",
     .help = "refuse a certificate of somebody else"},
    {0},
};

static void refuse_half_a_pair(struct conf_reader *r, const struct yaml_node *value, void *section)
{
    const struct yaml_node *certificate = yaml_tree_get(value, "certificate");
    const struct yaml_node *key = yaml_tree_get(value, "key");
    (void)section;
    if (!certificate != !key) {
        conf_problem(r, certificate ? certificate : key,
                     "a certificate needs its key: give both `certificate` and `key`, or neither");
    }
}

static const struct conf_section instance_tls = {
    .what = "`tls`",
    .fields = instance_tls_fields,
    .size = sizeof(struct conf_instance_tls),
    .check = refuse_half_a_pair,
    .rule = "\"dependentRequired\": {\"certificate\": [\"key\"], \"key\": [\"certificate\"]}"};

static CONF_READER(read_instance_tls)
{
    struct conf_instance_tls *tls = place;
    if (value->kind == YAML_MAPPING) {
        conf_type_section.read(r, field, value, place);
    } else if (value->kind == YAML_SCALAR && value->plain && !yaml_is_null(value)) {
        conf_read_boolean(r, field, value, &tls->enabled);
    } else if (!value->broken) {
        conf_problem(r, value,
                     "expected false, or a mapping with `verify`, `ca` and `server_name`");
    }
}

static const struct conf_type type_instance_tls = {
    .name = "boolean or section", .read = read_instance_tls, .bare = BARE_BOOLEAN};

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

static const struct conf_type type_instance_host = {
    "host", read_instance_host, NULL, CONF_TEXT, BARE_NOTHING, CONF_PATTERN_HOST};

static const struct conf_field instance_fields[] = {
    {"name", &conf_type_name, AT(conf_instance, name), .required = true,
     .help = "unique in the application"},
    {"host", &type_instance_host, AT(conf_instance, host), .required = true,
     .help = "an address or a name"},
    {"port", &conf_type_port, AT(conf_instance, port), .min = 1, .max = 65535, .required = true},
    {"tls", &type_instance_tls, AT(conf_instance, tls),
     .present = offsetof(struct conf_instance, tls.enabled), .section = &instance_tls,
     .help = "false, or true for its defaults. The files are each node's own"},
    {"token", &conf_type_bearer, AT(conf_instance, token), .required = true,
     .help = "the instance's own"},
    {"weight", &conf_type_number, AT(conf_instance, weight), .min = 1, .max = CONF_WEIGHT_MAX,
     .standard = "1", .help = "its share of the users"},
    {"max_fails", &conf_type_number, AT(conf_instance, max_fails), .min = 0, .max = COUNT_MAX,
     .standard = "3", .help = "failures within fail_timeout that eject it; 0 = none do"},
    {"fail_timeout", &conf_type_duration, AT(conf_instance, fail_timeout_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "30s", .help = "and how long it stays ejected"},
    {"max_in_flight", &conf_type_number, AT(conf_instance, max_in_flight), .min = 0,
     .max = COUNT_MAX, .standard = "0",
     .help = "connections that its host and port serve at once, of all entries and nodes; 0 = no "
             "limit. A stock Dify api container serves 10"},
    {0},
};

static const struct conf_section instance = {.what = "an instance",
                                             .fields = instance_fields,
                                             .size = sizeof(struct conf_instance),
                                             .line = offsetof(struct conf_instance, line),
                                             .named = true};

static CONF_EACH(refuse_same_name)
{
    const struct conf_application *application = section;
    const struct conf_instance *instances = application->instances;
    for (size_t i = 0; i < index; i++) {
        if (instances[i].name && instances[index].name &&
            strcmp(instances[i].name, instances[index].name) == 0) {
            conf_problem(r, yaml_tree_get(item, "name"),
                         "duplicate instance name `%s`; the first is at line %u", instances[i].name,
                         instances[i].line);
            return;
        }
    }
}

/* ---- application ---- */

static CONF_EACH(remember_token)
{
    const struct conf_application *application = section;
    const char *token = application->user_tokens[index];
    if (!token) {
        return;
    }
    if (r->token_count == r->token_capacity) {
        struct conf_token_place *old = r->tokens;
        r->token_capacity = r->token_capacity ? 2 * r->token_capacity : 64;
        r->tokens = arena_array(r->arena, r->token_capacity, sizeof *r->tokens);
        if (old) {
            memcpy(r->tokens, old, r->token_count * sizeof *r->tokens);
        }
    }
    r->tokens[r->token_count++] =
        (struct conf_token_place){token, application, item->line, item->column};
}

static const struct conf_field queue_fields[] = {
    {"size", &conf_type_number, AT(conf_queue, size), .min = 0, .max = QUEUE_MAX, .standard = "100",
     .help = "requests that may wait for a slot, of each node and instance; 0 = 429 at once"},
    {"timeout", &conf_type_duration, AT(conf_queue, timeout_ms), .min = 1, .max = CONF_DURATION_MAX,
     .standard = "30s",
     .help = "until one that waits gets 429, counted from when it first waits; less than its "
             "client's own time"},
    {0},
};

static const struct conf_section queue = {.what = "`queue`",
                                          .fields = queue_fields,
                                          .size = sizeof(struct conf_queue),
                                          .line = offsetof(struct conf_queue, line)};

static const struct conf_field application_fields[] = {
    {"user_tokens", &conf_type_list, AT(conf_application, user_tokens), .min = 1,
     .max = CONF_TOKENS_MAX, .required = true, .unordered = true, .items = "tokens",
     .item = &(const struct conf_field){.type = &conf_type_bearer}, .each = remember_token,
     .help = "what clients send"},
    {"algorithm", &conf_type_choice, AT(conf_application, algorithm), .choices = algorithm_words,
     .standard = "consistent_hash", .help = "who gets a request"},
    {"all_down", &conf_type_choice_bool, AT(conf_application, fail_when_all_down),
     .choices = (const char *const[]){"try_all", "fail", NULL}, .standard = "try_all",
     .help = "with no instance up: try them all the same, or answer 503"},
    {"queue", CONF_SECTION(queue), AT(conf_application, queue),
     .present = offsetof(struct conf_application, queue_set),
     .help = "for instances at their max_in_flight"},
    {"state", &conf_type_choice, AT(conf_application, state),
     .choices = (const char *const[]){"auto", "shared", "separate", NULL}, .standard = "auto",
     .help = "shared: replicas of one Dify; separate: each instance has its own conversations, and "
             "what names one goes to where it is; auto: shared where all have one token"},
    {"client_gone", &conf_type_choice, AT(conf_application, client_gone),
     .choices = (const char *const[]){"abort", "finish", "stop", NULL}, .standard = "abort",
     .help = "what becomes of a run whose client left: its connection is closed (but Dify works on "
             "in a workflow or chatflow), it is read to its end, or it is stopped at its instance"},
    {"health_check", CONF_SECTION(conf_health_check), AT(conf_application, health_check),
     .from = offsetof(struct conf, health_check)},
    {"retries", CONF_SECTION(conf_retries), AT(conf_application, retries),
     .from = offsetof(struct conf, retries)},
    {"user_id", CONF_SECTION(conf_user_id), AT(conf_application, user_id),
     .from = offsetof(struct conf, user_id)},
    {"instances", &conf_type_list, AT(conf_application, instances), .min = 1,
     .max = CONF_INSTANCES_MAX, .required = true, .items = "instances",
     .item = &CONF_SECTION_ITEM(instance), .each = refuse_same_name},
    {"quotas", &conf_type_list, AT(conf_application, quotas), .max = CONF_QUOTAS_MAX,
     .standard = "[]", .items = "quotas", .item = &conf_quota_item, .each = conf_refuse_same_quota,
     .help = "how much each user, token, address or the application may use; more gets 429"},
    {0},
};

const struct conf_section conf_application = {.what = "an application",
                                              .fields = application_fields,
                                              .size = sizeof(struct conf_application),
                                              .block = true,
                                              .named = true};

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
    application->name = pair->key->text.at;
    application->line = pair->key->line;
    application->column = pair->key->column;
    if (!value_is_name(pair->key->text)) {
        conf_problem(r, pair->key,
                     "the name of an application has 1 to 64 letters, digits, `.`, `_` or `-`%s",
                     pair->key->text.at[0] == '.' ? ", and is not `.` or `..`" : "");
        application->name = "?";
    }
    conf_read_section(r, &conf_application, pair->value, application);
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

static CONF_READER(read_applications)
{
    if (value->kind != YAML_MAPPING && value->broken) {
        return;
    }
    if (value->kind != YAML_MAPPING || value->count == 0) {
        conf_problem(r, value, "`applications` must be a mapping with at least one application");
        return;
    }
    if (value->count > field->max) {
        conf_problem(r, value, "%zu applications; at most %d are possible", value->count,
                     CONF_APPLICATIONS_MAX); /* and all are read: YAML_KEYS_MAX bounds them */
    }
    struct conf *conf = r->conf;
    struct conf_application standard = {0};
    conf_set_defaults(r, &conf_application, &standard);
    conf->applications = arena_array(r->arena, value->count, sizeof *conf->applications);
    conf->application_count = value->count;
    (void)place;
    for (size_t i = 0; i < value->count; i++) {
        conf->applications[i] = standard;
        read_application(r, &value->pairs[i], &conf->applications[i]);
    }
    refuse_shared_tokens(r);
    qsort(conf->applications, conf->application_count, sizeof *conf->applications, by_name);
}

const struct conf_type conf_type_applications = {.name = "section", .read = read_applications};
