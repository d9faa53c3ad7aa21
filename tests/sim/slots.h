/* slots: what nodes tell of the slots that they have taken (node/totals/slots), and the claim about
 * it: in the end each counts as taken what all other nodes that run have, of each container, and
 * nothing else; and all agree about who waits, and in which order. */
#ifndef TESTS_SIM_SLOTS_H
#define TESTS_SIM_SLOTS_H

#include "cluster/cluster.h"

struct process;

enum { SLOTS_CONTAINERS = 3 };

/* As told last; kept as the truth. No random draws: else seeds that once failed would be others. */
struct slots_truth {
    struct cluster_slots told[SLOTS_CONTAINERS];
    uint64_t turn;
};

/* Other numbers than before, told: some containers are left for a while. */
void slots_tell(struct process *p);

/* Does `v` see of the others what they have? Else text says what it does not. */
bool slots_seen(struct process *v, char *ret_why, size_t why_size);

#endif
