/* fixed: what of a configuration cannot change while the node runs: the rows with CONF_RESTART. */
#ifndef CONF_FIXED_H
#define CONF_FIXED_H

#include "conf/conf.h"

enum { CONF_FIXED_MAX = 16 /* sections; there are 6 */ };

/* The sections in which `next` asks for something else than what is running. Returns how many, with
 * their names (literals) in `ret_names`. */
size_t conf_fixed_changes(const struct conf *running, const struct conf *next,
                          const char *ret_names[CONF_FIXED_MAX]);

/* Puts what is running into `next`, in copies of its own, so that `next` is what runs once it is
 * taken over, and the next reload compares with that. */
void conf_fixed_keep(const struct conf *running, struct conf *next);

#endif
