/* pool: runs many jobs in a few processes of its own, so that an assert or a hang in one costs only
 * that one, and is told with its number. */
#ifndef TESTS_SIM_POOL_H
#define TESTS_SIM_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool_job {
    /* Runs in a child; true = held. It may print whole lines. */
    bool (*run)(void *arg, uint64_t number);
    /* Runs in the parent when the child died of it. */
    void (*died)(void *arg, uint64_t number, int wait_status);
    void *arg;
    unsigned seconds_max; /* of wall time for one number; more is a hang */
};

/* Runs the jobs numbers[0..count-1]. Returns how many did not hold. */
size_t pool_run(const struct pool_job *job, const uint64_t *numbers, size_t count);

#endif
