/* ring: points sorted once, and an index over them by the first bits. */
#include "route/ring.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

struct ring {
    _Atomic uint32_t references;
    uint32_t virtual_nodes, weights[RING_MEMBERS_MAX];
    struct ring_point *points;
    size_t point_count;
    uint32_t *starts; /* the first point whose value has at least these first bits */
    unsigned start_bits;
    size_t member_count;
    struct bytes names[RING_MEMBERS_MAX]; /* into text */
    char *text;
};

/* Who was asked, and what the answer was. */
struct ring_memo {
    uint64_t asked[RING_MEMBERS_MAX / 64], yes[RING_MEMBERS_MAX / 64];
    size_t asked_count;
};

static bool is_eligible(struct ring_memo *memo, bool (*eligible)(void *arg, size_t member),
                        void *arg, size_t member)
{
    uint64_t bit = 1ull << (member % 64);
    if (!(memo->asked[member / 64] & bit)) {
        memo->asked[member / 64] |= bit;
        memo->asked_count++;
        if (!eligible || eligible(arg, member)) {
            memo->yes[member / 64] |= bit;
        }
    }
    return (memo->yes[member / 64] & bit) != 0;
}

static void copy_names(struct ring *r, const struct ring_member *members)
{
    size_t size = 0;
    for (size_t i = 0; i < r->member_count; i++) {
        size += members[i].name.size;
    }
    r->text = memory_new(size);
    char *at = r->text;
    for (size_t i = 0; i < r->member_count; i++) {
        r->names[i] = (struct bytes){at, members[i].name.size};
        if (members[i].name.size > 0) {
            memcpy(at, members[i].name.at, members[i].name.size);
        }
        at += members[i].name.size;
    }
}

static uint64_t point_value(struct sha256 *sha, struct bytes name, size_t number)
{
    char decimal[24];
    int size = snprintf(decimal, sizeof(decimal), "%zu", number);
    struct bytes parts[] = {name, BYTES("#"), {decimal, (size_t)size}};
    return sha256_prefix(sha, parts, 3);
}

static int compare_points(const void *a, const void *b, void *arg)
{
    const struct ring_point *p = a, *q = b;
    const struct ring *r = arg;
    if (p->value != q->value) {
        return p->value < q->value ? -1 : 1;
    }
    return bytes_compare(r->names[p->member], r->names[q->member]);
}

/* One start a point, about. */
static void note_starts(struct ring *r)
{
    r->start_bits = 1;
    while (((size_t)1 << r->start_bits) < r->point_count) {
        r->start_bits++;
    }
    size_t count = (size_t)1 << r->start_bits, point = 0;
    r->starts = memory_new(count * sizeof(*r->starts));
    for (size_t i = 0; i < count; i++) {
        while (point < r->point_count && r->points[point].value >> (64 - r->start_bits) < i) {
            point++;
        }
        r->starts[i] = (uint32_t)point;
    }
}

struct ring *ring_new(struct sha256 *sha, const struct ring_member *members, size_t count,
                      uint32_t virtual_nodes)
{
    assert(count <= RING_MEMBERS_MAX);
    struct ring *r = memory_new(sizeof(*r));
    atomic_init(&r->references, 1);
    r->virtual_nodes = virtual_nodes;
    r->member_count = count;
    copy_names(r, members);
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        assert(members[i].weight > 0);
        r->weights[i] = members[i].weight;
        total += (size_t)members[i].weight * virtual_nodes;
    }
    assert(total <= RING_POINTS_MAX);
    r->points = memory_new(total * sizeof(*r->points));
    for (size_t i = 0; i < count; i++) {
        size_t own = (size_t)members[i].weight * virtual_nodes;
        for (size_t number = 1; number <= own; number++) {
            r->points[r->point_count++] =
                (struct ring_point){point_value(sha, r->names[i], number), (uint32_t)i};
        }
    }
    if (total > 0) {
        qsort_r(r->points, total, sizeof(*r->points), compare_points, r);
    }
    note_starts(r);
    return r;
}

