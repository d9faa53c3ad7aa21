/* schema_shared: health_check, retries, consistent_hash and user_id, once for all applications and
 * again, key by key, inside one: the reader lays the keys given over what is there. */
#include "conf/reader.h"
#include "conf/value.h"

#define HOUR 3600000ULL

enum {
    STATUS_LIST_MAX = 100, /* scanned for every answer */
    SOURCES_MAX = 16,      /* tried in order for every request */
    SOURCE_NAME_SIZE_MAX = 128,
};

static bool read_status(struct conf_reader *r, const struct yaml_node *value, uint16_t *ret_status)
{
    uint64_t number;
    if (!conf_number(r, value, 100, 599, &number)) {
        return false;
    }
    *ret_status = (uint16_t)number;
    return true;
}

static uint16_t *read_status_list(struct conf_reader *r, const struct conf_field *field,
                                  const struct yaml_node *value, size_t *ret_count)
{
    size_t count;
    if (!conf_is_list(r, field, value, "statuses", &count)) {
        return NULL;
    }
    uint16_t *statuses = arena_array(r->arena, count, sizeof *statuses);
    for (size_t i = 0; i < count; i++) {
        read_status(r, value->items[i], &statuses[i]);
    }
    *ret_count = count;
    return statuses;
}

/* ---- health_check ---- */

static CONF_READER(read_health_path)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a path", &text)) {
        return;
    }
    if (!value_is_bearer(text) || text.at[0] != '/' || memchr(text.at, '#', text.size)) {
        conf_problem(r, value,
                     "expected a URL path that begins with `/`, of visible ASCII without spaces "
                     "and `#`");
        return;
    }
    *(const char **)place = text.at;
}

/* `200-399` or a single number. */
static bool read_range(struct conf_reader *r, const struct yaml_node *value,
                       struct conf_status_range *ret_range)
{
    struct bytes text;
    uint64_t first, last;
    if (!conf_text(r, value, "a status or a range such as 200-399", &text)) {
        return false;
    }
    const char *dash = memchr(text.at, '-', text.size);
    size_t first_size = dash ? (size_t)(dash - text.at) : text.size;
    struct bytes behind = dash ? (struct bytes){dash + 1, text.size - first_size - 1} : text;
    if (!value_number((struct bytes){text.at, first_size}, &first) ||
        !value_number(behind, &last) || first < 100 || last > 599 || first > last) {
        conf_problem(r, value, "expected a status from 100 to 599 or a range such as 200-399");
        return false;
    }
    *ret_range = (struct conf_status_range){(uint16_t)first, (uint16_t)last};
    return true;
}

