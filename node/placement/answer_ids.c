/* answer_ids: which place of a text is which kind of id.
 *
 * A form's token is in the events that offer it, and in the reasons of a pause. `id` and
 * `data[].id` are what the route says (of a chat's events `id` may be a thought's or a file's: they
 * have `message_id`). */
#include "placement/answer_ids.h"

#include <assert.h>

static uint32_t bit_of(enum placement_kind kind)
{
    return UINT32_C(1) << kind;
}

/* The last one wins, also one that is none. */
static void keep(struct answer_ids *a, enum placement_kind kind, struct bytes text)
{
    if (kind == PLACEMENT_NO_ID) {
        return;
    }
    if (text.size == 0 || text.size > PLACEMENT_ID_MAX) {
        a->present &= ~bit_of(kind);
        return;
    }
    a->present |= bit_of(kind);
    a->sizes[kind] = (uint8_t)text.size;
    placement_id_copy(a->texts[kind], text);
}

static void tell_id(struct answer_ids *a, enum placement_kind kind, struct bytes text)
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
        tell_id(a, a->route->ids_listed, value);
    } else if (place == PLACE_DATA_RUN_ID && !(a->present & bit_of(PLACEMENT_RUN))) {
        keep(a, PLACEMENT_RUN, value);
    } else {
        keep(a, kinds[place], value);
    }
}

void answer_ids_on_text(struct answer_ids *a)
{
    a->present = 0;
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
    placement_id_copy(a->told[kind], (struct bytes){a->texts[kind], size});
    a->told_sizes[kind] = (uint8_t)size;
    return false;
}

void answer_ids_on_whole(struct answer_ids *a, enum reading_form form)
{
    bool repeats = form != READING_JSON; /* each event does */
    uint32_t left = repeats && !a->takes_forms ? a->present & ~bit_of(PLACEMENT_FORM) : a->present;
    for (; left != 0; left &= left - 1) {
        enum placement_kind kind = (enum placement_kind)__builtin_ctz(left);
        if (!repeats || !is_told(a, kind)) {
            tell_id(a, kind, (struct bytes){a->texts[kind], a->sizes[kind]});
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
