/* settle: once a turn, just before the loop polls, in nested turns of the start, too. The order,
 * and what each step goes by (its marks; time is one, too):
 *
 *   adopt     a reload is wanted, a shared configuration waits, or the adoption's round has ended
 *   collect   an application has mail, or its deadline, or a second, is over
 *   decide    an application is due: collect, vote, verdict; others' votes, members, drains (news)
 *   publish   a verdict was computed: a part of deciding, an application at a time
 *   uploads   workers have seen files made elsewhere than at home
 *   tell      this node's row differs from what was told; votes and drains wait to leave
 *   save      the shared revision or the state differs from what was written
 *   arm       the timers, to the deadlines that are left
 *
 * What a step does may be a mark for one before it: the steps are gone through until none is left.
 * This ends: adopt and the verdicts stop where a slice of the turn's time, or the pool, goes on
 * later. */
#include "control/settle.h"

#include "control/adopt.h"
#include "control/private.h"
#include "control/uploads.h"

static void on_tick(uv_timer_t *timer)
{
    (void)timer; /* the turn ends */
}

static void arm_tick(struct control *c)
{
    uint64_t now_ms = net_now_ms(&c->net), due_ms = instances_deadline_ms(&c->instances);
    uint64_t adopt_ms = adopt_deadline_ms(c), vouch_ms = on_trial_deadline_ms(&c->member);
    due_ms = adopt_ms < due_ms ? adopt_ms : due_ms;
    due_ms = vouch_ms < due_ms ? vouch_ms : due_ms;
    uv_timer_start(&c->settle.tick, on_tick, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

static void settle(struct control *c)
{
    do {
        adopt_settle(c);
        instances_settle(&c->instances);
        uploads_tell(c);
        membership_tell(&c->member);
    } while (adopt_may_go_on(c) || c->instances.news);
    if (!c->begins) { /* a start has more to come */
        on_trial_settle(&c->member);
    }
    membership_save(&c->member);
    if (!c->life.joined && !cluster_joining(c->member.cluster)) {
        life_tell(c, LIFE_JOINED);
    }
    membership_arm(&c->member);
    arm_tick(c);
}

static void on_turn(uv_prepare_t *handle)
{
    struct control *c = handle->data;
    if (c->member.cluster && c->life.phase != LIFE_STOPPED) {
        settle(c);
    }
}

void settle_open(struct control *c)
{
    uv_prepare_init(&c->net.uv, &c->settle.turn);
    uv_timer_init(&c->net.uv, &c->settle.tick);
    c->settle.turn.data = c->settle.tick.data = c;
    uv_prepare_start(&c->settle.turn, on_turn);
}

void settle_close(struct control *c)
{
    uv_close((uv_handle_t *)&c->settle.turn, NULL);
    uv_close((uv_handle_t *)&c->settle.tick, NULL);
}
