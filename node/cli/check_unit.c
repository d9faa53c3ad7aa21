/* cli_check_unit: does what stops the node wait as long as its clients may? systemd ends a service
 * that takes longer than TimeoutStopSec, and with it the streams that drain. */
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/unit_file.h"
#include "conf/problems.h"

enum { UNIT_SIZE_MAX = 64 * 1024 };

/* As systemd.unit(5) has them; the first that has the unit counts. */
static const char *const folders[] = {"/etc/systemd/system", "/run/systemd/system",
                                      "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                                      "/lib/systemd/system"};

enum { FOLDER_COUNT = sizeof(folders) / sizeof(*folders), PATH_SIZE = 128 };

static bool read_unit(const char *path, struct unit_facts *facts)
{
    char *text = malloc(UNIT_SIZE_MAX);
    FILE *file = text ? fopen(path, "re") : NULL;
    size_t size = file ? fread(text, 1, UNIT_SIZE_MAX, file) : 0;
    if (file) {
        unit_file_read((struct bytes){text, size}, facts);
        fclose(file);
    }
    free(text);
    return file != NULL;
}

/* Of each folder, the least important first: what comes later counts. */
static void read_drop_ins(struct unit_facts *facts)
{
    char pattern[PATH_SIZE];
    for (size_t i = FOLDER_COUNT; i-- > 0;) {
        glob_t found = {0};
        snprintf(pattern, sizeof(pattern), "%s/difyring.service.d/*.conf", folders[i]);
        if (glob(pattern, 0, NULL, &found) == 0) {
            for (size_t j = 0; j < found.gl_pathc; j++) {
                read_unit(found.gl_pathv[j], facts);
            }
        }
        globfree(&found);
    }
}

void cli_check_unit(const struct conf *conf, struct cli_host_findings *findings)
{
    char path[PATH_SIZE] = "";
    bool found = false;
    struct unit_facts facts = unit_facts_default();
    uint64_t drain_ms = conf->timeouts.drain_ms;
    for (size_t i = 0; i < FOLDER_COUNT && !found; i++) {
        snprintf(path, sizeof(path), "%s/difyring.service", folders[i]);
        found = read_unit(path, &facts);
    }
    read_drop_ins(&facts);
    if (drain_ms <= facts.stop_ms) {
        return;
    }
    if (found && facts.notify) {
        problem_add(findings->notes, conf->timeouts.line, conf->timeouts.column,
                    "`timeouts.drain` is longer than the TimeoutStopSec of %s (%" PRIu64
                    " s); the node asks systemd for the time that it needs, but nothing else that "
                    "may stop it",
                    path, facts.stop_ms / 1000);
    } else {
        problem_add(findings->unwise, conf->timeouts.line, conf->timeouts.column,
                    "`timeouts.drain` is longer than the %" PRIu64
                    " s after which a stop becomes a kill (TimeoutStopSec of %s): streams that "
                    "still drain are cut; make that longer, or this shorter",
                    facts.stop_ms / 1000,
                    found ? path : "systemd's default; difyring.service is not installed here");
    }
}
