/* id: one spelling of a UUID, and its hash. */
#include "placement/id.h"

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

/* The 32 digits in lower case. False: it is no UUID. */
static bool read_uuid(struct bytes text, char ret_digits[UUID_DIGITS])
{
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
    char digits[UUID_DIGITS], whole[PLACEMENT_ID_MAX + 2 * 8];
    if (text.size == 0 || text.size > PLACEMENT_ID_MAX) {
        return 0;
    }
    if (read_uuid(text, digits)) {
        text = (struct bytes){digits, UUID_DIGITS};
    }
    uint64_t head[2] = {siphash(key, application), kind};
    memcpy(whole, head, sizeof(head));
    memcpy(whole + sizeof(head), text.at, text.size);
    uint64_t number = siphash(key, (struct bytes){whole, sizeof(head) + text.size});
    return number ? number : 1;
}
