/* fuzz_answer: on any bytes json_paths finds the same however they are split, and what Jansson
 * finds where that takes them; an event stream is taken apart in the same way however it is split,
 * and no byte of it is made up or lost. */
#include "fuzz_target.h"

#include "answer/events.h"
#include "answer_oracle.h"

/* `whole`: an event that lies in a piece as a whole is taken in one step. */
static struct buffer take_apart(const char *text, size_t size, size_t first, size_t step,
                                bool whole)
{
    struct buffer told = {0};
    struct events e = {0};
    struct bytes data;
    size_t part = first;
    for (size_t at = 0; at < size; at += part, part = step ? step : 1) {
        part = part < size - at ? part : size - at;
        struct bytes piece = {text + at, part};
        enum events_kind kind;
        while (whole && events_take_whole(&e, &piece, &data)) {
            buffer_append_bytes(&told, data);
            buffer_append(&told, "\0E", 2);
        }
        while ((kind = events_next(&e, &piece, &data)) != EVENTS_MORE) {
            if (kind == EVENTS_DATA) {
                buffer_append_bytes(&told, data);
            } else {
                buffer_append(&told, "\0E", 2);
            }
        }
        assert(piece.size == 0);
    }
    return told;
}

static void check_paths(const char *text, size_t size, const struct findings *whole, size_t first,
                        size_t step)
{
    struct findings f = find_paths(text, size, first, step);
    assert(findings_equal(whole, &f));
    findings_done(&f);
}

static void check_events(const char *text, size_t size, const struct buffer *whole, size_t first,
                         size_t step)
{
    struct buffer told = take_apart(text, size, first, step, true);
    assert(bytes_equal(buffer_bytes(whole), buffer_bytes(&told)));
    buffer_done(&told);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    size_t middle = size ? data[size - 1] % size : 0;
    bool judged;
    struct findings whole = find_paths(text, size, size, size);
    assert(oracle_agrees(text, size, &whole, &judged));
    check_paths(text, size, &whole, 1, 1);
    check_paths(text, size, &whole, middle, size);
    check_paths(text, size, &whole, 3, 7);
    findings_done(&whole);
    struct buffer told = take_apart(text, size, size, size, false);
    check_events(text, size, &told, size, size);
    check_events(text, size, &told, 1, 1);
    check_events(text, size, &told, middle, size);
    check_events(text, size, &told, 3, 7);
    buffer_done(&told);
    return 0;
}
