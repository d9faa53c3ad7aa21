/* cli_common: options, errors and the configuration, the same for every command. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "conf/value.h"

static void complain(const char *command, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void complain(const char *command, const char *format, va_list args)
{
    fprintf(stderr, "difyring %s: ", command);
    vfprintf(stderr, format, args);
}

int cli_failed(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(command, format, args);
    va_end(args);
    fputs("\n", stderr);
    return CLI_FAILED;
}

int cli_misused(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(command, format, args);
    va_end(args);
    fprintf(stderr, "; see `difyring %s -h`\n", command);
    return CLI_USAGE;
}

/* A URL, or a file that is there, was meant for an option. */
int cli_unexpected(const char *command, const char *word, const struct option *names)
{
    int meant = strstr(word, "://") ? 'u' : access(word, F_OK) == 0 ? 'c' : 0;
    for (; meant && names->name; names++) {
        if (names->val == meant) {
            return cli_misused(command, "unexpected argument `%s`; did you mean `-%c %s`?", word,
                               meant, word);
        }
    }
    return cli_misused(command, "unexpected argument `%s`", word);
}

enum {
    LETTERS_MAX = 32, /* ten options with a value each */
    OPTIONS_MAX = 24,
};

/* getopt's short form of `names`; errors to us (`:`). `order`: `+` ends at the first word that is
 * no option, `-` gives it as CLI_OPTION_WORD. */
static void letters_of(const struct option *names, char order, char ret_letters[LETTERS_MAX])
{
    size_t size = 0;
    ret_letters[size++] = order;
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

const char *cli_nearest(const char *written, const char *const *words)
{
    unsigned best = 3; /* two slips */
    const char *nearest = NULL;
    size_t size = strlen(written);
    for (; *words; words++) {
        unsigned distance = value_distance(bytes_of(written), bytes_of(*words), best);
        if (size >= 3 && strncmp(*words, written, size) == 0) {
            return *words; /* its beginning */
        }
        if (distance < best && distance < (strlen(*words) + 1) / 2) {
            best = distance;
            nearest = *words;
        }
    }
    return nearest;
}

int cli_unknown_word(const char *command, const char *written, const char *const *words)
{
    char all[128] = "";
    const char *nearest = written ? cli_nearest(written, words) : NULL;
    for (size_t i = 0; words[i]; i++) {
        size_t used = strlen(all);
        snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? " or " : "", words[i]);
    }
    if (!written) {
        return cli_misused(command, "%s is missing", all);
    }
    if (nearest) {
        return cli_misused(command, "there is no `%s`; did you mean `%s`?", written, nearest);
    }
    return cli_misused(command, "there is no `%s`; expected %s", written, all);
}

/* `--word`, perhaps with `=VALUE`, which may be a secret. */
static void tell_wrong_option(const char *command, const char *word, const struct option *names)
{
    char written[64];
    const char *all[OPTIONS_MAX + 1] = {NULL};
    for (size_t i = 0; names[i].name; i++) {
        assert(i < OPTIONS_MAX);
        all[i] = names[i].name;
    }
    snprintf(written, sizeof(written), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    const char *nearest = cli_nearest(written, all);
    if (nearest) {
        cli_misused(command, "wrong option `--%s`; did you mean `--%s`?", written, nearest);
    } else {
        cli_misused(command, "wrong option `--%s`", written);
    }
}

static int next_option(int argc, char **argv, const struct option *names, char order)
{
    char letters[LETTERS_MAX];
    letters_of(names, order, letters);
    int option = getopt_long(argc, argv, letters, names, NULL);
    if (option == ':') {
        cli_misused(argv[0], "`%s` needs a value", argv[optind - 1]);
        return CLI_OPTION_WRONG;
    }
    if (option == '?') {
        const char *word = argv[optind - 1];
        if (strncmp(word, "--", 2) == 0) {
            tell_wrong_option(argv[0], word, names);
        } else {
            cli_misused(argv[0], "wrong option `-%c`", optopt);
        }
    }
    return option;
}

int cli_option(int argc, char **argv, const struct option *names)
{
    int option = next_option(argc, argv, names, '+');
    if (option == CLI_OPTION_END && optind < argc) {
        cli_unexpected(argv[0], argv[optind], names);
        return CLI_OPTION_WRONG;
    }
    return option;
}

int cli_option_or_word(int argc, char **argv, const struct option *names)
{
    int option = next_option(argc, argv, names, '-');
    if (option == CLI_OPTION_END && optind < argc) { /* behind `--` */
        optarg = argv[optind++];
        return CLI_OPTION_WORD;
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

const char *cli_config_file(const char *command, const char *given)
{
    if (given) {
        return strcmp(given, "-") == 0 ? "/dev/stdin" : given;
    }
    if (access(CLI_NODE_FILE, R_OK) == 0) {
        return CLI_NODE_FILE;
    }
    cli_misused(command, "-c FILE is missing (and there is no readable %s)", CLI_NODE_FILE);
    return NULL;
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
            *ret_file = cli_config_file(argv[0], file);
            return *ret_file ? -1 : CLI_USAGE;
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
