/* ring: the expected values were computed apart from this code, with Python's hashlib. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "route/ring.h"

enum { USERS = 10000 };

static const struct ring_member members[] = {
    {{"dify1", 5}, 1}, {{"dify2", 5}, 1}, {{"dify3", 5}, 2}};

static struct sha256 *sha;
static struct ring *ring;

static int set_up(void **state)
{
    (void)state;
    sha = sha256_new();
    ring = ring_new(sha, members, 3, 160);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ring_unref(ring);
    sha256_free(sha);
    return 0;
}

/* A set of members that are down, and how often each was asked for. */
struct down {
    uint64_t bits;
    int asked[RING_MEMBERS_MAX];
};

static bool is_up(void *arg, size_t member)
{
    struct down *d = arg;
    d->asked[member]++;
    return !(d->bits >> member & 1);
}

static uint64_t key_of(int user)
{
    char name[32];
    snprintf(name, sizeof(name), "user-%d", user);
    return ring_key(sha, BYTES("customer_service"), bytes_of(name));
}

static void points_and_keys_are_those_of_the_contract(void **state)
{
    (void)state;
    const struct ring_point *points = ring_points(ring);
    assert_int_equal(ring_point_count(ring), 640);
    assert_int_equal(ring_member_count(ring), 3);
    assert_true(points[0].value == 0x001419c3dcecba51 && points[0].member == 2);
    assert_true(points[639].value == 0xff0c2f08bb26d75a && points[639].member == 2);
    struct bytes app = BYTES("customer_service");
    assert_true(ring_key(sha, app, BYTES("alice")) == 0x5076bb675400cc8f);
    assert_true(ring_key(sha, app, BYTES("\xe5\xbc\xa0\xe4\xb8\x89")) == 0x2c4ab8b58fce7a26);
    assert_true(ring_key(sha, app, BYTES("a:b")) == 0x71db22d1d257e875);
}

static void ten_thousand_users_land_where_python_puts_them(void **state)
{
    (void)state;
    int counts[3] = {0};
    uint32_t sum = 0;
    for (int i = 0; i < USERS; i++) {
        int member = ring_lookup(ring, key_of(i), NULL, NULL);
        counts[member]++;
        sum = sum * 31 + (uint32_t)member + 1;
    }
    assert_int_equal(counts[0], 2258);
    assert_int_equal(counts[1], 2476);
    assert_int_equal(counts[2], 5266);
    assert_int_equal(sum, 2665131108u);
}

static void an_instance_that_leaves_moves_nobody_elses_users(void **state)
{
    (void)state;
    int counts[3] = {0};
    for (int i = 0; i < USERS; i++) {
        struct down d = {.bits = 1 << 2};
        int before = ring_lookup(ring, key_of(i), NULL, NULL);
        int after = ring_lookup(ring, key_of(i), is_up, &d);
        assert_true(after == before || before == 2);
        counts[after]++;
    }
    assert_int_equal(counts[0], 4810);
    assert_int_equal(counts[1], 5190);
    assert_int_equal(counts[2], 0);
}

static void an_ineligible_instance_is_as_good_as_absent(void **state)
{
    (void)state;
    struct ring *smaller = ring_new(sha, members, 2, 160);
    for (int i = 0; i < USERS; i++) {
        struct down d = {.bits = 1 << 2};
        assert_int_equal(ring_lookup(ring, key_of(i), is_up, &d),
                         ring_lookup(smaller, key_of(i), NULL, NULL));
    }
    ring_unref(smaller);
}

static void a_key_belongs_to_the_first_point_at_or_after_it(void **state)
{
    (void)state;
    const struct ring_point *p = ring_points(ring);
    for (size_t i = 0; i + 1 < ring_point_count(ring); i++) {
        assert_true(p[i].value <= p[i + 1].value);
        assert_int_equal(ring_lookup(ring, p[i].value, NULL, NULL), p[i].member);
        assert_int_equal(ring_lookup(ring, p[i].value + 1, NULL, NULL), p[i + 1].member);
    }
    assert_int_equal(ring_lookup(ring, UINT64_MAX, NULL, NULL), p[0].member);
    assert_int_equal(ring_lookup(ring, 0, NULL, NULL), p[0].member);
}

static void the_order_of_the_instances_does_not_matter(void **state)
{
    (void)state;
    const struct ring_member turned[] = {members[2], members[0], members[1]};
    static const int back[] = {2, 0, 1};
    struct ring *other = ring_new(sha, turned, 3, 160);
    for (int i = 0; i < USERS; i++) {
        int member = ring_lookup(other, key_of(i), NULL, NULL);
        assert_int_equal(back[member], ring_lookup(ring, key_of(i), NULL, NULL));
    }
    ring_unref(other);
}

