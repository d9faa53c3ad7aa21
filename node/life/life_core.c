/* life_core: two small machines, the node's phase and the virtual IP; each input moves one of them,
 * and advance() does what follows.
 *
 * The happy path of a stop: TERMINATE leads to DRAINING; the workers are told, with a new epoch.
 * Where connections outlive the address it leaves now: the track file says 1, keepalived takes it
 * (ADDRESS_HELD), LIFE_SETTLE_MS later it is GONE. All workers are QUIET: PART, with another epoch.
 * QUIET again: where the address took its connections along it leaves only now. GONE: LAST_CALL
 * shuts the doors; DOORS_EMPTY leads to CLOSING, with a last epoch. QUIET once more: STOP.
 *
 * Deadlines pass by LIFE_TIME only: what else comes late is still taken as in time. */
#include "life/life_core.h"

#include <assert.h>

enum { PHASES = LIFE_STOPPED + 1, ADDRESSES = LIFE_ADDRESS_GIVEN_UP + 1 };

#define MAY(state) (1u << (state))

/* Where each phase may go. */
static const unsigned phase_moves[PHASES] = {
    [LIFE_STARTING] = MAY(LIFE_SERVING) | MAY(LIFE_STOPPED),
    [LIFE_SERVING] = MAY(LIFE_OUT_OF_SERVICE) | MAY(LIFE_DRAINING),
    [LIFE_OUT_OF_SERVICE] = MAY(LIFE_SERVING) | MAY(LIFE_DRAINING),
    [LIFE_DRAINING] = MAY(LIFE_LAST_CALL) | MAY(LIFE_STOPPED),
    [LIFE_LAST_CALL] = MAY(LIFE_CLOSING) | MAY(LIFE_STOPPED),
    [LIFE_CLOSING] = MAY(LIFE_STOPPED),
    [LIFE_STOPPED] = 0,
};

/* /admin/enable takes each of them back to OURS. */
static const unsigned address_moves[ADDRESSES] = {
    [LIFE_ADDRESS_ABSENT] = 0,
    [LIFE_ADDRESS_OURS] =
        MAY(LIFE_ADDRESS_OURS) | MAY(LIFE_ADDRESS_LEAVING) | MAY(LIFE_ADDRESS_GONE),
    [LIFE_ADDRESS_LEAVING] = MAY(LIFE_ADDRESS_OURS) | MAY(LIFE_ADDRESS_STUCK) |
                             MAY(LIFE_ADDRESS_SETTLING) | MAY(LIFE_ADDRESS_GIVEN_UP),
    [LIFE_ADDRESS_STUCK] =
        MAY(LIFE_ADDRESS_OURS) | MAY(LIFE_ADDRESS_SETTLING) | MAY(LIFE_ADDRESS_GIVEN_UP),
    [LIFE_ADDRESS_SETTLING] =
        MAY(LIFE_ADDRESS_OURS) | MAY(LIFE_ADDRESS_LEAVING) | MAY(LIFE_ADDRESS_GONE),
    [LIFE_ADDRESS_GONE] = MAY(LIFE_ADDRESS_OURS) | MAY(LIFE_ADDRESS_LEAVING),
    [LIFE_ADDRESS_GIVEN_UP] = MAY(LIFE_ADDRESS_OURS) | MAY(LIFE_ADDRESS_GONE),
};

/* Every change of phase goes through here. */
static void enter(struct life *l, enum life_phase phase)
{
    assert(phase_moves[l->phase] & MAY(phase));
    l->phase = phase;
}

/* Every change of the address's state goes through here. */
static void move_address(struct life *l, enum life_address address, uint64_t deadline_ms)
{
    assert(address_moves[l->address] & MAY(address));
    l->address = address;
    l->address_deadline_ms = deadline_ms;
}

static void new_epoch(struct life *l)
{
    l->epoch++;
    l->quiet = false;
    l->quiet_count = 0;
}

void life_init(struct life *l, bool has_vip)
{
    *l = (struct life){.address = has_vip ? LIFE_ADDRESS_OURS : LIFE_ADDRESS_ABSENT};
}

bool life_may_hold(const struct life *l)
{
    return l->phase >= LIFE_SERVING && l->phase <= LIFE_DRAINING &&
           l->address == LIFE_ADDRESS_OURS && l->joined && !l->hung;
}

bool life_beats(const struct life *l)
{
    return !l->hung && l->address != LIFE_ADDRESS_STUCK;
}

bool life_is_draining(const struct life *l)
{
    return l->phase >= LIFE_OUT_OF_SERVICE;
}

bool life_is_ready(const struct life *l)
{
    return l->ready && l->phase <= LIFE_OUT_OF_SERVICE;
}

