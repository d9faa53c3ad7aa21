/* peers: the cluster's callbacks only set flags; settle.c acts on them at the end of the turn. */
#include "control/peers.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/aead.h"
#include "base/clock.h"
#include "base/memory.h"
#include "control/counts.h"
#include "control/start.h"

enum {
    /* What a lone node may forget when it is killed: SPEC §5 grants a gossip interval, 200 ms on a
     * LAN. Nothing is written where nothing was counted. */
    SAVE_MS = 200,
    SAVE_AGAIN_MS = 1000, /* what could not be written */
    CLOCK_MS = 1000,      /* the cluster looks so often whether the wall clock was set */
    FAREWELLS = 3,        /* packets get lost; there is no time to space them out */
    /* Counts are taken so many times an exchange interval: each exchange tells what was counted
     * last, and what is lost with a node is what it served since its last one, and little more. */
    COUNTS_PER_INTERVAL = 4,
    COUNT_COST_MAX = 20, /* and so that counting takes no more than one twentieth of the time */
};

/* ---- problems ---- */

/* The same one again, or the oldest of its kind when there are enough of them, or a free one, or
 * the oldest of all. */
static struct control_problem *problem_slot(struct control *c, const char *kind, const char *detail)
{
    struct control_problem *oldest = &c->problems[0], *of_kind = NULL;
    size_t count = 0;
    for (size_t i = 0; i < CONTROL_PROBLEMS_MAX; i++) {
        struct control_problem *p = &c->problems[i];
        bool same_kind = strcmp(p->kind, kind) == 0;
        if (same_kind && strcmp(p->detail, detail) == 0) {
            return p;
        }
        count += same_kind;
        of_kind = same_kind && (!of_kind || p->at_ms < of_kind->at_ms) ? p : of_kind;
        oldest = p->at_ms < oldest->at_ms ? p : oldest; /* a free one has 0 */
    }
    return count >= CONTROL_PROBLEMS_OF_KIND ? of_kind : oldest;
}

static void problem_is_over(struct control *c, const char *kind)
{
    for (size_t i = 0; i < CONTROL_PROBLEMS_MAX; i++) {
        if (strcmp(c->problems[i].kind, kind) == 0) {
            c->problems[i] = (struct control_problem){0};
        }
    }
}

/* SPEC §8: what makes requests fail, or needs a person at once. */
static enum log_level problem_level(const char *kind)
{
    return strcmp(kind, "state_not_written") == 0 ? LOG_ERROR : LOG_WARNING;
}

/* Each is in the log once, as long as it goes on and says the same. */
void peers_note_problem(struct control *c, const char *kind, const char *detail)
{
    struct control_problem *slot = problem_slot(c, kind, detail);
    uint64_t now_ms = net_now_ms(&c->net);
    char known[CONTROL_DETAIL_SIZE];
    snprintf(known, sizeof(known), "%s", detail);
    bool goes_on = strcmp(slot->kind, kind) == 0 && strcmp(slot->detail, known) == 0 &&
                   now_ms - slot->at_ms < CONTROL_PROBLEM_SHOWN_MS;
    snprintf(slot->kind, sizeof(slot->kind), "%s", kind);
    memcpy(slot->detail, known, sizeof(known));
    slot->at_ms = now_ms;
    if (!goes_on) {
        struct log_field fields[] = {log_text("kind", kind), log_text("message", detail)};
        log_event(c->producer, problem_level(kind), "problem", fields, 2);
    }
}

/* ---- what the cluster says ---- */

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct control *c = owner;
    if (c->link) {
        link_send(c->link, to, packet);
    }
}

static void on_verdict_input(void *owner)
{
    struct control *c = owner;
    instances_note_news(&c->instances);
}

