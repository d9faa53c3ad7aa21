/* lookup: detached threads, a list of what they have found, and a wake-up of the loop.
 *
 * waiting -> running -> found -> done. A running look-up is its thread's and, through `owner`, the
 * loop's; whoever lets go last frees it, under the lock of `struct answers`, which lives as long as
 * any of them. */
#include "net/lookup.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

struct answers {
    pthread_mutex_t lock;
    struct list found; /* of struct lookup: the loop's to take */
    unsigned users;    /* the loop, and each running thread */
    uv_async_t *wake;  /* NULL: the loop has gone */
};

struct lookup {
    struct list link; /* waiting, or found; else of no list */
    struct answers *answers;
    char *host, *service;
    struct addrinfo hints;
    bool doubtful, running;
    lookup_done done; /* NULL: dropped; the loop's alone */
    void *owner;
    int error;
    struct addrinfo *result;
};

struct lookups {
    uv_async_t wake;
    struct answers *answers;
    struct list waiting;
    unsigned running_count, doubtful_count; /* of those that run: doubtful ones */
    bool closing;
};

static void lookup_free(struct lookup *k)
{
    if (k->result) {
        freeaddrinfo(k->result);
    }
    free(k->host);
    free(k->service);
    free(k);
}

/* With the lock held, which it gives back. */
static void answers_leave(struct answers *s)
{
    bool last = --s->users == 0;
    pthread_mutex_unlock(&s->lock);
    if (last) {
        pthread_mutex_destroy(&s->lock);
        free(s);
    }
}

static void *run(void *arg)
{
    struct lookup *k = arg;
    struct answers *s = k->answers;
    int error = getaddrinfo(k->host, k->service, &k->hints, &k->result);
    k->error = error;
    pthread_mutex_lock(&s->lock);
    if (s->wake) {
        list_push_back(&s->found, &k->link);
        uv_async_send(s->wake);
    } else {
        lookup_free(k);
    }
    answers_leave(s);
    return NULL;
}

static int uv_error_of(int error)
{
    switch (error) {
    case 0:
        return 0;
    case EAI_AGAIN:
        return UV_EAI_AGAIN;
    case EAI_FAIL:
        return UV_EAI_FAIL;
    case EAI_MEMORY:
        return UV_EAI_MEMORY;
    case EAI_FAMILY:
        return UV_EAI_FAMILY;
    case EAI_SERVICE:
        return UV_EAI_SERVICE;
    case EAI_NODATA:
        return UV_EAI_NODATA;
    case EAI_NONAME:
        break;
    }
    return UV_EAI_NONAME;
}

static int start_thread(struct lookup *k)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int error = pthread_create(&thread, &attributes, run, k);
    pthread_attr_destroy(&attributes);
    return error;
}

static bool may_run(const struct lookups *l, const struct lookup *k)
{
    return l->running_count < LOOKUP_THREADS_MAX &&
           (!k->doubtful || l->doubtful_count < LOOKUP_DOUBTFUL_MAX);
}

static void count(struct lookups *l, const struct lookup *k, int change)
{
    l->running_count += (unsigned)change;
    l->doubtful_count += k->doubtful ? (unsigned)change : 0;
}

/* Its thread begins; or it has failed for want of one, and is found so. */
static void begin(struct lookups *l, struct lookup *k)
{
    struct answers *s = l->answers;
    list_remove(&k->link);
    count(l, k, 1);
    k->running = true;
    pthread_mutex_lock(&s->lock);
    s->users++;
    pthread_mutex_unlock(&s->lock);
    if (start_thread(k) != 0) {
        pthread_mutex_lock(&s->lock);
        s->users--;
        k->error = EAI_AGAIN;
        list_push_back(&s->found, &k->link);
        uv_async_send(&l->wake);
        pthread_mutex_unlock(&s->lock);
    }
}

