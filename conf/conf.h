/* conf: a configuration file as plain structs (SPEC §2).
 *
 * conf_load() reads YAML, checks everything, and reports every problem of the file with its line
 * and column. What comes out is complete: every default is filled in, every per-application
 * override is resolved, every `${NAME}` replaced, every duration in milliseconds and every size in
 * bytes. Nobody but conf/, node/control/ and node/cli/ includes this header: the others get what
 * they need from control, in their own structs.
 *
 * Ownership: everything hangs on one arena that conf_free() gives back in one go. Strings are
 * NUL-terminated and never contain NUL. Secrets (tokens, keys) are in here and nowhere printed.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cidr.h"
#include "exchange/client_gone.h"
#include "gossip/gossip.h"
#include "log/log.h"
#include "quota/shard.h"
#include "route/algorithm.h"
#include "user/user_source.h"

/* The schema's own maxima (SPEC §2 gives the defaults; these bound a hostile or mistaken file). */
enum {
    CONF_APPLICATIONS_MAX = 256,
    CONF_INSTANCES_MAX = 256, /* per application */
    CONF_TOKENS_MAX = 65536,  /* per application; some give each of their users one */
    CONF_WEIGHT_MAX = 1000,
    CONF_VIRTUAL_NODES_MAX = 4096,
    CONF_WORKERS_MAX = 256,
    CONF_ATTEMPTS_MAX = 16,
    CONF_RING_POINTS_MAX = 1 << 22,   /* per application: sum of weights x virtual_nodes; 64 MiB */
    CONF_QUOTAS_MAX = QUOTA_ASKS_MAX, /* per application */
    CONF_PROBLEMS_MAX = 100,          /* further problems of a file are counted, not listed */
    CONF_FILE_SIZE_MAX = 16 * 1024 * 1024, /* four such applications, a token a line */
};

/* Of a quota: what one of its cells holds. */
#define CONF_QUOTA_AMOUNT_MAX QUOTA_AMOUNT_MAX

/* One problem of a file. `line` and `column` count from 1; 0 = the file as a whole. */
struct conf_problem {
    const char *file;
    unsigned line, column;
    const char *message; /* what is wrong and what to do; never contains a secret's value */
};

struct conf_problems {
    struct conf_problem *at; /* sorted by line, column */
    size_t count;
    size_t unlisted; /* how many more there were beyond CONF_PROBLEMS_MAX */
};

struct conf_certificate {
    const char *certificate, *key; /* paths */
    unsigned line, column;
};

struct conf_listen {
    const char *address; /* as written */
    const char *host;    /* without brackets, numeric */
    uint16_t port;       /* 0 = the kernel picks (tests) */
    struct conf_certificate *tls;
    size_t tls_count;      /* 0 = plain */
    bool tls_1_3;          /* tls_min: "1.3" */
    const char *client_ca; /* a path; NULL = clients need no certificate */
    unsigned client_ca_line, client_ca_column;
    bool proxy_protocol;
    unsigned line, column;
};

struct conf_limits {
    uint32_t connections; /* per node */
    uint32_t header_size, uri_size;
    uint32_t headers;
    uint32_t body_rate; /* bytes a second; 0 = any */
    uint64_t json_inspect, body_size, spool_memory, spool_memory_all;
    uint32_t placements; /* ids whose instance is remembered */
    const char *spool_dir;
    unsigned line, column; /* of the section */
};

struct conf_timeouts { /* milliseconds */
    uint64_t request_head_ms, request_body_ms, keepalive_ms, connect_ms, first_byte_ms,
        first_event_ms, idle_ms, drain_ms; /* first_event 0 = never */
    unsigned line, column;                 /* of the section */
};

struct conf_log {
    enum log_target access;
    const char *access_path; /* with LOG_FILE */
    enum log_target error;
    const char *error_path; /* the same */
    enum log_level level;
    const char **skip; /* paths of local endpoints */
    size_t skip_count;
    unsigned line, column; /* of the section */
};

struct conf_admin {
    struct cidr *allow;
    size_t allow_count;
    const char *token; /* "" = none */
    struct cidr *view_allow;
    size_t view_allow_count;
    const char *view_token;     /* "" = none */
    struct conf_listen *listen; /* addresses alone; where there are any, the others serve clients */
    size_t listen_count;
    unsigned line, column; /* of the section */
};

struct conf_cors {
    const char **origins; /* scheme://host[:port], null or * */
    size_t count;
};

struct conf_cluster {
    const char *name;
    const char *bind_host;
    uint16_t bind_port;
    const char *advertise; /* NULL = default */
    const char **join;
    size_t join_count;
    uint8_t (*keys)[32];
    size_t key_count;
    const char *key_file; /* NULL = the keys stand in the configuration */
    enum gossip_profile profile;
    uint64_t reap_ms, reap_left_ms;
    unsigned line, column; /* of the section */
};

