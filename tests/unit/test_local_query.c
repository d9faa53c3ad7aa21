/* worker: the query of an own endpoint, value by value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/local_query.h"

static const struct {
    const char *query;
    unsigned known, given;
    uint64_t hold_ms;
    const char *error; /* NULL: it is read */
} rows[] = {
    {"", 0, 0, 0, NULL},
    {"force=1", LOCAL_FORCE | LOCAL_DRY_RUN, LOCAL_FORCE, 0, NULL},
    {"force=true&dry_run=1", LOCAL_FORCE | LOCAL_DRY_RUN, LOCAL_FORCE | LOCAL_DRY_RUN, 0, NULL},
    {"force=1&force=0&", LOCAL_FORCE, 0, 0, NULL},
    {"now=1&hold=60s", LOCAL_NOW | LOCAL_HOLD, LOCAL_NOW | LOCAL_HOLD, 60000, NULL},
    {"hold=250ms", LOCAL_HOLD, LOCAL_HOLD, 250, NULL},
    {"hold=7", LOCAL_HOLD, LOCAL_HOLD, 7000, NULL},
    {"hold=0", LOCAL_HOLD, 0, 0, NULL},
    {"hold=24h", LOCAL_HOLD, LOCAL_HOLD, 86400000, NULL},
    {"hold=25h", LOCAL_HOLD, 0, 0, "hold must be a duration up to 24h, such as 60s."},
    {"hold=9999999999h", LOCAL_HOLD, 0, 0, "hold must be a duration up to 24h, such as 60s."},
    {"hold=s", LOCAL_HOLD, 0, 0, "hold must be a duration up to 24h, such as 60s."},
    {"hold=-1", LOCAL_HOLD, 0, 0, "hold must be a duration up to 24h, such as 60s."},
    {"hold", LOCAL_HOLD, 0, 0, "hold must be a duration up to 24h, such as 60s."},
    {"force", LOCAL_FORCE, 0, 0, "force must be 0 or 1."},
    {"force=yes", LOCAL_FORCE, 0, 0, "force must be 0 or 1."},
    {"dryrun=1", LOCAL_FORCE | LOCAL_DRY_RUN, 0, 0,
     "Unknown parameter; this takes force, dry_run."},
    {"now=1", LOCAL_FORCE | LOCAL_DRY_RUN, 0, 0, "Unknown parameter; this takes force, dry_run."},
    {"=1", 0, 0, 0, "Unknown parameter; this takes none."},
};

static void each_query_is_read_or_refused_with_what_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct local_query q = {99, 99};
        char error[LOCAL_QUERY_ERROR_SIZE] = "";
        bool good = local_query_read(bytes_of(rows[i].query), rows[i].known, &q, error);
        assert_int_equal(good, rows[i].error == NULL);
        assert_string_equal(error, rows[i].error ? rows[i].error : "");
        assert_int_equal(q.given, good ? rows[i].given : 99);
        assert_int_equal(q.hold_ms, good ? rows[i].hold_ms : 99);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_query_is_read_or_refused_with_what_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
