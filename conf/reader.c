/* reader: sections, lists and the readers of single values. */
#include "conf/reader.h"

#include <assert.h>
#include <stdio.h>

#include "conf/value.h"

enum {
    PATH_SIZE_MAX = 4096, /* Linux PATH_MAX */
    TOKEN_SIZE_MAX =
        512, /* Dify's keys have 28; long ones would not fit header_size with the rest */
};

enum { KEY_SIZE = 64 /* no key of the schema is longer than 20 */ };

/* In small letters, `-` as `_`; without both if `bare`. */
static struct bytes folded(struct bytes key, bool bare, char space[KEY_SIZE])
{
    size_t size = 0;
    for (size_t i = 0; i < key.size && size < KEY_SIZE; i++) {
        char c = key.at[i] == '-' ? '_' : ascii_lower(key.at[i]);
        if (!bare || c != '_') {
            space[size++] = c;
        }
    }
    return (struct bytes){space, size};
}

static bool is_same_but_for_spelling(struct bytes key, struct bytes known)
{
    char a[KEY_SIZE], b[KEY_SIZE];
    return key.size < KEY_SIZE && bytes_equal(folded(key, true, a), folded(known, true, b));
}

static const char *nearest_key(const struct conf_field *fields, struct bytes key)
{
    unsigned best = key.size < 6 ? 2 : 3; /* one slip in a short word, two in a long one */
    const char *nearest = NULL;
    char space[KEY_SIZE];
    struct bytes small = key.size < KEY_SIZE ? folded(key, false, space) : key;
    for (; fields->key; fields++) {
        struct bytes known = bytes_of(fields->key);
        unsigned distance =
            is_same_but_for_spelling(key, known) ? 0 : value_distance(small, known, best);
        if (distance < best) {
            best = distance;
            nearest = fields->key;
        }
    }
    return nearest;
}

static bool is_known(const struct conf_field *fields, struct bytes key)
{
    for (; fields->key; fields++) {
        if (bytes_equal(key, bytes_of(fields->key))) {
            return true;
        }
    }
    return false;
}

static void report_unknown(struct conf_reader *r, const struct conf_field *fields,
                           const struct yaml_node *key, const char *what)
{
    if (key->broken) {
        return;
    }
    bool full = problem_list_is_full(r->problems);
    const char *nearest = full ? NULL : nearest_key(fields, key->text);
    bool show = problem_may_show(key->text.at);
    if (!show && nearest) { /* without the key: a secret may differ from a word by little */
        conf_problem(r, key, "unknown key in %s; did you mean `%s`?", what, nearest);
    } else if (!show) {
        conf_problem(r, key, "unknown key in %s", what);
    } else if (nearest) {
        conf_problem(r, key, "unknown key `%s` in %s; did you mean `%s`?", key->text.at, what,
                     nearest);
    } else {
        conf_problem(r, key, "unknown key `%s` in %s", key->text.at, what);
    }
}

static const char *kind_name(const struct yaml_node *node)
{
    if (yaml_is_null(node)) {
        return "nothing";
    }
    switch (node->kind) {
    case YAML_SCALAR:
        return "a single value";
    case YAML_SEQUENCE:
        return "a list";
    case YAML_MAPPING:
        return "a mapping";
    }
    return "?";
}

bool conf_read_section(struct conf_reader *r, const struct conf_field *fields, const char *what,
                       const struct yaml_node *node, void *section)
{
    if (node->kind != YAML_MAPPING && node->broken) {
        return false;
    }
    if (node->kind != YAML_MAPPING) {
        conf_problem(r, node, "%s must be a mapping of keys to values, not %s", what,
                     kind_name(node));
        return false;
    }
    for (const struct conf_field *field = fields; field->key; field++) {
        const struct yaml_node *value = yaml_tree_get(node, field->key);
        if (value) {
            field->read(r, field, value, (char *)section + field->offset);
        } else if (field->required && !node->broken) {
            conf_problem(r, node, "`%s` is missing in %s", field->key, what);
        }
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!is_known(fields, node->pairs[i].key->text)) {
            report_unknown(r, fields, node->pairs[i].key, what);
        }
    }
    return true;
}

bool conf_is_list(struct conf_reader *r, const struct conf_field *field,
                  const struct yaml_node *value, const char *what, size_t *ret_count)
{
    if (value->broken) {
        return false;
    }
    if (value->kind != YAML_SEQUENCE) {
        conf_problem(r, value, "`%s` must be a list of %s, not %s", field->key, what,
                     kind_name(value));
    } else if (value->count < field->min) {
        conf_problem(r, value, "`%s` is empty; it needs at least %u of its %s", field->key,
                     (unsigned)field->min, what);
    } else {
        if (value->count > field->max) {
            conf_problem(r, value, "`%s` has %zu %s; at most %u are possible", field->key,
                         value->count, what, (unsigned)field->max);
        }
        *ret_count = value->count < field->max ? value->count : field->max;
        return true;
    }
    return false;
}

