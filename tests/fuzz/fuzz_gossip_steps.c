/* fuzz_gossip_steps: the input is a list of steps done to three gossips that know each other's
 * addresses: time passes, packets arrive, get lost, come twice, are cut or changed; maps change;
 * nodes leave and start again, also with an earlier generation; and somebody who has the cluster's
 * key sends whatever the input says. Nothing may crash, and the tables stay within their limits. */
#include "fuzz_target.h"

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/sha256.h"
#include "gossip/gossip.h"

enum {
    CORES = 3,
    FLIGHT_MAX = 64,
    SETTLE_STEPS = 200, /* packets of one STEP_SETTLE: enough for a whole sync of three */
    ANSWERS_MAX = 64,   /* packets out of one call: rumours, pushes to all, a reply, a text */
    STEPS_MAX = 2000,
    TICKS_MAX = 3, /* of one moment: one may lead to another, but a loop must come to rest */
    PORT = 7946,
};

enum step {
    STEP_TICK, /* core, ms * 8 */
    STEP_SETTLE,
    STEP_DELIVER, /* which */
    STEP_REPEAT,  /* which: delivered, and kept */
    STEP_LOSE,    /* which */
    STEP_CHANGE,  /* which, where, xor: delivered with one byte changed */
    STEP_CUT,     /* which, size */
    STEP_MISLEAD, /* which, core: delivered to another one */
    STEP_SET,     /* core, key and priority, size */
    STEP_REMOVE,  /* core, key */
    STEP_FLUSH,   /* core */
    STEP_LEAVE,   /* core */
    STEP_RESTART, /* core, by how much its generation changes */
    STEP_JOIN,    /* core, bit mask of whom */
    STEP_KEYS,    /* core, which first */
    STEP_OFFER,   /* core, size * 64 */
    STEP_FETCH,   /* core, from whom, whose text */
    STEP_INSIDER, /* core, hello, size, bytes: plain text of a packet, sealed as a member would */
    STEP_NOISE,   /* core, size, bytes */
    STEPS,
};

struct flight {
    size_t to;
    struct gossip_address from;
    size_t size;
    uint8_t bytes[GOSSIP_PACKET_MAX];
};

struct core {
    struct gossip *gossip;
    struct seal_session session;
    uint64_t generation;
    uint8_t digest[WIRE_DIGEST_SIZE]; /* of the text it offers */
    size_t offered;
    size_t answers; /* of the call that is running */
};

struct net {
    struct core cores[CORES];
    struct flight flight[FLIGHT_MAX];
    size_t flight_count;
    uint64_t now_ms;
    uint64_t starts;
    struct seal *insider;
    struct sha256 *sha;
    size_t core_now; /* whose call is running */
};

struct input {
    const uint8_t *at;
    size_t left;
};

static const uint8_t KEYS[2][SEAL_KEY_SIZE] = {{1, 2, 3}, {9, 8, 7}};
static char text[256 * 64]; /* of texts; zeros are as good as any */

static uint8_t next(struct input *in)
{
    if (in->left == 0) {
        return 0;
    }
    in->left--;
    return *in->at++;
}

static struct gossip_address address_of(size_t core)
{
    struct gossip_address a = {.port = PORT};
    a.ip[10] = a.ip[11] = 0xff;
    a.ip[12] = 10;
    a.ip[15] = (uint8_t)core;
    return a;
}

/* ---- events ---- */

static void on_packet(void *owner, const struct gossip_address *to, struct bytes packet)
{
    struct net *n = owner;
    assert(packet.size >= SEAL_OVERHEAD && packet.size <= GOSSIP_PACKET_MAX);
    assert(gossip_address_known(to));
    assert(++n->cores[n->core_now].answers <= ANSWERS_MAX);
    if (n->flight_count == FLIGHT_MAX || to->ip[15] >= CORES) {
        return;
    }
    struct flight *f = &n->flight[n->flight_count++];
    f->to = to->ip[15];
    f->from = address_of(n->core_now);
    f->size = packet.size;
    memcpy(f->bytes, packet.at, packet.size);
}

