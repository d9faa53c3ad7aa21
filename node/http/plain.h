/* plain: the usual head, read without llhttp.
 *
 * Nearly every head is plain: it has come whole, its lines are `name: value` with one space, its
 * bytes are printable ASCII, its version is HTTP/1.1, and its body has a length or is not there.
 * Such a one is read here at a quarter of llhttp's cost. This reader refuses nothing: at the first
 * thing that is not plain it steps back, and llhttp reads the same bytes from the start. So all
 * that is odd, ambiguous or wrong is llhttp's to validator.
 *
 * Both must read a plain head alike. A head that comes byte by byte is always llhttp's, so every
 * test and fuzz input that is read whole and split compares the two. */
#ifndef HTTP_PLAIN_H
#define HTTP_PLAIN_H

#include "http/reader.h"

/* Reads a head from the front of `input` into `h`, which is empty and has its memory. Returns its
 * size with the empty line; 0: it is not plain, or not complete, and `h` is empty again. Behind it
 * follow h->content_length bytes if h->body is HTTP_BODY_LENGTH, and none else. */
size_t http_plain_head(struct http_head *h, struct bytes input, const struct http_limits *limits,
                       bool response, bool answer_to_head);

#endif
