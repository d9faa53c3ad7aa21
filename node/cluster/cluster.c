/* cluster: gossip's callbacks are handed to the files that know the keys, and settle() does what
 * they left to be done. */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"

enum { PROBLEM_PAUSE_MS = 1000, DETAIL_SIZE = 512 };

static bool starts_with(struct bytes key, struct bytes prefix)
{
    return key.size >= prefix.size && memcmp(key.at, prefix.at, prefix.size) == 0;
}

/* ---- problems ---- */

static const char *kind_text(enum problem_kind kind)
{
    switch (kind) {
    case PROBLEM_NEWER_VERSION:
        return gossip_problem_text(GOSSIP_NEWER_VERSION);
    case PROBLEM_UNKNOWN_KEY:
        return gossip_problem_text(GOSSIP_UNKNOWN_KEY);
    case PROBLEM_FORGED:
        return gossip_problem_text(GOSSIP_FORGED);
    case PROBLEM_CROWDED:
        return gossip_problem_text(GOSSIP_CROWDED);
    case PROBLEM_CONFIG_CONFLICT:
        return "config_conflict";
    case PROBLEM_CONFIG_REFUSED:
        return "config_refused";
    case PROBLEM_CLOCK_OFF:
        break;
    }
    return "clock_off";
}

void cluster_problem(struct cluster *c, enum problem_kind kind, const char *format, ...)
{
    uint64_t last = c->problem_ms[kind];
    if (last != 0 && c->now_ms + 1 < last + PROBLEM_PAUSE_MS) {
        return;
    }
    c->problem_ms[kind] = c->now_ms + 1;
    char detail[DETAIL_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    c->events->on_problem(c->owner, kind_text(kind), detail);
}

static void on_problem(void *owner, enum gossip_problem problem, const struct gossip_address *from)
{
    struct cluster *c = owner;
    char who[GOSSIP_ADDRESS_TEXT_SIZE] = "address unknown";
    if (from) {
        gossip_address_text(from, who);
    }
    switch (problem) {
    case GOSSIP_NEWER_VERSION:
        cluster_problem(c, PROBLEM_NEWER_VERSION,
                        "%s speaks another version of the gossip protocol; bring all nodes to the "
                        "same version of difyring",
                        who);
        return;
    case GOSSIP_UNKNOWN_KEY:
        cluster_problem(
            c, PROBLEM_UNKNOWN_KEY,
            "%s uses a cluster key that this node does not have; add it to cluster.keys "
            "here, or correct it there",
            who);
        return;
    case GOSSIP_FORGED:
        cluster_problem(c, PROBLEM_FORGED,
                        "packets from %s do not verify; compare cluster.name and cluster.keys of "
                        "both ends, or close the port to strangers",
                        who);
        return;
    case GOSSIP_CROWDED:
        break;
    }
    cluster_problem(c, PROBLEM_CROWDED,
                    "more than %d members, or more than %d entries of one: the cluster is not seen "
                    "as a whole; use fewer nodes, or fewer applications and instances",
                    GOSSIP_MEMBERS_MAX, GOSSIP_KEYS_MAX);
}

/* ---- gossip's callbacks ---- */

static void on_clash(void *owner, const char *name, const struct gossip_address *holder,
                     const struct gossip_address *other)
{
    clash_heard(owner, name, holder, other);
}

struct member_info *info_of(struct cluster *c, const struct gossip_member *member)
{
    return member->self ? &c->self : member->owner_data;
}

static void info_free(struct member_info *info)
{
    if (info) {
        votes_done(info);
        work_done(info);
        free(info);
    }
}

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct cluster *c = owner;
    c->events->on_packet(c->owner, to, packet);
}

static void on_member(void *owner, struct gossip_member *member, enum wire_state before)
{
    struct cluster *c = owner;
    bool was_up = before == WIRE_ALIVE || before == WIRE_SUSPECT;
    c->members_changed = true;
    if (is_up(member) != was_up) {
        verdict_news_all(c);
        c->latency_changed = true;
        c->offers_changed = true;
        c->handoff_changed = c->join_changed = true;
        if (is_up(member) && !member->self) {
            counts_member_up(c, member);
        } else if (!member->self) {
            counts_member_down(c, member);
        }
    }
    c->events->on_member(c->owner, member, before);
}

