/* faults: what happens to hosts, processes and the network until world.faults_end_us. */
#ifndef TESTS_SIM_FAULTS_H
#define TESTS_SIM_FAULTS_H

#include "tests/sim/world.h"

/* What may happen in one world besides pauses, crashes, stops, partitions, loss and new addresses.
 */
struct faults {
    bool no_state_dir; /* nothing survives a restart, on no host */
    bool wall_jumps;   /* clocks jump by up to an hour, either way */
    bool clones;       /* the last host may start with another's name and disk */
    bool key_rotation;
    bool names_gone; /* of joins; then no address changes, and the first host runs all the time */
    bool refusals;   /* some nodes cannot take over some configuration */
    unsigned adversary;   /* strikes a second */
    unsigned mean_gap_ms; /* between two faults */
    unsigned base_loss_permille;
};

/* Puts all of it into the queue, from now until world.faults_end_us. `f` must outlive the world. */
void faults_begin(struct world *w, const struct faults *f);

/* Is a host down, or about to be, whose restart is already planned? */
bool faults_start_later(const struct world *w);

/* When that is not so any more: whatever is still down starts, but for what `keep_down` (one bit a
 * host) says, and of two processes with one name one ends; who names nobody any more in order to
 * join is given a name. */
void faults_end(struct world *w, uint64_t keep_down);

/* One of those that run crashes and starts again within half a second; its disk is as it was, or
 * empty. */
void faults_restart_one(struct world *w);

#endif
