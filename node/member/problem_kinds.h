/* problem_kinds: everything that a node may say is wrong (SPEC §5, `problems`), in one table: the
 * word, how bad it is, and what to do. doc/OPERATING.md has a row for each, which a test holds.
 *
 * The order is that of importance: of equal severity the earlier one is told first. */
#ifndef MEMBER_PROBLEM_KINDS_H
#define MEMBER_PROBLEM_KINDS_H

#include <stdbool.h>
#include <stdint.h>

/* Critical is what refuses requests or moves the address wrongly, info what someone chose. */
enum problem_severity { PROBLEM_CRITICAL, PROBLEM_WARNING, PROBLEM_INFO };
enum { PROBLEM_SEVERITIES = PROBLEM_INFO + 1 };

enum problem_id {
    /* found by a look at what is (node/report/trouble.c) */
    PROBLEM_NO_INSTANCE,
    PROBLEM_VIP_CONFLICT,
    PROBLEM_VIP_UNHELD,
    PROBLEM_INSTANCE_KEPT,
    PROBLEM_INSTANCE_DOWN,
    PROBLEM_INSTANCE_EJECTED,
    PROBLEM_INSTANCE_UNREACHABLE,
    PROBLEM_NAME_UNRESOLVED,
    PROBLEM_NODE_DEAD,
    PROBLEM_NODE_SUSPECT,
    PROBLEM_NOT_CONVERGED,
    PROBLEM_CLOCK_OFF,
    /* noted by who notices */
    PROBLEM_WORKER_STANDS,
    PROBLEM_NAME_CLASH,
    PROBLEM_STATE_NOT_WRITTEN,
    PROBLEM_STATE_DAMAGED,
    PROBLEM_STATE_CLONED,
    PROBLEM_CERTIFICATE_ENDS,
    PROBLEM_FILE_UNREADABLE,
    PROBLEM_QUEUE_FULL,
    PROBLEM_RELOAD_REFUSED,
    PROBLEM_RESTART_NEEDED,
    PROBLEM_CONFIG_REFUSED,
    PROBLEM_CONFIG_CONDEMNED,
    PROBLEM_CONFIG_CONFLICT,
    PROBLEM_CHANGES_LOST,
    PROBLEM_UNKNOWN_KEY,
    PROBLEM_FORGED,
    PROBLEM_NEWER_VERSION,
    PROBLEM_CROWDED,
    PROBLEM_LOG_DROPPED,
    PROBLEM_LOG_NOT_OPENED,
    PROBLEM_MORE,
    /* what someone chose; found by a look */
    PROBLEM_INSTANCE_DRAINED,
    PROBLEM_NODE_DRAINED,
    PROBLEM_FILE_DIFFERS,
};
enum { PROBLEM_KINDS = PROBLEM_FILE_DIFFERS + 1 };

enum { PROBLEM_UNTIL_DROPPED = 0 };

struct problem_kind {
    const char *name; /* a stable word */
    enum problem_severity severity;
    enum problem_severity worst; /* what it may come to */
    /* Of those that are noted: how long it is told after that, SPEC: 5 s where it is noted again
     * and again while it goes on. */
    uint32_t shown_ms;
    const char *remedy; /* what to do, in a sentence */
};

extern const struct problem_kind problem_kinds[PROBLEM_KINDS];

const char *problem_severity_text(enum problem_severity severity);

/* PROBLEM_KINDS: there is none of this name. */
enum problem_id problem_id_of(const char *name);

#endif
