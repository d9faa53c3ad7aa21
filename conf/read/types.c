/* types: the types of several keys: how each is read, how it is written in the canonical text, what
 * of it is compared, and what an editor may know of it. A type of one key stands beside it in
 * schema_*.c. */
#include <assert.h>

#include "conf/read/reader.h"
#include "conf/value.h"

enum {
    PATH_SIZE_MAX = 4096, /* Linux PATH_MAX */
    TOKEN_SIZE_MAX =
        512, /* Dify's keys have 28; long ones would not fit header_size with the rest */
};

CONF_READER(conf_read_boolean)
{
    (void)field;
    bool boolean;
    if (value->kind == YAML_SCALAR && value->broken) {
        return;
    }
    if (value->kind != YAML_SCALAR || (!value->plain && !value->substituted) ||
        !value_boolean(value->text, &boolean)) {
        conf_problem(r, value, "expected true or false (also: yes, no, on, off)");
        return;
    }
    *(bool *)place = boolean;
}

const struct conf_type conf_type_boolean = {"boolean",        conf_read_boolean, NULL,
                                            CONF_PLAIN(bool), BARE_BOOLEAN,      NULL};

static CONF_READER(read_number)
{
    uint64_t number;
    assert(field->max <= UINT32_MAX);
    if (conf_number(r, value, field->min, field->max, &number)) {
        *(uint32_t *)place = (uint32_t)number;
    }
}

const struct conf_type conf_type_number = {"number",   read_number, NULL, CONF_PLAIN(uint32_t),
                                           BARE_WHOLE, NULL};

static CONF_READER(read_port)
{
    uint64_t number;
    (void)field;
    if (conf_number(r, value, 1, UINT16_MAX, &number)) {
        *(uint16_t *)place = (uint16_t)number;
    }
}

const struct conf_type conf_type_port = {"port",     read_port, NULL, CONF_PLAIN(uint16_t),
                                         BARE_WHOLE, NULL};

/* A duration as a person would write it: the largest unit that holds it exactly. */
const char *conf_duration_text(uint64_t ms, char text[CONF_DURATION_SIZE])
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = ms < 2 * units[0].ms; /* a day is 24h */
    while (ms % units[i].ms != 0) {
        i++;
    }
    snprintf(text, CONF_DURATION_SIZE, "%llu%s", (unsigned long long)(ms / units[i].ms),
             units[i].unit);
    return ms == 0 ? "0" : text;
}

CONF_READER(conf_read_duration)
{
    struct bytes text;
    uint64_t ms;
    char least[CONF_DURATION_SIZE], most[CONF_DURATION_SIZE];
    if (!conf_text(r, value, "a duration", &text)) {
        return;
    }
    if (!value_duration_ms(text, &ms)) {
        conf_problem(r, value, "expected a duration: seconds, or 100ms, 5s, 2m, 1h, 7d");
    } else if (ms < field->min || ms > field->max) {
        conf_problem(r, value, "must be from %s to %s", conf_duration_text(field->min, least),
                     conf_duration_text(field->max, most));
    } else {
        *(uint64_t *)place = ms;
    }
}

const struct conf_type conf_type_duration = {"duration",   conf_read_duration,
                                             NULL,         CONF_PLAIN(uint64_t),
                                             BARE_SECONDS, CONF_PATTERN_DURATION};

static CONF_READER(read_size)
{
    struct bytes text;
    uint64_t size;
    if (!conf_text(r, value, "a size", &text)) {
        return;
    }
    if (!value_size(text, &size)) {
        conf_problem(r, value, "expected a size: bytes, or 64KiB, 100MiB, 2GiB");
    } else if (size < field->min || size > field->max) {
        conf_problem(r, value, "must be from %llu to %llu bytes", (unsigned long long)field->min,
                     (unsigned long long)field->max);
    } else {
        *(uint64_t *)place = size;
    }
}

static CONF_READER(read_size32)
{
    uint64_t size = *(uint32_t *)place;
    assert(field->max <= UINT32_MAX);
    read_size(r, field, value, &size);
    *(uint32_t *)place = (uint32_t)size;
}

#define SIZE_PATTERN "^(0|[1-9][0-9_]*)([KMG]iB)?$"

const struct conf_type conf_type_size = {"size",     read_size,   NULL, CONF_PLAIN(uint64_t),
                                         BARE_WHOLE, SIZE_PATTERN};
const struct conf_type conf_type_size32 = {"size",     read_size32, NULL, CONF_PLAIN(uint32_t),
                                           BARE_WHOLE, SIZE_PATTERN};

/* "a, b or c" */
static void join_choices(const char *const *choices, char *ret_text, size_t size)
{
    ret_text[0] = '\0';
    for (size_t i = 0; choices[i]; i++) {
        const char *between = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        size_t used = strlen(ret_text);
        snprintf(ret_text + used, size - used, "%s%s", between, choices[i]);
    }
}

/* Also the beginning of a choice: `err`; and in other letters: `INFO`. */
static const char *nearest_choice(const char *const *choices, struct bytes written)
{
    unsigned best = 4; /* choices are few and unlike each other: three slips are still clear */
    const char *nearest = NULL;
    char space[VALUE_KEY_SIZE];
    struct bytes text =
        written.size < VALUE_KEY_SIZE ? value_folded(written, false, space) : written;
    for (; *choices; choices++) {
        unsigned distance = value_distance(text, bytes_of(*choices), best);
        size_t size = strlen(*choices);
        if (text.size >= 3 && text.size < size &&
            (strncmp(*choices, text.at, text.size) == 0 ||
             memcmp(*choices + size - text.size, text.at, text.size) == 0)) {
            return *choices; /* its beginning, or its end */
        }
        if (distance < best && distance < (strlen(*choices) + 1) / 2) {
            best = distance;
            nearest = *choices;
        }
    }
    return nearest;
}

