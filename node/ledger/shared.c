/* shared: every decision starts from all offers, so nothing is remembered of what they were. */
#include "ledger/shared.h"

#include <assert.h>
#include <stdio.h>

void shared_init(struct shared *s, struct sha256 *sha, uint64_t self, uint64_t retry_ms_step)
{
    *s = (struct shared){.sha = sha, .self = self, .retry_ms_step = retry_ms_step};
}

/* A text holds tokens: it does not stay in memory that others get. */
static void forget(struct buffer *text)
{
    if (text->data) {
        explicit_bzero(text->data, text->size);
    }
    buffer_done(text);
}

static void put(struct buffer *to, struct bytes text)
{
    struct buffer fresh = {0};
    buffer_reserve(&fresh, text.size); /* once: growing would leave copies behind */
    buffer_append_bytes(&fresh, text);
    forget(to);
    *to = fresh;
}

void shared_done(struct shared *s)
{
    forget(&s->text);
    forget(&s->base);
    forget(&s->pulled_text);
}

int shared_compare(const struct shared_version *a, const struct shared_version *b)
{
    if (a->revision != b->revision) {
        return a->revision < b->revision ? -1 : 1;
    }
    return memcmp(a->digest, b->digest, SHA256_SIZE);
}

static void set_text(struct shared *s, struct bytes text)
{
    put(&s->text, text);
    sha256_digest(s->sha, &text, 1, s->mine.digest);
}

/* What is in force is the own file's. */
static void base_is_text(struct shared *s)
{
    put(&s->base, buffer_bytes(&s->text));
    memcpy(s->base_digest, s->mine.digest, SHA256_SIZE);
}

static bool file_is_in_force(const struct shared *s)
{
    return memcmp(s->file_digest, s->mine.digest, SHA256_SIZE) == 0;
}

static void set_origin(struct shared_origin *to, const struct shared_origin *from)
{
    *to = from ? *from : (struct shared_origin){0};
}

static void brought_by_start(struct shared *s)
{
    s->origin = s->own_start;
}

/* The text of `mine` is about to be another. */
static void text_is_replaced(struct shared *s)
{
    if (s->mine.revision > 0) {
        lineage_add(&s->lineage, s->mine.revision, s->mine.digest);
    }
}

bool shared_begin(struct shared *s, uint64_t now_ms, const struct shared_start *start)
{
    assert(!s->started);
    s->started = true;
    s->stored_revision = start->stored_revision;
    sha256_digest(s->sha, &start->file, 1, s->file_digest);
    snprintf(s->own_start.node, sizeof(s->own_start.node), "%s", start->node ? start->node : "");
    snprintf(s->own_start.asked, sizeof(s->own_start.asked), "start");
    bool same = start->stored_revision > 0 &&
                memcmp(s->file_digest, start->stored_file_digest, SHA256_SIZE) == 0;
    bool stored = same || (start->stored_revision > 0 && start->takes_back);
    if (start->stored_revision > 0 && !stored) {
        set_text(s, start->stored); /* for its digest */
        lineage_add(&s->lineage, start->stored_revision, s->mine.digest);
    }
    set_text(s, stored ? start->stored : start->file);
    /* It changed while this node was down: should the cluster's win, a reload still brings it. */
    bool has_base = start->stored_base.at && !same;
    put(&s->base, has_base ? start->stored_base : start->file);
    sha256_digest(s->sha, &(struct bytes){s->base.data, s->base.size}, 1, s->base_digest);
    if (stored) {
        s->mine.revision = start->stored_revision;
        set_origin(&s->origin, start->stored_origin);
    } else if (start->final_ms <= now_ms) {
        s->mine.revision = start->stored_revision + 1;
        brought_by_start(s);
    }
    if (s->mine.revision > 0 && file_is_in_force(s)) {
        base_is_text(s);
    }
    s->final_ms = start->final_ms;
    return stored;
}

static void stop_pull(struct shared *s)
{
    s->pull = SHARED_IDLE;
    s->source = s->failed_source = 0;
    forget(&s->pulled_text);
}

void shared_note_file(struct shared *s, struct bytes file)
{
    sha256_digest(s->sha, &file, 1, s->file_digest);
}

uint64_t shared_next_revision(const struct shared *s, const struct shared_offer *offers,
                              size_t count)
{
    uint64_t highest =
        s->mine.revision > s->stored_revision ? s->mine.revision : s->stored_revision;
    /* Those out of reach too: what they have must not win over this when they return. */
    for (size_t i = 0; i < count; i++) {
        uint64_t revision = offers[i].version.revision;
        highest = revision > highest ? revision : highest;
    }
    /* Others that start with this node may bring their own files as the next revision, before they
     * hear of this one: what somebody asked for is above that. */
    bool first = s->mine.revision == 0 && highest == s->stored_revision;
    return highest + (first ? 2 : 1);
}

