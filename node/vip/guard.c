/* guard: connect, poll, read. */
#include "vip/guard.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

/* Never waits: with a node that is stopped the queue of the socket fills up. */
static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool drained(int fd)
{
    char bytes[256];
    ssize_t size;
    do {
        size = recv(fd, bytes, sizeof(bytes), 0);
    } while (size > 0 || (size < 0 && errno == EINTR));
    return size < 0 && errno == EAGAIN;
}

bool guard_watch(const char *path, uint64_t life_ms, uint64_t silence_ms)
{
    int fd = connect_to(path);
    uint64_t now_ms = clock_monotonic_ms(), end_ms = now_ms + life_ms;
    uint64_t silent_ms = now_ms + silence_ms;
    bool alive = fd >= 0;
    while (alive && now_ms < end_ms) {
        uint64_t until_ms = silent_ms < end_ms ? silent_ms : end_ms;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int count = poll(&wait, 1, (int)(until_ms - now_ms));
        now_ms = clock_monotonic_ms();
        if (count > 0) {
            alive = drained(fd);
            silent_ms = now_ms + silence_ms;
        } else if (now_ms >= silent_ms) {
            alive = false;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return alive;
}
