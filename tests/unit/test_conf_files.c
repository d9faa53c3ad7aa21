/* What conf says of whole files: broken YAML, missing parts, addresses, tokens, duplicates.
 * Each row is a claim: this text gives exactly these problems, in this order. */
#include "tests/unit/conf_claims.h"

#define LISTEN "listen: [{address: \"127.0.0.1:0\"}]\n"
#define APPLICATIONS                                                                               \
    "applications: {a: {user_tokens: [t], instances: [{name: i, host: h, port: 1, token: x}]}}\n"

struct row {
    const char *text;
    size_t size; /* some have a NUL inside */
    const char *expected;
};

#define ROW(text, expected)                                                                        \
    {                                                                                              \
        text, sizeof(text) - 1, expected                                                           \
    }

static const struct row rows[] = {
    ROW("", "0:0: the file is empty; it needs at least `listen` and `applications`"),
    ROW("# only a comment\n",
        "0:0: the file is empty; it needs at least `listen` and `applications`"),
    ROW("---\n", "2:1: the configuration must be a mapping of keys to values, not nothing"),
    ROW("text\n", "1:1: the configuration must be a mapping of keys to values, not a single value"),
    ROW("[]\n", "1:1: the configuration must be a mapping of keys to values, not a list"),
    ROW("{}\n", "1:1: `applications` is missing in the configuration\n1:1: `listen` is missing in "
                "the configuration"),
    ROW("\000", "1:1: a NUL byte: this is no text file, or its encoding is UTF-16"),
    ROW(LISTEN APPLICATIONS "workers: 0 # \001 \302\200\n",
        "3:10: must be from 1 to 256\n3:14: a control character (U+0001); remove it\n3:16: a "
        "control character (U+0080); remove it"),
    ROW("a: b\nc: \200\n",
        "2:4: not valid UTF-8: this is no text file, or its encoding is another one"),
    ROW("\357\273\277\357\273\277" LISTEN APPLICATIONS,
        "1:1: a control character (U+FEFF); remove it"),
    ROW(LISTEN APPLICATIONS "workers: \001\nnode: {name: \"a\177b\", x\001: 1}\n",
        "3:10: a control character (U+0001); remove it\n4:16: a control character (U+007F); remove "
        "it\n4:22: a control character (U+0001); remove it"),
    ROW("a: [\n", "2:1: YAML: did not find expected node content; is a bracket open, or an address "
                  "with `::` without quotes (\"[::1]:82\")?"),
    ROW("a: {b: ${TOK}}\n", "1:9: YAML: did not find expected ',' or '}'; inside { } and [ ] write "
                            "\"${NAME}\" in quotes"),
    ROW("a: [b, ${TOK}]\n", "1:9: YAML: did not find expected ',' or ']'; inside { } and [ ] write "
                            "\"${NAME}\" in quotes"),
    ROW("a: b: c\n", "1:5: YAML: mapping values are not allowed in this context"),
    ROW("a: 'b\n", "2:1: YAML: found unexpected end of stream, while scanning a quoted scalar that "
                   "begins at line 1; is a quote left open?"),
    ROW("\ta: b\n",
        "1:1: YAML: this character cannot begin a value (a tab cannot indent; @ ` % need quotes)"),
    ROW(LISTEN APPLICATIONS "node: *zz\nworkers: 0\nlog: {level: *y}\ntimeouts: {idle: *z}\n",
        "3:7: this alias has no anchor above it\n4:10: must be from 1 to 256\n5:14: this alias has "
        "no anchor above it\n6:18: this alias has no anchor above it"),
    ROW("listen: *a\napplications: *b\nadmin: {allow: *c, token: *d}\nworkers: *e\n",
        "1:9: this alias has no anchor above it\n2:15: this alias has no anchor above it\n3:16: "
        "this alias has no anchor above it\n3:27: this alias has no anchor above it\n4:10: this "
        "alias has no anchor above it"),
    ROW("<<: *x\nlisten: [*y]\n", "1:5: this alias has no anchor above it\n2:10: this alias has no "
                                  "anchor above it"),
    ROW(LISTEN APPLICATIONS "user_id: &x {sources: [*x]}\nworkers: 0\n",
        "3:24: this alias stands inside the very value that it names\n4:10: must be from 1 to 256"),
    ROW("? [a]\n: b\n", "1:1: `applications` is missing in the configuration\n1:1: `listen` is "
                        "missing in the configuration\n1:3: a key must be plain text"),
    ROW(LISTEN APPLICATIONS "workers: !!binary x\nnode: {name: !x abc}\nlimits: !y {headers: 0}\n",
        "3:10: this tag means nothing here; remove it\n4:14: this tag means nothing here; remove "
        "it\n5:9: this tag means nothing here; remove it\n5:22: must be from 8 to 1000"),
    ROW("a: \"\\0\"\n", "1:1: `applications` is missing in the configuration\n1:1: `listen` is "
                        "missing in the configuration\n1:1: unknown key `a` in the "
                        "configuration\n1:4: a NUL character cannot be used here"),
    ROW("a: 1\n---\nb: 2\n", "2:1: a second document; a configuration is one document"),
    ROW("%YAML 3.0\n---\n{}\n", "1:1: YAML: found incompatible YAML document"),
    ROW(LISTEN APPLICATIONS
        "log:\n [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\nworkers: 0\n",
        "4:2: `log` must be a mapping of keys to values, not a list\n4:33: nested too "
        "deeply\n5:10: "
        "must be from 1 to 256"),
    ROW("<<: 1\n", "1:5: `<<` takes a mapping or a list of mappings"),
    ROW("<<: [{}, 3]\n", "1:10: `<<` takes a mapping or a list of mappings"),
    ROW("a: 1\n<<: {}\n<<: {}\n",
        "1:1: `applications` is missing in the configuration\n1:1: `listen` is missing in the "
        "configuration\n1:1: unknown key `a` in the configuration\n3:1: duplicate key; the first "
        "is at line 2"),
    ROW(APPLICATIONS, "1:1: `listen` is missing in the configuration"),
    ROW(LISTEN, "1:1: `applications` is missing in the configuration"),
    ROW("listen: []\n" APPLICATIONS,
        "1:9: `listen` is empty; it needs at least 1 of its addresses to listen on"),
    ROW("listen: {address: 1}\n" APPLICATIONS,
        "1:9: `listen` must be a list of addresses to listen on, not a mapping"),
    ROW("listen: [{}]\n" APPLICATIONS, "1:10: `address` is missing in a listen entry"),
    ROW("listen: [{address: \"127.0.0.1\"}]\n" APPLICATIONS,
        "1:20: the port is missing; expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: \"127.0.0.1:65536\"}]\n" APPLICATIONS,
        "1:20: the port must be a number from 0 to 65535"),
    ROW("listen: [{address: \"127.0.0.1:x\"}]\n" APPLICATIONS,
        "1:20: the port must be a number from 0 to 65535"),
    ROW("listen: [{address: \"127.0.0.1:\"}]\n" APPLICATIONS,
        "1:20: the port must be a number from 0 to 65535"),
    ROW("listen: [{address: \"localhost:80\"}]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT with a numeric address, not a name"),
    ROW("listen: [{address: \"256.0.0.1:80\"}]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: \"::1:80\"}]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: \"[::1]\"}]\n" APPLICATIONS,
        "1:20: the port is missing; expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: \"[::g]:80\"}]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: \":80\"}]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: 82}]\n" APPLICATIONS,
        "1:20: the port is missing; expected ADDRESS:PORT or [IPV6]:PORT"),
    ROW("listen: [{address: [\"127.0.0.1:1\"]}]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT, not a list"),
    ROW("listen: [{address: }]\n" APPLICATIONS,
        "1:20: expected ADDRESS:PORT or [IPV6]:PORT, not nothing"),
    ROW("listen: [{address: \"127.0.0.1:1\"}, {address: \"127.0.0.1:1\"}]\n" APPLICATIONS,
        "1:36: this address is listened on already, line 1"),
    ROW("listen: [{address: \"[::1]:1\"}, {address: \"[0:0::1]:1\"}]\n" APPLICATIONS,
        "1:32: this address is listened on already, line 1"),
    ROW(LISTEN
        "applications: {..: {user_tokens: [t], instances: [{name: ., host: 0.0.0.0, port: 1, "
        "token: x}]}}\n",
        "2:16: the name of an application has 1 to 64 letters, digits, `.`, `_` or `-`, and is not "
        "`.` "
        "or `..`\n2:58: a name has 1 to 64 letters, digits, `.`, `_` or `-`, and is not `.` or "
        "`..`\n2:67: the wildcard address is no instance's; expected the address or name of a "
        "host"),
    ROW("listen: [{address: \"127.0.0.1:1\", tls: []}]\n" APPLICATIONS,
        "1:40: `tls` is empty; it needs at least 1 of its certificates"),
    ROW("listen: [{address: \"127.0.0.1:1\", tls: [{certificate: c}]}]\n" APPLICATIONS,
        "1:41: `key` is missing in a certificate"),
    ROW("listen: [{address: \"127.0.0.1:1\", tls: true}]\n" APPLICATIONS,
        "1:40: `tls` must be a list of certificates, not a single value"),
    ROW(LISTEN
        "applications:\n  a: &a\n    user_tokens: [t]\n    instances: [{name: i, host: h, port: "
        "1, token: x}]\n  b: {<<: *a}\n  c: {<<: *a}\n",
        "6:3: application `b` takes over (by `<<` or an alias) a user token of application `a`, "
        "line "
        "4; give it `user_tokens` of its own\n7:3: application `c` takes over (by `<<` or an "
        "alias) a "
        "user token of application `a`, line 4; give it `user_tokens` of its own"),
    ROW(LISTEN "applications: {}\n",
        "2:15: `applications` must be a mapping with at least one application"),
    ROW(LISTEN "applications: []\n",
        "2:15: `applications` must be a mapping with at least one application"),
    ROW(LISTEN "applications: {a: }\n",
        "2:19: an application must be a mapping of keys to values, not nothing"),
    ROW(LISTEN "applications: {a: {}}\n", "2:19: `instances` is missing in an application\n2:19: "
                                          "`user_tokens` is missing in an application"),
    ROW(LISTEN "applications: {\"a b\": {user_tokens: [t], instances: [{name: i, host: h, port: 1, "
               "token: x}]}}\n",
        "2:16: the name of an application has 1 to 64 letters, digits, `.`, `_` or `-`"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: []}}\n",
        "2:49: `instances` is empty; it needs at least 1 of its instances"),
    ROW(LISTEN "applications: {a: {user_tokens: [], instances: [{}]}}\n",
        "2:33: `user_tokens` is empty; it needs at least 1 of its tokens\n2:49: `host` is missing "
        "in an instance\n2:49: `name` is missing in an instance\n2:49: `port` is missing in an "
        "instance\n2:49: `token` is missing in an instance"),
    ROW(LISTEN "applications: {a: {user_tokens: t, instances: {}}}\n",
        "2:33: `user_tokens` must be a list of tokens, not a single value\n2:47: `instances` must "
        "be a list of instances, not a mapping"),
    ROW(LISTEN "applications: {a: {user_tokens: [\"t t\"], instances: [{name: i, host: h, port: 1, "
               "token: x}]}}\n",
        "2:34: a token has 1 to 512 visible ASCII characters without spaces"),
    ROW(LISTEN "applications: {a: {user_tokens: [\"\"], instances: [{name: i, host: h, port: 1, "
               "token: x}]}}\n",
        "2:34: a token has 1 to 512 visible ASCII characters without spaces"),
    ROW(LISTEN "applications: {a: {user_tokens: [\"t\303\251\"], instances: [{name: i, host: h, "
               "port: 1, token: x}]}}\n",
        "2:34: a token has 1 to 512 visible ASCII characters without spaces"),
    ROW(LISTEN "applications: {a: {user_tokens: [null], instances: [{name: i, host: h, port: 1, "
               "token: x}]}}\n",
        "2:34: expected a token, not nothing"),
    ROW(LISTEN "applications: {a: {user_tokens: [[t]], instances: [{name: i, host: h, port: 1, "
               "token: x}]}}\n",
        "2:34: expected a token, not a list"),
    ROW(LISTEN "applications: {a: {user_tokens: [t, u, t], instances: [{name: i, host: h, port: 1, "
               "token: x}]}}\n",
        "2:40: this user token is used already by application `a`, line 2"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: [{name: \"i/1\", host: h, port: 0, "
               "token: x}]}}\n",
        "2:57: a name has 1 to 64 letters, digits, `.`, `_` or `-`\n2:79: must be from 1 to 65535"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: [{name: i, host: \"http://h\", "
               "port: 65536, token: \"x y\"}]}}\n",
        "2:66: expected an address or a host name alone, without scheme, path or port\n2:84: must "
        "be from 1 to 65535\n2:98: a token has 1 to 512 visible ASCII characters without spaces"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: [{name: i, host: h:80, port: "
               "\"80\", token: ~}]}}\n",
        "2:66: expected an address or a host name alone, without scheme, path or port\n2:78: "
        "expected a number, not text; remove the quotes\n2:91: expected a token, not nothing"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: [{name: i, host: 10.0.0, port: 8o, "
               "token: [x]}]}}\n",
        "2:66: expected an IPv4 or IPv6 address or a host name\n2:80: expected a whole "
        "number\n2:91: expected a token, not a list"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: [{name: i, host: -h, port: 80.0, "
               "token: true}]}}\n",
        "2:66: expected an IPv4 or IPv6 address or a host name\n2:76: expected a whole "
        "number\n2:89: expected a token, not a boolean; put quotes around it if it is meant as "
        "text"),
    ROW(LISTEN "applications: {a: {user_tokens: [t], instances: [{name: i, host: h, port: 1, "
               "token: x}, {name: i, host: g, port: 2, token: y}]}}\n",
        "2:96: duplicate instance name `i`; the first is at line 2"),
    ROW(LISTEN "applications:\n  a: {user_tokens: [one, two], instances: [{name: i, host: h, port: "
               "1, token: x}]}\n  b: {user_tokens: [two], instances: [{name: i, host: h, port: 1, "
               "token: x}]}\n",
        "4:21: this user token is used already by application `a`, line 3"),
    ROW(LISTEN "applications: &a\n  a: {user_tokens: [t], instances: [{name: i, host: h, port: 1, "
               "token: x, weight: 1000}, {name: j, host: h, port: 1, token: x, weight: "
               "1000}]}\nconsistent_hash: {virtual_nodes: 4096}\n",
        "3:3: the ring would have 8192000 points (sum of the weights times virtual_nodes); at most "
        "4194304 are possible"),
    ROW(LISTEN "applications: {a: 1, a: 2}\n",
        "2:19: an application must be a mapping of keys to values, not a single value\n2:22: "
        "duplicate key `a`; the first is at line 2"),
    ROW("lissten: 1\nworkers: x\nlimits: {connections: y}\nlog: {level: z}\n",
        "1:1: `applications` is missing in the configuration\n1:1: `listen` is missing in the "
        "configuration\n1:1: unknown key `lissten` in the configuration; did you mean "
        "`listen`?\n2:10: expected `auto` or a number from 1 to 256\n3:23: expected a whole "
        "number\n4:14: unknown value for `level`; choose debug, info, warning or error"),
    ROW(LISTEN "applications:\n  a: &a {user_tokens: [t], algoritm: x, instances: [{name: i, host: "
               "h, port: 1, token: x}]}\n  b: *a\n",
        "3:28: unknown key `algoritm` in an application; did you mean `algorithm`?\n4:3: "
        "application `b` takes over (by `<<` or an alias) a user token of application `a`, line 3; "
        "give it `user_tokens` of its own"),
};

static void whole_files_give_exactly_these_problems(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_problems(rows[i].text, rows[i].size, rows[i].expected);
    }
}

/* RFC 3629: cut, overlong, surrogate, beyond U+10FFFF, never a first byte. */
static void what_is_not_utf8_is_named_at_its_place(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xE2\x82",         "\xC0\x80",     "\xE0\x80\x80",
                                      "\xF0\x80\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80", "\xFF",         "\xBF"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "a\r\nb\r\xC3\xA9 \xF0\x9F\x98\x80%s", bad[i]);
        assert_problems(
            text, (size_t)size,
            "3:4: not valid UTF-8: this is no text file, or its encoding is another one");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_give_exactly_these_problems),
        cmocka_unit_test(what_is_not_utf8_is_named_at_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
