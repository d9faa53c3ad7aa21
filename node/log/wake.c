/* wake: an eventfd and a word. */
#include "log/wake.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool wake_init(struct log_wake *w)
{
    atomic_init(&w->state, WAKE_AWAKE);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->fd >= 0;
}

void wake_done(struct log_wake *w)
{
    close(w->fd);
    w->fd = -1;
}

void wake_now(struct log_wake *w)
{
    atomic_store(&w->state, WAKE_AWAKE);
    int failed = eventfd_write(w->fd, 1); /* EAGAIN: 2^64 notices wait there already */
    assert(!failed || errno == EAGAIN);
}

void wake_published(struct log_wake *w, bool urgent)
{
    int state = atomic_load(&w->state);
    bool needed = state == WAKE_SLEEPING || (state == WAKE_NAPPING && urgent);
    /* of several producers only the first to change the word pays for the system call */
    if (needed && atomic_exchange(&w->state, WAKE_AWAKE) != WAKE_AWAKE) {
        wake_now(w);
    }
}

void wake_set(struct log_wake *w, enum wake_state state)
{
    atomic_store(&w->state, (int)state);
}

void wake_drain(struct log_wake *w)
{
    eventfd_t notices;
    int failed = eventfd_read(w->fd, &notices);
    assert(!failed || errno == EAGAIN);
}
