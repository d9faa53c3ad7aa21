/* placements: a small table of searches, by buckets. */
#include "together/placements.h"

#include <assert.h>

void placements_open(struct placements *p, uint64_t limit, const uint8_t key[SIPHASH_KEY_SIZE])
{
    memset(p, 0, sizeof(*p));
    p->memory = placement_memory_new(limit);
    memcpy(p->key, key, sizeof(p->key));
    pthread_mutex_init(&p->lock, NULL);
}

void placements_close(struct placements *p)
{
    placement_memory_free(p->memory);
    pthread_mutex_destroy(&p->lock);
}

static uint64_t file_id(const uint8_t key[SIPHASH_KEY_SIZE], uint64_t application,
                        struct bytes text)
{
    return placement_id(key, application, PLACEMENT_FILE, text);
}

uint64_t placements_file_id(const struct placements *p, const struct placement_file_keys *files,
                            uint64_t application, struct bytes text)
{
    uint64_t first = file_id(files->at[0], application, text), id = first;
    for (size_t i = 1; i <= files->count; i++) {
        if (placement_memory_peek(p->memory, id) != PLACEMENT_NOWHERE) {
            return id;
        }
        id = i < files->count ? file_id(files->at[i], application, text) : first;
    }
    return first;
}

enum { USER_MAX = 1024 /* of a longer one the end does not count */ };

uint64_t placements_key(const struct placements *p, uint64_t id, struct bytes user)
{
    char text[sizeof(id) + USER_MAX];
    size_t size = user.size < USER_MAX ? user.size : USER_MAX;
    memcpy(text, &id, sizeof(id));
    memcpy(text + sizeof(id), user.at ? user.at : "", size);
    uint64_t key = siphash(p->key, (struct bytes){text, sizeof(id) + size});
    return key ? key : 1;
}

static struct placements_search *bucket_of(struct placements *p, uint64_t key)
{
    return p->searches[key % PLACEMENTS_BUCKETS];
}

/* The entry of `key`, else one that is free or over, else the oldest that is not running. */
static struct placements_search *entry_for(struct placements *p, uint64_t key, uint64_t now_ms)
{
    struct placements_search *bucket = bucket_of(p, key), *best = NULL;
    for (size_t i = 0; i < PLACEMENTS_WAYS; i++) {
        struct placements_search *s = &bucket[i];
        if (s->key == key) {
            return s;
        }
        if (s->until_ms <= now_ms) {
            s->until_ms = 0;
            s->running = false;
        }
        if (!s->running && (!best || s->until_ms < best->until_ms)) {
            best = s;
        }
    }
    return best;
}

enum placements_state placements_begin(struct placements *p, uint64_t key, uint64_t now_ms,
                                       uint64_t longest_ms)
{
    enum placements_state state = PLACEMENTS_YOURS;
    pthread_mutex_lock(&p->lock);
    struct placements_search *s = entry_for(p, key, now_ms);
    if (s && s->key == key && s->until_ms > now_ms) {
        state = s->running ? PLACEMENTS_OTHERS : PLACEMENTS_NOBODYS;
    } else if (s) {
        *s = (struct placements_search){key, now_ms + longest_ms, true};
    }
    pthread_mutex_unlock(&p->lock);
    return state;
}

void placements_end(struct placements *p, uint64_t key, bool absent, uint64_t now_ms)
{
    struct placements_search *bucket = bucket_of(p, key);
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < PLACEMENTS_WAYS; i++) {
        if (bucket[i].key == key) {
            bucket[i] = absent
                            ? (struct placements_search){key, now_ms + PLACEMENT_ABSENT_MS, false}
                            : (struct placements_search){0};
        }
    }
    pthread_mutex_unlock(&p->lock);
}
