/* answer_ids: the ids that an answer tells, found as it passes: a JSON answer's, or each event's of
 * a stream. No byte is held back; an id is told when the text that has it is complete and valid
 * (one of a list when it passes), so before its last byte can have reached the client. */
#ifndef PLACEMENT_ANSWER_IDS_H
#define PLACEMENT_ANSWER_IDS_H

#include "answer/events.h"
#include "answer/json_paths.h"
#include "placement/routes.h"

enum {
    /* Ids of one text that are told; of a list Dify gives at most 100 entries. */
    ANSWER_IDS_MAX = 100,
};

/* What Dify's answers and events have at these places. */
enum answer_ids_form {
    ANSWER_IDS_NONE,
    ANSWER_IDS_JSON,   /* application/json */
    ANSWER_IDS_EVENTS, /* text/event-stream */
};

struct answer_ids {
    const struct placement_route *route;
    enum answer_ids_form form;
    void (*on_id)(void *arg, enum placement_kind kind, struct bytes text);
    void *arg;
    struct events events;
    struct json_paths json;
    bool whole;       /* the present text has ended, or is not valid: nothing more is in it */
    bool takes_forms; /* the event is one that offers a form */
    uint8_t sizes[PLACEMENT_KINDS]; /* of what stands in this text; 0 = none */
    char texts[PLACEMENT_KINDS][PLACEMENT_ID_MAX];
    uint32_t list_count; /* ids of a list told already */
};

/* `content_type` of the answer. Not for a status from 300 on, nor for an encoded body. */
void answer_ids_begin(struct answer_ids *a, const struct placement_route *route,
                      struct bytes content_type,
                      void (*on_id)(void *arg, enum placement_kind kind, struct bytes text),
                      void *arg);

/* The next piece of the body, transfer coding undone. on_id is called from in here. */
void answer_ids_feed(struct answer_ids *a, struct bytes piece);

#endif
