/* private: a connection from the inside, shared by the files of this room only. */
#ifndef DOWNSTREAM_PRIVATE_H
#define DOWNSTREAM_PRIVATE_H

#include "client/proxy_header.h"
#include "downstream/downstream.h"

enum downstream_state {
    STATE_NEW,       /* not accepted yet */
    STATE_PREFACE,   /* a PROXY header is coming */
    STATE_HANDSHAKE, /* TLS begins */
    STATE_IDLE,      /* waits for a request's first byte */
    STATE_HEAD,      /* a head is coming */
    STATE_BUSY,      /* an exchange is at work */
    STATE_SKIP,      /* answered; reads the rest of the request away, then it is IDLE */
    STATE_LINGER,    /* has sent its FIN; reads away what still comes */
    STATE_CLOSED,    /* the stream closes; freed when it has */
};

/* Of a connection that begins with a PROXY header; the peer, where that names another. */
struct downstream_preface {
    struct proxy_header header;
    uint8_t peer_raw[ADDRESS_SIZE];
    char peer[ADDRESS_TEXT_SIZE];
};

struct downstream {
    struct stream stream;
    struct exchange_client client;
    struct downstream_owner *owner;
    struct list link, idle;
    struct wheel_timer timer; /* HEAD, IDLE, SKIP, LINGER: the exchange has its own */
    struct http_reader reader;
    struct http_head *head;    /* of the request that is coming or at work */
    struct snapshot *snapshot; /* whose limits the reader obeys; a reference, while not IDLE */
    struct chain held;
    const char *input_end;  /* of what parse() is at; NULL: it is not */
    uint64_t linger_end_ms; /* also of SKIP */
    uint64_t since_ms;      /* in this state */
    uint64_t first_end_ms;  /* of preface, handshake and first head together; 0: each head has its
                               own time */
    uint64_t until_ms;      /* the end of the state, unless the client still takes its answer */
    enum downstream_state state; /* moved by downstream_enter() alone */
    bool advancing;              /* downstream_advance() or parse() is on the stack */
    /* What the callbacks have recorded for downstream_advance(). */
    bool finished;        /* the exchange is over: `finish` */
    bool due;             /* the timer */
    bool left, left_half; /* the client; or it has closed its sending side */
    bool shaken;          /* the handshake is over: `failure` */
    enum tls_failure failure;
    enum exchange_finish finish;
    bool complete; /* the request at work has been read to its end */
    bool served;   /* it has had an answer */
    bool full;     /* `held` is: the socket is not read */
    bool too_many;
    bool cut; /* its last answer has not come to its end: no word of an end either */
    const struct downstream_door *door;
    enum downstream_place place;
    struct downstream_preface *preface; /* NULL: none is asked for */
    char address[ADDRESS_TEXT_SIZE];
};

static inline struct downstream *downstream_of(struct stream *s)
{
    return LIST_ENTRY(s, struct downstream, stream);
}

static inline struct net_loop *downstream_loop(const struct downstream *d)
{
    return d->stream.loop;
}

/* The one door of `state`. One that has been served and would be served again, or whose bytes are
 * only read away, is in the owner's list `idle`: as long as no other needs its place. */
void downstream_enter(struct downstream *d, enum downstream_state state);

/* Decides what comes next, from the state and from what was recorded. As often as you like. */
void downstream_advance(struct downstream *d);

/* Its FIN has been sent, or is about to be: what still comes is read away for at most `all_ms`; of
 * which some has come. */
void downstream_linger(struct downstream *d, uint64_t all_ms);
void downstream_linger_on(struct downstream *d);

/* SKIP; and some of the request's rest, which is taken off `*bytes`. True: it has come to its end.
 */
void downstream_skip(struct downstream *d);
bool downstream_skip_some(struct downstream *d, struct bytes *bytes);

/* For struct exchange_owner_events. */
bool downstream_ends_at_hand(void *owner);

/* An idle connection ends. False: not yet, for a request has come in this moment. */
bool downstream_part_one(struct downstream *d);

/* Of the peer: as text and as 16 bytes. */
void downstream_learn_address(struct downstream *d);

/* As 16 bytes; IPv4 as ::ffff:0:0/96. The rest of `ret_raw` is zero before. */
void downstream_raw_address(const struct sockaddr_storage *address, uint8_t ret_raw[16]);

/* With `when_sent`, what is queued is sent first, as long as the client goes on taking it. What the
 * kernel has then may take as long. */
void downstream_close(struct downstream *d, bool when_sent);

/* How long the state may last. In between the client is looked at. */
void downstream_set_timer(struct downstream *d, uint64_t timeout_ms);

/* IDLE begins; and how long the head that is waited for, or comes, may take. */
void downstream_await_request(struct downstream *d, uint64_t timeout_ms);
uint64_t downstream_head_ms(const struct downstream *d);

/* A connection has its place: what its listener asks of it comes first. */
void downstream_begin(struct downstream *d, const struct downstream_door *door);

/* While PREFACE: takes the PROXY header off `*bytes`. True: it has come, and what is left is the
 * client's own. Else more must come, or the connection has been closed. */
bool downstream_take_preface(struct downstream *d, struct bytes *bytes);

/* HANDSHAKE begins, with what came behind the preface. */
void downstream_shake(struct downstream *d, struct tls_server *server, struct bytes first);

/* It has ended, as `failure` says; or it has taken too long. */
void downstream_after_handshake(struct downstream *d);
void downstream_handshake_late(struct downstream *d);

/* For struct stream_events. */
void downstream_on_secured(struct stream *s, enum tls_failure failure);

/* Is the peer one that may say who a client is? If not, it is told to the log. */
bool downstream_may_send_preface(struct downstream *d);

/* In the order in which they became idle, or began to linger. */
void downstream_join_idle(struct downstream *d);
void downstream_leave_idle(struct downstream *d); /* safe at any time */

#endif
