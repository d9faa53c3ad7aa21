/* aead: EVP with everything that can be done once done once. An implicit fetch of an algorithm
 * takes a lock and costs more than sealing a packet, so the two algorithms are fetched at the first
 * use and kept for the life of the process; they are read-only and shared by all threads. */
#include "base/aead.h"

#include <assert.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

struct aead {
    EVP_CIPHER_CTX *context; /* holds the key's schedule; each use only sets a nonce */
};

static pthread_once_t fetch_once = PTHREAD_ONCE_INIT;
static EVP_CIPHER *gcm;
static EVP_KDF *hkdf;

static void demand(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "difyring: OpenSSL refuses %s; check its providers\n", what);
        abort();
    }
}

static void fetch(void)
{
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    demand(gcm != NULL, "AES-256-GCM");
    hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    demand(hkdf != NULL, "HKDF");
}

struct aead *aead_new(const uint8_t key[AEAD_KEY_SIZE])
{
    demand(pthread_once(&fetch_once, fetch) == 0, "to be started");
    struct aead *a = memory_new(sizeof(*a));
    a->context = EVP_CIPHER_CTX_new();
    demand(a->context != NULL, "AES-256-GCM");
    /* GCM opens with the same key schedule as it seals with, so one direction sets up both. */
    demand(EVP_CipherInit_ex2(a->context, gcm, key, NULL, 1, NULL) == 1, "AES-256-GCM");
    return a;
}

void aead_free(struct aead *a)
{
    if (a) {
        EVP_CIPHER_CTX_free(a->context); /* cleanses the schedule */
        free(a);
    }
}

/* EVP's lengths are ints. */
static int int_size(size_t size)
{
    assert(size <= INT_MAX);
    return (int)size;
}

static const unsigned char *octets(struct bytes b)
{
    return (const unsigned char *)b.at;
}

/* Sets the nonce and the direction, and takes in the additional data. */
static bool begin(struct aead *a, bool seal, const uint8_t *nonce, struct bytes aad)
{
    int size = 0;
    return EVP_CipherInit_ex2(a->context, NULL, NULL, nonce, seal, NULL) == 1 &&
           (aad.size == 0 ||
            EVP_CipherUpdate(a->context, NULL, &size, octets(aad), int_size(aad.size)) == 1);
}

/* GCM is a stream: as many bytes come out as go in, and the end adds none. */
static bool run(struct aead *a, struct bytes in, uint8_t *ret_out)
{
    int size = 0;
    return in.size == 0 ||
           (EVP_CipherUpdate(a->context, ret_out, &size, octets(in), int_size(in.size)) == 1 &&
            (size_t)size == in.size);
}

void aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
               struct bytes plain, uint8_t *ret_sealed)
{
    int size = 0;
    uint8_t *tag = ret_sealed + plain.size;
    bool ok = begin(a, true, nonce, aad) && run(a, plain, ret_sealed) &&
              EVP_CipherFinal_ex(a->context, tag, &size) == 1 && size == 0 &&
              EVP_CIPHER_CTX_ctrl(a->context, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, tag) == 1;
    demand(ok, "to seal");
}

bool aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
               struct bytes sealed, uint8_t *ret_plain)
{
    if (sealed.size < AEAD_TAG_SIZE) {
        return false;
    }
    struct bytes text = {sealed.at, sealed.size - AEAD_TAG_SIZE};
    uint8_t tag[AEAD_TAG_SIZE]; /* a copy: the parameter is not const */
    memcpy(tag, sealed.at + text.size, sizeof(tag));
    bool ok = begin(a, false, nonce, aad) && run(a, text, ret_plain) &&
              EVP_CIPHER_CTX_ctrl(a->context, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, tag) == 1;
    demand(ok, "to open");
    int size = 0;
    uint8_t none[AEAD_TAG_SIZE]; /* where Final would write what GCM never has left over */
    return EVP_CipherFinal_ex(a->context, none, &size) == 1;
}

/* OSSL_PARAM has no const, and an empty one must be left out. */
static OSSL_PARAM *add_octets(OSSL_PARAM *at, const char *name, struct bytes value)
{
    if (value.size > 0) {
        *at++ = OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)value.at, value.size);
    }
    return at;
}

void hkdf_sha256(struct bytes key, struct bytes salt, struct bytes info,
                 uint8_t ret_key[AEAD_KEY_SIZE])
{
    assert(key.size > 0);
    demand(pthread_once(&fetch_once, fetch) == 0, "to be started");
    char digest[] = "SHA256";
    OSSL_PARAM params[5];
    OSSL_PARAM *at = params;
    *at++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    at = add_octets(at, OSSL_KDF_PARAM_KEY, key);
    at = add_octets(at, OSSL_KDF_PARAM_SALT, salt);
    at = add_octets(at, OSSL_KDF_PARAM_INFO, info);
    *at = OSSL_PARAM_construct_end();
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(hkdf);
    bool ok = context && EVP_KDF_derive(context, ret_key, AEAD_KEY_SIZE, params) == 1;
    EVP_KDF_CTX_free(context);
    demand(ok, "HKDF-SHA256");
}

void random_bytes(void *ret_bytes, size_t size)
{
    demand(RAND_bytes(ret_bytes, int_size(size)) == 1, "random bytes");
}
