/* exchange_core: one request and its one response as a step function (SPEC §3; DESIGN §3).
 *
 * Pure: what happened goes in, what to do comes out; no bytes, no clock, no sockets. All rules of
 * retrying, limits, truncation, time-outs and connection reuse live here; the driver
 * (proxy/exchange) only moves bytes. Its promises, which the tests walk:
 *
 *   - at most one response head goes down, and one FINISH comes out, after which nothing does;
 *   - each attempt (PICK answered by PICKED) gets exactly one REPORT and is dropped or kept once;
 *   - a request whose method is not safe is not sent again once a byte of it may have reached an
 *     instance (exchange_core_retry.c has the whole rule);
 *   - what had been written for a kept-alive connection that took none of it goes to the same
 *     instance over another one, however large it is, or nowhere;
 *   - a response that did not end properly is never ended properly towards the client;
 *   - an own answer promises a further request only behind a whole one, or one whose rest is sure
 *     to come, short, and known in length (SKIP): what follows it is then the next request;
 *   - a connect ends with the time for all attempts; a request that an instance may have does not;
 *   - a client is reset once it has taken nothing for `idle`, and not before;
 *   - who waits for a slot waits at most queue_timeout_ms in all, and leaves the queue once;
 *   - after the client has left nothing goes down, though a response may be read to its end;
 *   - a run is stopped once at most, and only for a client that has left;
 *   - a request that belongs to an instance is never sent to another one, and waits for it no
 *     longer than `queue_timeout`; while that one is drained with `hold`, for that long, which is
 *     no part of the time for a slot or for all attempts;
 *   - what is held in memory is bounded: reading stops above EXCHANGE_HIGH_WATER.
 *
 * States
 *
 *   START -> HOLD -> PICK -> [WAIT ->] CONNECT -> SEND -> RESPOND -> DONE
 *     |              | ^_________|________|_________|  (retry)  `-> TUNNEL (after 101: node/tunnel
 *     |              v |                                            acts)
 *     |        SEARCH, AWAY (a request with an id: node/placement; back to PICK)
 *     `-> LOCAL (answered by this node)
 *   any of them -> DONE by an own reply or by the client's leaving
 */
#ifndef EXCHANGE_EXCHANGE_CORE_H
#define EXCHANGE_EXCHANGE_CORE_H

#include "base/status_set.h"
#include "exchange/client_gone.h"
#include "exchange/exchange_core_pace.h"
#include "http/method.h"

#include <stddef.h>

enum {
    /* Bytes waiting on one side at which the other is no longer read: one read buffer, so that a
     * connection holds at most two of them. */
    EXCHANGE_HIGH_WATER = 64 * 1024,
    /* A complete request up to this size is kept until its answer begins, for a retry: a GET's, or
       any one's that turns out never to have left this host. */
    EXCHANGE_REPLAY_MAX = 64 * 1024,
    /* Of a request with an own answer so much may still be to come if its connection is to go on: a
     * new one (and its TLS) costs both sides about as much as to send and read away that, which
     * holds all requests of Dify's but uploads. */
    EXCHANGE_REST_MAX = 64 * 1024,
    /* More 1xx heads than these in one attempt are no use to anybody, and each may wait for a slow
       client (Go's client takes five). */
    EXCHANGE_INTERIM_MAX = 16,
    /* So many times within `idle` a client that has a response before it is asked whether it takes
       any of it: one that takes nothing is found within a sixteenth more. */
    EXCHANGE_LOOKS = 16,
    /* Of a stream whose client has left: so long it may take to tell its task, and, once that has
       been stopped, to end. Dify was seen to need 1.6 s. */
    EXCHANGE_TASK_MS = 10 * 1000,
    EXCHANGE_STOPPED_MS = 10 * 1000,
    /* An instance that stopped reading our request gets this long to have said why. */
    EXCHANGE_DEAF_MS = 2000,
};

enum exchange_phase {
    EXCHANGE_START,
    EXCHANGE_LOCAL,   /* this node's own endpoint is at work on the answer */
    EXCHANGE_HOLD,    /* gathering the body until it has told the user; a safe request's until it is
                         whole, if it can be repeated then */
    EXCHANGE_PICK,    /* an instance was asked for */
    EXCHANGE_WAIT,    /* for a slot of the one that was picked */
    EXCHANGE_SEARCH,  /* instances are asked which of them has what the request names */
    EXCHANGE_AWAY,    /* the one where it belongs cannot be reached, or could not be asked */
    EXCHANGE_CONNECT, /* a connection to it is being made */
    EXCHANGE_SEND,    /* the request is going up, no final response head yet */
    EXCHANGE_RESPOND, /* the response head went down */
    EXCHANGE_TUNNEL,  /* both switched protocols */
    EXCHANGE_DONE,
};

