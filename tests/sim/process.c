/* process: starts, is called when its cluster wants to be, is paused, and ends. */
#include "tests/sim/process.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "tests/sim/host.h"
#include "tests/sim/verdicts.h"

enum {
    LOOK_UP_SECONDS = 10, /* join names, again and again */
    SETTLE_ROUNDS = 20,   /* one thing leads to another, but not for ever */
    LAG_US = 500,         /* of a loop that has other things to do */
    LONGEST_SLEEP_MS = 60 * 1000,
};

struct inbox_packet {
    struct gossip_address from;
    size_t size;
    char bytes[];
};

static const char *const PROBLEMS[PROCESS_PROBLEMS] = {
    "name_clash", "newer_version",   "unknown_key",    "forged",
    "crowded",    "config_conflict", "config_refused",
};

/* ---- what the cluster calls ---- */

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct process *p = owner;
    struct world *w = p->world;
    p->sent_total += packet.size;
    p->answered += packet.size;
    if (packet.size == 0 || packet.size > GOSSIP_PACKET_MAX || !gossip_address_known(to)) {
        world_fail(w, "%s sends %zu bytes to port %u", p->host->name, packet.size, to->port);
        return;
    }
    if (to->ip[13] == NETWORK_ADVERSARY_HOST >> 8 && !p->struck) {
        world_fail(w, "%s sends to the adversary's address by itself", p->host->name);
    }
    if (w->options.packets) {
        printf("%10.3f  %s -> 10.%u.%u.%u %zu\n", (double)w->now_us / 1e6, p->host->name,
               to->ip[13], to->ip[14], to->ip[15], packet.size);
    }
    if (w->on_packet != NULL) {
        w->on_packet(p, packet.size);
    }
    network_send(w, p->host->index, &p->host->address, to, packet);
}

static void on_verdict_input(void *owner)
{
    struct process *p = owner;
    p->verdicts_due = true;
}

static void on_member(void *owner, const struct gossip_member *member, enum wire_state before)
{
    struct process *p = owner;
    struct world *w = p->world;
    if (w->on_member != NULL) {
        w->on_member(p, member, before);
    }
    if (w->options.bench) {
        return;
    }
    if (before == WIRE_SUSPECT && member->state == WIRE_ALIVE) {
        quotas_tell_again(p);
    }
    if (p->met_us == 0 && !member->self && member->state == WIRE_ALIVE) {
        p->met_us = w->now_us;
    }
    world_tell(w, "%s: %s is %s, was %s (generation %llu, incarnation %u)", p->host->name,
               member->name, gossip_state_text(member->state), gossip_state_text(before),
               (unsigned long long)member->generation, member->incarnation);
    claims_on_member(p, member, before);
}

static void on_shared(void *owner, uint64_t revision, struct bytes text)
{
    struct process *p = owner;
    size_t found = world_find_text(p->world, text);
    if (found == p->world->text_count) {
        world_fail(p->world, "%s is to take over a configuration that nobody wrote: revision %llu",
                   p->host->name, (unsigned long long)revision);
        return;
    }
    p->shared_due = true;
    p->shared_text = found;
}

static void on_problem(void *owner, const char *kind, const char *subject, const char *detail)
{
    (void)subject;
    struct process *p = owner;
    size_t i = 0;
    while (i < PROCESS_PROBLEMS && strcmp(PROBLEMS[i], kind) != 0) {
        i++;
    }
    if (i == PROCESS_PROBLEMS) {
        world_fail(p->world, "%s tells of a problem of a new kind: %s", p->host->name, kind);
        return;
    }
    p->problems[i]++;
    world_tell(p->world, "%s: problem %s: %s", p->host->name, kind, detail);
}

static void on_generation(void *owner, uint64_t generation)
{
    struct process *p = owner;
    world_tell(p->world, "%s: generation raised to %llu", p->host->name,
               (unsigned long long)generation);
    disk_save_generation(p, generation);
}

static void on_quota(void *owner, const struct cluster_quota_news *news)
{
    quotas_take(owner, news);
}

static void on_upload(void *owner, uint64_t file, uint64_t place)
{
    uploads_take(owner, file, place);
}

