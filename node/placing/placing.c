/* placing: carrying out what placement_core says.
 *
 * Happy path of a chat in a conversation that is not remembered: placing_next() finds no place,
 * begins a search and asks the first choice (SEARCHING); on_question() asks on until one says yes;
 * on_found(); placing_next() says SEND. Of the next request with that id it is remembered. Any
 * other request asks by itself: SEND to the first choice, placing_answered() says ASK_ON, and
 * placing_next() names the next one. */
#include "placing/placing.h"

#include <assert.h>

#include "base/buffer.h"

enum {
    LOOK_OTHERS_MS = 10,   /* somebody else is searching: a question takes milliseconds */
    BRIEFLY_MS = 1000,     /* and longer only if that one has to wait, too */
    LOOK_PLACE_MS = 200,   /* a container that restarts is away for seconds */
    LOOK_SEARCH_MS = 1000, /* who could not be asked is asked again, by a request of its own */
};

void placing_init(struct placing *p, struct placing_desk *desk, const struct placement_route *route,
                  void (*on_found)(void *owner), void *owner)
{
    memset(p, 0, offsetof(struct placing, text));
    p->desk = desk;
    p->route = route;
    p->on_found = on_found;
    p->owner = owner;
}

void placing_name(struct placing *p, const struct snapshot *snapshot,
                  const struct snapshot_application *app, enum placement_kind kind,
                  struct bytes text, bool file_of_body)
{
    if (p->kind != PLACEMENT_NO_ID || text.size == 0 || text.size > PLACEMENT_ID_MAX) {
        return;
    }
    p->id = placements_id(p->desk->placements, &snapshot->file_keys, app->of_ids, kind, text);
    if (p->id != 0) {
        placement_memory_fetch(p->desk->placements->memory, p->id);
        placement_id_copy(p->text, text);
        p->text_size = text.size;
        p->kind = kind;
        p->only_remembered = file_of_body;
    }
}

/* It has been found there, and used thereby, as this request began. */
static bool is_known(const struct placing *p, const struct placing_id *id,
                     const struct instance_live *live)
{
    return p->known_place != PLACEMENT_NOWHERE && p->known_place == live->place &&
           p->kind == id->kind && bytes_equal(id->text, (struct bytes){p->text, p->text_size});
}

void placing_remember(const struct placing *p, const struct snapshot *snapshot,
                      const struct snapshot_application *app, const struct placing_id *id,
                      const struct instance_live *live)
{
    if (is_known(p, id, live)) {
        return;
    }
    uint64_t number =
        placements_id(p->desk->placements, &snapshot->file_keys, app->of_ids, id->kind, id->text);
    if (number != 0 && live->place != PLACEMENT_NOWHERE) {
        placement_memory_set(p->desk->placements->memory, number, live->place);
    }
}

void placing_tell_upload(const struct placing *p, const struct snapshot *snapshot,
                         const struct snapshot_application *app, struct bytes text,
                         const struct instance_live *live)
{
    struct uploads_waiting *uploads = &p->desk->placements->uploads;
    if (uploads_are_told(uploads) && snapshot->file_keys.count > 0) {
        uint64_t file = placement_id(snapshot->file_keys.at[0], app->of_ids, PLACEMENT_FILE, text);
        uploads_add(uploads, (struct upload){.file = file, .place = live->place});
    }
}

void placing_forget(struct placing *p)
{
    p->known_place = PLACEMENT_NOWHERE;
    placement_memory_forget(p->desk->placements->memory, p->id);
}

static struct bytes text_of(const struct placing *p)
{
    return (struct bytes){p->text, p->text_size};
}

static uint64_t now_ms(const struct placing *p)
{
    return net_now_ms(p->desk->errands.net);
}

/* ---- instances in order ---- */

enum placement_standing placing_standing(const struct snapshot_instance *instance)
{
    return (enum placement_standing)atomic_load_explicit(&instance->live->standing,
                                                         memory_order_relaxed);
}

struct wanted {
    const struct snapshot_application *app;
    bool only_eligible;
    bool taken[PLACEMENT_INSTANCES_MAX];
};

