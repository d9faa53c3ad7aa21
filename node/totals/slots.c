/* slots: what each node has taken of the slots of a container (host and port), and how many wait
 * there for more (queue/slots). What the others have counts as taken at each.
 *
 *   slots/PAGE   the containers where anything is taken or waits
 *
 * What a node that is dead or has left told counts no more. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    NUMBER_MAX = (1 << 21) - 1, /* three bytes; a limit is a million at most */
    /* 8 bytes and four numbers each, and the heads of five fields. */
    ROWS_PER_PAGE = (WIRE_VALUE_MAX - 15) / (8 + 4 * 3),
};

struct slots_row {
    uint64_t container;
    size_t page; /* of a member's */
    uint32_t used, used_long, waiting[CLUSTER_SLOT_CLASSES];
};

/* By container, of this node; as it came, of a member. */
struct slots_told {
    struct slots_row *rows;
    size_t count;
};

static struct slots_told *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_SLOTS, sizeof(struct slots_told));
}

/* ---- what members have told ---- */

static void drop_page(struct slots_told *told, size_t page)
{
    size_t kept = 0;
    for (size_t i = 0; i < told->count; i++) {
        if (told->rows[i].page != page) {
            told->rows[kept++] = told->rows[i];
        }
    }
    told->count = kept;
}

static uint32_t within(uint32_t number)
{
    return number < NUMBER_MAX ? number : NUMBER_MAX;
}

static void add_rows(struct slots_told *told, size_t page, const Cluster__Slots *s)
{
    told->rows = memory_resize(told->rows, (told->count + s->n_containers) * sizeof(*told->rows));
    for (size_t i = 0; i < s->n_containers; i++) {
        told->rows[told->count++] = (struct slots_row){
            .container = s->containers[i],
            .page = page,
            .used = within(s->used[i]),
            .used_long = within(s->used_long[i]),
            .waiting = {within(s->waiting_short[i]), within(s->waiting_long[i])},
        };
    }
}

void slots_note(struct cluster *c, const struct topic_entry *e)
{
    struct slots_told *told = topic_told(e->info, TOPIC_SLOTS, sizeof(*told));
    struct bytes value = e->value;
    Cluster__Slots *s =
        value.at ? cluster__slots__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    drop_page(told, e->page);
    if (s && s->n_containers > 0 && s->n_containers == s->n_used &&
        s->n_containers == s->n_used_long && s->n_containers == s->n_waiting_short &&
        s->n_containers == s->n_waiting_long) {
        add_rows(told, e->page, s);
    }
    if (s) {
        cluster__slots__free_unpacked(s, NULL);
    }
    c->slots_changed = true;
}

void slots_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    const struct member_info *info = info_of(c, member);
    struct slots_told *told = member->self ? own(c) : info ? info->told[TOPIC_SLOTS] : NULL;
    c->slots_changed = true;
    if (event == MEMBER_GONE && told) {
        free(told->rows);
        told->rows = NULL;
        told->count = 0;
    }
}

bool cluster_take_slots_changed(struct cluster *c)
{
    bool changed = c->slots_changed;
    c->slots_changed = false;
    return changed;
}

uint64_t cluster_container_id(const struct cluster *c, struct bytes container)
{
    return name_id(c, container);
}

static int by_container(const void *a, const void *b)
{
    const struct cluster_slots_others *x = a, *y = b;
    return (x->container > y->container) - (x->container < y->container);
}

/* A member's row, alone. Its rivals come before this node if its id is smaller. */
static struct cluster_slots_others of_row(const struct slots_row *row, bool before)
{
    struct cluster_slots_others one = {
        .container = row->container,
        .used = row->used,
        .used_long = row->used_long,
        .waiting = row->waiting[0] + row->waiting[1],
    };
    for (size_t class = 0; class < CLUSTER_SLOT_CLASSES; class ++) {
        one.rivals[class] = row->waiting[class] > 0 ? 1 : 0;
        one.rank[class] = one.rivals[class] > 0 && before ? 1 : 0;
    }
    return one;
}

static void add(struct cluster_slots_others *to, const struct cluster_slots_others *one)
{
    to->used += one->used;
    to->used_long += one->used_long;
    to->waiting += one->waiting;
    for (size_t class = 0; class < CLUSTER_SLOT_CLASSES; class ++) {
        to->rivals[class] += one->rivals[class];
        to->rank[class] += one->rank[class];
    }
}

