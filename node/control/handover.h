/* handover: the node's hands on the virtual IP (SPEC §7): what keepalived is told, and what the
 * host says of the address. When it is told what is life_core.h's. Nothing happens without a `vip`
 * section.
 *
 *   handover_open() -> handover_tell()... -> handover_close() -> handover_free() */
#ifndef CONTROL_HANDOVER_H
#define CONTROL_HANDOVER_H

#include <stdbool.h>

enum {
    /* So long a worker's loop may not turn before the node calls itself unable. */
    HANDOVER_HANG_MS = 1500,
};

struct control;

/* The track file says 1, the heartbeat begins. Returns 0 (also without `vip`), or -1 with the
 * reason on standard error. */
int handover_open(struct control *c);

/* The track file says what life_may_hold() says. */
void handover_tell(struct control *c);

/* Into the log: the address has not left. */
void handover_log_stays(struct control *c);

/* Connections outlive the address (vip_kept()), and another node is there to take it over. */
bool handover_is_possible(const struct control *c);

/* The virtual IP; NULL without a `vip` section at the start (a reload does not change it). */
const char *handover_address(const struct control *c);

/* The track file says 1, the heartbeat ends. */
void handover_close(struct control *c);
void handover_free(struct control *c);

#endif
