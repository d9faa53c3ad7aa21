/* problems: a table that never grows; what is oldest gives way. */
#include "member/problems.h"

#include <stdio.h>
#include <string.h>

/* The same one again, or the oldest of its kind when there are enough of them, or a free one, or
 * the oldest of all. */
static struct problem *slot_for(struct problems *p, const char *kind, const char *detail)
{
    struct problem *oldest = &p->at[0], *of_kind = NULL;
    size_t count = 0;
    for (size_t i = 0; i < PROBLEMS_MAX; i++) {
        struct problem *one = &p->at[i];
        bool same_kind = strcmp(one->kind, kind) == 0;
        if (same_kind && strcmp(one->detail, detail) == 0) {
            return one;
        }
        count += same_kind;
        of_kind = same_kind && (!of_kind || one->at_ms < of_kind->at_ms) ? one : of_kind;
        oldest = one->at_ms < oldest->at_ms ? one : oldest; /* a free one has 0 */
    }
    return count >= PROBLEMS_OF_KIND ? of_kind : oldest;
}

void problems_drop(struct problems *p, const char *kind)
{
    for (size_t i = 0; i < PROBLEMS_MAX; i++) {
        if (strcmp(p->at[i].kind, kind) == 0) {
            p->at[i] = (struct problem){0};
        }
    }
}

/* SPEC §8: what makes requests fail, or needs a person at once. */
static enum log_level level_of(const char *kind)
{
    return strcmp(kind, "state_not_written") == 0 ? LOG_ERROR : LOG_WARNING;
}

void problems_note(struct problems *p, const char *kind, const char *detail)
{
    struct problem *slot = slot_for(p, kind, detail);
    uint64_t now_ms = net_now_ms(p->net);
    char known[PROBLEM_DETAIL_SIZE];
    snprintf(known, sizeof(known), "%s", detail);
    bool goes_on = strcmp(slot->kind, kind) == 0 && strcmp(slot->detail, known) == 0 &&
                   now_ms - slot->at_ms < PROBLEM_SHOWN_MS;
    snprintf(slot->kind, sizeof(slot->kind), "%s", kind);
    memcpy(slot->detail, known, sizeof(known));
    slot->at_ms = now_ms;
    if (!goes_on) {
        struct log_field fields[] = {log_text("kind", kind), log_text("message", detail)};
        log_event(p->log, level_of(kind), "problem", fields, 2);
    }
}
