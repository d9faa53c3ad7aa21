/* wire: between struct wire_packet and protobuf-c's structs.
 *
 * Encoding builds those structs on the stack, pointing into the packet, and lets protobuf-c measure
 * or write them. Decoding lets protobuf-c build them in one block of memory that is used anew for
 * every packet, checks every count before it copies, and then asks wire_check. Fields that this
 * version does not know are kept by protobuf-c and ignored here. */
#include "gossip/wire/wire.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>

#include "base/memory.h"
#include "gossip/wire/wire_check.h"
#include "proto/gossip.pb-c.h"

/* A submessage's tag and length: numbers up to 15 take one byte, sizes up to 16383 two. */
enum { SUBMESSAGE_OVERHEAD = 3 };

/* A packet as protobuf-c wants it. */
struct message {
    Gossip__Packet packet;
    Gossip__Row rows[WIRE_ROWS_MAX];
    Gossip__Row *row_at[WIRE_ROWS_MAX];
    Gossip__Delta deltas[WIRE_DELTAS_MAX];
    Gossip__Delta *delta_at[WIRE_DELTAS_MAX];
    Gossip__Entry entries[WIRE_ENTRIES_MAX];
    Gossip__Entry *entry_at[WIRE_ENTRIES_MAX];
    uint8_t addresses[WIRE_DELTAS_MAX][GOSSIP_ADDRESS_SIZE];
    uint8_t advertise[GOSSIP_ADDRESS_SIZE], seen[GOSSIP_ADDRESS_SIZE], holder[GOSSIP_ADDRESS_SIZE];
    uint32_t buckets[WIRE_BUCKETS_MAX];
};

/* protobuf-c has no const; it only reads what it encodes. */
static ProtobufCBinaryData data_of(const void *at, size_t size)
{
    return (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)at};
}

static ProtobufCBinaryData address_data(const struct gossip_address *a,
                                        uint8_t memory[GOSSIP_ADDRESS_SIZE])
{
    if (!gossip_address_known(a)) {
        return (ProtobufCBinaryData){0, NULL};
    }
    memcpy(memory, a->ip, sizeof(a->ip));
    memory[16] = (uint8_t)(a->port >> 8);
    memory[17] = (uint8_t)a->port;
    return data_of(memory, GOSSIP_ADDRESS_SIZE);
}

static Gossip__Row row_message(const struct wire_row *row)
{
    Gossip__Row m = GOSSIP__ROW__INIT;
    m.id = row->id;
    m.generation = row->generation;
    m.incarnation = row->incarnation;
    m.state = (Gossip__State)row->state;
    m.urgent = row->versions[WIRE_URGENT];
    m.bulk = row->versions[WIRE_BULK];
    m.raised = row->raised;
    return m;
}

static Gossip__Entry entry_message(const struct wire_entry *entry)
{
    Gossip__Entry m = GOSSIP__ENTRY__INIT;
    m.key = data_of(entry->key.at, entry->key.size);
    m.version = entry->version;
    m.tombstone = entry->tombstone;
    m.value = data_of(entry->value.at, entry->value.size);
    return m;
}

/* Without its entries. */
static Gossip__Delta delta_message(const struct wire_delta *d, uint8_t address[GOSSIP_ADDRESS_SIZE])
{
    Gossip__Delta m = GOSSIP__DELTA__INIT;
    m.name = data_of(d->name.at, d->name.size);
    m.generation = d->generation;
    m.incarnation = d->incarnation;
    m.state = (Gossip__State)d->state;
    m.address = address_data(&d->address, address);
    m.priority = (Gossip__Priority)d->priority;
    m.since = d->base;
    m.top = d->top;
    return m;
}

static void build_rows(const struct wire_packet *p, struct message *m)
{
    assert(p->row_count <= WIRE_ROWS_MAX);
    for (size_t i = 0; i < p->row_count; i++) {
        m->rows[i] = row_message(&p->rows[i]);
        m->row_at[i] = &m->rows[i];
    }
    m->packet.n_rows = p->row_count;
    m->packet.rows = m->row_at;
}

static void build_deltas(const struct wire_packet *p, struct message *m)
{
    assert(p->delta_count <= WIRE_DELTAS_MAX && p->entry_count <= WIRE_ENTRIES_MAX);
    for (size_t i = 0; i < p->entry_count; i++) {
        m->entries[i] = entry_message(&p->entries[i]);
        m->entry_at[i] = &m->entries[i];
    }
    for (size_t i = 0; i < p->delta_count; i++) {
        const struct wire_delta *d = &p->deltas[i];
        assert(d->first_entry <= p->entry_count);
        assert(d->entry_count <= p->entry_count - d->first_entry);
        m->deltas[i] = delta_message(d, m->addresses[i]);
        m->deltas[i].n_entries = d->entry_count;
        m->deltas[i].entries = &m->entry_at[d->first_entry];
        m->delta_at[i] = &m->deltas[i];
    }
    m->packet.n_deltas = p->delta_count;
    m->packet.deltas = m->delta_at;
}

