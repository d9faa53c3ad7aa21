/* counts: what this node has counted since its start, for the cluster's ledger. */
#ifndef CONTROL_COUNTS_H
#define CONTROL_COUNTS_H

#include "control/private.h"

/* Sums the workers' cells and gives them to the cluster, so that its totals hold this node's
 * numbers as of now. */
void counts_publish(struct control *c);

#endif
