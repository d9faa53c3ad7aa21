/* reported: what only control knows of this node, for node/report. */
#ifndef CONTROL_REPORTED_H
#define CONTROL_REPORTED_H

#include "control/private.h"

/* Begins to report: when the first snapshot is there. */
void reported_open(struct control *c);

#endif
