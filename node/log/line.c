/* line: numbers and JSON strings, by hand because a worker pays for them on every request.
 *
 * Nearly all text is plain ASCII: it is copied eight bytes at a time as long as none of the eight
 * needs a second look (word tricks from Anderson, "Bit Twiddling Hacks": hasless, haszero). */
#include "log/line.h"

#include <assert.h>
#include <time.h>

void line_raw(struct log_line *l, const char *data, size_t size)
{
    assert(size <= LOG_LINE_MAX - l->size);
    memcpy(l->data + l->size, data, size);
    l->size += size;
}

size_t line_room(const struct log_line *l)
{
    return LOG_LINE_MAX - l->size;
}

/* The `width` last decimal digits, with leading zeros. */
static void put_digits(struct log_line *l, uint64_t number, size_t width)
{
    assert(width <= line_room(l));
    for (size_t i = width; i-- > 0; number /= 10) {
        l->data[l->size + i] = (char)('0' + number % 10);
    }
    l->size += width;
}

void line_unsigned(struct log_line *l, uint64_t number)
{
    size_t width = 1;
    for (uint64_t n = number; n >= 10; n /= 10) {
        width++;
    }
    put_digits(l, number, width);
}

void line_seconds(struct log_line *l, uint64_t us)
{
    if (us == LOG_NONE) {
        LINE_LITERAL(l, "null");
        return;
    }
    line_unsigned(l, us / 1000000);
    LINE_LITERAL(l, ".");
    put_digits(l, us % 1000000, 6);
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t has_zero(uint64_t x)
{
    return (x - EACH(1)) & ~x & EACH(0x80);
}

/* Eight bytes, none of which is a control character, a quote, a backslash or above 0x7E. */
static bool all_plain(uint64_t x)
{
    uint64_t odd = x & EACH(0x80);
    odd |= (x - EACH(0x20)) & ~x & EACH(0x80);
    odd |= has_zero(x ^ EACH('"')) | has_zero(x ^ EACH('\\')) | has_zero(x ^ EACH(0x7F));
    return odd == 0;
}

/* How long a valid UTF-8 sequence of two and more bytes is at `at` (RFC 3629 §4); 0 if none is. */
static size_t multibyte(const unsigned char *at, size_t left)
{
    size_t size = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : 2;
    if (at[0] < 0xC2 || at[0] > 0xF4 || left < size) {
        return 0;
    }
    unsigned char low = at[0] == 0xE0 ? 0xA0 : at[0] == 0xF0 ? 0x90 : 0x80;
    unsigned char high = at[0] == 0xED ? 0x9F : at[0] == 0xF4 ? 0x8F : 0xBF;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return size;
}

/* What stands in a JSON string for the character at `at`. Returns its size, at most 6. */
static size_t encode(const unsigned char *at, size_t left, char ret_text[6], size_t *ret_taken)
{
    static const char hex[] = "0123456789abcdef";
    *ret_taken = 1;
    if (at[0] == '"' || at[0] == '\\') {
        ret_text[0] = '\\';
        ret_text[1] = (char)at[0];
        return 2;
    }
    if (at[0] < 0x20 || at[0] == 0x7F) {
        memcpy(ret_text, "\\u00", 4);
        ret_text[4] = hex[at[0] >> 4];
        ret_text[5] = hex[at[0] & 15];
        return 6;
    }
    if (at[0] < 0x80) {
        ret_text[0] = (char)at[0];
        return 1;
    }
    size_t size = multibyte(at, left);
    if (size == 0) {
        memcpy(ret_text, "\xEF\xBF\xBD", 3);
        return 3;
    }
    *ret_taken = size;
    memcpy(ret_text, at, size);
    return size;
}

/* Copies eight bytes at a time while they are plain and fit; returns how many. */
static size_t copy_plain(char *to, size_t room, const char *from, size_t left)
{
    size_t done = 0;
    while (left - done >= 8 && room - done >= 8) {
        uint64_t x;
        memcpy(&x, from + done, 8);
        if (!all_plain(x)) {
            break;
        }
        memcpy(to + done, &x, 8);
        done += 8;
    }
    return done;
}

void line_text(struct log_line *l, struct bytes text, size_t max)
{
    static const char cut[] = "\xE2\x80\xA6\""; /* the ellipsis, and the closing quote */
    assert(max >= 8 && max <= line_room(l));
    if (text.at == NULL) {
        LINE_LITERAL(l, "null");
        return;
    }
    const char *at = text.at, *end = text.at + text.size;
    char *to = l->data + l->size, *limit = to + max - (sizeof cut - 1);
    *to++ = '"';
    while (at < end) {
        size_t plain = copy_plain(to, (size_t)(limit - to), at, (size_t)(end - at));
        at += plain;
        to += plain;
        /* what is left of a word with something odd in it, and the last few bytes */
        for (int i = 0; i < 8 && at < end; i++) {
            char code[6];
            size_t taken,
                size = encode((const unsigned char *)at, (size_t)(end - at), code, &taken);
            if (size > (size_t)(limit - to)) {
                memcpy(to, cut, sizeof cut - 1);
                l->size = (size_t)(to - l->data) + sizeof cut - 1;
                return;
            }
            memcpy(to, code, size);
            to += size;
            at += taken;
        }
    }
    *to++ = '"';
    l->size = (size_t)(to - l->data);
}

void line_timestamp(struct log_line *l, struct log_clock *clock, uint64_t wall_ms)
{
    uint64_t second = wall_ms / 1000;
    if (second != clock->second || clock->text[0] == 0) {
        time_t t = (time_t)second;
        struct tm tm;
        char text[64]; /* the years of any 64-bit clock */
        gmtime_r(&t, &tm);
        size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
        assert(size >= LOG_SECOND_SIZE);
        memcpy(clock->text, text, LOG_SECOND_SIZE);
        clock->second = second;
    }
    line_raw(l, clock->text, LOG_SECOND_SIZE);
    LINE_LITERAL(l, ".");
    put_digits(l, wall_ms % 1000, 3);
    LINE_LITERAL(l, "Z");
}
