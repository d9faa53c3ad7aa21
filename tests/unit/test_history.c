/* report/history: rates and percentiles of intervals, from counters that only grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "report/history.h"

/* A node's counters of two applications, sampled every interval. */
struct scene {
    struct history *history;
    struct history_count counts[2];
    uint64_t latency[2][HISTOGRAM_BUCKETS];
    uint64_t now_ms;
    json_t *document;
};

enum { WALL_MS = 1000000 };

static int scene_new(void **state)
{
    struct scene *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->history = history_new();
    s->counts[0] = (struct history_count){BYTES("one"), 0, 0, 0, s->latency[0]};
    s->counts[1] = (struct history_count){BYTES("t\"wo"), 0, 0, 0, s->latency[1]};
    *state = s;
    return 0;
}

static int scene_free(void **state)
{
    struct scene *s = *state;
    history_free(s->history);
    json_decref(s->document);
    free(s);
    return 0;
}

static void sample(struct scene *s, size_t count, bool gap)
{
    s->now_ms += HISTORY_INTERVAL_MS;
    history_add(s->history, WALL_MS + s->now_ms, s->now_ms, s->counts, count, gap);
}

static void requests(struct scene *s, size_t app, unsigned count, uint64_t us)
{
    s->counts[app].requests += count;
    s->latency[app][histogram_bucket(us)] += count;
}

static const json_t *values(struct scene *s, const char *app, const char *field)
{
    struct buffer text = {0};
    history_json(&text, s->history);
    json_decref(s->document);
    s->document = json_loadb(text.data, text.size, 0, NULL);
    buffer_done(&text);
    assert_non_null(s->document);
    const json_t *series = json_object_get(s->document, "all");
    if (app) {
        series = json_object_get(json_object_get(s->document, "applications"), app);
    }
    return json_object_get(series, field);
}

static double value(struct scene *s, const char *app, const char *field, size_t at)
{
    const json_t *found = json_array_get(values(s, app, field), at);
    return json_is_number(found) ? json_number_value(found) : NAN;
}

#define assert_near(a, b) assert_true(fabs((a) - (b)) < 1e-3 * fabs(b) + 1e-9)
#define assert_nothing(a) assert_true(isnan(a))

static void tokens_are_a_rate_too(void **state)
{
    struct scene *s = *state;
    sample(s, 2, false);
    s->counts[0].tokens += 600;
    s->counts[1].tokens += 40;
    sample(s, 2, false);
    assert_near(value(s, "one", "tokens", 0), 600.0 * 1000 / HISTORY_INTERVAL_MS);
    assert_near(value(s, NULL, "tokens", 0), 640.0 * 1000 / HISTORY_INTERVAL_MS);
}

static void rates_are_of_one_interval(void **state)
{
    struct scene *s = *state;
    s->counts[0].requests = 1000000; /* from before: nothing of it is in a rate */
    sample(s, 2, false);
    requests(s, 0, 50, 2000);
    requests(s, 1, 10, 9000);
    s->counts[1].errors = 5;
    sample(s, 2, false);
    requests(s, 0, 5, 2000);
    sample(s, 2, false);
    assert_int_equal(json_array_size(values(s, NULL, "rate")), 2);
    assert_near(value(s, "one", "rate", 0), 10.0);
    assert_near(value(s, "one", "rate", 1), 1.0);
    assert_near(value(s, "t\"wo", "errors", 0), 1.0);
    assert_near(value(s, NULL, "rate", 0), 12.0);
    assert_near(value(s, NULL, "errors", 0), 1.0);
    const json_t *times = json_object_get(s->document, "times");
    assert_int_equal(json_integer_value(json_array_get(times, 1)), WALL_MS + s->now_ms);
}

static void percentiles_of_all_are_those_of_all_requests_together(void **state)
{
    struct scene *s = *state;
    sample(s, 2, false);
    requests(s, 0, 90, 2000);
    requests(s, 1, 10, 500000);
    sample(s, 2, false);
    assert_near(value(s, NULL, "p50", 0), (double)histogram_upper_us(histogram_bucket(2000)) / 1e3);
    assert_near(value(s, NULL, "p95", 0),
                (double)histogram_upper_us(histogram_bucket(500000)) / 1e3);
    assert_near(value(s, "one", "p99", 0),
                (double)histogram_upper_us(histogram_bucket(2000)) / 1e3);
}