static void on_member(void *owner, const struct gossip_member *member, enum wire_state before)
{
    struct control *c = owner;
    char address[GOSSIP_ADDRESS_TEXT_SIZE];
    gossip_address_text(&member->address, address);
    struct log_field fields[] = {
        log_text("member", member->name),
        log_text("address", address),
        log_text("state", gossip_state_text(member->state)),
        log_text("was", gossip_state_text(before)),
        log_unsigned("generation", member->generation),
        log_unsigned("incarnation", member->incarnation),
    };
    bool bad = member->state == WIRE_SUSPECT || member->state == WIRE_DEAD;
    log_event(c->producer, bad ? LOG_WARNING : LOG_INFO, "member", fields, 6);
}

static void on_shared(void *owner, uint64_t revision, struct bytes text)
{
    struct control *c = owner;
    buffer_clear(&c->shared_text);
    buffer_append_bytes(&c->shared_text, text);
    c->shared_revision = revision;
    c->shared_waiting = true;
}

static void on_problem(void *owner, const char *kind, const char *detail)
{
    peers_note_problem(owner, kind, detail);
}

static void save_owner(struct control *c, bool at_once)
{
    struct buffer bytes = {0};
    buffer_append_bytes(&bytes, bytes_of(c->conf->node_name));
    store_write(c->store, STORE_OWNER, &bytes, at_once);
}

static void save_generation(struct control *c, uint64_t generation, bool at_once)
{
    struct buffer bytes = {0};
    c->generation = generation;
    cluster_save_generation(generation, c->sha, &bytes);
    store_write(c->store, STORE_GENERATION, &bytes, at_once);
}

static void on_generation(void *owner, uint64_t generation)
{
    struct control *c = owner;
    save_generation(c, generation, true);
    struct log_field fields[] = {log_unsigned("generation", generation)};
    log_event(c->producer, LOG_WARNING, "generation_raised", fields, 1);
}

static const struct cluster_events cluster_events = {
    .on_packet = on_packet,
    .on_verdict_input = on_verdict_input,
    .on_member = on_member,
    .on_shared = on_shared,
    .on_problem = on_problem,
    .on_generation = on_generation,
};

/* ---- files ---- */

static void on_written(void *owner, const char *reason)
{
    struct control *c = owner;
    c->save_again = reason != NULL;
    if (reason) {
        peers_note_problem(c, "state_not_written", reason);
    } else {
        problem_is_over(c, "state_not_written");
        log_event(c->producer, LOG_INFO, "state_written_again", NULL, 0);
    }
}

static const struct store_events store_events = {.on_written = on_written};

/* True if the file is there and was read. */
static bool read_file(struct control *c, enum store_file file, struct buffer *ret_bytes)
{
    const char *reason;
    if (store_read(c->store, file, ret_bytes, &reason)) {
        return true;
    }
    if (reason) {
        char detail[CONTROL_DETAIL_SIZE];
        snprintf(detail, sizeof(detail), "%s/%s cannot be read: %s", c->conf->state_dir,
                 store_file_name(file), reason);
        peers_note_problem(c, "state_damaged", detail);
    }
    return false;
}

static void set_aside(struct control *c, enum store_file file)
{
    char detail[CONTROL_DETAIL_SIZE];
    store_set_aside(c->store, file);
    snprintf(detail, sizeof(detail),
             "%s/%s is damaged: it was renamed to %s.damaged, and the node goes on without it",
             c->conf->state_dir, store_file_name(file), store_file_name(file));
    peers_note_problem(c, "state_damaged", detail);
}

/* A folder that another node wrote was copied, or both use it: they would share generations and
 * overwrite each other's files. Its counters are the cluster's, and stay of use. */
static void check_owner(struct control *c)
{
    struct buffer bytes = {0};
    struct bytes name = bytes_of(c->conf->node_name);
    bool known = read_file(c, STORE_OWNER, &bytes);
    if (known && !bytes_equal(buffer_bytes(&bytes), name)) {
        char detail[CONTROL_DETAIL_SIZE];
        snprintf(detail, sizeof(detail),
                 "%s was written by node %.*s, and this is %s: each node needs a node.state_dir of "
                 "its own; was it copied, or is the node renamed?",
                 c->conf->state_dir, (int)(bytes.size < 64 ? bytes.size : 64), bytes.data,
                 c->conf->node_name);
        peers_note_problem(c, "state_cloned", detail);
    }
    buffer_done(&bytes);
    save_owner(c, true);
}

