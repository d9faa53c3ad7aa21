/* json_paths: a small automaton over the levels that paths lead through; all others are counted
 * only.
 *
 *   VALUE -{-> KEY -"-> STRING -> COLON -> VALUE ...   AFTER -,-> KEY or VALUE
 *   VALUE -"-> STRING -> AFTER                         AFTER -}-> AFTER of the level above; END
 *   VALUE -digit-> WORD -> AFTER
 *
 * Numbers and literals are one state: WORD.
 *
 * All but all strings lie in one piece and have no escapes: these are taken as they lie there, with
 * the `:` or `,` behind them. Only others are put together in `text`. */
#include "answer/json_paths.h"

#include <assert.h>

#include "base/escapes.h"
#include "base/scan.h"

enum state {
    VALUE,
    FIRST_VALUE, /* or `]` */
    KEY,         /* or `}` */
    COLON,
    AFTER,
    STRING,
    ESCAPE,
    HEX,
    WORD,
    SKIP, /* in levels where no path leads */
    SKIP_STRING,
    SKIP_ESCAPE,
    END,
    BROKEN,
};

void json_paths_begin(struct json_paths *j, const struct json_step *steps,
                      json_paths_found *on_found, void *arg)
{
    memset(j, 0, offsetof(struct json_paths, text)); /* once an event: the text is a cache line */
    j->steps = steps;
    j->on_found = on_found;
    j->arg = arg;
    j->state = VALUE;
}

static const struct json_step *level_of(const struct json_paths *j)
{
    return &j->steps[j->places[j->depth]];
}

/* The step with this key from that level; 0: none. */
static inline uint8_t step_of(const struct json_paths *j, const struct json_step *level,
                              struct bytes key)
{
    if (key.size > JSON_PATHS_KEY) {
        return 0;
    }
    uint8_t at = level->of_size ? level->of_size[key.size] : level->below;
    while (at != 0) {
        const struct json_step *s = &j->steps[at];
        if (s->size == key.size && bytes_same(s->key, key.at, key.size)) {
            break;
        }
        at = s->next;
    }
    return at;
}

static uint8_t element_step(const struct json_paths *j)
{
    uint8_t at = level_of(j)->below;
    while (at != 0 && j->steps[at].size != JSON_PATHS_ELEMENT) {
        at = j->steps[at].next;
    }
    return at;
}

static bool in_object(const struct json_paths *j)
{
    return j->is_object[j->depth];
}

static void collect(struct json_paths *j, const char *from, size_t size)
{
    if (!j->collecting || size == 0) {
        return;
    }
    size_t room = (j->in_key ? JSON_PATHS_KEY : JSON_PATHS_VALUE) - (size_t)j->size;
    if (size > room) {
        j->too_long = true;
        j->collecting = false;
        return;
    }
    memcpy(j->text + j->size, from, size);
    j->size = (uint8_t)(j->size + size);
}

static void start_text(struct json_paths *j, bool in_key, bool wanted)
{
    j->in_key = in_key;
    j->collecting = wanted;
    j->too_long = !wanted;
    j->size = 0;
    j->high = 0;
}

static void tell_value(struct json_paths *j)
{
    if (j->at != 0) {
        struct bytes value = {j->too_long ? NULL : j->text, j->too_long ? 0 : j->size};
        j->on_found(j->arg, j->at, value);
    }
}

static void after_value(struct json_paths *j)
{
    j->state = j->depth == 0 || j->stopped ? END : AFTER;
}

/* An array's next element is about to come. */
static void want_element(struct json_paths *j, enum state state)
{
    j->at = element_step(j);
    j->state = (uint8_t)state;
}

