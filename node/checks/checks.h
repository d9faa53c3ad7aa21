/* checks: which containers there are, and who checks which instances, from a configuration.
 *
 * Entries with the same host, port, tls and health_check share a checker, across applications; all
 * at one host and port share a container. Both live on over a reload as long as anybody wants them.
 * `failure_statuses` is about requests, so it may differ among those that share checks. */
#ifndef CHECKS_CHECKS_H
#define CHECKS_CHECKS_H

#include "base/buffer.h"
#include "checks/checker.h"
#include "conf/conf.h"

/* What a health_check asks for, prepared once for all instances of an application. */
struct check_terms {
    const struct conf_health_check *check; /* NULL: of none */
    struct buffer text;                    /* equal terms have equal texts */
    struct status_set expect[2];           /* with a token, and without one */
};

struct check_off {
    struct check_entry *entry;
    uint32_t rise, fall;
};

struct checks {
    struct net_loop *net;
    struct prng *prng;
    const struct checker_events *events;
    void *owner;              /* of all checkers */
    struct names containers;  /* struct container */
    struct names checkers;    /* struct check_group */
    struct check_terms terms; /* of the health_check placed last */
    struct buffer name;       /* of the checker looked up last */
    struct check_off *off;    /* entries that are to be checked no more */
    size_t off_count, off_capacity;
    bool removing; /* first those that nobody wants */
    size_t end_at; /* of the checkers; SIZE_MAX: the end has not begun */
};

void checks_init(struct checks *c, struct net_loop *net);
void checks_done(struct checks *c); /* all instances have left */

/* From _begin to the end (when _end_some says false) other turns of the loop may come between: what
 * is checked goes on as before until then. In between each instance of the new configuration is
 * placed once. After that instances that were not placed are nobody's and may go, once
 * they have left. */
void checks_begin(struct checks *c);
void checks_place(struct checks *c, struct check_entry *e, struct container_entry *place,
                  const struct conf_health_check *check, const struct conf_instance *instance);
bool checks_end_some(struct checks *c);

/* The instance leaves its container, which goes with the last one. */
void checks_leave(struct checks *c, struct container_entry *place);

/* For cluster_set_work(): one each of the containers that have any, into `ret_work` with room for
 * c->containers.count. */
size_t checks_work(struct checks *c, uint64_t now_ms, struct cluster_work *ret_work);

#endif
