/* wire: what does not hold is refused as a whole. Each case is a packet that decodes, built with
 * protobuf-c itself, with one thing in it made wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "gossip/wire/wire.h"
#include "proto/gossip.pb-c.h"
#include "tests/support/wire_equal.h"

enum { RAW_MAX = 8192 }; /* more than a packet holds, to be refused */

static uint8_t zeros[RAW_MAX];
static uint8_t letters[RAW_MAX]; /* all 'n' */
static uint8_t raw[RAW_MAX];
static size_t raw_size;
static struct wire_memory *memory;
static struct wire_packet decoded;

/* A message with something in every place, and the parts it points to. */
static Gossip__Packet m;
static Gossip__Row row, *row_at[WIRE_ROWS_MAX + 1];
static Gossip__Delta delta, *delta_at[WIRE_DELTAS_MAX + 1];
static Gossip__Entry first, second, *entry_at[WIRE_ENTRIES_MAX + 1];
static uint32_t buckets[WIRE_BUCKETS_MAX + 1];

static ProtobufCBinaryData data(uint8_t *at, size_t size)
{
    return (ProtobufCBinaryData){size, at};
}

static void make_deltas(void)
{
    gossip__entry__init(&first);
    first.key = data(letters, 3);
    first.version = 6;
    first.value = data(letters, 10);
    second = first;
    second.version = 8;
    gossip__delta__init(&delta);
    delta.name = data(letters, 5);
    delta.generation = 1;
    delta.address = data(letters, GOSSIP_ADDRESS_SIZE);
    delta.since = 5;
    delta.top = 8;
    entry_at[0] = &first;
    entry_at[1] = &second;
    delta.entries = entry_at;
    delta.n_entries = 2;
    for (size_t i = 0; i <= WIRE_DELTAS_MAX; i++) {
        delta_at[i] = &delta;
    }
    m.deltas = delta_at;
    m.n_deltas = 1;
}

/* `m` as a packet of `type` that is fine. */
static void make(enum wire_type type)
{
    gossip__packet__init(&m);
    m.type = (Gossip__Type)type;
    m.name = data(letters, 6);
    m.generation = 7;
    m.advertise = data(letters, GOSSIP_ADDRESS_SIZE);
    gossip__row__init(&row);
    row.generation = 1;
    for (size_t i = 0; i <= WIRE_ROWS_MAX; i++) {
        row_at[i] = &row;
    }
    m.rows = row_at;
    m.n_rows = 1;
    if (type == WIRE_SYN) {
        m.member_count = 1;
        m.buckets = buckets;
        m.n_buckets = 1;
    }
    if (type == WIRE_SYN_ACK || type == WIRE_DELTA) {
        make_deltas();
    }
    if (type == WIRE_CHUNK_ASK || type == WIRE_CHUNK) {
        m.digest = data(letters, WIRE_DIGEST_SIZE);
        m.offset = 3;
    }
    if (type == WIRE_CHUNK) {
        m.chunk = data(letters, 4);
        m.text_size = 7;
    }
    if (type == WIRE_HELLO) {
        m.padding = data(zeros, 10);
    }
}

static bool decodes(void)
{
    assert_true(gossip__packet__get_packed_size(&m) <= RAW_MAX);
    raw_size = gossip__packet__pack(&m, raw);
    return wire_decode(memory, (struct bytes){(const char *)raw, raw_size}, &decoded);
}

static int set_up(void **state)
{
    (void)state;
    memset(letters, 'n', sizeof(letters));
    memory = wire_memory_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wire_memory_free(memory);
    return 0;
}

/* The packet is fine, with `field` = `bad` it is refused, and with `good` it is fine again. */
#define CHECK_FIELD(field, bad, good)                                                              \
    do {                                                                                           \
        assert_true(decodes());                                                                    \
        __typeof__(field) kept = (field);                                                          \
        (field) = bad;                                                                             \
        assert_false(decodes());                                                                   \
        (field) = good;                                                                            \
        assert_true(decodes());                                                                    \
        (field) = kept;                                                                            \
    } while (0)

