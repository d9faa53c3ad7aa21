/* problems: what is wrong now, the worst first (SPEC §5): for /status, the dashboard, metrics and
 * the log, which tells each when it begins and when it is over.
 *
 * One is known by its kind and subject; what else is said of it may change while it goes on. It
 * comes in one of two ways:
 *   noted   by who notices, again and again while it goes on, or until it is dropped
 *           (problem_kinds.h says which)
 *   found   by a look at what is, from _look() to _looked(): what was not found again is over
 *
 * Both lists are bounded: of the noted ones the oldest gives way, of the found ones those beyond
 * are counted, and told as one, `more`. */
#ifndef MEMBER_PROBLEMS_H
#define MEMBER_PROBLEMS_H

#include "log/log.h"
#include "member/problem_kinds.h"
#include "net/loop.h"

enum {
    PROBLEMS_NOTED_MAX = 32,
    /* Of one kind, for instance each file of state_dir; a flood from many addresses gets no more.
     */
    PROBLEMS_OF_KIND = 9,
    PROBLEMS_FOUND_MAX = 96,
    PROBLEMS_MAX = PROBLEMS_NOTED_MAX + PROBLEMS_FOUND_MAX + 1,
    PROBLEM_DETAIL_SIZE = 512,
    PROBLEM_SUBJECT_SIZE = 160,
};

struct problem {
    bool used;
    enum problem_id id;
    enum problem_severity severity;
    char subject[PROBLEM_SUBJECT_SIZE], detail[PROBLEM_DETAIL_SIZE];
    uint64_t since_s; /* 1970 */
    uint64_t at_ms;   /* noted: the last time */
    bool found;       /* by the present look */
};

/* One has begun, or is over: the last ones, for the dashboard. */
enum { PROBLEM_CHANGES_MAX = 64 };
struct problem_change {
    uint64_t at_s; /* 1970; 0 = none yet */
    enum problem_id id;
    enum problem_severity severity;
    bool over;
    char subject[PROBLEM_SUBJECT_SIZE];
};

struct problems {
    struct net_loop *net;
    struct log_producer *log;
    struct problem noted[PROBLEMS_NOTED_MAX], found[PROBLEMS_FOUND_MAX];
    size_t found_high;                                  /* places of `found` that may be in use */
    size_t found_now;                                   /* found in this look */
    struct problem more;                                /* beyond those: `detail` says how many */
    struct problem_change changes[PROBLEM_CHANGES_MAX]; /* circular, the next one at `change` */
    size_t change;
    size_t unlisted;
    enum problem_severity unlisted_worst;
};

void problems_note(struct problems *p, enum problem_id id, const char *subject, const char *detail);
/* The same for a kind whose severity grows. */
void problems_note_as(struct problems *p, enum problem_id id, enum problem_severity severity,
                      const char *subject, const char *detail);

/* That one is over; subject NULL: all of the kind. */
void problems_drop(struct problems *p, enum problem_id id, const char *subject);

/* All of the kind but these subjects are over. */
void problems_keep(struct problems *p, enum problem_id id, const char *const *subjects,
                   size_t count);

/* A look. `since_s` 0: since now, or since it was found first. */
void problems_look(struct problems *p);
void problems_find(struct problems *p, const struct problem *one);
void problems_looked(struct problems *p);

/* What has begun or ended since `from_s`, the newest first, lent until the next call. */
size_t problems_changes(const struct problems *p, uint64_t from_s,
                        const struct problem_change *ret_list[PROBLEM_CHANGES_MAX]);

/* All that go on now, the worst first, lent until the next call. */
size_t problems_list(struct problems *p, const struct problem *ret_list[PROBLEMS_MAX]);

#endif
