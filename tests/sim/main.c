/* sim: runs seeds of the simulated cluster; tests/sim/run is what a person calls.
 *
 *   sim [--seeds N] [--first S] [--fixed FILE] [--traces]   TAP: every seed that broke a claim
 *   sim --seed S [--verbose] [--packets]                    that one again, with what happens
 *   sim --bench [HOSTS[:LOSS]...|deaths|loss]               the figures
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/sim/bench.h"
#include "tests/sim/pool.h"
#include "tests/sim/scenario.h"

enum {
    SEEDS_MAX = 1000 * 1000,
    SEED_SECONDS_MAX = 300, /* a tenth of a second is usual */
};

struct arguments {
    uint64_t seeds, first;
    const char *fixed;
    bool one, verbose, packets, traces, bench;
    uint64_t seed;
    int rest; /* index of the first argument that is no option */
};

static void print_failure(uint64_t seed, const char *text)
{
    printf("not ok - seed %" PRIu64 ": %s\n# replay: tests/sim/run --seed %" PRIu64 " --verbose\n",
           seed, text, seed);
}

static bool run_seed(void *arg, uint64_t seed)
{
    const struct arguments *a = arg;
    struct scenario_result r = scenario_run(&(struct world_options){.seed = seed});
    if (!r.held) {
        print_failure(seed, r.failure);
    }
    if (a->traces) {
        printf("# trace %" PRIu64 " %016" PRIx64 " %.1f %.1f\n", seed, r.trace,
               (double)r.simulated_us / 1e6, (double)r.converged_us / 1e6);
    }
    return r.held;
}

static void seed_died(void *arg, uint64_t seed, int status)
{
    (void)arg;
    char text[64];
    if (WIFSIGNALED(status)) {
        snprintf(text, sizeof(text), "died of signal %d%s", WTERMSIG(status),
                 WTERMSIG(status) == SIGALRM ? ", it hung" : "");
    } else {
        snprintf(text, sizeof(text), "ended with status %d", WEXITSTATUS(status));
    }
    print_failure(seed, text);
}

/* Returns how many it read, or -1. `#` begins a comment. */
static long read_fixed(const char *path, uint64_t *ret_seeds)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "sim: %s: %s\n", path, strerror(errno));
        return -1;
    }
    long count = 0;
    char line[256];
    while (count < SEEDS_MAX && fgets(line, sizeof(line), file) != NULL) {
        char *end;
        uint64_t seed = strtoull(line, &end, 10);
        if (end != line) {
            ret_seeds[count++] = seed;
        }
    }
    fclose(file);
    return count;
}

static size_t run_set(struct arguments *a, const char *name, const uint64_t *seeds, size_t count)
{
    static unsigned test_number;
    const struct pool_job job = {
        .run = run_seed, .died = seed_died, .arg = a, .seconds_max = SEED_SECONDS_MAX};
    size_t failed = pool_run(&job, seeds, count);
    printf("%s %u - %zu of %zu %s seeds hold\n", failed == 0 ? "ok" : "not ok", ++test_number,
           count > failed ? count - failed : 0, count, name);
    return failed;
}

static int run_seeds(struct arguments *a)
{
    uint64_t *seeds = malloc(SEEDS_MAX * sizeof(*seeds));
    size_t failed = 0;
    if (a->fixed != NULL) {
        long count = read_fixed(a->fixed, seeds);
        failed += count < 0 ? 1 : count > 0 ? run_set(a, "fixed", seeds, (size_t)count) : 0;
    }
    for (uint64_t i = 0; i < a->seeds; i++) {
        seeds[i] = a->first + i;
    }
    failed += a->seeds > 0 ? run_set(a, "numbered", seeds, a->seeds) : 0;
    free(seeds);
    return failed > 0;
}

static int run_one(const struct arguments *a)
{
    struct scenario_result r = scenario_run(
        &(struct world_options){.seed = a->seed, .verbose = a->verbose, .packets = a->packets});
    printf("trace %016" PRIx64 ", %.1f simulated seconds, %" PRIu64 " packets, "
           "converged %.1f s after the last fault\n",
           r.trace, (double)r.simulated_us / 1e6, r.packets, (double)r.converged_us / 1e6);
    printf(r.held ? "ok 1 - seed %" PRIu64 " holds\n" : "not ok 1 - seed %" PRIu64 "\n", a->seed);
    if (!r.held) {
        printf("# %s\n", r.failure);
    }
    return !r.held;
}

static bool read_number(const char *text, uint64_t *ret_number)
{
    char *end;
    errno = 0;
    *ret_number = text != NULL ? strtoull(text, &end, 10) : 0;
    return text != NULL && end != text && *end == '\0' && errno == 0;
}

static bool read_flag(const char *option, struct arguments *a)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--verbose", &a->verbose},
                 {"--packets", &a->packets},
                 {"--traces", &a->traces},
                 {"--bench", &a->bench}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (strcmp(option, flags[i].name) == 0) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

static bool read_arguments(int argc, char **argv, struct arguments *ret)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        const char *option = argv[i];
        if (read_flag(option, ret)) {
            continue;
        }
        const char *value = argv[++i]; /* NULL behind the last */
        bool good;
        if (strcmp(option, "--seeds") == 0) {
            good = read_number(value, &ret->seeds) && ret->seeds <= SEEDS_MAX;
        } else if (strcmp(option, "--first") == 0) {
            good = read_number(value, &ret->first);
        } else if (strcmp(option, "--seed") == 0) {
            good = ret->one = read_number(value, &ret->seed);
        } else {
            ret->fixed = value;
            good = value != NULL && strcmp(option, "--fixed") == 0;
        }
        if (!good) {
            return false;
        }
    }
    ret->rest = i;
    return ret->bench || i == argc;
}

int main(int argc, char **argv)
{
    struct arguments a = {.first = 1};
    if (!read_arguments(argc, argv, &a)) {
        fputs("usage: sim [--seeds N] [--first S] [--fixed FILE] [--traces] | --seed S [--verbose] "
              "[--packets] | --bench [HOSTS...|deaths|dead|loss|rest]\n",
              stderr);
        return 2;
    }
    setvbuf(stdout, NULL, a.one ? _IOFBF : _IOLBF, 1 << 16);
    if (a.bench) {
        return bench_run(argv + a.rest, (size_t)(argc - a.rest));
    }
    return a.one ? run_one(&a) : run_seeds(&a);
}
