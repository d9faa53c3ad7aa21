/* cli_watch: asks each second and draws as much as the terminal has lines for: problems first, then
 * a line of each node and of each instance, with rates and percentiles of the last minute. Keys are
 * read without Enter; the terminal is given back as it was, by whatever signal this ends. */
#include "ask/watch.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "member/problem_kinds.h"
#include "show/ranking.h"
#include "show/status_tables.h"

enum {
    EACH_MS = 1000,
    WIDTH_USUAL = 80,
    HEIGHT_USUAL = 24,
    LINE_SIZE = 1024,
    NAME_MIN = 24, /* characters of a name that are always shown */
    NAME_SIZE = 160,
    INDENT = 9, /* of what goes on below a line: as wide as a severity */
};

/* A screen of its own, no cursor, and no wrapping: a character may be wider than we think. */
#define SCREEN_OWN  "\x1b[?1049h\x1b[?25l\x1b[?7l"
#define SCREEN_BACK "\x1b[?7h\x1b[?25h\x1b[?1049l"

#define STYLE_BAD   "\x1b[31;1m"
#define STYLE_WARN  "\x1b[33m"
#define STYLE_GOOD  "\x1b[32m"
#define STYLE_TITLE "\x1b[1m"
#define STYLE_FAINT "\x1b[2m"

static volatile sig_atomic_t over, resized, stopped;
static bool plain; /* NO_COLOR: nothing but text */

static void on_signal(int number)
{
    if (number == SIGWINCH) {
        resized = 1;
    } else if (number == SIGTSTP) {
        stopped = 1;
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
static void put(struct screen *s, const char *style, char *text, const char *end)
{
    cli_make_printable(text);
    size_t size = 0, width = 0;
    for (; text[size] && text[size] != '\n'; size++) {
        bool begins = ((unsigned char)text[size] & 0xC0) != 0x80;
        if (begins && width == s->width) {
            break;
        }
        width += begins;
    }
    style = plain ? "" : style;
    /* Erased first: behind a full line the cursor stands on its last character. */
    fprintf(s->out, "\x1b[K%s%.*s%s%s", style, (int)size, text, style[0] ? "\x1b[0m" : "", end);
    s->used++;
}

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
    put(s, style, text, "\n");
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
               ? STYLE_BAD
           : strcmp(word, "warning") == 0 || strcmp(word, "suspect") == 0 ||
                   strcmp(word, "draining") == 0
               ? STYLE_WARN
               : "";
}

/* ---- what is drawn ---- */

/* What the tables and a line a problem leave of the screen. */
static unsigned spare_lines(const struct screen *s, const json_t *status)
{
    size_t count, needed = json_array_size(json_object_get(status, "problems"));
    free(ranking_nodes(status, &count));
    needed += count;
    free(ranking_instances(status, &count));
    needed += count + 6; /* titles, and what stands between */
    return needed < s->height ? s->height - (unsigned)needed : 0;
}

/* On more than one line while there are some to spare. */
static void wrapped(struct screen *s, const char *style, char *text, unsigned *spare)
{
    size_t indent = 0;
    while (*spare > 0 && strlen(text) + indent > s->width && s->width > 2 * INDENT) {
        size_t at = s->width - indent;
        while (at > 0 && text[at] != ' ') {
            at--;
        }
        if (at == 0) {
            break;
        }
        text[at] = '\0';
        line(s, style, "%*s%s", (int)indent, "", text);
        text += at + 1;
        indent = INDENT;
        (*spare)--;
    }
    line(s, style, "%*s%s", (int)indent, "", text);
}

/* What to do, once a kind. */
static void draw_remedy(struct screen *s, const char *kind, bool said[PROBLEM_KINDS],
                        unsigned *spare)
{
    char text[LINE_SIZE];
    unsigned id = problem_id_of(kind);
    if (id < PROBLEM_KINDS && !said[id] && *spare > 0) {
        said[id] = true;
        (*spare)--;
        snprintf(text, sizeof(text), "%*s%s", INDENT, "", problem_kinds[id].remedy);
        wrapped(s, STYLE_FAINT, text, spare);
    }
}

static void draw_problems(struct screen *s, const json_t *status)
{
    size_t index;
    json_t *p;
    bool said[PROBLEM_KINDS] = {false};
    unsigned spare = spare_lines(s, status);
    json_array_foreach(json_object_get(status, "problems"), index, p)
    {
        char age[24], text[LINE_SIZE];
        status_age(number_of(status, "timestamp"), number_of(p, "since"), age);
        snprintf(text, sizeof(text), "%-8s %s %s, for %s: %s", text_of(p, "severity"),
                 text_of(p, "kind"), text_of(p, "subject"), age, text_of(p, "detail"));
        wrapped(s, style_of(text_of(p, "severity")), text, &spare);
        draw_remedy(s, text_of(p, "kind"), said, &spare);
    }
    if (index == 0) {
        line(s, STYLE_GOOD, "no problems");
    }
    line(s, "", "%s", "");
}

/* As wide as the longest name, but the columns behind it stay in sight. */
static int name_width(const struct screen *s, size_t longest)
{
    size_t most = s->width / 3 > NAME_MIN ? s->width / 3 : NAME_MIN;
    size_t width = longest > NAME_MIN ? longest : NAME_MIN;
    return (int)(width < most ? width : most);
}

/* A name of at most so many characters; of a longer one both ends, for they tell it from others. */
static const char *shortened(const char *name, int width, char text[NAME_SIZE])
{
    int size = (int)strlen(name), begin = width / 3;
    if (size <= width || width >= NAME_SIZE - 4) {
        snprintf(text, NAME_SIZE, "%s", name);
    } else {
        snprintf(text, NAME_SIZE, "%.*s~%s", begin, name, name + size - (width - begin - 1));
    }
    return text;
}

static void draw_nodes(struct screen *s, const json_t *status)
{
    size_t count, longest = 0;
    char name[NAME_SIZE];
    struct ranked *nodes = ranking_nodes(status, &count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(text_of(nodes[i].value, "name"));
        longest = size > longest ? size : longest;
    }
    int width = name_width(s, longest);
    line(s, STYLE_FAINT, "%-*s %-9s %-22s %-6s %10s %8s", width, "NODE", "STATE", "ADDRESS", "VIP",
         "REQUESTS", "OPEN");
    for (size_t i = 0; i < count; i++) {
        const json_t *n = nodes[i].value;
        line(s, style_of(text_of(n, "state")), "%-*s %-9s %-22s %-6s %10lld %8lld", width,
             shortened(text_of(n, "name"), width, name), text_of(n, "state"), text_of(n, "address"),
             json_is_true(json_object_get(n, "vip_holder")) ? "holds" : "-",
             number_of(n, "total_requests"), number_of(n, "active_connections"));
    }
    free(nodes);
    line(s, "", "%s", "");
}

static void draw_instance(struct screen *s, const struct ranked *one, int width)
{
    char whole[NAME_SIZE], name[NAME_SIZE], slots[48] = "-";
    const json_t *i = one->value, *minute = json_object_get(i, "last_minute");
    if (number_of(i, "max_in_flight") > 0) {
        snprintf(slots, sizeof(slots), "%lld/%lld", number_of(i, "slots_used"),
                 number_of(i, "max_in_flight"));
    }
    snprintf(whole, sizeof(whole), "%s/%s", one->application, one->name);
    line(s, style_of(text_of(i, "status")), "%-*s %-9s %8.1f %8lld %8lld %7lld %10s %6lld  %s",
         width, shortened(whole, width, name), text_of(i, "status"),
         (double)number_of(minute, "requests") / 60, number_of(minute, "p95_ms"),
         number_of(minute, "failures"), number_of(i, "active_requests"), slots,
         number_of(i, "queued"), text_of(json_object_get(i, "reason"), "text"));
}

static void draw_applications(struct screen *s, const json_t *status)
{
    size_t count, longest = 0;
    struct ranked *instances = ranking_instances(status, &count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(instances[i].application) + 1 + strlen(instances[i].name);
        longest = size > longest ? size : longest;
    }
    int width = name_width(s, longest);
    line(s, STYLE_FAINT, "%-*s %-9s %8s %8s %8s %7s %10s %6s  %s", width, "INSTANCE", "STATUS",
         "REQ/s", "p95 ms", "FAILED", "ACTIVE", "SLOTS", "QUEUED", "WHY");
    for (size_t i = 0; i < count; i++) {
        draw_instance(s, &instances[i], width);
    }
    free(instances);
}

static void size_of(struct screen *s)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    s->width = size.ws_col > 0 ? size.ws_col : WIDTH_USUAL; /* 0: it does not know */
    s->height = size.ws_row > 0 ? size.ws_row : HEIGHT_USUAL;
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
        char alive[64];
        status_nodes_alive(status, alive);
        line(&s, STYLE_TITLE, "%s: %s, as seen by %s", name[0] ? name : "single node", alive,
             text_of(json_object_get(status, "node"), "name"));
        draw_problems(&s, status);
        draw_nodes(&s, status);
        draw_applications(&s, status);
    } else {
        line(&s, STYLE_BAD, "no answer: %s", n->error);
    }
    char keys[] = "q quits; numbers of the last minute";
    put(&s, STYLE_FAINT, keys, "\x1b[J");
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

