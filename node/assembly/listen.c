/* listen: socket(), options, bind(). */
#include "assembly/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

static socklen_t parse(const struct conf_listen *listen, uint16_t port, union address *ret_address)
{
    memset(ret_address, 0, sizeof(*ret_address));
    if (inet_pton(AF_INET, listen->host, &ret_address->four.sin_addr) == 1) {
        ret_address->four.sin_family = AF_INET;
        ret_address->four.sin_port = htons(port);
        return sizeof(ret_address->four);
    }
    if (inet_pton(AF_INET6, listen->host, &ret_address->six.sin6_addr) == 1) {
        ret_address->six.sin6_family = AF_INET6;
        ret_address->six.sin6_port = htons(port);
        return sizeof(ret_address->six);
    }
    return 0;
}

/* [::] is every address of this host, of IPv4 too, as the kernel and HAProxy have it: but where the
 * configuration has a listener of IPv4 at that port, for they would be in each other's way. */
static int is_ipv6_only(const struct conf *conf, const struct conf_listen *listen,
                        const union address *address)
{
    if (!IN6_IS_ADDR_UNSPECIFIED(&address->six.sin6_addr)) {
        return 1;
    }
    for (size_t i = 0; i < conf_door_count(conf); i++) {
        const struct conf_listen *other = conf_door(conf, i);
        if (listen->port != 0 && other->port == listen->port && !strchr(other->host, ':')) {
            return 1;
        }
    }
    return 0;
}

static void limit_family(int fd, const struct conf *conf, const struct conf_listen *listen,
                         const union address *address)
{
    if (address->any.sa_family == AF_INET6) {
        int only = is_ipv6_only(conf, listen, address);
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    }
}

/* Returns the socket, or a negative errno. *port: 0 on the way in means that it is told. */
static int open_one(const struct conf *conf, const struct conf_listen *listen, uint16_t *port)
{
    union address address;
    socklen_t size = parse(listen, *port, &address);
    if (size == 0) {
        return -EAFNOSUPPORT;
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)); /* works for IPv6 too */
    limit_family(fd, conf, listen, &address);
    if (bind(fd, &address.any, size) != 0 || getsockname(fd, &address.any, &size) != 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    *port =
        ntohs(address.any.sa_family == AF_INET6 ? address.six.sin6_port : address.four.sin_port);
    return fd;
}

/* SO_REUSEPORT lets a second node of the same user bind the same port; ask first without it. */
static int port_is_taken(const struct conf *conf, const struct conf_listen *listen)
{
    union address address;
    socklen_t size = parse(listen, listen->port, &address);
    if (size == 0 || listen->port == 0) {
        return 0;
    }
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on));
    limit_family(fd, conf, listen, &address);
    int error = bind(fd, &address.any, size) == 0 ? 0 : -errno;
    close(fd);
    return error;
}

static void append_advice(struct buffer *to, int error, unsigned port)
{
    if (error == -EADDRINUSE) {
        buffer_append_format(to,
                             "; `ss -ltnp 'sport = :%u'` shows by whom: end that, or change the "
                             "port",
                             port);
    } else if (error == -EACCES) {
        buffer_append_format(to, "; ports below 1024 want root or CAP_NET_BIND_SERVICE (the "
                                 "package's unit gives it): use one from 1024 on");
    }
}

int listen_open(const struct conf *conf, size_t workers, int *ret_sockets, uint16_t *ret_ports,
                struct buffer *ret_error)
{
    size_t opened = 0;
    int error = 0;
    size_t i = 0;
    for (i = 0; i < conf_door_count(conf); i++) {
        error = port_is_taken(conf, conf_door(conf, i));
        ret_ports[i] = conf_door(conf, i)->port;
        if (error) {
            break;
        }
    }
    for (size_t w = 0; w < workers && !error; w++) {
        for (i = 0; i < conf_door_count(conf); i++) {
            int fd = open_one(conf, conf_door(conf, i), &ret_ports[i]);
            if (fd < 0) {
                error = fd;
                break;
            }
            ret_sockets[opened++] = fd;
        }
    }
    if (error) {
        const struct conf_listen *l = conf_door(conf, i);
        buffer_append_format(ret_error, "%s:%u:%u: cannot listen on %s: %s", conf->file, l->line,
                             l->column, l->address, strerror(-error));
        append_advice(ret_error, error, l->port);
        while (opened > 0) {
            close(ret_sockets[--opened]);
        }
        return -1;
    }
    return 0;
}
