/* schema_node: what concerns this node alone: listen, workers, node, limits, timeouts, log, admin,
 * cors. */
#include "conf/reader.h"
#include "conf/value.h"

#define KIB  1024ULL
#define MIB  (1024 * KIB)
#define GIB  (1024 * MIB)
#define HOUR 3600000ULL

enum {
    LISTEN_MAX = 64,       /* addresses */
    CERTIFICATES_MAX = 64, /* per address */
    ALLOW_MAX = 256,       /* searched one by one for each local request */
    ORIGINS_MAX = 256,     /* the same for each own answer to a page of another site */
};

/* ---- listen ---- */

static const struct conf_field certificate_fields[] = {
    {"certificate", conf_read_path, .offset = offsetof(struct conf_certificate, certificate),
     .required = true},
    {"key", conf_read_path, .offset = offsetof(struct conf_certificate, key), .required = true},
    {0},
};

static CONF_READER(read_certificates)
{
    struct conf_listen *listen = place;
    size_t count;
    if (!conf_is_list(r, field, value, "certificates", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    listen->tls = arena_array(r->arena, count, sizeof *listen->tls);
    listen->tls_count = count;
    for (size_t i = 0; i < count; i++) {
        conf_read_section(r, certificate_fields, "a certificate", items[i], &listen->tls[i]);
    }
}

static CONF_READER(read_listen_address)
{
    struct conf_listen *listen = place;
    (void)field;
    if (conf_address(r, value, true, &listen->host, &listen->port)) {
        listen->address = value->text.at;
    }
}

static const struct conf_field listen_fields[] = {
    {"address", read_listen_address, .offset = 0, .required = true},
    {"tls", read_certificates, .offset = 0, .min = 1, .max = CERTIFICATES_MAX},
    {0},
};

/* Port 0 is a new port each time. */
static void refuse_same_address(struct conf_reader *r, const struct yaml_node *node, size_t index)
{
    const struct conf_listen *now = &r->conf->listen[index];
    for (size_t i = 0; i < index; i++) {
        const struct conf_listen *other = &r->conf->listen[i];
        if (now->host && other->host && now->port != 0 && now->port == other->port &&
            value_same_ip(now->host, other->host)) {
            conf_problem(r, node, "this address is listened on already, line %u", other->line);
            return;
        }
    }
}

CONF_READER(conf_read_listen_list)
{
    struct conf *conf = r->conf;
    (void)place;
    struct conf_field bounds = *field;
    bounds.min = 1;
    bounds.max = LISTEN_MAX;
    size_t count;
    if (!conf_is_list(r, &bounds, value, "addresses to listen on", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    conf->listen = arena_array(r->arena, count, sizeof *conf->listen);
    conf->listen_count = count;
    for (size_t i = 0; i < count; i++) {
        conf->listen[i].line = items[i]->line;
        conf->listen[i].column = items[i]->column;
        conf_read_section(r, listen_fields, "a listen entry", items[i], &conf->listen[i]);
        refuse_same_address(r, items[i], i);
    }
}

/* ---- workers, node ---- */

CONF_READER(conf_read_workers)
{
    uint64_t number;
    struct conf *conf = place;
    (void)field;
    if (value->kind == YAML_SCALAR && bytes_equal(value->text, BYTES("auto"))) {
        conf->workers = 0;
        return;
    }
    if (value->kind == YAML_SCALAR && !value->broken && !value_looks_numeric(value->text)) {
        conf_problem(r, value, "expected `auto` or a number from 1 to %d", CONF_WORKERS_MAX);
    } else if (conf_number(r, value, 1, CONF_WORKERS_MAX, &number)) {
        conf->workers = (uint32_t)number;
    }
}

static CONF_READER(conf_read_state_dir)
{
    struct conf *conf = (struct conf *)(void *)((char *)place - offsetof(struct conf, state_dir));
    conf->state_dir_line = value->line;
    conf->state_dir_column = value->column;
    conf_read_path(r, field, value, place);
}

CONF_READER(conf_read_node)
{
    static const struct conf_field fields[] = {
        {"name", conf_read_name, .offset = offsetof(struct conf, node_name)},
        {"state_dir", conf_read_state_dir, .offset = offsetof(struct conf, state_dir)},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`node`", value, place);
}

/* ---- limits, timeouts ---- */

/* The smallest values still serve Dify's own requests (a request line of 4 KiB, a few headers); the
 * largest keep one connection from taking the machine. */
CONF_READER(conf_read_limits)
{
    static const struct conf_field fields[] = {
        {"connections", conf_read_number, .offset = offsetof(struct conf_limits, connections),
         .min = 1, .max = 1 << 20},
        {"header_size", conf_read_size32, .offset = offsetof(struct conf_limits, header_size),
         .min = KIB, .max = MIB},
        {"headers", conf_read_number, .offset = offsetof(struct conf_limits, headers), .min = 8,
         .max = 1000},
        {"uri_size", conf_read_size32, .offset = offsetof(struct conf_limits, uri_size), .min = 64,
         .max = MIB},
        {"json_inspect", conf_read_size, .offset = offsetof(struct conf_limits, json_inspect),
         .min = 0, .max = GIB},
        {"body_size", conf_read_size, .offset = offsetof(struct conf_limits, body_size), .min = 1,
         .max = 1024 * GIB},
        {"body_rate", conf_read_size32, .offset = offsetof(struct conf_limits, body_rate), .min = 0,
         .max = GIB},
        {"spool_memory", conf_read_size, .offset = offsetof(struct conf_limits, spool_memory),
         .min = 0, .max = GIB},
        {"spool_dir", conf_read_path, .offset = offsetof(struct conf_limits, spool_dir)},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`limits`", value, place);
}

/* A day is longer than any answer of Dify; drain: 0 = end at once. */
CONF_READER(conf_read_timeouts)
{
    static const struct conf_field fields[] = {
        {"request_head", conf_read_duration,
         .offset = offsetof(struct conf_timeouts, request_head_ms), .min = 1, .max = 24 * HOUR},
        {"request_body", conf_read_duration,
         .offset = offsetof(struct conf_timeouts, request_body_ms), .min = 1, .max = 24 * HOUR},
        {"keepalive", conf_read_duration, .offset = offsetof(struct conf_timeouts, keepalive_ms),
         .min = 1, .max = 24 * HOUR},
        {"connect", conf_read_duration, .offset = offsetof(struct conf_timeouts, connect_ms),
         .min = 1, .max = 24 * HOUR},
        {"first_byte", conf_read_duration, .offset = offsetof(struct conf_timeouts, first_byte_ms),
         .min = 1, .max = 24 * HOUR},
        {"idle", conf_read_duration, .offset = offsetof(struct conf_timeouts, idle_ms), .min = 1,
         .max = 24 * HOUR},
        {"drain", conf_read_duration, .offset = offsetof(struct conf_timeouts, drain_ms), .min = 0,
         .max = 24 * HOUR},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`timeouts`", value, place);
}

/* ---- log ---- */

/* `off` is a boolean in YAML 1.1, and so are `no` and `false`; they all mean the same here. */
static bool is_log_off(const struct yaml_node *value)
{
    bool boolean;
    return value->kind == YAML_SCALAR && value->plain && value->text.size > 1 &&
           value_boolean(value->text, &boolean) && !boolean;
}

/* A word that is nearly one of the three is a slip, not the name of a file. */
static const char *nearly_a_target(struct bytes text)
{
    static const char *const targets[] = {"stdout", "stderr", "off"};
    for (size_t i = 0; i < 3; i++) {
        unsigned slips = i == 2 ? 1 : 2;
        if (value_distance(text, bytes_of(targets[i]), slips) <= slips) {
            return targets[i];
        }
    }
    return NULL;
}

static void read_log_target(struct conf_reader *r, const struct conf_field *field,
                            const struct yaml_node *value, enum log_target *target,
                            const char **path)
{
    struct bytes text;
    if (is_log_off(value)) {
        *target = LOG_OFF;
        return;
    }
    if (!conf_text(r, value, "a path, stdout, stderr or off", &text)) {
        return;
    }
    const char *nearly = nearly_a_target(text);
    if (bytes_equal(text, BYTES("off"))) {
        *target = LOG_OFF;
    } else if (bytes_equal(text, BYTES("stdout"))) {
        *target = LOG_STDOUT;
    } else if (bytes_equal(text, BYTES("stderr"))) {
        *target = LOG_STDERR;
    } else if (nearly) {
        conf_problem(r, value,
                     "expected a path, stdout, stderr or off; did you mean `%s`? (a file of "
                     "this name is written with ./ before it)",
                     nearly);
    } else {
        conf_read_path(r, field, value, path);
        *target = *path ? LOG_FILE : *target;
    }
}

static CONF_READER(read_access_log)
{
    struct conf_log *log = place;
    read_log_target(r, field, value, &log->access, &log->access_path);
}

static CONF_READER(read_error_log)
{
    struct conf_log *log = place;
    read_log_target(r, field, value, &log->error, &log->error_path);
}

/* `warn` is what most programs call it. */
static CONF_READER(read_level)
{
    if (value->kind == YAML_SCALAR && !value->broken && bytes_equal(value->text, BYTES("warn"))) {
        *(unsigned *)place = LOG_WARNING;
    } else {
        conf_read_choice(r, field, value, place);
    }
}

CONF_READER(conf_read_log)
{
    static const struct conf_field fields[] = {
        {"access", read_access_log, .offset = 0},
        {"error", read_error_log, .offset = 0},
        {"level", read_level, .offset = offsetof(struct conf_log, level),
         .choices = log_level_words},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`log`", value, place);
}

/* ---- admin ---- */

static CONF_READER(read_allow)
{
    struct conf_admin *admin = place;
    struct bytes text;
    size_t count;
    if (!conf_is_list(r, field, value, "addresses", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    admin->allow = arena_array(r->arena, count, sizeof *admin->allow);
    admin->allow_count = count;
    for (size_t i = 0; i < count; i++) {
        if (conf_text(r, items[i], "an address or a block of addresses", &text) &&
            !value_cidr(text, &admin->allow[i])) {
            conf_problem(r, items[i],
                         "expected an address or a block such as 10.0.0.0/8 or \"fd00::/8\"");
        }
    }
}

static CONF_READER(read_admin_token)
{
    bool written = !value->plain || value->substituted;
    if (value->kind == YAML_SCALAR && written && value->text.size == 0) {
        *(const char **)place = "";
        return;
    }
    conf_read_bearer(r, field, value, place);
}

CONF_READER(conf_read_admin)
{
    static const struct conf_field fields[] = {
        {"allow", read_allow, .offset = 0, .min = 0, .max = ALLOW_MAX},
        {"token", read_admin_token, .offset = offsetof(struct conf_admin, token)},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`admin`", value, place);
}

/* ---- cors ---- */

static CONF_READER(read_origins)
{
    struct conf_cors *cors = place;
    struct bytes text;
    size_t count;
    if (!conf_is_list(r, field, value, "origins", &count)) {
        return;
    }
    *cors = (struct conf_cors){.origins = arena_array(r->arena, count, sizeof *cors->origins)};
    for (size_t i = 0; i < count; i++) {
        if (!conf_text(r, value->items[i], "an origin or \"*\"", &text)) {
            continue;
        }
        if (bytes_equal(text, BYTES("*"))) {
            cors->any = true;
        } else if (value_is_origin(text)) {
            cors->origins[cors->count++] = text.at;
        } else {
            conf_problem(r, value->items[i],
                         "expected an origin such as https://chat.example.com or "
                         "http://localhost:3000 (without a path, as browsers send it), \"null\", "
                         "or \"*\" for all");
        }
    }
}

CONF_READER(conf_read_cors)
{
    static const struct conf_field fields[] = {
        {"origins", read_origins, .offset = 0, .min = 0, .max = ORIGINS_MAX},
        {0},
    };
    (void)field;
    conf_read_section(r, fields, "`cors`", value, place);
}
