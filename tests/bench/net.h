/* The few socket steps that relay, backend and load share. Loopback only, IPv4 only: nothing here
 * is meant to be reached from another machine. All end the program with a message when the system
 * refuses: a bench that goes on half set up would print wrong figures. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stdbool.h>
#include <stdint.h>

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

/* The port that the text names; exits when it is none. */
uint16_t net_port(const char *text);

#endif
