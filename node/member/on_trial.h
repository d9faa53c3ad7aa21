/* on_trial: never contagious (SPEC §6, "Decided"). A shared configuration is noted in state_dir
 * before it comes into force, and vouched for ON_TRIAL_VOUCH_MS after; only then do others hear of
 * what this node brings or takes over. One that has ended the process twice within a minute is not
 * tried again: the node begins with the one that it vouched for last. Without state_dir none of
 * this is. */
#ifndef MEMBER_ON_TRIAL_H
#define MEMBER_ON_TRIAL_H

#include "cluster/cluster.h"
#include "trial/trials.h"

struct membership;

enum { ON_TRIAL_VOUCH_MS = 300 };

struct on_trial {
    struct trials trials;
    bool keeps;                  /* there is a state_dir */
    bool fell_back, has_nothing; /* at the start; what is to be told of it: */
    uint8_t condemned[SHA256_SIZE];
    uint8_t digest[SHA256_SIZE]; /* in force, and not vouched for yet */
    uint64_t vouch_ms;           /* then; 0: nothing waits */
    bool unkept;                 /* vouched for, and not in the file yet */
};

/* At the start, before the cluster is told what this node begins with: `stored` may become the one
 * before, with `*takes_back`, so that the file does not stand in its place. */
void on_trial_start(struct membership *m, struct bytes file, struct cluster_shared_file *stored,
                    bool *takes_back);

/* It is about to be tried. False: it is condemned. */
bool on_trial_begin(struct membership *m, const uint8_t digest[SHA256_SIZE]);

/* Somebody insists on it. */
void on_trial_pardon(struct membership *m, const uint8_t digest[SHA256_SIZE]);

/* What the cluster says to be in force is; ON_TRIAL_VOUCH_MS from now. */
void on_trial_in_force(struct membership *m);

/* The end of a turn; and when it has something to do at the latest. */
void on_trial_settle(struct membership *m);
uint64_t on_trial_deadline_ms(const struct membership *m);

/* Its files, while some could not be written. */
void on_trial_save_again(struct membership *m);

/* The process ends in order. */
void on_trial_close(struct membership *m);

#endif