#define CHECK_SIZE(field, bad, good)                                                               \
    CHECK_FIELD(field, data((field).data, bad), data((field).data, good))

static void the_untouched_packets_decode(void **state)
{
    (void)state;
    for (enum wire_type type = WIRE_HELLO; type <= WIRE_CHUNK; type++) {
        make(type);
        assert_true(decodes());
        assert_int_equal(decoded.type, type);
    }
}

static void a_type_that_is_none_is_refused(void **state)
{
    (void)state;
    make(WIRE_PING);
    CHECK_FIELD(m.type, (Gossip__Type)0, GOSSIP__TYPE__ACK);
    CHECK_FIELD(m.type, (Gossip__Type)(WIRE_CHUNK + 1), GOSSIP__TYPE__ACK);
    CHECK_FIELD(m.type, (Gossip__Type)-1, GOSSIP__TYPE__ACK);
    CHECK_FIELD(m.type, (Gossip__Type)INT32_MIN, GOSSIP__TYPE__ACK);
}

static void a_sender_without_name_or_generation_is_refused(void **state)
{
    (void)state;
    make(WIRE_PING);
    CHECK_SIZE(m.name, 0, 1);
    CHECK_SIZE(m.name, WIRE_NAME_MAX + 1, WIRE_NAME_MAX);
    CHECK_FIELD(m.generation, 0, UINT64_MAX);
    uint8_t name[] = "node-a";
    m.name = data(name, 6);
    for (int c = 0; c < 256; c++) {
        bool fine = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    c == '.' || c == '_' || c == '-';
        name[3] = (uint8_t)c;
        assert_int_equal(decodes(), fine);
    }
}

static void an_address_of_a_wrong_size_or_without_port_is_refused(void **state)
{
    (void)state;
    make(WIRE_DELTA);
    for (size_t size = 1; size < 40; size++) {
        if (size != GOSSIP_ADDRESS_SIZE) {
            CHECK_SIZE(m.advertise, size, 0);
            CHECK_SIZE(delta.address, size, 0);
        }
    }
    CHECK_FIELD(m.advertise, data(zeros, GOSSIP_ADDRESS_SIZE), data(letters, GOSSIP_ADDRESS_SIZE));
    CHECK_FIELD(delta.address, data(zeros, GOSSIP_ADDRESS_SIZE),
                data(letters, GOSSIP_ADDRESS_SIZE));
}

static void a_bad_row_is_refused(void **state)
{
    (void)state;
    make(WIRE_PING);
    CHECK_FIELD(row.state, (Gossip__State)(WIRE_LEFT + 1), GOSSIP__STATE__LEFT);
    CHECK_FIELD(row.state, (Gossip__State)-1, GOSSIP__STATE__DEAD);
    CHECK_FIELD(m.n_rows, WIRE_ROWS_MAX + 1, WIRE_ROWS_MAX);
    row.generation = 0; /* a question, and fine */
    assert_true(decodes());
}

static void a_bad_delta_is_refused(void **state)
{
    (void)state;
    make(WIRE_SYN_ACK);
    CHECK_SIZE(delta.name, 0, 1);
    CHECK_SIZE(delta.name, WIRE_NAME_MAX + 1, WIRE_NAME_MAX);
    CHECK_FIELD(delta.name, data(zeros, 2), data(letters, 2));
    CHECK_FIELD(delta.generation, 0, 2);
    CHECK_FIELD(delta.state, (Gossip__State)4, GOSSIP__STATE__SUSPECT);
    CHECK_FIELD(delta.priority, (Gossip__Priority)WIRE_PRIORITIES, GOSSIP__PRIORITY__BULK);
    CHECK_FIELD(delta.priority, (Gossip__Priority)-1, GOSSIP__PRIORITY__BULK);
    delta.n_entries = 0; /* so that as many fit */
    delta.address.len = 0;
    CHECK_FIELD(m.n_deltas, WIRE_DELTAS_MAX + 1, WIRE_DELTAS_MAX);
    CHECK_FIELD(delta.since, 9, 8);
}

