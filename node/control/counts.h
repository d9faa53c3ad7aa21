/* counts: what this node's workers have counted, on its way to the cluster's totals. */
#ifndef CONTROL_COUNTS_H
#define CONTROL_COUNTS_H

#include "control/private.h"

/* Sums the workers' cells and tells them, application after application: false while there are
 * more. `cursor` is NULL at first. */
bool counts_publish_some(struct control *c, struct list **cursor);

#endif
