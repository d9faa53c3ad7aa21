/* reader_target: see reader_target.h. */
#include "http/reader_target.h"

/* llhttp refuses bytes from 0x80 on in a target. The RFCs have them percent-encoded, but nginx,
 * curl and WSGI servers let them pass, and `curl …?user=张三` is what a user of Dify would type. So
 * llhttp is shown these instead, and on_url() takes the bytes themselves. */
static const char STAND_IN[16] = {'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x',
                                  'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x'};

const char *reader_target_bytes(const struct http_reader *r, const char *at)
{
    return r->stand_in ? r->input_at + (at - STAND_IN) : at;
}

char reader_byte_before(const struct http_reader *r, const char *at, size_t distance)
{
    size_t offset = (size_t)(at - r->input_at);
    return offset >= distance ? at[-(ptrdiff_t)distance]
                              : r->before[sizeof(r->before) - (distance - offset)];
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\r' || c == '\n';
}

/* Does the input begin inside the target? It may also have ended with the last read: llhttp calls
 * on_url_complete() with the byte behind. */
static bool is_in_target(const struct http_reader *r)
{
    return !r->response && !r->url_done && r->head->target_size > 0 &&
           !is_blank(r->before[sizeof(r->before) - 1]);
}

bool reader_target_is_long(const struct http_reader *r, const char *wrong)
{
    bool is_begun = r->head->target_size > 0;
    if (r->response || r->url_done || r->head->method_size == 0 || (is_begun && !is_in_target(r))) {
        return false;
    }
    const char *begin = r->input_at;
    if (!is_begun) {
        while (r->before[sizeof(r->before) - 1] != ' ' && begin < wrong && *begin != ' ') {
            begin++; /* what is left of the method */
        }
        while (begin < wrong && *begin == ' ') {
            begin++;
        }
        if (reader_byte_before(r, begin, 2) == ' ') {
            return false; /* the second space was wrong before the target was long */
        }
    }
    /* llhttp names the byte itself or, when these three are what is wrong, the one behind. */
    size_t good = 0;
    while (begin + good < wrong && !is_blank(begin[good])) {
        good++;
    }
    return good > r->limits->uri_size - r->head->target_size;
}

static bool is_foreign(char c)
{
    return (unsigned char)c >= 0x80;
}

/* How many bytes there are before the first foreign one of this line; `size` if it has none. */
static size_t count_plain(const char *at, size_t size)
{
    const char *end = memchr(at, '\n', size);
    size_t line = end ? (size_t)(end - at) : size, i = 0;
    uint64_t word = 0;
    for (; i + sizeof(word) <= line; i += sizeof(word)) {
        memcpy(&word, at + i, sizeof(word));
        if (word & UINT64_C(0x8080808080808080)) {
            break;
        }
    }
    while (i < line && !is_foreign(at[i])) {
        i++;
    }
    return i < line ? i : size;
}

struct bytes reader_show(struct http_reader *r, const char *at, size_t size)
{
    r->stand_in = false;
    if (r->response || r->url_done || size == 0) {
        return (struct bytes){at, size};
    }
    size_t plain = count_plain(at, size);
    /* The target may have ended with the last read: on_url_complete() comes with the byte behind.
     */
    bool in_target = r->head->target_size > 0 && !is_blank(r->before[sizeof(r->before) - 1]);
    if (plain > 0 || !in_target) {
        return (struct bytes){at, plain > 0 ? plain : size};
    }
    size_t foreign = 1;
    while (foreign < size && foreign < sizeof(STAND_IN) && is_foreign(at[foreign])) {
        foreign++;
    }
    r->stand_in = true;
    return (struct bytes){STAND_IN, foreign};
}
