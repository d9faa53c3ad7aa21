/* pages: lists of records as values of gossip's maps, and the other way round.
 *
 * A value holds at most WIRE_VALUE_MAX bytes, so a long list becomes several pages, filled up one
 * after the other in the order in which records are added. Each page reads alone: records on it
 * leave out only what the record before them on the same page says. A file is one endless page. */
#ifndef LEDGER_PAGES_H
#define LEDGER_PAGES_H

#include "base/buffer.h"
#include "ledger/ledger.h"

/* A drained instance; see cluster_set_drained(). */
struct drain_record {
    struct bytes application, instance;
    bool drained;
    bool now;         /* what belongs there is not sent there either */
    uint64_t hold_ms; /* and waits for so long; 0 = as placement says */
    uint64_t time;    /* hybrid: at least the wall clock in ms of who wrote it */
    struct bytes node;
};

/* At equal times the larger node name is; of one node's, which had started with an old disk and not
 * yet heard what it had ordered before, the drain: whoever hears both, in any order, must agree. */
bool drain_record_is_later(const struct drain_record *a, const struct drain_record *than);

/* No wall clock is beyond it (year 3084), so there is always a later time than any in a record. */
#define DRAIN_TIME_MAX ((uint64_t)1 << 45)

struct page_writer {
    size_t page_max;
    void (*on_page)(void *arg, size_t page, struct bytes value);
    void *arg;
    struct buffer text;
    size_t page_count;         /* told so far */
    struct ledger_record last; /* on this page */
};

void page_writer_init(struct page_writer *w, size_t page_max,
                      void (*on_page)(void *arg, size_t page, struct bytes value), void *arg);
/* Records' names must stay until page_writer_done(). */
void page_add_count(struct page_writer *w, const struct ledger_record *r);
void page_add_drain(struct page_writer *w, const struct drain_record *d);
/* Only buckets that are not 0. */
void page_add_latency(struct page_writer *w, struct bytes application,
                      const uint64_t buckets[HISTOGRAM_BUCKETS]);
void page_add_version(struct page_writer *w, uint32_t version);
/* Tells the last page; returns how many there were. Frees. */
size_t page_writer_done(struct page_writer *w);

/* What is read from a page, record after record; NULL: not of interest. */
struct page_reader {
    void (*on_count)(void *arg, const struct ledger_record *r);
    void (*on_drain)(void *arg, const struct drain_record *d);
    void (*on_latency)(void *arg, struct bytes application, unsigned bucket, uint64_t count);
    void *arg;
    struct bytes owner; /* the node of counts that name none */
};

/* False when it is no page or any record breaks a limit: nothing was told then. */
bool page_read(const struct page_reader *reader, struct bytes page);
/* The version that a page says; 0: none, or no page. */
uint32_t page_version(struct bytes page);

#endif
