/* lock: what there is to do where somebody has to wait. */
#include "base/lock.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whoever has slept takes it as one that others may wait for: he cannot know that they do not. */
void lock_wait(struct lock *l)
{
    while (atomic_exchange_explicit(&l->word, LOCK_WAITED_FOR, memory_order_acquire) != LOCK_FREE) {
        /* Wakes at once if the word has changed meanwhile, and on signals: it is looked at again.
         */
        syscall(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, LOCK_WAITED_FOR, NULL, NULL, 0);
    }
}

void lock_wake(struct lock *l)
{
    syscall(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
