/* bench_rest: nobody asks anything, nothing changes. Whose counter of packets has gone up tells the
 * kind of the one that is being handed out. */
#include "tests/sim/bench_rest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "tests/sim/bench.h"
#include "tests/sim/host.h"
#include "tests/sim/process.h"

enum {
    KINDS = WIRE_CHUNK + 1,
    SETTLE_S = 10,
    BEGINS_S = 20, /* syncs have stretched */
    REST_S = 60,
    TWO_BYTES_MAX = 400,
    FEW_BYTES_MAX = 700,
    FEW_MAX = 5,
};

static const char *const NAMES[KINDS] = {
    "",          "HELLO", "WELCOME", "PING",  "ACK",       "PING_REQUEST",
    "PROXY_ACK", "SYN",   "SYN_ACK", "DELTA", "CHUNK_ASK", "CHUNK",
};

struct rest {
    uint64_t *sent; /* [host][kind]: by its own counters, the last time */
    uint64_t packets[KINDS], bytes[KINDS];
};

static void on_packet(struct process *from, size_t size)
{
    struct rest *r = from->world->owner;
    uint64_t *sent = &r->sent[from->host->index * KINDS];
    const uint64_t *now = gossip_counters(cluster_gossip(from->cluster))->packets_out;
    for (size_t kind = 0; kind < KINDS; kind++) {
        if (now[kind] != sent[kind]) {
            sent[kind] = now[kind];
            r->packets[kind]++;
            r->bytes[kind] += size;
        }
    }
}

static double print(const struct rest *r, size_t hosts)
{
    double all = 0, count = 0, share = 1.0 / (double)hosts / REST_S;
    for (size_t kind = 1; kind < KINDS; kind++) {
        double packets = (double)r->packets[kind] * share, bytes = (double)r->bytes[kind] * share;
        all += bytes;
        count += packets;
        if (r->packets[kind] > 0) {
            printf("%5zu  %-12s %6.2f a second  %5.1f bytes each  %6.1f bytes a second\n", hosts,
                   NAMES[kind], packets, bytes / packets, bytes);
        }
    }
    printf("%5zu  %-12s %6.2f a second  %5.1f bytes each  %6.1f bytes a second\n", hosts, "all",
           count, all / count, all);
    return all;
}

static bool run(size_t hosts)
{
    struct world *w = bench_world(hosts, 0, 1);
    struct rest r = {.sent = memory_new(hosts * KINDS * sizeof(uint64_t))};
    world_run(w, w->now_us + SETTLE_S * WORLD_SECOND_US);
    for (size_t i = 0; i < hosts; i++) {
        work_stop_requests(w->hosts[i].process);
    }
    world_run(w, w->now_us + BEGINS_S * WORLD_SECOND_US);
    for (size_t i = 0; i < hosts; i++) {
        const struct gossip *g = cluster_gossip(w->hosts[i].process->cluster);
        memcpy(&r.sent[i * KINDS], gossip_counters(g)->packets_out, KINDS * sizeof(uint64_t));
    }
    w->owner = &r;
    w->on_packet = on_packet;
    world_run(w, w->now_us + REST_S * WORLD_SECOND_US);
    double bytes = print(&r, hosts);
    world_free(w);
    free(r.sent);
    return hosts > FEW_MAX || bytes <= (hosts == 2 ? TWO_BYTES_MAX : FEW_BYTES_MAX);
}

size_t bench_rest(void)
{
    static const size_t HOSTS[] = {2, 3, 5, 16, 64};
    size_t failed = 0;
    for (size_t i = 0; i < sizeof(HOSTS) / sizeof(HOSTS[0]); i++) {
        failed += !run(HOSTS[i]);
    }
    return failed;
}
