/* converge: has everybody come to know the same, and is it the truth? */
#ifndef TESTS_SIM_CONVERGE_H
#define TESTS_SIM_CONVERGE_H

#include <stdbool.h>
#include <stddef.h>

struct world;

/* Every running node sees: all running ones alive, at their address, all others dead or left; what
 * each of them said of itself, its votes and its counters; the same drains, configuration and
 * verdicts. False: `ret_why` says in a sentence what differs first. */
bool converged(struct world *w, char *ret_why, size_t why_size);

/* Every running node has every other as alive, at its address. */
/* Every running process says the same of everybody's totals. */
bool totals_agree(struct world *w, char *ret_why, size_t why_size);

bool all_are_met(struct world *w, char *ret_why, size_t why_size);

/* Once converged: the totals are what was counted, but for what crashed nodes counted too late for
 * anybody to hear. False as above. */
bool totals_are_true(struct world *w, char *ret_why, size_t why_size);

#endif
