/* fuzz_json_user: on any bytes the scanner agrees with the oracle, however the bytes are split. */
#include "fuzz_target.h"

#include <assert.h>

#include "json_oracle.h"

static void check(const struct oracle *o, const char *data, size_t size, size_t first, size_t step)
{
    struct buffer found = scan_json(data, size, first, step);
    assert(oracle_agrees(o, buffer_bytes(&found)));
    buffer_done(&found);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct oracle o = oracle_ask(text, size);
    size_t middle = size ? data[size - 1] % size : 0;
    check(&o, text, size, size, size);
    check(&o, text, size, 1, 1);
    check(&o, text, size, middle, size);
    check(&o, text, size, 3, 7);
    oracle_done(&o);
    return 0;
}
