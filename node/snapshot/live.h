/* live: what all threads of a node know together about an application and an instance.
 *
 * Control creates these and keeps them over reloads; snapshots hold references. Words that one
 * thread writes and others read are atomics used relaxed: they carry no order, only values. Per
 * worker there is a cell that only this worker writes, on cache lines of its own. */
#ifndef SNAPSHOT_LIVE_H
#define SNAPSHOT_LIVE_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/histogram.h"
#include "base/list.h"
#include "quota/shard.h"
#include "snapshot/answers.h"
#include "snapshot/hosts.h"
#include "snapshot/recent.h"
#include "snapshot/usage_cell.h"
#include "tls/client.h"
#include "tls/slot.h"

enum {
    CACHE_LINE = 64,
    /* Of one name; more are not kept. Each gets its share of the time for connecting: of the usual
     * 2 s an eighth is still enough for a round trip around the world. */
    INSTANCE_ADDRESSES_MAX = 8,
};

/* May requests go there? Written by control; TRIAL is taken by the one worker that turns it into
 * TRIAL_TAKEN, and its outcome decides (SPEC §4, passive). TRIAL_EVENT is the same for a POST that
 * asks for a stream, and that one alone. */
enum instance_route {
    INSTANCE_CLOSED,
    INSTANCE_OPEN,
    INSTANCE_TRIAL,
    INSTANCE_TRIAL_TAKEN,
    INSTANCE_TRIAL_EVENT,
};

/* What is counted of an instance. It only grows. In a worker's cell it is touched by cell_add() and
 * cell_sum() alone; the sum over cells is the same struct, and anybody's. */
struct instance_counts {
    uint64_t requests;   /* sent to it */
    uint64_t answers;    /* response heads that came */
    uint64_t failures;   /* passive failures */
    uint64_t bytes_from; /* response bytes: is it alive while checks time out? */
};

/* One worker's view of one instance. */
struct instance_cell {
    alignas(CACHE_LINE) struct instance_counts counts;
    /* the worker's own */
    struct list
        idle; /* of upstream connections, most recently used first; next NULL = not set up */
    uint32_t idle_count, idle_limit_ms;
    uint64_t no_pool_until_ms;
    struct recent_cell recent; /* control reads it */
    struct usage_cell usage;
};

struct instance_live {
    _Atomic uint32_t references;
    const char *name, *host;
    uint16_t port;
    alignas(CACHE_LINE) _Atomic uint32_t route; /* enum instance_route */
    _Atomic uint32_t standing;  /* for what belongs there: enum placement_standing; by control */
    _Atomic uint64_t hold_ms;   /* so long they wait: drained with `now` and `hold`; 0: it is not */
    _Atomic uint32_t awaited;   /* requests that wait for its return */
    _Atomic bool check_passed;  /* the last one; by control */
    uint16_t place;             /* its number for placement/memory; 0: it has none */
    _Atomic uint32_t in_flight; /* attempts in flight, all workers */
    _Atomic uint32_t
        overdue; /* of them: streams that wait for their first event, see health/gray */
    /* Of its host and port, which it keeps; NULL: they have no limit, and nobody waits or counts.
     * Written by control, once. */
    _Atomic(struct host_slots *) slots;
    /* Grows when the addresses change: is a connection's still one of them? */
    _Atomic uint32_t address_epoch;
    /* Mailbox to control: added to by workers, taken by control after its wake-up. */
    _Atomic uint32_t failures_new, silent_new, trial_good, trial_void;
    _Atomic uint32_t failure_why;    /* of the last one, see instance_why(); before its box */
    _Atomic uint32_t statuses;       /* failures by status, see instance_live_bad_status() */
    _Atomic uint32_t check_wanted;   /* 1: an answer calls for a check; control makes it 0 again */
    struct host_shared *host_shared; /* of its host and port; a reference */
    struct slot_line line;           /* who waits for it: of `slots`, under its lock */
    pthread_mutex_t
        address_lock; /* taken when connecting and when a name is looked up: not often */
    struct sockaddr_storage addresses[INSTANCE_ADDRESSES_MAX];
    uint8_t address_count;   /* 0: none is known; never 0 again */
    uint8_t address_working; /* the one to begin with */
    bool name_asked;         /* the first look-up of its name has not ended; control's alone */
    /* Where TLS is spoken to it; else NULL all three. */
    const char *tls_name;     /* whom its certificate must be for */
    struct tls_slot *tickets; /* one a worker, and behind them control's */
    struct tls_client *tls;   /* behind address_lock; NULL: its files cannot be read here */
    size_t cell_count;
    struct instance_cell *cells; /* one a worker */
    /* One a worker, lent by control: they outlive this, as the instance's name may move to
     * another host. */
    struct answer_cell *answers;
};

enum { ENDINGS_MAX = 24 };

/* What is counted of an application, as instance_counts. */
struct application_counts {
    uint64_t finished; /* summed before `requests`, which is never less */
    uint64_t requests;
    uint64_t errors;
    uint64_t retries;                    /* attempts beyond a request's first */
    uint64_t queue_rejected[2];          /* 429 for a full queue; for queue.timeout */
    uint64_t quota_rejected[QUOTA_PERS]; /* 429 */
    uint64_t quota_shadowed[QUOTA_PERS]; /* would have been, but for `shadow` */
    uint64_t endings[ENDINGS_MAX];       /* by what exchange/exchange_ending.h calls them */
    struct histogram first_byte;
    struct histogram queued; /* how long those that had to wait for a slot have waited */
    struct histogram whole;  /* from a request's head to the end of its response */
};

