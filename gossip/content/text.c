/* text: a text too large for a value, pulled chunk by chunk from one member and checked by its
 * digest at the end, so that nobody's mistake or malice on the way can become configuration.
 *
 * Some chunks are asked for at a time; one that does not come is asked for again. A source that
 * brings no news for FETCH_TRIES_MAX rounds is given up: the owner names another. */
#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/private.h"

enum {
    FETCH_WINDOW = 16, /* chunks asked for at a time: 16 kB, less than a usual socket buffer */
    FETCH_TRIES_MAX = 10,
};

static size_t chunk_count(size_t size)
{
    return (size + WIRE_CHUNK_MAX - 1) / WIRE_CHUNK_MAX;
}

static void fetch_clear(struct fetch *f)
{
    if (f->text) {
        explicit_bzero(f->text, f->size); /* it may hold tokens */
    }
    free(f->text);
    free(f->have);
    *f = (struct fetch){0};
}

static void fetch_fail(struct gossip *g)
{
    uint8_t digest[WIRE_DIGEST_SIZE];
    memcpy(digest, g->fetch.digest, sizeof(digest));
    fetch_clear(&g->fetch);
    g->events->on_text(g->owner, digest, (struct bytes){NULL, 0});
}

static void ask_chunks(struct gossip *g)
{
    struct fetch *f = &g->fetch;
    struct member *from = member_by_id(g, f->from);
    size_t asked = 0;
    if (!from || !member_is_up(from) || f->tries >= FETCH_TRIES_MAX) {
        fetch_fail(g);
        return;
    }
    f->tries++;
    f->ask_ms = g->now_ms + g->profile->chunk_ms;
    for (size_t i = 0; i < chunk_count(f->size) && asked < FETCH_WINDOW; i++) {
        if (f->have[i]) {
            continue;
        }
        struct wire_packet *p = send_begin(g, WIRE_CHUNK_ASK);
        p->digest = (struct bytes){(const char *)f->digest, WIRE_DIGEST_SIZE};
        p->offset = (uint32_t)(i * WIRE_CHUNK_MAX);
        send_to(g, from);
        asked++;
    }
}

void gossip_fetch_text(struct gossip *g, uint64_t now_ms, struct gossip_member *from,
                       const uint8_t digest[WIRE_DIGEST_SIZE], size_t size)
{
    struct fetch *f = &g->fetch;
    assert(size > 0 && size <= GOSSIP_TEXT_MAX && !from->self);
    g->now_ms = now_ms > g->now_ms ? now_ms : g->now_ms;
    fetch_clear(f);
    f->active = true;
    f->from = from->id;
    memcpy(f->digest, digest, WIRE_DIGEST_SIZE);
    f->size = size;
    f->missing = chunk_count(size);
    f->text = memory_new(size);
    f->have = memory_new(f->missing);
    f->ask_ms = g->now_ms; /* at the next tick: this may be called from a callback */
}

static void fetch_finish(struct gossip *g)
{
    struct fetch *f = &g->fetch;
    uint8_t digest[SHA256_SIZE];
    struct bytes text = {f->text, f->size};
    sha256_digest(g->sha, &text, 1, digest);
    if (memcmp(digest, f->digest, sizeof(digest)) != 0) {
        fetch_fail(g);
        return;
    }
    struct fetch done = *f;
    *f = (struct fetch){0}; /* the owner may ask for the next one from the callback */
    g->events->on_text(g->owner, done.digest, text);
    fetch_clear(&done);
}

static void take_chunk(struct gossip *g, const struct wire_packet *p)
{
    struct fetch *f = &g->fetch;
    bool wanted = f->active && p->digest.size == WIRE_DIGEST_SIZE &&
                  memcmp(p->digest.at, f->digest, WIRE_DIGEST_SIZE) == 0;
    if (!wanted || p->offset >= f->size || p->offset % WIRE_CHUNK_MAX != 0) {
        return;
    }
    size_t left = f->size - p->offset, index = p->offset / WIRE_CHUNK_MAX;
    size_t size = left < WIRE_CHUNK_MAX ? left : WIRE_CHUNK_MAX;
    if (p->chunk.size != size || f->have[index]) {
        return;
    }
    memcpy(f->text + p->offset, p->chunk.at, size);
    f->have[index] = 1;
    f->missing--;
    f->tries = 0;
    if (f->missing == 0) {
        fetch_finish(g);
    } else if ((chunk_count(f->size) - f->missing) % FETCH_WINDOW == 0) {
        ask_chunks(g); /* a window's worth is here: the next one at once */
    }
}

static void give_chunk(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    bool here = g->offer && p->digest.size == WIRE_DIGEST_SIZE &&
                memcmp(p->digest.at, g->offered, WIRE_DIGEST_SIZE) == 0;
    if (!here || p->offset >= g->offer_size) {
        return; /* another one by now: the asker gives up and hears of it */
    }
    size_t left = g->offer_size - p->offset;
    struct wire_packet *answer = send_begin(g, WIRE_CHUNK);
    answer->digest = (struct bytes){(const char *)g->offered, WIRE_DIGEST_SIZE};
    answer->offset = p->offset;
    answer->text_size = (uint32_t)g->offer_size;
    answer->chunk =
        (struct bytes){g->offer + p->offset, left < WIRE_CHUNK_MAX ? left : WIRE_CHUNK_MAX};
    send_to(g, from);
}

void text_on_packet(struct gossip *g, struct member *from, const struct wire_packet *p)
{
    if (p->type == WIRE_CHUNK) {
        take_chunk(g, p);
    } else {
        give_chunk(g, from, p);
    }
}

static void offer_clear(struct gossip *g)
{
    if (g->offer) {
        explicit_bzero(g->offer, g->offer_size);
    }
    free(g->offer);
    g->offer = NULL;
    g->offer_size = 0;
}

void gossip_offer_text(struct gossip *g, const uint8_t digest[WIRE_DIGEST_SIZE], struct bytes text)
{
    assert(text.size <= GOSSIP_TEXT_MAX);
    offer_clear(g);
    if (text.size > 0) {
        memcpy(g->offered, digest, WIRE_DIGEST_SIZE);
        g->offer = memory_new(text.size);
        memcpy(g->offer, text.at, text.size);
        g->offer_size = text.size;
    }
}

void text_tick(struct gossip *g)
{
    if (g->fetch.active && g->now_ms >= g->fetch.ask_ms) {
        ask_chunks(g);
    }
}

uint64_t text_deadline_ms(const struct gossip *g)
{
    return g->fetch.active ? g->fetch.ask_ms : UINT64_MAX;
}

void text_done(struct gossip *g)
{
    fetch_clear(&g->fetch);
    offer_clear(g);
}
