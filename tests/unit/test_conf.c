/* What a configuration without mistakes becomes: defaults, forms of values, overrides, anchors,
 * the environment, the canonical form, what is not supported yet. */
#include "tests/unit/conf_claims.h"

#define LISTEN       "listen: [{address: \"127.0.0.1:0\"}]\n"
#define INSTANCE     "{name: i, host: h, port: 1, token: x}"
#define APPLICATIONS "applications: {a: {user_tokens: [t], instances: [" INSTANCE "]}}\n"
#define MINIMAL      LISTEN APPLICATIONS
#define KEY_TEXT     "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static void limits_and_timeouts_have_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct conf *c = parse_good(MINIMAL);
    assert_int_equal(c->limits.connections, 8192);
    assert_int_equal(c->limits.header_size, 32768);
    assert_int_equal(c->limits.headers, 100);
    assert_int_equal(c->limits.uri_size, 8192);
    assert_int_equal(c->limits.json_inspect, 1048576);
    assert_int_equal(c->limits.body_size, 104857600);
    assert_int_equal(c->limits.body_rate, 512);
    assert_int_equal(c->limits.spool_memory, 1048576);
    assert_int_equal(c->limits.spool_memory_all, 67108864);
    assert_string_equal(c->limits.spool_dir, "/tmp");
    assert_int_equal(c->timeouts.request_head_ms, 30000);
    assert_int_equal(c->timeouts.request_body_ms, 60000);
    assert_int_equal(c->timeouts.keepalive_ms, 65000);
    assert_int_equal(c->timeouts.connect_ms, 2000);
    assert_int_equal(c->timeouts.first_byte_ms, 1200000);
    assert_int_equal(c->timeouts.idle_ms, 300000);
    assert_int_equal(c->timeouts.drain_ms, 60000);
    conf_free(c);
}

static void the_node_has_the_defaults_of_the_contract(void **state)
{
    (void)state;
    static const uint8_t v4[16] = {[10] = 0xFF, [11] = 0xFF, [12] = 127}, v6[16] = {[15] = 1};
    char host[256] = "";
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    struct conf *c = parse_good(MINIMAL);
    assert_string_equal(c->file, "some/dir/test.yaml");
    assert_string_equal(c->node_name, host);
    assert_null(c->state_dir);
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->log.access, LOG_STDOUT);
    assert_int_equal(c->log.error, LOG_STDERR);
    assert_int_equal(c->log.level, LOG_INFO);
    assert_int_equal(c->admin.allow_count, 2);
    assert_memory_equal(c->admin.allow[0].address, v4, 16);
    assert_int_equal(c->admin.allow[0].prefix, 104);
    assert_memory_equal(c->admin.allow[1].address, v6, 16);
    assert_int_equal(c->admin.allow[1].prefix, 128);
    assert_string_equal(c->admin.token, "");
    assert_false(c->has_cluster || c->has_vip);
    assert_int_equal(c->virtual_nodes, 160);
    assert_false(c->debug_headers);
    conf_free(c);
}

static void check_source(const struct conf_user_source *source, enum user_source_kind kind,
                         const char *name)
{
    assert_int_equal(source->kind, kind);
    assert_string_equal(source->name, name);
}

static void the_shared_sections_have_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct conf *c = parse_good(MINIMAL);
    const struct conf_health_check *h = &c->health_check;
    assert_true(h->enabled);
    assert_true(h->token);
    assert_string_equal(h->path, "/v1/parameters");
    assert_int_equal(h->busy_timeout_ms, 120 * 1000);
    assert_int_equal(h->interval_ms, 5000);
    assert_int_equal(h->timeout_ms, 3000);
    assert_int_equal(h->healthy_threshold, 2);
    assert_int_equal(h->unhealthy_threshold, 3);
    assert_int_equal(h->expect_count, 0);
    assert_int_equal(h->failure_status_count, 3);
    assert_memory_equal(h->failure_statuses, ((uint16_t[]){502, 503, 504}), 6);
    assert_int_equal(c->retries.attempts, 3);
    assert_int_equal(c->retries.timeout_ms, 30000);
    assert_int_equal(c->retries.status_count, 3);
    assert_memory_equal(c->retries.statuses, ((uint16_t[]){502, 503, 504}), 6);
    assert_int_equal(c->user_id.source_count, 6);
    check_source(&c->user_id.sources[0], USER_FROM_HEADER, "X-User-ID");
    check_source(&c->user_id.sources[1], USER_FROM_QUERY, "user_id");
    check_source(&c->user_id.sources[2], USER_FROM_QUERY, "user");
    check_source(&c->user_id.sources[3], USER_FROM_COOKIE, "user_id");
    check_source(&c->user_id.sources[4], USER_FROM_JSON, "user");
    check_source(&c->user_id.sources[5], USER_FROM_FORM, "user");
    assert_false(c->user_id.reject_missing);
    conf_free(c);
}

