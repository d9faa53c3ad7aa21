/* life_core: the life of a node as a step function (SPEC §5 drain and enable, §7).
 *
 *   STARTING -> SERVING <-> OUT_OF_SERVICE   by /admin/drain; everything is still served
 *                  |             |
 *                  +-> DRAINING <+           told to stop; everything is still served
 *                         |
 *                     LAST_CALL              doors are shut; who had begun to connect is let in
 *                         |
 *                      CLOSING               the last exchanges end
 *                         |
 *                      STOPPED
 *
 * Beside it the virtual IP, as far as this node can move it (ABSENT where there is none):
 *
 *   OURS -> LEAVING -> SETTLING -> GONE      LEAVING: the track file says 1, the address is here
 *              |  ^_______|                  SETTLING: it has left, neighbours may not know yet
 *              +-> STUCK -> SETTLING         STUCK: keepalived does not react; its guard is told
 *                    +----> GIVEN_UP         the guard did not react either, or time is up
 *
 * In DRAINING an address that comes back has to leave once more; ENABLE makes each state OURS.
 *
 * A drain has three parts. What is at work ends; idle connections are told the end (PART, once a
 * drain, and their clients have heard it when all workers are quiet again); the address goes. It
 * goes first if connections outlive it, and last if it would take them along. A node that is only
 * out of service parts with the connections to its address alone. The end of `timeouts.drain` (the
 * node is *late*) cuts what is left, once the address has had its own short time. A second signal
 * stops at once.
 *
 * Pure: inputs and time in, orders out; life.c carries the orders out in the order of their bits.
 * Promises, walked at random by tests/unit/test_life_walk.c:
 * - no new connection is refused while the address is here, but by an address that stays for
 *   LIFE_PATIENCE_MS + LIFE_STUCK_MS, by a late node, or by a second signal;
 * - nothing at work is cut before `timeouts.drain`, but by a second signal;
 * - idle connections are told the end once, when what was at work has ended: before an address goes
 *   that takes them along, after one that does not, and before the doors are shut;
 * - every walk ends: at most LIFE_PATIENCE_MS + LIFE_SETTLE_MS after `timeouts.drain`;
 * - no node asks for the address that has not joined, does not turn, or has let it go;
 * - LIFE_STOP follows from TERMINATE, QUIET and TIME only: who feeds another input goes on. */
#ifndef LIFE_LIFE_CORE_H
#define LIFE_LIFE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* keepalived reacts within milliseconds; generous to a busy host. */
    LIFE_PATIENCE_MS = 1000,
    /* The guard looks once a second, and keepalived moves the address then. */
    LIFE_STUCK_MS = 3000,
    /* A neighbour that missed the first gratuitous ARPs gets more a second later. */
    LIFE_SETTLE_MS = 1500,
    /* A handshake lasts one round trip, or a second when a packet of it was lost. */
    LIFE_LAST_CALL_MS = 1200,
};

enum life_phase {
    LIFE_STARTING,
    LIFE_SERVING,
    LIFE_OUT_OF_SERVICE,
    LIFE_DRAINING,
    LIFE_LAST_CALL,
    LIFE_CLOSING,
    LIFE_STOPPED,
};

enum life_address {
    LIFE_ADDRESS_ABSENT,
    LIFE_ADDRESS_OURS,
    LIFE_ADDRESS_LEAVING,
    LIFE_ADDRESS_STUCK,
    LIFE_ADDRESS_SETTLING,
    LIFE_ADDRESS_GONE,
    LIFE_ADDRESS_GIVEN_UP,
};

enum life_input_kind {
    LIFE_STARTED,      /* with `workers`: they accept */
    LIFE_JOINED,       /* the cluster knows this node's past, or nobody is there to tell it */
    LIFE_DRAIN,        /* with `can_hand_over`: /admin/drain */
    LIFE_ENABLE,       /* /admin/enable */
    LIFE_TERMINATE,    /* with `can_hand_over`, `drain_ms`: SIGTERM or SIGINT */
    LIFE_QUIET,        /* with `epoch`: what a worker was told to end by that epoch has ended */
    LIFE_DOORS_EMPTY,  /* nobody is connecting any more, or the doors could not be shut */
    LIFE_ADDRESS_HELD, /* with `held`: the host got the virtual IP, or lost it */
    LIFE_HANG,         /* with `hung`: a worker's loop does not turn, or does again */
    LIFE_TIME,         /* life_deadline_ms() is reached */
};

struct life_input {
    enum life_input_kind kind;
    bool held, hung;
    /* Connections outlive the address (vip_kept()) and another node is there to take it. */
    bool can_hand_over;
    uint32_t epoch;
    size_t workers;
    uint64_t drain_ms; /* timeouts.drain */
};

/* What is to be done, in this order. */
enum life_order {
    LIFE_TELL_KEEPALIVED = 1 << 0, /* life_may_hold() has changed */
    LIFE_READY = 1 << 1,           /* for systemd and the log: serves and has joined; once */
    LIFE_DRAIN_WORKERS = 1 << 2,   /* with the new epoch */
    LIFE_ENABLE_WORKERS = 1 << 3,
    LIFE_PART = 1 << 4, /* with the new epoch: idle connections; out of service: to the address */
    LIFE_SHUT_DOORS = 1 << 5,
    LIFE_CLOSE_DOORS = 1 << 6,   /* with the new epoch */
    LIFE_ADDRESS_STAYS = 1 << 7, /* for the log: keepalived did not react */
    LIFE_CUT = 1 << 8,           /* for the log: `timeouts.drain` is over */
    LIFE_STOP = 1 << 9,          /* all workers end, whatever they do */
};

struct life {
    enum life_phase phase;
    enum life_address address;
    bool held, hung, joined, ready;
    bool late, parted, quiet;
    uint32_t epoch; /* of what the workers were told last */
    size_t workers, quiet_count;
    uint64_t drain_deadline_ms, address_deadline_ms, doors_deadline_ms; /* 0 = none */
};

/* A node in STARTING. `has_vip`: there is a virtual IP to move. */
void life_init(struct life *l, bool has_vip);

/* Returns a set of enum life_order. An input that means nothing in this state changes nothing. */
unsigned life_step(struct life *l, uint64_t now_ms, const struct life_input *in);

/* When LIFE_TIME is due; 0 = not by itself. */
uint64_t life_deadline_ms(const struct life *l);

/* keepalived may give this node the address, or leave it here (the track file says 0). */
bool life_may_hold(const struct life *l);

/* The heartbeat to keepalived's guard goes on. */
bool life_beats(const struct life *l);

/* Out of service, or on the way to the end: what /health and the node's row say. */
bool life_is_draining(const struct life *l);

/* systemd has heard READY and not yet STOPPING. */
bool life_is_ready(const struct life *l);

#endif
