/* conf_changes() and what needs a restart: two configurations, and the paths that differ. */
#include "tests/unit/conf_claims.h"

#include "conf/forms/compare.h"
#include "conf/forms/fixed.h"

#define NODE      "node: {name: n}\nlisten: [{address: \"127.0.0.1:0\"}]\n"
#define KEY       "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define ZERO      "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define ONE       "{name: i, host: h, port: 1, token: x"
#define TWO       "{name: j, host: h, port: 2, token: x}"
#define APP(x)    "applications: {a: {user_tokens: [t, u], instances: [" x "]}}\n"
#define LISTEN(x) "node: {name: n}\nlisten: [" x "]\n"
#define PAIR(x)   ", tls: [{certificate: " x ", key: k}]"
#define PLAIN     APP(ONE "}, " TWO)

struct told {
    char text[1024];
    size_t size;
};

static void tell(void *arg, const struct conf_change *change)
{
    static const char signs[] = {[CONF_CHANGED] = '~', [CONF_ADDED] = '+', [CONF_REMOVED] = '-'};
    static const char *const effects[] = {"", "live", "restart", "shared", "tool"};
    struct told *told = arg;
    assert_int_equal(strncmp(change->path, change->section, strlen(change->section)), 0);
    told->size += (size_t)snprintf(told->text + told->size, sizeof told->text - told->size,
                                   "%s%c%s %s", told->size > 0 ? ", " : "", signs[change->kind],
                                   change->path, effects[change->effect]);
}

static const struct {
    const char *before, *after, *told;
} rows[] = {
    {NODE PLAIN, NODE PLAIN, ""},
    {NODE PLAIN "retries: {timeout: 30}\n", NODE PLAIN "retries: {timeout: 30000ms}\n", ""},
    {NODE PLAIN, NODE "limits: {headers: 50, body_size: 1}\n" PLAIN,
     "~limits.headers live, ~limits.body_size live"},
    {NODE PLAIN, NODE APP(ONE ", weight: 5}, " TWO), "~applications.a.instances.i.weight shared"},
    {NODE PLAIN, NODE APP(TWO ", " ONE "}"), "~applications.a.instances shared"},
    {NODE PLAIN, NODE APP(ONE "}"), "-applications.a.instances.j shared"},
    {NODE APP(TWO), NODE PLAIN, "+applications.a.instances.i shared"},
    {NODE PLAIN, NODE APP(ONE ", tls: {ca: c}}, " TWO), "+applications.a.instances.i.tls shared"},
    {NODE APP(ONE ", tls: {certificate: b, key: k}}"), NODE APP(ONE ", tls: true}"),
     "~applications.a.instances.i.tls.certificate shared, ~applications.a.instances.i.tls.key "
     "shared"},
    {NODE APP(ONE ", tls: {ca: b}}"), NODE APP(ONE ", tls: {ca: c}}"),
     "~applications.a.instances.i.tls.ca shared"},
    {NODE PLAIN, NODE "applications: {b: {user_tokens: [t], instances: [" TWO "]}}\n",
     "-applications.a shared, +applications.b shared"},
    {NODE PLAIN, NODE "applications: {a: {user_tokens: [u, t], instances: [" ONE "}, " TWO "]}}\n",
     ""},
    {NODE PLAIN, NODE "applications: {a: {user_tokens: [u, v], instances: [" ONE "}, " TWO "]}}\n",
     "~applications.a.user_tokens shared"},
    {NODE PLAIN, NODE PLAIN "user_id: {sources: [\"header:X\"]}\n", "~user_id.sources shared"},
    {NODE PLAIN, NODE PLAIN "user_id: {sources: [\"header:X\"]}\nretries: {attempts: 4}\n",
     "~retries.attempts shared, ~user_id.sources shared"},
    {NODE "retries: {attempts: 4}\n" PLAIN,
     NODE "retries: {attempts: 5}\napplications: {a: {user_tokens: [t, u], retries: {attempts: 4}, "
          "instances: [" ONE "}, " TWO "]}}\n",
     "~retries.attempts shared"},
    {NODE PLAIN,
     NODE "applications: {a: {user_tokens: [t, u], retries: {attempts: 4}, instances: [" ONE
          "}, " TWO "]}}\n",
     "~applications.a.retries.attempts shared"},
    {NODE PLAIN, NODE APP(TWO ", {name: k, host: h, port: 3, token: x}, " ONE "}"),
     "+applications.a.instances.k shared, ~applications.a.instances shared"},
    {NODE PLAIN, NODE PLAIN "cors: {origins: []}\nadmin: {allow: [10.0.0.0/8], token: s}\n",
     "~admin.allow live, ~admin.token live, ~cors.origins live"},
    {NODE PLAIN, NODE PLAIN "trusted_proxies: [\"::1\", 10.0.0.1]\n", "~trusted_proxies live"},
    {NODE PLAIN "trusted_proxies: [\"::1\"]\n",
     "node: {name: n}\nlisten: [{address: \"127.0.0.1:0\", proxy_protocol: true}]\n" PLAIN
     "trusted_proxies: [\"::1\"]\n",
     "~listen restart"},
    {NODE PLAIN, NODE PLAIN "cluster: {keys: [\"" KEY "\"]}\n", "+cluster restart"},
    {NODE PLAIN "cluster: {keys: [\"" KEY "\"]}\n",
     NODE PLAIN "cluster: {keys: [\"" ZERO "\"], join: [\"b:1\"], bind: \"127.0.0.1:7946\"}\n",
     "~cluster.bind restart, ~cluster.join live, ~cluster.keys live"},
    {NODE PLAIN "vip: {address: 10.0.0.1/24, interface: e}\n",
     NODE PLAIN "vip: {address: 10.0.0.2/24, interface: f, priority: 7}\n",
     "~vip.address restart, ~vip.interface tool, ~vip.priority tool"},
    {NODE PLAIN, "node: {name: m, state_dir: s}\nlisten: [{address: \"127.0.0.1:1\"}]\n" PLAIN,
     "~node.name restart, ~node.state_dir restart, ~listen restart"},
    {LISTEN("{address: \"127.0.0.1:1\"" PAIR("c") "}") PLAIN,
     LISTEN("{address: \"127.0.0.1:1\"" PAIR("d") "}") PLAIN, "~listen live"},
    {LISTEN("{address: \"127.0.0.1:1\"}") PLAIN,
     LISTEN("{address: \"127.0.0.1:1\", tls_min: \"1.3\", client_ca: x" PAIR("c") "}") PLAIN,
     "~listen live"},
    {LISTEN("{address: \"127.0.0.1:1\"" PAIR("c") "}") PLAIN,
     LISTEN("{address: \"127.0.0.1:2\"" PAIR("c") "}") PLAIN, "~listen restart"},
    {NODE PLAIN, NODE PLAIN "log: {access: /a, level: error}\nworkers: 3\n",
     "~workers restart, ~log.access restart, ~log.level restart"},
};

