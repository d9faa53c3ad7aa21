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
#include "ledger/whys.h"
#include "proto/binary.h"
#include "proto/cluster.pb-c.h"

enum {
    /* 8 + 1 bytes each, and 8 of protobuf: an application's 256 take three pages, and each has room
     * for the reasons of three that are down (whys.c). */
    ROWS_PER_PAGE = 86,
    TRAFFIC_DELAY_MS = 1000, /* SPEC wants "normally within 50 ms" of changes that decide */
    STATE_UP = 1,
    STATE_DOWN = 2,
    STATE_ACTIVE = 3,
    STATE_TRIPPED = 4,
    STATE_DECIDES = STATE_ACTIVE | STATE_TRIPPED,
    STATE_BITS_SHIFT = 3,
    NAME_SIZE = 17, /* of an application in keys: 16 hex digits */
};

_Static_assert(ROWS_PER_PAGE <= (WIRE_VALUE_MAX - 8) / 9, "a page is one value");
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

/* One value of a member's votes. */
struct votes_page {
    uint64_t application; /* as above */
    size_t page;
    size_t count;
    struct vote_row *rows; /* by instance */
};

/* What a member has told; of this node, too. */
struct votes {
    struct votes_page *pages; /* by application and page */
    size_t count, capacity;
};

/* This node's votes on one application, as they should be told. */
struct own_votes {
    struct named named; /* the application; the name is owned */
    uint64_t application;
    struct vote_row *rows;
    size_t count;
    uint64_t due_ms; /* when a change of traffic is told; 0 = nothing waits */
    size_t page_count;
};

static struct votes *told_by(struct member_info *info)
{
    return topic_told(info, TOPIC_VOTES, sizeof(struct votes));
}

/* This node's, by application: struct own_votes. */
static struct names *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_VOTES, sizeof(struct names));
}

/* ---- what members have told ---- */