static void a_ring_knows_what_it_was_built_of(void **state)
{
    (void)state;
    struct ring_member of[] = {{BYTES("a"), 1}, {BYTES("b"), 2}, {BYTES("c"), 1}};
    struct sha256 *hash = sha256_new();
    struct ring *r = ring_new(hash, of, 3, 16);
    assert_true(ring_is_of(r, of, 3, 16));
    assert_false(ring_is_of(r, of, 2, 16));
    assert_false(ring_is_of(r, of, 3, 17));
    of[1].weight = 1;
    assert_false(ring_is_of(r, of, 3, 16));
    of[1] = (struct ring_member){BYTES("d"), 2};
    assert_false(ring_is_of(r, of, 3, 16));
    ring_unref(ring_ref(r));
    assert_true(ring_lookup(r, 0, NULL, NULL) >= 0);
    ring_unref(r);
    sha256_free(hash);
}

static void each_instance_is_asked_for_once(void **state)
{
    (void)state;
    struct down d = {.bits = 7};
    assert_int_equal(ring_lookup(ring, 12345, is_up, &d), -1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(d.asked[i], 1);
    }
}

static void an_empty_ring_has_nobody(void **state)
{
    (void)state;
    struct ring *empty = ring_new(sha, NULL, 0, 160);
    struct buffer b = {0};
    assert_int_equal(ring_lookup(empty, 1, NULL, NULL), -1);
    ring_shares(empty, NULL, NULL, NULL);
    ring_digest_app(empty, BYTES("a"), NULL, NULL, &b);
    assert_true(bytes_equal(buffer_bytes(&b), BYTES("a\n")));
    buffer_done(&b);
    ring_unref(empty);
}

static void assert_near(double a, double b)
{
    assert_true(a - b < 1e-15 && b - a < 1e-15);
}

static void shares_are_exact_and_add_up_to_one(void **state)
{
    (void)state;
    double shares[3];
    struct down d = {.bits = 1 << 1};
    assert_near(ring_share(ring, 0), 0.2312044470062359);
    assert_near(ring_share(ring, 1), 0.24917389835583162);
    assert_near(ring_share(ring, 2), 0.5196216546379325);
    assert_near(ring_share(ring, 0) + ring_share(ring, 1) + ring_share(ring, 2), 1.0);
    ring_shares(ring, is_up, &d, shares);
    assert_near(shares[0], 0.3242768266021776);
    assert_near(shares[1], 0);
    assert_near(shares[2], 0.6757231733978224);
}

static void the_only_eligible_instance_owns_everything(void **state)
{
    (void)state;
    double shares[3];
    struct down d = {.bits = 1 << 0 | 1 << 2};
    ring_shares(ring, is_up, &d, shares);
    assert_true(shares[0] == 0 && shares[1] == 1 && shares[2] == 0);
    struct ring *one = ring_new(sha, members, 1, 1);
    assert_true(ring_share(one, 0) == 1);
    ring_unref(one);
    d.bits = 7;
    ring_shares(ring, is_up, &d, shares);
    assert_true(shares[0] == 0 && shares[1] == 0 && shares[2] == 0);
}

static void assert_digest(struct down *d, const char *expected)
{
    struct buffer b = {0};
    uint8_t digest[SHA256_SIZE];
    char text[2 * SHA256_SIZE + 1];
    ring_digest_app(ring, BYTES("customer_service"), d ? is_up : NULL, d, &b);
    struct bytes part = buffer_bytes(&b);
    sha256_digest(sha, &part, 1, digest);
    sha256_hex(digest, text);
    assert_string_equal(text, expected);
    buffer_done(&b);
}

static void the_digest_is_the_contracts(void **state)
{
    (void)state;
    struct down d = {.bits = 1 << 1};
    assert_digest(NULL, "564ac540abadfe101aabc449012dd5bf0b264047c37637587592b098349ec93d");
    assert_digest(&d, "5ffe68a4e84ff15cb69603e9a30282460ee64c40e2ab8c114ce220369da3975a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_and_keys_are_those_of_the_contract),
        cmocka_unit_test(ten_thousand_users_land_where_python_puts_them),
        cmocka_unit_test(an_instance_that_leaves_moves_nobody_elses_users),
        cmocka_unit_test(an_ineligible_instance_is_as_good_as_absent),
        cmocka_unit_test(a_key_belongs_to_the_first_point_at_or_after_it),
        cmocka_unit_test(the_order_of_the_instances_does_not_matter),
        cmocka_unit_test(a_ring_knows_what_it_was_built_of),
        cmocka_unit_test(each_instance_is_asked_for_once),
        cmocka_unit_test(an_empty_ring_has_nobody),
        cmocka_unit_test(shares_are_exact_and_add_up_to_one),
        cmocka_unit_test(the_only_eligible_instance_owns_everything),
        cmocka_unit_test(the_digest_is_the_contracts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
