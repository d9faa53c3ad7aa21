/* signals: what a running node is told by signals, on its loop.
 *
 * They are blocked in all threads, from the first line of a node to its last, and read from a
 * descriptor: so none ever meets the default action, which would end the process with the signal's
 * number for an exit code, not before the loop turns nor after it has ended. */
#ifndef LIFE_SIGNALS_H
#define LIFE_SIGNALS_H

#include <uv.h>

struct signals {
    uv_poll_t poll;
    int fd;
    void (*on_signal)(void *owner, int number);
    void *owner;
};

/* Before any other thread is there. HUP, USR1, TERM and INT wait from here on. */
void signals_block(void);

/* Returns 0 or a negative errno; then nothing is open. */
int signals_open(struct signals *s, uv_loop_t *loop, void (*on_signal)(void *owner, int number),
                 void *owner);

/* What comes now waits until the process has gone. */
void signals_close(struct signals *s);

#endif
