/* handover: the node's part in moving the virtual IP (SPEC §7). Nothing happens without a `vip`
 * section.
 *
 *   handover_open() -> handover_ready() -> [handover_begin() -> over] -> handover_close() ->
 *   handover_free()
 *
 * A handover: the track file says 1, keepalived gives the address up, a peer takes it; until then,
 * and for HANDOVER_SETTLE_MS after, new connections are served here. It is over when the address
 * has left this host and neighbours have heard of it. If it stays for HANDOVER_PATIENCE_MS,
 * keepalived is gone or deaf: its guard is told too, and the node serves on for HANDOVER_STUCK_MS.
 */
#ifndef CONTROL_HANDOVER_H
#define CONTROL_HANDOVER_H

#include "base/buffer.h"

enum {
    /* keepalived reacts within milliseconds; generous to a busy host. */
    HANDOVER_PATIENCE_MS = 1000,
    /* The guard looks once a second, and keepalived moves the address then. */
    HANDOVER_STUCK_MS = 3000,
    /* A neighbour that missed the first gratuitous ARPs gets more a second later. */
    HANDOVER_SETTLE_MS = 1500,
    /* So long a worker's loop may not turn before the node calls itself unable. */
    HANDOVER_HANG_MS = 1500,
};

struct control;

/* The track file says 1, the heartbeat begins. Returns 0 (also without `vip`), or -1 with the
 * reason on standard error. */
int handover_open(struct control *c);

/* The workers accept: 0. Also after handover_begin(), to take it back. */
void handover_ready(struct control *c);

/* Ends in a call of control_go_on(). Again when the drain's time is up (control.late): then it
 * waits for no address that stays. */
void handover_begin(struct control *c);

/* A drain begins: hand over now if open connections outlive it (vip_kept()) and another node is
 * there to take over, or if there is nothing to hand over. Else control first waits for them, then
 * calls handover_begin(). */
void handover_drain(struct control *c);

/* It has begun and is not over: control_go_on() follows. */
bool handover_is_on(const struct control *c);

/* There is no need, or no more need, to accept connections to the virtual IP. */
bool handover_is_over(const struct control *c);

/* The virtual IP; NULL without a `vip` section at the start (a reload does not change it). */
const char *handover_address(const struct control *c);

/* The track file says 1, the heartbeat ends. */
void handover_close(struct control *c);
void handover_free(struct control *c);

#endif
