/* cli_reload: `difyring reload`. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ask/answer.h"
#include "ask/node.h"

/* clang-format off */
static const char help[] =
    "usage: difyring reload [--dry-run] [--force] [-u URL | -c FILE]\n"
    "\n"
    "Lets the node read its configuration file again. What it changes of the shared sections\n"
    "all nodes take over. A file that was made from an older configuration, and would take\n"
    "back what others have changed since, is refused.\n"
    "\n"
    "  -n, --dry-run      say what would happen, and change nothing\n"
    "  -f, --force        take back what others have changed\n"
    CLI_NODE_HELP
    "  -h, --help         this text\n"
    CLI_NODE_HELP_END
    "\n"
    "Exit codes: 0 it is in force, 1 refused or no answer, 2 bad usage.\n";
/* clang-format on */

static int print_good(const json_t *answer, bool dry_run)
{
    const char *verb = dry_run ? "would be reloaded" : "reloaded";
    printf("%s, revision %lld\n", verb,
           (long long)json_integer_value(json_object_get(answer, "config_revision")));
    cli_print_list("  ", json_object_get(answer, "changed"));
    cli_print_list("needs a restart: ", json_object_get(answer, "restart_needed"));
    cli_print_list("warning: ", json_object_get(answer, "warnings"));
    return CLI_FINE;
}

static int print_refused(const json_t *answer)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(answer, "would_lose"), i, one)
    {
        char *text = cli_printable(json_string_value(one));
        fprintf(stderr, "  %s\n", text);
        free(text);
    }
    return cli_failed(
        "reload", "refused: the file was made from an older configuration, and would take back "
                  "the changes above; write them into the file (`difyring config show`), or use "
                  "--force");
}

/* 409 has a body of its own, and so has 400: the first is asked for, the second is tried. */
static int reload(struct cli_node *n, bool dry_run, bool force)
{
    char target[64];
    struct cli_answer answer;
    snprintf(target, sizeof(target), "/reload-config?dry_run=%d&force=%d", dry_run, force);
    int code = CLI_FAILED;
    if (!cli_node_request(n, "POST", target, &answer)) {
        cli_failed("reload", "%s", n->error);
        cli_answer_done(&answer);
        return CLI_FAILED;
    }
    json_t *value = json_loadb(answer.body.data, answer.body.size, 0, NULL);
    if (answer.status == 200 && json_is_object(value)) {
        code = print_good(value, dry_run);
    } else if (answer.status == 409 && json_object_get(value, "would_lose")) {
        code = print_refused(value);
    } else if (answer.status == 400 && cli_is_bad_file(value)) {
        code = cli_print_bad_file("reload", value);
    } else {
        cli_node_refused(n, &answer);
        cli_failed("reload", "%s", n->error);
    }
    json_decref(value);
    cli_answer_done(&answer);
    return code;
}

int cli_reload(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS,
        {"dry-run", no_argument, NULL, 'n'},
        {"force", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct cli_node node;
    struct cli_line line = {.argc = argc, .argv = argv, .names = names, .help = help};
    bool dry_run = false, force = false;
    int option;
    cli_node_init(&node, "reload");
    while ((option = cli_node_next(&node, &line)) != CLI_OPTION_END) {
        dry_run |= option == 'n';
        force |= option == 'f';
    }
    if (line.code >= 0) {
        return line.code;
    }
    int code = cli_node_find(&node);
    code = code == CLI_FINE ? reload(&node, dry_run, force) : code;
    cli_node_done(&node);
    return code;
}
