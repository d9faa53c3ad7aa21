/* build: copies what requests need out of the configuration, and builds the rings. */
#include "assembly/build.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/random.h>

#include "assembly/instance_tls.h"
#include "base/memory.h"
#include "snapshot/request_quotas.h"

enum { KEY_SIZE = 32 /* of a cluster; conf.h */ };

/* The application's ring as it was, if there is one of that name in `before`. */
static struct ring *find_ring(const struct snapshot *before, const char *name)
{
    for (size_t a = 0; before && a < before->application_count; a++) {
        if (bytes_equal(before->applications[a].name, bytes_of(name))) {
            return before->applications[a].ring;
        }
    }
    return NULL;
}

/* Building it is most of the work of a reload, and a reload seldom changes one. */
static struct ring *build_ring(const struct conf_application *app, uint32_t virtual_nodes,
                               struct sha256 *sha, const struct snapshot *before)
{
    struct ring_member members[CONF_INSTANCES_MAX];
    size_t count = app->instance_count;
    assert(count <= CONF_INSTANCES_MAX);
    for (size_t i = 0; i < count; i++) {
        members[i] =
            (struct ring_member){bytes_of(app->instances[i].name), app->instances[i].weight};
    }
    struct ring *old = find_ring(before, app->name);
    return old && ring_is_of(old, members, count, virtual_nodes)
               ? ring_ref(old)
               : ring_new(sha, members, count, virtual_nodes);
}

static struct bytes copy(struct arena *arena, const char *text)
{
    return bytes_of(arena_text(arena, bytes_of(text)));
}

static struct status_set status_set_of(const uint16_t *statuses, size_t count)
{
    struct status_set set = {{0}};
    for (size_t i = 0; i < count; i++) {
        status_set_add(&set, statuses[i]);
    }
    return set;
}

static struct user_plan plan_of(struct arena *arena, const struct conf_user_id *conf,
                                uint64_t json_inspect)
{
    struct user_source *sources = arena_array(arena, conf->source_count, sizeof(*sources));
    for (size_t i = 0; i < conf->source_count; i++) {
        sources[i].kind = conf->sources[i].kind;
        sources[i].name = copy(arena, conf->sources[i].name);
    }
    return (struct user_plan){sources, conf->source_count, json_inspect};
}

static void build_instances(struct arena *arena, struct snapshot_application *to,
                            const struct conf_application *from)
{
    to->instance_count = from->instance_count;
    to->instances = arena_array(arena, from->instance_count, sizeof(*to->instances));
    to->weights = arena_array(arena, from->instance_count, sizeof(*to->weights));
    for (size_t i = 0; i < from->instance_count; i++) {
        const struct conf_instance *c = &from->instances[i];
        size_t size = strlen("Bearer ") + strlen(c->token) + 1;
        char *authorization = arena_take(arena, size);
        snprintf(authorization, size, "Bearer %s", c->token);
        to->weights[i] = c->weight;
        to->instances[i] = (struct snapshot_instance){
            .name = copy(arena, c->name),
            .host = copy(arena, c->host),
            .port = c->port,
            .authorization = bytes_of(authorization),
            .weight = c->weight,
        };
    }
}

/* A limit is one for all entries of a host and port, of any application. */
static bool has_limits(const struct conf *conf)
{
    bool limited = false;
    for (size_t a = 0; a < conf->application_count; a++) {
        const struct conf_application *app = &conf->applications[a];
        for (size_t i = 0; i < app->instance_count; i++) {
            limited = limited || app->instances[i].max_in_flight > 0;
        }
    }
    return limited;
}

