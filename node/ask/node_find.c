/* cli_node: where a node is found, and its admin token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask/node.h"
#include "base/bytes.h"
#include "base/memory.h"

void cli_node_init(struct cli_node *n, const char *command)
{
    *n = (struct cli_node){.command = command};
}

static void forget_token(struct cli_node *n)
{
    if (n->token) {
        explicit_bzero(n->token, strlen(n->token));
        free(n->token);
        n->token = NULL;
    }
}

void cli_node_done(struct cli_node *n)
{
    forget_token(n);
    free(n->pinned);
    n->pinned = NULL;
}

static bool take_own(struct cli_node *n, int option)
{
    switch (option) {
    case 'u':
        n->given_url = optarg;
        return true;
    case 'c':
        n->given_file = optarg;
        return true;
    case CLI_NODE_CA:
        n->ca = optarg;
        return true;
    case CLI_NODE_INSECURE:
        n->insecure = true;
        return true;
    default:
        return false;
    }
}

int cli_node_next(struct cli_node *n, struct cli_line *line)
{
    bool takes_words = line->words_max > 0;
    int option;
    do {
        option = takes_words ? cli_option_or_word(line->argc, line->argv, line->names)
                             : cli_option(line->argc, line->argv, line->names);
    } while (take_own(n, option));
    line->code = -1;
    if (option == 'h') {
        line->code = cli_help(line->help);
    } else if (option == CLI_OPTION_WRONG) {
        line->code = CLI_USAGE;
    } else if (option == CLI_OPTION_WORD && line->words++ == line->words_max) {
        line->code = cli_unexpected(n->command, optarg, line->names);
    }
    return line->code >= 0 ? CLI_OPTION_END : option;
}

/* ---- a URL ---- */

/* The port in `text` into `ret_port`; what is wrong with it, or NULL. */
static const char *parse_port(struct bytes text, char ret_port[8])
{
    uint32_t port = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return "the port of the URL is no number";
        }
        port = port > UINT16_MAX ? port : 10 * port + (uint32_t)(text.at[i] - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        return text.size == 0 ? "the port of the URL is missing behind the colon"
                              : "the port of the URL must be from 1 to 65535";
    }
    snprintf(ret_port, 8, "%u", (unsigned)port);
    return NULL;
}

static bool is_host(struct bytes text, bool brackets, size_t size_max)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    for (size_t i = 0; i < text.size; i++) {
        bool of_ipv6 = brackets && (text.at[i] == ':' || text.at[i] == '%');
        if (!of_ipv6 && !memchr(letters, text.at[i], sizeof(letters) - 1)) {
            return false;
        }
    }
    return text.size > 0 && text.size < size_max;
}

static const char *parse_authority(struct cli_node *n, const char *at, const char *end)
{
    bool brackets = at[0] == '[';
    const char *behind = memchr(at, brackets ? ']' : ':', (size_t)(end - at));
    if (brackets && !behind) {
        return "the URL lacks the `]` behind its IPv6 address";
    }
    at += brackets;
    behind = behind ? behind : end;
    struct bytes host = {at, (size_t)(behind - at)};
    behind += brackets;
    if (!is_host(host, brackets, sizeof(n->host)) || (behind < end && *behind != ':')) {
        return "the URL has no valid host (an IPv6 address stands in [ ])";
    }
    memcpy(n->host, host.at, host.size);
    n->host[host.size] = '\0';
    const char *usual = n->tls ? "443" : "80";
    struct bytes port =
        behind < end ? (struct bytes){behind + 1, (size_t)(end - behind - 1)} : bytes_of(usual);
    return parse_port(port, n->port);
}

/* http://HOST[:PORT][/] or https: what is wrong with it, or NULL. The text never repeats a part of
 * the URL, which may hold a password. */
