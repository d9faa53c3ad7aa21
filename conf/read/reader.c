/* reader: sections, lists and the readers of single values. */
#include "conf/read/reader.h"

#include <stdio.h>

#include "conf/value.h"

static bool is_same_but_for_spelling(struct bytes key, struct bytes known)
{
    char a[VALUE_KEY_SIZE], b[VALUE_KEY_SIZE];
    return key.size < VALUE_KEY_SIZE &&
           bytes_equal(value_folded(key, true, a), value_folded(known, true, b));
}

static const char *nearest_key(const struct conf_field *fields, struct bytes key)
{
    unsigned best = key.size < 6 ? 2 : 3; /* one slip in a short word, two in a long one */
    const char *nearest = NULL;
    char space[VALUE_KEY_SIZE];
    struct bytes small = key.size < VALUE_KEY_SIZE ? value_folded(key, false, space) : key;
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

/* Words that other balancers have for the same. */
static const char *known_by_another_word(const struct conf_field *fields, struct bytes key)
{
    static const struct {
        const char *word, *key;
    } words[] = {
        {"fall", "unhealthy_threshold"}, {"rise", "healthy_threshold"}, {"apps", "applications"},
        {"servers", "instances"},        {"backends", "instances"},     {"upstreams", "instances"},
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (bytes_equal(key, bytes_of(words[i].word)) && is_known(fields, bytes_of(words[i].key))) {
            return words[i].key;
        }
    }
    return NULL;
}

static void report_unknown(struct conf_reader *r, const struct conf_field *fields,
                           const struct yaml_node *key, const char *what)
{
    if (key->broken) {
        return;
    }
    bool full = problem_list_is_full(r->problems);
    const char *nearest = full ? NULL : known_by_another_word(fields, key->text);
    nearest = full || nearest ? nearest : nearest_key(fields, key->text);
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

bool conf_read_section(struct conf_reader *r, const struct conf_section *section,
                       const struct yaml_node *node, void *place)
{
    char *at = place;
    if (section->line > 0) {
        memcpy(at + section->line, (unsigned[]){node->line, node->column}, 2 * sizeof(unsigned));
    }
    if (node->kind != YAML_MAPPING && node->broken) {
        return false;
    }
    if (node->kind != YAML_MAPPING) {
        conf_problem(r, node, "%s must be a mapping of keys to values, not %s", section->what,
                     kind_name(node));
        return false;
    }
    for (const struct conf_field *field = section->fields; field->key; field++) {
        const struct yaml_node *value = yaml_tree_get(node, field->key);
        if (value) {
            field->type->read(r, field, value, at + field->offset);
        } else if (field->required && !node->broken) {
            conf_problem(r, node, "`%s` is missing in %s", field->key, section->what);
        }
    }
    for (size_t i = 0; i < node->count; i++) {
        if (!is_known(section->fields, node->pairs[i].key->text)) {
            report_unknown(r, section->fields, node->pairs[i].key, section->what);
        }
    }
    if (section->check) {
        section->check(r, node, place);
    }
    return true;
}

static CONF_READER(read_section)
{
    if (field->present > 0) {
        *((bool *)place - field->offset + field->present) = true;
    }
    conf_read_section(r, field->section, value, place);
}

const struct conf_type conf_type_section = {.name = "section", .read = read_section};

/* ---- lists ---- */

/* True for a list of at least field->min items; else after a problem. `ret_count` of them, at most
 * field->max, are to be read: of a longer list, which is a problem too, the first ones. `what` is
 * the plural in messages. */
static bool is_list(struct conf_reader *r, const struct conf_field *field,
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

static CONF_READER(read_list)
{
    const struct conf_field *item = field->item;
    size_t count, size = item->section ? item->section->size : item->type->size;
    if (!is_list(r, field, value, field->items, &count)) {
        return;
    }
    char *items = arena_array(r->arena, count, size);
    memcpy(place, &(struct conf_list){items, count}, sizeof(struct conf_list));
    if (item->section && count > 0) {
        conf_set_defaults(r, item->section, items);
    }
    for (size_t i = count; i-- > 1 && item->section;) {
        memcpy(items + i * size, items, size);
    }
    for (size_t i = 0; i < count; i++) {
        item->type->read(r, item, value->items[i], items + i * size);
        if (field->each) {
            field->each(r, value->items[i], (char *)place - field->offset, i);
        }
    }
}

const struct conf_type conf_type_list = {.name = "list", .read = read_list};

/* ---- defaults ---- */

/* As in a file: `""`, a plain scalar, or a list of them, `[a, b]`. */
static struct yaml_node *standard_node(struct arena *arena, struct bytes text)
{
    struct yaml_node *node = arena_take(arena, sizeof *node);
    if (text.size == 0 || text.at[0] != '[') {
        node->plain = !bytes_equal(text, BYTES("\"\""));
        node->text = bytes_of(arena_text(arena, node->plain ? text : BYTES("")));
        return node;
    }
    struct bytes rest = {text.at + 1, text.size - 2}, item;
    node->kind = YAML_SEQUENCE;
    node->items = arena_array(arena, text.size, sizeof *node->items);
    while (bytes_next_element(&rest, &item)) {
        node->items[node->count++] = standard_node(arena, item);
    }
    return node;
}

void conf_set_defaults(struct conf_reader *r, const struct conf_section *section, void *place)
{
    for (const struct conf_field *field = section->fields; field->key; field++) {
        char *at = (char *)place + field->offset;
        if (field->from > 0) {
            memcpy(at, (const char *)r->conf + field->from, field->section->size);
        } else if (field->standard) {
            field->type->read(r, field, standard_node(r->arena, bytes_of(field->standard)), at);
        } else if (field->section) {
            conf_set_defaults(r, field->section, at);
        }
    }
}

/* ---- what readers of values are made of ---- */

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
