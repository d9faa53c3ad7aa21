/* endings: certificates for clients that end within 14 days, or have ended. */
#ifndef ASSEMBLY_ENDINGS_H
#define ASSEMBLY_ENDINGS_H

#include "log/log.h"
#include "member/problems.h"
#include "snapshot/snapshot.h"

enum { ENDINGS_SOON_S = 14 * 24 * 60 * 60 /* SPEC §3: so long before it is a problem */ };

/* An event for each of them, and a problem for each name: of those that go on the beginning stays,
 * the others' is over. Returns after how many milliseconds to look again: when the next one comes
 * to its last 14 days, or to its end; a day at most. */
uint64_t endings_tell(const struct snapshot *s, uint64_t now_s, struct log_producer *log,
                      struct problems *problems);

#endif
