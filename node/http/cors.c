/* cors: see cors.h. Dify allows every origin by naming the one that asks, and we do the same. */
#include "http/cors.h"

static struct bytes origin_of(const struct http_head *h)
{
    return http_head_find(h, BYTES("origin"));
}

bool cors_is_preflight(const struct http_head *h)
{
    return h->method == HTTP_METHOD_OPTIONS && origin_of(h).size > 0 &&
           http_head_find(h, BYTES("access-control-request-method")).size > 0;
}

/* What is sent back to the client is visible ASCII, besides `space` if that is a space. */
static bool is_visible(struct bytes text, char space)
{
    for (size_t i = 0; i < text.size; i++) {
        if ((text.at[i] < 0x21 || text.at[i] > 0x7E) && text.at[i] != space) {
            return false;
        }
    }
    return text.size > 0;
}

static bool is_allowed(const struct cors_policy *policy, struct bytes origin)
{
    bool allowed = policy->any;
    for (size_t i = 0; i < policy->count && !allowed; i++) {
        allowed = bytes_equal_nocase(policy->origins[i], origin);
    }
    return allowed && is_visible(origin, '\0');
}

static void append_field(struct buffer *b, const char *name_colon, struct bytes value)
{
    buffer_append_text(b, name_colon);
    buffer_append_bytes(b, value);
    buffer_append_text(b, "\r\n");
}

/* False: the answer is not for that page. A cache must not give it to another one, either way. */
static bool append_origin(struct buffer *b, const struct cors_policy *policy,
                          const struct http_head *h)
{
    struct bytes origin = origin_of(h);
    if (origin.size == 0 || (!policy->any && policy->count == 0)) {
        return false;
    }
    bool allowed = is_allowed(policy, origin);
    if (allowed) {
        append_field(b, "Access-Control-Allow-Origin: ", origin);
    }
    append_field(b, "Vary: ", BYTES("Origin"));
    return allowed;
}

void cors_append_answer(struct buffer *b, const struct cors_policy *policy,
                        const struct http_head *h)
{
    if (append_origin(b, policy, h)) {
        append_field(b, "Access-Control-Expose-Headers: ", BYTES("X-Request-ID"));
    }
}

void cors_append_preflight(struct buffer *b, const struct cors_policy *policy,
                           const struct http_head *h)
{
    if (!append_origin(b, policy, h)) {
        return;
    }
    struct bytes asked = http_head_find(h, BYTES("access-control-request-headers"));
    if (is_visible(asked, ' ')) {
        append_field(b, "Access-Control-Allow-Headers: ", asked);
    }
    append_field(b,
                 "Access-Control-Allow-Methods: ", BYTES("DELETE, GET, OPTIONS, PATCH, POST, PUT"));
    append_field(b, "Access-Control-Expose-Headers: ", BYTES("X-Env, X-Trace-Id, X-Version"));
}
