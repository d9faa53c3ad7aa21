/* wire_check: the ranges of gossip/wire/wire.h, field by field. */
#include "gossip/wire/wire_check.h"

/* Groups of fields that only some types use. */
enum {
    SEQUENCE = 1 << 0,
    TARGET = 1 << 1,
    MEMBERS = 1 << 2, /* member_count, buckets */
    DELTAS = 1 << 3,
    DIGEST = 1 << 4, /* digest, offset */
    TEXT = 1 << 5,   /* text_size, chunk */
    PADDING = 1 << 6,
    SEEN = 1 << 7, /* seen, holder */
    SUMMARY = 1 << 8,
};

static const unsigned FIELDS_OF[] = {
    [WIRE_HELLO] = PADDING,
    [WIRE_WELCOME] = PADDING | SEEN,
    [WIRE_PING] = SEQUENCE | SUMMARY,
    [WIRE_ACK] = SEQUENCE | SEEN | SUMMARY,
    [WIRE_PING_REQUEST] = SEQUENCE | TARGET,
    [WIRE_PROXY_ACK] = SEQUENCE | TARGET,
    [WIRE_SYN] = MEMBERS,
    [WIRE_SYN_ACK] = DELTAS,
    [WIRE_DELTA] = DELTAS,
    [WIRE_CHUNK_ASK] = DIGEST,
    [WIRE_CHUNK] = DIGEST | TEXT,
};

static unsigned fields_in(const struct wire_packet *p)
{
    return (p->sequence ? SEQUENCE : 0U) | (p->target ? TARGET : 0U) |
           (p->member_count || p->bucket_count ? MEMBERS : 0U) |
           (p->delta_count || p->entry_count ? DELTAS : 0U) |
           (p->digest.size || p->offset ? DIGEST : 0U) |
           (p->text_size || p->chunk.size ? TEXT : 0U) | (p->padding ? PADDING : 0U) |
           (p->summary ? SUMMARY : 0U) |
           (gossip_address_known(&p->seen) || gossip_address_known(&p->holder) ? SEEN : 0U);
}

/* The rule of conf for names: ASCII letters, digits, `.`, `_` and `-`. */
static bool name_holds(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        char c = name.at[i];
        bool letter = ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return name.size >= 1 && name.size <= WIRE_NAME_MAX;
}

static bool key_holds(struct bytes key)
{
    for (size_t i = 0; i < key.size; i++) {
        if (key.at[i] < '!' || key.at[i] > '~') {
            return false;
        }
    }
    return key.size >= 1 && key.size <= WIRE_KEY_MAX;
}

static bool state_holds(enum wire_state state)
{
    return (unsigned)state <= WIRE_LEFT;
}

static bool rows_hold(const struct wire_packet *p)
{
    if (p->row_count > WIRE_ROWS_MAX) {
        return false;
    }
    for (size_t i = 0; i < p->row_count; i++) {
        const struct wire_row *row = &p->rows[i]; /* generation 0: "I know nothing of it" */
        if (!state_holds(row->state) || row->raised > row->generation) {
            return false;
        }
    }
    return p->raised <= p->generation && (p->row_count > 0 || !gossip_address_known(&p->holder));
}

/* base < version <= top, each entry's above the one before. */
static bool entries_hold(const struct wire_entry *entries, size_t count, uint64_t base,
                         uint64_t top)
{
    for (size_t i = 0; i < count; i++) {
        const struct wire_entry *e = &entries[i];
        if (!key_holds(e->key) || e->version <= base || e->version > top ||
            e->value.size > WIRE_VALUE_MAX || (e->tombstone && e->value.size > 0)) {
            return false;
        }
        base = e->version;
    }
    return true;
}

static bool deltas_hold(const struct wire_packet *p)
{
    if (p->delta_count > WIRE_DELTAS_MAX || p->entry_count > WIRE_ENTRIES_MAX) {
        return false;
    }
    size_t taken = 0; /* entries of the deltas so far: one after the other, none left over */
    for (size_t i = 0; i < p->delta_count; i++) {
        const struct wire_delta *d = &p->deltas[i];
        if (!name_holds(d->name) || d->generation == 0 || !state_holds(d->state) ||
            (unsigned)d->priority >= WIRE_PRIORITIES || d->base > d->top ||
            d->first_entry != taken || d->entry_count > p->entry_count - taken ||
            !entries_hold(&p->entries[taken], d->entry_count, d->base, d->top)) {
            return false;
        }
        taken += d->entry_count;
    }
    return taken == p->entry_count;
}

static bool text_holds(const struct wire_packet *p)
{
    return p->digest.size == WIRE_DIGEST_SIZE && p->chunk.size <= WIRE_CHUNK_MAX &&
           (p->type != WIRE_CHUNK || (uint64_t)p->offset + p->chunk.size <= p->text_size);
}

bool wire_holds(const struct wire_packet *p)
{
    if (p->type < WIRE_HELLO || p->type > WIRE_CHUNK) {
        return false;
    }
    unsigned fields = FIELDS_OF[p->type];
    return (fields_in(p) & ~fields) == 0 && name_holds(p->name) && p->generation > 0 &&
           rows_hold(p) && p->bucket_count <= WIRE_BUCKETS_MAX &&
           ((fields & MEMBERS) == 0 || p->member_count > 0) && deltas_hold(p) &&
           ((fields & DIGEST) == 0 || text_holds(p)) && p->padding <= SEAL_PLAIN_MAX;
}
