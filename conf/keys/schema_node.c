/* schema_node: what concerns this node alone: listen, workers, node, limits, timeouts, log, admin,
 * cors. */
#include <string.h>

#include "conf/read/reader.h"
#include "conf/value.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

enum {
    LISTEN_MAX = 64,       /* addresses */
    ADMIN_LISTEN_MAX = 16, /* the same, of admin.listen */
    CERTIFICATES_MAX = 64, /* per address */
    ALLOW_MAX = 256,
    TRUSTED_MAX = 256,
    SKIPPED_MAX = 32,
    ORIGINS_MAX = 256, /* the same for each own answer to a page of another site */
};

/* ---- blocks of addresses ---- */

static CONF_READER(read_cidr)
{
    struct bytes text;
    (void)field;
    if (conf_text(r, value, "an address or a block of addresses", &text) &&
        !value_cidr(text, place)) {
        conf_problem(r, value, "expected an address or a block such as 10.0.0.0/8 or \"fd00::/8\"");
    }
}

static const struct conf_type type_cidr = {
    "address block", read_cidr, NULL, CONF_PLAIN(struct cidr), BARE_NOTHING, CONF_PATTERN_CIDR};

/* ---- listen ---- */

static const struct conf_field certificate_fields[] = {
    {"certificate", &conf_type_path, AT(conf_certificate, certificate), .required = true,
     .help = "PEM file with the chain"},
    {"key", &conf_type_path, AT(conf_certificate, key), .required = true,
     .help = "PEM file with its private key"},
    {0},
};

static const struct conf_section certificate = {.what = "a certificate",
                                                .fields = certificate_fields,
                                                .size = sizeof(struct conf_certificate),
                                                .line = offsetof(struct conf_certificate, line)};

static const char *const tls_versions[] = {"1.2", "1.3", NULL};

static CONF_READER(read_client_ca)
{
    struct conf_listen *listen = (struct conf_listen *)(void *)((char *)place - field->offset);
    listen->client_ca_line = value->line;
    listen->client_ca_column = value->column;
    conf_read_path(r, field, value, place);
}

static const struct conf_type type_client_ca = {"path",    read_client_ca, NULL,
                                                CONF_TEXT, BARE_TEXT,      CONF_PATTERN_PATH};

static CONF_READER(read_listen_address)
{
    struct conf_listen *listen = place;
    (void)field;
    if (conf_address(r, value, true, &listen->host, &listen->port)) {
        listen->address = value->text.at;
    }
}

static const struct conf_type type_listen_address = {
    .name = "address:port",
    .read = read_listen_address,
    .parts = {{offsetof(struct conf_listen, address), sizeof(char *), true},
              {offsetof(struct conf_listen, host), sizeof(char *), true},
              {offsetof(struct conf_listen, port), sizeof(uint16_t), false}},
    .pattern = CONF_PATTERN_ADDRESS,
};

static const struct conf_field listen_entry_fields[] = {
    {"address", &type_listen_address, .required = true,
     .help = "numeric, such as 0.0.0.0:8182 or \"[::]:8182\""},
    {"proxy_protocol", &conf_type_boolean, AT(conf_listen, proxy_protocol), .standard = "false",
     .help = "each connection begins with a PROXY header (version 1 or 2) and comes from "
             "trusted_proxies; others are closed"},
    {"tls", &conf_type_list, AT(conf_listen, tls), .min = 1, .max = CERTIFICATES_MAX,
     .items = "certificates", .item = &CONF_SECTION_ITEM(certificate), .effect = CONF_LIVE,
     .help = "several: chosen by SNI, the first is the default; each reload reads the files again"},
    {"tls_min", &conf_type_choice_bool, AT(conf_listen, tls_1_3), .choices = tls_versions,
     .standard = "1.2", .effect = CONF_LIVE, .help = "the oldest version that is spoken"},
    {"client_ca", &type_client_ca, AT(conf_listen, client_ca), .effect = CONF_LIVE,
     .help = "PEM file; clients must show a certificate that it signed"},
    {0},
};

