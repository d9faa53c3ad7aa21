/* answer: values at paths of JSON that passes, and the events of a stream; placement/answer_ids on
 * top of them, with what Difys were seen to send. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/prng.h"
#include "placement/answer_ids.h"
#include "tests/fuzz/answer_oracle.h"

/* ---- paths ---- */

static void assert_found(const char *text, int path, const char *told)
{
    size_t size = strlen(text);
    for (size_t first = 0; first <= size; first++) {
        struct findings f = find_paths(text, size, first, size);
        assert_true(bytes_equal(buffer_bytes(&f.of[path]), bytes_of(told)));
        findings_done(&f);
    }
}

static void values_are_told_as_they_are_read(void **state)
{
    (void)state;
    assert_found("{\"id\":\"x\"}", 0, "+x\n");
    assert_found(" { \"x\" : {\"id\":\"no\"} , \"id\" : 12.5e3 } ", 0, "+12.5e3\n");
    assert_found("{\"id\":\"\\u00e9\\ud83d\\ude00\\/\\t\"}", 0, "+\xc3\xa9\xf0\x9f\x98\x80/\t\n");
    assert_found("{\"\\u0069d\":\"x\"}", 0, "+x\n"); /* a key is what it spells */
    assert_found("{\"data\":[{\"id\":\"a\"},{\"x\":1},[{\"id\":\"no\"}],{\"id\":\"b\"}]}", 1,
                 "+a\n+b\n");
    assert_found("{\"id\":\"a\",\"id\":null}", 0, "+a\n-\n"); /* the last one wins: none */
    assert_found("{\"id\":{\"id\":\"no\"}}", 0, "-\n");
    assert_found("{\"id\":\"\\ud83d\"}", 0, "-\n");
    assert_found("{\"id\\:\"x\",\"id\":\"x\"}", 0, ""); /* no escape, no end of the key */
    assert_found("{\"id\":12,\"a\":-1,\"id\":7}", 0, "+12\n+7\n");
    assert_found("{\"id\":12", 0, "");
}

static void what_is_longer_than_an_id_is_none(void **state)
{
    (void)state;
    char text[200];
    for (int size = 60; size < 70; size++) {
        char value[80] = "", told[90] = "-\n";
        memset(value, 'x', (size_t)size);
        snprintf(text, sizeof(text), "{\"id\":\"%s\"}", value);
        if (size <= JSON_PATHS_VALUE) {
            snprintf(told, sizeof(told), "+%s\n", value);
        }
        assert_found(text, 0, told);
    }
}

static void count_found(void *arg, unsigned place, struct bytes value)
{
    (void)place;
    (void)value;
    ++*(int *)arg;
}

static void a_key_is_all_of_its_characters(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEF";
    for (int size = 1; size <= JSON_PATHS_KEY; size++) {
        const struct json_step steps[] = {{"", 0, 1, 0, NULL},
                                          {letters, (uint8_t)size, 0, 0, NULL}};
        for (int place = 0; place <= size; place++) {
            struct json_paths j;
            int found = 0;
            char text[JSON_PATHS_KEY + 10];
            int length = snprintf(text, sizeof(text), "{\"%.*s\":1}", size, letters);
            text[2 + place] = place < size ? '-' : '"';
            json_paths_begin(&j, steps, count_found, &found);
            json_paths_feed(&j, (struct bytes){text, (size_t)length});
            assert_int_equal(found, place == size);
        }
    }
}

struct stopping {
    struct json_paths paths;
    int found;
};

static void stop_at_once(void *arg, unsigned place, struct bytes value)
{
    struct stopping *s = arg;
    count_found(&s->found, place, value);
    json_paths_stop(&s->paths);
}

static void nothing_is_told_behind_a_stop(void **state)
{
    (void)state;
    static const struct json_step steps[] = {{"", 0, 1, 0, NULL}, {"id", 2, 0, 0, NULL}};
    static const char *const texts[] = {"{\"id\":\"a\",\"id\":\"b\"}", "{\"id\":1,\"id\":2}",
                                        "{\"id\":null,\"id\":2}", "{\"id\":{},\"id\":2}"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct stopping s = {.found = 0};
        json_paths_begin(&s.paths, steps, stop_at_once, &s);
        assert_int_equal(json_paths_feed(&s.paths, bytes_of(texts[i])), JSON_PATHS_END);
        assert_int_equal(s.found, 1);
    }
}

