/* value: numbers, durations, sizes, names. Addresses are in value_address.c. */
#include "conf/value.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool value_boolean(struct bytes text, bool *ret_value)
{
    static const struct {
        struct bytes lower;
        bool value;
    } words[] = {
        {{"true", 4}, true},   {{"yes", 3}, true}, {{"on", 2}, true},   {{"y", 1}, true},
        {{"false", 5}, false}, {{"no", 2}, false}, {{"off", 3}, false}, {{"n", 1}, false},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (bytes_equal_nocase(text, words[i].lower)) {
            *ret_value = words[i].value;
            return true;
        }
    }
    return false;
}

static bool add_digit(uint64_t *value, unsigned base, unsigned digit)
{
    if (*value > (UINT64_MAX - digit) / base) {
        return false;
    }
    *value = *value * base + digit;
    return true;
}

static bool hexadecimal(struct bytes text, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.size; i++) {
        char c = ascii_lower(text.at[i]);
        if (!is_digit(c) && (c < 'a' || c > 'f')) {
            return false;
        }
        if (!add_digit(&value, 16, (unsigned)(is_digit(c) ? c - '0' : c - 'a' + 10))) {
            return false;
        }
    }
    *ret_value = value;
    return text.size > 0;
}

bool value_number(struct bytes text, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (text.size > 2 && text.at[0] == '0' && text.at[1] == 'x') {
        return hexadecimal((struct bytes){text.at + 2, text.size - 2}, ret_value);
    }
    if (text.size == 0 || !is_digit(text.at[0]) || (text.at[0] == '0' && text.size > 1)) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == '_') {
            continue;
        }
        if (!is_digit(text.at[i]) || !add_digit(&value, 10, (unsigned)(text.at[i] - '0'))) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

bool value_looks_numeric(struct bytes text)
{
    size_t digits = 0;
    for (size_t i = 0; i < text.size; i++) {
        bool sign = i == 0 && (text.at[0] == '-' || text.at[0] == '+');
        if (!sign && text.at[i] != '.' && text.at[i] != '_' && !is_digit(text.at[i])) {
            return false;
        }
        digits += is_digit(text.at[i]);
    }
    return digits > 0;
}

/* Splits `text` behind its leading digits (and one '.'). */
static struct bytes number_part(struct bytes text)
{
    size_t size = 0;
    while (size < text.size &&
           (is_digit(text.at[size]) || text.at[size] == '_' || text.at[size] == '.')) {
        size++;
    }
    return (struct bytes){text.at, size};
}

/* Up to three digits behind the point, as thousandths. */
static bool thousandths(struct bytes digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    if (digits.size == 0 || digits.size > 3) {
        return false;
    }
    for (size_t i = 0; i < 3; i++) {
        if (i < digits.size && !is_digit(digits.at[i])) {
            return false;
        }
        value = value * 10 + (i < digits.size ? (uint64_t)(digits.at[i] - '0') : 0);
    }
    *ret_value = value;
    return true;
}

bool value_duration_ms(struct bytes text, uint64_t *ret_ms)
{
    static const struct {
        struct bytes unit;
        uint64_t ms;
    } units[] = {{{"", 0}, 1000},   {{"ms", 2}, 1},      {{"s", 1}, 1000},
                 {{"m", 1}, 60000}, {{"h", 1}, 3600000}, {{"d", 1}, 86400000}};
    struct bytes number = number_part(text);
    struct bytes unit = {text.at + number.size, text.size - number.size};
    const char *point = number.size > 0 ? memchr(number.at, '.', number.size) : NULL;
    struct bytes whole = {number.at, point ? (size_t)(point - number.at) : number.size};
    uint64_t value, fraction = 0, ms;
    if (!value_number(whole, &value) ||
        (point &&
         !thousandths((struct bytes){point + 1, number.size - whole.size - 1}, &fraction))) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (!bytes_equal(unit, units[i].unit)) {
            continue;
        }
        bool too_fine = fraction * units[i].ms % 1000 != 0;
        if (too_fine || __builtin_mul_overflow(value, units[i].ms, &ms) ||
            __builtin_add_overflow(ms, fraction * units[i].ms / 1000, &ms)) {
            return false;
        }
        *ret_ms = ms;
        return true;
    }
    return false;
}

