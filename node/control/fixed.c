/* fixed: comparing the sections that need a restart, and carrying them over. */
#include "control/fixed.h"

#include <string.h>

#include "base/arena.h"

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool same_node(const struct conf *a, const struct conf *b)
{
    return same_text(a->node_name, b->node_name) && same_text(a->state_dir, b->state_dir);
}

static bool same_listen(const struct conf *a, const struct conf *b)
{
    bool same = a->listen_count == b->listen_count;
    for (size_t i = 0; same && i < a->listen_count; i++) {
        same = strcmp(a->listen[i].address, b->listen[i].address) == 0;
    }
    return same;
}

static bool same_log(const struct conf_log *a, const struct conf_log *b)
{
    return a->access == b->access && a->error == b->error && a->level == b->level &&
           same_text(a->access_path, b->access_path) && same_text(a->error_path, b->error_path);
}

static bool same_vip(const struct conf *a, const struct conf *b)
{
    return a->has_vip == b->has_vip &&
           (!a->has_vip || (strcmp(a->vip.address, b->vip.address) == 0 &&
                            strcmp(a->vip.track_file, b->vip.track_file) == 0));
}

/* But for what peers_reload() takes over. */
static bool same_cluster(const struct conf *running, const struct conf *next)
{
    const struct conf_cluster *a = &running->cluster, *b = &next->cluster;
    bool same_bind = strcmp(a->bind_host, b->bind_host) == 0 && a->bind_port == b->bind_port;
    return running->has_cluster == next->has_cluster && strcmp(a->name, b->name) == 0 &&
           same_bind && same_text(a->advertise, b->advertise) && a->profile == b->profile;
}

size_t fixed_changes(const struct conf *running, const struct conf *next,
                     const char *ret_names[FIXED_SECTIONS_MAX])
{
    size_t count = 0;
    if (!same_node(running, next)) {
        ret_names[count++] = "node";
    }
    if (!same_listen(running, next)) {
        ret_names[count++] = "listen";
    }
    if (running->workers != next->workers) {
        ret_names[count++] = "workers";
    }
    if (!same_log(&running->log, &next->log)) {
        ret_names[count++] = "log";
    }
    if (!same_cluster(running, next)) {
        ret_names[count++] = "cluster";
    }
    if (!same_vip(running, next)) {
        ret_names[count++] = "vip";
    }
    return count;
}

static const char *copy(struct arena *arena, const char *text)
{
    return text ? arena_text(arena, bytes_of(text)) : NULL;
}

static void keep_listen(struct arena *arena, const struct conf *running, struct conf *next)
{
    next->listen_count = running->listen_count;
    next->listen = arena_array(arena, running->listen_count, sizeof(*next->listen));
    for (size_t i = 0; i < running->listen_count; i++) {
        const struct conf_listen *from = &running->listen[i];
        struct conf_listen *to = &next->listen[i];
        *to = *from;
        to->address = copy(arena, from->address);
        to->host = copy(arena, from->host);
        to->tls = arena_array(arena, from->tls_count, sizeof(*to->tls));
        for (size_t t = 0; t < from->tls_count; t++) {
            to->tls[t].certificate = copy(arena, from->tls[t].certificate);
            to->tls[t].key = copy(arena, from->tls[t].key);
        }
    }
}

/* A section that the file dropped, or that the node did not start with, is carried over with its
 * absence; its keys and join addresses are the file's. */
static void keep_cluster(struct arena *arena, const struct conf *running, struct conf *next)
{
    const struct conf_cluster *from = &running->cluster;
    struct conf_cluster *to = &next->cluster;
    next->has_cluster = running->has_cluster;
    to->name = copy(arena, from->name);
    to->bind_host = copy(arena, from->bind_host);
    to->bind_port = from->bind_port;
    to->advertise = copy(arena, from->advertise);
    to->profile = from->profile;
}

static void keep_vip(struct arena *arena, const struct conf *running, struct conf *next)
{
    const struct conf_vip *from = &running->vip;
    struct conf_vip *to = &next->vip;
    *to = *from;
    next->has_vip = running->has_vip;
    to->address = copy(arena, from->address);
    to->interface = copy(arena, from->interface);
    to->track_file = copy(arena, from->track_file);
    to->peers = arena_array(arena, from->peer_count, sizeof(*to->peers));
    for (size_t i = 0; i < from->peer_count; i++) {
        to->peers[i] = copy(arena, from->peers[i]);
    }
}

void fixed_keep(const struct conf *running, struct conf *next)
{
    struct arena *arena = next->arena;
    next->node_name = copy(arena, running->node_name);
    next->state_dir = copy(arena, running->state_dir);
    next->workers = running->workers;
    next->log = running->log;
    next->log.access_path = copy(arena, running->log.access_path);
    next->log.error_path = copy(arena, running->log.error_path);
    keep_listen(arena, running, next);
    keep_cluster(arena, running, next);
    keep_vip(arena, running, next);
}
