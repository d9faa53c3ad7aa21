/* notify: tells systemd how the service is doing (sd_notify(3), Type=notify), without its library:
 * one datagram to the socket that NOTIFY_SOCKET names. Nothing happens when there is none. */
#ifndef LIFE_NOTIFY_H
#define LIFE_NOTIFY_H

#include <stdint.h>

void notify_ready(void);
void notify_reloading(void); /* followed by notify_ready() */
/* It ends within so long: systemd waits for that, whatever TimeoutStopSec says. */
void notify_stopping(uint64_t within_ms);

/* All goes on; where the unit has WatchdogSec. */
void notify_alive(void);

#endif
