/* cli_check_host: what `difyring check --host` looks at on this machine, one function a question.
 * Most of what it finds is a warning, for the node starts all the same; what `run` ends for on this
 * machine, for this user, is an error. */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "checks/tls_terms.h"
#include "cli/cli.h"
#include "conf/problems.h"
#include "tls/client.h"

enum { RAMFS = 0x858458F6 & 0x7FFFFFFF }; /* of RAMFS_MAGIC; an enum is an int */

static bool is_memory(const struct statfs *facts)
{
    return facts->f_type == TMPFS_MAGIC || (facts->f_type & 0x7FFFFFFF) == RAMFS;
}

/* Bodies that wait go there (SPEC §3, uploads). */
static void check_spool_dir(const struct conf *conf, struct problem_list *problems)
{
    const char *dir = conf->limits.spool_dir;
    struct stat entry;
    struct statfs facts;
    if (stat(dir, &entry) != 0 || statfs(dir, &facts) != 0) {
        problem_add(problems, conf->limits.line, conf->limits.column,
                    "`limits.spool_dir` (%s): %s; uploads beyond spool_memory would get 503", dir,
                    strerror(errno));
        return;
    }
    if (!S_ISDIR(entry.st_mode)) {
        problem_add(problems, conf->limits.line, conf->limits.column,
                    "`limits.spool_dir` (%s) is not a folder", dir);
        return;
    }
    if (access(dir, W_OK | X_OK) != 0) {
        problem_add(problems, conf->limits.line, conf->limits.column,
                    "`limits.spool_dir` (%s) cannot be written by this user (%s); uploads beyond "
                    "spool_memory would get 503",
                    dir, strerror(errno));
    }
    if (is_memory(&facts)) {
        problem_add(problems, conf->limits.line, conf->limits.column,
                    "`limits.spool_dir` (%s) is in memory (tmpfs): uploads there are not limited "
                    "by spool_memory_all; use a folder on a disk",
                    dir);
    }
    uint64_t room = (uint64_t)facts.f_bavail * (uint64_t)facts.f_bsize;
    if (room < conf->limits.body_size) {
        problem_add(problems, conf->limits.line, conf->limits.column,
                    "`limits.spool_dir` (%s) has %" PRIu64
                    " bytes free, fewer than one body of `limits.body_size` (%" PRIu64 ")",
                    dir, room, conf->limits.body_size);
    }
}

struct tls_place {
    const struct conf_instance *instance;
    struct problem_list *problems;
};

static void tell_tls(void *arg, enum tls_file which, const char *text)
{
    const struct tls_place *place = arg;
    problem_add(place->problems, place->instance->line, place->instance->column,
                "`tls.%s` of `%s`: %s; this node would go on without the instance",
                tls_file_key(which), place->instance->name, text);
}

static void check_files(const struct conf_instance *instance, struct problem_list *problems)
{
    const struct conf_instance_tls *tls = &instance->tls;
    struct tls_place place = {instance, problems};
    struct tls_complaint complaint = {tell_tls, &place};
    struct tls_client_options options = {
        .verify = tls->verify, .ca = tls->ca, .certificate = tls->certificate, .key = tls->key};
    struct tls_client *client = tls_client_new(&options, &complaint);
    if (client) {
        tls_client_unref(client);
    }
}

/* Files for TLS to instances; of neighbours that ask for the same, the first one's. */
static void check_instance_tls(const struct conf *conf, struct problem_list *problems)
{
    struct buffer before = {0}, terms = {0};
    for (size_t a = 0; a < conf->application_count; a++) {
        for (size_t i = 0; i < conf->applications[a].instance_count; i++) {
            const struct conf_instance *instance = &conf->applications[a].instances[i];
            buffer_clear(&terms);
            if (instance->tls.enabled) {
                tls_terms_append_client(&terms, &instance->tls);
            }
            if (terms.size > 0 && !bytes_equal(buffer_bytes(&terms), buffer_bytes(&before))) {
                check_files(instance, problems);
                buffer_clear(&before);
                buffer_append_bytes(&before, buffer_bytes(&terms));
            }
        }
    }
    buffer_done(&before);
    buffer_done(&terms);
}

void cli_check_host(const struct conf *conf, struct cli_host_findings *findings)
{
    check_spool_dir(conf, findings->unwise);
    check_instance_tls(conf, findings->unwise);
    cli_check_machine(conf, findings);
    cli_check_modes(conf, findings);
    cli_check_unit(conf, findings);
}
