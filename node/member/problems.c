/* problems: two tables that never grow. */
#include "member/problems.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static void set_text(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text);
}

/* ---- the log ---- */

/* SPEC §8: error is what makes requests fail, or needs a person at once. */
static enum log_level level_of(const struct problem *one)
{
    if (one->severity == PROBLEM_CRITICAL || one->id == PROBLEM_STATE_NOT_WRITTEN) {
        return LOG_ERROR;
    }
    return one->severity == PROBLEM_INFO ? LOG_INFO : LOG_WARNING;
}

static void log_problem(struct problems *p, const struct problem *one, const char *event)
{
    bool over = strcmp(event, "problem_over") == 0;
    struct log_field fields[] = {
        log_text("kind", problem_kinds[one->id].name),
        log_text("severity", problem_severity_text(one->severity)),
        log_text("subject", one->subject),
        log_text("message", one->detail),
    };
    log_event(p->log, over ? LOG_INFO : level_of(one), event, fields, 4);
    struct problem_change *change = &p->changes[p->change];
    *change = (struct problem_change){
        .at_s = clock_wall_ms() / 1000, .id = one->id, .severity = one->severity, .over = over};
    set_text(change->subject, sizeof(change->subject), one->subject);
    p->change = (p->change + 1) % PROBLEM_CHANGES_MAX;
}

static void end(struct problems *p, struct problem *one)
{
    if (one->used) {
        log_problem(p, one, "problem_over");
    }
    *one = (struct problem){0};
}

/* Something else is said of what is told once until it is over: that is news. */
static bool is_news(const struct problem *place, const struct problem *one)
{
    return one->at_ms != 0 && problem_kinds[one->id].shown_ms == PROBLEM_UNTIL_DROPPED &&
           strcmp(place->detail, one->detail) != 0;
}

/* `one` is what `place` has from now on. Told when it begins, and when it gets worse. */
static void put(struct problems *p, struct problem *place, const struct problem *one)
{
    bool goes_on = place->used && place->id == one->id && strcmp(place->subject, one->subject) == 0;
    bool worse = goes_on && (one->severity < place->severity || is_news(place, one));
    uint64_t since_s = one->since_s ? one->since_s
                       : goes_on    ? place->since_s
                                    : clock_wall_ms() / 1000;
    if (!goes_on && place->used) {
        end(p, place);
    }
    *place = *one;
    place->used = true;
    place->since_s = since_s;
    if (!goes_on || worse) {
        log_problem(p, place, "problem");
    }
}

static bool is_one(const struct problem *place, enum problem_id id, const char *subject)
{
    return place->used && place->id == id && strcmp(place->subject, subject) == 0;
}

/* ---- noted ---- */

/* The same one again, or the oldest of its kind when there are enough of them, or a free one, or
 * the oldest of all. */
static struct problem *place_for(struct problems *p, enum problem_id id, const char *subject)
{
    struct problem *oldest = &p->noted[0], *of_kind = NULL;
    size_t count = 0;
    for (size_t i = 0; i < PROBLEMS_NOTED_MAX; i++) {
        struct problem *one = &p->noted[i];
        if (is_one(one, id, subject)) {
            return one;
        }
        bool same = one->used && one->id == id;
        count += same;
        of_kind = same && (!of_kind || one->at_ms < of_kind->at_ms) ? one : of_kind;
        oldest = one->at_ms < oldest->at_ms ? one : oldest; /* a free one has 0 */
    }
    return count >= PROBLEMS_OF_KIND ? of_kind : oldest;
}

void problems_note_as(struct problems *p, enum problem_id id, enum problem_severity severity,
                      const char *subject, const char *detail)
{
    struct problem one = {.id = id, .severity = severity, .at_ms = net_now_ms(p->net)};
    set_text(one.subject, sizeof(one.subject), subject);
    set_text(one.detail, sizeof(one.detail), detail);
    put(p, place_for(p, id, one.subject), &one);
}

void problems_note(struct problems *p, enum problem_id id, const char *subject, const char *detail)
{
    problems_note_as(p, id, problem_kinds[id].severity, subject, detail);
}

void problems_drop(struct problems *p, enum problem_id id, const char *subject)
{
    for (size_t i = 0; i < PROBLEMS_NOTED_MAX; i++) {
        struct problem *one = &p->noted[i];
        if (one->used && one->id == id && (!subject || strcmp(one->subject, subject) == 0)) {
            end(p, one);
        }
    }
}