static void build_application(struct snapshot *s, struct snapshot_application *to,
                              const struct conf_application *from, const struct conf *conf)
{
    const struct conf_health_check *check = &from->health_check;
    to->name = copy(s->arena, from->name);
    to->of_ids = placement_application(to->name);
    to->algorithm = from->algorithm;
    to->fail_when_all_down = from->fail_when_all_down;
    to->reject_missing_user = from->user_id.reject_missing;
    to->user_plan = plan_of(s->arena, &from->user_id, conf->limits.json_inspect);
    to->failure_statuses = status_set_of(check->failure_statuses, check->failure_status_count);
    to->retry_statuses = status_set_of(from->retries.statuses, from->retries.status_count);
    to->separate = from->instance_count > 1 && conf_is_separate(from);
    to->client_gone = from->client_gone;
    to->question_ms = check->timeout_ms;
    to->queue_size = from->queue.size;
    to->queue_timeout_ms = from->queue.timeout_ms;
    to->attempts = from->retries.attempts;
    to->retry_timeout_ms = from->retries.timeout_ms;
    to->turn = arena_take(s->arena, sizeof(*to->turn));
    pthread_mutex_init(&to->turn_lock, NULL);
    build_instances(s->arena, to, from);
}

/* Names a quota: the same on all nodes, and over reloads as long as none of these changes. */
static void name_quota(struct snapshot_quota *q, const char *app, struct bytes secret,
                       struct sha256 *sha)
{
    char what[64];
    uint8_t digest[SHA256_SIZE];
    snprintf(what, sizeof(what), "%s %s %llu", quota_per_words[q->per],
             quota_kind_words[q->terms.kind], (unsigned long long)q->terms.window_ms);
    const struct bytes parts[] = {
        BYTES("difyring quota\n"), bytes_of(app), BYTES("\n"), bytes_of(what), BYTES("\n"), secret};
    q->id = sha256_prefix(sha, parts, 4);
    sha256_digest(sha, parts, sizeof(parts) / sizeof(parts[0]), digest);
    memcpy(q->key, digest, sizeof(q->key));
    q->only = siphash(q->key, BYTES(""));
    explicit_bzero(digest, sizeof(digest));
}

static void build_quotas(struct snapshot *s, struct snapshot_application *to,
                         const struct conf_application *from, struct bytes secret,
                         struct sha256 *sha)
{
    to->quotas = arena_array(s->arena, from->quota_count, sizeof(*to->quotas));
    for (; to->quota_count < from->quota_count; to->quota_count++) {
        const struct conf_quota *c = &from->quotas[to->quota_count];
        struct snapshot_quota *q = &to->quotas[to->quota_count];
        *q = (struct snapshot_quota){
            .per = c->per,
            .terms = {.window_ms = c->every_ms,
                      .limit = c->requests + c->tokens + c->concurrent, /* one of them */
                      .kind = c->requests_given ? QUOTA_REQUESTS
                              : c->tokens_given ? QUOTA_TOKENS
                                                : QUOTA_CONCURRENT,
                      .shadow = c->shadow},
        };
        request_quotas_write_limit(q);
        name_quota(q, from->name, secret, sha);
        bool tokens = q->terms.kind == QUOTA_TOKENS;
        if (tokens && to->client_gone == CLIENT_GONE_ABORT) {
            to->client_gone = CLIENT_GONE_FINISH; /* so that its usage counts (SPEC §3) */
        }
        to->quotas_ask_user = to->quotas_ask_user || q->per == QUOTA_USER;
        to->quotas_ask_token = to->quotas_ask_token || q->per == QUOTA_TOKEN;
        to->quotas_ask_class = to->quotas_ask_class || q->terms.kind == QUOTA_CONCURRENT;
        to->quotas_count_tokens = to->quotas_count_tokens || tokens;
        to->quotas_come_again = to->quotas_count_tokens || to->quotas_ask_class;
        to->quotas_leave_marks = to->quotas_leave_marks || to->quotas_ask_class || c->shadow;
    }
}

static struct token_table *build_tokens(const struct conf *conf, struct sha256 *sha)
{
    size_t count = 0, at = 0;
    for (size_t a = 0; a < conf->application_count; a++) {
        count += conf->applications[a].user_token_count;
    }
    struct arena *arena = arena_new();
    struct token_entry *entries = arena_array(arena, count, sizeof(*entries));
    for (size_t a = 0; a < conf->application_count; a++) {
        const struct conf_application *app = &conf->applications[a];
        for (size_t t = 0; t < app->user_token_count; t++) {
            entries[at++] = (struct token_entry){bytes_of(app->user_tokens[t]), (uint32_t)a};
        }
    }
    uint8_t key[TOKEN_TABLE_KEY];
    /* the kernel's own: OpenSSL would keep a generator for this thread of the pool, which ends
     * without giving it back */
    ssize_t random = getrandom(key, sizeof(key), 0);
    assert(random == (ssize_t)sizeof(key)); /* so few bytes are never cut short (getrandom(2)) */
    struct token_table *table = token_table_new(entries, count, key, sha);
    explicit_bzero(key, sizeof(key));
    arena_free(arena);
    return table;
}

