/* form_user: delimiters are found by memmem(), everything around them by a small state machine.
 *
 *   DELIMITER -> BEHIND -CRLF-> HEADERS -CRLF CRLF-> DELIMITER | DATA -> DELIMITER -> BEHIND ...
 *                       ---> OVER
 * The body begins, and each part's bytes begin, as if CR LF had just been seen: that is how the
 * very first delimiter and an empty part are found. A needle has its only CR at its start, so a
 * match that fails cannot hide the start of another one.
 *
 * While a field is read every byte is collected, also those that may turn out to be the delimiter;
 * `value_end` remembers where the value ends if they do. */
#include "user/form_user.h"

#include <assert.h>

#include "user/mime.h"

enum form_state {
    DATA,
    DELIMITER,  /* `matched` bytes of the needle seen */
    BEHIND,     /* the needle is complete: what follows decides */
    DASH,       /* one `-` behind it */
    PADDING,    /* white space behind it */
    PADDING_CR, /* CR behind that */
    HEADERS,
    OVER,
};

enum {
    VIRTUAL_CRLF = 2, /* as if these had been seen */
    /* a delimiter with its padding is shorter, so a collected text this much too long is too long
     * whatever comes */
    COLLECT_MAX = FORM_USER_VALUE_MAX + FORM_USER_BOUNDARY_MAX + FORM_USER_PADDING_MAX + 16,
};

static bool usable_boundary(const char *at, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)at[i] < ' ' || (unsigned char)at[i] >= 0x7F) {
            return false;
        }
    }
    return size > 0 && at[size - 1] != ' ';
}

bool form_user_init(struct form_user *f, struct user_values *values, struct bytes content_type)
{
    struct bytes rest = content_type;
    struct mime_parameter p;
    if (!bytes_equal_nocase(mime_type(&rest), BYTES("multipart/form-data"))) {
        return false;
    }
    *f = (struct form_user){.values = values, .source = -1};
    f->state = DELIMITER;
    f->matched = VIRTUAL_CRLF;
    memcpy(f->needle, "\r\n--", 4);
    while (mime_parameter_next(&rest, &p)) {
        if (bytes_equal_nocase(p.name, BYTES("boundary"))) {
            if (p.value.size > FORM_USER_BOUNDARY_MAX) {
                return false;
            }
            size_t size = mime_value(&p, f->needle + 4);
            f->needle_size = (uint8_t)(4 + size);
            return usable_boundary(f->needle + 4, size);
        }
    }
    return false;
}

static void collect(struct form_user *f, const char *from, size_t size)
{
    if (f->source < 0 || f->too_long || size == 0) {
        return;
    }
    if (f->values->size - f->text_at + size > COLLECT_MAX) {
        f->too_long = true;
        user_values_truncate(f->values, f->text_at);
        return;
    }
    user_values_append(f->values, from, size);
}

/* Here a delimiter may begin. */
static void mark_value_end(struct form_user *f)
{
    f->value_end = f->values->size;
}

static const char *step_data(struct form_user *f, const char *p, const char *end)
{
    size_t size = (size_t)(end - p);
    const char *hit = memmem(p, size, f->needle, f->needle_size);
    if (hit) {
        collect(f, p, (size_t)(hit - p));
        mark_value_end(f);
        collect(f, hit, f->needle_size);
        f->state = BEHIND;
        return hit + f->needle_size;
    }
    size_t tail = size < f->needle_size ? size : f->needle_size - 1u;
    const char *cr = memrchr(end - tail, '\r', tail);
    if (!cr || memcmp(cr, f->needle, (size_t)(end - cr)) != 0) {
        collect(f, p, size);
        return end;
    }
    collect(f, p, (size_t)(cr - p));
    mark_value_end(f);
    collect(f, cr, (size_t)(end - cr));
    f->matched = (uint8_t)(end - cr);
    f->state = DELIMITER;
    return end;
}

static const char *step_delimiter(struct form_user *f, const char *p, const char *end)
{
    const char *from = p;
    while (p < end && f->matched < f->needle_size && *p == f->needle[f->matched]) {
        f->matched++;
        p++;
    }
    collect(f, from, (size_t)(p - from));
    if (f->matched == f->needle_size) {
        f->state = BEHIND;
    } else if (p < end) {
        f->state = DATA;
    }
    return p;
}

/* The part that was being read is complete. */
static void end_part(struct form_user *f)
{
    if (f->source < 0) {
        return;
    }
    bool fits = !f->too_long && f->value_end - f->text_at <= FORM_USER_VALUE_MAX;
    user_values_truncate(f->values, fits ? f->value_end : f->text_at);
    user_values_keep(f->values, f->source, f->text_at);
    f->source = -1;
}

static void begin_headers(struct form_user *f)
{
    f->text_at = f->values->size;
    f->matched = VIRTUAL_CRLF;
    f->state = HEADERS;
}

/* The states from BEHIND to PADDING_CR. What does not fit is data after all, and looked at again.
 */
