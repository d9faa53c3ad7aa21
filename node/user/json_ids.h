/* json_ids: values at some keys of a JSON request, found by json_user in the same pass as the user.
 *
 * A name is looked for at the top level, where the last one wins (Python), or anywhere below it,
 * where the first one with a value counts. A value is a string of up to JSON_IDS_SIZE bytes,
 * escapes decoded; anything else, also a longer one, is none. They count when the body is one valid
 * object, or was cut at json_inspect: then what was found before, as a whole. */
#ifndef USER_JSON_IDS_H
#define USER_JSON_IDS_H

#include "base/bytes.h"

enum {
    JSON_IDS_COUNT = 4,
    JSON_IDS_SIZE = 64,
    JSON_IDS_NAME = 24, /* a longer key is none of them */
};

struct json_id_name {
    struct bytes name;
    bool below; /* not at the top level, but anywhere below it */
};

struct json_ids {
    const struct json_id_name *names; /* lent; at most JSON_IDS_COUNT */
    uint32_t count;
    uint32_t lengths; /* of the names, a bit each: keys of others are not compared */
    int8_t current;   /* the name whose value comes, or -1 */
    bool collecting;  /* a key, or that value */
    bool key_too_long;
    uint8_t key_size, value_size;  /* of what is gathered */
    uint8_t sizes[JSON_IDS_COUNT]; /* of the values; 0 = none */
    bool too_long;
    char key[JSON_IDS_NAME];
    char values[JSON_IDS_COUNT][JSON_IDS_SIZE];
};

void json_ids_init(struct json_ids *ids, const struct json_id_name *names, uint32_t count);

/* Size 0: there is none. */
static inline struct bytes json_ids_value(const struct json_ids *ids, uint32_t name)
{
    return (struct bytes){ids->values[name], ids->sizes[name]};
}

/* The body was not what it must be. */
static inline void json_ids_forget(struct json_ids *ids)
{
    memset(ids->sizes, 0, sizeof(ids->sizes));
}

/* For the two below: may a key of that size be one of the names? The first name that it is, or -1.
 * What is too long is none. */
static inline bool json_ids_has_size(const struct json_ids *ids, size_t size)
{
    return size <= JSON_IDS_NAME && (ids->lengths >> size & 1) != 0;
}
int8_t json_ids_find(const struct json_ids *ids, struct bytes key, bool top);
void json_ids_set(struct json_ids *ids, uint32_t name, struct bytes text);

/* For json_user. A key that lies there as a whole, and the string behind it if that does, too. */
static inline void json_ids_take_key(struct json_ids *ids, struct bytes key, bool top)
{
    ids->current = json_ids_has_size(ids, key.size) ? json_ids_find(ids, key, top) : -1;
}
static inline void json_ids_take_value(struct json_ids *ids, struct bytes text)
{
    if (ids->current >= 0) {
        json_ids_set(ids, (uint32_t)ids->current, text);
        ids->current = -1;
    }
}

/* The same in parts. A key begins and ends; a value begins (`string`), and ends; and the characters
 * of either as they are decoded. Those of a key that have not been told come with its end. */
void json_ids_begin_key(struct json_ids *ids);
void json_ids_end_key(struct json_ids *ids, struct bytes rest, bool top);
void json_ids_begin_value(struct json_ids *ids, bool string);
void json_ids_end_value(struct json_ids *ids);
void json_ids_text(struct json_ids *ids, const char *from, size_t size);

#endif
