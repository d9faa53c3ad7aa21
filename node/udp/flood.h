/* flood: does much come that means nothing? Pure: counts and time in.
 *
 * Who is woken for each packet pays for a turn of the loop and two changes of the process, more
 * than refusing the packet takes. In a flood they are therefore left to collect. */
#ifndef UDP_FLOOD_H
#define UDP_FLOOD_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FLOOD_WINDOW_MS = 100,
    FLOOD_COUNT = 100, /* in a window */
    /* Between two looks at the socket: far below any time-out of the gossip, and the kernel keeps
     * what comes meanwhile, also of a hundred thousand a second. */
    FLOOD_PAUSE_MS = 4,
};

struct flood {
    uint64_t since_ms; /* of the present window */
    unsigned now, before;
};

/* Datagrams that were refused, and errors. */
void flood_note(struct flood *f, uint64_t now_ms, unsigned count);

/* From FLOOD_COUNT in a window on, until a whole one has had fewer. */
bool flood_is_on(struct flood *f, uint64_t now_ms);

#endif
