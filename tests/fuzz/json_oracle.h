/* json_oracle: what Python's json.loads() makes of a body's bytes, written down once more as a
 * recursive descent over code points, and what our scanner finds; for test_json_user.c and
 * fuzz_json_user.c. Python itself is asked by tests/e2e/test_json.py. */
#ifndef TESTS_FUZZ_JSON_ORACLE_H
#define TESTS_FUZZ_JSON_ORACLE_H

#include <stdlib.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "user/json_user.h"

/* The value of the top-level key `user`. */
struct oracle {
    bool valid;         /* one JSON object */
    struct buffer text; /* a string's characters or a number's text; empty: missing */
};

/* Code points to be read; `bad` for good once something was wrong. */
struct oracle_reading {
    uint32_t *at;
    size_t count, next;
    bool bad;
};

static inline uint32_t oracle_peek(const struct oracle_reading *r)
{
    return r->next < r->count && !r->bad ? r->at[r->next] : UINT32_MAX;
}

static inline bool oracle_take(struct oracle_reading *r, uint32_t c)
{
    bool there = oracle_peek(r) == c;
    r->next += there;
    return there;
}

static inline void oracle_demand(struct oracle_reading *r, const char *text)
{
    for (; *text; text++) {
        r->bad |= !oracle_take(r, (unsigned char)*text);
    }
}

static inline void oracle_skip_blanks(struct oracle_reading *r)
{
    while (oracle_take(r, ' ') || oracle_take(r, '\t') || oracle_take(r, '\n') ||
           oracle_take(r, '\r')) {
    }
}

/* Units of `width` bytes, the first byte of each highest if `big`. */
static inline void oracle_decode_wide(struct oracle_reading *r, const uint8_t *data, size_t size,
                                      size_t width, bool big)
{
    r->bad = size % width != 0;
    for (size_t i = 0; i + width <= size; i += width) {
        uint32_t unit = 0;
        for (size_t b = 0; b < width; b++) {
            unit |= (uint32_t)data[i + b] << 8 * (big ? width - 1 - b : b);
        }
        uint32_t before = r->count > 0 ? r->at[r->count - 1] : 0;
        if (width == 2 && unit >> 10 == 0x37 && before >> 10 == 0x36) {
            r->at[r->count - 1] = 0x10000 + ((before & 0x3FF) << 10 | (unit & 0x3FF));
        } else {
            r->at[r->count++] = unit;
        }
        r->bad |= unit > 0x10FFFF;
    }
}

/* How many bytes follow this first one; 4 says that it is none. */
static inline unsigned oracle_more(uint8_t first)
{
    return first < 0x80   ? 0
           : first < 0xC0 ? 4
           : first < 0xE0 ? 1
           : first < 0xF0 ? 2
           : first < 0xF8 ? 3
                          : 4;
}

/* UTF-8 with halves of surrogate pairs. */
static inline void oracle_decode_utf8(struct oracle_reading *r, const uint8_t *data, size_t size)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < size && !r->bad; i++) {
        unsigned more = oracle_more(data[i]);
        if (more > 3 || size - i <= more) {
            r->bad = true;
            return;
        }
        uint32_t code = more ? data[i] & (0x3Fu >> more) : data[i];
        for (unsigned m = 0; m < more; m++) {
            r->bad |= data[++i] >> 6 != 2;
            code = code << 6 | (data[i] & 0x3F);
        }
        r->bad |= code < least[more] || code > 0x10FFFF;
        r->at[r->count++] = code;
    }
}

/* json.detect_encoding(), and the decoding that follows. */
static inline void oracle_decode(struct oracle_reading *r, const uint8_t *b, size_t size)
{
    bool four = size >= 4, two = size >= 2;
    if (four && ((!b[0] && !b[1] && b[2] == 0xFE && b[3] == 0xFF) ||
                 (b[0] == 0xFF && b[1] == 0xFE && !b[2] && !b[3]))) {
        oracle_decode_wide(r, b + 4, size - 4, 4, !b[0]);
    } else if (two && b[0] + b[1] == 0xFE + 0xFF && (b[0] == 0xFE || b[0] == 0xFF)) {
        oracle_decode_wide(r, b + 2, size - 2, 2, b[0] == 0xFE);
    } else if (size >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF) {
        oracle_decode_utf8(r, b + 3, size - 3);
    } else if (four && !b[0]) {
        oracle_decode_wide(r, b, size, b[1] ? 2 : 4, true);
    } else if (four && !b[1]) {
        oracle_decode_wide(r, b, size, b[2] || b[3] ? 2 : 4, false);
    } else {
        oracle_decode_utf8(r, b, size);
    }
}

