/* cli_drain: `difyring drain`, `difyring enable` and `difyring forget`. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ask/answer.h"
#include "ask/node.h"
#include "cluster/cluster.h"
#include "conf/value.h"

/* clang-format off */
static const char help_drain[] =
    "usage: difyring drain [--now] [--hold T] APP/INSTANCE... [-u URL | -c FILE]\n"
    "       difyring drain [--now] [--hold T] --host HOST[:PORT]\n"
    "       difyring drain --node\n"
    "\n"
    "Takes an instance out of service in the whole cluster, or every instance at a host in all\n"
    "applications, or the node that is asked. Requests in flight end. `difyring enable` brings\n"
    "it back.\n"
    "\n"
    "      --now          requests that belong there are not sent either\n"
    "      --hold T       and wait for T (60s, 5m) before they are refused\n"
    "      --host HOST    all instances at this host, or host and port\n"
    "      --node         the node: it hands over the virtual IP, and goes on serving\n"
    CLI_NODE_HELP
    "  -h, --help         this text\n"
    CLI_NODE_HELP_END;

static const char help_enable[] =
    "usage: difyring enable APP/INSTANCE... [-u URL | -c FILE]\n"
    "       difyring enable --host HOST[:PORT]\n"
    "       difyring enable --node\n"
    "\n"
    "Brings back what was drained, and ends an ejection.\n"
    "\n"
    "      --host HOST    all instances at this host, or host and port\n"
    "      --node         the node that is asked\n"
    CLI_NODE_HELP
    "  -h, --help         this text\n"
    CLI_NODE_HELP_END;

static const char help_forget[] =
    "usage: difyring forget NODE [-u URL | -c FILE]\n"
    "\n"
    "A node that is gone for good, dead or stopped, leaves every node's list at once. Its\n"
    "counts stay in the totals. A node that is alive is not forgotten: stop it first.\n"
    "\n"
    CLI_NODE_HELP
    "  -h, --help         this text\n"
    CLI_NODE_HELP_END;
/* clang-format on */

enum {
    WORDS_MAX = 64,
    OPTION_NOW = 2000, /* without a letter */
    OPTION_HOLD,
    OPTION_HOST,
    OPTION_NODE,
};

struct wishes {
    const char *verb; /* drain or enable */
    bool now, node;
    const char *hold, *host;
    const char *words[WORDS_MAX];
    size_t word_count;
};

static void append_query(struct buffer *target, const struct wishes *w)
{
    const char *mark = "?";
    if (w->now) {
        buffer_append_text(target, "?now=1");
        mark = "&";
    }
    if (w->hold) {
        buffer_append_text(target, mark);
        buffer_append_text(target, "hold=");
        cli_append_encoded(target, w->hold);
    }
}

static int act_on(struct cli_node *n, const struct wishes *w, const char *app, const char *instance)
{
    struct buffer target = {0};
    json_t *answer = NULL;
    buffer_append_text(&target, "/admin/instances/");
    cli_append_encoded(&target, app);
    buffer_append_text(&target, "/");
    cli_append_encoded(&target, instance);
    buffer_append_text(&target, "/");
    buffer_append_text(&target, w->verb);
    append_query(&target, w);
    buffer_append(&target, "", 1);
    char about[256];
    snprintf(about, sizeof(about), "%s/%s", app, instance);
    n->about = about;
    int code = cli_ask_json(n, "POST", target.data, 0, &answer);
    n->about = NULL;
    if (code == CLI_FINE) {
        char *status = cli_printable(json_string_value(json_object_get(answer, "instance_status")));
        printf("%s/%s: %s\n", app, instance, status);
        if (strcmp(w->verb, "drain") == 0 && strcmp(status, "draining") != 0) {
            code = cli_failed(w->verb,
                              "%s/%s: it is not drained: the cluster keeps no more drains; "
                              "enable others first",
                              app, instance);
        }
        free(status);
    }
    json_decref(answer);
    buffer_done(&target);
    return code;
}

/* ---- by name ---- */

static int act_on_words(struct cli_node *n, const struct wishes *w)
{
    int code = CLI_FINE;
    for (size_t i = 0; i < w->word_count && code == CLI_FINE; i++) {
        char app[80];
        const char *slash = strchr(w->words[i], '/');
        snprintf(app, sizeof(app), "%.*s", (int)(slash - w->words[i]), w->words[i]);
        code = act_on(n, w, app, slash + 1);
    }
    return code;
}