/* The terminal as it was, and as it is while we have it. */
static struct termios theirs, ours;

static void take_terminal(void)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &ours);
    fputs(SCREEN_OWN, stdout);
    fflush(stdout);
}

static void give_terminal_back(void)
{
    fputs(SCREEN_BACK, stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &theirs);
}

/* Ctrl-Z: the shell gets the terminal back; `fg` takes it again. */
static void stop_for_a_while(void)
{
    stopped = 0;
    give_terminal_back();
    raise(SIGSTOP);
    take_terminal();
    resized = 1;
}

/* Until the next time to ask; a resize draws again at once. */
static void wait_and_read(const struct cli_node *n, json_t *status, uint64_t until_ms)
{
    while (!over) {
        if (stopped) {
            stop_for_a_while();
        }
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
    static const int signals[] = {SIGWINCH, SIGTSTP, SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal};
    const char *terminal = getenv("TERM"), *no_color = getenv("NO_COLOR");
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &theirs) != 0) {
        return cli_failed(n->command, "--watch needs a terminal; see --check and --json");
    }
    if (terminal && strcmp(terminal, "dumb") == 0) {
        return cli_failed(n->command, "--watch needs a terminal that can move its cursor, and TERM "
                                      "is `dumb`; see `status` without --watch");
    }
    plain = no_color && no_color[0]; /* as https://no-color.org has it */
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        sigaction(signals[i], &action, NULL);
    }
    ours = theirs;
    ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    take_terminal();
    watch(n);
    give_terminal_back();
    return CLI_FINE;
}
