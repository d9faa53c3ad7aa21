/* fuzz_form_user: the form scanner finds the same however the body is split, and in a body without
 * the name nothing. The input is a Content-Type, a newline, and the body. */
#include "fuzz_target.h"

#include <assert.h>

#include "form_scan.h"

static void check_split(struct bytes type, struct bytes body, size_t first, size_t step)
{
    struct buffer whole = {0}, split = {0};
    bool one = scan_form(type, body, body.size, 1, &whole);
    bool other = scan_form(type, body, first, step, &split);
    assert(one == other && bytes_equal(buffer_bytes(&whole), buffer_bytes(&split)));
    if (one && body.size > 0 && !memmem(body.at, body.size, "user", 4) &&
        !memmem(body.at, body.size, "uid", 3)) {
        /* `\"` and `\\` are the only escapes, so a name is in the body as it is */
        assert(bytes_equal(buffer_bytes(&whole), BYTES("--")));
    }
    buffer_done(&whole);
    buffer_done(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *line = size ? memchr(text, '\n', size) : NULL;
    if (!line) {
        return 0;
    }
    struct bytes type = {text, (size_t)(line - text)};
    struct bytes body = {line + 1, size - type.size - 1};
    size_t middle = body.size ? data[size - 1] % body.size : 0;
    check_split(type, body, 1, 1);
    check_split(type, body, middle, body.size ? body.size : 1);
    check_split(type, body, 5, 11);
    return 0;
}
