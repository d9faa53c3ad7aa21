/* cli_check_modes: files with secrets that every user of this host can read: keys, and the
 * configuration itself where tokens stand in it rather than in the environment. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "conf/problems.h"

static bool others_can(const char *path, mode_t bit)
{
    struct stat entry;
    return path && stat(path, &entry) == 0 && S_ISREG(entry.st_mode) && (entry.st_mode & bit);
}

static void check_keys(const struct conf *conf, struct problem_list *problems)
{
    static const char text[] = "every user of this host can read `%s`: chmod o-r";
    for (size_t l = 0; l < conf->listen_count; l++) {
        for (size_t i = 0; i < conf->listen[l].tls_count; i++) {
            const struct conf_certificate *c = &conf->listen[l].tls[i];
            if (others_can(c->key, S_IROTH)) {
                problem_add(problems, c->line, c->column, text, "key");
            }
        }
    }
    if (conf->has_cluster && others_can(conf->cluster.key_file, S_IROTH)) {
        problem_add(problems, conf->cluster.line, conf->cluster.column, text, "key_file");
    }
    for (size_t a = 0; a < conf->application_count; a++) {
        for (size_t i = 0; i < conf->applications[a].instance_count; i++) {
            const struct conf_instance *instance = &conf->applications[a].instances[i];
            if (instance->tls.enabled && others_can(instance->tls.key, S_IROTH)) {
                problem_add(problems, instance->line, instance->column, text, "tls.key");
            }
        }
    }
}

/* ---- the configuration ---- */

enum { TOKEN_SIZE_LEAST = 8 }; /* a shorter one is an ordinary word of the file */

static bool has_token(struct bytes text, const char *token)
{
    return strlen(token) >= TOKEN_SIZE_LEAST && memmem(text.at, text.size, token, strlen(token));
}

static bool has_secret(struct bytes text, const struct conf *conf)
{
    bool found = has_token(text, conf->admin.token) || has_token(text, conf->admin.view_token);
    for (size_t a = 0; a < conf->application_count && !found; a++) {
        const struct conf_application *application = &conf->applications[a];
        for (size_t i = 0; i < application->user_token_count && !found; i++) {
            found = has_token(text, application->user_tokens[i]);
        }
        for (size_t i = 0; i < application->instance_count && !found; i++) {
            found = has_token(text, application->instances[i].token);
        }
    }
    return found;
}

static bool file_has_secret(const char *path, const struct conf *conf)
{
    char *text = malloc(CONF_FILE_SIZE_MAX);
    FILE *file = text ? fopen(path, "re") : NULL;
    size_t size = file ? fread(text, 1, CONF_FILE_SIZE_MAX, file) : 0;
    bool found = size > 0 && has_secret((struct bytes){text, size}, conf);
    if (file) {
        fclose(file);
    }
    if (text) {
        explicit_bzero(text, size);
    }
    free(text);
    return found;
}

void cli_check_modes(const struct conf *conf, struct cli_host_findings *findings)
{
    check_keys(conf, findings->unwise);
    if (others_can(conf->file, S_IROTH) && file_has_secret(conf->file, conf)) {
        problem_add(findings->unwise, 0, 0,
                    "every user of this host can read this file, and tokens stand in it: chmod "
                    "o-r, or \"${NAME}\" from the environment");
    }
    if (others_can(conf->file, S_IWOTH)) {
        problem_add(findings->unwise, 0, 0,
                    "every user of this host can change this file: chmod "
                    "o-w");
    }
}