struct application_cell {
    alignas(CACHE_LINE) struct application_counts counts;
    struct answer_cell answers; /* of requests that were given no instance */
};

struct application_live {
    _Atomic uint32_t references;
    _Atomic bool mail; /* an instance's mailbox holds something; workers set it, control takes it */
    const char *name;
    size_t cell_count;
    struct application_cell *cells;
};

struct instance_live *instance_live_new(const char *name, const char *host, uint16_t port,
                                        size_t workers);
/* Before any worker knows it: what it shares with other entries of its host and port. Until then it
 * is alone there. */
void instance_live_join(struct instance_live *s, struct host_shared *host);

/* This worker's corner of its slots; NULL: no limit. */
static inline struct host_corner *instance_live_corner(const struct instance_live *s,
                                                       unsigned worker)
{
    struct host_slots *slots = atomic_load_explicit(&s->slots, memory_order_acquire);
    return slots ? &slots->corners[worker] : NULL;
}

/* Before any worker knows it: TLS is spoken to it, and its certificate is to be for `name`. */
void instance_live_speak_tls(struct instance_live *s, const char *name);

/* Connections from now on are made by this client; NULL: none are, for this node lacks its files.
 * Takes a reference. */
void instance_live_set_tls(struct instance_live *s, struct tls_client *client);

/* A reference; NULL: there is none. */
struct tls_client *instance_live_tls(struct instance_live *s);

/* Is TLS to be spoken to it, and this node lacks what that takes? */
bool instance_live_lacks_tls(struct instance_live *s);

struct instance_live *instance_live_ref(struct instance_live *s);
void instance_live_unref(struct instance_live *s); /* any thread */

/* Where one attempt to connect is among the addresses. Zero: at its beginning. A look-up that
 * changes them meanwhile may make it skip one or try one twice, but never go on for ever. */
struct address_turn {
    uint8_t first, tried, count;
};

/* The next address to connect to, beginning with the one that last worked; false when all have been
 * tried, or while the name has none. */
bool instance_live_address(struct instance_live *s, struct address_turn *turn,
                           struct sockaddr_storage *ret_address);

/* The address that `turn` gave last works. */
void instance_live_prefer(struct instance_live *s, const struct address_turn *turn);

/* All addresses anew, 1 to INSTANCE_ADDRESSES_MAX, the best first. The one that worked stays the
 * one to begin with, if it is among them. */
void instance_live_set_addresses(struct instance_live *s, const struct sockaddr_storage *addresses,
                                 size_t count);

bool instance_live_has_address(struct instance_live *s);

/* Failures by status count in a row: a proper answer ends the run (SPEC §4). All workers see the
 * same instance, so the run is kept here, in one word:
 *
 *   STATUS_RUN     a run goes on: there is something that a proper answer ends
 *   STATUS_ENDED   a run has ended since control looked last; the failures in the low bits came
 *                  after that
 *
 * So a proper answer costs the look at a word whose line the request has in its cache anyway. */
enum {
    STATUS_RUN = 1 << 30,
    STATUS_ENDED = 1 << 29,
    STATUS_COUNT = STATUS_ENDED - 1,
};

void instance_live_bad_status(struct instance_live *s);
void instance_live_end_statuses(struct instance_live *s);

static inline void instance_live_proper_answer(struct instance_live *s)
{
    if (atomic_load_explicit(&s->statuses, memory_order_relaxed) & STATUS_RUN) {
        instance_live_end_statuses(s);
    }
}

/* For control: what came since the last call. */
uint32_t instance_live_take_statuses(struct instance_live *s, bool *ret_ended);

/* Kind and detail of health/reason in one word. */
static inline uint32_t instance_why(unsigned kind, unsigned detail)
{
    return (uint32_t)kind << 16 | (uint32_t)(detail & UINT16_MAX);
}

/* Is this one of them? */
bool instance_live_lists(struct instance_live *s, const struct sockaddr_storage *address);

struct application_live *application_live_new(const char *name, size_t workers);
struct application_live *application_live_ref(struct application_live *s);
void application_live_unref(struct application_live *s);

/* Adds to a counter that only this thread writes: no locked instruction. */
static inline void cell_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

static inline void cell_time(struct histogram *h, uint64_t us)
{
    cell_add(&h->counts[histogram_bucket(us)], 1);
    cell_add(&h->sum_us, us);
}

/* Adds a cell's counters to `to`, each where it is: both are structs of `size` bytes that hold
 * counters and nothing else. Any thread. All sums over workers are made by this. */
void cell_sum(void *to, const void *counts, size_t size);

/* The sums of all workers, added to `to`. */
void instance_live_sum(const struct instance_live *s, struct instance_counts *to);
void application_live_sum(const struct application_live *s, struct application_counts *to);
void instance_live_usage(const struct instance_live *s, struct usage_sum *to);

#endif