static inline void oracle_put(struct buffer *b, uint32_t code)
{
    char text[4] = {(char)(0xF0 | code >> 18), (char)(0x80 | (code >> 12 & 0x3F)),
                    (char)(0x80 | (code >> 6 & 0x3F)), (char)(0x80 | (code & 0x3F))};
    if (code < 0x80) {
        text[3] = (char)code;
    } else if (code < 0x800) {
        text[2] = (char)(0xC0 | code >> 6);
    } else if (code < 0x10000) {
        text[1] = (char)(0xE0 | code >> 12);
    }
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    buffer_append(b, text + 4 - size, size);
}

static inline uint32_t oracle_unit(struct oracle_reading *r)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t c = oracle_peek(r), digit = c < 0x80 ? (uint32_t)ascii_hex((char)c) : UINT32_MAX;
        r->bad |= digit > 15;
        r->next += !r->bad;
        unit = unit << 4 | (digit & 15);
    }
    return unit;
}

static inline uint32_t oracle_escape(struct oracle_reading *r)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    for (size_t i = 0; i < sizeof(from) - 1; i++) {
        if (oracle_take(r, (unsigned char)from[i])) {
            return (unsigned char)to[i];
        }
    }
    oracle_demand(r, "u");
    uint32_t high = oracle_unit(r);
    size_t behind = r->next;
    if (high >> 10 == 0x36 && oracle_take(r, '\\') && oracle_take(r, 'u')) {
        uint32_t low = oracle_unit(r);
        if (low >> 10 == 0x37) {
            return 0x10000 + ((high & 0x3FF) << 10 | (low & 0x3FF));
        }
    }
    r->next = behind;
    return high;
}

static inline void oracle_string(struct oracle_reading *r, struct buffer *ret_text)
{
    buffer_clear(ret_text);
    oracle_demand(r, "\"");
    while (!r->bad && !oracle_take(r, '"')) {
        uint32_t c = oracle_peek(r);
        r->bad |= c < 0x20 || c == UINT32_MAX;
        r->next++;
        oracle_put(ret_text, c == '\\' ? oracle_escape(r) : c);
    }
}

static inline size_t oracle_digits(struct oracle_reading *r)
{
    size_t from = r->next;
    while (oracle_peek(r) >= '0' && oracle_peek(r) <= '9') {
        r->next++;
    }
    return r->next - from;
}

/* The longest number; what is wrong with it is then seen in what follows. */
static inline void oracle_number(struct oracle_reading *r, struct buffer *ret_text)
{
    size_t from = r->next;
    buffer_clear(ret_text);
    if (oracle_take(r, '-') && oracle_peek(r) == 'I') {
        oracle_demand(r, "Infinity");
        return;
    }
    r->bad |= !oracle_take(r, '0') && oracle_digits(r) == 0;
    size_t good = r->next;
    good = oracle_take(r, '.') && oracle_digits(r) > 0 ? r->next : good;
    r->next = good;
    if (oracle_take(r, 'e') || oracle_take(r, 'E')) {
        (void)(oracle_take(r, '+') || oracle_take(r, '-'));
        good = oracle_digits(r) > 0 ? r->next : good;
    }
    r->next = good;
    for (size_t i = from; i < good; i++) {
        oracle_put(ret_text, r->at[i]);
    }
}

/* `ret_text`: of a string or number; else empty. */
static inline void oracle_value(struct oracle_reading *r, struct buffer *ret_text);

