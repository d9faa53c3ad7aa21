/* mailbox: the words between workers and control, and above all the trial of an ejected instance.
 *
 * Three kinds of threads take part, and none waits for another:
 *
 *   control      owns `passive`, the state of an ejection. It collects what workers have told, and
 *                publishes the route word; nobody else writes that, but for one step.
 *   one worker   takes a trial by that step, when it picks an instance (snapshot_pick()), and tells
 *                how it ended (exchange_do_report()). That may be long after: route word and
 *                `passive` need not be what they were.
 *   all workers  pick by the route word, and tell failures.
 *
 * The route word, and who changes it:
 *
 * (TRIAL stands for TRIAL_EVENT, too, which only a POST that asks for a stream takes: `passive`
 * says which one it is, and the outcome of that is its first event.)
 *
 *   CLOSED <-- control, by the verdict, from any state --> OPEN
 *     |                                                     ^
 *     | control: fail_timeout is over                       | control: the trial was good, and by
 *     v                                                     | everybody's votes it may be used
 *   TRIAL -- one worker, by compare-and-swap --> TRIAL_TAKEN
 *     ^                                             |  |
 *     +------ control: no outcome (void, late) -----+  +-- control: it failed --> CLOSED
 *
 * The rules:
 *
 * 1. A trial is given to exactly one request. Many workers may see TRIAL; who swaps it has it, the
 *    others pick on as if the instance were closed. No lock, no message: the word is the token.
 * 2. The request that has the trial carries it (exchange.trial). Its end goes into a box of the
 *    instance: trial_good; trial_void, if the client left and nothing is known; or, like anybody's
 *    failure, failures_new or statuses. So a trial ends in some box, or is late (rule 6).
 * 3. A worker adds to a box, then marks the application (application_live.mail), then wakes
 *    control. Control takes the mark away, then empties the boxes. What comes in between is found
 *    at once, or marked anew: nothing is lost, at worst control looks once for nothing.
 * 4. That a trial was taken is not told: control sees TRIAL_TAKEN when it collects, and tells
 *    `passive` (taken_known). Before, it must not publish TRIAL over TRIAL_TAKEN: `passive` offers
 *    the trial only because it does not know, and a second request would be tried. After, an offer
 *    by `passive` is a new one.
 * 5. Control publishes by compare-and-swap, too. If a worker takes the trial in the same moment,
 *    the swap fails, and what is wanted is compared with TRIAL_TAKEN: OPEN and CLOSED are written
 *    over it. The request goes on, and its end is told as any other's.
 * 6. A trial without an end after fail_timeout is offered once more, beside the one in flight: one
 *    slow answer must not keep an instance out. So two ends may come; while `passive` is in TRIAL
 *    any decides, and health/passive says what one is worth in the other states.
 * 7. The order of collecting: that a trial was taken, before its end; failures before a success, so
 *    that both in one turn leave the instance ejected until the next trial; time last.
 *
 * But for rules 3 and 5 nothing here depends on how two of these atomics are ordered. */
#include "instances/mailbox.h"

#include "base/clock.h"
#include "instances/registry.h"
#include "placement/placement_core.h"

static void set_why(struct tracked_instance *i, unsigned kind, unsigned detail)
{
    uint32_t max_fails = i->passive.max_fails;
    i->why_passive = (struct reason){
        .kind = (uint8_t)kind,
        .count = (uint8_t)(max_fails <= UINT8_MAX ? max_fails : 0),
        .detail = (uint16_t)detail,
        .at_s = (uint32_t)(clock_wall_ms() / 1000),
    };
}

/* `passive` may not be where it was: why? `ok`: what has ended it if it is OK now. That is told
 * only if all had seen it as an ejection. */
void mailbox_note_change(struct tracked_instance *i, enum passive_state before, struct reason ok)
{
    uint32_t why = atomic_load_explicit(&i->live->failure_why, memory_order_relaxed);
    if (i->passive.state == before) {
        return;
    }
    if (i->passive.state == PASSIVE_OK) {
        i->why_passive = (struct reason){0};
        if (i->was_ejected) {
            set_why(i, ok.kind, ok.detail);
            i->why_passive.count = ok.count;
        }
        i->was_ejected = false;
    } else if (i->passive.state == PASSIVE_EJECTED && before == PASSIVE_TRIAL) {
        set_why(i, REASON_TRIAL_FAILED, why & UINT16_MAX);
    } else if (i->passive.state == PASSIVE_EJECTED) {
        set_why(i, why >> 16, why & UINT16_MAX);
    }
}

/* Its time out of service is over, and it is in service all the same: it was kept there (SPEC §4,
 * rule 4), or the others see it well. So each request is the trial. */
static bool tries_anybody(const struct tracked_instance *i)
{
    return passive_trial_offered(&i->passive) && !passive_wants_event(&i->passive) &&
           atomic_load(&i->live->route) == INSTANCE_OPEN;
}