bool value_size(struct bytes text, uint64_t *ret_size)
{
    static const struct {
        struct bytes unit;
        uint64_t factor;
    } units[] = {{{"", 0}, 1}, {{"KiB", 3}, 1 << 10}, {{"MiB", 3}, 1 << 20}, {{"GiB", 3}, 1 << 30}};
    struct bytes number = number_part(text);
    struct bytes unit = {text.at + number.size, text.size - number.size};
    uint64_t value;
    if (!value_number(number, &value)) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (bytes_equal(unit, units[i].unit)) {
            return !__builtin_mul_overflow(value, units[i].factor, ret_size);
        }
    }
    return false;
}

bool value_is_name(struct bytes text)
{
    static const char marks[] = "._-";
    for (size_t i = 0; i < text.size; i++) {
        if (!is_alphanumeric(text.at[i]) && !memchr(marks, text.at[i], sizeof marks - 1)) {
            return false;
        }
    }
    bool dots = bytes_equal(text, BYTES(".")) || bytes_equal(text, BYTES(".."));
    return text.size >= 1 && text.size <= VALUE_NAME_MAX && !dots;
}

bool value_is_http_token(struct bytes text)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.size; i++) {
        if (!is_alphanumeric(text.at[i]) && !memchr(marks, text.at[i], sizeof marks - 1)) {
            return false;
        }
    }
    return text.size > 0;
}

bool value_is_bearer(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < 0x21 || text.at[i] > 0x7E) {
            return false;
        }
    }
    return text.size > 0;
}

bool value_is_clean(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20 || c == 0x7F) {
            return false;
        }
    }
    return true;
}

bool value_fits_keepalived(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c == 127 || strchr("\"'\\$#!~{}", *c)) {
            return false;
        }
    }
    return true;
}

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = memchr(digits, c, sizeof digits - 1);
    return at ? (int)(at - digits) : -1;
}

bool value_key(struct bytes text, uint8_t ret_key[32])
{
    uint8_t key[33];
    size_t size = 0;
    if (text.size != 44 || text.at[43] != '=') {
        return false;
    }
    for (size_t i = 0; i < 44; i += 4) {
        uint32_t group = 0;
        for (size_t j = i; j < i + 4; j++) {
            int digit = j == 43 ? 0 : base64_digit(text.at[j]);
            if (digit < 0) {
                return false;
            }
            group = group << 6 | (uint32_t)digit;
        }
        key[size++] = (uint8_t)(group >> 16);
        key[size++] = (uint8_t)(group >> 8);
        key[size++] = (uint8_t)group;
    }
    if (key[32] != 0) { /* bits behind the 32nd byte: not what keygen prints */
        return false;
    }
    memcpy(ret_key, key, 32);
    return true;
}

struct bytes value_folded(struct bytes key, bool bare, char space[VALUE_KEY_SIZE])
{
    size_t size = 0;
    for (size_t i = 0; i < key.size && size < VALUE_KEY_SIZE; i++) {
        char c = key.at[i] == '-' ? '_' : ascii_lower(key.at[i]);
        if (!bare || c != '_') {
            space[size++] = c;
        }
    }
    return (struct bytes){space, size};
}

static unsigned smallest(unsigned a, unsigned b, unsigned c)
{
    unsigned ab = a < b ? a : b;
    return ab < c ? ab : c;
}

unsigned value_distance(struct bytes a, struct bytes b, unsigned max)
{
    enum { LENGTH_MAX = 64 /* no key of the schema is longer than 20 */ };
    unsigned rows[3][LENGTH_MAX + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    size_t difference = a.size > b.size ? a.size - b.size : b.size - a.size;
    if (a.size > LENGTH_MAX || b.size > LENGTH_MAX || difference > max) {
        return max + 1;
    }
    for (unsigned j = 0; j <= b.size; j++) {
        last[j] = j;
        before[j] = j;
    }
    for (unsigned i = 1; i <= a.size; i++) {
        now[0] = i;
        for (unsigned j = 1; j <= b.size; j++) {
            unsigned other = a.at[i - 1] != b.at[j - 1];
            now[j] = smallest(last[j] + 1, now[j - 1] + 1, last[j - 1] + other);
            bool swapped =
                i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1];
            if (swapped && before[j - 2] + 1 < now[j]) {
                now[j] = before[j - 2] + 1;
            }
        }
        unsigned *free_row = before;
        before = last;
        last = now;
        now = free_row;
    }
    return last[b.size] <= max ? last[b.size] : max + 1;
}
