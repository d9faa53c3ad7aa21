/* AES-256-GCM (NIST SP 800-38D) and HKDF-SHA256 (RFC 5869) through OpenSSL, and its random bytes.
 *
 * One `struct aead` holds one key with its schedule, for sealing and for opening; it belongs to one
 * thread. The caller answers for never sealing twice under one nonce. */
#ifndef BASE_AEAD_H
#define BASE_AEAD_H

#include "base/bytes.h"

enum { AEAD_KEY_SIZE = 32, AEAD_NONCE_SIZE = 12, AEAD_TAG_SIZE = 16 };

struct aead;

struct aead *aead_new(const uint8_t key[AEAD_KEY_SIZE]); /* never NULL */
void aead_free(struct aead *a);                          /* wipes the key; NULL is fine */

/* Writes plain.size + AEAD_TAG_SIZE bytes to `ret_sealed`. */
void aead_seal(struct aead *a, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
               struct bytes plain, uint8_t *ret_sealed);

/* Writes sealed.size - AEAD_TAG_SIZE bytes to `ret_plain`. False, and the content of `ret_plain`
 * must not be looked at, when the tag does not verify or `sealed` is shorter than a tag. */
bool aead_open(struct aead *a, const uint8_t nonce[AEAD_NONCE_SIZE], struct bytes aad,
               struct bytes sealed, uint8_t *ret_plain);

void hkdf_sha256(struct bytes key, struct bytes salt, struct bytes info,
                 uint8_t ret_key[AEAD_KEY_SIZE]);

/* Bytes nobody can guess. Aborts if the machine has none. */
void random_bytes(void *ret_bytes, size_t size);

#endif
