/* private: the inside of a shard, for this room. Subjects and parts lie in pieces that are made
 * when they are needed and never move; an index of 0 is none. */
#ifndef QUOTA_PRIVATE_H
#define QUOTA_PRIVATE_H

#include "base/slab.h"
#include "quota/shard.h"

enum {
    PIECE = 256,
    BUCKETS_FIRST = 64,     /* they double while there are fewer than subjects, */
    BUCKETS_MAX = 4096,     /* up to this: four subjects each in a full shard */
    NOT_NEWS = QUOTA_HEATS, /* a subject's heat: it is on no list of news */
};

/* What another owner has granted. */
struct part {
    uint32_t next; /* of the subject, or of the free ones */
    uint32_t active;
    uint16_t owner;
    struct quota_window window;
};

struct subject {
    uint64_t key;
    uint32_t chain;        /* of the bucket, or of the free ones */
    uint32_t older, newer; /* by when it came, or was passed by: see push_out() */
    uint32_t news_before, news_behind;
    uint32_t parts;
    uint32_t active;
    uint16_t rule;
    uint8_t heat;
    bool taken;     /* it is one: not free */
    bool recent;    /* used since it came there */
    uint32_t index; /* its own */
    struct quota_window own;
};

/* As few as will do: few lie in a cache that is near, whoever is asked for. (With all of them from
 * the beginning, a third of what a request's quotas took was waiting for a bucket.) Pointers, for
 * by an index a look would wait for two loads more. */
struct buckets {
    uint32_t mask; /* their number, a power of two, less one */
    struct subject *first[];
};

struct quota_shard {
    const uint8_t *owner_up;
    bool tells;
    struct slab *slab; /* lent */
    size_t subjects_max;
    struct subject **subjects;
    struct part **parts;
    uint32_t subject_count, part_count; /* ever made, and 1 */
    uint32_t free_subjects, free_parts;
    uint32_t oldest, newest;
    struct {
        uint32_t first, last;
    } news[QUOTA_HEATS];
    struct buckets *buckets; /* NULL: nobody has asked yet */
    struct quota_shard_counts counts;
};

static inline struct subject *subject_at(const struct quota_shard *s, uint32_t index)
{
    return &s->subjects[index / PIECE][index % PIECE];
}

/* NULL for 0. */
static inline struct subject *subject_or_none(const struct quota_shard *s, uint32_t index)
{
    return index ? subject_at(s, index) : NULL;
}

static inline struct part *part_at(const struct quota_shard *s, uint32_t index)
{
    return &s->parts[index / PIECE][index % PIECE];
}

/* shard.c: the index of a subject, or 0; made where it is missing. 0 there too: every subject has
 * requests in flight. */
uint32_t subject_find(const struct quota_shard *s, uint64_t key);
uint32_t subject_make(struct quota_shard *s, uint64_t key, uint16_t rule);
/* What counts; parts that say nothing any more are dropped. */
uint64_t subject_used(struct quota_shard *s, struct subject *x, uint64_t window_ms,
                      uint64_t now_ms);
void subject_forget(struct quota_shard *s, uint32_t index);
/* It is news, of this heat or its own if that is hotter. */
void news_add(struct quota_shard *s, uint32_t index, unsigned heat);
void news_remove(struct quota_shard *s, uint32_t index);
/* 0: there is no room. */
uint32_t part_make(struct quota_shard *s, uint32_t subject);
void part_free(struct quota_shard *s, uint32_t index);

#endif
