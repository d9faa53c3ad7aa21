/* forwarded, and the addresses and blocks that it stands on: whose request it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/prng.h"
#include "client/forwarded.h"
#include "tests/support/http_transcript.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct http_limits LIMITS = {
    .header_size = 1 << 20, .headers = 1000, .uri_size = 1024};

/* `10.0.0.0/8`; the bits behind the prefix are 0 as they stand. */
static struct cidr block(const char *text)
{
    const char *slash = strchr(text, '/');
    struct cidr c = {{0}, 0};
    assert_true(address_read((struct bytes){text, (size_t)(slash - text)}, c.address));
    c.prefix = (uint8_t)(strtol(slash + 1, NULL, 10) + (strchr(text, ':') ? 0 : 96));
    return c;
}

static size_t list_of(const char *const *texts, struct cidr *ret_list)
{
    size_t count = 0;
    for (; texts[count]; count++) {
        ret_list[count] = block(texts[count]);
    }
    return cidr_list_sort(ret_list, count);
}

static bool has(const struct cidr *list, size_t count, const char *address)
{
    uint8_t raw[ADDRESS_SIZE];
    assert_true(address_read(bytes_of(address), raw));
    return cidr_list_has(list, count, raw);
}

/* ---- blocks ---- */

static void a_block_has_the_addresses_of_its_family(void **state)
{
    (void)state;
    struct cidr list[8];
    size_t count = list_of((const char *const[]){"::/0", NULL}, list);
    assert_true(has(list, count, "::1") && has(list, count, "2001:db8::9"));
    assert_false(has(list, count, "10.0.0.1") || has(list, count, "::ffff:10.0.0.1"));
    count = list_of((const char *const[]){"0.0.0.0/0", NULL}, list);
    assert_true(has(list, count, "10.0.0.1") && has(list, count, "::ffff:10.0.0.1"));
    assert_false(has(list, count, "::1") || has(list, count, "::"));
    count =
        list_of((const char *const[]){"::/0", "10.0.0.0/8", "::ffff:192.168.0.0/112", NULL}, list);
    assert_int_equal(count, 3);
    assert_true(has(list, count, "10.255.255.255") && has(list, count, "192.168.9.9"));
    assert_false(has(list, count, "11.0.0.0") || has(list, count, "9.255.255.255"));
    assert_false(has(list, 0, "10.0.0.1"));
}

static void covered_blocks_are_left_out(void **state)
{
    (void)state;
    struct cidr list[8];
    assert_int_equal(list_of((const char *const[]){"10.1.0.0/16", "10.0.0.0/8", "10.1.2.3/32",
                                                   "10.0.0.0/8", "11.0.0.0/8", NULL},
                             list),
                     2);
}

