/* counts: the ledger's way into and out of gossip's maps.
 *
 *   count/PAGE  the slot of this process, with gauges, rewritten every interval
 *   past/PAGE   slots of earlier generations of this node, from its disk or from others
 *   hand/PAGE   slots of other nodes that they do not tell themselves, see handoff.c
 *
 * Every page names the generations of its slots. So a page that is on its way while its owner's
 * generation is raised still means the slot that it was written for. Slots share pages, because
 * keys are what is scarce: a member has GOSSIP_KEYS_MAX of them for ever, tombstones included. */
#include <assert.h>
#include <stdlib.h>

#include "cluster/private.h"

enum {
    /* Up to so many nodes everybody tells everything at gossip's own pace. */
    FULL_PACE_NODES = 8,
    /* Above: what all of them together tell in a second, in bytes, so that 64 nodes stay within
     * 25 kB/s each with everything else: 64 x (250 + 80) bytes every 2.1 s. */
    COUNT_BUDGET = 10 * 1000,
    TELL_OVERHEAD = 80, /* what a sync adds: whose it is, a key, versions */
    /* Slower than this would be taken for a fault. */
    COUNT_INTERVAL_MAX_MS = 10 * 1000,
};

struct counts {
    bool changed;     /* the present slot, since it was told */
    size_t told_size; /* bytes of the pages told last */
    /* What this process had counted when its generation was raised the last time: its present slot
     * counts on from there. One slot, (own name, 1); NULL: never. */
    struct ledger *base;
};

static struct counts *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_COUNTS, sizeof(struct counts));
}

static struct bytes member_name(const struct gossip_member *m)
{
    return bytes_of(m->name);
}

/* ---- what others tell ---- */

struct note {
    struct cluster *c;
    const struct gossip_member *member;
    bool of_others; /* else of its own */
    bool gauges;    /* a page of the slot that is counted in now */
};

static void note_count(void *arg, const struct ledger_record *r)
{
    const struct note *n = arg;
    struct cluster *c = n->c;
    bool mine = bytes_equal(r->node, c->name);
    if (!n->of_others && !bytes_equal(r->node, member_name(n->member))) {
        return; /* only handoffs may speak for others */
    }
    if (mine && r->generation == c->generation) {
        return; /* what this process has counted it knows itself */
    }
    bool grew = ledger_merge(c->ledger, r);
    if (mine) {
        c->past_changed = c->past_changed || grew;
        return;
    }
    struct ledger_node *node = ledger_find_node(c->ledger, r->node);
    /* handoff.c looks at what is told by whom: for a node that is up, only of its past */
    if (node && !n->gauges) {
        node->changed = true;
        handoff_mark(c);
    }
    if (n->gauges && is_up(n->member) && r->generation == n->member->generation) {
        ledger_set_active(c->ledger, r);
    }
}

static struct page_reader reader_of(const struct note *n)
{
    return (struct page_reader){
        .on_count = note_count, .arg = (void *)(uintptr_t)n, .owner = member_name(n->member)};
}

void counts_take(struct cluster *c, const struct topic_entry *e, bool current, bool of_others)
{
    struct note note = {
        .c = c, .member = e->member, .of_others = of_others, .gauges = current && is_up(e->member)};
    const struct page_reader reader = reader_of(&note);
    page_read(&reader, e->value); /* a page that does not read is one of a later version */
}

void counts_change(struct cluster *c, const struct gossip_member *member)
{
    const struct member_info *info = info_of(c, member);
    struct ledger_node *node = ledger_find_node(c->ledger, member_name(member));
    if (node) {
        node->changed = true;
    }
    for (size_t i = 0; info && info->hands_off && i < c->ledger->nodes.count; i++) {
        ((struct ledger_node *)c->ledger->nodes.at[i])->changed = true;
    }
    handoff_mark(c);
}

void counts_note(struct cluster *c, const struct topic_entry *e)
{
    if (e->value.at) {
        counts_take(c, e, true, false);
    }
}

void past_note(struct cluster *c, const struct topic_entry *e)
{
    if (e->value.at) {
        counts_take(c, e, false, false);
    } else {
        counts_change(c, e->member);
    }
}

/* Its gauges count, or count no more. */
void counts_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    struct note note = {.c = c, .member = member, .gauges = true};
    const struct page_reader reader = reader_of(&note);
    if (member->self) {
        if (event == MEMBER_GONE && own(c)->base) {
            ledger_free(own(c)->base);
        }
        return;
    }
    if (event == MEMBER_UP) {
        topic_read_pages(c, TOPIC_COUNTS, member, &reader);
    } else {
        ledger_clear_active(c->ledger, member_name(member), member->generation);
    }
    counts_change(c, member);
}

