/* algorithm: how an application's requests are spread over its instances (SPEC §2). */
#ifndef ROUTE_ALGORITHM_H
#define ROUTE_ALGORITHM_H

enum algorithm {
    ALGORITHM_CONSISTENT_HASH,
    ALGORITHM_WEIGHTED_ROUND_ROBIN,
    ALGORITHM_LEAST_CONNECTIONS,
    ALGORITHM_IP_HASH,
};

/* As configuration and /status write them, by the enum; NULL ends them. */
extern const char *const algorithm_words[];

#endif
