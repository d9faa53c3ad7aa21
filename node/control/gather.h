/* gather: the facts of /status and of /metrics, from the cluster, this node's verdicts and its
 * workers' cells.
 *
 *   ..._begin() -> ..._some() until it says false -> ..._text() -> ..._free()
 *
 * A piece gathers one application. What was gathered is copied, or held by a reference to the
 * snapshot: the text is made of it on any thread. */
#ifndef CONTROL_GATHER_H
#define CONTROL_GATHER_H

#include "base/buffer.h"
#include "base/bytes.h"

struct control;
struct status_gathering;
struct metrics_gathering;

struct status_gathering *gather_status_begin(struct control *c);
bool gather_status_some(struct control *c, struct status_gathering *g);
void gather_status_text(const struct status_gathering *g, struct buffer *ret_body);
void gather_status_free(struct status_gathering *g);

/* Is what was gathered so far still of now? Else begin anew. */
bool gather_status_holds(struct control *c, const struct status_gathering *g);

struct metrics_gathering *gather_metrics_begin(struct control *c);
bool gather_metrics_some(struct control *c, struct metrics_gathering *g);
void gather_metrics_text(const struct metrics_gathering *g, struct buffer *ret_body);
void gather_metrics_free(struct metrics_gathering *g);

#endif
