/* user_id: which source wins, and when that is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "user/user_id.h"

#define JSON "application/json"
#define FORM "multipart/form-data; boundary=B"
#define FORM_OF(name, value)                                                                       \
    "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nbytes\r\n"        \
    "--B\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n--B--\r\n"

static const struct user_source defaults[] = {
    {USER_FROM_HEADER, {"X-User-ID", 9}}, {USER_FROM_QUERY, {"user_id", 7}},
    {USER_FROM_QUERY, {"user", 4}},       {USER_FROM_COOKIE, {"user_id", 7}},
    {USER_FROM_JSON, {"user", 4}},        {USER_FROM_FORM, {"user", 4}}};

static const struct user_plan default_plan = {defaults, 6, 1 << 20};

/* A request in texts; NULL is absent. `header` is X-User-ID's value. */
struct request {
    const char *header, *query, *cookie, *type, *body, *more_cookie;
};

static struct bytes text_of(const char *text)
{
    return text ? bytes_of(text) : (struct bytes){NULL, 0};
}

static struct bytes header_of(void *arg, struct bytes name)
{
    const struct request *r = arg;
    bool known = bytes_equal_nocase(name, BYTES("X-User-ID"));
    return text_of(known ? r->header : NULL);
}

static struct bytes cookie_of(void *arg, size_t index)
{
    const struct request *r = arg;
    return text_of(index == 0 ? r->cookie : index == 1 ? r->more_cookie : NULL);
}

static enum user_id_state begin(struct user_id_search *s, const struct user_plan *plan,
                                struct request *r)
{
    struct user_request request = {
        r, header_of, text_of(r->query), cookie_of, text_of(r->type), r->body != NULL, NULL};
    return user_id_begin(s, plan, &request);
}

static void assert_value(struct user_id_search *s, const char *user)
{
    assert_int_equal(s->state, user ? USER_ID_FOUND : USER_ID_NONE);
    struct bytes value = user_id_value(s);
    if (!bytes_equal(value, text_of(user))) {
        print_error("expected %s, found %.*s\n", user ? user : "(none)", (int)value.size, value.at);
    }
    assert_true(bytes_equal(value, text_of(user)));
}

/* The body plays no part. */
static void assert_at_once(const struct user_plan *plan, struct request r, const char *user)
{
    struct user_id_search s;
    assert_int_not_equal(begin(&s, plan, &r), USER_ID_NEEDS_BODY);
    assert_value(&s, user);
    assert_int_equal(user_id_body(&s, BYTES("more")), s.state);
    assert_int_equal(user_id_end(&s), s.state);
    assert_value(&s, user);
    user_id_done(&s);
}

/* The body is needed; it comes split in two at every place. */
static void assert_by_body(const struct user_plan *plan, struct request r, const char *user)
{
    struct bytes body = bytes_of(r.body);
    for (size_t at = 0; at <= body.size; at++) {
        struct user_id_search s;
        assert_int_equal(begin(&s, plan, &r), USER_ID_NEEDS_BODY);
        assert_int_equal(user_id_value(&s).size, 0);
        user_id_body(&s, (struct bytes){body.at, at});
        user_id_body(&s, (struct bytes){body.at + at, body.size - at});
        user_id_end(&s);
        assert_value(&s, user);
        user_id_done(&s);
    }
}

static void the_first_source_with_a_value_wins(void **state)
{
    (void)state;
    const struct user_plan *plan = &default_plan;
    struct request all = {"h", "user=q2&user_id=q1", "user_id=c", JSON, "{\"user\":\"j\"}", NULL};
    assert_at_once(plan, all, "h");
    all.header = " \t";
    assert_at_once(plan, all, "q1");
    all.query = "user=q2&user_id=";
    assert_at_once(plan, all, "q2");
    all.query = NULL;
    assert_at_once(plan, all, "c");
    all.cookie = "user_id=";
    assert_by_body(plan, all, "j");
    all.body = NULL;
    assert_at_once(plan, all, NULL);
}

static void a_query_is_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query, *user;
    } cases[] = {
        {"user=a%20b+c%2B", "a b c+"},
        {"us%65r=x", "x"},
        {"user=%e5%BC%a0", "\xe5\xbc\xa0"},
        {"user=100%&x", "100%"},
        {"user=%4", "%4"},
        {"user=%zz%41", "%zzA"},
        {"user=a=b", "a=b"},
        {"user=first&user=second", "first"},
        {"user=&user=second", NULL},
        {"&&user&x=1", NULL},
        {"User=x", NULL},
        {"user", NULL},
        {"xuser=1&user2=2", NULL},
        {"", NULL},
        {"a=1&user=b&", "b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_at_once(&default_plan, (struct request){.query = cases[i].query}, cases[i].user);
    }
}

