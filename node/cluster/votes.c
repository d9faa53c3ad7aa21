/* votes: told by page, kept decoded, found by (application, instance).
 *
 * A state is one byte: bits 0 and 1 the active vote, bit 2 tripped, bits 3 to 7 how many bits the
 * number of answers has (0: none). What was told is what counts, for this node as for all: its own
 * pages go through the same decoder. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    /* 8 + 1 bytes each, and 8 of protobuf. */
    ROWS_PER_PAGE = (WIRE_VALUE_MAX - 8) / 9,
    TRAFFIC_DELAY_MS = 1000, /* SPEC wants "normally within 50 ms" of changes that decide */
    STATE_UP = 1,
    STATE_DOWN = 2,
    STATE_ACTIVE = 3,
    STATE_TRIPPED = 4,
    STATE_DECIDES = STATE_ACTIVE | STATE_TRIPPED,
    STATE_BITS_SHIFT = 3,
};

_Static_assert(VERDICT_WEIGHT_MAX == 1 << 20, "21 bits at most, and five bits say how many");

static uint8_t state_of(const struct cluster_vote *v)
{
    uint64_t weight = verdict_weight(v->answers);
    unsigned bits = weight == 0 ? 0 : 64u - (unsigned)__builtin_clzll(weight);
    unsigned active = v->active == ACTIVE_UP ? STATE_UP : v->active == ACTIVE_DOWN ? STATE_DOWN : 0;
    return (uint8_t)(active | (v->tripped ? STATE_TRIPPED : 0u) | bits << STATE_BITS_SHIFT);
}

static struct verdict_vote vote_of(uint8_t state)
{
    unsigned active = state & STATE_ACTIVE, bits = state >> STATE_BITS_SHIFT;
    return (struct verdict_vote){
        .active = active == STATE_UP     ? ACTIVE_UP
                  : active == STATE_DOWN ? ACTIVE_DOWN
                                         : ACTIVE_UNKNOWN,
        .tripped = (state & STATE_TRIPPED) != 0,
        .answers = bits == 0 ? 0 : (uint64_t)1 << (bits - 1),
    };
}

/* ---- what members have told ---- */

