/* usage: what an answer tells that its run cost, in the forms that Difys of 1.13.0 and 1.16.0 were
 * seen to send (doc/DIFY.md §0), split at every byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "tests/fuzz/usage_oracle.h"

static const struct usage_search nothing = {0};

static struct usage_search told(uint64_t prompt, uint64_t completion, uint64_t total,
                                const char *price, const char *currency)
{
    struct usage_search s = {.known = true, .of_message = true};
    s.usage = (struct usage){prompt, completion, total, true, {0, 0}, ""};
    if (price) {
        assert_true(usage_price_read(bytes_of(price), &s.usage.price));
        strcpy(s.usage.currency, currency);
    }
    return s;
}

static struct usage_search told_run(uint64_t total)
{
    return (struct usage_search){.known = true, .usage = {.total_tokens = total}};
}

static void assert_usage(bool stream, const char *answer, struct usage_search wanted)
{
    struct bytes text = bytes_of(answer);
    for (size_t first = 0; first <= text.size; first++) {
        for (int skips = 0; skips < 2; skips++) {
            struct usage_search read = usage_read(stream, skips, text, first, text.size);
            if (!usage_equal(&read, &wanted)) {
                fail_msg("%s\nsplit at %zu, skipping %d: known %d, %llu tokens", answer, first,
                         skips, read.known, (unsigned long long)read.usage.total_tokens);
            }
        }
    }
}

#define USAGE                                                                                      \
    "{\"prompt_tokens\":12,\"prompt_unit_price\":\"0\",\"completion_tokens\":8,"                   \
    "\"completion_price\":\"1E-7\",\"total_tokens\":20,\"total_price\":\"2E-7\","                  \
    "\"currency\":\"USD\",\"latency\":null}"

static void a_blocking_chat_has_it_in_its_metadata(void **state)
{
    (void)state;
    assert_usage(
        false,
        "{\"event\": \"message\", \"task_id\": \"t\", \"answer\": \"{\\\"total_tokens\\\": "
        "7}\", \"metadata\": {\"usage\": {\"prompt_tokens\": 1033, \"completion_tokens\": "
        "128, \"total_tokens\": 1161, \"total_price\": 0.0012890, \"currency\": "
        "\"USD\", \"latency\": 0.768}, \"retriever_resources\": []}}",
        told(1033, 128, 1161, "0.001289", "USD"));
    assert_usage(false, "{\"answer\": \"x\", \"metadata\": {}}", nothing);
    assert_usage(false, "{\"answer\": \"x\", \"metadata\": {\"usage\": null}}", nothing);
}

static void a_blocking_workflow_has_a_total_alone(void **state)
{
    (void)state;
    assert_usage(false,
                 "{\"task_id\": \"t\", \"workflow_run_id\": \"r\", \"data\": {\"id\": \"r\", "
                 "\"outputs\": {\"usage\": " USAGE
                 ", \"total_tokens\": 5}, \"total_tokens\": 3562, "
                 "\"total_steps\": 8}}",
                 told_run(3562));
}

static void a_streamed_chat_has_it_in_message_end(void **state)
{
    (void)state;
    assert_usage(true,
                 "event: ping\n\n"
                 "data: {\"event\":\"message\",\"answer\":\"\\\"event\\\":\\\"message_end\\\"\","
                 "\"metadata\":{\"usage\":{\"total_tokens\":99}}}\n\n"
                 "data: {\"event\":\"agent_thought\",\"data\":{\"total_tokens\":98}}\n\n"
                 "data: {\"event\":\"message_end\",\"id\":\"m\",\"metadata\":{\"usage\":" USAGE "}}"
                 "\n\nevent: ping\n\n",
                 told(12, 8, 20, "0.0000002", "USD"));
    /* the name as others may write it */
    assert_usage(true,
                 "data: {\"event\": \"message\"}\n\ndata: {\"event\": \"message_end\", "
                 "\"metadata\": {\"usage\": " USAGE "}}\n\ndata: {\"event\":\"\n\n"
                 "data: {\"event\":\n\ndata: {\"event\": \n\n",
                 told(12, 8, 20, "0.0000002", "USD"));
    assert_usage(
        true,
        "event: ping\n\ndata: {\"event\":\"message\\u005fend\",\"metadata\":{\"usage\":" USAGE
        "}}\n\n",
        told(12, 8, 20, "0.0000002", "USD"));
    /* the event's name may stand behind */
    assert_usage(true, "data: {\"metadata\":{\"usage\":" USAGE "},\"event\":\"message_end\"}\n\n",
                 told(12, 8, 20, "0.0000002", "USD"));
}

