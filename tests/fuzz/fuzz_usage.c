/* fuzz_usage: of any answer the same usage is read however it is split; where Jansson takes its
 * texts, what a plain reading of them finds, also when events that tell none are skipped. The first
 * byte says whether it is a stream. */
#include "fuzz_target.h"

#include "usage_oracle.h"

static void check(bool stream, struct bytes answer, size_t first, size_t step,
                  const struct usage_search *whole)
{
    struct usage_search read = usage_read(stream, false, answer, first, step);
    assert(usage_equal(&read, whole));
}

static void check_price(struct bytes text)
{
    struct usage_price price, again;
    char printed[USAGE_PRICE_TEXT_SIZE];
    if (usage_price_read(text, &price)) {
        size_t size = usage_price_text(price, printed);
        assert(usage_price_read((struct bytes){printed, size}, &again));
        assert(again.micro == price.micro + price.rest / 1000000);
        assert(again.rest == price.rest % 1000000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool stream = data[0] == 's';
    struct bytes answer = {(const char *)data + 1, size - 1};
    struct usage_search whole = usage_read(stream, false, answer, answer.size, 1), plain;
    check(stream, answer, 1, 1, &whole);
    check(stream, answer, 3, 7, &whole);
    check(stream, answer, answer.size ? data[size - 1] % answer.size : 0, answer.size, &whole);
    if (usage_oracle(stream, answer, &plain)) {
        struct usage_search skipping = usage_read(stream, true, answer, 5, 11);
        assert(usage_equal(&whole, &plain));
        assert(usage_equal(&skipping, &plain));
    }
    check_price(answer);
    return 0;
}
