/* clean: values and paths of others made safe to compare or to send on. See rewrite.h. */
#include "base/buffer.h"
#include "http/rewrite.h"

static bool is_alnum(char c)
{
    char l = ascii_lower(c);
    return (c >= '0' && c <= '9') || (l >= 'a' && l <= 'z');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

bool http_sane_request_id(struct bytes id)
{
    enum { ID_MAX = 128 /* a W3C traceparent has 55; it stands in every log line */ };
    for (size_t i = 0; i < id.size; i++) {
        if (!is_alnum(id.at[i]) && !is_one_of(id.at[i], "._:/+=@-")) {
            return false;
        }
    }
    return id.size > 0 && id.size <= ID_MAX;
}

void http_clean_value(struct buffer *b, struct bytes value)
{
    size_t plain = 0;
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.at[i];
        if (c >= 0x20 && c < 0x7F) {
            continue;
        }
        buffer_append(b, value.at + plain, i - plain);
        buffer_append_format(b, "%%%02X", c);
        plain = i + 1;
    }
    if (plain < value.size) {
        buffer_append(b, value.at + plain, value.size - plain);
    }
}

/* By the name's end: `api_key` and `access-token` do, Dify's own `keyword` does not. `sign` is what
 * Dify signs the addresses of files with. */
static bool names_credential(struct bytes name)
{
    static const struct bytes ends[] = {
        {"token", 5},          {"key", 3},  {"secret", 6}, {"password", 8},
        {"passwd", 6},         {"jwt", 3},  {"bearer", 6}, {"auth", 4},
        {"authorization", 13}, {"sign", 4}, {"sig", 3},    {"signature", 9},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct bytes end = ends[i];
        if (name.size >= end.size &&
            bytes_equal_nocase((struct bytes){name.at + name.size - end.size, end.size}, end)) {
            return true;
        }
    }
    return name.size > 0 && memchr(name.at, '%', name.size) != NULL;
}

/* Where `c` first stands in text from `at` on, or its size. */
static size_t index_of(struct bytes text, size_t at, char c)
{
    const char *found = at < text.size ? memchr(text.at + at, c, text.size - at) : NULL;
    return found ? (size_t)(found - text.at) : text.size;
}

struct bytes http_blacken_query(struct bytes target, struct buffer *space)
{
    size_t copied = 0;
    size_t at = index_of(target, 0, '?') + 1;
    while (at < target.size) {
        size_t end = index_of(target, at, '&');
        size_t equals = index_of(target, at, '=');
        if (equals + 1 < end && names_credential((struct bytes){target.at + at, equals - at})) {
            buffer_append(space, target.at + copied, equals + 1 - copied);
            buffer_append_text(space, "***");
            copied = end;
        }
        at = end + 1;
    }
    if (copied == 0) {
        return target;
    }
    buffer_append(space, target.at + copied, target.size - copied);
    return buffer_bytes(space);
}

static int hex(char c)
{
    char l = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

/* The byte that a percent-encoding at the front stands for, or -1. */
static int encoded(struct bytes text)
{
    if (text.size < 3 || text.at[0] != '%' || hex(text.at[1]) < 0 || hex(text.at[2]) < 0) {
        return -1;
    }
    return hex(text.at[1]) * 16 + hex(text.at[2]);
}

/* Appends with unreserved characters decoded (RFC 3986 §6.2.2.2); false for an encoded NUL. */
static bool decode_unreserved(struct buffer *b, struct bytes text)
{
    while (text.size > 0) {
        int c = encoded(text);
        if (c == 0) {
            return false;
        }
        bool plain = c > 0 && (is_alnum((char)c) || is_one_of((char)c, "-._~"));
        char out = plain ? (char)c : text.at[0];
        buffer_append(b, &out, 1);
        size_t used = plain ? 3 : 1;
        text.at += used;
        text.size -= used;
    }
    return true;
}

/* A segment that becomes `..` or `.` for somebody who takes %2F, %5C or `\` for a slash, or for a
 * servlet that cuts it at `;`. */
static bool hides_dots(struct bytes segment)
{
    size_t begin = 0;
    bool divided = false;
    for (size_t i = 0; i <= segment.size; i++) {
        struct bytes rest = {segment.at + i, segment.size - i};
        int c = encoded(rest);
        bool slash = c == '/' || c == '\\' || c == ';';
        bool at_end = i == segment.size;
        divided |= slash || (!at_end && is_one_of(segment.at[i], "\\;"));
        if (at_end || slash || is_one_of(segment.at[i], "\\;")) {
            struct bytes part = {segment.at + begin, i - begin};
            if (divided && (bytes_equal(part, BYTES(".")) || bytes_equal(part, BYTES("..")))) {
                return true;
            }
            i += slash ? 2 : 0;
            begin = i + 1;
        }
    }
    return false;
}

/* Takes the last segment off a path that ends in `/`; false at the root. */
static bool climb(struct buffer *b)
{
    if (b->size <= 1) {
        return false;
    }
    b->size--;
    while (b->data[b->size - 1] != '/') {
        b->size--;
    }
    return true;
}

/* RFC 3986 §5.2.4 on a decoded path that begins with `/`. Empty segments are segments, but somebody
 * behind us may merge slashes; where that would change what `..` climbs to, the path is refused. */
static bool remove_dots(struct buffer *b, struct bytes path)
{
    bool empty_seen = false;
    buffer_append_text(b, "/");
    path.at++;
    path.size--;
    for (;;) {
        const char *slash = memchr(path.at, '/', path.size);
        struct bytes segment = {path.at, slash ? (size_t)(slash - path.at) : path.size};
        if (hides_dots(segment)) {
            return false;
        }
        if (bytes_equal(segment, BYTES(".."))) {
            if (empty_seen || !climb(b)) {
                return false;
            }
        } else if (!bytes_equal(segment, BYTES("."))) {
            buffer_append_bytes(b, segment);
            buffer_append(b, "/", slash ? 1 : 0);
        }
        if (!slash) {
            return true;
        }
        empty_seen |= segment.size == 0;
        path.at += segment.size + 1;
        path.size -= segment.size + 1;
    }
}

void http_normalize_path(struct buffer *b, struct bytes path)
{
    buffer_clear(b);
    if (path.size == 0 || path.at[0] != '/') {
        return;
    }
    /* The usual path needs nothing done. */
    if (!memchr(path.at, '%', path.size) && !memchr(path.at, '.', path.size)) {
        buffer_append_bytes(b, path);
        return;
    }
    struct buffer decoded = {0};
    if (!decode_unreserved(&decoded, path) || !remove_dots(b, buffer_bytes(&decoded))) {
        buffer_clear(b);
    }
    buffer_done(&decoded);
}