static const struct cluster_events EVENTS = {
    .on_packet = on_packet,
    .on_verdict_input = on_verdict_input,
    .on_member = on_member,
    .on_shared = on_shared,
    .on_problem = on_problem,
    .on_quota = on_quota,
    .on_upload = on_upload,
    .on_generation = on_generation,
};

uint32_t process_problem(const struct process *p, const char *kind)
{
    size_t i = 0;
    while (strcmp(PROBLEMS[i], kind) != 0) {
        i++;
        assert(i < PROCESS_PROBLEMS);
    }
    return p->problems[i];
}

/* ---- its own loop ---- */

static void on_tick(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    if (p->tick_at_us != e->argument) {
        return; /* an earlier one was asked for since */
    }
    p->tick_at_us = UINT64_MAX;
    process_tick(p);
}

void process_tick(struct process *p)
{
    uint64_t now_ms = host_now_ms(p->world, p->host);
    if (cluster_deadline_ms(p->cluster) <= now_ms) {
        p->ticks++;
        cluster_tick(p->cluster, now_ms);
    }
    process_settle(p);
}

static void wake_in_time(struct process *p)
{
    struct world *w = p->world;
    uint64_t now_ms = host_now_ms(w, p->host), deadline_ms = cluster_deadline_ms(p->cluster);
    if (deadline_ms > now_ms + LONGEST_SLEEP_MS) {
        deadline_ms = now_ms + LONGEST_SLEEP_MS;
    }
    uint64_t at_us = deadline_ms > now_ms ? deadline_ms * 1000 - p->host->boot_us : w->now_us;
    if (p->tick_at_us <= at_us + LAG_US && p->tick_at_us != UINT64_MAX) {
        return;
    }
    at_us += world_between(w, 10, LAG_US);
    p->tick_at_us = at_us;
    world_after(
        w, at_us - w->now_us,
        (struct event){.run = on_tick, .host = p->host->index, .life = p->life, .argument = at_us});
}

static void take_shared(struct process *p)
{
    struct world *w = p->world;
    uint64_t now_ms = host_now_ms(w, p->host);
    p->shared_due = false;
    if (p->shared_text == p->refused_text && p->refused_text != 0) {
        cluster_shared_refused(p->cluster, now_ms, "an instance's certificate is missing here");
        p->shared_text = world_find_text(w, cluster_shared_text(p->cluster));
        return;
    }
    cluster_shared_applied(p->cluster, now_ms);
    world_tell(w, "%s takes over revision %llu, text %zu", p->host->name,
               (unsigned long long)cluster_shared_revision(p->cluster), p->shared_text);
}

void process_settle(struct process *p)
{
    int rounds = SETTLE_ROUNDS;
    for (bool more = true; more && rounds > 0; rounds--) {
        more = false;
        if (p->shared_due) {
            take_shared(p);
            more = true;
        }
        if (p->verdicts_due && !p->world->options.bench) {
            verdicts_compute(p);
        }
        p->verdicts_due = false;
        more = work_tell_node(p) || more;
    }
    if (rounds == 0) {
        world_fail(p->world, "%s does not settle", p->host->name);
    }
    if (cluster_shared_revision(p->cluster) != p->host->disk.shared_revision) {
        disk_save_shared(p);
    }
    wake_in_time(p);
    claims_after_call(p);
}

void process_receive(struct process *p, const struct gossip_address *from, struct bytes packet)
{
    if (p->paused_until_us > p->world->now_us) {
        if (p->inbox_count < PROCESS_INBOX_MAX) {
            struct inbox_packet *kept = memory_new(sizeof(*kept) + packet.size);
            *kept = (struct inbox_packet){.from = *from, .size = packet.size};
            memcpy(kept->bytes, packet.at, packet.size);
            p->inbox[p->inbox_count++] = kept;
        }
        return;
    }
    cluster_receive(p->cluster, host_now_ms(p->world, p->host), from, packet);
    process_settle(p);
}