static void a_cookie_is_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *cookie, *user;
    } cases[] = {
        {"a=b; user_id=u%201+2; c=d", "u 1+2"},
        {"user_id=\"q\"", "q"},
        {"user_id=a;user_id=b", "a"},
        {"user_id = x ;", "x"},
        {"xuser_id=a", NULL},
        {"user_id", NULL},
        {"user_id=a=b", "a=b"},
        {"user_id=\"", "\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_at_once(&default_plan, (struct request){.cookie = cases[i].cookie}, cases[i].user);
    }
}

static void all_cookie_fields_count(void **state)
{
    (void)state;
    assert_at_once(&default_plan, (struct request){.cookie = "a=b", .more_cookie = "user_id=u"},
                   "u");
    assert_at_once(&default_plan,
                   (struct request){.cookie = "user_id=", .more_cookie = "user_id=u"}, "u");
    assert_at_once(&default_plan,
                   (struct request){.cookie = "user_id=first", .more_cookie = "user_id=u"},
                   "first");
    assert_at_once(&default_plan, (struct request){.cookie = "", .more_cookie = "x=user_id"}, NULL);
}

static void json_needs_its_content_type(void **state)
{
    (void)state;
    struct request r = {.body = "{\"user\":\"j\"}"};
    static const char *const yes[] = {
        "application/json",  "application/json;charset=utf-8", "Application/JSON ; charset=UTF-8",
        " application/json", "application/vnd.api+json",       "Application/x+JSON;v=1"};
    static const char *const no[] = {NULL,
                                     "",
                                     "text/plain",
                                     "application/jsonx",
                                     "application/x-www-form-urlencoded",
                                     "text/json",
                                     "text/x+json",
                                     "application/x+jsonx",
                                     "application/x-json"};
    for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
        r.type = yes[i];
        assert_by_body(&default_plan, r, "j");
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
        r.type = no[i];
        assert_at_once(&default_plan, r, NULL);
    }
}

static void a_form_field_is_found_behind_the_file(void **state)
{
    (void)state;
    struct request r = {.type = FORM, .body = FORM_OF("user", "f")};
    assert_by_body(&default_plan, r, "f");
    r.body = FORM_OF("other", "f");
    assert_by_body(&default_plan, r, NULL);
    r.type = "multipart/form-data";
    assert_at_once(&default_plan, r, NULL);
}

static void a_body_source_in_front_is_waited_for(void **state)
{
    (void)state;
    static const struct user_source sources[] = {{USER_FROM_JSON, {"user", 4}},
                                                 {USER_FROM_FORM, {"user", 4}},
                                                 {USER_FROM_HEADER, {"X-User-ID", 9}},
                                                 {USER_FROM_JSON, {"uid", 3}}};
    static const struct user_plan plan = {sources, 4, 100};
    struct request r = {.header = "h", .type = JSON, .body = "{\"uid\":\"u\",\"user\":\"j\"}"};
    assert_by_body(&plan, r, "j");
    r.body = "{\"uid\":\"u\",\"user\":\"\"}";
    assert_by_body(&plan, r, "h");
    r.body = "{\"user\":\"j\"} broken";
    assert_by_body(&plan, r, "h");
    r.header = NULL;
    r.body = "{\"uid\":7}";
    assert_by_body(&plan, r, "7");
    r.header = "h";
    r.type = FORM;
    r.body = FORM_OF("x", "f");
    assert_by_body(&plan, r, "h");
    r.type = "text/plain";
    assert_at_once(&plan, r, "h");
}

static void the_order_of_several_keys_is_the_configured_one(void **state)
{
    (void)state;
    static const struct user_source sources[] = {
        {USER_FROM_JSON, {"a", 1}}, {USER_FROM_JSON, {"b", 1}}, {USER_FROM_FORM, {"a", 1}},
        {USER_FROM_FORM, {"b", 1}}, {USER_FROM_JSON, {"c", 1}}, {USER_FROM_JSON, {"d", 1}},
        {USER_FROM_JSON, {"e", 1}}, {USER_FROM_JSON, {"f", 1}}}; /* more than the slots inside */
    static const struct user_plan plan = {sources, 8, 1000};
    struct request r = {.type = JSON, .body = "{\"f\":1,\"b\":2,\"c\":3,\"b\":4}"};
    assert_by_body(&plan, r, "4");
    r.body = "{\"f\":\"6\",\"a\":null,\"b\":true}";
    assert_by_body(&plan, r, "6");
    r.body = "{\"f\":\"longer than two slots of the table\"}";
    assert_by_body(&plan, r, "longer than two slots of the table");
    r.type = FORM;
    r.body = FORM_OF("b", "x");
    assert_by_body(&plan, r, "x");
}

