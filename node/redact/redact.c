/* redact: one sorted list, and bitmaps that say of nearly every place in a text that no secret
 * begins there.
 *
 * The secret that begins at a place is found by halving. Of all that are not greater than the rest
 * of the text the greatest is it, or begins with it: any secret that the rest begins with is a
 * prefix of everything between itself and the rest. So each secret knows the longest one that it
 * begins with, and this chain has all that can match. */
#include "redact/redact.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "base/memory.h"

enum {
    FILTERS = 3,
    FILTER_BITS_LEAST = 12,   /* half a KiB, so that a few tokens are hardly ever met by chance */
    FILTER_BITS_A_SECRET = 4, /* its logarithm: 16 bits, so one place in 16 is looked at closely */
    DECODINGS_MAX = 3, /* somebody encodes what is encoded already; more often is no accident */
};

#define NONE UINT32_MAX

struct secret {
    struct bytes text;
    uint32_t age;    /* how many configurations ago it was in force last */
    uint32_t parent; /* the longest other one that this begins with, or NONE */
};

/* Of the secrets of at least `width` bytes and less than the next wider filter's: is there one that
 * begins with these? */
struct filter {
    uint64_t *bits; /* NULL: no such secret */
    unsigned shift;
};

static const size_t WIDTHS[FILTERS] = {8, 4, 1};

struct redactor {
    char *text;
    size_t text_size;
    struct secret *at; /* by text */
    size_t count, size_max;
    bool has_plus; /* one of them has a `+` */
    struct filter filters[FILTERS];
};

/* ---- building ---- */

static int compare_ages(const void *a, const void *b)
{
    const struct secret *x = a, *y = b;
    return (x->age > y->age) - (x->age < y->age);
}

static int compare_texts(const void *a, const void *b)
{
    const struct secret *x = a, *y = b;
    int order = bytes_compare(x->text, y->text);
    return order != 0 ? order : compare_ages(a, b);
}

static void sort(struct redactor *s, int (*compare)(const void *a, const void *b))
{
    if (s->count > 1) {
        qsort(s->at, s->count, sizeof(*s->at), compare);
    }
}

static void add(struct redactor *s, struct bytes text, uint32_t age)
{
    if (text.size > 0) {
        s->at[s->count++] = (struct secret){.text = text, .age = age};
    }
}

/* The byte that is encoded here, or -1. */
static int encoded_at(struct bytes text, size_t at)
{
    if (text.size - at < 3 || text.at[at] != '%' || ascii_hex(text.at[at + 1]) < 0 ||
        ascii_hex(text.at[at + 2]) < 0) {
        return -1;
    }
    return ascii_hex(text.at[at + 1]) * 16 + ascii_hex(text.at[at + 2]);
}

/* What a query or a cookie makes of it, where that is something else; appended to `texts`. */
static void add_decoded(struct redactor *s, struct bytes text, struct buffer *texts)
{
    size_t begin = texts->size;
    for (size_t at = 0; at < text.size; at++) {
        int c = encoded_at(text, at);
        char byte = c >= 0 ? (char)c : text.at[at];
        buffer_append(texts, byte == ' ' ? "+" : &byte, 1); /* as in a view */
        at += c >= 0 ? 2 : 0;
    }
    if (texts->size - begin < text.size) {
        add(s, (struct bytes){texts->data + begin, texts->size - begin}, 0);
    }
}

/* Each text once, as young as it is; then of the former ones only the youngest. */
static void choose(struct redactor *s)
{
    size_t kept = 0, present = 0;
    sort(s, compare_texts);
    for (size_t i = 0; i < s->count; i++) {
        if (kept == 0 || !bytes_equal(s->at[i].text, s->at[kept - 1].text)) {
            s->at[kept++] = s->at[i];
            present += s->at[i].age == 0;
        }
    }
    s->count = kept;
    if (kept > present + REDACTOR_FORMER_MAX) {
        sort(s, compare_ages);
        s->count = present + REDACTOR_FORMER_MAX;
        sort(s, compare_texts);
    }
}

