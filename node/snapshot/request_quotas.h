/* request_quotas: what the quotas of one request say (SPEC §3): asked once, before anything goes to
 * an instance.
 *
 * What is kept is what answers tell of the tightest one (RateLimit-*), which word the log has, whom
 * each counts, and which concurrent quotas are to be given back. */
#ifndef SNAPSHOT_REQUEST_QUOTAS_H
#define SNAPSHOT_REQUEST_QUOTAS_H

#include "snapshot/snapshot.h"

/* Zeroed: not asked yet, or nothing to tell. */
struct request_quotas {
    const char *over;                  /* `per` of one that it is over, shadows too; NULL: none */
    char limit_line[QUOTA_LIMIT_LINE]; /* of the tightest, for its snapshot may have gone */
    uint8_t limit_line_size;           /* 0: nothing is told */
    uint32_t remaining, reset_s;
    uint32_t wait_s;    /* refused: until it would pass */
    uint8_t refused_by; /* its number in the application */
    uint8_t held;       /* concurrent ones that count it: a bit each, by number */
    uint8_t known;      /* the same: those whose key is below */
    bool asked;
    uint64_t keys[QUOTA_ASKS_MAX]; /* of the subjects, by number */
};

/* A connection's address, as the quota with this key has it: hashed once. Zeroed: none. */
struct request_subject_kept {
    uint8_t quota[SIPHASH_KEY_SIZE];
    uint64_t key;
};

/* Whom they count, and as what. */
struct request_subjects {
    struct bytes user, token;
    const uint8_t *address; /* 16 bytes; NULL: not known */
    enum slot_class class; /* for request_quotas_prepare(): long ones are counted while they last */
    struct request_subject_kept *address_kept; /* of this address; NULL: nothing is kept */
};

/* One of them, as it is asked. False: it is not known whom it counts. */
bool request_quota_prepare(struct quotas *quotas, const struct snapshot_quota *q,
                           const struct request_subjects *whom, struct quota_ask *ret_ask);

/* Those of the application's quotas that a request of this class is asked for. */
struct request_asks {
    struct quota_ask of[QUOTA_ASKS_MAX];
    uint8_t number[QUOTA_ASKS_MAX]; /* in the application */
    size_t count;
    uint64_t shards;
};

/* What is known of whom they count is on its way out of memory from here on: whoever has other work
 * to do does it before request_quotas_refuse(). */
void request_quotas_prepare(struct request_quotas *r, struct quotas *quotas,
                            const struct snapshot_application *app,
                            const struct request_subjects *whom, struct request_asks *ret_asks);

/* Grants the request by all of them, or refuses it (true). `cell`: the worker's counters. */
bool request_quotas_refuse(struct request_quotas *r, struct quotas *quotas,
                           const struct snapshot_application *app, struct request_asks *asks,
                           struct application_counts *cell, uint64_t now_ms);

/* It is in flight no more. */
void request_quotas_release(struct request_quotas *r, struct quotas *quotas,
                            const struct snapshot_application *app);

/* Others are the application's quotas from here on: it is in flight in none of them. */
void request_quotas_forget(struct request_quotas *r);

/* So many tokens were used: once, when they are known. */
void request_quotas_spend(const struct request_quotas *r, struct quotas *quotas,
                          const struct snapshot_application *app,
                          const struct request_subjects *whom, uint64_t tokens, uint64_t now_ms);

/* Fills in what the first of these lines is. */
void request_quotas_write_limit(struct snapshot_quota *q);
static inline bool request_quotas_tell(const struct request_quotas *r)
{
    return r->limit_line_size > 0;
}

/* RateLimit-Limit, -Remaining and -Reset, as header lines in `text`; none: an empty text. */
enum { REQUEST_QUOTA_LINES = 96, REQUEST_QUOTA_MESSAGE = 160 };
struct bytes request_quotas_lines(const struct request_quotas *r, char text[REQUEST_QUOTA_LINES]);
#define REQUEST_QUOTA_NAMES "RateLimit-" /* as all of them begin */

/* Why it was refused, for its client. */
void request_quotas_message(const struct request_quotas *r, const struct snapshot_application *app,
                            char text[REQUEST_QUOTA_MESSAGE]);

/* A window as it may stand in a file: `1d`. */
enum { QUOTA_WINDOW_TEXT = 32 };
void quota_window_text(uint64_t ms, char text[QUOTA_WINDOW_TEXT]);

#endif
