/* fuzz_proxy_header: the first byte says how the rest is cut. However that is, the outcome is the
 * same, nothing behind the header is taken, and a header that was told is one as long as it may be.
 */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>

#include "client/proxy_header.h"

struct outcome {
    enum proxy_header_state state;
    size_t taken;
    struct proxy_header header;
};

/* Pieces of `first`, then of 1 to `step` bytes each. */
static struct outcome read_in_pieces(struct bytes all, size_t first, size_t step)
{
    struct outcome o = {.state = PROXY_HEADER_MORE};
    size_t size = first > 0 ? first : step;
    while (o.taken < all.size && o.state == PROXY_HEADER_MORE) {
        size_t left = all.size - o.taken;
        struct bytes piece = {all.at + o.taken, size < left ? size : left};
        size_t before = piece.size;
        o.state = proxy_header_read(&o.header, &piece);
        assert(piece.size == 0 || o.state != PROXY_HEADER_MORE);
        o.taken += before - piece.size;
        size = step;
    }
    return o;
}

static void check_alike(const struct outcome *a, const struct outcome *b)
{
    assert(a->state == b->state && a->taken == b->taken);
    assert(a->header.fault == b->header.fault);
    assert(a->header.has_address == b->header.has_address);
    if (a->state == PROXY_HEADER_DONE && a->header.has_address) {
        assert(memcmp(a->header.address, b->header.address, ADDRESS_SIZE) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct bytes all = {(const char *)data + 1, size - 1};
    struct outcome whole = read_in_pieces(all, 0, all.size);
    struct outcome single = read_in_pieces(all, 0, 1), cut = read_in_pieces(all, data[0], all.size);
    check_alike(&whole, &single);
    check_alike(&whole, &cut);
    assert((whole.state == PROXY_HEADER_BAD) == (whole.header.fault != NULL));
    if (whole.state == PROXY_HEADER_DONE) {
        bool text = all.at[0] == 'P';
        size_t said = text ? 0 : 16 + 256U * (uint8_t)all.at[14] + (uint8_t)all.at[15];
        assert(text ? whole.taken <= PROXY_HEADER_V1_MAX && all.at[whole.taken - 1] == '\n'
                    : whole.taken == said);
    }
    return 0;
}