static void copy_texts(struct redactor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        size_t size = s->at[i].text.size;
        s->text_size += size;
        s->size_max = size > s->size_max ? size : s->size_max;
        s->has_plus = s->has_plus || memchr(s->at[i].text.at, '+', size);
    }
    s->text = memory_new(s->text_size + 1);
    char *to = s->text;
    for (size_t i = 0; i < s->count; i++) {
        memcpy(to, s->at[i].text.at, s->at[i].text.size);
        s->at[i].text.at = to;
        to += s->at[i].text.size;
    }
}

static bool begins_with(struct bytes text, struct bytes with)
{
    return text.size >= with.size && memcmp(text.at, with.at, with.size) == 0;
}

static void find_parents(struct redactor *s)
{
    for (size_t i = 0; i < s->count; i++) {
        uint32_t parent = i == 0 ? NONE : (uint32_t)i - 1;
        while (parent != NONE && !begins_with(s->at[i].text, s->at[parent].text)) {
            parent = s->at[parent].parent;
        }
        s->at[i].parent = parent;
    }
}

/* The first eight bytes, or zeros where there are fewer, the first one lowest. */
static uint64_t first_of(struct bytes text)
{
    uint64_t first = 0;
    if (text.size >= sizeof(first)) {
        memcpy(&first, text.at, sizeof(first)); /* one load, as its size is known */
    } else {
        memcpy(&first, text.at, text.size);
    }
    return le64toh(first);
}

static uint64_t filter_bit(const struct filter *f, uint64_t first, size_t width)
{
    uint64_t prefix = first << (64 - 8 * width);
    return prefix * UINT64_C(0x9E3779B97F4A7C15) >> f->shift; /* Fibonacci hashing, Knuth 6.4 */
}

static size_t filter_of(size_t size)
{
    size_t filter = 0;
    while (size < WIDTHS[filter]) {
        filter++;
        assert(filter < FILTERS);
    }
    return filter;
}

static void fill_filters(struct redactor *s)
{
    unsigned log = FILTER_BITS_LEAST;
    while ((size_t)1 << log < s->count << FILTER_BITS_A_SECRET) {
        log++;
    }
    for (size_t i = 0; i < s->count; i++) {
        size_t kind = filter_of(s->at[i].text.size);
        struct filter *f = &s->filters[kind];
        if (!f->bits) {
            f->bits = memory_new(((size_t)1 << log) / 8);
            f->shift = 64 - log;
        }
        uint64_t bit = filter_bit(f, first_of(s->at[i].text), WIDTHS[kind]);
        f->bits[bit / 64] |= (uint64_t)1 << bit % 64;
    }
}

struct redactor *redactor_new(const struct bytes *texts, size_t count,
                              const struct redactor *before)
{
    struct redactor *s = memory_new(sizeof(*s));
    size_t all = 2 * count + (before ? before->count : 0), encoded = 0;
    struct buffer decoded = {0};
    assert(all < NONE);
    s->at = memory_new((all + 1) * sizeof(*s->at));
    for (size_t i = 0; i < count; i++) {
        add(s, texts[i], 0);
        encoded += texts[i].size > 0 && memchr(texts[i].at, '%', texts[i].size) ? texts[i].size : 0;
    }
    buffer_reserve(&decoded, encoded); /* so that it does not move */
    for (size_t i = 0; i < count && encoded > 0; i++) {
        if (texts[i].size > 0 && memchr(texts[i].at, '%', texts[i].size)) {
            add_decoded(s, texts[i], &decoded);
        }
    }
    for (size_t i = 0; before && i < before->count; i++) {
        add(s, before->at[i].text, before->at[i].age + 1);
    }
    choose(s);
    copy_texts(s);
    find_parents(s);
    fill_filters(s);
    if (decoded.size > 0) {
        explicit_bzero(decoded.data, decoded.size);
    }
    buffer_done(&decoded);
    return s;
}

