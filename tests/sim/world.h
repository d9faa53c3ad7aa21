/* world: virtual time, hosts and the network between them; what is wrong is told to it, once.
 *
 * Everything that happens is an event of its queue, everything random comes from its generator, so
 * the seed decides all. `trace` is a running hash over all that was sent, changed and injected. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "base/bytes.h"
#include "base/prng.h"
#include "base/sha256.h"
#include "gossip/gossip.h"
#include "tests/sim/network.h"
#include "tests/sim/queue.h"

struct host;
struct process;
struct adversary;
struct quotas_world;
struct uploads_world;

enum {
    WORLD_FAILURE_SIZE = 600,
    /* Below this share of lost packets no live node may be called dead (SPEC §6). */
    WORLD_HARMLESS_LOSS_PERMILLE = 100,
};

#define WORLD_SECOND_US ((uint64_t)1000 * 1000)

struct world_options {
    uint64_t seed;
    size_t host_count;
    enum gossip_profile profile;
    bool bench;   /* figures are wanted: no verdicts, no claims, state is not saved */
    bool verbose; /* prints what happens */
    bool packets; /* and every packet */
};

struct world {
    struct world_options options;
    struct prng prng;
    uint64_t now_us;
    struct queue queue;
    struct network network;
    struct sha256 *sha;
    uint64_t trace;

    struct host *hosts;
    struct process **processes; /* all that ever ran, in order of their start; life = index + 1 */
    size_t process_count, process_capacity;
    struct bytes *texts; /* every shared configuration that was ever written; [0] is the first */
    char (*text_digests)[2 * SHA256_SIZE + 1]; /* of each, in hexadecimal: asked for all the time */
    size_t text_count;
    uint8_t keys[2][SEAL_KEY_SIZE]; /* the cluster's, and the one it may rotate to */
    unsigned key_step;              /* of the rotation, see process_rotate() */
    struct adversary *adversary;    /* NULL: nobody listens */

    uint64_t requests;           /* counted by all processes together: no total may exceed it */
    uint64_t disturbed_until_us; /* until then a live node may be taken for dead by anybody */
    uint64_t disturbed_since_us; /* the start of the last disturbance of everybody */
    uint64_t faults_end_us;      /* no fault lasts longer */
    uint64_t save_interval_us;
    bool quiet;                      /* no more requests */
    bool names_gone;                 /* no name to join by is found any more */
    struct quotas_world *quotas;     /* every grant */
    struct uploads_world *uploads;   /* every file */
    struct verdict_memory *verdicts; /* what claims.c has seen verdicts computed from */

    /* bench.c's figures */
    void (*on_member)(struct process *at, const struct gossip_member *member,
                      enum wire_state before);
    void (*on_packet)(struct process *from, size_t size);
    void *owner;

    bool failed;
    char failure[WORLD_FAILURE_SIZE];
};

struct world *world_new(const struct world_options *options);
void world_free(struct world *w);

/* Lets events happen until `until_us`, or until something is wrong. */
void world_run(struct world *w, uint64_t until_us);

/* Puts an event `after_us` from now. */
void world_after(struct world *w, uint64_t after_us, struct event e);

/* What is claimed does not hold. The first one counts. */
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line of what happens, only shown with --verbose; it is part of the trace either way. */
void world_tell(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

void world_trace(struct world *w, uint64_t what);

/* Draws. Permille of 0 is never, of 1000 always. */
bool world_chance(struct world *w, unsigned permille);
uint64_t world_between(struct world *w, uint64_t low, uint64_t high); /* both included */

/* From now until `until_us` anybody may take anybody for dead. */
void world_disturb(struct world *w, uint64_t until_us);

/* A new shared configuration of about `size` bytes; returns its index in `texts`. */
size_t world_new_text(struct world *w, size_t size);
size_t world_find_text(const struct world *w, struct bytes text); /* text_count if there is none */

#endif