void process_hint(struct process *p, const struct gossip_address *to, struct bytes quoted)
{
    cluster_hint(p->cluster, host_now_ms(p->world, p->host), to, quoted);
    process_settle(p);
}

static void empty_inbox(struct process *p, bool read)
{
    for (size_t i = 0; i < p->inbox_count; i++) {
        struct inbox_packet *kept = p->inbox[i];
        if (read && process_runs(p)) {
            process_receive(p, &kept->from, (struct bytes){kept->bytes, kept->size});
        }
        free(kept);
    }
    p->inbox_count = 0;
}

static void on_resume(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    if (w->now_us >= p->paused_until_us) {
        empty_inbox(p, true);
    }
}

void process_pause(struct process *p, uint64_t for_us)
{
    struct world *w = p->world;
    world_tell(w, "%s is paused for %.1f s", p->host->name, (double)for_us / 1e6);
    p->paused_from_us = w->now_us;
    p->paused_until_us = w->now_us + for_us;
    p->disturbed_until_us = p->paused_until_us + CLAIMS_AFTERMATH_SECONDS * WORLD_SECOND_US;
    /* Timers may run before or after what waits in the socket is read. */
    world_after(w, for_us + world_between(w, 0, 2000),
                (struct event){.run = on_resume, .host = p->host->index, .life = p->life});
}

static void on_save(struct world *w, const struct event *e)
{
    disk_save_state(w->hosts[e->host].process);
    world_after(w, w->save_interval_us, *e);
}

static void on_look_up(struct world *w, const struct event *e)
{
    process_rejoin(w->hosts[e->host].process);
    world_after(w, LOOK_UP_SECONDS * WORLD_SECOND_US, *e);
}

void process_rejoin(struct process *p)
{
    struct gossip_address addresses[HOST_JOIN_MAX];
    for (size_t i = 0; i < p->host->join_count; i++) {
        addresses[i] = p->world->hosts[p->host->join[i]].address;
    }
    size_t found = p->world->names_gone ? 0 : p->host->join_count;
    gossip_set_join(cluster_gossip(p->cluster), addresses, found);
    wake_in_time(p);
}

/* ---- start and end ---- */

/* The first key seals, all open: accept the new one everywhere, send with it, remove the old. */
static size_t keys_of_step(const struct world *w, unsigned step, uint8_t ret_keys[2][SEAL_KEY_SIZE])
{
    size_t first = step >= 2;
    memcpy(ret_keys[0], w->keys[first], SEAL_KEY_SIZE);
    memcpy(ret_keys[1], w->keys[!first], SEAL_KEY_SIZE);
    return step == 0 || step == 3 ? 1 : 2;
}

void process_rotate(struct process *p, unsigned step)
{
    uint8_t keys[2][SEAL_KEY_SIZE];
    size_t count = keys_of_step(p->world, step, keys);
    gossip_set_keys(cluster_gossip(p->cluster), (const uint8_t(*)[SEAL_KEY_SIZE])keys, count);
}

static struct cluster *new_cluster(struct process *p, uint64_t generation)
{
    struct world *w = p->world;
    uint8_t keys[2][SEAL_KEY_SIZE];
    struct cluster_options options = {
        .gossip = {.cluster_name = BYTES("dify"),
                   .node_name = bytes_of(p->host->name),
                   .generation = generation,
                   .keys = (const uint8_t(*)[SEAL_KEY_SIZE])keys,
                   .key_count = keys_of_step(w, w->key_step, keys),
                   .profile = w->options.profile,
                   .seed = prng_next(&w->prng)},
        .events = &EVENTS,
        .owner = p,
        .sha = w->sha,
    };
    uint64_t session = prng_next(&w->prng);
    memcpy(options.gossip.session.id, &session, sizeof(session));
    return cluster_new(&options, host_now_ms(w, p->host));
}