static void open_level(struct json_paths *j, bool object)
{
    bool leads = (j->at != 0 || j->depth == 0) && j->steps[j->at].below != 0;
    if (j->stopped) {
        j->state = END;
        return;
    }
    if (!leads && j->depth > 0) {
        j->skipped = 1;
        j->state = SKIP;
        return;
    }
    assert(j->depth < JSON_PATHS_DEPTH);
    j->depth++;
    j->places[j->depth] = j->at;
    j->is_object[j->depth] = object;
    if (object) {
        j->state = KEY;
    } else {
        want_element(j, FIRST_VALUE);
    }
}

/* A value that is a container, which is told as nothing, begins. */
static void begin_level(struct json_paths *j, bool object)
{
    if (j->at != 0) {
        j->on_found(j->arg, j->at, (struct bytes){NULL, 0});
    }
    open_level(j, object);
}

static void close_level(struct json_paths *j, bool object)
{
    if (in_object(j) != object) {
        j->state = BROKEN;
        return;
    }
    j->depth--;
    after_value(j);
}

static void end_string(struct json_paths *j)
{
    if (!j->in_key) {
        tell_value(j);
        after_value(j);
        return;
    }
    j->at = j->too_long ? 0 : step_of(j, level_of(j), (struct bytes){j->text, j->size});
    j->state = COLON;
}

/* Behind a key, and behind a value. */
static const char *pass_space(const char *p, const char *end)
{
    return p + (p < end && *p == ' ');
}

static const char *pass_colon(struct json_paths *j, const char *p, const char *end)
{
    bool there = p < end && *p == ':';
    j->state = there ? VALUE : COLON;
    return there ? pass_space(p + 1, end) : p;
}

static const char *pass_comma(struct json_paths *j, const char *p, const char *end)
{
    after_value(j);
    if (j->state == AFTER && p < end && *p == ',' && in_object(j)) {
        j->state = KEY;
        p = pass_space(p + 1, end);
    }
    return p;
}

/* The size of the escape here; 0: some of it is in the next piece, or it is none. */
static size_t escape_size(const char *p, const char *end)
{
    if (*p != '\\' || end - p < 2) {
        return 0;
    }
    if (p[1] != 'u') {
        return escape_meaning(p[1]) ? 2 : 0;
    }
    bool whole = end - p >= 6 && ascii_hex(p[2]) >= 0 && ascii_hex(p[3]) >= 0 &&
                 ascii_hex(p[4]) >= 0 && ascii_hex(p[5]) >= 0;
    return whole ? 6 : 0;
}

static void tell_text(struct json_paths *j, struct bytes text)
{
    j->on_found(j->arg, j->at, text.size <= JSON_PATHS_VALUE ? text : (struct bytes){NULL, 0});
}

/* A key or a value begins, behind its quote: all of it, if it lies here as it is meant. */
static const char *take_string(struct json_paths *j, const char *p, const char *end)
{
    bool key = j->state == KEY, wanted = key || j->at != 0;
    const char *quote = scan_either(p, end, '"', '\\');
    for (size_t size; !wanted && quote < end && (size = escape_size(quote, end)) > 0;) {
        quote = scan_either(quote + size, end, '"', '\\');
    }
    if (quote == end || *quote != '"') {
        start_text(j, key, wanted);
        j->state = STRING;
        return wanted ? p : quote;
    }
    struct bytes text = {p, (size_t)(quote - p)};
    if (key) {
        j->at = step_of(j, level_of(j), text);
        return pass_colon(j, quote + 1, end);
    }
    if (j->at != 0) {
        tell_text(j, text);
    }
    return pass_comma(j, quote + 1, end);
}

/* Numbers and literals end where something else begins. */
static const char *pass_word(const char *p, const char *end)
{
    while (p < end && scan_is_digit(*p)) { /* mostly that is all */
        p++;
    }
    while (p < end && (scan_is_word(*p) || *p == '+' || *p == '.')) {
        p++;
    }
    return p;
}

/* The string or number that begins at `p`, if all of it is here and needs no decoding: returns
 * where it ends, or NULL. */
