/* relay_rules: nft(8) of the relay; nftables 1.0 and Linux 5.12 (`socket wildcard`) or newer. */
#include "vip/relay.h"

#include <assert.h>

/* An empty table before `delete`: to delete one that is not there is an error. */
static void drop_table(struct buffer *b, const char *family)
{
    buffer_append_format(b, "table %s difyring {\n}\ndelete table %s difyring\n", family, family);
}

static void append_set(struct buffer *b, const struct relay *r, const char *family, bool armed)
{
    buffer_append_format(b, "  set armed {\n    type %s_addr\n    flags timeout\n",
                         family[2] ? "ipv6" : "ipv4");
    if (armed && r->role == RELAY_MASTER) {
        buffer_append_format(b, "    elements = { %s timeout %us }\n", r->address, r->window_s);
    } else if (armed) {
        buffer_append_format(b, "    elements = { %s }\n", r->address);
    }
    buffer_append_text(b, "  }\n");
}

/* `socket wildcard 1` matches what finds only the listener: an established connection has an
 * address of its own, and a half-open or a waiting one is no full socket and never matches. */
static void append_chain(struct buffer *b, const struct relay *r, const char *family)
{
    static const char stray[] = "tcp flags & (syn|rst) == 0 socket wildcard 1";
    buffer_append_text(b, "  chain relay {\n"
                          "    type filter hook prerouting priority raw; policy accept;\n");
    buffer_append_format(b, "    %s daddr != @armed accept\n", family);
    if (r->peer_count > 1) {
        /* passed on to several: the one that does not know it leaves the answer to the others */
        buffer_append_format(b, "    iifname \"%s\" %s dscp %d %s drop\n", r->interface, family,
                             RELAY_DSCP, stray);
    }
    buffer_append_format(b, "    iifname \"%s\" %s dscp != %d %s %s dscp set %d counter",
                         r->interface, family, RELAY_DSCP, stray, family, RELAY_DSCP);
    for (size_t i = 0; i < r->peer_count; i++) {
        buffer_append_format(b, " dup to %s device \"%s\"", r->peers[i], r->interface);
    }
    buffer_append_text(b, " drop\n  }\n");
}

void relay_rules(struct buffer *b, const struct relay *r, bool armed)
{
    const char *family = strchr(r->address, ':') ? "ip6" : "ip";
    drop_table(b, family);
    if (r->role == RELAY_OFF) {
        return;
    }
    assert(r->peer_count > 0);
    buffer_append_format(b, "table %s difyring {\n", family);
    append_set(b, r, family, armed);
    append_chain(b, r, family);
    buffer_append_text(b, "}\n");
}
