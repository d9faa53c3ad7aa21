/* cli_watch: `difyring status --watch`: the cluster, live, until q. */
#ifndef CLI_WATCH_H
#define CLI_WATCH_H

#include "cli/node.h"

/* Until q or Ctrl-C; returns the exit code. Standard output is a terminal; else it is told that it
 * is none. */
int cli_watch(struct cli_node *n);

#endif