static void versions_out_of_order_are_refused(void **state)
{
    (void)state;
    make(WIRE_SYN_ACK);
    CHECK_FIELD(delta.since, 6, 0);
    CHECK_FIELD(delta.top, 7, UINT64_MAX);
    CHECK_FIELD(first.version, 5, 7);
    CHECK_FIELD(first.version, 8, 6);
    CHECK_FIELD(second.version, 6, 7);
    CHECK_FIELD(second.version, 9, 8);
    CHECK_FIELD(second.version, 0, 8);
}

static void a_bad_entry_is_refused(void **state)
{
    (void)state;
    make(WIRE_SYN_ACK);
    CHECK_SIZE(first.key, 0, 1);
    CHECK_SIZE(first.key, WIRE_KEY_MAX + 1, WIRE_KEY_MAX);
    CHECK_SIZE(first.value, WIRE_VALUE_MAX + 1, WIRE_VALUE_MAX);
    CHECK_FIELD(first.tombstone, 1, 0); /* there is a value */
    first.value.len = 0;
    first.tombstone = 1;
    assert_true(decodes());
    first.tombstone = 0;
    uint8_t key[] = "key";
    first.key = data(key, 3);
    for (int c = 0; c < 256; c++) {
        key[1] = (uint8_t)c;
        assert_int_equal(decodes(), c > ' ' && c < 0x7F);
    }
}

static void too_many_entries_are_refused_also_over_several_deltas(void **state)
{
    (void)state;
    static Gossip__Entry entries[WIRE_ENTRIES_MAX + 1];
    make(WIRE_DELTA);
    delta.since = 0;
    delta.top = UINT8_MAX;
    for (size_t i = 0; i <= WIRE_ENTRIES_MAX; i++) {
        gossip__entry__init(&entries[i]);
        entries[i].key = data(letters, 1);
        entries[i].version = i + 1;
        entry_at[i] = &entries[i];
    }
    delta.n_entries = WIRE_ENTRIES_MAX;
    CHECK_FIELD(delta.n_entries, WIRE_ENTRIES_MAX + 1, 0);
    Gossip__Delta other = delta;
    other.n_entries = 1;
    delta_at[1] = &other;
    CHECK_FIELD(m.n_deltas, 2, 1);
    delta.n_entries--;
    m.n_deltas = 2;
    assert_true(decodes());
}

static void a_bad_digest_or_chunk_is_refused(void **state)
{
    (void)state;
    make(WIRE_CHUNK_ASK);
    CHECK_SIZE(m.digest, 0, WIRE_DIGEST_SIZE);
    CHECK_SIZE(m.digest, WIRE_DIGEST_SIZE - 1, WIRE_DIGEST_SIZE);
    make(WIRE_CHUNK);
    CHECK_SIZE(m.digest, WIRE_DIGEST_SIZE + 1, WIRE_DIGEST_SIZE);
    CHECK_FIELD(m.text_size, 6, 7);
    CHECK_FIELD(m.offset, 4, 0);
    CHECK_FIELD(m.offset, UINT32_MAX, 3); /* offset + size is no 32-bit sum */
    m.text_size = UINT32_MAX;
    CHECK_SIZE(m.chunk, WIRE_CHUNK_MAX + 1, WIRE_CHUNK_MAX);
}

static void padding_that_is_not_zero_is_refused(void **state)
{
    (void)state;
    make(WIRE_HELLO);
    CHECK_FIELD(m.padding, data(letters, 1), data(zeros, 1));
}

static void a_syn_counts_at_least_its_sender(void **state)
{
    (void)state;
    make(WIRE_SYN);
    CHECK_FIELD(m.member_count, 0, UINT32_MAX);
    CHECK_FIELD(m.n_buckets, WIRE_BUCKETS_MAX + 1, WIRE_BUCKETS_MAX);
}

