/* passive: the sliding window, the ejection and the trial of one instance.
 *
 * The window is a circular list of the times of the last max_fails failures: it is full and its
 * oldest entry is at most fail_timeout old exactly when max_fails failures lie within fail_timeout.
 * The happy path: failures come in, the list fills up, move_to(EJECTED); passive_tick() finds the
 * time over, move_to(TRIAL); the trial's success moves to OK and empties the list. */
#include "health/passive.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void advance_clock(struct passive *p, uint64_t now_ms)
{
    if (now_ms > p->now_ms) {
        p->now_ms = now_ms;
    }
}

enum { BY_STATUS = 1 };

static uint64_t time_of(uint64_t entry)
{
    return entry >> 1;
}

static void remember_failure(struct passive *p, uint64_t at_ms, bool by_status)
{
    assert(p->max_fails > 0);
    if (p->failed_count == p->max_fails) {
        p->failed_first = (p->failed_first + 1) % p->max_fails;
        p->failed_count--;
    }
    p->failed_at_ms[(p->failed_first + p->failed_count) % p->max_fails] =
        at_ms << 1 | (by_status ? BY_STATUS : 0);
    p->failed_count++;
}

static bool window_is_full(const struct passive *p)
{
    return p->failed_count == p->max_fails &&
           p->now_ms - time_of(p->failed_at_ms[p->failed_first]) <= p->fail_timeout_ms;
}

/* Every change of state goes through here. */
static void move_to(struct passive *p, enum passive_state state)
{
    p->state = state;
    p->silent = p->silent && state != PASSIVE_OK;
    p->since_ms = p->now_ms;
    p->trial_taken = false;
    p->checks_passed = 0;
    p->failed_first = 0;
    p->failed_count = 0;
}

void passive_init(struct passive *p, uint32_t max_fails, uint64_t fail_timeout_ms, uint64_t now_ms)
{
    *p = (struct passive){.state = PASSIVE_OK, .now_ms = now_ms, .since_ms = now_ms};
    p->answers_second = now_ms / 1000;
    passive_configure(p, max_fails, fail_timeout_ms);
}

void passive_done(struct passive *p)
{
    free(p->failed_at_ms);
    p->failed_at_ms = NULL;
}

/* Puts the newest failures that fit into a list of the new size. */
static void resize_window(struct passive *p, uint32_t max_fails)
{
    uint64_t *times = max_fails ? memory_new(max_fails * sizeof *times) : NULL;
    uint32_t keep = p->failed_count < max_fails ? p->failed_count : max_fails;
    uint32_t skip = p->failed_count - keep;
    for (uint32_t i = 0; i < keep; i++) {
        times[i] = p->failed_at_ms[(p->failed_first + skip + i) % p->max_fails];
    }
    free(p->failed_at_ms);
    p->failed_at_ms = times;
    p->failed_first = 0;
    p->failed_count = keep;
    p->max_fails = max_fails;
}

bool passive_configure(struct passive *p, uint32_t max_fails, uint64_t fail_timeout_ms)
{
    if (max_fails > PASSIVE_MAX_FAILS_MAX) {
        max_fails = PASSIVE_MAX_FAILS_MAX;
    }
    p->fail_timeout_ms = fail_timeout_ms;
    if (max_fails != p->max_fails) {
        resize_window(p, max_fails);
    }
    if (max_fails == 0 && p->state != PASSIVE_OK) {
        move_to(p, PASSIVE_OK);
        return true;
    }
    return false;
}

/* True: they have ejected it. */
static bool count_failures(struct passive *p, uint64_t now_ms, uint32_t count, bool by_status)
{
    assert(count >= 1);
    advance_clock(p, now_ms);
    if (p->max_fails == 0 || p->state == PASSIVE_EJECTED) {
        return false;
    }
    for (uint32_t i = 0; i < count && i < p->max_fails; i++) {
        remember_failure(p, p->now_ms, by_status);
    }
    if (p->state == PASSIVE_TRIAL || window_is_full(p)) {
        move_to(p, PASSIVE_EJECTED);
        return true;
    }
    return false;
}

bool passive_failure(struct passive *p, uint64_t now_ms, uint32_t count, bool answered)
{
    bool ejected = count_failures(p, now_ms, count, answered);
    if (ejected) {
        p->unanswered = !answered;
    }
    return ejected;
}

bool passive_silence(struct passive *p, uint64_t now_ms, uint32_t count)
{
    bool ejected = count_failures(p, now_ms, count, false);
    if (ejected) {
        p->unanswered = false;
        p->silent = true;
    }
    return ejected;
}

void passive_proper_answer(struct passive *p)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < p->failed_count; i++) {
        uint64_t entry = p->failed_at_ms[(p->failed_first + i) % p->max_fails];
        if (!(entry & BY_STATUS)) {
            p->failed_at_ms[(p->failed_first + kept++) % p->max_fails] = entry;
        }
    }
    p->failed_count = kept;
}

