/* aead: AES-256-GCM and HKDF-SHA256 give what their standards print. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/aead.h"

enum { TEXT_MAX = 128 };

/* A byte string of a test vector. */
struct vector {
    uint8_t at[TEXT_MAX];
    size_t size;
};

static struct vector hex(const char *text)
{
    struct vector v = {.size = strlen(text) / 2};
    assert_true(v.size <= TEXT_MAX);
    for (size_t i = 0; i < v.size; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        v.at[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return v;
}

static struct bytes bytes_in(const struct vector *v)
{
    return (struct bytes){(const char *)v->at, v->size};
}

static void check_gcm(const char *key, const char *nonce, const char *aad, const char *plain,
                      const char *sealed)
{
    struct vector k = hex(key), n = hex(nonce), a = hex(aad), p = hex(plain), s = hex(sealed);
    uint8_t out[TEXT_MAX];
    struct aead *aead = aead_new(k.at);
    for (int round = 0; round < 3; round++) { /* one context, both ways, again and again */
        aead_seal(aead, n.at, bytes_in(&a), bytes_in(&p), out);
        assert_memory_equal(out, s.at, p.size + AEAD_TAG_SIZE);
        memset(out, 0xAA, sizeof(out));
        assert_true(aead_open(aead, n.at, bytes_in(&a), bytes_in(&s), out));
        assert_memory_equal(out, p.at, p.size);
    }
    aead_free(aead);
}

/* The GCM specification that NIST adopted (McGrew, Viega), appendix B. */
static void gcm_gives_the_vectors_of_its_specification(void **state)
{
    (void)state;
    const char *zeros = "0000000000000000000000000000000000000000000000000000000000000000";
    const char *key = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    check_gcm(zeros, "000000000000000000000000", "", "",
              "530f8afbc74536b9a963b4f1c4cb738b"); /* 13 */
    check_gcm(zeros, "000000000000000000000000", "", "00000000000000000000000000000000",
              "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"); /* 14 */
    check_gcm(key, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
              "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
              "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
              "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
              "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
              "76fc6ece0f4e1768cddf8853bb2d551b"); /* 16 */
}

static void what_was_changed_does_not_open(void **state)
{
    (void)state;
    const uint8_t key[AEAD_KEY_SIZE] = {1}, nonce[AEAD_NONCE_SIZE] = {2},
                  other[AEAD_NONCE_SIZE] = {3};
    const uint8_t other_key[AEAD_KEY_SIZE] = {4};
    uint8_t sealed[4 + AEAD_TAG_SIZE], plain[4];
    struct aead *a = aead_new(key);
    struct aead *b = aead_new(other_key);
    struct bytes text = {(const char *)sealed, sizeof(sealed)};
    aead_seal(a, nonce, BYTES("about"), BYTES("text"), sealed);
    assert_false(aead_open(a, other, BYTES("about"), text, plain));
    assert_false(aead_open(a, nonce, BYTES("abouT"), text, plain));
    assert_false(aead_open(a, nonce, BYTES(""), text, plain));
    assert_false(aead_open(b, nonce, BYTES("about"), text, plain));
    for (size_t size = 0; size < sizeof(sealed); size++) {
        assert_false(aead_open(a, nonce, BYTES("about"), (struct bytes){text.at, size}, plain));
    }
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(aead_open(a, nonce, BYTES("about"), text, plain));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_true(aead_open(a, nonce, BYTES("about"), text, plain)); /* none of it did harm */
    assert_memory_equal(plain, "text", 4);
    aead_free(a);
    aead_free(b);
    aead_free(NULL);
}

static void check_hkdf(const char *key, const char *salt, const char *info, const char *expected)
{
    struct vector k = hex(key), s = hex(salt), i = hex(info), e = hex(expected);
    uint8_t out[AEAD_KEY_SIZE];
    hkdf_sha256(bytes_in(&k), bytes_in(&s), bytes_in(&i), out);
    assert_memory_equal(out, e.at, sizeof(out));
}

/* Their outputs are longer; a shorter one is the beginning of a longer one. */
static void hkdf_gives_the_vectors_of_rfc_5869(void **state)
{
    (void)state;
    const char *key = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";
    check_hkdf(key, "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
               "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"); /* A.1 */
    check_hkdf(key, "", "",
               "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"); /* A.3 */
}

static void random_bytes_fill_what_they_are_given_and_no_more(void **state)
{
    (void)state;
    uint8_t bytes[40] = {0}, others[40] = {0};
    random_bytes(bytes, 32);
    random_bytes(others, 32);
    assert_memory_not_equal(bytes, others, 32);
    assert_memory_equal(bytes + 32, "\0\0\0\0\0\0\0\0", 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gcm_gives_the_vectors_of_its_specification),
        cmocka_unit_test(what_was_changed_does_not_open),
        cmocka_unit_test(hkdf_gives_the_vectors_of_rfc_5869),
        cmocka_unit_test(random_bytes_fill_what_they_are_given_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
