/* answer_reading: what is read in an answer as it passes, in one pass (answer/reading.h): the ids
 * that it tells, and what its run has cost. Of an answer whose ids nobody wants, events that tell
 * no usage are skipped behind their name. */
#ifndef PLACEMENT_ANSWER_READING_H
#define PLACEMENT_ANSWER_READING_H

#include "answer/usage.h"
#include "placement/answer_ids.h"

struct answer_reading {
    struct reading reading;
    bool wants_ids, wants_usage;
    struct answer_ids ids;
    struct usage_search usage;
};

/* What is wanted of an answer, and who hears of the ids. */
struct answer_wanted {
    const struct placement_route *route; /* of which ids are wanted; NULL: none are */
    bool usage;
    void (*on_id)(void *arg, enum placement_kind kind, struct bytes text);
    void *arg;
};

/* Of an answer of a status below 300 that is not encoded. False: it says nothing that is wanted. */
bool answer_reading_begin(struct answer_reading *r, const struct answer_wanted *wanted,
                          struct bytes content_type);

/* The next piece of the body, transfer coding undone. on_id is called from in here. */
void answer_reading_feed(struct answer_reading *r, struct bytes piece);

/* What its run has cost; NULL: it has not told that, or not yet. */
static inline const struct usage *answer_reading_usage(const struct answer_reading *r)
{
    return r->wants_usage && r->usage.known ? &r->usage.usage : NULL;
}

#endif
