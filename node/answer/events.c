/* events: lines, of which those that begin with `data` and a colon count.
 *
 *   MARK -> LINE -> (data:) BLANK -> DATA -> LINE      LINE -> (another name) OTHER -> LINE */
#include "answer/events.h"

enum state {
    MARK,  /* the first three bytes may be a byte order mark */
    LINE,  /* at the beginning of one, or within its name */
    BLANK, /* behind the colon: one space is left out */
    DATA,
    OTHER, /* up to the line's end */
};

static const char NAME[] = "data";
static const char BOM[] = "\xEF\xBB\xBF";
enum { NAME_SIZE = sizeof(NAME) - 1, BOM_SIZE = sizeof(BOM) - 1 };

static bool ends_line(char c)
{
    return c == '\n' || c == '\r';
}

/* The end of a line whose first bytes were no more than a part of the name. */
static enum events_kind end_line(struct events *e, bool empty)
{
    bool complete = empty && e->begun;
    e->state = LINE;
    e->matched = 0;
    e->begun = !empty;
    if (empty) {
        e->has_data = false;
    }
    return complete ? EVENTS_EVENT : EVENTS_MORE;
}

static enum events_kind begin_data(struct events *e, struct bytes *ret_data)
{
    bool further = e->has_data;
    e->state = BLANK;
    e->has_data = true;
    *ret_data = BYTES("\n");
    return further ? EVENTS_DATA : EVENTS_MORE;
}

static enum events_kind step_line(struct events *e, char c, struct bytes *ret_data)
{
    if (ends_line(c)) {
        bool whole_name = e->matched == NAME_SIZE; /* `data` alone: an empty data line */
        bool empty = e->matched == 0;
        enum events_kind kind = EVENTS_MORE;
        if (whole_name) {
            kind = begin_data(e, ret_data);
        }
        enum events_kind end = end_line(e, empty);
        return kind == EVENTS_MORE ? end : kind;
    }
    if (e->matched == NAME_SIZE && c == ':') {
        return begin_data(e, ret_data);
    }
    if (e->matched < NAME_SIZE && c == NAME[e->matched]) {
        e->matched++;
    } else {
        e->state = OTHER;
    }
    return EVENTS_MORE;
}

/* True: c is of the mark. */
static bool step_mark(struct events *e, char c)
{
    if (c == BOM[e->matched]) {
        e->matched++;
        if (e->matched == BOM_SIZE) {
            e->state = LINE;
            e->matched = 0;
        }
        return true;
    }
    e->state = e->matched > 0 ? OTHER : LINE;
    e->matched = 0;
    return false;
}

/* The data up to the line's end, in as large a part as there is. */
static enum events_kind take_data(struct events *e, struct bytes *piece, struct bytes *ret_data)
{
    const char *lf = memchr(piece->at, '\n', piece->size);
    size_t size = lf ? (size_t)(lf - piece->at) : piece->size;
    const char *cr = memchr(piece->at, '\r', size);
    size = cr ? (size_t)(cr - piece->at) : size;
    *ret_data = (struct bytes){piece->at, size};
    piece->at += size;
    piece->size -= size;
    if (piece->size > 0) {
        e->after_cr = *piece->at == '\r';
        piece->at++;
        piece->size--;
        end_line(e, false);
    }
    return size > 0 ? EVENTS_DATA : EVENTS_MORE;
}

/* The beginning of nearly every line, at once. */
static const char USUAL[] = "data: ";
enum { USUAL_SIZE = sizeof(USUAL) - 1 };

static bool is_usual(const struct events *e, struct bytes piece)
{
    return e->state == LINE && e->matched == 0 && piece.size >= USUAL_SIZE &&
           memcmp(piece.at, USUAL, USUAL_SIZE) == 0;
}

static bool takes_usual(struct events *e, struct bytes *piece, struct bytes *ret_data,
                        enum events_kind *ret_kind)
{
    if (!is_usual(e, *piece)) {
        return false;
    }
    *ret_kind = begin_data(e, ret_data);
    e->state = DATA;
    piece->at += USUAL_SIZE;
    piece->size -= USUAL_SIZE;
    return true;
}

bool events_take_whole(struct events *e, struct bytes *piece, struct bytes *ret_data)
{
    if (e->begun || e->after_cr || !is_usual(e, *piece)) {
        return false;
    }
    const char *from = piece->at + USUAL_SIZE, *end = piece->at + piece->size;
    const char *lf = memchr(from, '\n', (size_t)(end - from));
    if (!lf || lf + 1 == end || lf[1] != '\n' || memchr(from, '\r', (size_t)(lf - from))) {
        return false;
    }
    *ret_data = (struct bytes){from, (size_t)(lf - from)};
    *piece = (struct bytes){lf + 2, (size_t)(end - lf) - 2};
    return true;
}

/* One byte outside of data. */
static enum events_kind step(struct events *e, char c, struct bytes *ret_data)
{
    if (e->state == MARK && step_mark(e, c)) {
        return EVENTS_MORE;
    }
    if (e->state == LINE) {
        return step_line(e, c, ret_data);
    }
    if (ends_line(c)) {
        return end_line(e, false);
    }
    return EVENTS_MORE;
}

enum events_kind events_next(struct events *e, struct bytes *piece, struct bytes *ret_data)
{
    enum events_kind kind = EVENTS_MORE;
    while (piece->size > 0 && kind == EVENTS_MORE) {
        char c = *piece->at;
        bool second_half = e->after_cr && c == '\n';
        e->after_cr = false;
        if (e->state == BLANK) {
            e->state = DATA;
            if (c == ' ') {
                piece->at++;
                piece->size--;
            }
        } else if (e->state == DATA) {
            kind = take_data(e, piece, ret_data);
        } else if (takes_usual(e, piece, ret_data, &kind)) {
            continue;
        } else {
            piece->at++;
            piece->size--;
            if (!second_half) {
                kind = step(e, c, ret_data);
                e->after_cr = c == '\r';
            }
        }
    }
    return kind;
}