static void check_listen_entry(struct conf_reader *r, const struct yaml_node *value, void *section)
{
    static const char *const keys[] = {"tls_min", "client_ca"};
    (void)section;
    for (size_t i = 0; i < 2 && !yaml_tree_get(value, "tls"); i++) {
        if (yaml_tree_get(value, keys[i])) {
            conf_problem(r, value, "`%s` needs `tls` beside it", keys[i]);
        }
    }
}

static const struct conf_section listen_entry = {
    .what = "a listen entry",
    .fields = listen_entry_fields,
    .size = sizeof(struct conf_listen),
    .line = offsetof(struct conf_listen, line),
    .check = check_listen_entry,
    .rule = "\"dependentRequired\": {\"tls_min\": [\"tls\"], \"client_ca\": [\"tls\"]}",
};

/* A reload takes over how a listener speaks, not where it listens. */
static enum conf_effect effect_of_listen(const char *before, const char *after)
{
    struct conf_list a = conf_list_at(before), b = conf_list_at(after);
    bool same = a.count == b.count;
    for (size_t i = 0; i < a.count && same; i++) {
        struct conf_listen now = ((const struct conf_listen *)(const void *)a.at)[i];
        const struct conf_listen *next = &((const struct conf_listen *)(const void *)b.at)[i];
        conf_listen_take_tls(&now, next);
        same = conf_same_section(&listen_entry, (const char *)&now, (const char *)next);
    }
    return same ? CONF_LIVE : CONF_RESTART;
}

void conf_listen_take_tls(struct conf_listen *to, const struct conf_listen *from)
{
    to->tls = from->tls;
    to->tls_count = from->tls_count;
    to->tls_1_3 = from->tls_1_3;
    to->client_ca = from->client_ca;
    to->client_ca_line = from->client_ca_line;
    to->client_ca_column = from->client_ca_column;
    to->line = from->line;
    to->column = from->column;
}

/* Port 0 is a new port each time. */
static bool is_listened_on(struct conf_reader *r, const struct yaml_node *item,
                           const struct conf_listen *now, struct conf_list others)
{
    for (size_t i = 0; i < others.count; i++) {
        const struct conf_listen *other = &((const struct conf_listen *)(const void *)others.at)[i];
        if (now->host && other->host && now->port != 0 && now->port == other->port &&
            value_same_ip(now->host, other->host)) {
            conf_problem(r, item, "this address is listened on already, line %u", other->line);
            return true;
        }
    }
    return false;
}

static CONF_EACH(refuse_same_address)
{
    const struct conf *conf = section;
    is_listened_on(r, item, &conf->listen[index], (struct conf_list){(char *)conf->listen, index});
}

/* ---- workers, node ---- */

static CONF_READER(read_workers)
{
    uint64_t number;
    uint32_t *workers = place;
    if (value->kind == YAML_SCALAR && bytes_equal(value->text, BYTES("auto"))) {
        *workers = 0;
        return;
    }
    if (value->kind == YAML_SCALAR && !value->broken && !value_looks_numeric(value->text)) {
        conf_problem(r, value, "expected `auto` or a number from 1 to %d", CONF_WORKERS_MAX);
    } else if (conf_number(r, value, field->min, field->max, &number)) {
        *workers = (uint32_t)number;
    }
}

static const struct conf_type type_workers = {"number or auto",     read_workers, NULL,
                                              CONF_PLAIN(uint32_t), BARE_WHOLE,   "^auto$"};

static CONF_READER(read_state_dir)
{
    struct conf *conf = (struct conf *)(void *)((char *)place - field->offset);
    conf->state_dir_line = value->line;
    conf->state_dir_column = value->column;
    conf_read_path(r, field, value, place);
}

static const struct conf_type type_state_dir = {"path",    read_state_dir, NULL,
                                                CONF_TEXT, BARE_TEXT,      CONF_PATTERN_PATH};

static const struct conf_field node_fields[] = {
    {"name", &conf_type_name, AT(conf, node_name),
     .help = "unique in the cluster; without it, the host name"},
    {"state_dir", &type_state_dir, AT(conf, state_dir),
     .help = "made if it is not there; without it, nothing survives a restart"},
    {0},
};

static const struct conf_section node = {.what = "`node`", .fields = node_fields};

/* ---- limits, timeouts ---- */

/* The smallest values still serve Dify's own requests (a request line of 4 KiB, a few headers); the
 * largest keep one connection from taking the machine. */
