/* address: rtnetlink(7), RTM_GETADDR and the two groups of address changes. */
#include "vip/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool address_table_init(struct address_table *t, const char *text)
{
    *t = (struct address_table){0};
    if (inet_pton(AF_INET, text, t->bytes) == 1) {
        t->family = AF_INET;
        t->size = 4;
    } else if (inet_pton(AF_INET6, text, t->bytes) == 1) {
        t->family = AF_INET6;
        t->size = 16;
    }
    t->prefix = 8 * (unsigned)t->size;
    return t->size != 0;
}

void address_table_forget(struct address_table *t)
{
    t->count = 0;
    t->whole = false;
}

static bool add(struct address_table *t, unsigned index)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->indexes[i] == index) {
            return false;
        }
    }
    if (t->count == ADDRESS_INTERFACES_MAX) {
        return false;
    }
    t->indexes[t->count++] = index;
    return true;
}

static bool remove_index(struct address_table *t, unsigned index)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->indexes[i] == index) {
            t->indexes[i] = t->indexes[--t->count];
            return true;
        }
    }
    return false;
}

static const void *attribute(struct nlmsghdr *header, unsigned short type, size_t size)
{
    size_t rest = IFA_PAYLOAD(header);
    for (struct rtattr *a = IFA_RTA(NLMSG_DATA(header)); RTA_OK(a, rest); a = RTA_NEXT(a, rest)) {
        if (a->rta_type == type) {
            return RTA_PAYLOAD(a) == size ? RTA_DATA(a) : NULL;
        }
    }
    return NULL;
}

/* IFA_LOCAL is the own address where there is a peer's in IFA_ADDRESS; IPv6 has only the latter. */
static const void *address_in(struct nlmsghdr *header, size_t size)
{
    const void *local = attribute(header, IFA_LOCAL, size);
    return local ? local : attribute(header, IFA_ADDRESS, size);
}

static bool is_ours(const struct address_table *t, struct nlmsghdr *header)
{
    struct ifaddrmsg *message = NLMSG_DATA(header);
    const void *address = message->ifa_family == t->family ? address_in(header, t->size) : NULL;
    return address && memcmp(address, t->bytes, t->size) == 0;
}

static bool take_one(struct address_table *t, struct nlmsghdr *header)
{
    if (header->nlmsg_type == NLMSG_DONE) {
        bool news = !t->whole;
        t->whole = true;
        return news;
    }
    bool added = header->nlmsg_type == RTM_NEWADDR;
    if ((!added && header->nlmsg_type != RTM_DELADDR) ||
        header->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifaddrmsg)) || !is_ours(t, header)) {
        return false;
    }
    unsigned index = ((struct ifaddrmsg *)NLMSG_DATA(header))->ifa_index;
    return added ? add(t, index) : remove_index(t, index);
}

bool address_table_take(struct address_table *t, const void *data, size_t size)
{
    bool news = false;
    char copy[ADDRESS_DATAGRAM_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
    size = size < sizeof(copy) ? size : sizeof(copy);
    memcpy(copy, data, size);
    struct nlmsghdr *header = (struct nlmsghdr *)copy;
    while (size >= sizeof(*header) && header->nlmsg_len >= sizeof(*header) &&
           header->nlmsg_len <= size) {
        news |= take_one(t, header);
        size_t step = NLMSG_ALIGN(header->nlmsg_len);
        if (step >= size) {
            break;
        }
        size -= step;
        header = (struct nlmsghdr *)((char *)header + step);
    }
    return news;
}

bool address_table_held(const struct address_table *t)
{
    return t->count > (address_table_kept(t) ? 1 : 0);
}

bool address_table_kept(const struct address_table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->indexes[i] == ADDRESS_LOOPBACK) {
            return true;
        }
    }
    return false;
}

int address_socket(void)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct sockaddr_nl self = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (fd >= 0 && bind(fd, (struct sockaddr *)&self, sizeof(self)) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

struct request {
    struct nlmsghdr header;
    struct ifaddrmsg message;
    char attributes[2 * RTA_SPACE(16) + RTA_SPACE(sizeof(uint32_t)) +
                    RTA_SPACE(sizeof(struct ifa_cacheinfo))];
};

static int send_request(int fd, struct request *r)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t sent =
        sendto(fd, r, r->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
    return sent < 0 ? -1 : 0;
}

int address_ask(int fd)
{
    struct request r = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(r.message)),
                   .nlmsg_type = RTM_GETADDR,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .message = {.ifa_family = AF_UNSPEC},
    };
    return send_request(fd, &r);
}

