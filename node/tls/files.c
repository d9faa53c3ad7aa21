/* files: read() into memory, PEM off that. */
#include "tls/files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

const char *tls_file_key(enum tls_file which)
{
    switch (which) {
    case TLS_FILE_CERTIFICATE:
        return "certificate";
    case TLS_FILE_KEY:
        return "key";
    case TLS_FILE_CA:
        break;
    }
    return "ca";
}

static void complain(const struct tls_complaint *c, enum tls_file which, const char *what,
                     const char *more)
{
    struct buffer text = {0};
    buffer_append_format(&text, "%s%s", what, more);
    buffer_append(&text, "", 1);
    c->tell(c->arg, which, text.data);
    buffer_done(&text);
}

/* Returns 0 or an errno; EFBIG beyond TLS_FILE_MAX. The buffer never grows, so that no copy of a
 * key is left behind in freed memory. */
static int read_all(int fd, struct buffer *ret_text)
{
    struct stat s;
    if (fstat(fd, &s) != 0) {
        return errno;
    }
    if (!S_ISREG(s.st_mode)) {
        return S_ISDIR(s.st_mode) ? EISDIR : EINVAL;
    }
    if (s.st_size > TLS_FILE_MAX) {
        return EFBIG;
    }
    buffer_reserve(ret_text, (size_t)s.st_size + 1);
    ssize_t got;
    while ((got = read(fd, ret_text->data + ret_text->size, ret_text->capacity - ret_text->size)) >
           0) {
        ret_text->size += (size_t)got;
        if (ret_text->size == ret_text->capacity) {
            return EFBIG; /* it grows while it is read */
        }
    }
    return got < 0 ? errno : 0;
}

/* Non-blocking, for a path that is a pipe must not hold up who waits for this. */
static BIO *open_text(const char *path, enum tls_file which, const struct tls_complaint *c,
                      struct buffer *text)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int error = fd < 0 ? errno : read_all(fd, text);
    if (fd >= 0) {
        close(fd);
    }
    if (error) {
        complain(c, which,
                 "cannot be read: ", error == EINVAL ? "it is no regular file" : strerror(error));
        return NULL;
    }
    return BIO_new_mem_buf(text->data, (int)text->size);
}

static int refuse_passphrase(char *to, int size, int writing, void *asked)
{
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)asked = true;
    return -1;
}

static STACK_OF(X509) *
    read_certificates(const char *path, enum tls_file which, const struct tls_complaint *c)
{
    struct buffer text = {0};
    BIO *bio = open_text(path, which, c, &text);
    if (!bio) {
        buffer_done(&text);
        return NULL;
    }
    STACK_OF(X509) *all = sk_X509_new_null();
    bool asked = false;
    X509 *one;
    ERR_clear_error();
    while ((one = PEM_read_bio_X509_AUX(bio, NULL, refuse_passphrase, &asked)) != NULL) {
        sk_X509_push(all, one);
    }
    bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    buffer_done(&text);
    if (!at_end || sk_X509_num(all) == 0) {
        complain(c, which, "holds ",
                 at_end ? "no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
                        : "a certificate that cannot be read");
        sk_X509_pop_free(all, X509_free);
        return NULL;
    }
    return all;
}

static EVP_PKEY *read_key(const char *path, const struct tls_complaint *c)
{
    struct buffer text = {0};
    bool asked = false;
    BIO *bio = open_text(path, TLS_FILE_KEY, c, &text);
    if (!bio) {
        buffer_wipe(&text);
        return NULL;
    }
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, refuse_passphrase, &asked);
    ERR_clear_error();
    BIO_free(bio);
    buffer_wipe(&text);
    if (!key) {
        complain(c, TLS_FILE_KEY, "holds ",
                 asked ? "a key behind a passphrase, which nobody can type here: store it without "
                         "(openssl pkey)"
                       : "no private key in PEM form (-----BEGIN PRIVATE KEY-----)");
    }
    return key;
}

bool tls_pair_read(const char *certificate, const char *key, const struct tls_complaint *complaint,
                   struct tls_pair *ret_pair)
{
    struct tls_pair pair = {0};
    pair.chain = read_certificates(certificate, TLS_FILE_CERTIFICATE, complaint);
    pair.key = read_key(key, complaint);
    if (pair.chain) {
        pair.certificate = sk_X509_shift(pair.chain); /* the first one; the rest is its chain */
    }
    bool fits = pair.chain && pair.key && X509_check_private_key(pair.certificate, pair.key) == 1;
    if (pair.chain && pair.key && !fits) {
        complain(complaint, TLS_FILE_KEY, "is not the key of the first certificate in the file ",
                 "beside it");
    }
    ERR_clear_error();
    if (!fits) {
        tls_pair_done(&pair);
        return false;
    }
    *ret_pair = pair;
    return true;
}

void tls_pair_done(struct tls_pair *pair)
{
    X509_free(pair->certificate);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
    *pair = (struct tls_pair){0};
}

STACK_OF(X509) * tls_read_ca(const char *path, const struct tls_complaint *complaint)
{
    return read_certificates(path, TLS_FILE_CA, complaint);
}
