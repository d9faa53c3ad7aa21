/* keepalived: the keepalived.conf of one node, for keepalived 2.2 and newer. Pure. */
#ifndef VIP_KEEPALIVED_H
#define VIP_KEEPALIVED_H

#include "base/buffer.h"

struct keepalived_options {
    const char *node;    /* name */
    const char *program; /* absolute path of difyring */
    const char *interface, *address;
    unsigned prefix;
    unsigned router_id, priority;
    uint64_t advert_interval_ms;
    const char *const *peers; /* of the address's family */
    size_t peer_count;
    const char
        *source; /* own address of the peers' family; NULL = keepalived takes the interface's */
    const char *track_file; /* absolute */
    bool bound;             /* the node listens on the address itself (relay.h) */
    uint16_t port;          /* of the node */
    uint64_t drain_ms;
};

/* Appends the file. Returns 0, or -1 with the reason appended to `ret_error` if something cannot be
 * written in keepalived's language. */
int keepalived_print(struct buffer *b, const struct keepalived_options *options,
                     struct buffer *ret_error);

#endif