static void what_stands_beside_the_paths_is_skipped(void **state)
{
    (void)state;
    struct buffer deep = {0};
    buffer_append_text(&deep, "{\"x\":");
    for (int i = 0; i < 100000; i++) {
        buffer_append_text(&deep, "[{\"id\":\"]}\\\"\",\"y\":");
    }
    buffer_append_text(&deep, "0");
    for (int i = 0; i < 100000; i++) {
        buffer_append_text(&deep, "}]");
    }
    buffer_append_text(&deep, ",\"id\":\"z\"}");
    struct findings f = find_paths(deep.data, deep.size, 1000, 777);
    assert_true(bytes_equal(buffer_bytes(&f.of[0]), BYTES("+z\n")));
    assert_int_equal(f.state, JSON_PATHS_END);
    findings_done(&f);
    buffer_done(&deep);
}

/* A text at random, mostly of keys and shapes that paths lead through. */
static void some_json(struct prng *prng, struct buffer *to, int depth)
{
    static const char *const keys[] = {"id",      "data",     "a",          "b",
                                       "c",       "reasons",  "form_token", "",
                                       "\\u00e9", "\xc3\xa9", "i\\u0064x",  "other"};
    static const char *const values[] = {"\"x\"",
                                         "\"\\u0041\\n\"",
                                         "12",
                                         "-0.5",
                                         "1e5",
                                         "true",
                                         "null",
                                         "\"\"",
                                         "\"\xe5\xbc\xa0\"",
                                         "{}",
                                         "[]",
                                         "\"\\ud83d\\ude00\""};
    uint64_t kind = prng_next(prng) % (depth > 5 ? 1 : 3), count = prng_next(prng) % 5;
    const char *space = prng_next(prng) % 4 ? "" : " \n";
    if (kind == 0) {
        buffer_append_text(to, values[prng_next(prng) % 12]);
        return;
    }
    buffer_append_text(to, kind == 1 ? "{" : "[");
    uint64_t used = prng_next(prng) % 12;
    for (uint64_t i = 0; i < count; i++) {
        buffer_append_text(to, i > 0 ? "," : "");
        buffer_append_text(to, space);
        if (kind == 1) {
            buffer_append_format(to, "\"%s\"%s:", keys[(used + i * 5) % 12], space);
        }
        some_json(prng, to, depth + 1);
        buffer_append_text(to, space);
    }
    buffer_append_text(to, kind == 1 ? "}" : "]");
}

static void jansson_finds_the_same(void **state)
{
    (void)state;
    struct prng prng;
    prng_init(&prng, 1);
    int judged_count = 0;
    for (int i = 0; i < 20000; i++) {
        struct buffer text = {0};
        bool judged;
        do {
            text.size = 0;
            some_json(&prng, &text, 0);
        } while (text.data[0] != '{' && text.data[0] != '[');
        struct findings whole = find_paths(text.data, text.size, text.size, 1);
        struct findings bytes = find_paths(text.data, text.size, 1, 1);
        if (!oracle_agrees(text.data, text.size, &whole, &judged)) {
            fail_msg("%.*s", (int)text.size, text.data);
        }
        assert_true(findings_equal(&whole, &bytes));
        judged_count += judged;
        findings_done(&whole);
        findings_done(&bytes);
        buffer_done(&text);
    }
    assert_true(judged_count > 10000);
}

/* ---- events ---- */

static void assert_events(const char *text, const char *wanted)
{
    size_t size = strlen(text);
    for (size_t first = 0; first <= size; first++) {
        struct buffer told = {0};
        struct events e = {0};
        struct bytes pieces[] = {{text, first}, {text + first, size - first}}, data;
        for (int i = 0; i < 2; i++) {
            enum events_kind kind;
            while ((kind = events_next(&e, &pieces[i], &data)) != EVENTS_MORE) {
                buffer_append_bytes(&told, kind == EVENTS_DATA ? data : BYTES("|"));
            }
        }
        assert_true(bytes_equal(buffer_bytes(&told), bytes_of(wanted)));
        buffer_done(&told);
    }
}

