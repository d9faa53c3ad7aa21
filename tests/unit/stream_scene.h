/* stream_scene: a loop with a stream, and the other side of its connection as a plain socket. */
#ifndef STREAM_SCENE_H
#define STREAM_SCENE_H

#include <netinet/in.h>

#include "net/acceptor.h"
#include "net/stream.h"

enum {
    SCENE_PATIENCE_MS = 5000,
    SCENE_MUCH = 2 * 1024 * 1024, /* more than the two sockets take, when they are narrow */
};

/* What is sent either way is one pattern; the scene demands it of what the stream tells. */
struct stream_scene {
    struct net_loop loop;
    struct acceptor acceptor;
    struct sockaddr_in address; /* the acceptor's */
    struct stream stream;       /* accepted */
    int client;
    unsigned accepted, bytes, ended, failed, sent, connected, closed; /* told so often */
    int error, connect_error;
    bool pause, close, reset; /* to be done on the next bytes */
};

extern const struct stream_events scene_events;

/* For cmocka. A new connection is level-triggered; scene_set_up_edge() lets it hear a few times. */
int scene_set_up(void **state);
int scene_set_up_edge(void **state);
int scene_tear_down(void **state);

void scene_turn(struct stream_scene *s);
void scene_turn_until(struct stream_scene *s, const unsigned *count, unsigned wanted);

/* A few turns and until the kernel has no news; then nothing may keep the loop awake. */
void scene_turn_to_rest(struct stream_scene *s);

/* Until the kernel has something for the loop. */
void scene_await_news(struct stream_scene *s);

/* Until the kernel knows that the client has left, and how: stream_peer_left()'s. */
void scene_await_left(struct stream_scene *s, int how);

/* What the stream sends has little room in the kernel. So it is from the start. */
void scene_narrow(struct stream_scene *s);

/* The client says bytes of the pattern, from its place `from` on. */
void scene_say(struct stream_scene *s, size_t from, size_t size);
void scene_reset(struct stream_scene *s);

/* The stream writes so much, and the client hears it all. */
void scene_write(struct stream_scene *s, size_t size);
void scene_hear_all(struct stream_scene *s, size_t size);

#endif
