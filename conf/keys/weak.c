/* weak: what is valid and works, and is told once because it is unwise, or is not what it says. */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "conf/conf.h"
#include "conf/problems.h"

enum {
    /* What is shorter is in many ordinary words, and is kept out of logs only where it stands by
     * itself (node/redact/redact.h). */
    TOKEN_SIZE_LEAST = 4,
    /* Dify's SDKs give up after a minute, and what is left of it is for the answer. */
    CLIENTS_TIMEOUT_MS = 60 * 1000,
};

static bool is_short(const char *token)
{
    return token[0] != '\0' && strlen(token) < TOKEN_SIZE_LEAST;
}

/* 0.0.0.0/0 or ::/0. */
static bool allows_all(const struct conf_admin *admin)
{
    static const uint8_t ipv4[12] = {[10] = 0xff, [11] = 0xff};
    for (size_t i = 0; i < admin->allow_count; i++) {
        const struct cidr *block = &admin->allow[i];
        bool all_ipv4 = block->prefix == 96 && memcmp(block->address, ipv4, sizeof ipv4) == 0;
        if (block->prefix == 0 || all_ipv4) {
            return true;
        }
    }
    return false;
}

static void check_application(const struct conf_application *application,
                              struct problem_list *problems)
{
    size_t count = 0;
    for (size_t i = 0; i < application->user_token_count; i++) {
        count += is_short(application->user_tokens[i]);
    }
    if (count > 0) {
        problem_add(
            problems, application->line, application->column,
            "%zu of the user tokens of `%s` are shorter than %d characters: they are "
            "guessed easily, and logs cannot tell them from ordinary words; use longer ones",
            count, application->name, TOKEN_SIZE_LEAST);
    }
    for (size_t i = 0; i < application->instance_count; i++) {
        const struct conf_instance *instance = &application->instances[i];
        if (instance->tls.enabled && !instance->tls.verify) {
            problem_add(problems, instance->line, instance->column,
                        "`verify: false`: whoever is between this node and `%s` can read its token "
                        "and all conversations; give `ca` or `server_name` instead",
                        instance->name);
        }
        if (is_short(instance->token)) {
            problem_add(problems, instance->line, instance->column,
                        "the token of `%s` is shorter than %d characters: logs cannot tell it from "
                        "ordinary words; use a longer one",
                        instance->name, TOKEN_SIZE_LEAST);
        }
    }
}

/* `$NAME`, as a shell would have it: here only `${NAME}` is replaced. */
static bool is_meant_as_variable(const char *token)
{
    return token[0] == '$' && (isalpha((unsigned char)token[1]) || token[1] == '_');
}

/* `app-...` of an example. */
static bool is_placeholder(const char *token)
{
    return strstr(token, "...") != NULL;
}

static void check_variables(const struct conf_application *application,
                            struct problem_list *problems)
{
    for (size_t i = 0; i < application->user_token_count; i++) {
        if (is_meant_as_variable(application->user_tokens[i])) {
            problem_add(problems, application->line, application->column,
                        "a user token of `%s` begins with `$` and is taken as it is written; the "
                        "environment's is \"${NAME}\", with braces",
                        application->name);
        }
    }
    for (size_t i = 0; i < application->instance_count; i++) {
        const struct conf_instance *instance = &application->instances[i];
        if (is_meant_as_variable(instance->token)) {
            problem_add(problems, instance->line, instance->column,
                        "the token of `%s` begins with `$` and is taken as it is written; the "
                        "environment's is \"${NAME}\", with braces",
                        instance->name);
        }
        if (is_placeholder(instance->token)) {
            problem_add(problems, instance->line, instance->column,
                        "the token of `%s` looks like an example's (`...`): put the one that Dify "
                        "shows under API Access",
                        instance->name);
        }
    }
}

/* Two entries of one container with one token are one instance that counts twice. */
static void check_twins(const struct conf_application *application, struct problem_list *problems)
{
    for (size_t i = 1; i < application->instance_count; i++) {
        const struct conf_instance *twin = &application->instances[i], *first = NULL;
        for (size_t j = 0; j < i && !first; j++) {
            const struct conf_instance *other = &application->instances[j];
            bool same = other->port == twin->port && strcmp(other->token, twin->token) == 0 &&
                        strcasecmp(other->host, twin->host) == 0;
            first = same ? other : NULL;
        }
        if (first) {
            problem_add(problems, twin->line, twin->column,
                        "`%s` of `%s` is `%s` once more: host, port and token are the same; give "
                        "it its own, or more `weight` to the one",
                        twin->name, application->name, first->name);
        }
    }
}

