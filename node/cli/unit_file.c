/* unit_file: lines KEY=VALUE of the section [Service] (systemd.syntax(7)); spans as systemd.time(7)
 * has them: `90`, `1min 30s`, `infinity`. What is none of these changes nothing. */
#include "cli/unit_file.h"

#include <string.h>

enum { DEFAULT_STOP_MS = 90 * 1000 }; /* DefaultTimeoutStopSec of systemd-system.conf(5) */

struct unit_facts unit_facts_default(void)
{
    return (struct unit_facts){.stop_ms = DEFAULT_STOP_MS};
}

static const struct {
    const char *name;
    uint64_t ms;
} span_units[] = {{"", 1000},        {"ms", 1},         {"msec", 1},        {"s", 1000},
                  {"sec", 1000},     {"second", 1000},  {"seconds", 1000},  {"m", 60 * 1000},
                  {"min", 60000},    {"minute", 60000}, {"minutes", 60000}, {"h", 3600 * 1000},
                  {"hr", 3600000},   {"hour", 3600000}, {"hours", 3600000}, {"d", 24 * 3600 * 1000},
                  {"day", 86400000}, {"days", 86400000}};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

/* One number and its unit off the front of `text`. */
static bool take_span(struct bytes *text, uint64_t *ret_ms)
{
    uint64_t number = 0;
    size_t at = 0;
    while (at < text->size && is_digit(text->at[at]) && number < UINT32_MAX) {
        number = 10 * number + (uint64_t)(text->at[at++] - '0');
    }
    bool any = at > 0;
    while (at < text->size && text->at[at] == ' ') {
        at++;
    }
    size_t begin = at;
    while (at < text->size && is_letter(text->at[at])) {
        at++;
    }
    struct bytes unit = {text->at + begin, at - begin};
    *text = bytes_trim((struct bytes){text->at + at, text->size - at});
    for (size_t i = 0; any && i < sizeof(span_units) / sizeof(*span_units); i++) {
        if (bytes_equal(unit, bytes_of(span_units[i].name))) {
            *ret_ms = number * span_units[i].ms;
            return true;
        }
    }
    return false;
}

static void read_stop(struct bytes value, struct unit_facts *facts)
{
    uint64_t sum = 0, part;
    if (bytes_equal(value, BYTES("infinity"))) {
        facts->stop_ms = UINT64_MAX;
        return;
    }
    while (value.size > 0) {
        if (!take_span(&value, &part)) {
            return;
        }
        sum += part;
    }
    facts->stop_ms = sum == 0 ? UINT64_MAX : sum; /* 0 is systemd's word for no limit */
}

static void read_line(struct bytes line, struct unit_facts *facts)
{
    const char *equals = line.size > 0 ? memchr(line.at, '=', line.size) : NULL;
    if (!equals || line.at[0] == '#' || line.at[0] == ';') {
        return;
    }
    struct bytes key = bytes_trim((struct bytes){line.at, (size_t)(equals - line.at)});
    struct bytes value =
        bytes_trim((struct bytes){equals + 1, line.size - (size_t)(equals - line.at) - 1});
    if (bytes_equal(key, BYTES("Type"))) {
        facts->notify =
            bytes_equal(value, BYTES("notify")) || bytes_equal(value, BYTES("notify-reload"));
    } else if (bytes_equal(key, BYTES("TimeoutStopSec")) || bytes_equal(key, BYTES("TimeoutSec"))) {
        read_stop(value, facts);
    }
}

void unit_file_read(struct bytes text, struct unit_facts *facts)
{
    while (text.size > 0) {
        const char *end = memchr(text.at, '\n', text.size);
        size_t size = end ? (size_t)(end - text.at) : text.size;
        size_t taken = end ? size + 1 : size;
        read_line(bytes_trim((struct bytes){text.at, size}), facts);
        text = (struct bytes){text.at + taken, text.size - taken};
    }
}