void shared_reload(struct shared *s, struct bytes file, bool forced,
                   const struct shared_origin *origin, const struct shared_offer *offers,
                   size_t count)
{
    assert(s->started);
    uint64_t revision = shared_next_revision(s, offers, count);
    shared_note_file(s, file);
    if (forced || memcmp(s->file_digest, s->base_digest, SHA256_SIZE) != 0) {
        if (!file_is_in_force(s)) {
            text_is_replaced(s);
        }
        put(&s->text, file); /* megabytes are hashed once */
        memcpy(s->mine.digest, s->file_digest, SHA256_SIZE);
    }
    s->mine.revision = revision;
    if (file_is_in_force(s)) {
        base_is_text(s);
    }
    set_origin(&s->origin, origin);
    s->any_refused = false;
    stop_pull(s);
}

/* ---- deciding ---- */

/* The best that can be had. */
static const struct shared_offer *best_offer(const struct shared_offer *offers, size_t count)
{
    const struct shared_offer *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (offers[i].reachable && offers[i].version.revision > 0 &&
            (!best || shared_compare(&offers[i].version, &best->version) > 0)) {
            best = &offers[i];
        }
    }
    return best;
}

static bool has_text(const struct shared_offer *o, const uint8_t digest[SHA256_SIZE])
{
    return o->reachable && o->version.revision > 0 &&
           memcmp(o->version.digest, digest, SHA256_SIZE) == 0;
}

/* Among those that have the text: the nearest by XOR of ids, so that many who want it do not all
 * ask the same one. The one that failed last only if there is no other. 0: nobody. */
static uint64_t pick_source(const struct shared *s, uint64_t now_ms,
                            const struct shared_offer *offers, size_t count)
{
    uint64_t best = 0;
    bool failed_has_it = false;
    for (size_t i = 0; i < count; i++) {
        if (!has_text(&offers[i], s->pulled.digest)) {
            continue;
        }
        uint64_t member = offers[i].member;
        if (member == s->failed_source) {
            failed_has_it = true;
        } else if (best == 0 || (member ^ s->self) < (best ^ s->self)) {
            best = member;
        }
    }
    if (best == 0 && failed_has_it && now_ms >= s->retry_ms) {
        best = s->failed_source;
    }
    return best;
}

static bool source_still_has_it(const struct shared *s, const struct shared_offer *offers,
                                size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (offers[i].member == s->source) {
            return has_text(&offers[i], s->pulled.digest);
        }
    }
    return false;
}

static enum shared_step fetch(struct shared *s, uint64_t now_ms, const struct shared_offer *offers,
                              size_t count)
{
    s->pull = SHARED_FETCHING;
    s->source = pick_source(s, now_ms, offers, count);
    s->give_up_ms = now_ms + SHARED_FETCH_MS;
    return s->source != 0 ? SHARED_FETCH : SHARED_NOTHING;
}

/* Goes on with the fetch of s->pulled, which is still the best. */
static enum shared_step go_on(struct shared *s, uint64_t now_ms, const struct shared_offer *offers,
                              size_t count)
{
    if (s->source != 0 && now_ms < s->give_up_ms && source_still_has_it(s, offers, count)) {
        return SHARED_NOTHING;
    }
    if (s->source != 0) {
        s->failed_source = s->source;
        s->retry_ms = now_ms + s->retry_ms_step;
    }
    return fetch(s, now_ms, offers, count);
}

static enum shared_step follow(struct shared *s, uint64_t now_ms, const struct shared_offer *best,
                               const struct shared_offer *offers, size_t count)
{
    if (s->any_refused && memcmp(best->version.digest, s->refused, SHA256_SIZE) == 0) {
        stop_pull(s);
        s->held = true;
        return SHARED_NOTHING;
    }
    if (s->pull == SHARED_FETCHING && shared_compare(&s->pulled, &best->version) == 0) {
        return go_on(s, now_ms, offers, count);
    }
    stop_pull(s);
    s->any_refused = false;
    s->pulled = best->version;
    set_origin(&s->pulled_origin, best->origin);
    s->pulled_lineage = best->lineage ? *best->lineage : (struct lineage){0};
    if (memcmp(best->version.digest, s->mine.digest, SHA256_SIZE) == 0) {
        put(&s->pulled_text, buffer_bytes(&s->text));
        s->pull = SHARED_APPLYING;
        return SHARED_APPLY;
    }
    return fetch(s, now_ms, offers, count);
}

