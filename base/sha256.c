/* sha256: OpenSSL's own functions for it, below EVP.
 *
 * OpenSSL 3 calls them deprecated and has had them unchanged since 0.9.8. EVP throws its state away
 * and makes a new one for each digest: 700 instructions, two allocations and 4 KiB of code around
 * a digest of one block, which takes 300. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "base/sha256.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base/memory.h"

struct sha256 {
    SHA256_CTX context;
};

struct sha256 *sha256_new(void)
{
    static_assert(SHA256_SIZE == SHA256_DIGEST_LENGTH, "one SHA-256");
    return memory_new(sizeof(struct sha256));
}

void sha256_free(struct sha256 *s)
{
    free(s);
}

void sha256_digest(struct sha256 *s, const struct bytes *parts, size_t part_count,
                   uint8_t ret_digest[SHA256_SIZE])
{
    bool ok = SHA256_Init(&s->context) == 1;
    for (size_t i = 0; i < part_count; i++) {
        ok = SHA256_Update(&s->context, parts[i].at, parts[i].size) == 1 && ok;
    }
    ok = SHA256_Final(ret_digest, &s->context) == 1 && ok;
    assert(ok); /* none of them can fail */
}

void sha256_begin(struct sha256 *s)
{
    int ok = SHA256_Init(&s->context);
    assert(ok == 1); /* none of these can fail */
}

void sha256_add(struct sha256 *s, struct bytes part)
{
    int ok = SHA256_Update(&s->context, part.at, part.size);
    assert(ok == 1);
}

void sha256_end(struct sha256 *s, uint8_t ret_digest[SHA256_SIZE])
{
    int ok = SHA256_Final(ret_digest, &s->context);
    assert(ok == 1);
}

/* All of the text with what ends it (FIPS 180-4 §5.1.1). False: it takes more than one block. */
static bool fill_block(const struct bytes *parts, size_t part_count, uint8_t block[SHA256_CBLOCK])
{
    enum { TEXT_MAX = SHA256_CBLOCK - 9 };
    size_t size = 0;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].size > TEXT_MAX - size) {
            return false;
        }
        if (parts[i].size > 0) {
            memcpy(block + size, parts[i].at, parts[i].size);
            size += parts[i].size;
        }
    }
    memset(block + size, 0, SHA256_CBLOCK - size);
    block[size] = 0x80;
    block[SHA256_CBLOCK - 2] = (uint8_t)(8 * size >> 8); /* in bits */
    block[SHA256_CBLOCK - 1] = (uint8_t)(8 * size);
    return true;
}

/* A key of the ring is nearly always one block, and needs nothing of what there is for others. */
uint64_t sha256_prefix(struct sha256 *s, const struct bytes *parts, size_t part_count)
{
    uint8_t digest[SHA256_SIZE], block[SHA256_CBLOCK];
    if (fill_block(parts, part_count, block)) {
        sha256_begin(s);
        SHA256_Transform(&s->context, block);
        explicit_bzero(block, sizeof(block)); /* as SHA256_Final does: it may be a token */
        return (uint64_t)s->context.h[0] << 32 | s->context.h[1];
    }
    sha256_digest(s, parts, part_count, digest);
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value = value << 8 | digest[i];
    }
    return value;
}

void sha256_hex(const uint8_t digest[SHA256_SIZE], char ret_text[2 * SHA256_SIZE + 1])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA256_SIZE; i++) {
        ret_text[2 * i] = digits[digest[i] >> 4];
        ret_text[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_text[2 * SHA256_SIZE] = '\0';
}
