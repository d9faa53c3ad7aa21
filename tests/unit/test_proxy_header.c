/* proxy_header: versions 1 and 2, cut anywhere; what is not in the specification is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "client/proxy_header.h"

#define BEHIND "GET / HTTP/1.1\r\n"

/* What was made of it: an address, `peer`, `more`, or what is wrong. */
struct sample {
    const char *bytes;
    size_t size;
    const char *due;
};

#define SAMPLE(bytes, due)                                                                         \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, due                                                              \
    }
#define LINE_BAD  "a malformed line of version 1"
#define KIND_BAD  "a version, command, family or protocol that there is not"
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4        "\xCB\x00\x71\x09\x0A\x00\x00\x01\xC0\x00\x00\x50"
#define V6                                                                                         \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x09\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xC0\0\0" \
    "\x50"
#define TLV  "\x04\x00\x02hi" /* PP2_TYPE_NOOP */
#define A36  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define UNIX A36 A36 A36 A36 A36 A36 /* 216 */

static const struct sample SAMPLES[] = {
    /* §2.1 */
    SAMPLE("PROXY TCP4 203.0.113.9 10.0.0.1 49152 80\r\n", "203.0.113.9"),
    SAMPLE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 0 0\r\n", "1.2.3.4"),
    SAMPLE("PROXY TCP6 2001:DB8::9 2001:db8::1 49152 80\r\n", "2001:db8::9"),
    SAMPLE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    SAMPLE("PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n", "203.0.113.9"),
    SAMPLE("PROXY UNKNOWN\r\n", "peer"),
    SAMPLE("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", /* 107 bytes */
           "peer"),
    SAMPLE("PROXY UNKNOWN \x01 anything\r\n", "peer"),
    SAMPLE("PROXY UNKNOWNS\r\n", LINE_BAD),
    SAMPLE("PROXY \r\n", LINE_BAD),
    SAMPLE("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 +2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 ::1 5.6.7.8 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 ::1 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP6 1.2.3.4 ::1 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP6 ::1 1.2.3.4 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", LINE_BAD),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n", LINE_BAD),
    SAMPLE("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535x\r\n",
           "a line of version 1 that is longer than 107 bytes"),
    SAMPLE("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r", "more"),
    /* no header at all */
    SAMPLE("GET / HTTP/1.1\r\n\r\n", "no PROXY header"),
    SAMPLE("POST / HTTP/1.1\r\n\r\n", "no PROXY header"),
    SAMPLE("PROXYTCP4 ", "no PROXY header"),
    SAMPLE("\x16\x03\x01", "no PROXY header"),
    SAMPLE("\r\n\r\nGET", "no PROXY header"),
    SAMPLE("\r\n\r\n\0\r\nQUIT\r", "no PROXY header"),
    /* §2.2 */
    SAMPLE(SIGNATURE "\x21\x11\0\x0C" V4, "203.0.113.9"),
    SAMPLE(SIGNATURE "\x21\x11\0\x11" V4 TLV, "203.0.113.9"),
    SAMPLE(SIGNATURE "\x21\x21\0\x24" V6, "2001:db8::9"),
    SAMPLE(SIGNATURE "\x21\x21\0\x29" V6 TLV, "2001:db8::9"),
    SAMPLE(SIGNATURE "\x21\x12\0\x0C" V4, "peer"), /* UDP */
    SAMPLE(SIGNATURE "\x21\x22\0\x24" V6, "peer"),
    SAMPLE(SIGNATURE "\x21\x31\0\xD8" UNIX, "peer"),
    SAMPLE(SIGNATURE "\x21\x32\0\xDD" UNIX TLV, "peer"),
    SAMPLE(SIGNATURE "\x21\0\0\0", "peer"),
    SAMPLE(SIGNATURE "\x21\0\0\x05" TLV, "peer"),
    SAMPLE(SIGNATURE "\x20\0\0\0", "peer"), /* LOCAL */
    SAMPLE(SIGNATURE "\x20\x11\0\x0C" V4, "peer"),
    SAMPLE(SIGNATURE "\x20\x11\0\x01-", "peer"),
    SAMPLE(SIGNATURE "\x20\xFF\0\x05" TLV, "peer"),
    SAMPLE(SIGNATURE "\x21\x11\0\x0C\xCB\x00\x71", "more"),
    SAMPLE(SIGNATURE "\x21\x11\xFF\xFF" V4, "more"),
    SAMPLE(SIGNATURE "\x22\x11\0\x0C", KIND_BAD), /* command */
    SAMPLE(SIGNATURE "\x11\x11\0\x0C", KIND_BAD), /* version */
    SAMPLE(SIGNATURE "\x31\x11\0\x0C", KIND_BAD),
    SAMPLE(SIGNATURE "\x30\0\0\0", KIND_BAD),
    SAMPLE(SIGNATURE "\x21\x10\0\x0C", KIND_BAD), /* protocol */
    SAMPLE(SIGNATURE "\x21\x01\0\0", KIND_BAD),
    SAMPLE(SIGNATURE "\x21\x13\0\x0C", KIND_BAD),
    SAMPLE(SIGNATURE "\x21\x41\0\x0C", KIND_BAD), /* family */
    SAMPLE(SIGNATURE "\x21\x11\0\x0B", "a length below that of its addresses"),
    SAMPLE(SIGNATURE "\x21\x12\0\x0B", "a length below that of its addresses"),
    SAMPLE(SIGNATURE "\x21\x21\0\x23", "a length below that of its addresses"),
    SAMPLE(SIGNATURE "\x21\x31\0\xD7", "a length below that of its addresses"),
};