/* The first page at or behind (application, page). */
static size_t page_index(const struct votes *told, uint64_t application, size_t page)
{
    size_t low = 0, high = told->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct votes_page *p = &told->pages[middle];
        if (p->application < application || (p->application == application && p->page < page)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void drop_page(struct votes *told, uint64_t application, size_t page)
{
    size_t index = page_index(told, application, page);
    if (index == told->count || told->pages[index].application != application ||
        told->pages[index].page != page) {
        return;
    }
    struct votes_page *at = &told->pages[index];
    free(at->rows);
    told->count--;
    memmove(at, at + 1, (told->count - index) * sizeof(*at));
}

/* An empty page in place of what was there. */
static struct votes_page *take_page(struct votes *told, uint64_t application, size_t page)
{
    drop_page(told, application, page);
    if (told->count == told->capacity) {
        told->capacity = told->capacity ? 2 * told->capacity : 4;
        told->pages = memory_resize(told->pages, told->capacity * sizeof(*told->pages));
    }
    size_t index = page_index(told, application, page);
    struct votes_page *at = &told->pages[index];
    memmove(at + 1, at, (told->count - index) * sizeof(*at));
    told->count++;
    *at = (struct votes_page){.application = application, .page = page};
    return at;
}

static bool parse_hex(struct bytes text, uint64_t *ret)
{
    enum { HEX = 16 };
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        int digit = ascii_hex(text.at[i]);
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (uint64_t)digit;
    }
    *ret = value;
    return text.size == HEX;
}

static int compare_rows(const void *a, const void *b)
{
    const struct vote_row *x = a, *y = b;
    return (x->instance > y->instance) - (x->instance < y->instance);
}

static void take(struct votes *told, uint64_t application, size_t page, struct bytes value)
{
    Cluster__Votes *v =
        value.at ? cluster__votes__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (!v || v->n_instances != v->states.len || v->n_instances == 0) {
        drop_page(told, application, page);
    } else {
        struct votes_page *p = take_page(told, application, page);
        p->count = v->n_instances;
        p->rows = memory_new(p->count * sizeof(*p->rows));
        for (size_t i = 0; i < p->count; i++) {
            p->rows[i] = (struct vote_row){.instance = v->instances[i], .state = v->states.data[i]};
        }
        whys_read(bytes_in(v->reasons), p->rows, p->count);
        qsort(p->rows, p->count, sizeof(*p->rows), compare_rows); /* found by halving */
    }
    if (v) {
        cluster__votes__free_unpacked(v, NULL);
    }
}

void votes_note(struct cluster *c, const struct topic_entry *e)
{
    uint64_t application;
    if (parse_hex(e->name, &application)) {
        take(told_by(e->info), application, e->page, e->value);
        verdict_news_of(c, application);
    }
}

/* What a member has told of an instance, or NULL. */
static const struct vote_row *find_row(const struct votes *told, uint64_t application,
                                       uint64_t instance)
{
    const struct vote_row wanted = {.instance = instance};
    size_t index = page_index(told, application, 0);
    for (; index < told->count && told->pages[index].application == application; index++) {
        const struct votes_page *p = &told->pages[index];
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
        struct member_info *info = info_of(c, gossip_member(c->gossip, i));
        const struct vote_row *row = info ? find_row(told_by(info), app, id) : NULL;
        ret_votes[i] = vote_of(row ? row->state : 0);
        if (row) {
            ret_votes[i].why_active = row->why_active;
            ret_votes[i].why_passive = row->why_passive;
        }
    }
}

/* ---- what this node tells ---- */

static void name_of(const struct own_votes *mine, char ret_name[NAME_SIZE])
{
    snprintf(ret_name, NAME_SIZE, "%016" PRIx64, mine->application);
}

static void tell_page(struct cluster *c, const struct own_votes *mine, size_t page)
{
    uint64_t instances[ROWS_PER_PAGE];
    uint8_t states[ROWS_PER_PAGE], whys[WIRE_VALUE_MAX], value[WIRE_VALUE_MAX];
    char name[NAME_SIZE], key[TOPIC_KEY_SIZE];
    Cluster__Votes votes = CLUSTER__VOTES__INIT;
    votes.instances = instances;
    votes.states.data = states;
    size_t end =
        (page + 1) * ROWS_PER_PAGE < mine->count ? (page + 1) * ROWS_PER_PAGE : mine->count;
    for (size_t i = page * ROWS_PER_PAGE; i < end; i++) {
        instances[votes.n_instances++] = mine->rows[i].instance;
        states[votes.states.len++] = mine->rows[i].state;
    }
    size_t size = cluster__votes__get_packed_size(&votes);
    assert(size <= sizeof(value));
    votes.reasons.data = whys;
    votes.reasons.len = whys_write(&mine->rows[page * ROWS_PER_PAGE], votes.n_instances,
                                   sizeof(value) - size, whys);
    assert(cluster__votes__get_packed_size(&votes) <= sizeof(value));
    struct bytes text = {(const char *)value, cluster__votes__pack(&votes, value)};
    name_of(mine, name);
    gossip_set(c->gossip, c->now_ms, TOPICS[TOPIC_VOTES].priority,
               topic_key(key, TOPIC_VOTES, name, page), text);
    take(told_by(&c->self), mine->application, page, text);
}

static void tell_votes(struct cluster *c, struct own_votes *mine)
{
    char name[NAME_SIZE];
    size_t pages = (mine->count + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE;
    for (size_t page = 0; page < pages; page++) {
        tell_page(c, mine, page);
    }
    name_of(mine, name);
    topic_remove_pages(c, TOPIC_VOTES, name, pages, mine->page_count);
    for (size_t page = pages; page < mine->page_count; page++) {
        drop_page(told_by(&c->self), mine->application, page);
    }
    mine->page_count = pages;
    mine->due_ms = 0;
    c->verdict_changed = true;
}

enum difference { SAME, TRAFFIC, DECIDES };

/* What is told against what should be. */
static enum difference compare(struct cluster *c, const struct own_votes *mine)
{
    const struct votes *told = told_by(&c->self);
    enum difference worst = SAME;
    size_t count = 0;
    size_t index = page_index(told, mine->application, 0);
    for (; index < told->count && told->pages[index].application == mine->application; index++) {
        count += told->pages[index].count;
    }
    if (count != mine->count) {
        return DECIDES;
    }
    for (size_t i = 0; i < mine->count; i++) {
        const struct vote_row *row = find_row(told, mine->application, mine->rows[i].instance);
        if (!row || (row->state & STATE_DECIDES) != (mine->rows[i].state & STATE_DECIDES) ||
            whys_other(row, &mine->rows[i])) {
            return DECIDES;
        }
        worst =
            row->state != mine->rows[i].state || !whys_told(row, &mine->rows[i]) ? TRAFFIC : worst;
    }
    return worst;
}

/* Has any other member told of a trip of the application? */
static bool somebody_tripped(struct cluster *c, const struct own_votes *mine)
{
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct member_info *info = member->self ? NULL : info_of(c, member);
        const struct votes *told = info ? info->told[TOPIC_VOTES] : NULL;
        size_t index = told ? page_index(told, mine->application, 0) : 0;
        for (; told && index < told->count && told->pages[index].application == mine->application;
             index++) {
            const struct votes_page *p = &told->pages[index];
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
    struct named *found = names_find(own(c), application, &index);
    if (!found) {
        struct own_votes *mine = memory_new(sizeof(*mine));
        mine->named.name =
            (struct bytes){memory_copy_text(application.at, application.size), application.size};
        mine->application = name_id(c, application);
        names_insert(own(c), index, &mine->named);
        found = &mine->named;
    }
    return (struct own_votes *)found;
}

void cluster_set_votes(struct cluster *c, uint64_t now_ms, struct bytes application,
                       const struct cluster_vote *votes, size_t count)
{
    c->now_ms = now_ms;
    struct own_votes *mine = take_own(c, application);
    mine->rows = memory_resize(mine->rows, count * sizeof(*mine->rows));
    mine->count = count;
    for (size_t i = 0; i < count; i++) {
        mine->rows[i] = (struct vote_row){name_id(c, votes[i].instance), state_of(&votes[i]),
                                          votes[i].why_active, votes[i].why_passive};
    }
    if (count > 1) {
        qsort(mine->rows, count, sizeof(*mine->rows), compare_rows);
    }
    enum difference difference = compare(c, mine);
    if (difference == DECIDES || (difference == TRAFFIC && somebody_tripped(c, mine))) {
        tell_votes(c, mine); /* where somebody has tripped the weights decide, too */
    } else if (difference == TRAFFIC) {
        mine->due_ms = mine->due_ms != 0 ? mine->due_ms : now_ms + TRAFFIC_DELAY_MS;
    } else {
        mine->due_ms = 0;
    }
    cluster_settle(c);
}

static void own_free(struct own_votes *mine)
{
    free((void *)(uintptr_t)mine->named.name.at);
    free(mine->rows);
    free(mine);
}

void cluster_drop_votes(struct cluster *c, uint64_t now_ms, struct bytes application)
{
    size_t index;
    c->now_ms = now_ms;
    struct own_votes *mine = (struct own_votes *)names_find(own(c), application, &index);
    if (mine) {
        mine->count = 0;
        tell_votes(c, mine);
        names_remove(own(c), index);
        own_free(mine);
    }
    cluster_settle(c);
}

void votes_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    struct member_info *info = info_of(c, member);
    struct votes *told = info ? info->told[TOPIC_VOTES] : NULL;
    if (event != MEMBER_GONE) {
        return;
    }
    for (size_t i = 0; told && i < told->count; i++) {
        free(told->pages[i].rows);
    }
    if (told) {
        free(told->pages);
        *told = (struct votes){0};
    }
    for (size_t i = 0; member->self && i < own(c)->count; i++) {
        own_free((struct own_votes *)own(c)->at[i]);
    }
    if (member->self) {
        names_done(own(c));
    }
}

void votes_settle(struct cluster *c)
{
    for (size_t i = 0; i < own(c)->count; i++) {
        struct own_votes *mine = (struct own_votes *)own(c)->at[i];
        if (mine->due_ms != 0 && c->now_ms >= mine->due_ms) {
            tell_votes(c, mine);
            verdict_news_of(c, mine->application);
        }
    }
}

uint64_t votes_deadline_ms(const struct cluster *c)
{
    uint64_t deadline = UINT64_MAX;
    for (size_t i = 0; i < own(c)->count; i++) {
        const struct own_votes *mine = (const struct own_votes *)own(c)->at[i];
        if (mine->due_ms != 0 && mine->due_ms < deadline) {
            deadline = mine->due_ms;
        }
    }
    return deadline;
}
