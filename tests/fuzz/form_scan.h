/* form_scan: one run of the form scanner over a body in pieces, for test_form_user.c and
 * fuzz_form_user.c. */
#ifndef TESTS_FUZZ_FORM_SCAN_H
#define TESTS_FUZZ_FORM_SCAN_H

#include <stdlib.h>

#include "base/buffer.h"
#include "user/form_user.h"

/* Appends to `found` the values of `user` and `uid`, each with a mark in front when it is set. The
 * pieces are blocks of `step` bytes of their own, the first of `first` bytes. False when the
 * Content-Type is refused. */
static inline bool scan_form(struct bytes content_type, struct bytes body, size_t first,
                             size_t step, struct buffer *found)
{
    static const struct user_source sources[] = {{USER_FROM_FORM, {"user", 4}},
                                                 {USER_FROM_FORM, {"uid", 3}}};
    struct user_values values;
    struct form_user scan;
    user_values_init(&values, sources, 2);
    if (!form_user_init(&scan, &values, content_type)) {
        user_values_done(&values);
        return false;
    }
    for (size_t at = 0, part = first; at < body.size; at += part, part = step) {
        part = part > body.size - at ? body.size - at : part;
        if (part == 0) {
            continue;
        }
        char *piece = malloc(part);
        memcpy(piece, body.at + at, part);
        form_user_feed(&scan, (struct bytes){piece, part});
        free(piece);
    }
    for (int i = 0; i < 2; i++) {
        buffer_append_text(found, user_values_is_set(&values, i) ? "=" : "-");
        buffer_append_bytes(found, user_values_get(&values, i));
    }
    user_values_done(&values);
    return true;
}

#endif
