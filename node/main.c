/* main: the command line. Finds the command and makes sure that what it printed arrived. */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments, *purpose;
};

static const struct command commands[] = {
    {"run", cli_run, "-c FILE", "run a node in the foreground"},
    {"check", cli_check, "-c FILE", "say everything that is wrong with a configuration"},
    {"ring", cli_ring, "-c FILE --app APP …", "each instance's share, and where users land"},
    {"status", cli_status, "[-u URL | -c FILE] …", "the cluster as a table"},
    {"drain", cli_drain, "APP/INSTANCE …", "take instances, or the node, out of service"},
    {"enable", cli_enable, "APP/INSTANCE …", "bring them back"},
    {"reload", cli_reload, "[-n] [-f]", "let a node read its configuration again"},
    {"config", cli_config, "show | diff", "what is in force, and what the file would change"},
    {"forget", cli_forget, "NODE", "a node that is gone for good leaves every list"},
    {"explain", cli_explain, "[--app APP] [--user ID]", "where a request would go, and why"},
    {"vrrp-config", cli_vrrp_config, "-c FILE", "print this node's keepalived.conf"},
    {"vip-guard", cli_vip_guard, "--socket PATH", "for keepalived: does the node live?"},
    {"vip-relay", cli_vip_relay, "--role ROLE …", "for keepalived: keep open connections going"},
    {"keygen", cli_keygen, "", "print a new cluster key"},
    {"version", cli_version, "", "versions of difyring and of its libraries"},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(*commands) };

static void print_usage(FILE *out)
{
    fputs("usage: difyring COMMAND [OPTION]...\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        /* the one `…` is 3 bytes wide to printf and 1 to a reader */
        int width = 20 + (strstr(commands[i].arguments, "…") ? 2 : 0);
        fprintf(out, "  %-12s %-*s %s\n", commands[i].name, width, commands[i].arguments,
                commands[i].purpose);
    }
    fputs("\n`difyring COMMAND -h` tells more. Without -c FILE this machine's own is "
          "meant, " CLI_NODE_FILE ".\n"
          "Exit codes: 0 fine, 1 bad configuration or failed command, 2 bad usage.\n",
          out);
}

/* A full disk or a closed pipe must not pass for success. */
static int close_output(int code)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == CLI_FINE) {
        fprintf(stderr, "difyring: cannot write to standard output: %s\n", strerror(errno));
        return CLI_FAILED;
    }
    return code;
}

/* Descriptors 0 to 2 that whoever started us left closed: the next file or socket would get one,
 * and what is printed would go there. Opened for the wrong direction, as glibc does it for
 * set-user-ID programs: to use one is an error, as it was. */
static void fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 &&
            open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd) {
            abort(); /* no /dev, or no descriptor left: nothing could be said either */
        }
    }
}

/* Words that mean a command, as other programs have them. */
static const char *meant_by(const char *word)
{
    static const struct {
        const char *word, *command;
    } others[] = {{"--version", "version"}, {"-V", "version"}, {"--help", "help"}, {"-h", "help"}};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
        if (strcmp(word, others[i].word) == 0) {
            return others[i].command;
        }
    }
    return word;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static int tell_unknown(const char *written)
{
    const char *names[COMMAND_COUNT + 4] = {NULL};
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i].name;
    }
    names[COMMAND_COUNT] = "help";
    names[COMMAND_COUNT + 1] = "--help";
    names[COMMAND_COUNT + 2] = "--version";
    const char *nearest = cli_nearest(written, names);
    fprintf(stderr, "difyring: there is no command `%s`; ", written);
    if (nearest) {
        fprintf(stderr, "did you mean `%s`? ", nearest);
    }
    fprintf(stderr, "`difyring -h` lists them\n");
    return CLI_USAGE;
}

/* `difyring help` or `difyring help COMMAND`, which is what `difyring COMMAND -h` prints. */
static int help(int argc, char **argv)
{
    const char *name = argc > 2 ? meant_by(argv[2]) : "help";
    const struct command *command = find_command(name);
    if (!command && strcmp(name, "help") != 0) {
        return tell_unknown(argv[2]);
    }
    if (!command) {
        print_usage(stdout);
        return CLI_FINE;
    }
    static char option[] = "-h";
    char *words[] = {argv[2], option, NULL};
    return command->run(2, words);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    if (argc < 2) {
        print_usage(stderr);
        return CLI_USAGE;
    }
    const char *name = meant_by(argv[1]);
    if (strcmp(name, "help") == 0) {
        return close_output(help(argc, argv));
    }
    const struct command *command = find_command(name);
    return command ? close_output(command->run(argc - 1, argv + 1)) : tell_unknown(argv[1]);
}
