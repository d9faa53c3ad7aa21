/* cli_watch: `difyring status --watch`: the cluster, live, until q. */
#ifndef ASK_WATCH_H
#define ASK_WATCH_H

#include "ask/node.h"

/* Until q or Ctrl-C; returns the exit code. Standard output is a terminal; else it is told that it
 * is none. */
int cli_watch(struct cli_node *n);

#endif
