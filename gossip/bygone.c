/* bygone: sessions that ended with a member's row, or with its next start.
 *
 * A packet bound to our session verifies for as long as we run, and only its sender's window tells
 * whether it was seen. The window goes with the row. Without this a recorded packet of a member
 * that was forgotten would bring its row back, and end that it is forgotten. */
#include "gossip/private.h"

static struct bygone *find(const struct gossip *g, const struct seal_session *session)
{
    for (size_t i = 0; i < BYGONE_MAX; i++) {
        const struct bygone *b = &g->bygone[i];
        if (b->top != 0 && memcmp(&b->session, session, sizeof(*session)) == 0) {
            return (struct bygone *)(uintptr_t)b;
        }
    }
    return NULL;
}

void bygone_note(struct gossip *g, const struct seal_session *session, uint64_t top)
{
    struct bygone *b = find(g, session);
    if (!b) {
        b = &g->bygone[g->bygone_next++ % BYGONE_MAX];
        *b = (struct bygone){.session = *session};
    }
    b->top = top > b->top ? top : b->top;
}

uint64_t bygone_top(const struct gossip *g, const struct seal_session *session)
{
    const struct bygone *b = find(g, session);
    return b ? b->top : 0;
}