static uint64_t next_generation(struct control *c)
{
    struct buffer bytes = {0};
    uint64_t stored = 0, now = clock_wall_ms();
    if (read_file(c, STORE_GENERATION, &bytes) &&
        !cluster_read_generation(c->sha, buffer_bytes(&bytes), &stored)) {
        set_aside(c, STORE_GENERATION);
        stored = 0;
    }
    buffer_done(&bytes);
    return stored >= now ? stored + 1 : now;
}

static void load_state(struct control *c)
{
    struct buffer bytes = {0};
    if (read_file(c, STORE_STATE, &bytes) &&
        !cluster_load_state(c->cluster, buffer_bytes(&bytes))) {
        set_aside(c, STORE_STATE);
    }
    buffer_done(&bytes);
}

void peers_save_shared(struct control *c)
{
    struct buffer bytes = {0};
    cluster_save_shared(c->cluster, &bytes);
    if (bytes.size > 0) { /* nothing is final yet: what was stored before is kept */
        store_write(c->store, STORE_SHARED, &bytes, false);
    }
}

static void save_state(struct control *c, bool at_once)
{
    uint64_t revision = cluster_state_revision(c->cluster);
    if (revision != c->saved_revision || at_once) {
        struct buffer bytes = {0};
        c->saved_revision = revision;
        cluster_save_state(c->cluster, &bytes);
        store_write(c->store, STORE_STATE, &bytes, at_once);
    }
}

/* What has changed; and all, while something could not be written: the disk may have room again. */
static void save_all(struct control *c)
{
    if (!c->save_again) {
        save_state(c, false);
        return;
    }
    c->saved_revision = 0; /* written again, whatever it is */
    save_owner(c, false);
    save_generation(c, c->generation, false);
    peers_save_shared(c);
    save_state(c, false);
}

/* ---- the shared configuration ---- */

void peers_refuse_shared(struct control *c, const struct conf_problems *problems)
{
    char reason[CONTROL_DETAIL_SIZE];
    const struct conf_problem *first = problems->count > 0 ? &problems->at[0] : NULL;
    snprintf(reason, sizeof(reason), "%s",
             first ? first->message : "it asks for what is not there");
    cluster_shared_refused(c->cluster, net_now_ms(&c->net), reason);
}

static bool put_shared(struct control *c, struct conf *conf, struct bytes text)
{
    struct conf_problems problems;
    bool good = conf_set_shared(conf, text.at, text.size, &problems);
    if (!good) {
        peers_refuse_shared(c, &problems);
    }
    conf_problems_free(&problems);
    return good;
}

void peers_tell_if_file_differs(struct control *c)
{
    char file_digest[2 * SHA256_SIZE + 1];
    sha256_hex(cluster_shared_file_digest(c->cluster), file_digest);
    if (strcmp(file_digest, c->config_digest) != 0) {
        struct log_field fields[] = {
            log_unsigned("config_revision", cluster_shared_revision(c->cluster)),
            log_text("message",
                     "the shared sections of this node's file are not in force, those of the "
                     "cluster are; to bring others, change the file on any node and reload there"),
        };
        log_event(c->producer, LOG_WARNING, "file_differs", fields, 2);
    }
}

static struct bytes canonical_of(const struct conf *conf)
{
    size_t size;
    char *text = conf_canonical(conf, &size);
    return (struct bytes){text, size};
}

static void canonical_done(struct bytes text)
{
    char *at = (char *)(uintptr_t)text.at;
    explicit_bzero(at, text.size);
    free(at);
}

