/* fuzz_tls_records: two sessions, and a wire between them that the input rules: where records are
 * split, what is put between them, which bits are turned.
 *
 * Promises: each side hears a beginning of what the other has said, and all of it while nobody has
 * touched the wire; a session that has ended or broken opens nothing more; nobody reads beyond what
 * came (a sanitizer sees it, for each piece is a copy of its own). */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "../unit/tls_files.h"

enum {
    SAID_MAX = 1 << 17,
    PIECE_MAX = 20000,
    WHOLE = 1 << 20,
};

static struct tls_server *server;
static struct tls_client *client[2];
static char said[SAID_MAX]; /* by either side, from its beginning */

static void set_up(void)
{
    static const int versions[2] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < SAID_MAX; i++) {
        said[i] = (char)(i * 31 >> 3);
    }
    server = tls_test_server(tls_tickets_new(), NULL, (const char *const[]){"ec", NULL});
    for (int v = 0; v < 2; v++) {
        client[v] = tls_test_client(NULL, versions[v]);
    }
    atexit(tls_folder_remove);
}

struct course {
    const uint8_t *at, *end; /* the rest of the input */
    struct tls_ends ends;
    size_t client_said, server_said;
    bool touched;
};

static unsigned next(struct course *c)
{
    return c->at < c->end ? *c->at++ : 0;
}

static size_t next_size(struct course *c)
{
    size_t size = next(c) << 8;
    return (size | next(c)) % PIECE_MAX;
}

static bool may_say(const struct tls_session *t)
{
    return (t->state == TLS_OPEN || t->state == TLS_ENDED) && !t->finished;
}

static void say(struct course *c, struct tls_session *t, size_t *at)
{
    size_t size = next_size(c);
    if (may_say(t) && *at + size <= SAID_MAX) {
        assert(tls_session_write(t, (struct bytes){said + *at, size}));
        *at += size;
    }
}

/* Some bytes of the input between two pieces of the wire, to the server. */
static void put_between(struct course *c)
{
    struct chain *wire = &c->ends.client->wire;
    struct chain garbage = {0};
    size_t left = (size_t)(c->end - c->at), size = next(c) % 64;
    size = size < left ? size : left;
    if (size > 0 && c->at + size <= c->end) {
        chain_append(&garbage, &c->ends.pool, c->at, size);
        c->at += size;
        chain_move(&garbage, wire);
        *wire = garbage;
        c->touched = true;
    }
}

static void turn_bits(struct course *c, struct tls_session *from)
{
    struct block *b = from->wire.first;
    size_t at = next_size(c);
    uint8_t bits = (uint8_t)next(c);
    if (b && bits) {
        b->data[b->start + at % (b->end - b->start)] ^= (char)bits;
        c->touched = true;
    }
}

static void step(struct course *c)
{
    struct tls_ends *e = &c->ends;
    switch (next(c) % 8) {
    case 0:
        say(c, e->client, &c->client_said);
        break;
    case 1:
        say(c, e->server, &c->server_said);
        break;
    case 2:
        tls_carry_up(e, next_size(c) + 1);
        break;
    case 3:
        tls_carry_down(e, next(c) + 1);
        break;
    case 4:
        put_between(c);
        break;
    case 5:
        turn_bits(c, next(c) % 2 ? e->server : e->client);
        break;
    case 6:
        tls_session_finish(next(c) % 2 ? e->server : e->client);
        break;
    case 7:
        /* a hundred kilobytes byte by byte take longer than they tell */
        tls_carry(e, next(c) + 1 + (e->client->wire.size + e->server->wire.size) / 256);
        break;
    }
}

static void check(const struct course *c)
{
    const struct tls_ends *e = &c->ends;
    assert(e->server_heard_size <= c->client_said);
    assert(e->client_heard_size <= c->server_said);
    assert(memcmp(e->server_heard, said, e->server_heard_size) == 0);
    assert(memcmp(e->client_heard, said, e->client_heard_size) == 0);
    assert(c->touched || (e->server->state != TLS_BROKEN && e->client->state != TLS_BROKEN));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server) {
        set_up();
    }
    struct course *c = calloc(1, sizeof(*c));
    c->at = data;
    c->end = data + size;
    pool_init(&c->ends.pool);
    c->ends.client = tls_session_connect(client[next(c) % 2], "a.test", NULL, &c->ends.pool);
    c->ends.server = tls_session_accept(server, &c->ends.pool);
    assert(c->ends.client && c->ends.server);
    while (c->at < c->end) {
        step(c);
        check(c);
    }
    tls_carry(&c->ends, WHOLE);
    check(c);
    if (!c->touched) {
        assert(c->ends.server_heard_size == c->client_said);
        assert(c->ends.client_heard_size == c->server_said);
    }
    tls_ends_done(&c->ends);
    free(c);
    return 0;
}
