/* placing: to which instance a request goes that names an id, on a running node: placement_core
 * with the memory, the searches, the questions and the waiting (SPEC §3, placement). Only for
 * applications whose instances have a state of their own.
 *
 *   placing_init(), placing_name() …; placing_next() -> a step, which the owner carries out; after
 *   SEARCHING on_found() calls, and after a WAIT or a failed attempt the owner does: placing_next()
 *   again. placing_done().
 *
 * Of one that placing_judges() the owner shows each answer's head to placing_answered() before it
 * passes anything on, for the request itself has asked. It knows no exchange: what a request is
 * decided by is lent for a call. Of one worker's thread. */
#ifndef PLACING_PLACING_H
#define PLACING_PLACING_H

#include "base/prng.h"
#include "placement/placement_core.h"
#include "placing/errand.h"
#include "together/placements.h"

/* What a worker has for all of them. */
struct placing_desk {
    struct errand_desk errands;
    struct placements *placements; /* of the whole node */
    struct prng *prng;             /* of request ids */
};

/* What the request is decided by. `user` and what it points to stays until the next call. */
struct placing_terms {
    struct snapshot *snapshot;
    struct snapshot_application *app;
    const uint64_t *key; /* its place on the ring; NULL: it has none */
    struct bytes user;   /* whom Dify knows */
    bool safe;           /* GET, HEAD, OPTIONS */
};

enum placing_what {
    PLACING_FREE,      /* it is nobody's: as any other request */
    PLACING_SEND,      /* to `index` and no other */
    PLACING_SEARCHING, /* on_found() follows, within search_ms */
    PLACING_WAIT,      /* for `index`, as in a queue unless `briefly`; look again after look_ms */
    PLACING_NOT_FOUND, /* own 404 */
    PLACING_LOST,      /* own 503 */
    PLACING_KEPT,      /* the kept answer, which was that of `index`, is the client's */
};

struct placing_step {
    enum placing_what what;
    size_t index;
    uint64_t search_ms, look_ms;
    bool asks;    /* SEND: it asks by this; what fails there asks on */
    bool briefly; /* WAIT: another request searches, and waits for nobody, as far as is known */
};

struct placing_id {
    enum placement_kind kind;
    struct bytes text;
};

struct placing {
    struct placing_desk *desk;
    void (*on_found)(void *owner);
    void *owner;
    const struct placement_route *route;
    enum placement_kind kind; /* of the id that the request names; NO_ID: none */
    bool only_remembered;     /* nobody is asked for it */
    uint64_t id;
    size_t text_size;             /* of `text` */
    enum placement_placed placed; /* as the log has it */

    /* private */
    struct placing_terms terms;
    uint64_t key;
    bool begun;           /* `core` says where to go */
    bool sent;            /* there, an attempt has begun */
    uint16_t known_place; /* where it was remembered as the request began, or PLACEMENT_NOWHERE */
    bool given_up;        /* nobody has it, and the first choice is to say so */
    bool searching;       /* this one holds it, by search_key */
    uint64_t search_key;
    uint64_t others_until_ms; /* so long it waits briefly; 0: for nobody's search yet */
    uint32_t next;            /* what the core said last, if it is not carried out yet */
    struct errand *question;

    /* not zeroed when it begins */
    char text[PLACEMENT_ID_MAX]; /* the id */
    struct placement_core core;
    uint8_t order[PLACEMENT_INSTANCES_MAX]; /* position -> index of an instance */
};

void placing_init(struct placing *p, struct placing_desk *desk, const struct placement_route *route,
                  void (*on_found)(void *owner), void *owner);
void placing_done(struct placing *p);

/* The request names this id; the first one counts: a conversation stands before anything else.
 * `file_of_body`: a file that a run is to read, which nobody is asked for. */
void placing_name(struct placing *p, const struct snapshot *snapshot,
                  const struct snapshot_application *app, enum placement_kind kind,
                  struct bytes text, bool file_of_body);

/* Else it is nobody's, and placing_next() would say so. */
static inline bool placing_names_id(const struct placing *p)
{
    return p->kind != PLACEMENT_NO_ID;
}

struct placing_step placing_next(struct placing *p, const struct placing_terms *terms);

/* SEND: an attempt begins. Or the instance takes nobody in this moment: what then. */
void placing_sent(struct placing *p);
struct placing_step placing_missed(struct placing *p, size_t index);

/* What has been decided was by another configuration: from the beginning. */
void placing_again(struct placing *p);

/* Its client has left: nobody waits for a question's answer. */
void placing_leave(struct placing *p);

/* Is each answer to be shown to the next one first? */
bool placing_judges(const struct placing *p);

enum placing_answer { PLACING_PASS_ON, PLACING_ASK_ON, PLACING_KEEP_AND_ASK_ON };

/* Its head has come; of a 404 its body, too. After ASK_ON: placing_next(). */
enum placing_answer placing_answered(struct placing *p, uint16_t status, bool code_not_found,
                                     bool check_passed);

/* All instances in the order in which they are asked: position -> index, at most `most`. */
int placing_order(const struct placing_terms *terms, int most,
                  uint8_t ret_order[PLACEMENT_INSTANCES_MAX]);

enum placement_standing placing_standing(const struct snapshot_instance *instance);

/* Where such a request would go, for somebody who only looks: *instance is the first choice, and
 * afterwards where it goes. PLACED_NULL: it names no id, or one that is not remembered, which the
 * first choice would be asked for first. `path` without the query. */
struct placing_question {
    struct bytes method, path, query;
};
enum placement_placed placing_explain(const struct placements *placements,
                                      const struct snapshot *snapshot,
                                      const struct snapshot_application *app,
                                      const struct placing_question *question, int *instance);

/* This one has it: costs nothing for the id that the request named, of which it was known. */
void placing_remember(const struct placing *p, const struct snapshot *snapshot,
                      const struct snapshot_application *app, const struct placing_id *id,
                      const struct instance_live *live);

/* A file was uploaded there, which is not its user's home: the other nodes are told. */
void placing_tell_upload(const struct placing *p, const struct snapshot *snapshot,
                         const struct snapshot_application *app, struct bytes text,
                         const struct instance_live *live);

void placing_forget(struct placing *p);

#endif
