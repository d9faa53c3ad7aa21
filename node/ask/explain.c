/* cli_explain: `difyring explain`: asks a node where a request would go, and says it in words. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask/node.h"

static const char help[] =
    "usage: difyring explain [-u URL | -c FILE] [--app APP] [--user ID] [--method M] [--path P]\n"
    "                        [--address A] [--json]\n"
    "\n"
    "Where the running cluster would send this request, and why: the application, the user, the\n"
    "place on the ring, and each instance that is stepped over with its reason. Nothing is sent.\n"
    "\n" CLI_NODE_HELP "      --app APP      the application; needed where there are several\n"
    "      --user ID      the end user's id; else it is looked for in the path's query\n"
    "      --method M     the request's method\n"
    "      --path P       its path and query, under /v1/\n"
    "      --address A    the client's address (ip_hash)\n"
    "      --json         the answer as it came\n"
    "  -h, --help         this text\n" CLI_NODE_HELP_END;

enum { APP = 2000, USER, METHOD, PATH, ADDRESS, JSON };

static const struct {
    int option;
    const char *name;
} parameters[] = {
    {APP, "app"}, {USER, "user"}, {METHOD, "method"}, {PATH, "path"}, {ADDRESS, "address"}};

static void add_parameter(struct buffer *target, int option, const char *value)
{
    for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
        if (parameters[i].option == option) {
            bool first = !target->data || !memchr(target->data, '?', target->size);
            buffer_append_format(target, "%s%s=", first ? "?" : "&", parameters[i].name);
            cli_append_encoded(target, value);
        }
    }
}

static const char *text_of(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : otherwise;
}

static long long number_of(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_slots(FILE *out, const json_t *slots)
{
    if (json_object_get(slots, "max_in_flight")) {
        fprintf(out, "slots        %lld of %lld used, %lld waiting\n",
                number_of(slots, "slots_used"), number_of(slots, "max_in_flight"),
                number_of(slots, "queued"));
    } else {
        fputs("slots        no limit\n", out);
    }
}

static void print_quotas(FILE *out, const json_t *quotas)
{
    static const char *const kinds[] = {"requests", "tokens", "concurrent"};
    size_t index;
    json_t *quota;
    json_array_foreach(quotas, index, quota)
    {
        const json_t *used = json_object_get(quota, "used");
        const char *every = text_of(quota, "every", NULL), *kind = kinds[0];
        for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
            kind = json_object_get(quota, kinds[i]) ? kinds[i] : kind;
        }
        fprintf(out, "quota        per %s: ", text_of(quota, "per", "-"));
        if (json_is_integer(used)) {
            fprintf(out, "%lld of ", (long long)json_integer_value(used));
        }
        fprintf(out, "%lld %s%s%s%s%s\n", number_of(quota, kind), kind, every ? " every " : "",
                every ? every : "", json_is_true(json_object_get(quota, "over")) ? ", over it" : "",
                json_is_true(json_object_get(quota, "shadow")) ? " (shadow)" : "");
    }
}

static void print_words(FILE *out, const json_t *answer)
{
    const json_t *user = json_object_get(answer, "user");
    const char *source = text_of(user, "source", NULL);
    size_t index;
    json_t *skipped;
    fprintf(out, "application  %s\n", text_of(answer, "application", "-"));
    fprintf(out, "user         %s%s%s%s\n", text_of(user, "id", "none"), source ? " (" : "",
            source ? source : "", source ? ")" : "");
    fprintf(out, "key          %s\n", text_of(answer, "key", "none: no ring decides"));
    fprintf(out, "home         %s\n", text_of(answer, "home", "-"));
    json_array_foreach(json_object_get(answer, "skipped"), index, skipped)
    {
        const json_t *reason = json_object_get(skipped, "reason");
        const char *node = text_of(reason, "node", NULL);
        fprintf(out, "not          %s: %s, %s%s%s\n", text_of(skipped, "instance", "-"),
                text_of(reason, "kind", "-"), text_of(reason, "text", "-"), node ? "; by " : "",
                node ? node : "");
    }
    fprintf(out, "instance     %s\n",
            text_of(answer, "instance", "none: the answer is 503, or 400"));
    fprintf(out, "placed       %s\n", text_of(answer, "placed", "-: no id decides"));
    if (json_is_string(json_object_get(answer, "instance"))) {
        print_slots(out, json_object_get(answer, "slots"));
    }
    print_quotas(out, json_object_get(answer, "quotas"));
}

static int print_answer(struct cli_node *n, const struct cli_answer *a, bool json)
{
    char *text = NULL;
    size_t size = 0;
    json_t *answer = json_loadb(a->body.data ? a->body.data : "", a->body.size, 0, NULL);
    if (!json_is_object(json_object_get(answer, "user"))) {
        json_decref(answer);
        return cli_failed("explain", "%s gave no explanation: is it a difyring node?", n->url);
    }
    FILE *out = json ? NULL : open_memstream(&text, &size);
    if (out) {
        print_words(out, answer);
        fclose(out);
        cli_make_printable(text);
        fputs(text, stdout);
        free(text);
    } else {
        fwrite(a->body.data, 1, a->body.size, stdout);
    }
    json_decref(answer);
    return CLI_FINE;
}

static int ask(struct cli_node *n, struct buffer *target, bool json)
{
    struct cli_answer answer = {0};
    int code = cli_node_find(n);
    buffer_append(target, "", 1);
    if (code == CLI_FINE) {
        code = cli_node_ask(n, "GET", target->data, 200, &answer);
    }
    if (code == CLI_FINE) {
        code = print_answer(n, &answer, json);
    }
    cli_answer_done(&answer);
    return code;
}

int cli_explain(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS,
        {"app", required_argument, NULL, APP},
        {"user", required_argument, NULL, USER},
        {"method", required_argument, NULL, METHOD},
        {"path", required_argument, NULL, PATH},
        {"address", required_argument, NULL, ADDRESS},
        {"json", no_argument, NULL, JSON},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct cli_node node;
    struct cli_line line = {.argc = argc, .argv = argv, .names = names, .help = help};
    struct buffer target = {0};
    bool json = false;
    int option;
    cli_node_init(&node, "explain");
    buffer_append_text(&target, "/admin/explain");
    while ((option = cli_node_next(&node, &line)) != CLI_OPTION_END) {
        if (option == JSON) {
            json = true;
        } else {
            add_parameter(&target, option, optarg);
            node.about = option == APP ? optarg : node.about;
        }
    }
    int code = line.code < 0 ? ask(&node, &target, json) : line.code;
    cli_node_done(&node);
    buffer_done(&target);
    return code;
}
