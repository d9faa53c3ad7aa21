/* socket: what is asked of a TCP socket, in libuv's error codes; for stream.c alone.
 *
 * Nothing here waits, and nothing is remembered. All of it holds for a descriptor of -1, too: such
 * a one has nothing, and takes nothing. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <uv.h>

/* Bytes, UV_EOF, or an error. */
ssize_t socket_receive(int fd, char *data, size_t size);

/* What the kernel takes now: bytes, or an error. `count` >= 1. */
ssize_t socket_send(int fd, struct iovec *pieces, unsigned count);

/* Begins to connect; a poll tells the end, and socket_error() which. A refusal may have come at
 * once, and is forgotten by the socket then: `ret_error`, else 0. On an error there is no socket.
 */
int socket_connect(const struct sockaddr *address, int *ret_fd, int *ret_error);

/* How that ended. */
int socket_error(int fd);

void socket_send_at_once(int fd);

/* Who waits for an answer sends nothing, so nothing tells that the peer's host has lost its power,
 * or has started again since. A run may be silent for twenty minutes, and would hold its slot. */
void socket_ask_for_life(int fd);

/* Bytes that were given to the kernel and that the peer's kernel has not acknowledged. */
size_t socket_untaken(int fd);

/* Bytes that have come. */
size_t socket_unread(int fd);

/* Nothing has come, nor the peer's end. */
bool socket_is_quiet(int fd);

/* Has the peer closed its side (UV_EOF, perhaps behind bytes not read yet) or broken the connection
 * (UV_ECONNRESET)? Else 0. */
int socket_peer_left(int fd);

/* With `reset`, an RST instead of a FIN; else, unless it is 0, the kernel may try for `rest_ms` to
 * deliver the rest. */
void socket_close(int fd, bool reset, unsigned rest_ms);

#endif
