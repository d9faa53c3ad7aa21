/* fixed: what of a configuration cannot change while the node runs: node, listen, workers, log, the
 * vip section, and of cluster all but join and keys. */
#ifndef CONTROL_FIXED_H
#define CONTROL_FIXED_H

#include "conf/conf.h"

enum { FIXED_SECTIONS_MAX = 6 };

/* The sections in which `next` asks for something else than what is running. Returns how many, with
 * their names (literals) in `ret_names`. */
size_t fixed_changes(const struct conf *running, const struct conf *next,
                     const char *ret_names[FIXED_SECTIONS_MAX]);

/* Puts what is running into `next`, in copies of its own, so that `next` is what runs once it is
 * taken over, and the next reload compares with that. */
void fixed_keep(const struct conf *running, struct conf *next);

#endif
