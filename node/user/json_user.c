/* json_user: a push-down automaton, one state a byte class, with a fast path over pairs of strings.
 *
 *   START -{-> FIRST_KEY -"-> STRING -"-> COLON -> VALUE -> ... -> NEXT -,-> KEY
 *                                                    NEXT -}-> NEXT of the level above, or END
 *
 * A string leaves STRING for ESCAPE, HEX, PAIR (behind a high surrogate,
 * whose low one may follow) or UTF8 (a sequence split between two pieces) and comes back. Anything
 * unexpected is BROKEN for good. Whether a level is an object or an array is one bit on a stack. */
#include "user/json_user.h"

#include <assert.h>
#include <stdlib.h>

#include "base/escapes.h"
#include "base/memory.h"
#include "base/scan.h"
#include "user/json_states.h"

enum { DEEP_WORDS = JSON_USER_DEPTH_MAX / 64 - 1 /* the first 64 levels are in `shallow` */ };

void json_user_init(struct json_user *j, struct user_values *values, struct json_ids *ids)
{
    *j = (struct json_user){.values = values, .ids = ids, .source = -1, .state = START};
    for (uint32_t i = 0; i < values->count; i++) {
        const struct user_source *s = &values->sources[i];
        if (s->kind == USER_FROM_JSON) {
            assert(s->name.size <= UINT32_MAX);
            j->name_max = s->name.size > j->name_max ? (uint32_t)s->name.size : j->name_max;
            j->name_sizes |= UINT32_C(1) << s->name.size % 32;
        }
    }
}

void json_user_done(struct json_user *j)
{
    free(j->deep);
    j->deep = NULL;
}

/* The stack of levels. */

static void open_level(struct json_user *j, bool is_object)
{
    if (j->depth >= JSON_USER_DEPTH_MAX) {
        j->state = BROKEN;
        return;
    }
    if (j->depth >= 64 && !j->deep) {
        j->deep = memory_new(DEEP_WORDS * sizeof(*j->deep));
    }
    uint64_t *word = j->depth < 64 ? &j->shallow : &j->deep[j->depth / 64 - 1];
    uint64_t bit = 1ull << (j->depth % 64);
    *word = is_object ? *word | bit : *word & ~bit;
    j->depth++;
    j->state = is_object ? FIRST_KEY : FIRST_VALUE;
}

static bool in_object(const struct json_user *j)
{
    unsigned top = j->depth - 1u;
    uint64_t word = top < 64 ? j->shallow : j->deep[top / 64 - 1];
    return (word >> (top % 64) & 1) != 0;
}

static void close_level(struct json_user *j)
{
    assert(j->depth > 0);
    j->depth--;
    j->state = j->depth == 0 ? END : NEXT;
}

/* Collecting: the text of a top-level key, or of a value that is looked for. */

static void collect(struct json_user *j, const char *from, size_t size)
{
    if (j->ids) {
        json_ids_text(j->ids, from, size);
    }
    if (!j->collecting || size == 0) {
        return;
    }
    if (j->in_key && j->values->size - j->text_at + size > j->name_max) {
        j->collecting = false; /* too long to be one of ours */
        user_values_truncate(j->values, j->text_at);
        return;
    }
    user_values_append(j->values, from, size);
}

static void end_value(struct json_user *j)
{
    if (j->collecting) {
        user_values_keep(j->values, j->source, j->text_at);
        j->collecting = false;
    }
    if (j->ids) {
        json_ids_end_value(j->ids);
    }
    j->state = NEXT;
}

static void begin_key(struct json_user *j)
{
    j->in_key = true;
    if (j->ids) {
        json_ids_begin_key(j->ids);
    }
    if (j->depth == 1) {
        j->source = -1;
        j->collecting = j->name_max > 0;
        j->text_at = j->values->size;
    }
    j->state = STRING;
}

/* `rest`: the last of its bytes, not collected. */
static void end_key(struct json_user *j, struct bytes rest)
{
    if (j->ids) {
        json_ids_end_key(j->ids, rest, j->depth == 1);
    }
    if (j->collecting && j->values->size > j->text_at) {
        collect(j, rest.at, rest.size);
        rest = user_values_text(j->values, j->text_at);
    }
    if (j->collecting) { /* it is not too long */
        j->source = user_values_find(j->values, USER_FROM_JSON, rest);
        user_values_truncate(j->values, j->text_at);
        j->collecting = false;
    }
    j->state = COLON;
}

