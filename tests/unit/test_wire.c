/* wire: what was encoded decodes to the same, whatever fits; sizes are what they are said to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "gossip/wire/wire.h"
#include "tests/support/wire_equal.h"

static char letters[SEAL_PLAIN_MAX]; /* all 'n' */
static struct wire_packet packet;    /* 9 kB: not for the stack of every test */
static struct wire_packet decoded;
static struct wire_memory *memory;

static int set_up(void **state)
{
    (void)state;
    memset(letters, 'n', sizeof(letters));
    memset(&packet, 0, sizeof(packet));
    memory = wire_memory_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wire_memory_free(memory);
    return 0;
}

static struct bytes text(size_t size)
{
    assert_true(size <= sizeof(letters));
    return (struct bytes){letters, size};
}

static const struct gossip_address ADDRESS = {{0xFD, [15] = 1}, 65535};

/* `packet` with everything that says who sends it as long as it can be. */
static void start_longest(enum wire_type type)
{
    memset(&packet, 0, sizeof(packet));
    packet.type = type;
    packet.name = text(WIRE_NAME_MAX);
    packet.generation = UINT64_MAX;
    packet.incarnation = UINT32_MAX;
    packet.leaving = true;
    packet.advertise = ADDRESS;
}

/* And as short as it can be. */
static void start_shortest(enum wire_type type)
{
    memset(&packet, 0, sizeof(packet));
    packet.type = type;
    packet.name = text(1);
    packet.generation = 1;
}

static size_t check_round_trip(void)
{
    uint8_t plain[SEAL_PLAIN_MAX];
    size_t size = wire_size(&packet);
    assert_true(size <= SEAL_PLAIN_MAX);
    assert_int_equal(wire_encode(&packet, plain), size);
    memset(&decoded, 0xFF, sizeof(decoded));
    assert_true(wire_decode(memory, (struct bytes){(const char *)plain, size}, &decoded));
    assert_true(wire_equal(&packet, &decoded));
    return size;
}

static struct wire_row longest_row(void)
{
    return (struct wire_row){.id = UINT64_MAX,
                             .generation = UINT64_MAX,
                             .incarnation = UINT32_MAX,
                             .state = WIRE_LEFT,
                             .versions = {UINT64_MAX, UINT64_MAX}};
}

static void add_delta(struct wire_delta delta)
{
    delta.first_entry = packet.entry_count;
    packet.deltas[packet.delta_count++] = delta;
}

/* Into the last delta. */
static void add_entry(struct wire_entry entry)
{
    packet.deltas[packet.delta_count - 1].entry_count++;
    packet.entries[packet.entry_count++] = entry;
}

static const struct wire_delta LONGEST_DELTA = {.generation = UINT64_MAX,
                                                .incarnation = UINT32_MAX,
                                                .state = WIRE_LEFT,
                                                .address = {{0xFD}, 65535},
                                                .priority = WIRE_BULK,
                                                .base = UINT64_MAX - 1,
                                                .top = UINT64_MAX};

static void every_type_carries_its_own_fields(void **state)
{
    (void)state;
    char zero[WIRE_DIGEST_SIZE] = {0};
    for (enum wire_type type = WIRE_HELLO; type <= WIRE_CHUNK; type++) {
        start_shortest(type);
        packet.member_count = type == WIRE_SYN ? 1 : 0;
        bool chunk = type == WIRE_CHUNK || type == WIRE_CHUNK_ASK;
        packet.digest = chunk ? (struct bytes){zero, sizeof(zero)} : packet.digest;
        check_round_trip();
        packet.rows[packet.row_count++] = longest_row(); /* rumours go with everything */
        check_round_trip();
    }
}

static void pings_and_their_kin_carry_the_largest_numbers(void **state)
{
    (void)state;
    for (enum wire_type type = WIRE_PING; type <= WIRE_PROXY_ACK; type++) {
        start_longest(type);
        packet.sequence = UINT32_MAX;
        packet.target = type >= WIRE_PING_REQUEST ? UINT64_MAX : 0;
        packet.summary = type >= WIRE_PING_REQUEST ? 0 : UINT64_MAX;
        check_round_trip();
    }
}

static void a_hello_is_padded_up_to_a_whole_packet(void **state)
{
    (void)state;
    start_longest(WIRE_HELLO);
    size_t bare = wire_size(&packet);
    size_t full = 0;
    for (packet.padding = 1; wire_size(&packet) <= SEAL_PLAIN_MAX; packet.padding++) {
        full = check_round_trip();
        assert_true(full > bare + packet.padding);
    }
    assert_int_equal(full, SEAL_PLAIN_MAX);
}

