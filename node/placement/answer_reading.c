/* answer_reading: each place that is found is told to those who want something of the answer. */
#include "placement/answer_reading.h"

static void on_text(void *arg)
{
    struct answer_reading *r = arg;
    if (r->wants_ids) {
        answer_ids_on_text(&r->ids);
    }
    if (r->wants_usage) {
        usage_on_text(&r->usage);
    }
}

/* What both look at: the event's name, and what stands in `data`. Not in line: the other places
 * need no frame. */
static __attribute__((noinline)) void on_shared(struct answer_reading *r, enum place place,
                                                struct bytes value)
{
    if (r->wants_ids) {
        answer_ids_on_found(&r->ids, place, value);
    }
    if (r->wants_usage) {
        usage_on_found(&r->usage, place, value);
    }
    if (!r->wants_ids && r->reading.form == READING_EVENTS && usage_is_beside(&r->usage)) {
        reading_skip(&r->reading);
    }
}

static void on_found(void *arg, unsigned place, struct bytes value)
{
    struct answer_reading *r = arg;
    if (place_is_id((enum place)place)) {
        if (r->wants_ids) {
            answer_ids_on_found(&r->ids, (enum place)place, value);
        }
    } else if (place_is_of_usage((enum place)place)) {
        if (r->wants_usage) {
            usage_on_found(&r->usage, (enum place)place, value);
        }
    } else {
        on_shared(r, (enum place)place, value);
    }
}

static void on_whole(void *arg)
{
    struct answer_reading *r = arg;
    if (r->wants_ids) {
        answer_ids_on_whole(&r->ids, r->reading.form);
    }
    if (r->wants_usage) {
        usage_on_whole(&r->usage, r->reading.form);
    }
}

static const struct reading_listener all_listener = {answer_places, on_text, on_found, on_whole,
                                                     NULL};
static const struct reading_listener usage_listener = {answer_usage_places, on_text, on_found,
                                                       on_whole, usage_text_is_beside};
static const struct reading_listener job_listener = {answer_job_places, on_text, on_found, on_whole,
                                                     NULL};

static const struct reading_listener *listener_of(const struct answer_reading *r)
{
    if (!r->wants_ids) {
        return &usage_listener;
    }
    return r->ids.route->id_is_job ? &job_listener : &all_listener;
}

bool answer_reading_begin(struct answer_reading *r, const struct answer_wanted *wanted,
                          struct bytes content_type)
{
    r->wants_ids = wanted->route && placement_tells_ids(wanted->route);
    r->wants_usage = wanted->usage;
    if (!r->wants_ids && !r->wants_usage) {
        return false;
    }
    if (r->wants_ids) {
        answer_ids_begin(&r->ids, wanted->route, wanted->on_id, wanted->arg);
    }
    r->usage.known = r->usage.of_message = false;
    reading_begin(&r->reading, content_type, listener_of(r), r);
    return r->reading.form != READING_NONE;
}

void answer_reading_feed(struct answer_reading *r, struct bytes piece)
{
    reading_feed(&r->reading, piece);
}
