/* routes: the table, and a walk along a path's segments.
 *
 * Seen on both versions if not said otherwise. What a route does with an id of another instance is
 * in SPEC §3 and doc/DIFY.md §0; here is only what decides between the manners:
 *   chat, DELETE of a conversation   1.13 answers 200 and silence, or 204 without effect: ASK
 *   GET /workflows/run/{id}          1.13 answers 500, 1.16 404
 *   stop                             200 everywhere: EVERYWHERE
 *   status of an annotations' job    400 invalid_param, as for much else: found by memory alone
 *   all others                       404 …not_found before anything is done: TRY */
#include "placement/routes.h"

#define CONVERSATION PLACEMENT_CONVERSATION
#define MESSAGE      PLACEMENT_MESSAGE
#define TASK         PLACEMENT_TASK
#define RUN          PLACEMENT_RUN
#define FORM         PLACEMENT_FORM
#define FILE_ID      PLACEMENT_FILE
#define RECORD       PLACEMENT_RECORD

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct placement_route routes[] = {
    {.method = TEXT("POST"),
     .pattern = TEXT("chat-messages"),
     .runs = true,
     .manner = PLACEMENT_ASK,
     .in_body = PLACEMENT_BODY_CONVERSATION | PLACEMENT_BODY_FILES,
     .stop = "/v1/chat-messages/"},
    {.method = TEXT("POST"),
     .pattern = TEXT("completion-messages"),
     .runs = true,
     .manner = PLACEMENT_FREE,
     .in_body = PLACEMENT_BODY_FILES,
     .stop = "/v1/completion-messages/"},
    {.method = TEXT("POST"),
     .pattern = TEXT("workflows/run"),
     .runs = true,
     .manner = PLACEMENT_FREE,
     .in_body = PLACEMENT_BODY_FILES,
     .stop = "/v1/workflows/tasks/"},
    {.method = TEXT("POST"),
     .pattern = TEXT("workflows/*/run"),
     .runs = true,
     .manner = PLACEMENT_FREE,
     .in_body = PLACEMENT_BODY_FILES,
     .stop = "/v1/workflows/tasks/"},

    {.method = TEXT("POST"),
     .pattern = TEXT("chat-messages/@/stop"),
     .manner = PLACEMENT_EVERYWHERE,
     .in_path = TASK},
    {.method = TEXT("POST"),
     .pattern = TEXT("completion-messages/@/stop"),
     .manner = PLACEMENT_EVERYWHERE,
     .in_path = TASK},
    {.method = TEXT("POST"),
     .pattern = TEXT("workflows/tasks/@/stop"),
     .manner = PLACEMENT_EVERYWHERE,
     .in_path = TASK},

    {.method = TEXT("GET"),
     .pattern = TEXT("workflows/run/@"),
     .manner = PLACEMENT_TRY,
     .in_path = RUN,
     .id_made = RUN,
     .run_of_500 = true},
    {.method = TEXT("GET"),
     .pattern = TEXT("workflow/@/events"),
     .manner = PLACEMENT_TRY,
     .in_path = RUN},
    {.pattern = TEXT("form/human_input/@"), .manner = PLACEMENT_TRY, .in_path = FORM},

    {.method = TEXT("GET"),
     .pattern = TEXT("messages"),
     .manner = PLACEMENT_TRY,
     .in_query = CONVERSATION,
     .query_name = "conversation_id",
     .ids_listed = MESSAGE},
    {.method = TEXT("GET"),
     .pattern = TEXT("messages/@/suggested"),
     .manner = PLACEMENT_TRY,
     .in_path = MESSAGE},
    {.method = TEXT("POST"),
     .pattern = TEXT("messages/@/feedbacks"),
     .manner = PLACEMENT_TRY,
     .in_path = MESSAGE},
    {.method = TEXT("POST"),
     .pattern = TEXT("text-to-audio"),
     .manner = PLACEMENT_TRY,
     .in_body = PLACEMENT_BODY_MESSAGE},

    {.method = TEXT("GET"),
     .pattern = TEXT("conversations"),
     .manner = PLACEMENT_FREE,
     .ids_listed = CONVERSATION},
    {.method = TEXT("DELETE"),
     .pattern = TEXT("conversations/@"),
     .manner = PLACEMENT_ASK,
     .in_path = CONVERSATION,
     .deletes = true},
    {.method = TEXT("POST"),
     .pattern = TEXT("conversations/@/name"),
     .manner = PLACEMENT_TRY,
     .in_path = CONVERSATION,
     .id_made = CONVERSATION},
    {.pattern = TEXT("conversations/@/variables/**"),
     .manner = PLACEMENT_TRY,
     .in_path = CONVERSATION},

    {.method = TEXT("POST"),
     .pattern = TEXT("files/upload"),
     .manner = PLACEMENT_FREE,
     .id_made = FILE_ID},
    {.method = TEXT("GET"),
     .pattern = TEXT("files/@/preview"),
     .manner = PLACEMENT_TRY,
     .in_path = FILE_ID},

    {.method = TEXT("GET"),
     .pattern = TEXT("apps/annotations"),
     .manner = PLACEMENT_FREE,
     .ids_listed = RECORD},
    {.method = TEXT("POST"),
     .pattern = TEXT("apps/annotations"),
     .manner = PLACEMENT_FREE,
     .id_made = RECORD},
    {.method = TEXT("PUT"),
     .pattern = TEXT("apps/annotations/@"),
     .manner = PLACEMENT_TRY,
     .in_path = RECORD},
    {.method = TEXT("DELETE"),
     .pattern = TEXT("apps/annotations/@"),
     .manner = PLACEMENT_TRY,
     .in_path = RECORD,
     .deletes = true},
    {.method = TEXT("POST"),
     .pattern = TEXT("apps/annotation-reply/*"),
     .manner = PLACEMENT_FREE,
     .id_made = RECORD,
     .id_is_job = true},
    {.method = TEXT("GET"),
     .pattern = TEXT("apps/annotation-reply/*/status/@"),
     .manner = PLACEMENT_TRY,
     .in_path = RECORD},
    {.method = TEXT("GET"),
     .pattern = TEXT("end-users/@"),
     .manner = PLACEMENT_TRY,
     .in_path = RECORD},

    /* Of keys for knowledge: the models that data sets may use stand under workspaces, and what
     * follows them under knowledge-fs. */
    {.pattern = TEXT("datasets/**"), .manner = PLACEMENT_PINNED},
    {.pattern = TEXT("knowledge-fs/**"), .manner = PLACEMENT_PINNED},
    {.pattern = TEXT("workspaces/**"), .manner = PLACEMENT_PINNED},
};

