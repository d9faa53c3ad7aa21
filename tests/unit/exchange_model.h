/* exchange_model: a stand-in for the driver of exchange_core, for tests/unit/test_exchange_*.c.
 *
 * It plays the client, the instances, the sockets and proxy/exchange*.c: it offers only inputs that
 * a correct driver could give in the present state, carries outputs out in the header's order, and
 * checks each of the core's promises while doing so. The first broken one is kept in `broken`.
 *
 * Bytes are numbers: the hold is a span [hold_from, body_in) of the request's body, so that a byte
 * sent up twice, out of order or not at all is seen. */
#ifndef TESTS_EXCHANGE_MODEL_H
#define TESTS_EXCHANGE_MODEL_H

#include "base/prng.h"
#include "exchange/exchange_core.h"

enum {
    MODEL_READ_MAX = 64 * 1024, /* one read of a socket: NET_READ_SIZE */
    MODEL_HOLD_MS = 90 * 1000,  /* of an instance that is drained */
    MODEL_LATE_MS = 16,         /* a tick of the timers' wheel */
    MODEL_HEAD_SIZE = 200,      /* any, but more than nothing */
    MODEL_OUTPUTS = 27,         /* bits of EXCHANGE_DO_... */
    MODEL_SEARCHING = 8,        /* what a pick gives: it is searched for, */
    MODEL_ABSENT = 9,           /* is away, */
    MODEL_BOUND = 10,           /* must be there, */
    MODEL_ASKS = 11,            /* or may be there, which the request itself finds out */
    MODEL_FINISHES = EXCHANGE_FINISH_RESET + 1,
    /* The piece that crosses the mark, and the read that was under way when the pause came. */
    MODEL_WAITING_MAX = EXCHANGE_HIGH_WATER + 2 * MODEL_READ_MAX,
};

struct model {
    struct exchange_core core;
    struct exchange_rules rules;
    struct status_set retry_statuses, failure_statuses;
    struct prng prng;
    uint64_t now_ms;
    struct exchange_input in; /* of the present step */
    struct exchange_outputs out;
    enum exchange_phase before; /* the phase it was given in */
    bool client_owed_before;    /* then only the client could act */
    bool by_hand;               /* only what is fed happens */
    uint64_t hold_ms;           /* of an instance that is away by hand */
    const char *broken;         /* NULL: all promises kept so far */

    /* the client */
    struct exchange_input request;
    uint64_t body_left, settle_at, body_in, hold_from, hold_at_pick, down_waiting, down_first;
    uint64_t taken_ms; /* when the client last took bytes, while some wait */
    bool withholds;    /* it asked whether it may send its body, and was not told */
    bool ended, settled, half_gone, left, paused_down, endless;
    bool draining; /* the node, from now on */
    bool full;     /* what is kept before the user is known takes no more just now */

    /* the attempt */
    uint32_t attempts;
    uint64_t first_pick_ms, connect_ms; /* when the first one and the present one began */
    bool reused;                        /* its connection was an idle one */
    bool carries; /* what was written goes up again as it was, and only there */
    bool open, reported, connected, sent_head, sent_end, any_taken, deaf, paused_up;
    bool waiting;                        /* in a queue, */
    uint64_t queued_ms, queued_again_ms; /* since the first time, and this one */
    uint64_t drained_ms, patience_ms;    /* in a hold, and how long it waits for an instance */
    bool places;                         /* it names something that lives at one instance, */
    bool bound;                          /* which has been picked */
    bool asks;                           /* it asks by being sent: so many times, */
    unsigned asked;
    bool searching, searched;
    bool orphan;         /* the client has left, and the response is read on */
    bool gone_over;      /* the time for that is over, in this step */
    bool task_told;      /* by the response */
    uint64_t stopped_ms; /* when its run was stopped; 0 = it was not */
    bool late_pick;      /* its response head made the core ask for another instance */
    bool may_repeat;     /* no byte of any attempt so far can have reached an instance */
    bool reusable;
    uint64_t sent_to, up_waiting, up_first;

    /* the response */
    unsigned heads, continues, finishes;
    bool answered, up_ended, down_ended, tunnel, until_close;
    bool promised; /* that the connection takes another request */

    /* what a walk has seen: a promise that is never put to the test is not tested */
    uint64_t seen_outputs[MODEL_OUTPUTS], seen_finish[MODEL_FINISHES], seen_reply[32],
        seen_phase[16], seen_input[EXCHANGE_INPUTS];
};

/* ---- between the files of the model ---- */

/* Notes the first promise that is not kept. */
bool demand(struct model *m, bool kept, const char *promise);

bool given(const struct model *m, enum exchange_input_kind kind);

/* When the connect that has begun must have ended: by its own time or by that of all attempts. */
uint64_t connect_end_ms(const struct model *m);

/* Demands what must be true after any step that has not ended the exchange. */
void model_between_steps(struct model *m);

/* ---- for who walks or claims ---- */

void model_init(struct model *m, uint64_t seed);

/* One input into the core; each of its outputs is held against its promise. What they ask for is
 * not given. */
void model_one_step(struct model *m, struct exchange_input in);

/* The same, and what it asks for is given. */
void model_step(struct model *m, struct exchange_input in);

/* What a pick gives: 1 an instance, 0 none, 2 one without a slot, 3 one whose queue is full, or one
 * of MODEL_…; -1 as the prng says. The same for a connection: 1 a
 * pooled one, 0 refused at once, 2 later; -1 as the prng says. */
void model_step_with(struct model *m, struct exchange_input in, int pick, int connect);

/* Does a piece of body of that size leave the request without an instance: its user is not known
 * yet, or it can be repeated once it is whole? */
bool model_goes_on_waiting(const struct model *m, uint64_t size, bool settled);

/* What a pick gives to a request that belongs somewhere: it is searched for once, and what could
 * not be delivered there waits. */
struct exchange_input model_place(struct model *m, enum exchange_input_kind after);

/* One random thing happens. False when the exchange is over. */
bool model_act(struct model *m);

/* Nobody acts any more: the deadlines alone must end it. */
void model_run_out(struct model *m);

/* The client's part of an input, in phase `before`. */
static inline void model_take_body(struct model *m)
{
    bool begins = m->before == EXCHANGE_START, body = m->in.kind == EXCHANGE_DOWN_BODY;
    m->body_in += body || (m->in.kind == EXCHANGE_REFUSE && !begins) ? m->in.size : 0;
    m->withholds = begins ? m->in.expects && !m->in.ended : m->withholds && !body;
}

/* Is the request whole that an own answer is given to, or its end known and near, and sure to come?
 */
static inline bool model_is_bounded(const struct model *m)
{
    bool lost = m->withholds || m->out.reply == EXCHANGE_REPLY_BAD_REQUEST ||
                m->out.reply == EXCHANGE_REPLY_REQUEST_TIMEOUT;
    bool near = m->request.size > 0 && m->request.size - m->body_in <= EXCHANGE_REST_MAX;
    return m->ended || (!lost && (near || m->in.at_hand));
}

#endif