static void on_member(void *owner, struct gossip_member *member, enum wire_state before)
{
    (void)owner;
    assert(member->name[0] != '\0' && before <= WIRE_LEFT && member->state <= WIRE_LEFT);
}

static void on_member_leaving(void *owner, struct gossip_member *member)
{
    (void)owner;
    assert(!member->self);
}

static void on_entry(void *owner, struct gossip_member *member, struct bytes key,
                     struct bytes value)
{
    (void)owner;
    assert(!member->self && key.size > 0 && key.size <= WIRE_KEY_MAX);
    assert(value.size <= WIRE_VALUE_MAX);
}

static void on_text(void *owner, const uint8_t digest[WIRE_DIGEST_SIZE], struct bytes got)
{
    struct net *n = owner;
    if (got.at != NULL) {
        uint8_t real[WIRE_DIGEST_SIZE];
        sha256_digest(n->sha, &got, 1, real);
        assert(memcmp(real, digest, sizeof(real)) == 0);
    }
}

static void on_generation(void *owner, uint64_t generation)
{
    struct net *n = owner;
    assert(generation > n->cores[n->core_now].generation);
    n->cores[n->core_now].generation = generation;
}

static void on_clash(void *owner, const char *name, const struct gossip_address *holder,
                     const struct gossip_address *other)
{
    (void)owner;
    (void)name;
    (void)holder;
    (void)other;
}

static void on_problem(void *owner, enum gossip_problem problem, const struct gossip_address *from)
{
    (void)owner;
    (void)from;
    assert((int)problem < GOSSIP_PROBLEMS);
}

static const struct gossip_events EVENTS = {
    .on_packet = on_packet,
    .on_member = on_member,
    .on_member_leaving = on_member_leaving,
    .on_entry = on_entry,
    .on_text = on_text,
    .on_generation = on_generation,
    .on_clash = on_clash,
    .on_problem = on_problem,
};

/* ---- cores ---- */

static void start(struct net *n, size_t i, uint64_t generation)
{
    struct core *c = &n->cores[i];
    char name[] = {'n', 'o', 'd', 'e', (char)('0' + i)};
    uint64_t session = ++n->starts;
    memcpy(c->session.id, &session, sizeof(c->session.id));
    c->generation = generation > 0 ? generation : 1;
    c->offered = 0;
    n->core_now = i;
    c->gossip = gossip_new(&(struct gossip_options){.cluster_name = BYTES("fuzz"),
                                                    .node_name = {name, sizeof(name)},
                                                    .generation = c->generation,
                                                    .session = c->session,
                                                    .keys = KEYS,
                                                    .key_count = 2,
                                                    .profile = GOSSIP_LAN,
                                                    .seed = session,
                                                    .events = &EVENTS,
                                                    .owner = n},
                           n->now_ms);
}

static struct core *call(struct net *n, size_t i)
{
    n->core_now = i % CORES;
    n->cores[n->core_now].answers = 0;
    return &n->cores[n->core_now];
}

static void arrive(struct net *n, size_t to, const struct gossip_address *from, const uint8_t *at,
                   size_t size)
{
    /* exactly the packet's size, so that a sanitizer sees one byte too far */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert(copy != NULL);
    memcpy(copy, at, size);
    struct core *c = call(n, to);
    gossip_receive(c->gossip, n->now_ms, from, (struct bytes){(const char *)copy, size});
    free(copy);
}

static void tick(struct net *n, size_t i)
{
    struct core *c = call(n, i);
    bool rests = false;
    for (int ticks = 0; !rests && ticks < TICKS_MAX; ticks++) {
        gossip_tick(c->gossip, n->now_ms);
        rests = gossip_deadline_ms(c->gossip) > n->now_ms;
    }
    assert(rests);
}

