/* answer_ids: the ids that an answer tells, found as it passes (answer/reading.h): a JSON answer's,
 * or each event's of a stream. An id is told when the text that has it is complete and valid (one
 * of a list when it passes), so before its last byte can have reached the client. */
#ifndef PLACEMENT_ANSWER_IDS_H
#define PLACEMENT_ANSWER_IDS_H

#include "answer/reading.h"
#include "placement/routes.h"

enum {
    /* Ids of one text that are told; of a list Dify gives at most 100 entries. */
    ANSWER_IDS_MAX = 100,
};

struct answer_ids {
    const struct placement_route *route;
    void (*on_id)(void *arg, enum placement_kind kind, struct bytes text);
    void *arg;
    bool takes_forms;               /* the event is one that offers a form */
    uint32_t present;               /* the kinds that stand in this text, a bit each, */
    uint8_t sizes[PLACEMENT_KINDS]; /* and how long they are */
    char texts[PLACEMENT_KINDS][PLACEMENT_ID_MAX];
    uint32_t list_count;                 /* ids of this text told already */
    uint8_t told_sizes[PLACEMENT_KINDS]; /* of what was told last: each event repeats it */
    char told[PLACEMENT_KINDS][PLACEMENT_ID_MAX];
};

/* Of an answer to a request of a route that tells ids. Not for a status from 300 on. */
void answer_ids_begin(struct answer_ids *a, const struct placement_route *route,
                      void (*on_id)(void *arg, enum placement_kind kind, struct bytes text),
                      void *arg);

/* For a reading's listener. on_id is called from in the last two: once for an id that each event of
 * a stream repeats. */
void answer_ids_on_text(struct answer_ids *a);
void answer_ids_on_found(struct answer_ids *a, enum place place, struct bytes value);
void answer_ids_on_whole(struct answer_ids *a, enum reading_form form);

#endif