enum exchange_input_kind {
    EXCHANGE_BEGIN,     /* a request to forward: method, size, settled, expects */
    EXCHANGE_ASK_LOCAL, /* a request that this node answers itself */
    EXCHANGE_ANSWERED,  /* its answer is ready */
    EXCHANGE_REFUSE, /* reply with `reply`, whatever the state; also instead of BEGIN: keep_alive */
    EXCHANGE_DOWN_BODY, /* size bytes of body came (and were put into the hold); settled */
    EXCHANGE_DOWN_END,  /* the request is complete */
    EXCHANGE_DOWN_BAD,  /* its body is malformed */
    EXCHANGE_DOWN_GONE, /* the client has left */
    EXCHANGE_PICKED,    /* an instance was picked, and has a slot */
    EXCHANGE_QUEUED,    /* it was, and has none: SLOT or MOVED will tell */
    EXCHANGE_SLOT,      /* it has one now */
    EXCHANGE_MOVED,     /* it takes nobody any more: another one */
    EXCHANGE_CROWDED,   /* it has no slot, and too many wait for one */
    EXCHANGE_NONE_LEFT, /* there is none that was not tried */
    EXCHANGE_SEARCHING, /* it must be found out first who has what it names: FOUND will tell */
    EXCHANGE_FOUND,     /* that has come to an end: pick again */
    EXCHANGE_ABSENT,    /* where it belongs nobody can be reached now: look_ms */
    EXCHANGE_UP_CONNECTED,
    EXCHANGE_UP_FAILED,  /* no connection: refused, timed out, no address, TLS */
    EXCHANGE_UP_LACKING, /* no connection, for this node itself lacks what one takes: elsewhere */
    EXCHANGE_UP_INTERIM, /* a 1xx head other than 101 */
    EXCHANGE_UP_SWITCH,  /* a 101 head */
    EXCHANGE_UP_HEAD,    /* the final head: status, until_close */
    EXCHANGE_UP_BODY,
    EXCHANGE_UP_NOT_HERE, /* the answer to one that asks: another is to be asked; status, reusable.
                             It has come to its end where that can be */
    EXCHANGE_UP_TASK,     /* it has told its task, which a stop can name */
    EXCHANGE_UP_END,      /* the response is complete: reusable */
    EXCHANGE_UP_GONE,     /* the connection ended before the response did: unsent */
    EXCHANGE_UP_STALE,    /* a kept-alive connection had been closed before any byte of this
                             attempt was sent: as if it had never been there */
    EXCHANGE_UP_GARBAGE,  /* what came is not HTTP */
    EXCHANGE_UP_DEAF,     /* it takes no more of the request; an answer may still be on its way */
    EXCHANGE_SENT_UP,     /* all that waited has gone up (with `more`: some of it); or in HOLD:
                             what is kept is no longer full */
    EXCHANGE_SENT_DOWN,   /* all that waited has gone down */
    EXCHANGE_TUNNEL_END,  /* the tunnel is over: finish */
    EXCHANGE_DEADLINE,    /* deadline_ms is over: taken_ms, unread */
};
enum { EXCHANGE_INPUTS = EXCHANGE_DEADLINE + 1 };

/* What this node answers itself; the driver knows status, code and words. */
enum exchange_reply {
    EXCHANGE_REPLY_NONE,
    EXCHANGE_REPLY_LOCAL, /* what the endpoint made */
    EXCHANGE_REPLY_BAD_REQUEST,
    EXCHANGE_REPLY_UNAUTHORIZED,
    EXCHANGE_REPLY_METHOD_NOT_ALLOWED, /* TRACE, CONNECT */
    EXCHANGE_REPLY_USER_REQUIRED,
    EXCHANGE_REPLY_REQUEST_TIMEOUT,
    EXCHANGE_REPLY_BODY_TOO_LARGE,
    EXCHANGE_REPLY_URI_TOO_LARGE,
    EXCHANGE_REPLY_HEAD_TOO_LARGE,
    EXCHANGE_REPLY_BAD_GATEWAY,
    EXCHANGE_REPLY_UNAVAILABLE,
    EXCHANGE_REPLY_TOO_MANY_CONNECTIONS,
    EXCHANGE_REPLY_GATEWAY_TIMEOUT,
    EXCHANGE_REPLY_INSUFFICIENT_STORAGE, /* a body that had to be kept could not be */
    EXCHANGE_REPLY_QUEUE_FULL,
    EXCHANGE_REPLY_QUEUE_TIMEOUT,
    EXCHANGE_REPLY_NOT_FOUND, /* no instance has what the request names */
    EXCHANGE_REPLY_KEPT,      /* an instance's, which had said that it has not */
    EXCHANGE_REPLY_LOST,      /* the one that has it, or may have it, could not be reached */
    EXCHANGE_REPLY_QUOTA,     /* one of the application's quotas is used up */
};

