/* cli_watch: asks each second and draws as much as the terminal has lines for: problems first, then
 * a line of each node and of each instance, with rates and percentiles of the last minute. Keys are
 * read without Enter; the terminal is given back as it was, by whatever signal this ends. */
#include "ask/watch.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "ask/ranking.h"
#include "base/clock.h"

enum { EACH_MS = 1000, WIDTH_MIN = 20, HEIGHT_MIN = 4, LINE_SIZE = 1024 };

#define SCREEN_OWN  "\x1b[?1049h\x1b[?25l"
#define SCREEN_BACK "\x1b[?25h\x1b[?1049l"

static volatile sig_atomic_t over, resized;

static void on_signal(int number)
{
    if (number == SIGWINCH) {
        resized = 1;
    } else {
        over = 1;
    }
}

/* ---- a screen of lines ---- */

struct screen {
    FILE *out;
    unsigned width, height, used;
};

static void line(struct screen *s, const char *style, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Cut to the width, in characters; what others have called themselves is made harmless. */
static void line(struct screen *s, const char *style, const char *format, ...)
{
    char text[LINE_SIZE];
    va_list args;
    if (s->used + 1 >= s->height) { /* the last one is for the keys */
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cli_make_printable(text);
    size_t size = 0, width = 0;
    for (; text[size] && text[size] != '\n'; size++) {
        bool begins = ((unsigned char)text[size] & 0xC0) != 0x80;
        if (begins && width == s->width) {
            break;
        }
        width += begins;
    }
    fprintf(s->out, "%s%.*s%s\x1b[K\n", style, (int)size, text, style[0] ? "\x1b[0m" : "");
    s->used++;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static long long number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *style_of(const char *word)
{
    return strcmp(word, "critical") == 0 || strcmp(word, "unhealthy") == 0 ||
                   strcmp(word, "ejected") == 0 || strcmp(word, "dead") == 0
               ? "\x1b[31;1m"
           : strcmp(word, "warning") == 0 || strcmp(word, "suspect") == 0 ||
                   strcmp(word, "draining") == 0
               ? "\x1b[33m"
               : "";
}

/* ---- what is drawn ---- */

static void draw_problems(struct screen *s, const json_t *status)
{
    size_t index;
    json_t *p;
    json_array_foreach(json_object_get(status, "problems"), index, p)
    {
        long long age_s = number_of(status, "timestamp") - number_of(p, "since");
        line(s, style_of(text_of(p, "severity")), "%-8s %s %s, for %lld s: %s",
             text_of(p, "severity"), text_of(p, "kind"), text_of(p, "subject"),
             age_s > 0 ? age_s : 0, text_of(p, "detail"));
    }
    if (index == 0) {
        line(s, "\x1b[32m", "no problems");
    }
    line(s, "", "%s", "");
}

static void draw_nodes(struct screen *s, const json_t *status)
{
    size_t count;
    struct ranked *nodes = ranking_nodes(status, &count);
    line(s, "\x1b[2m", "%-16s %-9s %-22s %-6s %10s %8s", "NODE", "STATE", "ADDRESS", "VIP",
         "REQUESTS", "OPEN");
    for (size_t i = 0; i < count; i++) {
        const json_t *n = nodes[i].value;
        line(s, style_of(text_of(n, "state")), "%-16s %-9s %-22s %-6s %10lld %8lld",
             text_of(n, "name"), text_of(n, "state"), text_of(n, "address"),
             json_is_true(json_object_get(n, "vip_holder")) ? "holds" : "-",
             number_of(n, "total_requests"), number_of(n, "active_connections"));
    }
    free(nodes);
    line(s, "", "%s", "");
}

static void draw_instance(struct screen *s, const struct ranked *one)
{
    char whole[160], slots[48] = "-";
    const json_t *i = one->value, *minute = json_object_get(i, "last_minute");
    if (number_of(i, "max_in_flight") > 0) {
        snprintf(slots, sizeof(slots), "%lld/%lld", number_of(i, "slots_used"),
                 number_of(i, "max_in_flight"));
    }
    snprintf(whole, sizeof(whole), "%s/%s", one->application, one->name);
    line(s, style_of(text_of(i, "status")), "%-28s %-9s %8.1f %8lld %8lld %7lld %10s %6lld  %s",
         whole, text_of(i, "status"), (double)number_of(minute, "requests") / 60,
         number_of(minute, "p95_ms"), number_of(minute, "failures"),
         number_of(i, "active_requests"), slots, number_of(i, "queued"),
         text_of(json_object_get(i, "reason"), "text"));
}

static void draw_applications(struct screen *s, const json_t *status)
{
    size_t count;
    struct ranked *instances = ranking_instances(status, &count);
    line(s, "\x1b[2m", "%-28s %-9s %8s %8s %8s %7s %10s %6s  %s", "INSTANCE", "STATUS", "REQ/s",
         "p95 ms", "FAILED", "ACTIVE", "SLOTS", "QUEUED", "WHY");
    for (size_t i = 0; i < count; i++) {
        draw_instance(s, &instances[i]);
    }
    free(instances);
}

static void size_of(struct screen *s)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    s->width = size.ws_col >= WIDTH_MIN ? size.ws_col : 80;
    s->height = size.ws_row >= HEIGHT_MIN ? size.ws_row : 24;
}

static void draw(const struct cli_node *n, json_t *status)
{
    char *text = NULL;
    size_t size = 0;
    struct screen s = {.out = open_memstream(&text, &size)};
    json_t *cluster = json_object_get(status, "cluster");
    if (!s.out) {
        return;
    }
    size_of(&s);
    fputs("\x1b[H", s.out);
    if (status) {
        const char *name = text_of(cluster, "name");
        line(&s, "\x1b[1m", "%s: %lld of %lld nodes alive, as seen by %s",
             name[0] ? name : "single node", number_of(cluster, "alive"),
             number_of(cluster, "size"), text_of(json_object_get(status, "node"), "name"));
        draw_problems(&s, status);
        draw_nodes(&s, status);
        draw_applications(&s, status);
    } else {
        line(&s, "\x1b[31;1m", "no answer: %s", n->error);
    }
    fprintf(s.out, "\x1b[2mq quits; numbers of the last minute\x1b[0m\x1b[K\x1b[J");
    fclose(s.out);
    fwrite(text, 1, size, stdout);
    fflush(stdout);
    free(text);
}

/* ---- asking, and waiting for a key ---- */

static json_t *ask(struct cli_node *n)
{
    struct cli_answer answer;
    json_t *status = NULL;
    if (cli_node_request(n, "GET", "/status", &answer)) {
        if (answer.status != 200) {
            cli_node_refused(n, &answer);
        } else if (!(status = json_loadb(answer.body.data ? answer.body.data : "", answer.body.size,
                                         0, NULL))) {
            snprintf(n->error, sizeof(n->error), "%s gave no difyring status", n->url);
        }
    }
    cli_answer_done(&answer);
    return status;
}

/* Until the next time to ask; a resize draws again at once. */
static void wait_and_read(const struct cli_node *n, json_t *status, uint64_t until_ms)
{
    while (!over) {
        uint64_t now_ms = clock_monotonic_ms();
        struct pollfd keys = {.fd = STDIN_FILENO, .events = POLLIN};
        int left_ms = now_ms < until_ms ? (int)(until_ms - now_ms) : 0;
        char key;
        if (poll(&keys, 1, left_ms) > 0) {
            ssize_t size = read(STDIN_FILENO, &key, 1);
            over = over || size <= 0 || key == 'q' || key == 'Q' || key == 3;
        }
        if (resized) {
            resized = 0;
            draw(n, status);
        }
        if (clock_monotonic_ms() >= until_ms) {
            return;
        }
    }
}

static void watch(struct cli_node *n)
{
    while (!over) {
        uint64_t until_ms = clock_monotonic_ms() + EACH_MS;
        json_t *status = ask(n);
        draw(n, status);
        wait_and_read(n, status, until_ms);
        json_decref(status);
    }
}

int cli_watch(struct cli_node *n)
{
    struct termios before, raw;
    struct sigaction action = {.sa_handler = on_signal};
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before) != 0) {
        return cli_failed(n->command, "--watch needs a terminal; see --check and --json");
    }
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    fputs(SCREEN_OWN, stdout);
    watch(n);
    fputs(SCREEN_BACK, stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
    return CLI_FINE;
}
