/* id: what an instance has made and no other knows, as a number.
 *
 * An id is a kind and a text. Dify's are UUIDs, which it takes in any case and with or without
 * dashes (Python's uuid.UUID()); all spellings of one are the same id here. What is remembered is a
 * keyed hash alone, of the application, the kind and the text: the ids themselves stay nowhere. */
#ifndef PLACEMENT_ID_H
#define PLACEMENT_ID_H

#include "base/siphash.h"

enum placement_kind {
    PLACEMENT_NO_ID,
    PLACEMENT_CONVERSATION,
    PLACEMENT_MESSAGE,
    PLACEMENT_TASK,
    PLACEMENT_RUN,    /* of a workflow */
    PLACEMENT_FORM,   /* a person's input to a run */
    PLACEMENT_FILE,   /* uploaded */
    PLACEMENT_RECORD, /* an annotation, a job that makes them, an end user: UUIDs all */
};
enum { PLACEMENT_KINDS = PLACEMENT_RECORD + 1 };

enum {
    /* A longer text is no id of Dify's: a UUID as urn:uuid:{…} has 47, a form's token 43. */
    PLACEMENT_ID_MAX = 64,
    PLACEMENT_ID_USUAL = 36, /* a UUID as Dify writes it */
};

/* The cluster's keys as files are told by: the first is the one that this node tells by, and knows
 * them by itself; while keys change others tell by another. None: a node alone. */
enum { PLACEMENT_FILE_KEYS_MAX = 16 /* as many as the cluster may have */ };
struct placement_file_keys {
    uint8_t (*at)[SIPHASH_KEY_SIZE];
    size_t count;
};

/* What stands for an application in the numbers of its ids: of its name, and no secret. */
uint64_t placement_application(struct bytes name);

/* One of at most PLACEMENT_ID_MAX bytes. A size that is known is copied without a call. */
static inline void placement_id_copy(char to[PLACEMENT_ID_MAX], struct bytes text)
{
    if (text.size == PLACEMENT_ID_USUAL) {
        memcpy(to, text.at, PLACEMENT_ID_USUAL);
    } else {
        memcpy(to, text.at, text.size);
    }
}

/* The number of an id; 0 for an empty text and one longer than PLACEMENT_ID_MAX. `key` is drawn
 * when the node starts, or one of the cluster's. */
uint64_t placement_id(const uint8_t key[SIPHASH_KEY_SIZE], uint64_t application,
                      enum placement_kind kind, struct bytes text);

#endif
