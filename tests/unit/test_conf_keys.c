/* What conf says of wrong values, key by key.
 * Each row is a claim: this text gives exactly these problems, in this order. */
#include "tests/unit/conf_claims.h"

#define NO_VIP "cannot be a virtual IP; expected one host's, such as 10.0.0.100/24"

#define NO_ORIGIN(place)                                                                           \
    place ": expected an origin such as https://chat.example.com or http://localhost:3000 "        \
          "(without a path, as browsers send it), \"null\", or \"*\" for all"

#define LISTEN "listen: [{address: \"127.0.0.1:0\"}]\n"

struct row {
    const char *text, *expected;
};

/* Appended to a whole configuration, from line 3 on. */
static const struct row top_rows[] = {
    {"helth_check: {}",
     "3:1: unknown key `helth_check` in the configuration; did you mean `health_check`?"},
    {"health-check: {}",
     "3:1: unknown key `health-check` in the configuration; did you mean `health_check`?"},
    {"Workers: 2", "3:1: unknown key `Workers` in the configuration; did you mean `workers`?"},
    {"debugHeaders: 2",
     "3:1: unknown key `debugHeaders` in the configuration; did you mean `debug_headers`?"},
    {"WORKERS: 2", "3:1: unknown key in the configuration; did you mean `workers`?"},
    {"retry-policy2: 2", "3:1: unknown key `retry-policy2` in the configuration"},
    {"app-abc: 2", "3:1: unknown key in the configuration"},
    {"xK9dLmQ2: 2", "3:1: unknown key in the configuration"},
    {"usertoken-one: 2", "3:1: unknown key in the configuration"},
    {"a--b: 2", "3:1: unknown key in the configuration"},
    {"zzz: 1", "3:1: unknown key `zzz` in the configuration"},
    {"health_check: { pth: /v1/ }",
     "3:17: unknown key `pth` in `health_check`; did you mean `path`?"},
    {"usertoken--zz zz: 1", "3:1: unknown key in the configuration"},
    {"debug_headers: maybe", "3:16: expected true or false (also: yes, no, on, off)"},
    {"debug_headers: \"true\"", "3:16: expected true or false (also: yes, no, on, off)"},
    {"debug_headers: 1", "3:16: expected true or false (also: yes, no, on, off)"},
    {"debug_headers: false\ndebug_headers: true",
     "4:1: duplicate key `debug_headers`; the first is at line 3"},
    {"workers: 0", "3:10: must be from 1 to 256"},
    {"workers: 257", "3:10: must be from 1 to 256"},
    {"workers: many", "3:10: expected `auto` or a number from 1 to 256"},
    {"workers: \"2\"", "3:10: expected a number, not text; remove the quotes"},
    {"workers: [1]", "3:10: expected a number, not a list"},
    {"node: { name: \"a b\" }", "3:15: a name has 1 to 64 letters, digits, `.`, `_` or `-`"},
    {"node: { name: \"\" }", "3:15: a name has 1 to 64 letters, digits, `.`, `_` or `-`"},
    {"node: { name: }", "3:15: expected a name, not nothing"},
    {"node: { name: true }",
     "3:15: expected a name, not a boolean; put quotes around it if it is meant as text"},
    {"node: node-a", "3:7: `node` must be a mapping of keys to values, not a single value"},
    {"node: { state_dir: \"\" }",
     "3:20: expected a path: not empty, without control characters, below 4096 bytes"},
    {"node: { name: \"${DIFYRING_TEST_UNSET}\" }",
     "3:15: the environment variable DIFYRING_TEST_UNSET is not set"},
    {"node: { name: \"${}\" }",
     "3:15: `${` must be followed by the name of an environment variable and `}`"},
    {"node: { name: \"${DIFYRING_TEST_WORD\" }",
     "3:15: `${` must be followed by the name of an environment variable and `}`"},
    {"limits: { connections: 0 }", "3:24: must be from 1 to 1048576"},
    {"limits: { connections: -1 }", "3:24: expected a whole number"},
    {"limits: { connections: 1.5 }", "3:24: expected a whole number"},
    {"limits: { connections: 010 }",
     "3:24: write this number without leading zeros (YAML would take it as octal)"},
    {"limits: { connections: 99999999999999999999 }", "3:24: expected a whole number"},
    {"limits: { connections: \"8192\" }", "3:24: expected a number, not text; remove the quotes"},
    {"limits: { header_size: 64KB }", "3:24: expected a size: bytes, or 64KiB, 100MiB, 2GiB"},
    {"limits: { header_size: 2MiB }", "3:24: must be from 1024 to 1048576 bytes"},
    {"limits: { body_size: 0 }", "3:22: must be from 1 to 1099511627776 bytes"},
    {"limits: { body_size: 99999999999GiB }",
     "3:22: expected a size: bytes, or 64KiB, 100MiB, 2GiB"},
    {"limits: { headers: 7 }", "3:20: must be from 8 to 1000"},
    {"limits: { connexions: 3 }",
     "3:11: unknown key `connexions` in `limits`; did you mean `connections`?"},
    {"timeouts: { idle: 5 minutes }",
     "3:19: expected a duration: seconds, or 100ms, 5s, 2m, 1h, 7d"},
    {"timeouts: { idle: -5s }", "3:19: expected a duration: seconds, or 100ms, 5s, 2m, 1h, 7d"},
    {"timeouts: { idle: 0 }", "3:19: must be from 1ms to 400d"},
    {"timeouts: { idle: 401d }", "3:19: must be from 1ms to 400d"},
    {"timeouts: { connect: 0.0001 }",
     "3:22: expected a duration: seconds, or 100ms, 5s, 2m, 1h, 7d"},
    {"timeouts: { connect: 1.5ms }",
     "3:22: expected a duration: seconds, or 100ms, 5s, 2m, 1h, 7d"},
    {"timeouts: { drain: }", "3:20: expected a duration, not nothing"},
    {"log: { access: true }", "3:16: expected a path, stdout, stderr or off, not a boolean; put "
                              "quotes around it if it is meant as text"},
    {"log: { access: stdot }", "3:16: expected a path, stdout, stderr or off; did you mean "
                               "`stdout`? (a file of this name is written with ./ before it)"},
    {"log: { level: WARN }", "3:15: unknown value for `level`; choose debug, info, warning or "
                             "error; did you mean `warning`?"},
    {"log: { level: err }", "3:15: unknown value for `level`; choose debug, info, warning or "
                            "error; did you mean `error`?"},
    {"log: { level: INFO }", "3:15: unknown value for `level`; choose debug, info, warning or "
                             "error; did you mean `info`?"},
    {"cors: { origins: \"*\" }", "3:18: `origins` must be a list of origins, not a single value"},
    {"cors: { origin: [\"*\"] }", "3:9: unknown key `origin` in `cors`; did you mean `origins`?"},
    {"cors: { origins: [\"https://a.example/\"] }", NO_ORIGIN("3:19")},
    {"cors: { origins: [a.example] }", NO_ORIGIN("3:19")},
    {"cors: { origins: [\"https://*.example.com\"] }", NO_ORIGIN("3:19")},
    {"cors: { origins: [\"https://a, https://b\"] }", NO_ORIGIN("3:19")},
    {"cors: { origins: [\"\"] }", NO_ORIGIN("3:19")},
    {"log: { level: loud }",
     "3:15: unknown value for `level`; choose debug, info, warning or error"},
    {"log: { access: [stdout] }", "3:16: expected a path, stdout, stderr or off, not a list"},
    {"admin: { allow: 127.0.0.1 }",
     "3:17: `allow` must be a list of addresses, not a single value"},
    {"admin: { allow: [127.0.0.0/33, \"::1/129\", localhost, 10.0.0.1/] }",
     "3:18: expected an address or a block such as 10.0.0.0/8 or \"fd00::/8\"\n3:32: expected an "
     "address or a block such as 10.0.0.0/8 or \"fd00::/8\"\n3:43: expected an address or a block "
     "such as 10.0.0.0/8 or \"fd00::/8\"\n3:54: expected an address or a block such as 10.0.0.0/8 "
     "or \"fd00::/8\""},
    {"trusted_proxies: 10.0.0.1",
     "3:18: `trusted_proxies` must be a list of address blocks, not a single value"},
    {"trusted_proxies: [\"[::1]\"]",
     "3:19: expected an address or a block such as 10.0.0.0/8 or \"fd00::/8\""},
    {"admin: { token: \"a b\" }",
     "3:17: a token has 1 to 512 visible ASCII characters without spaces"},
    {"admin: { token: }", "3:17: expected a token, not nothing"},
    {"cluster: {}",
     "3:10: `keys` (or `key_file`) is missing in `cluster`; make a key with `difyring keygen`"},
    {"cluster: { keys: [] }", "3:18: `keys` is empty; it needs at least 1 of its keys"},
    {"cluster: { keys: [c2hvcnQ=] }",
     "3:19: a key is exactly 32 bytes in base64 (44 characters); make one with `difyring keygen`"},
    {"cluster: { keys: [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"], key_file: /nonexistent "
     "}",
     "3:10: `keys` and `key_file` exclude each other; remove one\n3:78: the key file "
     "`/nonexistent` cannot be read: No such file or directory"},
    {"cluster: { key_file: /nonexistent/keys }",
     "3:22: the key file `/nonexistent/keys` cannot be read: No such file or directory"},
    {"cluster: { key_file: / }",
     "3:22: the key file `/` cannot be read: is a directory, not a file"},
    {"cluster: { keys: [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"], bind: localhost:1, "
     "join: [node-b, node-b:0, node-b:x], profile: lann }",
     "3:74: expected ADDRESS:PORT or [IPV6]:PORT with a numeric address, not a name\n3:94: the "
     "port is missing; expected HOST:PORT or [IPV6]:PORT\n3:102: port 0 cannot be reached by "
     "others\n3:112: the port must be a number from 0 to 65535\n3:132: unknown value for "
     "`profile`; choose lan, wan or local; did you mean `lan`?"},
    {"cluster: { name: \"\", keys: [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"], advertise: "
     "\"10.0.0.300:1\" }",
     "3:18: a name has 1 to 64 letters, digits, `.`, `_` or `-`\n3:89: expected HOST:PORT or "
     "[IPV6]:PORT"},
    {"vip: { address: 0.0.0.0/0, interface: \"eth{\", track_file: \"/a b\" }",
     "3:17: the wildcard address cannot be a virtual IP; expected one host's, such as "
     "10.0.0.100/24\n3:39: the name of a network interface has 1 to 15 visible characters without "
     "spaces, quotes and any of / \\ $ # ! ~ { }\n3:59: keepalived.conf cannot hold this path "
     "(with "
     "its folder): it has spaces, quotes or any of \\ $ # ! ~ { }"},
    {"vip: { address: 224.0.0.18/24, interface: e }", "3:17: a multicast address " NO_VIP},
    {"vip: { address: ff02::12/64, interface: e }", "3:17: a multicast address " NO_VIP},
    {"vip: { address: 127.0.0.5/8, interface: e }", "3:17: a loopback address " NO_VIP},
    {"vip: { address: \"::1/64\", interface: e }", "3:17: a loopback address " NO_VIP},
    {"vip: { address: 10.0.0.0/24, interface: e }", "3:17: the address of a whole network " NO_VIP},
    {"vip: { address: 10.0.0.255/24, interface: e }",
     "3:17: a network's broadcast address " NO_VIP},
    {"vip: { address: 10.0.0.1/0, interface: e }", "3:17: a prefix of 0 " NO_VIP},
    {"vip: { address: 10.0.0.0/31, interface: e, x: 1 }", "3:44: unknown key `x` in `vip`"},
    {"cluster: { keys: [\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"], advertise: 0.0.0.0:1, "
     "join: [\"[::]:1\", 255.255.255.255:1, \"[ff02::1]:1\", 127.0.0.1:1] }",
     "3:79: the wildcard address cannot be reached by others; name one host\n3:97: the wildcard "
     "address cannot be reached by others; name one host\n3:107: the broadcast address cannot be "
     "reached by others; name one host\n3:126: a multicast address cannot be reached by others; "
     "name "
     "one host"},
    {"retries: { statuses: [99, 200, 399, 429] }",
     "3:23: must be from 100 to 599\n3:27: a status below 400 is an answer to keep; expected some "
     "of "
     "400 to 599\n3:32: a status below 400 is an answer to keep; expected some of 400 to 599"},
    {"health_check: { failure_statuses: [200] }",
     "3:36: a status below 400 is no failure; expected some of 500 to 599"},
    {"vip: {}", "3:6: `address` is missing in `vip`\n3:6: `interface` is missing in `vip`"},
    {"vip: { address: 10.0.0.1/33, interface: eth/0 }",
     "3:17: expected ADDRESS/PREFIX, such as 10.0.0.100/24\n3:41: the name of a network interface "
     "has 1 to 15 visible characters without spaces, quotes and any of / \\ $ # ! ~ { }"},
    {"vip: { address: 10.0.0.1/24, interface: eth0, router_id: 256, priority: 255, "
     "advert_interval: 15ms, peers: [node-b] }",
     "3:58: must be from 1 to 255\n3:73: must be from 1 to 254\n3:95: must be a multiple of 10ms: "
     "VRRP counts in hundredths of a second\n3:109: expected an IPv4 or IPv6 address, without a "
     "port"},
    {"vip: { address: fd00::1/64, interface: eth0, peers: [fd00::2, 10.0.0.2] }",
     "3:63: a peer is of the family of `address`: both IPv4 or both IPv6"},
    {"vip: { address: 10.0.0.1/24, interface: much-too-long-a-name, advert_interval: 41s }",
     "3:41: the name of a network interface has 1 to 15 visible characters without spaces, quotes "
     "and any of / \\ $ # ! ~ { }\n3:80: must be from 10ms to 40950ms"},
    {"health_check:", "3:14: `health_check` must be a mapping of keys to values, not nothing"},
    {"health_check: []", "3:15: `health_check` must be a mapping of keys to values, not a list"},
    {"health_check: { path: v1 }",
     "3:23: expected a URL path that begins with `/`, of visible ASCII without spaces and `#`"},
    {"health_check: { path: \"/v1/ x\" }",
     "3:23: expected a URL path that begins with `/`, of visible ASCII without spaces and `#`"},
    {"health_check: { path: \"/\\x01\" }",
     "3:23: expected a URL path that begins with `/`, of visible ASCII without spaces and `#`"},
    {"health_check: { interval: 0, timeout: 401d, healthy_threshold: 0, unhealthy_threshold: 0 }",
     "3:27: must be from 10ms to 400d\n3:39: must be from 1ms to 400d\n3:64: must be from 1 to "
     "1000\n3:88: must be from 1 to 1000"},
    {"health_check: { expect: [] }",
     "3:25: `expect` is empty; it needs at least 1 of its statuses"},
    {"health_check: { expect: [99, 600, 399-200, 200-, abc, 200-700] }",
     "3:26: expected a status from 100 to 599 or a range such as 200-399\n3:30: expected a status "
     "from 100 to 599 or a range such as 200-399\n3:35: expected a status from 100 to 599 or a "
     "range such as 200-399\n3:44: expected a status from 100 to 599 or a range such as "
     "200-399\n3:50: expected a status from 100 to 599 or a range such as 200-399\n3:55: expected "
     "a status from 100 to 599 or a range such as 200-399"},
    {"health_check: { expect: 200-399 }",
     "3:25: `expect` must be a list of statuses, not a single value"},
    {"health_check: { failure_statuses: [99, 600, 429, \"500\"] }",
     "3:36: must be from 100 to 599\n3:40: must be from 100 to 599\n3:45: a 4xx status is never a "
     "failure of the instance; remove it\n3:50: expected a number, not text; remove the quotes"},
    {"retries: { attempts: 0 }", "3:22: must be from 1 to 16"},
    {"retries: { attempts: 17 }", "3:22: must be from 1 to 16"},
    {"retries: { timeout: soon }", "3:21: expected a duration: seconds, or 100ms, 5s, 2m, 1h, 7d"},
    {"retries: { statuses: 502 }",
     "3:22: `statuses` must be a list of statuses, not a single value"},
    {"consistent_hash: { virtual_nodes: 0 }", "3:35: must be from 1 to 4096"},
    {"consistent_hash: { virtual_nodes: 4097 }", "3:35: must be from 1 to 4096"},
    {"user_id: { sources: [] }", "3:21: `sources` is empty; it needs at least 1 of its sources"},
    {"user_id: { sources: [user] }",
     "3:22: expected header:NAME, query:NAME, cookie:NAME, json:NAME or form:NAME"},
    {"user_id: { sources: [header: X-User-ID] }",
     "3:22: expected header:NAME, query:NAME, cookie:NAME, json:NAME or form:NAME, without a space "
     "behind the colon"},
    {"user_id: { sources: [\"header:X User\", \"cookie:\", \"query:\\n\", \"path:x\"] }",
     "3:22: the name behind `header:` is empty, too long or has characters that it cannot "
     "have\n3:39: the name behind `cookie:` is empty, too long or has characters that it cannot "
     "have\n3:50: the name behind `query:` is empty, too long or has characters that it cannot "
     "have\n3:62: expected header:NAME, query:NAME, cookie:NAME, json:NAME or form:NAME"},
    {"user_id: { missing: rejct }",
     "3:21: unknown value for `missing`; choose balance or reject; did you mean `reject`?"},
    {"user_id: { missing: ignore }", "3:21: unknown value for `missing`; choose balance or reject"},
};

