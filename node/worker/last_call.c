/* last_call: SO_BINDTOIFINDEX, or a classic BPF program that the kernel runs over each segment that
 * comes for the socket, from the TCP header on (tcp_filter()); sock_diag(7); TCP_INFO. */
#include "worker/last_call.h"

#include <errno.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

enum {
    FLAGS_AT = 13, /* RFC 9293 §3.1 */
    FLAG_SYN = 0x02,
    FLAG_ACK = 0x10,
    WHOLE = 0xFFFF,         /* a segment passes; it has no more bytes */
    NO_INTERFACE = INT_MAX, /* the kernel counts them from 1 */
    STATE_SYN_RECEIVED = 3, /* include/net/tcp_states.h */
};

static int attach(int fd, int option, struct sock_filter *code, size_t count)
{
    struct sock_fprog program;
    memset(&program, 0, sizeof(program)); /* the kernel gets what lies between its members, too */
    program.len = (unsigned short)count;
    program.filter = code;
    return setsockopt(fd, SOL_SOCKET, option, &program, sizeof(program));
}

/* Accepted sockets inherit it, where it matches nothing. */
static int drop_requests(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, FLAG_SYN | FLAG_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FLAG_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, WHOLE),
    };
    int error = attach(fd, SO_ATTACH_FILTER, code, sizeof(code) / sizeof(code[0]));
    return error ? -errno : 0;
}

/* All requests to that socket of the port's; where that is not granted they go on being spread. */
static void send_requests_to(int fd, unsigned place)
{
    struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, place)};
    attach(fd, SO_ATTACH_REUSEPORT_CBPF, code, 1);
}

int last_call_shut(int fd, unsigned last)
{
    int nowhere = NO_INTERFACE;
    send_requests_to(fd, last);
    if (setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &nowhere, sizeof(nowhere)) == 0) {
        return 0;
    }
    return drop_requests(fd);
}

struct question {
    struct nlmsghdr head;
    struct inet_diag_req_v2 what;
};

/* All sockets of this family in that state whose own port it is. */
static int ask(int netlink, const struct sockaddr_storage *own)
{
    bool six = own->ss_family == AF_INET6;
    struct question q = {
        .head = {.nlmsg_len = sizeof(q),
                 .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .what = {.sdiag_family = (uint8_t)own->ss_family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1U << STATE_SYN_RECEIVED,
                 .id.idiag_sport = six ? ((const struct sockaddr_in6 *)own)->sin6_port
                                       : ((const struct sockaddr_in *)own)->sin_port},
    };
    return send(netlink, &q, sizeof(q), 0) == (ssize_t)sizeof(q) ? 0 : -1;
}

bool last_call_is_shaking_hands(int fd)
{
    struct sockaddr_storage own = {0};
    socklen_t size = sizeof(own);
    _Alignas(struct nlmsghdr) char answer[8192]; /* the first of it tells */
    int netlink = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    bool found = false;
    if (netlink >= 0 && getsockname(fd, (struct sockaddr *)&own, &size) == 0 &&
        ask(netlink, &own) == 0) {
        ssize_t got = recv(netlink, answer, sizeof(answer), MSG_DONTWAIT);
        const struct nlmsghdr *first = (const struct nlmsghdr *)(const void *)answer;
        found = got >= (ssize_t)sizeof(*first) && first->nlmsg_type == SOCK_DIAG_BY_FAMILY;
    }
    if (netlink >= 0) {
        close(netlink);
    }
    return found;
}

unsigned last_call_queue(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    /* of a listening socket it is the length of the accept queue (tcp_get_info()) */
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_unacked : 0;
}
