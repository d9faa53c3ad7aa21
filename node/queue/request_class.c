/* request_class: the first row whose method and path fit. Dify's routes: doc/DIFY.md §1. */
#include "queue/request_class.h"

#include <stdbool.h>
#include <string.h>

enum {
    GETS = 1 << HTTP_METHOD_GET | 1 << HTTP_METHOD_HEAD,
    POST = 1 << HTTP_METHOD_POST,
    PUT = 1 << HTTP_METHOD_PUT,
    DELETE = 1 << HTTP_METHOD_DELETE,
};

struct row {
    unsigned methods;
    const char *path; /* `*` is one segment, `**` at the end are any */
    enum slot_class class;
};

static const struct row table[] = {
    /* stops: request_is_stop() knows that they are the first */
    {POST, "/v1/chat-messages/*/stop", SLOT_SHORT},
    {POST, "/v1/completion-messages/*/stop", SLOT_SHORT},
    {POST, "/v1/workflows/tasks/*/stop", SLOT_SHORT},
    {POST, "/v1/messages/*/feedbacks", SLOT_SHORT},
    {POST, "/v1/conversations/*/name", SLOT_SHORT},
    {PUT, "/v1/conversations/*/variables/*", SLOT_SHORT},
    {POST, "/v1/form/human_input/*", SLOT_SHORT},
    {DELETE, "/v1/**", SLOT_SHORT},
    /* event streams, and files */
    {GETS, "/v1/workflow/*/events", SLOT_LONG},
    {GETS, "/v1/files/**", SLOT_LONG},
    {GETS, "/v1/datasets/*/documents/*/download", SLOT_LONG},
    {GETS, "/v1/datasets/*/documents/download-zip", SLOT_LONG},
    {GETS, "/v1/**", SLOT_SHORT},
};

/* The next segment of a path, which moves behind it. */
static struct bytes segment(struct bytes *path)
{
    const char *at = path->at, *end = path->at + path->size;
    at += at < end && *at == '/' ? 1 : 0;
    const char *slash = at < end ? memchr(at, '/', (size_t)(end - at)) : NULL;
    struct bytes found = {at, (size_t)((slash ? slash : end) - at)};
    *path = (struct bytes){found.at + found.size, (size_t)(end - found.at) - found.size};
    return found;
}

static bool fits(struct bytes path, const char *pattern)
{
    struct bytes wanted = bytes_of(pattern);
    if (path.size > 1 && path.at[path.size - 1] == '/') {
        path.size--;
    }
    while (wanted.size > 0) {
        struct bytes want = segment(&wanted);
        if (bytes_equal(want, BYTES("**"))) {
            return true;
        }
        struct bytes have = segment(&path);
        bool any = bytes_equal(want, BYTES("*")) && have.size > 0;
        if (!any && !bytes_equal(want, have)) {
            return false;
        }
    }
    return path.size == 0;
}

bool request_is_stop(enum http_method method, struct bytes path)
{
    enum { STOPS = 3 }; /* the first rows */
    bool stops = false;
    for (size_t i = 0; i < STOPS && method == HTTP_METHOD_POST && !stops; i++) {
        stops = fits(path, table[i].path);
    }
    return stops;
}

enum slot_class request_class(enum http_method method, struct bytes path)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if ((table[i].methods & 1u << method) != 0 && fits(path, table[i].path)) {
            return table[i].class;
        }
    }
    return SLOT_LONG;
}