static bool is_wanted(void *arg, size_t index)
{
    const struct wanted *w = arg;
    return !w->taken[index] &&
           (!w->only_eligible || placing_standing(&w->app->instances[index]) == PLACEMENT_ELIGIBLE);
}

/* The next one: as the ring has them, without a key as the file does. -1: none. */
static int next_wanted(struct wanted *w, const uint64_t *key)
{
    if (key) {
        return ring_lookup(w->app->ring, *key, is_wanted, w);
    }
    for (size_t i = 0; i < w->app->instance_count; i++) {
        if (is_wanted(w, i)) {
            return (int)i;
        }
    }
    return -1;
}

int placing_order(const struct placing_terms *terms, int most,
                  uint8_t ret_order[PLACEMENT_INSTANCES_MAX])
{
    struct wanted w = {.app = terms->app, .only_eligible = true};
    int count = 0;
    while (count < most) {
        int index = next_wanted(&w, terms->key);
        if (index >= 0) {
            w.taken[index] = true;
            ret_order[count++] = (uint8_t)index;
        } else if (w.only_eligible) {
            w.only_eligible = false;
        } else {
            break;
        }
    }
    return count;
}

static void look_how_they_stand(struct placing *p)
{
    for (int i = 0; i < p->core.count; i++) {
        p->core.standing[i] = (uint8_t)placing_standing(&p->terms.app->instances[p->order[i]]);
    }
}

/* The instance of a place that is remembered; -1: it is not, or of one that has left. */
static int index_of_place(const struct snapshot_application *app, uint16_t place)
{
    for (size_t i = 0; place != PLACEMENT_NOWHERE && i < app->instance_count; i++) {
        if (app->instances[i].live->place == place) {
            return (int)i;
        }
    }
    return -1;
}

/* ---- questions ---- */

static void append_escaped(struct buffer *b, struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            buffer_append(b, text.at + i, 1);
        } else {
            buffer_append_format(b, "%%%02X", c);
        }
    }
}

static void write_question(struct placing *p, const struct snapshot_instance *instance,
                           struct buffer *to)
{
    buffer_append_text(to, "GET /v1/messages?conversation_id=");
    append_escaped(to, text_of(p));
    if (p->terms.user.size > 0) {
        buffer_append_text(to, "&user=");
        append_escaped(to, p->terms.user);
    }
    buffer_append_text(to, "&limit=1 HTTP/1.1\r\nHost: ");
    buffer_append_bytes(to, instance->host);
    buffer_append_text(to, "\r\nAuthorization: ");
    buffer_append_bytes(to, instance->authorization);
    buffer_append_format(to, "\r\nX-Request-ID: %016llx%016llx\r\nAccept: application/json\r\n\r\n",
                         (unsigned long long)prng_next(p->desk->prng),
                         (unsigned long long)prng_next(p->desk->prng));
}

static void on_question(void *owner, uint16_t status);

static void ask(struct placing *p, size_t index)
{
    struct snapshot_instance *instance = &p->terms.app->instances[index];
    struct buffer text = {0};
    write_question(p, instance, &text);
    struct errand_options options = {
        .snapshot = p->terms.snapshot,
        .instance = instance,
        .text = buffer_bytes(&text),
        .timeout_ms = p->terms.app->question_ms,
        .on_done = on_question,
        .owner = p,
    };
    p->question = errand_start(&p->desk->errands, &options);
    buffer_done(&text);
}

static void on_question(void *owner, uint16_t status)
{
    struct placing *p = owner;
    struct placement_answer answer = {.status = status};
    struct placement_input in = {.kind = PLACEMENT_ANSWERED,
                                 .verdict = placement_judge_question(&answer)};
    p->question = NULL;
    p->next = placement_core_step(&p->core, &in);
    if (p->next & PLACEMENT_DO_QUESTION) {
        p->next = 0;
        ask(p, p->order[p->core.at]);
    } else {
        p->on_found(p->owner);
    }
}

static void end_search(struct placing *p, bool absent)
{
    if (p->searching) {
        p->searching = false;
        placements_end(p->desk->placements, p->search_key, absent, now_ms(p));
    }
}

