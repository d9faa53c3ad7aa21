/* cluster: the files of state_dir, and a node alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cluster/cluster.h"

enum { NOW_MS = 5000, GENERATION = 77 };

static const struct cluster_shared_file NOTHING;

struct world {
    struct sha256 *sha;
    struct cluster *c;
    size_t packets, verdict_inputs, shared, problems;
};

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    (void)to;
    (void)packet;
    ((struct world *)owner)->packets++;
}

static void on_verdict_input(void *owner)
{
    ((struct world *)owner)->verdict_inputs++;
}

static void on_member(void *owner, const struct gossip_member *member, enum wire_state before)
{
    (void)owner;
    (void)member;
    (void)before;
}

static void on_shared(void *owner, uint64_t revision, struct bytes text)
{
    (void)revision;
    (void)text;
    ((struct world *)owner)->shared++;
}

static void on_problem(void *owner, const char *kind, const char *subject, const char *detail)
{
    (void)subject;
    (void)kind;
    (void)detail;
    ((struct world *)owner)->problems++;
}

static void on_generation(void *owner, uint64_t generation)
{
    (void)owner;
    (void)generation;
}

static const struct cluster_events EVENTS = {
    .on_packet = on_packet,
    .on_verdict_input = on_verdict_input,
    .on_member = on_member,
    .on_shared = on_shared,
    .on_problem = on_problem,
    .on_generation = on_generation,
};

/* A node without a `cluster` section. */
static struct cluster *alone(struct world *w, uint64_t generation)
{
    const struct cluster_options options = {
        .gossip = {.node_name = BYTES("node-a"), .generation = generation},
        .events = &EVENTS,
        .owner = w,
        .sha = w->sha,
    };
    return cluster_new(&options, NOW_MS);
}

static int set_up(void **state)
{
    struct world *w = memory_new(sizeof(*w));
    w->sha = sha256_new();
    w->c = alone(w, GENERATION);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    cluster_free(w->c);
    sha256_free(w->sha);
    free(w);
    return 0;
}

static void count_active(struct cluster *c, uint64_t requests, uint64_t failures, uint64_t active)
{
    static uint64_t latency[HISTOGRAM_BUCKETS];
    const struct cluster_instance_count instance = {BYTES("dify1"), requests, failures, active,
                                                    NULL};
    const struct cluster_count counts = {.application = BYTES("shop"),
                                         .requests = requests,
                                         .errors = failures,
                                         .active = 3,
                                         .latency = latency,
                                         .instances = &instance,
                                         .instance_count = 1};
    latency[10] = requests;
    cluster_set_counts(c, NOW_MS, &counts, 1, 4);
}

static void count(struct cluster *c, uint64_t requests, uint64_t failures)
{
    count_active(c, requests, failures, 2);
}

static void a_node_alone_does_everything_by_itself_and_at_once(void **state)
{
    static struct verdict_node nodes[VERDICT_NODES_MAX];
    static struct verdict_vote votes[VERDICT_NODES_MAX];
    struct world *w = *state;
    struct bytes text;
    uint64_t latency[HISTOGRAM_BUCKETS];
    assert_int_equal(cluster_shared_start(w->c, NOW_MS, BYTES("file"), &NOTHING, false, &text), 1);
    assert_true(bytes_equal(text, BYTES("file")));
    count(w->c, 10, 1);
    assert_int_equal(cluster_requests(w->c), 10);
    assert_int_equal(cluster_application_totals(w->c, BYTES("shop"), latency).active, 3);
    assert_int_equal(latency[10], 10);
    assert_int_equal(cluster_instance_totals(w->c, BYTES("shop"), BYTES("dify1")).failures, 1);
    const struct cluster_vote vote = {
        .instance = BYTES("dify1"), .active = ACTIVE_DOWN, .tripped = true, .answers = 3};
    cluster_set_votes(w->c, NOW_MS, BYTES("shop"), &vote, 1);
    assert_int_equal(w->verdict_inputs, 1);
    assert_int_equal(cluster_verdict_nodes(w->c, NOW_MS, nodes), 1);
    assert_true(nodes[0].alive);
    cluster_verdict_votes(w->c, BYTES("shop"), BYTES("dify1"), votes);
    assert_int_equal(votes[0].active, ACTIVE_DOWN);
    assert_int_equal(votes[0].answers, 2);
    cluster_set_drained(w->c, NOW_MS, 1, BYTES("shop"), BYTES("dify1"), true);
    assert_true(cluster_drained(w->c, BYTES("shop"), BYTES("dify1")));
    assert_false(cluster_drained(w->c, BYTES("shop"), BYTES("dify2")));
    assert_int_equal(w->verdict_inputs, 2);
    struct cluster_node node = {.version = "1"};
    cluster_set_node(w->c, NOW_MS, &node);
    assert_true(cluster_converged(w->c));
    cluster_tick(w->c, NOW_MS + 100000);
    assert_true(cluster_deadline_ms(w->c) == UINT64_MAX);
    assert_int_equal(w->packets, 0);
    assert_int_equal(w->problems, 0);
}

