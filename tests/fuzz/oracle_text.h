/* oracle_text: what Jansson makes of a text, for the oracles beside it. */
#ifndef TESTS_FUZZ_ORACLE_TEXT_H
#define TESTS_FUZZ_ORACLE_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

/* NULL: it is not judged, for it is no JSON, or a key of an object comes twice. A NUL is nowhere
 * part of a JSON text, but Jansson passes over one that stands behind a literal. */
static inline json_t *oracle_load(const char *text, size_t size)
{
    json_error_t error;
    bool has_nul = size > 0 && memchr(text, '\0', size);
    return has_nul ? NULL : json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
}

#endif
