/* placement_core: to which instance a request goes that names an id, and whose answer the client
 * gets (SPEC §3, placement), as a step function.
 *
 * Pure: what happened goes in, what to do comes out. The driver has put the instances of the
 * application in order before: *position* 0 is the first choice (the first eligible one of the
 * ring's walk), then the other eligible ones as the ring has them (without a user: as the file has
 * them), then the rest in the same way. The order stays; how an instance stands may change while
 * the request waits.
 *
 * Its promises, which the tests walk:
 *
 *   - with PLACEMENT_ASK the request is sent to one instance: the one that is remembered, the first
 *     that said yes, or, if all called the id malformed, the first choice. It is sent again only
 *     there, and only after it could not be delivered
 *   - with PLACEMENT_TRY it is sent on only after an answer that proves that nothing has run, or
 *     none; at most once to each instance in a round
 *   - in a round eligible instances come before those that are drained or ejected, and nobody is
 *     asked who is away or held
 *   - "not found" is said, by this node or by passing on a 404, only when every instance of the
 *     application has said no; while one could not be asked the request waits
 *   - one end comes out: PASS, PASS_KEPT, NOT_FOUND or LOST
 *
 * States
 *
 *   START -> ASK -> SENT -> OVER      ASK: a question, or the request as one, is under way
 *     |      ^ |     |                SENT: the request is where it belongs
 *     |      | v     v
 *     |     WAIT   WAIT (both until CHANGED, or LOST at GIVE_UP)
 *     `-> EVERYWHERE -> OVER          a stop is at all of them */
#ifndef PLACEMENT_PLACEMENT_CORE_H
#define PLACEMENT_PLACEMENT_CORE_H

#include "answer/json_paths.h"
#include "placement/routes.h"

enum {
    PLACEMENT_INSTANCES_MAX = 256, /* of an application */
    PLACEMENT_ABSENT_MS = 5000,    /* so long it is remembered that nobody has an id */
    /* A client of Dify's waits 60 s for its answer, and what is waited for is mostly a restart:
     * GIVE_UP comes after the application's queue.timeout. */
};

/* How an instance stands, for what belongs there. */
enum placement_standing {
    PLACEMENT_ELIGIBLE,
    PLACEMENT_ASIDE, /* drained (not with `now`) or ejected: asked last, and gets what is its own */
    PLACEMENT_AWAY,  /* down, or not to be reached from here */
    PLACEMENT_HELD,  /* drained with `now`: gets nothing but stops of what is at work there */
};

/* What an answer means; see placement_judge(). */
enum placement_verdict {
    PLACEMENT_NOT_SAID,
    PLACEMENT_YES,       /* it has the id */
    PLACEMENT_PASSES,    /* an answer that goes on to the client and proves nothing about the id */
    PLACEMENT_NO,        /* it has not, and nothing has run */
    PLACEMENT_NO_BY_500, /* the same, as 1.13 says it of runs */
    PLACEMENT_MALFORMED, /* it says that such an id cannot be */
    PLACEMENT_UNASKED,   /* it could not be asked */
};

/* What came of a question, or of the request that was sent as one. */
struct placement_answer {
    uint16_t status;     /* 0: none came */
    bool code_not_found; /* the body's `code` ends in `not_found`: placement_says_not_found() */
    bool delivered;      /* without a status: a byte of it may have reached the instance */
    bool check_passed;   /* that instance's last health check */
};

/* Of GET /v1/messages for PLACEMENT_ASK. */
enum placement_verdict placement_judge_question(const struct placement_answer *answer);

/* Of the request itself, in ASKING. `safe`: GET, HEAD, OPTIONS. PLACEMENT_UNASKED of one that is
 * not safe means that nothing has run there. */
enum placement_verdict placement_judge(const struct placement_route *route, bool safe,
                                       const struct placement_answer *answer);

/* The same in SENT, of the instance where the id is known to live: all that it answers is the
 * answer, but for a no. */
enum placement_verdict placement_judge_place(const struct placement_route *route, bool safe,
                                             const struct placement_answer *answer);

