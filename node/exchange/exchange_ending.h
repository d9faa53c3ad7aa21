/* exchange_ending: how an exchange ended, as one word for the log and the metrics (SPEC §8), and
 * why the attempts before the last one failed. Pure: it looks on at the core's steps.
 *
 * A new way to end is a row of EXCHANGE_ENDINGS, and a rule in exchange_ending.c. */
#ifndef EXCHANGE_EXCHANGE_ENDING_H
#define EXCHANGE_EXCHANGE_ENDING_H

#include "exchange/exchange_core.h"

/* clang-format off */
#define EXCHANGE_ENDINGS(ROW)                                                                  \
    ROW(COMPLETE, "complete")                                                                      \
    ROW(CLIENT_LEFT, "client_left")                                                                \
    ROW(CLIENT_SLOW, "client_slow")   /* 408, or reset since it takes nothing */                   \
    ROW(INSTANCE_CUT, "instance_cut") /* after its head */                                         \
    ROW(LOST, "lost")                 /* before it */                                              \
    ROW(GARBAGE, "garbage")                                                                        \
    ROW(REFUSED, "refused")                                                                        \
    ROW(TLS, "tls")                                                                                \
    ROW(CONNECT_TIMEOUT, "connect_timeout")                                                        \
    ROW(FIRST_BYTE_TIMEOUT, "first_byte_timeout")                                                  \
    ROW(IDLE_TIMEOUT, "idle_timeout")                                                              \
    ROW(NO_INSTANCE, "no_instance")                                                                \
    ROW(QUEUE_FULL, "queue_full")                                                                  \
    ROW(QUEUE_TIMEOUT, "queue_timeout")                                                            \
    ROW(QUOTA, "quota")                                                                            \
    ROW(BAD_REQUEST, "bad_request")                                                                \
    ROW(TOO_LARGE, "too_large")                                                                    \
    ROW(UNAUTHORIZED, "unauthorized")                                                              \
    ROW(FORBIDDEN, "forbidden")                                                                    \
    ROW(LOCAL, "local")                                                                            \
    ROW(DRAINED, "drained")           /* cut by the end of timeouts.drain */                       \
    ROW(LACKING, "lacking")           /* this node's own want */                                   \
    ROW(STATUS, "status")             /* of an attempt: an answer that was tried again */
/* clang-format on */

#define EXCHANGE_ENDING_NAME(name, word) EXCHANGE_ENDED_##name,
enum exchange_end { EXCHANGE_ENDINGS(EXCHANGE_ENDING_NAME) EXCHANGE_END_COUNT };
#undef EXCHANGE_ENDING_NAME

extern const char *const exchange_end_words[EXCHANGE_END_COUNT];

enum { EXCHANGE_TRIED_MAX = 15 /* conf's most attempts, less the last */ };

/* Zeroed at the start. */
struct exchange_ending {
    uint8_t end;     /* of enum exchange_end; said with FINISH */
    uint8_t attempt; /* why the present or last attempt failed */
    bool fixed;      /* an answer of this node has gone down: that is how it ended */
    bool left;       /* the client has; its response may be read on for nobody */
    bool drained;    /* set before DOWN_GONE: it is this node that closes */
    uint8_t tried_count;
    struct {
        uint16_t instance; /* by its place in the application */
        uint8_t failed;
    } tried[EXCHANGE_TRIED_MAX];
};

/* After each step of the core, before its outputs are carried out. `before`: its phase until then;
 * `failed`: with UP_FAILED, why there is no connection; with UP_GONE, TLS if the instance denied
 * the handshake behind its end; with TUNNEL_END, how it ended. */
void exchange_ending_note(struct exchange_ending *e, enum exchange_phase before,
                          const struct exchange_input *in, const struct exchange_outputs *out,
                          enum exchange_end failed);

/* Another attempt begins, and the last one was at `instance`. */
void exchange_ending_again(struct exchange_ending *e, size_t instance);

#endif
