/* cli_check: `difyring check`. The problems are what was asked for, so they are on standard
 * output. */
#include <stdio.h>

#include "cli/cli.h"

static const char help[] =
    "usage: difyring check -c FILE\n"
    "\n"
    "Reads a configuration and prints every problem on standard output, one a line:\n"
    "  FILE:LINE:COLUMN: message\n"
    "LINE and COLUMN count from 1; 0:0 is the file as a whole. What is valid but unwise is printed "
    "as\n"
    "`FILE:LINE:COLUMN: warning: message`. The last line of a file that `difyring run` takes says "
    "so.\n"
    "\n"
    "  -c, --config FILE  the configuration\n"
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

int cli_check(int argc, char **argv)
{
    const char *file = NULL;
    int code = cli_only_config(argc, argv, help, &file);
    if (code >= 0) {
        return code;
    }
    struct conf_problems problems;
    struct conf *conf = conf_load_once(file, &problems);
    print_problems(file, &problems, "");
    conf_problems_free(&problems);
    if (!conf) {
        return CLI_FAILED;
    }
    conf_weak(conf, &problems);
    print_problems(file, &problems, "warning: ");
    conf_problems_free(&problems);
    size_t unsupported_count = conf_unsupported(conf, &problems);
    print_problems(file, &problems, "");
    conf_problems_free(&problems);
    conf_free(conf);
    if (unsupported_count > 0) {
        return CLI_FAILED;
    }
    printf("%s is valid\n", file);
    return CLI_FINE;
}