static void padding_stands_behind_everything(void **state)
{
    (void)state;
    uint8_t plain[SEAL_PLAIN_MAX];
    start_longest(WIRE_HELLO);
    packet.rows[packet.row_count++] = longest_row();
    packet.padding = 100;
    size_t size = wire_encode(&packet, plain);
    for (size_t i = size - 100; i < size; i++) {
        assert_int_equal(plain[i], 0);
    }
}

static void a_syn_carries_full_arrays_of_rows_and_buckets(void **state)
{
    (void)state;
    start_longest(WIRE_SYN);
    packet.member_count = UINT32_MAX;
    for (packet.bucket_count = 0; packet.bucket_count < WIRE_BUCKETS_MAX; packet.bucket_count++) {
        packet.buckets[packet.bucket_count] = UINT32_MAX - (uint32_t)packet.bucket_count;
    }
    check_round_trip();
    for (packet.row_count = 0; packet.row_count < WIRE_ROWS_MAX; packet.row_count++) {
        packet.rows[packet.row_count] = (struct wire_row){
            .id = packet.row_count,
            .generation = 1795382687461,
            .state = (enum wire_state)(packet.row_count % 4),
        };
    }
    packet.bucket_count = 0; /* both do not fit at once when ids are real */
    check_round_trip();
}

/* The reason of WIRE_VALUE_MAX. */
static void one_entry_of_the_longest_fits_with_the_longest_names(void **state)
{
    (void)state;
    start_longest(WIRE_SYN_ACK);
    add_delta(LONGEST_DELTA);
    packet.deltas[0].name = text(WIRE_NAME_MAX);
    add_entry((struct wire_entry){text(WIRE_KEY_MAX), UINT64_MAX, false, text(WIRE_VALUE_MAX)});
    assert_true(check_round_trip() > SEAL_PLAIN_MAX - 10); /* and no smaller than it need be */
}

static void the_longest_chunk_fits_with_the_longest_names(void **state)
{
    (void)state;
    start_longest(WIRE_CHUNK);
    packet.digest = text(WIRE_DIGEST_SIZE);
    packet.chunk = text(WIRE_CHUNK_MAX);
    packet.text_size = UINT32_MAX;
    packet.offset = UINT32_MAX - WIRE_CHUNK_MAX;
    check_round_trip();
    packet.type = WIRE_CHUNK_ASK;
    packet.chunk.size = 0;
    packet.text_size = 0;
    check_round_trip();
}

/* The greediest packet for WIRE_MEMORY_MAX: all entries in one delta, everything else tiny. */
static void as_many_tiny_parts_as_fit_decode_within_the_cap(void **state)
{
    (void)state;
    start_shortest(WIRE_SYN_ACK);
    for (size_t i = 0; i < WIRE_ROWS_MAX; i++) {
        packet.rows[packet.row_count++].generation = 1;
    }
    for (size_t i = 0; i < WIRE_DELTAS_MAX; i++) {
        add_delta((struct wire_delta){.name = text(1), .generation = 1, .top = UINT8_MAX});
    }
    for (size_t i = 0; i < WIRE_ENTRIES_MAX; i++) {
        add_entry((struct wire_entry){.key = text(1), .version = i + 1});
    }
    check_round_trip();
    /* Spread over the deltas they take another shape. */
    start_shortest(WIRE_DELTA);
    for (size_t i = 0; i < WIRE_DELTAS_MAX; i++) {
        add_delta((struct wire_delta){.name = text(1), .generation = 1, .top = 2});
        add_entry((struct wire_entry){.key = text(1), .version = 1, .value = text(1)});
        add_entry((struct wire_entry){.key = text(1), .version = 2, .tombstone = true});
    }
    check_round_trip();
}

static void a_delta_without_entries_introduces_its_owner(void **state)
{
    (void)state;
    start_shortest(WIRE_DELTA);
    add_delta((struct wire_delta){.name = text(3), .generation = 9, .address = ADDRESS});
    add_delta((struct wire_delta){.name = text(4), .generation = 9, .base = 5, .top = 8});
    check_round_trip();
}

static void a_decoded_packet_owes_nothing_to_its_input(void **state)
{
    (void)state;
    char plain[SEAL_PLAIN_MAX];
    start_shortest(WIRE_DELTA);
    add_delta((struct wire_delta){.name = text(3), .generation = 9, .top = 1});
    add_entry((struct wire_entry){.key = text(2), .version = 1, .value = text(5)});
    size_t size = wire_encode(&packet, (uint8_t *)plain);
    assert_true(wire_decode(memory, (struct bytes){plain, size}, &decoded));
    memset(plain, 0, sizeof(plain));
    assert_true(wire_equal(&packet, &decoded));
}

/* A number of any size: as many bits as are drawn. */
static uint64_t draw(struct prng *p)
{
    return prng_next(p) >> prng_below(p, 64);
}

