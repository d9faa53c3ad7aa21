#include "gossip_net.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static const char *const default_key = "0123456789abcdef0123456789abcdef";

static struct net *network; /* the callbacks' way from a node to its net: one at a time */

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct net_node *node = owner;
    struct net_packet *slot = network->packets;
    bool known = to->ip[15] < NET_NODES_MAX;
    network->packet_count++;
    node->sent_to_outsiders += known ? 0 : packet.size;
    bool lost =
        network->loss_percent > 0 && prng_below(&network->losses, 100) < network->loss_percent;
    lost |= network->size_max > 0 && packet.size > network->size_max;
    if (!known || network->cut[node->index][to->ip[15]] || lost) {
        return;
    }
    while (slot->size > 0) {
        slot++;
        assert(slot < network->packets + NET_PACKETS_MAX);
    }
    *slot = (struct net_packet){
        network->now_ms + network->delay_ms, node->address, *to, packet.size, {0}};
    size_t used = (size_t)(slot - network->packets) + 1;
    network->packets_used = used > network->packets_used ? used : network->packets_used;
    slot->from.port += network->moved[node->index];
    memcpy(slot->bytes, packet.at, packet.size);
    network->last[to->ip[15]] = *slot;
}

static void on_member(void *owner, struct gossip_member *member, enum wire_state before)
{
    struct net_node *node = owner;
    node->death_events += member->state == WIRE_DEAD && before != WIRE_DEAD;
}

static void on_member_leaving(void *owner, struct gossip_member *member)
{
    (void)owner;
    (void)member;
}

static void on_entry(void *owner, struct gossip_member *member, struct bytes key,
                     struct bytes value)
{
    struct net_node *node = owner;
    (void)member;
    (void)key;
    (void)value;
    node->entry_events++;
}

static void on_text(void *owner, const uint8_t digest[WIRE_DIGEST_SIZE], struct bytes text)
{
    struct net_node *node = owner;
    (void)digest;
    node->text_failed = text.at == NULL;
    node->text_size = text.size;
    if (text.at) {
        memcpy(node->text, text.at, text.size);
    }
}

static void on_generation(void *owner, uint64_t generation)
{
    struct net_node *node = owner;
    node->raised_generation = generation;
}

static void on_problem(void *owner, enum gossip_problem problem, const struct gossip_address *from)
{
    struct net_node *node = owner;
    (void)from;
    node->problem_events[problem]++;
}

static void on_clash(void *owner, const char *name, const struct gossip_address *holder,
                     const struct gossip_address *other)
{
    struct net_node *node = owner;
    (void)name;
    node->clash_events++;
    node->clash_holder = *holder;
    node->clash_other = *other;
}

static const struct gossip_events events = {
    .on_packet = on_packet,
    .on_member = on_member,
    .on_member_leaving = on_member_leaving,
    .on_entry = on_entry,
    .on_text = on_text,
    .on_generation = on_generation,
    .on_clash = on_clash,
    .on_problem = on_problem,
};

struct net *net_new(void)
{
    network = memory_new(sizeof(*network));
    network->now_ms = 1000;
    network->generation = 1;
    network->seed = 1;
    network->delay_ms = 1;
    prng_init(&network->losses, 1);
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        network->nodes[i].index = i;
        network->nodes[i].address = (struct gossip_address){{0}, 7946};
        network->nodes[i].address.ip[15] = (uint8_t)i;
    }
    return network;
}

void net_kill(struct net *n, unsigned index)
{
    gossip_free(n->nodes[index].gossip);
    n->nodes[index].gossip = NULL;
}

void net_free(struct net *n)
{
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        net_kill(n, i);
    }
    free(n);
    network = NULL;
}