static bool collect_instance(struct tracked_instance *i, uint64_t now_ms)
{
    struct instance_live *s = i->live;
    struct passive *p = &i->passive;
    bool changed = false;
    enum passive_state before = p->state;
    struct instance_counts counts = {0};
    uint64_t answers = 0;
    if (atomic_load(&s->route) == INSTANCE_TRIAL_TAKEN && passive_trial_offered(p)) {
        passive_trial_taken(p, now_ms);
        i->seen.taken_known = true;
    }
    instance_live_sum(s, &counts);
    if (counts.answers != i->seen.answers) {
        answers = counts.answers - i->seen.answers;
        passive_answered(p, now_ms, (uint32_t)answers);
        i->seen.answers = counts.answers;
    }
    bool ended;
    uint32_t failures = instance_live_take_statuses(s, &ended);
    bool good = answers > failures;
    if (ended) {
        passive_proper_answer(p);
    }
    if (failures > 0) {
        changed |= passive_failure(p, now_ms, failures, true);
    }
    failures = atomic_exchange(&s->failures_new, 0);
    if (failures > 0) {
        changed |= passive_failure(p, now_ms, failures, false);
    }
    failures = atomic_exchange(&s->silent_new, 0);
    if (failures > 0) {
        changed |= passive_silence(p, now_ms, failures);
    }
    mailbox_note_change(i, before, (struct reason){0});
    if (i->check.checker && atomic_load_explicit(&s->check_wanted, memory_order_relaxed)) {
        checker_want(i->check.checker, &i->check);
    }
    before = p->state;
    if (atomic_exchange(&s->trial_good, 0) > 0 || (good && tries_anybody(i))) {
        changed |= passive_success(p, now_ms);
        mailbox_note_change(i, before, (struct reason){.kind = REASON_TRIAL_PASSED});
    }
    if (atomic_exchange(&s->trial_void, 0) > 0) {
        passive_trial_void(p, now_ms);
        changed = true;
    }
    before = p->state;
    changed |= passive_tick(p, now_ms);
    mailbox_note_change(i, before, (struct reason){.kind = REASON_TRIAL_PASSED, .detail = 1});
    return changed;
}

void mailbox_collect(struct tracked_application *a, uint64_t now_ms)
{
    atomic_store(&a->live->mail, false); /* before the boxes: what comes now sets it again */
    a->due.collect = false;
    a->due.deadline_ms = 0;
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *instance = a->instances[i];
        bool changed = collect_instance(instance, now_ms);
        uint64_t weight = verdict_weight(passive_answers(&instance->passive, now_ms));
        uint64_t deadline_ms = passive_next_deadline_ms(&instance->passive);
        a->due.vote = a->due.vote || changed || weight != instance->told_weight;
        if (deadline_ms != 0 && (a->due.deadline_ms == 0 || deadline_ms < a->due.deadline_ms)) {
            a->due.deadline_ms = deadline_ms;
        }
    }
}

static enum instance_route wanted_route(const struct tracked_instance *i)
{
    const struct verdict_result *v = &i->verdict;
    bool open = v->routable && !i->unreachable;
    bool ejected = !open && (v->verdict == VERDICT_EJECTED || i->unreachable);
    if (ejected && i->passive.state == PASSIVE_TRIAL) {
        enum instance_route trial =
            passive_wants_event(&i->passive) ? INSTANCE_TRIAL_EVENT : INSTANCE_TRIAL;
        return passive_trial_offered(&i->passive) ? trial : INSTANCE_TRIAL_TAKEN;
    }
    return open ? INSTANCE_OPEN : INSTANCE_CLOSED;
}

/* Who waits for a slot of it waits as long as anybody may go there; the trial has its own place. */
static void open_line(struct tracked_instance *i)
{
    struct host_slots *slots = atomic_load(&i->live->slots);
    if (slots) {
        host_slots_line_open(slots, &i->live->line);
    }
}

static void close_line(struct tracked_instance *i, uint64_t now_ms)
{
    struct host_slots *slots = atomic_load(&i->live->slots);
    if (slots) {
        host_slots_line_close(slots, &i->live->line, now_ms);
    }
}

static void publish_instance(struct tracked_instance *i, uint64_t now_ms)
{
    _Atomic uint32_t *route = &i->live->route;
    uint32_t wanted = wanted_route(i), now = atomic_load(route);
    if (wanted == INSTANCE_OPEN && now != INSTANCE_OPEN) {
        open_line(i); /* before anybody is sent there */
    }
    while (wanted != now) {
        bool trial = wanted == INSTANCE_TRIAL || wanted == INSTANCE_TRIAL_EVENT;
        if (trial && now == INSTANCE_TRIAL_TAKEN && !i->seen.taken_known) {
            return; /* rule 4 */
        }
        if (atomic_compare_exchange_strong(route, &now, wanted)) {
            if (wanted == INSTANCE_CLOSED || now == INSTANCE_OPEN) {
                close_line(i, now_ms); /* once nobody is sent there any more */
            }
            i->seen.taken_known = false;
            return;
        }
    }
}

/* What belongs there goes there also while it is drained or ejected: it is up, or may be. */
static enum placement_standing standing_of(const struct tracked_instance *i)
{
    const struct verdict_result *v = &i->verdict;
    if (v->routable && !i->unreachable) {
        return PLACEMENT_ELIGIBLE;
    }
    bool down = v->verdict == VERDICT_UNHEALTHY || i->check.rota.active.state == ACTIVE_DOWN;
    return down ? PLACEMENT_AWAY : i->held ? PLACEMENT_HELD : PLACEMENT_ASIDE;
}

/* What belongs there may wait for a slot although its line is closed; now it is not to go there. */
static void publish_standing(struct tracked_instance *i, uint64_t now_ms)
{
    struct instance_live *live = i->live;
    enum placement_standing now = standing_of(i);
    atomic_store_explicit(&live->hold_ms, i->hold_ms, memory_order_relaxed);
    uint32_t was = atomic_exchange_explicit(&live->standing, now, memory_order_relaxed);
    if (now == PLACEMENT_HELD && was != PLACEMENT_HELD) {
        close_line(i, now_ms);
    }
}

void mailbox_publish(struct tracked_application *a, uint64_t now_ms)
{
    for (size_t i = 0; i < a->instance_count; i++) {
        struct tracked_instance *instance = a->instances[i];
        publish_instance(instance, now_ms);
        publish_standing(instance, now_ms);
    }
}