/* ---- what this node tells ---- */

/* On pages of its own this node is not named. */
static void write_own(void *arg, const struct ledger_record *r)
{
    struct ledger_record own = *r;
    own.node = (struct bytes){0};
    page_add_count(arg, &own);
}

void counts_settle(struct cluster *c)
{
    struct topic_pages pages = {.c = c, .topic = TOPIC_COUNTS};
    struct page_writer w;
    if (!own(c)->changed) {
        return;
    }
    page_writer_init(&w, WIRE_VALUE_MAX, topic_page, &pages);
    struct ledger_node *node = ledger_find_node(c->ledger, c->name);
    struct ledger_slot *slot = ledger_find_slot(c->ledger, c->name, c->generation);
    if (slot) {
        ledger_each(node, slot, write_own, &w);
    }
    topic_pages_end(&pages, page_writer_done(&w));
    own(c)->told_size = pages.size;
    own(c)->changed = false;
}

void past_settle(struct cluster *c)
{
    struct topic_pages pages = {.c = c, .topic = TOPIC_PAST};
    struct page_writer w;
    if (!c->past_changed) {
        return;
    }
    page_writer_init(&w, WIRE_VALUE_MAX, topic_page, &pages);
    struct ledger_node *node = ledger_find_node(c->ledger, c->name);
    for (size_t i = 0; node && i < node->slot_count; i++) {
        if (node->slots[i]->generation != c->generation) {
            ledger_each(node, node->slots[i], write_own, &w);
        }
    }
    topic_pages_end(&pages, page_writer_done(&w));
    c->past_changed = false;
    join_past_told(c, gossip_known(c->gossip, gossip_self(c->gossip), WIRE_BULK) + 1);
}

bool counts_no_past(const struct cluster *c)
{
    const struct ledger_node *node = ledger_find_node(c->ledger, c->name);
    for (size_t i = 0; node && i < node->slot_count; i++) {
        if (node->slots[i]->generation != c->generation) {
            return false;
        }
    }
    return true;
}

/* ---- counting ---- */

static uint64_t within(uint64_t number)
{
    return number < LEDGER_NUMBER_MAX ? number : LEDGER_NUMBER_MAX;
}

static void usage_within(struct usage_sum *u)
{
    u->prompt_tokens = within(u->prompt_tokens);
    u->completion_tokens = within(u->completion_tokens);
    u->unsplit_tokens = within(u->unsplit_tokens);
    for (uint32_t i = 0; i < u->money_count; i++) {
        struct usage_price *p = &u->money[i].price;
        p->micro = p->micro < LEDGER_PRICE_MAX ? p->micro : LEDGER_PRICE_MAX;
        p->rest = p->rest < LEDGER_PRICE_MAX ? p->rest : LEDGER_PRICE_MAX;
    }
}

/* A counter of this process into its present slot. */
static void enter(struct cluster *c, struct ledger_record *r)
{
    struct ledger_record key = *r;
    key.generation = 1;
    const struct ledger *before = own(c)->base;
    const struct ledger_part *base = before ? ledger_find_part(before, &key) : NULL;
    struct usage_sum usage = {0};
    if (r->usage) {
        usage = *r->usage;
    }
    if (base) {
        r->requests -= base->requests < r->requests ? base->requests : r->requests;
        r->failures -= base->failures < r->failures ? base->failures : r->failures;
        if (base->usage) {
            usage_sum_less(&usage, base->usage);
        }
    }
    r->requests = within(r->requests);
    r->failures = within(r->failures);
    r->active = within(r->active);
    usage_within(&usage);
    r->usage = &usage;
    ledger_merge(c->ledger, r);
    ledger_set_active(c->ledger, r);
    r->usage = NULL;
}

static void enter_application(struct cluster *c, const struct cluster_count *count)
{
    struct ledger_record r = {
        .node = c->name,
        .generation = c->generation,
        .application = count->application,
        .requests = count->requests,
        .failures = count->errors,
        .active = count->active,
    };
    enter(c, &r);
    for (size_t i = 0; i < count->instance_count; i++) {
        const struct cluster_instance_count *instance = &count->instances[i];
        r.instance = instance->instance;
        r.requests = instance->requests;
        r.failures = instance->failures;
        r.active = instance->active;
        r.usage = instance->usage;
        enter(c, &r);
    }
}

void cluster_enter_counts(struct cluster *c, uint64_t now_ms, const struct cluster_count *count)
{
    c->now_ms = now_ms;
    enter_application(c, count);
    latency_enter(c, count);
}

