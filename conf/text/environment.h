/* environment: `${NAME}` in a value. NAME is [A-Za-z_][A-Za-z0-9_]*; there is no default and no
 * escape; a `$` without `{` is itself. */
#ifndef CONF_TEXT_ENVIRONMENT_H
#define CONF_TEXT_ENVIRONMENT_H

#include "conf/text/yaml_tree.h"

/* Replaces in node->text and sets node->substituted. `*budget` is what all values together may
 * still grow by. Adds a problem at the node's place, and leaves the text, when a name is not set.
 */
void environment_replace(struct arena *arena, struct yaml_node *node, size_t *budget,
                         struct problem_list *problems);

#endif