static void every_change_is_told_by_its_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct conf *before = parse_good(rows[i].before), *after = parse_good(rows[i].after);
        struct told told = {0};
        conf_changes(before, after, NULL, tell, &told);
        assert_string_equal(told.text, rows[i].told);
        conf_free(before);
        conf_free(after);
    }
}

#define BEFORE                                                                                     \
    "node: {name: old, state_dir: old}\nlisten: [{address: \"127.0.0.1:1\", tls: [{certificate: "  \
    "c, key: k}]}]\nworkers: 3\nlog: {access: /old, level: error}\ncluster: {name: old, bind: "    \
    "\"127.0.0.1:1\", advertise: \"o:1\", profile: wan, keys: [\"" KEY "\"]}\nvip: {address: "     \
    "10.0.0.1/24, interface: old, track_file: /old}\nlimits: {headers: 50}\n"

/* Valgrind and ASan see a text that still belongs to the old one. */
static void what_needs_a_restart_is_named_and_kept(void **state)
{
    (void)state;
    struct conf *running = parse_good(BEFORE PLAIN);
    struct conf *next = parse_good(NODE PLAIN "limits: {headers: 60}\n");
    struct conf_differences d;
    conf_compare(running, next, NULL, &d);
    assert_int_equal(d.restart_count, 8);
    conf_differences_done(&d);
    conf_fixed_keep(running, next);
    conf_compare(running, next, NULL, &d);
    assert_int_equal(d.restart_count, 0);
    conf_differences_done(&d);
    conf_free(running);
    assert_string_equal(next->node_name, "old");
    assert_string_equal(next->state_dir, "some/dir/old");
    assert_string_equal(next->listen[0].address, "127.0.0.1:1");
    assert_string_equal(next->listen[0].tls[0].key, "some/dir/k");
    assert_int_equal(next->listen[0].port, 1);
    assert_int_equal(next->workers, 3);
    assert_string_equal(next->log.access_path, "/old");
    assert_true(next->has_cluster && next->has_vip);
    assert_string_equal(next->cluster.advertise, "o:1");
    assert_int_equal(next->cluster.profile, GOSSIP_WAN);
    assert_int_equal(next->cluster.key_count, 0); /* the file's */
    assert_string_equal(next->vip.address, "10.0.0.1");
    assert_string_equal(next->vip.track_file, "/old");
    assert_int_equal(next->limits.headers, 60);
    conf_free(next);
}

static void a_listener_keeps_its_place_and_takes_over_its_tls(void **state)
{
    (void)state;
    struct conf *running = parse_good(LISTEN(
        "{address: \"127.0.0.1:0\"" PAIR("a") "}, "
                                              "{address: \"127.0.0.1:0\"}, "
                                              "{address: \"127.0.0.1:3\"" PAIR("gone") "}") PLAIN);
    struct conf *next = parse_good(LISTEN("{address: \"127.0.0.1:0\", client_ca: ca" PAIR(
        "b") "}, "
             "{address: \"127.0.0.1:0\", tls_min: \"1.3\"" PAIR("c") "}") PLAIN);
    conf_fixed_keep(running, next);
    conf_free(running);
    assert_int_equal(next->listen_count, 3);
    assert_string_equal(next->listen[0].tls[0].certificate, "some/dir/b");
    assert_string_equal(next->listen[0].client_ca, "some/dir/ca");
    assert_false(next->listen[0].tls_1_3);
    assert_string_equal(next->listen[1].tls[0].certificate, "some/dir/c");
    assert_null(next->listen[1].client_ca);
    assert_true(next->listen[1].tls_1_3);
    assert_int_equal(next->listen[2].port, 3);
    assert_string_equal(next->listen[2].tls[0].certificate, "some/dir/gone");
    conf_free(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_told_by_its_path),
        cmocka_unit_test(what_needs_a_restart_is_named_and_kept),
        cmocka_unit_test(a_listener_keeps_its_place_and_takes_over_its_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
