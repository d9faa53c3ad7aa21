/* Files nobody meant: cut short, of the wrong type everywhere, too large, no files at all, made to
 * explode; and that no message tells a secret. Run under -DDIFYRING_SANITIZE=address,undefined,
 * too. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/conf_claims.h"

#define LISTEN "listen: [{address: \"127.0.0.1:0\"}]\n"

/* Every key of the contract, each on its own line; key_file apart, which excludes keys. */
static const char *const every_key[] = {
    "node:",
    "  name: n",
    "  state_dir: s",
    "listen:",
    "  - address: 127.0.0.1:0",
    "    tls:",
    "      - certificate: c",
    "        key: k",
    "workers: 2",
    "limits:",
    "  connections: 1",
    "  header_size: 2KiB",
    "  headers: 9",
    "  uri_size: 1KiB",
    "  json_inspect: 1",
    "  body_size: 1",
    "  body_rate: 1",
    "  spool_memory: 1",
    "  spool_memory_all: 1",
    "  spool_dir: d",
    "timeouts:",
    "  request_head: 1",
    "  request_body: 1",
    "  keepalive: 1",
    "  connect: 1",
    "  first_byte: 1",
    "  idle: 1",
    "  drain: 1",
    "log:",
    "  access: off",
    "  error: stdout",
    "  level: info",
    "admin:",
    "  allow: []",
    "  token: a",
    "cluster:",
    "  name: c",
    "  bind: 0.0.0.0:1",
    "  advertise: h:1",
    "  join: [j:1]",
    "  keys: [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"]",
    "  profile: wan",
    "vip:",
    "  address: 10.0.0.1/24",
    "  interface: e",
    "  router_id: 1",
    "  priority: 1",
    "  advert_interval: 1",
    "  peers: []",
    "  track_file: f",
    "health_check:",
    "  enabled: no",
    "  token: no",
    "  path: /",
    "  interval: 1",
    "  timeout: 1",
    "  busy_timeout: 1",
    "  healthy_threshold: 1",
    "  unhealthy_threshold: 1",
    "  expect: [200]",
    "  failure_statuses: []",
    "retries:",
    "  attempts: 1",
    "  timeout: 1",
    "  statuses: []",
    "consistent_hash:",
    "  virtual_nodes: 1",
    "user_id:",
    "  sources: [query:q]",
    "  missing: reject",
    "debug_headers: on",
    "applications:",
    "  app:",
    "    user_tokens: [t]",
    "    algorithm: ip_hash",
    "    all_down: fail",
    "    queue:",
    "      size: 1",
    "      timeout: 1",
    "    health_check:",
    "      path: /h",
    "    retries:",
    "      attempts: 1",
    "    user_id:",
    "      missing: reject",
    "    instances:",
    "      - name: i",
    "        host: h",
    "        port: 1",
    "        token: t",
    "        weight: 1",
    "        max_fails: 0",
    "        fail_timeout: 1",
    "        max_in_flight: 1",
    "        tls:",
    "          verify: no",
    "          ca: ca",
    "          server_name: s",
};
enum { LINES = sizeof every_key / sizeof every_key[0], TEXT_SIZE = 8192 };

static size_t indent_of(const char *line)
{
    return strspn(line, " -");
}

/* The text with the value of line `changed` replaced by `value`; what stood below it goes, too. */
static void text_with(size_t changed, const char *value, char text[TEXT_SIZE])
{
    size_t used = 0, dropped = 0;
    for (size_t i = 0; i < LINES; i++) {
        if (i > changed && !dropped && indent_of(every_key[i]) > indent_of(every_key[changed])) {
            continue;
        }
        dropped = i > changed; /* the rest stays */
        int length = (int)strlen(every_key[i]);
        if (i == changed) {
            length = (int)(strchr(every_key[i], ':') - every_key[i]) + 1;
        }
        used += (size_t)snprintf(text + used, TEXT_SIZE - used, "%.*s %s\n", length, every_key[i],
                                 i == changed ? value : "");
    }
    assert_true(used < TEXT_SIZE);
}

static void assert_problem_at(const char *text, unsigned line)
{
    struct conf_problems problems;
    struct conf *conf = parse_exactly(text, strlen(text), &problems);
    bool found = false;
    for (size_t i = 0; i < problems.count; i++) {
        found = found || problems.at[i].line == line;
    }
    if (conf || !found) {
        print_error("no problem at line %u of\n%s\n", line, text);
        fail();
    }
    conf_problems_free(&problems);
}

static void every_key_together_is_a_good_file(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    text_with(LINES, "", text);
    conf_free(parse_good(text));
}