static void start_shared(struct control *c)
{
    struct buffer bytes = {0};
    struct cluster_shared_file stored = {0};
    if (read_file(c, STORE_SHARED, &bytes) &&
        !cluster_read_shared(c->sha, buffer_bytes(&bytes), &stored)) {
        set_aside(c, STORE_SHARED);
        stored = (struct cluster_shared_file){0};
    }
    struct bytes file = canonical_of(c->conf), chosen;
    cluster_shared_start(c->cluster, net_now_ms(&c->net), file, &stored, &chosen);
    if (!bytes_equal(chosen, file)) {
        put_shared(c, c->conf, chosen);
    }
    canonical_done(file);
    if (bytes.data) {
        explicit_bzero(bytes.data, bytes.size);
    }
    buffer_done(&bytes);
    peers_save_shared(c);
}

void peers_join_anew(struct control *c)
{
    const struct conf_cluster *conf = &c->conf->cluster;
    if (c->link && c->conf->has_cluster) {
        link_set_join(c->link, c->lookups, conf->join, conf->join_count);
        gossip_set_keys(cluster_gossip(c->cluster), (const uint8_t(*)[SEAL_KEY_SIZE])conf->keys,
                        conf->key_count);
    }
}

/* ---- acting ---- */

static struct cluster_node row_of(const struct control *c)
{
    struct cluster_node node = {
        .version = DIFYRING_VERSION,
        .draining = control_is_draining(c),
        .vip_holder = c->vip_holder,
        .config_revision = adopt_revision(c),
    };
    memcpy(node.config_digest, c->config_digest, sizeof(node.config_digest));
    memcpy(node.ring_digest, c->instances.verdicts.digest.text, sizeof(node.ring_digest));
    return node;
}

/* A change, and every second for the clock: a step of it is told. */
static void tell_row(struct control *c)
{
    uint64_t now_ms = net_now_ms(&c->net);
    struct cluster_node node = row_of(c);
    if (cluster_node_says_the_same(&node, &c->told) && now_ms < c->told_ms + CLOCK_MS) {
        return;
    }
    c->told = node;
    c->told_ms = now_ms;
    node.active_connections = places_served(&c->places);
    node.wall_ms = clock_wall_ms();
    cluster_set_node(c->cluster, now_ms, &node);
}

void peers_tell(struct control *c)
{
    if (c->snapshot) {
        tell_row(c);
    }
    gossip_flush(cluster_gossip(c->cluster), net_now_ms(&c->net));
}

void peers_save(struct control *c)
{
    uint64_t now_ms = net_now_ms(&c->net);
    if (adopt_revision(c) != c->kept_revision && c->snapshot) {
        c->kept_revision = adopt_revision(c); /* a provisional one became final */
        peers_save_shared(c);
    }
    if (now_ms >= c->saved_ms + (c->save_again ? SAVE_AGAIN_MS : SAVE_MS)) {
        c->saved_ms = now_ms;
        save_all(c);
    }
}

void peers_arm(struct control *c)
{
    if (c->link) {
        link_arm(c->link);
    }
}

static uint64_t count_wait_ms(struct control *c, uint64_t cost_us)
{
    uint64_t interval_ms = cluster_count_interval_ms(c->cluster);
    uint64_t exchange_ms = gossip_interval_ms(cluster_gossip(c->cluster));
    if (interval_ms > exchange_ms) { /* many nodes, or many counters: each telling costs */
        return interval_ms;
    }
    uint64_t wait_ms = exchange_ms / COUNTS_PER_INTERVAL,
             least_ms = cost_us * COUNT_COST_MAX / 1000;
    return wait_ms > least_ms ? wait_ms : least_ms;
}

static void on_count(uv_timer_t *timer);

static bool count_some(struct slice *slice)
{
    struct control *c = LIST_ENTRY(slice, struct control, count_slice);
    uint64_t began_us = clock_monotonic_us();
    bool more = counts_publish_some(c, &c->count_cursor);
    c->count_cost_us += clock_monotonic_us() - began_us;
    if (more) {
        return true;
    }
    uv_timer_start(&c->count_timer, on_count, count_wait_ms(c, c->count_cost_us), 0);
    return false;
}

