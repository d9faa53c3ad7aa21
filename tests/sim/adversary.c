/* adversary: a ring of what it saw last, each with the process that it reached. What it sends is
 * given to the victim at once, so that its state can be compared before and after. */
#include "tests/sim/adversary.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/wire/seal.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"

enum { SEEN_MAX = 256 };

struct captured {
    uint32_t life;
    struct gossip_address from, to;
    size_t size;
    uint8_t bytes[GOSSIP_PACKET_MAX];
};

struct adversary {
    struct captured seen[SEEN_MAX];
    size_t count;
    struct seal *foreign; /* seals as another cluster would, with the same key */
};

struct adversary *adversary_new(void)
{
    struct adversary *a = memory_new(sizeof(*a));
    static const uint8_t KEY[1][SEAL_KEY_SIZE] = {{7}};
    static const struct seal_session SESSION = {{1, 2, 3, 4, 5, 6, 7, 8}};
    a->foreign = seal_new(BYTES("another cluster"), KEY, 1, &SESSION);
    return a;
}

void adversary_free(struct adversary *a)
{
    if (a != NULL) {
        seal_free(a->foreign);
        free(a);
    }
}

void adversary_sees(struct adversary *a, uint32_t life, const struct gossip_address *from,
                    const struct gossip_address *to, struct bytes packet)
{
    struct captured *c = &a->seen[a->count++ % SEEN_MAX];
    *c = (struct captured){.life = life, .from = *from, .to = *to, .size = packet.size};
    memcpy(c->bytes, packet.at, packet.size);
}

/* ---- what it sends ---- */

enum strike {
    STRIKE_REPLAY, /* as it was */
    STRIKE_CUT,
    STRIKE_FLIP,   /* a few bytes changed */
    STRIKE_RANDOM, /* a true header, the rest made up */
    STRIKE_FOREIGN,
    STRIKE_HINT,  /* "nobody holds that port", quoting what it has seen */
    STRIKE_GUESS, /* the same of one who has seen none of it, but knows all that can be known */
    STRIKES,
};

static const char *const STRIKE_TEXTS[STRIKES] = {
    "replayed", "cut", "changed", "made up", "foreign", "quoted in a hint", "guessed in a hint"};

static bool is_hint(enum strike strike)
{
    return strike == STRIKE_HINT || strike == STRIKE_GUESS;
}

static void make_packet(struct world *w, enum strike strike, struct captured *c)
{
    switch (strike) {
    case STRIKE_REPLAY:
    case STRIKES:
        break;
    case STRIKE_HINT:
        break;
    case STRIKE_GUESS: /* the sealed part is as good as random to it */
        for (size_t i = SEAL_HEADER_SIZE; i < c->size; i++) {
            c->bytes[i] = (uint8_t)prng_next(&w->prng);
        }
        break;
    case STRIKE_CUT:
        c->size = (size_t)prng_below(&w->prng, c->size);
        break;
    case STRIKE_FLIP:
        for (uint64_t i = world_between(w, 1, 3); i > 0; i--) {
            c->bytes[prng_below(&w->prng, c->size)] ^= (uint8_t)(1u << prng_below(&w->prng, 8));
        }
        break;
    case STRIKE_RANDOM:
        for (size_t i = (size_t)prng_below(&w->prng, SEAL_HEADER_SIZE); i < c->size; i++) {
            c->bytes[i] = (uint8_t)prng_next(&w->prng);
        }
        break;
    case STRIKE_FOREIGN: {
        char plain[400];
        for (size_t i = 0; i < sizeof(plain); i++) {
            plain[i] = (char)prng_next(&w->prng);
        }
        struct seal_session to;
        memcpy(to.id, c->bytes + 3, sizeof(to.id));
        c->size = seal_packet(w->adversary->foreign, world_chance(w, 500) ? NULL : &to,
                              (struct bytes){plain, (size_t)world_between(w, 0, sizeof(plain))},
                              c->bytes);
        break;
    }
    }
}

static struct process *pick_victim(struct world *w, const struct captured *c)
{
    if (world_chance(w, 500) && w->processes[c->life - 1]->cluster != NULL) {
        return w->processes[c->life - 1];
    }
    return w->hosts[prng_below(&w->prng, w->options.host_count)].process;
}

static struct gossip_address draw_sender(struct world *w, const struct captured *c)
{
    if (world_chance(w, 500)) {
        return c->from;
    }
    struct gossip_address a =
        network_address((uint32_t)prng_below(&w->prng, 100), NETWORK_ADVERSARY_HOST >> 8);
    return a;
}

/* Who sent it, to a process that he knows: only he can be told that it did not get there, and of
 * the former one of that name it is true. */
static struct process *sender_of(struct world *w, const struct captured *c)
{
    const struct host *h = network_host(w, &c->from), *to = network_host(w, &c->to);
    if (!h || !to || !process_runs(h->process) || !process_runs(to->process)) {
        return NULL;
    }
    const struct gossip_member *known =
        gossip_find(cluster_gossip(h->process->cluster), bytes_of(to->name));
    const struct gossip_member *is = gossip_self(cluster_gossip(to->process->cluster));
    return known && known->generation == is->generation ? h->process : NULL;
}

/* Who is on the way to a member and cuts the way back, or waits for it to be cut, makes it as dead
 * as a member can be: all that is sent to it is refused, and nothing comes (SPEC §6). That is no
 * claim; what one does who only reads is, and what one does who is not on the way. */
static bool is_heard_by(struct world *w, const struct captured *c)
{
    const struct host *h = network_host(w, &c->from), *to = network_host(w, &c->to);
    return h && to && network_carries(&w->network, to->index, h->index);
}

static void give(struct process *victim, enum strike strike, const struct captured *c,
                 const struct gossip_address *from)
{
    struct bytes bytes = {(const char *)c->bytes, c->size};
    if (is_hint(strike)) {
        process_hint(victim, &c->to, bytes);
    } else {
        process_receive(victim, from, bytes);
    }
}

void adversary_strikes(struct world *w)
{
    struct adversary *a = w->adversary;
    if (a->count == 0) {
        return;
    }
    size_t kept = a->count < SEEN_MAX ? a->count : SEEN_MAX;
    enum strike strike = (enum strike)prng_below(&w->prng, STRIKES);
    assert(strike < STRIKES);
    size_t ago = is_hint(strike) ? prng_below(&w->prng, kept < 8 ? kept : 8) + 1
                                 : prng_below(&w->prng, kept) + 1;
    struct captured c = a->seen[(a->count - ago) % SEEN_MAX];
    struct process *victim = is_hint(strike) ? sender_of(w, &c) : pick_victim(w, &c);
    if (!process_runs(victim) || victim->paused_until_us > w->now_us ||
        (strike == STRIKE_HINT && !is_heard_by(w, &c))) {
        return;
    }
    make_packet(w, strike, &c);
    struct gossip_address from = draw_sender(w, &c);
    process_tick(victim); /* what time alone changes is not to be blamed on the packet */
    uint64_t before = claims_fingerprint(victim);
    victim->struck = true;
    victim->answered = 0;
    give(victim, strike, &c, &from);
    victim->struck = false;
    if (!is_hint(strike) && victim->answered > c.size) { /* a ping is its only answer */
        world_fail(w, "%s answers %zu bytes (%s) with %llu", victim->host->name, c.size,
                   STRIKE_TEXTS[strike], (unsigned long long)victim->answered);
    }
    if (claims_fingerprint(victim) != before) {
        world_fail(w, "a packet that was %s changes what %s knows", STRIKE_TEXTS[strike],
                   victim->host->name);
    }
}
