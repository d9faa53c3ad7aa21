/* live: reference-counted runtime state of applications and instances. */
#include "snapshot/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static void *cells_new(size_t count, size_t size)
{
    void *cells = aligned_alloc(CACHE_LINE, count * size);
    if (!cells) {
        abort();
    }
    memset(cells, 0, count * size);
    return cells;
}

struct instance_live *instance_live_new(const char *name, const char *host, uint16_t port,
                                        size_t workers)
{
    struct instance_live *s = cells_new(1, sizeof(*s));
    atomic_init(&s->references, 1);
    atomic_init(&s->route, INSTANCE_OPEN);
    s->name = memory_copy_text(name, strlen(name));
    s->host = memory_copy_text(host, strlen(host));
    s->port = port;
    s->host_shared = host_shared_new(host, port);
    pthread_mutex_init(&s->address_lock, NULL);
    s->cell_count = workers;
    s->cells = cells_new(workers, sizeof(*s->cells));
    return s;
}

void instance_live_join(struct instance_live *s, struct host_shared *host)
{
    host_shared_unref(s->host_shared);
    s->host_shared = host_shared_ref(host);
    atomic_store(&s->slots, host->slots);
}

void instance_live_speak_tls(struct instance_live *s, const char *name)
{
    assert(!s->tls_name);
    s->tls_name = memory_copy_text(name, strlen(name));
    s->tickets = memory_new((s->cell_count + 1) * sizeof(*s->tickets));
}

void instance_live_set_tls(struct instance_live *s, struct tls_client *client)
{
    assert(s->tls_name);
    pthread_mutex_lock(&s->address_lock);
    struct tls_client *before = s->tls;
    s->tls = client ? tls_client_ref(client) : NULL;
    pthread_mutex_unlock(&s->address_lock);
    if (before) {
        tls_client_unref(before);
    }
}

struct tls_client *instance_live_tls(struct instance_live *s)
{
    pthread_mutex_lock(&s->address_lock);
    struct tls_client *client = s->tls ? tls_client_ref(s->tls) : NULL;
    pthread_mutex_unlock(&s->address_lock);
    return client;
}

bool instance_live_lacks_tls(struct instance_live *s)
{
    if (!s->tls_name) {
        return false;
    }
    pthread_mutex_lock(&s->address_lock);
    bool lacks = !s->tls;
    pthread_mutex_unlock(&s->address_lock);
    return lacks;
}

/* Nobody else knows it any more. */
static void forget_tls(struct instance_live *s)
{
    for (size_t i = 0; i <= s->cell_count; i++) {
        tls_slot_clear(&s->tickets[i]);
    }
    instance_live_set_tls(s, NULL);
    free(s->tickets);
    free((void *)(uintptr_t)s->tls_name);
}