static const struct conf_field limits_fields[] = {
    {"connections", &conf_type_number, AT(conf_limits, connections), .min = 1, .max = 1 << 20,
     .standard = "8192", .help = "of clients, on this node"},
    {"header_size", &conf_type_size32, AT(conf_limits, header_size), .min = KIB, .max = MIB,
     .standard = "32KiB", .help = "of a request's head"},
    {"headers", &conf_type_number, AT(conf_limits, headers), .min = 8, .max = 1000,
     .standard = "100", .help = "header fields of a request"},
    {"uri_size", &conf_type_size32, AT(conf_limits, uri_size), .min = 64, .max = MIB,
     .standard = "8KiB", .help = "of a request's target"},
    {"json_inspect", &conf_type_size, AT(conf_limits, json_inspect), .min = 0, .max = GIB,
     .standard = "1MiB", .help = "of a longer JSON body the user must stand within these"},
    {"body_size", &conf_type_size, AT(conf_limits, body_size), .min = 1, .max = 1024 * GIB,
     .standard = "100MiB", .help = "of a request"},
    {"body_rate", &conf_type_size32, AT(conf_limits, body_rate), .min = 0, .max = GIB,
     .standard = "512",
     .help = "bytes a second that a request's body must bring, over each request_body; 0 = "
             "any"},
    {"spool_memory", &conf_type_size, AT(conf_limits, spool_memory), .min = 0, .max = GIB,
     .standard = "1MiB",
     .help = "of a body that must wait, as for a user that comes behind a file; more of it goes to "
             "a file in spool_dir"},
    {"spool_memory_all", &conf_type_size, AT(conf_limits, spool_memory_all), .min = 0,
     .max = 1024 * GIB, .standard = "64MiB", .help = "of all bodies that wait on this node"},
    {"spool_dir", &conf_type_path, AT(conf_limits, spool_dir), .standard = "/tmp",
     .help = "where such files are, without a name; a disk, for a tmpfs is memory"},
    {"placements", &conf_type_number, AT(conf_limits, placements), .min = 0, .max = 1 << 28,
     .standard = "1000000", .effect = CONF_RESTART,
     .help = "ids of conversations, messages, runs, files whose instance is remembered, 16 to 32 "
             "bytes each, as they come; 0 = none"},
    {0},
};

static const struct conf_section limits = {
    .what = "`limits`", .fields = limits_fields, .line = offsetof(struct conf_limits, line)};

