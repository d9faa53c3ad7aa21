/* map: one member's entries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gossip/map.h"

static bool put(struct map *m, uint64_t version, struct bytes key, struct bytes value)
{
    struct wire_entry e = {.version = version, .key = key, .value = value};
    return map_put(m, WIRE_URGENT, &e);
}

static void a_priority_is_in_order_however_it_came(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_true(put(&m, 3, BYTES("c"), BYTES("3")));
    assert_true(put(&m, 1, BYTES("a"), BYTES("1")));
    assert_true(put(&m, 2, BYTES("b"), BYTES("2")));
    assert_false(put(&m, 1, BYTES("c"), BYTES("old")));
    uint64_t version = 0;
    for (struct map_entry *e; (e = map_after(&m, WIRE_URGENT, version)); version = e->version) {
        assert_int_equal(e->version, version + 1);
    }
    assert_int_equal(version, 3);
    map_clear(&m);
}

/* Two starts of one generation: the list stays one that can be told to others. */
static void a_version_is_in_a_priority_once(void **state)
{
    (void)state;
    struct map m;
    map_init(&m);
    assert_true(put(&m, 1, BYTES("a"), BYTES("1")));
    assert_true(put(&m, 2, BYTES("b"), BYTES("2")));
    assert_true(put(&m, 2, BYTES("c"), BYTES("also 2")));
    assert_int_equal(m.count, 2);
    assert_null(map_find(&m, BYTES("b")));
    struct map_entry *e = map_after(&m, WIRE_URGENT, 1);
    assert_true(bytes_equal(map_value(e), BYTES("also 2")));
    assert_null(map_next(&m, e));
    map_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_priority_is_in_order_however_it_came),
        cmocka_unit_test(a_version_is_in_a_priority_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
