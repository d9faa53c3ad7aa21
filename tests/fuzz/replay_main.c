/* Runs a fuzz target over every file of the directories (or the single files) given, once each, so
 * that its corpus is a test also without clang. Exits 1 when a path cannot be read or when there
 * was nothing to replay: an empty corpus would be a test that cannot fail. */
#include "fuzz_target.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_SIZE = 4096 };

static int replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    /* exactly the input's size, so that a sanitizer sees one byte too far; malloc(0) may be NULL */
    uint8_t *data = malloc(size > 0 ? size : 1);
    int ok = file != NULL && data != NULL && fread(data, 1, size, file) == size;
    if (ok) {
        LLVMFuzzerTestOneInput(data, size);
    } else {
        fprintf(stderr, "%s: cannot be read: %s\n", path, strerror(errno));
    }
    free(data);
    if (file != NULL) {
        fclose(file);
    }
    return ok ? 0 : -1;
}

static int replay(const char *path, size_t *replayed);

static int replay_directory(const char *path, size_t *replayed)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        fprintf(stderr, "%s: cannot be opened: %s\n", path, strerror(errno));
        return -1;
    }
    int result = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char child[PATH_SIZE];
        if (entry->d_name[0] == '.') {
            continue;
        }
        int length = snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        if (length < 0 || length >= PATH_SIZE || replay(child, replayed) != 0) {
            result = -1;
        }
    }
    closedir(directory);
    return result;
}

static int replay(const char *path, size_t *replayed)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    if (S_ISDIR(status.st_mode)) {
        return replay_directory(path, replayed);
    }
    *replayed += 1;
    return replay_file(path, (size_t)status.st_size);
}

int main(int argc, char **argv)
{
    size_t replayed = 0;
    int result = 0;
    for (int i = 1; i < argc; i++) {
        if (replay(argv[i], &replayed) != 0) {
            result = 1;
        }
    }
    printf("replayed %zu inputs\n", replayed);
    return replayed == 0 ? 1 : result;
}
