/* id: one spelling of a UUID, and its hash. */
#include "placement/id.h"

#include <assert.h>

#include "base/scan.h"

enum { UUID_DIGITS = 32 };

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

/* As Dify writes it, 8-4-4-4-12 digits, which nearly all are. */
static bool read_usual(struct bytes text, char ret_digits[UUID_DIGITS])
{
    const char *at = text.at;
    if (text.size != UUID_DIGITS + 4 || at[8] != '-' || at[13] != '-' || at[18] != '-' ||
        at[23] != '-') {
        return false;
    }
    memcpy(ret_digits, at, 8);
    memcpy(ret_digits + 8, at + 9, 4);
    memcpy(ret_digits + 12, at + 14, 4);
    memcpy(ret_digits + 16, at + 19, 4);
    memcpy(ret_digits + 20, at + 24, 12);
    return scan_lower_hex_16(ret_digits) && scan_lower_hex_16(ret_digits + 16);
}

/* The 32 digits in lower case. False: it is no UUID. */
static bool read_uuid(struct bytes text, char ret_digits[UUID_DIGITS])
{
    if (read_usual(text, ret_digits)) {
        return true;
    }
    size_t count = 0;
    text = without_frame(text);
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] == '-') {
            continue;
        }
        if (count == UUID_DIGITS || ascii_hex(text.at[i]) < 0) {
            return false;
        }
        ret_digits[count++] = ascii_lower(text.at[i]);
    }
    return count == UUID_DIGITS;
}

uint64_t placement_id(const uint8_t key[SIPHASH_KEY_SIZE], struct bytes application,
                      enum placement_kind kind, struct bytes text)
{
    char digits[UUID_DIGITS], whole[2 + PLACEMENT_NAME_MAX + PLACEMENT_ID_MAX];
    assert(application.size <= PLACEMENT_NAME_MAX);
    if (text.size == 0 || text.size > PLACEMENT_ID_MAX) {
        return 0;
    }
    if (read_uuid(text, digits)) {
        text = (struct bytes){digits, UUID_DIGITS};
    }
    whole[0] = (char)kind; /* where the name ends is said first: no two triples are one text */
    whole[1] = (char)application.size;
    memcpy(whole + 2, application.at, application.size);
    memcpy(whole + 2 + application.size, text.at, text.size);
    uint64_t number = siphash(key, (struct bytes){whole, 2 + application.size + text.size});
    return number ? number : 1;
}
