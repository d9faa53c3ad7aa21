/* local_query: what stands behind the `?` of an own endpoint's target. A word that is not known is
 * refused, for whoever writes `dryrun=1` means no reload. Pure. */
#ifndef WORKER_LOCAL_QUERY_H
#define WORKER_LOCAL_QUERY_H

#include <stdbool.h>

#include "base/bytes.h"

enum local_parameter {
    LOCAL_FORCE = 1 << 0,
    LOCAL_DRY_RUN = 1 << 1,
    LOCAL_SECRETS = 1 << 2,
    LOCAL_NOW = 1 << 3,
    LOCAL_HOLD = 1 << 4, /* a duration: 100ms, 5s, 2m, 1h, or seconds */
};

enum { LOCAL_QUERY_ERROR_SIZE = 160 };

struct local_query {
    unsigned given; /* of enum local_parameter: 1 or true; a duration that is not 0 */
    uint64_t hold_ms;
};

/* `known`: of enum local_parameter. False after saying in `ret_error` what is wrong. */
bool local_query_read(struct bytes query, unsigned known, struct local_query *ret,
                      char ret_error[LOCAL_QUERY_ERROR_SIZE]);

#endif
