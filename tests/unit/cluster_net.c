/* cluster_net: see the header. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/unit/cluster_net.h"

enum { DELAY_MS = 1, PORT = 7946, WALL_MS = 1700000000 };

struct net_packet {
    uint64_t due_ms;
    size_t from, to;
    size_t size;
    uint8_t bytes[GOSSIP_PACKET_MAX];
};

static const uint8_t KEY[1][SEAL_KEY_SIZE] = {"a key of 32 bytes for the tests"};

static size_t index_of(const struct net_node *node)
{
    return (size_t)(node - node->net->nodes);
}

static struct gossip_address address_of(size_t index)
{
    struct gossip_address a = {.port = PORT};
    a.ip[10] = a.ip[11] = 0xFF;
    a.ip[12] = 10;
    a.ip[15] = (uint8_t)(index + 1);
    return a;
}

/* ---- what comes out of a node ---- */

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct net_node *node = owner;
    struct net *net = node->net;
    size_t index = (size_t)to->ip[15] - 1;
    assert_true(packet.size <= GOSSIP_PACKET_MAX && index < NET_NODES);
    net->bytes += packet.size;
    if (net->packet_count == net->packet_capacity) {
        net->packet_capacity = net->packet_capacity ? 2 * net->packet_capacity : 64;
        net->packets = memory_resize(net->packets, net->packet_capacity * sizeof(*net->packets));
    }
    struct net_packet *p = &net->packets[net->packet_count++];
    *p = (struct net_packet){.due_ms = net->now_ms + DELAY_MS, .from = index_of(node), .to = index};
    p->size = packet.size;
    memcpy(p->bytes, packet.at, packet.size);
}

static void on_verdict_input(void *owner)
{
    ((struct net_node *)owner)->verdict_inputs++;
}

static void on_member(void *owner, const struct gossip_member *member, enum wire_state before)
{
    (void)owner;
    (void)member;
    (void)before;
}

static void on_shared(void *owner, uint64_t revision, struct bytes text)
{
    struct net_node *node = owner;
    assert_true(revision > 0 && text.size > 0);
    node->to_apply = true;
}

static void on_problem(void *owner, const char *kind, const char *subject, const char *detail)
{
    assert_true(subject[0] != '\0');
    struct net_node *node = owner;
    node->problems_told++;
    if (node->problem_count < NET_PROBLEMS) {
        snprintf(node->problems[node->problem_count], sizeof(node->problems[0]), "%s", kind);
        snprintf(node->problem_details[node->problem_count], sizeof(node->problem_details[0]), "%s",
                 detail);
        node->problem_count++;
    }
}

static void on_generation(void *owner, uint64_t generation)
{
    struct net_node *node = owner;
    node->generation = generation;
    node->generations_raised++;
}

static void on_upload(void *owner, uint64_t file, uint64_t place)
{
    struct net_node *node = owner;
    assert_true(place != 0);
    if (node->upload_count == node->upload_capacity) {
        node->upload_capacity = node->upload_capacity ? 2 * node->upload_capacity : 64;
        node->uploads =
            memory_resize(node->uploads, node->upload_capacity * sizeof(*node->uploads));
    }
    node->uploads[node->upload_count++] = file;
}

static const struct cluster_events EVENTS = {
    .on_packet = on_packet,
    .on_verdict_input = on_verdict_input,
    .on_member = on_member,
    .on_shared = on_shared,
    .on_problem = on_problem,
    .on_generation = on_generation,
    .on_upload = on_upload,
};

/* ---- nodes ---- */

struct net *net_new(void)
{
    struct net *net = memory_new(sizeof(*net));
    net->now_ms = 1000;
    net->sha = sha256_new();
    prng_init(&net->prng, 1);
    for (size_t i = 0; i < NET_NODES; i++) {
        net->nodes[i].net = net;
        snprintf(net->nodes[i].name, sizeof(net->nodes[i].name), "node-%c", (char)('a' + i));
    }
    return net;
}

void net_free(struct net *net)
{
    for (size_t i = 0; i < NET_NODES; i++) {
        if (net->nodes[i].cluster) {
            cluster_free(net->nodes[i].cluster);
        }
        buffer_done(&net->nodes[i].state);
        buffer_done(&net->nodes[i].shared);
        free(net->nodes[i].uploads);
    }
    sha256_free(net->sha);
    free(net->packets);
    free(net);
}

