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

/* False: it is no UUID. */
static bool read_uuid(struct bytes text, struct uuid *ret)
{
    char digits[UUID_DIGITS];
    size_t count = 0;
    if (read_usual(text, ret)) {
        return true;
    }
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

/* A text that is no UUID, behind the application: filled up with zeros, and its size told. */
static uint64_t end_by_text(struct siphash *s, enum placement_kind kind, struct bytes text)
{
    char whole[PLACEMENT_ID_MAX] = {0};
    memcpy(whole, text.at, text.size);
    for (size_t i = 0; i < sizeof(whole); i += 8) {
        siphash_take(s, siphash_word(whole + i));
    }
    return siphash_end(s, 8 + sizeof(whole) + 2, (uint64_t)text.size << 8 | kind);
}

/* 16 bytes: no text is hashed as so few. */
static uint64_t end_by_uuid(struct siphash *s, enum placement_kind kind, const struct uuid *uuid)
{
    siphash_take(s, uuid->low);
    siphash_take(s, uuid->high);
    return siphash_end(s, 8 + 16 + 1, kind);
}

uint64_t placement_id(const uint8_t key[SIPHASH_KEY_SIZE], uint64_t application,
                      enum placement_kind kind, struct bytes text)
{
    struct siphash s;
    struct uuid uuid;
    if (text.size == 0 || text.size > PLACEMENT_ID_MAX) {
        return 0;
    }
    siphash_begin(&s, key);
    siphash_take(&s, application);
    uint64_t number =
        read_uuid(text, &uuid) ? end_by_uuid(&s, kind, &uuid) : end_by_text(&s, kind, text);
    return number ? number : 1;
}
