/* joins: one look-up at a time for each entry. */
#include "udp/joins.h"

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "udp/address.h"

enum {
    HOST_SIZE_MAX = 256,
    ADDRESSES_PER_NAME_MAX = 16,
    LOOKUP_MS = 10 * 1000, /* names move seldom; a look-up costs a thread */
    LOOKUP_FAILED_MS = 1000,
};

struct join_entry {
    struct joins *of;
    struct lookup *lookup; /* under way */
    struct wheel_timer timer;
    char host[HOST_SIZE_MAX];
    char port[8];
    struct gossip_address addresses[ADDRESSES_PER_NAME_MAX];
    size_t count;
    bool failed; /* the last look-up */
};

/* HOST:PORT or [HOST]:PORT, as conf has checked it. */
static void split(const char *text, char ret_host[HOST_SIZE_MAX], char ret_port[8])
{
    const char *colon = strrchr(text, ':');
    assert(colon);
    const char *host = text[0] == '[' ? text + 1 : text;
    size_t size = (size_t)(colon - host) - (text[0] == '[' ? 1 : 0);
    snprintf(ret_host, HOST_SIZE_MAX, "%.*s", (int)size, host);
    snprintf(ret_port, 8, "%s", colon + 1);
}

static bool parse_address(const char *text, struct gossip_address *ret_address)
{
    char host[HOST_SIZE_MAX], port[8];
    struct sockaddr_storage address = {0};
    split(text, host, port);
    int number = (int)strtol(port, NULL, 10);
    if (uv_ip4_addr(host, number, (struct sockaddr_in *)(void *)&address) != 0 &&
        uv_ip6_addr(host, number, (struct sockaddr_in6 *)(void *)&address) != 0) {
        return false;
    }
    address_from((const struct sockaddr *)&address, ret_address);
    return true;
}

int join_look_up(struct lookups *lookups, const char *text, bool (*goes_on)(const void *owner),
                 const void *owner, struct gossip_address *ret_address)
{
    char host[HOST_SIZE_MAX], port[8];
    struct addrinfo *result = NULL;
    if (parse_address(text, ret_address)) {
        return 0;
    }
    split(text, host, port);
    struct lookup_question question = {.host = host, .service = port, .socktype = SOCK_DGRAM};
    int error = lookup_wait(lookups, &question, goes_on, owner, &result);
    if (error) {
        return error;
    }
    address_from(result->ai_addr, ret_address);
    freeaddrinfo(result);
    return 0;
}

static void give(struct joins *j)
{
    struct gossip_address all[GOSSIP_JOIN_MAX];
    size_t count = 0;
    for (size_t i = 0; i < j->count; i++) {
        const struct join_entry *e = j->entries[i];
        for (size_t a = 0; a < e->count && count < GOSSIP_JOIN_MAX; a++) {
            all[count++] = e->addresses[a];
        }
    }
    if (j->cluster) {
        gossip_set_join(cluster_gossip(j->cluster), all, count);
    }
}

static void take_addresses(struct join_entry *e, const struct addrinfo *result)
{
    e->count = 0;
    for (const struct addrinfo *a = result; a && e->count < ADDRESSES_PER_NAME_MAX;
         a = a->ai_next) {
        address_from(a->ai_addr, &e->addresses[e->count]);
        e->count += gossip_address_known(&e->addresses[e->count]);
    }
}

static void on_looked_up(void *owner, int error, struct addrinfo *result)
{
    struct join_entry *e = owner;
    e->lookup = NULL;
    e->failed = error != 0;
    if (!error) { /* a name that fails keeps its last addresses */
        take_addresses(e, result);
        give(e->of);
        freeaddrinfo(result);
    }
    uint64_t wait_ms = error ? LOOKUP_FAILED_MS : LOOKUP_MS;
    net_timer_set(e->of->net, &e->timer, net_now_ms(e->of->net) + wait_ms);
}

static void look_up(struct join_entry *e)
{
    struct lookup_question question = {.host = e->host,
                                       .service = e->port,
                                       .family = e->of->six ? AF_UNSPEC : AF_INET,
                                       .socktype = SOCK_DGRAM,
                                       .doubtful = e->failed};
    e->lookup = lookup_begin(e->of->lookups, &question, on_looked_up, e);
}

static void on_lookup_due(struct wheel_timer *timer)
{
    look_up(LIST_ENTRY(timer, struct join_entry, timer));
}

static struct join_entry *join_new(struct joins *j, const char *text)
{
    struct join_entry *e = memory_new(sizeof(*e));
    e->of = j;
    wheel_timer_init(&e->timer, on_lookup_due);
    if (parse_address(text, &e->addresses[0])) {
        e->count = 1;
    } else {
        split(text, e->host, e->port);
        look_up(e);
    }
    return e;
}

static void join_free(struct join_entry *e)
{
    net_timer_clear(e->of->net, &e->timer);
    if (e->lookup) {
        lookup_drop(e->lookup);
    }
    free(e);
}

static void drop(struct joins *j)
{
    for (size_t i = 0; i < j->count; i++) {
        join_free(j->entries[i]);
    }
    free(j->entries);
    j->entries = NULL;
    j->count = 0;
}

void joins_init(struct joins *j, struct net_loop *net, bool six)
{
    *j = (struct joins){.net = net, .six = six};
}

void joins_done(struct joins *j)
{
    drop(j);
}

void joins_attach(struct joins *j, struct cluster *cluster)
{
    j->cluster = cluster;
    give(j);
}

void joins_set(struct joins *j, struct lookups *lookups, const char *const *join, size_t count)
{
    drop(j);
    j->lookups = lookups;
    j->entries = memory_new((count + 1) * sizeof(struct join_entry *));
    for (size_t i = 0; i < count; i++) {
        j->entries[j->count++] = join_new(j, join[i]);
    }
    give(j);
}