bool conf_text(struct conf_reader *r, const struct yaml_node *value, const char *what,
               struct bytes *ret_text)
{
    bool boolean;
    if (value->kind != YAML_SCALAR || yaml_is_null(value)) {
        conf_problem(r, value, "expected %s, not %s", what, kind_name(value));
        return false;
    }
    if (value->broken) {
        return false;
    }
    if (value->plain && !value->substituted && value->text.size > 1 &&
        value_boolean(value->text, &boolean)) {
        conf_problem(r, value,
                     "expected %s, not a boolean; put quotes around it if it is meant as text",
                     what);
        return false;
    }
    *ret_text = value->text;
    return true;
}

bool conf_number(struct conf_reader *r, const struct yaml_node *value, uint64_t min, uint64_t max,
                 uint64_t *ret_number)
{
    struct bytes text;
    uint64_t number;
    if (!conf_text(r, value, "a number", &text)) {
        return false;
    }
    if (!value->plain && !value->substituted) {
        conf_problem(r, value, "expected a number, not text; remove the quotes");
        return false;
    }
    if (!value_number(text, &number)) {
        bool zero = text.size > 1 && text.at[0] == '0' && value_looks_numeric(text);
        conf_problem(r, value,
                     zero ? "write this number without leading zeros (YAML would take it as octal)"
                          : "expected a whole number");
        return false;
    }
    if (number < min || number > max) {
        conf_problem(r, value, "must be from %llu to %llu", (unsigned long long)min,
                     (unsigned long long)max);
        return false;
    }
    *ret_number = number;
    return true;
}

CONF_READER(conf_read_boolean)
{
    (void)field;
    bool boolean;
    if (value->kind == YAML_SCALAR && value->broken) {
        return;
    }
    if (value->kind != YAML_SCALAR || (!value->plain && !value->substituted) ||
        !value_boolean(value->text, &boolean)) {
        conf_problem(r, value, "expected true or false (also: yes, no, on, off)");
        return;
    }
    *(bool *)place = boolean;
}

CONF_READER(conf_read_number)
{
    uint64_t number;
    assert(field->max <= UINT32_MAX);
    if (conf_number(r, value, field->min, field->max, &number)) {
        *(uint32_t *)place = (uint32_t)number;
    }
}

CONF_READER(conf_read_port)
{
    uint64_t number;
    (void)field;
    if (conf_number(r, value, 1, UINT16_MAX, &number)) {
        *(uint16_t *)place = (uint16_t)number;
    }
}

/* A duration as a person would write it: the largest unit that holds it exactly. */
static const char *duration_text(uint64_t ms, char text[32])
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (ms % units[i].ms != 0) {
        i++;
    }
    snprintf(text, 32, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].unit);
    return ms == 0 ? "0" : text;
}

CONF_READER(conf_read_duration)
{
    struct bytes text;
    uint64_t ms;
    char least[32], most[32];
    if (!conf_text(r, value, "a duration", &text)) {
        return;
    }
    if (!value_duration_ms(text, &ms)) {
        conf_problem(r, value, "expected a duration: seconds, or 100ms, 5s, 2m, 1h");
    } else if (ms < field->min || ms > field->max) {
        conf_problem(r, value, "must be from %s to %s", duration_text(field->min, least),
                     duration_text(field->max, most));
    } else {
        *(uint64_t *)place = ms;
    }
}

CONF_READER(conf_read_size)
{
    struct bytes text;
    uint64_t size;
    if (!conf_text(r, value, "a size", &text)) {
        return;
    }
    if (!value_size(text, &size)) {
        conf_problem(r, value, "expected a size: bytes, or 64KiB, 100MiB, 2GiB");
    } else if (size < field->min || size > field->max) {
        conf_problem(r, value, "must be from %llu to %llu bytes", (unsigned long long)field->min,
                     (unsigned long long)field->max);
    } else {
        *(uint64_t *)place = size;
    }
}

CONF_READER(conf_read_size32)
{
    uint64_t size = *(uint32_t *)place;
    assert(field->max <= UINT32_MAX);
    conf_read_size(r, field, value, &size);
    *(uint32_t *)place = (uint32_t)size;
}

/* "a, b or c" */
static void join_choices(const char *const *choices, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    for (size_t i = 0; choices[i]; i++) {
        const char *between = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        size_t used = strlen(ret_text);
        snprintf(ret_text + used, size - used, "%s%s", between, choices[i]);
    }
}

