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

#define CHAIN_HEAD                                                                                 \
    "  chain relay {\n"                                                                            \
    "    type filter hook prerouting priority raw; policy accept;\n"

/* An empty table before `delete`: to delete one that is not there is an error. */
static void append_removal(struct buffer *b, const char *family)
{
    buffer_append_format(b, "table %s difyring {\n}\ndelete table %s difyring\n", family, family);
}

/* Sets that are there keep what they hold. */
static void append_sets(struct buffer *b, const char *family)
{
    const char *type = family[2] ? "ipv6_addr" : "ipv4_addr";
    buffer_append_format(b,
                         "  set armed {\n    type %s\n    flags timeout\n  }\n"
                         "  set fresh {\n    type %s . inet_service\n    flags dynamic,timeout\n"
                         "    timeout %ds\n    size %d\n  }\n",
                         type, type, FRESH_SECONDS, FRESH_MAX);
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
    buffer_append_text(b, CHAIN_HEAD);
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

static void append_armed(struct buffer *b, const struct relay *r, const char *family,
                         bool peer_lives)
{
    buffer_append_format(b, "flush set %s difyring armed\n", family);
    if (r->role == RELAY_MASTER && !peer_lives) {
        return;
    }
    buffer_append_format(b, "add element %s difyring armed { %s", family, r->address);
    if (r->role == RELAY_MASTER) {
        buffer_append_format(b, " timeout %us", r->window_s);
    }
    buffer_append_text(b, " }\n");
}

/* Every role writes the chain anew, as it is wanted now: keepalived may have been told of another
 * address or other peers since its start. What is known of connections stays; a start forgets it,
 * and with it the sets, which may be those of another version. */
void relay_rules(struct buffer *b, const struct relay *r, bool peer_lives)
{
    bool six = strchr(r->address, ':') != NULL;
    const char *family = six ? "ip6" : "ip";
    append_removal(b, six ? "ip" : "ip6"); /* of an address of the other family, before */
    if (r->role == RELAY_START || r->role == RELAY_OFF) {
        append_removal(b, family);
    }
    if (r->role == RELAY_OFF) {
        return;
    }
    assert(r->peer_count > 0);
    buffer_append_format(b, "table %s difyring {\n" CHAIN_HEAD "  }\n}\n", family);
    buffer_append_format(b, "flush chain %s difyring relay\ntable %s difyring {\n", family, family);
    append_sets(b, family);
    append_chain(b, r, family);
    buffer_append_text(b, "}\n");
    append_armed(b, r, family, peer_lives);
}