void problems_keep(struct problems *p, enum problem_id id, const char *const *subjects,
                   size_t count)
{
    for (size_t i = 0; i < PROBLEMS_NOTED_MAX; i++) {
        struct problem *one = &p->noted[i];
        bool kept = false;
        for (size_t s = 0; s < count; s++) { /* as far as a problem's subject reaches */
            kept = kept || strncmp(one->subject, subjects[s], sizeof(one->subject) - 1) == 0;
        }
        if (one->used && one->id == id && !kept) {
            end(p, one);
        }
    }
}

static void end_those_not_noted_again(struct problems *p)
{
    uint64_t now_ms = net_now_ms(p->net);
    for (size_t i = 0; i < PROBLEMS_NOTED_MAX; i++) {
        struct problem *one = &p->noted[i];
        uint32_t shown_ms = problem_kinds[one->id].shown_ms;
        if (one->used && shown_ms != PROBLEM_UNTIL_DROPPED && now_ms >= one->at_ms + shown_ms) {
            end(p, one);
        }
    }
}

/* ---- found ---- */

void problems_look(struct problems *p)
{
    for (size_t i = 0; i < p->found_high; i++) {
        p->found[i].found = false;
    }
    p->found_now = p->unlisted = 0;
    p->unlisted_worst = PROBLEM_INFO;
}

void problems_find(struct problems *p, const struct problem *one)
{
    struct problem *place = NULL, *vacant = NULL;
    if (p->found_now == PROBLEMS_FOUND_MAX) { /* not even looked for: there may be thousands */
        p->unlisted++;
        p->unlisted_worst = one->severity < p->unlisted_worst ? one->severity : p->unlisted_worst;
        return;
    }
    for (size_t i = 0; i < PROBLEMS_FOUND_MAX && !place; i++) {
        struct problem *at = &p->found[i];
        place = is_one(at, one->id, one->subject) ? at : NULL;
        vacant = !vacant && !at->used ? at : vacant;
    }
    if (place && place->found) {
        return; /* by this look, already */
    }
    for (size_t i = 0; i < PROBLEMS_FOUND_MAX && !place && !vacant; i++) {
        vacant = p->found[i].found ? NULL : &p->found[i]; /* it was, and may be over */
    }
    place = place ? place : vacant;
    put(p, place, one);
    place->found = true;
    p->found_now++;
    size_t high = (size_t)(place - p->found) + 1;
    p->found_high = high > p->found_high ? high : p->found_high;
}

void problems_looked(struct problems *p)
{
    for (size_t i = 0; i < p->found_high; i++) {
        if (!p->found[i].found) {
            end(p, &p->found[i]);
        }
    }
    end_those_not_noted_again(p);
    if (p->unlisted == 0) {
        end(p, &p->more);
        return;
    }
    struct problem more = {.id = PROBLEM_MORE, .severity = p->unlisted_worst};
    snprintf(more.detail, sizeof(more.detail), "and %zu more problems that are not listed",
             p->unlisted);
    put(p, &p->more, &more);
}

/* ---- all of them ---- */

static int compare(const void *a, const void *b)
{
    const struct problem *x = *(const struct problem *const *)a;
    const struct problem *y = *(const struct problem *const *)b;
    if (x->severity != y->severity) {
        return x->severity < y->severity ? -1 : 1;
    }
    if (x->id != y->id) {
        return x->id < y->id ? -1 : 1;
    }
    return strcmp(x->subject, y->subject);
}

static size_t add_used(const struct problem *from, size_t count, size_t have,
                       const struct problem *ret_list[PROBLEMS_MAX])
{
    for (size_t i = 0; i < count; i++) {
        if (from[i].used) {
            ret_list[have++] = &from[i];
        }
    }
    return have;
}

size_t problems_list(struct problems *p, const struct problem *ret_list[PROBLEMS_MAX])
{
    size_t count = add_used(p->noted, PROBLEMS_NOTED_MAX, 0, ret_list);
    count = add_used(p->found, PROBLEMS_FOUND_MAX, count, ret_list);
    count = add_used(&p->more, 1, count, ret_list);
    if (count > 1) {
        qsort(ret_list, count, sizeof(const struct problem *), compare);
    }
    return count;
}

size_t problems_changes(const struct problems *p, uint64_t from_s,
                        const struct problem_change *ret_list[PROBLEM_CHANGES_MAX])
{
    size_t count = 0;
    for (size_t i = 1; i <= PROBLEM_CHANGES_MAX; i++) {
        const struct problem_change *one =
            &p->changes[(p->change + PROBLEM_CHANGES_MAX - i) % PROBLEM_CHANGES_MAX];
        if (one->at_s != 0 && one->at_s >= from_s) {
            ret_list[count++] = one;
        }
    }
    return count;
}
