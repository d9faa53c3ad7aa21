/* cli_vrrp: `difyring vrrp-config`, and the two commands that its keepalived.conf calls. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "cli/cli.h"
#include "vip/guard.h"
#include "vip/keepalived.h"
#include "vip/relay.h"

static int family_of(const char *address)
{
    struct in6_addr parsed;
    if (inet_pton(AF_INET, address, &parsed) == 1) {
        return AF_INET;
    }
    return inet_pton(AF_INET6, address, &parsed) == 1 ? AF_INET6 : AF_UNSPEC;
}

/* However they are written: fd00::1 is fd00:0::1. */
static bool is_same_address(const char *one, const char *other)
{
    struct in6_addr a = {0}, b = {0};
    int family = family_of(one);
    return family != AF_UNSPEC && family == family_of(other) && inet_pton(family, one, &a) == 1 &&
           inet_pton(family, other, &b) == 1 && memcmp(&a, &b, sizeof(a)) == 0;
}

/* The host of `HOST:PORT` if it is an address, without brackets; "" if it is a name. */
static void address_in(const char *host_port, char ret_address[INET6_ADDRSTRLEN])
{
    const char *colon = strrchr(host_port, ':');
    size_t size = colon ? (size_t)(colon - host_port) : strlen(host_port);
    if (size > 2 && host_port[0] == '[') {
        host_port++;
        size -= 2;
    }
    ret_address[0] = '\0';
    if (size < INET6_ADDRSTRLEN) {
        memcpy(ret_address, host_port, size);
        ret_address[size] = '\0';
        if (family_of(ret_address) == AF_UNSPEC) {
            ret_address[0] = '\0';
        }
    }
}

static bool is_wildcard(const char *address)
{
    return strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;
}

/* The address by which the peers know this node: the one it advertises in the cluster, or is bound
 * to there. "" if the configuration names none of the peers' family. */
static void find_source(const struct conf *conf, char ret_source[INET6_ADDRSTRLEN])
{
    ret_source[0] = '\0';
    if (!conf->has_cluster || conf->vip.peer_count == 0) {
        return;
    }
    int family = family_of(conf->vip.peers[0]);
    if (conf->cluster.advertise) {
        address_in(conf->cluster.advertise, ret_source);
    } else if (!is_wildcard(conf->cluster.bind_host) &&
               strlen(conf->cluster.bind_host) < INET6_ADDRSTRLEN) {
        snprintf(ret_source, INET6_ADDRSTRLEN, "%s", conf->cluster.bind_host);
    }
    if (family_of(ret_source) != family) {
        ret_source[0] = '\0';
    }
}

/* keepalived's own choice is the interface's link-local address, which means nothing to a peer: the
 * first other one of the interface, as it is now. */
static void find_ipv6_source(const struct conf_vip *vip, char ret_source[INET6_ADDRSTRLEN])
{
    struct ifaddrs *all = NULL;
    getifaddrs(&all);
    for (struct ifaddrs *each = all; each && !ret_source[0]; each = each->ifa_next) {
        if (!each->ifa_addr || each->ifa_addr->sa_family != AF_INET6 ||
            strcmp(each->ifa_name, vip->interface) != 0) {
            continue;
        }
        const struct in6_addr *address =
            &((const struct sockaddr_in6 *)(const void *)each->ifa_addr)->sin6_addr;
        char text[INET6_ADDRSTRLEN];
        inet_ntop(AF_INET6, address, text, sizeof(text));
        if (!IN6_IS_ADDR_LINKLOCAL(address) && !is_same_address(text, vip->address)) {
            memcpy(ret_source, text, sizeof(text));
        }
    }
    freeifaddrs(all);
}

/* vip.peers without this node, which may stand in a list that is the same on all nodes. */
static size_t collect_peers(const struct conf_vip *vip, const char *source, const char **ret_peers)
{
    size_t count = 0;
    for (size_t i = 0; i < vip->peer_count; i++) {
        if (!is_same_address(vip->peers[i], source)) {
            ret_peers[count++] = vip->peers[i];
        }
    }
    return count;
}

static bool listens_on_vip(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listen_count; i++) {
        if (is_same_address(conf->listen[i].host, conf->vip.address)) {
            return true;
        }
    }
    return false;
}

/* keepalived runs elsewhere: what is relative to this folder means nothing to it. */
static char *absolute(const char *path, char ret_path[2 * PATH_MAX])
{
    char folder[PATH_MAX] = "";
    if (path[0] != '/' && !getcwd(folder, sizeof(folder))) {
        return NULL;
    }
    snprintf(ret_path, 2 * PATH_MAX, "%s%s%s", folder, folder[0] ? "/" : "", path);
    return ret_path;
}

