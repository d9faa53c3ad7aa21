/* cli_node: one blocking request with a deadline, plain or by TLS. The answer's head goes through
 * the same reader as everything else. */
#include <errno.h>
#include <jansson.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ask/node.h"
#include "base/clock.h"
#include "http/reader.h"
#include "tls/files.h"

enum { ANSWER_SIZE_MAX = 64 * 1024 * 1024 /* 256 applications of 256 instances are 30 MiB */ };

struct wire {
    int fd;
    SSL_CTX *context;
    SSL *ssl; /* NULL: plain */
};

static void say(struct cli_node *n, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct cli_node *n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(n->error, sizeof(n->error), format, args);
    va_end(args);
}

/* ---- the connection ---- */

/* The connected socket, or -1 with the reason. */
static int connect_to(const struct cli_node *n, const char **ret_reason)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    struct timeval timeout = {.tv_sec = CLI_NODE_TIMEOUT_S};
    int error = getaddrinfo(n->host, n->port, &hints, &found);
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

static void tell_wrong_ca(void *arg, enum tls_file which, const char *text)
{
    struct cli_node *n = arg;
    (void)which;
    say(n, "%s %s", n->ca ? n->ca : n->pinned, text);
}

static bool trust_file(struct cli_node *n, SSL_CTX *context, const char *path)
{
    const struct tls_complaint complaint = {.tell = tell_wrong_ca, .arg = n};
    STACK_OF(X509) *all = tls_read_ca(path, &complaint);
    for (int i = 0; all && i < sk_X509_num(all); i++) {
        X509_STORE_add_cert(SSL_CTX_get_cert_store(context), sk_X509_value(all, i));
    }
    sk_X509_pop_free(all, X509_free);
    return all != NULL;
}

static bool set_trust(struct cli_node *n, struct wire *w)
{
    const char *file = n->ca ? n->ca : n->pinned;
    if (n->insecure) {
        return true;
    }
    SSL_CTX_set_verify(w->context, SSL_VERIFY_PEER, NULL);
    if (file && !trust_file(n, w->context, file)) {
        return false;
    }
    if (n->pinned && !n->ca) {
        X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(w->context), X509_V_FLAG_PARTIAL_CHAIN);
        return true;
    }
    return file || SSL_CTX_set_default_verify_paths(w->context) == 1;
}

static void expect_name(struct cli_node *n, struct wire *w)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(w->ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, n->host) != 1) {
        SSL_set_tlsext_host_name(w->ssl, n->host);
        if (!n->pinned || n->ca) {
            X509_VERIFY_PARAM_set1_host(param, n->host, 0);
        }
    } else if (n->pinned && !n->ca) {
        X509_VERIFY_PARAM_set1_ip(param, NULL, 0);
    }
}

static bool shake_hands(struct cli_node *n, struct wire *w)
{
    w->context = SSL_CTX_new(TLS_client_method());
    if (!w->context || !set_trust(n, w) || !(w->ssl = SSL_new(w->context))) {
        return false;
    }
    expect_name(n, w);
    SSL_set_fd(w->ssl, w->fd);
    if (SSL_connect(w->ssl) == 1) {
        return true;
    }
    long verified = SSL_get_verify_result(w->ssl);
    unsigned long error = ERR_peek_last_error();
    const char *reason = verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                         : error               ? ERR_reason_error_string(error)
                                               : "the connection was cut";
    bool plain = error && ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER;
    say(n, "%s: no TLS: %s; %s", n->url, reason ? reason : "",
        plain ? "does it speak plain http://?" : "see --ca FILE and --insecure");
    return false;
}

static void hang_up(struct wire *w)
{
    SSL_free(w->ssl);
    SSL_CTX_free(w->context);
    close(w->fd);
}

static bool send_all(struct wire *w, const struct buffer *b)
{
    if (w->ssl) {
        return SSL_write(w->ssl, b->data, (int)b->size) == (int)b->size;
    }
    return send(w->fd, b->data, b->size, MSG_NOSIGNAL) == (ssize_t)b->size;
}