/* The fields of a type are refused with every type that does not have them. */
static void a_field_of_another_type_is_refused(void **state)
{
    (void)state;
    for (enum wire_type type = WIRE_HELLO; type <= WIRE_CHUNK; type++) {
        bool ping = type >= WIRE_PING && type <= WIRE_PROXY_ACK;
        bool proxy = type == WIRE_PING_REQUEST || type == WIRE_PROXY_ACK;
        bool deltas = type == WIRE_SYN_ACK || type == WIRE_DELTA;
        make(type), m.sequence = 1, assert_int_equal(decodes(), ping);
        make(type), m.target = 1, assert_int_equal(decodes(), proxy);
        make(type), m.summary = 1, assert_int_equal(decodes(), ping && !proxy);
        make(type), m.member_count = 2, assert_int_equal(decodes(), type == WIRE_SYN);
        make(type), m.buckets = buckets, m.n_buckets = 1;
        assert_int_equal(decodes(), type == WIRE_SYN);
        make(type), make_deltas(), assert_int_equal(decodes(), deltas);
        make(type), m.text_size = 99, assert_int_equal(decodes(), type == WIRE_CHUNK);
        make(type), m.padding = data(zeros, 1),
                    assert_int_equal(decodes(), type == WIRE_HELLO || type == WIRE_WELCOME);
        if (type < WIRE_CHUNK_ASK) {
            make(type), m.digest = data(letters, WIRE_DIGEST_SIZE), assert_false(decodes());
            make(type), m.offset = 1, assert_false(decodes());
            make(type), m.chunk = data(letters, 1), assert_false(decodes());
        }
    }
    make(WIRE_CHUNK_ASK), m.chunk = data(letters, 1), assert_false(decodes());
}

static bool decodes_with(const char *tail, size_t tail_size)
{
    memcpy(raw + raw_size, tail, tail_size);
    return wire_decode(memory, (struct bytes){(const char *)raw, raw_size + tail_size}, &decoded);
}

#define DECODES_WITH(literal) decodes_with(literal, sizeof(literal) - 1)

static void fields_of_a_newer_version_are_ignored(void **state)
{
    (void)state;
    make(WIRE_PING);
    m.sequence = 5;
    assert_true(decodes());
    assert_true(DECODES_WITH("\xC0\x3E\x07"));                     /* 1000: a varint */
    assert_true(DECODES_WITH("\xC2\x3E\x03new"));                  /* 1000: bytes */
    assert_true(DECODES_WITH("\xC1\x3E\1\2\3\4\5\6\7\x08"));       /* 1000: fixed64 */
    assert_true(DECODES_WITH("\xC5\x3E\1\2\3\4\xC5\x3E\1\2\3\4")); /* 1000: fixed32, twice */
    assert_int_equal(decoded.sequence, 5);
    assert_int_equal(decoded.row_count, 1);
}

static void what_is_no_protobuf_is_refused(void **state)
{
    (void)state;
    make(WIRE_PING);
    assert_true(decodes());
    assert_false(DECODES_WITH("\x08"));      /* a tag and nothing */
    assert_false(DECODES_WITH("\x3A"));      /* sequence as bytes, without a length */
    assert_false(DECODES_WITH("\x3A\x01x")); /* sequence as bytes */
    assert_false(DECODES_WITH("\x50\x01"));  /* a row as a varint */
    assert_false(DECODES_WITH("\x52\x7Fx")); /* a row longer than the packet */
    assert_false(DECODES_WITH("\x52\xFF\xFF\xFF\xFF\x0Fx")); /* by four gigabytes */
    assert_false(DECODES_WITH("\x52\x02\x0A\x01"));          /* a row that ends within its field */
    assert_false(DECODES_WITH("\x00\x01"));                  /* field 0 */
    assert_false(DECODES_WITH("\x38\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF")); /* endless */
    assert_false(DECODES_WITH("\xC3\x3E\xC4\x3E")); /* a group, which proto3 has not */
    assert_false(DECODES_WITH("\xC7\x3E"));         /* wire type 7 */
    assert_false(wire_decode(memory, (struct bytes){NULL, 0}, &decoded));
}

