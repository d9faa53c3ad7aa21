/* exchange_ids: the ids that a request names and that its answer tells (node/placement), and what
 * its run has cost. Those of a JSON body are read in the same pass as the user; what an answer
 * tells as it passes, of which no byte is held back. */
#include "proxy/exchange_private.h"

enum {
    BODY_CONVERSATION, /* of what is looked for in a JSON body */
    BODY_MESSAGE,
    BODY_FILE,
    BODY_USER,
    BODY_COUNT,
};

static const struct json_id_name body_names[BODY_COUNT] = {
    [BODY_CONVERSATION] = {{"conversation_id", 15}, false},
    [BODY_MESSAGE] = {{"message_id", 10}, false},
    [BODY_FILE] = {{"upload_file_id", 14}, true},
    [BODY_USER] = {{"user", 4}, false},
};

static void name_id(struct exchange *x, enum placement_kind kind, struct bytes text)
{
    if (text.size > 0) {
        bool file_of_body = kind == PLACEMENT_FILE && x->placing->looked;
        placing_name(&x->placing->where, x->snapshot, x->app, kind, text, file_of_body);
    }
}

/* A request that asks by itself is sent as a whole, to one after the other. */
static bool wants_whole_body(const struct placement_route *route)
{
    return route->in_body != 0 || route->manner == PLACEMENT_ASK ||
           route->manner == PLACEMENT_TRY || route->manner == PLACEMENT_EVERYWHERE;
}

static void begin_placing(struct exchange *x, const struct placement_route *route, struct bytes id,
                          struct user_request *request)
{
    bool has_ids =
        route->manner != PLACEMENT_FREE || route->in_body != 0 || placement_tells_ids(route);
    if (x->app->separate ? has_ids : route->stop != NULL) {
        exchange_place_open(x, route);
        struct exchange_placing *p = x->placing;
        json_ids_init(&p->body, body_names, BODY_COUNT);
        name_id(x, route->in_path, id);
        if (route->in_query != PLACEMENT_NO_ID) {
            char text[PLACEMENT_ID_MAX];
            name_id(x, route->in_query, placement_query_id(route, http_head_query(x->head), text));
        }
        if (request->has_body && wants_whole_body(route)) {
            request->ids = &p->body;
        }
    }
}

void exchange_find_route(struct exchange *x, struct user_request *request)
{
    bool places = x->app->separate || x->app->client_gone != CLIENT_GONE_ABORT;
    if (places || x->head->method == HTTP_METHOD_POST) { /* runs are made by POST */
        struct bytes id;
        const struct placement_route *route =
            placement_route_of(http_head_method(x->head), x->path, &id);
        x->runs = route->runs;
        if (places) {
            begin_placing(x, route, id, request);
        }
    }
}

/* All of the request that is looked at has come. */
void exchange_place_read_body(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    if (p->route->in_body & PLACEMENT_BODY_CONVERSATION) {
        name_id(x, PLACEMENT_CONVERSATION, json_ids_value(&p->body, BODY_CONVERSATION));
    }
    if (p->route->in_body & PLACEMENT_BODY_MESSAGE) {
        name_id(x, PLACEMENT_MESSAGE, json_ids_value(&p->body, BODY_MESSAGE));
    }
    if (p->route->in_body & PLACEMENT_BODY_FILES) {
        name_id(x, PLACEMENT_FILE, json_ids_value(&p->body, BODY_FILE));
    }
}

/* The one that Dify knows is the body's. */
struct bytes exchange_place_user(const struct exchange *x)
{
    struct bytes user = json_ids_value(&x->placing->body, BODY_USER);
    return user.size > 0 ? user : user_id_value(&x->search);
}

static void remember(struct exchange *x, enum placement_kind kind, struct bytes text)
{
    if (x->placing->remembers) {
        const struct placing_id id = {kind, text};
        placing_remember(&x->placing->where, x->snapshot, x->app, &id, x->instance->live);
    }
}

static bool is_any(void *arg, size_t member)
{
    (void)arg;
    (void)member;
    return true;
}

static bool is_home(struct exchange *x)
{
    uint64_t key;
    return exchange_ring_key(x, &key) &&
           ring_lookup(x->app->ring, key, is_any, NULL) == (int)(x->instance - x->app->instances);
}

/* Another node would send a chat with this file home, where it is not. Not in line: few ids are
 * files'. */
static __attribute__((noinline)) void note_upload(struct exchange *x, struct bytes text)
{
    const struct exchange_placing *p = x->placing;
    if (p->remembers && p->route->id_made == PLACEMENT_FILE && !is_home(x)) {
        placing_tell_upload(&p->where, x->snapshot, x->app, text, x->instance->live);
    }
}

void exchange_place_head(struct exchange *x)
{
    struct exchange_placing *p = x->placing;
    const struct http_head *h = x->up_head;
    if (!p) {
        return;
    }
    struct placing *where = &p->where;
    bool good = h->status >= 200 && h->status < 300;
    bool named =
        p->remembers && where->kind != PLACEMENT_NO_ID && p->route->manner != PLACEMENT_EVERYWHERE;
    if (named && good && p->route->deletes) {
        placing_forget(where);
    } else if (named && good && !where->only_remembered) {
        remember(x, where->kind, (struct bytes){where->text, where->text_size});
    } else if (named && h->status == 404 && p->bound) {
        placing_forget(where); /* it has been deleted there */
    }
}

static void on_id(void *arg, enum placement_kind kind, struct bytes text)
{
    struct exchange *x = arg;
    if (kind == PLACEMENT_TASK) {
        exchange_note_task(x, text);
    }
    if (kind == PLACEMENT_FILE) {
        note_upload(x, text);
    }
    remember(x, kind, text);
}

void exchange_read_head(struct exchange *x)
{
    const struct http_head *h = x->up_head;
    const struct answer_wanted wanted = {
        .route = x->placing ? x->placing->route : NULL, .usage = x->runs, .on_id = on_id, .arg = x};
    struct bytes coding = http_head_find(h, BYTES("content-encoding"));
    bool plain = !coding.at || bytes_equal_nocase(coding, BYTES("identity"));
    bool good = h->status >= 200 && h->status < 300 && plain;
    struct bytes type = http_head_get(h, HTTP_FIELD_CONTENT_TYPE);
    x->reads = good && answer_reading_begin(&x->reading, &wanted, type);
}
