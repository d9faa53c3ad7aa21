/* uploads: numbers of places to what all nodes call them, and back. */
#include "control/uploads.h"

#include "control/private.h"
#include "totals/uploads.h"

static uint64_t told_place(struct control *c, const struct tracked_application *a,
                           struct instance_record *r)
{
    if (r->told_place == 0) {
        r->told_place =
            cluster_upload_place(c->member.cluster, bytes_of(a->name), bytes_of(r->name));
    }
    return r->told_place;
}

/* The instance of a place, by one of its two numbers, the other being 0; NULL: there is none. */
static struct instance_record *find(struct control *c, uint16_t place, uint64_t told)
{
    struct registry *registry = &c->instances.registry;
    for (struct list *l = registry->applications.next; l != &registry->applications; l = l->next) {
        struct tracked_application *a = LIST_ENTRY(l, struct tracked_application, link);
        for (struct list *k = a->records.next; k != &a->records; k = k->next) {
            struct instance_record *r = LIST_ENTRY(k, struct instance_record, link);
            if (told_place(c, a, r) == told || (place != 0 && r->place == place)) {
                return r;
            }
        }
    }
    return NULL;
}

void uploads_tell(struct control *c)
{
    struct upload rows[UPLOADS_WAITING_MAX];
    bool lost;
    size_t count = uploads_take(&c->placements.uploads, rows, &lost);
    if (lost) {
        cluster_miss_upload(c->member.cluster, net_now_ms(&c->net));
    }
    for (size_t i = 0; i < count; i++) {
        const struct instance_record *r = find(c, rows[i].place, 0);
        if (r) {
            cluster_tell_upload(c->member.cluster, net_now_ms(&c->net), rows[i].file,
                                r->told_place);
        }
    }
}

void uploads_hear(struct control *c, uint64_t file, uint64_t place)
{
    const struct instance_record *r = place != 0 ? find(c, 0, place) : NULL;
    if (r && r->place != PLACEMENT_NOWHERE) {
        placement_memory_set(c->placements.memory, file, r->place);
    }
}

void uploads_hear_again(struct control *c)
{
    if (c->member.cluster) {
        cluster_hear_uploads_again(c->member.cluster);
    }
}