static const struct slots_told *told_by(struct cluster *c, const struct gossip_member *member)
{
    const struct member_info *info = member->self || !is_up(member) ? NULL : info_of(c, member);
    return info ? info->told[TOPIC_SLOTS] : NULL;
}

size_t cluster_slots_of_others(struct cluster *c, struct cluster_slots_others **ret_rows)
{
    size_t count = 0, kept = 0;
    struct cluster_slots_others *rows = NULL;
    uint64_t self = gossip_self(c->gossip)->id;
    for (size_t m = 0; m < gossip_member_count(c->gossip); m++) {
        const struct gossip_member *member = gossip_member(c->gossip, m);
        const struct slots_told *told = told_by(c, member);
        if (!told || told->count == 0) {
            continue;
        }
        rows = memory_resize(rows, (count + told->count) * sizeof(*rows));
        for (size_t i = 0; i < told->count; i++) {
            rows[count++] = of_row(&told->rows[i], member->id < self);
        }
    }
    if (count > 0) {
        qsort(rows, count, sizeof(*rows), by_container);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && rows[kept - 1].container == rows[i].container) {
            add(&rows[kept - 1], &rows[i]);
        } else {
            rows[kept++] = rows[i];
        }
    }
    *ret_rows = rows;
    return kept;
}

/* ---- what this node tells ---- */

static void tell_page(struct topic_pages *pages, const struct slots_told *told, size_t page)
{
    uint64_t containers[ROWS_PER_PAGE];
    uint32_t used[ROWS_PER_PAGE], used_long[ROWS_PER_PAGE], shorts[ROWS_PER_PAGE],
        longs[ROWS_PER_PAGE];
    uint8_t value[WIRE_VALUE_MAX];
    Cluster__Slots s = CLUSTER__SLOTS__INIT;
    size_t n = 0;
    for (size_t i = page * ROWS_PER_PAGE; i < told->count && n < (size_t)ROWS_PER_PAGE; i++, n++) {
        const struct slots_row *row = &told->rows[i];
        containers[n] = row->container;
        used[n] = row->used;
        used_long[n] = row->used_long;
        shorts[n] = row->waiting[0];
        longs[n] = row->waiting[1];
    }
    s.containers = containers;
    s.used = used;
    s.used_long = used_long;
    s.waiting_short = shorts;
    s.waiting_long = longs;
    s.n_containers = s.n_used = s.n_used_long = s.n_waiting_short = s.n_waiting_long = n;
    assert(cluster__slots__get_packed_size(&s) <= sizeof(value));
    topic_page(pages, page, (struct bytes){(const char *)value, cluster__slots__pack(&s, value)});
}

static int by_id(const void *a, const void *b)
{
    const struct slots_row *x = a, *y = b;
    return (x->container > y->container) - (x->container < y->container);
}

void cluster_set_slots(struct cluster *c, uint64_t now_ms, const struct cluster_slots *slots,
                       size_t count)
{
    struct slots_told *told = own(c);
    struct slots_row *rows = memory_new((count + 1) * sizeof(*rows));
    c->now_ms = now_ms;
    for (size_t i = 0; i < count; i++) {
        rows[i] = (struct slots_row){
            .container = slots[i].container,
            .used = within(slots[i].used),
            .used_long = within(slots[i].used_long),
            .waiting = {within(slots[i].waiting[0]), within(slots[i].waiting[1])},
        };
    }
    qsort(rows, count, sizeof(*rows), by_id);
    if (count == told->count &&
        (count == 0 || memcmp(rows, told->rows, count * sizeof(*rows)) == 0)) {
        free(rows);
        return;
    }
    free(told->rows);
    *told = (struct slots_told){rows, count};
    struct topic_pages pages = {.c = c, .topic = TOPIC_SLOTS};
    size_t page_count = (count + ROWS_PER_PAGE - 1) / ROWS_PER_PAGE;
    for (size_t page = 0; page < page_count; page++) {
        tell_page(&pages, told, page);
    }
    topic_pages_end(&pages, page_count);
    cluster_settle(c);
}
