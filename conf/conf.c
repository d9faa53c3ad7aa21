/* conf: file -> text -> tree -> struct conf. The tree, the struct and all their texts share one
 * arena; a file with any problem leaves nothing behind but its problems. */
#include "conf/conf.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/memory.h"
#include "conf/reader.h"
#include "conf/source.h"
#include "conf/value.h"

enum { HOST_NAME_SIZE = 256 /* Linux's HOST_NAME_MAX is 64 */ };

/* SPEC §2. Read in this order: an application starts from the shared sections above it. */
static const struct conf_field root_fields[] = {
    {"node", conf_read_node, .offset = 0},
    {"listen", conf_read_listen_list, .offset = 0, .required = true},
    {"workers", conf_read_workers, .offset = 0},
    {"limits", conf_read_limits, .offset = offsetof(struct conf, limits)},
    {"timeouts", conf_read_timeouts, .offset = offsetof(struct conf, timeouts)},
    {"log", conf_read_log, .offset = offsetof(struct conf, log)},
    {"admin", conf_read_admin, .offset = offsetof(struct conf, admin)},
    {"cors", conf_read_cors, .offset = offsetof(struct conf, cors)},
    {"cluster", conf_read_cluster, .offset = offsetof(struct conf, cluster)},
    {"vip", conf_read_vip, .offset = offsetof(struct conf, vip)},
    {"health_check", conf_read_health_check, .offset = offsetof(struct conf, health_check)},
    {"retries", conf_read_retries, .offset = offsetof(struct conf, retries)},
    {"consistent_hash", conf_read_consistent_hash, .offset = 0},
    {"user_id", conf_read_user_id, .offset = offsetof(struct conf, user_id)},
    {"debug_headers", conf_read_boolean, .offset = offsetof(struct conf, debug_headers)},
    {"applications", conf_read_applications, .offset = 0, .required = true},
    {0},
};

static void set_node_defaults(struct conf *conf)
{
    conf->virtual_nodes = 160;
    conf->limits = (struct conf_limits){.connections = 8192,
                                        .header_size = 32 << 10,
                                        .headers = 100,
                                        .uri_size = 8 << 10,
                                        .json_inspect = 1 << 20,
                                        .body_size = 100 << 20,
                                        .body_rate = 512,
                                        .spool_memory = 1 << 20,
                                        .spool_dir = "/tmp"};
    conf->timeouts = (struct conf_timeouts){.request_head_ms = 30000,
                                            .request_body_ms = 60000,
                                            .keepalive_ms = 65000,
                                            .connect_ms = 2000,
                                            .first_byte_ms = 1200000,
                                            .idle_ms = 300000,
                                            .drain_ms = 60000};
    conf->log = (struct conf_log){.access = LOG_STDOUT, .error = LOG_STDERR, .level = LOG_INFO};
    conf->cors.any = true;
    conf->cluster =
        (struct conf_cluster){.name = "dify", .bind_host = "0.0.0.0", .bind_port = 7946};
    conf->vip = (struct conf_vip){.router_id = 51,
                                  .priority = 120,
                                  .advert_interval_ms = 100,
                                  .track_file = "/run/difyring/vrrp"};
}

/* Lists are copied to the arena, since whoever reads a conf may not expect static ones. */
static void *copied(struct arena *arena, const void *list, size_t size)
{
    return memcpy(arena_take(arena, size), list, size);
}

static void set_list_defaults(struct conf *conf, struct arena *arena)
{
    static const struct cidr allow[] = {
        {{[10] = 0xFF, [11] = 0xFF, [12] = 127}, 96 + 8}, /* 127.0.0.0/8 */
        {{[15] = 1}, 128},                                /* ::1/128 */
    };
    static const uint16_t failures[] = {502, 503, 504}, retried[] = {502, 503, 504};
    static const struct conf_user_source sources[] = {
        {USER_FROM_HEADER, "X-User-ID"}, {USER_FROM_QUERY, "user_id"}, {USER_FROM_QUERY, "user"},
        {USER_FROM_COOKIE, "user_id"},   {USER_FROM_JSON, "user"},     {USER_FROM_FORM, "user"},
    };
    conf->admin = (struct conf_admin){copied(arena, allow, sizeof allow), 2, ""};
    conf->health_check = (struct conf_health_check){
        .enabled = true,
        .token = true,
        .path = "/v1/parameters",
        .interval_ms = 5000,
        .timeout_ms = 3000,
        .busy_timeout_ms = 120 * 1000,
        .healthy_threshold = 2,
        .unhealthy_threshold = 3,
        .failure_statuses = copied(arena, failures, sizeof failures),
        .failure_status_count = 3,
    };
    conf->retries = (struct conf_retries){3, 30000, copied(arena, retried, sizeof retried), 3};
    conf->user_id = (struct conf_user_id){copied(arena, sources, sizeof sources), 6, false};
}

