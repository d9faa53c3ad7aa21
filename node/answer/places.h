/* places: all that anybody looks at in the texts of Dify's answers and events, as one tree of steps
 * for json_paths. What answers of 1.13.0 and 1.16.0 have where: doc/DIFY.md §0 and §3. Deeper
 * places are the application's own words and may say anything. */
#ifndef ANSWER_PLACES_H
#define ANSWER_PLACES_H

#include "answer/json_paths.h"

enum place {
    PLACE_TOP,
    PLACE_EVENT,           /* event */
    PLACE_CONVERSATION_ID, /* conversation_id */
    PLACE_MESSAGE_ID,
    PLACE_TASK_ID,
    PLACE_RUN_ID, /* workflow_run_id */
    PLACE_ID,
    PLACE_METADATA,
    PLACE_USAGE, /* metadata.usage, and its … */
    PLACE_PROMPT_TOKENS,
    PLACE_COMPLETION_TOKENS,
    PLACE_TOTAL_TOKENS,
    PLACE_TOTAL_PRICE,
    PLACE_CURRENCY,
    PLACE_DATA,            /* data, and its … */
    PLACE_DATA_TOKENS,     /* total_tokens */
    PLACE_DATA_RUN_ID,     /* workflow_run_id */
    PLACE_DATA_FORM_TOKEN, /* form_token */
    PLACE_DATA_REASONS,
    PLACE_DATA_REASON,
    PLACE_REASON_FORM_TOKEN, /* data.reasons[].form_token */
    PLACE_DATA_ITEM,
    PLACE_DATA_ITEM_ID, /* data[].id */
    PLACE_COUNT,
};

/* What placement alone looks at, and what usage alone does. */
static inline bool place_is_id(enum place place)
{
    return place >= PLACE_CONVERSATION_ID && place <= PLACE_ID;
}

static inline bool place_is_of_usage(enum place place)
{
    return place >= PLACE_METADATA && place <= PLACE_CURRENCY;
}

extern const struct json_step answer_places[PLACE_COUNT];

/* The part of it that tells what a run has cost: fewer keys are compared. */
extern const struct json_step answer_usage_places[PLACE_COUNT];

/* Of an answer that tells a job alone: PLACE_ID is `job_id`. */
extern const struct json_step answer_job_places[PLACE_COUNT];

#endif
