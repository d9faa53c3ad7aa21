/* join: what a node that starts has to hear before it may speak for the cluster.
 *
 *   asker   JOINING --a member's answer, and all that it speaks of is here--> joined
 *              \-----CLUSTER_JOINING_MS are over------------------------------^
 *
 * A start without its state_dir knows neither its own past nor what the dead have counted: its
 * totals would be lower than before. So it says that it joins (key `join`), and a member that does
 * not join itself answers with how much it knows: the sum of all slots, and of the asker's past
 * alone. The asker has joined once it knows as much. What it needs for that comes by the usual
 * ways: syncs, and handoff.c for its own past. Sums do, since the asker counts on in its present
 * slot only, which neither side adds, and numbers only grow.
 *
 * One answer is enough: members answer by their rank, and not when another has. Nodes that start
 * together have nobody to ask but each other: each waits a little for somebody who knows more.
 *
 * The same key says up to which version of its bulk changes a node tells all that it knows of its
 * past, so that others need not guess when it lacks something of it. */
#include <assert.h>

#include "cluster/private.h"
#include "proto/cluster.pb-c.h"

enum {
    /* By then a member that does not join has been met, if there is one. */
    NOVICE_INTERVALS = 2,
    /* Members that start at the same time and are told what is known; further ones wait for their
     * turn, or out their time. */
    JOIN_ANSWERS_MAX = 8,
    JOIN_ANSWER_SIZE_MAX = 48, /* 9 + 3 x 11 bytes, and around them */
    JOIN_SIZE_MAX = 16 + JOIN_ANSWERS_MAX * JOIN_ANSWER_SIZE_MAX,
};
_Static_assert((int)JOIN_SIZE_MAX <= (int)WIRE_VALUE_MAX, "one value holds it");

/* See JoinAnswer in proto/cluster.proto. */
struct join_answer {
    uint64_t id, generation, known, past;
};

/* What a node says about joining: a member as it came, this node as it is told. */
struct join {
    bool joining;
    uint64_t joining_since_ms; /* of a member, with joining: since when this node knows */
    uint64_t past_version;     /* 0: it has not said */
    struct join_answer answers[JOIN_ANSWERS_MAX];
    size_t answer_count;

    /* Of this node. */
    bool changed;
    uint64_t until_ms; /* with joining: then it is over in any case */
    uint64_t look_ms;  /* when join.c looks next; UINT64_MAX = when something changes */
};

static struct join *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_JOIN, sizeof(struct join));
}

/* NULL: it has said nothing, or it is this node. */
static const struct join *told_by(struct cluster *c, const struct gossip_member *m)
{
    const struct member_info *info = m->self ? NULL : info_of(c, m);
    return info ? info->told[TOPIC_JOIN] : NULL;
}

void join_init(struct cluster *c)
{
    struct join *j = own(c);
    j->joining = !c->alone;
    j->changed = true;
    j->until_ms = c->now_ms + CLUSTER_JOINING_MS;
    j->look_ms = UINT64_MAX;
    j->past_version = 1; /* nothing is known of it, and all of that is told */
}

bool cluster_joining(const struct cluster *c)
{
    return own(c)->joining;
}

/* ---- what others say ---- */

static void take_join(struct cluster *c, struct join *told, const Cluster__Join *j)
{
    told->joining_since_ms = told->joining ? told->joining_since_ms : c->now_ms;
    told->joining = j->joining;
    told->past_version = j->past;
    told->answer_count = j->n_answers < JOIN_ANSWERS_MAX ? j->n_answers : JOIN_ANSWERS_MAX;
    for (size_t i = 0; i < told->answer_count; i++) {
        const Cluster__JoinAnswer *a = j->answers[i];
        told->answers[i] = (struct join_answer){
            .id = a->id, .generation = a->generation, .known = a->known, .past = a->past};
    }
}