static void every_wrong_type_of_every_key_is_a_problem_at_its_line(void **state)
{
    (void)state;
    static const char *const wrong[] = {"{zzz: 1}", "[[zzz]]", "~", "\"\\x01\""};
    static const char *const booleans[] = {"enabled", "verify", "debug_headers", "tls",
                                           "token: no"};
    char text[TEXT_SIZE];
    for (size_t i = 0; i < LINES; i++) {
        for (size_t j = 0; j < sizeof wrong / sizeof wrong[0]; j++) {
            text_with(i, wrong[j], text);
            assert_problem_at(text, (unsigned)i + 1);
        }
        const char *scalar = "true";
        for (size_t j = 0; j < sizeof booleans / sizeof booleans[0]; j++) {
            scalar = strstr(every_key[i], booleans[j]) ? "3" : scalar;
        }
        text_with(i, scalar, text);
        assert_problem_at(text, (unsigned)i + 1);
    }
}

static char *read_example(const char *name, size_t *ret_size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/conf/examples/%s", SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = malloc(65536);
    assert_non_null(text);
    *ret_size = fread(text, 1, 65536, file);
    assert_in_range(*ret_size, 1, 65535);
    fclose(file);
    return text;
}

static void the_examples_are_good_and_run_today(void **state)
{
    (void)state;
    static const char *const names[] = {
        "quickstart-a.yaml",      "quickstart-b.yaml", "full.yaml", "two-applications.yaml",
        "behind-a-balancer.yaml", "slots.yaml",        "tls.yaml",  "quotas.yaml"};
    setenv("DIFYRING_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[512];
        struct conf_problems problems;
        snprintf(path, sizeof path, "%s/conf/examples/%s", SOURCE_DIR, names[i]);
        struct conf *conf = conf_load(path, &problems);
        assert_non_null(conf);
        assert_int_equal(problems.count, 0);
        assert_int_equal(conf_unsupported(conf, &problems), 0);
        conf_problems_free(&problems);
        conf_free(conf);
    }
}

/* full.yaml shows the defaults: the same configuration with only what is required is equal. */
static void the_full_example_shows_the_defaults(void **state)
{
    (void)state;
    size_t size;
    char *text = read_example("full.yaml", &size);
    struct conf_problems problems;
    struct conf *full = conf_parse("full.yaml", text, size, &problems);
    struct conf *bare = parse_good(
        LISTEN "applications: {customer_service: {user_tokens: [usertoken--customer-service-v1],"
               "instances: [{name: dify1, host: 127.0.0.1, port: 9101, token: "
               "app-customer-service-1}]}}\n");
    char *canonical = conf_canonical(full, &size), *expected = conf_canonical(bare, &size);
    assert_string_equal(canonical, expected);
    assert_memory_equal(&full->timeouts, &bare->timeouts, offsetof(struct conf_timeouts, line));
    assert_int_equal(full->limits.connections, bare->limits.connections);
    assert_int_equal(full->limits.body_size, bare->limits.body_size);
    free(canonical);
    free(expected);
    free(text);
    conf_free(full);
    conf_free(bare);
}

static void a_file_cut_anywhere_is_read_or_refused(void **state)
{
    (void)state;
    size_t size, refused = 0;
    char *text = read_example("full.yaml", &size);
    for (size_t cut = 0; cut < size; cut++) {
        struct conf_problems problems;
        struct conf *conf = parse_exactly(text, cut, &problems);
        assert_true((conf == NULL) == (problems.count > 0));
        refused += conf == NULL;
        conf_problems_free(&problems);
        conf_free(conf);
    }
    assert_true(refused > size / 2);
    free(text);
}

static void no_message_holds_a_value_of_the_file(void **state)
{
    (void)state;
    static const char secret[] = "SeCrEt-7f3a";
    char line[256], text[TEXT_SIZE];
    for (size_t i = 0; i < LINES; i++) {
        static const char *const shapes[] = {
            "\"%s %s\"", "{%s: %s}", "[[%s, %s]]", "[%s x, %s]", "{%s: 1, %s: 2, \"a b\": {}}",
            "*%s%s",     "!%s%s x",  "%s: %s"};
        for (size_t j = 0; j < sizeof shapes / sizeof shapes[0]; j++) {
            struct conf_problems problems;
            char *format = strdup(shapes[j]), *first = strstr(format, "%s");
            *first = '\0';
            char *second = strstr(first + 2, "%s");
            *second = '\0';
            snprintf(line, sizeof line, "%s%s%s%s%s", format, secret, first + 2, secret,
                     second + 2);
            free(format);
            text_with(i, line, text);
            struct conf *conf = parse_exactly(text, strlen(text), &problems);
            for (size_t k = 0; k < problems.count; k++) {
                assert_null(strcasestr(problems.at[k].message, "secret"));
            }
            conf_problems_free(&problems);
            conf_free(conf);
        }
    }
}