static void a_saved_state_gives_the_totals_and_drains_again(void **state)
{
    struct world *w = *state;
    struct buffer file = {0}, again = {0};
    uint64_t before = cluster_state_revision(w->c);
    count(w->c, 10, 1);
    cluster_set_drained(w->c, NOW_MS, 1, BYTES("shop"), BYTES("dify1"), true);
    assert_true(cluster_state_revision(w->c) > before);
    before = cluster_state_revision(w->c);
    count(w->c, 10, 1);
    assert_int_equal(cluster_state_revision(w->c), before); /* nothing new to write */
    cluster_save_state(w->c, &file);
    count_active(w->c, 10, 1, 5);
    assert_int_equal(cluster_state_revision(w->c), before);
    cluster_save_state(w->c, &again);
    assert_true(bytes_equal(buffer_bytes(&file), buffer_bytes(&again))); /* no gauges in it */
    struct cluster *next = alone(w, GENERATION + 1);
    assert_true(cluster_load_state(next, buffer_bytes(&file)));
    assert_int_equal(cluster_requests(next), 10);
    assert_int_equal(cluster_application_totals(next, BYTES("shop"), NULL).errors, 1);
    assert_int_equal(cluster_application_totals(next, BYTES("shop"), NULL).active, 0);
    assert_true(cluster_drained(next, BYTES("shop"), BYTES("dify1")));
    count(next, 5, 0); /* its own, from 0 again */
    assert_int_equal(cluster_requests(next), 15);
    assert_true(cluster_load_state(next, buffer_bytes(&file))); /* once more changes nothing */
    assert_int_equal(cluster_requests(next), 15);
    cluster_save_state(next, &again);
    assert_true(again.size > file.size);
    cluster_free(next);
    buffer_done(&file);
    buffer_done(&again);
}

/* Every cut and every flipped bit of a file is found by this. */
static void expect_damage_is_found(const struct buffer *file,
                                   bool (*reads)(struct world *w, struct bytes bytes),
                                   struct world *w)
{
    char *copy = memory_copy_text(file->data, file->size);
    assert_true(reads(w, buffer_bytes(file)));
    for (size_t size = 0; size < file->size; size++) {
        assert_false(reads(w, (struct bytes){copy, size}));
    }
    for (size_t bit = 0; bit < 8 * file->size; bit++) {
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        assert_false(reads(w, (struct bytes){copy, file->size}));
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
    }
    free(copy);
}

static bool reads_state(struct world *w, struct bytes bytes)
{
    struct cluster *c = alone(w, GENERATION + 1);
    bool good = cluster_load_state(c, bytes);
    assert_int_equal(cluster_requests(c), good ? 10 : 0);
    assert_int_equal(cluster_drained(c, BYTES("shop"), BYTES("dify1")), good);
    cluster_free(c);
    return good;
}

static bool reads_shared(struct world *w, struct bytes bytes)
{
    struct cluster_shared_file file = {.revision = 123};
    bool good = cluster_read_shared(w->sha, bytes, &file);
    assert_int_equal(file.revision, good ? 1 : 123);
    cluster_shared_file_done(&file);
    return good;
}

static bool reads_generation(struct world *w, struct bytes bytes)
{
    uint64_t generation = 5;
    bool good = cluster_read_generation(w->sha, bytes, &generation);
    assert_int_equal(generation, good ? 1700000000123 : 5);
    return good;
}

/* A reload that somebody asked for, and nobody forced. */
static uint64_t reload(struct cluster *c, uint64_t now_ms, struct bytes file,
                       struct bytes *ret_text)
{
    const struct cluster_shared_reload reload = {.file = file, .asked = "somebody"};
    return cluster_shared_reload(c, now_ms, &reload, ret_text);
}

