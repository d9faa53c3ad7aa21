/* rota: choosing whom to ask, and deciding what a round means.
 *
 * A usual round: rota_next() gives the entry whose turn it is, its answer is PASSED, nobody is
 * pressing, so rota_next() gives no more; rota_end() finds the container FINE, and the check counts
 * for the entry and for all others whose token is PROVED. rota_answer() only notes what an answer
 * says of the container; decide_entry() says what follows for each entry. */
#include "health/rota.h"

#include <assert.h>

void rota_entry_init(struct rota_entry *e, uint32_t rise, uint32_t fall)
{
    *e = (struct rota_entry){.token = ROTA_UNPROVED};
    active_init(&e->active, rise, fall);
}

void rota_entry_new_token(struct rota_entry *e, bool bare)
{
    e->bare = bare;
    e->wanted = e->token != ROTA_UNPROVED; /* else it has its first turn to come anyway */
    if (e->token == ROTA_PROVED) {
        e->token = ROTA_UNPROVED;
    }
}

void rota_set(struct rota *r, struct rota_entry **entries, size_t count)
{
    bool in_error = r->in_error;
    *r = (struct rota){.entries = entries,
                       .count = count,
                       .turn = count ? r->turn % count : 0,
                       .in_error = in_error,
                       .all_bare = true,
                       .over = true};
    for (size_t i = 0; i < count; i++) {
        r->all_bare = r->all_bare && entries[i]->bare;
        entries[i]->asked = false;
    }
}

/* Does an answer to it say something of the database? */
static bool has_voice(const struct rota *r, const struct rota_entry *e)
{
    return !e->bare || r->all_bare;
}

static bool is_pressing(const struct rota_entry *e)
{
    return e->token == ROTA_DOUBTED ||
           (e->token == ROTA_UNPROVED && e->active.state == ACTIVE_DOWN);
}

void rota_begin(struct rota *r)
{
    r->asked_count = r->voices = 0;
    r->over = r->count == 0;
    r->any_wanted = r->turn_over = r->errors = r->passed = false;
    r->opinion_wanted = r->opinion_asked = false;
    r->container = ROTA_UNKNOWN;
    for (size_t i = 0; i < r->count; i++) {
        struct rota_entry *e = r->entries[i];
        e->asked = e->changed = false;
        e->outcome = ROTA_NOTHING;
        r->any_wanted = r->any_wanted || e->wanted;
    }
}

/* ---- whom to ask ---- */

static bool is_wanted(const struct rota *r, const struct rota_entry *e)
{
    (void)r;
    return e->wanted && !e->asked;
}

/* While tokens bring errors, an entry without one would only take a turn away. */
static bool may_take_turn(const struct rota *r, const struct rota_entry *e)
{
    return !e->asked && !is_pressing(e) && (!r->in_error || has_voice(r, e));
}

static bool is_pressing_still(const struct rota *r, const struct rota_entry *e)
{
    (void)r;
    return !e->asked && is_pressing(e);
}

static bool gives_opinion(const struct rota *r, const struct rota_entry *e)
{
    return !e->asked && has_voice(r, e) && e->token == ROTA_PROVED;
}

static bool gives_poor_opinion(const struct rota *r, const struct rota_entry *e)
{
    return !e->asked && has_voice(r, e);
}

/* The first that fits from *at on, around; *at moves behind it. */
static struct rota_entry *find(const struct rota *r, size_t *at,
                               bool (*fits)(const struct rota *r, const struct rota_entry *e))
{
    for (size_t i = 0; i < r->count; i++) {
        size_t index = (*at + i) % r->count;
        if (fits(r, r->entries[index])) {
            *at = (index + 1) % r->count;
            return r->entries[index];
        }
    }
    return NULL;
}

static struct rota_entry *find_opinion(struct rota *r)
{
    size_t at = r->turn; /* it is no turn: nobody loses his by it */
    r->opinion_wanted = false;
    r->opinion_asked = true;
    struct rota_entry *e = find(r, &at, gives_opinion);
    return e ? e : find(r, &at, gives_poor_opinion);
}

static struct rota_entry *find_turn(struct rota *r)
{
    struct rota_entry *e = NULL;
    if (r->any_wanted) {
        size_t at = r->turn;
        e = find(r, &at, is_wanted);
    } else if (!r->turn_over) {
        r->turn_over = true;
        e = find(r, &r->turn, may_take_turn);
    }
    return e;
}

