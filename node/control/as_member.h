/* as_member: what only control knows of this node, for node/member. */
#ifndef CONTROL_AS_MEMBER_H
#define CONTROL_AS_MEMBER_H

struct control;

/* As membership_open(). */
int as_member_open(struct control *c);

#endif
