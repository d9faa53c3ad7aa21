/* fuzz_json_user: on any bytes the scanner agrees with the oracle, however the bytes are split, and
 * also where ids are looked for in the same pass, which are the same, too. */
#include "fuzz_target.h"

#include <assert.h>

#include "json_oracle.h"

enum { NAME_COUNT = 3 };
static const struct json_id_name names[NAME_COUNT] = {
    {{"user", 4}, false}, {{"id", 2}, false}, {{"id", 2}, true}};

static void check(const struct oracle *o, const char *data, size_t size, size_t first, size_t step)
{
    struct json_ids by_byte, ids;
    json_ids_init(&by_byte, names, NAME_COUNT);
    json_ids_init(&ids, names, NAME_COUNT);
    struct buffer alone = scan_json(data, size, first, step);
    struct buffer found = scan_json_for(data, size, first, step, &ids);
    struct buffer slow = scan_json_for(data, size, 1, 1, &by_byte);
    assert(oracle_agrees(o, buffer_bytes(&alone)));
    assert(bytes_equal(buffer_bytes(&alone), buffer_bytes(&found)));
    for (uint32_t i = 0; slow.size > 0 && i < NAME_COUNT; i++) {
        assert(bytes_equal(json_ids_value(&by_byte, i), json_ids_value(&ids, i)));
    }
    buffer_done(&slow);
    buffer_done(&found);
    buffer_done(&alone);
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