#define NODE                                                                                       \
    "data: {\"event\":\"node_finished\",\"data\":{\"node_type\":\"llm\",\"process_data\":"         \
    "{\"prompts\":[{\"text\":\"event: workflow_finished\"}],\"usage\":" USAGE                      \
    "},\"outputs\":{\"usage\":" USAGE "},\"total_tokens\":77}}\n\n"

static void a_chatflow_of_1_16_counts_once(void **state)
{
    (void)state;
    const char *both = "event: ping\n\n" NODE
                       "data: {\"event\":\"message_end\",\"metadata\":{\"usage\":" USAGE "}}\n\n"
                       "data: {\"event\":\"workflow_finished\",\"data\":{\"total_tokens\":20}}\n\n";
    const char *turned =
        "data: {\"event\":\"workflow_finished\",\"data\":{\"total_tokens\":21}}\n\n"
        "data: {\"event\":\"message_end\",\"metadata\":{\"usage\":" USAGE "}}\n\n";
    assert_usage(true, both, told(12, 8, 20, "0.0000002", "USD"));
    assert_usage(true, turned, told(12, 8, 20, "0.0000002", "USD"));
}

static void a_chatflow_of_1_13_and_a_workflow_have_the_runs_total(void **state)
{
    (void)state;
    assert_usage(true,
                 "event: ping\n\ndata: {\"event\":\"workflow_started\",\"data\":{}}\n\n" NODE
                 "data: {\"event\":\"message_end\",\"metadata\":{}}\n\n"
                 "data: {\"event\":\"workflow_finished\",\"data\":{\"status\":\"succeeded\","
                 "\"outputs\":{\"total_tokens\":4},\"total_tokens\":640}}\n\nevent: ping\n\n",
                 told_run(640));
    assert_usage(true, NODE "event: ping\n\n", nothing);
}

static void what_was_stopped_tells_noughts(void **state)
{
    (void)state;
    assert_usage(true,
                 "data: {\"event\":\"message_end\",\"metadata\":{\"usage\":{\"prompt_tokens\":0,"
                 "\"completion_tokens\":0,\"total_tokens\":0,\"total_price\":\"0E-7\","
                 "\"currency\":\"USD\"}}}\n\n",
                 told(0, 0, 0, "0", "USD"));
    assert_usage(true,
                 "data: {\"event\":\"workflow_finished\",\"data\":{\"status\":\"stopped\","
                 "\"total_tokens\":0}}\n\n",
                 told_run(0));
    assert_usage(true, "data: {\"event\":\"error\",\"status\":400,\"message\":\"no\"}\n\n",
                 nothing);
}

static void what_is_no_figure_counts_as_not_told(void **state)
{
    (void)state;
    assert_usage(false,
                 "{\"metadata\":{\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1.5,"
                 "\"total_tokens\":7,\"total_price\":\"-1\",\"currency\":\"USD\"}}}",
                 told(0, 0, 7, NULL, NULL));
    assert_usage(false,
                 "{\"metadata\":{\"usage\":{\"total_tokens\":99999999999999999999,"
                 "\"prompt_tokens\":3,\"total_price\":\"1\",\"currency\":\"<script>\"}}}",
                 told(3, 0, 3, NULL, NULL));
    assert_usage(false, "{\"metadata\":{\"usage\":{\"prompt_tokens\":\"x\"}}}", nothing);
    assert_usage(false, "{\"data\":{\"total_tokens\":3}", nothing);              /* cut off */
    assert_usage(false, "{\"data\":{\"total_tokens\":3},\"data\":{}}", nothing); /* replaced */
    assert_usage(false, "{\"metadata\":{\"usage\":" USAGE "},\"metadata\":null}", nothing);
    assert_usage(false, "{\"metadata\":{\"usage\":" USAGE ",\"usage\":{}}}", nothing);
    assert_usage(false, "[{\"data\":{\"total_tokens\":3}}]", nothing);
}

static void assert_price(const char *text, const char *wanted)
{
    struct usage_price price;
    char printed[USAGE_PRICE_TEXT_SIZE];
    bool good = usage_price_read(bytes_of(text), &price);
    assert_int_equal(good, wanted != NULL);
    if (wanted) {
        usage_price_text(price, printed);
        assert_string_equal(printed, wanted);
    }
}

