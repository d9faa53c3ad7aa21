/* routes: which ids stand where in Dify's service API, and what a request with one is to be done
 * with; one table, of Dify 1.13.0 and 1.16.0 (doc/DIFY.md §0 and §1), compared with the routes of
 * 1.14.1 and of what comes after 1.17. A route that is not in it names no id and makes none. */
#ifndef PLACEMENT_ROUTES_H
#define PLACEMENT_ROUTES_H

#include "placement/id.h"

/* How a request with an id that is not remembered finds its instance (SPEC §3, placement). */
enum placement_manner {
    PLACEMENT_FREE,       /* it names no id: the first choice gets it */
    PLACEMENT_ASK,        /* GET /v1/messages asks first, for the request itself would not tell */
    PLACEMENT_TRY,        /* the request itself asks: a 404 of the route proves that nothing ran */
    PLACEMENT_EVERYWHERE, /* a stop: who does not know the task says success without effect */
    PLACEMENT_PINNED,     /* data sets, and what goes with them: the first eligible instance in the
                             file's order */
};

/* What of a JSON body is looked for; see user/json_ids.h. */
enum {
    PLACEMENT_BODY_CONVERSATION = 1 << 0, /* top-level conversation_id: "" and null name none */
    PLACEMENT_BODY_MESSAGE = 1 << 1,      /* top-level message_id */
    PLACEMENT_BODY_FILES = 1 << 2,        /* upload_file_id below the top level: remembered only */
};

struct placement_route {
    struct bytes method; /* size 0: any */
    /* Behind /v1, with `*` for a segment of any text and `@` for the one that is the id; a last
     * segment `**` is any further path, also none. */
    struct bytes pattern;
    enum placement_manner manner; /* where an id is named: ASK and EVERYWHERE need one */
    enum placement_kind in_path;
    enum placement_kind in_query; /* the value of query parameter `query_name` */
    const char *query_name;
    uint8_t in_body;
    enum placement_kind id_made;    /* what `id` at the top of an answer is */
    bool id_is_job;                 /* ... under the name `job_id`, and nothing else is told */
    enum placement_kind ids_listed; /* what `data[].id` in an answer is: found there */
    bool run_of_500;                /* 1.13 answers 500 for an id that it does not know */
    const char *stop;               /* a run, whose stop is POST to this, its task and `/stop` */
    bool deletes;                   /* what it names is gone after a 2xx */
    bool runs; /* it makes a run, which costs something: a chat, a completion, a workflow */
};

/* The route of a request; never NULL. `path` is the whole path without the query, dots and escapes
 * resolved. *ret_id: the segment that is the id, size 0 where the route has none. */
const struct placement_route *placement_route_of(struct bytes method, struct bytes path,
                                                 struct bytes *ret_id);

/* The value of the route's query parameter, the first one of that name; decoded into `ret_text`
 * where it must be. Size 0 if there is none. */
struct bytes placement_query_id(const struct placement_route *route, struct bytes query,
                                char ret_text[PLACEMENT_ID_MAX]);

/* May an answer of this route, or an event of it, tell ids? Else it need not be scanned. */
bool placement_tells_ids(const struct placement_route *route);

#endif