/* Has its host and port a limit? One entry's counts for all, of whichever application. */
static bool is_limited(const struct conf *conf, const struct conf_instance *instance)
{
    for (size_t a = 0; a < conf->application_count; a++) {
        const struct conf_application *application = &conf->applications[a];
        for (size_t i = 0; i < application->instance_count; i++) {
            const struct conf_instance *other = &application->instances[i];
            if (other->max_in_flight > 0 && other->port == instance->port &&
                strcasecmp(other->host, instance->host) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Where instances are separate, requests wait in it for their own one, too. */
static void check_queue(const struct conf *conf, const struct conf_application *application,
                        struct problem_list *problems)
{
    bool limited = conf_is_separate(application);
    if (!application->queue_set) {
        return;
    }
    for (size_t i = 0; i < application->instance_count && !limited; i++) {
        limited = is_limited(conf, &application->instances[i]);
    }
    if (!limited) {
        problem_add(problems, application->queue.line, application->queue.column,
                    "`queue` of `%s` has no effect: none of its instances has a max_in_flight",
                    application->name);
    } else if (application->queue.timeout_ms >= CLIENTS_TIMEOUT_MS) {
        problem_add(problems, application->queue.line, application->queue.column,
                    "`queue.timeout` of `%s` is not below the 60 s after which Dify's clients "
                    "usually give up: those who wait so long are gone; use less",
                    application->name);
    }
}

bool conf_is_separate(const struct conf_application *application)
{
    bool separate = application->state == CONF_STATE_SEPARATE;
    for (size_t i = 1; application->state == CONF_STATE_AUTO && i < application->instance_count;
         i++) {
        separate = separate ||
                   strcmp(application->instances[i].token, application->instances[0].token) != 0;
    }
    return separate;
}

static bool is_of_datasets(const char *token)
{
    return strncmp(token, "dataset-", 8) == 0 || strncmp(token, "ds-", 3) == 0;
}

/* Of a stopped run Dify often tells no usage. */
static void check_token_quotas(const struct conf_application *application,
                               struct problem_list *problems)
{
    for (size_t i = 0; i < application->quota_count; i++) {
        if (application->quotas[i].tokens_given && application->client_gone == CLIENT_GONE_STOP) {
            problem_add(problems, application->quotas[i].line, application->quotas[i].column,
                        "`client_gone: stop` of `%s` beside a quota of tokens: what a stopped run "
                        "used is often told by nobody, and does not count; use `finish`",
                        application->name);
        }
    }
}

/* They name no user and no conversation: what is written at one would not be found at another. */
static void check_datasets(const struct conf_application *application,
                           struct problem_list *problems)
{
    size_t count = 0;
    for (size_t i = 0; i < application->instance_count; i++) {
        count += is_of_datasets(application->instances[i].token);
    }
    if (count >= 2 && conf_is_separate(application)) {
        problem_add(problems, application->line, application->column,
                    "%zu instances of `%s` have tokens for data sets and a state of their own: "
                    "requests for data sets all go to the first eligible one, and another has "
                    "other data; keep one, or say `state: shared`",
                    count, application->name);
    }
}

static void note_times(const struct conf_health_check *check, struct problem_list *problems)
{
    if (check->enabled && check->timeout_ms > check->interval_ms) {
        problem_add(problems, check->line, check->column,
                    "`health_check.timeout` is longer than `interval`: while an instance is "
                    "silent its next check waits, so it is found later than the interval says");
    }
}

size_t conf_notes(const struct conf *conf, struct conf_problems *ret_problems)
{
    struct problem_list *problems = problem_list_new(conf->file);
    if (!conf->state_dir) {
        problem_add(problems, 0, 0, "`node.state_dir` is not set: nothing survives a restart");
    }
    note_times(&conf->health_check, problems);
    for (size_t i = 0; i < conf->application_count; i++) {
        const struct conf_application *a = &conf->applications[i];
        if (a->state == CONF_STATE_AUTO && a->instance_count > 1) {
            bool separate = conf_is_separate(a);
            problem_add(problems, a->line, a->column,
                        "`state` of `%s` is %s, for its instances have %s", a->name,
                        separate ? "separate" : "shared",
                        separate ? "different tokens" : "one token");
        }
    }
    return problem_list_finish(problems, ret_problems);
}

size_t conf_weak(const struct conf *conf, struct conf_problems *ret_problems)
{
    struct problem_list *problems = problem_list_new(conf->file);
    if (is_short(conf->admin.token)) {
        problem_add(problems, conf->admin.line, conf->admin.column,
                    "`admin.token` is shorter than %d characters: it is guessed easily, and logs "
                    "cannot tell it from ordinary words; use a longer one",
                    TOKEN_SIZE_LEAST);
    }
    if (is_short(conf->admin.view_token)) {
        problem_add(problems, conf->admin.line, conf->admin.column,
                    "`admin.view_token` is shorter than %d characters: it is guessed easily, and "
                    "logs cannot tell it from ordinary words; use a longer one",
                    TOKEN_SIZE_LEAST);
    }
    if (conf->admin.token[0] == '\0' && allows_all(&conf->admin)) {
        problem_add(
            problems, conf->admin.line, conf->admin.column,
            "`admin.allow` lets every address drain, reload and read tokens; name the "
            "networks of your people, or use `admin.token` alone, and `admin.view_allow` for "
            "those who only look");
    }
    for (size_t i = 0; i < conf->application_count; i++) {
        check_application(&conf->applications[i], problems);
        check_variables(&conf->applications[i], problems);
        check_twins(&conf->applications[i], problems);
        check_queue(conf, &conf->applications[i], problems);
        check_datasets(&conf->applications[i], problems);
        check_token_quotas(&conf->applications[i], problems);
    }
    return problem_list_finish(problems, ret_problems);
}