static void prices_are_exact_decimals(void **state)
{
    (void)state;
    assert_price("0.0", "0");
    assert_price("0E-7", "0");
    assert_price("2E-7", "0.0000002");
    assert_price("0.0042", "0.0042");
    assert_price("12", "12");
    assert_price("1.5e2", "150");
    assert_price("1E+3", "1000");
    assert_price("120.50", "120.5");
    assert_price("000.1", "0.1");
    assert_price("0.000000000001", "0.000000000001");
    assert_price("0.0000000000014999", "0.000000000001");
    assert_price("0.9999999999995", "1");
    assert_price("1e-9999", "0");
    assert_price("0e999999999999", "0");
    assert_price("999999999.999999", "999999999.999999");
    const char *none[] = {"",    "-1", "+1", ".5",  "5.",  "1e",       "1e+",  "0x1",
                          "1,5", "1 ", " 1", "NaN", "1e9", "Infinity", "1.2.3"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_price(none[i], NULL);
    }
}

/* Answers at random, of what Difys say, in any order and some of it twice. */
static void some_text(struct prng *prng, struct buffer *to)
{
    static const char *const parts[] = {
        "\"event\":\"message_end\"",
        "\"event\":\"workflow_finished\"",
        "\"event\":\"message\"",
        "\"metadata\":{\"usage\":" USAGE "}",
        "\"metadata\":{\"usage\":{\"total_tokens\":3,\"total_price\":\"0.5\",\"currency\":\"x\"}}",
        "\"metadata\":{\"usage\":{\"prompt_tokens\":true}}",
        "\"metadata\":{\"usage\":[1]}",
        "\"metadata\":[{\"usage\":{\"total_tokens\":3}}]",
        "\"data\":{\"total_tokens\":640}",
        "\"data\":{\"total_tokens\":6.5}",
        "\"data\":{\"outputs\":{\"total_tokens\":1},\"total_tokens\":\"12\"}",
        "\"data\":null",
        "\"answer\":\"\\\"event\\\":\\\"message_end\\\",\"",
        "\"x\":[{\"event\":\"message_end\"},{}]",
    };
    enum { PARTS = sizeof(parts) / sizeof(parts[0]) };
    uint64_t count = prng_next(prng) % 4;
    buffer_append_text(to, "{");
    for (uint64_t i = 0; i < count; i++) {
        buffer_append_text(to, i > 0 ? ", " : "");
        buffer_append_text(to, parts[prng_next(prng) % PARTS]);
    }
    buffer_append_text(to, prng_next(prng) % 50 ? "}" : "");
}

static void jansson_reads_the_same(void **state)
{
    (void)state;
    struct prng prng;
    int judged_count = 0, known_count = 0;
    prng_init(&prng, 7);
    for (int i = 0; i < 20000; i++) {
        struct buffer answer = {0};
        bool stream = prng_next(&prng) % 3 > 0;
        for (uint64_t events = stream ? prng_next(&prng) % 4 : 1; events > 0; events--) {
            buffer_append_text(&answer, stream ? "data: " : "");
            some_text(&prng, &answer);
            buffer_append_text(&answer, stream ? "\n\n" : "");
        }
        struct bytes text = buffer_bytes(&answer);
        struct usage_search whole = usage_read(stream, false, text, text.size, 1), plain;
        struct usage_search bytes = usage_read(stream, false, text, 1, 1);
        assert_true(usage_equal(&whole, &bytes));
        if (usage_oracle(stream, text, &plain)) {
            struct usage_search skipping = usage_read(stream, true, text, 3, 5);
            if (!usage_equal(&whole, &plain) || !usage_equal(&skipping, &plain)) {
                fail_msg("%.*s", (int)text.size, text.at);
            }
            judged_count++;
            known_count += plain.known;
        }
        buffer_done(&answer);
    }
    assert_true(judged_count > 8000);
    assert_true(known_count > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blocking_chat_has_it_in_its_metadata),
        cmocka_unit_test(a_blocking_workflow_has_a_total_alone),
        cmocka_unit_test(a_streamed_chat_has_it_in_message_end),
        cmocka_unit_test(a_chatflow_of_1_16_counts_once),
        cmocka_unit_test(a_chatflow_of_1_13_and_a_workflow_have_the_runs_total),
        cmocka_unit_test(what_was_stopped_tells_noughts),
        cmocka_unit_test(what_is_no_figure_counts_as_not_told),
        cmocka_unit_test(prices_are_exact_decimals),
        cmocka_unit_test(jansson_reads_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
