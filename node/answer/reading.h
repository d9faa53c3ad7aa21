/* reading: the one pass over an answer's body, for all who want to know what it says.
 *
 * A text is the body of an answer (application/json), or the data of one event of its stream
 * (text/event-stream). What each text has at the places (places.h) is told as it passes, and when
 * a text has begun and is complete. No byte is held back, and none is changed. */
#ifndef ANSWER_READING_H
#define ANSWER_READING_H

#include "answer/events.h"
#include "answer/places.h"

enum reading_form {
    READING_NONE,   /* another content type: nothing is told */
    READING_JSON,   /* application/json: one text */
    READING_EVENTS, /* text/event-stream: a text an event */
};

struct reading_listener {
    const struct json_step *places; /* answer_places, or a part of it */
    void (*on_text)(void *arg);     /* one begins */
    json_paths_found *on_found;     /* by enum place */
    void (*on_whole)(void *arg);    /* it is complete and valid; never for one that is not */
    /* By its looks alone: nothing of this event's text is wanted, and it is not told that it
     * began. NULL: all are read. */
    bool (*is_beside)(struct bytes text);
};

struct reading {
    enum reading_form form;
    const struct reading_listener *listener;
    void *arg;
    struct events events;
    struct json_paths json;
    bool over; /* the present text has ended, is not valid, or is not wanted */
};

/* `content_type` of the answer. All pointers are lent. Not for an encoded body. */
void reading_begin(struct reading *r, struct bytes content_type,
                   const struct reading_listener *listener, void *arg);

/* The next piece of the body, transfer coding undone. The listener is called from in here. */
void reading_feed(struct reading *r, struct bytes piece);

/* From inside on_found: nothing more of this text is wanted. What is left of it passes at the pace
 * of memory. */
void reading_skip(struct reading *r);

#endif
