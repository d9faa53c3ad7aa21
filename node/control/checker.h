/* checker: the active checks of one instance (SPEC §4): GET of a path every interval, each over a
 * connection of its own, so that a check never takes a kept-alive one from a client.
 *
 *   WAITING -> CONNECTING -> ASKING -> WAITING ...
 *
 * A check that times out while the instance delivers response bytes to this node is neither a
 * success nor a failure: a stock Dify container serves ten requests at a time, and the eleventh,
 * ours, waits. */
#ifndef CONTROL_CHECKER_H
#define CONTROL_CHECKER_H

#include "base/status_set.h"
#include "health/active.h"
#include "http/reader.h"
#include "net/stream.h"
#include "upstream/dial.h"

struct checker_options {
    bool enabled;
    const char *path; /* copied */
    uint64_t interval_ms, timeout_ms;
    uint32_t rise, fall;
    struct status_set expect;
    size_t index, count; /* its place among all instances: checks are spread over the interval */
};

enum checker_state { CHECKER_OFF, CHECKER_WAITING, CHECKER_ASKING };

struct checker_connection;

struct checker {
    struct net_loop *net;
    struct instance_shared *shared;
    struct active active;
    struct active_schedule schedule;
    struct prng *prng;
    struct wheel_timer timer;
    enum checker_state state;
    struct checker_options options;
    char *path;
    struct checker_connection *connection; /* the check under way */
    struct dial dial;                      /* its addresses so far */
    uint64_t deadline_ms;                  /* when it is over */
    uint64_t bytes_before;                 /* what the instance had delivered when it began */
    const char *last_error; /* of the last failed check; static; NULL after a success */
    uint16_t last_status;   /* 0: none came */
    void (*on_change)(struct checker *c); /* active.state has changed */
    /* A check could not be made, for this node itself lacks something (net_lack_text). */
    void (*on_lack)(struct checker *c, const char *lack);
};

/* The owner sets the two callbacks next. */
void checker_init(struct checker *c, struct net_loop *net, struct instance_shared *shared,
                  struct prng *prng);

/* Starts, changes or ends the checks. Results so far stay unless they are switched off. */
void checker_configure(struct checker *c, const struct checker_options *options);

/* Ends the checks; a check under way is dropped. The struct may go at once. */
void checker_done(struct checker *c);

#endif
