/* secure: the certificates of the listeners: from files into snapshots.
 *
 * Files are read where the file that names them is: at the start and at each reload, on the pool,
 * before anything is decided; a shared part that comes from the cluster brings none. */
#ifndef ASSEMBLY_SECURE_H
#define ASSEMBLY_SECURE_H

#include "conf/conf.h"
#include "member/problems.h"
#include "snapshot/snapshot.h"
#include "tls/server.h"

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

/* The same to look only, for `check`; `ret_unwise` are certificates that end soon, or have ended.
 */
size_t secure_check(const struct conf *conf, struct conf_problems *ret_problems,
                    struct conf_problems *ret_unwise);

/* Gives each listener of the snapshot its server: of those that were read, and for listeners that
 * the file has not any more, and where nothing was read, the one of the snapshot before. */
void secure_build(struct snapshot *s, const struct conf *conf, const struct secured *read,
                  const struct snapshot *before);

/* Tells of certificates that end (endings.h): at each secure_watch_now(), and whenever one comes to
 * its last days or its end. */
struct secure_watch {
    /* lent */
    struct snapshot *const *snapshot; /* the one in force */
    struct log_producer *log;
    struct problems *problems;

    uv_timer_t timer;
};

void secure_watch_open(struct secure_watch *w, struct net_loop *net);
void secure_watch_now(struct secure_watch *w);
void secure_watch_close(struct secure_watch *w);

/* The cluster's keys, or none, for the tickets of sessions. */
void secure_set_keys(struct tls_tickets *tickets, const struct conf *conf);

#endif
