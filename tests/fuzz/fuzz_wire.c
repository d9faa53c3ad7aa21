/* fuzz_wire: the input is the plain text of a packet. What decodes holds, and encodes to something
 * that decodes to the same; the sizes and bounds are right for it. */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>

#include "gossip/wire/wire.h"
#include "tests/support/wire_equal.h"

static size_t bound_of(const struct wire_packet *p)
{
    static struct wire_packet bare;
    bare = *p;
    bare.row_count = bare.delta_count = bare.entry_count = 0;
    size_t bound = wire_size(&bare);
    for (size_t i = 0; i < p->row_count; i++) {
        bound += wire_row_size(&p->rows[i]);
    }
    for (size_t i = 0; i < p->delta_count; i++) {
        bound += wire_delta_size(&p->deltas[i]);
    }
    for (size_t i = 0; i < p->entry_count; i++) {
        bound += wire_entry_size(&p->entries[i]);
    }
    return bound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_packet first, second;
    uint8_t plain[SEAL_PLAIN_MAX];
    struct wire_memory *memory = wire_memory_new(), *other = wire_memory_new();
    if (wire_decode(memory, (struct bytes){(const char *)data, size}, &first)) {
        /* Never larger than the input: that one may have what we leave out. */
        size_t encoded = wire_encode(&first, plain);
        assert(encoded <= size && encoded == wire_size(&first));
        assert(encoded <= bound_of(&first));
        assert(wire_decode(other, (struct bytes){(const char *)plain, encoded}, &second));
        assert(wire_equal(&first, &second));
    }
    wire_memory_free(memory);
    wire_memory_free(other);
    return 0;
}
