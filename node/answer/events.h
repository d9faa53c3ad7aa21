/* events: an event stream (text/event-stream) taken apart as it passes.
 *
 * Dify's events are one line `data: {…}` each, with an empty line behind it; a ping is `event:
 * ping` alone. What the data lines hold is handed out piece by piece, as it comes: nothing is
 * gathered and nothing held back. Lines end in LF, CR LF or CR; a byte order mark at the beginning
 * is left out (WHATWG HTML, server-sent events). Several data lines of one event have a line feed
 * between them. An event that the stream's end cuts off is none. */
#ifndef ANSWER_EVENTS_H
#define ANSWER_EVENTS_H

#include "base/bytes.h"

enum events_kind {
    EVENTS_MORE,  /* the piece is used up */
    EVENTS_DATA,  /* *ret_data: the next part of the event's data */
    EVENTS_EVENT, /* the event is complete; it may have had no data (a ping) */
};

struct events {
    uint8_t state;   /* private */
    uint8_t matched; /* bytes of a field's name, or of the byte order mark */
    bool begun;      /* this event has had a line */
    bool has_data;   /* and one of data: a further one begins with a line feed */
    bool after_cr;
};

/* All zeros: the beginning of a stream. Takes bytes off *piece until there is something to tell. */
enum events_kind events_next(struct events *e, struct bytes *piece, struct bytes *ret_data);

/* The same in one step, for what nearly all of them are: an event of one data line that is the next
 * thing in the piece, as a whole and with its empty line. False: it is not that, and nothing was
 * taken. */
bool events_take_whole(struct events *e, struct bytes *piece, struct bytes *ret_data);

#endif
