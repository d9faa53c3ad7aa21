/* seal: only what a member of the cluster sealed for this session of ours opens, and only once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/prng.h"
#include "gossip/wire/seal.h"

static const uint8_t KEYS[][SEAL_KEY_SIZE] = {{1}, {2}, {3}};
static const struct seal_session ALICE = {{0xA}}, BOB = {{0xB}}, EVE = {{0xE}};

/* C11 does not add const to an array's elements by itself. */
typedef const uint8_t (*keys_t)[SEAL_KEY_SIZE];

struct packet {
    uint8_t at[GOSSIP_PACKET_MAX];
    size_t size;
};

static struct seal *member(const struct seal_session *session)
{
    return seal_new(BYTES("dify"), KEYS, 1, session);
}

static struct packet sealed(struct seal *s, const struct seal_session *to, struct bytes plain)
{
    struct packet p;
    p.size = seal_packet(s, to, plain, p.at);
    assert_int_equal(p.size, plain.size + SEAL_OVERHEAD);
    return p;
}

static struct bytes bytes_in(const struct packet *p)
{
    return (struct bytes){(const char *)p->at, p->size};
}

/* As the core does it: the header first, then the text. */
static enum seal_result receive(struct seal *s, struct seal_peer *peer, const struct packet *p)
{
    struct seal_header head;
    uint8_t plain[SEAL_PLAIN_MAX];
    size_t size;
    enum seal_result result = seal_read_header(s, bytes_in(p), &head);
    if (result != SEAL_OK) {
        return result;
    }
    if (peer && memcmp(&head.from, seal_peer_session(peer), sizeof(head.from)) != 0) {
        peer = NULL; /* a session that nobody knows */
    }
    return seal_open(s, peer, bytes_in(p), plain, &size);
}

static void check_round_trip(struct seal *from, struct seal *to, struct seal_peer *peer, bool hello,
                             struct bytes plain)
{
    struct packet p = sealed(from, hello ? NULL : &BOB, plain);
    struct seal_header head;
    uint8_t opened[SEAL_PLAIN_MAX];
    size_t size;
    assert_int_equal(seal_read_header(to, bytes_in(&p), &head), SEAL_OK);
    assert_memory_equal(&head.from, &ALICE, sizeof(ALICE));
    assert_int_equal(head.hello, hello);
    assert_int_equal(seal_open(to, peer, bytes_in(&p), opened, &size), SEAL_OK);
    assert_int_equal(size, plain.size);
    assert_memory_equal(opened, plain.at, size);
}

static void what_is_sealed_opens_for_its_receiver(void **state)
{
    (void)state;
    static char text[SEAL_PLAIN_MAX];
    memset(text, 'x', sizeof(text));
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    for (int hello = 0; hello < 2; hello++) {
        for (int known = 0; known < 2; known++) {
            struct seal_peer *p = known ? peer : NULL;
            check_round_trip(alice, bob, p, hello, BYTES(""));
            check_round_trip(alice, bob, p, hello, BYTES("text"));
            check_round_trip(alice, bob, p, hello, (struct bytes){text, sizeof(text)});
        }
    }
    seal_peer_free(peer);
    seal_free(alice);
    seal_free(bob);
    seal_peer_free(NULL);
    seal_free(NULL);
}

static void the_text_and_the_key_do_not_show(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE);
    struct packet p = sealed(alice, &BOB, BYTES("a secret text of votes"));
    assert_null(memmem(p.at, p.size, "secret", 6));
    assert_null(memmem(p.at, p.size, KEYS[0], 8));
    seal_free(alice);
}

