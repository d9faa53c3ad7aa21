/* places: siblings in the order in which Dify has them, as far as that is known. Those of the top
 * are found by their size, then one after the other: of these the last are whose size other keys
 * have, too (`mode`, `created_at`). */
#include "answer/places.h"

#define SIZE(key) (sizeof(key) - 1)

/* The first of each size, in the order of the rows. */
static const uint8_t top_of_size[JSON_PATHS_KEY + 1] = {
    [SIZE("event")] = PLACE_EVENT,
    [SIZE("conversation_id")] = PLACE_CONVERSATION_ID,
    [SIZE("message_id")] = PLACE_MESSAGE_ID,
    [SIZE("task_id")] = PLACE_TASK_ID,
    [SIZE("id")] = PLACE_ID,
    [SIZE("metadata")] = PLACE_METADATA,
    [SIZE("data")] = PLACE_DATA,
};
static const uint8_t usage_top_of_size[JSON_PATHS_KEY + 1] = {
    [SIZE("event")] = PLACE_EVENT,
    [SIZE("metadata")] = PLACE_METADATA,
    [SIZE("data")] = PLACE_DATA,
};
static const uint8_t metadata_of_size[JSON_PATHS_KEY + 1] = {[SIZE("usage")] = PLACE_USAGE};
static const uint8_t usage_of_size[JSON_PATHS_KEY + 1] = {
    [SIZE("prompt_tokens")] = PLACE_PROMPT_TOKENS,
    [SIZE("completion_tokens")] = PLACE_COMPLETION_TOKENS,
    [SIZE("total_tokens")] = PLACE_TOTAL_TOKENS,
    [SIZE("total_price")] = PLACE_TOTAL_PRICE,
    [SIZE("currency")] = PLACE_CURRENCY,
};

/* metadata.usage */
#define USAGE_ROWS                                                                                 \
    [PLACE_USAGE] = JSON_STEP_TO("usage", PLACE_PROMPT_TOKENS, 0, usage_of_size),                  \
    [PLACE_PROMPT_TOKENS] = JSON_STEP("prompt_tokens", 0, PLACE_COMPLETION_TOKENS),                \
    [PLACE_COMPLETION_TOKENS] = JSON_STEP("completion_tokens", 0, PLACE_TOTAL_TOKENS),             \
    [PLACE_TOTAL_TOKENS] = JSON_STEP("total_tokens", 0, PLACE_TOTAL_PRICE),                        \
    [PLACE_TOTAL_PRICE] = JSON_STEP("total_price", 0, PLACE_CURRENCY),                             \
    [PLACE_CURRENCY] = JSON_STEP("currency", 0, 0)

const struct json_step answer_places[PLACE_COUNT] = {
    [PLACE_TOP] = JSON_STEP_TO("", PLACE_EVENT, 0, top_of_size),
    [PLACE_EVENT] = JSON_STEP("event", 0, PLACE_CONVERSATION_ID),
    [PLACE_CONVERSATION_ID] = JSON_STEP("conversation_id", 0, PLACE_RUN_ID),
    [PLACE_RUN_ID] = JSON_STEP("workflow_run_id", 0, PLACE_TASK_ID),
    [PLACE_TASK_ID] = JSON_STEP("task_id", 0, PLACE_ID),
    [PLACE_ID] = JSON_STEP("id", 0, PLACE_METADATA),
    [PLACE_METADATA] = JSON_STEP_TO("metadata", PLACE_USAGE, PLACE_DATA, metadata_of_size),
    [PLACE_DATA] = JSON_STEP("data", PLACE_DATA_TOKENS, PLACE_MESSAGE_ID),
    [PLACE_MESSAGE_ID] = JSON_STEP("message_id", 0, 0),

    USAGE_ROWS,

    [PLACE_DATA_TOKENS] = JSON_STEP("total_tokens", 0, PLACE_DATA_RUN_ID),
    [PLACE_DATA_RUN_ID] = JSON_STEP("workflow_run_id", 0, PLACE_DATA_FORM_TOKEN),
    [PLACE_DATA_FORM_TOKEN] = JSON_STEP("form_token", 0, PLACE_DATA_REASONS),
    [PLACE_DATA_REASONS] = JSON_STEP("reasons", PLACE_DATA_REASON, PLACE_DATA_ITEM),
    [PLACE_DATA_ITEM] = JSON_STEP_ELEMENT(PLACE_DATA_ITEM_ID, 0),

    [PLACE_DATA_REASON] = JSON_STEP_ELEMENT(PLACE_REASON_FORM_TOKEN, 0),
    [PLACE_REASON_FORM_TOKEN] = JSON_STEP("form_token", 0, 0),
    [PLACE_DATA_ITEM_ID] = JSON_STEP("id", 0, 0),
};

const struct json_step answer_usage_places[PLACE_COUNT] = {
    [PLACE_TOP] = JSON_STEP_TO("", PLACE_EVENT, 0, usage_top_of_size),
    [PLACE_EVENT] = JSON_STEP("event", 0, PLACE_METADATA),
    [PLACE_METADATA] = JSON_STEP_TO("metadata", PLACE_USAGE, PLACE_DATA, metadata_of_size),
    [PLACE_DATA] = JSON_STEP("data", PLACE_DATA_TOKENS, 0),
    [PLACE_DATA_TOKENS] = JSON_STEP("total_tokens", 0, 0),
    USAGE_ROWS};

const struct json_step answer_job_places[PLACE_COUNT] = {
    [PLACE_TOP] = JSON_STEP("", PLACE_ID, 0), [PLACE_ID] = JSON_STEP("job_id", 0, 0)};