static bool holds(const struct cidr *c, const uint8_t address[ADDRESS_SIZE])
{
    for (unsigned bit = 0; bit < c->prefix; bit++) {
        if ((c->address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1) {
            return false;
        }
    }
    return (c->prefix >= 96 && address_is_v4(c->address)) == address_is_v4(address);
}

/* Few bits differ, so blocks nest and meet at their borders. */
static void draw_address(struct prng *prng, uint8_t ret_address[ADDRESS_SIZE])
{
    uint64_t r = prng_next(prng);
    memset(ret_address, 0, ADDRESS_SIZE);
    if (r & 1) {
        memset(ret_address + 10, 0xFF, 2);
    }
    ret_address[0] = r & 2 ? 0x20 : 0;
    ret_address[12] = (uint8_t)(r >> 8 & 3);
    ret_address[15] = (uint8_t)(r >> 16 & 0x83);
}

static void a_sorted_list_says_what_looking_at_each_block_says(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 1);
    for (int round = 0; round < 2000; round++) {
        struct cidr list[12], sorted[12];
        size_t count = prng_next(&prng) % (COUNT(list) + 1);
        for (size_t i = 0; i < count; i++) {
            draw_address(&prng, list[i].address);
            list[i].prefix = (uint8_t)(prng_next(&prng) % 129);
            for (unsigned bit = list[i].prefix; bit < 128; bit++) {
                list[i].address[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
            }
            sorted[i] = list[i];
        }
        size_t left = cidr_list_sort(sorted, count);
        for (int i = 0; i < 50; i++) {
            uint8_t address[ADDRESS_SIZE];
            bool due = false;
            draw_address(&prng, address);
            for (size_t c = 0; c < count; c++) {
                due = due || holds(&list[c], address);
            }
            assert_int_equal(cidr_list_has(sorted, left, address), due);
        }
    }
}

/* ---- one element ---- */

static const char *const ELEMENTS[][2] = {
    {"203.0.113.9", "203.0.113.9"},
    {"203.0.113.9:1", "203.0.113.9"},
    {"203.0.113.9:65535", "203.0.113.9"},
    {"2001:DB8:0::9", "2001:db8::9"},
    {"[2001:db8::9]", "2001:db8::9"},
    {"[2001:db8::9]:443", "2001:db8::9"},
    {"::ffff:203.0.113.9", "203.0.113.9"},
    {"::ffff:cb00:7109", "203.0.113.9"},
    {"[::ffff:203.0.113.9]:80", "203.0.113.9"},
    {"fe80::1%eth0", "fe80::1"},
    {"[fe80::1%25]:80", "fe80::1"},
    {"::", "::"},
    {"", NULL},
    {"unknown", NULL},
    {"_hidden", NULL},
    {"localhost", NULL},
    {"203.0.113", NULL},
    {"203.0.113.9:", NULL},
    {"203.0.113.9:x", NULL},
    {"203.0.113.9:65536", NULL},
    {"203.0.113.9:123456", NULL},
    {"203.0.113.9 x", NULL},
    {"203.0.113.9%eth0", NULL},
    {"0203.0.113.9", NULL},
    {"[203.0.113.9]", NULL},
    {"[203.0.113.9]:80", NULL},
    {"[2001:db8::9", NULL},
    {"[2001:db8::9]80", NULL},
    {"[2001:db8::9]:", NULL},
    {"[]", NULL},
    {"[", NULL},
    {"fe80::1%", NULL},
    {"%eth0", NULL},
    {"\"203.0.113.9\"", NULL},
    {"1:2:3:4:5:6:7:8:9", NULL},
};

static void ports_brackets_and_zones_are_cut_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(ELEMENTS); i++) {
        uint8_t raw[ADDRESS_SIZE];
        char text[ADDRESS_TEXT_SIZE];
        bool is = forwarded_read(bytes_of(ELEMENTS[i][0]), raw);
        if (is != (ELEMENTS[i][1] != NULL)) {
            fail_msg("%s", ELEMENTS[i][0]);
        } else if (is) {
            assert_int_equal(address_write(raw, text), strlen(ELEMENTS[i][1]));
            assert_string_equal(text, ELEMENTS[i][1]);
        }
    }
}

/* ---- the walk ---- */

/* Whom the fields of a request name that has come from 10.0.0.1. */
static void assert_client(const char *fields, const char *due)
{
    static const char *const ours[] = {"10.0.0.0/8", "fd00::/8", NULL};
    struct cidr trusted[2];
    size_t count = list_of(ours, trusted);
    struct buffer text = {0};
    struct transcript t;
    uint8_t raw[ADDRESS_SIZE];
    char client[ADDRESS_TEXT_SIZE];
    buffer_append_text(&text, "GET / HTTP/1.1\r\nHost: h\r\n");
    buffer_append_text(&text, fields);
    buffer_append_text(&text, "\r\n");
    transcript_init(&t, TRANSCRIPT_REQUEST, &LIMITS);
    transcript_feed(&t, text.data, text.size);
    assert_int_equal(t.reader.error, HTTP_ERROR_NONE);
    address_read(BYTES("10.0.0.1"), raw);
    forwarded_walk(&t.head, trusted, count, raw);
    address_write(raw, client);
    assert_string_equal(client, due);
    transcript_done(&t);
    buffer_done(&text);
}

