/* gossip_net: a few gossip cores on a network in memory, for unit tests. Packets arrive a
 * millisecond after they were sent unless a rule drops them; time moves in steps of a millisecond.
 */
#ifndef TESTS_GOSSIP_NET_H
#define TESTS_GOSSIP_NET_H

#include "base/prng.h"
#include "gossip/gossip.h"

enum { NET_NODES_MAX = 20, NET_LOG_MAX = 64, NET_PACKETS_MAX = 1024 };

struct net_node {
    struct gossip *gossip; /* NULL: not running */
    struct gossip_address address;
    unsigned index;
    unsigned entry_events, death_events, problem_events[GOSSIP_PROBLEMS];
    unsigned clash_events;
    struct gossip_address clash_holder, clash_other; /* of the last one */
    uint64_t raised_generation;
    char text[8192]; /* of the last on_text */
    size_t text_size;
    bool text_failed;
    size_t sent_to_outsiders; /* bytes to an address that is no node's */
};

struct net_packet {
    uint64_t arrives_ms;
    struct gossip_address from, to;
    size_t size;
    uint8_t bytes[GOSSIP_PACKET_MAX];
};

struct net {
    uint64_t now_ms;
    struct net_node nodes[NET_NODES_MAX];
    struct net_packet packets[NET_PACKETS_MAX]; /* size 0 = free */
    size_t packets_used;                        /* places that have ever been: the first ones */
    bool cut[NET_NODES_MAX][NET_NODES_MAX];     /* from, to */
    bool refused[NET_NODES_MAX][NET_NODES_MAX]; /* the same, and the sender gets a hint */
    bool gone[NET_NODES_MAX];                   /* not running: its machine gives no hints */
    struct gossip_address says[NET_NODES_MAX];  /* what it advertises; unknown: nothing */
    bool moved[NET_NODES_MAX];                  /* its packets come from another port */
    bool no_hints;
    unsigned hint_count;
    struct net_packet last[NET_NODES_MAX]; /* the last packet that each was sent */
    uint64_t generation;
    uint64_t packet_count;
    unsigned loss_percent, delay_ms; /* delay_ms: 1 */
    size_t size_max;                 /* what is larger gets lost; 0: nothing */
    uint64_t seed;
    struct prng losses;
};

struct net *net_new(void);
void net_free(struct net *n);

/* Starts node `index` (named node-INDEX), joining by node 0's address. */
void net_start(struct net *n, unsigned index);
void net_start_as(struct net *n, unsigned index, const char *name, uint64_t generation,
                  const char *key_text);
void net_kill(struct net *n, unsigned index);
void net_run(struct net *n, uint64_t duration_ms);
/* The same while all change what they tell, one after the other each 10 ms. */
void net_work(struct net *n, uint64_t duration_ms);
/* Until `holds` or the time is over; returns whether it holds. */
bool net_run_until(struct net *n, uint64_t duration_ms, bool (*holds)(struct net *n));

/* How node `of` sees node `seen`; NULL if it does not know it. */
struct gossip_member *net_view(struct net *n, unsigned of, unsigned seen);
bool net_all_alive(struct net *n); /* every running node sees every running one alive */

#endif
