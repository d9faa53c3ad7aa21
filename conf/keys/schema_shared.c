/* schema_shared: health_check, retries, consistent_hash and user_id, once for all applications and
 * again, key by key, inside one: the reader lays the keys given over what is there. */
#include "conf/read/reader.h"
#include "conf/value.h"

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

static const struct conf_type type_health_path = {"URL path", read_health_path, NULL,
                                                  CONF_TEXT,  BARE_NOTHING,     "^/[!\"$-~]*$"};

/* `200-399` or a single number. */
static CONF_READER(read_range)
{
    struct bytes text;
    uint64_t first, last;
    (void)field;
    if (!conf_text(r, value, "a status or a range such as 200-399", &text)) {
        return;
    }
    const char *dash = memchr(text.at, '-', text.size);
    size_t first_size = dash ? (size_t)(dash - text.at) : text.size;
    struct bytes behind = dash ? (struct bytes){dash + 1, text.size - first_size - 1} : text;
    if (!value_number((struct bytes){text.at, first_size}, &first) ||
        !value_number(behind, &last) || first < 100 || last > 599 || first > last) {
        conf_problem(r, value, "expected a status from 100 to 599 or a range such as 200-399");
        return;
    }
    *(struct conf_status_range *)place =
        (struct conf_status_range){(uint16_t)first, (uint16_t)last};
}

static CONF_WRITER(write_range)
{
    const struct conf_status_range *range = place;
    (void)file;
    fprintf(out, "%u-%u", range->first, range->last);
}

/* numbers in their other forms, hexadecimal or with `_`, are rare enough to be let through */
#define STATUS_PATTERN "([1-5][0-9]{2}|0x[0-9A-Fa-f]+|[0-9]*_[0-9_]*)"

static const struct conf_type type_range = {
    "status or range", read_range,
    write_range,       CONF_PLAIN(struct conf_status_range),
    BARE_WHOLE,        "^" STATUS_PATTERN "(-" STATUS_PATTERN ")?$"};

/* SPEC §4: 429 and 4xx are never failures; to list one and have it ignored would mislead. */
static CONF_READER(read_failure_status)
{
    uint16_t *status = place;
    (void)field;
    if (read_status(r, value, status) && *status < 500) {
        conf_problem(r, value,
                     *status >= 400
                         ? "a 4xx status is never a failure of the instance; remove it"
                         : "a status below 400 is no failure; expected some of 500 to 599");
    }
}

static const struct conf_type type_failure_status = {
    "status", read_failure_status, NULL, CONF_PLAIN(uint16_t), BARE_WHOLE, NULL};

