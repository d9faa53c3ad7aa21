/* exchange_core_pace: is a request's body slower than limits.body_rate? (SPEC §3, own errors)
 *
 * The rule: not fewer than rate · window bytes in any window of timeouts.request_body. Windows are
 * looked at in steps of an eighth, so one who is too slow is found within nine eighths of the
 * window, and nobody is found who is not. Time counts only while the node reads: a client that
 * waits for a slow instance is not slow itself. A body that ends sooner was never measured.
 *
 * Pure. Zero: nothing has been read yet. */
#ifndef EXCHANGE_EXCHANGE_CORE_PACE_H
#define EXCHANGE_EXCHANGE_CORE_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_SLOTS = 8 };

struct pace_rules {
    uint64_t window_ms;
    uint32_t rate; /* bytes a second; 0 = any will do */
};

struct pace {
    uint64_t slot_end_ms; /* of the slot that bytes are counted in; 0 = the node does not read */
    uint64_t left_ms;     /* meanwhile: how long it will last then; 0 = it is the first one */
    uint32_t bytes[PACE_SLOTS]; /* of the last slots, in a circle; no more than UINT32_MAX each */
    uint8_t slot, filled;       /* the present one; how many before it are whole, at most all */
    bool slow;                  /* a whole window had too little in it */
};

/* From now on the node reads, or does not. As often as you like. */
void pace_go(struct pace *p, const struct pace_rules *rules, uint64_t now_ms);
void pace_stop(struct pace *p, const struct pace_rules *rules, uint64_t now_ms);

/* Bytes were read. */
void pace_add(struct pace *p, const struct pace_rules *rules, uint64_t size, uint64_t now_ms);

/* It is this node that has not read yet what was there: the present slot lasts until now. */
void pace_wait(struct pace *p, const struct pace_rules *rules, uint64_t now_ms);

/* Has it been too slow by now? */
bool pace_is_slow(struct pace *p, const struct pace_rules *rules, uint64_t now_ms);

/* When to ask next; 0 = never. */
uint64_t pace_deadline_ms(const struct pace *p, const struct pace_rules *rules);

#endif