/* How an attempt counts for the instance's health (SPEC §4, passive). */
enum exchange_outcome {
    EXCHANGE_OUTCOME_SUCCESS,
    EXCHANGE_OUTCOME_ERROR,      /* a 5xx that is no failure: the next check is to tell why */
    EXCHANGE_OUTCOME_BAD_STATUS, /* a failure, but an answer: the instance can be reached */
    EXCHANGE_OUTCOME_FAILURE,    /* no proper answer */
    EXCHANGE_OUTCOME_NEUTRAL,    /* the client left, or the request or this node was at fault */
};

enum exchange_finish {
    EXCHANGE_FINISH_KEEP,   /* the client's connection takes the next request */
    EXCHANGE_FINISH_CLOSE,  /* close it when all is sent */
    EXCHANGE_FINISH_LINGER, /* the same, but the rest of the request is still coming: read it away,
                               or the reset would eat the answer */
    EXCHANGE_FINISH_SKIP,   /* KEEP, once the rest of the request has been read away */
    EXCHANGE_FINISH_CUT,    /* close it so that the client sees a broken response */
    EXCHANGE_FINISH_RESET,  /* reset it: the client takes nothing, and nothing is to wait for it */
};

/* Outputs, to be carried out in this order; of PICK, CONNECT and RECONNECT one at most. */
enum {
    EXCHANGE_DO_REPORT = 1 << 0,        /* outcome of the attempt */
    EXCHANGE_DO_DROP_UP = 1 << 1,       /* close the instance's connection, the attempt is over */
    EXCHANGE_DO_KEEP_UP = 1 << 2,       /* give it back to the pool, the attempt is over */
    EXCHANGE_DO_CONTINUE = 1 << 3,      /* 100 Continue to the client */
    EXCHANGE_DO_LEAVE_QUEUE = 1 << 23,  /* it waits no more; first of all */
    EXCHANGE_DO_STOP = 1 << 25,         /* the run that the response tells of; see UP_TASK */
    EXCHANGE_DO_LEAVE_SEARCH = 1 << 24, /* it waits for no answer of a search; also first of all */
    EXCHANGE_DO_PICK = 1 << 4,          /* answer with PICKED, QUEUED, CROWDED or NONE_LEFT; or
                                          SEARCHING, ABSENT or REFUSE */
    EXCHANGE_DO_CONNECT = 1 << 5,       /* to the picked one: UP_CONNECTED or UP_FAILED */
    EXCHANGE_DO_RECONNECT = 1 << 21,    /* the attempt goes on over another connection to the same
                                           instance; answered like CONNECT, and done in its place.
                                           What was written is put aside: see SEND_AGAIN */
    EXCHANGE_DO_SEND_UP = 1 << 6,       /* request head, all that is held (a copy if it stays:
                                           exchange_core_keeps_body()), and the end if it came */
    EXCHANGE_DO_SEND_AGAIN = 1 << 26,   /* instead, after RECONNECT, where exchange_core_carries():
                                           what had been written before; then as SEND_UP_BODY, and
                                           the end if it came and is not part of that */
    EXCHANGE_DO_SEND_UP_BODY = 1 << 7,  /* all that is held */
    EXCHANGE_DO_SEND_UP_END = 1 << 8,
    EXCHANGE_DO_DISCARD = 1 << 9,  /* what is held is not wanted any more */
    EXCHANGE_DO_FORGET = 1 << 22,  /* what has gone up will not be sent again; the rest goes on */
    EXCHANGE_DO_INTERIM = 1 << 10, /* the 1xx head down */
    EXCHANGE_DO_HEAD = 1 << 11,    /* the response head down, with exchange_core_keep_alive() */
    EXCHANGE_DO_BODY = 1 << 12,    /* this piece of body down */
    EXCHANGE_DO_END = 1 << 13,     /* the proper end of the response down */
    EXCHANGE_DO_TUNNEL = 1 << 14,  /* 101 down, and the tunnel takes over: TUNNEL_END will end it */
    EXCHANGE_DO_REPLY = 1 << 15,   /* own answer, with exchange_core_keep_alive() */
    EXCHANGE_DO_PAUSE_DOWN = 1 << 16,
    EXCHANGE_DO_RESUME_DOWN = 1 << 17,
    EXCHANGE_DO_PAUSE_UP = 1 << 18,
    EXCHANGE_DO_RESUME_UP = 1 << 19,
    EXCHANGE_DO_FINISH = 1 << 20,
};

