/* exchange_private: the inside of an exchange, shared by the files exchange*.c only. */
#ifndef PROXY_EXCHANGE_PRIVATE_H
#define PROXY_EXCHANGE_PRIVATE_H

#include "client/forwarded.h"
#include "exchange/exchange_ending.h"
#include "health/gray.h"
#include "http/reply.h"
#include "placement/answer_reading.h"
#include "placing/placing.h"
#include "proxy/exchange.h"
#include "rewrite/rewrite.h"
#include "snapshot/request_quotas.h"
#include "spool/spool.h"

enum {
    EXCHANGE_REQUEST_ID_SIZE = 32,
    EXCHANGE_LOOK_MS = 200,         /* a container that restarts is away for seconds */
    EXCHANGE_HEARD_MAX = 16 * 1024, /* of a 404 that is kept until it is judged */
};

/* A key costs a SHA-256, and a pick, a search for an id and a header may all want it. */
enum exchange_keyed { EXCHANGE_KEY_UNKNOWN, EXCHANGE_NOT_KEYED, EXCHANGE_KEYED };

/* What an exchange has more where ids matter: where instances have a state of their own
 * (exchange_place.c), and of a run with `client_gone` (exchange_gone.c). */
struct exchange_placing {
    const struct placement_route *route;
    bool remembers; /* instances have a state of their own: ids are looked for */
    bool looked;    /* all of the request is known */
    bool bound;     /* the request goes to the picked one and nowhere else, */
    bool asks;      /* as a question */
    bool stops_sent;
    bool task_told;   /* to the core */
    size_t task_size; /* of the run, for `client_gone: stop`; 0 = not known, or not wanted */

    /* the answer */
    bool hears;                  /* a 404 is kept back, */
    struct buffer heard;         /* of which so much has come */
    struct http_head *kept_head; /* the one that the client gets if nobody has it; NULL: none */
    struct buffer kept_body;

    /* not zeroed when it begins */
    struct placing where; /* the id that the request names, and where it goes */
    struct json_ids body; /* ids, and the user, of a JSON request */
    char task[PLACEMENT_ID_MAX];
};

/* In the order of use: what a response needs lies together, for a request's lines have left the
 * cache by the time that it comes. */
struct exchange {
    struct proxy_context *proxy;
    struct exchange_client *client;
    struct snapshot *snapshot; /* a reference */
    struct http_head *head;    /* the request's; the owner's, until on_finish */

    /* the attempt */
    struct snapshot_application *app;   /* NULL: none */
    struct snapshot_instance *instance; /* NULL: none picked yet */
    struct upstream *up;
    struct http_head *up_head; /* NULL: nothing has come yet */
    bool up_reused;            /* it was idle before */
    bool up_whole;             /* its answer has come to its end */
    bool counted;              /* among the instance's requests */
    uint8_t trial;             /* enum snapshot_trial */
    bool watched;              /* its events are looked at: see exchange_gray.c */
    bool overdue;              /* it is one of its instance's */
    uint8_t failed; /* of enum exchange_end: why there is no connection, or how a tunnel ended */
    uint64_t connect_began_us, connected_us; /* the same for a kept-alive one; 0 = not yet */
    struct host_corner *held; /* where its slot counts; NULL: its instance has no limit */
    enum slot_class held_class;
    uint8_t cause, cause_phase; /* of the present step: its input, and where that met the core */
    uint8_t cause_attempt;      /* ... in which attempt */
    int lost_error;             /* why there is no connection; UV_… */

    /* the response */
    enum http_framing framing;
    uint16_t status;    /* sent down; 0 = none yet */
    struct bytes piece; /* of the response, during one step */
    bool runs;          /* the request makes a run, whose answer tells what it costs */
    bool reads;         /* `reading` looks for something */

