/* main: what the commands of the command line share. SPEC §1 is the contract.
 *
 * A command is a function int cli_NAME(int argc, char **argv) with argv[0] = its name. It returns
 * its exit code. What a person or a program asked for goes to standard output; every error is one
 * line on standard error that says what, where and what to do. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <getopt.h>

#include "conf/conf.h"

enum cli_exit {
    CLI_FINE = 0,
    CLI_FAILED = 1, /* bad configuration, or the command could not do it */
    CLI_USAGE = 2,
};

int cli_run(int argc, char **argv);
int cli_config(int argc, char **argv);
int cli_drain(int argc, char **argv);
int cli_enable(int argc, char **argv);
int cli_forget(int argc, char **argv);
int cli_reload(int argc, char **argv);
int cli_check(int argc, char **argv);
int cli_ring(int argc, char **argv);
int cli_explain(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_vrrp_config(int argc, char **argv);
int cli_vip_guard(int argc, char **argv);
int cli_vip_relay(int argc, char **argv);
int cli_keygen(int argc, char **argv);
int cli_version(int argc, char **argv);

/* What is meant where no file is named. */
#define CLI_NODE_FILE "/etc/difyring/difyring.yaml"

/* One line on standard error, `difyring COMMAND: …`. Return CLI_FAILED and CLI_USAGE; the latter
 * adds where help is. */
int cli_failed(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int cli_misused(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum {
    CLI_OPTION_END = -1,
    CLI_OPTION_WORD = 1,    /* optarg is no option */
    CLI_OPTION_WRONG = '?', /* and it has been told: return CLI_USAGE */
};

/* A word where none is taken: what may have been meant. Returns CLI_USAGE. */
int cli_unexpected(const char *command, const char *word, const struct option *names);

/* The next option as getopt_long() gives it (optarg is its value), with errors told in our words.
 * `names` says all: an option with a letter for its `val` has that short form too. Commands take no
 * other arguments. */
int cli_option(int argc, char **argv, const struct option *names);

/* The same for commands that take words besides, before, between or behind their options. */
int cli_option_or_word(int argc, char **argv, const struct option *names);

/* The nearest of these (NULL-ended) to what somebody wrote, or NULL: none is near. */
const char *cli_nearest(const char *written, const char *const *words);

/* A word that is missing (NULL) or none of these. Returns CLI_USAGE. */
int cli_unknown_word(const char *command, const char *written, const char *const *words);

/* For commands whose only option is -h. CLI_FINE: help was printed; CLI_USAGE: told; -1: go on.
 */
int cli_only_help(int argc, char **argv, const char *help);

/* The file that is meant: `given` by -c, `-` being standard input; without one (NULL) CLI_NODE_FILE
 * if it can be read. NULL: there is none, and this has been told; return CLI_USAGE. */
const char *cli_config_file(const char *command, const char *given);

/* For commands whose only options are -c FILE and -h. The same, and on -1 `*ret_file` is set. */
int cli_only_config(int argc, char **argv, const char *help, const char **ret_file);

/* Prints help and returns CLI_FINE. */
int cli_help(const char *help);

/* What on this machine does not fit the configuration. */
struct problem_list;
struct cli_host_findings {
    struct problem_list *refused; /* `run` would end here */
    struct problem_list *unwise, *notes;
};
void cli_check_host(const struct conf *conf, struct cli_host_findings *findings);

/* Of these: addresses, interface, names, folders, who may read and write; how long a stop takes. */
void cli_check_machine(const struct conf *conf, struct cli_host_findings *findings);
void cli_check_modes(const struct conf *conf, struct cli_host_findings *findings);
void cli_check_unit(const struct conf *conf, struct cli_host_findings *findings);

/* Reads a configuration. NULL after every problem has been told on standard error. */
struct conf *cli_load(const char *file);

#endif
