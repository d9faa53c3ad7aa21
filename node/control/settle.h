/* settle: the end of a turn of the loop, where what the turn has changed takes effect.
 *
 * Who changes something changes it and returns; nobody has to call anything afterwards. settle.c
 * says what is looked at, and in which order. */
#ifndef CONTROL_SETTLE_H
#define CONTROL_SETTLE_H

#include <uv.h>

struct control;

struct settle {
    uv_prepare_t turn;
    uv_timer_t tick; /* wakes the loop when time alone makes something due */
};

/* After all other prepare handles of the loop have been started: the last one started runs first,
 * and what is settled must leave in the same turn (streams, the log). */
void settle_open(struct control *c);
void settle_close(struct control *c);

#endif
