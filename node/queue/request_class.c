/* request_class: the first row whose method and path fit. Dify's routes: doc/DIFY.md §1. */
#include "queue/request_class.h"

#include <stdbool.h>

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

/* `path` has no slash at its end, but for "/" itself. */
static bool fits(struct bytes path, const char *pattern)
{
    const char *at = path.at, *end = path.at + path.size;
    for (const char *p = pattern; *p; p++) {
        if (p[0] == '/' && p[1] == '*' && p[2] == '*') {
            return at == end || *at == '/';
        }
        if (*p == '*') {
            const char *from = at;
            while (at < end && *at != '/') {
                at++;
            }
            if (at == from) {
                return false;
            }
        } else if (at == end || *at++ != *p) {
            return false;
        }
    }
    return at == end;
}

static struct bytes without_last_slash(struct bytes path)
{
    bool slash = path.size > 1 && path.at[path.size - 1] == '/';
    return (struct bytes){path.at, path.size - (slash ? 1 : 0)};
}

bool request_is_stop(enum http_method method, struct bytes path)
{
    enum { STOPS = 3 }; /* the first rows */
    bool stops = false;
    path = without_last_slash(path);
    for (size_t i = 0; i < STOPS && method == HTTP_METHOD_POST && !stops; i++) {
        stops = fits(path, table[i].path);
    }
    return stops;
}

enum slot_class request_class(enum http_method method, struct bytes path)
{
    path = without_last_slash(path);
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if ((table[i].methods & 1u << method) != 0 && fits(path, table[i].path)) {
            return table[i].class;
        }
    }
    return SLOT_LONG;
}
