/* form_user: a streaming scanner that finds some fields of a multipart/form-data body (RFC 7578,
 * RFC 2046 §5.1) wherever they stand, also behind a file of any size.
 *
 * A field is a part whose Content-Disposition is form-data with that name and without a filename.
 * The first part of a name is the one that counts; its bytes up to the next delimiter are the
 * value, undecoded. Line ends are CRLF only. A line that begins with the delimiter but goes on with
 * something else than `--` or white space belongs to the part, as in Werkzeug. A field that the
 * body's end cuts off does not count.
 *
 * File bytes go through memmem() for CR LF -- boundary: about as fast as memory is read. */
#ifndef USER_FORM_USER_H
#define USER_FORM_USER_H

#include "user/user_values.h"

enum {
    FORM_USER_BOUNDARY_MAX = 70,      /* RFC 2046 §5.1.1 */
    FORM_USER_HEADERS_MAX = 8 * 1024, /* of one part; more and the search is given up */
    FORM_USER_VALUE_MAX = 64 * 1024,  /* a longer value counts as empty */
    FORM_USER_PADDING_MAX = 256,      /* white space behind a delimiter; more and it is none */
};

enum form_user_state {
    FORM_USER_MORE,
    FORM_USER_FOUND, /* certain: the first source with a value is complete */
    FORM_USER_OVER,  /* behind the closing delimiter, or given up: nothing more can be found */
};

struct form_user {
    struct user_values *values; /* lent: the sources looked for, and where values go */
    uint32_t text_at;           /* where the text being collected begins */
    uint32_t value_end;         /* where a value ends if the delimiter begun turns out to be one */
    int32_t source;             /* the field being read, or -1 */
    uint16_t padding;           /* white space seen behind the delimiter */
    uint8_t state;              /* enum form_state, private */
    uint8_t matched;            /* bytes of the delimiter, or of the empty line, seen */
    uint8_t needle_size;
    bool too_long;                           /* the value; what follows is not collected */
    char needle[4 + FORM_USER_BOUNDARY_MAX]; /* CR LF -- boundary */
};

/* False when the Content-Type is not multipart/form-data with a usable boundary. */
bool form_user_init(struct form_user *f, struct user_values *values, struct bytes content_type);

enum form_user_state form_user_feed(struct form_user *f, struct bytes piece);

#endif
