/* slot: one ticket, and whose it is. */
#include "tls/slot.h"

#include <stddef.h>

#include "tls/client.h"
#include "tls/session.h"

void tls_slot_clear(struct tls_slot *s)
{
    if (s->ticket) {
        tls_ticket_free(s->ticket);
        tls_client_unref(s->client);
        *s = (struct tls_slot){NULL, NULL};
    }
}

struct ssl_session_st *tls_slot_ticket(struct tls_slot *s, struct tls_client *client)
{
    if (s->client != client) {
        tls_slot_clear(s);
    }
    return s->ticket;
}

void tls_slot_put(struct tls_slot *s, struct tls_client *client, struct ssl_session_st *ticket)
{
    tls_slot_clear(s);
    *s = (struct tls_slot){ticket, tls_client_ref(client)};
}
