/* bench: figures of a cluster in virtual time; they decide no test. */
#ifndef TESTS_SIM_BENCH_H
#define TESTS_SIM_BENCH_H

#include <stddef.h>

/* The hosts of each row as text; none: 2, 8, 16, 64, 256, 1000 and the figures of issue-like limits:
 * false deaths of two nodes at 30 % loss, a change among 64 at 10 % loss. Returns an exit status. */
int bench_run(char **hosts, size_t count);

#endif
