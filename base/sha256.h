/* SHA-256 through OpenSSL, with the context kept. One `struct sha256` belongs to one thread. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/bytes.h"

enum { SHA256_SIZE = 32 };

struct sha256;

struct sha256 *sha256_new(void); /* never NULL */
void sha256_free(struct sha256 *s);

/* The digest of the parts one after the other. */
void sha256_digest(struct sha256 *s, const struct bytes *parts, size_t part_count,
                   uint8_t ret_digest[SHA256_SIZE]);

/* The same piece by piece: begin, add, add, end. */
void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, struct bytes part);
void sha256_end(struct sha256 *s, uint8_t ret_digest[SHA256_SIZE]);

/* The first 8 bytes of that digest, big-endian: points and keys of the ring (SPEC §3). */
uint64_t sha256_prefix(struct sha256 *s, const struct bytes *parts, size_t part_count);

/* 64 lower-case hex digits and NUL. */
void sha256_hex(const uint8_t digest[SHA256_SIZE], char ret_text[2 * SHA256_SIZE + 1]);

#endif
