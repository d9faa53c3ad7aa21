/* placement_core: the rules of placement.
 *
 * Happy path of a chat whose conversation is not remembered and lives at the second instance: BEGIN
 * -> QUESTION 0; ANSWERED no -> QUESTION 1; ANSWERED yes -> REMEMBER, SEND 1; ANSWERED -> PASS. */
#include "placement/placement_core.h"

#include <assert.h>

void placement_core_init(struct placement_core *c, enum placement_manner manner)
{
    assert(manner == PLACEMENT_ASK || manner == PLACEMENT_TRY || manner == PLACEMENT_EVERYWHERE);
    memset(c, 0, sizeof(*c));
    c->manner = manner;
    c->remembered = c->kept = c->at = -1;
}

const char *placement_placed_word(enum placement_placed placed)
{
    switch (placed) {
    case PLACEMENT_PLACED_NULL:
        break;
    case PLACEMENT_HOME:
        return "home";
    case PLACEMENT_REMEMBERED:
        return "remembered";
    case PLACEMENT_FOUND:
        return "found";
    case PLACEMENT_LOST:
        return "lost";
    }
    return NULL;
}

/* ---- what an answer means ---- */

enum placement_verdict placement_judge_question(const struct placement_answer *answer)
{
    if (answer->status == 200) {
        return PLACEMENT_YES;
    }
    return answer->status == 404   ? PLACEMENT_NO
           : answer->status == 400 ? PLACEMENT_MALFORMED
                                   : PLACEMENT_UNASKED;
}

enum placement_verdict placement_judge(const struct placement_route *route, bool safe,
                                       const struct placement_answer *answer)
{
    uint16_t status = answer->status;
    if (status == 0) {
        return safe || !answer->delivered ? PLACEMENT_UNASKED : PLACEMENT_PASSES;
    }
    if (status == 404 && answer->code_not_found) {
        return PLACEMENT_NO;
    }
    if (status == 401 || status == 403) {
        return PLACEMENT_UNASKED;
    }
    if (status == 500 && safe && route->run_of_500 && answer->check_passed) {
        return PLACEMENT_NO_BY_500;
    }
    if (status >= 500) {
        return safe ? PLACEMENT_UNASKED : PLACEMENT_PASSES;
    }
    return status >= 200 && status < 300 ? PLACEMENT_YES : PLACEMENT_PASSES;
}

enum placement_verdict placement_judge_place(const struct placement_route *route, bool safe,
                                             const struct placement_answer *answer)
{
    enum placement_verdict verdict = placement_judge(route, safe, answer);
    bool answered = verdict == PLACEMENT_UNASKED && answer->status != 0;
    return answered ? PLACEMENT_PASSES : verdict;
}

static void on_code(void *arg, unsigned path, struct bytes value)
{
    struct bytes tail = BYTES("not_found");
    (void)path;
    *(bool *)arg = value.size >= tail.size &&
                   memcmp(value.at + value.size - tail.size, tail.at, tail.size) == 0;
}

bool placement_says_not_found(struct bytes body)
{
    static const struct json_step code[] = {JSON_STEP("", 1, 0), JSON_STEP("code", 0, 0)};
    struct json_paths scan;
    bool found = false;
    json_paths_begin(&scan, code, on_code, &found);
    return json_paths_feed(&scan, body) != JSON_PATHS_BROKEN && found;
}

/* ---- where to go ---- */

/* Where a phase may lead, as bits. */
#define TO(phase) (1u << PLACEMENT_##phase)
static const uint8_t MOVES[] = {
    [PLACEMENT_START] =
        TO(ASKING) | TO(SENT) | TO(WAIT_SEARCH) | TO(WAIT_PLACE) | TO(STOPPING) | TO(OVER),
    [PLACEMENT_ASKING] = TO(SENT) | TO(WAIT_PLACE) | TO(WAIT_SEARCH) | TO(OVER),
    [PLACEMENT_SENT] = TO(ASKING) | TO(WAIT_PLACE) | TO(WAIT_SEARCH) | TO(OVER),
    [PLACEMENT_WAIT_SEARCH] = TO(ASKING) | TO(OVER),
    [PLACEMENT_WAIT_PLACE] = TO(SENT) | TO(OVER),
    [PLACEMENT_STOPPING] = TO(OVER),
    [PLACEMENT_OVER] = 0,
};

static void enter(struct placement_core *c, enum placement_phase phase)
{
    assert(MOVES[c->phase] >> phase & 1);
    c->phase = phase;
}

static uint32_t end(struct placement_core *c, uint32_t what, enum placement_placed placed)
{
    enter(c, PLACEMENT_OVER);
    c->placed = placed;
    return what;
}

static bool is_no(uint8_t said)
{
    return said == PLACEMENT_NO || said == PLACEMENT_NO_BY_500 || said == PLACEMENT_MALFORMED;
}

