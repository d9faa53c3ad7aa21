/* clash: two processes with one name (gossip/detect/namesake.c finds them): who hears both tells
 * all others by the key `clash`, so that every node names both addresses: an operator looks at any
 * of them. */
#include <stdio.h>

#include "cluster/private.h"
#include "proto/binary.h"
#include "proto/cluster.pb-c.h"

enum {
    CLASHES_MAX = 4, /* of one teller: what is beyond is told when there is room */
    TELL_MS = 1000,
    DETAIL_SIZE = 512,
    WHO_SIZE = 16 + GOSSIP_ADDRESS_TEXT_SIZE,
    ADDRESS_SIZE = 18,
    TOLD_MAX = 2 * CLASHES_MAX, /* at a time, of all tellers together */
    /* A name of 64, two addresses of 18, tags and lengths. */
    CLASH_SIZE_MAX = 112,
};
_Static_assert((int)CLASHES_MAX *(int)CLASH_SIZE_MAX <= (int)WIRE_VALUE_MAX, "one value");

/* Two processes with one name. */
struct clash {
    char name[NAMES_SIZE_MAX + 1];
    struct gossip_address holder, other;
    uint64_t seen_ms; /* of this node's own: when it heard both last */
};

/* What a member tells, and what this node has heard itself. */
struct clashes {
    struct clash at[CLASHES_MAX];
    size_t count;
    /* of this node: */
    bool changed;
    bool any;        /* somebody tells one: */
    uint64_t due_ms; /* persons are told of them next */
};

static struct clashes *own(const struct cluster *c)
{
    return topic_own(c, TOPIC_CLASH, sizeof(struct clashes));
}

/* ---- bytes ---- */

static ProtobufCBinaryData write_address(const struct gossip_address *a,
                                         uint8_t memory[ADDRESS_SIZE])
{
    if (!gossip_address_known(a)) {
        return (ProtobufCBinaryData){0, NULL};
    }
    memcpy(memory, a->ip, sizeof(a->ip));
    memory[16] = (uint8_t)(a->port >> 8);
    memory[17] = (uint8_t)a->port;
    return (ProtobufCBinaryData){ADDRESS_SIZE, memory};
}

static struct gossip_address read_address(const ProtobufCBinaryData *b)
{
    struct gossip_address a = {{0}, 0};
    if (b->len == ADDRESS_SIZE) {
        memcpy(a.ip, b->data, sizeof(a.ip));
        a.port = (uint16_t)(b->data[16] << 8 | b->data[17]);
    }
    return a;
}

/* ---- noting ---- */

static bool is_same(const struct clash *a, const struct clash *b)
{
    return strcmp(a->name, b->name) == 0 && gossip_address_equal(&a->holder, &b->holder) &&
           gossip_address_equal(&a->other, &b->other);
}

/* The one that it is already, or a free place; NULL: there is none. */
static struct clash *place_for(struct clashes *mine, const struct clash *clash)
{
    for (size_t i = 0; i < mine->count; i++) {
        if (is_same(&mine->at[i], clash)) {
            return &mine->at[i];
        }
    }
    if (mine->count == CLASHES_MAX) {
        return NULL;
    }
    mine->changed = true;
    return &mine->at[mine->count++];
}

static void tell_soon(struct cluster *c)
{
    struct clashes *mine = own(c);
    mine->due_ms = mine->any ? mine->due_ms : c->now_ms;
    mine->any = true;
}

void clash_heard(struct cluster *c, const char *name, const struct gossip_address *holder,
                 const struct gossip_address *other)
{
    struct clash clash = {.holder = *holder, .other = *other, .seen_ms = c->now_ms};
    snprintf(clash.name, sizeof(clash.name), "%s", name);
    struct clash *place = place_for(own(c), &clash);
    if (place) {
        *place = clash;
        tell_soon(c);
    }
}

static void take_clash(struct clashes *told, const Cluster__Clash *m)
{
    struct bytes name = bytes_in(m->name);
    if (told->count == CLASHES_MAX || !names_valid(name)) {
        return;
    }
    struct clash *clash = &told->at[told->count++];
    *clash = (struct clash){.holder = read_address(&m->holder), .other = read_address(&m->other)};
    memcpy(clash->name, name.at, name.size);
}

void clash_note(struct cluster *c, const struct topic_entry *e)
{
    struct clashes *told = topic_told(e->info, TOPIC_CLASH, sizeof(*told));
    struct bytes value = e->value;
    told->count = 0;
    Cluster__Clashes *m =
        value.at ? cluster__clashes__unpack(NULL, value.size, (const uint8_t *)value.at) : NULL;
    for (size_t i = 0; m && i < m->n_clashes; i++) {
        take_clash(told, m->clashes[i]);
    }
    if (m) {
        cluster__clashes__free_unpacked(m, NULL);
    }
    if (told->count > 0) {
        tell_soon(c);
    }
}