static inline const char *find_text(const char *p, const char *end, struct bytes *ret_text)
{
    const char *from = *p == '"' ? p + 1 : p, *to;
    if (*p == '"') {
        to = scan_either(from, end, '"', '\\');
        *ret_text = (struct bytes){from, (size_t)(to - from)};
        return to < end && *to == '"' ? to + 1 : NULL;
    }
    to = scan_is_digit(*p) ? pass_word(from, end) : end;
    *ret_text = (struct bytes){from, (size_t)(to - from)};
    return to < end ? to : NULL;
}

/* What an event and an answer mostly are: pairs of a key and a text or number, all of it here. `p`
 * is behind the quote of a key; what is not of that kind is left to the steps. */
static const char *take_pairs(struct json_paths *j, const char *p, const char *end)
{
    const struct json_step *level = level_of(j);
    struct bytes text;
    for (;;) {
        const char *quote = scan_either(p, end, '"', '\\');
        if (end - quote < 4 || quote[0] != '"' || quote[1] != ':') {
            j->state = KEY;
            return take_string(j, p, end);
        }
        j->at = step_of(j, level, (struct bytes){p, (size_t)(quote - p)});
        const char *value = quote[2] == ' ' ? quote + 3 : quote + 2;
        p = find_text(value, end, &text);
        if (!p) {
            j->state = VALUE;
            return value;
        }
        if (j->at != 0) {
            tell_text(j, text);
        }
        if (j->stopped || end - p < 3 || *p != ',') {
            after_value(j);
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

/* A number or literal, with its first character. */
static const char *take_word(struct json_paths *j, const char *from, const char *end)
{
    bool number = *from == '-' || scan_is_digit(*from);
    const char *p = pass_word(from, end);
    if (p == end) {
        start_text(j, false, number && j->at != 0);
        collect(j, from, (size_t)(p - from));
        j->state = WORD;
        return p;
    }
    size_t size = (size_t)(p - from);
    if (j->at != 0) {
        bool told = number && size <= JSON_PATHS_VALUE;
        j->on_found(j->arg, j->at, (struct bytes){told ? from : NULL, told ? size : 0});
    }
    return pass_comma(j, p, end);
}

static void step_comma(struct json_paths *j)
{
    if (in_object(j)) {
        j->state = KEY;
    } else {
        want_element(j, VALUE);
    }
}

/* Any but a quote. */
static void step_token(struct json_paths *j, char c)
{
    bool value = j->state <= FIRST_VALUE, after = j->state == AFTER;
    if (c == '}' && (after || j->state == KEY)) {
        close_level(j, true);
    } else if (c == ',' && after) {
        step_comma(j);
    } else if ((c == '{' || c == '[') && value) {
        begin_level(j, c == '{');
    } else if (c == ']' && (after || j->state == FIRST_VALUE)) {
        close_level(j, false);
    } else if (c == ':' && j->state == COLON) {
        j->state = VALUE;
    } else {
        j->state = BROKEN;
    }
}

/* Strings: all but escapes goes in as it is. */

static const char *step_string(struct json_paths *j, const char *p, const char *end)
{
    const char *from = p;
    p = scan_either(p, end, '"', '\\');
    if (p > from && j->high) {
        j->too_long = true; /* half a pair: no id */
    }
    collect(j, from, (size_t)(p - from));
    if (p == end) {
        return p;
    }
    if (*p == '"') {
        j->too_long = j->too_long || j->high != 0;
        end_string(j);
    } else {
        j->state = ESCAPE;
    }
    return p + 1;
}

static void collect_code(struct json_paths *j, uint32_t code)
{
    char text[4];
    collect(j, text, utf8_put(code, text));
}

static void end_unit(struct json_paths *j)
{
    uint32_t unit = j->unit;
    bool low = utf16_is_low(unit);
    j->state = STRING;
    if (low && j->high) {
        collect_code(j, utf16_join(j->high, unit));
        j->high = 0;
    } else if (low || j->high) {
        j->too_long = true; /* half a pair */
        j->high = 0;
    } else if (utf16_is_high(unit)) {
        j->high = j->unit;
    } else {
        collect_code(j, unit);
    }
}

static void step_hex(struct json_paths *j, char c)
{
    int digit = ascii_hex(c);
    if (digit < 0) {
        j->state = BROKEN;
        return;
    }
    j->unit = (uint16_t)((unsigned)j->unit << 4 | (unsigned)digit);
    if (--j->hex_left == 0) {
        end_unit(j);
    }
}

static void step_escape(struct json_paths *j, char c)
{
    if (c == 'u') {
        j->unit = 0;
        j->hex_left = 4;
        j->state = HEX;
        return;
    }
    const char *meaning = escape_meaning(c);
    if (!meaning) {
        j->state = BROKEN;
        return;
    }
    j->too_long = j->too_long || j->high != 0;
    collect(j, meaning, 1);
    j->state = STRING;
}

static const char *step_word(struct json_paths *j, const char *p, const char *end)
{
    const char *from = p;
    p = pass_word(p, end);
    collect(j, from, (size_t)(p - from));
    if (p < end) {
        tell_value(j);
        after_value(j);
    }
    return p;
}

/* Levels where no path leads: only their number counts, and what stands in strings does not. */
static const char *step_skip(struct json_paths *j, const char *p, const char *end)
{
    while (p < end && j->state == SKIP) {
        char c = *p++;
        if (c == '"') {
            j->state = SKIP_STRING;
        } else if (c == '{' || c == '[') {
            j->skipped++;
        } else if ((c == '}' || c == ']') && --j->skipped == 0) {
            after_value(j);
        }
    }
    return p;
}

static const char *step_skip_string(struct json_paths *j, const char *p, const char *end)
{
    p = scan_either(p, end, '"', '\\');
    if (p < end) {
        j->state = *p++ == '"' ? SKIP : SKIP_ESCAPE;
    }
    return p;
}

static const char *step_structure(struct json_paths *j, const char *p, const char *end)
{
    while (p < end && j->state <= AFTER) {
        char c = *p++;
        if (c == '"' && j->state == KEY) {
            p = take_pairs(j, p, end);
        } else if (c == '"' && j->state < KEY) {
            p = take_string(j, p, end);
        } else if (j->state <= FIRST_VALUE && scan_is_word(c)) {
            p = take_word(j, p - 1, end);
        } else if ((unsigned char)c > ' ' || !scan_is_json_space(c)) {
            step_token(j, c);
        }
    }
    return p;
}

static const char *step(struct json_paths *j, const char *p, const char *end)
{
    switch ((enum state)j->state) {
    case VALUE:
    case FIRST_VALUE:
    case KEY:
    case COLON:
    case AFTER:
        return step_structure(j, p, end);
    case STRING:
        return step_string(j, p, end);
    case ESCAPE:
        step_escape(j, *p);
        return p + 1;
    case HEX:
        step_hex(j, *p);
        return p + 1;
    case WORD:
        return step_word(j, p, end);
    case SKIP:
        return step_skip(j, p, end);
    case SKIP_STRING:
        return step_skip_string(j, p, end);
    case SKIP_ESCAPE:
        j->state = SKIP_STRING;
        return p + 1;
    case END:
    case BROKEN:
        break;
    }
    return end;
}

enum json_paths_state json_paths_feed(struct json_paths *j, struct bytes piece)
{
    const char *p = piece.at, *end = p + piece.size;
    j->state = j->stopped ? (uint8_t)END : j->state;
    while (p < end && j->state < END) {
        p = step(j, p, end);
    }
    return j->state == END      ? JSON_PATHS_END
           : j->state == BROKEN ? JSON_PATHS_BROKEN
                                : JSON_PATHS_MORE;
}

void json_paths_stop(struct json_paths *j)
{
    j->stopped = true;
}
