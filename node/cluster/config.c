/* config: the machine of shared.h on gossip: what is in force is told in the entry `config` and its
 * text offered; what others tell are the machine's offers. */
#include <stdio.h>

#include "cluster/private.h"
#include "proto/binary.h"
#include "proto/cluster.pb-c.h"

/* What a member has in force. */
struct config {
    struct shared_version version; /* revision 0: none */
    struct shared_origin origin;
    struct lineage lineage;
    size_t size;
};

struct own_config {
    struct shared_offer offers[GOSSIP_MEMBERS_MAX]; /* filled anew for each decision */
    bool changed;
    bool held, owes; /* what is in force is told when it is vouched for */
};

static struct own_config *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_CONFIG, sizeof(struct own_config));
}

enum { DIGEST_SHOWN = 12 /* characters: enough to tell two texts apart by eye */ };

static void copy_text(char *to, size_t size, ProtobufCBinaryData from)
{
    snprintf(to, size, "%.*s", (int)from.len, from.len > 0 ? (const char *)from.data : "");
}

void config_note(struct cluster *c, const struct topic_entry *e)
{
    struct config *told = topic_told(e->info, TOPIC_CONFIG, sizeof(*told));
    struct bytes value = e->value;
    told->version = (struct shared_version){0};
    own(c)->changed = true;
    Cluster__Config *config =
        value.at ? cluster__config__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    if (config && config->digest.len == SHA256_SIZE && config->size > 0 &&
        config->size <= GOSSIP_TEXT_MAX && config->revision < UINT64_MAX) {
        told->version.revision = config->revision;
        told->size = (size_t)config->size;
        memcpy(told->version.digest, config->digest.data, SHA256_SIZE);
        copy_text(told->origin.node, sizeof(told->origin.node), config->origin_node);
        copy_text(told->origin.asked, sizeof(told->origin.asked), config->origin_asked);
        lineage_read(&told->lineage, bytes_in(config->lineage));
    }
    if (config) {
        cluster__config__free_unpacked(config, NULL);
    }
}

void config_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    (void)member;
    (void)event;
    own(c)->changed = true;
}

/* What is in force, for all to have. */
static void tell_config(struct cluster *c)
{
    struct bytes text = buffer_bytes(&c->shared.text);
    if (c->shared.mine.revision == 0) {
        return;
    }
    own(c)->owes = own(c)->held;
    if (own(c)->held) {
        return;
    }
    own(c)->changed = true;
    if (text.size == 0 || text.size > GOSSIP_TEXT_MAX) {
        topic_remove(c, TOPIC_CONFIG);
        cluster_problem(c, PROBLEM_CONFIG_REFUSED, "shared configuration",
                        "the shared sections have %zu bytes; 1 to %d can be given to other nodes, "
                        "so they do not get them; use fewer applications",
                        text.size, GOSSIP_TEXT_MAX);
        return;
    }
    /* at most 55 bytes of numbers and a digest, 164 of texts, 131 of the lineage */
    uint8_t value[384], lineage[LINEAGE_SIZE];
    Cluster__Config config = CLUSTER__CONFIG__INIT;
    config.revision = c->shared.mine.revision;
    config.digest = (ProtobufCBinaryData){SHA256_SIZE, c->shared.mine.digest};
    config.size = text.size;
    config.origin_node = binary_of(bytes_of(c->shared.origin.node));
    config.origin_asked = binary_of(bytes_of(c->shared.origin.asked));
    config.lineage = (ProtobufCBinaryData){lineage_write(&c->shared.lineage, lineage), lineage};
    size_t size = cluster__config__pack(&config, value);
    gossip_offer_text(c->gossip, c->shared.mine.digest, text);
    topic_set(c, TOPIC_CONFIG, (struct bytes){(const char *)value, size});
}