static struct cors_policy build_cors(struct arena *arena, const struct conf_cors *conf)
{
    struct bytes *origins = arena_array(arena, conf->count, sizeof(*origins));
    struct cors_policy cors = {.origins = origins};
    for (size_t i = 0; i < conf->count; i++) {
        if (strcmp(conf->origins[i], "*") == 0) {
            cors.any = true;
        } else {
            origins[cors.count++] = copy(arena, conf->origins[i]);
        }
    }
    return cors;
}

/* In the order in which they are looked up. */
static struct cidr *copy_blocks(struct arena *arena, const struct cidr *blocks, size_t count,
                                size_t *ret_count)
{
    struct cidr *copied = arena_array(arena, count, sizeof(*copied));
    for (size_t i = 0; i < count; i++) {
        copied[i] = blocks[i];
    }
    *ret_count = cidr_list_sort(copied, count);
    return copied;
}

static void build_limits(struct snapshot *s, const struct conf *conf)
{
    const struct conf_timeouts *t = &conf->timeouts;
    s->limits = (struct http_limits){
        .header_size = conf->limits.header_size,
        .headers = conf->limits.headers,
        .uri_size = conf->limits.uri_size,
    };
    s->body_size_max = conf->limits.body_size;
    s->body_rate = conf->limits.body_rate;
    s->spool_memory = conf->limits.spool_memory;
    s->spool_memory_all = conf->limits.spool_memory_all;
    s->spool_dir = copy(s->arena, conf->limits.spool_dir).at;
    s->connections_max = conf->limits.connections;
    s->timeouts = (struct snapshot_timeouts){
        .request_head_ms = t->request_head_ms,
        .request_body_ms = t->request_body_ms,
        .keepalive_ms = t->keepalive_ms,
        .connect_ms = t->connect_ms,
        .first_byte_ms = t->first_byte_ms,
        .first_event_ms = t->first_event_ms,
        .idle_ms = t->idle_ms,
    };
    s->admin_allow =
        copy_blocks(s->arena, conf->admin.allow, conf->admin.allow_count, &s->admin_allow_count);
    s->trusted =
        copy_blocks(s->arena, conf->trusted_proxies, conf->trusted_proxy_count, &s->trusted_count);
    s->admin_token = copy(s->arena, conf->admin.token);
    s->view_allow = copy_blocks(s->arena, conf->admin.view_allow, conf->admin.view_allow_count,
                                &s->view_allow_count);
    s->view_token = copy(s->arena, conf->admin.view_token);
    s->debug_headers = conf->debug_headers;
    s->cors = build_cors(s->arena, &conf->cors);
    s->unlogged = arena_array(s->arena, conf->log.skip_count, sizeof(*s->unlogged));
    for (; s->unlogged_count < conf->log.skip_count; s->unlogged_count++) {
        s->unlogged[s->unlogged_count] = copy(s->arena, conf->log.skip[s->unlogged_count]);
    }
}

/* As it is written in files: that is what can get into a request. */
static struct bytes key_text(struct arena *arena, const uint8_t key[KEY_SIZE])
{
    enum { TEXT_SIZE = (KEY_SIZE + 2) / 3 * 4 };
    char *text = arena_take(arena, TEXT_SIZE + 1);
    int size = EVP_EncodeBlock((unsigned char *)text, key, KEY_SIZE);
    assert(size == TEXT_SIZE);
    return (struct bytes){text, (size_t)size};
}

