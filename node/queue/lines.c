/* lines: lists of waiters, and a table of users that lives as long as they have any. */
#include "queue/lines.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

struct slot_user {
    uint64_t key;
    struct list turn, bucket;
    struct list waiters;
};

void slot_line_done(struct slot_line *line)
{
    assert(line->count == 0);
    free(line->idle);
    line->idle = NULL;
}

void lines_init(struct lines *l)
{
    *l = (struct lines){.count = {0}};
    list_init(&l->shorts);
    list_init(&l->turns);
    for (size_t i = 0; i < LINES_BUCKETS; i++) {
        list_init(&l->buckets[i]);
    }
}

void lines_done(struct lines *l)
{
    assert(l->count[SLOT_SHORT] == 0 && l->count[SLOT_LONG] == 0 && list_empty(&l->turns));
}

static struct slot_user *take_user(struct lines *l, uint64_t key)
{
    struct list *bucket = &l->buckets[(key ^ key >> 32) % LINES_BUCKETS];
    for (struct list *i = bucket->next; i != bucket; i = i->next) {
        struct slot_user *user = LIST_ENTRY(i, struct slot_user, bucket);
        if (user->key == key) {
            return user;
        }
    }
    struct slot_user *user = memory_new(sizeof(*user));
    user->key = key;
    list_init(&user->waiters);
    list_push_back(bucket, &user->bucket);
    list_push_back(&l->turns, &user->turn);
    return user;
}

static void drop_user(struct slot_user *user)
{
    list_remove(&user->turn);
    list_remove(&user->bucket);
    free(user);
}

void lines_join(struct lines *l, struct slot_waiter *w)
{
    if (!w->line->waiters.next) {
        list_init(&w->line->waiters);
    }
    w->user = w->class == SLOT_LONG ? take_user(l, w->user_key) : NULL;
    list_push_back(w->user ? &w->user->waiters : &l->shorts, &w->turn);
    list_push_back(&w->line->waiters, &w->place);
    w->line->count++;
    l->count[w->class]++;
}

void lines_leave(struct lines *l, struct slot_waiter *w)
{
    assert(l->count[w->class] > 0 && w->line->count > 0);
    list_remove(&w->turn);
    list_remove(&w->place);
    w->line->count--;
    l->count[w->class]--;
    if (w->user && list_empty(&w->user->waiters)) {
        drop_user(w->user);
    }
    w->user = NULL;
}

struct slot_waiter *lines_first(const struct lines *l, enum slot_class class)
{
    const struct list *line = &l->shorts;
    if (l->count[class] == 0) {
        return NULL;
    }
    if (class == SLOT_LONG) {
        line = &LIST_ENTRY(l->turns.next, struct slot_user, turn)->waiters;
    }
    return LIST_ENTRY(line->next, struct slot_waiter, turn);
}

void lines_serve(struct lines *l, struct slot_waiter *first)
{
    if (first->user) {
        list_remove(&first->user->turn);
        list_push_back(&l->turns, &first->user->turn);
    }
    lines_leave(l, first);
}
