/* bench_dead: how soon whoever lives knows who does not. */
#ifndef TESTS_SIM_BENCH_DEAD_H
#define TESTS_SIM_BENCH_DEAD_H

#include <stddef.h>

/* A row for each number of hosts in `texts` (none: 2, 3, 5, 16, 64), at rest and at work: until a
 * killed process, and one whose host is gone, is dead to each other node. How many rows fall short
 * of SPEC §6: 0.5 s and 2 s, each node's median. */
size_t bench_dead(char **texts, size_t count);

#endif
