/* reload: what is read of the file again, and what is said about it. */
#ifndef CONTROL_RELOAD_H
#define CONTROL_RELOAD_H

#include "control/private.h"

/* Any thread: reads c->adoption.conf, its canonical form and that one's digest; or the problems. */
void reload_read(struct control *c);

/* What cannot change while the node runs is named, and carried over into `next`. */
void reload_keep_fixed(struct control *c, struct conf *next);

/* What is valid and unwise, into the log. */
void reload_tell_weak(struct control *c, const struct conf_problems *problems);

/* The problems into the log and into the answer. */
void reload_refuse(struct control *c, const struct conf_problems *problems,
                   struct buffer *ret_body);

#endif