static void begin_waiting_ones(struct lookups *l)
{
    for (struct list *at = l->waiting.next, *next; at != &l->waiting; at = next) {
        struct lookup *k = LIST_ENTRY(at, struct lookup, link);
        next = at->next;
        if (may_run(l, k)) {
            begin(l, k);
        }
    }
}

static struct lookup *next_found(struct answers *s)
{
    struct lookup *k = NULL;
    pthread_mutex_lock(&s->lock);
    if (!list_empty(&s->found)) {
        k = LIST_ENTRY(s->found.next, struct lookup, link);
        list_remove(&k->link);
    }
    pthread_mutex_unlock(&s->lock);
    return k;
}

static void on_wake(uv_async_t *wake)
{
    struct lookups *l = wake->data;
    struct lookup *k;
    while (!l->closing && (k = next_found(l->answers)) != NULL) {
        count(l, k, -1);
        lookup_done done = k->done;
        void *owner = k->owner;
        int error = uv_error_of(k->error);
        struct addrinfo *result = done ? k->result : NULL;
        k->result = done ? NULL : k->result;
        lookup_free(k);
        if (done) {
            done(owner, error, result);
        }
    }
    if (!l->closing) {
        begin_waiting_ones(l);
    }
}

struct lookups *lookups_open(uv_loop_t *loop)
{
    struct lookups *l = memory_new(sizeof(*l));
    l->answers = memory_new(sizeof(*l->answers));
    pthread_mutex_init(&l->answers->lock, NULL);
    list_init(&l->answers->found);
    list_init(&l->waiting);
    int error = uv_async_init(loop, &l->wake, on_wake);
    assert(error == 0);
    l->wake.data = l;
    l->answers->wake = &l->wake;
    l->answers->users = 1;
    return l;
}

struct lookup *lookup_begin(struct lookups *l, const struct lookup_question *question,
                            lookup_done done, void *owner)
{
    assert(!l->closing);
    struct lookup *k = memory_new(sizeof(*k));
    k->answers = l->answers;
    k->host = memory_copy_text(question->host, strlen(question->host));
    k->service = memory_copy_text(question->service, strlen(question->service));
    k->hints.ai_family = question->family;
    k->hints.ai_socktype = question->socktype;
    k->doubtful = question->doubtful;
    k->done = done;
    k->owner = owner;
    list_push_back(&l->waiting, &k->link);
    if (may_run(l, k)) {
        begin(l, k);
    }
    return k;
}

void lookup_drop(struct lookup *k)
{
    k->done = NULL;
    if (!k->running) {
        list_remove(&k->link);
        lookup_free(k);
    }
}

struct wait {
    bool over;
    int error;
    struct addrinfo *result;
};

static void on_waited(void *owner, int error, struct addrinfo *result)
{
    struct wait *w = owner;
    *w = (struct wait){true, error, result};
}

int lookup_wait(struct lookups *l, const struct lookup_question *question,
                bool (*goes_on)(const void *owner), const void *owner, struct addrinfo **ret_result)
{
    struct wait wait = {0};
    uv_loop_t *loop = l->wake.loop;
    lookup_begin(l, question, on_waited, &wait);
    while (!wait.over && goes_on(owner)) {
        uv_run(loop, UV_RUN_ONCE);
    }
    if (!wait.over) {
        return UV_ECANCELED;
    }
    *ret_result = wait.result;
    return wait.error;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void lookups_close(struct lookups *l)
{
    struct answers *s = l->answers;
    struct lookup *k;
    l->closing = true;
    while (!list_empty(&l->waiting)) {
        lookup_free(LIST_ENTRY(list_take_first(&l->waiting), struct lookup, link));
    }
    while ((k = next_found(s)) != NULL) {
        lookup_free(k);
    }
    pthread_mutex_lock(&s->lock);
    s->wake = NULL; /* who comes later frees what it has found */
    answers_leave(s);
    uv_close((uv_handle_t *)&l->wake, on_closed);
}
