/* as_member: lends node/member what it works with, and answers its questions. */
#include "control/as_member.h"

#include "control/counts.h"
#include "control/private.h"
#include "control/uploads.h"

static bool count(void *owner, struct list **cursor)
{
    return counts_publish_some(owner, cursor);
}

static bool describe(const void *owner, struct cluster_node *ret_node)
{
    const struct control *c = owner;
    if (!c->snapshot) {
        return false;
    }
    ret_node->draining = life_is_draining(&c->life);
    ret_node->config_revision = adopt_revision(c);
    memcpy(ret_node->config_digest, c->config_digest, sizeof(ret_node->config_digest));
    memcpy(ret_node->ring_digest, c->instances.verdicts.digest.text, sizeof(ret_node->ring_digest));
    return true;
}

static void news(void *owner)
{
    struct control *c = owner;
    instances_note_news(&c->instances);
}

static void upload(void *owner, uint64_t file, uint64_t place)
{
    uploads_hear(owner, file, place);
}

static const struct membership_events membership_events = {
    .count = count,
    .describe = describe,
    .news = news,
    .upload = upload,
};

int as_member_open(struct control *c)
{
    struct membership *m = &c->member;
    m->net = &c->net;
    m->slices = &c->slices;
    m->lookups = c->lookups;
    m->log = c->producer;
    m->quotas = &c->quotas;
    m->events = &membership_events;
    m->owner = c;
    return membership_open(m, c->conf, prng_next(&c->prng));
}
