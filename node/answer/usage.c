/* usage: figures of a text are collected as they pass, in whatever order, and judged when it is
 * complete and its event known. */
#include "answer/usage.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum { EVENT_UNKNOWN, EVENT_MESSAGE_END, EVENT_RUN_END, EVENT_OTHER };

/* Bits of `told`. */
enum {
    TOLD_PROMPT = 1 << 0,
    TOLD_COMPLETION = 1 << 1,
    TOLD_TOTAL = 1 << 2,
    TOLD_PRICE = 1 << 3,
    TOLD_CURRENCY = 1 << 4,
};

void usage_on_text(struct usage_search *s)
{
    s->event = EVENT_UNKNOWN;
    s->told = 0;
    s->run_told = false;
}

static bool read_tokens(struct bytes text, uint64_t *ret)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || number > USAGE_TOKENS_MAX) {
            return false;
        }
        number = number * 10 + (uint64_t)(text.at[i] - '0');
    }
    if (text.size == 0 || number > USAGE_TOKENS_MAX) {
        return false;
    }
    *ret = number;
    return true;
}

static bool is_letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static bool read_currency(struct bytes text, char ret[USAGE_CURRENCY_SIZE + 1])
{
    if (text.size == 0 || text.size > USAGE_CURRENCY_SIZE) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (!is_letter(text.at[i])) {
            return false;
        }
    }
    memcpy(ret, text.at, text.size);
    ret[text.size] = '\0';
    return true;
}

static uint8_t event_of(struct bytes value)
{
    return bytes_equal(value, BYTES("message_end"))         ? EVENT_MESSAGE_END
           : bytes_equal(value, BYTES("workflow_finished")) ? EVENT_RUN_END
                                                            : EVENT_OTHER;
}

static void set_told(struct usage_search *s, uint8_t bit, bool told)
{
    s->told = (uint8_t)(told ? s->told | bit : s->told & ~bit);
}

static void take_tokens(struct usage_search *s, unsigned which, struct bytes value)
{
    set_told(s, (uint8_t)(TOLD_PROMPT << which), read_tokens(value, &s->tokens[which]));
}

void usage_on_found(struct usage_search *s, enum place place, struct bytes value)
{
    if (place == PLACE_EVENT) {
        s->event = event_of(value);
    } else if (place == PLACE_METADATA || place == PLACE_USAGE) {
        s->told = 0; /* another one replaces all that stood in the one before */
    } else if (place >= PLACE_PROMPT_TOKENS && place <= PLACE_TOTAL_TOKENS) {
        take_tokens(s, place - PLACE_PROMPT_TOKENS, value);
    } else if (place == PLACE_TOTAL_PRICE) {
        set_told(s, TOLD_PRICE, usage_price_read(value, &s->price));
    } else if (place == PLACE_CURRENCY) {
        set_told(s, TOLD_CURRENCY, read_currency(value, s->currency));
    } else if (place == PLACE_DATA) {
        s->run_told = false;
    } else if (place == PLACE_DATA_TOKENS) {
        s->run_told = read_tokens(value, &s->run_tokens);
    }
}

static void take_message(struct usage_search *s)
{
    struct usage u = {.split = true};
    u.prompt_tokens = s->told & TOLD_PROMPT ? s->tokens[0] : 0;
    u.completion_tokens = s->told & TOLD_COMPLETION ? s->tokens[1] : 0;
    u.total_tokens = u.prompt_tokens + u.completion_tokens;
    if (s->told & TOLD_TOTAL && s->tokens[2] > u.total_tokens) {
        u.total_tokens = s->tokens[2];
    }
    if ((s->told & TOLD_PRICE) && (s->told & TOLD_CURRENCY)) {
        u.price = s->price;
        memcpy(u.currency, s->currency, sizeof(u.currency));
    }
    s->usage = u;
    s->known = s->of_message = true;
}

static void take_run(struct usage_search *s)
{
    s->usage = (struct usage){.total_tokens = s->run_tokens};
    s->known = true;
}

void usage_on_whole(struct usage_search *s, enum reading_form form)
{
    bool blocking = form == READING_JSON;
    bool figures = (s->told & (TOLD_PROMPT | TOLD_COMPLETION | TOLD_TOTAL | TOLD_PRICE)) != 0;
    if (figures && (blocking || s->event == EVENT_MESSAGE_END)) {
        take_message(s);
    } else if (s->run_told && !s->of_message && (blocking || s->event == EVENT_RUN_END)) {
        take_run(s);
    }
}

bool usage_is_beside(const struct usage_search *s)
{
    return s->event == EVENT_OTHER;
}

