/* answer_ids: which place of a text is which kind of id.
 *
 * A form's token is in the events that offer it, and in the reasons of a pause. `id` and
 * `data[].id` are what the route says (of a chat's events `id` may be a thought's or a file's: they
 * have `message_id`). */
#include "placement/answer_ids.h"

#include <assert.h>

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

static bool offers_form(struct bytes event)
{
    return bytes_equal(event, BYTES("human_input_required")) ||
           bytes_equal(event, BYTES("workflow_paused"));
}

void answer_ids_on_found(struct answer_ids *a, enum place place, struct bytes value)
{
    static const enum placement_kind kinds[PLACE_COUNT] = {
        [PLACE_CONVERSATION_ID] = PLACEMENT_CONVERSATION,
        [PLACE_MESSAGE_ID] = PLACEMENT_MESSAGE,
        [PLACE_TASK_ID] = PLACEMENT_TASK,
        [PLACE_RUN_ID] = PLACEMENT_RUN,
        [PLACE_DATA_FORM_TOKEN] = PLACEMENT_FORM,
        [PLACE_REASON_FORM_TOKEN] = PLACEMENT_FORM,
    };
    if (place == PLACE_EVENT) {
        a->takes_forms = offers_form(value);
    } else if (place == PLACE_ID) {
        keep(a, a->route->id_made, value);
    } else if (place == PLACE_DATA_ITEM_ID && a->route->ids_listed != PLACEMENT_NO_ID) {
        tell(a, a->route->ids_listed, value);
    } else if (place == PLACE_DATA_RUN_ID && a->sizes[PLACEMENT_RUN] == 0) {
        keep(a, PLACEMENT_RUN, value);
    } else {
        keep(a, kinds[place], value);
    }
}

void answer_ids_on_text(struct answer_ids *a)
{
    memset(a->sizes, 0, sizeof(a->sizes));
    a->takes_forms = false;
    a->list_count = 0;
}

/* Is it what was told last? Else it is from now on. */
static bool is_told(struct answer_ids *a, enum placement_kind kind)
{
    size_t size = a->sizes[kind];
    if (a->told_sizes[kind] == size && memcmp(a->told[kind], a->texts[kind], size) == 0) {
        return true;
    }
    memcpy(a->told[kind], a->texts[kind], size);
    a->told_sizes[kind] = (uint8_t)size;
    return false;
}

void answer_ids_on_whole(struct answer_ids *a, enum reading_form form)
{
    bool forms = form == READING_JSON || a->takes_forms;
    a->sizes[PLACEMENT_FORM] = forms ? a->sizes[PLACEMENT_FORM] : 0;
    for (int kind = PLACEMENT_NO_ID + 1; kind < PLACEMENT_KINDS; kind++) {
        if (a->sizes[kind] > 0 &&
            (form == READING_JSON || !is_told(a, (enum placement_kind)kind))) {
            tell(a, (enum placement_kind)kind, (struct bytes){a->texts[kind], a->sizes[kind]});
        }
    }
}

void answer_ids_begin(struct answer_ids *a, const struct placement_route *route,
                      void (*on_id)(void *arg, enum placement_kind kind, struct bytes text),
                      void *arg)
{
    assert(placement_tells_ids(route));
    a->route = route;
    a->on_id = on_id;
    a->arg = arg;
    memset(a->told_sizes, 0, sizeof(a->told_sizes));
}
