/* unsupported: what SPEC §2 has and this build cannot do. Each feature takes its lines out of here
 * when it comes. */
#include "conf/conf.h"
#include "conf/problems.h"

static void check_application(const struct conf_application *application,
                              struct problem_list *problems)
{
    for (size_t i = 0; i < application->instance_count; i++) {
        const struct conf_instance *instance = &application->instances[i];
        if (instance->tls.enabled) {
            problem_add(problems, instance->line, instance->column,
                        "TLS to an instance is not supported yet; remove `tls` of `%s`",
                        instance->name);
        }
    }
}

size_t conf_unsupported(const struct conf *conf, struct conf_problems *ret_problems)
{
    struct problem_list *problems = problem_list_new(conf->file);
    for (size_t i = 0; i < conf->application_count; i++) {
        check_application(&conf->applications[i], problems);
    }
    return problem_list_finish(problems, ret_problems);
}
