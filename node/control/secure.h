/* secure: the certificates of the listeners: from files into snapshots.
 *
 * Files are read where the file that names them is: at the start and at each reload, on the pool,
 * before anything is decided; a shared part that comes from the cluster brings none. */
#ifndef CONTROL_SECURE_H
#define CONTROL_SECURE_H

#include "conf/conf.h"
#include "snapshot/snapshot.h"
#include "tls/server.h"

struct control;

/* What was read for one listener; `host` is the configuration's. */
struct secured_listener {
    const char *host;
    uint16_t port;
    struct tls_server *server; /* a reference; NULL = plain */
};

struct secured {
    struct secured_listener *at; /* in the order of conf_door() */
    size_t count;
};

/* Blocking; any thread. Returns the number of problems; `ret_problems` is set in any case. With one
 * or more there is nothing in `ret_read`. */
size_t secure_read(const struct conf *conf, struct tls_tickets *tickets, struct secured *ret_read,
                   struct conf_problems *ret_problems);
void secure_forget(struct secured *read);

/* The same to look only: for `check`. */
size_t secure_check(const struct conf *conf, struct conf_problems *ret_problems);

/* Gives each listener of the snapshot its server: of those that were read, and for listeners that
 * the file has not any more, and where nothing was read, the one of the snapshot before. */
void secure_build(struct snapshot *s, const struct conf *conf, const struct secured *read,
                  const struct snapshot *before);

/* Tells of certificates that end: once now, and whenever one comes to its last days or its end. */
void secure_watch(struct control *c);

/* The cluster's keys, or none, for the tickets of sessions. */
void secure_set_keys(struct tls_tickets *tickets, const struct conf *conf);

#endif
