/* reader_ahead: reading on with a copy. Behind its head a message changes nothing but its reader:
 * the head is complete, and of a trailer section nothing is kept. */
#include "http/reader.h"

#include <assert.h>

bool http_reader_ends_before(const struct http_reader *r, const char *end)
{
    struct http_reader ahead = *r;
    struct bytes input, piece;
    enum http_event event = HTTP_EVENT_BODY;
    assert(r->in_message && r->head->body == HTTP_BODY_CHUNKED);
    if (!r->paused) {
        return false;
    }
    input.at = llhttp_get_error_pos(&r->parser); /* where it stands */
    input.size = (size_t)(end - input.at);
    while (event == HTTP_EVENT_BODY) {
        event = http_reader_next(&ahead, &input, &piece);
        assert(event != HTTP_EVENT_HEAD);
    }
    return event == HTTP_EVENT_END;
}
