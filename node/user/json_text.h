/* json_text: the encodings that JSON may come in, as Python's json.loads() takes bytes, which is
 * what Dify reads its requests with: UTF-8, UTF-16 and UTF-32, with a byte order mark or without.
 *
 * What comes out is UTF-8 in which halves of surrogate pairs may stand by themselves, as three
 * bytes each (Python's `surrogatepass`). */
#ifndef USER_JSON_TEXT_H
#define USER_JSON_TEXT_H

#include "base/bytes.h"

enum json_encoding {
    JSON_ENCODING_UNKNOWN, /* of less than JSON_FIRST bytes */
    JSON_ENCODING_UTF8,
    JSON_ENCODING_UTF16_BE,
    JSON_ENCODING_UTF16_LE,
    JSON_ENCODING_UTF32_BE,
    JSON_ENCODING_UTF32_LE,
};

/* So many bytes tell the encoding. A shorter body has no room for a key. */
enum { JSON_FIRST = 4 };

/* Of what begins with these bytes; *ret_mark is the size of its byte order mark, 0 if none. */
enum json_encoding json_encoding_of(const char first[JSON_FIRST], size_t *ret_mark);

static inline bool json_utf8_continues(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* The size of the valid sequence at p, 0 when it is not valid or goes on behind `end`. */
static inline size_t json_utf8_size(const char *p, const char *end)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    if (u[0] < 0xC2 || u[0] > 0xF4) {
        return 0;
    }
    if (u[0] < 0xE0) {
        return left >= 2 && json_utf8_continues(p[1]) ? 2 : 0;
    }
    if (u[0] < 0xF0) {
        bool good = left >= 3 && json_utf8_continues(p[1]) && json_utf8_continues(p[2]) &&
                    !(u[0] == 0xE0 && u[1] < 0xA0);
        return good ? 3 : 0;
    }
    bool good = left >= 4 && json_utf8_continues(p[1]) && json_utf8_continues(p[2]) &&
                json_utf8_continues(p[3]) && !(u[0] == 0xF0 && u[1] < 0x90) &&
                !(u[0] == 0xF4 && u[1] > 0x8F);
    return good ? 4 : 0;
}

/* The state of a translation, all zeros at its beginning. */
struct json_text {
    uint16_t high; /* UTF-16: half a pair whose other half may follow; 0 = none */
    uint8_t count; /* bytes of the next unit */
    uint8_t unit[4];
};

/* From UTF-16 or UTF-32: takes bytes off *input as long as one more character fits into `to`.
 * Returns how many bytes it wrote, or -1 for what is no character. */
ptrdiff_t json_text_translate(struct json_text *t, enum json_encoding encoding, struct bytes *input,
                              char *to, size_t size);

/* Is nothing missing at the end? */
bool json_text_is_whole(const struct json_text *t);

#endif
