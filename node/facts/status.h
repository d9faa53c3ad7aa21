/* status: the JSON of GET /status (SPEC §5), from facts, and of the answers to actions.
 *
 * Pure: it reads no clock and no shared state, so that its shape is tested without a node. */
#ifndef FACTS_STATUS_H
#define FACTS_STATUS_H

#include "facts/facts.h"

/* Appends the document and a newline. */
void status_json(struct buffer *b, const struct facts *facts);

/* The answers of /admin/... */
void status_instance_drained(struct buffer *b, const char *application, const char *instance,
                             bool draining, const char *status);
void status_node_drained(struct buffer *b, const char *node, bool draining);

void status_node_forgotten(struct buffer *b, const char *node);

#endif
