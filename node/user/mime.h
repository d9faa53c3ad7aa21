/* mime: Content-Type and Content-Disposition values: `type; name=value; name="value"` (RFC 9110
 * §8.3.1, RFC 6266 §4.1). White space, folded lines included, is allowed around every part. */
#ifndef USER_MIME_H
#define USER_MIME_H

#include "base/bytes.h"

struct mime_parameter {
    struct bytes name;
    struct bytes value; /* without its quotes, escapes still in it */
    bool quoted;
};

/* Takes the type before the first `;` off `*rest`. */
struct bytes mime_type(struct bytes *rest);

/* Takes the next parameter off `*rest`; one without `=` has an empty value. False at the end. */
bool mime_parameter_next(struct bytes *rest, struct mime_parameter *ret_parameter);

/* Writes the value without its escapes; returns its size, at most p->value.size. In a quoted value
 * \" and \\ are escapes and every other backslash is itself, because browsers write file names so.
 */
size_t mime_value(const struct mime_parameter *p, char *ret_text);

bool mime_value_equal(const struct mime_parameter *p, struct bytes text);

#endif