static size_t gather_offers(struct cluster *c)
{
    size_t count = 0;
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        const struct member_info *info = m->self ? NULL : info_of(c, m);
        const struct config *told = info ? info->told[TOPIC_CONFIG] : NULL;
        if (told && told->version.revision > 0) {
            own(c)->offers[count++] = (struct shared_offer){m->id, is_up(m), told->version,
                                                            &told->origin, &told->lineage};
        }
    }
    return count;
}

static void report_conflicts(struct cluster *c, size_t count)
{
    size_t index = shared_find_conflict(&c->shared, own(c)->offers, count);
    for (; index < count; index = shared_find_conflict(&c->shared, own(c)->offers, count)) {
        char ours[2 * SHA256_SIZE + 1], theirs[2 * SHA256_SIZE + 1];
        const struct gossip_member *m =
            gossip_member_by_id(c->gossip, own(c)->offers[index].member);
        const struct shared_version *version = &own(c)->offers[index].version;
        bool we_win = shared_compare(&c->shared.mine, version) > 0;
        sha256_hex(c->shared.mine.digest, ours);
        sha256_hex(version->digest, theirs);
        cluster_problem(c, PROBLEM_CONFIG_CONFLICT, m ? m->name : "another node",
                        "%s and this node both have a shared configuration of revision %llu, and "
                        "they differ (%.*s there, %.*s here); %s wins; reload on the node whose "
                        "file is the right one",
                        m ? m->name : "another node", (unsigned long long)version->revision,
                        DIGEST_SHOWN, theirs, DIGEST_SHOWN, ours,
                        we_win ? "this node's" : "the other node's");
    }
}

/* What was in force here is replaced by what was made without it. */
static void report_overtaken(struct cluster *c)
{
    const char *by = c->shared.pulled_origin.node;
    cluster_problem(
        c, PROBLEM_CONFIG_CONFLICT, by[0] ? by : "another node",
        "its revision %llu did not know of revision %llu, which was in force here: what "
        "that one changed and the new one lacks is lost (`changed` of the event "
        "config_taken_over); bring it again: reload the file that is right",
        (unsigned long long)c->shared.pulled.revision, (unsigned long long)c->shared.mine.revision);
}

static void start_fetch(struct cluster *c)
{
    struct gossip_member *from = gossip_member_by_id(c->gossip, c->shared.source);
    const struct member_info *info = from ? info_of(c, from) : NULL;
    const struct config *told = info ? info->told[TOPIC_CONFIG] : NULL;
    if (told) {
        gossip_fetch_text(c->gossip, c->now_ms, from, c->shared.pulled.digest, told->size);
    }
}

static void give(struct cluster *c)
{
    c->events->on_shared(c->owner, c->shared.pulled.revision, buffer_bytes(&c->shared.pulled_text));
}

void config_fetched(struct cluster *c, const uint8_t digest[SHA256_SIZE], struct bytes text)
{
    own(c)->changed = true;
    if (shared_fetched(&c->shared, c->now_ms, digest, text)) {
        give(c);
    }
}

void config_settle(struct cluster *c)
{
    if (!own(c)->changed && c->now_ms < config_deadline_ms(c)) {
        return;
    }
    own(c)->changed = false;
    size_t count = gather_offers(c);
    report_conflicts(c, count);
    switch (shared_decide(&c->shared, c->now_ms, own(c)->offers, count)) {
    case SHARED_NOTHING:
        break;
    case SHARED_FETCH:
        start_fetch(c);
        break;
    case SHARED_APPLY:
        give(c);
        break;
    case SHARED_FINAL:
        tell_config(c);
        break;
    }
}

uint64_t config_deadline_ms(const struct cluster *c)
{
    return shared_deadline_ms(&c->shared);
}

/* ---- the owner's side ---- */

