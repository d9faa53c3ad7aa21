/* quotas: what there is to say of them, see the .c. */
#ifndef REPORT_QUOTAS_H
#define REPORT_QUOTAS_H

#include "facts/facts.h"
#include "snapshot/request_quotas.h"

struct report;

/* An application's, without the subjects; then those, piece by piece until it says false. */
void facts_quotas_of(const struct report *r, struct facts *f, struct facts_application *app);
bool facts_quotas_some(const struct report *r, struct facts *f);

/* Elements of a JSON array. */
void explain_quotas(const struct report *r, struct buffer *b,
                    const struct snapshot_application *app, const struct request_subjects *whom);

#endif