struct exchange_input {
    enum exchange_input_kind kind;
    enum exchange_reply reply;     /* REFUSE */
    enum exchange_finish finish;   /* TUNNEL_END: CLOSE, CUT or RESET */
    enum http_method_class method; /* BEGIN */
    uint64_t size;     /* BEGIN, ASK_LOCAL, REFUSE before them: announced body size, 0 if
                          none is; bodies, REFUSE within one: bytes that came */
    uint64_t taken_ms; /* DEADLINE: when the client last took bytes that waited for it, or
                          none waited */
    size_t pending;    /* bodies: bytes waiting on the side they go to */
    uint64_t look_ms;  /* ABSENT: after this time it is looked again */
    uint64_t hold_ms;  /* ABSENT: it waits so long in all; 0: as for a slot */
    uint16_t status;   /* UP_HEAD */
    bool draining;     /* any: the node drains, and no answer promises to take another request */
    bool full;         /* DOWN_BODY in HOLD: no more can be kept just now */
    bool more;         /* SENT_UP */
    bool settled;      /* BEGIN, DOWN_BODY: the user is known, or known to be missing */
    bool at_hand;      /* REFUSE, ANSWERED, NONE_LEFT, CROWDED: the rest of the body has come and is
                          only not taken yet; of a body without an announced size */
    bool expects;      /* BEGIN, ASK_LOCAL, REFUSE before them: Expect: 100-continue */
    bool keep_alive;   /* BEGIN, ASK_LOCAL, REFUSE before them: the client would like to go on */
    bool upgrade;      /* BEGIN: asks for another protocol */
    bool takes_interim; /* BEGIN: an HTTP/1.1 client */
    bool ended;         /* BEGIN, ASK_LOCAL, REFUSE: the request has come to its end */
    bool until_close;   /* UP_HEAD: the client will know the body's end by its connection's */
    bool reusable;      /* UP_END */
    bool unsent;        /* UP_GONE: the kernel took no byte of this attempt */
    bool denied;        /* UP_GONE: the end of a handshake (TLS 1.3 denies behind it); unsent too */
    bool elsewhere;     /* UP_LACKING: it may do for another instance */
    bool unread;        /* DEADLINE: bytes of the client have come, which this node is late
                           to read */
    bool may_read;      /* DOWN_GONE: it closed its sending side, no more is known */
    bool read_on;       /* DOWN_GONE; UP_HEAD when it has left: the response is read to its end all
                           the same */
    bool streams;       /* the same: it is, or will be, an event stream */
    bool asks;  /* PICKED, QUEUED: beside `bound`: whether it is there the request itself is to find
                   out, so what fails asks on */
    bool bound; /* PICKED, QUEUED, CROWDED: what it names is there, so it goes nowhere else */
};

struct exchange_outputs {
    uint32_t what; /* EXCHANGE_DO_… */
    enum exchange_reply reply;
    enum exchange_outcome outcome;
    enum exchange_finish finish;
};

/* The limits and rules; lives at least as long as the core. All times in milliseconds. */
struct exchange_rules {
    uint32_t attempts;
    uint64_t retry_timeout_ms, body_size_max;
    uint64_t request_body_ms, connect_ms, first_byte_ms, idle_ms, queue_timeout_ms;
    uint64_t search_ms; /* SEARCH: of all questions of a round */
    enum client_gone client_gone;
    uint32_t body_rate; /* bytes a second; 0 = any */
    const struct status_set *retry_statuses, *failure_statuses;
};