/* Inside an application, from line 6 on, indented by 4. */
static const struct row application_rows[] = {
    {"algorithm: consistant_hash",
     "6:16: unknown value for `algorithm`; choose consistent_hash, weighted_round_robin, "
     "least_connections or ip_hash; did you mean `consistent_hash`?"},
    {"algorithm: random", "6:16: unknown value for `algorithm`; choose consistent_hash, "
                          "weighted_round_robin, least_connections or ip_hash"},
    {"algorithm: [ip_hash]", "6:16: expected a word, not a list"},
    {"all_down: true",
     "6:15: expected a word, not a boolean; put quotes around it if it is meant as text"},
    {"user_id: { sources: [json:id, json:] }", "6:39: YAML: found unexpected ':'"},
    {"queue: { size: 100001, timeout: 401d }",
     "6:20: must be from 0 to 100000\n6:37: must be from 1ms to 400d"},
    {"queue: 100", "6:12: `queue` must be a mapping of keys to values, not a single value"},
    {"health_check: { enabled: perhaps }", "6:30: expected true or false (also: yes, no, on, off)"},
    {"retries: { atempts: 1 }",
     "6:16: unknown key `atempts` in `retries`; did you mean `attempts`?"},
    {"weigth: 1", "6:5: unknown key `weigth` in an application"},
};

