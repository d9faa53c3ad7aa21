/* user_id: what the head tells, copied into `values` at once; the rest is up to a scanner.
 *
 * The text in `values` begins with the fallback, the value of the first source of the head that has
 * one; the sources behind it can no longer win, so the scanners do not look for them. */
#include "user/user_id.h"

#include <assert.h>

#include "user/mime.h"

/* json_inspect is the operator's limit; this one keeps offsets within 32 bits. */
static const uint64_t JSON_MAX = 1ull << 30;

/* Appends with %XX decoded (RFC 3986 §2.1), and `+` as a space where that is the custom. */
static void append_decoded(struct user_values *v, struct bytes text, bool plus)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i];
        if (c == '+' && plus) {
            c = ' ';
        } else if (c == '%' && i + 2 < text.size && ascii_hex(text.at[i + 1]) >= 0 &&
                   ascii_hex(text.at[i + 2]) >= 0) {
            c = (char)(ascii_hex(text.at[i + 1]) * 16 + ascii_hex(text.at[i + 2]));
            i += 2;
        }
        user_values_append(v, &c, 1);
    }
}

/* Takes the next `name=value` off `*rest`; without `=` the value is empty. */
static bool take_pair(struct bytes *rest, char separator, struct bytes *ret_name,
                      struct bytes *ret_value)
{
    if (rest->size == 0) {
        return false;
    }
    const char *stop = memchr(rest->at, separator, rest->size);
    struct bytes pair = {rest->at, stop ? (size_t)(stop - rest->at) : rest->size};
    size_t step = stop ? pair.size + 1 : pair.size;
    rest->at += step;
    rest->size -= step;
    const char *equals = pair.size ? memchr(pair.at, '=', pair.size) : NULL;
    size_t name_size = equals ? (size_t)(equals - pair.at) : pair.size;
    *ret_name = (struct bytes){pair.at, name_size};
    *ret_value = equals ? (struct bytes){equals + 1, pair.size - name_size - 1}
                        : (struct bytes){pair.at + pair.size, 0};
    return true;
}

static void read_query(struct user_values *v, struct bytes query, struct bytes wanted)
{
    struct bytes name, value;
    uint32_t at = v->size;
    while (take_pair(&query, '&', &name, &value)) {
        append_decoded(v, name, true);
        bool found = bytes_equal(user_values_text(v, at), wanted);
        user_values_truncate(v, at);
        if (found) {
            append_decoded(v, value, true);
            return;
        }
    }
}

/* True when it had one that is not empty. */
static bool read_cookie(struct user_values *v, struct bytes cookie, struct bytes wanted)
{
    struct bytes name, value;
    while (take_pair(&cookie, ';', &name, &value)) {
        if (!bytes_equal(bytes_trim(name), wanted)) {
            continue;
        }
        value = bytes_trim(value);
        if (value.size >= 2 && value.at[0] == '"' && value.at[value.size - 1] == '"') {
            value = (struct bytes){value.at + 1, value.size - 2};
        }
        append_decoded(v, value, false);
        if (value.size > 0) {
            return true;
        }
    }
    return false;
}

/* Some clients and gateways from HTTP/2 send each cookie in a field of its own (RFC 9113 §8.2.3).
 */
static void read_cookies(struct user_values *v, const struct user_request *request,
                         struct bytes wanted)
{
    struct bytes cookie;
    for (size_t i = 0; (cookie = request->cookie(request->arg, i)).at; i++) {
        if (read_cookie(v, cookie, wanted)) {
            return;
        }
    }
}

static void read_header(struct user_values *v, const struct user_request *request,
                        struct bytes wanted)
{
    struct bytes value = bytes_trim(request->header(request->arg, wanted));
    if (value.size > 0) {
        user_values_append(v, value.at, value.size);
    }
}

/* Appends the source's value, if it is one of the head's. */
static void read_head(struct user_values *v, const struct user_request *request,
                      const struct user_source *source)
{
    switch (source->kind) {
    case USER_FROM_HEADER:
        read_header(v, request, source->name);
        break;
    case USER_FROM_QUERY:
        read_query(v, request->query, source->name);
        break;
    case USER_FROM_COOKIE:
        read_cookies(v, request, source->name);
        break;
    case USER_FROM_JSON:
    case USER_FROM_FORM:
        break;
    }
}

static void settle(struct user_id_search *s, int source)
{
    s->found = source;
    s->state = source >= 0 || s->fallback_size > 0 ? USER_ID_FOUND : USER_ID_NONE;
}

static bool wants(const struct user_id_search *s, enum user_source_kind kind)
{
    for (uint32_t i = 0; i < s->values.count; i++) {
        if (s->values.sources[i].kind == kind) {
            return true;
        }
    }
    return false;
}