void cluster_set_counts(struct cluster *c, uint64_t now_ms, const struct cluster_count *counts,
                        size_t count, uint64_t active_connections)
{
    c->now_ms = now_ms;
    for (size_t i = 0; i < count; i++) {
        cluster_enter_counts(c, now_ms, &counts[i]);
    }
    own(c)->changed = true;
    latency_tell(c);
    nodes_tell_load(c, active_connections);
    if (c->ledger->full) {
        cluster_problem(c, PROBLEM_CROWDED, "counters",
                        "more than %d counters of nodes' starts and instances: what is beyond them "
                        "is not in the totals; remove the counters' file from state_dir of all "
                        "nodes to begin anew",
                        LEDGER_RECORDS_MAX);
    }
    cluster_settle(c);
}

static void add_to_base(void *arg, const struct ledger_record *r)
{
    struct ledger *base = arg;
    struct ledger_record sum = *r;
    sum.generation = 1;
    const struct ledger_part *before = ledger_find_part(base, &sum);
    sum.requests = within(sum.requests + (before ? before->requests : 0));
    sum.failures = within(sum.failures + (before ? before->failures : 0));
    struct usage_sum usage = {0};
    if (r->usage) {
        usage = *r->usage;
    }
    if (before && before->usage) {
        usage_sum_add(&usage, before->usage);
    }
    usage_within(&usage);
    sum.usage = &usage;
    ledger_merge(base, &sum);
}

/* The slot of until now is a past one from now on, and stays as it is: others may have it. */
void counts_generation(struct cluster *c, uint64_t generation)
{
    assert(generation > c->generation);
    struct ledger_node *node = ledger_find_node(c->ledger, c->name);
    struct ledger_slot *slot = ledger_find_slot(c->ledger, c->name, c->generation);
    if (slot) {
        struct counts *counts = own(c);
        counts->base = counts->base ? counts->base : ledger_new();
        ledger_each(node, slot, add_to_base, counts->base);
        ledger_clear_active(c->ledger, c->name, c->generation);
    }
    c->generation = generation;
    c->past_changed = own(c)->changed = true;
}

uint64_t cluster_count_interval_ms(struct cluster *c)
{
    return counts_pace_ms(c, own(c)->told_size, COUNT_BUDGET);
}

uint64_t counts_pace_ms(const struct cluster *c, size_t size, uint64_t budget)
{
    if (c->alive_count <= FULL_PACE_NODES) {
        return c->interval_ms;
    }
    uint64_t by_nodes = c->interval_ms * c->alive_count / FULL_PACE_NODES;
    uint64_t by_size = (uint64_t)(size + TELL_OVERHEAD) * c->alive_count * 1000 / budget;
    uint64_t interval = by_nodes > by_size ? by_nodes : by_size;
    return interval < COUNT_INTERVAL_MAX_MS ? interval : COUNT_INTERVAL_MAX_MS;
}

/* ---- totals ---- */

static struct cluster_totals totals_of(const struct ledger_total *t, bool application)
{
    return (struct cluster_totals){
        .requests = t ? t->requests : 0,
        .errors = t && application ? t->failures : 0,
        .failures = t && !application ? t->failures : 0,
        .active = t ? t->active : 0,
    };
}

struct cluster_totals cluster_application_totals(struct cluster *c, struct bytes application,
                                                 uint64_t ret_latency[HISTOGRAM_BUCKETS])
{
    if (ret_latency) {
        latency_of(c, application, ret_latency);
    }
    return totals_of(ledger_find_total(c->ledger, application, (struct bytes){0}), true);
}

struct cluster_totals cluster_instance_totals(struct cluster *c, struct bytes application,
                                              struct bytes instance)
{
    return totals_of(ledger_find_total(c->ledger, application, instance), false);
}

const struct usage_sum *cluster_instance_usage(struct cluster *c, struct bytes application,
                                               struct bytes instance)
{
    const struct ledger_total *t = ledger_find_total(c->ledger, application, instance);
    return t ? t->usage : NULL;
}

void cluster_application_usage(struct cluster *c, struct bytes application, struct usage_sum *ret)
{
    const struct ledger_total *t = ledger_find_total(c->ledger, application, (struct bytes){0});
    *ret = (struct usage_sum){0};
    for (size_t i = 0; t && i < t->instances.count; i++) {
        const struct usage_sum *usage = ((const struct ledger_total *)t->instances.at[i])->usage;
        if (usage) {
            usage_sum_add(ret, usage);
        }
    }
}

uint64_t cluster_requests(struct cluster *c)
{
    return c->ledger->requests;
}

uint64_t cluster_member_requests(struct cluster *c, const struct gossip_member *member)
{
    const struct ledger_node *node = ledger_find_node(c->ledger, bytes_of(member->name));
    return node ? node->requests : 0;
}
