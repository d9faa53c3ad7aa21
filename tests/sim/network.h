/* network: carries packets between hosts, late, twice, out of order, or not at all.
 *
 * A host's address is 10.E.H.H for host H, where E counts its changes of address: what is sent to
 * an earlier address is lost. 10.255.x.x belongs to the adversary. */
#ifndef TESTS_SIM_NETWORK_H
#define TESTS_SIM_NETWORK_H

#include "base/bytes.h"
#include "gossip/wire/address.h"

struct host;
struct world;

/* Of the hints "nobody holds that port" from one host to another: see network.c. */
struct hint_credit {
    uint64_t at_us, left_us;
};

struct network {
    unsigned loss_permille, duplicate_permille, late_permille;
    uint64_t delay_min_us, delay_max_us; /* of most packets */
    uint64_t late_max_us;                /* of those that others overtake */
    bool *cut;                           /* [from * host_count + to]: nothing gets through */
    unsigned *own_loss;                  /* the same: of this way alone, permille */
    struct hint_credit *hint_credits;    /* [from * host_count + to] */
    size_t host_count;
    uint64_t packets, bytes; /* sent, lost ones too */
};

enum { NETWORK_ADVERSARY_HOST = 255 << 8 };

struct gossip_address network_address(uint32_t host, uint8_t epoch);

void network_init(struct network *n, size_t host_count);
void network_done(struct network *n);

void network_send(struct world *w, uint32_t from_host, const struct gossip_address *from,
                  const struct gossip_address *to, struct bytes packet);

/* Whose address it is now; NULL: nobody's. */
struct host *network_host(struct world *w, const struct gossip_address *a);

/* Nothing goes from `from` to `to` any more, or again. */
void network_cut(struct network *n, size_t from, size_t to, bool cut);
void network_heal(struct network *n);
/* So much of what a host sends gets lost besides, whoever it is for. */
void network_lose_from(struct network *n, size_t from, unsigned permille);
/* May anything that is sent from one to the other arrive? The loss that all have is left aside. */
bool network_carries(const struct network *n, size_t from, size_t to);
bool network_is_whole(const struct network *n);

#endif
