/* wire_equal: whether two packets of the gossip say the same, wherever their texts lie. */
#ifndef TESTS_SUPPORT_WIRE_EQUAL_H
#define TESTS_SUPPORT_WIRE_EQUAL_H

#include "gossip/wire/wire.h"

static inline bool wire_rows_equal(const struct wire_packet *a, const struct wire_packet *b)
{
    bool equal = a->row_count == b->row_count;
    for (size_t i = 0; equal && i < a->row_count; i++) {
        const struct wire_row *x = &a->rows[i], *y = &b->rows[i];
        equal = x->id == y->id && x->generation == y->generation &&
                x->incarnation == y->incarnation && x->state == y->state &&
                x->versions[WIRE_URGENT] == y->versions[WIRE_URGENT] &&
                x->versions[WIRE_BULK] == y->versions[WIRE_BULK];
    }
    return equal;
}

static inline bool wire_deltas_equal(const struct wire_packet *a, const struct wire_packet *b)
{
    bool equal = a->delta_count == b->delta_count && a->entry_count == b->entry_count;
    for (size_t i = 0; equal && i < a->delta_count; i++) {
        const struct wire_delta *x = &a->deltas[i], *y = &b->deltas[i];
        equal = bytes_equal(x->name, y->name) && x->generation == y->generation &&
                x->incarnation == y->incarnation && x->state == y->state &&
                gossip_address_equal(&x->address, &y->address) && x->priority == y->priority &&
                x->base == y->base && x->top == y->top && x->first_entry == y->first_entry &&
                x->entry_count == y->entry_count;
    }
    for (size_t i = 0; equal && i < a->entry_count; i++) {
        const struct wire_entry *x = &a->entries[i], *y = &b->entries[i];
        equal = bytes_equal(x->key, y->key) && x->version == y->version &&
                x->tombstone == y->tombstone && bytes_equal(x->value, y->value);
    }
    return equal;
}

static inline bool wire_equal(const struct wire_packet *a, const struct wire_packet *b)
{
    return a->type == b->type && bytes_equal(a->name, b->name) && a->generation == b->generation &&
           a->incarnation == b->incarnation && a->leaving == b->leaving &&
           gossip_address_equal(&a->advertise, &b->advertise) && a->sequence == b->sequence &&
           a->target == b->target && a->summary == b->summary &&
           a->member_count == b->member_count && a->bucket_count == b->bucket_count &&
           memcmp(a->buckets, b->buckets, a->bucket_count * sizeof(a->buckets[0])) == 0 &&
           wire_rows_equal(a, b) && wire_deltas_equal(a, b) && bytes_equal(a->digest, b->digest) &&
           a->offset == b->offset && a->text_size == b->text_size &&
           bytes_equal(a->chunk, b->chunk) && a->padding == b->padding;
}

#endif
