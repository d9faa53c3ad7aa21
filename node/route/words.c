/* words: what people write for the enums of this room. */
#include <stddef.h>

#include "route/algorithm.h"
#include "user/user_source.h"

const char *const algorithm_words[] = {
    [ALGORITHM_CONSISTENT_HASH] = "consistent_hash",
    [ALGORITHM_WEIGHTED_ROUND_ROBIN] = "weighted_round_robin",
    [ALGORITHM_LEAST_CONNECTIONS] = "least_connections",
    [ALGORITHM_IP_HASH] = "ip_hash",
    NULL,
};

const char *const user_source_words[] = {
    [USER_FROM_HEADER] = "header", [USER_FROM_QUERY] = "query", [USER_FROM_COOKIE] = "cookie",
    [USER_FROM_JSON] = "json",     [USER_FROM_FORM] = "form",   NULL,
};