/* A key, all of it. */
static inline void take_key(struct json_user *j, struct bytes key)
{
    bool top = j->depth == 1;
    if (j->ids) {
        json_ids_take_key(j->ids, key, top);
    }
    if (top) {
        bool wanted = (j->name_sizes >> key.size % 32 & 1) != 0;
        j->source = wanted ? user_values_find(j->values, USER_FROM_JSON, key) : -1;
    }
}

/* The string behind it, all of it; what is no string may be told as an empty one: none as well. */
static inline void take_text(struct json_user *j, struct bytes text)
{
    if (j->ids) {
        json_ids_take_value(j->ids, text);
    }
    if (j->depth == 1 && j->source >= 0) {
        user_values_forget(j->values, j->source); /* the last one wins */
        uint32_t at = j->values->size;
        user_values_append(j->values, text.at, text.size);
        user_values_keep(j->values, j->source, at);
    }
}

/* `rest`: what must follow; NULL: it is none. */
static void begin_literal(struct json_user *j, const char *rest)
{
    j->collecting = false;
    j->literal = rest;
    j->state = rest ? LITERAL : BROKEN;
}

static void begin_value(struct json_user *j, char c)
{
    j->in_key = false;
    j->collecting = j->depth == 1 && j->source >= 0;
    if (j->collecting) {
        user_values_forget(j->values, j->source); /* the last one wins */
        j->text_at = j->values->size;
    }
    if (j->ids) {
        json_ids_begin_value(j->ids, c == '"');
    }
    if (c == '"') {
        j->state = STRING;
    } else if (c == '{' || c == '[') {
        j->collecting = false;
        open_level(j, c == '{');
    } else if (c == '-' || scan_is_digit(c)) {
        collect(j, &c, 1);
        j->state = c == '-' ? MINUS : c == '0' ? ZERO : INTEGER;
    } else {
        begin_literal(j, literal_rest(c));
    }
}

/* Between the tokens. */

static void step_next(struct json_user *j, char c)
{
    bool object = in_object(j);
    if (c == ',') {
        j->state = object ? KEY : VALUE;
    } else if (c == (object ? '}' : ']')) {
        close_level(j);
    } else {
        j->state = BROKEN;
    }
}

/* Any but the quote of a key. */
static void step_token(struct json_user *j, char c)
{
    if (j->state == NEXT) {
        step_next(j, c);
    } else if ((j->state == FIRST_KEY && c == '}') || (j->state == FIRST_VALUE && c == ']')) {
        close_level(j);
    } else if (j->state == COLON && c == ':') {
        j->state = VALUE;
    } else if (j->state == VALUE || j->state == FIRST_VALUE) {
        begin_value(j, c);
    } else if (j->state == START && c == '{') {
        open_level(j, true);
    } else {
        j->state = BROKEN;
    }
}

/* Strings. */

/* What may follow a leading byte (RFC 3629, and half a surrogate pair): how many, and the bounds of
 * the first of them. */
static bool utf8_begin(struct json_user *j, unsigned char c)
{
    if (c < 0xC2 || c > 0xF4) {
        return false;
    }
    j->utf8_left = c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    j->utf8_low = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    j->utf8_high = c == 0xF4 ? 0x8F : 0xBF;
    return true;
}

/* Over everything that goes into the string as it stands. */
static const char *skip_text(const char *p, const char *end)
{
    for (;;) {
        size_t size;
        p = scan_json_text(p, end);
        while (p < end && (size = json_utf8_size(p, end)) > 0) {
            p += size;
        }
        if (p == end || !scan_is_json_text(*p)) {
            return p;
        }
    }
}

/* Kept apart: what it saves on the stack a usual string need not. */
static __attribute__((noinline)) const char *step_string(struct json_user *j, const char *p,
                                                         const char *end)
{
    struct bytes text = {p, 0};
    p = skip_text(p, end);
    text.size = (size_t)(p - text.at);
    if (p < end && *p == '"' && j->in_key) {
        end_key(j, text);
        return p + 1;
    }
    collect(j, text.at, text.size);
    if (p == end) {
        return p;
    }
    unsigned char c = (unsigned char)*p;
    if (c == '"') {
        end_value(j);
    } else if (c == '\\') {
        j->state = ESCAPE;
    } else if (c >= 0x80 && utf8_begin(j, c)) {
        collect(j, p, 1);
        j->state = UTF8;
    } else {
        j->state = BROKEN;
    }
    return p + 1;
}

