/* files: certificates, keys and CAs as PEM files, read whole and checked. Blocking: not on a loop.
 *
 * No text holds anything of a key, nor a path: that may be a token in the wrong place. */
#ifndef TLS_FILES_H
#define TLS_FILES_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/buffer.h"

enum { TLS_FILE_MAX = 1024 * 1024 /* the system's bundle of 140 CAs is a fifth of that */ };

/* A certificate with those of its chain that stand behind it, and its key. */
struct tls_pair {
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

/* Which file of a pair an error is about. */
enum tls_file { TLS_FILE_CERTIFICATE, TLS_FILE_KEY, TLS_FILE_CA };

/* The key of an instance's `tls` that names it. */
const char *tls_file_key(enum tls_file which);

/* Tells an error: what is wrong with which file and what to do, to go on behind the file's name or
 * the key that names it: "cannot be read: No such file or directory". */
struct tls_complaint {
    void (*tell)(void *arg, enum tls_file which, const char *text);
    void *arg;
};

/* False: something was told, and nothing needs tls_pair_done(). */
bool tls_pair_read(const char *certificate, const char *key, const struct tls_complaint *complaint,
                   struct tls_pair *ret_pair);
void tls_pair_done(struct tls_pair *pair);

/* All certificates of a file. NULL: it was told. */
STACK_OF(X509) * tls_read_ca(const char *path, const struct tls_complaint *complaint);

#endif