/* drain: 0 = end at once. */
static const struct conf_field timeouts_fields[] = {
    {"request_head", &conf_type_duration, AT(conf_timeouts, request_head_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "30s",
     .help = "until the client has sent its request's head"},
    {"request_body", &conf_type_duration, AT(conf_timeouts, request_body_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "60s", .help = "between two pieces of its body"},
    {"keepalive", &conf_type_duration, AT(conf_timeouts, keepalive_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "65s", .help = "until the client's next request"},
    {"connect", &conf_type_duration, AT(conf_timeouts, connect_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "2s", .help = "to an instance"},
    {"first_byte", &conf_type_duration, AT(conf_timeouts, first_byte_ms), .min = 1,
     .max = CONF_DURATION_MAX, .standard = "1200s",
     .help = "until the response's head; Dify's blocking mode sends nothing until it is done"},
    {"first_event", &conf_type_duration, AT(conf_timeouts, first_event_ms), .min = 0,
     .max = CONF_DURATION_MAX, .standard = "60s",
     .help = "until a stream that began with a ping has another event: with three that have none "
             "an instance fails, for its worker is dead; 0 = never"},
    {"idle", &conf_type_duration, AT(conf_timeouts, idle_ms), .min = 1, .max = CONF_DURATION_MAX,
     .standard = "300s", .help = "between two pieces of a response"},
    {"drain", &conf_type_duration, AT(conf_timeouts, drain_ms), .min = 0, .max = CONF_DURATION_MAX,
     .standard = "60s", .help = "that open requests get after SIGTERM; 0 = none"},
    {0},
};

static const struct conf_section timeouts = {
    .what = "`timeouts`", .fields = timeouts_fields, .line = offsetof(struct conf_timeouts, line)};

/* ---- log ---- */

/* `off` is a boolean in YAML 1.1, and so are `no` and `false`; they all mean the same here. */
static bool is_log_off(const struct yaml_node *value)
{
    bool boolean;
    return value->kind == YAML_SCALAR && value->plain && value->text.size > 1 &&
           value_boolean(value->text, &boolean) && !boolean;
}

static const char *const targets[] = {
    [LOG_OFF] = "off", [LOG_STDOUT] = "stdout", [LOG_STDERR] = "stderr"};

/* A word that is nearly one of the three is a slip, not the name of a file. */
static const char *nearly_a_target(struct bytes text)
{
    static const enum log_target order[] = {LOG_STDOUT, LOG_STDERR, LOG_OFF};
    for (size_t i = 0; i < 3; i++) {
        unsigned slips = order[i] == LOG_OFF ? 1 : 2;
        if (value_distance(text, bytes_of(targets[order[i]]), slips) <= slips) {
            return targets[order[i]];
        }
    }
    return NULL;
}

struct log_place { /* of either log in struct conf_log */
    enum log_target target;
    const char *path;
};

static CONF_READER(read_log_target)
{
    struct log_place *log = place;
    struct bytes text;
    if (is_log_off(value)) {
        log->target = LOG_OFF;
        return;
    }
    if (!conf_text(r, value, "a path, stdout, stderr or off", &text)) {
        return;
    }
    for (enum log_target target = LOG_OFF; target < LOG_FILE; target++) {
        if (bytes_equal(text, bytes_of(targets[target]))) {
            log->target = target;
            return;
        }
    }
    const char *nearly = nearly_a_target(text);
    if (nearly) {
        conf_problem(r, value,
                     "expected a path, stdout, stderr or off; did you mean `%s`? (a file of "
                     "this name is written with ./ before it)",
                     nearly);
        return;
    }
    conf_read_path(r, field, value, &log->path);
    log->target = log->path ? LOG_FILE : log->target;
}

static const struct conf_type type_log_target = {
    .name = "path, stdout, stderr or off",
    .read = read_log_target,
    .parts = {{offsetof(struct log_place, target), sizeof(enum log_target), false},
              {offsetof(struct log_place, path), sizeof(char *), true}},
    .bare = BARE_OFF,
    .pattern = CONF_PATTERN_PATH,
};

/* `warn` is what most programs call it. */
static CONF_READER(read_level)
{
    if (value->kind == YAML_SCALAR && !value->broken && bytes_equal(value->text, BYTES("warn"))) {
        *(unsigned *)place = LOG_WARNING;
    } else {
        conf_read_choice(r, field, value, place);
    }
}

static const struct conf_type type_level = {"word",       read_level, NULL, CONF_PLAIN(unsigned),
                                            BARE_NOTHING, "^warn$"};

static CONF_READER(read_skipped)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "the path of a local endpoint", &text)) {
        return;
    }
    bool proxied =
        text.size >= 3 && memcmp(text.at, "/v1", 3) == 0 && (text.size == 3 || text.at[3] == '/');
    if (text.size == 0 || text.at[0] != '/' || proxied) {
        conf_problem(r, value,
                     "expected the path of a local endpoint such as /health: requests to Dify are "
                     "always logged");
        return;
    }
    *(const char **)place = text.at;
}

static const struct conf_type type_skipped = {"path",    read_skipped, NULL,
                                              CONF_TEXT, BARE_NOTHING, "^/(?!v1(/|$))"};

static const struct conf_field logs_fields[] = {
    {"access", &type_log_target, AT(conf_log, access), .standard = "stdout",
     .help = "a line for each request"},
    {"error", &type_log_target, AT(conf_log, error), .standard = "stderr",
     .help = "a line for each event"},
    {"level", &type_level, AT(conf_log, level), .choices = log_level_words, .standard = "info",
     .help = "the least that an event must be; warn is warning, too"},
    {"skip", &conf_type_list, AT(conf_log, skip), .min = 0, .max = SKIPPED_MAX, .items = "paths",
     .item = &(const struct conf_field){.type = &type_skipped}, .standard = "[/health]",
     .effect = CONF_LIVE, .help = "local endpoints whose requests get no line in the access log"},
    {0},
};

static const struct conf_section logs = {
    .what = "`log`", .fields = logs_fields, .line = offsetof(struct conf_log, line)};

/* ---- admin ---- */

static CONF_READER(read_admin_token)
{
    bool written = !value->plain || value->substituted;
    if (value->kind == YAML_SCALAR && written && value->text.size == 0) {
        *(const char **)place = "";
        return;
    }
    conf_read_bearer(r, field, value, place);
}

static const struct conf_type type_admin_token = {
    "token", read_admin_token, NULL, CONF_TEXT, BARE_TEXT, "^(?!<hidden>$)[!-~]{0,512}$", true};

static CONF_READER(read_admin_listen)
{
    struct conf_listen *listen = place;
    listen->line = value->line;
    listen->column = value->column;
    read_listen_address(r, field, value, place);
}

static const struct conf_type type_admin_listen = {
    .name = "address:port",
    .read = read_admin_listen,
    .parts = {{offsetof(struct conf_listen, address), sizeof(char *), true},
              {offsetof(struct conf_listen, host), sizeof(char *), true},
              {offsetof(struct conf_listen, port), sizeof(uint16_t), false}},
    .size = sizeof(struct conf_listen),
    .pattern = CONF_PATTERN_ADDRESS,
};

static CONF_EACH(refuse_same_door)
{
    const struct conf_admin *admin = section;
    const struct conf_listen *now = &admin->listen[index];
    if (!is_listened_on(r, item, now, conf_list_at(&r->conf->listen))) {
        is_listened_on(r, item, now, (struct conf_list){(char *)admin->listen, index});
    }
}

static const struct conf_field admin_fields[] = {
    {"allow", &conf_type_list, AT(conf_admin, allow), .min = 0, .max = ALLOW_MAX,
     .items = "addresses", .item = &(const struct conf_field){.type = &type_cidr},
     .standard = "[127.0.0.0/8, ::1/128]", .help = "who may use all local endpoints but /health"},
    {"token", &type_admin_token, AT(conf_admin, token), .standard = "\"\"",
     .help = "or who sends this as a bearer token; \"\" = nobody"},
    {"view_allow", &conf_type_list, AT(conf_admin, view_allow), .min = 0, .max = ALLOW_MAX,
     .items = "addresses", .item = &(const struct conf_field){.type = &type_cidr}, .standard = "[]",
     .help = "who may only look: /status, /metrics, /dashboard, /admin/explain"},
    {"view_token", &type_admin_token, AT(conf_admin, view_token), .standard = "\"\"",
     .help = "or who sends this"},
    {"listen", &conf_type_list, AT(conf_admin, listen), .min = 0, .max = ADMIN_LISTEN_MAX,
     .items = "addresses to listen on",
     .item = &(const struct conf_field){.type = &type_admin_listen}, .each = refuse_same_door,
     .standard = "[]", .effect = CONF_RESTART,
     .help = "such as 127.0.0.1:8283: plain HTTP for these endpoints alone; the other listeners "
             "then answer /health only"},
    {0},
};

static const struct conf_section admin = {
    .what = "`admin`", .fields = admin_fields, .line = offsetof(struct conf_admin, line)};

/* ---- cors ---- */

static CONF_READER(read_origin)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "an origin or \"*\"", &text)) {
        return;
    }
    if (!bytes_equal(text, BYTES("*")) && !value_is_origin(text)) {
        conf_problem(r, value,
                     "expected an origin such as https://chat.example.com or "
                     "http://localhost:3000 (without a path, as browsers send it), \"null\", "
                     "or \"*\" for all");
        return;
    }
    *(const char **)place = text.at;
}

