/* trials: which shared configurations have been tried and not vouched for (SPEC, "never
 * contagious"). Pure: a table, and its text for a file.
 *
 *   (unknown) --begin--> TRIED --vouch--> (unknown: it is good)
 *                          | the process ends: the next one finds the record
 *                          v
 *              begin again: a second try; and again, if the two were within a minute: CONDEMNED
 *
 * A try is noted before it is made, so a process that a configuration ends leaves it behind. One
 * that ends in order takes its tries back. A condemned one stays so until somebody insists
 * (pardon), or another version of difyring reads the file. */
#ifndef TRIAL_TRIALS_H
#define TRIAL_TRIALS_H

#include "base/buffer.h"
#include "base/sha256.h"

enum {
    TRIALS_MAX = 8, /* texts; the oldest of those that are not condemned gives way */
    TRIALS_DEATHS = 2,
    TRIALS_WITHIN_S = 60,
};

struct trial {
    uint8_t digest[SHA256_SIZE];
    uint64_t tries_s[TRIALS_DEATHS]; /* the last ones, 1970; 0 = none */
    bool condemned;
    bool here; /* the last try is this process's own */
};

struct trials {
    struct trial at[TRIALS_MAX];
    size_t count;
};

/* Of a file; what another version wrote, and what does not read well, is nothing. */
void trials_read(struct trials *t, struct bytes text, const char *version);
void trials_write(const struct trials *t, const char *version, struct buffer *ret_text);

/* May it be tried? Then the try is noted, in the place of this process's last one, which has not
 * ended it. False: it is condemned. */
bool trials_begin(struct trials *t, const uint8_t digest[SHA256_SIZE], uint64_t now_s);
bool trials_has_condemned(const struct trials *t, const uint8_t digest[SHA256_SIZE]);

/* It is good, or somebody insists: nothing is known of it any more. */
void trials_forget(struct trials *t, const uint8_t digest[SHA256_SIZE]);

/* The process ends in order, or vouches: what it tried has not ended it. */
void trials_withdraw(struct trials *t);

#endif