/* Inside an instance, from line 10 on, indented by 8. */
static const struct row instance_rows[] = {
    {"weight: 0", "10:17: must be from 1 to 1000"},
    {"weight: 1001", "10:17: must be from 1 to 1000"},
    {"weight: one", "10:17: expected a whole number"},
    {"max_fails: -1", "10:20: expected a whole number"},
    {"max_fails: 3.5", "10:20: expected a whole number"},
    {"fail_timeout: 0", "10:23: must be from 1ms to 400d"},
    {"max_in_flight: lots", "10:24: expected a whole number"},
    {"tls: maybe", "10:14: expected true or false (also: yes, no, on, off)"},
    {"tls: { verify: 3, ca: \"\", server_name: \"a b\", cert: x }",
     "10:24: expected true or false (also: yes, no, on, off)\n10:31: expected a path: not empty, "
     "without control characters, below 4096 bytes\n10:48: expected an IPv4 or IPv6 address or a "
     "host name\n10:55: unknown key `cert` in `tls`"},
    {"tls: { certificate: c }", "10:29: a certificate needs its key: give both `certificate` and "
                                "`key`, or neither"},
    {"tls: { verify: false, key: k }", "10:36: a certificate needs its key: give both "
                                       "`certificate` and `key`, or neither"},
    {"tls: []", "10:14: expected false, or a mapping with `verify`, `ca` and `server_name`"},
    {"tls:", "10:13: expected false, or a mapping with `verify`, `ca` and `server_name`"},
    {"max_fial: 2", "10:9: unknown key `max_fial` in an instance; did you mean `max_fails`?"},
};