static bool take(struct net *n, size_t which, struct flight *ret)
{
    if (n->flight_count == 0) {
        return false;
    }
    which %= n->flight_count;
    *ret = n->flight[which];
    memmove(&n->flight[which], &n->flight[which + 1], (n->flight_count - which - 1) * sizeof(*ret));
    n->flight_count--;
    return true;
}

static void deliver(struct net *n, const struct flight *f)
{
    arrive(n, f->to, &f->from, f->bytes, f->size);
}

static void settle(struct net *n)
{
    struct flight f;
    for (size_t i = 0; i < CORES; i++) {
        tick(n, i);
    }
    for (size_t i = 0; i < SETTLE_STEPS && take(n, 0, &f); i++) {
        deliver(n, &f);
    }
}

/* ---- steps ---- */

static void step_flight(struct net *n, enum step step, struct input *in)
{
    struct flight f;
    if (!take(n, next(in), &f)) {
        return;
    }
    if (step == STEP_CHANGE) {
        size_t where = (size_t)(next(in) << 8 | next(in)) % f.size;
        f.bytes[where] = (uint8_t)(f.bytes[where] ^ next(in));
    } else if (step == STEP_CUT) {
        f.size = (size_t)(next(in) << 8 | next(in)) % f.size;
    } else if (step == STEP_MISLEAD) {
        f.to = next(in) % CORES;
    } else if (step == STEP_REPEAT && n->flight_count < FLIGHT_MAX) {
        n->flight[n->flight_count++] = f;
    }
    if (step != STEP_LOSE) {
        deliver(n, &f);
    }
}

static void step_set(struct net *n, struct core *c, bool set, struct input *in)
{
    uint8_t which = next(in);
    char key[2] = {'k', (char)('!' + which % 64)};
    enum wire_priority priority = which % 2 != 0 ? WIRE_URGENT : WIRE_BULK;
    if (set) {
        static char value[WIRE_VALUE_MAX];
        memset(value, next(in), sizeof(value));
        size_t size = (size_t)next(in) * WIRE_VALUE_MAX / 255;
        gossip_set(c->gossip, n->now_ms, priority, (struct bytes){key, 2},
                   (struct bytes){value, size});
    } else {
        gossip_remove(c->gossip, n->now_ms, (struct bytes){key, 2});
    }
}

static void step_restart(struct net *n, struct core *c, struct input *in)
{
    uint64_t generation = c->generation + next(in);
    gossip_free(c->gossip);
    start(n, n->core_now, generation > 128 ? generation - 128 : 1);
}

static void step_join(struct core *c, struct input *in)
{
    struct gossip_address addresses[CORES];
    size_t count = 0;
    uint8_t mask = next(in);
    for (size_t i = 0; i < CORES; i++) {
        if ((mask >> i & 1) != 0) {
            addresses[count++] = address_of(i);
        }
    }
    gossip_set_join(c->gossip, addresses, count);
}

static void step_keys(struct core *c, struct input *in)
{
    uint8_t keys[2][SEAL_KEY_SIZE];
    size_t first = next(in) % 2;
    memcpy(keys[0], KEYS[first], SEAL_KEY_SIZE);
    memcpy(keys[1], KEYS[1 - first], SEAL_KEY_SIZE);
    gossip_set_keys(c->gossip, (const uint8_t(*)[SEAL_KEY_SIZE])keys, 2);
}

static void step_text(struct net *n, struct core *c, bool offer, struct input *in)
{
    if (offer) {
        c->offered = (size_t)next(in) * 64;
        struct bytes all = {text, c->offered};
        sha256_digest(n->sha, &all, 1, c->digest);
        gossip_offer_text(c->gossip, c->digest, all);
        return;
    }
    char name[] = {'n', 'o', 'd', 'e', (char)('0' + next(in) % CORES)};
    struct gossip_member *from = gossip_find(c->gossip, (struct bytes){name, sizeof(name)});
    const struct core *whose = &n->cores[next(in) % CORES];
    if (from != NULL && !from->self && whose->offered > 0) {
        gossip_fetch_text(c->gossip, n->now_ms, from, whose->digest, whose->offered);
    }
}