/* ---- telling ---- */

static void tell_all(struct cluster *c)
{
    struct clashes *mine = own(c);
    Cluster__Clashes all = CLUSTER__CLASHES__INIT;
    Cluster__Clash list[CLASHES_MAX];
    Cluster__Clash *pointers[CLASHES_MAX];
    uint8_t addresses[2 * CLASHES_MAX][ADDRESS_SIZE], value[CLASHES_MAX * CLASH_SIZE_MAX];
    all.n_clashes = mine->count;
    all.clashes = pointers;
    for (size_t i = 0; i < mine->count; i++) {
        struct clash *clash = &mine->at[i];
        cluster__clash__init(&list[i]);
        list[i].name = binary_of(bytes_of(clash->name));
        list[i].holder = write_address(&clash->holder, addresses[2 * i]);
        list[i].other = write_address(&clash->other, addresses[2 * i + 1]);
        pointers[i] = &list[i];
    }
    mine->changed = false;
    if (mine->count == 0) {
        topic_remove(c, TOPIC_CLASH);
        return;
    }
    size_t size = cluster__clashes__pack(&all, value);
    topic_set(c, TOPIC_CLASH, (struct bytes){(const char *)value, size});
}

/* Of what a node has heard itself only its own address may be unknown to it. */
static void describe(const struct gossip_address *address, bool heard, char ret_text[WHO_SIZE])
{
    char text[GOSSIP_ADDRESS_TEXT_SIZE];
    gossip_address_text(address, text);
    if (!text[0] && heard) {
        snprintf(ret_text, WHO_SIZE, "this one");
        return;
    }
    snprintf(ret_text, WHO_SIZE, "the one at %s", text[0] ? text : "an address that is not known");
}

static void tell_person(struct cluster *c, const struct clash *clash)
{
    const struct clashes *mine = own(c);
    bool heard = clash >= mine->at && clash < mine->at + CLASHES_MAX;
    char holder[WHO_SIZE], other[WHO_SIZE], detail[DETAIL_SIZE];
    describe(&clash->holder, heard, holder);
    describe(&clash->other, heard, other);
    snprintf(detail, sizeof(detail),
             "two processes have the name %s: %s, which started first, keeps it; %s serves its "
             "clients, but its votes and counts reach nobody; give each node a node.name of its "
             "own",
             clash->name, holder, other);
    c->events->on_problem(c->owner, "name_clash", clash->name, detail);
}

/* Each once, whoever tells it. */
static void collect(const struct clashes *told, const struct clash *found[TOLD_MAX],
                    size_t *found_count)
{
    for (size_t i = 0; told && i < told->count; i++) {
        bool known = *found_count == TOLD_MAX;
        for (size_t k = 0; k < *found_count && !known; k++) {
            known = is_same(found[k], &told->at[i]);
        }
        if (!known) {
            found[(*found_count)++] = &told->at[i];
        }
    }
}

static void tell_persons(struct cluster *c)
{
    struct clashes *mine = own(c);
    const struct clash *found[TOLD_MAX];
    size_t count = 0;
    collect(mine, found, &count);
    for (size_t i = 0; i < gossip_member_count(c->gossip); i++) {
        const struct gossip_member *m = gossip_member(c->gossip, i);
        const struct member_info *info = m->self || !is_up(m) ? NULL : info_of(c, m);
        collect(info ? info->told[TOPIC_CLASH] : NULL, found, &count);
    }
    for (size_t i = 0; i < count; i++) {
        tell_person(c, found[i]);
    }
    mine->any = count > 0;
    mine->due_ms = c->now_ms + TELL_MS;
}

/* The younger one asks again every join interval; who has not been heard for longer has ended, or
 * has another name now. */
static void forget_old(struct cluster *c)
{
    struct clashes *mine = own(c);
    size_t kept = 0;
    for (size_t i = 0; i < mine->count; i++) {
        if (c->now_ms < mine->at[i].seen_ms + CLUSTER_JOIN_INTERVALS * c->interval_ms) {
            mine->at[kept++] = mine->at[i];
        }
    }
    mine->changed = mine->changed || kept < mine->count;
    mine->count = kept;
}

void clash_settle(struct cluster *c)
{
    if (c->now_ms >= clash_deadline_ms(c)) {
        forget_old(c);
        tell_persons(c);
    }
    if (own(c)->changed) {
        tell_all(c);
    }
}

uint64_t clash_deadline_ms(const struct cluster *c)
{
    return own(c)->any ? own(c)->due_ms : UINT64_MAX;
}