static const char *parse_url(struct cli_node *n, const char *url)
{
    static const char plain[] = "http://", tls[] = "https://";
    n->tls = strncmp(url, tls, strlen(tls)) == 0;
    if (!n->tls && strncmp(url, plain, strlen(plain)) != 0) {
        return "the URL must begin with http:// or https://";
    }
    const char *at = url + strlen(n->tls ? tls : plain), *end = at + strcspn(at, "/?#");
    if (memchr(at, '@', (size_t)(end - at))) {
        return "a user and password have no place in the URL";
    }
    if (strcmp(end, "") != 0 && strcmp(end, "/") != 0) {
        return "the URL ends behind the port: no path, no query";
    }
    const char *wrong = parse_authority(n, at, end);
    if (!wrong) {
        snprintf(n->url, sizeof(n->url), "%.*s", (int)(end - url), url);
    }
    return wrong;
}

/* ---- a configuration ---- */

/* Where a listener is reached from its own machine. */
static void take_listener(struct cli_node *n, const struct conf_listen *l)
{
    bool v6 = strchr(l->host, ':') != NULL;
    const char *host = strcmp(l->host, "0.0.0.0") == 0 ? "127.0.0.1"
                       : strcmp(l->host, "::") == 0    ? "::1"
                                                       : l->host;
    n->tls = l->tls_count > 0;
    snprintf(n->host, sizeof(n->host), "%s", host);
    snprintf(n->port, sizeof(n->port), "%u", (unsigned)l->port);
    snprintf(n->url, sizeof(n->url), "%s://%s%s%s:%s", n->tls ? "https" : "http", v6 ? "[" : "",
             host, v6 ? "]" : "", n->port);
    if (n->tls && !n->ca) { /* its own certificate proves it, whatever names are in there */
        const char *file = l->tls[0].certificate;
        n->pinned = memory_copy_text(file, strlen(file));
    }
}

/* Where there are listeners for this, the others answer /health only. No command sends a PROXY
 * header. */
static const struct conf_listen *listener_to_ask(const struct conf *conf)
{
    for (size_t i = 0; i < conf->admin.listen_count; i++) {
        if (conf->admin.listen[i].port != 0) {
            return &conf->admin.listen[i];
        }
    }
    if (conf->admin.listen_count > 0) {
        return NULL;
    }
    const struct conf_listen *found = NULL;
    for (size_t i = 0; i < conf->listen_count; i++) {
        const struct conf_listen *l = &conf->listen[i];
        if (l->port != 0 && !l->proxy_protocol && (!found || (found->tls_count && !l->tls_count))) {
            found = l;
        }
    }
    return found;
}

static int find_in_file(struct cli_node *n, const char *file)
{
    struct conf *conf = cli_load(file);
    if (!conf) {
        return cli_failed(n->command, "%s is no configuration that tells where its node is", file);
    }
    int code = CLI_FINE;
    const struct conf_listen *l = n->given_url ? NULL : listener_to_ask(conf);
    if (l) {
        take_listener(n, l);
    } else if (!n->given_url) {
        code =
            cli_failed(n->command,
                       "no listener of %s can be asked: its port is the kernel's choice, or it "
                       "wants a PROXY header; name the node with -u URL, or give it admin.listen",
                       file);
    }
    if (conf->admin.token[0]) {
        forget_token(n);
        n->token = memory_copy_text(conf->admin.token, strlen(conf->admin.token));
    }
    conf_free(conf);
    return code;
}

int cli_node_find(struct cli_node *n)
{
    const char *token = getenv("DIFYRING_ADMIN_TOKEN"), *url = getenv("DIFYRING_URL");
    if (token && token[0] && !strpbrk(token, "\r\n")) {
        n->token = memory_copy_text(token, strlen(token));
    }
    url = n->given_url ? n->given_url : n->given_file || !url || !url[0] ? NULL : url;
    const char *wrong = url ? parse_url(n, url) : NULL;
    if (wrong) {
        return cli_misused(n->command, "%s; it looks like http://HOST:PORT", wrong);
    }
    if (n->given_file) {
        return find_in_file(n, n->given_file);
    }
    if (url) {
        return CLI_FINE;
    }
    if (access(CLI_NODE_FILE, R_OK) != 0) {
        return cli_failed(n->command,
                          "which node? Name it with -u URL, or its configuration with -c FILE "
                          "(there is no readable %s)",
                          CLI_NODE_FILE);
    }
    return find_in_file(n, CLI_NODE_FILE);
}