void redactor_free(struct redactor *s)
{
    if (!s) {
        return;
    }
    explicit_bzero(s->text, s->text_size);
    for (size_t i = 0; i < FILTERS; i++) {
        free(s->filters[i].bits);
    }
    free(s->text);
    free(s->at);
    free(s);
}

/* ---- finding ---- */

static bool may_begin(const struct redactor *s, struct bytes rest)
{
    uint64_t first = first_of(rest);
    for (size_t i = 0; i < FILTERS; i++) {
        const struct filter *f = &s->filters[i];
        if (f->bits && rest.size >= WIDTHS[i]) {
            uint64_t bit = filter_bit(f, first, WIDTHS[i]);
            if (f->bits[bit / 64] >> bit % 64 & 1) {
                return true;
            }
        }
    }
    return false;
}

/* The greatest that is not greater than `rest`, or NONE. */
static uint32_t find_floor(const struct redactor *s, struct bytes rest)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(s->at[middle].text, rest) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NONE : (uint32_t)low - 1;
}

/* What ends a value in a target, a field or a user agent. */
static bool is_divider(char c)
{
    return c != '\0' && strchr(" /?&=#;,:\"'()@", c) != NULL;
}

static bool stands_alone(struct bytes text, size_t at, size_t size)
{
    return (at == 0 || is_divider(text.at[at - 1])) &&
           (at + size == text.size || is_divider(text.at[at + size]));
}

/* A text and what is looked at in its place: the same, but for spaces that are `+` there. */
struct view {
    struct bytes text, seen;
    char *heap;
    char local[1024]; /* nearly every user agent */
};

/* The custom of forms has `+` for a space, so a token with a `+` in a query becomes a user with a
 * space. No secret has spaces. */
static void view_init(struct view *v, const struct redactor *s, struct bytes text)
{
    v->text = v->seen = text;
    v->heap = NULL;
    if (!s->has_plus || text.size == 0 || !memchr(text.at, ' ', text.size)) {
        return;
    }
    char *to = v->local;
    if (text.size > sizeof(v->local)) {
        v->heap = to = memory_new(text.size);
    }
    for (size_t i = 0; i < text.size; i++) {
        to[i] = text.at[i] == ' ' ? '+' : text.at[i];
    }
    v->seen.at = to;
}

static void view_done(struct view *v)
{
    free(v->heap);
}

/* How long the secret at this place is; 0: there is none. */
static size_t secret_at(const struct redactor *s, const struct view *v, size_t at)
{
    struct bytes rest = {v->seen.at + at, v->seen.size - at};
    if (!may_begin(s, rest)) {
        return 0;
    }
    for (uint32_t i = find_floor(s, rest); i != NONE; i = s->at[i].parent) {
        size_t size = s->at[i].text.size;
        if (begins_with(rest, s->at[i].text) &&
            (size > REDACTOR_WORD_MAX || stands_alone(v->text, at, size))) {
            return size;
        }
    }
    return 0;
}

/* Does a secret begin with this? It is then the first that is not less. */
static bool begins_secret(const struct redactor *s, struct bytes text)
{
    size_t low = 0, high = s->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(s->at[middle].text, text) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < s->count && begins_with(s->at[low].text, text);
}

/* Where the beginning of a secret stands at the end of a text that was cut; the size, if nowhere.
 */
static size_t find_beginning(const struct redactor *s, const struct view *v)
{
    size_t size = v->seen.size;
    if (size > 0 && v->seen.at[size - 1] == '%') { /* an encoded byte, cut */
        size -= 1;
    } else if (size > 1 && v->seen.at[size - 2] == '%') {
        size -= 2;
    }
    size_t at = size > s->size_max ? size - s->size_max : 0;
    for (; at + REDACTOR_WORD_MAX < size; at++) {
        if (begins_secret(s, (struct bytes){v->seen.at + at, size - at})) {
            return at;
        }
    }
    return v->seen.size;
}

/* The first secret from `*at` on; false: none. */
static bool find_secret(const struct redactor *s, const struct view *v, size_t *at,
                        size_t *ret_size)
{
    for (; *at < v->seen.size; (*at)++) {
        *ret_size = secret_at(s, v, *at);
        if (*ret_size > 0) {
            return true;
        }
    }
    return false;
}

