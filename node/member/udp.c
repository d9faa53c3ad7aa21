/* udp: uv_udp, one timer, and one look-up at a time for each join entry. */
#include "member/udp.h"

#include <assert.h>
#include <linux/errqueue.h>
#include <netdb.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
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
    ERRORS_PER_TURN = 256, /* the rest makes the loop turn again at once */
    SENDS_MAX = 4,
};

struct join_entry {
    struct udp *udp;
    struct lookup *lookup; /* under way */
    struct wheel_timer timer;
    char host[HOST_SIZE_MAX];
    char port[8];
    struct gossip_address addresses[ADDRESSES_PER_NAME_MAX];
    size_t count;
    bool failed; /* the last look-up */
};

struct udp {
    struct net_loop *net;
    struct lookups *lookups;
    struct cluster *cluster;
    uv_udp_t udp;
    uv_timer_t timer;
    struct join_entry **joins;
    size_t join_count;
    unsigned open_handles;
    bool six, closing, reports_errors;
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
    int number = (int)strtol(port, NULL, 10);
    if (uv_ip4_addr(host, number, (struct sockaddr_in *)(void *)&address) != 0 &&
        uv_ip6_addr(host, number, (struct sockaddr_in6 *)(void *)&address) != 0) {
        return false;
    }
    from_sockaddr((const struct sockaddr *)&address, ret_address);
    return true;
}

int udp_look_up(struct lookups *lookups, const char *text, bool (*goes_on)(const void *owner),
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

static void give_joins(struct udp *u)
{
    struct gossip_address all[GOSSIP_JOIN_MAX];
    size_t count = 0;
    for (size_t i = 0; i < u->join_count; i++) {
        const struct join_entry *e = u->joins[i];
        for (size_t a = 0; a < e->count && count < GOSSIP_JOIN_MAX; a++) {
            all[count++] = e->addresses[a];
        }
    }
    if (u->cluster) {
        gossip_set_join(cluster_gossip(u->cluster), all, count);
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
        give_joins(e->udp);
        freeaddrinfo(result);
    }
    uint64_t wait_ms = error ? UDP_LOOKUP_FAILED_MS : UDP_LOOKUP_MS;
    net_timer_set(e->udp->net, &e->timer, net_now_ms(e->udp->net) + wait_ms);
}

static void look_up(struct join_entry *e)
{
    struct lookup_question question = {.host = e->host,
                                       .service = e->port,
                                       .family = e->udp->six ? AF_UNSPEC : AF_INET,
                                       .socktype = SOCK_DGRAM,
                                       .doubtful = e->failed};
    e->lookup = lookup_begin(e->udp->lookups, &question, on_looked_up, e);
}

static void on_lookup_due(struct wheel_timer *timer)
{
    look_up(LIST_ENTRY(timer, struct join_entry, timer));
}

static struct join_entry *join_new(struct udp *u, const char *text)
{
    struct join_entry *e = memory_new(sizeof(*e));
    e->udp = u;
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
    net_timer_clear(e->udp->net, &e->timer);
    if (e->lookup) {
        lookup_drop(e->lookup);
    }
    free(e);
}

static void drop_joins(struct udp *u)
{
    for (size_t i = 0; i < u->join_count; i++) {
        join_free(u->joins[i]);
    }
    free(u->joins);
    u->joins = NULL;
    u->join_count = 0;
}

void udp_set_join(struct udp *u, struct lookups *lookups, const char *const *join, size_t count)
{
    drop_joins(u);
    u->lookups = lookups;
    u->joins = memory_new((count + 1) * sizeof(struct join_entry *));
    for (size_t i = 0; i < count; i++) {
        u->joins[u->join_count++] = join_new(u, join[i]);
    }
    give_joins(u);
}

/* ---- time ---- */

static void on_due(uv_timer_t *timer)
{
    struct udp *u = timer->data;
    cluster_tick(u->cluster, net_now_ms(u->net));
}

void udp_arm(struct udp *u)
{
    if (u->closing) {
        return;
    }
    uint64_t now_ms = net_now_ms(u->net), due_ms = cluster_deadline_ms(u->cluster);
    if (due_ms == UINT64_MAX) {
        uv_timer_stop(&u->timer);
    } else {
        uv_timer_start(&u->timer, on_due, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    }
}

/* ---- what the kernel says ---- */

static bool is_port_unheld(const struct cmsghdr *c)
{
    struct sock_extended_err e;
    bool four = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
    bool six = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
    if (!(four || six) || c->cmsg_len < CMSG_LEN(sizeof(e))) {
        return false;
    }
    memcpy(&e, CMSG_DATA(c), sizeof(e));
    return (e.ee_origin == SO_EE_ORIGIN_ICMP && e.ee_type == ICMP_DEST_UNREACH &&
            e.ee_code == ICMP_PORT_UNREACH) ||
           (e.ee_origin == SO_EE_ORIGIN_ICMP6 && e.ee_type == ICMP6_DST_UNREACH &&
            e.ee_code == ICMP6_DST_UNREACH_NOPORT);
}

/* One error of the queue; false: there is none. */
static bool read_error(struct udp *u, int fd)
{
    char control[512], quoted[GOSSIP_PACKET_MAX];
    struct sockaddr_storage to = {0};
    struct gossip_address address;
    struct iovec space = {quoted, sizeof(quoted)};
    struct msghdr m = {.msg_name = &to,
                       .msg_namelen = sizeof(to),
                       .msg_iov = &space,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    ssize_t size = recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (size < 0) {
        return false;
    }
    from_sockaddr((const struct sockaddr *)&to, &address);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (is_port_unheld(c)) {
            cluster_hint(u->cluster, net_now_ms(u->net), &address,
                         (struct bytes){quoted, (size_t)size});
        }
    }
    return true;
}

/* The loop calls for reading as long as the queue has anything. */
static void read_errors(struct udp *u)
{
    uv_os_fd_t fd;
    if (!u->reports_errors || uv_fileno((const uv_handle_t *)&u->udp, &fd) != 0) {
        return;
    }
    for (unsigned i = 0; i < ERRORS_PER_TURN && read_error(u, fd); i++) {
    }
}

/* Where it cannot be had, time-outs do. A socket of IPv6 sends to IPv4 as well. */
static void ask_for_errors(struct udp *u)
{
    uv_os_fd_t fd;
    int on = 1;
    if (uv_fileno((const uv_handle_t *)&u->udp, &fd) == 0) {
        bool four = setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) == 0;
        bool six = u->six && setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on)) == 0;
        u->reports_errors = four || six;
    }
}