static void an_interval_without_answers_has_a_rate_and_no_percentiles(void **state)
{
    struct scene *s = *state;
    sample(s, 1, false);
    sample(s, 1, false);
    assert_near(value(s, "one", "rate", 0), 0.0);
    assert_nothing(value(s, "one", "p50", 0));
    assert_nothing(value(s, NULL, "p99", 0));
}

static void a_gap_is_a_hole_and_what_came_in_it_is_in_no_rate(void **state)
{
    struct scene *s = *state;
    sample(s, 1, false);
    requests(s, 0, 100000, 2000);
    sample(s, 1, true);
    requests(s, 0, 5, 2000);
    sample(s, 1, false);
    assert_nothing(value(s, "one", "rate", 0));
    assert_nothing(value(s, NULL, "rate", 0));
    assert_near(value(s, "one", "rate", 1), 1.0);
    assert_near(value(s, NULL, "rate", 1), 1.0);
}

static void latency_that_has_fallen_leaves_the_rate(void **state)
{
    struct scene *s = *state;
    requests(s, 0, 10, 2000);
    sample(s, 1, false);
    s->latency[0][histogram_bucket(2000)] = 3; /* a node with 7 of them has died */
    s->counts[0].requests += 10;
    sample(s, 1, false);
    requests(s, 0, 5, 2000);
    sample(s, 1, false);
    assert_near(value(s, "one", "rate", 0), 2.0);
    assert_nothing(value(s, "one", "p50", 0));
    assert_nothing(value(s, NULL, "p50", 0));
    assert_true(value(s, "one", "p50", 1) > 0);
}

static void an_application_that_comes_later_begins_with_holes(void **state)
{
    struct scene *s = *state;
    sample(s, 1, false);
    sample(s, 1, false);
    requests(s, 1, 100, 2000);
    sample(s, 2, false); /* here for the first time: no rate yet */
    requests(s, 1, 5, 2000);
    sample(s, 2, false);
    assert_nothing(value(s, "t\"wo", "rate", 0));
    assert_nothing(value(s, "t\"wo", "rate", 1));
    assert_near(value(s, "t\"wo", "rate", 2), 1.0);
    assert_near(value(s, NULL, "rate", 1), 0.0);
}

static void fifteen_minutes_are_kept_the_oldest_first(void **state)
{
    struct scene *s = *state;
    sample(s, 1, false);
    for (unsigned i = 1; i <= HISTORY_POINTS + 7; i++) {
        requests(s, 0, i * 5, 2000);
        sample(s, 1, false);
    }
    assert_int_equal(json_array_size(values(s, "one", "rate")), (size_t)HISTORY_POINTS);
    assert_near(value(s, "one", "rate", 0), 8.0);
    assert_near(value(s, "one", "rate", (size_t)HISTORY_POINTS - 1), HISTORY_POINTS + 7.0);
}

static void a_late_sample_is_divided_by_its_own_time(void **state)
{
    struct scene *s = *state;
    sample(s, 1, false);
    requests(s, 0, 60, 2000);
    s->now_ms += 1000;
    sample(s, 1, false);
    assert_near(value(s, "one", "rate", 0), 10.0);
}

#define CLAIM(function) cmocka_unit_test_setup_teardown(function, scene_new, scene_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLAIM(rates_are_of_one_interval),
        CLAIM(tokens_are_a_rate_too),
        CLAIM(percentiles_of_all_are_those_of_all_requests_together),
        CLAIM(an_interval_without_answers_has_a_rate_and_no_percentiles),
        CLAIM(a_gap_is_a_hole_and_what_came_in_it_is_in_no_rate),
        CLAIM(latency_that_has_fallen_leaves_the_rate),
        CLAIM(an_application_that_comes_later_begins_with_holes),
        CLAIM(fifteen_minutes_are_kept_the_oldest_first),
        CLAIM(a_late_sample_is_divided_by_its_own_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
