/* places: how many clients' connections a node takes, over all of its workers, and whose gives way
 * when it can take no more (SPEC §3, slow and many).
 *
 * Each worker tells on its desk how long its kept-alive connections have been idle. One that needs
 * a place asks the desk with the oldest; the new connection has the place from then on, and the one
 * that is about to go counts among the refused ones meanwhile, so that their sum stays bounded. A
 * worker that has no idle connection any more when it reads its desk owes one, and lets go of the
 * next. That is so while a request comes on the idle one, and never because the idle one went, or
 * gave way to a connection of its own worker: who asks looks at the count again afterwards, and the
 * worker looks who has asked after it has lowered the count (Dekker's order), so one of the two
 * sees the other. Any thread, if not said otherwise. */
#ifndef WORKER_PLACES_H
#define WORKER_PLACES_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "downstream/downstream.h"

enum {
    /* Connections beyond limits.connections that a node keeps to tell them 503; further ones are
     * closed when they come. Enough for who comes by and goes, nothing to a flood. */
    PLACES_REFUSED_MAX = 64,
    PLACES_ADMIN_MAX = 16, /* more than limits.connections, for admin.allow alone */
};

struct places_desk {
    alignas(64) _Atomic uint64_t idle_since_ms; /* of the one that is idle longest; 0 = none is */
    _Atomic uint32_t idle_count;
    _Atomic uint32_t asked; /* so many of them are to go */
};

struct places {
    /* `admitted` falls below zero while a worker owes a connection and the new one that had its
     * place has gone already; see places_are_owed(). */
    _Atomic int32_t admitted, reserved, refused;
    size_t desk_count;
    struct places_desk *desks; /* one a worker */
};

void places_init(struct places *p, size_t workers);
void places_done(struct places *p);

/* One of `max` places. */
bool places_take(struct places *p, uint32_t max);
bool places_take_reserved(struct places *p);
bool places_take_refused(struct places *p);
void places_leave(struct places *p, enum downstream_place place);

/* Connections that are served. */
uint32_t places_served(const struct places *p);

/* More connections have gone than were counted: a worker that owes one is to be woken, so that it
 * takes a place and is quits. */
bool places_are_owed(const struct places *p);

/* Which worker has the connection that has been idle longest; -1: nobody has one. */
int places_oldest(struct places *p);

/* This worker is to let go of one; places_asked() will say so there, once somebody wakes it. False:
 * too many are on their way out, or all that are idle there have been asked for. */
bool places_ask(struct places *p, unsigned worker);

/* So many are to go; the worker's own thread. */
uint32_t places_asked(struct places *p, unsigned worker);

/* What the desk says from now on; the worker's own thread. */
void places_tell(struct places *p, unsigned worker, uint64_t idle_since_ms, uint32_t idle_count);

/* One of these `idle_count` is to give way to a new one of the same worker. False: others have
 * asked for all of them. */
bool places_ask_own(struct places *p, unsigned worker, uint32_t idle_count);

/* places_tell() when a connection has gone, before its place is left: so many are to go, and this
 * one may be one of them. */
uint32_t places_tell_gone(struct places *p, unsigned worker, uint64_t idle_since_ms,
                          uint32_t idle_count);

#endif
