/* cli_common: options, errors and the configuration, the same for every command. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static void tell(const char *command, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void tell(const char *command, const char *format, va_list args)
{
    fprintf(stderr, "difyring %s: ", command);
    vfprintf(stderr, format, args);
}

int cli_failed(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(command, format, args);
    va_end(args);
    fputs("\n", stderr);
    return CLI_FAILED;
}

int cli_misused(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(command, format, args);
    va_end(args);
    fprintf(stderr, "; see `difyring %s -h`\n", command);
    return CLI_USAGE;
}

enum { LETTERS_MAX = 32 /* ten options with a value each */ };

/* getopt's short form of `names`: nothing but options (`+`), errors to us (`:`). */
static void letters_of(const struct option *names, char ret_letters[LETTERS_MAX])
{
    size_t size = 0;
    ret_letters[size++] = '+';
    ret_letters[size++] = ':';
    for (; names->name; names++) {
        assert(size + 3 < LETTERS_MAX);
        if (names->val < 128) {
            ret_letters[size++] = (char)names->val;
            if (names->has_arg == required_argument) {
                ret_letters[size++] = ':';
            }
        }
    }
    ret_letters[size] = '\0';
}

int cli_option(int argc, char **argv, const struct option *names)
{
    char letters[LETTERS_MAX];
    letters_of(names, letters);
    int option = getopt_long(argc, argv, letters, names, NULL);
    if (option == CLI_OPTION_END && optind < argc) {
        cli_misused(argv[0], "unexpected argument `%s`", argv[optind]);
        return CLI_OPTION_WRONG;
    }
    if (option == ':') {
        cli_misused(argv[0], "`%s` needs a value", argv[optind - 1]);
        return CLI_OPTION_WRONG;
    }
    if (option == '?') {
        const char *word = argv[optind - 1];
        if (strncmp(word, "--", 2) == 0) { /* without its value, which may be a secret */
            cli_misused(argv[0], "wrong option `%.*s`", (int)strcspn(word, "="), word);
        } else {
            cli_misused(argv[0], "wrong option `-%c`", optopt);
        }
    }
    return option;
}

int cli_help(const char *help)
{
    fputs(help, stdout);
    return CLI_FINE;
}

int cli_only_help(int argc, char **argv, const char *help)
{
    static const struct option names[] = {{"help", no_argument, NULL, 'h'}, {0}};
    switch (cli_option(argc, argv, names)) {
    case 'h':
        return cli_help(help);
    case CLI_OPTION_END:
        return -1;
    default:
        return CLI_USAGE;
    }
}

int cli_only_config(int argc, char **argv, const char *help, const char **ret_file)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *file = NULL;
    for (;;) {
        switch (cli_option(argc, argv, names)) {
        case 'c':
            file = optarg;
            break;
        case 'h':
            return cli_help(help);
        case CLI_OPTION_END:
            if (!file) {
                return cli_misused(argv[0], "-c FILE is missing");
            }
            *ret_file = file;
            return -1;
        default:
            return CLI_USAGE;
        }
    }
}

struct conf *cli_load(const char *file)
{
    struct conf_problems problems;
    struct conf *conf = conf_load_once(file, &problems);
    for (size_t i = 0; i < problems.count; i++) {
        const struct conf_problem *p = &problems.at[i];
        fprintf(stderr, "%s:%u:%u: %s\n", p->file, p->line, p->column, p->message);
    }
    if (problems.unlisted > 0) {
        fprintf(stderr, "%s:0:0: and %zu more problems\n", file, problems.unlisted);
    }
    conf_problems_free(&problems);
    return conf;
}
