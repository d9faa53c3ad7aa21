/* seal: the header, the keys and the window of packets.
 *
 * What costs is deriving (HKDF and AES's key schedule: some microseconds), so each is done once:
 * the own key when the cluster's keys are set, a peer's at the first packet that it sealed with one
 * of them. In steady state a packet is one pass of GCM, and a packet that is not for us fails
 * before it at the header or the window. Derived keys are known by the serial number of the cluster
 * key that they come from, which is never given twice. */
#include "gossip/wire/seal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/aead.h"
#include "base/memory.h"
#include "base/secret.h"

enum {
    /* Not 0, so that zeroed memory is no header. */
    KIND_HELLO = 1,
    KIND_SESSION = 2,

    AT_VERSION = 0,
    AT_KIND = 1,
    AT_KEY_ID = 2,
    AT_SESSION = 3,
    AT_COUNTER = 11,

    COUNTER_SIZE = 8,
    SESSION_SIZE = sizeof(struct seal_session),
    AAD_MAX = SEAL_HEADER_SIZE + SEAL_CLUSTER_NAME_MAX + SESSION_SIZE,
    WINDOW_WORDS = SEAL_WINDOW / 64,
};

static_assert(AT_COUNTER + COUNTER_SIZE == SEAL_HEADER_SIZE, "the header ends with the counter");
static_assert(SEAL_OVERHEAD == SEAL_HEADER_SIZE + AEAD_TAG_SIZE, "header and tag");
static_assert((int)SEAL_KEY_SIZE == (int)AEAD_KEY_SIZE, "one size of keys");
static_assert(SEAL_WINDOW % 64 == 0, "whole words");

struct cluster_key {
    uint8_t secret[SEAL_KEY_SIZE];
    uint64_t serial; /* from 1 */
    uint8_t id;
};

struct seal {
    char *cluster_name;
    size_t cluster_name_size;
    struct cluster_key keys[SEAL_KEYS_MAX];
    size_t key_count;
    uint64_t last_serial;
    struct seal_session own;
    uint64_t counter;       /* of the last packet sealed */
    struct aead *sender;    /* derived from keys[0] and `own` */
    uint64_t sender_serial; /* of keys[0] when it was derived */
};

struct derived {
    uint64_t serial; /* 0: nothing here */
    struct aead *aead;
};

struct seal_peer {
    struct seal_session session;
    struct derived derived[SEAL_KEYS_MAX];
    uint64_t top; /* the highest counter that verified */
    /* bit c % SEAL_WINDOW says whether counter c was seen, for top - SEAL_WINDOW < c <= top */
    uint64_t seen[WINDOW_WORDS];
};

static struct bytes bytes_at(const uint8_t *at, size_t size)
{
    return (struct bytes){(const char *)at, size};
}

static struct bytes cluster_name(const struct seal *s)
{
    return (struct bytes){s->cluster_name, s->cluster_name_size};
}

static uint64_t read_counter(const uint8_t header[SEAL_HEADER_SIZE])
{
    uint64_t counter = 0;
    for (size_t i = 0; i < COUNTER_SIZE; i++) {
        counter = counter << 8 | header[AT_COUNTER + i];
    }
    return counter;
}

/* The nonce of SP 800-38D §8.2.1: a fixed field, which the key makes needless, and the counter. */
static void make_nonce(const uint8_t header[SEAL_HEADER_SIZE], uint8_t ret_nonce[AEAD_NONCE_SIZE])
{
    memset(ret_nonce, 0, AEAD_NONCE_SIZE);
    memcpy(ret_nonce + AEAD_NONCE_SIZE - COUNTER_SIZE, header + AT_COUNTER, COUNTER_SIZE);
}