bool usage_text_is_beside(struct bytes text)
{
    static const char begin[] = "{\"event\":";
    enum { BEGIN = sizeof(begin) - 1 };
    if (text.size < BEGIN + 2 || memcmp(text.at, begin, BEGIN) != 0) {
        return false;
    }
    const char *at = text.at + BEGIN, *end = text.at + text.size;
    at += *at == ' ';
    struct bytes rest = {at + 1, (size_t)(end - at) - 1};
    const char *quote = *at == '"' ? memchr(rest.at, '"', rest.size) : NULL;
    struct bytes name = {rest.at, quote ? (size_t)(quote - rest.at) : 0};
    return quote && !memchr(name.at, '\\', name.size) && event_of(name) == EVENT_OTHER;
}

/* ---- prices ---- */

enum {
    UNIT_DIGITS = 12, /* a price's smallest part is 10^-12 */
    MICRO_DIGITS = 6, /* of these parts one millionth has 10^6 */
    WHOLE_DIGITS = 9, /* before the point */
    EXPONENT_MAX = 9999,
};

/* The digits and where the point stands among them, the exponent counted in. */
struct decimal {
    const char *digits; /* with a point among them, perhaps */
    size_t size;
    long point; /* so many digits stand before it */
};

static size_t skip_digits(struct bytes text, size_t at)
{
    while (at < text.size && text.at[at] >= '0' && text.at[at] <= '9') {
        at++;
    }
    return at;
}

/* `e-7` and its like; nothing is an exponent of 0. */
static bool read_exponent(struct bytes text, long *ret)
{
    *ret = 0;
    if (text.size == 0) {
        return true;
    }
    size_t at = 1;
    bool minus = at < text.size && text.at[at] == '-';
    at += at < text.size && (text.at[at] == '-' || text.at[at] == '+');
    if (ascii_lower(text.at[0]) != 'e' || at == text.size || skip_digits(text, at) != text.size) {
        return false;
    }
    for (; at < text.size; at++) {
        *ret = *ret < EXPONENT_MAX ? *ret * 10 + (text.at[at] - '0') : *ret;
    }
    *ret = minus ? -*ret : *ret;
    return true;
}

static bool read_decimal(struct bytes text, struct decimal *ret)
{
    size_t whole = skip_digits(text, 0), end = whole;
    if (end < text.size && text.at[end] == '.') {
        end = skip_digits(text, end + 1);
        if (end == whole + 1) {
            return false; /* a point needs digits behind it */
        }
    }
    long exponent;
    struct bytes rest = {text.at + end, text.size - end};
    if (whole == 0 || !read_exponent(rest, &exponent)) {
        return false;
    }
    *ret = (struct decimal){text.at, end, (long)whole + exponent};
    return true;
}

static uint64_t power_of_ten(long exponent)
{
    uint64_t power = 1;
    while (exponent-- > 0) {
        power *= 10;
    }
    return power;
}

/* A digit that stands for so many times 10^(place - UNIT_DIGITS). */
static void add_digit(struct usage_price *price, uint64_t digit, long place)
{
    if (place >= MICRO_DIGITS) {
        price->micro += digit * power_of_ten(place - MICRO_DIGITS);
    } else if (place >= 0) {
        price->rest += digit * power_of_ten(place);
    } else if (place == -1 && digit >= 5) {
        price->rest++;
    }
}

bool usage_price_read(struct bytes text, struct usage_price *ret)
{
    struct decimal d;
    struct usage_price price = {0, 0};
    if (text.size == 0 || !read_decimal(text, &d)) {
        return false;
    }
    long place = d.point - 1 + UNIT_DIGITS;
    for (size_t i = 0; i < d.size; i++) {
        if (d.digits[i] == '.') {
            continue;
        }
        uint64_t digit = (uint64_t)(d.digits[i] - '0');
        if (digit > 0 && place >= UNIT_DIGITS + WHOLE_DIGITS) {
            return false;
        }
        if (digit > 0) {
            add_digit(&price, digit, place);
        }
        place--;
    }
    *ret = price;
    return true;
}

size_t usage_price_text(struct usage_price price, char ret[USAGE_PRICE_TEXT_SIZE])
{
    const uint64_t million = 1000000;
    uint64_t micro = price.micro + price.rest / million;
    int size = snprintf(ret, USAGE_PRICE_TEXT_SIZE, "%" PRIu64 ".%06" PRIu64 "%06" PRIu64,
                        micro / million, micro % million, price.rest % million);
    assert(size > 0 && size < USAGE_PRICE_TEXT_SIZE);
    while (ret[size - 1] == '0') {
        size--;
    }
    size -= ret[size - 1] == '.';
    ret[size] = '\0';
    return (size_t)size;
}