/* "200-399,401-401", or what is given. */
static void assert_expected(const struct conf_health_check *check, const char *token, bool bare,
                            const char *ranges)
{
    char text[128] = "";
    size_t count, size = 0;
    assert_int_equal(conf_check_is_bare(check, token), bare);
    const struct conf_status_range *r = conf_check_expect(check, bare, &count);
    for (size_t i = 0; i < count; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%u-%u", i > 0 ? "," : "",
                                 r[i].first, r[i].last);
    }
    assert_string_equal(text, ranges);
}

static void a_check_without_a_token_also_passes_with_401(void **state)
{
    (void)state;
    struct conf *c = parse_good("applications:\n"
                                "  a: {user_tokens: [s], instances: [" INSTANCE "]}\n"
                                "  b: {user_tokens: [t], instances: [" INSTANCE
                                "], health_check: {token: false}}\n"
                                "  c: {user_tokens: [u], instances: [" INSTANCE "],\n"
                                "      health_check: {token: false, expect: [204]}}\n" LISTEN);
    const struct conf_health_check *a = &c->applications[0].health_check;
    const struct conf_health_check *b = &c->applications[1].health_check;
    const struct conf_health_check *given = &c->applications[2].health_check;
    assert_expected(a, "app-1", false, "200-399");
    assert_expected(a, "dataset-1", true, "200-399,401-401");
    assert_expected(a, "ds-1", true, "200-399,401-401");
    assert_expected(a, "xds-1", false, "200-399");
    assert_expected(a, "dataset", false, "200-399");
    assert_expected(b, "app-1", true, "200-399,401-401");
    assert_expected(given, "app-1", true, "204-204");
    conf_free(c);
}

static void an_application_has_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct conf *c = parse_good(MINIMAL);
    assert_int_equal(c->application_count, 1);
    const struct conf_application *a = &c->applications[0];
    assert_string_equal(a->name, "a");
    assert_int_equal(a->algorithm, ALGORITHM_CONSISTENT_HASH);
    assert_false(a->fail_when_all_down || a->queue_set);
    assert_int_equal(a->queue.size, 100);
    assert_int_equal(a->queue.timeout_ms, 30000);
    assert_int_equal(a->health_check.interval_ms, 5000);
    assert_int_equal(a->instance_count, 1);
    const struct conf_instance *i = &a->instances[0];
    assert_false(i->tls.enabled);
    assert_true(i->tls.verify);
    assert_null(i->tls.ca);
    assert_null(i->tls.server_name);
    assert_int_equal(i->weight, 1);
    assert_int_equal(i->max_fails, 3);
    assert_int_equal(i->fail_timeout_ms, 30000);
    assert_int_equal(i->max_in_flight, 0);
    assert_int_equal(i->line, 2);
    conf_free(c);
}