/* Does this JSON say so, as far as it has come? For a 404's body: `"code":"…not_found"` at its top
 * level, with or without blanks; 1 KiB of it is always enough. */
bool placement_says_not_found(struct bytes body);

enum placement_input_kind {
    PLACEMENT_BEGIN,
    PLACEMENT_ANSWERED, /* QUESTION or SEND has had its answer: verdict; EVERYWHERE: also at */
    PLACEMENT_CHANGED,  /* WAIT: instances stand otherwise than before (see `standing`), or may be
                           reached again: as often as something has changed */
    PLACEMENT_GIVE_UP,  /* WAIT: queue.timeout is over */
};

struct placement_input {
    enum placement_input_kind kind;
    enum placement_verdict verdict;
    int at; /* EVERYWHERE: the position that answered */
};

/* Outputs, to be carried out in this order. */
enum {
    PLACEMENT_DO_REMEMBER = 1 << 0,  /* the id lives at `at` */
    PLACEMENT_DO_FORGET = 1 << 1,    /* it does not live where it was remembered */
    PLACEMENT_DO_ABSENT = 1 << 2,    /* nobody has it: for PLACEMENT_ABSENT_MS */
    PLACEMENT_DO_KEEP = 1 << 3,      /* the answer that came is kept, instead of one kept before */
    PLACEMENT_DO_QUESTION = 1 << 4,  /* GET /v1/messages to `at` */
    PLACEMENT_DO_SEND = 1 << 5,      /* the request to `at`, from its body's start */
    PLACEMENT_DO_SEND_ALL = 1 << 6,  /* the request to all that are not away */
    PLACEMENT_DO_WAIT = 1 << 7,      /* as in a queue: CHANGED or GIVE_UP follow */
    PLACEMENT_DO_PASS = 1 << 8,      /* the answer that came is the client's */
    PLACEMENT_DO_PASS_KEPT = 1 << 9, /* the kept one is */
    PLACEMENT_DO_NOT_FOUND =
        1 << 10,                 /* own 404 not_found, "Conversation Not Exists." or the like */
    PLACEMENT_DO_LOST = 1 << 11, /* own 503 service_unavailable */
};

/* Where the request went, for the access log. */
enum placement_placed {
    PLACEMENT_PLACED_NULL, /* not decided yet */
    PLACEMENT_HOME,        /* at the first choice */
    PLACEMENT_REMEMBERED,  /* elsewhere, as remembered */
    PLACEMENT_FOUND,       /* elsewhere, by asking */
    PLACEMENT_LOST,        /* nobody has it, or it could not be had */
};

const char *placement_placed_word(enum placement_placed placed); /* NULL: PLACED_NULL */

enum placement_phase {
    PLACEMENT_START,
    PLACEMENT_ASKING,
    PLACEMENT_SENT,
    PLACEMENT_WAIT_SEARCH, /* until somebody can be asked */
    PLACEMENT_WAIT_PLACE,  /* until the one where it belongs can be reached */
    PLACEMENT_STOPPING,
    PLACEMENT_OVER,
};

struct placement_core {
    enum placement_manner manner;              /* ASK, TRY or EVERYWHERE */
    int count;                                 /* instances, at least 1 */
    int remembered;                            /* a position; -1: none */
    bool absent;                               /* BEGIN: it is remembered that nobody has the id */
    uint8_t standing[PLACEMENT_INSTANCES_MAX]; /* the driver's to write, before BEGIN and CHANGED */

    /* the core's own */
    enum placement_phase phase;
    enum placement_placed placed;
    int at;                                /* the position that is asked, or where the request is */
    int kept;                              /* whose answer is kept; -1: none */
    uint8_t said[PLACEMENT_INSTANCES_MAX]; /* enum placement_verdict */
};

/* Then set count, remembered, absent and standing, and step with BEGIN. */
void placement_core_init(struct placement_core *c, enum placement_manner manner);

/* Returns PLACEMENT_DO_…; the position of most of them is c->at. */
uint32_t placement_core_step(struct placement_core *c, const struct placement_input *in);

#endif
