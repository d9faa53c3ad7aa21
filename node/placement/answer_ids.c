/* answer_ids: which place of a text is which kind of id.
 *
 * The first rows are what every answer and event of a run has (1.13.0 and 1.16.0; doc/DIFY.md §0
 * and §3). A form's token is in the events that offer it, and in the reasons of a pause. `id` and
 * `data[].id` are what the route says (of a chat's events `id` may be a thought's or a file's: they
 * have `message_id`). Deeper places are the application's own words and may say
 * anything: they are not looked at. */
#include "placement/answer_ids.h"

enum place { AT_ID, AT_LIST, AT_EVENT, AT_FORM, AT_REASON, AT_RUN_DATA, AT_FIXED };

struct row {
    enum placement_kind kind;
    struct json_path path;
};

static const struct json_path paths[] = {
    [AT_ID] = {{"id"}},
    [AT_LIST] = {{"data", "[]", "id"}},
    [AT_EVENT] = {{"event"}},
    [AT_FORM] = {{"data", "form_token"}},
    [AT_REASON] = {{"data", "reasons", "[]", "form_token"}},
    [AT_RUN_DATA] = {{"data", "workflow_run_id"}},
    [AT_FIXED + 0] = {{"conversation_id"}},
    [AT_FIXED + 1] = {{"message_id"}},
    [AT_FIXED + 2] = {{"task_id"}},
    [AT_FIXED + 3] = {{"workflow_run_id"}},
};
enum { PATH_COUNT = sizeof(paths) / sizeof(paths[0]) };

static const enum placement_kind fixed[] = {PLACEMENT_CONVERSATION, PLACEMENT_MESSAGE,
                                            PLACEMENT_TASK, PLACEMENT_RUN};

static void keep(struct answer_ids *a, enum placement_kind kind, struct bytes text)
{
    size_t size = text.size <= PLACEMENT_ID_MAX ? text.size : 0;
    if (kind != PLACEMENT_NO_ID) {
        memcpy(a->texts[kind], text.at ? text.at : "", size);
        a->sizes[kind] = (uint8_t)size;
    }
}

static void tell(struct answer_ids *a, enum placement_kind kind, struct bytes text)
{
    if (text.size > 0 && text.size <= PLACEMENT_ID_MAX && a->list_count < ANSWER_IDS_MAX) {
        a->list_count++;
        a->on_id(a->arg, kind, text);
    }
}

static void on_found(void *arg, unsigned path, struct bytes value)
{
    struct answer_ids *a = arg;
    switch (path) {
    case AT_ID:
        keep(a, a->route->id_made, value);
        break;
    case AT_LIST:
        if (a->route->ids_listed != PLACEMENT_NO_ID) {
            tell(a, a->route->ids_listed, value);
        }
        break;
    case AT_EVENT:
        a->takes_forms = bytes_equal(value, BYTES("human_input_required")) ||
                         bytes_equal(value, BYTES("workflow_paused"));
        break;
    case AT_FORM:
    case AT_REASON:
        keep(a, PLACEMENT_FORM, value);
        break;
    case AT_RUN_DATA:
        if (a->sizes[PLACEMENT_RUN] == 0) {
            keep(a, PLACEMENT_RUN, value);
        }
        break;
    default:
        keep(a, fixed[path - AT_FIXED], value);
        break;
    }
}

static void begin_text(struct answer_ids *a)
{
    memset(a->sizes, 0, sizeof(a->sizes));
    a->whole = a->takes_forms = false;
    a->list_count = 0;
    json_paths_begin(&a->json, paths, PATH_COUNT, on_found, a);
}

/* A valid text is complete. */
static void tell_all(struct answer_ids *a)
{
    bool forms = a->form == ANSWER_IDS_JSON || a->takes_forms;
    a->sizes[PLACEMENT_FORM] = forms ? a->sizes[PLACEMENT_FORM] : 0;
    for (int kind = PLACEMENT_NO_ID + 1; kind < PLACEMENT_KINDS; kind++) {
        tell(a, (enum placement_kind)kind, (struct bytes){a->texts[kind], a->sizes[kind]});
    }
}

static void feed_text(struct answer_ids *a, struct bytes piece)
{
    if (a->whole) {
        return;
    }
    switch (json_paths_feed(&a->json, piece)) {
    case JSON_PATHS_MORE:
        break;
    case JSON_PATHS_END:
        a->whole = true;
        tell_all(a);
        break;
    case JSON_PATHS_BROKEN:
        a->whole = true;
        break;
    }
}

static bool is_type(struct bytes content_type, struct bytes wanted)
{
    const char *end = memchr(content_type.at ? content_type.at : "", ';', content_type.size);
    struct bytes type = {content_type.at,
                         end ? (size_t)(end - content_type.at) : content_type.size};
    return bytes_equal_nocase(bytes_trim(type), wanted);
}

void answer_ids_begin(struct answer_ids *a, const struct placement_route *route,
                      struct bytes content_type,
                      void (*on_id)(void *arg, enum placement_kind kind, struct bytes text),
                      void *arg)
{
    *a = (struct answer_ids){.route = route, .on_id = on_id, .arg = arg};
    if (!placement_tells_ids(route)) {
        a->form = ANSWER_IDS_NONE;
    } else if (is_type(content_type, BYTES("application/json"))) {
        a->form = ANSWER_IDS_JSON;
    } else if (is_type(content_type, BYTES("text/event-stream"))) {
        a->form = ANSWER_IDS_EVENTS;
    }
    begin_text(a);
}

static void feed_events(struct answer_ids *a, struct bytes piece)
{
    struct bytes data;
    for (;;) {
        switch (events_next(&a->events, &piece, &data)) {
        case EVENTS_MORE:
            return;
        case EVENTS_DATA:
            feed_text(a, data);
            break;
        case EVENTS_EVENT:
            begin_text(a);
            break;
        }
    }
}

void answer_ids_feed(struct answer_ids *a, struct bytes piece)
{
    switch (a->form) {
    case ANSWER_IDS_NONE:
        break;
    case ANSWER_IDS_JSON:
        feed_text(a, piece);
        break;
    case ANSWER_IDS_EVENTS:
        feed_events(a, piece);
        break;
    }
}
