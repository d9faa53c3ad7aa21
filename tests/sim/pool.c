/* pool: the children take the next number from memory that all share. */
#include "tests/sim/pool.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS_MAX = 64 };

struct shared {
    atomic_size_t next, failed;
    atomic_size_t current[WORKERS_MAX]; /* index + 1 of what each runs; 0 = between two */
};

static void work(const struct pool_job *job, const uint64_t *numbers, size_t count,
                 struct shared *shared, size_t worker)
{
    for (size_t i; (i = atomic_fetch_add(&shared->next, 1)) < count;) {
        atomic_store(&shared->current[worker], i + 1);
        alarm(job->seconds_max);
        if (!job->run(job->arg, numbers[i])) {
            atomic_fetch_add(&shared->failed, 1);
        }
        fflush(stdout);
        alarm(0);
        atomic_store(&shared->current[worker], 0);
    }
    /* not _exit(): a leak checker looks at the end */
    exit(0);
}

static pid_t start(const struct pool_job *job, const uint64_t *numbers, size_t count,
                   struct shared *shared, size_t worker)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        work(job, numbers, count, shared, worker);
    }
    return pid;
}

size_t pool_run(const struct pool_job *job, const uint64_t *numbers, size_t count)
{
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("sim: mmap");
        return count;
    }
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t workers = cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (size_t)cores;
    pid_t pids[WORKERS_MAX];
    size_t running = 0;
    for (size_t i = 0; i < workers; i++) {
        pids[i] = start(job, numbers, count, shared, i);
        running += pids[i] > 0;
    }
    size_t failed = running == 0;
    int status;
    for (pid_t pid; running > 0 && (pid = wait(&status)) > 0;) {
        size_t worker = 0;
        while (worker + 1 < workers && pids[worker] != pid) {
            worker++;
        }
        running--;
        size_t current = atomic_exchange(&shared->current[worker], 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            failed++;
            job->died(job->arg, current > 0 ? numbers[current - 1] : 0, status);
            pids[worker] = current > 0 ? start(job, numbers, count, shared, worker) : -1;
            running += pids[worker] > 0;
        }
    }
    failed += atomic_load(&shared->failed);
    munmap(shared, sizeof(*shared));
    return failed;
}
