/* quotas_file: a head, owners and rules by number, rows until the end. */
#include "together/quotas_file.h"

#include <endian.h>

static const char MAGIC[8] = "quotas 1";

enum { USE_BITS = 32 /* age and amount are one number */ };

static void put(struct buffer *b, uint64_t number)
{
    number = htole64(number);
    buffer_append(b, &number, sizeof(number));
}

bool quotas_file_is_due(struct quotas *q)
{
    bool keeps = false;
    for (size_t i = 0; i < q->rule_count; i++) {
        keeps = keeps || q->rules[i].window_ms >= QUOTAS_KEPT_MIN_MS;
    }
    uint64_t changes = keeps ? quotas_counts(q).changes : q->kept_changes;
    bool due = changes != q->kept_changes;
    q->kept_changes = changes;
    return due;
}

/* What has come since the last call counts, too. */
static void digest_from(struct quotas_writing *w, size_t from)
{
    struct bytes all = buffer_bytes(&w->bytes);
    if (all.size > from) {
        sha256_add(w->sha, (struct bytes){all.at + from, all.size - from});
    }
}

void quotas_file_drop(struct quotas_writing *w)
{
    buffer_done(&w->bytes);
    sha256_free(w->sha);
    *w = (struct quotas_writing){0};
}

void quotas_file_begin(struct quotas_writing *w, struct quotas *q, uint64_t self, uint64_t start,
                       uint64_t wall_ms)
{
    *w = (struct quotas_writing){.q = q, .rule_count = q->rule_count, .sha = sha256_new()};
    sha256_begin(w->sha);
    buffer_append(&w->bytes, MAGIC, sizeof(MAGIC));
    put(&w->bytes, wall_ms);
    buffer_append(&w->bytes, q->secret, sizeof(q->secret));
    put(&w->bytes, QUOTA_OWNERS_MAX);
    for (size_t i = 0; i < QUOTA_OWNERS_MAX; i++) {
        put(&w->bytes, i == 0 ? self : q->owners[i].member);
        put(&w->bytes, i == 0 ? start : q->owners[i].start);
    }
    put(&w->bytes, q->rule_count);
    for (size_t i = 0; i < q->rule_count; i++) {
        put(&w->bytes, q->rules[i].id);
        put(&w->bytes, q->rules[i].window_ms);
        put(&w->bytes, (uint64_t)q->rules[i].kind << 8 | q->rules[i].per);
    }
    digest_from(w, 0);
}

static void put_row(void *arg, const struct quota_row *row)
{
    struct quotas_writing *w = arg;
    if (row->rule >= w->rule_count || w->q->rules[row->rule].window_ms < QUOTAS_KEPT_MIN_MS) {
        return;
    }
    put(&w->bytes, row->key);
    put(&w->bytes, (uint64_t)row->rule << 32 | (uint64_t)row->owner << 8 | row->use_count);
    for (size_t i = 0; i < row->use_count; i++) {
        put(&w->bytes, (uint64_t)row->uses[i].age << USE_BITS | row->uses[i].amount);
    }
}

bool quotas_file_some(struct quotas_writing *w, uint64_t now_ms)
{
    size_t before = w->bytes.size;
    bool more = quotas_each_row(w->q, &w->piece, now_ms, put_row, w);
    digest_from(w, before);
    return more;
}

void quotas_file_end(struct quotas_writing *w)
{
    uint8_t digest[SHA256_SIZE];
    sha256_end(w->sha, digest);
    buffer_append(&w->bytes, digest, sizeof(digest));
}

/* ---- reading ---- */

struct reading {
    const char *at, *end;
    bool bad;
};

static uint64_t take(struct reading *r)
{
    uint64_t number = 0;
    if ((size_t)(r->end - r->at) < sizeof(number)) {
        r->bad = true;
        return 0;
    }
    memcpy(&number, r->at, sizeof(number));
    r->at += sizeof(number);
    return le64toh(number);
}

