/* cors: what lets a page of another origin read an answer that this node makes itself (Fetch
 * standard §3.3; SPEC §3, Token). Answers of the instances bring their own fields. */
#ifndef HTTP_CORS_H
#define HTTP_CORS_H

#include "base/buffer.h"
#include "http/head.h"

/* Belongs to the snapshot. */
struct cors_policy {
    const struct bytes *origins; /* as a browser writes them: `https://chat.example.com` */
    size_t count;                /* with `any` 0: no answer has a CORS field */
    bool any;                    /* `*`: every origin */
};

/* An OPTIONS by which a browser asks whether it may send the request that the page wants. */
bool cors_is_preflight(const struct http_head *h);

/* Appends complete header lines, or nothing where the request has no Origin or one that may not
 * read it. The head may be incomplete. */
void cors_append_answer(struct buffer *b, const struct cors_policy *policy,
                        const struct http_head *h);

/* The same for the answer to a preflight: what Dify answers. */
void cors_append_preflight(struct buffer *b, const struct cors_policy *policy,
                           const struct http_head *h);

#endif
