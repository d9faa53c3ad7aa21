/* problems: what every /status of this node names for a while. Each is in the log once, as long as
 * it goes on and says the same. */
#ifndef MEMBER_PROBLEMS_H
#define MEMBER_PROBLEMS_H

#include "log/log.h"
#include "net/loop.h"

enum {
    PROBLEMS_MAX = 32,
    /* Of one kind, for instance three damaged files; a flood from many addresses gets no more. */
    PROBLEMS_OF_KIND = 4,
    PROBLEM_DETAIL_SIZE = 512,
    /* A problem that goes on is told again and again; what is not told any more is over. Some are
     * told once: they are shown long enough to be seen. */
    PROBLEM_SHOWN_MS = 10 * 60 * 1000,
};

struct problem {
    char kind[32]; /* "" = free */
    char detail[PROBLEM_DETAIL_SIZE];
    uint64_t at_ms;
};

struct problems {
    struct net_loop *net;
    struct log_producer *log;
    struct problem at[PROBLEMS_MAX];
};

/* `kind`: a stable word. */
void problems_note(struct problems *p, const char *kind, const char *detail);

/* Those of the kind are over. */
void problems_drop(struct problems *p, const char *kind);

#endif
