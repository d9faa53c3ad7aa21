/* reader_target: the target of a request as llhttp is shown it, and as it is. Parts of http/reader;
 * nobody else includes this. */
#ifndef HTTP_READER_TARGET_H
#define HTTP_READER_TARGET_H

#include "http/reader.h"

/* What llhttp is shown of `size` bytes: these, fewer of these, or as many stand-ins. */
struct bytes reader_show(struct http_reader *r, const char *at, size_t size);

/* The bytes that stand where llhttp saw what it was shown at `at`. */
const char *reader_target_bytes(const struct http_reader *r, const char *at);

/* The byte `distance` <= sizeof(r->before) before `at`, which may lie in the input before this one.
 */
char reader_byte_before(const struct http_reader *r, const char *at, size_t distance);

/* Inside a target that is too long, and only llhttp has seen that it is also wrong? Then which of
 * the two is said must not hang on where the input was split. */
bool reader_target_is_long(const struct http_reader *r, const char *wrong);

#endif