static struct gossip_address draw_address(struct prng *p)
{
    struct gossip_address a = {.port = (uint16_t)draw(p)};
    for (size_t i = 0; a.port && i < sizeof(a.ip); i++) {
        a.ip[i] = (uint8_t)draw(p);
    }
    return a;
}

static struct wire_row draw_row(struct prng *p)
{
    return (struct wire_row){.id = prng_next(p),
                             .generation = 1 + draw(p) / 2,
                             .incarnation = (uint32_t)draw(p),
                             .state = (enum wire_state)prng_below(p, 4),
                             .versions = {draw(p), draw(p)}};
}

static struct wire_delta draw_delta(struct prng *p)
{
    return (struct wire_delta){.name = text(1 + prng_below(p, WIRE_NAME_MAX)),
                               .generation = 1 + draw(p) / 2,
                               .incarnation = (uint32_t)draw(p),
                               .state = (enum wire_state)prng_below(p, 4),
                               .address = draw_address(p),
                               .priority = (enum wire_priority)prng_below(p, WIRE_PRIORITIES),
                               .base = draw(p) / 2,
                               .top = UINT64_MAX / 2 + draw(p) / 2};
}

static struct wire_entry draw_entry(struct prng *p, uint64_t above)
{
    bool tombstone = prng_below(p, 4) == 0;
    return (struct wire_entry){.key = text(1 + prng_below(p, WIRE_KEY_MAX)),
                               .version = above + 1,
                               .tombstone = tombstone,
                               .value = text(tombstone ? 0 : prng_below(p, WIRE_VALUE_MAX + 1))};
}

/* As a packet is filled: as long as the bounds say that the next one fits, it does. */
static void a_packet_filled_by_the_bounds_fits_and_decodes(void **state)
{
    (void)state;
    struct prng p;
    prng_init(&p, 11);
    for (int round = 0; round < 3000; round++) {
        start_shortest(WIRE_SYN_ACK);
        packet.name = text(1 + prng_below(&p, WIRE_NAME_MAX));
        packet.advertise = draw_address(&p);
        size_t bound = wire_size(&packet);
        for (uint64_t n = prng_below(&p, 20); n > 0; n--) {
            struct wire_row row = draw_row(&p);
            bound += wire_row_size(&row);
            packet.rows[packet.row_count++] = row;
            assert_in_range(wire_size(&packet), bound - 2 * packet.row_count, bound);
        }
        uint64_t above = 0;
        while (packet.delta_count < WIRE_DELTAS_MAX && packet.entry_count < WIRE_ENTRIES_MAX) {
            bool is_entry = packet.delta_count > 0 && prng_below(&p, 3);
            struct wire_delta delta = draw_delta(&p);
            struct wire_entry entry = draw_entry(&p, above);
            bound += is_entry ? wire_entry_size(&entry) : wire_delta_size(&delta);
            if (bound > SEAL_PLAIN_MAX) {
                break;
            }
            is_entry ? add_entry(entry) : add_delta(delta);
            above = is_entry ? entry.version : delta.base;
            assert_true(wire_size(&packet) <= bound);
        }
        check_round_trip();
    }
}

static void an_address_reads_as_people_write_it(void **state)
{
    (void)state;
    char out[GOSSIP_ADDRESS_TEXT_SIZE];
    struct gossip_address a = {{[10] = 0xFF, 0xFF, 10, 0, 0, 11}, 7946};
    gossip_address_text(&a, out);
    assert_string_equal(out, "10.0.0.11:7946");
    a = (struct gossip_address){{0xFD, [15] = 1}, 1};
    gossip_address_text(&a, out);
    assert_string_equal(out, "[fd00::1]:1");
    memset(&a, 0xFF, sizeof(a));
    gossip_address_text(&a, out);
    assert_string_equal(out, "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    a.port = 0;
    gossip_address_text(&a, out);
    assert_string_equal(out, "");
}

#define CLAIM(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(every_type_carries_its_own_fields),
        CLAIM(pings_and_their_kin_carry_the_largest_numbers),
        CLAIM(a_hello_is_padded_up_to_a_whole_packet),
        CLAIM(padding_stands_behind_everything),
        CLAIM(a_syn_carries_full_arrays_of_rows_and_buckets),
        CLAIM(one_entry_of_the_longest_fits_with_the_longest_names),
        CLAIM(the_longest_chunk_fits_with_the_longest_names),
        CLAIM(as_many_tiny_parts_as_fit_decode_within_the_cap),
        CLAIM(a_delta_without_entries_introduces_its_owner),
        CLAIM(a_decoded_packet_owes_nothing_to_its_input),
        CLAIM(a_packet_filled_by_the_bounds_fits_and_decodes),
        CLAIM(an_address_reads_as_people_write_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
