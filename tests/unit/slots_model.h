/* slots_model: a stand-in for the driver of queue/slots, for test_slots.c and fuzz_slots.c.
 *
 * It plays requests of some workers and the connections that they have, gives only inputs that a
 * correct driver could give, and checks the core's promises after each. The first broken one is
 * kept in `broken`. What happens is chosen by `choose`: a generator's numbers, or a fuzzer's. */
#ifndef TESTS_SLOTS_MODEL_H
#define TESTS_SLOTS_MODEL_H

#include "queue/slots.h"

enum { MODEL_WORKERS = 3, MODEL_LINES = 2, MODEL_REQUESTS = 60, MODEL_USERS = 5 };

struct model_request {
    struct slot_waiter waiter; /* WAITING and GRANTED (told, not picked up yet) are its states */
    bool held;                 /* it has a slot and a connection */
    bool counted;              /* by waiter.class, else as unknown */
    unsigned told;             /* how often since it asked */
};

struct slots_model {
    struct slots slots;
    struct slot_line lines[MODEL_LINES];
    struct model_request requests[MODEL_REQUESTS];
    uint32_t idle[MODEL_LINES][MODEL_WORKERS];    /* connections that are */
    uint32_t parting[MODEL_LINES][MODEL_WORKERS]; /* connections that are about to close */
    uint32_t asked_known[MODEL_WORKERS];
    uint32_t checks, unknown, size;
    uint64_t now_ms;
    bool squeezed; /* the limit fell, or others took more: above it through no fault of the core */
    uint64_t (*choose)(void *arg, uint64_t bound);
    void *arg;
    const char *broken;
    uint64_t granted, moved, full, served_by_idle; /* what was seen */
};

void slots_model_init(struct slots_model *m, uint64_t (*choose)(void *arg, uint64_t bound),
                      void *arg);

/* One thing happens. */
void slots_model_act(struct slots_model *m);

/* Nobody comes any more and everybody goes on to his end: true if nothing is left. */
bool slots_model_run_out(struct slots_model *m);

void slots_model_done(struct slots_model *m);

#endif
