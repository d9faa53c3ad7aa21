/* slots: numbers from a mix of the life and the turn. */
#include "tests/sim/slots.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/host.h"
#include "tests/sim/process.h"

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static uint64_t container_id(const struct process *p, size_t index)
{
    char name[] = "10.0.0.1:80";
    name[7] = (char)('1' + index);
    return cluster_container_id(p->cluster, bytes_of(name));
}

void slots_tell(struct process *p)
{
    struct slots_truth *t = &p->work.slots;
    struct cluster_slots rows[SLOTS_CONTAINERS];
    size_t count = 0;
    t->turn += p->work.rate > 0 ? 1 : 0; /* at rest they stay as they are */
    for (size_t i = 0; i < SLOTS_CONTAINERS; i++) {
        uint64_t bits = mix((uint64_t)p->life << 32 | t->turn << 4 | i);
        struct cluster_slots *s = &t->told[i];
        *s = (struct cluster_slots){.container = container_id(p, i)};
        if (bits % 3 > 0) {
            s->used = 1 + (uint32_t)(bits >> 8) % 10;
            s->used_long = (uint32_t)(bits >> 16) % (s->used + 1);
            s->waiting[0] = (uint32_t)(bits >> 24) % 3;
            s->waiting[1] = (uint32_t)(bits >> 32) % 4;
            rows[count++] = *s;
        }
    }
    cluster_set_slots(p->cluster, host_now_ms(p->world, p->host), rows, count);
}

/* What the others have of one container, as they told it. */
static struct cluster_slots_others truth_of(const struct process *v, size_t container)
{
    struct cluster_slots_others sum = {.container = v->work.slots.told[container].container};
    for (size_t i = 0; i < v->world->options.host_count; i++) {
        const struct process *p = v->world->hosts[i].process;
        if (p == NULL || p == v) {
            continue;
        }
        const struct cluster_slots *s = &p->work.slots.told[container];
        sum.used += s->used;
        sum.used_long += s->used_long;
        sum.waiting += s->waiting[0] + s->waiting[1];
        sum.rivals[0] += s->waiting[0] > 0 ? 1 : 0;
        sum.rivals[1] += s->waiting[1] > 0 ? 1 : 0;
    }
    return sum;
}

static struct cluster_slots_others row_of(const struct cluster_slots_others *rows, size_t count,
                                          uint64_t container)
{
    for (size_t i = 0; i < count; i++) {
        if (rows[i].container == container) {
            return rows[i];
        }
    }
    return (struct cluster_slots_others){.container = container};
}

static bool same(const struct cluster_slots_others *a, const struct cluster_slots_others *b)
{
    return a->used == b->used && a->used_long == b->used_long && a->waiting == b->waiting &&
           a->rivals[0] == b->rivals[0] && a->rivals[1] == b->rivals[1];
}

bool slots_seen(struct process *v, char *ret_why, size_t why_size)
{
    struct cluster_slots_others *rows = NULL;
    size_t count = cluster_slots_of_others(v->cluster, &rows);
    bool seen = true;
    for (size_t i = 0; i < SLOTS_CONTAINERS && seen; i++) {
        struct cluster_slots_others truth = truth_of(v, i);
        struct cluster_slots_others row = row_of(rows, count, truth.container);
        seen = same(&truth, &row) && row.rank[0] <= row.rivals[0] && row.rank[1] <= row.rivals[1];
        if (!seen) {
            snprintf(
                ret_why, why_size,
                "%s counts %u slots (%u long, %u waiters) of the others at container %zu, they "
                "have %u (%u, %u)",
                v->host->name, row.used, row.used_long, row.waiting, i, truth.used, truth.used_long,
                truth.waiting);
        }
    }
    free(rows);
    return seen;
}