CONF_READER(conf_read_choice)
{
    struct bytes text;
    char choices[200];
    if (!conf_text(r, value, "a word", &text)) {
        return;
    }
    for (unsigned i = 0; field->choices[i]; i++) {
        if (bytes_equal(text, bytes_of(field->choices[i]))) {
            *(unsigned *)place = i;
            return;
        }
    }
    join_choices(field->choices, choices, sizeof choices);
    const char *nearest = nearest_choice(field->choices, text);
    conf_problem(r, value, "unknown value for `%s`; choose %s%s%s%s", field->key, choices,
                 nearest ? "; did you mean `" : "", nearest ? nearest : "", nearest ? "`?" : "");
}

static CONF_READER(read_choice_bool)
{
    unsigned chosen = *(bool *)place;
    conf_read_choice(r, field, value, &chosen);
    *(bool *)place = chosen == 1;
}

const struct conf_type conf_type_choice = {
    "word", conf_read_choice, NULL, CONF_PLAIN(unsigned), BARE_NOTHING, NULL};
const struct conf_type conf_type_choice_bool = {"word",           read_choice_bool, NULL,
                                                CONF_PLAIN(bool), BARE_NOTHING,     NULL};

/* ---- texts ---- */

/* Double-quoted, ASCII control characters and the two special ones escaped. */
static void put_escaped(FILE *out, const char *text)
{
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\') {
            fprintf(out, "\\%c", *c);
        } else if ((unsigned char)*c < 0x20 || *c == 0x7F) {
            fprintf(out, "\\x%02X", (unsigned)*c);
        } else {
            fputc(*c, out);
        }
    }
}

void conf_put_text(FILE *out, const char *before, const char *text)
{
    fputc('"', out);
    put_escaped(out, before);
    put_escaped(out, text);
    fputc('"', out);
}

static CONF_READER(read_name)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a name", &text)) {
        return;
    }
    if (!value_is_name(text)) {
        conf_problem(r, value, "a name has 1 to 64 letters, digits, `.`, `_` or `-`%s",
                     value->text.at[0] == '.' ? ", and is not `.` or `..`" : "");
        return;
    }
    *(const char **)place = text.at;
}

const struct conf_type conf_type_name = {"name",    read_name, NULL,
                                         CONF_TEXT, BARE_TEXT, CONF_PATTERN_NAME};

CONF_READER(conf_read_host)
{
    struct bytes text;
    char host[VALUE_HOST_SIZE];
    (void)field;
    if (!conf_text(r, value, "an address or a host name", &text)) {
        return;
    }
    if (!value_host(text, host)) {
        bool more =
            text.size > 0 && (memchr(text.at, ':', text.size) || memchr(text.at, '/', text.size));
        conf_problem(r, value,
                     more ? "expected an address or a host name alone, without scheme, path or port"
                          : "expected an IPv4 or IPv6 address or a host name");
        return;
    }
    *(const char **)place = arena_text(r->arena, bytes_of(host));
}

const struct conf_type conf_type_host = {"host",    conf_read_host, NULL,
                                         CONF_TEXT, BARE_NOTHING,   CONF_PATTERN_HOST};

CONF_READER(conf_read_path)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a path", &text)) {
        return;
    }
    size_t directory_size = text.size > 0 && text.at[0] == '/' ? 0 : strlen(r->directory);
    if (text.size == 0 || !value_is_clean(text) || directory_size + text.size >= PATH_SIZE_MAX) {
        conf_problem(r, value,
                     "expected a path: not empty, without control characters, below %d bytes",
                     PATH_SIZE_MAX);
        return;
    }
    char *path = arena_take(r->arena, directory_size + text.size + 1);
    memcpy(path, r->directory, directory_size);
    memcpy(path + directory_size, text.at, text.size);
    *(const char **)place = path;
}

/* A path below the configuration's own directory is written relative to it, as it was most likely
 * given: nodes may keep the same files in different places. */
static CONF_WRITER(write_path)
{
    const char *path = *(const char *const *)place, *slash = strrchr(file, '/');
    size_t size = slash ? (size_t)(slash - file) + 1 : 0;
    conf_put_text(out, "", strncmp(path, file, size) == 0 ? path + size : path);
}

const struct conf_type conf_type_path = {"path",    conf_read_path, write_path,
                                         CONF_TEXT, BARE_TEXT,      CONF_PATTERN_PATH};

CONF_READER(conf_read_bearer)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "a token", &text)) {
        return;
    }
    if (!value_is_bearer(text) || text.size > TOKEN_SIZE_MAX) {
        conf_problem(r, value, "a token has 1 to %d visible ASCII characters without spaces",
                     TOKEN_SIZE_MAX);
        return;
    }
    if (bytes_equal(text, BYTES(CONF_HIDDEN))) {
        conf_problem(r, value,
                     "`" CONF_HIDDEN
                     "` stands where a secret was left out; write the token itself, "
                     "or show the configuration with --secrets");
        return;
    }
    *(const char **)place = text.at;
}

const struct conf_type conf_type_bearer = {
    "token", conf_read_bearer, NULL, CONF_TEXT, BARE_TEXT, "^(?!<hidden>$)[!-~]{1,512}$", true};
