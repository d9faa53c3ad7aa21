/* cluster: gossip's callbacks are handed to the topics, and settle() does what they left to be
 * done. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"

enum { PROBLEM_PAUSE_MS = 1000, DETAIL_SIZE = 512 };

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
        break;
    }
    return "config_refused";
}

void cluster_problem(struct cluster *c, enum problem_kind kind, const char *subject,
                     const char *format, ...)
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
    c->events->on_problem(c->owner, kind_text(kind), subject, detail);
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
        cluster_problem(c, PROBLEM_NEWER_VERSION, who,
                        "%s speaks another version of the gossip protocol; bring all nodes to the "
                        "same version of difyring",
                        who);
        return;
    case GOSSIP_UNKNOWN_KEY:
        cluster_problem(
            c, PROBLEM_UNKNOWN_KEY, who,
            "%s uses a cluster key that this node does not have; add it to cluster.keys "
            "here, or correct it there",
            who);
        return;
    case GOSSIP_FORGED:
        cluster_problem(c, PROBLEM_FORGED, who,
                        "packets from %s do not verify; compare cluster.name and cluster.keys of "
                        "both ends, or close the port to strangers",
                        who);
        return;
    case GOSSIP_CROWDED:
        break;
    }
    cluster_problem(c, PROBLEM_CROWDED, "members",
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
    for (size_t i = 0; info && i < TOPIC_COUNT; i++) {
        free(info->told[i]);
    }
    free(info);
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
        topics_member(c, member, is_up(member) ? MEMBER_UP : MEMBER_DOWN);
    } else if (is_up(member) && !member->owner_data && !member->self) {
        quotas_member(c, member, MEMBER_UP); /* another start in the place of one that was up */
    }
    c->events->on_member(c->owner, member, before);
}

static void on_member_leaving(void *owner, struct gossip_member *member)
{
    struct cluster *c = owner;
    if (member->self) {
        return; /* what it has said stays; counts_generation() does the rest */
    }
    topics_member(c, member, MEMBER_GONE);
    info_free(member->owner_data);
    member->owner_data = NULL;
}

static void on_entry(void *owner, struct gossip_member *member, struct bytes key,
                     struct bytes value)
{
    if (!member->owner_data) {
        member->owner_data = memory_new(sizeof(struct member_info));
    }
    topics_note(owner, member, key, value);
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
    c->days = usage_days_new();
    c->days_revision = UINT64_MAX;
    c->own = memory_new(TOPIC_COUNT * sizeof(*c->own));
    c->alive_count = 1;
    c->gossip = gossip_new(&gossip, now_ms);
    c->interval_ms = gossip_interval_ms(c->gossip);
    handoff_init(c);
    join_init(c);
    gone_init(c);
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
            topics_member(c, m, MEMBER_GONE);
            info_free(m->owner_data);
            m->owner_data = NULL;
        }
    }
    topics_member(c, gossip_self(c->gossip), MEMBER_GONE);
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        free(c->self.told[i]);
        free(c->own[i]);
    }
    gossip_free(c->gossip);
    shared_done(&c->shared);
    ledger_free(c->ledger);
    usage_days_free(c->days);
    free(c->own);
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

void cluster_settle(struct cluster *c)
{
    topics_settle(c);
    if (c->verdict_changed) {
        c->verdict_changed = false;
        c->events->on_verdict_input(c->owner);
    }
}

bool cluster_receive(struct cluster *c, uint64_t now_ms, const struct gossip_address *from,
                     struct bytes packet)
{
    c->now_ms = now_ms;
    if (!gossip_receive(c->gossip, now_ms, from, packet)) {
        return false;
    }
    cluster_settle(c);
    return true;
}

void cluster_hint(struct cluster *c, uint64_t now_ms, const struct gossip_address *to,
                  struct bytes quoted)
{
    c->now_ms = now_ms;
    if (gossip_hint(c->gossip, now_ms, to, quoted)) {
        cluster_settle(c);
    }
}

void cluster_tick(struct cluster *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    gossip_tick(c->gossip, now_ms);
    cluster_settle(c);
}

uint64_t cluster_deadline_ms(const struct cluster *c)
{
    uint64_t gossip_ms = gossip_deadline_ms(c->gossip), topics_ms = topics_deadline_ms(c);
    return gossip_ms < topics_ms ? gossip_ms : topics_ms;
}

uint64_t name_id(const struct cluster *c, struct bytes name)
{
    return sha256_prefix(c->sha, &name, 1);
}