static void build(const struct wire_packet *p, struct message *m)
{
    static const uint8_t zeros[SEAL_PLAIN_MAX];
    assert(p->bucket_count <= WIRE_BUCKETS_MAX && p->padding <= sizeof(zeros));
    gossip__packet__init(&m->packet);
    m->packet.type = (Gossip__Type)p->type;
    m->packet.name = data_of(p->name.at, p->name.size);
    m->packet.generation = p->generation;
    m->packet.incarnation = p->incarnation;
    m->packet.leaving = p->leaving;
    m->packet.advertise = address_data(&p->advertise, m->advertise);
    m->packet.raised = p->raised;
    m->packet.seen = address_data(&p->seen, m->seen);
    m->packet.holder = address_data(&p->holder, m->holder);
    m->packet.sequence = p->sequence;
    m->packet.target = p->target;
    m->packet.summary = p->summary;
    m->packet.member_count = p->member_count;
    build_rows(p, m);
    memcpy(m->buckets, p->buckets, p->bucket_count * sizeof(p->buckets[0]));
    m->packet.n_buckets = p->bucket_count;
    m->packet.buckets = m->buckets;
    build_deltas(p, m);
    m->packet.digest = data_of(p->digest.at, p->digest.size);
    m->packet.offset = p->offset;
    m->packet.chunk = data_of(p->chunk.at, p->chunk.size);
    m->packet.text_size = p->text_size;
    m->packet.padding = data_of(zeros, p->padding);
}

size_t wire_row_size(const struct wire_row *row)
{
    Gossip__Row m = row_message(row);
    return SUBMESSAGE_OVERHEAD + gossip__row__get_packed_size(&m);
}

size_t wire_delta_size(const struct wire_delta *delta)
{
    uint8_t address[GOSSIP_ADDRESS_SIZE];
    Gossip__Delta m = delta_message(delta, address);
    return SUBMESSAGE_OVERHEAD + gossip__delta__get_packed_size(&m);
}

size_t wire_entry_size(const struct wire_entry *entry)
{
    Gossip__Entry m = entry_message(entry);
    return SUBMESSAGE_OVERHEAD + gossip__entry__get_packed_size(&m);
}

size_t wire_size(const struct wire_packet *p)
{
    struct message m;
    build(p, &m);
    return gossip__packet__get_packed_size(&m.packet);
}

size_t wire_encode(const struct wire_packet *p, uint8_t ret_plain[SEAL_PLAIN_MAX])
{
    assert(wire_holds(p));
    struct message m;
    build(p, &m);
    assert(gossip__packet__get_packed_size(&m.packet) <= SEAL_PLAIN_MAX);
    return gossip__packet__pack(&m.packet, ret_plain);
}

/* Taken from the front to the back, and all given back at once by the next wire_decode(). */
struct wire_memory {
    size_t used;
    ProtobufCAllocator allocator;
    alignas(max_align_t) uint8_t block[WIRE_MEMORY_MAX];
};

static void *take(void *memory, size_t size)
{
    struct wire_memory *m = memory;
    if (size > sizeof(m->block) - m->used) {
        return NULL; /* protobuf-c gives up */
    }
    void *taken = &m->block[m->used];
    size_t rest = size % alignof(max_align_t);
    m->used += rest ? size + alignof(max_align_t) - rest : size;
    return taken;
}

static void leave(void *memory, void *taken)
{
    (void)memory;
    (void)taken;
}

struct wire_memory *wire_memory_new(void)
{
    struct wire_memory *m = memory_new(sizeof(*m));
    m->allocator = (ProtobufCAllocator){take, leave, m};
    return m;
}

void wire_memory_free(struct wire_memory *m)
{
    free(m);
}

static struct bytes bytes_in(ProtobufCBinaryData data)
{
    return (struct bytes){(const char *)data.data, data.len};
}

/* Nothing, or an address that is known. */
static bool read_address(ProtobufCBinaryData data, struct gossip_address *ret_address)
{
    if (data.len == 0) {
        return true;
    }
    if (data.len != GOSSIP_ADDRESS_SIZE) {
        return false;
    }
    memcpy(ret_address->ip, data.data, sizeof(ret_address->ip));
    ret_address->port = (uint16_t)(data.data[16] << 8 | data.data[17]);
    return gossip_address_known(ret_address);
}

