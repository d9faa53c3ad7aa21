/* The one answer that every bench instance gives: what Dify's blocking chat answer looks like,
 * about 300 bytes. Shared, so that the load can compare each byte that comes back through a proxy.
 * To a request that names a conversation the answer names the same. */
#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H

#define BENCH_CONVERSATION_KEY "\"conversation_id\":\""
#define BENCH_CONVERSATION     "45701982-8118-4bc5-8e9b-64562b000000"
#define BENCH_ANSWER                                                                               \
    "{\"event\":\"message\",\"task_id\":\"5f1c0a52-0f4e-4c53-9a0c-8d1f6f0b7a11\","                 \
    "\"id\":\"9b0d2c7e-3c55-4a86-b3f5-0f2f6a1f9d20\",\"mode\":\"chat\"," BENCH_CONVERSATION_KEY    \
        BENCH_CONVERSATION "\","                                                                   \
    "\"answer\":\"Your order left the warehouse this morning.\","                                  \
    "\"metadata\":{\"usage\":{\"total_tokens\":64}},\"created_at\":1705395332}"

enum {
    BENCH_ANSWER_SIZE = sizeof(BENCH_ANSWER) - 1,
    BENCH_CONVERSATION_SIZE = sizeof(BENCH_CONVERSATION) - 1,
};

#endif