static bool is_due(uint64_t deadline_ms, uint64_t now_ms)
{
    return deadline_ms != 0 && now_ms >= deadline_ms;
}

/* ---- the address ---- */

static bool is_on_its_way(const struct life *l)
{
    return l->address == LIFE_ADDRESS_LEAVING || l->address == LIFE_ADDRESS_STUCK ||
           l->address == LIFE_ADDRESS_SETTLING;
}

static void let_address_go(struct life *l, uint64_t now_ms)
{
    if (l->address != LIFE_ADDRESS_OURS) {
        return;
    }
    if (l->held) {
        move_address(l, LIFE_ADDRESS_LEAVING, now_ms + LIFE_PATIENCE_MS);
    } else {
        move_address(l, LIFE_ADDRESS_GONE, 0);
    }
}

static void address_changed(struct life *l, bool held, uint64_t now_ms)
{
    l->held = held;
    if (!held && (l->address == LIFE_ADDRESS_LEAVING || l->address == LIFE_ADDRESS_STUCK)) {
        move_address(l, LIFE_ADDRESS_SETTLING, now_ms + LIFE_SETTLE_MS);
    } else if (!held && l->address == LIFE_ADDRESS_GIVEN_UP) {
        move_address(l, LIFE_ADDRESS_GONE, 0);
    }
}

/* A node that ends would refuse connections to an address that came back: it has to go again. */
static void chase_address(struct life *l, uint64_t now_ms)
{
    if (l->held && (l->address == LIFE_ADDRESS_SETTLING || l->address == LIFE_ADDRESS_GONE)) {
        move_address(l, LIFE_ADDRESS_LEAVING, now_ms + LIFE_PATIENCE_MS);
    }
}

static unsigned address_time(struct life *l, uint64_t now_ms)
{
    bool due = is_due(l->address_deadline_ms, now_ms);
    switch (l->address) {
    case LIFE_ADDRESS_LEAVING:
        if (!due) {
            return 0;
        }
        if (l->late) {
            move_address(l, LIFE_ADDRESS_GIVEN_UP, 0);
        } else {
            move_address(l, LIFE_ADDRESS_STUCK, now_ms + LIFE_STUCK_MS);
        }
        return LIFE_ADDRESS_STAYS;
    case LIFE_ADDRESS_STUCK:
        if (due || l->late) {
            move_address(l, LIFE_ADDRESS_GIVEN_UP, 0);
        }
        return 0;
    case LIFE_ADDRESS_SETTLING:
        if (due) {
            move_address(l, LIFE_ADDRESS_GONE, 0);
        }
        return 0;
    case LIFE_ADDRESS_ABSENT:
    case LIFE_ADDRESS_OURS:
    case LIFE_ADDRESS_GONE:
    case LIFE_ADDRESS_GIVEN_UP:
        break;
    }
    return 0;
}

/* ---- the phase ---- */

static unsigned stop(struct life *l)
{
    enter(l, LIFE_STOPPED);
    l->drain_deadline_ms = l->address_deadline_ms = l->doors_deadline_ms = 0;
    return LIFE_STOP;
}

static unsigned begin_drain(struct life *l, enum life_phase phase, bool can_hand_over,
                            uint64_t now_ms)
{
    enter(l, phase);
    new_epoch(l);
    l->parted = false;
    if (!l->held || can_hand_over || !l->joined) { /* keepalived was not told 0 before that */
        let_address_go(l, now_ms);
    }
    return LIFE_DRAIN_WORKERS;
}

static unsigned terminate(struct life *l, const struct life_input *in, uint64_t now_ms)
{
    switch (l->phase) {
    case LIFE_SERVING:
    case LIFE_OUT_OF_SERVICE:
        l->drain_deadline_ms = now_ms + in->drain_ms;
        return begin_drain(l, LIFE_DRAINING, in->can_hand_over, now_ms);
    case LIFE_STARTING:
    case LIFE_DRAINING:
    case LIFE_LAST_CALL:
    case LIFE_CLOSING:
        return stop(l);
    case LIFE_STOPPED:
        break;
    }
    return 0;
}

static unsigned enable(struct life *l)
{
    enter(l, LIFE_SERVING);
    if (l->address != LIFE_ADDRESS_ABSENT) {
        move_address(l, LIFE_ADDRESS_OURS, 0);
    }
    return LIFE_ENABLE_WORKERS;
}

static void worker_is_quiet(struct life *l, uint32_t epoch)
{
    if (epoch == l->epoch && life_is_draining(l)) {
        l->quiet_count++;
        assert(l->quiet_count <= l->workers);
        l->quiet = l->quiet_count == l->workers;
    }
}

