/* fuzz_slots: the input is what happens, step by step, to the slots of one host and port and to
 * those who want one. No promise of queue/slots.h may break, and in the end nobody is left. */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>

#include "../unit/slots_model.h"

struct input {
    const uint8_t *at;
    size_t left;
};

static uint64_t by_input(void *arg, uint64_t bound)
{
    struct input *in = arg;
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++ % bound;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct slots_model m;
    struct input in = {data, size};
    slots_model_init(&m, by_input, &in);
    while (in.left > 0) {
        slots_model_act(&m);
        assert(!m.broken);
    }
    assert(slots_model_run_out(&m) && !m.broken);
    slots_model_done(&m);
    return 0;
}