void placing_leave(struct placing *p)
{
    if (p->question) {
        errand_cancel(p->question);
        p->question = NULL;
    }
}

/* ---- waiting for one to come back ---- */

static struct placing_step only(enum placing_what what)
{
    return (struct placing_step){.what = what};
}

static struct placing_step wait_for(size_t index, uint64_t look_ms)
{
    return (struct placing_step){.what = PLACING_WAIT, .index = index, .look_ms = look_ms};
}

static uint64_t hold_ms_of(const struct placing *p, size_t index)
{
    return atomic_load_explicit(&p->terms.app->instances[index].live->hold_ms,
                                memory_order_relaxed);
}

/* For those that have not said yet whether they have it; one that is drained with `hold` lets
 * wait for longest, and how it stands is known here. */
static struct placing_step wait_for_answers(const struct placing *p, size_t index, uint64_t look_ms)
{
    uint64_t longest_ms = 0;
    bool others = false;
    for (int i = 0; i < p->core.count; i++) {
        uint8_t said = p->core.said[i];
        uint64_t hold_ms = hold_ms_of(p, p->order[i]);
        if (said != PLACEMENT_NOT_SAID && said != PLACEMENT_UNASKED) {
            continue;
        }
        others = others || hold_ms == 0;
        index = hold_ms > longest_ms ? p->order[i] : index;
        longest_ms = hold_ms > longest_ms ? hold_ms : longest_ms;
    }
    bool look_sooner = longest_ms > 0 && (!others || look_ms < LOOK_PLACE_MS);
    return wait_for(index, look_sooner ? LOOK_PLACE_MS : look_ms);
}

/* ---- where to ---- */

/* A chat would be answered with 200 and silence by a Dify of 1.13; of other routes the first choice
 * says it in its own words. */
static struct placing_step nobody_has_it(struct placing *p)
{
    p->placed = PLACEMENT_LOST;
    p->given_up = p->route->manner != PLACEMENT_ASK && p->core.manner == PLACEMENT_ASK;
    return only(p->given_up ? PLACING_FREE : PLACING_NOT_FOUND);
}

/* Memory and searches follow what the core has found out. */
static void note(struct placing *p, uint32_t what)
{
    if (what & PLACEMENT_DO_FORGET) {
        placing_forget(p);
    }
    if (what & PLACEMENT_DO_REMEMBER) {
        const struct snapshot_instance *at = &p->terms.app->instances[p->order[p->core.at]];
        const struct placing_id id = {p->kind, text_of(p)};
        placing_remember(p, p->terms.snapshot, p->terms.app, &id, at->live);
    }
    if (p->core.phase == PLACEMENT_SENT || p->core.phase == PLACEMENT_OVER) {
        end_search(p, (what & PLACEMENT_DO_ABSENT) != 0);
    }
}

static struct placing_step send_to(struct placing *p, size_t index)
{
    bool asks = p->core.phase == PLACEMENT_ASKING;
    p->sent = false;
    if (!asks) {
        p->placed = p->core.at == 0                    ? PLACEMENT_HOME
                    : p->core.at == p->core.remembered ? PLACEMENT_REMEMBERED
                                                       : PLACEMENT_FOUND;
    }
    return (struct placing_step){.what = PLACING_SEND, .index = index, .asks = asks};
}

/* What the core has said. */
static struct placing_step carry_out(struct placing *p, uint32_t what)
{
    size_t index = p->core.at >= 0 ? p->order[p->core.at] : p->order[0];
    p->next = 0;
    note(p, what);
    if (what & PLACEMENT_DO_QUESTION) {
        uint64_t each_ms = p->terms.app->question_ms + p->terms.snapshot->timeouts.connect_ms;
        ask(p, index);
        return (struct placing_step){.what = PLACING_SEARCHING,
                                     .search_ms = (uint64_t)p->core.count * each_ms + 1000};
    }
    if (what & PLACEMENT_DO_WAIT) {
        return p->core.phase == PLACEMENT_WAIT_PLACE ? wait_for(index, LOOK_PLACE_MS)
                                                     : wait_for_answers(p, index, LOOK_SEARCH_MS);
    }
    if (what & PLACEMENT_DO_SEND) {
        return send_to(p, index);
    }
    if (what & PLACEMENT_DO_NOT_FOUND) {
        return nobody_has_it(p);
    }
    p->placed = PLACEMENT_LOST;
    if (what & PLACEMENT_DO_PASS_KEPT) {
        return (struct placing_step){.what = PLACING_KEPT, .index = p->order[p->core.kept]};
    }
    return only(PLACING_LOST);
}