/* ---- by host ---- */

/* HOST, HOST:PORT, or an IPv6 address with or without its brackets. */
static bool is_at(const char *wanted, const char *host, long long port)
{
    char with_port[320];
    bool six = strchr(host, ':') != NULL;
    if (strcmp(wanted, host) == 0) {
        return true;
    }
    snprintf(with_port, sizeof(with_port), six ? "[%s]" : "%s", host);
    if (strcmp(wanted, with_port) == 0) {
        return true;
    }
    snprintf(with_port, sizeof(with_port), six ? "[%s]:%lld" : "%s:%lld", host, port);
    return strcmp(wanted, with_port) == 0;
}

static int act_on_host(struct cli_node *n, const struct wishes *w)
{
    json_t *status = NULL;
    size_t found = 0;
    const char *app, *name;
    json_t *application, *instance;
    int code = cli_ask_json(n, "GET", "/status", 0, &status);
    json_object_foreach(json_object_get(status, "applications"), app, application)
    {
        json_object_foreach(json_object_get(application, "instances"), name, instance)
        {
            const char *host = json_string_value(json_object_get(instance, "host"));
            long long port = json_integer_value(json_object_get(instance, "port"));
            if (code == CLI_FINE && host && is_at(w->host, host, port)) {
                found++;
                code = act_on(n, w, app, name);
            }
        }
    }
    json_decref(status);
    if (code == CLI_FINE && found == 0) {
        return cli_failed(w->verb,
                          "no application has an instance at `%s`; `difyring status` names "
                          "them with host and port",
                          w->host);
    }
    return code;
}

/* ---- the node ---- */

static int act_on_node(struct cli_node *n, const struct wishes *w)
{
    char target[32];
    json_t *answer = NULL;
    snprintf(target, sizeof(target), "/admin/%s", w->verb);
    int code = cli_ask_json(n, "POST", target, 0, &answer);
    if (code == CLI_FINE) {
        char *name = cli_printable(json_string_value(json_object_get(answer, "node")));
        printf("node %s: %s\n", name,
               json_is_true(json_object_get(answer, "draining")) ? "draining" : "in service");
        free(name);
    }
    json_decref(answer);
    return code;
}

/* ---- who is left ---- */

static bool is_text(const json_t *object, const char *key, const char *text)
{
    const char *said = json_string_value(json_object_get(object, key));
    return said && strcmp(said, text) == 0;
}

static bool another_serves(const json_t *cluster, const char *self)
{
    size_t index;
    json_t *node;
    json_array_foreach(json_object_get(cluster, "nodes"), index, node)
    {
        if (is_text(node, "state", "alive") && !is_text(node, "name", self) &&
            !json_is_true(json_object_get(node, "draining"))) {
            return true;
        }
    }
    return false;
}

/* The last one can be drained, too; who did that at night is told what it means. */
static void warn_of_the_last(struct cli_node *n, const struct wishes *w)
{
    json_t *status = NULL, *problem;
    size_t index;
    if (cli_ask_json(n, "GET", "/status", 0, &status) != CLI_FINE) {
        return;
    }
    const char *self = json_string_value(json_object_get(json_object_get(status, "node"), "name"));
    if (w->node && !another_serves(json_object_get(status, "cluster"), self ? self : "")) {
        cli_failed(w->verb,
                   "warning: no other node is alive and in service: nobody takes over what "
                   "this one had; `difyring enable --node` takes it back");
    }
    json_array_foreach(json_object_get(status, "problems"), index, problem)
    {
        if (!w->node && is_text(problem, "kind", "no_instance")) {
            char *about = cli_printable(json_string_value(json_object_get(problem, "subject")));
            char *detail = cli_printable(json_string_value(json_object_get(problem, "detail")));
            cli_failed(w->verb, "warning: %s: %s; `difyring enable` takes it back", about, detail);
            free(about);
            free(detail);
        }
    }
    json_decref(status);
}

/* ---- usage ---- */

