/* last_call: closing listening sockets without losing who has connected.
 *
 * close() resets what waits in the socket's own backlog, also handshakes under way, and with
 * SO_REUSEPORT the other sockets of the port do not inherit them. So first the door is shut: no
 * handshake begins any more, and who asks hears "refused" at once and can go elsewhere. What had
 * begun before completes and is accepted. When no handshake is under way and the queues are empty,
 * nobody is lost by close().
 *
 * Shutting is binding the socket to a network interface that does not exist: the kernel then finds
 * no socket for a connection request, but goes on with a handshake, which knows its own. Of sockets
 * with one port (SO_REUSEPORT) the last one shuts the door. Until then the kernel would still give
 * requests to all, and those that are shut cannot answer: so all go to the last one meanwhile.
 * Kernels before 5.7 do not grant that to everybody: there the requests are dropped, as if they had
 * been lost, and their clients hear "refused" when they ask again, a second later. */
#ifndef WORKER_LAST_CALL_H
#define WORKER_LAST_CALL_H

#include <stdbool.h>

enum {
    /* How often to ask: a question costs the kernel a walk through its table of connections. */
    LAST_CALL_MS = 10,
};

/* Lets no further handshake begin on the listening TCP socket. For those of one port one after the
 * other, in the order in which they began to listen; `last` is the last one's place, from 0.
 * Returns 0 or a negative errno. */
int last_call_shut(int fd, unsigned last);

/* Is a handshake under way on the port that the socket listens on? False where the kernel does not
 * tell. */
bool last_call_is_shaking_hands(int fd);

/* How many wait to be accepted; 0 where the kernel does not tell. */
unsigned last_call_queue(int fd);

#endif
