/* exchange_claims: short words for the named tests of exchange_core. Each step is also held against
 * all promises of the header, by exchange_model; a broken one fails the test. */
#ifndef TESTS_EXCHANGE_CLAIMS_H
#define TESTS_EXCHANGE_CLAIMS_H

#include "exchange_model.h"

enum {
    POOLED = 1, /* how a connection comes: see model_step_with() */
    LATER = 2,
    WITHOUT_SLOT = 2, /* what a pick gives */
    CROWDED = 3,
    PIECE = 60 * 1024,
};

#define IN(...) ((struct exchange_input){__VA_ARGS__})

struct model fresh(void);
void feed(struct model *m, struct exchange_input in, int pick, int connect);
void give(struct model *m, struct exchange_input in);
void tell(struct model *m, enum exchange_input_kind kind);
bool did(const struct model *m, uint32_t what);
void assert_reply(const struct model *m, enum exchange_reply reply, enum exchange_finish finish);
void assert_cut(const struct model *m);
struct exchange_input get(void);
struct exchange_input asks_to_switch(struct exchange_input in);
struct exchange_input post(void);
void body(struct model *m, uint64_t size, bool settled);
struct model get_sent(void);
struct model post_sent(uint64_t size);
struct model post_coming(uint64_t size);
void all_is_up(struct model *m);
void head(struct model *m, uint16_t status);
void piece(struct model *m);
void end(struct model *m);
void deadline(struct model *m);
struct model in_phase(enum exchange_phase phase);

#endif
