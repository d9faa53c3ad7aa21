/* verdicts: the input is the cluster's rows in their own order; what is remembered is a hash over
 * the same rows in order of name. */
#include "tests/sim/verdicts.h"

#include <stdlib.h>

#include "base/memory.h"
#include "tests/sim/host.h"

enum {
    MEMORY_SIZE = 1 << 12, /* inputs remembered, newest first of those that fall together */
    INSTANCES = WORK_APPS * WORK_INSTANCES,
};

struct verdict_memory {
    struct remembered {
        uint64_t input, result;
    } seen[MEMORY_SIZE];
    struct verdict_node nodes[VERDICT_NODES_MAX];
    struct verdict_vote votes[INSTANCES][VERDICT_NODES_MAX];
};

struct verdict_memory *verdict_memory_new(void)
{
    return memory_new(sizeof(struct verdict_memory));
}

void verdict_memory_free(struct verdict_memory *m)
{
    free(m);
}

static uint64_t mix(uint64_t hash, uint64_t what)
{
    hash = (hash ^ what) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 31;
}

/* The sum over the nodes of a hash of each one's row: the same in whatever order they stand. */
static uint64_t hash_input(struct process *p, const struct verdict_memory *m, size_t node_count,
                           unsigned drained)
{
    uint64_t sum = mix(1, drained);
    for (size_t n = 0; n < node_count; n++) {
        const struct gossip_member *member = gossip_member(cluster_gossip(p->cluster), n);
        uint64_t hash = mix(member->id, m->nodes[n].alive * 2u + m->nodes[n].lapsed);
        for (size_t i = 0; i < INSTANCES; i++) {
            const struct verdict_vote *vote = &m->votes[i][n];
            hash = mix(hash, verdict_weight(vote->answers) * 8 + vote->active * 2u + vote->tripped);
        }
        sum += hash;
    }
    return sum;
}

static void remember(struct process *p, uint64_t input, uint64_t result)
{
    struct remembered *r = &p->world->verdicts->seen[input % MEMORY_SIZE];
    if (r->input == input && r->result != result) {
        world_fail(p->world, "%s computes other verdicts from equal votes", p->host->name);
    }
    *r = (struct remembered){input, result};
}

static void digest_eligible(struct process *p, const struct verdict_result results[INSTANCES])
{
    char text[INSTANCES];
    for (size_t i = 0; i < INSTANCES; i++) {
        text[i] = results[i].eligible ? '1' : '0';
    }
    uint8_t digest[SHA256_SIZE];
    sha256_digest(p->world->sha, &(struct bytes){text, sizeof(text)}, 1, digest);
    sha256_hex(digest, p->work.ring_digest);
}

void verdicts_compute(struct process *p)
{
    struct verdict_memory *m = p->world->verdicts;
    size_t node_count = cluster_verdict_nodes(p->cluster, host_now_ms(p->world, p->host), m->nodes);
    struct verdict_instance instances[INSTANCES];
    struct verdict_application applications[WORK_APPS];
    unsigned drained = work_drained(p);
    for (size_t i = 0; i < INSTANCES; i++) {
        const char *name = WORK_INSTANCE_NAMES[i % WORK_INSTANCES];
        cluster_verdict_votes(p->cluster, bytes_of(WORK_APP_NAMES[i / WORK_INSTANCES]),
                              bytes_of(name), m->votes[i]);
        instances[i] = (struct verdict_instance){
            .name = name, .drained = (drained >> i & 1) != 0, .votes = m->votes[i]};
    }
    for (size_t a = 0; a < WORK_APPS; a++) {
        applications[a] = (struct verdict_application){.instances = instances + a * WORK_INSTANCES,
                                                       .instance_count = WORK_INSTANCES};
    }
    struct verdict_result results[INSTANCES];
    static bool isolated[VERDICT_NODES_MAX];
    verdict_compute(&(struct verdict_input){.nodes = m->nodes,
                                            .node_count = node_count,
                                            .applications = applications,
                                            .application_count = WORK_APPS},
                    results, isolated);
    uint64_t result = 0;
    for (size_t i = 0; i < INSTANCES; i++) {
        result =
            mix(result, results[i].verdict * 4u + results[i].eligible * 2u + results[i].routable);
    }
    remember(p, hash_input(p, m, node_count, drained), result);
    digest_eligible(p, results);
}