static void forget(struct net_node *node)
{
    memset(node->app_requests, 0, sizeof(node->app_requests));
    memset(node->app_errors, 0, sizeof(node->app_errors));
    memset(node->requests, 0, sizeof(node->requests));
    memset(node->failures, 0, sizeof(node->failures));
    memset(node->active, 0, sizeof(node->active));
    memset(node->latency, 0, sizeof(node->latency));
    node->to_apply = false;
    node->applied = node->verdict_inputs = node->problem_count = 0;
    node->problems_told = node->generations_raised = 0;
    node->highest_total = 0;
    node->upload_count = 0;
    node->count_ms = node->net->now_ms;
}

static void create(struct net_node *node, uint64_t generation)
{
    struct net *net = node->net;
    struct gossip_address join[NET_NODES];
    assert_null(node->cluster);
    forget(node);
    net->starts++;
    node->generation = generation ? generation : WALL_MS + net->starts;
    struct cluster_options options = {
        .gossip =
            {
                .cluster_name = BYTES("test"),
                .node_name = bytes_of(node->name),
                .generation = node->generation,
                .keys = KEY,
                .key_count = 1,
                .profile = GOSSIP_LAN,
                .seed = net->starts,
            },
        .events = &EVENTS,
        .owner = node,
        .sha = net->sha,
    };
    memcpy(options.gossip.session.id, &net->starts, sizeof(net->starts));
    for (size_t i = 0; i < NET_NODES; i++) {
        join[i] = address_of(i);
    }
    node->cluster = cluster_new(&options, net->now_ms);
    gossip_set_join(cluster_gossip(node->cluster), join, NET_NODES);
}

static void begin(struct net_node *node, const char *file, bool with_state)
{
    struct cluster_shared_file stored = {0};
    struct bytes text;
    struct net *net = node->net;
    if (with_state && node->state.size > 0) {
        assert_true(cluster_load_state(node->cluster, buffer_bytes(&node->state)));
        assert_int_equal(cluster_read_shared(net->sha, buffer_bytes(&node->shared), &stored),
                         node->shared.size > 0);
    }
    cluster_shared_start(node->cluster, net->now_ms, bytes_of(file), &stored, false, &text);
    cluster_shared_file_done(&stored);
}

struct net_node *net_start(struct net *net, size_t index, const char *file, bool with_state)
{
    create(&net->nodes[index], 0);
    begin(&net->nodes[index], file, with_state);
    return &net->nodes[index];
}

struct net_node *net_start_as(struct net *net, size_t index, const char *file, uint64_t generation)
{
    create(&net->nodes[index], generation);
    begin(&net->nodes[index], file, false);
    return &net->nodes[index];
}

void net_save(struct net_node *node)
{
    cluster_save_state(node->cluster, &node->state);
    cluster_save_shared(node->cluster, &node->shared);
}

void net_kill(struct net_node *node)
{
    cluster_free(node->cluster);
    node->cluster = NULL;
}

/* ---- counting ---- */

const char *net_app(size_t app)
{
    static const char *const names[NET_APPS] = {"shop", "support"};
    return names[app];
}

const char *net_instance(size_t instance)
{
    static const char *const names[NET_INSTANCES] = {"dify1", "dify2", "dify3"};
    return names[instance];
}

void net_serve(struct net_node *node, size_t app, size_t instance, uint64_t count)
{
    node->app_requests[app] += count;
    node->requests[app][instance] += count;
    node->latency[app][histogram_bucket(20000)] += count;
}

static struct usage_sum usage_of(uint64_t requests)
{
    return (struct usage_sum){.prompt_tokens = 3 * requests,
                              .completion_tokens = 2 * requests,
                              .unsplit_tokens = requests,
                              .money_count = requests > 0,
                              .money = {{"USD", {7 * requests, 5 * requests}}}};
}

void net_check_usage(const struct net_node *node)
{
    for (size_t a = 0; node->cluster && a < NET_APPS; a++) {
        for (size_t i = 0; i < NET_INSTANCES; i++) {
            struct bytes app = bytes_of(net_app(a)), instance = bytes_of(net_instance(i));
            uint64_t requests = cluster_instance_totals(node->cluster, app, instance).requests;
            const struct usage_sum *told = cluster_instance_usage(node->cluster, app, instance);
            struct usage_sum wanted = usage_of(requests);
            assert_true(usage_sum_covered(told, &wanted) && usage_sum_covered(&wanted, told));
        }
    }
}

