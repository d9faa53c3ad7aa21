/* fuzz_target: the one entry that every tests/fuzz/fuzz_X.c defines. libFuzzer or replay_main.c
 * calls it; it must return 0, keep nothing between calls and leave `data` alone. */
#ifndef TESTS_FUZZ_FUZZ_TARGET_H
#define TESTS_FUZZ_FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
