/* trouble: finds what is wrong now by looking at what is: instances, nodes, the virtual IP, clocks.
 * What somebody notices and cannot be seen later is noted by them (member/problems.h). */
#ifndef REPORT_TROUBLE_H
#define REPORT_TROUBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log/log.h"

struct report;

/* Of the looks before. */
struct trouble {
    uint64_t unheld_ms; /* since when; 0 = not */
    uint64_t dropped[LOG_STREAM_COUNT];
};

/* Now: each second, and before anybody is told. */
void trouble_look(struct report *r);

#endif
