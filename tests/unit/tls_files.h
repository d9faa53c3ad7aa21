/* tls_files: certificates for tests, made by the openssl command in a folder of their own. */
#ifndef TESTS_TLS_FILES_H
#define TESTS_TLS_FILES_H

#include "base/pool.h"
#include "tls/client.h"
#include "tls/server.h"
#include "tls/session.h"

/* The folder with a CA (ca.crt, ca.key) and another one that signs nothing (other.crt), pairs
 * NAME.crt and NAME.key: rsa (a.test, *.w.test), ec (A.test), exact (x.w.test, EC), wild
 * (*.w.test, EC), old (ended in 2001), and client. Made once for a process. */
const char *tls_folder(void);
void tls_folder_remove(void);

/* `NAME` in it; the texts live as long as the process. */
const char *tls_path(const char *name);

/* A server with these pairs, each "rsa" or so, NULL at the end. */
struct tls_server *tls_test_server(struct tls_tickets *tickets, const char *client_ca,
                                   const char *const *pairs);

/* A client that believes ca.crt and shows `pair`, or nothing (NULL); at most this version. */
struct tls_client *tls_test_client(const char *pair, int version_max);

/* Carries what waits from one side to the other, in pieces of `piece` bytes, until nothing waits.
 * What is opened is appended to `to_opened`, `from_opened` (NULL: must be nothing). */
struct tls_ends {
    struct pool pool;
    struct tls_session *client, *server;
    char client_heard[1 << 17], server_heard[1 << 17];
    size_t client_heard_size, server_heard_size;
};

void tls_carry(struct tls_ends *e, size_t piece);

/* One way only, and a single piece of what waits; false: nothing waits. */
bool tls_carry_up(struct tls_ends *e, size_t piece);
bool tls_carry_down(struct tls_ends *e, size_t piece);
void tls_ends_done(struct tls_ends *e);

#endif