static void cluster_and_vip_have_the_defaults_of_the_contract(void **state)
{
    (void)state;
    struct conf *c = parse_good(MINIMAL "cluster: {keys: [\"" KEY_TEXT "\"]}\n"
                                        "vip: {address: 10.0.0.100/24, interface: eth0}\n");
    assert_true(c->has_cluster && c->has_vip);
    assert_string_equal(c->cluster.name, "dify");
    assert_string_equal(c->cluster.bind_host, "0.0.0.0");
    assert_int_equal(c->cluster.bind_port, 7946);
    assert_null(c->cluster.advertise);
    assert_int_equal(c->cluster.join_count, 0);
    assert_int_equal(c->cluster.key_count, 1);
    for (uint8_t i = 0; i < 32; i++) {
        assert_int_equal(c->cluster.keys[0][i], i);
    }
    assert_int_equal(c->cluster.profile, GOSSIP_LAN);
    assert_string_equal(c->vip.address, "10.0.0.100");
    assert_int_equal(c->vip.prefix, 24);
    assert_int_equal(c->vip.router_id, 51);
    assert_int_equal(c->vip.priority, 120);
    assert_int_equal(c->vip.advert_interval_ms, 100);
    assert_int_equal(c->vip.peer_count, 0);
    assert_string_equal(c->vip.track_file, "/run/difyring/vrrp");
    conf_free(c);
}

static void durations_sizes_and_booleans_have_all_their_forms(void **state)
{
    (void)state;
    struct conf *c = parse_good(
        MINIMAL
        "timeouts: {request_head: 30, request_body: 1.5, keepalive: 100ms, connect: \"5s\",\n"
        "  first_byte: 2m, idle: 1h, drain: 0}\n"
        "limits: {connections: 1_000, header_size: 2048, headers: 0x10, uri_size: 4KiB,\n"
        "  json_inspect: 0, body_size: 2GiB, body_rate: 1KiB, spool_memory: 3MiB, "
        "  spool_memory_all: 5MiB, spool_dir: "
        "spool}\n"
        "debug_headers: Yes\nhealth_check: {enabled: off}\nworkers: auto\n");
    assert_int_equal(c->timeouts.request_head_ms, 30000);
    assert_int_equal(c->timeouts.request_body_ms, 1500);
    assert_int_equal(c->timeouts.keepalive_ms, 100);
    assert_int_equal(c->timeouts.connect_ms, 5000);
    assert_int_equal(c->timeouts.first_byte_ms, 120000);
    assert_int_equal(c->timeouts.idle_ms, 3600000);
    assert_int_equal(c->timeouts.drain_ms, 0);
    assert_int_equal(c->limits.connections, 1000);
    assert_int_equal(c->limits.header_size, 2048);
    assert_int_equal(c->limits.headers, 16);
    assert_int_equal(c->limits.uri_size, 4096);
    assert_int_equal(c->limits.json_inspect, 0);
    assert_true(c->limits.body_size == 2ULL << 30);
    assert_int_equal(c->limits.body_rate, 1024);
    assert_int_equal(c->limits.spool_memory, 3 << 20);
    assert_int_equal(c->limits.spool_memory_all, 5 << 20);
    assert_string_equal(c->limits.spool_dir, "some/dir/spool");
    assert_true(c->debug_headers);
    assert_false(c->health_check.enabled);
    conf_free(c);
}

static void a_bare_number_is_text_where_text_is_wanted(void **state)
{
    (void)state;
    struct conf *c =
        parse_good(LISTEN "node: {name: 007}\n"
                          "applications: {1: {user_tokens: [12345, \"12\"], instances: "
                          "[{name: 1.0, host: h, port: 1, token: 0x10}]}}\n");
    assert_string_equal(c->node_name, "007");
    assert_string_equal(c->applications[0].name, "1");
    assert_string_equal(c->applications[0].user_tokens[0], "12345");
    assert_string_equal(c->applications[0].user_tokens[1], "12");
    assert_string_equal(c->applications[0].instances[0].name, "1.0");
    assert_string_equal(c->applications[0].instances[0].token, "0x10");
    conf_free(c);
}

static void a_log_goes_to_a_path_a_stream_or_nowhere(void **state)
{
    (void)state;
    struct conf *c = parse_good(MINIMAL "log: {access: off, error: /var/log/e.log}\n");
    assert_int_equal(c->log.access, LOG_OFF);
    assert_int_equal(c->log.error, LOG_FILE);
    assert_string_equal(c->log.error_path, "/var/log/e.log");
    conf_free(c);
    c = parse_good(MINIMAL "log: {access: ./stdot, error: \"off\", level: debug}\n");
    assert_string_equal(c->log.access_path, "some/dir/./stdot");
    assert_int_equal(c->log.error, LOG_OFF);
    assert_int_equal(c->log.level, LOG_DEBUG);
    conf_free(c);
}