bool ring_is_of(const struct ring *r, const struct ring_member *members, size_t count,
                uint32_t virtual_nodes)
{
    bool same = r->member_count == count && r->virtual_nodes == virtual_nodes;
    for (size_t i = 0; same && i < count; i++) {
        same = bytes_equal(r->names[i], members[i].name) && r->weights[i] == members[i].weight;
    }
    return same;
}

struct ring *ring_ref(struct ring *r)
{
    atomic_fetch_add_explicit(&r->references, 1, memory_order_relaxed);
    return r;
}

void ring_unref(struct ring *r)
{
    if (r && atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) == 1) {
        free(r->points);
        free(r->starts);
        free(r->text);
        free(r);
    }
}

uint64_t ring_key(struct sha256 *sha, struct bytes app, struct bytes user)
{
    struct bytes parts[] = {app, BYTES(":"), user};
    return sha256_prefix(sha, parts, 3);
}

/* The first point at or after the key; point_count when there is none. The points are hashes: they
 * lie evenly, and the key's own first bits say where it is to within a point or two. */
static size_t first_at_or_after(const struct ring *r, uint64_t key)
{
    size_t i = r->starts[key >> (64 - r->start_bits)];
    while (i < r->point_count && r->points[i].value < key) {
        i++;
    }
    return i;
}

int ring_lookup(const struct ring *r, uint64_t key, bool (*eligible)(void *arg, size_t member),
                void *arg)
{
    struct ring_memo memo = {0};
    size_t at = first_at_or_after(r, key);
    for (size_t step = 0; step < r->point_count; step++, at++) {
        if (at >= r->point_count) {
            at = 0;
        }
        if (is_eligible(&memo, eligible, arg, r->points[at].member)) {
            return (int)r->points[at].member;
        }
        if (memo.asked_count == r->member_count) {
            return -1;
        }
    }
    return -1;
}

size_t ring_member_count(const struct ring *r)
{
    return r->member_count;
}

size_t ring_point_count(const struct ring *r)
{
    return r->point_count;
}

const struct ring_point *ring_points(const struct ring *r)
{
    return r->points;
}

void ring_shares(const struct ring *r, bool (*eligible)(void *arg, size_t member), void *arg,
                 double *ret_shares)
{
    /* 128 bits because one member may own all 2^64 keys */
    __extension__ unsigned __int128 owned[RING_MEMBERS_MAX] = {0};
    struct ring_memo memo = {0};
    const struct ring_point *first = NULL, *last = NULL;
    for (size_t i = 0; i < r->point_count; i++) {
        const struct ring_point *p = &r->points[i];
        if (!is_eligible(&memo, eligible, arg, p->member)) {
            continue;
        }
        if (last) {
            owned[p->member] += p->value - last->value;
        } else {
            first = p;
        }
        last = p;
    }
    if (first) { /* from the last point around the end to the first; ~ because 2^64 does not fit */
        owned[first->member] += ~(last->value - first->value);
        owned[first->member] += 1;
    }
    for (size_t i = 0; i < r->member_count; i++) {
        ret_shares[i] = (double)owned[i] / 0x1p64;
    }
}

double ring_share(const struct ring *r, size_t member)
{
    double shares[RING_MEMBERS_MAX];
    assert(member < r->member_count);
    ring_shares(r, NULL, NULL, shares);
    return shares[member];
}

void ring_digest_app(const struct ring *r, struct bytes app_name,
                     bool (*eligible)(void *arg, size_t member), void *arg, struct buffer *out)
{
    struct ring_memo memo = {0};
    buffer_append_bytes(out, app_name);
    buffer_append(out, "\n", 1);
    for (size_t i = 0; i < r->point_count; i++) {
        const struct ring_point *p = &r->points[i];
        if (!is_eligible(&memo, eligible, arg, p->member)) {
            continue;
        }
        uint8_t value[8];
        for (int k = 0; k < 8; k++) {
            value[k] = (uint8_t)(p->value >> (56 - 8 * k));
        }
        buffer_append(out, value, sizeof(value));
        buffer_append_bytes(out, r->names[p->member]);
        buffer_append(out, "\n", 1);
    }
}