/* Every token and key. */
static struct redactor *build_secrets(const struct conf *conf, const struct redactor *before)
{
    size_t count = 2 + conf->cluster.key_count, at = 0;
    for (size_t a = 0; a < conf->application_count; a++) {
        count += conf->applications[a].user_token_count + conf->applications[a].instance_count;
    }
    struct arena *arena = arena_new();
    struct bytes *texts = arena_array(arena, count, sizeof(*texts));
    for (size_t a = 0; a < conf->application_count; a++) {
        const struct conf_application *app = &conf->applications[a];
        for (size_t t = 0; t < app->user_token_count; t++) {
            texts[at++] = bytes_of(app->user_tokens[t]);
        }
        for (size_t i = 0; i < app->instance_count; i++) {
            texts[at++] = bytes_of(app->instances[i].token);
        }
    }
    for (size_t k = 0; k < conf->cluster.key_count; k++) {
        texts[at++] = key_text(arena, conf->cluster.keys[k]);
    }
    texts[at++] = bytes_of(conf->admin.token);
    texts[at++] = bytes_of(conf->admin.view_token);
    struct redactor *secrets = redactor_new(texts, at, before);
    arena_free(arena);
    return secrets;
}

/* By what nodes tell each other of a file: nobody without the cluster's keys can say which. */
static void build_file_keys(struct snapshot *s, const struct conf *conf, struct sha256 *sha)
{
    size_t count = conf->has_cluster ? conf->cluster.key_count : 0;
    uint8_t digest[SHA256_SIZE];
    count = count < PLACEMENT_FILE_KEYS_MAX ? count : PLACEMENT_FILE_KEYS_MAX;
    s->file_keys.at = arena_array(s->arena, count, sizeof(*s->file_keys.at));
    for (; s->file_keys.count < count; s->file_keys.count++) {
        const uint8_t *key = conf->cluster.keys[s->file_keys.count];
        const struct bytes parts[] = {BYTES("difyring files\n"),
                                      {(const char *)key, SEAL_KEY_SIZE}};
        sha256_digest(sha, parts, 2, digest);
        memcpy(s->file_keys.at[s->file_keys.count], digest, SIPHASH_KEY_SIZE);
    }
    explicit_bzero(digest, sizeof(digest));
}

struct snapshot *build_snapshot(const struct conf *conf, const struct snapshot *before,
                                const uint8_t secret[QUOTAS_SECRET_SIZE],
                                const _Atomic bool *cancelled)
{
    /* All nodes of a cluster have the key that they send with. */
    const uint8_t *own = conf->has_cluster ? conf->cluster.keys[0] : secret;
    const struct bytes hashed_with = {(const char *)own, QUOTAS_SECRET_SIZE};
    struct arena *arena = arena_new();
    struct sha256 *sha = sha256_new();
    struct snapshot *s = arena_take(arena, sizeof(*s));
    atomic_init(&s->references, 1);
    s->arena = arena;
    s->node_name = copy(arena, conf->node_name);
    s->applications = arena_array(arena, conf->application_count, sizeof(*s->applications));
    build_limits(s, conf);
    bool limited = has_limits(conf);
    for (size_t a = 0; a < conf->application_count && !atomic_load(cancelled); a++) {
        build_application(s, &s->applications[a], &conf->applications[a], conf);
        build_quotas(s, &s->applications[a], &conf->applications[a], hashed_with, sha);
        s->applications[a].ring =
            build_ring(&conf->applications[a], conf->virtual_nodes, sha, before);
        s->applications[a].limited = limited;
        s->application_count++;
    }
    build_file_keys(s, conf, sha);
    instance_tls_build(s, conf);
    s->tokens = build_tokens(conf, sha);
    s->secrets = build_secrets(conf, before ? before->secrets : NULL);
    sha256_free(sha);
    return s;
}

void build_bind(struct snapshot_application *app, const struct tracked_application *known,
                struct quotas *quotas)
{
    for (size_t i = 0; i < app->quota_count; i++) {
        quotas_bind(quotas, &app->quotas[i]);
    }
    for (size_t i = 0; i < app->instance_count; i++) {
        struct instance_live *live = known->next[i]->live;
        assert(bytes_equal(bytes_of(live->name), app->instances[i].name));
        app->instances[i].live = instance_live_ref(live);
        if (live->tls_name) {
            instance_live_set_tls(live, app->instances[i].tls);
        }
    }
    app->live = application_live_ref(known->live);
}