static void an_event_is_its_data_lines(void **state)
{
    (void)state;
    assert_events("data: {\"a\":1}\n\n", "{\"a\":1}|");
    assert_events("event: ping\n\ndata: x\n\n", "|x|");
    assert_events("data:x\r\ndata: y\r\ndata:  z\r\n\r\n", "x\ny\n z|");
    assert_events("data: x\rdata: y\r\r", "x\ny|");
    assert_events("data\ndata\n\n", "\n|");
    assert_events(": comment\nid: 1\ndatax: no\ndat: no\ndata: x\n\n", "x|");
    assert_events("ddata: no\ndatdata: no\n\ndata: x\n\n", "|x|");
    assert_events("\n\n\ndata: x\n\n\n\n", "x|");
    assert_events("\xEF\xBB\xBF"
                  "data: x\n\n",
                  "x|");
    assert_events("\xEF\xBB"
                  "data: no\n\ndata: x\n\n",
                  "|x|");
    assert_events("data: cut off", "cut off"); /* and no event */
}

/* ---- ids ---- */

struct told {
    struct buffer text;
    struct answer_ids ids;
    struct reading reading;
};

static void on_id(void *arg, enum placement_kind kind, struct bytes text)
{
    static const char letters[] = "-cmtrfu"; /* conversation, message, task, run, form, upload */
    struct told *t = arg;
    buffer_append_format(&t->text, "%c=%.*s ", letters[kind], (int)text.size, text.at);
}

static void on_text(void *arg)
{
    answer_ids_on_text(&((struct told *)arg)->ids);
}

static void on_found(void *arg, unsigned place, struct bytes value)
{
    answer_ids_on_found(&((struct told *)arg)->ids, (enum place)place, value);
}

static void on_whole(void *arg)
{
    struct told *t = arg;
    answer_ids_on_whole(&t->ids, t->reading.form);
}

static const struct reading_listener listener = {answer_places, on_text, on_found, on_whole, NULL};

static void assert_ids(const char *method, const char *path, const char *type, const char *answer,
                       const char *wanted)
{
    struct bytes id;
    const struct placement_route *route = placement_route_of(bytes_of(method), bytes_of(path), &id);
    size_t size = strlen(answer);
    for (size_t first = 0; first <= size; first++) {
        struct told told = {0};
        answer_ids_begin(&told.ids, route, on_id, &told);
        reading_begin(&told.reading, bytes_of(type), &listener, &told);
        reading_feed(&told.reading, (struct bytes){answer, first});
        reading_feed(&told.reading, (struct bytes){answer + first, size - first});
        if (!bytes_equal(buffer_bytes(&told.text), bytes_of(wanted))) {
            fail_msg("%s: %.*s", answer, (int)told.text.size, told.text.data);
        }
        buffer_done(&told.text);
    }
}

#define JSON   "application/json"
#define EVENTS "text/event-stream; charset=utf-8"

static void a_blocking_answer_tells_its_ids(void **state)
{
    (void)state;
    assert_ids("POST", "/v1/chat-messages", JSON,
               "{\"event\": \"message\", \"task_id\": \"t1\", \"id\": \"m1\", \"message_id\": "
               "\"m1\", \"conversation_id\": \"c1\", \"mode\": \"chat\", \"answer\": "
               "\"{\\\"task_id\\\":\\\"no\\\"}\", \"metadata\": {\"conversation_id\": \"no\"}}",
               "c=c1 m=m1 t=t1 ");
    assert_ids("POST", "/v1/workflows/run", JSON,
               "{\"task_id\": \"t\", \"workflow_run_id\": \"r\", \"data\": {\"id\": \"r\", "
               "\"workflow_id\": \"no\", \"outputs\": {\"workflow_run_id\": \"no\"}}}",
               "t=t r=r ");
    assert_ids("POST", "/v1/files/upload", JSON, "{\"id\": \"u\", \"name\": \"x\"}", "u=u ");
    assert_ids("GET", "/v1/workflows/run/r", JSON, "{\"id\": \"r\", \"workflow_id\": \"w\"}",
               "r=r ");
    assert_ids("POST", "/v1/conversations/c/name", JSON, "{\"id\": \"c\"}", "c=c ");
    assert_ids("GET", "/v1/messages", JSON,
               "{\"limit\": 20, \"data\": [{\"id\": \"m1\", \"conversation_id\": \"c\"}, {\"id\": "
               "\"m2\", \"retriever_resources\": [{\"id\": \"no\"}]}]}",
               "m=m1 m=m2 ");
    assert_ids("GET", "/v1/conversations", JSON, "{\"data\": [{\"id\": \"c1\"}, {\"id\": \"c2\"}]}",
               "c=c1 c=c2 ");
    assert_ids("POST", "/v1/chat-messages", "audio/mpeg", "{\"conversation_id\": \"no\"}", "");
    assert_ids("POST", "/v1/chat-messages", JSON, "{\"conversation_id\": \"cut\"", "");
}