static void a_thousand_problems_are_counted_and_a_hundred_listed(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs(LISTEN "applications: {a: {user_tokens: [t], instances: [", out);
    for (int i = 0; i < 250; i++) {
        fprintf(out, "\n  {name: n%d, host: /, port: 0, token: \"\", wait: 1},", i);
    }
    fputs("]}}\n", out);
    fclose(out);
    struct conf_problems problems;
    assert_null(parse_exactly(text, size, &problems));
    assert_int_equal(problems.count, CONF_PROBLEMS_MAX);
    assert_int_equal(problems.unlisted, 1000 - CONF_PROBLEMS_MAX);
    assert_int_equal(problems.at[99].line, 27); /* in order: four a line from line 3 */
    conf_problems_free(&problems);
    free(text);
}

/* Each line holds the one before nine times: 9^20 values if they were copied. */
static void an_alias_bomb_is_refused_at_once(void **state)
{
    (void)state;
    char text[TEXT_SIZE], *end = text;
    end += sprintf(end, "l0: &l0 [x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 20; i++) {
        end += sprintf(end, "l%d: &l%d [", i, i);
        for (int j = 0; j < 9; j++) {
            end += sprintf(end, "*l%d,", i - 1);
        }
        end += sprintf(end, "]\n");
    }
    assert_problems(text, (size_t)(end - text),
                    "7:5: more than 2097152 values once every alias is followed");
}

static void the_largest_configuration_is_read(void **state)
{
    (void)state;
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    fputs(LISTEN "applications:\n  a0: &a\n    user_tokens: [t]\n    instances:\n", out);
    for (int i = 0; i < CONF_INSTANCES_MAX; i++) {
        fprintf(out, "      - {name: i%d, host: h, port: 1, token: x}\n", i);
    }
    for (int i = 1; i < CONF_APPLICATIONS_MAX; i++) {
        fprintf(out, "  a%d: {<<: *a, user_tokens: [t%d]}\n", i, i);
    }
    fclose(out);
    struct conf *conf = parse_good(text);
    assert_int_equal(conf->application_count, CONF_APPLICATIONS_MAX);
    assert_int_equal(conf->applications[255].instance_count, CONF_INSTANCES_MAX);
    conf_free(conf);
    free(text);
}

static void endless_nesting_is_refused_at_once(void **state)
{
    (void)state;
    static const char *const openings[] = {"[", "{a: ", "- ", "? "};
    for (size_t i = 0; i < 4; i++) {
        size_t length = strlen(openings[i]), size = length * 500000;
        char *text = malloc(size);
        assert_non_null(text);
        for (size_t at = 0; at < size; at += length) {
            memcpy(text + at, openings[i], length);
        }
        struct conf_problems problems;
        assert_null(conf_parse("deep", text, size, &problems));
        assert_int_equal(problems.count, 1);
        conf_problems_free(&problems);
        free(text);
    }
}

/* `before`, then `item` printed with its number `count` times, then `after`: one problem that holds
 * `expected`. */
static void assert_too_many(const char *before, const char *item, int count, const char *after,
                            const char *expected)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    const char *number = strchr(item, '#');
    assert_non_null(number);
    fputs(before, out);
    for (int i = 0; i < count; i++) {
        fprintf(out, "%.*s%d%s", (int)(number - item), item, i, number + 1);
    }
    fputs(after, out);
    fclose(out);
    struct conf_problems problems;
    assert_null(conf_parse("many", text, size, &problems));
    char *found = problems_text(&problems);
    if (!strstr(found, expected)) {
        print_error("expected %s in\n%.2000s\n", expected, found);
        fail();
    }
    free(found);
    conf_problems_free(&problems);
    free(text);
}

