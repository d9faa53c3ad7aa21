/* pages: protobuf, one record at a time. A message with a repeated field is the same as the texts
 * of one-record messages behind one another, so a page grows until the next record does not fit.
 *
 * Reading goes twice over what was decoded: first everything is checked, then it is told. */
#include "ledger/pages.h"

#include <assert.h>
#include <stdlib.h>

#include "ledger/usage_wire.h"
#include "proto/binary.h"
#include "proto/cluster.pb-c.h"

enum {
    /* Buckets in one record: 32 distances and counts are at most 32 x (2 + 7) bytes, so that a
     * record leaves room for others on its page. */
    LATENCY_BUCKETS = 32,
};

/* Bytes from others are decoded only. */
static uint64_t weight_of(const struct drain_record *r)
{
    return (uint64_t)r->drained << 63 | (uint64_t)r->now << 62 | r->hold_ms;
}

bool drain_record_is_later(const struct drain_record *a, const struct drain_record *than)
{
    int by_node = bytes_compare(a->node, than->node);
    return a->time != than->time ? a->time > than->time
           : by_node != 0        ? by_node > 0
                                 : weight_of(a) > weight_of(than);
}

/* ---- writing ---- */

void page_writer_init(struct page_writer *w, size_t page_max,
                      void (*on_page)(void *arg, size_t page, struct bytes value), void *arg)
{
    *w = (struct page_writer){.page_max = page_max, .on_page = on_page, .arg = arg};
}

static void end_page(struct page_writer *w)
{
    if (w->text.size > 0) {
        w->on_page(w->arg, w->page_count, buffer_bytes(&w->text));
        w->page_count++;
    }
    buffer_clear(&w->text);
    w->last = (struct ledger_record){0};
}

/* False: it does not fit any more. */
static bool append(struct page_writer *w, const Cluster__Page *page)
{
    size_t size = cluster__page__get_packed_size(page);
    if (w->text.size + size > w->page_max) {
        return false;
    }
    buffer_reserve(&w->text, size);
    cluster__page__pack(page, (uint8_t *)w->text.data + w->text.size);
    w->text.size += size;
    return true;
}

static void append_or_turn(struct page_writer *w, const Cluster__Page *page)
{
    if (!append(w, page)) {
        end_page(w);
        bool fits = append(w, page);
        assert(fits); /* the longest record is far below the smallest page */
    }
}

static bool append_count(struct page_writer *w, const struct ledger_record *r)
{
    struct usage_packed space;
    Cluster__Count count = CLUSTER__COUNT__INIT;
    Cluster__Count *counts[] = {&count};
    Cluster__Page page = CLUSTER__PAGE__INIT;
    page.n_counts = 1;
    page.counts = counts;
    bool same_node = bytes_equal(r->node, w->last.node);
    bool same_slot = same_node && r->generation == w->last.generation;
    if (!same_node) {
        count.node = binary_of(r->node);
    }
    if (!same_slot) {
        count.generation = r->generation;
    }
    if (!same_slot || !bytes_equal(r->application, w->last.application)) {
        count.application = binary_of(r->application);
    }
    count.instance = binary_of(r->instance);
    count.requests = r->requests;
    count.failures = r->failures;
    count.active = r->active;
    usage_pack(&count, r->usage, &space);
    return append(w, &page);
}

/* All zeros are told, too: the last that others heard may be a gauge that was not. */
void page_add_count(struct page_writer *w, const struct ledger_record *r)
{
    if (!append_count(w, r)) {
        end_page(w);
        bool fits = append_count(w, r);
        assert(fits);
    }
    w->last = *r;
}

void page_add_drain(struct page_writer *w, const struct drain_record *d)
{
    Cluster__Drain drain = CLUSTER__DRAIN__INIT;
    Cluster__Drain *drains[] = {&drain};
    Cluster__Page page = CLUSTER__PAGE__INIT;
    page.n_drains = 1;
    page.drains = drains;
    drain.application = binary_of(d->application);
    drain.instance = binary_of(d->instance);
    drain.drained = d->drained;
    drain.now = d->now;
    drain.hold_ms = d->hold_ms;
    drain.time = d->time;
    drain.node = binary_of(d->node);
    append_or_turn(w, &page);
}

