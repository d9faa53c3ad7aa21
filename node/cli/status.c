/* cli_status: `difyring status`: asks a node for /status and shows it as tables.
 *
 * One blocking request with a deadline; the answer's head goes through the same reader as
 * everything else. The admin token comes from the environment, because arguments are seen by every
 * user of the machine. */
#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/status_tables.h"
#include "http/reader.h"

enum {
    TIMEOUT_S = 5,
    ANSWER_SIZE_MAX = 64 * 1024 * 1024, /* 256 applications of 256 instances are 30 MiB */
};

static const char help[] = "usage: difyring status [-u URL] [--json]\n"
                           "\n"
                           "Shows the cluster as any of its nodes sees it.\n"
                           "\n"
                           "  -u, --url URL  the node (default http://127.0.0.1:82)\n"
                           "      --json     the document of GET /status as it came\n"
                           "  -h, --help     this text\n"
                           "\n"
                           "DIFYRING_ADMIN_TOKEN in the environment is sent as the admin token.\n";

struct place {
    char host[256], port[8];
};

/* The port in `text` into `ret_place`; what is wrong with it, or NULL. */
static const char *parse_port(struct bytes text, struct place *ret_place)
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
    snprintf(ret_place->port, sizeof(ret_place->port), "%u", (unsigned)port);
    return NULL;
}

static bool is_host(struct bytes text, bool brackets)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    for (size_t i = 0; i < text.size; i++) {
        bool of_ipv6 = brackets && (text.at[i] == ':' || text.at[i] == '%');
        if (!of_ipv6 && !memchr(letters, text.at[i], sizeof(letters) - 1)) {
            return false;
        }
    }
    return text.size > 0 && text.size < sizeof((struct place){{0}, {0}}.host);
}

/* http://HOST[:PORT][/]: what is wrong with it, or NULL. The text never repeats a part of the URL,
 * which may hold a password. */
static const char *parse_url(const char *url, struct place *ret_place)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, strlen(scheme)) != 0) {
        return "the URL must begin with http://";
    }
    const char *at = url + strlen(scheme), *end = at + strcspn(at, "/?#");
    if (memchr(at, '@', (size_t)(end - at))) {
        return "a user and password have no place in the URL";
    }
    if (strcmp(end, "") != 0 && strcmp(end, "/") != 0) {
        return "the URL ends behind the port: no path, no query";
    }
    bool brackets = at[0] == '[';
    const char *behind = memchr(at, brackets ? ']' : ':', (size_t)(end - at));
    if (brackets && !behind) {
        return "the URL lacks the `]` behind its IPv6 address";
    }
    at += brackets;
    behind = behind ? behind : end;
    struct bytes host = {at, (size_t)(behind - at)};
    behind += brackets;
    if (!is_host(host, brackets) || (behind < end && *behind != ':')) {
        return "the URL has no valid host (an IPv6 address stands in [ ])";
    }
    memcpy(ret_place->host, host.at, host.size);
    ret_place->host[host.size] = '\0';
    struct bytes port =
        behind < end ? (struct bytes){behind + 1, (size_t)(end - behind - 1)} : BYTES("80");
    return parse_port(port, ret_place);
}

