/* unit_file: what a systemd unit says about the end of its service. Pure: text in, facts out. */
#ifndef CLI_UNIT_FILE_H
#define CLI_UNIT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct unit_facts {
    bool notify;      /* Type=notify: the service may ask for more time (EXTEND_TIMEOUT_USEC) */
    uint64_t stop_ms; /* TimeoutStopSec; UINT64_MAX: infinity */
};

/* systemd's own, of a unit that says nothing. */
struct unit_facts unit_facts_default(void);

/* What this text of a unit, or of a drop-in behind it, says otherwise. */
void unit_file_read(struct bytes text, struct unit_facts *facts);

#endif
