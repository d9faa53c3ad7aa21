/* origin: where a revision of the shared configuration comes from, for people who read the log of
 * any node. It travels with the revision. */
#ifndef LEDGER_ORIGIN_H
#define LEDGER_ORIGIN_H

#include "base/names.h"

enum { ORIGIN_ASKED_SIZE_MAX = 96 };

struct shared_origin {
    char node[NAMES_SIZE_MAX + 1];         /* that brought it; "" = not known */
    char asked[ORIGIN_ASKED_SIZE_MAX + 1]; /* who asked for it: `10.0.0.7 by address`, `SIGHUP` */
};

#endif
