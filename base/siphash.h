/* SipHash-1-3: a short keyed hash (Aumasson and Bernstein, "SipHash: a fast short-input PRF",
 * 2012, with the rounds that CPython, Ruby and Rust have for their tables; each request pays for
 * five of them). Who does not know the key can neither guess nor choose what a text hashes to. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include "base/bytes.h"

enum { SIPHASH_KEY_SIZE = 16 };

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], struct bytes text);

#endif