/* The first page at or behind (application, page). */
static size_t page_index(const struct member_info *info, uint64_t application, size_t page)
{
    size_t low = 0, high = info->votes_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct votes_page *p = &info->votes[middle];
        if (p->application < application || (p->application == application && p->page < page)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void drop_page(struct member_info *info, uint64_t application, size_t page)
{
    size_t index = page_index(info, application, page);
    if (index == info->votes_count || info->votes[index].application != application ||
        info->votes[index].page != page) {
        return;
    }
    struct votes_page *at = &info->votes[index];
    free(at->rows);
    info->votes_count--;
    memmove(at, at + 1, (info->votes_count - index) * sizeof(*at));
}

/* An empty page in place of what was there. */
static struct votes_page *take_page(struct member_info *info, uint64_t application, size_t page)
{
    drop_page(info, application, page);
    if (info->votes_count == info->votes_capacity) {
        info->votes_capacity = info->votes_capacity ? 2 * info->votes_capacity : 4;
        info->votes = memory_resize(info->votes, info->votes_capacity * sizeof(*info->votes));
    }
    size_t index = page_index(info, application, page);
    struct votes_page *at = &info->votes[index];
    memmove(at + 1, at, (info->votes_count - index) * sizeof(*at));
    info->votes_count++;
    *at = (struct votes_page){.application = application, .page = page};
    return at;
}

void votes_done(struct member_info *info)
{
    for (size_t i = 0; i < info->votes_count; i++) {
        free(info->votes[i].rows);
    }
    free(info->votes);
    info->votes = NULL;
    info->votes_count = info->votes_capacity = 0;
}

static bool parse_hex(struct bytes text, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        char ch = text.at[i];
        bool digit = ch >= '0' && ch <= '9';
        if (!digit && (ch < 'a' || ch > 'f')) {
            return false;
        }
        value = value << 4 | (uint64_t)(digit ? ch - '0' : ch - 'a' + 10);
    }
    *ret = value;
    return true;
}

/* "votes/" 16 hex digits "/" 1 to 4 digits. */
static bool parse_key(struct bytes key, uint64_t *ret_application, size_t *ret_page)
{
    enum { HEX = 16, PREFIX = 6, DIGITS_MAX = 4 };
    if (key.size <= PREFIX + HEX + 1 || key.size > PREFIX + HEX + 1 + DIGITS_MAX ||
        key.at[PREFIX + HEX] != '/' ||
        !parse_hex((struct bytes){key.at + PREFIX, HEX}, ret_application)) {
        return false;
    }
    size_t page = 0;
    for (size_t i = PREFIX + HEX + 1; i < key.size; i++) {
        if (key.at[i] < '0' || key.at[i] > '9') {
            return false;
        }
        page = 10 * page + (size_t)(key.at[i] - '0');
    }
    *ret_page = page;
    return true;
}

static int compare_rows(const void *a, const void *b)
{
    const struct vote_row *x = a, *y = b;
    return (x->instance > y->instance) - (x->instance < y->instance);
}

bool votes_note(struct member_info *info, struct bytes key, struct bytes value,
                uint64_t *ret_application)
{
    uint64_t application;
    size_t page;
    if (!parse_key(key, &application, &page)) {
        return false;
    }
    *ret_application = application;
    Cluster__Votes *v =
        value.at ? cluster__votes__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (!v || v->n_instances != v->states.len || v->n_instances == 0) {
        drop_page(info, application, page);
    } else {
        struct votes_page *p = take_page(info, application, page);
        p->count = v->n_instances;
        p->rows = memory_new(p->count * sizeof(*p->rows));
        for (size_t i = 0; i < p->count; i++) {
            p->rows[i] = (struct vote_row){v->instances[i], v->states.data[i]};
        }
        qsort(p->rows, p->count, sizeof(*p->rows), compare_rows); /* found by halving */
    }
    if (v) {
        cluster__votes__free_unpacked(v, NULL);
    }
    return true;
}

/* What a member has told of an instance, or NULL. */
static const struct vote_row *find_row(const struct member_info *info, uint64_t application,
                                       uint64_t instance)
{
    const struct vote_row wanted = {.instance = instance};
    size_t index = page_index(info, application, 0);
    for (; index < info->votes_count && info->votes[index].application == application; index++) {
        const struct votes_page *p = &info->votes[index];
        const struct vote_row *row =
            bsearch(&wanted, p->rows, p->count, sizeof(*p->rows), compare_rows);
        if (row) {
            return row;
        }
    }
    return NULL;
}

void cluster_verdict_votes(struct cluster *c, struct bytes application, struct bytes instance,
                           struct verdict_vote ret_votes[VERDICT_NODES_MAX])
{
    uint64_t app = name_id(c, application), id = name_id(c, instance);
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct member_info *info = info_of(c, gossip_member(c->gossip, i));
        const struct vote_row *row = info ? find_row(info, app, id) : NULL;
        ret_votes[i] = vote_of(row ? row->state : 0);
    }
}

/* ---- what this node tells ---- */

static void prefix_of(const struct own_votes *own, char ret_prefix[KEY_SIZE])
{
    snprintf(ret_prefix, KEY_SIZE, "votes/%016" PRIx64, own->application);
}

static void tell_page(struct cluster *c, const struct own_votes *own, size_t page)
{
    uint64_t instances[ROWS_PER_PAGE];
    uint8_t states[ROWS_PER_PAGE], value[WIRE_VALUE_MAX];
    char prefix[KEY_SIZE], key_text[KEY_SIZE];
    Cluster__Votes votes = CLUSTER__VOTES__INIT;
    votes.instances = instances;
    votes.states.data = states;
    size_t end = (page + 1) * ROWS_PER_PAGE < own->count ? (page + 1) * ROWS_PER_PAGE : own->count;
    for (size_t i = page * ROWS_PER_PAGE; i < end; i++) {
        instances[votes.n_instances++] = own->rows[i].instance;
        states[votes.states.len++] = own->rows[i].state;
    }
    assert(cluster__votes__get_packed_size(&votes) <= sizeof(value));
    struct bytes text = {(const char *)value, cluster__votes__pack(&votes, value)};
    prefix_of(own, prefix);
    struct bytes key = page_key(key_text, prefix, page);
    gossip_set(c->gossip, c->now_ms, WIRE_URGENT, key, text);
    uint64_t application;
    votes_note(&c->self, key, text, &application);
}