/* The connected socket, or -1 with errno or, for a name, *ret_reason. */
static int connect_to(const struct place *place, const char **ret_reason)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int error = getaddrinfo(place->host, place->port, &hints, &found);
    if (error) {
        *ret_reason = gai_strerror(error);
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
            *ret_reason = strerror(errno);
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static bool send_request(int fd, const struct place *place)
{
    const char *token = getenv("DIFYRING_ADMIN_TOKEN");
    struct buffer b = {0};
    buffer_append_format(&b,
                         "GET /status HTTP/1.1\r\nHost: %s\r\nUser-Agent: difyring-status\r\n"
                         "Connection: close\r\n",
                         place->host);
    if (token && !strpbrk(token, "\r\n")) {
        buffer_append_format(&b, "Authorization: Bearer %s\r\n", token);
    }
    buffer_append_text(&b, "\r\n");
    bool sent = send(fd, b.data, b.size, MSG_NOSIGNAL) == (ssize_t)b.size;
    explicit_bzero(b.data, b.size);
    buffer_done(&b);
    return sent;
}

/* What the reader made of one piece of input: NULL = more is to come, "" = the end, else what is
 * wrong. */
static const char *take_input(struct http_reader *reader, struct bytes input,
                              struct buffer *ret_body)
{
    struct bytes piece = {NULL, 0};
    enum http_event event;
    while ((event = http_reader_next(reader, &input, &piece)) != HTTP_EVENT_MORE) {
        if (event == HTTP_EVENT_END) {
            return "";
        }
        if (event == HTTP_EVENT_ERROR) {
            return "answered with something that is not HTTP";
        }
        if (ret_body->size + piece.size > ANSWER_SIZE_MAX) {
            return "gave an answer that is too long";
        }
        if (event == HTTP_EVENT_BODY) {
            buffer_append_bytes(ret_body, piece);
        }
    }
    return NULL;
}

/* Reads one response. "" = it is complete; else what the peer did, to stand behind its URL. */
static const char *read_response(int fd, struct http_head *head, struct buffer *ret_body)
{
    static const struct http_limits limits = {32 * 1024, 100, 1};
    static const char late[] = "gave no complete answer within 5 s";
    _Static_assert(TIMEOUT_S == 5, "as the text says");
    struct http_reader reader;
    char space[16 * 1024];
    bool any = false;
    http_reader_init_response(&reader, &limits);
    http_reader_begin(&reader, head, false);
    uint64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_S * 1000; /* however slowly it drips */
    while (clock_monotonic_ms() < deadline_ms) {
        ssize_t size = recv(fd, space, sizeof(space), 0);
        if (size < 0) {
            return errno == EAGAIN ? late : "broke the connection off";
        }
        if (size == 0 && http_reader_eof(&reader) == HTTP_EVENT_END) {
            return "";
        }
        if (size == 0) {
            return any ? "closed the connection before its answer was complete"
                       : "closed the connection without an answer";
        }
        any = true;
        const char *said = take_input(&reader, (struct bytes){space, (size_t)size}, ret_body);
        if (said) {
            return said;
        }
    }
    return late;
}

/* Names are what a node says: none may steer the terminal (C0, DEL, and C1 in UTF-8). */
static void make_printable(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];
        if ((c < ' ' && c != '\n') || c == 0x7F) {
            *text = '?';
        } else if (c == 0xC2 && next >= 0x80 && next < 0xA0) {
            text[0] = text[1] = '?';
        }
    }
}

static int print_tables(const json_t *status)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        return cli_failed("status", "cannot print: %s", strerror(errno));
    }
    status_tables(out, status);
    fclose(out);
    make_printable(text);
    fputs(text, stdout);
    free(text);
    return CLI_FINE;
}

static int print_status(const char *url, const struct buffer *body, bool json)
{
    json_t *status = json_loadb(body->data, body->size, 0, NULL);
    int code = CLI_FINE;
    if (!json_is_object(json_object_get(status, "cluster")) ||
        !json_is_object(json_object_get(status, "applications"))) {
        code = cli_failed("status",
                          "%s gave no difyring status: what answers there is not a difyring node; "
                          "check the URL",
                          url);
    } else if (json) {
        fwrite(body->data, 1, body->size, stdout);
    } else {
        code = print_tables(status);
    }
    json_decref(status);
    return code;
}

static int ask(const char *url, bool json)
{
    struct place place;
    const char *reason = parse_url(url, &place);
    if (reason) {
        return cli_misused("status", "%s; it looks like http://HOST:PORT", reason);
    }
    int fd = connect_to(&place, &reason);
    if (fd < 0) {
        return cli_failed("status", "no node answers at %s: %s; is it running?", url, reason);
    }
    struct http_head head;
    struct buffer body = {0};
    int code;
    http_head_init(&head);
    reason = send_request(fd, &place) ? read_response(fd, &head, &body) : "takes no request";
    if (reason[0]) {
        code = cli_failed("status", "%s %s", url, reason);
    } else if (head.status == 403) {
        code = cli_failed("status",
                          "%s refuses this address; see admin.allow in its "
                          "configuration, or set DIFYRING_ADMIN_TOKEN",
                          url);
    } else if (head.status == 503 && body.data && memmem(body.data, body.size, "\"joining\"", 9)) {
        code = cli_failed("status",
                          "%s is joining: it has just started and has not heard yet what the "
                          "others know; ask again in 2 s, or ask another node",
                          url);
    } else if (head.status != 200) {
        code = cli_failed("status", "%s answered with status %u", url, head.status);
    } else {
        code = print_status(url, &body, json);
    }
    close(fd);
    http_head_done(&head);
    buffer_done(&body);
    return code;
}

int cli_status(int argc, char **argv)
{
    static const struct option names[] = {
        {"url", required_argument, NULL, 'u'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *url = "http://127.0.0.1:82";
    bool json = false;
    int option;
    while ((option = cli_option(argc, argv, names)) != CLI_OPTION_END) {
        if (option == 'h') {
            return cli_help(help);
        }
        if (option == CLI_OPTION_WRONG) {
            return CLI_USAGE;
        }
        if (option == 'u') {
            url = optarg;
        } else {
            json = true;
        }
    }
    return ask(url, json);
}
