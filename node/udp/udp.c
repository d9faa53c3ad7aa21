/* udp: uv_udp, its error queue, and two timers: the cluster's, and one for a flood.
 *
 *   READING -> what came is read until there is no more -> in a flood: PAUSED for FLOOD_PAUSE_MS,
 *   while the kernel collects -> READING */
#include "udp/udp.h"

#include <assert.h>
#include <linux/errqueue.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "udp/address.h"
#include "udp/flood.h"
#include "udp/joins.h"

enum {
    /* A flood must not fill the kernel's small default before control has a turn; the kernel caps
     * it at net.core.rmem_max. */
    RECEIVE_BUFFER_SIZE = 1 << 20,
    HANDLES = 3,
    ERRORS_AT_ONCE = 16,
    ERRORS_PER_TURN = 256, /* the rest makes the loop turn again at once */
    QUOTED_SIZE = 64,      /* of a packet that an error quotes; hint.c looks at the first 27 */
    CONTROL_SIZE = 256,
    /* libuv takes so many datagrams a system call, each into as much as one can have; of this
     * memory only the pages with a packet's first 1200 bytes are ever touched. */
    SPACES = 20,
    SPACE_SIZE = 64 * 1024,
    SENDS_MAX = 4,
};

struct udp {
    struct net_loop *net;
    struct cluster *cluster;
    uv_udp_t udp;
    uv_timer_t timer, pause;
    struct joins joins;
    struct flood flood;
    unsigned open_handles;
    bool six, closing, reports_errors;
    char *space; /* SPACES datagrams, as libuv wants it */
};

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

static void take_error(struct udp *u, struct msghdr *m, size_t size)
{
    struct gossip_address address;
    address_from(m->msg_name, &address);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (is_port_unheld(c)) {
            cluster_hint(u->cluster, net_now_ms(u->net), &address,
                         (struct bytes){m->msg_iov->iov_base, size});
        }
    }
}

/* Some of the queue; fewer than ERRORS_AT_ONCE: there are no more. */
static unsigned read_some_errors(struct udp *u, int fd)
{
    struct mmsghdr messages[ERRORS_AT_ONCE];
    struct iovec spaces[ERRORS_AT_ONCE];
    struct sockaddr_storage names[ERRORS_AT_ONCE];
    char quoted[ERRORS_AT_ONCE][QUOTED_SIZE];
    _Alignas(struct cmsghdr) char control[ERRORS_AT_ONCE][CONTROL_SIZE];
    for (unsigned i = 0; i < ERRORS_AT_ONCE; i++) {
        names[i].ss_family = AF_UNSPEC;
        spaces[i] = (struct iovec){quoted[i], QUOTED_SIZE};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &names[i],
                                                   .msg_namelen = sizeof(names[i]),
                                                   .msg_iov = &spaces[i],
                                                   .msg_iovlen = 1,
                                                   .msg_control = control[i],
                                                   .msg_controllen = CONTROL_SIZE}};
    }
    int count = recvmmsg(fd, messages, ERRORS_AT_ONCE, MSG_ERRQUEUE | MSG_DONTWAIT, NULL);
    for (int i = 0; i < count; i++) {
        take_error(u, &messages[i].msg_hdr, messages[i].msg_len);
    }
    return count > 0 ? (unsigned)count : 0;
}

/* The loop calls for reading as long as the queue has anything. */
static void read_errors(struct udp *u)
{
    uv_os_fd_t fd;
    unsigned count = ERRORS_AT_ONCE;
    if (!u->reports_errors || uv_fileno((const uv_handle_t *)&u->udp, &fd) != 0) {
        return;
    }
    for (unsigned sum = 0; count == ERRORS_AT_ONCE && sum < ERRORS_PER_TURN; sum += count) {
        count = read_some_errors(u, fd);
        flood_note(&u->flood, net_now_ms(u->net), count);
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
    *buf = uv_buf_init(u->space, SPACES * SPACE_SIZE);
}

static void on_datagram(uv_udp_t *udp, ssize_t size, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags);

static void on_pause_over(uv_timer_t *timer)
{
    struct udp *u = timer->data;
    uv_udp_recv_start(&u->udp, on_alloc, on_datagram);
}

/* All that had come is read. */
static void rest(struct udp *u)
{
    if (flood_is_on(&u->flood, net_now_ms(u->net))) {
        uv_udp_recv_stop(&u->udp);
        uv_timer_start(&u->pause, on_pause_over, FLOOD_PAUSE_MS, 0);
    }
}

static void on_datagram(uv_udp_t *udp, ssize_t size, const uv_buf_t *buf,
                        const struct sockaddr *from, unsigned flags)
{
    struct udp *u = udp->data;
    struct gossip_address address;
    if (!u->cluster || (flags & UV_UDP_MMSG_FREE)) { /* after each system call that found some */
        return;
    }
    if (size < 0 || !from) { /* nothing more to read, or an error of a packet sent earlier */
        read_errors(u);
        rest(u);
        return;
    }
    /* longer than a packet, or empty: refused by its size */
    address_from(from, &address);
    uint64_t now_ms = net_now_ms(u->net);
    if (!cluster_receive(u->cluster, now_ms, &address, (struct bytes){buf->base, (size_t)size})) {
        flood_note(&u->flood, now_ms, 1);
    }
}

void udp_send(struct udp *u, const struct gossip_address *to, struct bytes packet)
{
    struct sockaddr_storage address;
    if (!u->closing && address_to(to, u->six, &address)) {
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
        free(u->space);
        free(u);
    }
}

struct udp *udp_open(struct net_loop *net, const struct conf_cluster *conf,
                     struct buffer *ret_error)
{
    struct udp *u = memory_new(sizeof(*u));
    u->net = net;
    u->open_handles = HANDLES;
    u->space = memory_new((size_t)SPACES * SPACE_SIZE);
    uv_udp_init_ex(&net->uv, &u->udp, AF_UNSPEC | UV_UDP_RECVMMSG);
    uv_timer_init(&net->uv, &u->timer);
    uv_timer_init(&net->uv, &u->pause);
    u->udp.data = u->timer.data = u->pause.data = u;
    int error = bind_socket(u, conf);
    joins_init(&u->joins, net, u->six);
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
    joins_attach(&u->joins, cluster);
}

void udp_set_join(struct udp *u, struct lookups *lookups, const char *const *join, size_t count)
{
    joins_set(&u->joins, lookups, join, count);
}

struct gossip_address udp_bound(const struct udp *u)
{
    struct sockaddr_storage address;
    struct gossip_address known;
    int size = sizeof(address);
    int error = uv_udp_getsockname(&u->udp, (struct sockaddr *)&address, &size);
    assert(error == 0);
    address_from((const struct sockaddr *)&address, &known);
    return known;
}

bool udp_source(const struct udp *u, const struct gossip_address *peer,
                struct gossip_address *ret_address)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    bool reachable = address_to(peer, u->six, &address);
    int fd = reachable ? socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0) {
        return false;
    }
    /* a datagram socket that connects sends nothing: the kernel only chooses the source */
    bool known = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
                 getsockname(fd, (struct sockaddr *)&address, &size) == 0;
    close(fd);
    if (known) {
        address_from((const struct sockaddr *)&address, ret_address);
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
    joins_done(&u->joins);
    uv_close((uv_handle_t *)&u->udp, on_closed);
    uv_close((uv_handle_t *)&u->pause, on_closed);
    uv_close((uv_handle_t *)&u->timer, on_closed);
}
