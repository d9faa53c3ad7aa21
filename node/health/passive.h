/* passive: what this node's own requests say about one instance (SPEC §4, "Passive").
 *
 *      OK -- max_fails failures within fail_timeout --> EJECTED -- fail_timeout is over --> TRIAL
 *      ^                                                   ^                                 |
 *      |                                                   +------------ a failure ----------+
 *      +--- a success; or passed checks in a row; or nobody asked for the trial for a while -+
 *
 * passive_enable() leads from any state to OK, with an empty window.
 *
 * One struct per instance and node, owned by one thread (control). Workers never see it: they
 * report counts and take trials through shared atomics, and control calls in here. Time is
 * monotonic milliseconds; a step back is taken as standing still.
 *
 * What is a failure, and what is none (429, 4xx, a client that leaves), is the caller's business.
 * Failures by status, of an instance that answers, are a run: a proper answer takes them out of the
 * window. So one user whose requests always fail ejects nobody. The others (refused, lost, garbage,
 * late) stay until their time is over. Checks say nothing of statuses; an ejection for the others
 * they can end.
 *
 * Choices that SPEC leaves open:
 * - In TRIAL any outcome decides, also that of an older request: it tells about the same now. One
 *   that is in service all the same (kept as the last one, or outvoted) is tried by every request.
 * - A trial without an outcome after fail_timeout is offered once more, beside the one still under
 *   way: one slow blocking answer must not keep an instance out for minutes.
 * - A trial that nobody takes for PASSIVE_TRIAL_UNCLAIMED_MS ends in OK with max_fails - 1 failures
 *   on record, so that one more failure ejects again. Else a node that has lost its traffic (the
 *   virtual IP moved away) would vote "tripped" for ever, and nobody could ever disprove it.
 * - Failures while EJECTED (requests of `all_down: try_all`, or when other nodes outvote this one)
 *   neither count nor make the ejection longer.
 *
 * Silence (SPEC §4, "Gray"; health/gray says when a stream counts) is a failure that other requests
 * and checks know nothing of: a Dify whose worker is dead answers them. An ejection that silence
 * completed stays one for silence whatever else fails meanwhile, and ends by a trial alone that has
 * shown an event, or by passive_enable(). It has no end by itself: nobody may have asked for a
 * stream, and nothing else tells.
 */
#ifndef HEALTH_PASSIVE_H
#define HEALTH_PASSIVE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    /* The window keeps the times of the last max_fails failures, 8 bytes each. More than these are
     * not configured by anybody sane; passive_configure() takes a larger number as this one. */
    PASSIVE_MAX_FAILS_MAX = 1024,
    /* As long as the traffic weight looks back (SPEC §4 rule 3): no opinion without traffic. */
    PASSIVE_TRIAL_UNCLAIMED_MS = 60 * 1000,
    PASSIVE_ANSWER_SECONDS = 60,
    /* A trial that wants an event may take as long as a request may wait for a slot and then for
     * its first event. */
    PASSIVE_EVENT_MS = 20 * 60 * 1000,
};

enum passive_state { PASSIVE_OK, PASSIVE_EJECTED, PASSIVE_TRIAL };

struct passive {
    enum passive_state state;
    uint32_t max_fails; /* 0 = never ejected */
    uint64_t fail_timeout_ms;
    uint64_t now_ms;        /* the latest time that any call has brought */
    uint64_t since_ms;      /* EJECTED: since then; TRIAL: when the trial was offered or taken */
    bool trial_taken;       /* TRIAL: its request is in flight */
    bool unanswered;        /* not OK: the failure that led there brought no answer */
    bool silent;            /* not OK: it is, or began as, an ejection for silence */
    uint32_t checks_passed; /* TRIAL: in a row */
    uint64_t *failed_at_ms; /* circular: max_fails times, the oldest at failed_first; the lowest bit
                               is not time: by status */
    uint32_t failed_first, failed_count;
    uint64_t answers_second; /* the second that the newest bucket counts */
    uint32_t answers[PASSIVE_ANSWER_SECONDS];
};

void passive_init(struct passive *p, uint32_t max_fails, uint64_t fail_timeout_ms, uint64_t now_ms);
void passive_done(struct passive *p);

/* New parameters on reload. The state and the newest failures stay; a running ejection ends
 * fail_timeout after it began, by the new value; max_fails 0 ends it now. True if the state
 * changed. */
bool passive_configure(struct passive *p, uint32_t max_fails, uint64_t fail_timeout_ms);

/* `count` >= 1 requests failed; `answered`: with a status that counts as a failure, not for want of
 * an answer. True if the state changed. */
bool passive_failure(struct passive *p, uint64_t now_ms, uint32_t count, bool answered);

/* `count` >= 1 streams have shown nothing but pings. True if the state changed. */
bool passive_silence(struct passive *p, uint64_t now_ms, uint32_t count);

/* A proper answer came after all failures by status that were told so far: they are forgotten. */
void passive_proper_answer(struct passive *p);

/* A check of this node passed. `needed` in a row on offer of a trial end an ejection that was for
 * want of an answer, without waiting for a request. True if the state changed. */
bool passive_check_passed(struct passive *p, uint64_t now_ms, uint32_t needed);
void passive_check_failed(struct passive *p);

/* A request succeeded. Decides a trial; in the other states it means nothing (a window forgets by
 * time only), so callers may save themselves the call. True if the state changed. */
bool passive_success(struct passive *p, uint64_t now_ms);

/* Somebody has put it into service by hand: whatever it did is forgotten. True if the state
 * changed. */
bool passive_enable(struct passive *p, uint64_t now_ms);

/* May one request go to this instance although it is ejected? */
bool passive_trial_offered(const struct passive *p);

/* Must that one be a stream that is asked for by a POST, and its first event the success? */
bool passive_wants_event(const struct passive *p);

/* That request is in flight. */
void passive_trial_taken(struct passive *p, uint64_t now_ms);

/* It ended without an outcome (the client left): the trial is offered again. Nothing happens when
 * the trial has been decided meanwhile. */
void passive_trial_void(struct passive *p, uint64_t now_ms);

/* Time went on. True if the state, or whether a trial is offered, changed. */
bool passive_tick(struct passive *p, uint64_t now_ms);

/* When passive_tick() has something to do next; 0 = never by itself: OK, and a trial that wants an
 * event and is on offer. */
uint64_t passive_next_deadline_ms(const struct passive *p);

/* This node's vote: not OK. */
bool passive_tripped(const struct passive *p);

/* Tripped, and last for want of an answer: this node does not reach the instance. */
bool passive_unreachable(const struct passive *p);

/* `count` answers came: response heads of any status, also of those that count as failures. */
void passive_answered(struct passive *p, uint64_t now_ms, uint32_t count);

/* Answers in the last 60 s, to a second. For the vote, see verdict_weight(). */
uint64_t passive_answers(struct passive *p, uint64_t now_ms);

const char *passive_state_text(enum passive_state state); /* "ok", "ejected", "trial" */

#endif
