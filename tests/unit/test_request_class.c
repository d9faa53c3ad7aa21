/* queue/request_class: which of Dify's routes are short (SPEC §3, Slots). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "queue/request_class.h"

static void each(const char *const *paths, enum http_method method, enum slot_class class)
{
    for (; *paths; paths++) {
        if (request_class(method, bytes_of(*paths)) != class) {
            fail_msg("%s", *paths);
        }
    }
}

static void stops_feedback_names_variables_and_forms_are_short(void **state)
{
    (void)state;
    static const char *const posts[] = {
        "/v1/chat-messages/t-1/stop",   "/v1/completion-messages/t-1/stop",
        "/v1/workflows/tasks/t-1/stop", "/v1/messages/m/feedbacks",
        "/v1/conversations/c/name",     "/v1/conversations/c/name/",
        "/v1/form/human_input/token",   NULL};
    static const char *const puts[] = {"/v1/conversations/c/variables/v", NULL};
    each(posts, HTTP_METHOD_POST, SLOT_SHORT);
    each(puts, HTTP_METHOD_PUT, SLOT_SHORT);
}

static void what_runs_or_uploads_is_long(void **state)
{
    (void)state;
    static const char *const posts[] = {"/v1/chat-messages",          "/v1/completion-messages",
                                        "/v1/workflows/run",          "/v1/workflows/w/run",
                                        "/v1/files/upload",           "/v1/audio-to-text",
                                        "/v1/text-to-audio",          "/v1/chat-messages//stop",
                                        "/v1/chat-messages/a/b/stop", "/v1/stop",
                                        "/v1/datasets/d/retrieve",    NULL};
    each(posts, HTTP_METHOD_POST, SLOT_LONG);
    each(posts, HTTP_METHOD_PATCH, SLOT_LONG);
}

static void asking_is_short_but_for_streams_and_files(void **state)
{
    (void)state;
    static const char *const shorts[] = {"/v1/conversations",      "/v1/messages",
                                         "/v1/parameters",         "/v1/workflows/run/r",
                                         "/v1/form/human_input/t", "/v1/conversations/c/variables",
                                         "/v1/datasets",           NULL};
    static const char *const longs[] = {"/v1/workflow/r/events", "/v1/files/f/preview",
                                        "/v1/datasets/d/documents/x/download", NULL};
    each(shorts, HTTP_METHOD_GET, SLOT_SHORT);
    each(shorts, HTTP_METHOD_HEAD, SLOT_SHORT);
    each(shorts, HTTP_METHOD_DELETE, SLOT_SHORT);
    each(longs, HTTP_METHOD_GET, SLOT_LONG);
    each(longs, HTTP_METHOD_HEAD, SLOT_LONG);
    each(longs, HTTP_METHOD_DELETE, SLOT_SHORT);
}

static void only_stops_are_stops(void **state)
{
    (void)state;
    assert_true(request_is_stop(HTTP_METHOD_POST, BYTES("/v1/chat-messages/t/stop")));
    assert_true(request_is_stop(HTTP_METHOD_POST, BYTES("/v1/completion-messages/t/stop")));
    assert_true(request_is_stop(HTTP_METHOD_POST, BYTES("/v1/workflows/tasks/t/stop/")));
    assert_false(request_is_stop(HTTP_METHOD_GET, BYTES("/v1/chat-messages/t/stop")));
    assert_false(request_is_stop(HTTP_METHOD_POST, BYTES("/v1/chat-messages/a/b/stop")));
    assert_false(request_is_stop(HTTP_METHOD_POST, BYTES("/v1/messages/m/feedbacks")));
    assert_false(request_is_stop(HTTP_METHOD_POST, BYTES("/v1/chat-messages")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_feedback_names_variables_and_forms_are_short),
        cmocka_unit_test(what_runs_or_uploads_is_long),
        cmocka_unit_test(only_stops_are_stops),
        cmocka_unit_test(asking_is_short_but_for_streams_and_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