/* Where it is, as the log says it. */
static enum placement_placed placed_at(const struct placement_core *c)
{
    if (c->at == 0) {
        return PLACEMENT_HOME;
    }
    return c->at == c->remembered ? PLACEMENT_REMEMBERED : PLACEMENT_FOUND;
}

/* May anything but a stop go there? */
static bool takes_requests(const struct placement_core *c, int at)
{
    return c->standing[at] < PLACEMENT_AWAY;
}

/* To where it belongs, or until that can be reached. */
static uint32_t send_home(struct placement_core *c, int at)
{
    c->at = at;
    if (!takes_requests(c, at)) {
        enter(c, PLACEMENT_WAIT_PLACE);
        return PLACEMENT_DO_WAIT;
    }
    enter(c, PLACEMENT_SENT);
    return PLACEMENT_DO_SEND;
}

/* The next one to be asked in this round; -1: none. */
static int next_to_ask(const struct placement_core *c)
{
    for (int standing = PLACEMENT_ELIGIBLE; standing < PLACEMENT_AWAY; standing++) {
        for (int i = 0; i < c->count; i++) {
            if (c->standing[i] == standing && c->said[i] == PLACEMENT_NOT_SAID) {
                return i;
            }
        }
    }
    return -1;
}

static bool all_said(const struct placement_core *c, enum placement_verdict verdict)
{
    for (int i = 0; i < c->count; i++) {
        if (c->said[i] != verdict) {
            return false;
        }
    }
    return true;
}

static bool all_said_no(const struct placement_core *c)
{
    for (int i = 0; i < c->count; i++) {
        if (!is_no(c->said[i])) {
            return false;
        }
    }
    return true;
}

/* Everybody has said no. */
static uint32_t nobody_has_it(struct placement_core *c)
{
    if (c->manner == PLACEMENT_ASK && all_said(c, PLACEMENT_MALFORMED)) {
        return send_home(c, 0);
    }
    if (c->kept >= 0) {
        return end(c, PLACEMENT_DO_ABSENT | PLACEMENT_DO_PASS_KEPT, PLACEMENT_LOST);
    }
    return end(c, PLACEMENT_DO_ABSENT | PLACEMENT_DO_NOT_FOUND, PLACEMENT_LOST);
}

/* The next question, or what all that was said comes to. */
static uint32_t ask_on(struct placement_core *c)
{
    int next = next_to_ask(c);
    if (next >= 0) {
        c->at = next;
        if (c->phase != PLACEMENT_ASKING) {
            enter(c, PLACEMENT_ASKING);
        }
        return c->manner == PLACEMENT_ASK ? PLACEMENT_DO_QUESTION : PLACEMENT_DO_SEND;
    }
    if (all_said_no(c)) {
        return nobody_has_it(c);
    }
    if (c->phase == PLACEMENT_WAIT_SEARCH) {
        return 0; /* nothing has changed for this one */
    }
    enter(c, PLACEMENT_WAIT_SEARCH);
    return PLACEMENT_DO_WAIT;
}

/* ---- stops ---- */

/* Whose answer the client is to get: the first in order that has given one, or still may. -1:
 * nobody. */
static int leader(const struct placement_core *c)
{
    for (int i = 0; i < c->count; i++) {
        if (c->said[i] != PLACEMENT_UNASKED) {
            return i;
        }
    }
    return -1;
}

static uint32_t stop_all(struct placement_core *c)
{
    for (int i = 0; i < c->count; i++) {
        bool away = c->standing[i] == PLACEMENT_AWAY;
        c->said[i] = away ? PLACEMENT_UNASKED : PLACEMENT_NOT_SAID;
    }
    if (leader(c) < 0) {
        return end(c, PLACEMENT_DO_LOST, PLACEMENT_LOST);
    }
    enter(c, PLACEMENT_STOPPING);
    return PLACEMENT_DO_SEND_ALL;
}

static uint32_t stop_answered(struct placement_core *c, const struct placement_input *in)
{
    assert(in->at >= 0 && in->at < c->count && c->said[in->at] == PLACEMENT_NOT_SAID);
    c->said[in->at] = in->verdict == PLACEMENT_UNASKED ? PLACEMENT_UNASKED : PLACEMENT_PASSES;
    int first = leader(c);
    if (first < 0) {
        return end(c, PLACEMENT_DO_LOST, PLACEMENT_LOST);
    }
    if (c->said[first] == PLACEMENT_PASSES) {
        c->at = first;
        uint32_t pass = first == in->at ? PLACEMENT_DO_PASS : PLACEMENT_DO_PASS_KEPT;
        return end(c, pass, placed_at(c));
    }
    bool better = c->said[in->at] == PLACEMENT_PASSES && (c->kept < 0 || in->at < c->kept);
    if (better) {
        c->kept = in->at;
    }
    return better ? PLACEMENT_DO_KEEP : 0;
}

