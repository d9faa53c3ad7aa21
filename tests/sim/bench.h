/* bench: figures of a cluster in virtual time, for the README; they decide no test. */
#ifndef TESTS_SIM_BENCH_H
#define TESTS_SIM_BENCH_H

#include <stddef.h>
#include <stdint.h>

struct world;

/* Hosts that start within the first second, all in one. */
struct world *bench_world(size_t hosts, unsigned loss_permille, uint64_t seed);

/* Prints one row for each number of hosts in `texts`. None: 2 to 1000 hosts, 64 hosts at 10 % loss,
 * and the false deaths of two hosts at 30 %. "deaths": only these. "dead", "loss",
 * "rest": see bench_dead.h and so on. Returns an exit status. */
int bench_run(char **texts, size_t count);

#endif