/* ---- the socket ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct udp *u = handle->data;
    (void)suggested;
    *buf = uv_buf_init(u->space, sizeof(u->space));
}

static void on_datagram(uv_udp_t *udp, ssize_t size, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct udp *u = udp->data;
    struct gossip_address address;
    (void)flags; /* longer than the space is longer than a packet: refused by its size */
    if (!u->cluster) {
        return;
    }
    if (size <= 0 || !from) { /* nothing more to read, or an error of a packet sent earlier */
        read_errors(u);
        return;
    }
    from_sockaddr(from, &address);
    cluster_receive(u->cluster, net_now_ms(u->net), &address,
                    (struct bytes){buf->base, (size_t)size});
}

void udp_send(struct udp *u, const struct gossip_address *to, struct bytes packet)
{
    struct sockaddr_storage address;
    if (!u->closing && to_sockaddr(to, u->six, &address)) {
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)packet.at, (unsigned)packet.size);
        int error = UV_ECONNREFUSED;
        /* an error of a packet sent earlier, to whomever, comes in place of the first */
        for (unsigned i = 0; i < SENDS_MAX && error < 0 && error != UV_EAGAIN; i++) {
            error = uv_udp_try_send(&u->udp, &buf, 1, (const struct sockaddr *)&address);
        }
    }
}

static int bind_socket(struct udp *u, const struct conf_cluster *conf)
{
    struct sockaddr_storage address;
    int size = RECEIVE_BUFFER_SIZE;
    u->six = strchr(conf->bind_host, ':') != NULL;
    int error =
        u->six
            ? uv_ip6_addr(conf->bind_host, conf->bind_port, (struct sockaddr_in6 *)(void *)&address)
            : uv_ip4_addr(conf->bind_host, conf->bind_port, (struct sockaddr_in *)(void *)&address);
    if (!error) {
        error = uv_udp_bind(&u->udp, (const struct sockaddr *)&address, 0);
    }
    if (!error) {
        uv_recv_buffer_size((uv_handle_t *)&u->udp, &size);
        ask_for_errors(u);
        error = uv_udp_recv_start(&u->udp, on_alloc, on_datagram);
    }
    return error;
}

static void on_closed(uv_handle_t *handle)
{
    struct udp *u = handle->data;
    if (--u->open_handles == 0) {
        free(u);
    }
}

struct udp *udp_open(struct net_loop *net, const struct conf_cluster *conf,
                     struct buffer *ret_error)
{
    struct udp *u = memory_new(sizeof(*u));
    u->net = net;
    u->open_handles = HANDLES;
    uv_udp_init(&net->uv, &u->udp);
    uv_timer_init(&net->uv, &u->timer);
    u->udp.data = u;
    u->timer.data = u;
    int error = bind_socket(u, conf);
    if (error) {
        buffer_append_format(ret_error, "cluster.bind: cannot bind UDP %s port %u: %s",
                             conf->bind_host, conf->bind_port, uv_strerror(error));
        udp_close(u);
        return NULL;
    }
    return u;
}

void udp_attach(struct udp *u, struct cluster *cluster)
{
    u->cluster = cluster;
    give_joins(u);
}

struct gossip_address udp_bound(const struct udp *u)
{
    struct sockaddr_storage address;
    struct gossip_address known;
    int size = sizeof(address);
    int error = uv_udp_getsockname(&u->udp, (struct sockaddr *)&address, &size);
    assert(error == 0);
    from_sockaddr((const struct sockaddr *)&address, &known);
    return known;
}

bool udp_source(const struct udp *u, const struct gossip_address *peer,
                struct gossip_address *ret_address)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    bool reachable = to_sockaddr(peer, u->six, &address);
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
        ret_address->port = udp_bound(u).port;
    }
    return known;
}

bool udp_is_wildcard(const struct gossip_address *address)
{
    static const struct gossip_address six = {{0}, 0}, four = {{[10] = 0xFF, [11] = 0xFF}, 0};
    return memcmp(address->ip, six.ip, sizeof(six.ip)) == 0 ||
           memcmp(address->ip, four.ip, sizeof(four.ip)) == 0;
}

void udp_close(struct udp *u)
{
    u->closing = true;
    drop_joins(u);
    uv_close((uv_handle_t *)&u->udp, on_closed);
    uv_close((uv_handle_t *)&u->timer, on_closed);
}