/* Only the name's size varies, and all of one cluster have the same: no two meanings, one text. */
static struct bytes make_aad(const struct seal *s, const uint8_t header[SEAL_HEADER_SIZE],
                             const struct seal_session *to, uint8_t ret_aad[AAD_MAX])
{
    uint8_t *end = ret_aad;
    memcpy(end, header, SEAL_HEADER_SIZE);
    end += SEAL_HEADER_SIZE;
    memcpy(end, s->cluster_name, s->cluster_name_size);
    end += s->cluster_name_size;
    memcpy(end, to->id, SESSION_SIZE);
    end += SESSION_SIZE;
    return bytes_at(ret_aad, (size_t)(end - ret_aad));
}

static struct aead *derive(const struct seal *s, const struct cluster_key *key,
                           const struct seal_session *sender)
{
    static const char label[] = "difyring gossip";
    uint8_t info[sizeof(label) - 1 + 1 + SESSION_SIZE];
    memcpy(info, label, sizeof(label) - 1);
    info[sizeof(label) - 1] = SEAL_VERSION;
    memcpy(info + sizeof(label), sender->id, SESSION_SIZE);
    uint8_t secret[AEAD_KEY_SIZE];
    hkdf_sha256(bytes_at(key->secret, SEAL_KEY_SIZE), cluster_name(s), bytes_at(info, sizeof(info)),
                secret);
    struct aead *aead = aead_new(secret);
    explicit_bzero(secret, sizeof(secret));
    return aead;
}

static uint8_t derive_id(const struct seal *s, const uint8_t secret[SEAL_KEY_SIZE])
{
    uint8_t text[AEAD_KEY_SIZE];
    hkdf_sha256(bytes_at(secret, SEAL_KEY_SIZE), cluster_name(s), BYTES("key id"), text);
    uint8_t id = text[0];
    explicit_bzero(text, sizeof(text));
    return id;
}

/* 0 if there is no such key. */
static uint64_t find_serial(const struct cluster_key *keys, size_t count,
                            const uint8_t secret[SEAL_KEY_SIZE])
{
    for (size_t i = 0; i < count; i++) {
        if (secret_equal(bytes_at(keys[i].secret, SEAL_KEY_SIZE),
                         bytes_at(secret, SEAL_KEY_SIZE))) {
            return keys[i].serial;
        }
    }
    return 0;
}

struct seal *seal_new(struct bytes cluster_name, const uint8_t (*keys)[SEAL_KEY_SIZE],
                      size_t key_count, const struct seal_session *own)
{
    assert(cluster_name.size >= 1 && cluster_name.size <= SEAL_CLUSTER_NAME_MAX);
    struct seal *s = memory_new(sizeof(*s));
    s->cluster_name = memory_copy_text(cluster_name.at, cluster_name.size);
    s->cluster_name_size = cluster_name.size;
    s->own = *own;
    seal_set_keys(s, keys, key_count);
    return s;
}

void seal_free(struct seal *s)
{
    if (s) {
        aead_free(s->sender);
        free(s->cluster_name);
        explicit_bzero(s, sizeof(*s));
        free(s);
    }
}

void seal_set_keys(struct seal *s, const uint8_t (*keys)[SEAL_KEY_SIZE], size_t key_count)
{
    assert(key_count >= 1 && key_count <= SEAL_KEYS_MAX);
    struct cluster_key old[SEAL_KEYS_MAX];
    size_t old_count = s->key_count;
    memcpy(old, s->keys, sizeof(old));
    explicit_bzero(s->keys, sizeof(s->keys));
    for (s->key_count = 0; s->key_count < key_count; s->key_count++) {
        const uint8_t *secret = keys[s->key_count];
        uint64_t serial = find_serial(old, old_count, secret);
        serial = serial ? serial : find_serial(s->keys, s->key_count, secret);
        struct cluster_key *key = &s->keys[s->key_count];
        memcpy(key->secret, secret, SEAL_KEY_SIZE);
        key->serial = serial ? serial : ++s->last_serial;
        key->id = derive_id(s, secret);
    }
    explicit_bzero(old, sizeof(old));
    if (s->sender_serial != s->keys[0].serial) {
        aead_free(s->sender);
        s->sender = derive(s, &s->keys[0], &s->own);
        s->sender_serial = s->keys[0].serial;
    }
}

