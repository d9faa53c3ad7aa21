/* quotas_file: what was granted, as a file: windows of an hour and longer survive a restart (SPEC
 * §3).
 *
 * Pieces of bytes, and behind them their SHA-256: little-endian numbers of 8 bytes. What this node
 * had granted is read again as what an earlier start of it told: others have that from then.
 * Requests in flight are not in it. */
#ifndef TOGETHER_QUOTAS_FILE_H
#define TOGETHER_QUOTAS_FILE_H

#include "base/buffer.h"
#include "base/sha256.h"
#include "together/quotas.h"

enum { QUOTAS_KEPT_MIN_MS = 3600 * 1000 /* shorter windows are over before they matter */ };

/* Is there anything to keep, and has it changed since the last call? Control's thread. */
bool quotas_file_is_due(struct quotas *q);

/* Every subject, and every other owner's part of one, with a use in each cell. */
#define QUOTAS_FILE_MAX                                                                            \
    (QUOTAS_FILE_HEAD_MAX + 2 * (size_t)QUOTAS_SUBJECTS_MAX * (16 + 8 * QUOTA_CELLS))
enum { QUOTAS_FILE_HEAD_MAX = 128 + 16 * QUOTA_OWNERS_MAX + 24 * QUOTAS_RULES_MAX };

/* Zeroed: none is in flight. */
struct quotas_writing {
    struct quotas *q;
    struct buffer bytes;
    struct sha256 *sha; /* of what is there, a piece a time: of all at once it takes too long */
    size_t piece, rule_count; /* those that are in it: a reload may bring others meanwhile */
    uint64_t now_ms;
};
/* `self`, `start`: this node as others name its grants (cluster.h). */
void quotas_file_begin(struct quotas_writing *w, struct quotas *q, uint64_t self, uint64_t start,
                       uint64_t wall_ms);
bool quotas_file_some(struct quotas_writing *w, uint64_t now_ms); /* a piece; false: it is whole */
void quotas_file_end(struct quotas_writing *w);                   /* then the bytes are the file */
void quotas_file_drop(struct quotas_writing *w);                  /* whatever is under way */

/* At the start, before any rule is bound. False: damaged, nothing was taken. */
bool quotas_file_read(struct quotas *q, struct sha256 *sha, struct bytes file, uint64_t now_ms,
                      uint64_t wall_ms);

#endif
