/* reload: what is read of the file again, and what is said about it. */
#ifndef CONTROL_RELOAD_H
#define CONTROL_RELOAD_H

#include "control/private.h"

/* On the pool: reads c->adoption.conf and its canonical form, and compares it with what is in force
 * and with the base; or the problems. */
void reload_read(struct control *c);

/* The file's shared part has not ended this process twice, or is not what comes into force. False:
 * c->adoption.problems say so. */
bool reload_may_be_tried(struct control *c);

/* What cannot change while the node runs is named, and carried over into `next`. */
void reload_keep_fixed(struct control *c, struct conf *next);

/* What is valid and unwise, into the log. */
void reload_tell_weak(struct control *c, const struct conf_problems *problems);

/* Into the log: what the configuration that is in force now changes. */
void reload_tell_changed(struct control *c, const char *event);

/* The answer of a reload that is in force, or of a dry run. */
void reload_answer(struct control *c, struct buffer *ret_body);

/* It would take back what others have changed: into the log and into the answer. */
void reload_conflict(struct control *c, struct buffer *ret_body);

/* The problems into the log and into the answer. */
void reload_refuse(struct control *c, const struct conf_problems *problems,
                   struct buffer *ret_body);

#endif