/* Is it `application/…+json` (RFC 6839 §3.1)? */
static bool is_kind_of_json(struct bytes type)
{
    struct bytes begin = BYTES("application/"), end = BYTES("+json");
    return type.size >= begin.size + end.size &&
           bytes_equal_nocase((struct bytes){type.at, begin.size}, begin) &&
           bytes_equal_nocase((struct bytes){type.at + type.size - end.size, end.size}, end);
}

/* With or without parameters, which say nothing: the body itself tells its encoding. */
static bool is_json(struct bytes content_type)
{
    struct bytes json = BYTES("application/json");
    if (bytes_equal(content_type, json)) {
        return true;
    }
    struct bytes type = mime_type(&content_type);
    return bytes_equal_nocase(type, json) || is_kind_of_json(type);
}

/* True when the body may fill a source that is still wanted; its scanner is then ready. */
static bool begin_body(struct user_id_search *s, const struct user_request *request)
{
    if (!request->has_body) {
        return false;
    }
    if ((request->ids || wants(s, USER_FROM_JSON)) && is_json(request->content_type)) {
        json_user_init(&s->scan.json, &s->values, request->ids);
        s->body_kind = USER_FROM_JSON;
        return true;
    }
    if (wants(s, USER_FROM_FORM) &&
        form_user_init(&s->scan.form, &s->values, request->content_type)) {
        s->body_kind = USER_FROM_FORM;
        return true;
    }
    return false;
}

void user_id_init(struct user_id_search *s)
{
    s->state = USER_ID_NONE;
    s->cut = false;
    s->body_kind = USER_FROM_HEADER; /* neither scanner */
    user_values_init(&s->values, NULL, 0);
}

enum user_id_state user_id_begin(struct user_id_search *s, const struct user_plan *plan,
                                 const struct user_request *request)
{
    s->cut = false;
    s->body_kind = USER_FROM_HEADER; /* neither scanner */
    s->json_left = plan->json_inspect < JSON_MAX ? plan->json_inspect : JSON_MAX;
    user_values_init(&s->values, plan->sources, plan->count);
    for (size_t i = 0; i < plan->count; i++) {
        read_head(&s->values, request, &plan->sources[i]);
        if (s->values.size > 0) {
            s->values.count = (uint32_t)i; /* those behind it cannot win */
            break;
        }
    }
    s->fallback_size = s->values.size;
    if (begin_body(s, request)) {
        s->state = USER_ID_NEEDS_BODY;
    } else {
        settle(s, -1);
    }
    return s->state;
}

/* What is no valid object has neither a user nor ids. */
static void judge_json(struct user_id_search *s, bool valid)
{
    if (!valid && s->scan.json.ids) {
        json_ids_forget(s->scan.json.ids);
    }
    settle(s, valid ? user_values_first(&s->values) : -1);
}

static void feed_json(struct user_id_search *s, struct bytes piece)
{
    bool cut = piece.size > s->json_left;
    piece.size = cut ? (size_t)s->json_left : piece.size;
    s->json_left -= piece.size;
    if (!json_user_feed(&s->scan.json, piece)) {
        judge_json(s, false);
    } else if (cut) { /* what Dify reads behind it is not known here */
        s->cut = true;
        judge_json(s, true);
    }
}

enum user_id_state user_id_body(struct user_id_search *s, struct bytes piece)
{
    if (s->state != USER_ID_NEEDS_BODY) {
        return s->state;
    }
    if (s->body_kind == USER_FROM_JSON) {
        feed_json(s, piece);
    } else if (form_user_feed(&s->scan.form, piece) != FORM_USER_MORE) {
        settle(s, user_values_first(&s->values));
    }
    return s->state;
}

enum user_id_state user_id_end(struct user_id_search *s)
{
    if (s->state == USER_ID_NEEDS_BODY && s->body_kind == USER_FROM_JSON) {
        judge_json(s, json_user_end(&s->scan.json));
    } else if (s->state == USER_ID_NEEDS_BODY) {
        settle(s, user_values_first(&s->values));
    }
    return s->state;
}

struct bytes user_id_value(const struct user_id_search *s)
{
    if (s->state != USER_ID_FOUND) {
        return (struct bytes){NULL, 0};
    }
    if (s->found >= 0) {
        return user_values_get(&s->values, s->found);
    }
    struct bytes text = user_values_text(&s->values, 0);
    return (struct bytes){text.at, s->fallback_size};
}

bool user_id_holds_memory(const struct user_id_search *s)
{
    return s->values.heap || s->values.heap_slots ||
           (s->body_kind == USER_FROM_JSON && s->scan.json.deep);
}

void user_id_done(struct user_id_search *s)
{
    if (s->body_kind == USER_FROM_JSON) {
        json_user_done(&s->scan.json);
    }
    user_values_done(&s->values);
    s->body_kind = USER_FROM_HEADER;
}