uint64_t cluster_shared_start(struct cluster *c, uint64_t now_ms, struct bytes file,
                              const struct cluster_shared_file *stored, bool takes_back,
                              struct bytes *ret_text)
{
    c->now_ms = now_ms;
    struct shared_start start = {
        .file = file,
        .stored_revision = stored->revision,
        .stored = stored->text,
        .stored_base = stored->base,
        .stored_file_digest = stored->file_digest,
        .stored_origin = &stored->origin,
        .takes_back = takes_back,
        .final_ms = c->alone ? now_ms : now_ms + CLUSTER_JOIN_INTERVALS * c->interval_ms,
    };
    char name[NAMES_SIZE_MAX + 1];
    snprintf(name, sizeof(name), "%.*s", (int)c->name.size, c->name.at);
    start.node = name;
    *ret_text = shared_begin(&c->shared, now_ms, &start) ? stored->text : file;
    tell_config(c);
    cluster_settle(c);
    return c->shared.mine.revision;
}

uint64_t cluster_shared_reload(struct cluster *c, uint64_t now_ms,
                               const struct cluster_shared_reload *reload, struct bytes *ret_text)
{
    struct shared_origin origin;
    snprintf(origin.node, sizeof(origin.node), "%.*s", (int)c->name.size, c->name.at);
    snprintf(origin.asked, sizeof(origin.asked), "%s", reload->asked);
    c->now_ms = now_ms;
    shared_reload(&c->shared, reload->file, reload->forced, &origin, own(c)->offers,
                  gather_offers(c));
    tell_config(c);
    cluster_settle(c);
    *ret_text = buffer_bytes(&c->shared.text);
    return c->shared.mine.revision;
}

void cluster_shared_applied(struct cluster *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    if (shared_overtakes(&c->shared)) {
        report_overtaken(c);
    }
    if (shared_applied(&c->shared)) {
        tell_config(c);
    }
    cluster_settle(c);
}

void cluster_shared_refused(struct cluster *c, uint64_t now_ms, const char *reason)
{
    c->now_ms = now_ms;
    uint64_t revision = c->shared.pulled.revision;
    if (shared_refused(&c->shared)) {
        own(c)->changed = true;
        cluster_problem(
            c, PROBLEM_CONFIG_REFUSED, "shared configuration",
            "revision %llu of the shared configuration is not taken over: %s; this node "
            "stays on revision %llu until another one comes",
            (unsigned long long)revision, reason, (unsigned long long)c->shared.mine.revision);
    }
    cluster_settle(c);
}

void cluster_shared_hold(struct cluster *c)
{
    own(c)->held = true;
}

void cluster_shared_vouch(struct cluster *c, uint64_t now_ms)
{
    bool owes = own(c)->owes;
    c->now_ms = now_ms;
    own(c)->held = own(c)->owes = false;
    if (owes) {
        tell_config(c);
    }
    cluster_settle(c);
}

bool cluster_shared_is_vouched(const struct cluster *c)
{
    return !own(c)->held;
}

const uint8_t *cluster_shared_digest(const struct cluster *c)
{
    return c->shared.mine.digest;
}

const uint8_t *cluster_shared_pulled_digest(const struct cluster *c)
{
    return c->shared.pulled.digest;
}

uint64_t cluster_shared_revision(const struct cluster *c)
{
    return c->shared.mine.revision;
}

struct bytes cluster_shared_text(const struct cluster *c)
{
    return buffer_bytes(&c->shared.text);
}

uint64_t cluster_shared_next_revision(struct cluster *c)
{
    return shared_next_revision(&c->shared, own(c)->offers, gather_offers(c));
}

struct bytes cluster_shared_base(const struct cluster *c)
{
    return buffer_bytes(&c->shared.base);
}

const struct shared_origin *cluster_shared_origin(const struct cluster *c)
{
    return &c->shared.origin;
}

bool cluster_shared_is_pulling(const struct cluster *c)
{
    return shared_is_pulling(&c->shared);
}

void cluster_shared_note_file(struct cluster *c, struct bytes file)
{
    shared_note_file(&c->shared, file);
}

const uint8_t *cluster_shared_file_digest(const struct cluster *c)
{
    return c->shared.file_digest;
}
