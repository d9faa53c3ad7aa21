/* redact: keeps tokens and keys out of texts that go into a log.
 *
 * Built once a snapshot and immutable; any thread may use it. A text is walked once, whatever the
 * number of secrets. It remembers what former configurations of this process had, because a client
 * goes on sending a token for a while after it was replaced. */
#ifndef REDACT_REDACT_H
#define REDACT_REDACT_H

#include "base/buffer.h"
#include "base/bytes.h"

enum {
    /* Those that left last; half a MiB if they are long. */
    REDACTOR_FORMER_MAX = 4096,
    /* A secret of this size or less is in every other word: `a` would blacken all of a line. It is
     * only seen where it stands alone, as the value of a parameter does. */
    REDACTOR_WORD_MAX = 3,
};

struct redactor;

/* From `count` texts, which are copied, empty ones left out. `before`: what was in force until now,
 * or NULL; what only it has is kept as a former secret. */
struct redactor *redactor_new(const struct bytes *texts, size_t count,
                              const struct redactor *before);
void redactor_free(struct redactor *s); /* NULL is fine; the copies are overwritten */

/* `text` with `***` for every secret in it, the longest first where several begin, and for every
 * run of it that says one in percent-encoding, in whole or in part, encoded up to three times over.
 * A space is taken for the `+` that it may have been in a query, and a secret with percent-encoding
 * in itself is also known as what a query makes of it. With `cut`, more of the text may have come
 * or been on its way: then its end, if a secret begins so, goes as well (from the fourth character
 * on). Points to `text` itself if there is none, which is nearly always so, else into `space`,
 * which is empty before. */
struct bytes redactor_clean(const struct redactor *s, struct bytes text, bool cut,
                            struct buffer *space);

#endif