struct conf_vip {
    const char *address; /* without the prefix */
    unsigned prefix;
    const char *interface;
    unsigned router_id, priority;
    uint64_t advert_interval_ms;
    const char **peers;
    size_t peer_count;
    const char *track_file;
    unsigned line, column; /* of the section */
};

struct conf_status_range {
    uint16_t first, last; /* inclusive */
};

struct conf_health_check {
    bool enabled;
    bool token; /* checks carry the instance's token */
    const char *path;
    uint64_t interval_ms, timeout_ms, busy_timeout_ms;
    uint32_t healthy_threshold, unhealthy_threshold;
    struct conf_status_range *expect; /* as given; see conf_check_expect() */
    size_t expect_count;              /* 0 = not given */
    uint16_t *failure_statuses;
    size_t failure_status_count;
    unsigned line, column; /* of the section */
};

struct conf_retries {
    uint32_t attempts; /* in all, >= 1 */
    uint64_t timeout_ms;
    uint16_t *statuses;
    size_t status_count;
};

struct conf_user_source {
    enum user_source_kind kind;
    const char *name; /* header, query field, cookie, JSON key, form field */
};

struct conf_user_id {
    struct conf_user_source *sources;
    size_t source_count;
    bool reject_missing; /* missing: reject */
};

struct conf_instance_tls {
    bool enabled;
    bool verify;
    const char *ca;                /* NULL = the system's */
    const char *server_name;       /* NULL = the host */
    const char *certificate, *key; /* NULL = none is shown */
};

struct conf_instance {
    const char *name, *host;
    uint16_t port;
    struct conf_instance_tls tls;
    const char *token;
    uint32_t weight;
    uint32_t max_fails; /* 0 = never ejected by failures */
    uint64_t fail_timeout_ms;
    uint32_t max_in_flight; /* 0 = no limit */
    unsigned line, column;
};

struct conf_queue {
    uint32_t size;
    uint64_t timeout_ms;
    unsigned line, column;
};

/* Of the amounts one is given; the others, and every_ms with `concurrent`, are 0. */
struct conf_quota {
    enum quota_per per;
    uint32_t requests, tokens, concurrent;
    uint64_t every_ms;
    bool requests_given, tokens_given, concurrent_given, every_ms_given;
    bool shadow;
    unsigned line, column;
};

/* What the instances of an application know of each other's conversations. */
enum conf_state { CONF_STATE_AUTO, CONF_STATE_SHARED, CONF_STATE_SEPARATE };

struct conf_application {
    const char *name;
    const char **user_tokens;
    size_t user_token_count;
    enum algorithm algorithm;
    bool fail_when_all_down; /* all_down: fail */
    enum conf_state state;   /* as written: see conf_is_separate() */
    enum client_gone client_gone;
    bool queue_set; /* the file has a queue section */
    struct conf_queue queue;
    struct conf_instance *instances;
    size_t instance_count;
    /* the shared sections with this application's overrides applied key by key */
    struct conf_health_check health_check;
    struct conf_retries retries;
    struct conf_user_id user_id;
    struct conf_quota *quotas;
    size_t quota_count;
    unsigned line, column;
};

/* What a change of a key takes. */
enum conf_effect {
    CONF_LIVE = 1, /* a reload */
    CONF_RESTART,  /* a restart */
    CONF_SHARED,   /* a reload, of any node of the cluster: all of them take it */
    CONF_TOOL,     /* the next `difyring vrrp-config` */
};

struct conf {
    const char *file;
    const char *node_name;
    const char *state_dir; /* NULL = none */
    unsigned state_dir_line, state_dir_column;
    struct conf_listen *listen;
    size_t listen_count;
    struct cidr *trusted_proxies;
    size_t trusted_proxy_count;
    uint32_t workers; /* 0 = auto */
    struct conf_limits limits;
    struct conf_timeouts timeouts;
    struct conf_log log;
    struct conf_admin admin;
    struct conf_cors cors;
    bool has_cluster, has_vip;
    struct conf_cluster cluster;
    struct conf_vip vip;
    struct conf_health_check health_check;
    struct conf_retries retries;
    struct conf_user_id user_id;
    uint32_t virtual_nodes;
    bool debug_headers;
    struct conf_application *applications; /* in byte order of name */
    size_t application_count;
    void *arena;
    struct conf *shared; /* whose sections stand in the shared part; NULL = the file's own */
};

/* The doors of a node: those of `listen`, and behind them those of `admin.listen`. */
static inline size_t conf_door_count(const struct conf *conf)
{
    return conf->listen_count + conf->admin.listen_count;
}

static inline bool conf_door_is_admin(const struct conf *conf, size_t door)
{
    return door >= conf->listen_count;
}