size_t seal_packet(struct seal *s, const struct seal_session *to, struct bytes plain,
                   uint8_t ret_packet[GOSSIP_PACKET_MAX])
{
    static const struct seal_session nobody;
    assert(plain.size <= SEAL_PLAIN_MAX);
    assert(s->counter < UINT64_MAX);
    s->counter++;
    ret_packet[AT_VERSION] = SEAL_VERSION;
    ret_packet[AT_KIND] = to ? KIND_SESSION : KIND_HELLO;
    ret_packet[AT_KEY_ID] = s->keys[0].id;
    memcpy(ret_packet + AT_SESSION, s->own.id, SESSION_SIZE);
    for (size_t i = 0; i < COUNTER_SIZE; i++) {
        ret_packet[AT_COUNTER + i] = (uint8_t)(s->counter >> (8 * (COUNTER_SIZE - 1 - i)));
    }
    uint8_t nonce[AEAD_NONCE_SIZE];
    uint8_t aad[AAD_MAX];
    make_nonce(ret_packet, nonce);
    aead_seal(s->sender, nonce, make_aad(s, ret_packet, to ? to : &nobody, aad), plain,
              ret_packet + SEAL_HEADER_SIZE);
    return SEAL_OVERHEAD + plain.size;
}

enum seal_result seal_read_header(const struct seal *s, struct bytes packet,
                                  struct seal_header *ret_header)
{
    if (packet.size < SEAL_OVERHEAD || packet.size > GOSSIP_PACKET_MAX) {
        return SEAL_TRUNCATED;
    }
    const uint8_t *header = (const uint8_t *)packet.at;
    bool hello = header[AT_KIND] == KIND_HELLO;
    if (header[AT_VERSION] != SEAL_VERSION || (!hello && header[AT_KIND] != KIND_SESSION)) {
        return SEAL_NEWER;
    }
    if (memcmp(header + AT_SESSION, s->own.id, SESSION_SIZE) == 0) {
        return SEAL_OWN;
    }
    size_t i = 0;
    while (i < s->key_count && s->keys[i].id != header[AT_KEY_ID]) {
        i++;
    }
    if (i == s->key_count) {
        return SEAL_UNKNOWN_KEY;
    }
    memcpy(ret_header->from.id, header + AT_SESSION, SESSION_SIZE);
    ret_header->counter = read_counter(header);
    ret_header->hello = hello;
    return SEAL_OK;
}

struct seal_peer *seal_peer_new(const struct seal_session *session)
{
    struct seal_peer *p = memory_new(sizeof(*p));
    p->session = *session;
    p->seen[0] = 1; /* counter 0, which nobody sends */
    return p;
}

void seal_peer_free(struct seal_peer *p)
{
    if (p) {
        for (size_t i = 0; i < SEAL_KEYS_MAX; i++) {
            aead_free(p->derived[i].aead);
        }
        free(p);
    }
}

const struct seal_session *seal_peer_session(const struct seal_peer *p)
{
    return &p->session;
}

uint64_t seal_peer_top(const struct seal_peer *p)
{
    return p->top;
}

static bool is_current(const struct seal *s, uint64_t serial)
{
    for (size_t i = 0; i < s->key_count; i++) {
        if (s->keys[i].serial == serial) {
            return true;
        }
    }
    return false;
}

/* The peer's key that comes from `key`: kept, or derived now into the place of one whose cluster
 * key is gone. There is always such a place: as many as a seal can have keys. */