static unsigned shut_doors(struct life *l, uint64_t now_ms)
{
    enter(l, LIFE_LAST_CALL);
    l->doors_deadline_ms = now_ms + LIFE_LAST_CALL_MS;
    return LIFE_SHUT_DOORS;
}

static unsigned close_doors(struct life *l)
{
    enter(l, LIFE_CLOSING);
    l->doors_deadline_ms = 0;
    new_epoch(l);
    return LIFE_CLOSE_DOORS;
}

/* Deadlines: of the address, of the last call, and of all. */
static unsigned time_has_come(struct life *l, uint64_t now_ms)
{
    l->late |= is_due(l->drain_deadline_ms, now_ms);
    if (l->late) {
        let_address_go(l, now_ms);
    }
    unsigned orders = address_time(l, now_ms);
    if (l->late && !is_on_its_way(l)) {
        return orders | LIFE_CUT | stop(l);
    }
    return orders | (is_due(l->doors_deadline_ms, now_ms) ? close_doors(l) : 0);
}

static unsigned take(struct life *l, uint64_t now_ms, const struct life_input *in)
{
    switch (in->kind) {
    case LIFE_STARTED:
        assert(l->phase == LIFE_STARTING && in->workers > 0);
        l->workers = in->workers;
        enter(l, LIFE_SERVING);
        return 0;
    case LIFE_JOINED:
        l->joined = true;
        return 0;
    case LIFE_DRAIN:
        return l->phase == LIFE_SERVING
                   ? begin_drain(l, LIFE_OUT_OF_SERVICE, in->can_hand_over, now_ms)
                   : 0;
    case LIFE_ENABLE:
        return l->phase == LIFE_OUT_OF_SERVICE ? enable(l) : 0;
    case LIFE_TERMINATE:
        return terminate(l, in, now_ms);
    case LIFE_QUIET:
        worker_is_quiet(l, in->epoch);
        return 0;
    case LIFE_DOORS_EMPTY:
        return l->phase == LIFE_LAST_CALL ? close_doors(l) : 0;
    case LIFE_ADDRESS_HELD:
        address_changed(l, in->held, now_ms);
        return 0;
    case LIFE_HANG:
        l->hung = in->hung;
        return 0;
    case LIFE_TIME:
        return time_has_come(l, now_ms);
    }
    return 0;
}

/* What was at work has ended, in a drain whose address is not on its way. */
static unsigned go_on_draining(struct life *l, uint64_t now_ms)
{
    if (!l->parted && (l->phase == LIFE_DRAINING || l->address != LIFE_ADDRESS_ABSENT)) {
        l->parted = true;
        new_epoch(l);
        return LIFE_PART;
    }
    let_address_go(l, now_ms);
    return l->phase == LIFE_DRAINING && !is_on_its_way(l) ? shut_doors(l, now_ms) : 0;
}

static unsigned advance(struct life *l, uint64_t now_ms)
{
    unsigned orders = 0;
    if (l->joined && !l->ready && l->phase >= LIFE_SERVING && l->phase <= LIFE_OUT_OF_SERVICE) {
        l->ready = true;
        orders = LIFE_READY;
    }
    if (l->phase == LIFE_DRAINING && !l->late) {
        chase_address(l, now_ms);
    }
    switch (l->phase) {
    case LIFE_OUT_OF_SERVICE:
    case LIFE_DRAINING:
        return orders | (l->quiet && !is_on_its_way(l) ? go_on_draining(l, now_ms) : 0);
    case LIFE_CLOSING:
        return orders | (l->quiet ? stop(l) : 0);
    case LIFE_STARTING:
    case LIFE_SERVING:
    case LIFE_LAST_CALL:
    case LIFE_STOPPED:
        break;
    }
    return orders;
}

unsigned life_step(struct life *l, uint64_t now_ms, const struct life_input *in)
{
    if (l->phase == LIFE_STOPPED) {
        return 0;
    }
    bool may_hold = life_may_hold(l);
    unsigned orders = take(l, now_ms, in);
    orders |= advance(l, now_ms);
    if (l->phase != LIFE_STOPPED &&
        may_hold != life_may_hold(l)) { /* else handover_close() tells */
        orders |= LIFE_TELL_KEEPALIVED;
    }
    return orders;
}

uint64_t life_deadline_ms(const struct life *l)
{
    uint64_t drain_ms = l->late ? 0 : l->drain_deadline_ms, first_ms = 0;
    const uint64_t all[] = {drain_ms, l->address_deadline_ms, l->doors_deadline_ms};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (all[i] != 0 && (first_ms == 0 || all[i] < first_ms)) {
            first_ms = all[i];
        }
    }
    return first_ms;
}