static void addresses_have_host_and_port(void **state)
{
    (void)state;
    struct conf *c =
        parse_good("listen:\n- {address: \"0.0.0.0:82\"}\n- address: \"[::]:446\"\n"
                   "  tls: [{certificate: site.crt, key: /k}]\n"
                   "admin: {allow: [10.1.2.3/8, \"2001:db8::1\"]}\n"
                   "applications: {a: {user_tokens: [t], instances: ["
                   "{name: i, host: \"[::1]\", port: 1, token: x},"
                   "{name: j, host: my_dify.local, port: 65535, token: x, tls: true}]}}\n");
    assert_string_equal(c->listen[0].host, "0.0.0.0");
    assert_int_equal(c->listen[0].port, 82);
    assert_string_equal(c->listen[1].address, "[::]:446");
    assert_string_equal(c->listen[1].host, "::");
    assert_int_equal(c->listen[1].port, 446);
    assert_string_equal(c->listen[1].tls[0].certificate, "some/dir/site.crt");
    assert_string_equal(c->listen[1].tls[0].key, "/k");
    assert_int_equal(c->listen[1].line, 3);
    assert_int_equal(c->admin.allow[0].prefix, 104);
    assert_int_equal(c->admin.allow[0].address[13], 0); /* host bits are cleared */
    assert_int_equal(c->admin.allow[1].prefix, 128);
    assert_string_equal(c->applications[0].instances[0].host, "::1");
    assert_string_equal(c->applications[0].instances[1].host, "my_dify.local");
    assert_true(c->applications[0].instances[1].tls.enabled);
    conf_free(c);
}

static void an_application_overrides_key_by_key(void **state)
{
    (void)state;
    struct conf *c = parse_good(
        "applications:\n"
        "  b: {user_tokens: [t], instances: [" INSTANCE "], health_check: {interval: 9s},\n"
        "      retries: {statuses: []}, user_id: {missing: reject}}\n"
        "  a: {user_tokens: [u], instances: [" INSTANCE "]}\n"
        "health_check: {path: /x, interval: 7s}\nretries: {attempts: 2}\n" LISTEN);
    const struct conf_application *a = &c->applications[0], *b = &c->applications[1];
    assert_string_equal(a->name, "a"); /* in byte order, whatever the file's */
    assert_string_equal(b->name, "b");
    assert_int_equal(a->health_check.interval_ms, 7000);
    assert_int_equal(b->health_check.interval_ms, 9000);
    assert_string_equal(b->health_check.path, "/x");
    assert_int_equal(b->retries.attempts, 2);
    assert_int_equal(b->retries.status_count, 0);
    assert_int_equal(a->retries.status_count, 3);
    assert_true(b->user_id.reject_missing);
    assert_false(a->user_id.reject_missing);
    assert_int_equal(b->user_id.source_count, 6);
    conf_free(c);
}

static void anchors_aliases_and_merge_keys_work(void **state)
{
    (void)state;
    struct conf *c =
        parse_good(LISTEN "applications:\n"
                          "  a:\n    user_tokens: [t]\n    instances:\n"
                          "      - &one {name: i, host: h, port: 1, token: x, weight: 5}\n"
                          "      - {<<: *one, name: j}\n"
                          "      - name: k\n        <<: [{weight: 7}, *one]\n"
                          "  b: {user_tokens: [u], instances: [*one]}\n");
    const struct conf_instance *i = c->applications[0].instances;
    assert_string_equal(i[1].name, "j");
    assert_string_equal(i[1].host, "h");
    assert_int_equal(i[1].weight, 5);
    assert_string_equal(i[2].name, "k");
    assert_int_equal(i[2].weight, 7);
    assert_string_equal(c->applications[1].instances[0].name, "i");
    conf_free(c);
}

static void an_own_key_hides_a_merged_one(void **state)
{
    (void)state;
    struct conf *c = parse_good(LISTEN "applications:\n"
                                       "  <<: [{a: 1, b: {user_tokens: [u], instances: [" INSTANCE
                                       "]}}, {b: 2}]\n"
                                       "  a: {user_tokens: [t], instances: [" INSTANCE "]}\n");
    assert_int_equal(c->application_count, 2);
    assert_string_equal(c->applications[0].name, "a");
    assert_string_equal(c->applications[1].name, "b");
    conf_free(c);
}

