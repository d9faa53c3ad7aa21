/* What a systemd unit says about the end of its service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/unit_file.h"

static struct unit_facts read_text(const char *text)
{
    struct unit_facts facts = unit_facts_default();
    unit_file_read(bytes_of(text), &facts);
    return facts;
}

static void a_unit_that_says_nothing_has_systemds_ninety_seconds(void **state)
{
    (void)state;
    struct unit_facts facts = read_text("[Service]\nExecStart=/usr/bin/difyring run\n");
    assert_int_equal(facts.stop_ms, 90000);
    assert_false(facts.notify);
}

static void spans_are_read_as_systemd_reads_them(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } cases[] = {
        {"TimeoutStopSec=5", 5000},
        {"TimeoutStopSec = 5min", 300000},
        {"TimeoutStopSec=1min 30s", 90000},
        {"TimeoutStopSec=2h 3 min 4", 7384000},
        {"TimeoutStopSec=250ms", 250},
        {"TimeoutSec=7s", 7000},
        {"TimeoutStopSec=infinity", UINT64_MAX},
        {"TimeoutStopSec=0", UINT64_MAX},
        {"TimeoutStopSec=soon", 90000},
        {"TimeoutStopSec=5 parsecs", 90000},
        {"#TimeoutStopSec=5", 90000},
        {"; TimeoutStopSec=5", 90000},
        {"TimeoutStartSec=5", 90000},
        {"TimeoutStopSec=5\r\nTimeoutStopSec=6", 6000},
        {"TimeoutStopSec", 90000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(read_text(cases[i].text).stop_ms, cases[i].ms);
    }
}

static void a_drop_in_changes_what_it_names_only(void **state)
{
    (void)state;
    struct unit_facts facts = read_text("[Service]\nType=notify\nTimeoutStopSec=90\n");
    assert_true(facts.notify);
    unit_file_read(BYTES("[Service]\nTimeoutStopSec=10\n"), &facts);
    assert_int_equal(facts.stop_ms, 10000);
    assert_true(facts.notify);
    unit_file_read(BYTES("[Service]\nType=simple"), &facts);
    assert_false(facts.notify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unit_that_says_nothing_has_systemds_ninety_seconds),
        cmocka_unit_test(spans_are_read_as_systemd_reads_them),
        cmocka_unit_test(a_drop_in_changes_what_it_names_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
