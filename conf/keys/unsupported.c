/* unsupported: what SPEC §2 has, the schema takes and this build cannot do: nothing at present. A
 * key that comes before what it asks for stands here with its refusal, and leaves when that comes.
 */
#include "conf/conf.h"
#include "conf/problems.h"

size_t conf_unsupported(const struct conf *conf, struct conf_problems *ret_problems)
{
    return problem_list_finish(problem_list_new(conf->file), ret_problems);
}
