/* network: what becomes of a packet is drawn when it is sent; who has its address is looked up when
 * it arrives. */
#include "tests/sim/network.h"

#include <stdlib.h>

#include "base/memory.h"
#include "tests/sim/adversary.h"
#include "tests/sim/host.h"
#include "tests/sim/world.h"

enum {
    PORT = 7946,
    /* Linux: so many hints at once to one host, and then one a second. */
    HINTS_AT_ONCE = 6,
    HINT_US = 1000 * 1000,
};

/* On its way. */
struct carried {
    struct gossip_address from, to;
    size_t size;
    uint8_t bytes[];
};

struct gossip_address network_address(uint32_t host, uint8_t epoch)
{
    struct gossip_address a = {.port = PORT};
    a.ip[10] = a.ip[11] = 0xff;
    a.ip[12] = 10;
    a.ip[13] = epoch;
    a.ip[14] = (uint8_t)(host >> 8);
    a.ip[15] = (uint8_t)host;
    return a;
}

void network_init(struct network *n, size_t host_count)
{
    *n = (struct network){.host_count = host_count, .delay_min_us = 100, .delay_max_us = 2000};
    n->cut = memory_new(host_count * host_count * sizeof(*n->cut));
    n->own_loss = memory_new(host_count * host_count * sizeof(*n->own_loss));
    n->hint_credits = memory_new(host_count * host_count * sizeof(*n->hint_credits));
}

void network_done(struct network *n)
{
    free(n->cut);
    free(n->own_loss);
    free(n->hint_credits);
}

static uint32_t host_of(const struct gossip_address *a)
{
    return (uint32_t)a->ip[14] << 8 | a->ip[15];
}

struct host *network_host(struct world *w, const struct gossip_address *a)
{
    uint32_t i = host_of(a);
    bool own = i < w->network.host_count && gossip_address_equal(&w->hosts[i].address, a);
    return own ? &w->hosts[i] : NULL;
}

static uint64_t draw_delay(struct world *w)
{
    const struct network *n = &w->network;
    if (world_chance(w, n->late_permille)) {
        return world_between(w, n->delay_max_us, n->late_max_us);
    }
    return world_between(w, n->delay_min_us, n->delay_max_us);
}

static void arrive_hint(struct world *w, const struct event *e)
{
    const struct carried *c = e->data;
    process_hint(w->hosts[e->host].process, &c->to,
                 (struct bytes){(const char *)c->bytes, c->size});
}

static bool may_hint(struct world *w, uint32_t from_host, uint32_t to_host)
{
    struct network *n = &w->network;
    struct hint_credit *credit = &n->hint_credits[from_host * n->host_count + to_host];
    uint64_t most_us = (uint64_t)HINTS_AT_ONCE * HINT_US;
    credit->left_us += w->now_us - credit->at_us;
    credit->left_us = credit->at_us == 0 || credit->left_us > most_us ? most_us : credit->left_us;
    credit->at_us = w->now_us;
    if (credit->left_us < HINT_US) {
        return false;
    }
    credit->left_us -= HINT_US;
    return true;
}

/* A machine on which nothing holds the port says so, and quotes what came. */
static void refuse(struct world *w, uint32_t at, const struct carried *c)
{
    struct network *n = &w->network;
    uint32_t to_host = host_of(&c->from);
    const struct host *to = network_host(w, &c->from);
    if (w->hosts[at].gone || to == NULL || to->process == NULL ||
        n->cut[at * n->host_count + to_host] || world_chance(w, n->loss_permille) ||
        !may_hint(w, at, to_host)) {
        return;
    }
    struct carried *quote = malloc(sizeof(*quote) + c->size);
    memcpy(quote, c, sizeof(*quote) + c->size);
    world_after(w, draw_delay(w),
                (struct event){
                    .run = arrive_hint, .host = to_host, .life = to->process->life, .data = quote});
}

static void arrive(struct world *w, const struct event *e)
{
    const struct carried *c = e->data;
    struct host *h = &w->hosts[e->host];
    if (!gossip_address_equal(&c->to, &h->address)) {
        return;
    }
    if (h->process == NULL) {
        refuse(w, e->host, c);
        return;
    }
    struct bytes packet = {(const char *)c->bytes, c->size};
    uint32_t life = h->process->life;
    bool read = h->process->paused_until_us <= w->now_us;
    process_receive(h->process, &c->from, packet);
    if (w->adversary != NULL && read) {
        adversary_sees(w->adversary, life, &c->from, &c->to, packet);
    }
}

void network_send(struct world *w, uint32_t from_host, const struct gossip_address *from,
                  const struct gossip_address *to, struct bytes packet)
{
    struct network *n = &w->network;
    uint32_t to_host = host_of(to);
    n->packets++;
    n->bytes += packet.size;
    uint64_t tag = 0;
    memcpy(&tag, packet.at + packet.size - sizeof(tag), sizeof(tag));
    world_trace(w, tag ^ to_host ^ w->now_us << 16);
    if (to_host >= n->host_count || n->cut[from_host * n->host_count + to_host]) {
        return;
    }
    int copies = world_chance(w, n->duplicate_permille) ? 2 : 1;
    for (; copies > 0; copies--) {
        if (world_chance(w, n->loss_permille) ||
            world_chance(w, n->own_loss[from_host * n->host_count + to_host])) {
            continue;
        }
        struct carried *c = malloc(sizeof(*c) + packet.size);
        *c = (struct carried){.from = *from, .to = *to, .size = packet.size};
        memcpy(c->bytes, packet.at, packet.size);
        world_after(w, draw_delay(w), (struct event){.run = arrive, .host = to_host, .data = c});
    }
}

void network_cut(struct network *n, size_t from, size_t to, bool cut)
{
    n->cut[from * n->host_count + to] = cut;
}

void network_lose_from(struct network *n, size_t from, unsigned permille)
{
    for (size_t to = 0; to < n->host_count; to++) {
        n->own_loss[from * n->host_count + to] = permille;
    }
}

bool network_carries(const struct network *n, size_t from, size_t to)
{
    size_t way = from * n->host_count + to;
    return !n->cut[way] && n->own_loss[way] == 0;
}

void network_heal(struct network *n)
{
    memset(n->cut, 0, n->host_count * n->host_count * sizeof(*n->cut));
}

bool network_is_whole(const struct network *n)
{
    for (size_t i = 0; i < n->host_count * n->host_count; i++) {
        if (n->cut[i]) {
            return false;
        }
    }
    return true;
}