static struct placing_step begin(struct placing *p)
{
    p->begun = true;
    look_how_they_stand(p);
    return carry_out(
        p, placement_core_step(&p->core, &(struct placement_input){.kind = PLACEMENT_BEGIN}));
}

/* It is known where the id lives. For a chat only two instances matter: that one, and the first
 * choice; where the request asks by itself, all may be asked should it have gone. */
static struct placing_step begin_remembered(struct placing *p, int index)
{
    bool all = p->core.manner == PLACEMENT_TRY;
    int count = placing_order(&p->terms, all ? PLACEMENT_INSTANCES_MAX : 1, p->order), at = 0;
    while (at < count && p->order[at] != index) {
        at++;
    }
    if (at == count) {
        p->order[count++] = (uint8_t)index;
    }
    p->core.count = count;
    p->core.remembered = at;
    return begin(p);
}

/* Who searches has no place in a queue either, until it has to wait. */
static struct placing_step wait_for_others(struct placing *p)
{
    struct placing_step step = wait_for_answers(p, p->order[0], LOOK_OTHERS_MS);
    p->others_until_ms = p->others_until_ms ? p->others_until_ms : now_ms(p) + BRIEFLY_MS;
    step.briefly = now_ms(p) < p->others_until_ms;
    return step;
}

/* Nobody knows: somebody is to ask. */
static struct placing_step search(struct placing *p)
{
    const struct snapshot_application *app = p->terms.app;
    struct placements *placements = p->desk->placements;
    uint64_t longest_ms =
        app->queue_timeout_ms + app->question_ms +
        app->instance_count * (app->question_ms + p->terms.snapshot->timeouts.connect_ms);
    p->core.count = placing_order(&p->terms, PLACEMENT_INSTANCES_MAX, p->order);
    p->search_key = placements_key(placements, p->id, p->terms.user);
    switch (placements_begin(placements, p->search_key, now_ms(p), longest_ms)) {
    case PLACEMENTS_OTHERS:
        return wait_for_others(p);
    case PLACEMENTS_NOBODYS:
        if (p->core.manner == PLACEMENT_ASK) {
            return nobody_has_it(p);
        }
        p->core.absent = true; /* the first choice says it once more */
        break;
    case PLACEMENTS_YOURS:
        p->searching = true;
        break;
    }
    return begin(p);
}

/* The request comes back from a wait, a queue, or an instance that could not be reached. */
static struct placing_step go_on(struct placing *p)
{
    struct placement_input in = {.kind = PLACEMENT_CHANGED};
    if (p->next != 0) {
        return carry_out(p, p->next);
    }
    look_how_they_stand(p);
    if (p->core.phase == PLACEMENT_SENT && !p->sent) {
        bool takes = p->core.standing[p->core.at] < PLACEMENT_AWAY;
        size_t index = p->order[p->core.at];
        return takes ? send_to(p, index) : wait_for(index, LOOK_PLACE_MS);
    }
    if (p->core.phase == PLACEMENT_SENT || p->core.phase == PLACEMENT_ASKING) {
        in = (struct placement_input){.kind = PLACEMENT_ANSWERED, .verdict = PLACEMENT_UNASKED};
    }
    uint32_t what = placement_core_step(&p->core, &in);
    return carry_out(p, what ? what : PLACEMENT_DO_WAIT);
}

struct placing_step placing_next(struct placing *p, const struct placing_terms *terms)
{
    p->terms = *terms;
    if (terms->key) {
        p->key = *terms->key;
        p->terms.key = &p->key;
    }
    if (p->kind == PLACEMENT_NO_ID || p->given_up) {
        return only(PLACING_FREE);
    }
    if (p->begun) {
        return go_on(p);
    }
    bool asks = p->kind == PLACEMENT_CONVERSATION;
    uint16_t place = placement_memory_find(p->desk->placements->memory, p->id);
    int index = index_of_place(terms->app, place);
    p->known_place = place;
    placement_core_init(&p->core, asks ? PLACEMENT_ASK : PLACEMENT_TRY);
    if (index >= 0) {
        return begin_remembered(p, index);
    }
    return p->only_remembered ? only(PLACING_FREE) : search(p);
}