static bool is_whole(struct sha256 *sha, struct bytes file, struct reading *ret)
{
    uint8_t digest[SHA256_SIZE];
    size_t least = sizeof(MAGIC) + 8 + QUOTAS_SECRET_SIZE + SHA256_SIZE;
    if (file.size < least || memcmp(file.at, MAGIC, sizeof(MAGIC)) != 0) {
        return false;
    }
    struct bytes text = {file.at, file.size - SHA256_SIZE};
    sha256_digest(sha, &text, 1, digest);
    *ret = (struct reading){file.at + sizeof(MAGIC), file.at + text.size, false};
    return memcmp(digest, ret->end, SHA256_SIZE) == 0;
}

/* All uses are older by what has passed; what has left the window is left out. */
static void take_row(struct quotas *q, struct reading *r, const uint16_t *owners,
                     uint64_t passed_ms, uint64_t now_ms)
{
    struct quota_row row = {.key = take(r)};
    uint64_t head = take(r), count = head & 0xff;
    uint16_t owner = (uint16_t)(head >> 8 & 0xffff);
    const struct quotas_rule *rule = head >> 32 < q->rule_count ? &q->rules[head >> 32] : NULL;
    r->bad = r->bad || !rule || owner >= QUOTA_OWNERS_MAX || count > QUOTA_CELLS ||
             rule->window_ms < QUOTA_WINDOW_MIN_MS;
    for (uint64_t i = 0; i < count && !r->bad; i++) {
        uint64_t use = take(r);
        uint64_t age = (use >> USE_BITS) + passed_ms * QUOTA_AGE_UNITS / rule->window_ms;
        uint32_t amount = (uint32_t)use;
        if (age < QUOTA_AGE_UNITS) {
            row.uses[row.use_count++] = (struct quota_use){
                (uint32_t)age, amount < QUOTA_AMOUNT_MAX ? amount : QUOTA_AMOUNT_MAX};
        }
    }
    if (!r->bad && row.use_count > 0 && owners[owner] > 0) {
        quotas_hear(q, owners[owner], rule, &row, now_ms);
    }
}

static void take_rules(struct quotas *q, struct reading *r)
{
    uint64_t count = take(r);
    r->bad = r->bad || count > QUOTAS_RULES_MAX;
    for (uint64_t i = 0; i < count && !r->bad; i++) {
        struct quotas_rule *rule = &q->rules[q->rule_count];
        rule->id = take(r);
        rule->window_ms = take(r);
        uint64_t kinds = take(r);
        rule->kind = (enum quota_kind)(kinds >> 8);
        rule->per = (enum quota_per)(kinds & 0xff);
        bool known = kinds >> 8 < QUOTA_KINDS && (kinds & 0xff) < QUOTA_PERS;
        r->bad = r->bad || !known || rule->window_ms > QUOTA_WINDOW_MAX_MS;
        q->rule_count += !r->bad;
    }
}

bool quotas_file_read(struct quotas *q, struct sha256 *sha, struct bytes file, uint64_t now_ms,
                      uint64_t wall_ms)
{
    struct reading r;
    uint16_t owners[QUOTA_OWNERS_MAX];
    if (q->rule_count > 0 || !is_whole(sha, file, &r)) {
        return false;
    }
    uint64_t written_ms = take(&r), passed_ms = wall_ms > written_ms ? wall_ms - written_ms : 0;
    passed_ms = passed_ms < QUOTA_WINDOW_MAX_MS ? passed_ms : QUOTA_WINDOW_MAX_MS;
    memcpy(q->secret, r.at, sizeof(q->secret));
    r.at += sizeof(q->secret);
    r.bad = take(&r) != QUOTA_OWNERS_MAX;
    for (size_t i = 0; i < QUOTA_OWNERS_MAX && !r.bad; i++) {
        uint64_t member = take(&r), start = take(&r);
        owners[i] = start > 0 && !r.bad ? quotas_owner(q, member, start) : 0;
    }
    take_rules(q, &r);
    while (!r.bad && r.at < r.end) {
        take_row(q, &r, owners, passed_ms, now_ms);
    }
    return !r.bad;
}