static void on_count(uv_timer_t *timer)
{
    struct control *c = timer->data;
    c->count_cursor = NULL;
    c->count_cost_us = 0;
    slices_start(&c->slices, &c->count_slice);
}

/* ---- opening and closing ---- */

static bool is_starting(const void *control)
{
    return ((const struct control *)control)->phase == CONTROL_STARTING;
}

/* False also if the node was told to stop meanwhile. */
static bool find_advertised(struct control *c, struct gossip_address *ret_address)
{
    const char *text = c->conf->cluster.advertise;
    *ret_address = (struct gossip_address){{0}, 0};
    if (!text) {
        return true;
    }
    int error = link_look_up(c->lookups, text, is_starting, c, ret_address);
    if (error && is_starting(c)) {
        fprintf(stderr,
                "%s: cluster.advertise: %s has no address; use one, such as 10.0.0.11:7946\n",
                c->file, text);
    }
    return !error;
}

static void new_cluster(struct control *c, const struct gossip_address *advertise)
{
    const struct conf *conf = c->conf;
    struct cluster_options options = {
        .gossip = {.cluster_name = bytes_of(conf->cluster.name),
                   .node_name = bytes_of(conf->node_name),
                   .generation = c->generation,
                   .keys = (const uint8_t(*)[SEAL_KEY_SIZE])conf->cluster.keys,
                   .key_count = conf->has_cluster ? conf->cluster.key_count : 0,
                   .advertise = *advertise,
                   .profile = conf->cluster.profile,
                   .seed = prng_next(&c->prng)},
        .events = &cluster_events,
        .owner = c,
        .sha = c->sha,
    };
    random_bytes(&options.gossip.session, sizeof(options.gossip.session));
    c->cluster = cluster_new(&options, net_now_ms(&c->net));
}

static int open_link(struct control *c)
{
    struct buffer reason = {0};
    c->link = link_open(&c->net, &c->conf->cluster, &reason);
    if (!c->link) {
        fprintf(stderr, "%s:%u:%u: %.*s\n", c->file, c->conf->cluster.line, c->conf->cluster.column,
                (int)reason.size, reason.data);
    }
    buffer_done(&reason);
    return c->link ? 0 : -1;
}

int peers_open(struct control *c)
{
    struct gossip_address advertise = {{0}, 0};
    if (c->conf->state_dir && start_state_dir(c->conf) != 0) {
        return -1;
    }
    c->store = store_new(&c->net, c->conf->state_dir, &store_events, c);
    check_owner(c);
    c->generation = next_generation(c);
    uv_timer_init(&c->net.uv, &c->count_timer);
    c->count_timer.data = c;
    c->count_slice.step = count_some;
    if (c->conf->has_cluster && (!find_advertised(c, &advertise) || open_link(c) != 0)) {
        return -1;
    }
    new_cluster(c, &advertise);
    save_generation(c, c->generation, true);
    load_state(c);
    start_shared(c);
    if (c->link) {
        link_attach(c->link, c->cluster);
        link_set_join(c->link, c->lookups, c->conf->cluster.join, c->conf->cluster.join_count);
    }
    uv_timer_start(&c->count_timer, on_count, cluster_count_interval_ms(c->cluster), 0);
    return 0;
}

void peers_close(struct control *c)
{
    if (c->cluster) {
        counts_publish(c);
        for (unsigned i = 0; i < FAREWELLS; i++) {
            gossip_leave(cluster_gossip(c->cluster), net_now_ms(&c->net));
        }
        save_state(c, true);
    }
    if (c->link) {
        link_close(c->link);
        c->link = NULL;
    }
    if (c->store) {
        uv_close((uv_handle_t *)&c->count_timer, NULL);
        store_close(c->store);
        c->store = NULL;
    }
}

void peers_free(struct control *c)
{
    cluster_free(c->cluster);
    if (c->shared_text.data) {
        explicit_bzero(c->shared_text.data, c->shared_text.size);
    }
    buffer_done(&c->shared_text);
}