static void check_rows(const char *before, const char *indent, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char text[2048];
        int size = snprintf(text, sizeof text, "%s%s%s\n", before, indent, rows[i].text);
        assert_true(size > 0 && (size_t)size < sizeof text);
        assert_problems(text, (size_t)size, rows[i].expected);
    }
}

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static void wrong_values_of_the_node_are_named_at_their_place(void **state)
{
    (void)state;
    check_rows(LISTEN "applications: {a: {user_tokens: [t], instances: "
                      "[{name: i, host: h, port: 1, token: x}]}}\n",
               "", top_rows, COUNT(top_rows));
}

static void wrong_values_of_an_application_are_named_at_their_place(void **state)
{
    (void)state;
    check_rows(LISTEN "applications:\n  a:\n    user_tokens: [t]\n"
                      "    instances: [{name: i, host: h, port: 1, token: x}]\n",
               "    ", application_rows, COUNT(application_rows));
}

static void wrong_values_of_an_instance_are_named_at_their_place(void **state)
{
    (void)state;
    check_rows(LISTEN "applications:\n  a:\n    user_tokens: [t]\n    instances:\n      - name: i\n"
                      "        host: h\n        port: 1\n        token: x\n",
               "        ", instance_rows, COUNT(instance_rows));
}

/* Else anybody could say to be anybody. */
static void a_proxy_header_needs_somebody_to_be_believed(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"",
         "3:5: `proxy_protocol` needs `trusted_proxies`: the addresses of the balancers that may "
         "say who a client is"},
        {"trusted_proxies: []",
         "3:5: `proxy_protocol` needs `trusted_proxies`: the addresses of the balancers that may "
         "say who a client is"},
    };
    static const char before[] = "listen:\n  - {address: \"127.0.0.1:0\", proxy_protocol: false}\n"
                                 "  - {address: \"127.0.0.1:0\", proxy_protocol: true}\n"
                                 "applications: {a: {user_tokens: [t], instances: "
                                 "[{name: i, host: h, port: 1, token: x}]}}\n";
    check_rows(before, "", rows, COUNT(rows));
    char text[1024];
    snprintf(text, sizeof text, "%strusted_proxies: [\"::1\"]\n", before);
    conf_free(parse_good(text));
}