/* Also the beginning of a choice: `err`; and in other letters: `INFO`. */
static const char *nearest_choice(const char *const *choices, struct bytes written)
{
    unsigned best = 4; /* choices are few and unlike each other: three slips are still clear */
    const char *nearest = NULL;
    char space[KEY_SIZE];
    struct bytes text = written.size < KEY_SIZE ? folded(written, false, space) : written;
    for (; *choices; choices++) {
        unsigned distance = value_distance(text, bytes_of(*choices), best);
        if (text.size >= 3 && strncmp(*choices, text.at, text.size) == 0) {
            return *choices;
        }
        if (distance < best && distance < (strlen(*choices) + 1) / 2) {
            best = distance;
            nearest = *choices;
        }
    }
    return nearest;
}

CONF_READER(conf_read_choice)
{
    struct bytes text;
    char choices[200];
    if (!conf_text(r, value, "a word", &text)) {
        return;
    }
    for (unsigned i = 0; field->choices[i]; i++) {
        if (bytes_equal(text, bytes_of(field->choices[i]))) {
            *(unsigned *)place = i;
            return;
        }
    }
    join_choices(field->choices, choices, sizeof choices);
    const char *nearest = nearest_choice(field->choices, text);
    conf_problem(r, value, "unknown value for `%s`; choose %s%s%s%s", field->key, choices,
                 nearest ? "; did you mean `" : "", nearest ? nearest : "", nearest ? "`?" : "");
}

CONF_READER(conf_read_choice_bool)
{
    unsigned chosen = *(bool *)place;
    conf_read_choice(r, field, value, &chosen);
    *(bool *)place = chosen == 1;
}

CONF_READER(conf_read_name)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a name", &text)) {
        return;
    }
    if (!value_is_name(text)) {
        conf_problem(r, value, "a name has 1 to 64 letters, digits, `.`, `_` or `-`%s",
                     value->text.at[0] == '.' ? ", and is not `.` or `..`" : "");
        return;
    }
    *(const char **)place = text.at;
}

CONF_READER(conf_read_host)
{
    struct bytes text;
    char host[VALUE_HOST_SIZE];
    (void)field;
    if (!conf_text(r, value, "an address or a host name", &text)) {
        return;
    }
    if (!value_host(text, host)) {
        bool more =
            text.size > 0 && (memchr(text.at, ':', text.size) || memchr(text.at, '/', text.size));
        conf_problem(r, value,
                     more ? "expected an address or a host name alone, without scheme, path or port"
                          : "expected an IPv4 or IPv6 address or a host name");
        return;
    }
    *(const char **)place = arena_text(r->arena, bytes_of(host));
}

CONF_READER(conf_read_path)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a path", &text)) {
        return;
    }
    size_t directory_size = text.size > 0 && text.at[0] == '/' ? 0 : strlen(r->directory);
    if (text.size == 0 || !value_is_clean(text) || directory_size + text.size >= PATH_SIZE_MAX) {
        conf_problem(r, value,
                     "expected a path: not empty, without control characters, below %d bytes",
                     PATH_SIZE_MAX);
        return;
    }
    char *path = arena_take(r->arena, directory_size + text.size + 1);
    memcpy(path, r->directory, directory_size);
    memcpy(path + directory_size, text.at, text.size);
    *(const char **)place = path;
}

CONF_READER(conf_read_bearer)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a token", &text)) {
        return;
    }
    if (!value_is_bearer(text) || text.size > TOKEN_SIZE_MAX) {
        conf_problem(r, value, "a token has 1 to %d visible ASCII characters without spaces",
                     TOKEN_SIZE_MAX);
        return;
    }
    *(const char **)place = text.at;
}

bool conf_address(struct conf_reader *r, const struct yaml_node *value, bool numeric,
                  const char **ret_host, uint16_t *ret_port)
{
    struct bytes text;
    char host[VALUE_HOST_SIZE];
    uint16_t port = 0;
    const char *shape = numeric ? "ADDRESS:PORT or [IPV6]:PORT" : "HOST:PORT or [IPV6]:PORT";
    if (!conf_text(r, value, shape, &text)) {
        return false;
    }
    switch (value_address(text, host, &port)) {
    case VALUE_ADDRESS_NO_PORT:
        conf_problem(r, value, "the port is missing; expected %s", shape);
        return false;
    case VALUE_ADDRESS_BAD_PORT:
        conf_problem(r, value, "the port must be a number from 0 to 65535");
        return false;
    case VALUE_ADDRESS_BAD_HOST:
        conf_problem(r, value, "expected %s", shape);
        return false;
    case VALUE_ADDRESS_GOOD:
        break;
    }
    if (numeric && !value_is_ip(host)) {
        conf_problem(r, value, "expected %s with a numeric address, not a name", shape);
        return false;
    }
    *ret_host = arena_text(r->arena, bytes_of(host));
    *ret_port = port;
    return true;
}