static const char *step_behind(struct form_user *f, const char *p)
{
    char c = *p;
    bool space = c == ' ' || c == '\t';
    if (f->state == PADDING_CR && c == '\n') {
        end_part(f);
        begin_headers(f);
        return p + 1;
    }
    if (f->state == DASH && c == '-') {
        end_part(f);
        f->state = OVER;
        return p + 1;
    }
    if (f->state == BEHIND && c == '-') {
        f->state = DASH;
    } else if ((f->state == BEHIND || f->state == PADDING) && c == '\r') {
        f->state = PADDING_CR;
    } else if (f->state == BEHIND && space) {
        f->padding = 1;
        f->state = PADDING;
    } else if (f->state == PADDING && space && f->padding < FORM_USER_PADDING_MAX) {
        f->padding++;
    } else {
        f->state = DATA;
        return p;
    }
    collect(f, p, 1);
    return p + 1;
}

/* Takes the next header field, folded lines and all, off `*rest`. The block ends in CR LF. */
static struct bytes take_field(struct bytes *rest)
{
    size_t size = 0;
    while (size + 1 < rest->size && !(rest->at[size] == '\r' && rest->at[size + 1] == '\n' &&
                                      (size + 2 == rest->size || (rest->at[size + 2] != ' ' &&
                                                                  rest->at[size + 2] != '\t')))) {
        size++;
    }
    struct bytes field = {rest->at, size};
    size_t step = size + 2 < rest->size ? size + 2 : rest->size;
    rest->at += step;
    rest->size -= step;
    return field;
}

static bool is_field(struct bytes field, struct bytes name, struct bytes *ret_value)
{
    if (field.size <= name.size || field.at[name.size] != ':' ||
        !bytes_equal_nocase((struct bytes){field.at, name.size}, name)) {
        return false;
    }
    *ret_value = (struct bytes){field.at + name.size + 1, field.size - name.size - 1};
    return true;
}

static int find_source(const struct user_values *v, const struct mime_parameter *name)
{
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->sources[i].kind == USER_FROM_FORM && mime_value_equal(name, v->sources[i].name)) {
            return (int)i;
        }
    }
    return -1;
}

/* The source that a part with this Content-Disposition fills, or -1. */
static int source_of(const struct user_values *v, struct bytes disposition)
{
    int source = -1;
    struct mime_parameter p;
    if (!bytes_equal_nocase(mime_type(&disposition), BYTES("form-data"))) {
        return -1;
    }
    while (mime_parameter_next(&disposition, &p)) {
        if (bytes_equal_nocase(p.name, BYTES("filename")) ||
            bytes_equal_nocase(p.name, BYTES("filename*"))) {
            return -1; /* a file */
        }
        if (bytes_equal_nocase(p.name, BYTES("name"))) {
            source = find_source(v, &p);
        }
    }
    return source;
}

static void end_headers(struct form_user *f)
{
    struct bytes rest = user_values_text(f->values, f->text_at);
    struct bytes value;
    int source = -1;
    while (rest.size > 0) {
        if (is_field(take_field(&rest), BYTES("Content-Disposition"), &value)) {
            source = source_of(f->values, value);
            break;
        }
    }
    if (source >= 0 && user_values_is_set(f->values, source)) {
        source = -1; /* the first one counts */
    }
    user_values_truncate(f->values, f->text_at);
    f->source = source;
    f->too_long = false;
    f->matched = VIRTUAL_CRLF;
    mark_value_end(f);
    f->state = DELIMITER;
}

static const char *step_headers(struct form_user *f, const char *p, const char *end)
{
    static const char empty_line[] = "\r\n\r\n";
    const char *from = p;
    while (p < end && f->matched < 4) {
        char c = *p++;
        f->matched = c == empty_line[f->matched] ? (uint8_t)(f->matched + 1) : c == '\r';
    }
    size_t size = (size_t)(p - from);
    if (f->values->size - f->text_at + size > FORM_USER_HEADERS_MAX) {
        user_values_truncate(f->values, f->text_at);
        f->state = OVER;
        return p;
    }
    user_values_append(f->values, from, size);
    if (f->matched == 4) {
        end_headers(f);
    }
    return p;
}

static const char *step(struct form_user *f, const char *p, const char *end)
{
    switch ((enum form_state)f->state) {
    case DATA:
        return step_data(f, p, end);
    case DELIMITER:
        return step_delimiter(f, p, end);
    case BEHIND:
    case DASH:
    case PADDING:
    case PADDING_CR:
        return step_behind(f, p);
    case HEADERS:
        return step_headers(f, p, end);
    case OVER:
        break;
    }
    return end;
}

/* FOUND when no form source before the first one with a value can still get one. */
static enum form_user_state verdict(const struct form_user *f)
{
    for (uint32_t i = 0; f->state != OVER && i < f->values->count; i++) {
        if (f->values->sources[i].kind != USER_FROM_FORM) {
            continue;
        }
        if (!user_values_is_set(f->values, (int)i)) {
            return FORM_USER_MORE;
        }
        if (user_values_get(f->values, (int)i).size > 0) {
            return FORM_USER_FOUND;
        }
    }
    return user_values_first(f->values) >= 0 ? FORM_USER_FOUND : FORM_USER_OVER;
}

enum form_user_state form_user_feed(struct form_user *f, struct bytes piece)
{
    if (piece.size > 0) {
        const char *p = piece.at, *end = p + piece.size;
        while (p < end && f->state != OVER) {
            p = step(f, p, end);
        }
    }
    return verdict(f);
}