static const struct conf_type type_origin = {
    "origin",  read_origin,  NULL,
    CONF_TEXT, BARE_NOTHING, "^(\\*|null|[A-Za-z][A-Za-z0-9+.-]*://.+)$"};

static const struct conf_field cors_fields[] = {
    {"origins", &conf_type_list, AT(conf_cors, origins), .min = 0, .max = ORIGINS_MAX,
     .items = "origins", .item = &(const struct conf_field){.type = &type_origin},
     .standard = "[*]",
     .help = "of pages that may call from a browser: https://chat.example.com, or \"*\"; [] = "
             "none"},
    {0},
};

static const struct conf_section cors = {.what = "`cors`", .fields = cors_fields};

/* ---- all of it ---- */

/* SPEC §2. Read in this order: an application starts from the shared sections above it. */
static const struct conf_field root_fields[] = {
    {"node", CONF_SECTION(node), .effect = CONF_RESTART},
    {"listen", &conf_type_list, AT(conf, listen), .min = 1, .max = LISTEN_MAX, .required = true,
     .items = "addresses to listen on", .item = &CONF_SECTION_ITEM(listen_entry),
     .each = refuse_same_address, .effect = CONF_RESTART, .effect_of = effect_of_listen},
    {"trusted_proxies", &conf_type_list, AT(conf, trusted_proxies), .min = 0, .max = TRUSTED_MAX,
     .items = "address blocks", .item = &(const struct conf_field){.type = &type_cidr},
     .standard = "[]", .effect = CONF_LIVE,
     .help = "balancers in front, whose X-Forwarded-* and PROXY headers are believed"},
    {"workers", &type_workers, AT(conf, workers), .min = 1, .max = CONF_WORKERS_MAX,
     .standard = "auto", .effect = CONF_RESTART,
     .help = "event loops; auto = one for each usable CPU"},
    {"limits", CONF_SECTION(limits), AT(conf, limits), .effect = CONF_LIVE},
    {"timeouts", CONF_SECTION(timeouts), AT(conf, timeouts), .effect = CONF_LIVE},
    {"log", CONF_SECTION(logs), AT(conf, log), .effect = CONF_RESTART},
    {"admin", CONF_SECTION(admin), AT(conf, admin), .effect = CONF_LIVE},
    {"cors", CONF_SECTION(cors), AT(conf, cors), .effect = CONF_LIVE},
    {"cluster", CONF_SECTION(conf_cluster), AT(conf, cluster),
     .present = offsetof(struct conf, has_cluster), .effect = CONF_RESTART,
     .help = "without it, a single node"},
    {"vip", CONF_SECTION(conf_vip), AT(conf, vip), .present = offsetof(struct conf, has_vip),
     .effect = CONF_RESTART, .help = "without it, no virtual IP"},
    {"health_check", CONF_SECTION(conf_health_check), AT(conf, health_check),
     .effect = CONF_SHARED},
    {"retries", CONF_SECTION(conf_retries), AT(conf, retries), .effect = CONF_SHARED},
    {"consistent_hash", CONF_SECTION(conf_consistent_hash), .effect = CONF_SHARED},
    {"user_id", CONF_SECTION(conf_user_id), AT(conf, user_id), .effect = CONF_SHARED},
    {"debug_headers", &conf_type_boolean, AT(conf, debug_headers), .standard = "false",
     .effect = CONF_SHARED,
     .help = "X-Dify-Instance and X-Served-By on responses, and more to the instance"},
    {"applications", &conf_type_applications, AT(conf, applications), .min = 1,
     .max = CONF_APPLICATIONS_MAX, .item = &CONF_SECTION_ITEM(conf_application),
     .effect = CONF_SHARED, .required = true},
    {0},
};

/* Else anybody could say to be anybody. */
static void refuse_untrusted_headers(struct conf_reader *r, const struct yaml_node *value,
                                     void *section)
{
    const struct conf *conf = section;
    (void)value;
    for (size_t i = 0; i < conf->listen_count && conf->trusted_proxy_count == 0; i++) {
        if (conf->listen[i].proxy_protocol) {
            problem_add(r->problems, conf->listen[i].line, conf->listen[i].column,
                        "`proxy_protocol` needs `trusted_proxies`: the addresses of the balancers "
                        "that may say who a client is");
        }
    }
}

const struct conf_section conf_root = {
    .what = "the configuration",
    .fields = root_fields,
    .block = true,
    .check = refuse_untrusted_headers,
    .rule =
        "\"if\": {\"required\": [\"listen\"], \"properties\": {\"listen\": {\"type\": \"array\", "
        "\"contains\": {\"type\": \"object\", \"required\": [\"proxy_protocol\"], \"properties\": "
        "{\"proxy_protocol\": {\"const\": true}}}}}}, \"then\": {\"required\": "
        "[\"trusted_proxies\"], \"properties\": {\"trusted_proxies\": {\"minItems\": 1}}}"};