#define XFF "X-Forwarded-For: "

static void the_client_is_the_rightmost_stranger(void **state)
{
    (void)state;
    assert_client("", "10.0.0.1");
    assert_client(XFF "\r\n", "10.0.0.1");
    assert_client(XFF "203.0.113.9\r\n", "203.0.113.9");
    assert_client(XFF "198.51.100.1, 203.0.113.9\r\n", "203.0.113.9");
    assert_client(XFF "198.51.100.1, 203.0.113.9:55, 10.0.0.2, [fd00::2]:80\r\n", "203.0.113.9");
    assert_client(XFF "2001:db8::9,10.0.0.2\r\n", "2001:db8::9");
    assert_client(XFF "203.0.113.9, ::ffff:10.0.0.2\r\n", "203.0.113.9");
}

static void where_all_are_trusted_it_is_the_leftmost(void **state)
{
    (void)state;
    assert_client(XFF "10.0.0.3\r\n", "10.0.0.3");
    assert_client(XFF "10.0.0.4, 10.0.0.3:1, fd00::3\r\n", "10.0.0.4");
}

static void what_is_no_address_ends_the_walk(void **state)
{
    (void)state;
    assert_client(XFF "unknown\r\n", "10.0.0.1");
    assert_client(XFF "203.0.113.9, unknown\r\n", "10.0.0.1");
    assert_client(XFF "203.0.113.9, unknown, 10.0.0.2\r\n", "10.0.0.2");
    assert_client(XFF "203.0.113.9 10.0.0.2\r\n", "10.0.0.1");
    assert_client(XFF "203.0.113.9, 198.51.100.1:port\r\n", "10.0.0.1");
    assert_client(XFF "203.0.113.9, ,, 10.0.0.2 , \t\r\n", "203.0.113.9");
}

static void all_fields_are_one_list(void **state)
{
    (void)state;
    assert_client(XFF "203.0.113.9\r\nA: b\r\nx-forwarded-for: 10.0.0.2\r\n", "203.0.113.9");
    assert_client(XFF "203.0.113.9\r\n" XFF "198.51.100.1\r\n", "198.51.100.1");
    assert_client(XFF "203.0.113.9\r\n" XFF "\r\n" XFF "10.0.0.3, 10.0.0.2\r\n", "203.0.113.9");
    assert_client(XFF "203.0.113.9\r\n" XFF "unknown\r\n" XFF "10.0.0.2\r\n", "10.0.0.2");
    assert_client("X_Forwarded_For: 203.0.113.9\r\nForwarded: for=203.0.113.9\r\n", "10.0.0.1");
}

/* A megabyte of hops is walked once. */
static void a_very_long_list_is_walked_to_its_end(void **state)
{
    (void)state;
    struct buffer fields = {0};
    buffer_append_text(&fields, XFF "203.0.113.9");
    for (int i = 0; i < 90000; i++) {
        buffer_append_text(&fields, ",10.0.0.2");
    }
    buffer_append_text(&fields, "\r\n");
    buffer_append(&fields, "", 1);
    assert_client(fields.data, "203.0.113.9");
    buffer_done(&fields);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_has_the_addresses_of_its_family),
        cmocka_unit_test(covered_blocks_are_left_out),
        cmocka_unit_test(a_sorted_list_says_what_looking_at_each_block_says),
        cmocka_unit_test(ports_brackets_and_zones_are_cut_off),
        cmocka_unit_test(the_client_is_the_rightmost_stranger),
        cmocka_unit_test(where_all_are_trusted_it_is_the_leftmost),
        cmocka_unit_test(what_is_no_address_ends_the_walk),
        cmocka_unit_test(all_fields_are_one_list),
        cmocka_unit_test(a_very_long_list_is_walked_to_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
