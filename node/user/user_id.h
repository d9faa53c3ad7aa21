/* user_id: finds the end user's id in a request (SPEC §3, User id).
 *
 * The first source with a non-empty value wins, in the order configured. What the head can tell is
 * told at once: when a header, query or cookie source with a value stands before every source that
 * this request's body could fill, no byte of the body is needed. Otherwise the body is scanned as
 * it passes, and a value of the head behind the body's sources is the fallback.
 *
 *   header  as it is, surrounding white space gone
 *   query   the first one of that name, as Dify's request.args.get() takes it; `+` is a space, %XX
 *           decoded in name and value, invalid sequences stay as they are
 *   cookie  the first one of that name that is not empty, of all Cookie fields; %XX decoded, double
 *           quotes around it gone
 *   json    only with Content-Type application/json or application/…+json; see json_user.h
 *   form    only with Content-Type multipart/form-data; see form_user.h
 *
 *   begin -> FOUND | NONE                         the body plays no part
 *         -> NEEDS_BODY -> body* -> FOUND | NONE  certain before the body's end; further pieces are
 *                                                 allowed and change nothing
 *                                -> end  -> FOUND | NONE
 *
 * The value is bytes: it may hold anything, also control characters from %00 or a JSON escape.
 *
 * One search is embedded in each exchange. It needs no heap for usual ids (values longer than
 * USER_VALUES_INLINE bytes, part headers of forms and JSON nested deeper than 64 do).
 *
 * Limits: at plan.json_inspect bytes the search of a JSON body ends, with what was found so far,
 * and `cut` says that more may have followed; form: see form_user.h. */
#ifndef USER_USER_ID_H
#define USER_USER_ID_H

#include "user/form_user.h"
#include "user/json_user.h"
#include "user/user_source.h"
#include "user/user_values.h"

/* Belongs to the snapshot; must outlive every search begun with it. */
struct user_plan {
    const struct user_source *sources;
    size_t count;
    uint64_t json_inspect; /* bytes */
};

/* What a search wants to know of a request; read by user_id_begin() only. */
struct user_request {
    void *arg;                                            /* for header() */
    struct bytes (*header)(void *arg, struct bytes name); /* size 0 when there is none */
    struct bytes query;                                   /* behind the `?` */
    struct bytes (*cookie)(void *arg, size_t index); /* of that Cookie field; at NULL: no more */
    struct bytes content_type;                       /* the Content-Type field's value */
    bool has_body;                                   /* also when its length is not known yet */
    /* Ids that a JSON body may name, found in the same pass; it is then read to its end, or to
     * json_inspect, also where the head has told the user. NULL: none are wanted. */
    struct json_ids *ids;
};

enum user_id_state { USER_ID_FOUND, USER_ID_NONE, USER_ID_NEEDS_BODY };

struct user_id_search {
    enum user_id_state state;
    enum user_source_kind body_kind; /* JSON or FORM: which scanner is in use */
    bool cut;                        /* json_inspect ended it: a user may have been missed */
    uint64_t json_left;              /* bytes that may still come */
    uint32_t fallback_size;          /* the head's value, at the start of the text */
    int found;                       /* the body source that won, -1: the fallback */
    struct user_values values;
    union {
        struct json_user json;
        struct form_user form;
    } scan;
};

enum user_id_state user_id_begin(struct user_id_search *s, const struct user_plan *plan,
                                 const struct user_request *request);

/* The next piece of the body, transfer coding already undone. */
enum user_id_state user_id_body(struct user_id_search *s, struct bytes piece);

/* The body is complete. Never NEEDS_BODY. */
enum user_id_state user_id_end(struct user_id_search *s);

/* With USER_ID_FOUND: not empty, valid until user_id_done(). Otherwise size 0. */
struct bytes user_id_value(const struct user_id_search *s);

/* No search: there is nothing to give back, and no value. */
void user_id_init(struct user_id_search *s);

/* Is there heap memory to give back? Once the search has ended, the answer stays the same. */
bool user_id_holds_memory(const struct user_id_search *s);

/* Gives the heap memory back. Once for each begin; also fine after user_id_init() alone. */
void user_id_done(struct user_id_search *s);

#endif