static struct bytes redact_plain(const struct redactor *s, struct bytes text, struct buffer *space)
{
    size_t at = 0, copied = 0, size;
    struct view v;
    view_init(&v, s, text);
    while (find_secret(s, &v, &at, &size)) {
        buffer_append(space, text.at + copied, at - copied);
        buffer_append_text(space, "***");
        at += size;
        copied = at;
    }
    view_done(&v);
    if (copied == 0) {
        return text;
    }
    buffer_append(space, text.at + copied, text.size - copied);
    return buffer_bytes(space);
}

/* ---- percent-encoding ---- */

static bool has_encoded(struct bytes text)
{
    size_t at = 0;
    while (at < text.size) {
        const char *percent = memchr(text.at + at, '%', text.size - at);
        if (!percent) {
            return false;
        }
        at = (size_t)(percent - text.at);
        if (encoded_at(text, at) >= 0) {
            return true;
        }
        at++;
    }
    return false;
}

/* A text as it reads after some decodings. */
struct decoding {
    char *text;
    size_t size;
    size_t *from; /* where in the original each byte begins, and its end */
    bool *hidden; /* of each byte of the original */
};

static void decode(struct decoding *d)
{
    size_t to = 0;
    struct bytes text = {d->text, d->size};
    for (size_t at = 0; at < d->size; to++) {
        int c = encoded_at(text, at);
        d->text[to] = c >= 0 ? (char)c : d->text[at];
        d->from[to] = d->from[at];
        at += c >= 0 ? 3 : 1;
    }
    d->from[to] = d->from[d->size];
    d->size = to;
}

static void hide_run(struct decoding *d, size_t at, size_t end)
{
    memset(d->hidden + d->from[at], true, d->from[end] - d->from[at]);
}

/* True if there was a secret. */
static bool hide(const struct redactor *s, struct decoding *d, bool cut)
{
    size_t at = 0, size;
    bool found = false;
    struct view v;
    view_init(&v, s, (struct bytes){d->text, d->size});
    while (find_secret(s, &v, &at, &size)) {
        hide_run(d, at, at + size);
        at += size;
        found = true;
    }
    at = cut ? find_beginning(s, &v) : d->size;
    if (at < d->size) {
        hide_run(d, at, d->size);
        found = true;
    }
    view_done(&v);
    return found;
}

static void append_shown(struct buffer *to, struct bytes text, const bool *hidden)
{
    for (size_t at = 0, end; at < text.size; at = end) {
        for (end = at; end < text.size && hidden[end] == hidden[at]; end++) {
        }
        if (hidden[at]) {
            buffer_append_text(to, "***");
        } else {
            buffer_append(to, text.at + at, end - at);
        }
    }
}

static struct bytes redact_encoded(const struct redactor *s, struct bytes text, bool cut,
                                   struct buffer *space)
{
    struct decoding d = {
        .text = memory_copy_text(text.at, text.size),
        .size = text.size,
        .from = memory_new((text.size + 1) * sizeof(*d.from)),
        .hidden = memory_new(text.size),
    };
    for (size_t i = 0; i <= text.size; i++) {
        d.from[i] = i;
    }
    bool found = hide(s, &d, cut);
    for (size_t i = 0; i < DECODINGS_MAX && has_encoded((struct bytes){d.text, d.size}); i++) {
        decode(&d);
        found = hide(s, &d, cut) || found;
    }
    if (found) {
        append_shown(space, text, d.hidden);
    }
    free(d.text);
    free(d.from);
    free(d.hidden);
    return found ? buffer_bytes(space) : text;
}

struct bytes redactor_clean(const struct redactor *s, struct bytes text, bool cut,
                            struct buffer *space)
{
    return text.size > 0 && (cut || has_encoded(text)) ? redact_encoded(s, text, cut, space)
                                                       : redact_plain(s, text, space);
}