static void a_damaged_file_is_refused_as_a_whole(void **state)
{
    struct world *w = *state;
    struct buffer file = {0};
    struct bytes text;
    count(w->c, 10, 1);
    cluster_set_drained(w->c, NOW_MS, 1, BYTES("shop"), BYTES("dify1"), true);
    cluster_save_state(w->c, &file);
    expect_damage_is_found(&file, reads_state, w);
    assert_false(reads_shared(w, buffer_bytes(&file)));
    assert_false(reads_generation(w, buffer_bytes(&file)));
    cluster_save_shared(w->c, &file);
    assert_int_equal(file.size, 0); /* nothing is in force yet */
    cluster_shared_start(w->c, NOW_MS, BYTES("the shared text"), &NOTHING, false, &text);
    cluster_save_shared(w->c, &file);
    expect_damage_is_found(&file, reads_shared, w);
    assert_false(reads_state(w, buffer_bytes(&file)));
    cluster_save_generation(1700000000123, w->sha, &file);
    expect_damage_is_found(&file, reads_generation, w);
    buffer_done(&file);
}

static void a_saved_shared_configuration_begins_the_next_start(void **state)
{
    struct world *w = *state;
    struct buffer file = {0};
    struct cluster_shared_file stored;
    struct bytes text;
    cluster_shared_start(w->c, NOW_MS, BYTES("file"), &NOTHING, false, &text);
    assert_int_equal(reload(w->c, NOW_MS, BYTES("file 2"), &text), 2);
    assert_int_equal(reload(w->c, NOW_MS, BYTES("file 2"), &text), 3);
    cluster_save_shared(w->c, &file);
    assert_true(cluster_read_shared(w->sha, buffer_bytes(&file), &stored));
    assert_int_equal(stored.revision, 3);
    assert_true(bytes_equal(stored.text, BYTES("file 2")));
    assert_memory_equal(stored.file_digest, cluster_shared_file_digest(w->c), SHA256_SIZE);
    struct cluster *next = alone(w, GENERATION + 1);
    assert_int_equal(cluster_shared_start(next, NOW_MS, BYTES("file 2"), &stored, false, &text), 3);
    assert_true(text.at == stored.text.at);
    cluster_free(next);
    next = alone(w, GENERATION + 2);
    assert_int_equal(cluster_shared_start(next, NOW_MS, BYTES("file 3"), &stored, false, &text), 4);
    assert_true(bytes_equal(text, BYTES("file 3")));
    assert_true(bytes_equal(cluster_shared_base(next), BYTES("file 3")));
    assert_string_equal(cluster_shared_origin(next)->asked, "start");
    cluster_free(next);
    next = alone(w, GENERATION + 3);
    /* what would take back changes is not brought, and stays to be compared with the base */
    assert_int_equal(cluster_shared_start(next, NOW_MS, BYTES("file 3"), &stored, true, &text), 3);
    assert_true(bytes_equal(text, BYTES("file 2")));
    assert_true(bytes_equal(cluster_shared_base(next), BYTES("file 2")));
    assert_string_equal(cluster_shared_origin(next)->asked, "somebody");
    cluster_free(next);
    cluster_shared_file_done(&stored);
    buffer_done(&file);
}

/* The oldest of the enabled ones make room; none that is drained is ever forgotten. */
static void drained_instances_stay_whatever_comes_after(void **state)
{
    struct world *w = *state;
    char name[] = "instance-0000";
    for (size_t i = 0; i < 1000; i++) {
        for (size_t d = 0, n = i; d < 4; d++, n /= 10) {
            name[12 - d] = (char)('0' + n % 10);
        }
        cluster_set_drained(w->c, NOW_MS + i, 1000 + i, BYTES("shop"), bytes_of(name), i % 10 == 0);
    }
    for (size_t i = 0; i < 1000; i += 10) {
        for (size_t d = 0, n = i; d < 4; d++, n /= 10) {
            name[12 - d] = (char)('0' + n % 10);
        }
        assert_true(cluster_drained(w->c, BYTES("shop"), bytes_of(name)));
    }
    assert_int_equal(w->problems, 0);
}

int main(void)
{
#define CLAIM(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CLAIM(a_node_alone_does_everything_by_itself_and_at_once),
        CLAIM(a_saved_state_gives_the_totals_and_drains_again),
        CLAIM(a_damaged_file_is_refused_as_a_whole),
        CLAIM(a_saved_shared_configuration_begins_the_next_start),
        CLAIM(drained_instances_stay_whatever_comes_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