static const struct placement_route other = {.pattern = TEXT(""), .manner = PLACEMENT_FREE};

/* Byte by byte: most rows differ in the first. `*` and `@` are whole segments of a pattern. */
static bool walks(const char *pattern, struct bytes path, struct bytes *ret_id)
{
    const char *at = path.at, *end = at + path.size;
    for (const char *p = pattern; *p; p++) {
        if (*p == '*' || *p == '@') {
            const char *begin = at;
            if (p[1] == '*') {
                return true;
            }
            while (at < end && *at != '/') {
                at++;
            }
            if (at == begin) {
                return false;
            }
            if (*p == '@') {
                *ret_id = (struct bytes){begin, (size_t)(at - begin)};
            }
        } else if (at == end) {
            return *p == '/' && p[1] == '*' && p[2] == '*'; /* no further path */
        } else if (*at++ != *p) {
            return false;
        }
    }
    return at == end;
}

/* Nearly all requests are for a run, whose route is its pattern to the letter. */
static bool matches(const struct placement_route *route, struct bytes path, struct bytes *ret_id)
{
    return (route->runs && bytes_equal(path, route->pattern)) ||
           walks(route->pattern.at, path, ret_id);
}

/* HEAD asks for the head of what GET gives. */
static bool method_is(struct bytes wanted, struct bytes method)
{
    return wanted.size == 0 || bytes_equal(method, wanted) ||
           (bytes_equal(method, BYTES("HEAD")) && bytes_equal(wanted, BYTES("GET")));
}

/* Takes the beginning of all routes off. */
static bool take_prefix(struct bytes *path)
{
    const struct bytes prefix = BYTES("/v1/");
    if (path->size < prefix.size || memcmp(path->at, prefix.at, prefix.size) != 0) {
        return false;
    }
    path->at += prefix.size;
    path->size -= prefix.size;
    return true;
}

const struct placement_route *placement_route_of(struct bytes method, struct bytes path,
                                                 struct bytes *ret_id)
{
    *ret_id = (struct bytes){NULL, 0};
    if (!take_prefix(&path)) {
        return &other;
    }
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        struct bytes id = {NULL, 0};
        if (matches(&routes[i], path, &id) && method_is(routes[i].method, method)) {
            *ret_id = id;
            return &routes[i];
        }
    }
    return &other;
}

/* %XX and `+`, as Dify reads them; what is none stays as it is. Into `to`, if there is one at all;
 * size 0: it is longer than an id may be. */
static struct bytes decoded(struct bytes text, char to[PLACEMENT_ID_MAX])
{
    size_t size = 0;
    if (text.size == 0 || (!memchr(text.at, '%', text.size) && !memchr(text.at, '+', text.size))) {
        return text;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i] == '+' ? ' ' : text.at[i];
        if (c == '%' && i + 2 < text.size && ascii_hex(text.at[i + 1]) >= 0 &&
            ascii_hex(text.at[i + 2]) >= 0) {
            c = (char)(ascii_hex(text.at[i + 1]) << 4 | ascii_hex(text.at[i + 2]));
            i += 2;
        }
        if (size == PLACEMENT_ID_MAX) {
            return (struct bytes){NULL, 0};
        }
        to[size++] = c;
    }
    return (struct bytes){to, size};
}

struct bytes placement_query_id(const struct placement_route *route, struct bytes query,
                                char ret_text[PLACEMENT_ID_MAX])
{
    struct bytes none = {NULL, 0};
    if (!route->query_name) {
        return none;
    }
    struct bytes name = bytes_of(route->query_name);
    while (query.size > 0) {
        const char *end = memchr(query.at, '&', query.size);
        struct bytes pair = {query.at, end ? (size_t)(end - query.at) : query.size};
        size_t taken = pair.size + (end ? 1 : 0);
        query = (struct bytes){query.at + taken, query.size - taken};
        const char *sign = pair.size > 0 ? memchr(pair.at, '=', pair.size) : NULL;
        size_t size = sign ? (size_t)(sign - pair.at) : pair.size;
        if (bytes_equal(decoded((struct bytes){pair.at, size}, ret_text), name)) {
            return sign ? decoded((struct bytes){sign + 1, pair.size - size - 1}, ret_text) : none;
        }
    }
    return none;
}

bool placement_tells_ids(const struct placement_route *route)
{
    return route != &other && route->manner != PLACEMENT_EVERYWHERE &&
           route->manner != PLACEMENT_PINNED;
}
