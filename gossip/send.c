/* send: envelope, seal, hand out. */
#include <assert.h>

#include "gossip/private.h"

enum {
    /* The sender's identity (name 66, generation 11, incarnation 6, address 20, raised 8, flags and
     * type 4), one row of 48 and two addresses of 21. Nobody gets more out of us than he put in, so
     * HELLO and WELCOME are as large as the largest answer to them: "another process has your
     * name", with its row, its address and the asker's. */
    HELLO_PLAIN_SIZE = 208,
    PADDING_OVERHEAD = 4, /* the padding's own tag and length */
};

struct wire_packet *send_begin(struct gossip *g, enum wire_type type)
{
    const struct member *self = member_self(g);
    struct wire_packet *p = &g->out;
    p->type = type;
    p->name = bytes_of(self->name);
    p->generation = self->row.generation;
    p->incarnation = self->row.incarnation;
    p->leaving = g->leaving;
    p->advertise = g->advertise;
    p->raised = self->row.raised;
    p->summary = 0;
    p->seen = p->holder = (struct gossip_address){{0}, 0};
    p->sequence = 0;
    p->target = 0;
    p->member_count = 0;
    p->row_count = 0;
    p->bucket_count = 0;
    p->delta_count = 0;
    p->entry_count = 0;
    p->digest = (struct bytes){NULL, 0};
    p->offset = 0;
    p->text_size = 0;
    p->chunk = (struct bytes){NULL, 0};
    p->padding = 0;
    return p;
}

static struct bytes hand_out(struct gossip *g, const struct gossip_address *to,
                             const struct seal_session *session)
{
    assert(gossip_address_known(to));
    size_t plain_size = wire_encode(&g->out, g->plain);
    size_t size =
        seal_packet(g->seal, session, (struct bytes){(char *)g->plain, plain_size}, g->bytes);
    g->counters.packets_out[g->out.type]++;
    g->counters.bytes_out += size;
    struct bytes packet = {(char *)g->bytes, size};
    g->events->on_packet(g->owner, to, packet);
    return packet;
}

void send_bound(struct gossip *g, const struct gossip_address *to,
                const struct seal_session *session)
{
    hand_out(g, to, session);
}

/* Twenty bytes of a packet say where this node is reached: only where the source address does not,
 * or is not known to. Syncs say it always, so whatever changes on the way is known again. */
static void leave_out_address(struct gossip *g, const struct member *to)
{
    if (g->out.type != WIRE_SYN && gossip_address_equal(&to->sees, &g->advertise)) {
        g->out.advertise = (struct gossip_address){{0}, 0};
    }
}

void send_to(struct gossip *g, struct member *to)
{
    assert(to != member_self(g));
    if (hint_holds_back(to)) {
        return;
    }
    leave_out_address(g, to);
    if (to->peer && gossip_address_known(&to->row.address)) {
        struct bytes packet = hand_out(g, &to->row.address, seal_peer_session(to->peer));
        hint_note_sent(g, to, packet);
    } else {
        reach_contact(g, to);
    }
}

void send_pad(struct wire_packet *p, size_t plain_size)
{
    size_t size = wire_size(p) + PADDING_OVERHEAD;
    p->padding = size < plain_size ? (uint32_t)(plain_size - size) : 0;
}

void send_hello(struct gossip *g, const struct gossip_address *to)
{
    struct wire_packet *p = send_begin(g, WIRE_HELLO);
    send_pad(p, HELLO_PLAIN_SIZE);
    hand_out(g, to, NULL);
}

void send_add_rumours(struct gossip *g, struct wire_packet *p)
{
    struct list again; /* to be told more often: behind all others */
    list_init(&again);
    for (size_t i = 0; i < RUMOURS_PER_PACKET && !list_empty(&g->hot); i++) {
        struct member *m = LIST_ENTRY(g->hot.next, struct member, hot);
        p->rows[p->row_count++] = member_row(m);
        list_remove(&m->hot);
        m->hot_left--;
        if (m->hot_left > 0) {
            list_push_back(&again, &m->hot);
        }
    }
    while (!list_empty(&again)) {
        struct list *l = again.next;
        list_remove(l);
        list_push_back(&g->hot, l);
    }
}