/* A string that begins here nearly always ends here, too, and mostly has no more than ASCII. */
static const char *begin_string(struct json_user *j, const char *p, const char *end)
{
    const char *quote = scan_json_text(p, end);
    if (quote == end || *quote != '"') {
        return step_string(j, p, end);
    }
    struct bytes text = {p, (size_t)(quote - p)};
    if (j->in_key) {
        end_key(j, text);
    } else {
        collect(j, text.at, text.size);
        end_value(j);
    }
    return quote + 1;
}

/* The last byte of the value at `p`, if it is a plain string or an object of nothing, as `inputs`
 * mostly is, and all of it is here; else `end`. */
static inline const char *last_of_value(const struct json_user *j, const char *p, const char *end)
{
    if (*p == '"') {
        const char *quote = scan_json_text(p + 1, end);
        return quote < end && *quote == '"' ? quote : end;
    }
    bool empty = end - p >= 2 && p[0] == '{' && p[1] == '}' && j->depth < JSON_USER_DEPTH_MAX;
    return empty ? p + 1 : end;
}

/* What a body mostly is: pairs of a key and such a value. `p` is behind the quote of a key; what is
 * not of that kind is left to the steps. */
static const char *take_pairs(struct json_user *j, const char *p, const char *end)
{
    for (;;) {
        const char *quote = scan_json_text(p, end);
        if (end - quote < 4 || quote[0] != '"' || quote[1] != ':') {
            begin_key(j);
            return begin_string(j, p, end);
        }
        take_key(j, (struct bytes){p, (size_t)(quote - p)});
        p = quote[2] == ' ' ? quote + 3 : quote + 2;
        const char *last = last_of_value(j, p, end);
        if (last == end) {
            j->state = VALUE;
            return p;
        }
        take_text(j, (struct bytes){p + 1, (size_t)(last - p) - 1});
        p = last + 1;
        if (end - p < 3 || *p != ',') {
            j->state = NEXT;
            return p;
        }
        p += p[1] == ' ' ? 2 : 1;
        if (*p != '"') {
            j->state = KEY;
            return p;
        }
        p++;
    }
}

static const char *step_structure(struct json_user *j, const char *p, const char *end)
{
    while (p < end && j->state <= END) {
        char c = *p++;
        if (c == '"' && (j->state == FIRST_KEY || j->state == KEY)) {
            p = take_pairs(j, p, end);
        } else if ((unsigned char)c > ' ' || !scan_is_json_space(c)) {
            step_token(j, c);
            p = j->state == STRING ? begin_string(j, p, end) : p;
        }
    }
    return p;
}

static const char *step_utf8(struct json_user *j, const char *p)
{
    unsigned char c = (unsigned char)*p;
    if (c < j->utf8_low || c > j->utf8_high) {
        j->state = BROKEN;
        return p;
    }
    collect(j, p, 1);
    j->utf8_low = 0x80;
    j->utf8_high = 0xBF;
    j->utf8_left--;
    if (j->utf8_left == 0) {
        j->state = STRING;
    }
    return p + 1;
}

static void collect_code_point(struct json_user *j, uint32_t code)
{
    char text[4];
    collect(j, text, utf8_put(code, text));
    j->state = STRING;
}

/* Half a pair whose other half does not follow. */
static void end_half(struct json_user *j)
{
    uint32_t high = j->high;
    j->high = 0;
    collect_code_point(j, high);
}

static void end_unit(struct json_user *j)
{
    uint32_t unit = j->unit;
    if (j->high && utf16_is_low(unit)) {
        uint32_t code = utf16_join(j->high, unit);
        j->high = 0;
        collect_code_point(j, code);
        return;
    }
    if (j->high) {
        end_half(j);
    }
    if (utf16_is_high(unit)) {
        j->high = j->unit;
        j->state = PAIR;
    } else {
        collect_code_point(j, unit);
    }
}

static void step_hex(struct json_user *j, char c)
{
    int digit = ascii_hex(c);
    if (digit < 0) {
        j->state = BROKEN;
        return;
    }
    j->unit = (uint16_t)((unsigned)j->unit << 4 | (unsigned)digit);
    j->hex_left--;
    if (j->hex_left == 0) {
        end_unit(j);
    }
}

static void begin_unit(struct json_user *j)
{
    j->unit = 0;
    j->hex_left = 4;
    j->state = HEX;
}

static void step_escape(struct json_user *j, char c)
{
    if (c == 'u') {
        begin_unit(j);
        return;
    }
    const char *meaning = escape_meaning(c);
    if (meaning) {
        collect(j, meaning, 1);
        j->state = STRING;
    } else {
        j->state = BROKEN;
    }
}