bool passive_check_passed(struct passive *p, uint64_t now_ms, uint32_t needed)
{
    advance_clock(p, now_ms);
    if (p->state != PASSIVE_TRIAL || !p->unanswered || p->silent || ++p->checks_passed < needed) {
        return false;
    }
    move_to(p, PASSIVE_OK);
    return true;
}

void passive_check_failed(struct passive *p)
{
    p->checks_passed = 0;
}

bool passive_success(struct passive *p, uint64_t now_ms)
{
    advance_clock(p, now_ms);
    if (p->state != PASSIVE_TRIAL) {
        return false;
    }
    move_to(p, PASSIVE_OK);
    return true;
}

bool passive_enable(struct passive *p, uint64_t now_ms)
{
    bool tripped = passive_tripped(p);
    advance_clock(p, now_ms);
    move_to(p, PASSIVE_OK);
    return tripped;
}

bool passive_trial_offered(const struct passive *p)
{
    return p->state == PASSIVE_TRIAL && !p->trial_taken;
}

bool passive_wants_event(const struct passive *p)
{
    return p->silent;
}

static void offer_trial(struct passive *p, bool taken)
{
    assert(p->state == PASSIVE_TRIAL);
    p->trial_taken = taken;
    p->since_ms = p->now_ms;
}

void passive_trial_taken(struct passive *p, uint64_t now_ms)
{
    advance_clock(p, now_ms);
    if (p->state == PASSIVE_TRIAL) { /* else an older request has decided it on the way here */
        offer_trial(p, true);
    }
}

void passive_trial_void(struct passive *p, uint64_t now_ms)
{
    advance_clock(p, now_ms);
    if (p->state == PASSIVE_TRIAL && p->trial_taken) {
        offer_trial(p, false);
    }
}

/* Nobody asked for the trial: back, but on the last failure's edge (see passive.h). */
static void give_up_trial(struct passive *p)
{
    move_to(p, PASSIVE_OK);
    for (uint32_t i = 1; i < p->max_fails; i++) {
        remember_failure(p, p->now_ms, !p->unanswered);
    }
}

bool passive_tick(struct passive *p, uint64_t now_ms)
{
    advance_clock(p, now_ms);
    uint64_t deadline_ms = passive_next_deadline_ms(p);
    if (deadline_ms == 0 || p->now_ms < deadline_ms) {
        return false;
    }
    if (p->state == PASSIVE_EJECTED) {
        move_to(p, PASSIVE_TRIAL);
    } else if (p->trial_taken) {
        offer_trial(p, false);
    } else {
        give_up_trial(p);
    }
    return true;
}

/* One that wants an event has an outcome of its own when `first_event` is over, which may be later
 * than fail_timeout: it is offered again only if that was lost. */
static uint64_t trial_deadline_ms(const struct passive *p)
{
    if (p->silent) {
        uint64_t patience_ms = p->fail_timeout_ms + PASSIVE_EVENT_MS;
        return p->trial_taken ? p->since_ms + patience_ms : 0;
    }
    return p->since_ms + (p->trial_taken ? p->fail_timeout_ms : PASSIVE_TRIAL_UNCLAIMED_MS);
}

uint64_t passive_next_deadline_ms(const struct passive *p)
{
    switch (p->state) {
    case PASSIVE_OK:
        return 0;
    case PASSIVE_EJECTED:
        return p->since_ms + p->fail_timeout_ms;
    case PASSIVE_TRIAL:
        return trial_deadline_ms(p);
    }
    return 0;
}

bool passive_tripped(const struct passive *p)
{
    return p->state != PASSIVE_OK;
}

bool passive_unreachable(const struct passive *p)
{
    return p->state != PASSIVE_OK && p->unanswered;
}

/* Empties the buckets of the seconds that have gone by since the newest one was counted in. */
static void advance_answers(struct passive *p)
{
    uint64_t second = p->now_ms / 1000;
    assert(second >= p->answers_second);
    if (second - p->answers_second >= PASSIVE_ANSWER_SECONDS) {
        memset(p->answers, 0, sizeof p->answers);
    } else {
        for (uint64_t s = p->answers_second + 1; s <= second; s++) {
            p->answers[s % PASSIVE_ANSWER_SECONDS] = 0;
        }
    }
    p->answers_second = second;
}

void passive_answered(struct passive *p, uint64_t now_ms, uint32_t count)
{
    advance_clock(p, now_ms);
    advance_answers(p);
    uint32_t *bucket = &p->answers[p->answers_second % PASSIVE_ANSWER_SECONDS];
    *bucket = count > UINT32_MAX - *bucket ? UINT32_MAX : *bucket + count;
}

uint64_t passive_answers(struct passive *p, uint64_t now_ms)
{
    advance_clock(p, now_ms);
    advance_answers(p);
    uint64_t sum = 0;
    for (unsigned i = 0; i < PASSIVE_ANSWER_SECONDS; i++) {
        sum += p->answers[i];
    }
    return sum;
}

const char *passive_state_text(enum passive_state state)
{
    switch (state) {
    case PASSIVE_OK:
        return "ok";
    case PASSIVE_EJECTED:
        return "ejected";
    case PASSIVE_TRIAL:
        return "trial";
    }
    assert(false);
    return "";
}
