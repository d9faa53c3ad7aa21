/* last_call: closing a listening socket without resetting who has connected.
 *
 * close() resets what waits in the socket's own backlog, also handshakes under way, and with
 * SO_REUSEPORT the other sockets of the port do not inherit them. So first the door: from then on
 * the kernel drops connection requests (SYN), as if they had been lost. Clients ask again a second
 * later, and by then hear a clear "refused", or reach the node that has the virtual IP now. What
 * had begun before completes and is accepted; when nothing came for a while the socket can be
 * closed. */
#ifndef WORKER_LAST_CALL_H
#define WORKER_LAST_CALL_H

enum {
    /* A handshake lasts one round trip; short to who waits for a stop. */
    LAST_CALL_MS = 50,
};

/* Lets no further handshake begin on the listening TCP socket. Returns 0 or a negative errno. */
int last_call(int fd);

#endif
