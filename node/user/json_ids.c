/* json_ids: a key is gathered and compared, and then the value behind it. */
#include "user/json_ids.h"

#include <assert.h>

static_assert(JSON_IDS_NAME < 32, "a bit for each length");

void json_ids_init(struct json_ids *ids, const struct json_id_name *names, uint32_t count)
{
    assert(count <= JSON_IDS_COUNT); /* and no name is longer than JSON_IDS_NAME */
    ids->names = names;
    ids->count = count;
    ids->lengths = 0;
    for (uint32_t i = 0; i < count; i++) {
        ids->lengths |= UINT32_C(1) << names[i].name.size;
    }
    ids->current = -1;
    ids->collecting = ids->key_too_long = ids->too_long = false;
    ids->key_size = 0;
    memset(ids->sizes, 0, sizeof(ids->sizes)); /* the rest is read by its size only */
}

void json_ids_begin_key(struct json_ids *ids)
{
    ids->current = -1;
    ids->collecting = true;
    ids->key_too_long = false;
    ids->key_size = 0;
}

/* One below the top level that has a value keeps it. */
static bool is_wanted(const struct json_ids *ids, uint32_t name, struct bytes key, bool top)
{
    const struct json_id_name *n = &ids->names[name];
    return n->name.size == key.size && n->below != top &&
           bytes_same(n->name.at, key.at, key.size) && (top || ids->sizes[name] == 0);
}

int8_t json_ids_find(const struct json_ids *ids, struct bytes key, bool top)
{
    for (uint32_t i = 0; i < ids->count; i++) {
        if (is_wanted(ids, i, key, top)) {
            return (int8_t)i;
        }
    }
    return -1;
}

void json_ids_set(struct json_ids *ids, uint32_t name, struct bytes text)
{
    bool fits = text.size <= JSON_IDS_SIZE;
    ids->sizes[name] = fits ? (uint8_t)text.size : 0;
    if (fits) {
        memcpy(ids->values[name], text.at, text.size);
    }
}

void json_ids_end_key(struct json_ids *ids, struct bytes rest, bool top)
{
    struct bytes key = rest;
    if (ids->key_size > 0) {
        json_ids_text(ids, rest.at, rest.size);
        key = (struct bytes){ids->key, ids->key_size};
    }
    ids->collecting = false;
    if (!ids->key_too_long) {
        json_ids_take_key(ids, key, top);
    }
}

void json_ids_begin_value(struct json_ids *ids, bool string)
{
    if (ids->current < 0) {
        return;
    }
    ids->sizes[ids->current] = 0;
    ids->collecting = string;
    ids->too_long = false;
    ids->value_size = 0;
    ids->current = string ? ids->current : -1;
}

void json_ids_end_value(struct json_ids *ids)
{
    if (ids->current >= 0 && !ids->too_long) {
        ids->sizes[ids->current] = ids->value_size;
    }
    ids->current = -1;
    ids->collecting = false;
}

void json_ids_text(struct json_ids *ids, const char *from, size_t size)
{
    if (!ids->collecting || size == 0) {
        return;
    }
    bool value = ids->current >= 0;
    char *to = value ? ids->values[ids->current] : ids->key;
    uint8_t *used = value ? &ids->value_size : &ids->key_size;
    size_t room = (value ? JSON_IDS_SIZE : JSON_IDS_NAME) - (size_t)*used;
    if (size > room) {
        ids->collecting = false;
        ids->key_too_long = !value || ids->key_too_long;
        ids->too_long = value;
        return;
    }
    memcpy(to + *used, from, size);
    *used = (uint8_t)(*used + size);
}
