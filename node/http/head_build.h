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

/* Another field, of which nothing is set. */
static inline struct http_field *http_head_add_field(struct http_head *h)
{
    if (h->field_count == h->field_capacity) {
        http_head_grow_fields(h);
    }
    return &h->fields[h->field_count++];
}

/* A name that enum http_field_id lists, in lower case. */
struct http_known_name {
    char lower[24];
    uint32_t size;
    enum http_field_id id;
};

/* Each known name has a slot of its own, told by its size and three of its characters: of any other
 * name one look, mostly at the size alone, says that it is not known. The factors were found by
 * trying. With a multiple of 4 a letter comes to the same slot in either case. None of the three
 * is a `-` in a known name, so a look-alike with `_` comes to the same slot, too. */
#define HTTP_NAME_SLOT(size, first, last_but_one, last)                                            \
    (((size) + 8 * (3 * (size_t)(first) + (size_t)(last_but_one) + 2 * (size_t)(last))) %          \
     HTTP_NAME_SLOTS)

enum { HTTP_NAME_SLOTS = 128, HTTP_NAME_MIN = 2 /* TE */ };
extern const struct http_known_name http_known_names[HTTP_NAME_SLOTS];

/* How 8, or 4, bytes differ from a lower-case name. Names are tokens (llhttp has seen to it), and
 * among token characters only a letter becomes a letter, only `-` a `-` and only a digit a digit
 * when 0x20 is set. */
static inline uint64_t http_differ_8(const char *name, const char *lower)
{
    uint64_t a, b;
    memcpy(&a, name, sizeof(a));
    memcpy(&b, lower, sizeof(b));
    return (a | UINT64_C(0x2020202020202020)) ^ b;
}

static inline uint64_t http_differ_4(const char *name, const char *lower)
{
    uint32_t a, b;
    memcpy(&a, name, sizeof(a));
    memcpy(&b, lower, sizeof(b));
    return (a | UINT32_C(0x20202020)) ^ b;
}

/* The first and the last bytes overlap, or are all; 2 to 24. */
static inline bool http_is_name(const char *name, const char *lower, size_t size)
{
    if (size >= 8) {
        uint64_t different =
            http_differ_8(name, lower) | http_differ_8(name + size - 8, lower + size - 8);
        return (size > 16 ? different | http_differ_8(name + 8, lower + 8) : different) == 0;
    }
    if (size >= 4) {
        return (http_differ_4(name, lower) | http_differ_4(name + size - 4, lower + size - 4)) == 0;
    }
    return (name[0] | 0x20) == lower[0] && (name[1] | 0x20) == lower[1];
}

static inline size_t http_name_slot(struct bytes name)
{
    const unsigned char *at = (const unsigned char *)name.at;
    return HTTP_NAME_SLOT(name.size, at[0], at[name.size - 2], at[name.size - 1]);
}

/* A name that is not known, but of a size and characters that a look-alike of one that is might
 * have, or that begins with a p as Proxy-… does. Rare. */
enum http_field_id http_field_id_of_odd(struct bytes name);

/* `name` is a token. */
static inline enum http_field_id http_field_id_of(struct bytes name)
{
    if (name.size < HTTP_NAME_MIN) {
        return HTTP_FIELD_OTHER;
    }
    const struct http_known_name *known = &http_known_names[http_name_slot(name)];
    bool alike = known->size == name.size;
    if (alike && http_is_name(name.at, known->lower, name.size)) {
        return known->id;
    }
    return alike || (name.at[0] | 0x20) == 'p' ? http_field_id_of_odd(name) : HTTP_FIELD_OTHER;
}

/* Its name is there, and is a token: who is it? */
static inline void http_head_know_field(struct http_head *h, struct http_field *f,
                                        struct bytes name)
{
    f->id = http_field_id_of(name);
    h->seen |= HTTP_FIELD_BIT(f->id);
}

/* The rules below return NULL, or a static text that says what is wrong. */

/* When the target is complete and last in the text: its bytes and form (RFC 9112 §3.2); an absolute
 * form is cut to its path, and its authority becomes the host. */
const char *http_validate_target(struct http_head *h);

/* When all fields are there: what they mean together. `no_body`: a response that has none whatever
 * it says, because of its status or because the request was HEAD. */
const char *http_validate_request(struct http_head *h);
const char *http_validate_response(struct http_head *h, bool no_body);

#endif