static const struct conf_field health_check_fields[] = {
    {"enabled", &conf_type_boolean, AT(conf_health_check, enabled), .standard = "true",
     .help = "GETs path from every instance"},
    {"token", &conf_type_boolean, AT(conf_health_check, token), .standard = "true",
     .help = "with the instance's token; false (and dataset- and ds- tokens): without one"},
    {"path", &type_health_path, AT(conf_health_check, path), .standard = "/v1/parameters",
     .help = "asks the database of a Dify, too"},
    {"interval", &conf_type_duration, AT(conf_health_check, interval_ms), .min = 10,
     .max = CONF_DURATION_MAX, .standard = "5s",
     .help = "between two checks of a host and port, whose instances take turns"},
    {"timeout", &conf_type_duration, AT(conf_health_check, timeout_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "3s", .help = "of one check"},
    {"busy_timeout", &conf_type_duration, AT(conf_health_check, busy_timeout_ms), .min = 0,
     .max = CONF_DURATION_MAX, .standard = "120s",
     .help = "an instance at work may leave checks unanswered for so long; above the "
             "longest blocking run"},
    {"healthy_threshold", &conf_type_number, AT(conf_health_check, healthy_threshold), .min = 1,
     .max = 1000, .standard = "2", .help = "good checks in a row until an instance is up"},
    {"unhealthy_threshold", &conf_type_number, AT(conf_health_check, unhealthy_threshold), .min = 1,
     .max = 1000, .standard = "3", .help = "bad checks in a row until it is down"},
    {"expect", &conf_type_list, AT(conf_health_check, expect), .min = 1, .max = STATUS_LIST_MAX,
     .items = "statuses",
     .item = &(const struct conf_field){.type = &type_range, .min = 100, .max = 599},
     .help = "statuses of a good check; without it 200-399, and 401 where it carries no "
             "token"},
    {"failure_statuses", &conf_type_list, AT(conf_health_check, failure_statuses), .min = 0,
     .max = STATUS_LIST_MAX, .items = "statuses",
     .item = &(const struct conf_field){.type = &type_failure_status, .min = 500, .max = 599},
     .standard = "[502, 503, 504]", .help = "answers to requests that count as failures"},
    {0},
};

const struct conf_section conf_health_check = {.what = "`health_check`",
                                               .fields = health_check_fields,
                                               .line = offsetof(struct conf_health_check, line),
                                               .size = sizeof(struct conf_health_check)};

/* ---- retries ---- */

static CONF_READER(read_retry_status)
{
    uint16_t *status = place;
    (void)field;
    if (read_status(r, value, status) && *status < 400) {
        conf_problem(r, value,
                     "a status below 400 is an answer to keep; expected some of 400 to 599");
    }
}

static const struct conf_type type_retry_status = {
    "status", read_retry_status, NULL, CONF_PLAIN(uint16_t), BARE_WHOLE, NULL};

static const struct conf_field retries_fields[] = {
    {"attempts", &conf_type_number, AT(conf_retries, attempts), .min = 1, .max = CONF_ATTEMPTS_MAX,
     .standard = "3", .help = "in all"},
    {"timeout", &conf_type_duration, AT(conf_retries, timeout_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "30s", .help = "for all of them"},
    {"statuses", &conf_type_list, AT(conf_retries, statuses), .min = 0, .max = STATUS_LIST_MAX,
     .items = "statuses",
     .item = &(const struct conf_field){.type = &type_retry_status, .min = 400, .max = 599},
     .standard = "[502, 503, 504]",
     .help = "answers to GET, HEAD and OPTIONS that are tried again"},
    {0},
};

const struct conf_section conf_retries = {
    .what = "`retries`", .fields = retries_fields, .size = sizeof(struct conf_retries)};

/* ---- consistent_hash ---- */

static const struct conf_field consistent_hash_fields[] = {
    {"virtual_nodes", &conf_type_number, AT(conf, virtual_nodes), .min = 1,
     .max = CONF_VIRTUAL_NODES_MAX, .standard = "160",
     .help = "points on the ring for each unit of weight"},
    {0},
};

const struct conf_section conf_consistent_hash = {.what = "`consistent_hash`",
                                                  .fields = consistent_hash_fields};

/* ---- user_id ---- */

/* Header and cookie names are HTTP tokens; the others may be any text. */
static bool is_source_name(enum user_source_kind kind, struct bytes name)
{
    bool token = kind == USER_FROM_HEADER || kind == USER_FROM_COOKIE;
    return name.size > 0 && name.size <= SOURCE_NAME_SIZE_MAX &&
           (token ? value_is_http_token(name) : value_is_clean(name));
}

static CONF_READER(read_source)
{
    static const char shape[] = "header:NAME, query:NAME, cookie:NAME, json:NAME or form:NAME";
    struct bytes text;
    (void)field;
    if (value->kind == YAML_MAPPING) {
        conf_problem(r, value, "expected %s, without a space behind the colon", shape);
        return;
    }
    if (!conf_text(r, value, shape, &text)) {
        return;
    }
    for (unsigned kind = 0; user_source_words[kind]; kind++) {
        size_t size = strlen(user_source_words[kind]);
        if (text.size <= size || memcmp(text.at, user_source_words[kind], size) != 0 ||
            text.at[size] != ':') {
            continue;
        }
        struct bytes name = {text.at + size + 1, text.size - size - 1};
        if (!is_source_name(kind, name)) {
            conf_problem(r, value,
                         "the name behind `%s:` is empty, too long or has characters that it "
                         "cannot have",
                         user_source_words[kind]);
        }
        *(struct conf_user_source *)place = (struct conf_user_source){kind, name.at};
        return;
    }
    conf_problem(r, value, "expected %s", shape);
}

static CONF_WRITER(write_source)
{
    const struct conf_user_source *source = place;
    char before[16];
    (void)file;
    snprintf(before, sizeof before, "%s:", user_source_words[source->kind]);
    conf_put_text(out, before, source->name);
}

static const struct conf_type type_source = {
    .name = "source",
    .read = read_source,
    .write = write_source,
    .parts = {{offsetof(struct conf_user_source, kind), sizeof(enum user_source_kind), false},
              {offsetof(struct conf_user_source, name), sizeof(char *), true}},
    .size = sizeof(struct conf_user_source),
    .pattern = "^((header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}|(query|json|form):[^\\u0000-"
               "\\u001f\\u007f]{1,128})$",
};

static const struct conf_field user_id_fields[] = {
    {"sources", &conf_type_list, AT(conf_user_id, sources), .min = 1, .max = SOURCES_MAX,
     .items = "sources", .item = &(const struct conf_field){.type = &type_source},
     .standard = "[header:X-User-ID, query:user_id, query:user, cookie:user_id, json:user, "
                 "form:user]",
     .help = "the first that is not empty"},
    {"missing", &conf_type_choice_bool, AT(conf_user_id, reject_missing),
     .choices = (const char *const[]){"balance", "reject", NULL}, .standard = "balance",
     .help = "balance = weighted round robin; reject = 400"},
    {0},
};

const struct conf_section conf_user_id = {.what = "`user_id`",
                                          .fields = user_id_fields,
                                          .size = sizeof(struct conf_user_id),
                                          .block = true};