static void the_environment_replaces_names_in_values(void **state)
{
    (void)state;
    setenv("DIFYRING_TEST_WORD", "word", 1);
    setenv("DIFYRING_TEST_PORT", "8080", 1);
    setenv("DIFYRING_TEST_EMPTY", "", 1);
    struct conf *c = parse_good(
        LISTEN "admin: {token: \"${DIFYRING_TEST_EMPTY}\"}\n"
               "applications:\n  a:\n    user_tokens: "
               "[\"a-${DIFYRING_TEST_WORD}-$b-${DIFYRING_TEST_PORT}\"]\n"
               "    instances: [{name: i, host: h, port: \"${DIFYRING_TEST_PORT}\", token: x}]\n");
    assert_string_equal(c->admin.token, "");
    assert_string_equal(c->applications[0].user_tokens[0], "a-word-$b-8080");
    assert_int_equal(c->applications[0].instances[0].port, 8080);
    conf_free(c);
}

static char *canonical_of(const char *text)
{
    size_t size;
    struct conf *c = parse_good(text);
    char *canonical = conf_canonical(c, &size);
    assert_int_equal(strlen(canonical), size);
    conf_free(c);
    return canonical;
}

static void equal_content_has_one_canonical_form(void **state)
{
    (void)state;
    char *flow = canonical_of(MINIMAL);
    char *block =
        canonical_of("node: {name: other}\napplications:\n  \"a\":\n    instances:\n"
                     "    - token: x\n      port: 1\n      weight: 1 # as by default\n"
                     "      fail_timeout: 30s\n      name: i\n      host: \"h\"\n"
                     "    user_tokens:\n    - t\nretries: {timeout: 30}\nworkers: 2\n" LISTEN);
    char *other = canonical_of(MINIMAL "retries: {timeout: 31}\n");
    assert_string_equal(flow, block);
    assert_string_not_equal(flow, other);
    char again_text[8192];
    snprintf(again_text, sizeof again_text, "%s%s", LISTEN, flow);
    char *again = canonical_of(again_text);
    assert_string_equal(flow, again);
    free(flow);
    free(block);
    free(other);
    free(again);
}

static void the_canonical_form_of_everything_gives_itself(void **state)
{
    (void)state;
    char text[8192];
    char *first = canonical_of(
        MINIMAL
        "debug_headers: on\nuser_id: {sources: [\"query:a\\\"\\\\b\", json:c], missing: reject}\n"
        "consistent_hash: {virtual_nodes: 7}\nhealth_check: {enabled: no, expect: [200, "
        "300-302],\n  token: no, busy_timeout: 2m}\n");
    char *second = canonical_of(
        LISTEN
        "applications:\n"
        "  c: {user_tokens: [z, y, \"\\\\\"], algorithm: ip_hash, all_down: fail, instances: "
        "[" INSTANCE "]}\n"
        "  d: {user_tokens: [v], algorithm: least_connections, queue: {size: 3}, instances: [\n"
        "    {name: j, host: \"::1\", port: 443, token: \"\\\"\", tls: {ca: c.pem, server_name: "
        "s}},\n"
        "    {name: k, host: g, port: 443, token: x, tls: {ca: /c.pem, verify: false}}]}\n"
        "  e: {user_tokens: [w], algorithm: weighted_round_robin, instances: [" INSTANCE "]}\n");
    assert_non_null(strstr(first, "token: false, "));
    assert_non_null(strstr(first, "busy_timeout: 120000ms, "));
    assert_non_null(strstr(first, "expect: [200-200, 300-302]"));
    assert_null(strstr(second, "expect"));            /* it depends on each instance's token */
    assert_non_null(strstr(second, "ca: \"c.pem\"")); /* wherever the file lies */
    assert_non_null(strstr(second, "- \"\\\\\"\n      - \"y\"\n      - \"z\"\n"));
    char *const forms[] = {first, second};
    for (size_t i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s%s", LISTEN, forms[i]);
        char *again = canonical_of(text);
        assert_string_equal(forms[i], again);
        free(again);
        free(forms[i]);
    }
}