static void append(struct request *r, unsigned short type, const void *data, size_t size)
{
    struct rtattr *a = (struct rtattr *)((char *)r + NLMSG_ALIGN(r->header.nlmsg_len));
    a->rta_type = type;
    a->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(a), data, size);
    r->header.nlmsg_len = NLMSG_ALIGN(r->header.nlmsg_len) + (uint32_t)RTA_SPACE(size);
}

/* The kernel's answer to one request: 0 or an errno. */
static int read_acknowledgement(int fd)
{
    char answer[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
    ssize_t size = recv(fd, answer, sizeof(answer), 0);
    struct nlmsghdr *header = (struct nlmsghdr *)answer;
    if (size < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr)) ||
        header->nlmsg_type != NLMSG_ERROR) {
        return EIO;
    }
    return -((struct nlmsgerr *)NLMSG_DATA(header))->error;
}

int address_keep(const struct address_table *t, bool keep)
{
    struct request r = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(r.message)),
                   .nlmsg_type = keep ? RTM_NEWADDR : RTM_DELADDR,
                   .nlmsg_flags =
                       NLM_F_REQUEST | NLM_F_ACK | (keep ? NLM_F_CREATE | NLM_F_EXCL : 0)},
        .message = {.ifa_family = t->family,
                    .ifa_prefixlen = (uint8_t)t->prefix,
                    .ifa_scope = RT_SCOPE_HOST,
                    .ifa_index = ADDRESS_LOOPBACK},
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return errno;
    }
    append(&r, IFA_LOCAL, t->bytes, t->size);
    append(&r, IFA_ADDRESS, t->bytes, t->size);
    if (keep) {
        append(&r, IFA_RT_PRIORITY, &(uint32_t){ADDRESS_MARK}, sizeof(uint32_t));
    }
    if (t->family == AF_INET6) {
        /* deprecated (RFC 4862 §5.5.4): never the source of this host's own connections */
        struct ifa_cacheinfo life = {.ifa_prefered = 0, .ifa_valid = UINT32_MAX};
        append(&r, IFA_CACHEINFO, &life, sizeof(life));
    }
    int error = send_request(fd, &r) != 0 ? errno : read_acknowledgement(fd);
    close(fd);
    bool was_so = error == (keep ? EEXIST : EADDRNOTAVAIL);
    return was_so ? 0 : error;
}

/* An address that address_keep() put there, into a table of its own; false for any other. */
static bool is_marked(struct nlmsghdr *header, struct address_table *ret_address)
{
    if (header->nlmsg_type != RTM_NEWADDR ||
        header->nlmsg_len < NLMSG_LENGTH(sizeof(struct ifaddrmsg))) {
        return false;
    }
    struct ifaddrmsg *message = NLMSG_DATA(header);
    size_t size = message->ifa_family == AF_INET6 ? 16 : 4;
    const uint32_t *mark = attribute(header, IFA_RT_PRIORITY, sizeof(*mark));
    const void *address = address_in(header, size);
    if (message->ifa_index != ADDRESS_LOOPBACK || !mark || *mark != ADDRESS_MARK || !address) {
        return false;
    }
    *ret_address = (struct address_table){
        .family = message->ifa_family, .size = size, .prefix = message->ifa_prefixlen};
    memcpy(ret_address->bytes, address, size);
    return true;
}

enum { OTHERS_MAX = 16 /* addresses of before; more than one only if a call of each failed */ };

/* One datagram of the dump: those to be removed. True if it was the last one. */
static bool collect_marked(const struct address_table *t, char *datagram, size_t size,
                           struct address_table *others, size_t *count)
{
    size_t rest = size;
    for (struct nlmsghdr *header = (struct nlmsghdr *)datagram; NLMSG_OK(header, rest);
         header = NLMSG_NEXT(header, rest)) {
        if (header->nlmsg_type == NLMSG_DONE || header->nlmsg_type == NLMSG_ERROR) {
            return true;
        }
        if (*count < OTHERS_MAX && !is_ours(t, header) && is_marked(header, &others[*count])) {
            (*count)++;
        }
    }
    return false;
}

int address_keep_no_other(const struct address_table *t)
{
    char datagram[ADDRESS_DATAGRAM_SIZE] __attribute__((aligned(NLMSG_ALIGNTO)));
    struct address_table others[OTHERS_MAX];
    size_t count = 0;
    int error = 0, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || address_ask(fd) != 0) {
        error = errno;
    }
    for (bool whole = error != 0; !whole;) {
        ssize_t size = recv(fd, datagram, sizeof(datagram), 0);
        if (size < 0 && errno != EINTR) {
            error = errno;
        }
        whole = error || (size > 0 && collect_marked(t, datagram, (size_t)size, others, &count));
    }
    if (fd >= 0) {
        close(fd);
    }
    for (size_t i = 0; i < count && !error; i++) {
        error = address_keep(&others[i], false);
    }
    return error;
}
