/* fuzz_cluster: values of entries and a state file, as an authenticated peer or a disk could give
 * them. The first line says what the rest is: a value under this key, or, behind `state`, a file's
 * text (its digest is made right here, or nothing would get through).
 *
 * A value must not fall any total, nor be counted by more than it says; what a file gives is saved
 * and read again as the same. */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "cluster/private.h"

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    (void)owner;
    (void)to;
    (void)packet;
}

static void on_event(void *owner)
{
    (void)owner;
}

static void on_member(void *owner, const struct gossip_member *member, enum wire_state before)
{
    (void)owner;
    (void)member;
    (void)before;
}

static void on_shared(void *owner, uint64_t revision, struct bytes text)
{
    (void)owner;
    (void)revision;
    (void)text;
}

static void on_problem(void *owner, const char *kind, const char *subject, const char *detail)
{
    (void)subject;
    (void)owner;
    assert(kind && detail);
}

static void on_generation(void *owner, uint64_t generation)
{
    (void)owner;
    (void)generation;
}

static const struct cluster_events EVENTS = {
    .on_packet = on_packet,
    .on_verdict_input = on_event,
    .on_member = on_member,
    .on_shared = on_shared,
    .on_problem = on_problem,
    .on_generation = on_generation,
};

static struct cluster *start(struct sha256 *sha)
{
    const struct cluster_options options = {
        .gossip = {.node_name = BYTES("node-a"), .generation = 9},
        .events = &EVENTS,
        .sha = sha,
    };
    return cluster_new(&options, 1000);
}

static void feed_value(struct sha256 *sha, struct bytes key, struct bytes value)
{
    struct cluster *c = start(sha);
    struct verdict_vote *votes = calloc(VERDICT_NODES_MAX, sizeof(*votes));
    struct member_info info = {0};
    struct gossip_member member = {
        .id = 1, .name = "node-b", .generation = 3, .state = WIRE_ALIVE, .owner_data = &info};
    topics_note(c, &member, key, value);
    uint64_t total = cluster_requests(c);
    assert(total <= LEDGER_NUMBER_MAX * value.size);
    topics_note(c, &member, key, value);
    assert(cluster_requests(c) == total);
    topics_member(c, &member, MEMBER_DOWN);
    topics_note(c, &member, key, (struct bytes){0});
    assert(cluster_requests(c) == total);
    cluster_settle(c);
    cluster_tick(c, 100000);
    cluster_verdict_votes(c, BYTES("shop"), BYTES("dify1"), votes);
    cluster_work_of_others(c, BYTES("10.0.0.1:80"));
    topics_member(c, &member, MEMBER_GONE);
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        free(info.told[i]);
    }
    free(votes);
    cluster_free(c);
}

static void feed_file(struct sha256 *sha, struct bytes text)
{
    struct cluster *c = start(sha), *again = start(sha);
    struct buffer file = {0}, copy = {0};
    uint8_t digest[SHA256_SIZE];
    const struct bytes parts[] = {BYTES("difyring counters\n"), text};
    sha256_digest(sha, parts, 2, digest);
    buffer_append_bytes(&file, text);
    buffer_append(&file, digest, sizeof(digest));
    uint64_t before = cluster_state_revision(c);
    if (cluster_load_state(c, buffer_bytes(&file))) {
        cluster_save_state(c, &file);
        assert(cluster_load_state(again, buffer_bytes(&file)));
        assert(cluster_requests(again) == cluster_requests(c));
        cluster_save_state(again, &copy);
        assert(bytes_equal(buffer_bytes(&copy), buffer_bytes(&file)));
    } else {
        assert(cluster_state_revision(c) == before);
    }
    buffer_done(&file);
    buffer_done(&copy);
    cluster_free(c);
    cluster_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct sha256 *sha;
    if (size == 0) {
        return 0;
    }
    if (!sha) {
        sha = sha256_new();
    }
    const char *line = (const char *)data, *end = memchr(line, '\n', size);
    struct bytes key = {line, end ? (size_t)(end - line) : size};
    struct bytes rest = {line + key.size + (end != NULL), size - key.size - (end != NULL)};
    if (bytes_equal(key, BYTES("state"))) {
        feed_file(sha, rest);
    } else if (key.size > 0 && key.size <= WIRE_KEY_MAX && rest.size <= WIRE_VALUE_MAX) {
        feed_value(sha, key, rest);
    }
    return 0;
}