static void on_member_leaving(void *owner, struct gossip_member *member)
{
    struct cluster *c = owner;
    if (member->self) {
        return; /* what it has said stays; counts_generation() does the rest */
    }
    counts_member_down(c, member);
    info_free(member->owner_data);
    member->owner_data = NULL;
    c->members_changed = c->latency_changed = true;
    verdict_news_all(c);
    c->offers_changed = c->handoff_changed = c->join_changed = true;
}

static void on_entry(void *owner, struct gossip_member *member, struct bytes key,
                     struct bytes value)
{
    struct cluster *c = owner;
    if (!member->owner_data) {
        member->owner_data = memory_new(sizeof(struct member_info));
    }
    struct member_info *info = member->owner_data;
    if (starts_with(key, BYTES("votes/"))) {
        uint64_t application;
        if (votes_note(info, key, value, &application)) {
            verdict_news_of(c, application);
        }
    } else if (starts_with(key, BYTES("work/"))) {
        work_note(c, info, key, value);
    } else if (starts_with(key, BYTES("drain/"))) {
        drains_note(c, value);
    } else if (starts_with(key, BYTES("latency/"))) {
        c->latency_changed = true;
    } else if (bytes_equal(key, BYTES("config"))) {
        config_note(c, info, value);
    } else if (bytes_equal(key, BYTES("clash"))) {
        clash_note(c, info, value);
    } else if (bytes_equal(key, BYTES("join"))) {
        join_note(c, member, value);
    } else if (bytes_equal(key, BYTES("node")) || bytes_equal(key, BYTES("load"))) {
        nodes_note(c, member, key, value);
    } else {
        info->hands = info->hands || starts_with(key, BYTES("hand/"));
        c->any_handoffs = c->any_handoffs || info->hands;
        counts_note(c, member, key, value);
    }
}

static void on_text(void *owner, const uint8_t digest[WIRE_DIGEST_SIZE], struct bytes text)
{
    config_fetched(owner, digest, text);
}

static void on_generation(void *owner, uint64_t generation)
{
    struct cluster *c = owner;
    counts_generation(c, generation);
    c->events->on_generation(c->owner, generation);
}

static const struct gossip_events EVENTS = {
    .on_packet = on_packet,
    .on_member = on_member,
    .on_member_leaving = on_member_leaving,
    .on_entry = on_entry,
    .on_text = on_text,
    .on_generation = on_generation,
    .on_clash = on_clash,
    .on_problem = on_problem,
};

/* ---- life ---- */

struct cluster *cluster_new(const struct cluster_options *options, uint64_t now_ms)
{
    struct cluster *c = memory_new(sizeof(*c));
    struct gossip_options gossip = options->gossip;
    gossip.events = &EVENTS;
    gossip.owner = c;
    c->events = options->events;
    c->owner = options->owner;
    c->sha = options->sha;
    c->name = (struct bytes){memory_copy_text(gossip.node_name.at, gossip.node_name.size),
                             gossip.node_name.size};
    c->generation = gossip.generation;
    c->alone = gossip.key_count == 0;
    c->now_ms = now_ms;
    c->ledger = ledger_new();
    c->base = ledger_new();
    c->offers = memory_new(GOSSIP_MEMBERS_MAX * sizeof(*c->offers));
    c->lapse_ms = UINT64_MAX;
    c->alive_count = 1;
    c->members_changed = true;
    c->gossip = gossip_new(&gossip, now_ms);
    c->interval_ms = gossip_interval_ms(c->gossip);
    c->handoff_ms = UINT64_MAX;
    c->handoff_from_ms = now_ms + 2 * CLUSTER_JOIN_INTERVALS * c->interval_ms;
    c->clash_ms = UINT64_MAX;
    join_init(c);
    shared_init(&c->shared, c->sha, name_id(c, c->name), c->interval_ms);
    return c;
}

void cluster_free(struct cluster *c)
{
    if (!c) {
        return;
    }
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        struct gossip_member *m = gossip_member(c->gossip, i);
        if (!m->self) {
            info_free(m->owner_data);
            m->owner_data = NULL;
        }
    }
    gossip_free(c->gossip);
    votes_done(&c->self);
    own_votes_done(c);
    drains_done(c);
    latency_done(c);
    shared_done(&c->shared);
    ledger_free(c->ledger);
    ledger_free(c->base);
    free(c->work);
    free(c->offers);
    free((void *)(uintptr_t)c->name.at);
    free(c);
}

