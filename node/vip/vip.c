/* vip: the netlink socket, the track file and the pulse on one loop.
 *
 * vip_open() asks the kernel for all addresses, and on_netlink() hears the answer and each change
 * after it; where messages were lost all is asked for again. on_change is told once the table is
 * whole, and then when something differs. */
#include "vip/vip.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "vip/address.h"
#include "vip/pulse.h"
#include "vip/track.h"

struct vip {
    struct address_table addresses;
    struct track track;
    struct pulse pulse;
    uv_poll_t poll;
    int netlink;
    bool held, kept, told; /* what on_change has told */
    const struct vip_events *events;
    void *owner;
};

static void tell_change(struct vip *v)
{
    bool held = vip_held(v), kept = vip_kept(v);
    if (v->addresses.whole && (!v->told || held != v->held || kept != v->kept)) {
        v->told = true;
        v->held = held;
        v->kept = kept;
        v->events->on_change(v->owner);
    }
}

static void ask(struct vip *v)
{
    address_table_forget(&v->addresses);
    if (address_ask(v->netlink) != 0) {
        v->events->on_trouble(v->owner, "vip_watch_failed", strerror(errno));
    }
}

static void on_netlink(uv_poll_t *handle, int status, int events)
{
    struct vip *v = handle->data;
    char datagram[ADDRESS_DATAGRAM_SIZE];
    (void)status;
    (void)events;
    for (;;) {
        ssize_t size = recv(v->netlink, datagram, sizeof(datagram), 0);
        if (size > 0) {
            address_table_take(&v->addresses, datagram, (size_t)size);
        } else if (size < 0 && errno == ENOBUFS) {
            ask(v); /* messages were lost */
        } else if (size == 0 || errno != EINTR) {
            break;
        }
    }
    tell_change(v);
}

static int open_watch(struct vip *v, struct net_loop *loop, struct buffer *ret_error)
{
    v->netlink = address_socket();
    if (v->netlink < 0) {
        buffer_append_format(ret_error, "vip: cannot ask the kernel for addresses: %s",
                             strerror(errno));
        return -1;
    }
    uv_poll_init(&loop->uv, &v->poll, v->netlink);
    v->poll.data = v;
    uv_poll_start(&v->poll, UV_READABLE, on_netlink);
    return 0;
}

static void close_watch(struct vip *v)
{
    uv_close((uv_handle_t *)&v->poll, NULL);
    close(v->netlink);
    v->netlink = -1;
}

static void on_track_trouble(void *owner, const char *what, const char *reason)
{
    struct vip *v = owner;
    v->events->on_trouble(v->owner, what, reason);
}

static int open_all(struct vip *v, struct net_loop *loop, const char *track_file,
                    struct buffer *ret_error)
{
    struct buffer path = {0};
    v->track.on_trouble = on_track_trouble;
    v->track.owner = v;
    if (track_open(&v->track, &loop->uv, track_file, ret_error) != 0) {
        return -1;
    }
    buffer_append_format(&path, "%s.sock", track_file);
    buffer_append(&path, "", 1);
    int error = pulse_open(&v->pulse, &loop->uv, path.data, ret_error);
    buffer_done(&path);
    if (error) {
        track_close(&v->track);
        return -1;
    }
    if (open_watch(v, loop, ret_error) != 0) {
        pulse_close(&v->pulse);
        track_close(&v->track);
        return -1;
    }
    return 0;
}

struct vip *vip_open(struct net_loop *loop, const char *address, const char *track_file,
                     const struct vip_events *events, void *owner, struct buffer *ret_error)
{
    struct vip *v = memory_new(sizeof(*v));
    v->events = events;
    v->owner = owner;
    if (!address_table_init(&v->addresses, address)) {
        buffer_append_format(ret_error, "vip.address: %s is no address", address);
        free(v);
        return NULL;
    }
    if (open_all(v, loop, track_file, ret_error) != 0) {
        uv_run(&loop->uv, UV_RUN_NOWAIT); /* its handles close */
        vip_free(v);
        return NULL;
    }
    ask(v);
    return v;
}

void vip_set_ready(struct vip *v, bool ready)
{
    track_set(&v->track, ready);
}

void vip_beat(struct vip *v, bool well)
{
    bool told = track_beat(&v->track);
    if (pulse_restore(&v->pulse)) {
        v->events->on_trouble(v->owner, "pulse_restored", "its socket was removed or changed");
    }
    pulse_beat(&v->pulse, well && told);
}

bool vip_held(const struct vip *v)
{
    return address_table_held(&v->addresses);
}

bool vip_kept(const struct vip *v)
{
    return address_table_kept(&v->addresses);
}

void vip_close(struct vip *v)
{
    close_watch(v);
    pulse_close(&v->pulse);
    track_close(&v->track);
}

void vip_free(struct vip *v)
{
    track_done(&v->track);
    free(v);
}