/* Its members are for exchange_core*.c; a driver looks through the functions below. */
struct exchange_core {
    const struct exchange_rules *rules;
    const struct exchange_input *in; /* of the present step, as these two */
    struct exchange_outputs *ret;
    uint64_t now_ms;
    enum exchange_phase phase;
    uint64_t started_ms;
    uint64_t down_deadline_ms; /* the client must have sent something by then; 0 = none */
    uint64_t up_deadline_ms;   /* the instance must have acted by then; 0 = none */
    uint64_t silent_until_ms;  /* while down_deadline_ms: a byte must have come by then */
    uint64_t take_deadline_ms; /* whether the client takes its response is asked then; 0 = never */
    uint64_t gone_deadline_ms; /* a response that is read for nobody must have ended; 0 = no limit
                                  but those of all */
    uint64_t queued_ms;        /* when it first had to wait for a slot; 0 = it has not */
    uint64_t queued_again_ms;  /* WAIT, AWAY: since when it has this time */
    uint64_t drained_ms;       /* when it first found an instance drained with `hold`; 0 = never */
    uint64_t patience_ms;      /* AWAY: it waits until then */
    uint64_t queue_time_ms;    /* that it has waited in all before */
    uint64_t announced;        /* size of the request's body; 0 = it is not known, or has none */
    uint64_t body_size;        /* bytes of it that came */
    uint64_t held;             /* of them still held */
    uint32_t attempts;
    uint32_t interim_count;           /* 1xx heads of this attempt */
    enum exchange_reply last_failure; /* what to answer if no further attempt is possible */
    enum http_method_class method;
    bool upgrade, takes_interim;
    bool keep_alive;   /* once an answer has begun: what it promises; before, what is possible */
    bool until_close;  /* the response head that came: only the connection's end will end it */
    bool may_not_come; /* the body: its client waits for 100 Continue, and will not get it */
    bool down_ended, down_paused, up_paused;
    bool attempt_open; /* an attempt has been picked and neither dropped nor kept */
    bool reported;     /* its outcome has been told */
    bool replayable;   /* the whole request is held, or has no body */
    bool carries;      /* what has been written waits for another connection to the same instance */
    bool deaf;         /* the instance takes no more of the request */
    bool half_gone;    /* LOCAL: the client has closed its side and may still read */
    bool bound;        /* the request belongs to the one that was picked: no other gets it */
    bool asks;         /* by being sent there: see PICKED */
    bool orphaned;     /* the client has left; the response is read to its end for nobody */
    bool task_known, stopped;
    bool cut_short;   /* CONNECT: the time for all attempts leaves this one less than its own */
    struct pace pace; /* of the request's body */
};

/* Of zeroed memory. */
void exchange_core_init(struct exchange_core *c, const struct exchange_rules *rules,
                        uint64_t now_ms);

/* One step. `ret` is filled whole. Not to be called after FINISH came out. */
void exchange_core_step(struct exchange_core *c, const struct exchange_input *in, uint64_t now_ms,
                        struct exchange_outputs *ret);

/* When EXCHANGE_DEADLINE is due; 0 = never. */
uint64_t exchange_core_deadline_ms(const struct exchange_core *c);

static inline enum exchange_phase exchange_core_phase(const struct exchange_core *c)
{
    return c->phase;
}

/* Attempts begun. */
static inline uint32_t exchange_core_attempts(const struct exchange_core *c)
{
    return c->attempts;
}

/* How long it has waited for slots. */
static inline uint64_t exchange_core_queue_time_ms(const struct exchange_core *c, uint64_t now_ms)
{
    return c->queue_time_ms + (c->phase == EXCHANGE_WAIT ? now_ms - c->queued_again_ms : 0);
}

/* For a slot. */
static inline bool exchange_core_had_to_wait(const struct exchange_core *c)
{
    return c->queued_ms > 0 || c->drained_ms > 0;
}

/* Nothing goes to the client any more. */
static inline bool exchange_core_orphaned(const struct exchange_core *c)
{
    return c->orphaned;
}

/* What HEAD and REPLY promise. */
static inline bool exchange_core_keep_alive(const struct exchange_core *c)
{
    return c->keep_alive;
}

/* Does what is held stay there while it is sent up, for a retry? */
static inline bool exchange_core_keeps_body(const struct exchange_core *c)
{
    return c->held > 0;
}

/* RECONNECT: is what was written to be kept, for it is nowhere else? */
static inline bool exchange_core_carries(const struct exchange_core *c)
{
    return c->carries;
}

/* Can the request go to another instance, as far as it itself matters? */
static inline bool exchange_core_is_replayable(const struct exchange_core *c)
{
    return c->replayable;
}

static inline bool exchange_core_request_ended(const struct exchange_core *c)
{
    return c->down_ended;
}

/* Has it paused the client or the instance? Else nobody waits for SENT_UP or SENT_DOWN. */
static inline bool exchange_core_holds_client(const struct exchange_core *c)
{
    return c->down_paused;
}

static inline bool exchange_core_holds_instance(const struct exchange_core *c)
{
    return c->up_paused;
}

/* CONNECT: the time that is left for a connection. */
static inline uint64_t exchange_core_connect_ms(const struct exchange_core *c, uint64_t now_ms)
{
    return c->up_deadline_ms > now_ms ? c->up_deadline_ms - now_ms : 1;
}

/* How long to wait before the client is asked again whether it takes what waits for it. */
static inline uint64_t exchange_look_ms(uint64_t idle_ms)
{
    return idle_ms / EXCHANGE_LOOKS + 1;
}

#endif
