/* membership: opens and closes the parts, in the order that the cluster needs; and the cluster's
 * callbacks, which only set marks.
 *
 *   kept (whose folder, generation) -> udp (an address to tell) -> cluster -> kept (counters)
 *   -> shared_config (which one to begin with) -> joins, counting */
#include "member/membership.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/aead.h"

enum { FAREWELLS = 3 /* packets get lost; there is no time to space them out */ };

/* ---- what the cluster says ---- */

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct membership *m = owner;
    if (m->udp) {
        udp_send(m->udp, to, packet);
    }
}

static void on_verdict_input(void *owner)
{
    struct membership *m = owner;
    m->events->news(m->owner);
}

static void on_member(void *owner, const struct gossip_member *member, enum wire_state before)
{
    struct membership *m = owner;
    char address[GOSSIP_ADDRESS_TEXT_SIZE];
    gossip_address_text(&member->address, address);
    struct log_field fields[] = {
        log_text("member", member->name),
        log_text("address", address),
        log_text("state", gossip_state_text(member->state)),
        log_text("was", member->is_new ? "unknown" : gossip_state_text(before)),
        log_unsigned("generation", member->generation),
        log_unsigned("incarnation", member->incarnation),
    };
    if (before == WIRE_SUSPECT && member->state == WIRE_ALIVE) {
        quotas_tell_all(m->quotas); /* it may have missed some */
    }
    bool bad = member->state == WIRE_SUSPECT || member->state == WIRE_DEAD;
    log_event(m->log, bad ? LOG_WARNING : LOG_INFO, "member", fields, 6);
}

static void on_forgotten(void *owner, const char *name)
{
    struct membership *m = owner;
    struct log_field fields[] = {log_text("member", name)};
    log_event_always(m->log, LOG_INFO, "member_forgotten", fields, 1);
}

static void on_shared(void *owner, uint64_t revision, struct bytes text)
{
    struct membership *m = owner;
    (void)revision; /* the cluster knows which one is answered */
    shared_config_brought(m, text);
}

static void on_problem(void *owner, const char *kind, const char *subject, const char *detail)
{
    struct membership *m = owner;
    enum problem_id id = problem_id_of(kind);
    assert((unsigned)id < PROBLEM_KINDS);
    problems_note(&m->problems, id, subject, detail);
}

static void on_quota(void *owner, const struct cluster_quota_news *news)
{
    struct membership *m = owner;
    quotas_take(m->quotas, news, net_now_ms(m->net));
}

static void on_upload(void *owner, uint64_t file, uint64_t place)
{
    struct membership *m = owner;
    m->events->upload(m->owner, file, place);
}

static void on_generation(void *owner, uint64_t generation)
{
    struct membership *m = owner;
    kept_generation(m, generation);
    struct log_field fields[] = {log_unsigned("generation", generation)};
    log_event(m->log, LOG_WARNING, "generation_raised", fields, 1);
}

static const struct cluster_events cluster_events = {
    .on_packet = on_packet,
    .on_verdict_input = on_verdict_input,
    .on_member = on_member,
    .on_shared = on_shared,
    .on_forgotten = on_forgotten,
    .on_problem = on_problem,
    .on_quota = on_quota,
    .on_upload = on_upload,
    .on_generation = on_generation,
};

/* ---- the end of a turn ---- */

void membership_tell(struct membership *m)
{
    struct cluster_node node = {0};
    if (m->events->describe(m->owner, &node)) {
        row_settle(m, &node);
    }
    quotas_tell(m->quotas, m->cluster, net_now_ms(m->net));
    gossip_flush(cluster_gossip(m->cluster), net_now_ms(m->net));
}

void membership_save(struct membership *m)
{
    struct cluster_node node = {0};
    m->events->describe(m->owner, &node);
    kept_settle(m, node.config_revision);
    shared_config_settle(m);
}

void membership_arm(struct membership *m)
{
    if (m->udp) {
        udp_arm(m->udp);
    }
}

/* ---- opening and closing ---- */

static void set_reap(struct membership *m, const struct conf *conf)
{
    if (conf->has_cluster) {
        cluster_set_reap(m->cluster, net_now_ms(m->net), conf->cluster.reap_ms,
                         conf->cluster.reap_left_ms);
    }
}

