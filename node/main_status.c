/* main_status: `difyring status`: asks a node for /status and shows it as tables.
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
#include "http/reader.h"
#include "main.h"
#include "main_status_tables.h"

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

/* http://HOST[:PORT][/]; false for anything else, so for a user and password, too. */
static bool parse_url(const char *url, struct place *ret_place)
{
    static const char scheme[] = "http://";
    if (strncmp(url, scheme, strlen(scheme)) != 0) {
        return false;
    }
    const char *at = url + strlen(scheme);
    const char *end = at + strcspn(at, "/");
    const char *host_end = at[0] == '[' ? strchr(at, ']') : NULL;
    const char *colon =
        memchr(host_end ? host_end : at, ':', (size_t)(end - (host_end ? host_end : at)));
    const char *host = at[0] == '[' ? at + 1 : at;
    size_t host_size = (size_t)((host_end ? host_end : colon ? colon : end) - host);
    size_t port_size = colon ? (size_t)(end - colon - 1) : 0;
    if (host_size == 0 || host_size >= sizeof(ret_place->host) ||
        port_size >= sizeof(ret_place->port) || (end[0] == '/' && end[1] != '\0') ||
        memchr(at, '@', (size_t)(end - at))) {
        return false;
    }
    memcpy(ret_place->host, host, host_size);
    ret_place->host[host_size] = '\0';
    memcpy(ret_place->port, colon ? colon + 1 : "80", colon ? port_size : 2);
    ret_place->port[colon ? port_size : 2] = '\0';
    return true;
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

/* Reads one response. 0 = it is complete; else -1. */
static int read_response(int fd, struct http_head *head, struct buffer *ret_body)
{
    static const struct http_limits limits = {32 * 1024, 100, 1};
    struct http_reader reader;
    char space[16 * 1024];
    http_reader_init_response(&reader, &limits);
    http_reader_begin(&reader, head, false);
    uint64_t deadline_ms = clock_monotonic_ms() + TIMEOUT_S * 1000; /* however slowly it drips */
    while (clock_monotonic_ms() < deadline_ms) {
        ssize_t size = recv(fd, space, sizeof(space), 0);
        struct bytes input = {space, size > 0 ? (size_t)size : 0}, piece = {NULL, 0};
        enum http_event event = HTTP_EVENT_MORE;
        if (size <= 0) {
            return size == 0 && http_reader_eof(&reader) == HTTP_EVENT_END ? 0 : -1;
        }
        while ((event = http_reader_next(&reader, &input, &piece)) != HTTP_EVENT_MORE) {
            if (event == HTTP_EVENT_END) {
                return 0;
            }
            if (event == HTTP_EVENT_ERROR || ret_body->size + piece.size > ANSWER_SIZE_MAX) {
                return -1;
            }
            if (event == HTTP_EVENT_BODY) {
                buffer_append_bytes(ret_body, piece);
            }
        }
    }
    return -1;
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

static int print_tables(const struct buffer *body)
{
    json_t *status = json_loadb(body->data, body->size, 0, NULL);
    if (!status) {
        return main_failed("status", "what answered is not a difyring node: its answer is not "
                                     "JSON; check the URL");
    }
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        json_decref(status);
        return main_failed("status", "cannot print: %s", strerror(errno));
    }
    status_tables(out, status);
    fclose(out);
    make_printable(text);
    fputs(text, stdout);
    free(text);
    json_decref(status);
    return MAIN_FINE;
}

static int ask(const char *url, bool json)
{
    struct place place;
    const char *reason = "";
    if (!parse_url(url, &place)) {
        /* without repeating it: it may hold a password */
        return main_misused("status", "this is no URL of a node; it looks like http://HOST:PORT");
    }
    int fd = connect_to(&place, &reason);
    if (fd < 0) {
        return main_failed("status", "no node answers at %s: %s; is it running?", url, reason);
    }
    struct http_head head;
    struct buffer body = {0};
    int code;
    http_head_init(&head);
    if (!send_request(fd, &place) || read_response(fd, &head, &body) != 0) {
        code = main_failed("status", "%s gave no complete answer within %d s", url, TIMEOUT_S);
    } else if (head.status == 403) {
        code = main_failed("status",
                           "%s refuses this address; see admin.allow in its "
                           "configuration, or set DIFYRING_ADMIN_TOKEN",
                           url);
    } else if (head.status != 200) {
        code = main_failed("status", "%s answered with status %u", url, head.status);
    } else if (json) {
        fwrite(body.data, 1, body.size, stdout);
        code = MAIN_FINE;
    } else {
        code = print_tables(&body);
    }
    close(fd);
    http_head_done(&head);
    buffer_done(&body);
    return code;
}

int main_status(int argc, char **argv)
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
    while ((option = main_option(argc, argv, names)) != MAIN_OPTION_END) {
        if (option == 'h') {
            return main_help(help);
        }
        if (option == MAIN_OPTION_WRONG) {
            return MAIN_USAGE;
        }
        if (option == 'u') {
            url = optarg;
        } else {
            json = true;
        }
    }
    return ask(url, json);
}
