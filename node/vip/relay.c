/* relay: rules, sysctls and the address on lo, in an order in which no neighbour ever sees it. */
#include "vip/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "vip/address.h"

static int fail(struct buffer *ret_error, const char *what, const char *reason)
{
    buffer_append_format(ret_error, "%s: %s", what, reason);
    return -1;
}

/* Starts `nft -f -` and returns the end of its standard input, or a negative errno. */
static int start_nft(pid_t *ret_pid)
{
    char *const arguments[] = {(char[]){"nft"}, (char[]){"-f"}, (char[]){"-"}, NULL};
    int ends[2] = {-1, -1};
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return -errno;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    int error = posix_spawnp(ret_pid, "nft", &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    if (error) {
        close(ends[1]);
        return -error;
    }
    return ends[1];
}

static int run_nft(const struct buffer *rules, struct buffer *ret_error)
{
    /* nft may be gone before it has read all; a script of keepalived's may lack the sbin folders */
    signal(SIGPIPE, SIG_IGN);
    setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
    pid_t pid = -1;
    int input = start_nft(&pid), status = 0;
    if (input < 0) {
        return fail(ret_error, "nft cannot be started; is the package nftables installed?",
                    strerror(-input));
    }
    bool written = write(input, rules->data, rules->size) == (ssize_t)rules->size;
    close(input);
    waitpid(pid, &status, 0);
    return written && status == 0
               ? 0
               : fail(ret_error, "nft did not take the rules", "its own message says why");
}

enum { ARP_PATH_SIZE = 128, ARP_TEXT_SIZE = 16 };

static void arp_path(const char *interface, const char *name, char ret_path[ARP_PATH_SIZE])
{
    snprintf(ret_path, ARP_PATH_SIZE, "/proc/sys/net/ipv4/conf/%s/%s", interface, name);
}

/* -1 if it cannot be read. */
static int read_arp(const char *interface, const char *name)
{
    char path[ARP_PATH_SIZE], text[ARP_TEXT_SIZE] = {0};
    arp_path(interface, name, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    return size > 0 ? (int)strtol(text, NULL, 10) : -1;
}

/* At least `value`: reading first, since in a container these files are often read-only, and there
 * only `all` can be set from outside. The kernel takes the larger of the two (IN_DEV_MAXCONF). */
static int set_arp(const char *interface, const char *name, int value, struct buffer *ret_error)
{
    char path[ARP_PATH_SIZE], text[ARP_TEXT_SIZE];
    if (read_arp(interface, name) >= value || read_arp("all", name) >= value) {
        return 0;
    }
    arp_path(interface, name, path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int length = snprintf(text, sizeof(text), "%d\n", value);
    bool written = fd >= 0 && write(fd, text, (size_t)length) == length;
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (!written) {
        buffer_append_format(
            ret_error, "cannot write %s: %s; set it, or the same of `all`, to %d from outside",
            path, strerror(error), value);
        return -1;
    }
    return 0;
}

/* The host must not tell its neighbours that the address on lo is here. IPv6 never does. */
static int hide_loopback(const struct relay *r, struct buffer *ret_error)
{
    if (strchr(r->address, ':')) {
        return 0;
    }
    /* 1: only for an address of the interface asked; 2: never with one of another interface */
    int error = set_arp(r->interface, "arp_ignore", 1, ret_error);
    return error ? error : set_arp(r->interface, "arp_announce", 2, ret_error);
}

static int start_connect(const char *peer, uint16_t port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_four = inet_pton(AF_INET, peer, &four.sin_addr) == 1;
    inet_pton(AF_INET6, peer, &six.sin6_addr);
    int fd = socket(is_four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)!connect(fd, is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six,
                       is_four ? sizeof(four) : sizeof(six));
    }
    return fd;
}

/* Open or refused: there is a host. */
static bool answers(int fd)
{
    int error = ETIMEDOUT;
    socklen_t size = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error == 0 || error == ECONNREFUSED;
}

static bool any_peer_lives(const struct relay *r)
{
    struct pollfd waits[RELAY_PEERS_MAX];
    uint64_t now_ms = clock_monotonic_ms(), end_ms = now_ms + RELAY_PEER_MS;
    size_t waiting = r->peer_count;
    bool lives = false;
    for (size_t i = 0; i < r->peer_count; i++) {
        waits[i] = (struct pollfd){.fd = start_connect(r->peers[i], r->port), .events = POLLOUT};
    }
    while (!lives && waiting > 0 && now_ms < end_ms) {
        poll(waits, (nfds_t)r->peer_count, (int)(end_ms - now_ms));
        for (size_t i = 0; i < r->peer_count; i++) {
            if (waits[i].fd >= 0 && waits[i].revents) {
                lives |= answers(waits[i].fd);
                waiting--;
                close(waits[i].fd);
                waits[i].fd = -1;
            }
        }
        now_ms = clock_monotonic_ms();
    }
    for (size_t i = 0; i < r->peer_count; i++) {
        if (waits[i].fd >= 0) {
            close(waits[i].fd);
        }
    }
    return lives;
}

int relay_apply(const struct relay *r, struct buffer *ret_error)
{
    struct address_table address;
    struct buffer rules = {0};
    bool ends = r->role == RELAY_OFF;
    if (!address_table_init(&address, r->address)) {
        return fail(ret_error, r->address, "is no address");
    }
    int error = ends ? 0 : hide_loopback(r, ret_error);
    if (!error) {
        relay_rules(&rules, r, r->role == RELAY_MASTER && any_peer_lives(r));
        error = run_nft(&rules, ret_error);
    }
    buffer_done(&rules);
    if (error) {
        return error;
    }
    /* last: it tells the node that connections outlive a handover */
    int reason = address_keep(&address, !ends);
    reason = reason ? reason : address_keep_no_other(&address);
    return reason ? fail(ret_error, "cannot change the addresses of lo", strerror(reason)) : 0;
}
