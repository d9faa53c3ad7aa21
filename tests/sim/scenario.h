/* scenario: one seed: a cluster starts, works, suffers, is left in peace, and must come to agree.
 */
#ifndef TESTS_SIM_SCENARIO_H
#define TESTS_SIM_SCENARIO_H

#include "tests/sim/world.h"

struct scenario_result {
    bool held;
    uint64_t trace;
    uint64_t simulated_us, converged_us; /* how long it took after the last fault */
    uint64_t packets;
    char failure[WORLD_FAILURE_SIZE];
};

/* Asks for no more than is in `options`: seed, verbose and packets. */
struct scenario_result scenario_run(const struct world_options *options);

#endif
