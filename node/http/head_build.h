/* head_build: how http/reader fills a head. Nobody else includes this. */
#ifndef HTTP_HEAD_BUILD_H
#define HTTP_HEAD_BUILD_H

#include "http/head.h"

/* Makes room for `more` bytes of text. */
void http_head_grow(struct http_head *h, size_t more);

static inline void http_head_append(struct http_head *h, const char *at, size_t size)
{
    if (h->capacity - h->size < size) {
        http_head_grow(h, size);
    }
    memcpy(h->text + h->size, at, size);
    h->size += size;
}

/* Makes room for another field. */
void http_head_grow_fields(struct http_head *h);

static inline struct http_field *http_head_add_field(struct http_head *h, struct http_field field)
{
    if (h->field_count == h->field_capacity) {
        http_head_grow_fields(h);
    }
    struct http_field *f = &h->fields[h->field_count++];
    *f = field;
    return f;
}

/* `name` is a token. */
enum http_field_id http_field_id_of(struct bytes name);

/* The rules below return NULL, or a static text that says what is wrong. */

/* When the target is complete and last in the text: its bytes and form (RFC 9112 §3.2); an absolute
 * form is cut to its path, and its authority becomes the host. */
const char *http_validate_target(struct http_head *h);
/* The end of that, and all of it for a target that is a path of bytes that are known to do. */
void http_split_target(struct http_head *h);

/* When all fields are there: what they mean together. `no_body`: a response that has none whatever
 * it says, because of its status or because the request was HEAD. */
const char *http_validate_request(struct http_head *h);
const char *http_validate_response(struct http_head *h, bool no_body);

#endif
