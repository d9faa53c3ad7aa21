/* notify: sd_notify(3) by hand. */
#include "life/notify.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(to.sun_path)) {
        return;
    }
    memcpy(to.sun_path, path, strlen(path));
    if (path[0] == '@') {
        to.sun_path[0] = '\0'; /* an abstract address */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&to, size);
        close(fd);
    }
}

void notify_ready(void)
{
    notify("READY=1\n");
}

void notify_reloading(void)
{
    char text[64];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu\n",
             (unsigned long long)clock_monotonic_us());
    notify(text);
}

/* sd_watchdog_enabled(3) */
void notify_alive(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    if (getenv("WATCHDOG_USEC") && (!pid || strtol(pid, NULL, 10) == (long)getpid())) {
        notify("WATCHDOG=1\n");
    }
}

void notify_stopping(uint64_t within_ms)
{
    char text[80];
    snprintf(text, sizeof(text), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\n",
             (unsigned long long)within_ms * 1000);
    notify(text);
}