static struct aead *peer_aead(const struct seal *s, struct seal_peer *p,
                              const struct cluster_key *key)
{
    struct derived *place = NULL;
    for (size_t i = 0; i < SEAL_KEYS_MAX; i++) {
        struct derived *d = &p->derived[i];
        if (d->serial == key->serial) {
            return d->aead;
        }
        if (!place && !is_current(s, d->serial)) {
            place = d;
        }
    }
    assert(place != NULL);
    aead_free(place->aead);
    *place = (struct derived){key->serial, derive(s, key, &p->session)};
    return place->aead;
}

static bool window_has(const struct seal_peer *p, uint64_t counter)
{
    if (counter > p->top) {
        return false;
    }
    size_t bit = counter % SEAL_WINDOW;
    return p->top - counter >= SEAL_WINDOW || (p->seen[bit / 64] >> (bit % 64) & 1);
}

/* The counter is not window_has(). */
static void window_enter(struct seal_peer *p, uint64_t counter)
{
    if (counter > p->top && counter - p->top >= SEAL_WINDOW) {
        memset(p->seen, 0, sizeof(p->seen));
    } else {
        for (uint64_t c = p->top + 1; c < counter; c++) { /* the gap: not seen yet */
            p->seen[c % SEAL_WINDOW / 64] &= ~(UINT64_C(1) << c % 64);
        }
    }
    p->top = counter > p->top ? counter : p->top;
    p->seen[counter % SEAL_WINDOW / 64] |= UINT64_C(1) << counter % 64;
}

static bool open_with(const struct seal *s, struct aead *aead, struct bytes packet,
                      uint8_t *ret_plain)
{
    static const struct seal_session nobody;
    const uint8_t *header = (const uint8_t *)packet.at;
    uint8_t nonce[AEAD_NONCE_SIZE];
    uint8_t aad[AAD_MAX];
    make_nonce(header, nonce);
    struct bytes sealed = {packet.at + SEAL_HEADER_SIZE, packet.size - SEAL_HEADER_SIZE};
    const struct seal_session *to = header[AT_KIND] == KIND_HELLO ? &nobody : &s->own;
    return aead_open(aead, nonce, make_aad(s, header, to, aad), sealed, ret_plain);
}

enum seal_result seal_open(struct seal *s, struct seal_peer *peer, struct bytes packet,
                           uint8_t ret_plain[SEAL_PLAIN_MAX], size_t *ret_size)
{
    struct seal_header head;
    enum seal_result result = seal_read_header(s, packet, &head);
    assert(result == SEAL_OK);
    assert(!peer || memcmp(peer->session.id, head.from.id, SESSION_SIZE) == 0);
    const uint8_t *header = (const uint8_t *)packet.at;
    if (peer && window_has(peer, read_counter(header))) {
        return SEAL_REPLAYED;
    }
    bool good = false;
    for (size_t i = 0; i < s->key_count && !good; i++) {
        if (s->keys[i].id == header[AT_KEY_ID]) {
            struct aead *once = peer ? NULL : derive(s, &s->keys[i], &head.from);
            struct aead *aead = peer ? peer_aead(s, peer, &s->keys[i]) : once;
            good = open_with(s, aead, packet, ret_plain);
            aead_free(once);
        }
    }
    if (!good) {
        return SEAL_FORGED;
    }
    if (peer) {
        window_enter(peer, read_counter(header));
    }
    *ret_size = packet.size - SEAL_OVERHEAD;
    return SEAL_OK;
}

void seal_peer_accept(struct seal_peer *peer, struct bytes packet)
{
    assert(packet.size >= SEAL_OVERHEAD);
    const uint8_t *header = (const uint8_t *)packet.at;
    assert(memcmp(peer->session.id, header + AT_SESSION, SESSION_SIZE) == 0);
    if (!window_has(peer, read_counter(header))) {
        window_enter(peer, read_counter(header));
    }
}

void seal_peer_bar(struct seal_peer *peer, uint64_t counter)
{
    peer->top = counter > peer->top ? counter : peer->top;
    memset(peer->seen, 0xFF, sizeof(peer->seen));
}
