/* drains: which instances are taken out of service, known to all and told by all.
 *
 * A record is never taken back, only overwritten by a later one: enabling writes one too. Later is
 * a larger hybrid time (Kulkarni et al. 2014, in its simplest form): the wall clock, or one more
 * than the record that is overwritten, so whoever acts after having seen something wins over it,
 * however far ahead the clock was that wrote it. Equal times: the larger node name. Of one node,
 * which has started with an old disk and not yet heard what it had ordered: the drain, so that all
 * agree. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cluster/private.h"

enum {
    /* The longest records go four to a page: its pages always hold them all. Those of enabled
     * instances go first when there are more. */
    DRAINS_MAX = 3 * TOPIC_PAGES_DRAINS,
    DRAIN_KEY_SIZE = 2 * NAMES_SIZE_MAX + 1,
};

struct drain {
    struct named named;         /* application "\n" instance; owned */
    struct drain_record record; /* its texts are within the name, and `node` */
    char node[NAMES_SIZE_MAX];
};

struct drains {
    struct names records; /* struct drain */
    bool changed;
    uint64_t revision;
};

static struct drains *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_DRAINS, sizeof(struct drains));
}

static struct bytes drain_key(char ret_key[DRAIN_KEY_SIZE], struct bytes application,
                              struct bytes instance)
{
    struct bytes key = {ret_key, application.size + 1 + instance.size};
    assert(key.size <= DRAIN_KEY_SIZE);
    memcpy(ret_key, application.at, application.size);
    ret_key[application.size] = '\n'; /* in no name */
    memcpy(ret_key + application.size + 1, instance.at, instance.size);
    return key;
}

static struct drain *find(const struct cluster *c, struct bytes application, struct bytes instance)
{
    char text[DRAIN_KEY_SIZE];
    size_t index;
    struct bytes key = drain_key(text, application, instance);
    return (struct drain *)names_find(&own(c)->records, key, &index);
}

static void drop(struct drains *drains, size_t index)
{
    struct drain *d = (struct drain *)drains->records.at[index];
    names_remove(&drains->records, index);
    free((void *)(uintptr_t)d->named.name.at);
    free(d);
}

/* Makes room for one more; false: all that are known are in force. */
static bool make_room(struct cluster *c)
{
    struct drains *drains = own(c);
    const struct names *records = &drains->records;
    size_t oldest = records->count;
    if (records->count < DRAINS_MAX) {
        return true;
    }
    for (size_t i = 0; i < records->count; i++) {
        const struct drain *d = (const struct drain *)records->at[i];
        if (!d->record.drained &&
            (oldest == records->count ||
             d->record.time < ((const struct drain *)records->at[oldest])->record.time)) {
            oldest = i;
        }
    }
    if (oldest == records->count) {
        cluster_problem(c, PROBLEM_CROWDED, "drains",
                        "more than %d instances are drained: one more is not; enable others first",
                        DRAINS_MAX);
        return false;
    }
    drop(drains, oldest);
    return true;
}

static struct drain *add(struct cluster *c, const struct drain_record *record)
{
    char text[DRAIN_KEY_SIZE];
    size_t index;
    struct names *records = &own(c)->records;
    struct drain *d = memory_new(sizeof(*d));
    struct bytes key = drain_key(text, record->application, record->instance);
    d->named.name = (struct bytes){memory_copy_text(key.at, key.size), key.size};
    d->record.application = (struct bytes){d->named.name.at, record->application.size};
    d->record.instance =
        (struct bytes){d->named.name.at + record->application.size + 1, record->instance.size};
    struct named *found = names_find(records, key, &index);
    assert(!found);
    names_insert(records, index, &d->named);
    return d;
}

