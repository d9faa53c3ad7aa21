/* cli_node: the node that a command talks to: where it is, what it may be asked, and one request.
 *
 * A command takes CLI_NODE_OPTIONS among its options and reads its own with cli_node_next(); then
 * cli_node_find(), cli_node_ask() as often as it likes, cli_node_done().
 * The admin token is never an argument, for every user of a machine sees those. */
#ifndef ASK_NODE_H
#define ASK_NODE_H

#include <stdbool.h>

#include "base/buffer.h"
#include "cli/cli.h"

enum {
    CLI_NODE_TIMEOUT_S = 5,
    CLI_NODE_CA = 1000, /* options without a letter */
    CLI_NODE_INSECURE,
};

/* clang-format off */
#define CLI_NODE_OPTIONS                                                                           \
    {"url", required_argument, NULL, 'u'},                                                         \
    {"config", required_argument, NULL, 'c'},                                                      \
    {"ca", required_argument, NULL, CLI_NODE_CA},                                                  \
    {"insecure", no_argument, NULL, CLI_NODE_INSECURE}

#define CLI_NODE_HELP                                                                              \
    "  -u, --url URL      the node: http://HOST:PORT or https://HOST:PORT\n"                       \
    "  -c, --config FILE  its configuration, where its address and admin token are found\n"        \
    "      --ca FILE      the certificates that an https node's is signed by (default: the\n"      \
    "                     system's)\n"                                                             \
    "      --insecure     do not look at an https node's certificate\n"

#define CLI_NODE_HELP_END                                                                          \
    "\n"                                                                                           \
    "Without -u and -c the node is the one of DIFYRING_URL, or else the one of\n"                  \
    CLI_NODE_FILE ". DIFYRING_ADMIN_TOKEN is the admin token where no\n"                           \
    "configuration tells it.\n"
/* clang-format on */

struct cli_node {
    const char *command; /* its name, for errors */
    /* as given */
    const char *given_url, *given_file, *ca;
    bool insecure;
    /* as found */
    char url[512], host[256], port[8];
    bool tls;
    char *pinned; /* a file with the very certificate that the node shows; NULL = none */
    char *token;  /* NULL = none */
    const char
        *about; /* the instance, node or application that a refusal is of; NULL = the node's */
    char error[1024];
};

struct cli_answer {
    unsigned status;
    struct buffer body;
};

/* Zeroed, with the command's name. */
void cli_node_init(struct cli_node *n, const char *command);
void cli_node_done(struct cli_node *n);

/* What a command was called with, and how far it has been read. */
struct cli_line {
    int argc;
    char **argv;
    const struct option *names; /* CLI_NODE_OPTIONS among them, and `help` */
    const char *help;
    unsigned words_max; /* arguments that are no options; 0 = the command takes none */
    unsigned words;     /* that have come */
    int code;           /* -1, or behind the last option: what to return at once */
};

/* The next option that is the command's own, its value in optarg, or CLI_OPTION_WORD; those of the
 * node go into `n`. CLI_OPTION_END behind the last, and where help was printed or a mistake told:
 * then line->code says so. */
int cli_node_next(struct cli_node *n, struct cli_line *line);

/* CLI_FINE, or what was told on standard error: CLI_USAGE for a URL that is none. */
int cli_node_find(struct cli_node *n);

/* One request without a body. `target` is its path and query. True: an answer came, of whatever
 * status. False: none did, and n->error says why. `ret` is to be freed with cli_answer_done() in
 * any case. */
bool cli_node_request(struct cli_node *n, const char *method, const char *target,
                      struct cli_answer *ret);
void cli_answer_done(struct cli_answer *a);

/* The same for most commands: CLI_FINE for an answer of 200, or of `also`; everything else is told
 * on standard error, with what the answer's body says, and CLI_FAILED. */
int cli_node_ask(struct cli_node *n, const char *method, const char *target, unsigned also,
                 struct cli_answer *ret);

/* Why an answer is no success, in words: into n->error. */
void cli_node_refused(struct cli_node *n, const struct cli_answer *a);

/* One part of a path, or one value of a query, percent-encoded. */
void cli_append_encoded(struct buffer *b, const char *text);

/* What nodes say is what others have called themselves: none may steer the terminal. */
void cli_make_printable(char *text);

#endif
