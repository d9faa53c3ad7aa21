/* sha256: EVP with everything that can be done once done once. */
#include "base/sha256.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

struct sha256 {
    EVP_MD *algorithm;
    EVP_MD_CTX *context;
};

static void demand(bool ok)
{
    if (!ok) {
        fprintf(stderr, "difyring: OpenSSL refuses SHA-256; check its providers\n");
        abort();
    }
}

struct sha256 *sha256_new(void)
{
    struct sha256 *s = memory_new(sizeof(*s));
    s->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    s->context = EVP_MD_CTX_new();
    demand(s->algorithm && s->context);
    demand(EVP_DigestInit_ex2(s->context, s->algorithm, NULL) == 1);
    return s;
}

void sha256_free(struct sha256 *s)
{
    if (s) {
        EVP_MD_CTX_free(s->context);
        EVP_MD_free(s->algorithm);
        free(s);
    }
}

void sha256_digest(struct sha256 *s, const struct bytes *parts, size_t part_count,
                   uint8_t ret_digest[SHA256_SIZE])
{
    unsigned size = 0;
    /* Naming the algorithm again would have OpenSSL throw its state away and make a new one. */
    bool ok = EVP_DigestInit_ex2(s->context, NULL, NULL) == 1;
    for (size_t i = 0; i < part_count; i++) {
        ok = ok && EVP_DigestUpdate(s->context, parts[i].at, parts[i].size) == 1;
    }
    ok = ok && EVP_DigestFinal_ex(s->context, ret_digest, &size) == 1;
    demand(ok);
    assert(size == SHA256_SIZE);
}

uint64_t sha256_prefix(struct sha256 *s, const struct bytes *parts, size_t part_count)
{
    uint8_t digest[SHA256_SIZE];
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
