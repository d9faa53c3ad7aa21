/* address: on which of this host's interfaces one address stands, as the kernel tells by netlink.
 *
 *   address_table_init() -> address_socket() -> send address_ask() -> each datagram into
 *   address_table_take()
 *
 * The table is pure: bytes in, what has changed out. Only the three socket functions touch the
 * machine. */
#ifndef VIP_ADDRESS_H
#define VIP_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ADDRESS_INTERFACES_MAX = 16, /* one address on more interfaces than that is not kept apart */
    ADDRESS_LOOPBACK = 1,        /* the index of `lo` in every network namespace */
    /* The metric (IFA_RT_PRIORITY) of an address that we put on `lo`: it has no other meaning
     * there, lives as long as the address, and `ip addr` shows it. */
    ADDRESS_MARK = 7946082,
    ADDRESS_DATAGRAM_SIZE = 32 * 1024, /* what the kernel fills at most in one answer */
};

struct address_table {
    uint8_t family; /* AF_INET or AF_INET6 */
    uint8_t bytes[16];
    size_t size; /* of the address: 4 or 16 */
    unsigned prefix;
    unsigned indexes[ADDRESS_INTERFACES_MAX];
    size_t count;
    bool whole; /* the first answer has ended: before that nothing is known */
};

/* False if `text` is no IPv4 or IPv6 address. */
bool address_table_init(struct address_table *t, const char *text);

/* Forgets what it knows, before the kernel is asked again. */
void address_table_forget(struct address_table *t);

/* Takes one datagram of RTM_NEWADDR, RTM_DELADDR and NLMSG_DONE messages; others are passed over,
 * a broken one ends the datagram. True if an entry was added or removed, or the table has just
 * become whole. */
bool address_table_take(struct address_table *t, const void *data, size_t size);

/* On an interface where neighbours can find it. */
bool address_table_held(const struct address_table *t);

/* On the loopback interface: the host keeps it when it is no longer the holder. */
bool address_table_kept(const struct address_table *t);

/* A non-blocking socket that hears of every address that comes or goes. -1 with errno. */
int address_socket(void);

/* Asks for all addresses there are. 0, or -1 with errno. */
int address_ask(int fd);

/* Puts the address on the loopback interface, or takes it off; that it was so already is no error.
 * Needs CAP_NET_ADMIN. 0, or a positive errno. */
int address_keep(const struct address_table *t, bool keep);

/* Takes every other address off the loopback interface that address_keep() had put there; it knows
 * them by ADDRESS_MARK. The same. */
int address_keep_no_other(const struct address_table *t);

#endif