static int print_config(const char *command, const struct conf *conf)
{
    char program[PATH_MAX] = "", track_file[2 * PATH_MAX], source[INET6_ADDRSTRLEN];
    const char *peers[RELAY_PEERS_MAX];
    struct buffer text = {0}, error = {0};
    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0 ||
        !absolute(conf->vip.track_file, track_file)) {
        return cli_failed(command, "cannot tell where this program is");
    }
    find_source(conf, source);
    if (!source[0] && conf->vip.peer_count > 0 && strchr(conf->vip.address, ':')) {
        find_ipv6_source(&conf->vip, source);
        if (!source[0]) {
            return cli_failed(
                command, "which of this host's IPv6 addresses the peers know is not clear: set "
                         "cluster.advertise");
        }
    }
    struct keepalived_options options = {
        .node = conf->node_name,
        .program = program,
        .interface = conf->vip.interface,
        .address = conf->vip.address,
        .prefix = conf->vip.prefix,
        .router_id = conf->vip.router_id,
        .priority = conf->vip.priority,
        .advert_interval_ms = conf->vip.advert_interval_ms,
        .peers = peers,
        .source = source[0] ? source : NULL,
        .track_file = track_file,
        .bound = listens_on_vip(conf),
        .port = conf->listen[0].port,
        .drain_ms = conf->timeouts.drain_ms,
    };
    options.peer_count = collect_peers(&conf->vip, source, peers);
    int code = CLI_FINE;
    if (keepalived_print(&text, &options, &error) == 0) {
        fwrite(text.data, 1, text.size, stdout);
    } else {
        code = cli_failed(command, "%.*s", (int)error.size, error.data);
    }
    buffer_done(&text);
    buffer_done(&error);
    return code;
}

int cli_vrrp_config(int argc, char **argv)
{
    static const char help[] = "usage: difyring vrrp-config -c FILE\n"
                               "\n"
                               "Prints this node's keepalived.conf, made from the `vip` section.\n"
                               "Run it where the node runs: the file names this program's path.\n"
                               "\n"
                               "  -c, --config FILE  the configuration; `-` is standard input\n"
                               "  -h, --help         this text\n";
    const char *file = NULL;
    int code = cli_only_config(argc, argv, help, &file);
    if (code >= 0) {
        return code;
    }
    struct conf *conf = cli_load(file);
    if (!conf) {
        return CLI_FAILED;
    }
    code = conf->has_vip ? print_config(argv[0], conf)
                         : cli_failed(argv[0],
                                      "%s has no `vip` section; add one with at least `address` "
                                      "and `interface`",
                                      file);
    conf_free(conf);
    return code;
}