/* With `inspect` bytes looked at. */
static void assert_cut(const char *body, uint64_t inspect, const char *user, bool cut)
{
    const struct user_plan plan = {defaults, 6, inspect};
    struct request r = {.type = JSON, .body = body};
    assert_by_body(&plan, r, user);
    struct user_id_search s;
    begin(&s, &plan, &r);
    for (const char *at = body; *at; at++) {
        user_id_body(&s, (struct bytes){at, 1});
    }
    user_id_end(&s);
    assert_value(&s, user);
    assert_int_equal(s.cut, cut);
    user_id_done(&s);
}

static void beyond_the_limit_what_was_found_before_counts(void **state)
{
    (void)state;
    assert_cut("{\"user\":\"j\"}", 12, "j", false);
    assert_cut("{\"user\":\"j\"}", 11, "j", true);
    assert_cut("{\"user\":\"j\"}", 10, NULL, true);
    assert_cut("{\"user\":\"j\"}", 0, NULL, true);
    assert_cut("{\"user\":123456,\"q\":1}", 12, NULL, true); /* not all of it */
    assert_cut("{\"user\":123456,\"q\":1}", 16, "123456", true);
    assert_cut("{\"user\":\"j\",\"q\":1}  ", 19, "j", true);
    assert_cut("{\"user\":\"j\"}      ", 15, "j", true);
    assert_cut("{\"q\":1,\"user\":\"j\"}", 7, NULL, true);
    assert_cut("{\"user\":\"j\",x: 1}", 20, NULL, false); /* broken before */
    assert_cut("{\"user\":\"j\",x: 1}", 15, NULL, false);
    const struct user_plan plan = {defaults, 6, 4};
    struct request r = {.type = JSON, .body = "{\"user\":\"j\"}"};
    struct user_id_search s;
    begin(&s, &plan, &r);
    user_id_body(&s, bytes_of(r.body));
    assert_true(s.cut);
    user_id_done(&s);
    user_id_init(&s);
    assert_false(s.cut);
}

static void what_is_certain_is_said_before_the_end(void **state)
{
    (void)state;
    struct user_id_search s;
    struct request r = {.type = JSON, .body = ""};
    begin(&s, &default_plan, &r);
    assert_int_equal(user_id_body(&s, BYTES("{\"user\":\"x\"}")), USER_ID_NEEDS_BODY);
    assert_int_equal(user_id_body(&s, BYTES("!")), USER_ID_NONE);
    user_id_done(&s);
    r.type = FORM;
    begin(&s, &default_plan, &r);
    assert_int_equal(user_id_body(&s, BYTES(FORM_OF("user", "x"))), USER_ID_FOUND);
    assert_value(&s, "x");
    user_id_done(&s);
}

static void long_values_are_kept_whole(void **state)
{
    (void)state;
    struct buffer b = {0};
    buffer_append_text(&b, "user=");
    for (int i = 0; i < 1000; i++) {
        buffer_append_format(&b, "%d,", i);
    }
    buffer_append(&b, "", 1);
    assert_at_once(&default_plan, (struct request){.query = b.data}, b.data + 5);
    buffer_done(&b);
}

static void a_search_is_small_and_a_zeroed_one_can_be_given_back(void **state)
{
    (void)state;
    struct user_id_search s = {0};
    assert_true(sizeof(s) <= 400);
    user_id_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_source_with_a_value_wins),
        cmocka_unit_test(a_query_is_decoded),
        cmocka_unit_test(a_cookie_is_decoded),
        cmocka_unit_test(all_cookie_fields_count),
        cmocka_unit_test(json_needs_its_content_type),
        cmocka_unit_test(a_form_field_is_found_behind_the_file),
        cmocka_unit_test(a_body_source_in_front_is_waited_for),
        cmocka_unit_test(the_order_of_several_keys_is_the_configured_one),
        cmocka_unit_test(beyond_the_limit_what_was_found_before_counts),
        cmocka_unit_test(what_is_certain_is_said_before_the_end),
        cmocka_unit_test(long_values_are_kept_whole),
        cmocka_unit_test(a_search_is_small_and_a_zeroed_one_can_be_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
