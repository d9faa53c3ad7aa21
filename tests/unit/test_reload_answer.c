/* report: the three answers of /reload-config, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "facts/reload_answer.h"

static void assert_text(struct buffer *text, const char *expected)
{
    buffer_append(text, "", 1);
    assert_string_equal(text->data, expected);
    buffer_done(text);
}

static void a_good_reload_tells_what_has_changed(void **state)
{
    (void)state;
    static struct reload_texts changed = {{"applications.a.instances.b: added"}, 1, 2},
                               restart = {{"workers"}, 1, 0}, warnings;
    struct buffer text = {0};
    struct reload_report report = {false, 4, &changed, &restart, &warnings};
    reload_answer_good(&text, &report);
    assert_text(&text, "{\"status\":\"success\",\"message\":\"Configuration reloaded\","
                       "\"config_revision\":4,\"changed\":[\"applications.a.instances.b: added\","
                       "\"and 2 more\"],\"restart_needed\":[\"workers\"],\"warnings\":[]}\n");
    report.dry_run = true;
    report.changed = &warnings;
    text = (struct buffer){0};
    reload_answer_good(&text, &report);
    assert_text(&text, "{\"status\":\"success\",\"message\":\"Configuration would be reloaded\","
                       "\"config_revision\":4,\"changed\":[],\"restart_needed\":[\"workers\"],"
                       "\"warnings\":[]}\n");
}

static void a_refused_reload_tells_what_it_would_lose(void **state)
{
    (void)state;
    static const struct reload_texts lost = {{"retries.attempts: changed from 2 to 3"}, 1, 0};
    struct buffer text = {0};
    reload_answer_conflict(&text, "No.", 7, &lost);
    assert_text(&text, "{\"status\":\"error\",\"message\":\"No.\",\"config_revision\":7,"
                       "\"would_lose\":[\"retries.attempts: changed from 2 to 3\"]}\n");
}

static void a_bad_reload_tells_every_problem(void **state)
{
    (void)state;
    static const struct reload_problem problems[] = {{"a.yaml", 3, 5, "unknown key `lisen`"},
                                                     {"a\xff.yaml", 0, 0, "is \"too\" large"}};
    struct buffer text = {0};
    reload_answer_bad(&text, "2 problems", problems, 2);
    assert_text(&text, "{\"status\":\"error\",\"message\":\"2 problems\",\"errors\":["
                       "{\"file\":\"a.yaml\",\"line\":3,\"column\":5,"
                       "\"message\":\"unknown key `lisen`\"},"
                       "{\"file\":\"a\xEF\xBF\xBD.yaml\",\"line\":0,\"column\":0,"
                       "\"message\":\"is \\\"too\\\" large\"}]}\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_reload_tells_what_has_changed),
        cmocka_unit_test(a_refused_reload_tells_what_it_would_lose),
        cmocka_unit_test(a_bad_reload_tells_every_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