static ssize_t receive(struct wire *w, char *space, size_t size)
{
    if (!w->ssl) {
        return recv(w->fd, space, size, 0);
    }
    errno = 0;
    int got = SSL_read(w->ssl, space, (int)size);
    if (got > 0) {
        return got;
    }
    return SSL_get_error(w->ssl, got) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

/* ---- the request ---- */

static bool send_request(struct cli_node *n, struct wire *w, const char *method, const char *target)
{
    struct buffer b = {0};
    bool v6 = strchr(n->host, ':') != NULL;
    buffer_append_format(&b,
                         "%s %s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: difyring-%s\r\n"
                         "Connection: close\r\n%s",
                         method, target, v6 ? "[" : "", n->host, v6 ? "]" : "", n->port, n->command,
                         strcmp(method, "GET") == 0 ? "" : "Content-Length: 0\r\n");
    if (n->token) {
        buffer_append_format(&b, "Authorization: Bearer %s\r\n", n->token);
    }
    buffer_append_text(&b, "\r\n");
    bool sent = send_all(w, &b);
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
static const char *read_response(struct wire *w, struct http_head *head, struct buffer *ret_body)
{
    static const struct http_limits limits = {32 * 1024, 100, 1};
    static const char late[] = "gave no complete answer within 5 s";
    _Static_assert(CLI_NODE_TIMEOUT_S == 5, "as the text says");
    struct http_reader reader;
    char space[16 * 1024];
    bool any = false;
    http_reader_init_response(&reader, &limits);
    http_reader_begin(&reader, head, false);
    uint64_t deadline_ms = clock_monotonic_ms() + CLI_NODE_TIMEOUT_S * 1000; /* if it drips, too */
    while (clock_monotonic_ms() < deadline_ms) {
        ssize_t size = receive(w, space, sizeof(space));
        if (size < 0) {
            return errno == EAGAIN ? late : "broke the connection off";
        }
        if (size == 0 && http_reader_eof(&reader) == HTTP_EVENT_END) {
            return "";
        }
        if (size == 0) {
            return any ? "closed the connection before its answer was complete"
                       : "closed the connection without an answer; does it speak TLS (https://), "
                         "or "
                         "want a PROXY header?";
        }
        any = true;
        const char *said = take_input(&reader, (struct bytes){space, (size_t)size}, ret_body);
        if (said) {
            return said;
        }
    }
    return late;
}

static bool exchange(struct cli_node *n, struct wire *w, const char *const line[2],
                     struct cli_answer *ret)
{
    struct http_head head;
    http_head_init(&head);
    const char *reason = send_request(n, w, line[0], line[1]) ? read_response(w, &head, &ret->body)
                                                              : "takes no request";
    ret->status = head.status;
    http_head_done(&head);
    if (reason[0]) {
        say(n, "%s %s", n->url, reason);
    }
    return !reason[0];
}

bool cli_node_request(struct cli_node *n, const char *method, const char *target,
                      struct cli_answer *ret)
{
    const char *reason = NULL, *line[2] = {method, target};
    struct wire w = {.fd = connect_to(n, &reason)};
    *ret = (struct cli_answer){0};
    n->error[0] = '\0';
    if (w.fd < 0) {
        say(n, "no node answers at %s: %s; is it running?", n->url, reason);
        return false;
    }
    bool came = (!n->tls || shake_hands(n, &w)) && exchange(n, &w, line, ret);
    hang_up(&w);
    return came;
}

void cli_answer_done(struct cli_answer *a)
{
    buffer_done(&a->body);
}

/* ---- in words ---- */

void cli_make_printable(char *text)
{
    for (; *text; text++) { /* C0, DEL, and C1 in UTF-8 */
        unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];
        if ((c < ' ' && c != '\n') || c == 0x7F) {
            *text = '?';
        } else if (c == 0xC2 && next >= 0x80 && next < 0xA0) {
            text[0] = text[1] = '?';
        }
    }
}

void cli_node_refused(struct cli_node *n, const struct cli_answer *a)
{
    if (a->status == 403) {
        say(n,
            n->token ? "%s refuses this address, and the admin token that was given "
                       "(DIFYRING_ADMIN_TOKEN, or the file's) is not the node's; see `admin` in "
                       "its configuration"
                     : "%s refuses this address; see admin.allow in its configuration, or set "
                       "DIFYRING_ADMIN_TOKEN",
            n->url);
        return;
    }
    if (a->status == 503 && memmem(a->body.data, a->body.size, "\"joining\"", 9)) {
        say(n,
            "%s is joining: it has just started and has not heard yet what the others know; ask "
            "again in 2 s, or ask another node",
            n->url);
        return;
    }
    json_t *document = json_loadb(a->body.data ? a->body.data : "", a->body.size, 0, NULL);
    const char *message = json_string_value(json_object_get(document, "message"));
    say(n, "%s%s%s answered with status %u%s%s", n->about ? n->about : "", n->about ? ": " : "",
        n->url, a->status, message ? ": " : "", message ? message : "");
    json_decref(document);
    cli_make_printable(n->error);
}

int cli_node_ask(struct cli_node *n, const char *method, const char *target, unsigned also,
                 struct cli_answer *ret)
{
    bool came = cli_node_request(n, method, target, ret);
    if (came && (ret->status == 200 || ret->status == also)) {
        return CLI_FINE;
    }
    if (came) {
        cli_node_refused(n, ret);
    }
    return cli_failed(n->command, "%s", n->error);
}

void cli_append_encoded(struct buffer *b, const char *text)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text)) {
            buffer_append(b, text, 1);
        } else {
            buffer_append_format(b, "%%%02X", (unsigned)(unsigned char)*text);
        }
    }
}
