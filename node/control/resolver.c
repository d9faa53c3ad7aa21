/* resolver: uv_getaddrinfo() on a timer. */
#include "control/resolver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Lives until libuv calls back, also when its resolver is gone by then. */
struct resolver_lookup {
    uv_getaddrinfo_t request;
    struct resolver *resolver; /* NULL: let go */
};

static bool set_literal(struct instance_shared *shared)
{
    struct sockaddr_storage address = {0};
    if (uv_ip4_addr(shared->host, shared->port, (struct sockaddr_in *)&address) != 0 &&
        uv_ip6_addr(shared->host, shared->port, (struct sockaddr_in6 *)&address) != 0) {
        return false;
    }
    instance_shared_set_addresses(shared, &address, 1);
    return true;
}

/* Returns whether there was one. */
static bool set_found(struct instance_shared *shared, const struct addrinfo *found)
{
    struct sockaddr_storage addresses[INSTANCE_ADDRESSES_MAX] = {0};
    size_t count = 0;
    for (; found && count < INSTANCE_ADDRESSES_MAX; found = found->ai_next) {
        if (found->ai_family == AF_INET || found->ai_family == AF_INET6) {
            memcpy(&addresses[count++], found->ai_addr, found->ai_addrlen);
        }
    }
    if (count > 0) {
        instance_shared_set_addresses(shared, addresses, count);
    }
    return count > 0;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *result)
{
    struct resolver_lookup *lookup = LIST_ENTRY(request, struct resolver_lookup, request);
    struct resolver *r = lookup->resolver;
    free(lookup);
    if (r) {
        r->lookup = NULL;
        r->answered = true;
        r->error = status;
        bool known =
            (status == 0 && set_found(r->shared, result)) || instance_shared_has_address(r->shared);
        net_timer_set(r->net, &r->timer,
                      net_now_ms(r->net) + (known ? RESOLVER_INTERVAL_MS : RESOLVER_RETRY_MS));
    }
    uv_freeaddrinfo(result);
}

static void look_up(struct resolver *r)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char port[8];
    snprintf(port, sizeof(port), "%u", r->shared->port);
    struct resolver_lookup *lookup = memory_new(sizeof(*lookup));
    lookup->resolver = r;
    r->lookup = lookup;
    int error =
        uv_getaddrinfo(&r->net->uv, &lookup->request, on_resolved, r->shared->host, port, &hints);
    if (error) {
        r->lookup = NULL;
        r->error = error;
        r->answered = true;
        free(lookup);
        net_timer_set(r->net, &r->timer, net_now_ms(r->net) + RESOLVER_RETRY_MS);
    }
}

static void on_timer(struct wheel_timer *timer)
{
    look_up(LIST_ENTRY(timer, struct resolver, timer));
}

void resolver_init(struct resolver *r, struct net_loop *net, struct instance_shared *shared)
{
    *r = (struct resolver){.net = net, .shared = shared};
    wheel_timer_init(&r->timer, on_timer);
    r->answered = set_literal(shared);
    if (!r->answered) {
        look_up(r);
    }
}

void resolver_done(struct resolver *r)
{
    net_timer_clear(r->net, &r->timer);
    if (r->lookup) {
        r->lookup->resolver = NULL;
        uv_cancel((uv_req_t *)&r->lookup->request);
        r->lookup = NULL;
    }
}
