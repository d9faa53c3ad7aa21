/* wall_clock: to be preloaded; shifts the wall clock of a program by WALL_CLOCK_SHIFT seconds. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t id, struct timespec *t);

int clock_gettime(clockid_t id, struct timespec *t)
{
    const char *shift = getenv("WALL_CLOCK_SHIFT");
    long result = syscall(SYS_clock_gettime, id, t);
    if (id == CLOCK_REALTIME && shift) {
        t->tv_sec += atol(shift);
    }
    return (int)result;
}
