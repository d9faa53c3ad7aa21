/* cli_config: `difyring config show` and `difyring config diff`. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ask/answer.h"
#include "ask/node.h"

/* clang-format off */
static const char help[] =
    "usage: difyring config show [--secrets] [-u URL | -c FILE]\n"
    "       difyring config diff [-u URL | -c FILE]\n"
    "\n"
    "show  prints the shared configuration that is in force in the cluster, as YAML. Secrets\n"
    "      are \"" CONF_HIDDEN "\" without --secrets. As the shared part of a file it reloads without a\n"
    "      change.\n"
    "diff  says what the node's own file would change of it, and what it would take back of\n"
    "      what others have changed. Nothing is changed.\n"
    "\n"
    "      --secrets      show tokens\n"
    CLI_NODE_HELP
    "  -h, --help         this text\n"
    CLI_NODE_HELP_END;
/* clang-format on */

enum { OPTION_SECRETS = 2000 /* without a letter */ };

static int show(struct cli_node *n, bool secrets)
{
    struct cli_answer answer;
    int code =
        cli_node_ask(n, "GET", secrets ? "/admin/config?secrets=1" : "/admin/config", 0, &answer);
    if (code == CLI_FINE) {
        fwrite(answer.body.data, 1, answer.body.size, stdout);
    }
    if (answer.body.data) {
        explicit_bzero(answer.body.data, answer.body.size);
    }
    cli_answer_done(&answer);
    return code;
}

static bool holds(const json_t *list, const char *text)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (strcmp(json_string_value(one), text) == 0) {
            return true;
        }
    }
    return false;
}

/* `forced`: all that differs; `lost`: what of it others have changed since. */
static void print_diff(const json_t *forced, const json_t *lost)
{
    const json_t *changed = json_object_get(forced, "changed");
    size_t i;
    json_t *one;
    json_array_foreach(changed, i, one)
    {
        char *text = cli_printable(json_string_value(one));
        printf("%s%s\n", text, holds(lost, json_string_value(one)) ? "  (takes back)" : "");
        free(text);
    }
    if (json_array_size(changed) == 0) {
        puts("the file says what is in force");
    } else if (json_array_size(lost) > 0) {
        puts("\nThe file was made from an older configuration: a reload is refused (or `difyring "
             "reload --force`).");
    }
    cli_print_list("needs a restart: ", json_object_get(forced, "restart_needed"));
}

static int diff(struct cli_node *n)
{
    json_t *forced = NULL, *plain = NULL;
    int code = cli_ask_json(n, "POST", "/reload-config?dry_run=1&force=1", 400, &forced);
    if (code == CLI_FINE && cli_is_bad_file(forced)) {
        code = cli_print_bad_file("config", forced);
    } else if (code == CLI_FINE) {
        code = cli_ask_json(n, "POST", "/reload-config?dry_run=1", 409, &plain);
    }
    if (code == CLI_FINE) {
        print_diff(forced, json_object_get(plain, "would_lose"));
        bool waits = !json_object_get(plain, "would_lose") &&
                     json_array_size(json_object_get(plain, "changed")) <
                         json_array_size(json_object_get(forced, "changed"));
        if (waits) {
            puts("\nThe file has not changed since something newer came: a reload does not bring "
                 "the shared part of this (or `difyring reload --force`).");
        }
    }
    json_decref(forced);
    json_decref(plain);
    return code;
}

int cli_config(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS,
        {"secrets", no_argument, NULL, OPTION_SECRETS},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    static const char *const words[] = {"show", "diff", NULL};
    struct cli_node node;
    struct cli_line line = {
        .argc = argc, .argv = argv, .names = names, .help = help, .words_max = 1};
    bool secrets = false;
    const char *word = NULL;
    int option;
    cli_node_init(&node, "config");
    while ((option = cli_node_next(&node, &line)) != CLI_OPTION_END) {
        secrets |= option == OPTION_SECRETS;
        word = option == CLI_OPTION_WORD ? optarg : word;
    }
    if (line.code >= 0) {
        return line.code;
    }
    if (!word || (strcmp(word, "show") != 0 && strcmp(word, "diff") != 0)) {
        return cli_unknown_word("config", word, words);
    }
    bool shows = strcmp(word, "show") == 0;
    if (secrets && !shows) {
        return cli_misused("config", "diff never shows secrets");
    }
    int code = cli_node_find(&node);
    code = code != CLI_FINE ? code : shows ? show(&node, secrets) : diff(&node);
    cli_node_done(&node);
    return code;
}