static void a_quota_counts_one_thing_within_one_window(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"{per: user, requests: 60}", "7:9: `every` is missing in a quota of requests or tokens"},
        {"{per: user, every: 1m}",
         "7:9: a quota has exactly one of `requests`, `tokens` and `concurrent`"},
        {"{per: user, requests: 1, tokens: 1, every: 1m}",
         "7:9: a quota has exactly one of `requests`, `tokens` and `concurrent`"},
        {"{per: user, concurrent: 4, every: 1m}",
         "7:43: `concurrent` counts what is in flight and has no `every`"},
        {"{requests: 60, every: 1m}", "7:9: `per` is missing in a quota"},
        {"{per: user, requests: 0, every: 999ms}",
         "7:31: must be from 1 to 4000000000\n7:41: must be from 1s to 400d"},
        {"{per: user, requests: 60, every: 1m}\n      - {per: user, requests: 70, every: 60s}",
         "8:9: this quota counts the same as the one at line 7; keep the lower limit"},
    };
    check_rows(LISTEN "applications:\n  a:\n    user_tokens: [t]\n"
                      "    instances: [{name: i, host: h, port: 1, token: x}]\n    quotas:\n",
               "      - ", rows, COUNT(rows));
}

static void what_quotas_say_is_what_is_written_of_them(void **state)
{
    (void)state;
    struct conf *c =
        parse_good(LISTEN "applications:\n  a:\n    user_tokens: [t]\n"
                          "    instances: [{name: i, host: h, port: 1, token: x}]\n    quotas:\n"
                          "      - {per: user, requests: 60, every: 1m}\n"
                          "      - {per: application, tokens: 2000000, every: 1d, shadow: true}\n"
                          "      - {per: address, concurrent: 4}\n");
    const struct conf_quota *q = c->applications[0].quotas;
    size_t size;
    char *text = conf_canonical(c, &size);
    assert_int_equal(c->applications[0].quota_count, 3);
    assert_int_equal(q[1].per, QUOTA_APPLICATION);
    assert_int_equal(q[1].tokens, 2000000);
    assert_int_equal(q[1].every_ms, 86400000);
    assert_true(q[1].shadow && !q[0].shadow);
    assert_non_null(strstr(text,
                           "    quotas:\n"
                           "      - { per: user, requests: 60, every: 60000ms, shadow: false }\n"
                           "      - { per: application, tokens: 2000000, every: 86400000ms, "
                           "shadow: true }\n"
                           "      - { per: address, concurrent: 4, shadow: false }\n"));
    free(text);
    conf_free(c);
    c = parse_good(LISTEN "applications:\n  a:\n    user_tokens: [t]\n    quotas: []\n"
                          "    instances: [{name: i, host: h, port: 1, token: x}]\n");
    text = conf_canonical(c, &size);
    assert_null(strstr(text, "quotas")); /* as older versions have it */
    free(text);
    conf_free(c);
}

int main(void)
{
    setenv("DIFYRING_TEST_WORD", "secret-word", 1);
    unsetenv("DIFYRING_TEST_UNSET");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_values_of_the_node_are_named_at_their_place),
        cmocka_unit_test(wrong_values_of_an_application_are_named_at_their_place),
        cmocka_unit_test(wrong_values_of_an_instance_are_named_at_their_place),
        cmocka_unit_test(a_quota_counts_one_thing_within_one_window),
        cmocka_unit_test(what_quotas_say_is_what_is_written_of_them),
        cmocka_unit_test(a_proxy_header_needs_somebody_to_be_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