void page_add_latency(struct page_writer *w, struct bytes application,
                      const uint64_t buckets[HISTOGRAM_BUCKETS])
{
    uint64_t values[2 * LATENCY_BUCKETS];
    Cluster__Latency latency = CLUSTER__LATENCY__INIT;
    Cluster__Latency *latencies[] = {&latency};
    Cluster__Page page = CLUSTER__PAGE__INIT;
    page.n_latencies = 1;
    page.latencies = latencies;
    latency.application = binary_of(application);
    latency.buckets = values;
    unsigned last = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        if (buckets[b] > 0) {
            values[latency.n_buckets++] = b - last;
            values[latency.n_buckets++] = buckets[b];
            last = b;
        }
        if (latency.n_buckets == 2 * LATENCY_BUCKETS ||
            (b + 1 == HISTOGRAM_BUCKETS && latency.n_buckets > 0)) {
            append_or_turn(w, &page);
            latency.n_buckets = 0;
            last = 0;
        }
    }
}

void page_add_version(struct page_writer *w, uint32_t version)
{
    Cluster__Page page = CLUSTER__PAGE__INIT;
    page.version = version;
    append_or_turn(w, &page);
}

size_t page_writer_done(struct page_writer *w)
{
    end_page(w);
    buffer_done(&w->text);
    return w->page_count;
}

/* ---- reading ---- */

/* Fills in what a count leaves to the one before it. */
static void follow(struct ledger_record *r, const Cluster__Count *c)
{
    if (c->node.len > 0) {
        r->node = bytes_in(c->node);
    }
    if (c->generation > 0) {
        r->generation = c->generation;
    }
    if (c->application.len > 0) {
        r->application = bytes_in(c->application);
    }
    r->instance = bytes_in(c->instance);
    r->requests = c->requests;
    r->failures = c->failures;
    r->active = c->active;
}

/* Checks the counts or tells them. */
static bool walk_counts(const struct page_reader *reader, const Cluster__Page *page, bool tell)
{
    struct usage_sum usage;
    struct ledger_record r = {.node = reader->owner, .usage = &usage};
    for (size_t i = 0; i < page->n_counts; i++) {
        follow(&r, page->counts[i]);
        if (!usage_unpack(page->counts[i], &usage) || !ledger_record_valid(&r)) {
            return false;
        }
        if (tell) {
            reader->on_count(reader->arg, &r);
        }
    }
    return true;
}

static bool walk_drains(const struct page_reader *reader, const Cluster__Page *page, bool tell)
{
    for (size_t i = 0; i < page->n_drains; i++) {
        const Cluster__Drain *d = page->drains[i];
        struct drain_record r = {
            .application = bytes_in(d->application),
            .instance = bytes_in(d->instance),
            .drained = d->drained,
            .now = d->now,
            .hold_ms = d->hold_ms,
            .time = d->time,
            .node = bytes_in(d->node),
        };
        if (!names_valid(r.application) || !names_valid(r.instance) || !names_valid(r.node) ||
            r.time > DRAIN_TIME_MAX) {
            return false;
        }
        if (tell) {
            reader->on_drain(reader->arg, &r);
        }
    }
    return true;
}

static bool walk_latency(const struct page_reader *reader, const Cluster__Latency *l, bool tell)
{
    struct bytes application = bytes_in(l->application);
    uint64_t bucket = 0;
    if (!names_valid(application) || l->n_buckets % 2 != 0) {
        return false;
    }
    for (size_t i = 0; i < l->n_buckets; i += 2) {
        if (l->buckets[i] >= HISTOGRAM_BUCKETS || l->buckets[i + 1] > LEDGER_NUMBER_MAX) {
            return false;
        }
        bucket += l->buckets[i];
        if (bucket >= HISTOGRAM_BUCKETS) {
            return false;
        }
        if (tell) {
            reader->on_latency(reader->arg, application, (unsigned)bucket, l->buckets[i + 1]);
        }
    }
    return true;
}

static bool walk(const struct page_reader *reader, const Cluster__Page *page, bool tell)
{
    bool good = !reader->on_count || walk_counts(reader, page, tell);
    good = good && (!reader->on_drain || walk_drains(reader, page, tell));
    for (size_t i = 0; good && reader->on_latency && i < page->n_latencies; i++) {
        good = walk_latency(reader, page->latencies[i], tell);
    }
    return good;
}

bool page_read(const struct page_reader *reader, struct bytes page)
{
    Cluster__Page *p = cluster__page__unpack(NULL, page.size, (const uint8_t *)page.at);
    bool good = p && walk(reader, p, false);
    if (good) {
        walk(reader, p, true);
    }
    if (p) {
        cluster__page__free_unpacked(p, NULL);
    }
    return good;
}

uint32_t page_version(struct bytes page)
{
    Cluster__Page *p = cluster__page__unpack(NULL, page.size, (const uint8_t *)page.at);
    uint32_t version = p ? p->version : 0;
    if (p) {
        cluster__page__free_unpacked(p, NULL);
    }
    return version;
}