static void what_the_schema_takes_is_built(void **state)
{
    (void)state;
    struct conf_problems problems;
    struct conf *c = parse_good(MINIMAL);
    assert_int_equal(conf_unsupported(c, &problems), 0);
    conf_problems_free(&problems);
    conf_free(c);
    c = parse_good("listen:\n- {address: \"127.0.0.1:0\", tls: [{certificate: c, key: k}]}\n"
                   "cluster:\n  keys: [\"" KEY_TEXT "\"]\n"
                   "vip: {address: 10.0.0.100/24, interface: eth0}\n"
                   "applications:\n  a:\n    queue: {}\n    user_tokens: [t]\n    instances:\n"
                   "    - {name: i, host: h, port: 1, token: x, tls: {verify: false}}\n"
                   "    - {name: j, host: h, port: 1, token: x, max_in_flight: 8}\n");
    assert_int_equal(conf_unsupported(c, &problems), 0);
    conf_problems_free(&problems);
    conf_free(c);
}

static void tokens_of_a_few_characters_are_warned_of(void **state)
{
    (void)state;
    struct conf_problems problems;
    struct conf *c = parse_good("listen:\n- {address: \"127.0.0.1:0\"}\n"
                                "admin: {token: k3y}\n"
                                "applications:\n  a:\n    user_tokens: [t, four, fourb]\n"
                                "    instances:\n"
                                "    - {name: i, host: h, port: 1, token: four}\n"
                                "    - {name: j, host: h, port: 1, token: k3y}\n");
    static const unsigned lines[] = {3, 5, 9};
    assert_int_equal(conf_weak(c, &problems), 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(problems.at[i].line, lines[i]);
        assert_null(strstr(problems.at[i].message, "k3y"));
    }
    assert_non_null(strstr(problems.at[1].message, "1 of the user tokens"));
    conf_problems_free(&problems);
    conf_free(c);
}

