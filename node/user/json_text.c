/* json_text: see json_text.h. Rare, so it is written to be read: unit by unit. */
#include "user/json_text.h"

#include <assert.h>

#include "base/escapes.h"

/* JSON begins with a character below 0x80: where the zeros are tells the rest (RFC 4627 §3). */
enum json_encoding json_encoding_of(const char first[JSON_FIRST], size_t *ret_mark)
{
    static const struct {
        const char mark[5];
        uint8_t size;
        enum json_encoding encoding;
    } MARKS[] = {
        {"\x00\x00\xFE\xFF", 4, JSON_ENCODING_UTF32_BE},
        {"\xFF\xFE\x00\x00", 4, JSON_ENCODING_UTF32_LE}, /* before UTF-16's, its beginning */
        {"\xFE\xFF", 2, JSON_ENCODING_UTF16_BE},
        {"\xFF\xFE", 2, JSON_ENCODING_UTF16_LE},
        {"\xEF\xBB\xBF", 3, JSON_ENCODING_UTF8},
    };
    for (size_t i = 0; i < sizeof(MARKS) / sizeof(MARKS[0]); i++) {
        if (memcmp(first, MARKS[i].mark, MARKS[i].size) == 0) {
            *ret_mark = MARKS[i].size;
            return MARKS[i].encoding;
        }
    }
    *ret_mark = 0;
    if (first[0] == '\0') {
        return first[1] != '\0' ? JSON_ENCODING_UTF16_BE : JSON_ENCODING_UTF32_BE;
    }
    if (first[1] == '\0') {
        return first[2] != '\0' || first[3] != '\0' ? JSON_ENCODING_UTF16_LE
                                                    : JSON_ENCODING_UTF32_LE;
    }
    return JSON_ENCODING_UTF8;
}

/* The unit's number, when all its bytes are there. */
static uint32_t unit_of(const struct json_text *t, enum json_encoding encoding)
{
    bool little = encoding == JSON_ENCODING_UTF16_LE || encoding == JSON_ENCODING_UTF32_LE;
    uint32_t number = 0;
    for (unsigned i = 0; i < t->count; i++) {
        number = number << 8 | t->unit[little ? t->count - 1u - i : i];
    }
    return number;
}

/* Puts a unit of UTF-16 behind the half that may stand before it. */
static size_t put_unit(struct json_text *t, uint32_t unit, char *to)
{
    uint32_t high = t->high;
    size_t size = 0;
    t->high = 0;
    if (high && utf16_is_low(unit)) {
        return utf8_put(utf16_join(high, unit), to);
    }
    if (high) {
        size = utf8_put(high, to);
    }
    if (utf16_is_high(unit)) {
        t->high = (uint16_t)unit;
        return size;
    }
    return size + utf8_put(unit, to + size);
}

ptrdiff_t json_text_translate(struct json_text *t, enum json_encoding encoding, struct bytes *input,
                              char *to, size_t size)
{
    enum { CHARACTER_MAX = 6 /* half a pair, and a character of UTF-16 */ };
    bool wide = encoding == JSON_ENCODING_UTF32_BE || encoding == JSON_ENCODING_UTF32_LE;
    size_t written = 0;
    assert(encoding > JSON_ENCODING_UTF8);
    while (input->size > 0 && size - written >= CHARACTER_MAX) {
        t->unit[t->count++] = (uint8_t)*input->at++;
        input->size--;
        if (t->count < (wide ? 4 : 2)) {
            continue;
        }
        uint32_t unit = unit_of(t, encoding);
        t->count = 0;
        if (unit > 0x10FFFF) {
            return -1;
        }
        written += wide ? utf8_put(unit, to + written) : put_unit(t, unit, to + written);
    }
    return (ptrdiff_t)written;
}

bool json_text_is_whole(const struct json_text *t)
{
    return t->count == 0 && t->high == 0;
}
