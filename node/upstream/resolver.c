/* resolver: a look-up on a timer. */
#include "upstream/resolver.h"

#include <stdio.h>
#include <string.h>

static bool set_literal(struct instance_live *live)
{
    struct sockaddr_storage address = {0};
    if (uv_ip4_addr(live->host, live->port, (struct sockaddr_in *)&address) != 0 &&
        uv_ip6_addr(live->host, live->port, (struct sockaddr_in6 *)&address) != 0) {
        return false;
    }
    instance_live_set_addresses(live, &address, 1);
    return true;
}

/* Returns whether there was one. */
static bool set_found(struct instance_live *live, const struct addrinfo *found)
{
    struct sockaddr_storage addresses[INSTANCE_ADDRESSES_MAX] = {0};
    size_t count = 0;
    for (; found && count < INSTANCE_ADDRESSES_MAX; found = found->ai_next) {
        if (found->ai_family == AF_INET || found->ai_family == AF_INET6) {
            memcpy(&addresses[count++], found->ai_addr, found->ai_addrlen);
        }
    }
    if (count > 0) {
        instance_live_set_addresses(live, addresses, count);
    }
    return count > 0;
}

static void on_resolved(void *owner, int error, struct addrinfo *result)
{
    struct resolver *r = owner;
    r->lookup = NULL;
    r->answered = true;
    r->live->name_asked = false;
    r->error = error;
    bool found = error == 0 && set_found(r->live, result);
    bool known = found || instance_live_has_address(r->live);
    r->failing_ms = found ? 0 : r->failing_ms ? r->failing_ms : net_now_ms(r->net);
    net_timer_set(r->net, &r->timer,
                  net_now_ms(r->net) + (known ? RESOLVER_INTERVAL_MS : RESOLVER_RETRY_MS));
    if (result) {
        freeaddrinfo(result);
    }
}

static void look_up(struct resolver *r)
{
    char port[8];
    snprintf(port, sizeof(port), "%u", r->live->port);
    struct lookup_question question = {.host = r->live->host,
                                       .service = port,
                                       .family = AF_UNSPEC,
                                       .socktype = SOCK_STREAM,
                                       .doubtful = r->error != 0};
    r->lookup = lookup_begin(r->lookups, &question, on_resolved, r);
}

static void on_timer(struct wheel_timer *timer)
{
    look_up(LIST_ENTRY(timer, struct resolver, timer));
}

void resolver_init(struct resolver *r, struct net_loop *net, struct lookups *lookups,
                   struct instance_live *live)
{
    *r = (struct resolver){.net = net, .lookups = lookups, .live = live};
    wheel_timer_init(&r->timer, on_timer);
    r->answered = set_literal(live);
    live->name_asked = !r->answered;
    if (!r->answered) {
        look_up(r);
    }
}

void resolver_done(struct resolver *r)
{
    net_timer_clear(r->net, &r->timer);
    if (r->lookup) {
        lookup_drop(r->lookup);
        r->lookup = NULL;
    }
}