static inline void oracle_object(struct oracle_reading *r, struct buffer *ret_user)
{
    struct buffer key = {0}, value = {0};
    oracle_demand(r, "{");
    oracle_skip_blanks(r);
    bool more = !oracle_take(r, '}');
    while (more && !r->bad) {
        oracle_string(r, &key);
        oracle_skip_blanks(r);
        oracle_demand(r, ":");
        oracle_skip_blanks(r);
        oracle_value(r, &value);
        if (ret_user && bytes_equal(buffer_bytes(&key), BYTES("user"))) {
            buffer_clear(ret_user);
            buffer_append_bytes(ret_user, buffer_bytes(&value));
        }
        oracle_skip_blanks(r);
        more = oracle_take(r, ',');
        oracle_demand(r, more ? "" : "}");
        oracle_skip_blanks(r);
    }
    buffer_done(&key);
    buffer_done(&value);
}

static inline void oracle_array(struct oracle_reading *r)
{
    struct buffer value = {0};
    oracle_demand(r, "[");
    oracle_skip_blanks(r);
    bool more = !oracle_take(r, ']');
    while (more && !r->bad) {
        oracle_value(r, &value);
        oracle_skip_blanks(r);
        more = oracle_take(r, ',');
        oracle_demand(r, more ? "" : "]");
        oracle_skip_blanks(r);
    }
    buffer_done(&value);
}

static inline void oracle_value(struct oracle_reading *r, struct buffer *ret_text)
{
    static const char *const literals[] = {"true", "false", "null", "NaN", "Infinity"};
    uint32_t c = oracle_peek(r);
    buffer_clear(ret_text);
    if (c == '"') {
        oracle_string(r, ret_text);
    } else if (c == '{') {
        oracle_object(r, NULL);
    } else if (c == '[') {
        oracle_array(r);
    } else if (c == '-' || (c >= '0' && c <= '9')) {
        oracle_number(r, ret_text);
    } else {
        bool known = false;
        for (size_t i = 0; i < sizeof(literals) / sizeof(*literals) && !known; i++) {
            known = c == (unsigned char)literals[i][0];
            oracle_demand(r, known ? literals[i] : "");
        }
        r->bad |= !known;
    }
}

static inline struct oracle oracle_ask(const char *data, size_t size)
{
    struct oracle o = {0};
    struct oracle_reading r = {.at = memory_new((size + 1) * sizeof(uint32_t))};
    oracle_decode(&r, (const uint8_t *)(size ? data : ""), size);
    oracle_skip_blanks(&r);
    oracle_object(&r, &o.text);
    oracle_skip_blanks(&r);
    o.valid = !r.bad && r.next == r.count;
    if (!o.valid) {
        buffer_clear(&o.text);
    }
    free(r.at);
    return o;
}

/* What our scanner finds when the body comes in pieces of `step` bytes, the first of `first` bytes.
 * Each piece is a block of its own, so that a sanitizer sees a read behind its end. */
static inline struct buffer scan_json_for(const char *data, size_t size, size_t first, size_t step,
                                          struct json_ids *ids)
{
    static const struct user_source source = {USER_FROM_JSON, {"user", 4}};
    struct user_values values;
    struct json_user scan;
    struct buffer found = {0};
    user_values_init(&values, &source, 1);
    json_user_init(&scan, &values, ids);
    for (size_t at = 0, part = first; at < size; at += part, part = step) {
        part = part > size - at ? size - at : part;
        if (part == 0) {
            continue;
        }
        char *piece = malloc(part);
        memcpy(piece, data + at, part);
        json_user_feed(&scan, (struct bytes){piece, part});
        free(piece);
    }
    if (json_user_end(&scan)) {
        buffer_append_bytes(&found, user_values_get(&values, 0));
    }
    json_user_done(&scan);
    user_values_done(&values);
    return found;
}

static inline struct buffer scan_json(const char *data, size_t size, size_t first, size_t step)
{
    return scan_json_for(data, size, first, step, NULL);
}

/* Whether what our scanner found is what Python would. */
static inline bool oracle_agrees(const struct oracle *o, struct bytes found)
{
    return bytes_equal(found, buffer_bytes(&o->text));
}

static inline void oracle_done(struct oracle *o)
{
    buffer_done(&o->text);
}

#endif
