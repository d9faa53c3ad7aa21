/* link: uv_udp, one timer, and one look-up at a time for each join entry. */
#include "member/udp.h"

#include <assert.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

enum {
    HOST_SIZE_MAX = 256,
    ADDRESSES_PER_NAME_MAX = 16,
    /* A flood must not fill the kernel's small default before control has a turn; the kernel caps
     * it at net.core.rmem_max. */
    RECEIVE_BUFFER_SIZE = 1 << 20,
    HANDLES = 2,
};

struct join_entry {
    struct link *link;
    struct lookup *lookup; /* under way */
    struct wheel_timer timer;
    char host[HOST_SIZE_MAX];
    char port[8];
    struct gossip_address addresses[ADDRESSES_PER_NAME_MAX];
    size_t count;
    bool failed; /* the last look-up */
};

struct link {
    struct net_loop *net;
    struct lookups *lookups;
    struct cluster *cluster;
    uv_udp_t udp;
    uv_timer_t timer;
    struct join_entry **joins;
    size_t join_count;
    unsigned open_handles;
    bool six, closing;
    char space[2048]; /* one datagram: a packet has at most 1200 bytes */
};

/* ---- addresses ---- */

static void from_sockaddr(const struct sockaddr *any, struct gossip_address *ret)
{
    *ret = (struct gossip_address){{0}, 0};
    if (any->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)any;
        memcpy(ret->ip, &six->sin6_addr, sizeof(ret->ip));
        ret->port = ntohs(six->sin6_port);
    } else if (any->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)any;
        ret->ip[10] = 0xFF;
        ret->ip[11] = 0xFF;
        memcpy(ret->ip + 12, &four->sin_addr, 4);
        ret->port = ntohs(four->sin_port);
    }
}

static bool is_four(const struct gossip_address *a)
{
    static const uint8_t prefix[12] = {[10] = 0xFF, [11] = 0xFF};
    return memcmp(a->ip, prefix, sizeof(prefix)) == 0;
}

/* False if a socket of this family cannot reach it. */
static bool to_sockaddr(const struct gossip_address *a, bool six, struct sockaddr_storage *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (six) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)(void *)ret;
        address->sin6_family = AF_INET6;
        address->sin6_port = htons(a->port);
        memcpy(&address->sin6_addr, a->ip, sizeof(a->ip));
        return true;
    }
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)ret;
    address->sin_family = AF_INET;
    address->sin_port = htons(a->port);
    memcpy(&address->sin_addr, a->ip + 12, 4);
    return is_four(a);
}

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
    int number = atoi(port);
    if (uv_ip4_addr(host, number, (struct sockaddr_in *)(void *)&address) != 0 &&
        uv_ip6_addr(host, number, (struct sockaddr_in6 *)(void *)&address) != 0) {
        return false;
    }
    from_sockaddr((const struct sockaddr *)&address, ret_address);
    return true;
}

int link_look_up(struct lookups *lookups, const char *text, bool (*goes_on)(const void *owner),
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
    from_sockaddr(result->ai_addr, ret_address);
    freeaddrinfo(result);
    return 0;
}

/* ---- joins ---- */

static void give_joins(struct link *l)
{
    struct gossip_address all[GOSSIP_JOIN_MAX];
    size_t count = 0;
    for (size_t i = 0; i < l->join_count; i++) {
        const struct join_entry *e = l->joins[i];
        for (size_t a = 0; a < e->count && count < GOSSIP_JOIN_MAX; a++) {
            all[count++] = e->addresses[a];
        }
    }
    if (l->cluster) {
        gossip_set_join(cluster_gossip(l->cluster), all, count);
    }
}

static void take_addresses(struct join_entry *e, const struct addrinfo *result)
{
    e->count = 0;
    for (const struct addrinfo *a = result; a && e->count < ADDRESSES_PER_NAME_MAX;
         a = a->ai_next) {
        from_sockaddr(a->ai_addr, &e->addresses[e->count]);
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
        give_joins(e->link);
        freeaddrinfo(result);
    }
    uint64_t wait_ms = error ? LINK_LOOKUP_FAILED_MS : LINK_LOOKUP_MS;
    net_timer_set(e->link->net, &e->timer, net_now_ms(e->link->net) + wait_ms);
}

static void look_up(struct join_entry *e)
{
    struct lookup_question question = {.host = e->host,
                                       .service = e->port,
                                       .family = e->link->six ? AF_UNSPEC : AF_INET,
                                       .socktype = SOCK_DGRAM,
                                       .doubtful = e->failed};
    e->lookup = lookup_begin(e->link->lookups, &question, on_looked_up, e);
}

static void on_lookup_due(struct wheel_timer *timer)
{
    look_up(LIST_ENTRY(timer, struct join_entry, timer));
}

static struct join_entry *join_new(struct link *l, const char *text)
{
    struct join_entry *e = memory_new(sizeof(*e));
    e->link = l;
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
    net_timer_clear(e->link->net, &e->timer);
    if (e->lookup) {
        lookup_drop(e->lookup);
    }
    free(e);
}

static void drop_joins(struct link *l)
{
    for (size_t i = 0; i < l->join_count; i++) {
        join_free(l->joins[i]);
    }
    free(l->joins);
    l->joins = NULL;
    l->join_count = 0;
}

