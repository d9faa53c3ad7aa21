/* tickets: the keys that session tickets of TLS 1.2 and 1.3 are sealed with.
 *
 * Every node of a cluster derives the same ones, from the cluster keys and the half of the UTC day,
 * so a session that one node began resumes on another, and nobody has to tell keys around:
 * HKDF-SHA256(cluster key, salt = cluster name, info = "difyring tls " part half), part one of
 * "name", "aes", "mac", half = seconds since 1970 / 43200 as 8 bytes, big-endian. The first cluster
 * key seals, all open (rotation), as do the halves before and after the present one: clocks of
 * nodes may differ. Who steals a ticket key (there is none on any disk) reads at most what
 * resumed within a day without an ECDHE of its own, which is nothing: all ours have one.
 *
 * One object for the life of a process; any thread. */
#ifndef TLS_TICKETS_H
#define TLS_TICKETS_H

#include "base/bytes.h"

enum {
    TLS_TICKET_HALF_S = 12 * 60 * 60,
    TLS_TICKET_KEYS_MAX = 16, /* conf's limit of cluster keys */
    TLS_TICKET_SECRET_SIZE = 32,
    TLS_TICKET_NAME_SIZE = 16,
};

struct tls_tickets;

struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME_SIZE]; /* stands in the ticket */
    uint8_t aes[32], mac[32];
};

/* With a secret of its own, drawn now. */
struct tls_tickets *tls_tickets_new(void);
void tls_tickets_free(struct tls_tickets *t);

/* From now on those of the cluster; `count` 0: back to the own one. At most TLS_TICKET_KEYS_MAX. */
void tls_tickets_set(struct tls_tickets *t, const uint8_t (*secrets)[TLS_TICKET_SECRET_SIZE],
                     size_t count, struct bytes cluster_name);

/* The one to seal with at this time (seconds since 1970). */
void tls_tickets_sealing(struct tls_tickets *t, uint64_t now_s, struct tls_ticket_key *ret_key);

/* The one with this name, if it opens at this time. */
bool tls_tickets_find(struct tls_tickets *t, uint64_t now_s,
                      const uint8_t name[TLS_TICKET_NAME_SIZE], struct tls_ticket_key *ret_key);

#endif
