/* secure: what a stream with TLS does besides; for stream.c alone. */
#ifndef NET_SECURE_H
#define NET_SECURE_H

#include "net/stream.h"

/* For both files. */
void stream_want_flush(struct stream *s);
void stream_end_reading(struct stream *s);

/* A read's result: tells what it opened, and the end. */
void secure_tell(struct stream *s, ssize_t received, const char *at);

/* Seals what waits in `out`, if the handshake is done. False: the session is broken. */
bool secure_seal(struct stream *s);

/* A large piece, sealed from where it lies. False: not now. */
bool secure_write(struct stream *s, struct bytes piece);

/* What is queued, and the close_notify. False: there is no session to end. */
bool secure_finish(struct stream *s);

#endif
