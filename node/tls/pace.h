/* pace: so many a second and no more, for all threads of a node together. */
#ifndef TLS_PACE_H
#define TLS_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    TLS_TOLD_A_SECOND =
        10, /* failed handshakes in the log: a port of the internet sees thousands */
    TLS_PACE_BITS = 8,
};

struct tls_pace {
    _Atomic uint64_t second_and_count;
};

/* One of TLS_TOLD_A_SECOND in this second. */
static inline bool tls_pace_take(struct tls_pace *p, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    uint64_t before = atomic_load_explicit(&p->second_and_count, memory_order_relaxed), count;
    do {
        bool same = before >> TLS_PACE_BITS == second;
        count = same ? before & ((1U << TLS_PACE_BITS) - 1) : 0;
        if (count >= TLS_TOLD_A_SECOND) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&p->second_and_count, &before,
                                                    second << TLS_PACE_BITS | (count + 1),
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

#endif
