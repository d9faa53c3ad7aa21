/* uploads: a list under a lock. */
#include "together/uploads.h"

#include <string.h>

void uploads_open(struct uploads_waiting *u, void (*on_news)(void *owner), void *owner)
{
    memset(u, 0, sizeof(*u));
    u->on_news = on_news;
    u->owner = owner;
    pthread_mutex_init(&u->lock, NULL);
}

void uploads_close(struct uploads_waiting *u)
{
    pthread_mutex_destroy(&u->lock);
}

void uploads_add(struct uploads_waiting *u, struct upload row)
{
    pthread_mutex_lock(&u->lock);
    bool first = u->count == 0;
    if (u->count < UPLOADS_WAITING_MAX) {
        u->rows[u->count++] = row;
        atomic_store(&u->any, true);
    } else {
        u->lost = true;
    }
    pthread_mutex_unlock(&u->lock);
    if (first) {
        u->on_news(u->owner);
    }
}

size_t uploads_take(struct uploads_waiting *u, struct upload ret_rows[UPLOADS_WAITING_MAX],
                    bool *ret_lost)
{
    size_t count = 0;
    *ret_lost = false;
    if (atomic_load_explicit(&u->any, memory_order_relaxed)) {
        pthread_mutex_lock(&u->lock);
        count = u->count;
        memcpy(ret_rows, u->rows, count * sizeof(*ret_rows));
        *ret_lost = u->lost;
        u->lost = false;
        u->count = 0;
        atomic_store(&u->any, false);
        pthread_mutex_unlock(&u->lock);
    }
    return count;
}