/* Two bytes a field, and protobuf-c keeps some sixty for each. */
static void what_needs_more_memory_than_the_cap_is_refused(void **state)
{
    (void)state;
    make(WIRE_PING);
    m.n_rows = 0;
    assert_true(decodes());
    /* One row: its generation, and then only a field that nobody knows. */
    size_t rest = (SEAL_PLAIN_MAX - raw_size - 3) / 2 * 2;
    uint8_t head[] = {0x52, (uint8_t)(0x80 | (rest & 0x7F)), (uint8_t)(rest >> 7), 0x10, 0x01};
    memcpy(raw + raw_size, head, sizeof(head));
    for (size_t at = raw_size + sizeof(head); at + 2 <= SEAL_PLAIN_MAX; at += 2) {
        memcpy(raw + at, "\x78\x01", 2);
    }
    raw_size += 3 + rest;
    assert_false(decodes_with("", 0));
    assert_true(decodes()); /* the memory is none the worse for it */
}

static void what_is_longer_than_a_packet_is_refused(void **state)
{
    (void)state;
    make(WIRE_HELLO);
    m.padding.len = SEAL_PLAIN_MAX;
    assert_false(decodes());
    m.padding.len -= raw_size - SEAL_PLAIN_MAX;
    assert_true(decodes());
    assert_int_equal(raw_size, SEAL_PLAIN_MAX);
}

/* Cut or damaged anywhere it is refused or means something else, which encodes and means the same
 * again: it never does harm. */
static void a_damaged_packet_is_refused_or_holds(void **state)
{
    (void)state;
    static struct wire_packet again;
    struct prng prng;
    struct wire_memory *other = wire_memory_new();
    prng_init(&prng, 5);
    size_t held = 0;
    for (int round = 0; round < 40000; round++) {
        make((enum wire_type)(1 + round % WIRE_CHUNK));
        assert_true(decodes());
        for (uint64_t n = prng_below(&prng, 4); n > 0; n--) {
            raw[prng_below(&prng, raw_size)] = (uint8_t)prng_next(&prng);
        }
        raw_size -= prng_below(&prng, 3) ? 0 : prng_below(&prng, raw_size);
        if (decodes_with("", 0)) {
            uint8_t plain[SEAL_PLAIN_MAX];
            size_t size = wire_encode(&decoded, plain);
            assert_true(wire_decode(other, (struct bytes){(const char *)plain, size}, &again));
            assert_true(wire_equal(&decoded, &again));
            held++;
        }
    }
    assert_in_range(held, 1000, 39000);
    wire_memory_free(other);
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(the_untouched_packets_decode),
        CLAIM(a_type_that_is_none_is_refused),
        CLAIM(a_sender_without_name_or_generation_is_refused),
        CLAIM(an_address_of_a_wrong_size_or_without_port_is_refused),
        CLAIM(a_bad_row_is_refused),
        CLAIM(a_bad_delta_is_refused),
        CLAIM(versions_out_of_order_are_refused),
        CLAIM(a_bad_entry_is_refused),
        CLAIM(too_many_entries_are_refused_also_over_several_deltas),
        CLAIM(a_bad_digest_or_chunk_is_refused),
        CLAIM(padding_that_is_not_zero_is_refused),
        CLAIM(a_syn_counts_at_least_its_sender),
        CLAIM(a_field_of_another_type_is_refused),
        CLAIM(fields_of_a_newer_version_are_ignored),
        CLAIM(what_is_no_protobuf_is_refused),
        CLAIM(what_needs_more_memory_than_the_cap_is_refused),
        CLAIM(what_is_longer_than_a_packet_is_refused),
        CLAIM(a_damaged_packet_is_refused_or_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