void join_note(struct cluster *c, const struct topic_entry *e)
{
    struct bytes value = e->value;
    Cluster__Join *j =
        value.at ? cluster__join__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (j) {
        take_join(c, topic_told(e->info, TOPIC_JOIN, sizeof(struct join)), j);
        cluster__join__free_unpacked(j, NULL);
        handoff_owner_spoke(c, e->member);
        own(c)->changed = true;
    }
}

void join_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    (void)member;
    (void)event;
    own(c)->changed = true;
}

void join_past_told(struct cluster *c, uint64_t version)
{
    own(c)->past_version = version;
    own(c)->changed = true;
}

bool join_past_is_said(struct cluster *c, const struct gossip_member *owner)
{
    const struct join *told = told_by(c, owner);
    return told && told->past_version != 0;
}

bool join_past_is_here(struct cluster *c, const struct gossip_member *owner)
{
    const struct join *told = told_by(c, owner);
    return told && told->past_version != 0 &&
           gossip_known(c->gossip, owner, WIRE_BULK) + 1 >= told->past_version;
}

/* ---- sums ---- */

/* Of a node's slots of other starts than this one. */
static uint64_t past_sum(const struct cluster *c, struct bytes name, uint64_t generation)
{
    const struct ledger_node *node = ledger_find_node(c->ledger, name);
    uint64_t sum = 0;
    for (size_t i = 0; node && i < node->slot_count; i++) {
        if (node->slots[i]->generation != generation) {
            sum += ledger_slot_sum(node->slots[i]);
        }
    }
    return sum;
}

static struct join_answer answer_for(const struct cluster *c, const struct gossip_member *asker)
{
    struct bytes name = bytes_of(asker->name);
    uint64_t present = ledger_slot_sum(ledger_find_slot(c->ledger, name, asker->generation));
    return (struct join_answer){
        .id = asker->id,
        .generation = asker->generation,
        .known = ledger_sum(c->ledger) - present,
        .past = past_sum(c, name, asker->generation),
    };
}

static bool answers(const struct join_answer *a, const struct gossip_member *asker)
{
    return a->id == asker->id && a->generation == asker->generation;
}

/* ---- answering ---- */

static bool asks(struct cluster *c, const struct gossip_member *m)
{
    const struct join *told = told_by(c, m);
    return told && told->joining && is_up(m);
}

/* Somebody that is up has answered. */
static bool is_answered(struct cluster *c, const struct gossip_member *asker)
{
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        const struct join *told = told_by(c, m);
        for (size_t a = 0; is_up(m) && told && a < told->answer_count; a++) {
            if (answers(&told->answers[a], asker)) {
                return true;
            }
        }
    }
    return false;
}

/* Members that are up, this node aside: those that do not join, and how many of them, or of those
 * that do, come before this node. */
struct others {
    size_t settled, settled_before, joining_before;
};

static struct others look_around(struct cluster *c)
{
    uint64_t self = gossip_self(c->gossip)->id;
    struct others found = {0};
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        if (m->self || !is_up(m)) {
            continue;
        }
        if (asks(c, m)) {
            found.joining_before += m->id < self;
        } else {
            found.settled++;
            found.settled_before += m->id < self;
        }
    }
    return found;
}

/* When this node's turn to answer comes; UINT64_MAX: others know better. */
static uint64_t turn_ms(struct cluster *c, const struct gossip_member *asker)
{
    struct others others = look_around(c);
    const struct join *told = told_by(c, asker);
    assert(told); /* it asks */
    uint64_t since_ms = told->joining_since_ms;
    if (!own(c)->joining) {
        return since_ms + others.settled_before * c->interval_ms;
    }
    return others.settled > 0
               ? UINT64_MAX
               : since_ms + (NOVICE_INTERVALS + others.joining_before) * c->interval_ms;
}

static bool has_answered(const struct cluster *c, const struct gossip_member *asker)
{
    const struct join *j = own(c);
    for (size_t i = 0; i < j->answer_count; i++) {
        if (answers(&j->answers[i], asker)) {
            return true;
        }
    }
    return false;
}

