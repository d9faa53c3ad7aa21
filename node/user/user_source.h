/* user_source: a place in a request where the user's id may stand (SPEC §2, user_id.sources). */
#ifndef USER_USER_SOURCE_H
#define USER_USER_SOURCE_H

#include "base/bytes.h"

enum user_source_kind {
    USER_FROM_HEADER,
    USER_FROM_QUERY,
    USER_FROM_COOKIE,
    USER_FROM_JSON,
    USER_FROM_FORM,
};

/* As configuration writes them, by the enum; NULL ends them. */
extern const char *const user_source_words[];

struct user_source {
    enum user_source_kind kind;
    struct bytes name; /* header, query name, cookie, top-level JSON key, form field */
};

#endif