static CONF_READER(read_expect)
{
    struct conf_health_check *check = place;
    size_t count;
    if (!conf_is_list(r, field, value, "statuses", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    check->expect = arena_array(r->arena, count, sizeof *check->expect);
    check->expect_count = count;
    for (size_t i = 0; i < count; i++) {
        read_range(r, items[i], &check->expect[i]);
    }
}

/* SPEC §4: 429 and 4xx are never failures; to list one and have it ignored would mislead. */
static CONF_READER(read_failure_statuses)
{
    struct conf_health_check *check = place;
    size_t count;
    uint16_t *statuses = read_status_list(r, field, value, &count);
    if (!statuses) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (statuses[i] >= 400 && statuses[i] < 500) {
            conf_problem(r, value->items[i],
                         "a 4xx status is never a failure of the instance; remove it");
        } else if (statuses[i] >= 100 && statuses[i] < 400) {
            conf_problem(r, value->items[i],
                         "a status below 400 is no failure; expected some of 500 to 599");
        }
    }
    check->failure_statuses = statuses;
    check->failure_status_count = count;
}

CONF_READER(conf_read_health_check)
{
    static const struct conf_field fields[] = {
        {"enabled", conf_read_boolean, .offset = offsetof(struct conf_health_check, enabled)},
        {"token", conf_read_boolean, .offset = offsetof(struct conf_health_check, token)},
        {"path", read_health_path, .offset = offsetof(struct conf_health_check, path)},
        {"interval", conf_read_duration, .offset = offsetof(struct conf_health_check, interval_ms),
         .min = 10, .max = 24 * HOUR},
        {"timeout", conf_read_duration, .offset = offsetof(struct conf_health_check, timeout_ms),
         .min = 1, .max = HOUR},
        {"busy_timeout", conf_read_duration,
         .offset = offsetof(struct conf_health_check, busy_timeout_ms), .min = 0, .max = 24 * HOUR},
        {"healthy_threshold", conf_read_number,
         .offset = offsetof(struct conf_health_check, healthy_threshold), .min = 1, .max = 1000},
        {"unhealthy_threshold", conf_read_number,
         .offset = offsetof(struct conf_health_check, unhealthy_threshold), .min = 1, .max = 1000},
        {"expect", read_expect, .offset = 0, .min = 1, .max = STATUS_LIST_MAX},
        {"failure_statuses", read_failure_statuses, .offset = 0, .min = 0, .max = STATUS_LIST_MAX},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`health_check`", value, place);
}

/* ---- retries ---- */

static CONF_READER(read_retry_statuses)
{
    struct conf_retries *retries = place;
    size_t count;
    uint16_t *statuses = read_status_list(r, field, value, &count);
    for (size_t i = 0; statuses && i < count; i++) {
        if (statuses[i] >= 100 && statuses[i] < 400) {
            conf_problem(r, value->items[i],
                         "a status below 400 is an answer to keep; expected some of 400 to 599");
        }
    }
    if (statuses) {
        retries->statuses = statuses;
        retries->status_count = count;
    }
}

CONF_READER(conf_read_retries)
{
    static const struct conf_field fields[] = {
        {"attempts", conf_read_number, .offset = offsetof(struct conf_retries, attempts), .min = 1,
         .max = CONF_ATTEMPTS_MAX},
        {"timeout", conf_read_duration, .offset = offsetof(struct conf_retries, timeout_ms),
         .min = 1, .max = 24 * HOUR},
        {"statuses", read_retry_statuses, .offset = 0, .min = 0, .max = STATUS_LIST_MAX},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`retries`", value, place);
}

/* ---- consistent_hash ---- */

CONF_READER(conf_read_consistent_hash)
{
    static const struct conf_field fields[] = {
        {"virtual_nodes", conf_read_number, .offset = offsetof(struct conf, virtual_nodes),
         .min = 1, .max = CONF_VIRTUAL_NODES_MAX},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`consistent_hash`", value, place);
}

/* ---- user_id ---- */

static const struct {
    struct bytes prefix;
    enum user_source_kind kind;
} source_kinds[] = {
    {{"header:", 7}, USER_FROM_HEADER}, {{"query:", 6}, USER_FROM_QUERY},
    {{"cookie:", 7}, USER_FROM_COOKIE}, {{"json:", 5}, USER_FROM_JSON},
    {{"form:", 5}, USER_FROM_FORM},
};

/* Header and cookie names are HTTP tokens; the others may be any text. */
static bool is_source_name(enum user_source_kind kind, struct bytes name)
{
    bool token = kind == USER_FROM_HEADER || kind == USER_FROM_COOKIE;
    return name.size > 0 && name.size <= SOURCE_NAME_SIZE_MAX &&
           (token ? value_is_http_token(name) : value_is_clean(name));
}

static void read_source(struct conf_reader *r, const struct yaml_node *value,
                        struct conf_user_source *source)
{
    static const char shape[] = "header:NAME, query:NAME, cookie:NAME, json:NAME or form:NAME";
    struct bytes text;
    if (value->kind == YAML_MAPPING) {
        conf_problem(r, value, "expected %s, without a space behind the colon", shape);
        return;
    }
    if (!conf_text(r, value, shape, &text)) {
        return;
    }
    for (size_t i = 0; i < sizeof source_kinds / sizeof source_kinds[0]; i++) {
        struct bytes prefix = source_kinds[i].prefix;
        if (text.size < prefix.size || memcmp(text.at, prefix.at, prefix.size) != 0) {
            continue;
        }
        struct bytes name = {text.at + prefix.size, text.size - prefix.size};
        if (!is_source_name(source_kinds[i].kind, name)) {
            conf_problem(r, value,
                         "the name behind `%s` is empty, too long or has characters that it "
                         "cannot have",
                         prefix.at);
        }
        *source = (struct conf_user_source){source_kinds[i].kind, name.at};
        return;
    }
    conf_problem(r, value, "expected %s", shape);
}

static CONF_READER(read_sources)
{
    struct conf_user_id *user_id = place;
    size_t count;
    if (!conf_is_list(r, field, value, "sources", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    user_id->sources = arena_array(r->arena, count, sizeof *user_id->sources);
    user_id->source_count = count;
    for (size_t i = 0; i < count; i++) {
        read_source(r, items[i], &user_id->sources[i]);
    }
}

CONF_READER(conf_read_user_id)
{
    static const char *const missing[] = {"balance", "reject", NULL};
    static const struct conf_field fields[] = {
        {"sources", read_sources, .offset = 0, .min = 1, .max = SOURCES_MAX},
        {"missing", conf_read_choice_bool, .offset = offsetof(struct conf_user_id, reject_missing),
         .choices = missing},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`user_id`", value, place);
}