/* Answers whose asker has joined, has ended, or has a new generation. */
static void forget_answers(struct cluster *c)
{
    struct join *j = own(c);
    size_t kept = 0;
    for (size_t i = 0; i < j->answer_count; i++) {
        bool wanted = false;
        for (size_t k = 0; k < gossip_member_count(c->gossip); k++) {
            const struct gossip_member *m = gossip_member(c->gossip, k);
            wanted = wanted || (answers(&j->answers[i], m) && asks(c, m));
        }
        if (wanted) {
            j->answers[kept++] = j->answers[i];
        }
    }
    j->answer_count = kept;
}

static void answer_all(struct cluster *c)
{
    struct join *j = own(c);
    forget_answers(c);
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        if (!asks(c, m) || has_answered(c, m) || is_answered(c, m) ||
            j->answer_count == JOIN_ANSWERS_MAX) {
            continue;
        }
        uint64_t due_ms = turn_ms(c, m);
        if (c->now_ms >= due_ms) {
            j->answers[j->answer_count++] = answer_for(c, m);
        } else {
            j->look_ms = due_ms < j->look_ms ? due_ms : j->look_ms;
        }
    }
}

/* ---- this node ---- */

/* It speaks of more than is here. */
static bool lacks(const struct cluster *c, const struct join_answer *answer)
{
    struct join_answer mine = answer_for(c, gossip_self(c->gossip));
    return answer->known > mine.known || answer->past > mine.past;
}

static bool has_heard(struct cluster *c)
{
    const struct gossip_member *self = gossip_self(c->gossip);
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        const struct join *told = told_by(c, m);
        for (size_t a = 0; is_up(m) && told && a < told->answer_count; a++) {
            if (answers(&told->answers[a], self) && !lacks(c, &told->answers[a])) {
                return true;
            }
        }
    }
    return false;
}

static void try_to_end(struct cluster *c)
{
    bool heard = has_heard(c);
    if (!heard && c->now_ms < own(c)->until_ms) {
        return;
    }
    own(c)->joining = false;
    own(c)->changed = true;
    usage_begin(c);
    if (heard) { /* what the others do not tell, nobody does */
        handoff_all_heard(c);
    }
}

static void tell_join(struct cluster *c)
{
    const struct join *own_join = own(c);
    Cluster__Join j = CLUSTER__JOIN__INIT;
    Cluster__JoinAnswer list[JOIN_ANSWERS_MAX];
    Cluster__JoinAnswer *pointers[JOIN_ANSWERS_MAX];
    uint8_t value[JOIN_SIZE_MAX];
    j.joining = own_join->joining;
    j.past = own_join->past_version;
    j.n_answers = own_join->answer_count;
    j.answers = pointers;
    for (size_t i = 0; i < j.n_answers; i++) {
        const struct join_answer *answer = &own_join->answers[i];
        cluster__join_answer__init(&list[i]);
        list[i].id = answer->id;
        list[i].generation = answer->generation;
        list[i].known = answer->known;
        list[i].past = answer->past;
        pointers[i] = &list[i];
    }
    size_t size = cluster__join__pack(&j, value);
    topic_set(c, TOPIC_JOIN, (struct bytes){(const char *)value, size});
}

void join_settle(struct cluster *c)
{
    struct join *j = own(c);
    if (c->alone) {
        return;
    }
    if (j->joining) {
        try_to_end(c);
    }
    if (j->changed || c->now_ms >= j->look_ms) {
        j->changed = false;
        j->look_ms = UINT64_MAX;
        answer_all(c);
        tell_join(c);
    }
}

uint64_t join_deadline_ms(const struct cluster *c)
{
    const struct join *j = own(c);
    return j->joining && j->until_ms < j->look_ms ? j->until_ms : j->look_ms;
}