static inline const struct conf_listen *conf_door(const struct conf *conf, size_t door)
{
    return conf_door_is_admin(conf, door) ? &conf->admin.listen[door - conf->listen_count]
                                          : &conf->listen[door];
}

struct conf_field; /* conf/read/reader.h */

/* Reads and checks `path`.
 * Returns the configuration, or NULL when there is any problem. `*ret_problems` is always set
 * (count 0 on success), holds every problem found, and is given back with conf_problems_free().
 * The environment is read (`${NAME}`, the default node name); files named by the configuration
 * (certificates, key_file) are read only as far as validation needs. */
struct conf *conf_load(const char *path, struct conf_problems *ret_problems);

/* The same for a command that reads once: `path` may also be a pipe, such as /dev/stdin; then it
 * waits for the pipe's end. */
struct conf *conf_load_once(const char *path, struct conf_problems *ret_problems);

/* The same from memory; `file` is the name used in problems. For tests and fuzzing. */
struct conf *conf_parse(const char *file, const char *text, size_t size,
                        struct conf_problems *ret_problems);

void conf_free(struct conf *conf);
void conf_problems_free(struct conf_problems *problems);

/* What is valid but this build cannot do: one problem for each place, so that a node refuses to
 * start rather than silently ignoring it. Returns the number of problems. */
size_t conf_unsupported(const struct conf *conf, struct conf_problems *ret_problems);

/* What works but is unwise (tokens of a few characters), or has no effect yet (spooling): for
 * warnings, as above. */
size_t conf_weak(const struct conf *conf, struct conf_problems *ret_problems);

/* Has each of its instances a state of its own? `auto`: if they have different tokens, which Dify
 * draws at random. */
bool conf_is_separate(const struct conf_application *application);

/* What is neither wrong nor unwise, but decided: what `state: auto` comes to,
 * that there is no state_dir, what a short interval of checks means. As above. */
size_t conf_notes(const struct conf *conf, struct conf_problems *ret_problems);

/* Checks of an instance with this token carry no token: by `token: false`, or since Dify knows the
 * keys of datasets on other routes only. */
bool conf_check_is_bare(const struct conf_health_check *check, const char *token);

/* The statuses of a passed check, with or without a token. */
const struct conf_status_range *conf_check_expect(const struct conf_health_check *check, bool bare,
                                                  size_t *ret_count);

enum conf_change_kind { CONF_CHANGED, CONF_ADDED, CONF_REMOVED };

/* What differs between two configurations. */
struct conf_change {
    enum conf_change_kind kind;
    enum conf_effect effect;
    const char *section; /* the first word of `path`; a literal */
    const char *path;    /* `applications.a.instances.i.weight`; for the call only */
    bool takes_back;     /* `after` has what the base has, and `before` another value by now */
    /* of a value that is another one: its row, and the structs that it stands in; else NULL */
    const struct conf_field *field;
    const char *before, *after;
};

/* Calls `visit` for every key with another value; of an application or an instance that the other
 * has not, once for all of it. What an application only inherits is told where it stands. `base`
 * (what `after` was made from; NULL: nothing takes back) concerns shared sections alone. */
void conf_changes(const struct conf *before, const struct conf *after, const struct conf *base,
                  void (*visit)(void *arg, const struct conf_change *change), void *arg);

/* The JSON Schema of a configuration file (draft 2020-12), for editors. */
void conf_print_schema(FILE *out);

/* The canonical form of the shared part (health_check, retries, consistent_hash, user_id,
 * debug_headers, applications): equal content gives equal bytes whatever the file's layout.
 * Contains secrets. The caller frees the text with free(). */
char *conf_canonical(const struct conf *conf, size_t *ret_size);

/* The same for people: secrets are "<hidden>" unless asked for, durations have the largest unit,
 * and what an application only inherits is left out. As a part of a file it gives the same. */
#define CONF_HIDDEN "<hidden>"
char *conf_show(const struct conf *conf, bool secrets, size_t *ret_size);

/* Puts the shared part that `text` (of conf_canonical(), perhaps another node's) holds in the place
 * of `conf`'s, whose other sections stay. What stood there before is freed: nobody may hold on to
 * it. False, with the problems, and nothing changes, when the text is not valid here.
 * `ret_problems` is given back with conf_problems_free() in any case. */
bool conf_set_shared(struct conf *conf, const char *text, size_t size,
                     struct conf_problems *ret_problems);

/* The two halves of it, for who must not wait for the first: reading `text` (any thread; `file` is
 * conf->file), and putting in what it gave. The second returns what stood there before, or NULL,
 * for conf_free(). */
struct conf *conf_parse_shared(const char *file, const char *text, size_t size,
                               struct conf_problems *ret_problems);
struct conf *conf_take_shared(struct conf *conf, struct conf *shared);

#endif
