/* rows: what others are told of a shard's subjects, what they tell, and what goes to the disk. */
#include <assert.h>

#include "quota/private.h"

static bool says_something(const struct quota_row *row)
{
    return row->active > 0 || row->use_count > 0;
}

/* What this node has granted. */
static void own_row(struct subject *x, uint64_t window_ms, uint64_t now_ms, struct quota_row *ret)
{
    *ret = (struct quota_row){.key = x->key, .rule = x->rule, .active = x->active};
    if (window_ms > 0) {
        quota_window_used(&x->own, window_ms, now_ms);
        ret->use_count = (uint8_t)quota_window_tell(&x->own, window_ms, now_ms, ret->uses);
    }
}

size_t quota_take_news(struct quota_shard *s, unsigned heat, uint64_t now_ms,
                       struct quota_windows windows, struct quota_row *ret_rows, size_t max)
{
    size_t count = 0;
    while (count < max && s->news[heat].first) {
        uint32_t index = s->news[heat].first;
        struct subject *x = subject_at(s, index);
        news_remove(s, index);
        own_row(x, windows.of(windows.arg, x->rule), now_ms, &ret_rows[count++]);
    }
    return count;
}

size_t quota_tell_all(struct quota_shard *s)
{
    for (uint32_t i = 1; i < s->subject_count; i++) {
        const struct subject *x = subject_at(s, i);
        if (x->taken && (x->own.sum > 0 || x->active > 0)) {
            news_add(s, i, QUOTA_HEATS - 1);
        }
    }
    return s->subject_count;
}

static uint32_t *part_of(const struct quota_shard *s, struct subject *x, uint16_t owner)
{
    uint32_t *at = &x->parts;
    while (*at && part_at(s, *at)->owner != owner) {
        at = &part_at(s, *at)->next;
    }
    return at;
}

static void drop_part(struct quota_shard *s, uint32_t *at)
{
    uint32_t gone = *at;
    *at = part_at(s, gone)->next;
    part_free(s, gone);
}

static void hear_other(struct quota_shard *s, uint32_t index, uint64_t window_ms,
                       const struct quota_row *row, uint64_t now_ms)
{
    struct subject *x = subject_at(s, index);
    uint32_t *at = part_of(s, x, row->owner);
    if (!says_something(row)) {
        if (*at) {
            drop_part(s, at);
        }
        return;
    }
    uint32_t part = *at ? *at : part_make(s, index);
    if (part) {
        struct part *p = part_at(s, part);
        p->owner = row->owner;
        p->active = row->active;
        if (window_ms > 0) {
            quota_window_hear(&p->window, window_ms, now_ms, row->uses, row->use_count);
        }
    }
}

void quota_hear(struct quota_shard *s, uint16_t owner, uint64_t window_ms,
                const struct quota_row *row, uint64_t now_ms)
{
    struct quota_row heard = *row;
    assert(owner > 0 && owner < QUOTA_OWNERS_MAX && row->use_count <= QUOTA_CELLS);
    heard.owner = owner;
    uint32_t index =
        says_something(row) ? subject_make(s, row->key, row->rule) : subject_find(s, row->key);
    s->counts.changes++;
    if (index) {
        hear_other(s, index, window_ms, &heard, now_ms);
    }
}

void quota_forget_owner(struct quota_shard *s, uint16_t owner)
{
    for (uint32_t i = 1; i < s->subject_count; i++) {
        struct subject *x = subject_at(s, i);
        uint32_t *at = x->taken ? part_of(s, x, owner) : NULL;
        if (at && *at) {
            drop_part(s, at);
        }
    }
}

void quota_forget_rule(struct quota_shard *s, uint16_t rule)
{
    for (uint32_t i = 1; i < s->subject_count; i++) {
        const struct subject *x = subject_at(s, i);
        if (x->taken && x->rule == rule) {
            subject_forget(s, i);
        }
    }
}

/* ---- in pieces ---- */

struct piece {
    uint32_t from, to;
};

/* False: there is none. */
static bool piece_of(const struct quota_shard *s, size_t number, struct piece *ret)
{
    uint32_t from = (uint32_t)number * PIECE, to = from + PIECE;
    ret->from = from > 0 ? from : 1;
    ret->to = to < s->subject_count ? to : s->subject_count;
    return from < s->subject_count;
}

bool quota_each_standing(struct quota_shard *s, size_t piece, uint64_t now_ms,
                         quota_window_of *window_of,
                         void (*visit)(void *arg, const struct quota_standing *standing), void *arg)
{
    struct piece p;
    if (!piece_of(s, piece, &p)) {
        return false;
    }
    for (uint32_t i = p.from; i < p.to; i++) {
        struct subject *x = subject_at(s, i);
        if (x->taken) {
            struct quota_standing standing = {.key = x->key, .rule = x->rule};
            standing.used = subject_used(s, x, window_of(arg, x->rule), now_ms);
            visit(arg, &standing);
        }
    }
    return true;
}

static void part_row(const struct subject *x, struct part *p, uint64_t window_ms, uint64_t now_ms,
                     struct quota_row *ret)
{
    *ret =
        (struct quota_row){.key = x->key, .rule = x->rule, .owner = p->owner, .active = p->active};
    quota_window_used(&p->window, window_ms, now_ms);
    ret->use_count = (uint8_t)quota_window_tell(&p->window, window_ms, now_ms, ret->uses);
}

bool quota_each_row(struct quota_shard *s, size_t piece, uint64_t now_ms,
                    quota_window_of *window_of,
                    void (*visit)(void *arg, const struct quota_row *row), void *arg)
{
    struct piece p;
    struct quota_row row;
    if (!piece_of(s, piece, &p)) {
        return false;
    }
    for (uint32_t i = p.from; i < p.to; i++) {
        struct subject *x = subject_at(s, i);
        uint64_t window_ms = x->taken ? window_of(arg, x->rule) : 0;
        if (window_ms == 0) {
            continue;
        }
        own_row(x, window_ms, now_ms, &row);
        if (row.use_count > 0) {
            visit(arg, &row);
        }
        for (uint32_t k = x->parts; k; k = part_at(s, k)->next) {
            part_row(x, part_at(s, k), window_ms, now_ms, &row);
            if (row.use_count > 0) {
                visit(arg, &row);
            }
        }
    }
    return true;
}
