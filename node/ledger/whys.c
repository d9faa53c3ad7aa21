/* whys: a record is WHY_SIZE bytes: the row's index within the page as it is told, then twice
 * (checks, requests) kind, count, detail (2 bytes) and time in seconds (4 bytes), big-endian. With
 * up to 32 instances all have theirs; of more, those that are down or tripped come first. An older
 * node takes the field for unknown, and tells none: then there is no reason, REASON_NONE. */
#include "ledger/whys.h"

enum {
    WHY_SIZE = 17,
    FIELD_HEAD = 3, /* of protobuf: the tag, and a length of up to two bytes */
};

static uint8_t *put(uint8_t *to, uint64_t value, unsigned size)
{
    for (unsigned i = size; i > 0; i--) {
        *to++ = (uint8_t)(value >> (8 * (i - 1)));
    }
    return to;
}

static uint32_t take(const uint8_t **at, unsigned size)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value = value << 8 | *(*at)++;
    }
    return value;
}

static uint8_t *put_reason(uint8_t *to, const struct reason *r)
{
    to = put(to, r->kind, 1);
    to = put(to, r->count, 1);
    to = put(to, r->detail, 2);
    return put(to, r->at_s, 4);
}

/* Of a later version's kinds this one knows nothing. */
static struct reason take_reason(const uint8_t **at)
{
    struct reason r = {.kind = (uint8_t)take(at, 1)};
    r.count = (uint8_t)take(at, 1);
    r.detail = (uint16_t)take(at, 2);
    r.at_s = take(at, 4);
    r.detail = r.detail <= FAULT_MAX ? r.detail : (uint16_t)FAULT_NONE;
    return r.kind < REASON_UNREACHABLE ? r : (struct reason){.at_s = r.at_s};
}

static bool matters(const struct vote_row *row)
{
    return row->why_active.kind == REASON_CHECK_FAILED ||
           row->why_active.kind == REASON_UNRESOLVED ||
           (row->why_passive.kind != REASON_NONE && row->why_passive.kind != REASON_TRIAL_PASSED);
}

static bool has_any(const struct vote_row *row)
{
    return row->why_active.kind != REASON_NONE || row->why_passive.kind != REASON_NONE;
}

size_t whys_write(const struct vote_row *rows, size_t count, size_t room, uint8_t *ret)
{
    uint8_t *to = ret;
    for (unsigned round = 0; round < 2; round++) { /* first those that matter */
        for (size_t i = 0; i < count; i++) {
            size_t size = (size_t)(to - ret);
            if (has_any(&rows[i]) && matters(&rows[i]) == (round == 0) &&
                size + WHY_SIZE + FIELD_HEAD <= room) {
                to = put(to, i, 1);
                to = put_reason(to, &rows[i].why_active);
                to = put_reason(to, &rows[i].why_passive);
            }
        }
    }
    return (size_t)(to - ret);
}

void whys_read(struct bytes text, struct vote_row *rows, size_t count)
{
    const uint8_t *at = (const uint8_t *)text.at;
    for (size_t left = text.size; left >= WHY_SIZE; left -= WHY_SIZE) {
        size_t index = take(&at, 1);
        struct reason active = take_reason(&at), passive = take_reason(&at);
        if (index < count) {
            rows[index].why_active = active;
            rows[index].why_passive = passive;
        }
    }
}

static bool told_as(const struct reason *told, const struct reason *own)
{
    return told->kind == REASON_NONE || reason_same(told, own);
}

/* Not one that is missing: that may be for want of room. */
static bool is_other(const struct reason *told, const struct reason *own)
{
    return told->kind != REASON_NONE && own->kind != REASON_NONE && told->kind != own->kind;
}

bool whys_other(const struct vote_row *told, const struct vote_row *own)
{
    return is_other(&told->why_active, &own->why_active) ||
           is_other(&told->why_passive, &own->why_passive);
}

bool whys_told(const struct vote_row *told, const struct vote_row *own)
{
    return told_as(&told->why_active, &own->why_active) &&
           told_as(&told->why_passive, &own->why_passive);
}