struct instance_live *instance_live_ref(struct instance_live *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void instance_live_unref(struct instance_live *s)
{
    if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    assert(atomic_load(&s->in_flight) == 0);
    if (s->tls_name) {
        forget_tls(s);
    }
    pthread_mutex_destroy(&s->address_lock);
    slot_line_done(&s->line);
    host_shared_unref(s->host_shared);
    free((void *)(uintptr_t)s->name);
    free((void *)(uintptr_t)s->host);
    for (size_t w = 0; w < s->cell_count; w++) {
        recent_cell_done(&s->cells[w].recent);
    }
    free(s->cells);
    free(s);
}

bool instance_live_address(struct instance_live *s, struct address_turn *turn,
                           struct sockaddr_storage *ret_address)
{
    pthread_mutex_lock(&s->address_lock);
    if (turn->tried == 0) {
        turn->first = s->address_working;
    }
    turn->count = s->address_count;
    bool found = turn->tried < turn->count;
    if (found) {
        *ret_address = s->addresses[(turn->first + turn->tried) % turn->count];
        turn->tried++;
    }
    pthread_mutex_unlock(&s->address_lock);
    return found;
}

void instance_live_prefer(struct instance_live *s, const struct address_turn *turn)
{
    assert(turn->tried > 0);
    pthread_mutex_lock(&s->address_lock);
    s->address_working = (uint8_t)((turn->first + turn->tried - 1) % s->address_count);
    pthread_mutex_unlock(&s->address_lock);
}

void instance_live_set_addresses(struct instance_live *s, const struct sockaddr_storage *addresses,
                                 size_t count)
{
    assert(count >= 1 && count <= INSTANCE_ADDRESSES_MAX);
    pthread_mutex_lock(&s->address_lock);
    struct sockaddr_storage worked = s->addresses[s->address_working];
    bool same = s->address_count == count &&
                memcmp(s->addresses, addresses, count * sizeof(*addresses)) == 0;
    s->address_working = 0;
    s->address_count = (uint8_t)count;
    for (size_t i = 0; i < count; i++) {
        s->addresses[i] = addresses[i];
        if (memcmp(&addresses[i], &worked, sizeof(worked)) == 0) {
            s->address_working = (uint8_t)i;
        }
    }
    if (!same) {
        atomic_fetch_add_explicit(&s->address_epoch, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&s->address_lock);
}

bool instance_live_has_address(struct instance_live *s)
{
    pthread_mutex_lock(&s->address_lock);
    bool known = s->address_count > 0;
    pthread_mutex_unlock(&s->address_lock);
    return known;
}

void instance_live_bad_status(struct instance_live *s)
{
    uint32_t before = atomic_load(&s->statuses), after;
    do {
        after = (before | STATUS_RUN) + ((before & STATUS_COUNT) < STATUS_COUNT ? 1 : 0);
    } while (!atomic_compare_exchange_weak(&s->statuses, &before, after));
}

void instance_live_end_statuses(struct instance_live *s)
{
    atomic_store(&s->statuses, STATUS_ENDED);
}

uint32_t instance_live_take_statuses(struct instance_live *s, bool *ret_ended)
{
    uint32_t taken = atomic_fetch_and(&s->statuses, STATUS_RUN);
    *ret_ended = (taken & STATUS_ENDED) != 0;
    return taken & STATUS_COUNT;
}

bool instance_live_lists(struct instance_live *s, const struct sockaddr_storage *address)
{
    bool found = false;
    pthread_mutex_lock(&s->address_lock);
    for (size_t i = 0; i < s->address_count && !found; i++) {
        found = memcmp(&s->addresses[i], address, sizeof(*address)) == 0;
    }
    pthread_mutex_unlock(&s->address_lock);
    return found;
}

void cell_sum(void *to, const void *counts, size_t size)
{
    uint64_t *sums = to;
    const uint64_t *counters = counts;
    assert(size % sizeof(*sums) == 0);
    for (size_t i = 0; i < size / sizeof(*sums); i++) {
        sums[i] += __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
    }
}

void instance_live_sum(const struct instance_live *s, struct instance_counts *to)
{
    for (size_t w = 0; w < s->cell_count; w++) {
        cell_sum(to, &s->cells[w].counts, sizeof(*to));
    }
}

void instance_live_usage(const struct instance_live *s, struct usage_sum *to)
{
    for (size_t w = 0; w < s->cell_count; w++) {
        usage_cell_sum(&s->cells[w].usage, to);
    }
}

void application_live_sum(const struct application_live *s, struct application_counts *to)
{
    for (size_t w = 0; w < s->cell_count; w++) {
        cell_sum(to, &s->cells[w].counts, sizeof(*to));
    }
}

struct application_live *application_live_new(const char *name, size_t workers)
{
    struct application_live *s = memory_new(sizeof(*s));
    atomic_init(&s->references, 1);
    s->name = memory_copy_text(name, strlen(name));
    s->cell_count = workers;
    s->cells = cells_new(workers, sizeof(*s->cells));
    return s;
}

struct application_live *application_live_ref(struct application_live *s)
{
    atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
    return s;
}

void application_live_unref(struct application_live *s)
{
    if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t w = 0; w < s->cell_count; w++) {
        answer_cell_done(&s->cells[w].answers);
    }
    free((void *)(uintptr_t)s->name);
    free(s->cells);
    free(s);
}
