/* weak: what is valid and works, and is told once because it is unwise, or is not what it says. */
#include <string.h>

#include "conf/conf.h"
#include "conf/problems.h"

enum {
    /* What is shorter is in many ordinary words, and is kept out of logs only where it stands by
     * itself (node/log/redact.h). */
    TOKEN_SIZE_LEAST = 4,
};

static bool is_short(const char *token)
{
    return token[0] != '\0' && strlen(token) < TOKEN_SIZE_LEAST;
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
        if (is_short(instance->token)) {
            problem_add(problems, instance->line, instance->column,
                        "the token of `%s` is shorter than %d characters: logs cannot tell it from "
                        "ordinary words; use a longer one",
                        instance->name, TOKEN_SIZE_LEAST);
        }
    }
}

size_t conf_weak(const struct conf *conf, struct conf_problems *ret_problems)
{
    struct problem_list *problems = problem_list_new(conf->file);
    if (is_short(conf->admin.token)) {
        problem_add(problems, 0, 0,
                    "`admin.token` is shorter than %d characters: it is guessed easily, and logs "
                    "cannot tell it from ordinary words; use a longer one",
                    TOKEN_SIZE_LEAST);
    }
    for (size_t i = 0; i < conf->application_count; i++) {
        check_application(&conf->applications[i], problems);
    }
    return problem_list_finish(problems, ret_problems);
}