struct rota_entry *rota_next(struct rota *r)
{
    struct rota_entry *e = NULL;
    if (r->over || r->asked_count == ROTA_ROUND_MAX) {
        return NULL;
    }
    if (r->opinion_wanted) {
        e = find_opinion(r);
    } else {
        e = find_turn(r);
        e = e ? e : find(r, &r->pressing, is_pressing_still);
    }
    if (!e) {
        r->over = true;
        return NULL;
    }
    e->asked = true;
    e->result = ROTA_VOID;
    r->asked_count++;
    return e;
}

void rota_answer(struct rota *r, struct rota_entry *e, enum rota_result result)
{
    assert(e->asked && !r->over);
    e->result = result;
    switch (result) {
    case ROTA_PASSED:
        r->passed = r->passed || has_voice(r, e);
        r->voices += has_voice(r, e);
        r->container = ROTA_FINE;
        break;
    case ROTA_REFUSED:
        r->voices += has_voice(r, e);
        r->container = ROTA_FINE;
        break;
    case ROTA_ERROR:
        r->errors = true;
        r->opinion_wanted = !r->passed && !r->opinion_asked;
        break;
    case ROTA_LOST:
        r->container = ROTA_BAD;
        r->over = true;
        break;
    case ROTA_BUSY:
        r->container = ROTA_OCCUPIED;
        r->over = true;
        break;
    case ROTA_HUNG:
        r->container = ROTA_HANGING;
        r->over = true;
        break;
    case ROTA_VOID:
        r->over = true;
        break;
    }
    /* the second opinion did not contradict */
    r->over = r->over || (r->errors && r->opinion_asked && !r->passed);
}

/* ---- what it means ---- */

static enum rota_container decide_container(struct rota *r)
{
    if (r->container == ROTA_BAD || r->container == ROTA_OCCUPIED || r->container == ROTA_HANGING) {
        return r->container;
    }
    if (r->errors && !r->passed) {
        r->in_error = true;
        return ROTA_BAD;
    }
    if (r->voices > 0) {
        r->in_error = false;
    }
    return r->in_error ? ROTA_UNKNOWN : r->container;
}

static void succeed(struct rota_entry *e)
{
    e->outcome = ROTA_SUCCESS;
    e->changed = active_success(&e->active);
}

static void fail(struct rota_entry *e)
{
    e->outcome = ROTA_FAILURE;
    e->changed = active_failure(&e->active);
}

/* By what was answered to itself. True if that says something of the entry. */
static bool decide_by_itself(struct rota_entry *e, bool errors_are_its_own)
{
    if (!e->asked) {
        return false;
    }
    if (e->result == ROTA_PASSED) {
        succeed(e);
        if (e->token != ROTA_DOUBTED || e->active.state != ACTIVE_DOWN) {
            e->token = ROTA_PROVED;
        }
        return true;
    }
    if (e->result == ROTA_REFUSED || (e->result == ROTA_ERROR && errors_are_its_own)) {
        fail(e);
        e->token = ROTA_DOUBTED;
        return true;
    }
    return false;
}

static void decide_entry(struct rota_entry *e, enum rota_container container)
{
    switch (container) {
    case ROTA_BAD:
        fail(e);
        if (e->asked && e->result == ROTA_REFUSED) {
            e->token = ROTA_DOUBTED;
        }
        break;
    case ROTA_HANGING:
        e->outcome = ROTA_FAILURE;
        e->changed = active_hung(&e->active);
        break;
    case ROTA_OCCUPIED:
        if (!decide_by_itself(e, false)) {
            e->outcome = ROTA_EXCUSED;
            active_busy(&e->active);
        }
        break;
    case ROTA_FINE:
        if (!decide_by_itself(e, true) && !e->asked && e->token == ROTA_PROVED) {
            succeed(e);
        }
        break;
    case ROTA_UNKNOWN:
        decide_by_itself(e, false);
        break;
    }
}

enum rota_container rota_end(struct rota *r)
{
    enum rota_container container = decide_container(r);
    for (size_t i = 0; i < r->count; i++) {
        struct rota_entry *e = r->entries[i];
        decide_entry(e, container);
        if (e->asked || container == ROTA_BAD || container == ROTA_OCCUPIED ||
            container == ROTA_HANGING) {
            e->wanted = false;
        }
    }
    r->over = true;
    return container;
}
