/* tickets: derived when they are first needed and kept for three halves of a day. */
#include "tls/tickets.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/aead.h"
#include "base/memory.h"

enum { HALVES = 3 /* the one before, the present one, the next */ };

struct tls_tickets {
    pthread_mutex_t lock; /* held for a few comparisons, and for a derivation twice a day */
    uint8_t own[TLS_TICKET_SECRET_SIZE];
    uint8_t secrets[TLS_TICKET_KEYS_MAX][TLS_TICKET_SECRET_SIZE];
    size_t secret_count;
    struct bytes salt; /* a copy */
    bool derived;
    uint64_t half; /* the present one, if `derived` */
    struct tls_ticket_key keys[TLS_TICKET_KEYS_MAX][HALVES];
};

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *t = memory_new(sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    random_bytes(t->own, sizeof(t->own));
    tls_tickets_set(t, NULL, 0, BYTES(""));
    return t;
}

void tls_tickets_free(struct tls_tickets *t)
{
    if (t) {
        free((char *)(uintptr_t)t->salt.at);
        pthread_mutex_destroy(&t->lock);
        explicit_bzero(t, sizeof(*t));
        free(t);
    }
}

void tls_tickets_set(struct tls_tickets *t, const uint8_t (*secrets)[TLS_TICKET_SECRET_SIZE],
                     size_t count, struct bytes cluster_name)
{
    assert(count <= TLS_TICKET_KEYS_MAX);
    pthread_mutex_lock(&t->lock);
    if (count == 0) {
        memcpy(t->secrets[0], t->own, sizeof(t->own));
    } else {
        memcpy(t->secrets, secrets, count * sizeof(*secrets));
    }
    t->secret_count = count > 0 ? count : 1;
    free((char *)(uintptr_t)t->salt.at);
    t->salt =
        (struct bytes){memory_copy_text(cluster_name.at, cluster_name.size), cluster_name.size};
    t->derived = false;
    pthread_mutex_unlock(&t->lock);
}

static void derive_part(const struct tls_tickets *t, size_t secret, struct bytes part,
                        uint64_t half, uint8_t ret_key[AEAD_KEY_SIZE])
{
    char info[32] = "difyring tls ";
    size_t size = strlen(info);
    assert(size + part.size + sizeof(half) <= sizeof(info));
    memcpy(info + size, part.at, part.size);
    size += part.size;
    for (int shift = 56; shift >= 0; shift -= 8) {
        info[size++] = (char)(uint8_t)(half >> shift);
    }
    struct bytes key = {(const char *)t->secrets[secret], TLS_TICKET_SECRET_SIZE};
    hkdf_sha256(key, t->salt, (struct bytes){info, size}, ret_key);
}

static void derive_one(const struct tls_tickets *t, size_t secret, uint64_t half,
                       struct tls_ticket_key *ret_key)
{
    uint8_t name[AEAD_KEY_SIZE];
    derive_part(t, secret, BYTES("name"), half, name);
    memcpy(ret_key->name, name, sizeof(ret_key->name));
    derive_part(t, secret, BYTES("aes"), half, ret_key->aes);
    derive_part(t, secret, BYTES("mac"), half, ret_key->mac);
}

/* With the lock. */
static void derive(struct tls_tickets *t, uint64_t now_s)
{
    uint64_t half = now_s / TLS_TICKET_HALF_S;
    if (t->derived && t->half == half) {
        return;
    }
    for (size_t s = 0; s < t->secret_count; s++) {
        for (size_t h = 0; h < HALVES; h++) {
            derive_one(t, s, half + h - 1, &t->keys[s][h]);
        }
    }
    t->half = half;
    t->derived = true;
}

void tls_tickets_sealing(struct tls_tickets *t, uint64_t now_s, struct tls_ticket_key *ret_key)
{
    pthread_mutex_lock(&t->lock);
    derive(t, now_s);
    *ret_key = t->keys[0][1];
    pthread_mutex_unlock(&t->lock);
}

bool tls_tickets_find(struct tls_tickets *t, uint64_t now_s,
                      const uint8_t name[TLS_TICKET_NAME_SIZE], struct tls_ticket_key *ret_key)
{
    bool found = false;
    pthread_mutex_lock(&t->lock);
    derive(t, now_s);
    for (size_t i = 0; i < t->secret_count * HALVES && !found; i++) {
        const struct tls_ticket_key *key = &t->keys[i / HALVES][i % HALVES];
        found = memcmp(key->name, name, TLS_TICKET_NAME_SIZE) == 0;
        if (found) {
            *ret_key = *key;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}
