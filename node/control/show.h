/* show: GET /admin/config, the shared configuration in force as YAML. */
#ifndef CONTROL_SHOW_H
#define CONTROL_SHOW_H

#include "control/private.h"

/* Takes the job over and answers it, from the pool. */
void show_config(struct control *c, struct local_job *job);

#endif
