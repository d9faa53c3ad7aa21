/* user_values: what the body scanners remember: at most one value for each source, and the text
 * that is being collected right now behind them. Short texts stay inside the struct. */
#ifndef USER_USER_VALUES_H
#define USER_USER_VALUES_H

#include "user/user_source.h"

enum {
    USER_VALUES_INLINE = 104, /* a key and then a UUID or an e-mail address, twice */
    USER_VALUES_SLOTS = 6,    /* the sources configured by default */
};

struct user_slot {
    uint32_t at, size; /* of the text; at is USER_SLOT_UNSET until a value is kept */
};

#define USER_SLOT_UNSET UINT32_MAX

struct user_values {
    const struct user_source *sources; /* lent */
    uint32_t count;                    /* sources that may still win */
    uint32_t size, capacity;           /* of the text */
    char *heap;                        /* NULL: the text is in `text` */
    struct user_slot *heap_slots;      /* NULL: they are in `slots` */
    struct user_slot slots[USER_VALUES_SLOTS];
    char text[USER_VALUES_INLINE];
};

void user_values_init(struct user_values *v, const struct user_source *sources, size_t count);
void user_values_done(struct user_values *v);

/* The first source of that kind and name, or -1. */
int user_values_find(const struct user_values *v, enum user_source_kind kind, struct bytes name);

/* Appends to the text. Nothing that was kept moves by offset. The total stays below 2^31 because
 * the scanners limit what they collect. */
void user_values_append(struct user_values *v, const char *data, size_t size);

/* The text from `at` on. */
struct bytes user_values_text(const struct user_values *v, uint32_t at);

/* Forgets the text from `at` on. */
void user_values_truncate(struct user_values *v, uint32_t at);

/* Makes the text from `at` on the value of a source. */
void user_values_keep(struct user_values *v, int source, uint32_t at);

/* Makes it unset; its text is given back when nothing stands behind it. */
void user_values_forget(struct user_values *v, int source);

bool user_values_is_set(const struct user_values *v, int source);
struct bytes user_values_get(const struct user_values *v, int source); /* size 0 when unset */

/* The first source with a value that is not empty, or -1. */
int user_values_first(const struct user_values *v);

#endif