bool conf_check_is_bare(const struct conf_health_check *check, const char *token)
{
    return !check->token || strncmp(token, "dataset-", 8) == 0 || strncmp(token, "ds-", 3) == 0;
}

const struct conf_status_range *conf_check_expect(const struct conf_health_check *check, bool bare,
                                                  size_t *ret_count)
{
    /* 401 is what a Dify that runs says to who shows no token */
    static const struct conf_status_range passed[] = {{200, 399}, {401, 401}};
    if (check->expect_count > 0) {
        *ret_count = check->expect_count;
        return check->expect;
    }
    *ret_count = bare ? 2 : 1;
    return passed;
}

/* The part of `file` up to its last '/', or "". */
static const char *directory_of(struct arena *arena, const char *file)
{
    const char *slash = strrchr(file, '/');
    return arena_text(arena, (struct bytes){file, slash ? (size_t)(slash - file) + 1 : 0});
}

static void default_node_name(struct conf *conf, struct arena *arena, struct problem_list *problems)
{
    char name[HOST_NAME_SIZE] = "";
    if (gethostname(name, sizeof name - 1) != 0 || !value_is_name(bytes_of(name))) {
        problem_add(
            problems, 0, 0,
            "the host name is no valid node name (1 to 64 letters, digits, `.`, `_`, `-`); set "
            "`node.name`");
        return;
    }
    conf->node_name = arena_text(arena, bytes_of(name));
}

static void read_conf(struct conf *conf, struct arena *arena, struct bytes text,
                      struct problem_list *problems)
{
    bool marked = false;
    if (!source_check(arena, &text, &marked, problems)) {
        return;
    }
    const struct yaml_node *root = yaml_tree_read(arena, text, marked, problems);
    if (!root) {
        return;
    }
    struct conf_reader reader = {.arena = arena,
                                 .problems = problems,
                                 .conf = conf,
                                 .directory = directory_of(arena, conf->file)};
    set_node_defaults(conf);
    set_list_defaults(conf, arena);
    if (conf_read_section(&reader, root_fields, "the configuration", root, conf) &&
        !yaml_tree_get(root, "node")) {
        default_node_name(conf, arena, problems);
    } else if (root->kind == YAML_MAPPING && !conf->node_name) {
        default_node_name(conf, arena, problems);
    }
}

struct conf *conf_parse(const char *file, const char *text, size_t size,
                        struct conf_problems *ret_problems)
{
    struct arena *arena = arena_new();
    struct conf *conf = arena_take(arena, sizeof *conf);
    struct problem_list *problems = problem_list_new(file);
    conf->arena = arena;
    conf->file = arena_text(arena, bytes_of(file));
    if (size > CONF_FILE_SIZE_MAX) {
        problem_add(problems, 0, 0, "larger than %d bytes", CONF_FILE_SIZE_MAX);
    } else {
        read_conf(conf, arena, (struct bytes){text, size}, problems);
    }
    if (problem_list_finish(problems, ret_problems) > 0) {
        arena_free(arena);
        return NULL;
    }
    return conf;
}

static struct conf *load(const char *path, enum source_kinds kinds,
                         struct conf_problems *ret_problems)
{
    char *text;
    size_t size;
    const char *reason;
    if (source_read(path, kinds, CONF_FILE_SIZE_MAX, &text, &size, &reason) != 0) {
        struct problem_list *problems = problem_list_new(path);
        problem_add(problems, 0, 0, "the configuration cannot be read: %s", reason);
        problem_list_finish(problems, ret_problems);
        return NULL;
    }
    struct conf *conf = conf_parse(path, text, size, ret_problems);
    explicit_bzero(text, size); /* it holds tokens */
    free(text);
    return conf;
}

struct conf *conf_load(const char *path, struct conf_problems *ret_problems)
{
    return load(path, SOURCE_FILES, ret_problems);
}

struct conf *conf_load_once(const char *path, struct conf_problems *ret_problems)
{
    return load(path, SOURCE_FILES_AND_PIPES, ret_problems);
}

void conf_free(struct conf *conf)
{
    if (conf) {
        conf_free(conf->shared);
        arena_free(conf->arena);
    }
}
