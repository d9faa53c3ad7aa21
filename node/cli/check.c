/* cli_check: `difyring check`. The problems are what was asked for, so they are on standard
 * output. */
#include <stdio.h>

#include "assembly/secure.h"
#include "cli/cli.h"

static const char help[] =
    "usage: difyring check -c FILE [--host]\n"
    "       difyring check --schema\n"
    "\n"
    "Reads a configuration and prints every problem on standard output, one a line:\n"
    "  FILE:LINE:COLUMN: message\n"
    "LINE and COLUMN count from 1; 0:0 is the file as a whole. What is valid but unwise is printed "
    "as\n"
    "`FILE:LINE:COLUMN: warning: message`, what was decided for you as `note: message`. The last "
    "line of a file that `difyring run` takes says "
    "so.\n"
    "\n"
    "  -c, --config FILE  the configuration\n"
    "  -H, --host         look at this machine, too: the folder of uploads, keys and files for "
    "TLS\n"
    "  -s, --schema       print the JSON Schema of configuration files, for editors, and end\n"
    "  -h, --help         this text\n"
    "\n"
    "Exit codes: 0 fine (also with warnings), 1 `difyring run` refuses it, 2 bad usage.\n";

static void print_problems(const char *file, const struct conf_problems *problems, const char *kind)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct conf_problem *p = &problems->at[i];
        printf("%s:%u:%u: %s%s\n", p->file, p->line, p->column, kind, p->message);
    }
    if (problems->unlisted > 0) {
        printf("%s:0:0: %sand %zu more\n", file, kind, problems->unlisted);
    }
}

/* Prints every problem and warning; true for a file that `difyring run` takes. */
static bool check(const char *file, bool host)
{
    struct conf_problems problems;
    struct conf *conf = conf_load_once(file, &problems);
    print_problems(file, &problems, "");
    conf_problems_free(&problems);
    if (!conf) {
        return false;
    }
    conf_weak(conf, &problems);
    print_problems(file, &problems, "warning: ");
    conf_problems_free(&problems);
    conf_notes(conf, &problems);
    print_problems(file, &problems, "note: ");
    conf_problems_free(&problems);
    if (host) {
        cli_check_host(conf, &problems);
        print_problems(file, &problems, "warning: ");
        conf_problems_free(&problems);
    }
    size_t unreadable_count = secure_check(conf, &problems);
    print_problems(file, &problems, "");
    conf_problems_free(&problems);
    size_t unsupported_count = conf_unsupported(conf, &problems);
    print_problems(file, &problems, "");
    conf_problems_free(&problems);
    conf_free(conf);
    return unsupported_count + unreadable_count == 0;
}

int cli_check(int argc, char **argv)
{
    static const struct option names[] = {{"config", required_argument, NULL, 'c'},
                                          {"host", no_argument, NULL, 'H'},
                                          {"schema", no_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const char *file = NULL;
    bool host = false;
    for (;;) {
        switch (cli_option(argc, argv, names)) {
        case 'c':
            file = optarg;
            continue;
        case 'H':
            host = true;
            continue;
        case 's':
            conf_print_schema(stdout);
            return CLI_FINE;
        case 'h':
            return cli_help(help);
        case CLI_OPTION_END:
            break;
        default:
            return CLI_USAGE;
        }
        break;
    }
    if (!file) {
        return cli_misused(argv[0], "-c FILE is missing");
    }
    if (!check(file, host)) {
        return CLI_FAILED;
    }
    printf("%s is valid\n", file);
    return CLI_FINE;
}