static void no_packet_opens_with_any_bit_flipped(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    for (int hello = 0; hello < 2; hello++) {
        struct packet p = sealed(alice, hello ? NULL : &BOB, BYTES("text of some length"));
        for (size_t bit = 0; bit < 8 * p.size; bit++) {
            p.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_not_equal(receive(bob, NULL, &p), SEAL_OK);
            assert_int_not_equal(receive(bob, peer, &p), SEAL_OK);
            p.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(receive(bob, peer, &p), SEAL_OK); /* and none of them moved the window */
    }
    seal_peer_free(peer);
    seal_free(alice);
    seal_free(bob);
}

static void no_packet_opens_cut_or_lengthened(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    static char text[SEAL_PLAIN_MAX];
    struct packet p = sealed(alice, &BOB, (struct bytes){text, sizeof(text)});
    struct seal_header head;
    for (p.size = 0; p.size < GOSSIP_PACKET_MAX; p.size++) {
        assert_int_equal(receive(bob, NULL, &p),
                         p.size < SEAL_OVERHEAD ? SEAL_TRUNCATED : SEAL_FORGED);
    }
    char longer[GOSSIP_PACKET_MAX + 1] = {0};
    memcpy(longer, p.at, p.size);
    assert_int_equal(seal_read_header(bob, (struct bytes){longer, sizeof(longer)}, &head),
                     SEAL_TRUNCATED);
    seal_free(alice);
    seal_free(bob);
}

static void a_packet_opens_for_one_session_in_one_cluster_only(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE), *eve = member(&EVE), *bob = member(&BOB);
    struct seal *foreign = seal_new(BYTES("difx"), KEYS, 1, &BOB);
    struct packet to_bob = sealed(alice, &BOB, BYTES("text"));
    struct packet hello = sealed(alice, NULL, BYTES("text"));
    assert_int_equal(receive(eve, NULL, &to_bob), SEAL_FORGED); /* Eve may be Bob restarted */
    assert_int_equal(receive(eve, NULL, &hello), SEAL_OK);
    assert_int_equal(receive(alice, NULL, &to_bob), SEAL_OWN);
    /* Key ids differ between clusters, or do so by chance not: lie about it. */
    struct seal_header head;
    assert_int_equal(seal_read_header(foreign, bytes_in(&to_bob), &head), SEAL_UNKNOWN_KEY);
    struct packet own = sealed(foreign, &EVE, BYTES("text"));
    to_bob.at[2] = hello.at[2] = own.at[2];
    assert_int_equal(receive(foreign, NULL, &to_bob), SEAL_FORGED);
    assert_int_equal(receive(foreign, NULL, &hello), SEAL_FORGED);
    seal_free(alice);
    seal_free(eve);
    seal_free(bob);
    seal_free(foreign);
}

static void a_hello_is_no_packet_of_a_session_and_the_reverse(void **state)
{
    (void)state;
    static const struct seal_session zero;
    struct seal *alice = member(&ALICE), *nobody = member(&zero);
    struct packet hello = sealed(alice, NULL, BYTES("text"));
    struct packet session = sealed(alice, &zero, BYTES("text"));
    uint8_t kind = hello.at[1];
    hello.at[1] = session.at[1];
    session.at[1] = kind;
    /* Even for a receiver whose session is what a HELLO binds to. */
    assert_int_equal(receive(nobody, NULL, &hello), SEAL_FORGED);
    assert_int_equal(receive(nobody, NULL, &session), SEAL_FORGED);
    seal_free(alice);
    seal_free(nobody);
}

static void a_newer_version_an_unknown_kind_and_an_unknown_key_are_told_apart(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    struct seal *other = seal_new(BYTES("dify"), &KEYS[1], 1, &EVE);
    struct packet p = sealed(alice, &BOB, BYTES("text"));
    p.at[0] = SEAL_VERSION + 1;
    assert_int_equal(receive(bob, NULL, &p), SEAL_NEWER);
    p.at[0] = SEAL_VERSION;
    p.at[1] = 7;
    assert_int_equal(receive(bob, NULL, &p), SEAL_NEWER);
    p = sealed(other, &BOB, BYTES("text"));
    assert_int_equal(receive(bob, NULL, &p), SEAL_UNKNOWN_KEY);
    p.at[2] = sealed(alice, &BOB, BYTES("text")).at[2];
    assert_int_equal(receive(bob, NULL, &p), SEAL_FORGED);
    seal_free(alice);
    seal_free(bob);
    seal_free(other);
}

/* `count` packets of Alice to Bob; number i has the counter i + 1. */
static struct packet *series(size_t count)
{
    struct packet *packets = test_calloc(count, sizeof(*packets));
    struct seal *alice = member(&ALICE);
    for (size_t i = 0; i < count; i++) {
        packets[i] = sealed(alice, &BOB, BYTES("text"));
    }
    seal_free(alice);
    return packets;
}