static void step_bytes(struct net *n, struct core *c, bool insider, struct input *in)
{
    uint8_t packet[GOSSIP_PACKET_MAX];
    bool hello = next(in) % 2 != 0;
    size_t size = (size_t)(next(in) << 8 | next(in)) % (SEAL_PLAIN_MAX + 1);
    struct gossip_address from = address_of(CORES);
    size = size < in->left ? size : in->left;
    struct bytes bytes = {(const char *)in->at, size};
    in->at += size;
    in->left -= size;
    if (insider) {
        size = seal_packet(n->insider, hello ? NULL : &c->session, bytes, packet);
        arrive(n, n->core_now, &from, packet, size);
    } else {
        arrive(n, n->core_now, &from, (const uint8_t *)bytes.at, size);
    }
}

static void step_core(struct net *n, enum step step, struct input *in)
{
    struct core *c = call(n, next(in));
    switch (step) {
    case STEP_SET:
    case STEP_REMOVE:
        step_set(n, c, step == STEP_SET, in);
        break;
    case STEP_FLUSH:
        gossip_flush(c->gossip, n->now_ms);
        break;
    case STEP_LEAVE:
        gossip_leave(c->gossip, n->now_ms);
        break;
    case STEP_RESTART:
        step_restart(n, c, in);
        break;
    case STEP_JOIN:
        step_join(c, in);
        break;
    case STEP_KEYS:
        step_keys(c, in);
        break;
    case STEP_OFFER:
    case STEP_FETCH:
        step_text(n, c, step == STEP_OFFER, in);
        break;
    case STEP_INSIDER:
    case STEP_NOISE:
        step_bytes(n, c, step == STEP_INSIDER, in);
        break;
    case STEP_TICK:
    case STEP_SETTLE:
    case STEP_DELIVER:
    case STEP_REPEAT:
    case STEP_LOSE:
    case STEP_CHANGE:
    case STEP_CUT:
    case STEP_MISLEAD:
    case STEPS:
        n->now_ms += (uint64_t)next(in) * 8;
        tick(n, n->core_now);
        break;
    }
}

static void count_key(void *arg, struct bytes key, struct bytes value)
{
    (void)key;
    (void)value;
    ++*(size_t *)arg;
}

static void check(struct net *n, size_t i)
{
    struct gossip *g = n->cores[i].gossip;
    assert(gossip_member_count(g) <= GOSSIP_MEMBERS_MAX);
    assert(gossip_self(g)->generation == n->cores[i].generation);
    for (size_t m = 0; m < gossip_member_count(g); m++) {
        size_t keys = 0;
        gossip_each(g, gossip_member(g, m), count_key, &keys);
        assert(keys <= GOSSIP_KEYS_MAX);
    }
}

static void done(struct net *n)
{
    for (size_t i = 0; i < CORES; i++) {
        gossip_free(n->cores[i].gossip);
    }
    seal_free(n->insider);
    sha256_free(n->sha);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct net n;
    static const struct seal_session INSIDER = {{0xff, 0xff}};
    struct input in = {data, size};
    n = (struct net){.now_ms = 1000, .sha = sha256_new()};
    n.insider = seal_new(BYTES("fuzz"), KEYS, 2, &INSIDER);
    for (size_t i = 0; i < CORES; i++) {
        start(&n, i, 1000);
    }
    for (size_t steps = 0; in.left > 0 && steps < STEPS_MAX; steps++) {
        enum step step = (enum step)(next(&in) % STEPS);
        if (step == STEP_SETTLE) {
            settle(&n);
        } else if (step >= STEP_DELIVER && step <= STEP_MISLEAD) {
            step_flight(&n, step, &in);
        } else {
            step_core(&n, step, &in);
        }
        check(&n, n.core_now);
    }
    done(&n);
    return 0;
}
