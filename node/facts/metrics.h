/* metrics: the text of GET /metrics (Prometheus text format 0.0.4), from facts.
 *
 * Pure, as status.h. Counters are this node's since its start but for those named
 * difyring_cluster_...: these are the cluster's, the same on every node, and outlive restarts. */
#ifndef FACTS_METRICS_H
#define FACTS_METRICS_H

#include "facts/facts.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4"

/* Appends the document. */
void metrics_text(struct buffer *b, const struct facts *facts);

#endif
