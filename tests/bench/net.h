/* The few socket steps that relay, backend and load share. Loopback only, IPv4 only: nothing here
 * is meant to be reached from another machine. All end the program with a message when the system
 * refuses: a bench that goes on half set up would print wrong figures. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Prints "<program>: <what>: <errno text>" and exits with 1. */
_Noreturn void net_fail(const char *what);

/* A non-blocking listening socket on 127.0.0.1; the kernel picks the port. */
int net_listen(uint16_t *ret_port);

/* The next waiting connection, non-blocking and without Nagle's delay; -1 if there is none. */
int net_accept(int listener);

/* A connection to 127.0.0.1:port, without Nagle's delay. With wait it is connected on return and -1
 * says that it was refused; without, it may still be connecting (writes give EAGAIN till then). The
 * socket is non-blocking either way. */
int net_connect(uint16_t port, bool wait);

/* epoll_wait() of a tool that stays awake: it asks again and again, and gives the core to the other
 * tools on it between two questions, until nothing has come for thousands of them. A tool that
 * sleeps is woken by whoever sends to it, which the kernel counts as the sender's CPU time: an
 * interrupt of another core, dear under a hypervisor. Beside the relay a load is never idle, beside
 * any slower proxy it would be, and the ratio would be of two different things. With BENCH_ASLEEP
 * in the environment it is epoll_wait() alone. */
int net_wait(int poll, struct epoll_event *events, int max, int wait_ms);

/* The port that the text names; exits when it is none. */
uint16_t net_port(const char *text);

#endif