static void tell_counts(struct net_node *node)
{
    struct usage_sum usage[NET_APPS][NET_INSTANCES];
    struct cluster_count counts[NET_APPS];
    struct cluster_instance_count instances[NET_APPS][NET_INSTANCES];
    for (size_t a = 0; a < NET_APPS; a++) {
        for (size_t i = 0; i < NET_INSTANCES; i++) {
            usage[a][i] = usage_of(node->requests[a][i]);
            instances[a][i] =
                (struct cluster_instance_count){bytes_of(net_instance(i)), node->requests[a][i],
                                                node->failures[a][i], 0, &usage[a][i]};
        }
        counts[a] = (struct cluster_count){
            .application = bytes_of(net_app(a)),
            .requests = node->app_requests[a],
            .errors = node->app_errors[a],
            .active = node->active[a],
            .latency = node->latency[a],
            .instances = instances[a],
            .instance_count = NET_INSTANCES,
        };
    }
    cluster_set_counts(node->cluster, node->net->now_ms, counts, NET_APPS, node->active[0]);
    node->count_ms = node->net->now_ms + cluster_count_interval_ms(node->cluster);
}

uint64_t net_total(const struct net_node *node)
{
    return cluster_requests(node->cluster);
}

bool net_has_problem(const struct net_node *node, const char *kind)
{
    for (size_t i = 0; i < node->problem_count; i++) {
        if (strcmp(node->problems[i], kind) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- time ---- */

static bool is_lost(struct net *net)
{
    return net->loss_percent > 0 && prng_below(&net->prng, 100) < net->loss_percent;
}

static void deliver(struct net *net)
{
    size_t count = net->packet_count, kept = 0;
    struct net_packet *packets = net->packets;
    net->packets = NULL; /* those that come out meanwhile go to a new list */
    net->packet_count = net->packet_capacity = 0;
    for (size_t i = 0; i < count; i++) {
        struct net_packet *p = &packets[i];
        struct net_node *to = &net->nodes[p->to];
        if (p->due_ms > net->now_ms) {
            packets[kept++] = *p;
        } else if (to->cluster && to->group == net->nodes[p->from].group && !is_lost(net)) {
            struct gossip_address from = address_of(p->from);
            cluster_receive(to->cluster, net->now_ms, &from,
                            (struct bytes){(const char *)p->bytes, p->size});
        }
    }
    for (size_t i = 0; i < kept; i++) {
        struct gossip_address to = address_of(packets[i].to);
        on_packet(&net->nodes[packets[i].from], &to,
                  (struct bytes){(const char *)packets[i].bytes, packets[i].size});
    }
    free(packets);
}

static void serve_node(struct net_node *node)
{
    struct net *net = node->net;
    if (net->now_ms >= node->count_ms) {
        tell_counts(node);
    }
    if (net->now_ms >= cluster_deadline_ms(node->cluster)) {
        cluster_tick(node->cluster, net->now_ms);
    }
    if (node->to_apply && !node->never_applies) {
        node->to_apply = false;
        if (node->refuses) {
            cluster_shared_refused(node->cluster, net->now_ms, "there is no such file here");
        } else {
            node->applied++;
            cluster_shared_applied(node->cluster, net->now_ms);
        }
    }
    uint64_t total = net_total(node);
    assert_true(total >= node->highest_total); /* totals on any node never fall */
    node->highest_total = total;
}

static void step(struct net *net)
{
    net->now_ms++;
    deliver(net);
    for (size_t i = 0; i < NET_NODES; i++) {
        if (net->nodes[i].cluster) {
            serve_node(&net->nodes[i]);
        }
    }
}

void net_run(struct net *net, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        step(net);
    }
}

bool net_wait(struct net *net, uint64_t limit_ms, bool (*holds)(struct net *net, void *arg),
              void *arg)
{
    for (uint64_t i = 0; i < limit_ms; i++) {
        if (holds(net, arg)) {
            return true;
        }
        step(net);
    }
    return holds(net, arg);
}

/* ---- for cmocka ---- */

int net_set_up(void **state)
{
    *state = net_new();
    return 0;
}

int net_set_up_three(void **state)
{
    enum { JOIN_MS = 6000 };
    net_set_up(state);
    for (size_t i = 0; i < 3; i++) {
        net_start(*state, i, "file", false);
    }
    net_run(*state, JOIN_MS);
    return 0;
}

int net_tear_down(void **state)
{
    net_free(*state);
    return 0;
}
