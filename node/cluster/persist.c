/* persist: four kinds of files: protobuf, and behind it the SHA-256 of the kind and the protobuf.
 * So a file that was cut, mixed up or written by another version is told from a good one before
 * anything of it is used. */
#include <assert.h>
#include <stdlib.h>

#include "cluster/private.h"
#include "proto/binary.h"
#include "proto/cluster.pb-c.h"

enum { FILE_VERSION = 1 };

#define KIND_STATE      BYTES("difyring counters\n")
#define KIND_SHARED     BYTES("difyring shared\n")
#define KIND_GENERATION BYTES("difyring generation\n")
#define KIND_USAGE      BYTES("difyring usage\n")

/* Appends the digest to what stands in `b`. */
static void seal_file(struct sha256 *sha, struct bytes kind, struct buffer *b)
{
    const struct bytes parts[] = {kind, buffer_bytes(b)};
    uint8_t digest[SHA256_SIZE];
    sha256_digest(sha, parts, 2, digest);
    buffer_append(b, digest, sizeof(digest));
}

/* The protobuf of a file; at NULL: damaged. */
static struct bytes open_file(struct sha256 *sha, struct bytes kind, struct bytes file)
{
    if (file.size < SHA256_SIZE) {
        return (struct bytes){0};
    }
    struct bytes text = {file.at, file.size - SHA256_SIZE};
    const struct bytes parts[] = {kind, text};
    uint8_t digest[SHA256_SIZE];
    sha256_digest(sha, parts, 2, digest);
    bool same = memcmp(digest, file.at + text.size, SHA256_SIZE) == 0;
    return same ? text : (struct bytes){0};
}

/* ---- counters and drains ---- */

static void take_text(void *arg, size_t page, struct bytes value)
{
    struct buffer *b = arg;
    assert(page == 0); /* it has no end */
    buffer_append_bytes(b, value);
}

static void write_slot(void *arg, const struct ledger_record *r)
{
    struct ledger_record bare = *r;
    bare.active = 0;
    page_add_count(arg, &bare);
}

void cluster_save_state(struct cluster *c, struct buffer *ret_bytes)
{
    struct page_writer w;
    buffer_clear(ret_bytes);
    page_writer_init(&w, SIZE_MAX, take_text, ret_bytes);
    page_add_version(&w, FILE_VERSION);
    for (size_t n = 0; n < c->ledger->nodes.count; n++) {
        const struct ledger_node *node = (const struct ledger_node *)c->ledger->nodes.at[n];
        for (size_t i = 0; i < node->slot_count; i++) {
            ledger_each(node, node->slots[i], write_slot, &w);
        }
    }
    drains_write(c, &w);
    page_writer_done(&w);
    seal_file(c->sha, KIND_STATE, ret_bytes);
}

static void load_count(void *arg, const struct ledger_record *r)
{
    struct cluster *c = arg;
    if (bytes_equal(r->node, c->name) && r->generation == c->generation) {
        return; /* a copy of this process's own file: it knows better */
    }
    ledger_merge(c->ledger, r);
    struct ledger_node *node = ledger_find_node(c->ledger, r->node);
    if (node) {
        node->changed = true;
    }
}

static void load_drain(void *arg, const struct drain_record *d)
{
    drains_merge(arg, d);
}

bool cluster_load_state(struct cluster *c, struct bytes bytes)
{
    const struct page_reader reader = {.on_count = load_count, .on_drain = load_drain, .arg = c};
    struct bytes text = open_file(c->sha, KIND_STATE, bytes);
    if (!text.at || page_version(text) != FILE_VERSION || !page_read(&reader, text)) {
        return false;
    }
    c->past_changed = true;
    handoff_mark(c);
    cluster_settle(c);
    return true;
}

uint64_t cluster_state_revision(const struct cluster *c)
{
    return c->ledger->revision + drains_revision(c);
}

/* ---- usage by days ---- */

void cluster_save_usage(struct cluster *c, unsigned part, struct buffer *ret_bytes)
{
    buffer_clear(ret_bytes);
    usage_days_save(c->days, (enum usage_part)part, ret_bytes);
    seal_file(c->sha, KIND_USAGE, ret_bytes);
}

bool cluster_load_usage(struct cluster *c, struct bytes bytes)
{
    struct bytes text = open_file(c->sha, KIND_USAGE, bytes);
    return text.at && usage_days_load(c->days, text);
}

uint64_t cluster_usage_revision(const struct cluster *c, unsigned part)
{
    return usage_days_revision(c->days, (enum usage_part)part);
}

/* ---- the shared configuration ---- */