static int check_wishes(const struct wishes *w)
{
    int kinds = (w->word_count > 0) + (w->host != NULL) + w->node;
    if (kinds != 1) {
        return cli_misused(w->verb, kinds ? "APP/INSTANCE, --host and --node exclude each other"
                                          : "APP/INSTANCE, --host or --node is missing");
    }
    if (w->node && (w->now || w->hold)) {
        return cli_misused(w->verb, "--now and --hold are for instances, not for a node");
    }
    if (w->hold && !w->now) {
        return cli_misused(w->verb, "--hold is how long requests wait that --now does not send; "
                                    "give both");
    }
    uint64_t hold_ms;
    if (w->hold &&
        (!value_duration_ms(bytes_of(w->hold), &hold_ms) || hold_ms > CLUSTER_HOLD_MAX_MS)) {
        return cli_misused(w->verb, "--hold is a duration up to 24h, such as 60s or 5m");
    }
    for (size_t i = 0; i < w->word_count; i++) {
        const char *slash = strchr(w->words[i], '/');
        if (!slash || slash == w->words[i] || !slash[1] || slash - w->words[i] > 64) {
            return cli_misused(w->verb, "`%s` is no APP/INSTANCE", w->words[i]);
        }
    }
    return CLI_FINE;
}

static void read_wishes(struct cli_node *node, struct cli_line *line, struct wishes *w)
{
    int option;
    while ((option = cli_node_next(node, line)) != CLI_OPTION_END) {
        if (option == CLI_OPTION_WORD) {
            w->words[w->word_count++] = optarg;
        }
        w->now |= option == OPTION_NOW;
        w->node |= option == OPTION_NODE;
        w->hold = option == OPTION_HOLD ? optarg : w->hold;
        w->host = option == OPTION_HOST ? optarg : w->host;
    }
}

static int drain_or_enable(struct cli_line *line, const char *verb)
{
    struct cli_node node;
    struct wishes w = {.verb = verb};
    cli_node_init(&node, verb);
    read_wishes(&node, line, &w);
    if (line->code >= 0) {
        return line->code;
    }
    int code = check_wishes(&w);
    if (code != CLI_FINE) {
        return code;
    }
    code = cli_node_find(&node);
    if (code == CLI_FINE) {
        code = w.node   ? act_on_node(&node, &w)
               : w.host ? act_on_host(&node, &w)
                        : act_on_words(&node, &w);
    }
    if (code == CLI_FINE && strcmp(verb, "drain") == 0) {
        warn_of_the_last(&node, &w);
    }
    cli_node_done(&node);
    return code;
}

int cli_drain(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS,
        {"now", no_argument, NULL, OPTION_NOW},
        {"hold", required_argument, NULL, OPTION_HOLD},
        {"host", required_argument, NULL, OPTION_HOST},
        {"node", no_argument, NULL, OPTION_NODE},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct cli_line line = {
        .argc = argc, .argv = argv, .names = names, .help = help_drain, .words_max = WORDS_MAX};
    return drain_or_enable(&line, "drain");
}

int cli_enable(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS,
        {"host", required_argument, NULL, OPTION_HOST},
        {"node", no_argument, NULL, OPTION_NODE},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct cli_line line = {
        .argc = argc, .argv = argv, .names = names, .help = help_enable, .words_max = WORDS_MAX};
    return drain_or_enable(&line, "enable");
}

/* ---- forget ---- */

static int forget(struct cli_node *n, const char *name)
{
    struct buffer target = {0};
    json_t *answer = NULL;
    buffer_append_text(&target, "/admin/nodes/");
    cli_append_encoded(&target, name);
    buffer_append_text(&target, "/forget");
    buffer_append(&target, "", 1);
    n->about = name;
    int code = cli_ask_json(n, "POST", target.data, 0, &answer);
    if (code == CLI_FINE) {
        printf("node %s: forgotten\n", name);
    }
    json_decref(answer);
    buffer_done(&target);
    return code;
}

int cli_forget(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    struct cli_node node;
    struct cli_line line = {
        .argc = argc, .argv = argv, .names = names, .help = help_forget, .words_max = 1};
    const char *name = NULL;
    cli_node_init(&node, "forget");
    while (cli_node_next(&node, &line) != CLI_OPTION_END) {
        name = optarg;
    }
    if (line.code >= 0) {
        return line.code;
    }
    if (!name) {
        return cli_misused("forget", "the name of a NODE is missing");
    }
    int code = cli_node_find(&node);
    code = code == CLI_FINE ? forget(&node, name) : code;
    cli_node_done(&node);
    return code;
}
