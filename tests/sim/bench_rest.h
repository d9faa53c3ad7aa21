/* bench_rest: what a cluster at rest sends, kind by kind. */
#ifndef TESTS_SIM_BENCH_REST_H
#define TESTS_SIM_BENCH_REST_H

#include <stddef.h>

/* Prints a table for each number of hosts; how many of them send more than they may: 400 bytes a
 * second and node of two, 700 of three and of five. */
size_t bench_rest(void);

#endif
