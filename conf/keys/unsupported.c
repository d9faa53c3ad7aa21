/* unsupported: what SPEC §2 has, the schema takes and this build cannot do. A key that comes before
 * what it asks for stands here with its refusal, and leaves when that comes. */
#include "conf/conf.h"
#include "conf/problems.h"

size_t conf_unsupported(const struct conf *conf, struct conf_problems *ret_problems)
{
    struct problem_list *problems = problem_list_new(conf->file);
    for (size_t a = 0; a < conf->application_count; a++) {
        const struct conf_application *application = &conf->applications[a];
        for (size_t i = 0; i < application->quota_count; i++) {
            if (application->quotas[i].tokens_given) {
                problem_add(problems, application->quotas[i].line, application->quotas[i].column,
                            "this version counts no tokens yet; use `requests`");
            }
        }
    }
    return problem_list_finish(problems, ret_problems);
}