/* Behind a high surrogate: is it `\u`? Otherwise that half stands by itself, and c is as ever. */
static const char *step_pair(struct json_user *j, const char *p)
{
    if (j->state == PAIR && *p == '\\') {
        j->state = PAIR_U;
        return p + 1;
    }
    if (j->state == PAIR_U && *p == 'u') {
        begin_unit(j);
        return p + 1;
    }
    bool escape = j->state == PAIR_U;
    end_half(j);
    j->state = escape ? ESCAPE : STRING;
    return p;
}

/* Numbers and literals. */

static const char *step_number(struct json_user *j, const char *p, const char *end)
{
    const char *from = p;
    enum json_state state = (enum json_state)j->state;
    if (state == MINUS && *p == 'I') {
        if (j->collecting) {
            user_values_truncate(j->values, j->text_at);
        }
        begin_literal(j, literal_rest('I'));
        return p + 1;
    }
    while (p < end && state != BROKEN) {
        state = number_state(state, *p);
        if (state == NEXT) {
            break;
        }
        p++;
    }
    collect(j, from, (size_t)(p - from));
    j->state = (uint8_t)state;
    if (state == NEXT) {
        end_value(j);
    }
    return p;
}

static void step_literal(struct json_user *j, char c)
{
    if (c != *j->literal++) {
        j->state = BROKEN;
    } else if (*j->literal == '\0') {
        end_value(j);
    }
}

static const char *step(struct json_user *j, const char *p, const char *end)
{
    switch ((enum json_state)j->state) {
    case START:
    case FIRST_KEY:
    case KEY:
    case COLON:
    case FIRST_VALUE:
    case VALUE:
    case NEXT:
    case END:
        return step_structure(j, p, end);
    case STRING:
        return step_string(j, p, end);
    case UTF8:
        return step_utf8(j, p);
    case ESCAPE:
        step_escape(j, *p);
        return p + 1;
    case HEX:
        step_hex(j, *p);
        return p + 1;
    case PAIR:
    case PAIR_U:
        return step_pair(j, p);
    case MINUS:
    case ZERO:
    case INTEGER:
    case DOT:
    case FRACTION:
    case EXPONENT_START:
    case EXPONENT_SIGN:
    case EXPONENT:
        return step_number(j, p, end);
    case LITERAL:
        step_literal(j, *p);
        return p + 1;
    case BROKEN:
        break;
    }
    return end;
}

/* Of a known encoding that is not plain UTF-8 from its first byte on; kept apart, as it is rare. */
static __attribute__((noinline)) void scan_translated(struct json_user *j, struct bytes piece)
{
    char text[256];
    uint8_t encoding = j->encoding;
    while (piece.size > 0 && j->state != BROKEN) {
        ptrdiff_t size =
            json_text_translate(&j->text, (enum json_encoding)encoding, &piece, text, sizeof(text));
        j->encoding = JSON_ENCODING_UTF8; /* that of `text` */
        json_user_feed(j, (struct bytes){text, size < 0 ? 0 : (size_t)size});
        j->encoding = encoding;
        j->state = size < 0 ? (uint32_t)BROKEN : j->state;
    }
}

/* The first bytes, which may come one by one. True when they have told the encoding. */
static __attribute__((noinline)) bool take_first(struct json_user *j, struct bytes *piece)
{
    size_t mark;
    while (j->first_count < JSON_FIRST && piece->size > 0) {
        j->first[j->first_count++] = *piece->at++;
        piece->size--;
    }
    if (j->first_count < JSON_FIRST) {
        return false;
    }
    j->encoding = (uint8_t)json_encoding_of(j->first, &mark);
    json_user_feed(j, (struct bytes){j->first + mark, JSON_FIRST - mark});
    return true;
}

bool json_user_feed(struct json_user *j, struct bytes piece)
{
    bool unknown = j->encoding == JSON_ENCODING_UNKNOWN;
    /* Two characters of ASCII, as all but all begin with, are UTF-8 without a mark. */
    if (unknown && j->first_count == 0 && piece.size >= JSON_FIRST && piece.at[0] > '\0' &&
        piece.at[1] > '\0') {
        j->encoding = JSON_ENCODING_UTF8;
    } else if (unknown && !take_first(j, &piece)) {
        return true;
    }
    if (j->encoding != JSON_ENCODING_UTF8) {
        scan_translated(j, piece);
    } else if (piece.size > 0) {
        const char *p = piece.at, *end = p + piece.size;
        while (p < end && j->state != BROKEN) {
            p = step(j, p, end);
        }
    }
    return j->state != BROKEN;
}

bool json_user_end(const struct json_user *j)
{
    return j->state == END && json_text_is_whole(&j->text);
}
