/* keepalived: section by section. Each line is followed by why it is there. */
#include "vip/keepalived.h"

#include <stdarg.h>
#include <stdio.h>

#include "vip/guard.h"

enum {
    COMMENT_COLUMN = 44, /* where the comments begin, if the setting is not longer */
    /* Above everything but the kernel's own threads; keepalived's work is microseconds. */
    RT_PRIORITY = 50,
    /* keepalived's default kills it after 10 ms without a system call, too few on a shared CPU */
    RT_MICROSECONDS = 200000,
    STARTUP_SECONDS = 5,
    LINE_MAX_SIZE = 1000, /* keepalived's MAXBUF is 1024, with the end */
};

/* One setting, then `# why`, which is "" where the lines inside say it. */
static void line(struct buffer *b, const char *why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void line(struct buffer *b, const char *why, const char *format, ...)
{
    char setting[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(setting, sizeof(setting), format, args);
    va_end(args);
    if (!*why) {
        buffer_append_format(b, "%s\n", setting);
    } else if (strlen(setting) > COMMENT_COLUMN) {
        size_t indent = strspn(setting, " ");
        buffer_append_format(b, "%*s# %s\n%s\n", (int)indent, "", why, setting);
    } else {
        buffer_append_format(b, "%-*s # %s\n", COMMENT_COLUMN, setting, why);
    }
}

static void append_head(struct buffer *b, const struct keepalived_options *o)
{
    buffer_append_format(
        b,
        "# keepalived.conf of %s, made by `difyring vrrp-config`; keepalived 2.2 or newer.\n"
        "# Make it again after a change of the `vip` section, and restart keepalived (a reload "
        "does\n"
        "# not run the startup script); the peers' differ in the node's name,\n"
        "# priority, unicast_src_ip and unicast_peer only. Nothing in here is secret.\n"
        "# Lines that begin with @host count only with `keepalived -i host`.\n\n",
        o->node);
}

/* One list, in which `+13` stands for the one before with another end: 64 times a whole address is
 * more than a line may hold. See cli/vrrp.c. */
static void append_peers(struct buffer *b, const struct keepalived_options *o)
{
    size_t last = 0; /* of the beginning that is not written again */
    for (size_t i = 0; i < o->peer_count; i++) {
        const char *peer = o->peers[i], *end = strrchr(peer, strchr(peer, ':') ? ':' : '.');
        size_t size = end ? (size_t)(end + 1 - peer) : 0;
        bool same = i > 0 && size == last && strncmp(peer, o->peers[i - 1], size) == 0;
        buffer_append_format(b, "%s%s%s", i > 0 ? "," : " --peer ", same ? "+" : "",
                             same ? peer + size : peer);
        last = size;
    }
}

static void append_relay_script(struct buffer *b, const struct keepalived_options *o,
                                const char *setting, const char *role, const char *why)
{
    struct buffer command = {0};
    buffer_append_format(&command, "%s \"%s vip-relay --role %s --interface %s --address %s",
                         setting, o->program, role, o->interface, o->address);
    buffer_append_format(&command, " --port %u --window %u", o->port,
                         (unsigned)((o->drain_ms + 999) / 1000));
    if (o->bound) {
        buffer_append_text(&command, " --bound");
    }
    append_peers(&command, o);
    buffer_append_format(b, "    # %s\n    %.*s\"\n", why, (int)command.size, command.data);
    buffer_done(&command);
}

static void append_global(struct buffer *b, const struct keepalived_options *o)
{
    buffer_append_text(b, "global_defs {\n");
    line(b, "in keepalived's own messages", "    router_id \"%s\"", o->node);
    line(b, "adverts in hundredths of a second, and IPv6", "    vrrp_version 3");
    line(b, "no check of addresses that the last advert already had",
         "    vrrp_skip_check_adv_addr");
    line(b, "of two holders, after a split, the one that stays tells the neighbours again",
         "    vrrp_higher_prio_send_advert true");
    line(b, "gratuitous ARP (IPv6: neighbour advertisements) at once, several: one may get lost",
         "    vrrp_garp_master_repeat 5");
    line(b, "and again a second later, for switches that were busy learning",
         "    vrrp_garp_master_delay 1");
    line(b, "and every 10 s: a neighbour that missed all of them is wrong no longer than that",
         "    vrrp_garp_master_refresh 10");
    line(b, "one of those is enough", "    vrrp_garp_master_refresh_repeat 1");
    line(b, "refuse scripts that anybody but root could change", "    enable_script_security");
    line(b, "the relay needs root; the guard only reads from a socket", "    script_user root");
    line(b, "an advert that is late by a few intervals costs the address: run before others",
         "    vrrp_rt_priority %d", RT_PRIORITY);
    line(b, "and do not get killed for that by its own limit", "    vrrp_rlimit_rttime %d",
         RT_MICROSECONDS);
    line(b, "nor wait for the disk", "    vrrp_no_swap");
    if (o->peer_count > 0) {
        append_relay_script(b, o, "startup_script", "start",
                            "before the first advert: be ready to pass on what belongs to "
                            "connections of the peer");
        line(b, "it takes milliseconds", "    startup_script_timeout %d", STARTUP_SECONDS);
    }
    buffer_append_text(b, "}\n\n");
}

static void append_trackers(struct buffer *b, const struct keepalived_options *o)
{
    buffer_append_text(b, "track_file difyring_ready {\n");
    line(b, "the node writes 0: ready, 1: starting, draining or unable", "    file \"%s\"",
         o->track_file);
    line(b, "not ready is a fault (the address goes), not a lower priority", "    weight 0");
    buffer_append_text(b, "}\n\n"
                          "# Watches the node's heartbeat and ends with an error as soon as the "
                          "process has died\n# or stands still, however it died; also from another "
                          "container.\n"
                          "vrrp_script difyring_alive {\n");
    buffer_append_format(b,
                         "    # every second anew; a run watches for %d ms of it\n"
                         "    script \"%s vip-guard --socket %s.sock\"\n",
                         GUARD_LIFE_MS, o->program, o->track_file);
    line(b, "keepalived's shortest", "    interval 1");
    line(b, "for a run that hangs itself", "    timeout 2");
    line(b, "one good second is enough to come back", "    rise 1");
    line(b, "the first error counts: it is already sure", "    fall 1");
    line(b, "no address before the node has been seen alive", "    init_fail");
    buffer_append_text(
        b, "}\n\n"
           "# The kernel's process events tell the same once more, even if the guard cannot run.\n"
           "# They exist in the host's own network namespace only: elsewhere (containers) this\n"
           "# would be a fault for ever. Hence only with `keepalived -i host`.\n");
    line(b, "", "@host vrrp_track_process difyring_process {");
    line(b, "by name and first parameter: not `difyring status`", "@host     process difyring run");
    line(b, "whatever follows `run`", "@host     param_match partial");
    line(b, "no process is a fault", "@host     weight 0");
    line(b, "one is enough", "@host     quorum 1");
    line(b, "", "@host }");
    buffer_append_text(b, "\n");
}

static void append_unicast(struct buffer *b, const struct keepalived_options *o)
{
    if (o->peer_count == 0) {
        buffer_append_text(b, "    # `vip.peers` is empty: adverts are multicast\n");
        return;
    }
    if (o->source) {
        line(b, "where the peers expect our adverts from", "    unicast_src_ip %s", o->source);
    } else {
        buffer_append_format(b,
                             "    # unicast_src_ip: keepalived takes the first address of %s. Set "
                             "cluster.advertise\n    # to an address of the peers' family to "
                             "choose another.\n",
                             o->interface);
    }
    buffer_append_text(b, "    unicast_peer {\n");
    for (size_t i = 0; i < o->peer_count; i++) {
        line(b, "no multicast needed: works in clouds and over routers", "        %s", o->peers[i]);
    }
    buffer_append_text(b, "    }\n");
    line(b, "nobody else's adverts count", "    check_unicast_src");
}

static void append_instance(struct buffer *b, const struct keepalived_options *o)
{
    buffer_append_text(b, "vrrp_instance difyring {\n");
    line(b, "where the address appears, and whose failing is a fault", "    interface %s",
         o->interface);
    line(b, "nobody is born the holder: first look whether there is one", "    state BACKUP");
    line(b, "a node that comes back does not take the address from one that works",
         "    nopreempt");
    line(b, "the same on all nodes of this address, unique on the network",
         "    virtual_router_id %u", o->router_id);
    line(b, "who is first when nobody holds it", "    priority %u", o->priority);
    buffer_append_format(
        b, "    # seconds; a silent holder is replaced after 3 of these and %llu ms\n",
        (unsigned long long)((256 - o->priority) * o->advert_interval_ms / 256));
    buffer_append_format(b, "    advert_int %llu.%02llu\n",
                         (unsigned long long)(o->advert_interval_ms / 1000),
                         (unsigned long long)(o->advert_interval_ms % 1000 / 10));
    append_unicast(b, o);
    buffer_append_text(b, "    virtual_ipaddress {\n");
    bool six = strchr(o->address, ':') != NULL;
    line(b,
         six ? "never the source of this host's own connections" : "the address of `vip.address`",
         "        %s/%u dev %s%s", o->address, o->prefix, o->interface,
         six ? " preferred_lft 0" : "");
    buffer_append_text(b, "    }\n    track_file {\n");
    line(b, "a planned drain hands over first", "        difyring_ready");
    buffer_append_text(b, "    }\n    track_script {\n");
    line(b, "a killed or hung node hands over at once", "        difyring_alive");
    buffer_append_text(b, "    }\n");
    line(b, "", "@host track_process {");
    line(b, "the same from the kernel's events", "@host     difyring_process");
    line(b, "", "@host }");
    if (o->peer_count > 0) {
        append_relay_script(b, o, "notify_master", "master",
                            "go on passing on, while the old holder drains, if it lives");
        append_relay_script(b, o, "notify_backup", "standby", "be ready for the next handover");
        append_relay_script(b, o, "notify_fault", "standby", "likewise");
    }
    buffer_append_text(b, "}\n");
}

/* keepalived.conf has quotes but no way to write one inside; `$`, `~` and `#` mean something. */
static int check_text(const char *what, const char *text, struct buffer *ret_error)
{
    for (const char *c = text; *c; c++) {
        if (*c <= ' ' || *c == 127 || strchr("\"'\\$#!~{}", *c)) {
            buffer_append_format(ret_error,
                                 "%s `%s` has a character that keepalived.conf cannot hold "
                                 "(spaces, quotes and any of \\ $ # ! ~ { })",
                                 what, text);
            return -1;
        }
    }
    return 0;
}

static int check_lines(struct bytes text, const struct keepalived_options *o,
                       struct buffer *ret_error)
{
    size_t begin = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.at[i] != '\n') {
            continue;
        }
        if (i - begin > LINE_MAX_SIZE) {
            buffer_append_format(
                ret_error,
                "vip: keepalived reads lines of at most %d characters, and one "
                "would have %zu; use fewer of the %zu vip.peers, or such as differ "
                "in their last part only",
                LINE_MAX_SIZE, i - begin, o->peer_count);
            return -1;
        }
        begin = i + 1;
    }
    return 0;
}

int keepalived_print(struct buffer *b, const struct keepalived_options *o, struct buffer *ret_error)
{
    if (check_text("the node's name", o->node, ret_error) != 0 ||
        check_text("vip.interface", o->interface, ret_error) != 0 ||
        check_text("vip.track_file", o->track_file, ret_error) != 0 ||
        check_text("the path of this program", o->program, ret_error) != 0) {
        return -1;
    }
    append_head(b, o);
    if (o->peer_count == 0) {
        buffer_append_text(b,
                           "# Open connections do not outlive a handover, for there is no peer of "
                           "the address's family\n# to pass their packets on to: a draining node "
                           "first waits for them and then hands over.\n\n");
    }
    append_global(b, o);
    append_trackers(b, o);
    append_instance(b, o);
    return check_lines(buffer_bytes(b), o, ret_error);
}
