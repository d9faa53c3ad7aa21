/* A process without a free file descriptor, as a test makes it.
 *
 * Under valgrind the soft limit stays valgrind's own affair: the kernel goes on handing out
 * descriptors, and valgrind closes them behind the program's back. accept() then loses the
 * connection that it should have left in the queue. A test that needs the lack skips itself there.
 */
#ifndef DIFYRING_TESTS_NO_DESCRIPTORS_H
#define DIFYRING_TESTS_NO_DESCRIPTORS_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* Whether the kernel's own soft limit of open files is 0. `limits` is /proc/self/limits. */
static inline bool the_kernel_gives_none(FILE *limits)
{
    static const char row[] = "Max open files ";
    char line[256];
    while (fgets(line, sizeof(line), limits) != NULL) {
        char *end;
        if (strncmp(line, row, sizeof(row) - 1) == 0) {
            return strtoul(line + sizeof(row) - 1, &end, 10) == 0 && *end == ' ';
        }
    }
    return false;
}

/* Takes every descriptor that is free away. `usual` gets the limit for descriptors_give_back().
 * Returns false, with all as it was, where the kernel does not feel the limit. */
static inline bool descriptors_take_away(struct rlimit *usual)
{
    FILE *limits = fopen("/proc/self/limits", "re");
    if (limits == NULL || getrlimit(RLIMIT_NOFILE, usual) != 0) {
        return false;
    }
    struct rlimit none = {.rlim_cur = 0, .rlim_max = usual->rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    bool felt = the_kernel_gives_none(limits);
    if (!felt) {
        setrlimit(RLIMIT_NOFILE, usual);
    }
    fclose(limits);
    return felt;
}

static inline void descriptors_give_back(const struct rlimit *usual)
{
    setrlimit(RLIMIT_NOFILE, usual);
}

#endif