/* ---- inputs ---- */

static uint32_t begin(struct placement_core *c)
{
    assert(c->count > 0 && c->count <= PLACEMENT_INSTANCES_MAX && c->remembered < c->count);
    if (c->manner == PLACEMENT_EVERYWHERE) {
        return stop_all(c);
    }
    if (c->remembered >= 0) {
        return send_home(c, c->remembered);
    }
    if (c->absent && c->manner == PLACEMENT_ASK) {
        return end(c, PLACEMENT_DO_NOT_FOUND, PLACEMENT_LOST);
    }
    return ask_on(c);
}

/* Of the 404s the first choice's is the client's, else the one that came first. */
static uint32_t keep(struct placement_core *c)
{
    if (c->said[c->at] != PLACEMENT_NO || (c->kept >= 0 && c->at != 0)) {
        return 0;
    }
    c->kept = c->at;
    return PLACEMENT_DO_KEEP;
}

static uint32_t said_no(struct placement_core *c)
{
    if (c->manner == PLACEMENT_ASK) {
        return ask_on(c);
    }
    if (c->absent) { /* it was known before; the first choice has said it once more */
        bool by_500 = c->said[c->at] == PLACEMENT_NO_BY_500; /* no answer for a client */
        return end(c, by_500 ? PLACEMENT_DO_NOT_FOUND : PLACEMENT_DO_PASS, PLACEMENT_LOST);
    }
    uint32_t what = keep(c);
    return what | ask_on(c);
}

static uint32_t asked(struct placement_core *c, enum placement_verdict verdict)
{
    c->said[c->at] = (uint8_t)verdict;
    if (is_no((uint8_t)verdict)) {
        return said_no(c);
    }
    if (verdict == PLACEMENT_UNASKED) {
        return ask_on(c);
    }
    uint32_t what = verdict == PLACEMENT_YES ? PLACEMENT_DO_REMEMBER : 0;
    if (c->manner == PLACEMENT_ASK) {
        return what | send_home(c, c->at);
    }
    return end(c, what | PLACEMENT_DO_PASS, placed_at(c));
}

/* The one where it belongs has answered, or could not be reached after all. */
static uint32_t place_answered(struct placement_core *c, enum placement_verdict verdict)
{
    if (verdict == PLACEMENT_UNASKED) {
        enter(c, PLACEMENT_WAIT_PLACE);
        return PLACEMENT_DO_WAIT;
    }
    if (!is_no((uint8_t)verdict) || c->at != c->remembered) {
        return end(c, PLACEMENT_DO_PASS, placed_at(c));
    }
    if (c->manner == PLACEMENT_ASK) {
        return end(c, PLACEMENT_DO_FORGET | PLACEMENT_DO_PASS, placed_at(c));
    }
    c->said[c->at] = (uint8_t)verdict; /* deleted, or restored from a backup: somebody else may */
    uint32_t what = PLACEMENT_DO_FORGET | keep(c);
    c->remembered = -1;
    return what | ask_on(c);
}

static uint32_t answered(struct placement_core *c, const struct placement_input *in)
{
    if (c->phase == PLACEMENT_STOPPING) {
        return stop_answered(c, in);
    }
    if (c->phase == PLACEMENT_SENT) {
        return place_answered(c, in->verdict);
    }
    assert(c->phase == PLACEMENT_ASKING && in->verdict != PLACEMENT_NOT_SAID);
    return asked(c, in->verdict);
}

/* A new round: of those that could not be asked. */
static uint32_t changed(struct placement_core *c)
{
    if (c->phase == PLACEMENT_WAIT_PLACE) {
        if (!takes_requests(c, c->at)) {
            return 0;
        }
        return send_home(c, c->at);
    }
    assert(c->phase == PLACEMENT_WAIT_SEARCH);
    for (int i = 0; i < c->count; i++) {
        c->said[i] = c->said[i] == PLACEMENT_UNASKED ? PLACEMENT_NOT_SAID : c->said[i];
    }
    return ask_on(c);
}

uint32_t placement_core_step(struct placement_core *c, const struct placement_input *in)
{
    assert(c->phase != PLACEMENT_OVER);
    switch (in->kind) {
    case PLACEMENT_BEGIN:
        assert(c->phase == PLACEMENT_START);
        return begin(c);
    case PLACEMENT_ANSWERED:
        return answered(c, in);
    case PLACEMENT_CHANGED:
        return changed(c);
    case PLACEMENT_GIVE_UP:
        assert(c->phase == PLACEMENT_WAIT_SEARCH || c->phase == PLACEMENT_WAIT_PLACE);
        return end(c, PLACEMENT_DO_LOST, PLACEMENT_LOST);
    }
    return 0;
}
