/* checker: the active checks of one container (SPEC §4): rounds of GETs of a path every interval,
 * each over a connection of its own, so that a check never takes a kept-alive one from a client.
 *
 *   OFF -> WAITING -- the interval, or a check that is wanted at once --> ASKING
 *             ^                                                            |
 *             +---------- the round is over (health/rota) -----------------+
 *
 * ASKING is one check after the other, of the entry that the rota names: connecting (upstream's
 * connection.h), then waiting for the head of the answer. Whom to ask and what an answer means
 * for whom is health/rota's; whether silence means busy is health/busy's.
 *
 * Where the container has slots a check takes one, till the container has closed its connection,
 * too (for at most CHECKER_PART_MS); without a free one it is not sent, and that is as silence is.
 */
#ifndef CHECKS_CHECKER_H
#define CHECKS_CHECKER_H

#include "base/status_set.h"
#include "checks/container.h"
#include "health/busy.h"
#include "health/rota.h"
#include "http/reader.h"
#include "upstream/connection.h"

enum {
    CHECKER_AHEAD_MS = 1000, /* SPEC §4: checks ahead of their time, at most one a second */
    CHECKER_PART_MS = 100,
};

/* How the last check went that told of an entry. */
struct check_last {
    enum check_result { CHECK_NEVER, CHECK_UP, CHECK_DOWN, CHECK_BUSY } result;
    uint32_t took_ms;
    uint64_t at_s; /* since 1970 */
};

const char *check_result_word(enum check_result result); /* of CHECK_NEVER "" */

/* How long an entry's checks took, by powers of two. */
enum {
    CHECK_TIME_FIRST = 8, /* the first bound is 2^8 µs, as in facts/metrics */
    CHECK_TIME_BOUNDS = 23,
};
struct check_times {
    uint64_t counts[CHECK_TIME_BOUNDS + 1]; /* the last: beyond the last bound */
    uint64_t sum_us;
};

/* What is checked: an instance, as one of those that share a container's checks. */
struct check_entry {
    struct rota_entry rota;
    struct checker *checker;    /* NULL: it is not checked */
    struct instance_live *live; /* lent */
    char *token;                /* NULL = it is checked without one */
    struct status_set expect;
    bool called; /* live->check_wanted has been seen, and its check is to come */
    uint16_t
        last_fault; /* of the last failed check that told of it (health/reason); 0: it passed */
    const char *tls_fault; /* with FAULT_TLS: what was wrong, a literal */
    uint16_t status; /* of the answer to its last own check (rota.asked: of this round); 0: none */
    struct check_last last;
    struct check_times *times; /* NULL: none was made */
};

void check_entry_init(struct check_entry *e, struct instance_live *live);
void check_entry_done(struct check_entry *e); /* no checker has it any more */

/* `token` is copied; NULL = it is checked without one. */
void check_entry_configure(struct check_entry *e, const char *token,
                           const struct status_set *expect);

struct checker_options {
    const char *path; /* copied */
    uint64_t interval_ms, timeout_ms, busy_timeout_ms;
    uint32_t rise, fall;
    size_t index, count; /* its place among all checkers: checks are spread over the interval */
};

struct checker;

struct checker_events {
    /* A round is over: outcome and changed of each entry's rota tell what it brought. */
    void (*on_round)(struct checker *c);
    /* A check could not be made, for this node itself lacks something (net_lack_text). */
    void (*on_lack)(struct checker *c, struct check_entry *e, const char *lack);
    /* What all alive nodes know of the container now. */
    struct busy_view (*view)(struct checker *c);
};

enum checker_state { CHECKER_OFF, CHECKER_WAITING, CHECKER_ASKING };

struct checker_connection;

struct checker {
    struct net_loop *net;
    struct prng *prng;
    const struct checker_events *events;
    void *owner;
    struct container *container;
    struct checker_options options;
    char *path;
    enum checker_state state;
    struct check_entry **entries; /* as the rota has them */
    struct rota_entry **rota_entries;
    struct rota rota;
    struct active_schedule schedule;
    uint64_t excused_until_ms; /* the last round found it busy; 0 = it did not */
    struct wheel_timer timer;
    uint64_t due_ms;                       /* the next round of the interval */
    uint64_t ahead_from_ms;                /* no check ahead of its time before that */
    bool ahead;                            /* one is wanted */
    bool due;                              /* the present round is the interval's */
    struct check_entry *asked;             /* whose check is in flight */
    struct checker_connection *connection; /* its connection, */
    bool connected;
    bool heard;               /* its answer has come: */
    enum rota_result result;  /* what it said */
    unsigned result_fault;    /* and what was wrong with it */
    uint64_t unsent_since_ms; /* since when checks have found no free slot; 0 = the last one had */
    struct busy_view view;    /* and what was known of the container when it began */
    uint16_t fault;           /* of the check of this round that failed last */
    const char *tls_fault;    /* as an entry's */
    uint64_t began_us;        /* the check in flight */
    uint64_t heard_us;        /* with heard: when */
    uint32_t took_ms;         /* the last one of this round that told anything */
};

void checker_init(struct checker *c, struct net_loop *net, struct prng *prng,
                  struct container *container);

/* Starts or changes the checks. The events are the owner's, set by then. */
void checker_configure(struct checker *c, const struct checker_options *options);

/* The entries, at least one, lent until the next call or checker_done(). A round that has begun is
 * dropped if they are other ones than before. */
void checker_set_entries(struct checker *c, struct check_entry *const *entries, size_t count);

/* A check of this entry as soon as may be: an answer calls for it. */
void checker_want(struct checker *c, struct check_entry *e);

/* Ends the checks; one in flight is dropped. The struct may go at once. */
void checker_done(struct checker *c);

#endif