static void start_shared(struct process *p)
{
    struct world *w = p->world;
    struct disk *d = &p->host->disk;
    struct cluster_shared_file stored = {0};
    if (d->shared.size == 0 || !cluster_read_shared(w->sha, buffer_bytes(&d->shared), &stored)) {
        stored = (struct cluster_shared_file){0};
    }
    struct bytes text;
    cluster_shared_start(p->cluster, host_now_ms(w, p->host), w->texts[p->host->file_text], &stored,
                         false, &text);
    p->shared_text = world_find_text(w, text);
    cluster_shared_file_done(&stored);
    if (p->shared_text == w->text_count) {
        world_fail(w, "%s starts with a configuration that nobody wrote", p->host->name);
        p->shared_text = 0;
    }
}

static void load_state(struct process *p)
{
    struct disk *d = &p->host->disk;
    bool loaded = d->state.size > 0 && cluster_load_state(p->cluster, buffer_bytes(&d->state));
    if (loaded && d->state_damaged) {
        world_fail(p->world, "%s takes over a damaged file", p->host->name);
    }
    if (!loaded && !d->state_damaged && d->state.size > 0) {
        world_fail(p->world, "%s refuses a file that it wrote itself", p->host->name);
    }
    claims_after_start(p);
    if (d->state_damaged) {
        buffer_clear(&d->state); /* set aside */
        d->state_damaged = false;
    }
}

static struct process *new_process(struct world *w, struct host *h)
{
    struct process *p = memory_new(sizeof(*p));
    *p = (struct process){.world = w, .host = h, .identity = h->identity, .started_us = w->now_us};
    p->tick_at_us = UINT64_MAX;
    seen_init(&p->seen, w->options.bench ? 0 : w->options.host_count);
    if (w->process_count == w->process_capacity) {
        w->process_capacity = w->process_capacity > 0 ? 2 * w->process_capacity : 64;
        w->processes = memory_resize(w->processes, w->process_capacity * sizeof(struct process *));
    }
    w->processes[w->process_count++] = p;
    p->life = (uint32_t)w->process_count;
    h->process = p;
    return p;
}

struct process *process_start(struct world *w, struct host *h)
{
    assert(h->process == NULL);
    h->gone = false;
    struct process *p = new_process(w, h);
    uint64_t generation = disk_next_generation(w, h);
    world_tell(w, "%s starts, life %u, generation %llu", h->name, p->life,
               (unsigned long long)generation);
    disk_save_generation(p, generation);
    p->cluster = new_cluster(p, generation);
    load_state(p);
    start_shared(p);
    work_start(p);
    process_rejoin(p);
    struct event e = {.host = h->index, .life = p->life, .run = on_look_up};
    world_after(w, LOOK_UP_SECONDS * WORLD_SECOND_US, e);
    if (!w->options.bench) {
        quotas_start(p);
        uploads_start(p);
        e.run = on_save;
        world_after(w, world_between(w, 0, w->save_interval_us), e);
    }
    process_settle(p);
    return p;
}

static void end(struct process *p)
{
    p->ended_us = p->world->now_us;
    p->host->process = NULL;
    empty_inbox(p, false);
    cluster_free(p->cluster);
    p->cluster = NULL;
    quotas_end(p);
    uploads_end(p);
}

void process_crash(struct process *p)
{
    world_tell(p->world, "%s %s", p->host->name, p->host->gone ? "vanishes" : "crashes");
    work_count(p);
    claims_expect_noticed(p);
    end(p);
}

void process_vanish(struct process *p)
{
    p->host->gone = true;
    process_crash(p);
}

static void on_left(struct world *w, const struct event *e)
{
    struct process *p = w->hosts[e->host].process;
    world_tell(w, "%s has left", p->host->name);
    disk_save_state(p);
    claims_expect_noticed(p);
    end(p);
}

void process_leave(struct process *p)
{
    struct world *w = p->world;
    world_tell(w, "%s stops", p->host->name);
    p->leaving = true;
    work_tell_counts(p);
    work_stop_requests(p);
    struct gossip *g = cluster_gossip(p->cluster);
    gossip_leave(g, host_now_ms(w, p->host));
    world_after(w, gossip_leave_ms(g) * 1000,
                (struct event){.run = on_left, .host = p->host->index, .life = p->life});
    process_settle(p);
}

void process_free(struct process *p)
{
    if (p->cluster != NULL) {
        end(p);
    }
    seen_done(&p->seen);
    free(p);
}