static void tell(struct cluster *c, struct own_votes *own)
{
    char prefix[KEY_SIZE], key[KEY_SIZE];
    size_t pages = (own->count + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE;
    for (size_t page = 0; page < pages; page++) {
        tell_page(c, own, page);
    }
    prefix_of(own, prefix);
    remove_pages(c, prefix, pages, own->page_count);
    for (size_t page = pages; page < own->page_count; page++) {
        uint64_t application;
        votes_note(&c->self, page_key(key, prefix, page), (struct bytes){0}, &application);
    }
    own->page_count = pages;
    own->due_ms = 0;
    c->verdict_changed = true;
}

enum difference { SAME, TRAFFIC, DECIDES };

/* What is told against what should be. */
static enum difference compare(const struct cluster *c, const struct own_votes *own)
{
    enum difference worst = SAME;
    size_t told = 0;
    size_t index = page_index(&c->self, own->application, 0);
    for (; index < c->self.votes_count && c->self.votes[index].application == own->application;
         index++) {
        told += c->self.votes[index].count;
    }
    if (told != own->count) {
        return DECIDES;
    }
    for (size_t i = 0; i < own->count; i++) {
        const struct vote_row *row = find_row(&c->self, own->application, own->rows[i].instance);
        if (!row || (row->state & STATE_DECIDES) != (own->rows[i].state & STATE_DECIDES)) {
            return DECIDES;
        }
        worst = row->state != own->rows[i].state ? TRAFFIC : worst;
    }
    return worst;
}

/* Has any other member told of a trip of the application? */
static bool somebody_tripped(struct cluster *c, const struct own_votes *own)
{
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self ? NULL : info_of(c, member);
        size_t index = info ? page_index(info, own->application, 0) : 0;
        for (; info && index < info->votes_count &&
               info->votes[index].application == own->application;
             index++) {
            const struct votes_page *p = &info->votes[index];
            for (size_t i = 0; i < p->count; i++) {
                if (vote_of(p->rows[i].state).tripped) {
                    return true;
                }
            }
        }
    }
    return false;
}

static struct own_votes *take_own(struct cluster *c, struct bytes application)
{
    size_t index;
    struct named *found = names_find(&c->own_votes, application, &index);
    if (!found) {
        struct own_votes *own = memory_new(sizeof(*own));
        own->named.name =
            (struct bytes){memory_copy_text(application.at, application.size), application.size};
        own->application = name_id(c, application);
        names_insert(&c->own_votes, index, &own->named);
        found = &own->named;
    }
    return (struct own_votes *)found;
}

void cluster_set_votes(struct cluster *c, uint64_t now_ms, struct bytes application,
                       const struct cluster_vote *votes, size_t count)
{
    c->now_ms = now_ms;
    struct own_votes *own = take_own(c, application);
    own->rows = memory_resize(own->rows, count * sizeof(*own->rows));
    own->count = count;
    for (size_t i = 0; i < count; i++) {
        own->rows[i] = (struct vote_row){name_id(c, votes[i].instance), state_of(&votes[i])};
    }
    if (count > 1) {
        qsort(own->rows, count, sizeof(*own->rows), compare_rows);
    }
    switch (compare(c, own)) {
    case SAME:
        own->due_ms = 0;
        break;
    case TRAFFIC:
        if (somebody_tripped(c, own)) { /* then the weights decide */
            tell(c, own);
            break;
        }
        own->due_ms = own->due_ms != 0 ? own->due_ms : now_ms + TRAFFIC_DELAY_MS;
        break;
    case DECIDES:
        tell(c, own);
        break;
    }
    cluster_settle(c);
}

static void own_free(struct own_votes *own)
{
    free((void *)(uintptr_t)own->named.name.at);
    free(own->rows);
    free(own);
}

void cluster_drop_votes(struct cluster *c, uint64_t now_ms, struct bytes application)
{
    size_t index;
    c->now_ms = now_ms;
    struct own_votes *own = (struct own_votes *)names_find(&c->own_votes, application, &index);
    if (own) {
        own->count = 0;
        tell(c, own);
        names_remove(&c->own_votes, index);
        own_free(own);
    }
    cluster_settle(c);
}

void own_votes_done(struct cluster *c)
{
    for (size_t i = 0; i < c->own_votes.count; i++) {
        own_free((struct own_votes *)c->own_votes.at[i]);
    }
    names_done(&c->own_votes);
}

void votes_settle(struct cluster *c)
{
    for (size_t i = 0; i < c->own_votes.count; i++) {
        struct own_votes *own = (struct own_votes *)c->own_votes.at[i];
        if (own->due_ms != 0 && c->now_ms >= own->due_ms) {
            tell(c, own);
            verdict_news_of(c, own->application);
        }
    }
}

uint64_t votes_deadline_ms(const struct cluster *c)
{
    uint64_t deadline = UINT64_MAX;
    for (size_t i = 0; i < c->own_votes.count; i++) {
        const struct own_votes *own = (const struct own_votes *)c->own_votes.at[i];
        if (own->due_ms != 0 && own->due_ms < deadline) {
            deadline = own->due_ms;
        }
    }
    return deadline;
}
