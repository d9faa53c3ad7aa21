/* gather: the facts of this moment, from those who know them, an application a piece.
 *
 *   facts_begin() -> facts_some() until it says false -> facts_share() and a text, on any thread
 *   -> facts_free() */
#ifndef REPORT_GATHER_H
#define REPORT_GATHER_H

#include "facts/facts.h"

struct report;

/* `members` and their votes are for /status, applications that have left are for /metrics. */
struct facts *facts_begin(const struct report *r, bool members);
bool facts_some(struct report *r, struct facts *f);
void facts_share(struct facts *f);
void facts_free(struct facts *f);

/* Why, and by whose vote. What this node alone does not reach has its own reason, told by nobody.
 */
void facts_reason(const struct report *r, const struct tracked_instance *i,
                  struct told_reason *ret);

/* Is what was gathered so far still of now? Else begin anew. */
bool facts_hold(const struct report *r, const struct facts *f);

/* Members that say that they have the virtual IP, as far as they are to be believed: how many, and
 * the names of the first two, "" where there is none (valid until the cluster changes). */
size_t facts_vip_claims(const struct report *r, struct bytes ret_first[2]);

#endif
