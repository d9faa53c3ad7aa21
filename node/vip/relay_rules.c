/* relay_rules: nft(8) of the relay; nftables 1.0 and Linux 5.12 (`socket wildcard`) or newer. */
#include "vip/relay.h"

#include <assert.h>

enum {
    /* How long a connection is known by its first segment: longer than a handshake with a lost
     * packet. Not longer: a client may use the same port for a connection to the peer soon. Then it
     * is established, or on its way out, when a reset from the peer does no harm. */
    FRESH_SECONDS = 4,
    /* 32 000 new connections a second; those beyond are known once they are established. */
    FRESH_MAX = 1 << 17,
};

static const char *family_of(const struct relay *r)
{
    return strchr(r->address, ':') ? "ip6" : "ip";
}

/* An empty table before `delete`: to delete one that is not there is an error. */
static void append_removal(struct buffer *b, const char *family)
{
    buffer_append_format(b, "table %s difyring {\n}\ndelete table %s difyring\n", family, family);
}

static void append_sets(struct buffer *b, const struct relay *r, const char *family)
{
    const char *type = family[2] ? "ipv6_addr" : "ipv4_addr";
    buffer_append_format(
        b,
        "  set armed {\n    type %s\n    flags timeout\n    elements = { %s }\n  }\n"
        "  set fresh {\n    type %s . inet_service\n    flags dynamic,timeout\n"
        "    timeout %ds\n    size %d\n  }\n",
        type, r->address, type, FRESH_SECONDS, FRESH_MAX);
}

/* What is this host's: a connection whose first segment was seen lately, and one that is
 * established here (it has an address of its own: `wildcard 0`; a listener that is bound to the
 * virtual IP has one too, hence `bound`). A connection that waits for its end (TIME-WAIT) is not
 * enough: its numbers may be those of one that the peer has since. First segments are noted all the
 * time, since a handshake may be under way when the address is armed. */
static void append_own(struct buffer *b, const struct relay *r, const char *family)
{
    buffer_append_format(b,
                         "    %s daddr != %s accept\n"
                         "    tcp flags & (syn|ack) == syn update @fresh { %s saddr . tcp sport } "
                         "accept\n"
                         "    %s daddr != @armed accept\n"
                         "    %s saddr . tcp sport @fresh accept\n",
                         family, r->address, family, family, family);
    if (!r->bound) {
        buffer_append_text(b, "    socket wildcard 0 accept\n");
    }
}

static void append_chain(struct buffer *b, const struct relay *r, const char *family)
{
    buffer_append_text(b, "  chain relay {\n"
                          "    type filter hook prerouting priority raw; policy accept;\n");
    append_own(b, r, family);
    /* from a peer; with several, the one that does not know it leaves the answer to the others */
    buffer_append_format(b, "    %s dscp %d %s\n", family, RELAY_DSCP,
                         r->peer_count > 1 ? "drop" : "accept");
    buffer_append_format(b, "    iifname \"%s\" tcp flags & (syn|rst) == 0 %s dscp set %d counter",
                         r->interface, family, RELAY_DSCP);
    for (size_t i = 0; i < r->peer_count; i++) {
        buffer_append_format(b, " dup to %s", r->peers[i]);
    }
    buffer_append_text(b, " drop\n  }\n");
}

static void append_start(struct buffer *b, const struct relay *r, const char *family)
{
    assert(r->peer_count > 0);
    append_removal(b, family);
    buffer_append_format(b, "table %s difyring {\n", family);
    append_sets(b, r, family);
    append_chain(b, r, family);
    buffer_append_text(b, "}\n");
}

/* The set alone: what is known of connections stays. */
static void append_armed(struct buffer *b, const struct relay *r, const char *family, bool for_ever)
{
    buffer_append_format(b, "flush set %s difyring armed\nadd element %s difyring armed { %s",
                         family, family, r->address);
    if (!for_ever) {
        buffer_append_format(b, " timeout %us", r->window_s);
    }
    buffer_append_text(b, " }\n");
}

void relay_rules(struct buffer *b, const struct relay *r, bool peer_lives)
{
    const char *family = family_of(r);
    switch (r->role) {
    case RELAY_START:
        append_start(b, r, family);
        break;
    case RELAY_STANDBY:
        append_armed(b, r, family, true);
        break;
    case RELAY_MASTER:
        if (peer_lives) {
            append_armed(b, r, family, false);
        } else {
            buffer_append_format(b, "flush set %s difyring armed\n", family);
        }
        break;
    case RELAY_OFF:
        append_removal(b, family);
        break;
    }
}
