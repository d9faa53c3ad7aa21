/* whys: the reasons of votes, in the room that a page of votes has left (SPEC §5, `reason`). */
#ifndef LEDGER_WHYS_H
#define LEDGER_WHYS_H

#include "base/bytes.h"
#include "health/reason.h"

/* What is told of an instance. */
struct vote_row {
    uint64_t instance; /* first 8 bytes of SHA-256 of the name */
    uint8_t state;     /* see votes.c */
    struct reason why_active, why_passive;
};

/* The reasons of a page of votes, as many as go into `room` bytes, into `ret`. */
size_t whys_write(const struct vote_row *rows, size_t count, size_t room, uint8_t *ret);
void whys_read(struct bytes text, struct vote_row *rows, size_t count);

/* Is one of another kind told than it is? A trial that failed changes no vote, and a person who
 * tries waits for it: that is told at once. */
bool whys_other(const struct vote_row *told, const struct vote_row *own);

/* Is the reason told as it is, or not for want of room? */
bool whys_told(const struct vote_row *told, const struct vote_row *own);

#endif
