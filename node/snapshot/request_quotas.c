/* request_quotas: from an application's quotas to asks, and from what they say to what is told. */
#include "snapshot/request_quotas.h"

#include <assert.h>
#include <stdio.h>

static_assert((int)QUOTA_ASKS_MAX <= 8 * (int)sizeof(((struct request_quotas *)0)->held),
              "a bit each");

/* Of an IPv4 address the four bytes: no other subject is so long, and it is one round less. */
static struct bytes address_of(const uint8_t *address)
{
    static const uint8_t four[12] = {[10] = 0xFF, [11] = 0xFF};
    bool is_four = memcmp(address, four, sizeof(four)) == 0;
    return (struct bytes){(const char *)address + (is_four ? 12 : 0), is_four ? 4 : 16};
}

static uint64_t address_key(const struct snapshot_quota *q, const struct request_subjects *whom)
{
    struct request_subject_kept *kept = whom->address_kept;
    if (kept && memcmp(kept->quota, q->key, sizeof(kept->quota)) == 0) {
        return kept->key;
    }
    uint64_t key = siphash(q->key, address_of(whom->address));
    if (kept) {
        memcpy(kept->quota, q->key, sizeof(kept->quota));
        kept->key = key;
    }
    return key;
}

static inline uint64_t key_of(const struct snapshot_quota *q, const struct request_subjects *whom)
{
    uint64_t key = q->only;
    switch (q->per) {
    case QUOTA_USER:
        key = siphash(q->key, whom->user); /* all without one are one */
        break;
    case QUOTA_TOKEN:
        key = siphash(q->key, whom->token);
        break;
    case QUOTA_ADDRESS:
        key = address_key(q, whom);
        break;
    case QUOTA_APPLICATION:
        break;
    }
    return key;
}

static uint32_t seconds(uint64_t ms)
{
    return (uint32_t)((ms + 999) / 1000);
}

static void count_over(struct request_quotas *r, const struct snapshot_quota *q,
                       struct application_counts *cell)
{
    cell_add(q->terms.shadow ? &cell->quota_shadowed[q->per] : &cell->quota_rejected[q->per], 1);
    r->over = quota_per_words[q->per];
}

void request_quotas_prepare(struct request_quotas *r, struct quotas *quotas,
                            const struct snapshot_application *app,
                            const struct request_subjects *whom, struct request_asks *ret_asks)
{
    ret_asks->count = 0;
    ret_asks->shards = 0;
    for (size_t i = 0; i < app->quota_count; i++) {
        const struct snapshot_quota *q = &app->quotas[i];
        if (q->terms.kind != QUOTA_CONCURRENT || whom->class == SLOT_LONG) {
            ret_asks->number[ret_asks->count] = (uint8_t)i;
            ret_asks->shards |=
                quotas_prepare(quotas, q, key_of(q, whom), &ret_asks->of[ret_asks->count++]);
        }
    }
    for (size_t i = 0; i < ret_asks->count && app->quotas_come_again; i++) {
        r->keys[ret_asks->number[i]] = ret_asks->of[i].key;
        r->known |= (uint8_t)(1u << ret_asks->number[i]);
    }
}

/* Who refused, which shadows would have, and what is in flight. */
static void note(struct request_quotas *r, struct quotas *quotas,
                 const struct snapshot_application *app, const struct request_asks *a, int refuses,
                 struct application_counts *cell)
{
    for (size_t i = 0; i < a->count; i++) {
        const struct quota_ask *ask = &a->of[i];
        if (ask->over && (ask->terms.shadow || (int)i == refuses)) {
            quotas_count_rejected(quotas, ask);
        }
        if (refuses >= 0) {
            continue;
        }
        if (ask->over) { /* a shadow: it was granted */
            count_over(r, &app->quotas[a->number[i]], cell);
        }
        if (ask->terms.kind == QUOTA_CONCURRENT) {
            r->held |= (uint8_t)(1u << a->number[i]);
        }
    }
}

bool request_quotas_refuse(struct request_quotas *r, struct quotas *quotas,
                           const struct snapshot_application *app, struct request_asks *asks,
                           struct application_counts *cell, uint64_t now_ms)
{
    int tightest,
        refuses = quotas_decide(quotas, asks->of, asks->count, asks->shards, now_ms, &tightest);
    if (refuses >= 0 || app->quotas_leave_marks) {
        note(r, quotas, app, asks, refuses, cell);
    }
    if (tightest >= 0) {
        const struct snapshot_quota *q = &app->quotas[asks->number[tightest]];
        memcpy(r->limit_line, q->limit_line, sizeof(r->limit_line));
        r->limit_line_size = q->limit_line_size;
        r->remaining = (uint32_t)quota_left(&asks->of[tightest]);
        r->reset_s = seconds(asks->of[tightest].wait_ms);
    }
    if (refuses >= 0) {
        r->refused_by = asks->number[refuses];
        r->wait_s = seconds(asks->of[refuses].wait_ms);
        count_over(r, &app->quotas[r->refused_by], cell);
    }
    return refuses >= 0;
}