int cli_vip_guard(int argc, char **argv)
{
    static const char help[] =
        "usage: difyring vip-guard --socket PATH\n"
        "\n"
        "A track script of keepalived: watches the heartbeat of the node with the socket PATH\n"
        "(its vip.track_file and `.sock`) for most of a second. Exits with 0 if the node lived "
        "all\n"
        "the time, and with 1 as soon as it has died, hangs or is not there.\n"
        "\n"
        "  -s, --socket PATH  the node's socket\n"
        "  -h, --help         this text\n";
    static const struct option names[] = {
        {"socket", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *path = NULL;
    for (;;) {
        switch (cli_option(argc, argv, names)) {
        case 's':
            path = optarg;
            break;
        case 'h':
            return cli_help(help);
        case CLI_OPTION_END:
            if (!path) {
                return cli_misused(argv[0], "--socket PATH is missing");
            }
            return guard_watch(path, GUARD_LIFE_MS, GUARD_SILENCE_MS) ? CLI_FINE : CLI_FAILED;
        default:
            return CLI_USAGE;
        }
    }
}

static const char relay_help[] =
    "usage: difyring vip-relay --role ROLE --interface NAME --address ADDRESS --peer ADDRESS...\n"
    "                          --port PORT --window SECONDS\n"
    "\n"
    "Called by keepalived, as root: lets open connections outlive a handover of the virtual IP.\n"
    "Puts the address on `lo` too, and an nftables rule in place that passes packets of\n"
    "connections which are not this host's on to the peers.\n"
    "\n"
    "  --role start     put all in place anew, be ready for a handover\n"
    "  --role standby   put in place what is not as it should be, be ready again\n"
    "  --role master    likewise; pass on for the window, if a peer lives, then no more\n"
    "  --role off       take everything away\n"
    "  --interface, --address, --peer   of the `vip` section; several peers: 10.0.0.12,+13 is\n"
    "                   10.0.0.12 and 10.0.0.13\n"
    "  --port           a port of the nodes, to see whether a peer's host lives\n"
    "  --window         how long a drain may last (timeouts.drain)\n"
    "  --bound          the nodes listen on the address itself, not on 0.0.0.0 or [::]\n"
    "  -h, --help       this text\n";

static bool read_number(const char *text, unsigned long max, unsigned long *ret_number)
{
    char *end;
    unsigned long number = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || number > max) {
        return false;
    }
    *ret_number = number;
    return true;
}

static bool read_role(const char *text, enum relay_role *ret_role)
{
    static const char *const roles[] = {[RELAY_START] = "start",
                                        [RELAY_STANDBY] = "standby",
                                        [RELAY_MASTER] = "master",
                                        [RELAY_OFF] = "off"};
    for (size_t i = 0; i < sizeof(roles) / sizeof(*roles); i++) {
        if (strcmp(text, roles[i]) == 0) {
            *ret_role = (enum relay_role)i;
            return true;
        }
    }
    return false;
}

/* `10.0.0.12,+13`: `+` is the address before up to its last separator. False if one is wrong or
 * there are too many; what was taken is in `r`, to be freed. */
static bool take_peers(struct relay *r, const char *list)
{
    char previous[INET6_ADDRSTRLEN] = "", peer[2 * INET6_ADDRSTRLEN];
    for (bool more = true; more;) {
        size_t size = strcspn(list, ","), kept = 0;
        if (*list == '+') {
            const char *end = strrchr(previous, strchr(previous, ':') ? ':' : '.');
            kept = end ? (size_t)(end + 1 - previous) : 0;
            list++;
            size--;
        }
        if (size >= INET6_ADDRSTRLEN || r->peer_count == RELAY_PEERS_MAX) {
            return false;
        }
        snprintf(peer, sizeof(peer), "%.*s%.*s", (int)kept, previous, (int)size, list);
        if (family_of(peer) == AF_UNSPEC) {
            return false;
        }
        memcpy(previous, peer, strlen(peer) + 1);
        r->peers[r->peer_count++] = memory_copy_text(peer, strlen(peer));
        more = list[size] == ',';
        list += size + 1;
    }
    return true;
}

enum { WINDOW_MAX = 7 * 24 * 3600 /* seconds; no drain lasts longer */ };

/* One option into `r`; false if its value is wrong. */
static bool take_relay_option(struct relay *r, int option)
{
    unsigned long number;
    switch (option) {
    case 'r':
        return read_role(optarg, &r->role);
    case 'i':
        r->interface = optarg;
        return optarg[0] && strcspn(optarg, "/\" \t\n") == strlen(optarg);
    case 'a':
        r->address = optarg;
        return family_of(optarg) != AF_UNSPEC;
    case 'p':
        return take_peers(r, optarg);
    case 'n':
        if (!read_number(optarg, UINT16_MAX, &number)) {
            return false;
        }
        r->port = (uint16_t)number;
        return true;
    case 'w':
        if (!read_number(optarg, WINDOW_MAX, &number) || number == 0) {
            return false;
        }
        r->window_s = (uint32_t)number;
        return true;
    case 'b':
        r->bound = true;
        return true;
    default:
        return false;
    }
}

static int apply_relay(const char *command, const struct relay *r)
{
    struct buffer error = {0};
    int code = CLI_FINE;
    if (relay_apply(r, &error) != 0) {
        code = cli_failed(command, "%.*s", (int)error.size, error.data);
    }
    buffer_done(&error);
    return code;
}

static int run_relay(int argc, char **argv, struct relay *relay)
{
    static const struct option names[] = {{"role", required_argument, NULL, 'r'},
                                          {"interface", required_argument, NULL, 'i'},
                                          {"address", required_argument, NULL, 'a'},
                                          {"peer", required_argument, NULL, 'p'},
                                          {"port", required_argument, NULL, 'n'},
                                          {"window", required_argument, NULL, 'w'},
                                          {"bound", no_argument, NULL, 'b'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (;;) {
        int option = cli_option(argc, argv, names);
        if (option == 'h') {
            return cli_help(relay_help);
        }
        if (option == CLI_OPTION_END) {
            break;
        }
        if (option == CLI_OPTION_WRONG) {
            return CLI_USAGE;
        }
        if (!take_relay_option(relay, option)) {
            return cli_misused(argv[0], "wrong value `%s`", optarg);
        }
    }
    if (!relay->interface || !relay->address ||
        (relay->role != RELAY_OFF && relay->peer_count == 0)) {
        return cli_misused(argv[0], "--interface, --address and --peer are needed");
    }
    return apply_relay(argv[0], relay);
}

int cli_vip_relay(int argc, char **argv)
{
    struct relay relay = {.role = RELAY_START, .window_s = 60};
    int code = run_relay(argc, argv, &relay);
    for (size_t i = 0; i < relay.peer_count; i++) {
        free(relay.peers[i]);
    }
    return code;
}