void membership_join_anew(struct membership *m, const struct conf *conf)
{
    const struct conf_cluster *cluster = &conf->cluster;
    set_reap(m, conf);
    if (m->udp && conf->has_cluster) {
        udp_set_join(m->udp, m->lookups, cluster->join, cluster->join_count);
        row_set_key(m, cluster->keys[0], sizeof(cluster->keys[0]));
        gossip_set_keys(cluster_gossip(m->cluster), (const uint8_t(*)[SEAL_KEY_SIZE])cluster->keys,
                        cluster->key_count);
    }
}

static bool is_open(const void *membership)
{
    return !((const struct membership *)membership)->closed;
}

/* False also if the node was told to stop meanwhile. */
static bool find_advertised(struct membership *m, const struct conf *conf,
                            struct gossip_address *ret_address)
{
    const char *text = conf->cluster.advertise;
    *ret_address = (struct gossip_address){{0}, 0};
    if (!text) {
        return true;
    }
    int error = join_look_up(m->lookups, text, is_open, m, ret_address);
    if (error && !m->closed) {
        fprintf(stderr,
                "%s: cluster.advertise: %s has no address; use one, such as 10.0.0.11:7946\n",
                conf->file, text);
    }
    return !error;
}

static void new_cluster(struct membership *m, const struct conf *conf,
                        const struct gossip_address *advertise, uint64_t seed)
{
    struct cluster_options options = {
        .gossip = {.cluster_name = bytes_of(conf->cluster.name),
                   .node_name = bytes_of(conf->node_name),
                   .generation = m->kept.generation,
                   .keys = (const uint8_t(*)[SEAL_KEY_SIZE])conf->cluster.keys,
                   .key_count = conf->has_cluster ? conf->cluster.key_count : 0,
                   .advertise = *advertise,
                   .profile = conf->cluster.profile,
                   .seed = seed},
        .events = &cluster_events,
        .owner = m,
        .sha = m->sha,
    };
    random_bytes(&options.gossip.session, sizeof(options.gossip.session));
    m->cluster = cluster_new(&options, net_now_ms(m->net));
    if (conf->has_cluster) {
        row_set_key(m, conf->cluster.keys[0], sizeof(conf->cluster.keys[0]));
    }
}

static int open_udp(struct membership *m, const struct conf *conf)
{
    struct buffer reason = {0};
    m->udp = udp_open(m->net, &conf->cluster, &reason);
    if (!m->udp) {
        fprintf(stderr, "%s:%u:%u: %.*s\n", conf->file, conf->cluster.line, conf->cluster.column,
                (int)reason.size, reason.data);
    }
    buffer_done(&reason);
    return m->udp ? 0 : -1;
}

int membership_open(struct membership *m, struct conf *conf, uint64_t seed)
{
    struct gossip_address advertise = {{0}, 0};
    m->problems.net = m->net;
    m->problems.log = m->log;
    m->sha = sha256_new();
    if (kept_open(m, conf) != 0) {
        return -1;
    }
    if (conf->has_cluster && (!find_advertised(m, conf, &advertise) || open_udp(m, conf) != 0)) {
        return -1;
    }
    new_cluster(m, conf, &advertise, seed);
    kept_load(m);
    shared_config_start(m, conf);
    set_reap(m, conf);
    if (m->udp) {
        udp_attach(m->udp, m->cluster);
        udp_set_join(m->udp, m->lookups, conf->cluster.join, conf->cluster.join_count);
    }
    counting_open(m);
    return 0;
}

void membership_close(struct membership *m)
{
    m->closed = true;
    if (m->cluster) {
        counting_now(m);
        counting_close(m);
        on_trial_close(m);
        for (unsigned i = 0; i < FAREWELLS; i++) {
            gossip_leave(cluster_gossip(m->cluster), net_now_ms(m->net));
        }
    }
    kept_close(m);
    if (m->udp) {
        udp_close(m->udp);
        m->udp = NULL;
    }
}

void membership_done(struct membership *m)
{
    cluster_free(m->cluster);
    shared_config_done(m);
    kept_done(m);
    sha256_free(m->sha);
}
