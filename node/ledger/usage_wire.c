/* usage_wire: field by field. */
#include "ledger/usage_wire.h"

#include "proto/binary.h"

void usage_pack(Cluster__Count *count, const struct usage_sum *u, struct usage_packed *space)
{
    if (!u) {
        return;
    }
    count->prompt_tokens = u->prompt_tokens;
    count->completion_tokens = u->completion_tokens;
    count->unsplit_tokens = u->unsplit_tokens;
    count->money = space->pointers;
    for (uint32_t i = 0; i < u->money_count; i++) {
        Cluster__Money *money = space->pointers[i] = &space->money[i];
        cluster__money__init(money);
        money->currency = binary_of(bytes_of(u->money[i].currency));
        money->micro = u->money[i].price.micro;
        money->rest = u->money[i].price.rest;
    }
    count->n_money = u->money_count;
}

bool usage_unpack(const Cluster__Count *c, struct usage_sum *ret)
{
    *ret = (struct usage_sum){.prompt_tokens = c->prompt_tokens,
                              .completion_tokens = c->completion_tokens,
                              .unsplit_tokens = c->unsplit_tokens};
    for (size_t i = 0; i < c->n_money; i++) {
        char currency[USAGE_CURRENCY_SIZE + 1] = "";
        struct bytes text = bytes_in(c->money[i]->currency);
        if (text.size == 0 || text.size > USAGE_CURRENCY_SIZE) {
            return false;
        }
        memcpy(currency, text.at, text.size);
        struct usage_money *money =
            usage_currency_valid(currency) ? usage_sum_money(ret, currency) : NULL;
        if (!money) {
            return false;
        }
        money->price = (struct usage_price){c->money[i]->micro, c->money[i]->rest};
    }
    return true;
}
