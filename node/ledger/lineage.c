/* lineage: see lineage.h. */
#include "ledger/lineage.h"

#include <string.h>

void lineage_add(struct lineage *l, uint64_t revision, const uint8_t *digest)
{
    size_t kept = l->count < LINEAGE_MAX ? l->count : LINEAGE_MAX - 1;
    memmove(&l->at[1], &l->at[0], kept * sizeof(l->at[0]));
    l->at[0].revision = revision;
    memcpy(l->at[0].digest, digest, LINEAGE_DIGEST_SIZE);
    l->count = kept + 1;
}

bool lineage_lacks(const struct lineage *l, uint64_t revision, const uint8_t *digest)
{
    bool goes_back = false;
    for (size_t i = 0; i < l->count; i++) {
        if (memcmp(l->at[i].digest, digest, LINEAGE_DIGEST_SIZE) == 0) {
            return false;
        }
        goes_back |= l->at[i].revision <= revision;
    }
    return goes_back;
}

size_t lineage_write(const struct lineage *l, uint8_t ret[LINEAGE_SIZE])
{
    uint8_t *to = ret;
    for (size_t i = 0; i < l->count; i++) {
        for (int shift = 56; shift >= 0; shift -= 8) {
            *to++ = (uint8_t)(l->at[i].revision >> shift);
        }
        memcpy(to, l->at[i].digest, LINEAGE_DIGEST_SIZE);
        to += LINEAGE_DIGEST_SIZE;
    }
    return (size_t)(to - ret);
}

void lineage_read(struct lineage *l, struct bytes wire)
{
    const uint8_t *from = (const uint8_t *)wire.at;
    l->count = 0;
    if (wire.size > LINEAGE_SIZE || wire.size % LINEAGE_ONE_SIZE != 0) {
        return;
    }
    for (; l->count < wire.size / LINEAGE_ONE_SIZE; l->count++) {
        uint64_t revision = 0;
        for (int i = 0; i < 8; i++) {
            revision = revision << 8 | *from++;
        }
        l->at[l->count].revision = revision;
        memcpy(l->at[l->count].digest, from, LINEAGE_DIGEST_SIZE);
        from += LINEAGE_DIGEST_SIZE;
    }
}
