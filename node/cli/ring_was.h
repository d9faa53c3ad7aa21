/* ring_was: which users move between two rings of one application, exactly: of `difyring ring
 * --was`.
 *
 * Between two neighbouring points of either ring all keys have one owner in each, so the arcs
 * between them are all there is to look at. */
#ifndef CLI_RING_WAS_H
#define CLI_RING_WAS_H

#include "conf/conf.h"
#include "route/ring.h"

struct ring_side {
    const struct conf_application *app;
    const struct ring *ring;
    bool (*eligible)(void *arg, size_t member);
    void *arg;
};

struct ring_was {
    struct ring_side was, is;
    size_t width;    /* places of a row: one an instance of `is`, and one for nobody */
    double *shares;  /* from * width + to, of all users; nobody is the last index of either */
    uint64_t *users; /* the same: of those that were given */
};

void ring_was_init(struct ring_was *w, const struct ring_side *was, const struct ring_side *is);
void ring_was_done(struct ring_was *w);

/* A given user's key. Returns the name of the instance where it was; "-": nowhere. */
const char *ring_was_user(struct ring_was *w, uint64_t key);

/* The table `from to share users`, those that move in all first. */
void ring_was_print(const struct ring_was *w);

#endif
