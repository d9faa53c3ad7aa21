/* exchange_core_pace: bytes of the last window in eighths of it. */
#include "exchange/exchange_core_pace.h"

#include <assert.h>

static uint64_t slot_ms(const struct pace_rules *rules)
{
    return rules->window_ms < PACE_SLOTS ? 1 : rules->window_ms / PACE_SLOTS;
}

/* What a whole window must have. Beyond UINT32_MAX nothing is asked for: see pace.bytes. */
static uint64_t needed(const struct pace_rules *rules)
{
    uint64_t bytes = (uint64_t)rules->rate * (slot_ms(rules) * PACE_SLOTS) / 1000;
    return bytes < UINT32_MAX ? bytes : UINT32_MAX;
}

static void end_slot(struct pace *p, const struct pace_rules *rules)
{
    uint64_t sum = 0;
    for (int i = 0; i < PACE_SLOTS; i++) {
        sum += p->bytes[i];
    }
    p->filled = p->filled < PACE_SLOTS ? (uint8_t)(p->filled + 1) : p->filled;
    p->slow = p->slow || (p->filled == PACE_SLOTS && sum < needed(rules));
    p->slot = (uint8_t)((p->slot + 1) % PACE_SLOTS);
    p->bytes[p->slot] = 0;
    p->slot_end_ms += slot_ms(rules);
}

/* Ends the slots that are over. After a whole window without a byte no more can be learnt. */
static void roll(struct pace *p, const struct pace_rules *rules, uint64_t now_ms)
{
    for (int i = 0; i <= PACE_SLOTS && p->slot_end_ms <= now_ms; i++) {
        end_slot(p, rules);
    }
    if (p->slot_end_ms <= now_ms) {
        p->slot_end_ms = now_ms + slot_ms(rules);
    }
}

static bool counts(const struct pace *p, const struct pace_rules *rules)
{
    return rules->rate > 0 && p->slot_end_ms != 0;
}

void pace_go(struct pace *p, const struct pace_rules *rules, uint64_t now_ms)
{
    if (rules->rate > 0 && p->slot_end_ms == 0) {
        p->slot_end_ms = now_ms + (p->left_ms > 0 ? p->left_ms : slot_ms(rules));
    }
}

void pace_stop(struct pace *p, const struct pace_rules *rules, uint64_t now_ms)
{
    if (counts(p, rules)) {
        roll(p, rules, now_ms);
        p->left_ms = p->slot_end_ms - now_ms;
        p->slot_end_ms = 0;
    }
}

void pace_add(struct pace *p, const struct pace_rules *rules, uint64_t size, uint64_t now_ms)
{
    if (counts(p, rules)) {
        roll(p, rules, now_ms);
        uint64_t room = UINT32_MAX - p->bytes[p->slot];
        p->bytes[p->slot] += (uint32_t)(size < room ? size : room);
    }
}

void pace_wait(struct pace *p, const struct pace_rules *rules, uint64_t now_ms)
{
    if (counts(p, rules) && p->slot_end_ms <= now_ms) {
        p->slot_end_ms = now_ms + 1;
    }
}

bool pace_is_slow(struct pace *p, const struct pace_rules *rules, uint64_t now_ms)
{
    if (counts(p, rules)) {
        roll(p, rules, now_ms);
    }
    return p->slow;
}

uint64_t pace_deadline_ms(const struct pace *p, const struct pace_rules *rules)
{
    if (!counts(p, rules)) {
        return 0;
    }
    if (p->slow) {
        return 1; /* long over */
    }
    /* Slots that must end before there is a whole window are no reason to ask. */
    uint64_t before = p->filled < PACE_SLOTS ? PACE_SLOTS - 1u - p->filled : 0;
    assert(before < PACE_SLOTS);
    return p->slot_end_ms + before * slot_ms(rules);
}
