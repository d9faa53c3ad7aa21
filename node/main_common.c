/* main_common: options, errors and the configuration, the same for every command. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "main.h"

static void tell(const char *command, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void tell(const char *command, const char *format, va_list args)
{
    fprintf(stderr, "difyring %s: ", command);
    vfprintf(stderr, format, args);
}

int main_failed(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(command, format, args);
    va_end(args);
    fputs("\n", stderr);
    return MAIN_FAILED;
}

int main_misused(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(command, format, args);
    va_end(args);
    fprintf(stderr, "; see `difyring %s -h`\n", command);
    return MAIN_USAGE;
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

int main_option(int argc, char **argv, const struct option *names)
{
    char letters[LETTERS_MAX];
    letters_of(names, letters);
    int option = getopt_long(argc, argv, letters, names, NULL);
    if (option == MAIN_OPTION_END && optind < argc) {
        main_misused(argv[0], "unexpected argument `%s`", argv[optind]);
        return MAIN_OPTION_WRONG;
    }
    if (option == ':') {
        main_misused(argv[0], "`%s` needs a value", argv[optind - 1]);
        return MAIN_OPTION_WRONG;
    }
    if (option == '?') {
        const char *word = argv[optind - 1];
        if (strncmp(word, "--", 2) == 0) { /* without its value, which may be a secret */
            main_misused(argv[0], "wrong option `%.*s`", (int)strcspn(word, "="), word);
        } else {
            main_misused(argv[0], "wrong option `-%c`", optopt);
        }
    }
    return option;
}

int main_help(const char *help)
{
    fputs(help, stdout);
    return MAIN_FINE;
}

int main_only_help(int argc, char **argv, const char *help)
{
    static const struct option names[] = {{"help", no_argument, NULL, 'h'}, {0}};
    switch (main_option(argc, argv, names)) {
    case 'h':
        return main_help(help);
    case MAIN_OPTION_END:
        return -1;
    default:
        return MAIN_USAGE;
    }
}

int main_only_config(int argc, char **argv, const char *help, const char **ret_file)
{
    static const struct option names[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *file = NULL;
    for (;;) {
        switch (main_option(argc, argv, names)) {
        case 'c':
            file = optarg;
            break;
        case 'h':
            return main_help(help);
        case MAIN_OPTION_END:
            if (!file) {
                return main_misused(argv[0], "-c FILE is missing");
            }
            *ret_file = file;
            return -1;
        default:
            return MAIN_USAGE;
        }
    }
}

struct conf *main_load(const char *file)
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
