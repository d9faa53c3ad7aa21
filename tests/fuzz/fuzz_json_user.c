/* fuzz_json_user: on any bytes the scanner agrees with Jansson, however the bytes are split. */
#include "fuzz_target.h"

#include <assert.h>

#include "json_oracle.h"

static void check(const struct oracle *o, const char *data, size_t size, size_t first, size_t step)
{
    struct buffer found = scan_json(data, size, first, step);
    assert(oracle_agrees(o, buffer_bytes(&found)));
    buffer_done(&found);
}

/* The same value from any split, also where Jansson has no opinion. */
static void check_split(const char *data, size_t size, size_t first, size_t step)
{
    struct buffer whole = scan_json(data, size, size, size);
    struct buffer split = scan_json(data, size, first, step);
    assert(bytes_equal(buffer_bytes(&whole), buffer_bytes(&split)));
    buffer_done(&whole);
    buffer_done(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct oracle o = oracle_ask(text, size);
    size_t middle = size ? data[size - 1] % size : 0;
    check(&o, text, size, size, size);
    check_split(text, size, 1, 1);
    check_split(text, size, middle, size);
    check_split(text, size, 3, 7);
    oracle_done(&o);
    return 0;
}
