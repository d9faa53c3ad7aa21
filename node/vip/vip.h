/* vip: one node's view of the virtual IP: whether this host holds it, and what keepalived is told.
 *
 *   vip_open() -> vip_set_ready(), vip_beat()... -> vip_close() -> the loop runs out -> vip_free()
 *
 * Nothing is polled: the kernel tells of addresses (address.h) and of the track file (track.h).
 * Everything runs on the loop's thread. */
#ifndef VIP_VIP_H
#define VIP_VIP_H

#include "base/buffer.h"
#include "net/loop.h"

struct vip;

struct vip_events {
    /* Held or kept has changed; also once soon after vip_open(), when it is first known. */
    void (*on_change)(void *owner);
    /* Something is wrong with the file or the kernel's messages: an event for the log. */
    void (*on_trouble)(void *owner, const char *event, const char *reason);
};

/* `address` without prefix. The track file says `1` from here on; the pulse is on TRACK_FILE.sock.
 * NULL, with the reason appended and nothing open, on failure. Strings are copied, `events` is not.
 */
struct vip *vip_open(struct net_loop *loop, const char *address, const char *track_file,
                     const struct vip_events *events, void *owner, struct buffer *ret_error);

/* What the track file says: true = may hold the address. */
void vip_set_ready(struct vip *v, bool ready);

/* Every PULSE_INTERVAL_MS (pulse.h): this node is well, or not. One that is not ready and cannot
 * write so into the track file is not well: the guard then takes the address away. */
void vip_beat(struct vip *v, bool well);

/* The address is on one of this host's interfaces. */
bool vip_held(const struct vip *v);

/* The address is also on the loopback interface (relay.h): connections to it live on here when
 * another host becomes the holder. */
bool vip_kept(const struct vip *v);

/* The track file says `1` from here on. */
void vip_close(struct vip *v);
void vip_free(struct vip *v);

#endif