    struct bytes path; /* without detours: points into the head, or path_space */
    struct buffer path_space;
    bool searching; /* the body is wanted for the user */
    bool search_holds_memory;
    bool aborted;
    bool head_known;              /* the final head of the present attempt has come */
    struct bytes request_id;      /* points into the head or into request_id_made */
    struct chain hold;            /* body that no instance has got: see exchange_body.c */
    uint64_t hold_counted;        /* of it, in the node's kept memory */
    struct spool *spool;          /* NULL: `hold` has all that is held */
    bool end_sent;                /* the body's end has gone up in this attempt */
    struct chain unsent;          /* written in vain, for a connection that took none of it */
    uint64_t started_us, head_us; /* head_us 0: no response head came */
    uint64_t bytes_queued_before;
    uint64_t mark;        /* proxy.mark when it began */
    struct bytes address; /* the client's, as text and as 16 bytes (SPEC §3) */
    const uint8_t *address_raw;
    bool trusted; /* it came from one of trusted_proxies */
    void *job;
    struct exchange_ending ending;
    struct tunnel *tunnel;                      /* NULL: HTTP */
    const struct exchange_local_answer *answer; /* of an own endpoint, during one step */

    struct request_quotas quota;

    enum exchange_reply own; /* its own answer; NONE: there is none */

    struct exchange_placing *placing; /* NULL: it has nothing to do with ids; else placing_memory */

    /* the choice */
    uint8_t picked_trial;
    bool classed;                     /* `class` is known */
    enum slot_class class;            /* of the request */
    struct host_corner *asked;        /* of the next one: it waits there, or has a slot */
    struct instance_live *awaited;    /* counts this one among those that wait for it */
    struct snapshot_instance *picked; /* the next one */
    uint8_t keyed;                    /* enum exchange_keyed: what is known of `ring_key` */
    uint64_t ring_key;
    uint64_t tried[SNAPSHOT_TRIED_WORDS];

    struct exchange_core core;
    struct exchange_rules rules;

    /* not zeroed when it begins: set as a whole, or kept */
    struct gray gray;
    struct wheel_timer gray_timer;
    struct wheel_timer timer;                /* stays in the wheel from one exchange to the next */
    struct exchange_placing *placing_memory; /* NULL: none had to do with ids yet */
    char request_id_made[EXCHANGE_REQUEST_ID_SIZE];
    uint8_t forwarded_raw[ADDRESS_SIZE]; /* where a trusted proxy has named the client */
    char forwarded[ADDRESS_TEXT_SIZE];
    struct host_waiter waiter; /* while `asked` */
    struct answer_reading reading;
    struct user_id_search search;
};

/* Runs the core on `in`, carries out what it says, and goes on with what follows at once from that.
 * The exchange may be gone afterwards. `in` is used up by the first; the second spares its callers
 * a copy of it. */
void exchange_take_step(struct exchange *x, struct exchange_input *in);
static inline void exchange_step(struct exchange *x, struct exchange_input in)
{
    exchange_take_step(x, &in);
}

/* For `at_hand`. Of a body in chunks alone: where another one ends its head tells. */
bool exchange_ends_at_hand(const struct exchange *x);

/* exchange_adopt.c: the application that the client's token belongs to. False: there is none. */
bool exchange_adopt(struct exchange *x);
/* It is to choose anew: among the instances of now. Where its application, or the instance that it
 * was at, is there no more, it stays with what it began with: false, also if there is no newer one.
 */
bool exchange_renew(struct exchange *x);

/* Outputs of the core. Those that return bool have a follow-up input in *ret_next. */
bool exchange_do_pick(struct exchange *x, struct exchange_input *ret_next);
bool exchange_do_connect(struct exchange *x, struct exchange_input *ret_next);
bool exchange_do_reconnect(struct exchange *x, struct exchange_input *ret_next);
void exchange_do_release(struct exchange *x, bool keep);
void exchange_do_send_up(struct exchange *x);

/* The body (exchange_body.c). More of it has come: it is held until it goes up. */
void exchange_hold(struct exchange *x, struct bytes bytes);
/* Is the client to wait, until the core hears SENT_UP? */
bool exchange_hold_is_full(struct exchange *x);
/* What is held in a spool and has not been passed on. */
uint64_t exchange_backlog(const struct exchange *x);
void exchange_discard(struct exchange *x);
void exchange_begin_body(struct exchange *x); /* from its start, behind the head */
void exchange_sent_up(struct exchange *x);    /* the instance has taken all that waited for it */

