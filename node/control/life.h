/* life: feeds the node's life (life_core.h) and carries out what it orders. */
#ifndef CONTROL_LIFE_H
#define CONTROL_LIFE_H

#include <uv.h>

#include "life/life_core.h"

struct control;

struct life_driver {
    uv_timer_t deadline, doors; /* `doors`: looks whether somebody is still connecting */
    bool doors_shut;
    const char *asked;    /* who asks for what is fed just now; NULL = nobody */
    const char *ended_by; /* the signal that ends the process, for the log; NULL = none */
    /* Of the newest epoch: workers that have said since the last turn that they are quiet. Under
     * control's lock. */
    uint32_t quiet_epoch, quiet_count;
};

/* The timers, before anything is fed. */
void life_open(struct control *c);
void life_close(struct control *c);

void life_feed(struct control *c, const struct life_input *in);

/* An input without more to it; DRAIN and TERMINATE get what belongs to them. */
void life_tell(struct control *c, enum life_input_kind kind);

/* From a worker's thread, and what it left on the loop. The latter may stop the node. */
void life_note_quiet(struct control *c, uint32_t epoch);
void life_take_quiet(struct control *c);

/* What the log says of why the process ends. */
const char *life_ended_by(const struct control *c);

#endif