struct gossip *cluster_gossip(struct cluster *c)
{
    return c->gossip;
}

/* ---- what verdicts are made of ---- */

void verdict_news_all(struct cluster *c)
{
    c->verdict_changed = true;
    c->news.all = true;
}

void verdict_news_of(struct cluster *c, uint64_t application)
{
    struct cluster_news *news = &c->news;
    c->verdict_changed = true;
    for (size_t i = 0; i < news->count; i++) {
        if (news->applications[i] == application) {
            return;
        }
    }
    if (news->count == CLUSTER_NEWS_MAX) {
        news->all = true;
    } else {
        news->applications[news->count++] = application;
    }
}

struct cluster_news cluster_verdict_news(struct cluster *c)
{
    struct cluster_news news = c->news;
    c->news = (struct cluster_news){0};
    return news;
}

uint64_t cluster_application_id(const struct cluster *c, struct bytes application)
{
    return name_id(c, application);
}

/* ---- driving ---- */

/* Who is up, and where this node stands among them. */
static void count_members(struct cluster *c)
{
    uint64_t self = gossip_self(c->gossip)->id;
    c->alive_count = c->rank = 0;
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        c->alive_count += m->self || is_up(m);
        c->rank += is_up(m) && m->id < self;
    }
    c->members_changed = false;
}

void cluster_settle(struct cluster *c)
{
    nodes_settle(c);
    if (c->members_changed) {
        count_members(c);
    }
    votes_settle(c);
    drains_settle(c);
    counts_settle(c);
    handoff_settle(c);
    join_settle(c);
    clash_settle(c);
    config_settle(c);
    if (c->verdict_changed) {
        c->verdict_changed = false;
        c->events->on_verdict_input(c->owner);
    }
}

void cluster_receive(struct cluster *c, uint64_t now_ms, const struct gossip_address *from,
                     struct bytes packet)
{
    c->now_ms = now_ms;
    gossip_receive(c->gossip, now_ms, from, packet);
    cluster_settle(c);
}

void cluster_tick(struct cluster *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    gossip_tick(c->gossip, now_ms);
    cluster_settle(c);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t cluster_deadline_ms(const struct cluster *c)
{
    uint64_t deadline = gossip_deadline_ms(c->gossip);
    deadline = earlier(deadline, nodes_deadline_ms(c));
    deadline = earlier(deadline, votes_deadline_ms(c));
    deadline = earlier(deadline, c->handoff_ms);
    deadline = earlier(deadline, c->clash_ms);
    deadline = earlier(deadline, join_deadline_ms(c));
    return earlier(deadline, shared_deadline_ms(&c->shared));
}

/* ---- keys and pages ---- */

uint64_t name_id(const struct cluster *c, struct bytes name)
{
    return sha256_prefix(c->sha, &name, 1);
}

struct bytes page_key(char ret_key[KEY_SIZE], const char *prefix, size_t page)
{
    int size = snprintf(ret_key, KEY_SIZE, "%s/%zu", prefix, page);
    assert(size > 0 && size < KEY_SIZE);
    return (struct bytes){ret_key, (size_t)size};
}

void remove_pages(struct cluster *c, const char *prefix, size_t from, size_t to)
{
    char key[KEY_SIZE];
    for (size_t page = from; page < to; page++) {
        gossip_remove(c->gossip, c->now_ms, page_key(key, prefix, page));
    }
}

void publish_page(void *arg, size_t page, struct bytes value)
{
    struct page_target *t = arg;
    char key[KEY_SIZE];
    if (page >= t->page_max) {
        t->crowded = true;
        return;
    }
    t->size += value.size;
    gossip_set(t->c->gossip, t->c->now_ms, t->priority, page_key(key, t->prefix, page), value);
}

void publish_end(struct page_target *t, size_t written, size_t *page_count)
{
    size_t told = written < t->page_max ? written : t->page_max;
    remove_pages(t->c, t->prefix, told, *page_count);
    *page_count = told;
    if (t->crowded) {
        cluster_problem(
            t->c, PROBLEM_CROWDED,
            "%zu of %zu pages of %s do not fit and are not told to others; restart less "
            "often, or use fewer applications and instances",
            written - told, written, t->prefix);
    }
}