/* What carry_out() leaves to it, in the core's order: outputs that are about the body alone. */
enum {
    EXCHANGE_BODY_OUTPUTS = EXCHANGE_DO_SEND_AGAIN | EXCHANGE_DO_SEND_UP_BODY |
                            EXCHANGE_DO_SEND_UP_END | EXCHANGE_DO_DISCARD | EXCHANGE_DO_FORGET,
};
void exchange_carry_body(struct exchange *x, uint32_t what);

/* `hold` counts among the bodies that the node keeps. */
static inline void exchange_count_hold(struct exchange *x)
{
    if (x->hold.size == 0 && x->hold_counted == 0) {
        return;
    }
    uint64_t taken = spool_share_taken(x->hold.size);
    if (taken != x->hold_counted) {
        spool_share_change(&x->proxy->spool.share, (int64_t)taken - (int64_t)x->hold_counted);
        x->hold_counted = taken;
    }
}

/* exchange_slot.c. The picked one's slot. True: another one may do, and what is to be said if there
 * is none. */
bool exchange_ask_picked(struct exchange *x, bool hashed, enum exchange_input_kind *ret_kind);
void exchange_do_leave_queue(struct exchange *x);
/* The slot is the attempt's that begins. */
void exchange_slot_hold(struct exchange *x);
/* The attempt is over; `idle`: its connection is idle now, and keeps the slot. */
void exchange_slot_release(struct exchange *x, enum slot_rest rest);
enum slot_class exchange_slot_class(struct exchange *x); /* of the request: for who needs one */
uint32_t exchange_slot_retry_after_s(struct exchange *x);

/* exchange_attempt.c. */
void exchange_do_report(struct exchange *x, enum exchange_outcome outcome);
void exchange_tell_failure(struct exchange *x, unsigned kind, unsigned detail);
void exchange_log_attempt(struct exchange *x); /* for `log.level: debug` */
void exchange_tell_tls(struct exchange *x);    /* into the log: its session has failed */
/* Why there is no connection: is it the instance, or this node? */
struct exchange_input exchange_no_connection(struct exchange *x, int error);

/* exchange_gray.c. */
void exchange_gray_init(struct exchange *x); /* once, with its memory */
void exchange_gray_send(struct exchange *x); /* the request goes up */
void exchange_gray_head(struct exchange *x); /* the final head has come */
void exchange_gray_body(struct exchange *x); /* a piece of its body, if it is `watched` */
void exchange_gray_end(struct exchange *x);  /* the attempt is over */

/* exchange_gone.c. The client has left, or had when the head came: is the response read on all the
 * same, and is it a stream? Into the input. */
void exchange_say_if_read_on(const struct exchange *x, struct exchange_input *in);
bool exchange_is_stream(const struct http_head *head);
/* Was a stream asked for? Known of a small body, which is kept; else the response's head tells. */
bool exchange_asks_to_stream(const struct exchange *x);
void exchange_note_task(struct exchange *x, struct bytes task);
void exchange_tell_task(struct exchange *x); /* to the core, once */
void exchange_do_stop(struct exchange *x);

void exchange_wake_control(struct exchange *x);

/* Instances that are away (exchange_away.c). What belongs to this one waits as in a queue, which
 * may be full; it is looked again after look_ms. */
struct exchange_input exchange_wait_for(struct exchange *x, size_t index, uint64_t look_ms);
/* The same without a place there. */
struct exchange_input exchange_look_again(const struct exchange *x, size_t index, uint64_t look_ms);
/* Nobody takes the request: it waits, if there is one drained with `hold`. */
void exchange_wait_drained(struct exchange *x, struct exchange_input *ret_next);
/* It waits no more; `on`: it goes on, and by the configuration of now. */
void exchange_end_wait(struct exchange *x, bool on);

/* Quotas (exchange_quota.c). Whether a request must be refused by what is known of its user, who
 * may be missing; NONE: it may go on, and all quotas that know whom they count have granted it. */