static void each_event_of_a_stream_tells_its_ids(void **state)
{
    (void)state;
    assert_ids("POST", "/v1/chat-messages", EVENTS,
               "event: ping\n\ndata: {\"event\":\"message\",\"conversation_id\":\"c\","
               "\"message_id\":\"m\",\"id\":\"m\",\"task_id\":\"t\",\"answer\":\"\\/\"}\n\n"
               "data: {\"event\":\"agent_thought\",\"id\":\"no\",\"message_id\":\"m\"}\n\n",
               "c=c m=m t=t ");
    assert_ids("POST", "/v1/workflows/run", EVENTS,
               "data: {\"event\":\"workflow_started\",\"task_id\":\"t\",\"workflow_run_id\":\"r\","
               "\"data\":{\"id\":\"r\",\"inputs\":{\"task_id\":\"no\"}}}\n\n"
               "data: {\"event\":\"node_finished\",\"data\":{\"form_token\":\"no\","
               "\"outputs\":{\"form_token\":\"no\"}}}\n\n"
               "data: {\"event\":\"human_input_required\",\"workflow_run_id\":\"r\","
               "\"data\":{\"form_token\":\"f\"}}\n\n"
               "data: {\"event\":\"workflow_paused\",\"data\":{\"workflow_run_id\":\"r\","
               "\"reasons\":[{\"form_token\":\"g\"}]}}\n\n",
               "t=t r=r f=f f=g ");
    assert_ids("POST", "/v1/chat-messages", EVENTS,
               "data: no json\n\ndata: {\"task_id\":\"t\"}\n\n", "t=t ");
}

static void assert_sizes(const struct json_step *steps, unsigned place)
{
    uint8_t firsts[JSON_PATHS_KEY + 1] = {0};
    for (uint8_t at = steps[place].below; at != 0; at = steps[at].next) {
        if (steps[at].size != JSON_PATHS_ELEMENT && firsts[steps[at].size] == 0) {
            firsts[steps[at].size] = at;
        }
    }
    assert_memory_equal(steps[place].of_size, firsts, sizeof(firsts));
}

static void keys_are_found_by_their_size(void **state)
{
    (void)state;
    unsigned count = 0;
    const struct json_step *const trees[] = {answer_places, answer_usage_places};
    for (size_t i = 0; i < 2; i++) {
        for (unsigned place = 0; place < PLACE_COUNT; place++) {
            if (trees[i][place].of_size) {
                assert_sizes(trees[i], place);
                count++;
            }
        }
    }
    assert_int_equal(count, 6); /* the top, metadata and usage of each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_found_by_their_size),
        cmocka_unit_test(values_are_told_as_they_are_read),
        cmocka_unit_test(what_is_longer_than_an_id_is_none),
        cmocka_unit_test(a_key_is_all_of_its_characters),
        cmocka_unit_test(nothing_is_told_behind_a_stop),
        cmocka_unit_test(what_stands_beside_the_paths_is_skipped),
        cmocka_unit_test(jansson_finds_the_same),
        cmocka_unit_test(an_event_is_its_data_lines),
        cmocka_unit_test(a_blocking_answer_tells_its_ids),
        cmocka_unit_test(each_event_of_a_stream_tells_its_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