void placing_sent(struct placing *p)
{
    p->sent = true;
}

struct placing_step placing_missed(struct placing *p, size_t index)
{
    return p->core.phase == PLACEMENT_SENT ? wait_for(index, LOOK_PLACE_MS) : go_on(p);
}

void placing_again(struct placing *p)
{
    assert(!p->question);
    end_search(p, false);
    p->begun = p->sent = false;
    p->next = 0;
}

bool placing_judges(const struct placing *p)
{
    return p->begun && p->core.manner == PLACEMENT_TRY && !p->only_remembered &&
           (p->core.phase == PLACEMENT_ASKING || p->core.phase == PLACEMENT_SENT);
}

enum placing_answer placing_answered(struct placing *p, uint16_t status, bool code_not_found,
                                     bool check_passed)
{
    struct placement_answer answer = {.status = status,
                                      .code_not_found = code_not_found,
                                      .delivered = true,
                                      .check_passed = check_passed};
    bool place = p->core.phase == PLACEMENT_SENT;
    enum placement_verdict verdict = place ? placement_judge_place(p->route, p->terms.safe, &answer)
                                           : placement_judge(p->route, p->terms.safe, &answer);
    assert(placing_judges(p));
    look_how_they_stand(p);
    uint32_t what = placement_core_step(
        &p->core, &(struct placement_input){.kind = PLACEMENT_ANSWERED, .verdict = verdict});
    bool its_own = (what & PLACEMENT_DO_KEEP) && (what & PLACEMENT_DO_PASS_KEPT);
    note(p, what);
    if (p->core.phase == PLACEMENT_OVER) {
        p->placed = p->core.placed;
    }
    if ((what & PLACEMENT_DO_PASS) || its_own) {
        return PLACING_PASS_ON;
    }
    p->next = what & ~(uint32_t)(PLACEMENT_DO_KEEP | PLACEMENT_DO_FORGET | PLACEMENT_DO_REMEMBER);
    return what & PLACEMENT_DO_KEEP ? PLACING_KEEP_AND_ASK_ON : PLACING_ASK_ON;
}

void placing_done(struct placing *p)
{
    placing_leave(p);
    end_search(p, false);
}

static int first_eligible(const struct snapshot_application *app)
{
    for (size_t i = 0; i < app->instance_count; i++) {
        if (placing_standing(&app->instances[i]) == PLACEMENT_ELIGIBLE) {
            return (int)i;
        }
    }
    return -1;
}

enum placement_placed placing_explain(const struct placements *placements,
                                      const struct snapshot *snapshot,
                                      const struct snapshot_application *app,
                                      const struct placing_question *question, int *instance)
{
    struct bytes text;
    char of_query[PLACEMENT_ID_MAX];
    const struct placement_route *route =
        placement_route_of(question->method, question->path, &text);
    enum placement_kind kind = route->in_path;
    if (route->manner == PLACEMENT_PINNED) {
        int pinned = first_eligible(app);
        *instance = pinned >= 0 ? pinned : *instance;
    }
    if (kind == PLACEMENT_NO_ID) {
        kind = route->in_query;
        text = placement_query_id(route, question->query, of_query);
    }
    if (kind == PLACEMENT_NO_ID || text.size == 0 || route->manner == PLACEMENT_EVERYWHERE) {
        return PLACEMENT_PLACED_NULL;
    }
    uint64_t id = placements_id(placements, &snapshot->file_keys, app->of_ids, kind, text);
    int index = index_of_place(app, placement_memory_peek(placements->memory, id));
    if (index < 0) {
        return PLACEMENT_PLACED_NULL;
    }
    bool home = index == *instance;
    *instance = index;
    return home ? PLACEMENT_HOME : PLACEMENT_REMEMBERED;
}