void net_start_as(struct net *n, unsigned index, const char *name, uint64_t generation,
                  const char *key_text)
{
    uint8_t key[1][SEAL_KEY_SIZE];
    struct seal_session session;
    memcpy(key[0], key_text, SEAL_KEY_SIZE);
    uint64_t number = ++n->seed * 0x9E3779B97F4A7C15ULL;
    memcpy(session.id, &number, sizeof(session.id));
    struct gossip_options options = {
        .cluster_name = BYTES("test"),
        .node_name = bytes_of(name),
        .generation = generation,
        .session = session,
        .keys = (const uint8_t(*)[SEAL_KEY_SIZE])key,
        .key_count = 1,
        .advertise = n->says[index],
        .profile = GOSSIP_LAN,
        .seed = number,
        .events = &events,
        .owner = &n->nodes[index],
    };
    n->nodes[index].gossip = gossip_new(&options, n->now_ms);
    if (index != 0) {
        gossip_set_join(n->nodes[index].gossip, &n->nodes[0].address, 1);
    }
}

void net_start(struct net *n, unsigned index)
{
    char name[16];
    snprintf(name, sizeof(name), "node-%u", index);
    net_start_as(n, index, name, ++n->generation, default_key);
}

static void refuse(struct net *n, const struct net_packet *p)
{
    struct gossip *from = n->nodes[p->from.ip[15]].gossip;
    bool lost = n->loss_percent > 0 && prng_below(&n->losses, 100) < n->loss_percent;
    if (from && !lost && !n->no_hints && !n->gone[p->to.ip[15]]) {
        n->hint_count++;
        gossip_hint(from, n->now_ms, &p->to, (struct bytes){(const char *)p->bytes, p->size});
    }
}

static void deliver(struct net *n)
{
    for (struct net_packet *p = n->packets; p < n->packets + n->packets_used; p++) {
        struct gossip *to = n->nodes[p->to.ip[15]].gossip;
        if (p->size == 0 || p->arrives_ms > n->now_ms) {
            continue;
        }
        struct net_packet taken = *p;
        p->size = 0;
        if (!to || n->refused[taken.from.ip[15]][taken.to.ip[15]]) {
            refuse(n, &taken);
        } else {
            gossip_receive(to, n->now_ms, &taken.from,
                           (struct bytes){(char *)taken.bytes, taken.size});
        }
    }
}

static void step(struct net *n)
{
    n->now_ms++;
    deliver(n);
    for (unsigned i = 0; i < NET_NODES_MAX; i++) {
        struct gossip *g = n->nodes[i].gossip;
        if (g && gossip_deadline_ms(g) <= n->now_ms) {
            gossip_tick(g, n->now_ms);
        }
    }
}

void net_run(struct net *n, uint64_t duration_ms)
{
    for (uint64_t i = 0; i < duration_ms; i++) {
        step(n);
    }
}

void net_work(struct net *n, uint64_t duration_ms)
{
    enum { EACH_MS = 10 };
    for (uint64_t i = 0; i < duration_ms; i++) {
        struct gossip *g = n->nodes[n->now_ms / EACH_MS % NET_NODES_MAX].gossip;
        if (g && n->now_ms % EACH_MS == 0) {
            gossip_set(g, n->now_ms, WIRE_URGENT, BYTES("work"),
                       (struct bytes){(const char *)&n->now_ms, sizeof(n->now_ms)});
        }
        step(n);
    }
}

bool net_run_until(struct net *n, uint64_t duration_ms, bool (*holds)(struct net *n))
{
    for (uint64_t i = 0; i < duration_ms && !holds(n); i++) {
        step(n);
    }
    return holds(n);
}

struct gossip_member *net_view(struct net *n, unsigned of, unsigned seen)
{
    char name[16];
    snprintf(name, sizeof(name), "node-%u", seen);
    return gossip_find(n->nodes[of].gossip, bytes_of(name));
}

bool net_all_alive(struct net *n)
{
    for (unsigned a = 0; a < NET_NODES_MAX; a++) {
        for (unsigned b = 0; b < NET_NODES_MAX; b++) {
            if (!n->nodes[a].gossip || !n->nodes[b].gossip) {
                continue;
            }
            struct gossip_member *m = net_view(n, a, b);
            if (!m || m->state != WIRE_ALIVE) {
                return false;
            }
        }
    }
    return true;
}
