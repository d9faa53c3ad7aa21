/* secrets: keeps tokens and keys out of texts that go into a log.
 *
 * Built once a snapshot and immutable; any thread may use it. A text is walked once, whatever the
 * number of secrets. It remembers what former configurations of this process had, because a client
 * goes on sending a token for a while after it was replaced. */
#ifndef SNAPSHOT_SECRETS_H
#define SNAPSHOT_SECRETS_H

#include "base/buffer.h"
#include "base/bytes.h"

enum {
    /* Those that left last; half a MiB if they are long. */
    SECRETS_FORMER_MAX = 4096,
    /* A secret of this size or less is in every other word: `a` would blacken all of a line. It is
     * only seen where it stands alone, as the value of a parameter does. */
    SECRETS_WORD_MAX = 3,
};

struct secrets;

/* From `count` texts, which are copied, empty ones left out. `before`: what was in force until now,
 * or NULL; what only it has is kept as a former secret. */
struct secrets *secrets_new(const struct bytes *texts, size_t count, const struct secrets *before);
void secrets_free(struct secrets *s); /* NULL is fine; the copies are overwritten */

/* `text` with `***` for every secret in it, the longest first where several begin, and for every
 * run of it that says one in percent-encoding, in whole or in part, encoded up to three times over.
 * Points to `text` itself if there is none, which is nearly always so, else into `space`, which is
 * empty before. */
struct bytes secrets_redact(const struct secrets *s, struct bytes text, struct buffer *space);

#endif
