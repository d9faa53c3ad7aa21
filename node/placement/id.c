/* id: a UUID's 16 bytes, however it is spelled, and their hash. */
#include "placement/id.h"

#include "base/scan.h"

enum { UUID_DIGITS = 32 };

struct uuid {
    uint64_t low, high; /* 16 digits each */
};

/* What Python's uuid.UUID() leaves out: `urn:`, `uuid:`, braces at the ends, dashes anywhere. */
static struct bytes without_frame(struct bytes text)
{
    static const struct bytes marks[] = {{"urn:", 4}, {"uuid:", 5}};
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        if (text.size > marks[i].size && memcmp(text.at, marks[i].at, marks[i].size) == 0) {
            text.at += marks[i].size;
            text.size -= marks[i].size;
        }
    }
    while (text.size > 0 && (*text.at == '{' || *text.at == '}')) {
        text.at++;
        text.size--;
    }
    while (text.size > 0 && (text.at[text.size - 1] == '{' || text.at[text.size - 1] == '}')) {
        text.size--;
    }
    return text;
}

/* Four bytes here and four there. */
static uint64_t word_of(const char *first, const char *second)
{
    uint32_t low, high;
    memcpy(&low, first, sizeof(low));
    memcpy(&high, second, sizeof(high));
    return le32toh(low) | (uint64_t)le32toh(high) << 32;
}

/* As Dify writes it, 8-4-4-4-12 digits, which nearly all are. */
static bool read_usual(struct bytes text, struct uuid *ret)
{
    const char *at = text.at;
    return text.size == UUID_DIGITS + 4 && at[8] == '-' && at[13] == '-' && at[18] == '-' &&
           at[23] == '-' && scan_hex_16(word_of(at, at + 4), word_of(at + 9, at + 14), &ret->low) &&
           scan_hex_16(word_of(at + 19, at + 24), word_of(at + 28, at + 32), &ret->high);
}

/* In any spelling. False: it is no UUID. */
static bool read_uuid(struct bytes text, struct uuid *ret)
{
    char digits[UUID_DIGITS];
    size_t count = 0;
    text = without_frame(text);
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == '-') {
            continue;
        }
        if (count == UUID_DIGITS) {
            return false;
        }
        digits[count++] = text.at[i];
    }
    return count == UUID_DIGITS &&
           scan_hex_16(siphash_word(digits), siphash_word(digits + 8), &ret->low) &&
           scan_hex_16(siphash_word(digits + 16), siphash_word(digits + 24), &ret->high);
}

uint64_t placement_application(struct bytes name)
{
    static const uint8_t no_secret[SIPHASH_KEY_SIZE];
    return siphash(no_secret, name);
}

static uint64_t not_zero(uint64_t number)
{
    return number ? number : 1;
}

static uint64_t of_uuid(const uint8_t key[SIPHASH_KEY_SIZE], uint64_t application,
                        enum placement_kind kind, const struct uuid *uuid)
{
    struct siphash s;
    siphash_begin(&s, key);
    siphash_take(&s, application);
    siphash_take(&s, uuid->low);
    siphash_take(&s, uuid->high);
    return not_zero(siphash_end(&s, 3 * 8 + 1, kind)); /* no text is hashed as so few bytes */
}

/* As it is, filled up with zeros, and its size told. */
static uint64_t of_text(const uint8_t key[SIPHASH_KEY_SIZE], uint64_t application,
                        enum placement_kind kind, struct bytes text)
{
    char whole[PLACEMENT_ID_MAX] = {0};
    struct siphash s;
    memcpy(whole, text.at, text.size);
    siphash_begin(&s, key);
    siphash_take(&s, application);
    for (size_t i = 0; i < sizeof(whole); i += 8) {
        siphash_take(&s, siphash_word(whole + i));
    }
    return not_zero(siphash_end(&s, 8 + sizeof(whole) + 2, (uint64_t)text.size << 8 | kind));
}

/* Not in line, for few come here. */
static __attribute__((noinline)) uint64_t of_any(const uint8_t key[SIPHASH_KEY_SIZE],
                                                 uint64_t application, enum placement_kind kind,
                                                 struct bytes text)
{
    struct uuid uuid;
    if (text.size == 0 || text.size > PLACEMENT_ID_MAX) {
        return 0;
    }
    return read_uuid(text, &uuid) ? of_uuid(key, application, kind, &uuid)
                                  : of_text(key, application, kind, text);
}

uint64_t placement_id(const uint8_t key[SIPHASH_KEY_SIZE], uint64_t application,
                      enum placement_kind kind, struct bytes text)
{
    struct uuid uuid;
    return read_usual(text, &uuid) ? of_uuid(key, application, kind, &uuid)
                                   : of_any(key, application, kind, text);
}