static void the_window_takes_what_is_late_once_and_nothing_behind_its_edge(void **state)
{
    (void)state;
    enum { COUNT = 3 * SEAL_WINDOW + 2 };
    struct packet *p = series(COUNT);
    struct seal *bob = member(&BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    assert_int_equal(receive(bob, peer, &p[SEAL_WINDOW]), SEAL_OK); /* the first seen is no first */
    assert_int_equal(receive(bob, peer, &p[SEAL_WINDOW]), SEAL_REPLAYED);
    assert_int_equal(receive(bob, peer, &p[0]), SEAL_REPLAYED); /* top - counter = SEAL_WINDOW */
    assert_int_equal(receive(bob, peer, &p[1]), SEAL_OK);       /* the window's last place */
    assert_int_equal(receive(bob, peer, &p[1]), SEAL_REPLAYED);
    assert_int_equal(receive(bob, peer, &p[SEAL_WINDOW + 1]), SEAL_OK); /* takes the place of [1] */
    assert_int_equal(receive(bob, peer, &p[1]), SEAL_REPLAYED);
    assert_int_equal(receive(bob, peer, &p[2]), SEAL_OK);
    /* A jump by exactly the window, and by more: nothing old stays marked, nothing new is. */
    assert_int_equal(receive(bob, peer, &p[2 * SEAL_WINDOW + 1]), SEAL_OK);
    assert_int_equal(receive(bob, peer, &p[SEAL_WINDOW + 1]), SEAL_REPLAYED);
    assert_int_equal(receive(bob, peer, &p[SEAL_WINDOW + 2]), SEAL_OK);
    assert_int_equal(receive(bob, peer, &p[COUNT - 1]), SEAL_OK);
    for (size_t i = COUNT - SEAL_WINDOW; i < COUNT - 1; i++) {
        enum seal_result first = i == 2 * SEAL_WINDOW + 1 ? SEAL_REPLAYED : SEAL_OK;
        assert_int_equal(receive(bob, peer, &p[i]), first);
        assert_int_equal(receive(bob, peer, &p[i]), SEAL_REPLAYED);
    }
    seal_peer_free(peer);
    seal_free(bob);
    test_free(p);
}

static void in_any_order_each_packet_of_a_window_opens_exactly_once(void **state)
{
    (void)state;
    enum { COUNT = 6000, ROUNDS = 4 };
    struct packet *p = series(COUNT);
    struct seal *bob = member(&BOB);
    struct prng prng;
    for (uint64_t seed = 0; seed < ROUNDS; seed++) {
        bool opened[COUNT] = {false};
        size_t top = 0;
        struct seal_peer *peer = seal_peer_new(&ALICE);
        prng_init(&prng, seed);
        for (int draw = 0; draw < 2 * COUNT; draw++) {
            /* around a middle that moves on, with jumps of up to 1.5 windows back and some ahead */
            size_t middle = (size_t)draw / 2;
            size_t i = middle + prng_below(&prng, 200) - prng_below(&prng, SEAL_WINDOW * 3 / 2);
            i = i < COUNT ? i : 0;
            bool old = i + SEAL_WINDOW <= top;
            bool expected = !opened[i] && !old;
            assert_int_equal(receive(bob, peer, &p[i]), expected ? SEAL_OK : SEAL_REPLAYED);
            opened[i] = opened[i] || expected;
            top = expected && i > top ? i : top;
        }
        seal_peer_free(peer);
    }
    seal_free(bob);
    test_free(p);
}

static void a_packet_that_started_a_session_cannot_come_again(void **state)
{
    (void)state;
    struct packet *p = series(2);
    struct seal *bob = member(&BOB);
    assert_int_equal(receive(bob, NULL, &p[1]), SEAL_OK);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    seal_peer_accept(peer, bytes_in(&p[1]));
    assert_int_equal(receive(bob, peer, &p[1]), SEAL_REPLAYED);
    assert_int_equal(receive(bob, peer, &p[0]), SEAL_OK); /* it was only late */
    seal_peer_free(peer);
    seal_free(bob);
    test_free(p);
}

static void a_forgery_does_not_move_the_window(void **state)
{
    (void)state;
    struct packet *p = series(2);
    struct seal *bob = member(&BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    struct packet forged = p[1];
    memset(forged.at + 11, 0xFF, 8); /* the highest counter there is */
    assert_int_equal(receive(bob, peer, &forged), SEAL_FORGED);
    assert_int_equal(receive(bob, peer, &p[0]), SEAL_OK);
    assert_int_equal(receive(bob, peer, &p[1]), SEAL_OK);
    seal_peer_free(peer);
    seal_free(bob);
    test_free(p);
}

static void keys_rotate_without_one_packet_refused(void **state)
{
    (void)state;
    const uint8_t both[][SEAL_KEY_SIZE] = {{1}, {2}}, reversed[][SEAL_KEY_SIZE] = {{2}, {1}};
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    struct packet old = sealed(alice, &BOB, BYTES("text")),
                  late = sealed(alice, &BOB, BYTES("text"));
    assert_int_equal(receive(bob, peer, &old), SEAL_OK);
    seal_set_keys(bob, both, 2); /* accept everywhere, one node after the other */
    struct packet p = sealed(alice, &BOB, BYTES("text"));
    assert_int_equal(receive(bob, peer, &p), SEAL_OK);
    seal_set_keys(alice, both, 2);
    seal_set_keys(alice, reversed, 2); /* send */
    p = sealed(alice, &BOB, BYTES("text"));
    assert_int_not_equal(p.at[2], old.at[2]);
    assert_int_equal(receive(bob, peer, &p), SEAL_OK);
    assert_int_equal(receive(bob, peer, &p), SEAL_REPLAYED); /* one window for all keys */
    assert_int_equal(receive(bob, peer, &old), SEAL_REPLAYED);
    seal_set_keys(bob, reversed, 2);
    seal_set_keys(bob, &KEYS[1], 1); /* remove */
    assert_int_equal(receive(bob, peer, &late), SEAL_UNKNOWN_KEY);
    seal_set_keys(alice, &KEYS[1], 1);
    p = sealed(alice, &BOB, BYTES("text"));
    assert_int_equal(receive(bob, peer, &p), SEAL_OK);
    seal_peer_free(peer);
    seal_free(alice);
    seal_free(bob);
}

static void a_peer_outlives_more_rotations_than_it_keeps_keys(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    uint8_t keys[SEAL_KEYS_MAX][SEAL_KEY_SIZE] = {{0}};
    for (size_t round = 0; round < 3 * SEAL_KEYS_MAX; round++) {
        for (size_t i = 0; i < SEAL_KEYS_MAX; i++) {
            keys[i][0] = (uint8_t)(round + i);
        }
        seal_set_keys(alice, (keys_t)keys, SEAL_KEYS_MAX);
        seal_set_keys(bob, (keys_t)keys, SEAL_KEYS_MAX);
        struct packet p = sealed(alice, &BOB, BYTES("text"));
        assert_int_equal(receive(bob, peer, &p), SEAL_OK);
    }
    seal_peer_free(peer);
    seal_free(alice);
    seal_free(bob);
}

static void two_keys_may_share_an_id(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE), *bob = member(&BOB);
    uint8_t keys[2][SEAL_KEY_SIZE] = {{0}, {1}}; /* the second is Alice's */
    uint8_t id = sealed(alice, NULL, BYTES("")).at[2];
    do { /* one of 256 has the same */
        keys[0][1]++;
        keys[0][2] = (uint8_t)(keys[0][2] + (keys[0][1] == 0));
        seal_set_keys(bob, (keys_t)keys, 2);
    } while (sealed(bob, NULL, BYTES("")).at[2] != id);
    struct seal_peer *peer = seal_peer_new(&ALICE);
    struct packet p = sealed(alice, &BOB, BYTES("text"));
    assert_int_equal(receive(bob, NULL, &p), SEAL_OK);
    assert_int_equal(receive(bob, peer, &p), SEAL_OK);
    p = sealed(bob, &ALICE, BYTES("text"));
    assert_int_equal(receive(alice, NULL, &p), SEAL_FORGED); /* Alice knows the id, not the key */
    seal_peer_free(peer);
    seal_free(alice);
    seal_free(bob);
}

static void counters_never_repeat(void **state)
{
    (void)state;
    struct seal *alice = member(&ALICE);
    for (uint64_t i = 1; i <= 3000; i++) {
        if (i % 7 == 0) { /* there and back: the counter of a key goes on where it was */
            seal_set_keys(alice, &KEYS[i % 3], 1);
        }
        struct packet p = sealed(alice, i % 3 ? &BOB : NULL, BYTES("text"));
        uint64_t counter = 0;
        for (int b = 0; b < 8; b++) {
            counter = counter << 8 | p.at[11 + b];
        }
        assert_int_equal(counter, i);
    }
    seal_free(alice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_opens_for_its_receiver),
        cmocka_unit_test(the_text_and_the_key_do_not_show),
        cmocka_unit_test(no_packet_opens_with_any_bit_flipped),
        cmocka_unit_test(no_packet_opens_cut_or_lengthened),
        cmocka_unit_test(a_packet_opens_for_one_session_in_one_cluster_only),
        cmocka_unit_test(a_hello_is_no_packet_of_a_session_and_the_reverse),
        cmocka_unit_test(a_newer_version_an_unknown_kind_and_an_unknown_key_are_told_apart),
        cmocka_unit_test(the_window_takes_what_is_late_once_and_nothing_behind_its_edge),
        cmocka_unit_test(in_any_order_each_packet_of_a_window_opens_exactly_once),
        cmocka_unit_test(a_packet_that_started_a_session_cannot_come_again),
        cmocka_unit_test(a_forgery_does_not_move_the_window),
        cmocka_unit_test(keys_rotate_without_one_packet_refused),
        cmocka_unit_test(a_peer_outlives_more_rotations_than_it_keeps_keys),
        cmocka_unit_test(two_keys_may_share_an_id),
        cmocka_unit_test(counters_never_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
