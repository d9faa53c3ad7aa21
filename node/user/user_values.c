/* user_values: a table of spans into one growing text that starts inside the struct. */
#include "user/user_values.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

static struct user_slot *slot(struct user_values *v, int source)
{
    assert(source >= 0 && (uint32_t)source < v->count);
    return (v->heap_slots ? v->heap_slots : v->slots) + source;
}

static const struct user_slot *slot_read(const struct user_values *v, int source)
{
    assert(source >= 0 && (uint32_t)source < v->count);
    return (v->heap_slots ? v->heap_slots : v->slots) + source;
}

void user_values_init(struct user_values *v, const struct user_source *sources, size_t count)
{
    assert(count < INT32_MAX);
    v->sources = sources;
    v->count = (uint32_t)count;
    v->size = 0;
    v->capacity = USER_VALUES_INLINE;
    v->heap = NULL;
    v->heap_slots = NULL;
    if (count > USER_VALUES_SLOTS) {
        v->heap_slots = memory_new(count * sizeof(*v->heap_slots));
    }
    for (size_t i = 0; i < count; i++) {
        *slot(v, (int)i) = (struct user_slot){USER_SLOT_UNSET, 0};
    }
}

void user_values_done(struct user_values *v)
{
    free(v->heap);
    free(v->heap_slots);
    v->heap = NULL;
    v->heap_slots = NULL;
}

int user_values_find(const struct user_values *v, enum user_source_kind kind, struct bytes name)
{
    for (uint32_t i = 0; i < v->count; i++) {
        const struct user_source *s = &v->sources[i];
        if (s->kind == kind && s->name.size == name.size &&
            bytes_same(s->name.at, name.at, name.size)) {
            return (int)i;
        }
    }
    return -1;
}

static void grow(struct user_values *v, size_t size)
{
    size_t capacity = v->capacity;
    while (capacity < size) {
        capacity *= 2;
    }
    assert(capacity <= INT32_MAX);
    bool was_inline = !v->heap;
    v->heap = memory_resize(v->heap, capacity);
    if (was_inline) {
        memcpy(v->heap, v->text, v->size);
    }
    v->capacity = (uint32_t)capacity;
}

void user_values_append(struct user_values *v, const char *data, size_t size)
{
    if (size > v->capacity - v->size) {
        grow(v, v->size + size);
    }
    memcpy((v->heap ? v->heap : v->text) + v->size, data, size);
    v->size += (uint32_t)size;
}

struct bytes user_values_text(const struct user_values *v, uint32_t at)
{
    assert(at <= v->size);
    return (struct bytes){(v->heap ? v->heap : v->text) + at, v->size - at};
}

void user_values_truncate(struct user_values *v, uint32_t at)
{
    assert(at <= v->size);
    v->size = at;
}

void user_values_keep(struct user_values *v, int source, uint32_t at)
{
    assert(at <= v->size);
    *slot(v, source) = (struct user_slot){at, v->size - at};
}

void user_values_forget(struct user_values *v, int source)
{
    struct user_slot *s = slot(v, source);
    if (s->at != USER_SLOT_UNSET && s->at + s->size == v->size) {
        v->size = s->at;
    }
    *s = (struct user_slot){USER_SLOT_UNSET, 0};
}

bool user_values_is_set(const struct user_values *v, int source)
{
    return slot_read(v, source)->at != USER_SLOT_UNSET;
}

struct bytes user_values_get(const struct user_values *v, int source)
{
    const struct user_slot *s = slot_read(v, source);
    if (s->at == USER_SLOT_UNSET) {
        return (struct bytes){NULL, 0};
    }
    return (struct bytes){(v->heap ? v->heap : v->text) + s->at, s->size};
}

int user_values_first(const struct user_values *v)
{
    for (uint32_t i = 0; i < v->count; i++) {
        if (user_values_get(v, (int)i).size > 0) {
            return (int)i;
        }
    }
    return -1;
}