static bool read_rows(const Gossip__Packet *m, struct wire_packet *ret_packet)
{
    if (m->n_rows > WIRE_ROWS_MAX) {
        return false;
    }
    for (size_t i = 0; i < m->n_rows; i++) {
        const Gossip__Row *row = m->rows[i];
        ret_packet->rows[i] = (struct wire_row){
            .id = row->id,
            .generation = row->generation,
            .incarnation = row->incarnation,
            .state = (enum wire_state)row->state,
            .versions = {[WIRE_URGENT] = row->urgent, [WIRE_BULK] = row->bulk},
            .raised = row->raised,
        };
    }
    ret_packet->row_count = m->n_rows;
    return true;
}

/* Behind the entries that are there already. */
static bool read_entries(const Gossip__Delta *m, struct wire_packet *ret_packet)
{
    if (m->n_entries > WIRE_ENTRIES_MAX - ret_packet->entry_count) {
        return false;
    }
    for (size_t i = 0; i < m->n_entries; i++) {
        const Gossip__Entry *entry = m->entries[i];
        ret_packet->entries[ret_packet->entry_count++] = (struct wire_entry){
            .key = bytes_in(entry->key),
            .version = entry->version,
            .tombstone = entry->tombstone,
            .value = bytes_in(entry->value),
        };
    }
    return true;
}

static bool read_deltas(const Gossip__Packet *m, struct wire_packet *ret_packet)
{
    if (m->n_deltas > WIRE_DELTAS_MAX) {
        return false;
    }
    for (size_t i = 0; i < m->n_deltas; i++) {
        const Gossip__Delta *delta = m->deltas[i];
        ret_packet->deltas[i] = (struct wire_delta){
            .name = bytes_in(delta->name),
            .generation = delta->generation,
            .incarnation = delta->incarnation,
            .state = (enum wire_state)delta->state,
            .priority = (enum wire_priority)delta->priority,
            .base = delta->since,
            .top = delta->top,
            .first_entry = ret_packet->entry_count,
            .entry_count = delta->n_entries,
        };
        if (!read_address(delta->address, &ret_packet->deltas[i].address) ||
            !read_entries(delta, ret_packet)) {
            return false;
        }
    }
    ret_packet->delta_count = m->n_deltas;
    return true;
}

/* Zeros only: what is ignored must not be a place to hide something in. */
static bool read_padding(ProtobufCBinaryData data, struct wire_packet *ret_packet)
{
    for (size_t i = 0; i < data.len; i++) {
        if (data.data[i] != 0) {
            return false;
        }
    }
    ret_packet->padding = (uint32_t)data.len;
    return true;
}

/* Field by field: 12 kB of rows, deltas and entries would have to be zeroed else for each packet.
 */
static bool read_packet(const Gossip__Packet *m, struct wire_packet *ret_packet)
{
    static const struct gossip_address nowhere;
    ret_packet->type = (enum wire_type)m->type;
    ret_packet->name = bytes_in(m->name);
    ret_packet->generation = m->generation;
    ret_packet->incarnation = m->incarnation;
    ret_packet->leaving = m->leaving;
    ret_packet->advertise = ret_packet->seen = ret_packet->holder = nowhere;
    ret_packet->raised = m->raised;
    ret_packet->sequence = m->sequence;
    ret_packet->summary = m->summary;
    ret_packet->target = m->target;
    ret_packet->member_count = m->member_count;
    ret_packet->row_count = ret_packet->delta_count = ret_packet->entry_count = 0;
    ret_packet->digest = bytes_in(m->digest);
    ret_packet->offset = m->offset;
    ret_packet->text_size = m->text_size;
    ret_packet->chunk = bytes_in(m->chunk);
    if (m->n_buckets > WIRE_BUCKETS_MAX) {
        return false;
    }
    if (m->n_buckets > 0) {
        memcpy(ret_packet->buckets, m->buckets, m->n_buckets * sizeof(m->buckets[0]));
    }
    ret_packet->bucket_count = m->n_buckets;
    return read_address(m->advertise, &ret_packet->advertise) &&
           read_address(m->seen, &ret_packet->seen) &&
           read_address(m->holder, &ret_packet->holder) && read_rows(m, ret_packet) &&
           read_deltas(m, ret_packet) && read_padding(m->padding, ret_packet);
}

bool wire_decode(struct wire_memory *memory, struct bytes plain, struct wire_packet *ret_packet)
{
    memory->used = 0;
    if (plain.size > SEAL_PLAIN_MAX) {
        return false;
    }
    const Gossip__Packet *m =
        gossip__packet__unpack(&memory->allocator, plain.size, (const uint8_t *)plain.at);
    return m && read_packet(m, ret_packet) && wire_holds(ret_packet);
}
