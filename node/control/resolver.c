/* resolver: uv_getaddrinfo() on a timer. */
#include "control/resolver.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

/* Lives until libuv calls back, also when its resolver is gone by then. */
struct resolver_lookup {
    uv_getaddrinfo_t request;
    struct resolver *resolver; /* NULL: let go */
};

static bool set_literal(struct instance_shared *shared)
{
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    if (uv_ip4_addr(shared->host, shared->port, &four) == 0) {
        instance_shared_set_address(shared, (const struct sockaddr *)&four);
        return true;
    }
    if (uv_ip6_addr(shared->host, shared->port, &six) == 0) {
        instance_shared_set_address(shared, (const struct sockaddr *)&six);
        return true;
    }
    return false;
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
        bool known = status == 0 && result;
        if (known) {
            instance_shared_set_address(r->shared, result->ai_addr);
        }
        struct sockaddr_storage address;
        known = known || instance_shared_address(r->shared, &address);
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