static void admins_from_anywhere_without_a_token_are_warned_of(void **state)
{
    (void)state;
    static const struct {
        const char *admin;
        bool warned;
    } rows[] = {
        {"{allow: [0.0.0.0/0]}", true},
        {"{allow: [0.0.0.0/0], token: long-enough}", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[400];
        struct conf_problems problems;
        snprintf(text, sizeof text,
                 "listen:\n- {address: \"127.0.0.1:0\"}\nadmin: %s\n"
                 "applications: {a: {user_tokens: [eight888], instances: "
                 "[{name: i, host: h, port: 1, token: eight999}]}}\n",
                 rows[i].admin);
        struct conf *c = parse_good(text);
        assert_int_equal(conf_weak(c, &problems), rows[i].warned);
        conf_problems_free(&problems);
        conf_free(c);
    }
}

static void a_queue_that_nobody_stands_in_is_warned_of(void **state)
{
    (void)state;
    static const struct {
        const char *queue, *more, *warning;
    } cases[] = {
        {"{}", "", "has no effect"},
        {"{timeout: 61s}", ", max_in_flight: 3", "not below the 60 s"},
        {"{timeout: 59s}", ", max_in_flight: 3", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        struct conf_problems problems;
        snprintf(text, sizeof(text),
                 "listen:\n- {address: \"127.0.0.1:0\"}\n"
                 "applications:\n  a:\n    queue: %s\n    user_tokens: [token]\n"
                 "    instances: [{name: i, host: H, port: 1, token: token}]\n"
                 "  b:\n    user_tokens: [other]\n" /* a limit is one of the host and port */
                 "    instances: [{name: i, host: h, port: 1, token: token%s}]\n",
                 cases[i].queue, cases[i].more);
        struct conf *c = parse_good(text);
        assert_int_equal(conf_weak(c, &problems), cases[i].warning ? 1 : 0);
        assert_true(!cases[i].warning ||
                    (problems.at[0].line == 5 && strstr(problems.at[0].message, cases[i].warning)));
        conf_problems_free(&problems);
        conf_free(c);
    }
}

#define ONE_OF(instances) "applications: {a: {user_tokens: [t], instances: [" instances "]}}\n"

static void a_name_may_end_in_the_roots_dot(void **state)
{
    (void)state;
    struct conf *c =
        parse_good(LISTEN "cluster: {join: [\"node-b.:7946\"], keys: "
                          "[\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]}\n" //
                   ONE_OF("{name: i, host: dify1.default.svc.cluster.local., port: 1, token: x},"
                          "{name: j, host: a., port: 1, token: x}"));
    assert_string_equal(c->applications[0].instances[0].host, "dify1.default.svc.cluster.local.");
    assert_string_equal(c->applications[0].instances[1].host, "a.");
    assert_string_equal(c->cluster.join[0], "node-b.:7946");
    conf_free(c);
    static const char *const WRONG[] = {".", "..", "a..", ".a.", "a.b..", "10.0.0.1.", "a.1."};
    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        char text[400];
        struct conf_problems problems;
        int size = snprintf(text, sizeof(text),
                            LISTEN ONE_OF("{name: i, host: \"%s\", port: 1, token: x}"), WRONG[i]);
        assert_null(conf_parse("f", text, (size_t)size, &problems));
        assert_int_equal(problems.count, 1);
        conf_problems_free(&problems);
    }
}

static void pages_of_all_origins_of_some_or_of_none(void **state)
{
    (void)state;
    struct conf *c = parse_good(LISTEN ONE_OF(INSTANCE));
    assert_int_equal(c->cors.count, 1);
    assert_string_equal(c->cors.origins[0], "*");
    conf_free(c);
    c = parse_good(LISTEN "cors: { origins: [] }\n" ONE_OF(INSTANCE));
    assert_int_equal(c->cors.count, 0);
    conf_free(c);
    c = parse_good(LISTEN "cors: { origins: [\"https://chat.example.com\", \"http://[::1]:80\", "
                          "\"null\", chrome-extension://abc] }\n" ONE_OF(INSTANCE));
    assert_int_equal(c->cors.count, 4);
    assert_string_equal(c->cors.origins[0], "https://chat.example.com");
    assert_string_equal(c->cors.origins[3], "chrome-extension://abc");
    conf_free(c);
}

static void warn_is_warning(void **state)
{
    (void)state;
    struct conf *c = parse_good(LISTEN "log: { level: warn }\n" ONE_OF(INSTANCE));
    assert_int_equal(c->log.level, LOG_WARNING);
    conf_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_and_timeouts_have_the_defaults_of_the_contract),
        cmocka_unit_test(the_node_has_the_defaults_of_the_contract),
        cmocka_unit_test(the_shared_sections_have_the_defaults_of_the_contract),
        cmocka_unit_test(a_check_without_a_token_also_passes_with_401),
        cmocka_unit_test(an_application_has_the_defaults_of_the_contract),
        cmocka_unit_test(cluster_and_vip_have_the_defaults_of_the_contract),
        cmocka_unit_test(durations_sizes_and_booleans_have_all_their_forms),
        cmocka_unit_test(a_bare_number_is_text_where_text_is_wanted),
        cmocka_unit_test(a_log_goes_to_a_path_a_stream_or_nowhere),
        cmocka_unit_test(addresses_have_host_and_port),
        cmocka_unit_test(an_application_overrides_key_by_key),
        cmocka_unit_test(anchors_aliases_and_merge_keys_work),
        cmocka_unit_test(an_own_key_hides_a_merged_one),
        cmocka_unit_test(the_environment_replaces_names_in_values),
        cmocka_unit_test(equal_content_has_one_canonical_form),
        cmocka_unit_test(the_canonical_form_of_everything_gives_itself),
        cmocka_unit_test(what_the_schema_takes_is_built),
        cmocka_unit_test(tokens_of_a_few_characters_are_warned_of),
        cmocka_unit_test(a_queue_that_nobody_stands_in_is_warned_of),
        cmocka_unit_test(a_name_may_end_in_the_roots_dot),
        cmocka_unit_test(pages_of_all_origins_of_some_or_of_none),
        cmocka_unit_test(warn_is_warning),
        cmocka_unit_test(admins_from_anywhere_without_a_token_are_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
