/* fixed: what of a configuration cannot change while the node runs: the rows with CONF_RESTART. */
#ifndef CONF_FORMS_FIXED_H
#define CONF_FORMS_FIXED_H

#include "conf/conf.h"

/* Puts what is running into `next`, in copies of its own, so that `next` is what runs once it is
 * taken over, and the next reload compares with that. */
void conf_fixed_keep(const struct conf *running, struct conf *next);

#endif