static void every_maximum_is_enforced(void **state)
{
    (void)state;
    static const char instances[] = "], instances: [{name: i, host: h, port: 1, token: x}]}}\n";
    static const char one[] = LISTEN "applications: {a: {user_tokens: [t], instances: [";
    char *word = malloc(100001);
    assert_non_null(word);
    memset(word, 'w', 100000);
    word[100000] = '\0';
    setenv("DIFYRING_TEST_LONG", word, 1);
    free(word);
    assert_too_many(LISTEN "applications: {", "a#: {},", 257, "}", "257 applications; at most 256");
    assert_too_many(one, "{name: n#, host: h, port: 1, token: x},", 257, "]}}",
                    "`instances` has 257 instances; at most 256");
    /* and what is inside is judged all the same */
    assert_too_many("applications: {", "a#: {user_tokens: [t]},", 257, "}\nlisten: [{}]\n",
                    "is used already by application `a0`");
    assert_too_many("workers: 0\nlisten: [", "{address: \"127.0.0.1:#\", x: 1},", 65, "]\n",
                    "2:35: unknown key `x`");
    assert_too_many(LISTEN "applications: {a: {user_tokens: [", "t#,", 65537, instances,
                    "`user_tokens` has 65537 tokens; at most 65536");
    assert_too_many("{", "k#: 1,", 513, "}", "more than 512 keys in one mapping");
    assert_too_many("<<: [", "{k#: 1},", 17, "]", "`<<` takes at most 16 mappings");
    assert_too_many("[", "&a# x,", 65537, "]", "too many anchors");
    assert_too_many("[", "\"#${DIFYRING_TEST_LONG}\",", 168, "]",
                    "the values from the environment are too long together");
    assert_too_many("", "# and a comment of some length\n", 1 << 19, "",
                    "larger than 16777216 bytes");
    unsetenv("DIFYRING_TEST_LONG");
}

static void assert_unreadable(const char *path, const char *reason)
{
    struct conf_problems problems;
    assert_null(conf_load(path, &problems));
    assert_int_equal(problems.count, 1);
    assert_int_equal(problems.at[0].line, 0);
    assert_string_equal(problems.at[0].file, path);
    if (!strstr(problems.at[0].message, reason)) {
        print_error("%s: %s\n", path, problems.at[0].message);
        fail();
    }
    conf_problems_free(&problems);
}

static void what_is_no_readable_file_is_one_clear_problem(void **state)
{
    (void)state;
    char directory[] = "/tmp/difyring-conf-XXXXXX", path[256];
    assert_non_null(mkdtemp(directory));
    assert_unreadable(directory, "is a directory");
    snprintf(path, sizeof path, "%s/none", directory);
    assert_unreadable(path, "No such file");
    snprintf(path, sizeof path, "%s/fifo", directory);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_unreadable(path, "is a pipe, and a node reads its file again");
    unlink(path);
    snprintf(path, sizeof path, "%s/huge", directory);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(ftruncate(fd, CONF_FILE_SIZE_MAX + 1), 0);
    close(fd);
    assert_unreadable(path, "too large");
    chmod(path, 0);
    if (geteuid() != 0) { /* root reads everything */
        assert_unreadable(path, "Permission denied");
    }
    unlink(path);
    rmdir(directory);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_key_file_stands_beside_the_configuration(void **state)
{
    (void)state;
    static const char key[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    char directory[] = "/tmp/difyring-conf-XXXXXX", path[256], keys[256], text[512];
    struct conf_problems problems;
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/c.yaml", directory);
    snprintf(keys, sizeof keys, "%s/cluster.keys", directory);
    write_file(path,
               LISTEN "cluster: {key_file: cluster.keys}\napplications: {a: {user_tokens: [t], "
                      "instances: [{name: i, host: h, port: 1, token: x}]}}\n");
    snprintf(text, sizeof text, "# new\n%s\r\n\n  %s", key, key);
    write_file(keys, text);
    struct conf *conf = conf_load(path, &problems);
    assert_non_null(conf);
    assert_int_equal(conf->cluster.key_count, 2);
    assert_int_equal(conf->cluster.keys[1][31], 31);
    conf_free(conf);
    conf_problems_free(&problems);
    write_file(keys, "c2hvcnQ=\n");
    assert_null(conf_load(path, &problems));
    char *found = problems_text(&problems);
    assert_string_equal(found,
                        "2:21: line 1 of the key file is not 32 bytes in base64; make a key with "
                        "`difyring keygen`\n2:21: the key file has no key that can be used");
    free(found);
    conf_problems_free(&problems);
    unlink(path);
    unlink(keys);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_together_is_a_good_file),
        cmocka_unit_test(every_wrong_type_of_every_key_is_a_problem_at_its_line),
        cmocka_unit_test(the_examples_are_good_and_run_today),
        cmocka_unit_test(the_full_example_shows_the_defaults),
        cmocka_unit_test(a_file_cut_anywhere_is_read_or_refused),
        cmocka_unit_test(no_message_holds_a_value_of_the_file),
        cmocka_unit_test(a_thousand_problems_are_counted_and_a_hundred_listed),
        cmocka_unit_test(an_alias_bomb_is_refused_at_once),
        cmocka_unit_test(the_largest_configuration_is_read),
        cmocka_unit_test(endless_nesting_is_refused_at_once),
        cmocka_unit_test(every_maximum_is_enforced),
        cmocka_unit_test(what_is_no_readable_file_is_one_clear_problem),
        cmocka_unit_test(a_key_file_stands_beside_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