enum shared_step shared_decide(struct shared *s, uint64_t now_ms, const struct shared_offer *offers,
                               size_t count)
{
    if (!s->started || s->pull == SHARED_APPLYING) {
        return SHARED_NOTHING;
    }
    const struct shared_offer *best = best_offer(offers, count);
    s->held = false;
    if (best && shared_compare(&best->version, &s->mine) > 0) {
        return follow(s, now_ms, best, offers, count);
    }
    stop_pull(s);
    if (s->mine.revision == 0 && now_ms >= s->final_ms) {
        s->mine.revision = s->stored_revision + 1;
        base_is_text(s); /* it is the file's */
        brought_by_start(s);
        return SHARED_FINAL;
    }
    return SHARED_NOTHING;
}

/* ---- the end of a pull ---- */

bool shared_fetched(struct shared *s, uint64_t now_ms, const uint8_t digest[SHA256_SIZE],
                    struct bytes text)
{
    if (s->pull != SHARED_FETCHING || memcmp(digest, s->pulled.digest, SHA256_SIZE) != 0) {
        return false; /* of a fetch that was given up */
    }
    if (!text.at) {
        s->failed_source = s->source;
        s->source = 0;
        s->retry_ms = now_ms + s->retry_ms_step;
        return false;
    }
    put(&s->pulled_text, text);
    s->pull = SHARED_APPLYING;
    return true;
}

bool shared_overtakes(const struct shared *s)
{
    return s->pull == SHARED_APPLYING && s->mine.revision > 0 &&
           s->pulled.revision > s->mine.revision &&
           memcmp(s->pulled.digest, s->mine.digest, SHA256_SIZE) != 0 &&
           lineage_lacks(&s->pulled_lineage, s->mine.revision, s->mine.digest);
}

bool shared_applied(struct shared *s)
{
    if (s->pull != SHARED_APPLYING) {
        return false;
    }
    struct buffer old = s->text;
    s->text = s->pulled_text;
    s->pulled_text = old;
    s->mine = s->pulled;
    s->origin = s->pulled_origin;
    s->lineage = s->pulled_lineage;
    if (file_is_in_force(s)) {
        base_is_text(s);
    }
    stop_pull(s);
    return true;
}

bool shared_refused(struct shared *s)
{
    if (s->pull != SHARED_APPLYING) {
        return false;
    }
    s->any_refused = true;
    memcpy(s->refused, s->pulled.digest, SHA256_SIZE);
    stop_pull(s);
    return true;
}

bool shared_is_pulling(const struct shared *s)
{
    return s->pull == SHARED_APPLYING || (s->pull == SHARED_FETCHING && s->source != 0);
}

uint64_t shared_deadline_ms(const struct shared *s)
{
    if (!s->started || s->pull == SHARED_APPLYING) {
        return UINT64_MAX;
    }
    if (s->pull == SHARED_FETCHING) {
        return s->source != 0 ? s->give_up_ms : s->retry_ms;
    }
    return s->mine.revision == 0 && !s->held ? s->final_ms : UINT64_MAX;
}

/* ---- conflicts ---- */

static uint64_t first_8(const uint8_t *digest)
{
    uint64_t value;
    memcpy(&value, digest, sizeof(value));
    return value;
}

static bool reported(const struct shared *s, uint64_t pair)
{
    for (size_t i = 0; i < SHARED_CONFLICTS_MAX; i++) {
        if (s->conflicts[i].revision == s->mine.revision && s->conflicts[i].pair == pair) {
            return true;
        }
    }
    return false;
}

size_t shared_find_conflict(struct shared *s, const struct shared_offer *offers, size_t count)
{
    for (size_t i = 0; i < count && s->mine.revision > 0; i++) {
        const struct shared_version *theirs = &offers[i].version;
        if (!offers[i].reachable || theirs->revision != s->mine.revision ||
            memcmp(theirs->digest, s->mine.digest, SHA256_SIZE) == 0) {
            continue;
        }
        /* the same from either side: it is one conflict, also after this node has changed sides */
        uint64_t pair = first_8(theirs->digest) ^ first_8(s->mine.digest);
        if (!reported(s, pair)) {
            size_t slot = s->conflict_count++ % SHARED_CONFLICTS_MAX;
            s->conflicts[slot].revision = s->mine.revision;
            s->conflicts[slot].pair = pair;
            return i;
        }
    }
    return count;
}
