/* relay_rules: nft(8) of the relay; nftables 1.0 and Linux 5.12 (`socket wildcard`) or newer. */
#include "vip/relay.h"

#include <assert.h>

enum {
    /* Connections that come in a window. With more of them, new ones fail until it is over. */
    FRESH_MAX = 1 << 18,
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
        "    timeout %us\n    size %d\n  }\n",
        type, r->address, type, r->window_s, FRESH_MAX);
}

/* What is this host's: a connection whose first segment was seen since it is armed, and one that is
 * established here (it has an address of its own: `wildcard 0`; a listener that is bound to the
 * virtual IP has one too, hence `bound`). A connection that waits for its end (TIME-WAIT) is not
 * enough: its numbers may be those of one that the peer has since. */
static void append_own(struct buffer *b, const struct relay *r, const char *family)
{
    buffer_append_format(b,
                         "    %s daddr != @armed accept\n"
                         "    tcp flags & (syn|ack) == syn update @fresh { %s saddr . tcp sport } "
                         "accept\n"
                         "    %s saddr . tcp sport @fresh accept\n",
                         family, family, family);
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

/* The set alone: connections that came since the address did stay known. */
static void append_master(struct buffer *b, const struct relay *r, const char *family, bool armed)
{
    buffer_append_format(b, "flush set %s difyring armed\n", family);
    if (armed) {
        buffer_append_format(b, "add element %s difyring armed { %s timeout %us }\n", family,
                             r->address, r->window_s);
    }
}

void relay_rules(struct buffer *b, const struct relay *r, bool armed)
{
    const char *family = family_of(r);
    switch (r->role) {
    case RELAY_MASTER:
        append_master(b, r, family, armed);
        break;
    case RELAY_STANDBY:
        assert(r->peer_count > 0);
        append_removal(b, family);
        buffer_append_format(b, "table %s difyring {\n", family);
        append_sets(b, r, family);
        append_chain(b, r, family);
        buffer_append_text(b, "}\n");
        break;
    case RELAY_OFF:
        append_removal(b, family);
        break;
    }
}