void request_quotas_release(struct request_quotas *r, struct quotas *quotas,
                            const struct snapshot_application *app)
{
    for (size_t i = 0; i < app->quota_count; i++) {
        struct quota_ask ask;
        if (r->held & 1u << i) {
            quotas_prepare(quotas, &app->quotas[i], r->keys[i], &ask);
            quotas_release(quotas, &ask);
        }
    }
    r->held = 0;
}

void request_quotas_forget(struct request_quotas *r)
{
    r->held = r->known = 0;
}

void request_quotas_spend(const struct request_quotas *r, struct quotas *quotas,
                          const struct snapshot_application *app,
                          const struct request_subjects *whom, uint64_t tokens, uint64_t now_ms)
{
    for (size_t i = 0; i < app->quota_count; i++) {
        const struct snapshot_quota *q = &app->quotas[i];
        struct quota_ask ask;
        if (q->terms.kind == QUOTA_TOKENS) {
            uint64_t key = r->known & 1u << i ? r->keys[i] : key_of(q, whom);
            quotas_prepare(quotas, q, key, &ask);
            quotas_spend(quotas, &ask, tokens, now_ms);
        }
    }
}

bool request_quota_prepare(struct quotas *quotas, const struct snapshot_quota *q,
                           const struct request_subjects *whom, struct quota_ask *ret_ask)
{
    bool known = (q->per != QUOTA_TOKEN || whom->token.size > 0) &&
                 (q->per != QUOTA_ADDRESS || whom->address);
    if (known) {
        quotas_prepare(quotas, q, key_of(q, whom), ret_ask);
    }
    return known;
}

/* ---- what clients are told ---- */

/* In every answer of a request with quotas: so from the end to the beginning, and two digits at a
 * time. Each returns where it begins. */
static char *put_number(char *at, uint32_t number)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    for (; number >= 100; number /= 100) {
        at -= 2;
        memcpy(at, &pairs[(size_t)(number % 100) * 2], 2);
    }
    if (number >= 10) {
        at -= 2;
        memcpy(at, &pairs[(size_t)number * 2], 2);
    } else {
        *--at = (char)('0' + number);
    }
    return at;
}

/* The name is a literal and this inlined: so nothing is counted, or called. */
static inline char *put_line(char *at, const char *name_colon, size_t size, uint32_t number)
{
    at = put_number(at, number) - size;
    memcpy(at, name_colon, size);
    return at;
}

#define LINE(name) "\r\n" REQUEST_QUOTA_NAMES name ": ", sizeof(REQUEST_QUOTA_NAMES name) + 3

struct bytes request_quotas_lines(const struct request_quotas *r, char text[REQUEST_QUOTA_LINES])
{
    char *end = text + REQUEST_QUOTA_LINES, *at = end - 2;
    if (!request_quotas_tell(r)) {
        return (struct bytes){text, 0};
    }
    memcpy(at, "\r\n", 2);
    at = put_line(at, LINE("Reset"), r->reset_s);
    at = put_line(at, LINE("Remaining"), r->remaining);
    memcpy(at - QUOTA_LIMIT_LINE, r->limit_line,
           QUOTA_LIMIT_LINE); /* more than there is, at once */
    at -= r->limit_line_size;
    return (struct bytes){at, (size_t)(end - at)};
}

static_assert(sizeof("RateLimit-Limit: 4000000000") - 1 <= QUOTA_LIMIT_LINE &&
                  QUOTA_LIMIT_LINE +
                          sizeof("\r\nRateLimit-Remaining: 4000000000\r\nRateLimit-Reset: "
                                 "4000000000\r\n") -
                          1 <=
                      REQUEST_QUOTA_LINES,
              "the longest");

void request_quotas_write_limit(struct snapshot_quota *q)
{
    char *end = q->limit_line + QUOTA_LIMIT_LINE;
    char *at = put_line(end, LINE("Limit"), q->terms.limit) + 2; /* without the end before it */
    q->limit_line_size = (uint8_t)(end - at);
}

void quota_window_text(uint64_t ms, char text[QUOTA_WINDOW_TEXT])
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (ms % units[i].ms != 0) {
        i++;
    }
    snprintf(text, QUOTA_WINDOW_TEXT, "%llu%s", (unsigned long long)(ms / units[i].ms),
             units[i].unit);
}

void request_quotas_message(const struct request_quotas *r, const struct snapshot_application *app,
                            char text[REQUEST_QUOTA_MESSAGE])
{
    const struct snapshot_quota *q = &app->quotas[r->refused_by];
    char window[QUOTA_WINDOW_TEXT];
    if (q->terms.kind == QUOTA_CONCURRENT) {
        snprintf(text, REQUEST_QUOTA_MESSAGE,
                 "Rate limit exceeded: at most %u requests at a time per %s. Please try again "
                 "later.",
                 q->terms.limit, quota_per_words[q->per]);
        return;
    }
    quota_window_text(q->terms.window_ms, window);
    snprintf(text, REQUEST_QUOTA_MESSAGE,
             "Rate limit exceeded: at most %u %s per %s every %s. Please try again later.",
             q->terms.limit, quota_kind_words[q->terms.kind], quota_per_words[q->per], window);
}
