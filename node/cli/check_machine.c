/* cli_check_machine: what of a configuration this machine lacks: addresses, the interface, folders,
 * names that resolve. `run` finds some of it only later, or at night. */
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "conf/problems.h"
#include "conf/value.h"

enum { PATH_SIZE = 4096 };

/* ---- addresses ---- */

/* Can a socket be bound there, whatever the port? An address that is yet to come (the virtual one)
 * binds all the same where the node binds it. */
static bool is_here(const char *host)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(host, NULL, &hints, &found) != 0) {
        return true; /* not a question of this machine */
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool here =
        fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) == 0 || errno != EADDRNOTAVAIL;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(found);
    return here;
}

static void check_addresses(const struct conf *conf, struct cli_host_findings *findings)
{
    struct problem_list *problems = findings->unwise;
    for (size_t i = 0; i < conf_door_count(conf); i++) {
        const struct conf_listen *door = conf_door(conf, i);
        bool is_vip = conf->has_vip && strcmp(door->host, conf->vip.address) == 0;
        if (!is_vip && !is_here(door->host)) {
            problem_add(problems, door->line, door->column,
                        "this machine does not have the address %s: nobody reaches the node there",
                        door->host);
        }
    }
    if (conf->has_cluster && !is_here(conf->cluster.bind_host)) {
        problem_add(findings->refused, conf->cluster.line, conf->cluster.column,
                    "`cluster.bind`: this machine does not have the address %s",
                    conf->cluster.bind_host);
    }
    if (conf->has_vip && if_nametoindex(conf->vip.interface) == 0) {
        problem_add(problems, conf->vip.line, conf->vip.column,
                    "`vip.interface`: this machine has no interface %s", conf->vip.interface);
    }
}

/* ---- names ---- */

static bool resolves(const char *host, const char **ret_fault)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error == 0) {
        freeaddrinfo(found);
    } else {
        *ret_fault = gai_strerror(error);
    }
    return error == 0;
}

static void check_names(const struct conf *conf, struct problem_list *problems)
{
    const char *before = "", *fault = "";
    for (size_t a = 0; a < conf->application_count; a++) {
        for (size_t i = 0; i < conf->applications[a].instance_count; i++) {
            const struct conf_instance *instance = &conf->applications[a].instances[i];
            if (strcmp(instance->host, before) != 0 && !resolves(instance->host, &fault)) {
                problem_add(problems, instance->line, instance->column,
                            "the name %s of `%s` does not resolve: %s", instance->host,
                            instance->name, fault);
            }
            before = instance->host;
        }
    }
    for (size_t i = 0; conf->has_cluster && i < conf->cluster.join_count; i++) {
        char host[VALUE_HOST_SIZE];
        uint16_t port;
        if (value_address(bytes_of(conf->cluster.join[i]), host, &port) == VALUE_ADDRESS_GOOD &&
            !resolves(host, &fault)) {
            problem_add(problems, conf->cluster.line, conf->cluster.column,
                        "`cluster.join`: the name %s does not resolve: %s", host, fault);
        }
    }
}

/* ---- folders ---- */

/* The folder of a file; of what is made with those above it, the nearest that is there. */
static void folder_of(const char *path, bool made, char ret_folder[PATH_SIZE])
{
    struct stat entry;
    snprintf(ret_folder, PATH_SIZE, "%s", path);
    do {
        char *slash = strrchr(ret_folder, '/');
        if (!slash) {
            snprintf(ret_folder, PATH_SIZE, ".");
        } else {
            slash[slash == ret_folder ? 1 : 0] = '\0';
        }
    } while (made && stat(ret_folder, &entry) != 0 && strlen(ret_folder) > 1);
}

/* A path of the configuration, and where it stands there. */
struct named_path {
    const char *key, *path; /* path NULL: there is none */
    unsigned line, column;
    bool made; /* with the folders above it */
};

/* May this user write it, or make it? `run` says the same when it cannot. */
static void check_folder_of(struct problem_list *problems, const struct named_path *p)
{
    char folder[PATH_SIZE];
    struct stat entry;
    folder_of(p->path, p->made, folder);
    if (stat(p->path, &entry) == 0) {
        int wanted = S_ISDIR(entry.st_mode) ? R_OK | W_OK | X_OK : W_OK;
        if (access(p->path, wanted) != 0) {
            problem_add(problems, p->line, p->column, "`%s` (%s): this user may not write it: %s",
                        p->key, p->path, strerror(errno));
        }
    } else if (stat(folder, &entry) != 0) {
        problem_add(problems, p->line, p->column, "`%s` (%s): the folder %s is missing", p->key,
                    p->path, folder);
    } else if (access(folder, W_OK | X_OK) != 0) {
        problem_add(problems, p->line, p->column, "`%s` (%s): this user may not write into %s: %s",
                    p->key, p->path, folder, strerror(errno));
    }
}

/* Whoever may write there can put another file, or a link, in the place of the node's. */
static void check_writers(struct problem_list *problems, const struct named_path *p,
                          const char *folder)
{
    struct stat entry;
    if (stat(folder, &entry) == 0 && S_ISDIR(entry.st_mode) && (entry.st_mode & S_IWOTH) &&
        !(entry.st_mode & S_ISVTX)) {
        problem_add(problems, p->line, p->column,
                    "`%s`: every user of this host may write into %s: chmod o-w", p->key, folder);
    }
}

static void check_file(const struct named_path *p, struct problem_list *problems,
                       struct problem_list *unwise)
{
    char folder[PATH_SIZE];
    if (p->path) {
        check_folder_of(problems, p);
        folder_of(p->path, false, folder);
        check_writers(unwise, p, folder);
    }
}

static void check_state_dir(const struct named_path *p, struct cli_host_findings *findings)
{
    struct stat entry;
    if (!p->path) {
        return;
    }
    check_writers(findings->unwise, p, p->path);
    if (stat(p->path, &entry) == 0 && !S_ISDIR(entry.st_mode)) {
        problem_add(findings->refused, p->line, p->column, "`%s` (%s) is not a folder", p->key,
                    p->path);
    } else {
        check_folder_of(findings->refused, p);
    }
}

static void check_folders(const struct conf *conf, struct cli_host_findings *findings)
{
    const struct conf_log *log = &conf->log;
    const struct named_path access_log = {"log.access",
                                          log->access == LOG_FILE ? log->access_path : NULL,
                                          log->line, log->column, false};
    const struct named_path error_log = {"log.error",
                                         log->error == LOG_FILE ? log->error_path : NULL, log->line,
                                         log->column, false};
    const struct named_path track = {"vip.track_file", conf->has_vip ? conf->vip.track_file : NULL,
                                     conf->vip.line, conf->vip.column, true};
    const struct named_path spool = {"limits.spool_dir", conf->limits.spool_dir, conf->limits.line,
                                     conf->limits.column, false};
    const struct named_path state = {"node.state_dir", conf->state_dir, conf->state_dir_line,
                                     conf->state_dir_column, true};
    check_file(&access_log, findings->refused, findings->unwise);
    check_file(&error_log, findings->refused, findings->unwise);
    check_file(&track, findings->unwise, findings->unwise);
    check_writers(findings->unwise, &spool, spool.path);
    check_state_dir(&state, findings);
}

void cli_check_machine(const struct conf *conf, struct cli_host_findings *findings)
{
    check_addresses(conf, findings);
    check_names(conf, findings->unwise);
    check_folders(conf, findings);
}
