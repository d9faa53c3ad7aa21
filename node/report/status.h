/* status: the JSON of GET /status (SPEC §5), from facts, and of the answers to actions.
 *
 * Pure: it reads no clock and no shared state, so that its shape is tested without a node. */
#ifndef REPORT_STATUS_H
#define REPORT_STATUS_H

#include "report/facts.h"

/* Appends the document and a newline. */
void status_json(struct buffer *b, const struct facts *facts);

/* The answer of /reload-config. */
struct status_problem {
    const char *file;
    unsigned line, column;
    const char *message;
};
void status_reload_ok(struct buffer *b, uint64_t config_revision);
void status_reload_failed(struct buffer *b, const char *message,
                          const struct status_problem *problems, size_t count);

/* The answers of /admin/... */
void status_instance_drained(struct buffer *b, const char *application, const char *instance,
                             bool draining, const char *status);
void status_node_drained(struct buffer *b, const char *node, bool draining);

#endif