void cluster_save_shared(struct cluster *c, struct buffer *ret_bytes)
{
    const struct shared *s = &c->shared;
    bool base_alone = s->mine.revision == 0;
    buffer_clear(ret_bytes);
    if (base_alone && (!s->started || s->stored_revision > 0)) {
        return;
    }
    Cluster__SharedFile file = CLUSTER__SHARED_FILE__INIT;
    file.version = FILE_VERSION;
    file.revision = s->mine.revision;
    file.text = binary_of(base_alone ? (struct bytes){0} : cluster_shared_text(c));
    file.file_digest = (ProtobufCBinaryData){SHA256_SIZE, c->shared.base_digest};
    if (base_alone || memcmp(s->base_digest, s->mine.digest, SHA256_SIZE) != 0) {
        file.base_text = binary_of(buffer_bytes(&s->base));
    }
    file.origin_node = binary_of(bytes_of(s->origin.node));
    file.origin_asked = binary_of(bytes_of(s->origin.asked));
    size_t size = cluster__shared_file__get_packed_size(&file);
    buffer_reserve(ret_bytes, size);
    ret_bytes->size = cluster__shared_file__pack(&file, (uint8_t *)ret_bytes->data);
    seal_file(c->sha, KIND_SHARED, ret_bytes);
}

static void wipe(ProtobufCBinaryData *text)
{
    if (text->len > 0) {
        explicit_bzero(text->data, text->len); /* it holds tokens */
    }
}

static void free_message(Cluster__SharedFile *file)
{
    wipe(&file->text);
    wipe(&file->base_text);
    cluster__shared_file__free_unpacked(file, NULL);
}

static void take_name(char *to, size_t size, ProtobufCBinaryData from)
{
    size_t take = from.len < size ? from.len : size - 1;
    if (take > 0) {
        memcpy(to, from.data, take);
    }
    to[take] = '\0';
}

bool cluster_read_shared(struct sha256 *sha, struct bytes bytes, struct cluster_shared_file *ret)
{
    struct bytes text = open_file(sha, KIND_SHARED, bytes);
    Cluster__SharedFile *file =
        text.at ? cluster__shared_file__unpack(NULL, text.size, (const uint8_t *)text.at) : NULL;
    bool good = file && file->version == FILE_VERSION && file->revision < UINT64_MAX &&
                (file->revision > 0 || file->text.len == 0) && file->file_digest.len == SHA256_SIZE;
    if (!good) {
        if (file) {
            free_message(file);
        }
        return false;
    }
    *ret = (struct cluster_shared_file){.revision = file->revision, .owner = file};
    ret->text = bytes_in(file->text);
    memcpy(ret->file_digest, file->file_digest.data, SHA256_SIZE);
    take_name(ret->origin.node, sizeof(ret->origin.node), file->origin_node);
    take_name(ret->origin.asked, sizeof(ret->origin.asked), file->origin_asked);
    uint8_t digest[SHA256_SIZE]; /* of a file of before there was a base: the text, if it fits */
    struct bytes base = file->base_text.len > 0 ? bytes_in(file->base_text) : ret->text;
    sha256_digest(sha, &base, 1, digest);
    if (memcmp(digest, ret->file_digest, SHA256_SIZE) == 0) {
        ret->base = base;
    }
    return true;
}

void cluster_shared_file_done(struct cluster_shared_file *file)
{
    if (file->owner) {
        free_message(file->owner);
    }
    *file = (struct cluster_shared_file){0};
}

/* ---- the generation ---- */

void cluster_save_generation(uint64_t generation, struct sha256 *sha, struct buffer *ret_bytes)
{
    Cluster__GenerationFile file = CLUSTER__GENERATION_FILE__INIT;
    file.version = FILE_VERSION;
    file.generation = generation;
    buffer_clear(ret_bytes);
    buffer_reserve(ret_bytes, cluster__generation_file__get_packed_size(&file));
    ret_bytes->size = cluster__generation_file__pack(&file, (uint8_t *)ret_bytes->data);
    seal_file(sha, KIND_GENERATION, ret_bytes);
}

bool cluster_read_generation(struct sha256 *sha, struct bytes bytes, uint64_t *ret_generation)
{
    struct bytes text = open_file(sha, KIND_GENERATION, bytes);
    Cluster__GenerationFile *file =
        text.at ? cluster__generation_file__unpack(NULL, text.size, (const uint8_t *)text.at)
                : NULL;
    bool good = file && file->version == FILE_VERSION;
    if (good) {
        *ret_generation = file->generation;
    }
    if (file) {
        cluster__generation_file__free_unpacked(file, NULL);
    }
    return good;
}