/* In pieces; returns what came out. `*rest` is what is left of the last piece and behind it. */
static enum proxy_header_state feed(struct proxy_header *h, struct bytes all, size_t cut,
                                    size_t each, struct bytes *ret_rest)
{
    enum proxy_header_state state = PROXY_HEADER_MORE;
    while (all.size > 0 && state == PROXY_HEADER_MORE) {
        size_t size = cut > 0 ? cut : each;
        struct bytes piece = {all.at, size < all.size ? size : all.size};
        cut = 0;
        size_t before = piece.size;
        state = proxy_header_read(h, &piece);
        assert_true(state == PROXY_HEADER_DONE || state == PROXY_HEADER_BAD || piece.size == 0);
        all.at += before - piece.size;
        all.size -= before - piece.size;
    }
    *ret_rest = all;
    return state;
}

static void assert_outcome(const struct sample *s, struct bytes all, size_t cut, size_t each)
{
    struct proxy_header h = {.size = 0};
    struct bytes rest;
    char text[ADDRESS_TEXT_SIZE];
    enum proxy_header_state state = feed(&h, all, cut, each, &rest);
    const char *came = "peer";
    if (state == PROXY_HEADER_BAD) {
        came = h.fault;
    } else if (state == PROXY_HEADER_MORE) {
        came = "more";
    } else if (h.has_address) {
        address_write(h.address, text);
        came = text;
    }
    if (strcmp(came, s->due) != 0) {
        fail_msg("sample %zu, cut %zu, each %zu: came %s, due %s", (size_t)(s - SAMPLES), cut, each,
                 came, s->due);
    }
    if (state == PROXY_HEADER_DONE) {
        assert_ptr_equal(rest.at, all.at + s->size);
    }
}

enum { SAMPLE_COUNT = sizeof(SAMPLES) / sizeof(SAMPLES[0]) };

static bool ends(const struct sample *s)
{
    return strcmp(s->due, "more") != 0;
}

static void a_header_is_the_same_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        const struct sample *s = &SAMPLES[i];
        size_t size = s->size + (ends(s) ? sizeof(BEHIND) - 1 : 0);
        char *all = malloc(size); /* exactly so large: a step too far is seen */
        memcpy(all, s->bytes, s->size);
        memcpy(all + s->size, BEHIND, size - s->size);
        for (size_t cut = 1; cut <= size; cut++) {
            assert_outcome(s, (struct bytes){all, size}, cut, size);
        }
        assert_outcome(s, (struct bytes){all, size}, 0, 1);
        free(all);
    }
}

static void the_longest_header_is_read_over(void **state)
{
    (void)state;
    size_t size = 16 + UINT16_MAX;
    char *all = calloc(size + 1, 1);
    memcpy(all, SIGNATURE "\x21\x11\xFF\xFF" V4, 28);
    struct sample s = {all, size, "203.0.113.9"};
    assert_outcome(&s, (struct bytes){all, size + 1}, 0, 1);
    assert_outcome(&s, (struct bytes){all, size + 1}, 0, 1000);
    assert_outcome(&s, (struct bytes){all, size + 1}, 0, size + 1);
    free(all);
}

/* A stranger's bytes must not have to come whole before they are refused. */
static void what_cannot_become_a_header_is_refused_at_its_first_byte(void **state)
{
    (void)state;
    static const char begin[] = "PROXY ", binary[] = SIGNATURE;
    for (size_t good = 0; good < sizeof(binary) - 1; good++) {
        struct proxy_header h = {.size = 0};
        struct bytes rest = {binary, good};
        assert_int_equal(proxy_header_read(&h, &rest), PROXY_HEADER_MORE);
        rest = BYTES("x");
        assert_int_equal(proxy_header_read(&h, &rest), PROXY_HEADER_BAD);
    }
    for (size_t good = 1; good < sizeof(begin) - 1; good++) {
        struct proxy_header h = {.size = 0};
        struct bytes rest = {begin, good};
        assert_int_equal(proxy_header_read(&h, &rest), PROXY_HEADER_MORE);
        rest = BYTES("x");
        assert_int_equal(proxy_header_read(&h, &rest), PROXY_HEADER_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_is_the_same_wherever_it_is_cut),
        cmocka_unit_test(the_longest_header_is_read_over),
        cmocka_unit_test(what_cannot_become_a_header_is_refused_at_its_first_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
