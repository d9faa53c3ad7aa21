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

static void check_addresses(const struct conf *conf, struct problem_list *problems)
{
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
        problem_add(problems, conf->cluster.line, conf->cluster.column,
                    "`cluster.bind`: this machine does not have the address %s",
                    conf->cluster.bind_host);
    }
    if (conf->has_vip && if_nametoindex(conf->vip.interface) == 0) {
        problem_add(problems, conf->vip.line, conf->vip.column,
                    "`vip.interface`: this machine has no interface %s", conf->vip.interface);
    }
}

/* ---- names ---- */

static void check_names(const struct conf *conf, struct problem_list *problems)
{
    const char *before = "";
    for (size_t a = 0; a < conf->application_count; a++) {
        for (size_t i = 0; i < conf->applications[a].instance_count; i++) {
            const struct conf_instance *instance = &conf->applications[a].instances[i];
            struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
            int error = strcmp(instance->host, before) == 0
                            ? 0
                            : getaddrinfo(instance->host, NULL, &hints, &found);
            before = instance->host;
            if (error != 0) {
                problem_add(problems, instance->line, instance->column,
                            "the name %s of `%s` does not resolve: %s", instance->host,
                            instance->name, gai_strerror(error));
            } else if (found) {
                freeaddrinfo(found);
            }
        }
    }
}

/* ---- folders ---- */

/* The nearest folder above `path` that is there, and whether this user may write into it. */
static void check_folder_of(struct problem_list *problems, const char *key, const char *path,
                            bool made)
{
    char folder[4096];
    struct stat entry;
    snprintf(folder, sizeof(folder), "%s", path);
    do { /* of a file its folder; of one that is made with those above it, the first there is */
        char *slash = strrchr(folder, '/');
        if (!slash) {
            snprintf(folder, sizeof(folder), ".");
        } else {
            slash[slash == folder ? 1 : 0] = '\0';
        }
    } while (made && stat(folder, &entry) != 0 && strlen(folder) > 1);
    if (stat(folder, &entry) != 0) {
        problem_add(problems, 0, 0, "`%s` (%s): the folder %s is missing", key, path, folder);
    } else if (access(folder, W_OK | X_OK) != 0 && access(path, W_OK) != 0) {
        problem_add(problems, 0, 0, "`%s` (%s): this user may not write into %s", key, path,
                    folder);
    }
}

static void check_folders(const struct conf *conf, struct problem_list *problems)
{
    struct stat entry;
    const char *state_dir = conf->state_dir;
    if (conf->log.access == LOG_FILE) {
        check_folder_of(problems, "log.access", conf->log.access_path, false);
    }
    if (conf->log.error == LOG_FILE) {
        check_folder_of(problems, "log.error", conf->log.error_path, false);
    }
    if (!state_dir) {
        return;
    }
    if (stat(state_dir, &entry) == 0 && !S_ISDIR(entry.st_mode)) {
        problem_add(problems, 0, 0, "`node.state_dir` (%s) is not a folder", state_dir);
    } else {
        check_folder_of(problems, "node.state_dir", state_dir, true);
    }
}

void cli_check_machine(const struct conf *conf, struct problem_list *problems)
{
    check_addresses(conf, problems);
    check_names(conf, problems);
    check_folders(conf, problems);
}
