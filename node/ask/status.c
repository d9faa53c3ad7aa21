/* cli_status: `difyring status`: asks a node for /status and shows it as tables, what is wrong
 * first; or, with --check, in one line and an exit code for monitoring. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ask/node.h"
#include "ask/watch.h"
#include "show/status_tables.h"

static const char help[] =
    "usage: difyring status [-u URL | -c FILE] [--json | --check | --watch]\n"
    "\n"
    "Shows what is wrong first, then the cluster as any of its nodes sees it.\n"
    "\n" CLI_NODE_HELP "      --json         the document of GET /status as it came\n"
    "      --check        one line, and an exit code for monitoring: 0 fine, 1 warning,\n"
    "                     2 critical, 3 no answer\n"
    "      --watch        live, with rates and percentiles of the last minute; q quits\n"
    "  -h, --help         this text\n" CLI_NODE_HELP_END "\n"
    "Exit codes: 0 a node has answered, whatever it says (see --check), 1 none has, 2 bad\n"
    "usage.\n";

enum status_exit { STATUS_WARNING = 1, STATUS_CRITICAL = 2, STATUS_NO_ANSWER = 3 };

enum status_form { STATUS_TABLES, STATUS_JSON, STATUS_CHECK, STATUS_WATCH };

/* ---- what is shown ---- */

static int print_text(void (*print)(FILE *out, const json_t *status), const json_t *status)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        return cli_failed("status", "cannot print: %s", strerror(errno));
    }
    print(out, status);
    fclose(out);
    cli_make_printable(text);
    fputs(text, stdout);
    free(text);
    return CLI_FINE;
}

/* The worst of its problems; they come with the worst first, but a program should not rely on it.
 */
static int worst_of(const json_t *problems)
{
    int worst = CLI_FINE;
    size_t index;
    json_t *problem;
    json_array_foreach(problems, index, problem)
    {
        const char *severity = json_string_value(json_object_get(problem, "severity"));
        bool critical = severity && strcmp(severity, "critical") == 0;
        bool warning = severity && strcmp(severity, "warning") == 0;
        int one = critical ? STATUS_CRITICAL : warning ? STATUS_WARNING : CLI_FINE;
        worst = one > worst ? one : worst;
    }
    return worst;
}

static json_t *parse(struct cli_node *n, const struct cli_answer *a)
{
    json_t *status = json_loadb(a->body.data ? a->body.data : "", a->body.size, 0, NULL);
    if (!json_is_object(json_object_get(status, "cluster")) ||
        !json_is_object(json_object_get(status, "applications"))) {
        json_decref(status);
        status = NULL;
        snprintf(n->error, sizeof(n->error),
                 "%s gave no difyring status: what answers there is not a difyring node; check "
                 "the URL",
                 n->url);
    }
    return status;
}

static int print_status(const struct cli_answer *a, const json_t *status, enum status_form form)
{
    switch (form) {
    case STATUS_WATCH:
    case STATUS_TABLES:
        return print_text(status_tables, status);
    case STATUS_JSON:
        fwrite(a->body.data, 1, a->body.size, stdout);
        return CLI_FINE;
    case STATUS_CHECK:
        print_text(status_line, status);
        return worst_of(json_object_get(status, "problems"));
    }
    return CLI_FAILED;
}

/* ---- asking ---- */

/* No answer is one for monitoring, too: a line, and its code. */
static int no_answer(const struct cli_node *n, enum status_form form)
{
    if (form == STATUS_CHECK) {
        printf("UNKNOWN: %s\n", n->error);
        return STATUS_NO_ANSWER;
    }
    return cli_failed("status", "%s", n->error);
}

static int ask(struct cli_node *n, enum status_form form)
{
    struct cli_answer answer;
    bool came = cli_node_request(n, "GET", "/status", &answer);
    json_t *status = NULL;
    if (came && answer.status == 200) {
        status = parse(n, &answer);
    } else if (came) {
        cli_node_refused(n, &answer);
    }
    int code = status ? print_status(&answer, status, form) : no_answer(n, form);
    json_decref(status);
    cli_answer_done(&answer);
    return code;
}

static int find_and_ask(struct cli_node *n, enum status_form form)
{
    int code = cli_node_find(n);
    if (code == CLI_FINE) {
        return form == STATUS_WATCH ? cli_watch(n) : ask(n, form);
    }
    if (form == STATUS_CHECK && code == CLI_FAILED) { /* monitoring reads standard output */
        puts("UNKNOWN: which node to ask is not known; standard error says why");
        return STATUS_NO_ANSWER;
    }
    return code;
}

int cli_status(int argc, char **argv)
{
    static const struct option names[] = {
        CLI_NODE_OPTIONS,
        {"json", no_argument, NULL, 'j'},
        {"check", no_argument, NULL, 'k'},
        {"watch", no_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct cli_node node;
    struct cli_line line = {.argc = argc, .argv = argv, .names = names, .help = help};
    enum status_form form = STATUS_TABLES;
    int option, forms = 0;
    cli_node_init(&node, "status");
    while ((option = cli_node_next(&node, &line)) != CLI_OPTION_END) {
        enum status_form asked = option == 'j'   ? STATUS_JSON
                                 : option == 'w' ? STATUS_WATCH
                                                 : STATUS_CHECK;
        forms += forms == 0 || asked != form;
        form = asked;
    }
    if (line.code >= 0) {
        return line.code;
    }
    if (forms > 1) {
        return cli_misused("status", "--json, --check and --watch exclude each other");
    }
    int code = find_and_ask(&node, form);
    cli_node_done(&node);
    return code;
}