enum exchange_reply exchange_ask_refusal(struct exchange *x);
static inline enum exchange_reply exchange_refusal(struct exchange *x)
{
    bool asked = x->app && (x->app->reject_missing_user || x->app->quota_count > 0);
    return asked ? exchange_ask_refusal(x) : EXCHANGE_REPLY_NONE;
}
/* It is in flight no more, or for nobody. */
void exchange_quota_do_release(struct exchange *x);
static inline void exchange_quota_release(struct exchange *x)
{
    if (x->quota.held != 0) {
        exchange_quota_do_release(x);
    }
}
/* It goes on by another configuration: what that has no more, or in another place, is given back.
 */
void exchange_quota_renew(struct exchange *x, const struct snapshot_application *app);
/* So many tokens have been used by the request: once, when they are known. */
void exchange_quota_spend(struct exchange *x, uint64_t tokens);

/* Ids (exchange_ids.c, exchange_place.c). Which of Dify's routes it is; of an application whose
 * instances are separate: what is to be looked for in the request is set up, and how its body is
 * read. Before the search for the user. */
void exchange_find_route(struct exchange *x, struct user_request *request);
void exchange_place_done(struct exchange *x);
static inline void exchange_place_end(struct exchange *x)
{
    if (x->placing) {
        exchange_place_done(x);
    }
}
/* The body's, once all of it that is looked at has come; and the user in it, whom Dify knows. */
void exchange_place_read_body(struct exchange *x);
struct bytes exchange_place_user(const struct exchange *x);
void exchange_place_open(struct exchange *x, const struct placement_route *route);
/* Where the request goes, if an id says so. True: *ret_next follows. */
bool exchange_place_pick(struct exchange *x, struct exchange_input *ret_next);
enum placement_placed exchange_placed(const struct exchange *x); /* as the log has it, at the end */
void exchange_place_sent(struct exchange *x);                    /* an attempt begins */
void exchange_place_again(struct exchange *x); /* what was decided is of another configuration */
void exchange_do_leave_search(struct exchange *x);
void exchange_place_over(struct exchange *x); /* has ended */
/* A response's head, the next piece of its body, and its end: is it kept back, or has another
 * instance been asked? _hears(): such a body is coming. _hear(): the piece has been taken.
 * _heard_all() false: the end is not to be passed on. */
enum exchange_judged { EXCHANGE_PASSES, EXCHANGE_HEARD };
enum exchange_judged exchange_place_judge(struct exchange *x);
bool exchange_place_hears(const struct exchange *x);
bool exchange_place_hear(struct exchange *x);
bool exchange_place_heard_all(struct exchange *x, bool reusable);
void exchange_place_reply(struct exchange *x); /* the kept answer */
const char *exchange_not_found_text(const struct exchange *x);
void exchange_place_head(struct exchange *x); /* one that passes */

/* What the answer tells is read as it passes, from its head on (exchange_ids.c). */
void exchange_read_head(struct exchange *x);
static inline void exchange_read_body(struct exchange *x, struct bytes piece)
{
    if (x->reads) {
        answer_reading_feed(&x->reading, piece);
    }
}

/* Of exchange_up.c, for exchange_place.c and others: a hashed pick's key; the request's head as an
 * instance is to get it. */
void exchange_find_key(struct exchange *x);
static inline bool exchange_ring_key(struct exchange *x, uint64_t *ret_key)
{
    if (x->keyed == EXCHANGE_KEY_UNKNOWN) {
        exchange_find_key(x);
    }
    *ret_key = x->ring_key;
    return x->keyed == EXCHANGE_KEYED;
}
void exchange_append_head(struct exchange *x, const struct snapshot_instance *instance,
                          struct buffer *to);

/* A response that was kept back until it was judged goes on: what has come, to the core and down
 * (exchange_up.c); the head of up_head, with one field more (exchange_down.c). */
void exchange_pass_head(struct exchange *x);
void exchange_pass_body(struct exchange *x);
void exchange_send_head(struct exchange *x, const struct http_extra_field *more);

/* How the response whose head has come will go down. */
enum http_framing exchange_response_framing(const struct exchange *x);
void exchange_do_head(struct exchange *x);
void exchange_do_interim(struct exchange *x);
void exchange_do_body(struct exchange *x);
void exchange_do_end(struct exchange *x);
void exchange_do_reply(struct exchange *x, enum exchange_reply reply);

#endif