void link_set_join(struct link *l, struct lookups *lookups, const char *const *join, size_t count)
{
    drop_joins(l);
    l->lookups = lookups;
    l->joins = memory_new((count + 1) * sizeof(struct join_entry *));
    for (size_t i = 0; i < count; i++) {
        l->joins[l->join_count++] = join_new(l, join[i]);
    }
    give_joins(l);
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer)
{
    struct link *l = timer->data;
    cluster_tick(l->cluster, net_now_ms(l->net));
}

void link_arm(struct link *l)
{
    if (l->closing) {
        return;
    }
    uint64_t now_ms = net_now_ms(l->net), due_ms = cluster_deadline_ms(l->cluster);
    if (due_ms == UINT64_MAX) {
        uv_timer_stop(&l->timer);
    } else {
        uv_timer_start(&l->timer, on_due, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    }
}

/* ---- the socket ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct link *l = handle->data;
    (void)suggested;
    *buf = uv_buf_init(l->space, sizeof(l->space));
}

static void on_datagram(uv_udp_t *udp, ssize_t size, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct link *l = udp->data;
    struct gossip_address address;
    (void)flags; /* longer than the space is longer than a packet: refused by its size */
    if (size <= 0 || !from || !l->cluster) {
        return; /* nothing more to read, or an error of one packet sent earlier */
    }
    from_sockaddr(from, &address);
    cluster_receive(l->cluster, net_now_ms(l->net), &address,
                    (struct bytes){buf->base, (size_t)size});
}

void link_send(struct link *l, const struct gossip_address *to, struct bytes packet)
{
    struct sockaddr_storage address;
    if (!l->closing && to_sockaddr(to, l->six, &address)) {
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)packet.at, (unsigned)packet.size);
        uv_udp_try_send(&l->udp, &buf, 1, (const struct sockaddr *)&address);
    }
}

static int bind_socket(struct link *l, const struct conf_cluster *conf)
{
    struct sockaddr_storage address;
    int size = RECEIVE_BUFFER_SIZE;
    l->six = strchr(conf->bind_host, ':') != NULL;
    int error =
        l->six
            ? uv_ip6_addr(conf->bind_host, conf->bind_port, (struct sockaddr_in6 *)(void *)&address)
            : uv_ip4_addr(conf->bind_host, conf->bind_port, (struct sockaddr_in *)(void *)&address);
    if (!error) {
        error = uv_udp_bind(&l->udp, (const struct sockaddr *)&address, 0);
    }
    if (!error) {
        uv_recv_buffer_size((uv_handle_t *)&l->udp, &size);
        error = uv_udp_recv_start(&l->udp, on_alloc, on_datagram);
    }
    return error;
}

static void on_closed(uv_handle_t *handle)
{
    struct link *l = handle->data;
    if (--l->open_handles == 0) {
        free(l);
    }
}

struct link *link_open(struct net_loop *net, const struct conf_cluster *conf,
                       struct buffer *ret_error)
{
    struct link *l = memory_new(sizeof(*l));
    l->net = net;
    l->open_handles = HANDLES;
    uv_udp_init(&net->uv, &l->udp);
    uv_timer_init(&net->uv, &l->timer);
    l->udp.data = l;
    l->timer.data = l;
    int error = bind_socket(l, conf);
    if (error) {
        buffer_append_format(ret_error, "cluster.bind: cannot bind UDP %s port %u: %s",
                             conf->bind_host, conf->bind_port, uv_strerror(error));
        link_close(l);
        return NULL;
    }
    return l;
}

void link_attach(struct link *l, struct cluster *cluster)
{
    l->cluster = cluster;
    give_joins(l);
}

struct gossip_address link_bound(const struct link *l)
{
    struct sockaddr_storage address;
    struct gossip_address known;
    int size = sizeof(address);
    int error = uv_udp_getsockname(&l->udp, (struct sockaddr *)&address, &size);
    assert(error == 0);
    from_sockaddr((const struct sockaddr *)&address, &known);
    return known;
}

bool link_source(const struct link *l, const struct gossip_address *peer,
                 struct gossip_address *ret_address)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    bool reachable = to_sockaddr(peer, l->six, &address);
    int fd = reachable ? socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0) {
        return false;
    }
    /* a datagram socket that connects sends nothing: the kernel only chooses the source */
    bool known = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    close(fd);
    if (known) {
        from_sockaddr((const struct sockaddr *)&address, ret_address);
        ret_address->port = link_bound(l).port;
    }
    return known;
}

bool link_is_wildcard(const struct gossip_address *address)
{
    static const struct gossip_address six = {{0}, 0}, four = {{[10] = 0xFF, [11] = 0xFF}, 0};
    return memcmp(address->ip, six.ip, sizeof(six.ip)) == 0 ||
           memcmp(address->ip, four.ip, sizeof(four.ip)) == 0;
}

void link_close(struct link *l)
{
    l->closing = true;
    drop_joins(l);
    uv_close((uv_handle_t *)&l->udp, on_closed);
    uv_close((uv_handle_t *)&l->timer, on_closed);
}