void drains_merge(struct cluster *c, const struct drain_record *record)
{
    struct drain *d = find(c, record->application, record->instance);
    if (d && !drain_record_is_later(record, &d->record)) {
        return;
    }
    if (!d) {
        if (!make_room(c)) {
            return;
        }
        d = add(c, record);
    }
    bool other = d->record.drained != record->drained || d->record.now != record->now ||
                 d->record.hold_ms != record->hold_ms;
    if (other || !record->drained) {
        verdict_news_all(c); /* enabling ends an ejection of what was not drained, too */
    }
    d->record.drained = record->drained;
    d->record.now = record->now;
    d->record.hold_ms = record->hold_ms;
    d->record.time = record->time;
    memcpy(d->node, record->node.at, record->node.size);
    d->record.node = (struct bytes){d->node, record->node.size};
    own(c)->changed = true;
    own(c)->revision++;
}

static void note_drain(void *arg, const struct drain_record *record)
{
    drains_merge(arg, record);
}

void drains_note(struct cluster *c, const struct topic_entry *e)
{
    const struct page_reader reader = {.on_drain = note_drain, .arg = c};
    if (e->value.at) {
        page_read(&reader, e->value);
    }
}

void cluster_set_drained(struct cluster *c, uint64_t now_ms, uint64_t wall_ms,
                         struct bytes application, struct bytes instance, bool drained)
{
    cluster_order_drain(c, now_ms, wall_ms, application, instance,
                        &(struct cluster_drain_order){.drained = drained});
}

void cluster_order_drain(struct cluster *c, uint64_t now_ms, uint64_t wall_ms,
                         struct bytes application, struct bytes instance,
                         const struct cluster_drain_order *order)
{
    c->now_ms = now_ms;
    const struct drain *d = find(c, application, instance);
    uint64_t time = wall_ms;
    if (d && time <= d->record.time) {
        time = d->record.time + 1;
    }
    drains_merge(c, &(struct drain_record){
                        .application = application,
                        .instance = instance,
                        .drained = order->drained,
                        .now = order->drained && order->now,
                        .hold_ms = order->drained ? order->hold_ms : 0,
                        .time = time < DRAIN_TIME_MAX ? time : DRAIN_TIME_MAX,
                        .node = c->name,
                    });
    cluster_settle(c);
}

bool cluster_drained(const struct cluster *c, struct bytes application, struct bytes instance)
{
    const struct drain *d = find(c, application, instance);
    return d && d->record.drained;
}

uint64_t drains_revision(const struct cluster *c)
{
    return own(c)->revision;
}

bool cluster_drained_now(const struct cluster *c, struct bytes application, struct bytes instance,
                         uint64_t *ret_hold_ms)
{
    const struct drain *d = find(c, application, instance);
    bool now = d && d->record.drained && d->record.now;
    if (now) {
        *ret_hold_ms = d->record.hold_ms;
    }
    return now;
}

bool cluster_drain(const struct cluster *c, struct bytes application, struct bytes instance,
                   struct cluster_drain *ret)
{
    const struct drain *d = find(c, application, instance);
    if (d) {
        *ret = (struct cluster_drain){
            .drained = d->record.drained,
            .at_s = (uint32_t)(d->record.time / 1000),
            .order = d->record.time,
            .node = d->record.node,
        };
    }
    return d != NULL;
}

void drains_write(const struct cluster *c, struct page_writer *w)
{
    const struct names *records = &own(c)->records;
    for (size_t i = 0; i < records->count; i++) {
        page_add_drain(w, &((const struct drain *)records->at[i])->record);
    }
}

void drains_settle(struct cluster *c)
{
    if (!own(c)->changed) {
        return;
    }
    own(c)->changed = false;
    struct topic_pages pages = {.c = c, .topic = TOPIC_DRAINS};
    struct page_writer w;
    page_writer_init(&w, WIRE_VALUE_MAX, topic_page, &pages);
    drains_write(c, &w);
    topic_pages_end(&pages, page_writer_done(&w));
}

/* Records are everybody's: only with this node they end. */
void drains_member(struct cluster *c, const struct gossip_member *member, enum member_event event)
{
    struct drains *drains = own(c);
    if (event != MEMBER_GONE || !member->self) {
        return;
    }
    while (drains->records.count > 0) {
        drop(drains, drains->records.count - 1);
    }
    names_done(&drains->records);
}
