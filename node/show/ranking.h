/* ranking: the nodes and the instances of a /status, the worst first. */
#ifndef SHOW_RANKING_H
#define SHOW_RANKING_H

#include <jansson.h>
#include <stddef.h>

struct ranked {
    const char *application; /* NULL: a node */
    const char *name;
    json_t *value;
    unsigned rank; /* 0 is the worst */
    size_t order;  /* in the document: equal ones stay in it */
};

/* A list to be freed, whose texts and values are the document's. */
struct ranked *ranking_instances(const json_t *status, size_t *ret_count);
struct ranked *ranking_nodes(const json_t *status, size_t *ret_count);

#endif
