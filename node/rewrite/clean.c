/* clean: values and paths of others made safe to compare or to send on. See rewrite.h. */
#include <assert.h>

#include "base/buffer.h"
#include "rewrite/rewrite.h"

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
static bool ends_as_credential(struct bytes name)
{
    static const struct bytes ends[] = {
        {"token", 5},          {"key", 3},       {"secret", 6},      {"password", 8},
        {"passwd", 6},         {"pass", 4},      {"pwd", 3},         {"jwt", 3},
        {"bearer", 6},         {"auth", 4},      {"credential", 10}, {"credentials", 11},
        {"sign", 4},           {"sig", 3},       {"signature", 9},   {"session", 7},
        {"authorization", 13}, {"sessionid", 9}, {"session_id", 10}, {"session-id", 10},
    };
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct bytes end = ends[i];
        if (name.size >= end.size &&
            bytes_equal_nocase((struct bytes){name.at + name.size - end.size, end.size}, end)) {
            return true;
        }
    }
    return false;
}

/* Of `token[]` and `login[password]` each part is a name. */
static bool names_credential(struct bytes name)
{
    size_t begin = 0;
    for (size_t i = 0; i <= name.size; i++) {
        if (i == name.size || is_one_of(name.at[i], "[]")) {
            if (ends_as_credential((struct bytes){name.at + begin, i - begin})) {
                return true;
            }
            begin = i + 1;
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

/* `user:password@` of `scheme://user:password@host/path` and of the like without a scheme: RFC 3986
 * §3.2.1, and up to the last `@` before the path, as what is refused need not be well formed. */
static struct bytes userinfo_of(struct bytes target, bool cut)
{
    size_t begin = 0, size = 0, slash = index_of(target, 0, '/');
    if (slash + 1 < target.size && target.at[slash + 1] == '/' &&
        (slash == 0 || target.at[slash - 1] == ':')) {
        begin = slash + 2;
    }
    size_t i = begin;
    for (; i < target.size && !is_one_of(target.at[i], "/?#"); i++) {
        size = target.at[i] == '@' ? i - begin : size;
    }
    if (cut && i == target.size && index_of(target, begin, ':') < i) {
        size = i - begin;
    }
    return (struct bytes){target.at + begin, size};
}

/* Appends what is not there yet up to `value`, and `***` for it. */
static void blacken(struct buffer *space, struct bytes target, size_t *copied, struct bytes value)
{
    buffer_append(space, target.at + *copied, (size_t)(value.at - target.at) - *copied);
    buffer_append_text(space, "***");
    *copied = (size_t)(value.at - target.at) + value.size;
}

struct bytes http_blacken_target(struct bytes target, bool cut, struct buffer *space)
{
    size_t copied = 0;
    if (target.size == 0) {
        return target;
    }
    struct bytes userinfo = userinfo_of(target, cut);
    if (userinfo.size > 0) {
        blacken(space, target, &copied, userinfo);
    }
    for (size_t at = index_of(target, 0, '?') + 1, end; at < target.size; at = end + 1) {
        end = index_of(target, at, '&');
        size_t equals = index_of(target, at, '=');
        if (equals + 1 < end && names_credential((struct bytes){target.at + at, equals - at})) {
            size_t value = equals + 1;
            blacken(space, target, &copied, (struct bytes){target.at + value, end - value});
        }
    }
    if (copied == 0) {
        return target;
    }
    buffer_append(space, target.at + copied, target.size - copied);
    return buffer_bytes(space);
}

/* The byte that a percent-encoding at the front stands for, or -1. */
static int encoded(struct bytes text)
{
    if (text.size < 3 || text.at[0] != '%' || ascii_hex(text.at[1]) < 0 ||
        ascii_hex(text.at[2]) < 0) {
        return -1;
    }
    return ascii_hex(text.at[1]) * 16 + ascii_hex(text.at[2]);
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
    assert(path.at);
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
