/* reason: why an instance has its status, by whose vote, and since when (SPEC §5).
 *
 * A node tells with each vote what brought it about, and when: one reason for what its checks say,
 * one for what its requests say. From everybody's, and the verdict, reason_find() gives the same on
 * every node, also on one that has just come. What a node that tells none (an older one) leaves
 * open stays open: kind REASON_NONE, at 0.
 *
 * Whose vote it was:
 *   unhealthy, healthy   the vote with which those of that opinion became enough, earliest first
 *   ejected              the tripped one with the most traffic
 *   healthy              where an ejection or a drain ended after that: who ended it
 *   draining             who drained it
 *
 * Pure. Times are seconds of the wall clock of whose vote it is. */
#ifndef HEALTH_REASON_H
#define HEALTH_REASON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers on the wire: for ever. */
enum reason_kind {
    REASON_NONE = 0,
    REASON_NEW = 1, /* nothing has happened to it yet */
    /* checks */
    REASON_CHECK_PASSED = 2,
    REASON_CHECK_FAILED = 3, /* detail: a fault */
    REASON_UNRESOLVED = 4,
    /* what ended a run of requests */
    REASON_REFUSED = 5, /* detail: a fault, mostly of the system's */
    REASON_CONNECT_TIMEOUT = 6,
    REASON_TLS = 7,
    REASON_RESET = 8,
    REASON_GARBAGE = 9,
    REASON_FIRST_BYTE_TIMEOUT = 10,
    REASON_STATUS = 11, /* detail: it */
    REASON_NO_EVENTS = 12,
    REASON_TRIAL_FAILED = 13,
    REASON_TRIAL_PASSED = 14, /* detail 1: nobody asked for it in time */
    /* a person */
    REASON_DRAINED = 15,
    REASON_ENABLED = 16,
    /* this node alone; never told */
    REASON_UNREACHABLE = 17,
};
enum { REASON_KINDS = REASON_UNREACHABLE + 1 };

/* What was wrong, in a reason's detail: a status of 100 to 599, one of these, or FAULT_SYSTEM plus
 * an errno. Numbers on the wire, too. */
enum fault {
    FAULT_NONE = 0,
    FAULT_NO_ADDRESS = 600,
    FAULT_TIMED_OUT = 601, /* connected, and no answer in time */
    FAULT_CONNECT_TIMED_OUT = 602,
    FAULT_LOST = 603,
    FAULT_GARBAGE = 604,
    FAULT_HUNG = 605, /* silent for busy_timeout */
    FAULT_TLS = 606,
    FAULT_NO_SLOT = 607, /* none free for the check, and silent for busy_timeout */
    FAULT_SYSTEM = 1000,
    FAULT_UNTOLD = 9999, /* whose vote it was does not tell, as an older version does not */
    FAULT_MAX = FAULT_UNTOLD,
};

struct reason {
    uint8_t kind;    /* enum reason_kind */
    uint8_t count;   /* how many in a row it took; 0 = not told */
    uint16_t detail; /* see above; 0 = not told */
    uint32_t at_s;   /* 0 = not known */
};

struct reason_found {
    struct reason why; /* at_s: when the status began, as far as votes tell */
    bool by_node;      /* else it is the drain's */
    size_t node;
};

struct reason_drain {
    bool known, drained, now;
    uint32_t at_s;
};

struct verdict_node;
struct verdict_vote;

struct reason_input {
    const struct verdict_node *nodes;
    const bool *isolated;
    const uint64_t *ids; /* of the nodes, the same everywhere: they decide between equal times */
    size_t node_count;
    const struct verdict_vote *votes; /* one a node */
    unsigned status;                  /* enum verdict */
    struct reason_drain drain;
};

struct reason_found reason_find(const struct reason_input *in);

/* `check_failed` and so on. */
const char *reason_word(unsigned kind);

enum { REASON_TEXT_SIZE = 256 };

/* In a sentence of English, with what is usually wrong. */
const char *reason_text(const struct reason *r, char ret_text[REASON_TEXT_SIZE]);

/* What was wrong, in the few words of the log's `reason`. "" for FAULT_NONE. */
const char *fault_word(unsigned fault);

/* A failed system call's. */
static inline unsigned reason_system_fault(int error_number)
{
    return error_number > 0 && error_number < FAULT_MAX - FAULT_SYSTEM
               ? FAULT_SYSTEM + (unsigned)error_number
               : (unsigned)FAULT_LOST;
}

bool reason_same(const struct reason *a, const struct reason *b);

#endif
