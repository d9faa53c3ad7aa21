/* main: what the commands of the command line share. SPEC §1 is the contract.
 *
 * A command is a function int main_NAME(int argc, char **argv) with argv[0] = its name. It returns
 * its exit code. What a person or a program asked for goes to standard output; every error is one
 * line on standard error that says what, where and what to do. */
#ifndef NODE_MAIN_H
#define NODE_MAIN_H

#include <getopt.h>

#include "conf/conf.h"

enum main_exit {
    MAIN_FINE = 0,
    MAIN_FAILED = 1, /* bad configuration, or the command could not do it */
    MAIN_USAGE = 2,
};

int main_run(int argc, char **argv);
int main_check(int argc, char **argv);
int main_ring(int argc, char **argv);
int main_status(int argc, char **argv);
int main_vrrp_config(int argc, char **argv);
int main_vip_guard(int argc, char **argv);
int main_vip_relay(int argc, char **argv);
int main_keygen(int argc, char **argv);
int main_version(int argc, char **argv);

/* One line on standard error, `difyring COMMAND: …`. Return MAIN_FAILED and MAIN_USAGE; the latter
 * adds where help is. */
int main_failed(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int main_misused(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

enum {
    MAIN_OPTION_END = -1,
    MAIN_OPTION_WRONG = '?', /* and it has been told: return MAIN_USAGE */
};

/* The next option as getopt_long() gives it (optarg is its value), with errors told in our words.
 * `names` says all: an option with a letter for its `val` has that short form too. Commands take no
 * other arguments. */
int main_option(int argc, char **argv, const struct option *names);

/* For commands whose only option is -h. MAIN_FINE: help was printed; MAIN_USAGE: told; -1: go on.
 */
int main_only_help(int argc, char **argv, const char *help);

/* For commands whose only options are -c FILE and -h. The same, and on -1 `*ret_file` is set. */
int main_only_config(int argc, char **argv, const char *help, const char **ret_file);

/* Prints help and returns MAIN_FINE. */
int main_help(const char *help);

/* Reads a configuration. NULL after every problem has been told on standard error. */
struct conf *main_load(const char *file);

#endif
