/* schema_cluster: cluster and vip. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "conf/reader.h"
#include "conf/source.h"
#include "conf/value.h"

enum {
    JOIN_MAX = 256,
    KEYS_MAX = 16,             /* a rotation needs 2 */
    KEY_FILE_SIZE_MAX = 65536, /* 16 keys and generous comments */
    PEERS_MAX = 64,
    INTERFACE_NAME_MAX = 15,    /* IFNAMSIZ without its NUL */
    ADVERT_INTERVAL_MAX = 40950 /* ms: VRRPv3 has 12 bits of centiseconds, RFC 5798 §5.2.7 */
};

/* ---- cluster ---- */

static CONF_READER(read_bind)
{
    struct conf_cluster *cluster = place;
    (void)field;
    conf_address(r, value, true, &cluster->bind_host, &cluster->bind_port);
}

static CONF_READER(read_host_port)
{
    const char *host;
    uint16_t port;
    (void)field;
    if (!conf_address(r, value, false, &host, &port)) {
        return;
    }
    if (port == 0) {
        conf_problem(r, value, "port 0 cannot be reached by others");
        return;
    }
    const char *wrong = value_no_host(host);
    if (wrong[0]) {
        conf_problem(r, value, "%s cannot be reached by others; name one host", wrong);
        return;
    }
    *(const char **)place = value->text.at;
}

static CONF_READER(read_join)
{
    struct conf_cluster *cluster = place;
    size_t count;
    if (!conf_is_list(r, field, value, "HOST:PORT", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    cluster->join = arena_array(r->arena, count, sizeof *cluster->join);
    cluster->join_count = count;
    for (size_t i = 0; i < count; i++) {
        read_host_port(r, field, items[i], &cluster->join[i]);
    }
}

static void allot_keys(struct conf_reader *r, struct conf_cluster *cluster, size_t count)
{
    cluster->keys = arena_array(r->arena, count, sizeof *cluster->keys);
}

static void add_key(struct conf_cluster *cluster, const uint8_t key[32])
{
    memcpy(cluster->keys[cluster->key_count++], key, 32);
}

static CONF_READER(read_keys)
{
    struct conf_cluster *cluster = place;
    struct bytes text;
    uint8_t key[32];
    size_t count;
    if (!conf_is_list(r, field, value, "keys", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    allot_keys(r, cluster, count);
    for (size_t i = 0; i < count; i++) {
        if (!conf_text(r, items[i], "a key", &text)) {
            continue;
        }
        if (value_key(text, key)) {
            add_key(cluster, key);
        } else {
            conf_problem(r, items[i],
                         "a key is exactly 32 bytes in base64 (44 characters); make one "
                         "with `difyring keygen`");
        }
    }
}

/* One key a line; empty lines and lines that begin with # are passed over. */
static void read_key_lines(struct conf_reader *r, const struct yaml_node *value, struct bytes rest,
                           struct conf_cluster *cluster)
{
    uint8_t key[32];
    allot_keys(r, cluster, KEYS_MAX);
    for (unsigned line = 1; rest.size > 0; line++) {
        const char *end = memchr(rest.at, '\n', rest.size);
        size_t size = end ? (size_t)(end - rest.at) : rest.size;
        struct bytes text = bytes_trim((struct bytes){rest.at, size});
        text.size -= text.size > 0 && text.at[text.size - 1] == '\r';
        size_t taken = end ? size + 1 : size;
        rest = (struct bytes){rest.at + taken, rest.size - taken};
        if (text.size == 0 || text.at[0] == '#') {
            continue;
        }
        if (!value_key(text, key)) {
            conf_problem(r, value,
                         "line %u of the key file is not 32 bytes in base64; make a key with "
                         "`difyring keygen`",
                         line);
        } else if (cluster->key_count == KEYS_MAX) {
            conf_problem(r, value, "the key file has more than %d keys", KEYS_MAX);
            return;
        } else {
            add_key(cluster, key);
        }
    }
    if (cluster->key_count == 0) {
        conf_problem(r, value, "the key file has no key that can be used");
    }
}

static CONF_READER(read_key_file)
{
    const char *path = NULL, *reason;
    char *text;
    size_t size;
    conf_read_path(r, field, value, &path);
    if (!path) {
        return;
    }
    if (source_read(path, SOURCE_FILES, KEY_FILE_SIZE_MAX, &text, &size, &reason) != 0) {
        conf_problem(r, value, "the key file cannot be read: %s", reason);
        return;
    }
    read_key_lines(r, value, (struct bytes){text, size}, place);
    explicit_bzero(text, size);
    free(text);
}

CONF_READER(conf_read_cluster)
{
    static const struct conf_field fields[] = {
        {"name", conf_read_name, .offset = offsetof(struct conf_cluster, name)},
        {"bind", read_bind, .offset = 0},
        {"advertise", read_host_port, .offset = offsetof(struct conf_cluster, advertise)},
        {"join", read_join, .offset = 0, .min = 0, .max = JOIN_MAX},
        {"keys", read_keys, .offset = 0, .min = 1, .max = KEYS_MAX},
        {"key_file", read_key_file, .offset = 0},
        {"profile", conf_read_choice, .offset = offsetof(struct conf_cluster, profile),
         .choices = gossip_profile_words},
        {0},
    };
    struct conf_cluster *cluster = place;
    (void)field;
    r->conf->has_cluster = true;
    cluster->line = value->line;
    cluster->column = value->column;
    /* key_file is read after keys and would hide them */
    if (!conf_read_section(r, fields, "`cluster`", value, cluster)) {
        return;
    }
    bool keys = yaml_tree_get(value, "keys"), key_file = yaml_tree_get(value, "key_file");
    if (keys == key_file) {
        conf_problem(r, value,
                     keys ? "`keys` and `key_file` exclude each other; remove one"
                          : "`keys` (or `key_file`) is missing in `cluster`; make a key with "
                            "`difyring keygen`");
    }
}

/* ---- vip ---- */

/* The first and the last address of an IPv4 network mean the network and all of it (RFC 3021: but
 * with a prefix of 31). */
static const char *no_virtual_ip(const char *address, unsigned prefix)
{
    struct in_addr v4;
    struct in6_addr v6;
    const char *wrong = value_no_host(address);
    if (wrong[0]) {
        return wrong;
    }
    if (inet_pton(AF_INET, address, &v4) != 1) {
        inet_pton(AF_INET6, address, &v6);
        return IN6_IS_ADDR_LOOPBACK(&v6) ? "a loopback address"
               : prefix == 0             ? "a prefix of 0"
                                         : "";
    }
    uint32_t number = ntohl(v4.s_addr), host = prefix < 31 ? UINT32_MAX >> prefix : 0;
    if (number >> 24 == IN_LOOPBACKNET) {
        return "a loopback address";
    }
    if (prefix == 0) {
        return "a prefix of 0";
    }
    if (host != 0 && ((number & host) == 0 || (number & host) == host)) {
        return (number & host) == 0 ? "the address of a whole network"
                                    : "a network's broadcast address";
    }
    return "";
}

static CONF_READER(read_vip_address)
{
    struct conf_vip *vip = place;
    struct cidr block;
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "ADDRESS/PREFIX", &text)) {
        return;
    }
    if (!value_cidr(text, &block)) {
        conf_problem(r, value, "expected ADDRESS/PREFIX, such as 10.0.0.100/24");
        return;
    }
    const char *slash = memchr(text.at, '/', text.size);
    struct bytes address = {text.at, slash ? (size_t)(slash - text.at) : text.size};
    bool v4 = !memchr(address.at, ':', address.size);
    vip->address = arena_text(r->arena, address);
    vip->prefix = block.prefix - (v4 ? 96U : 0U);
    const char *wrong = no_virtual_ip(vip->address, vip->prefix);
    if (wrong[0]) {
        conf_problem(r, value,
                     "%s cannot be a virtual IP; expected one host's, such as 10.0.0.100/24",
                     wrong);
    }
}

static CONF_READER(read_interface)
{
    struct bytes text;
    (void)field;
    if (!conf_text(r, value, "the name of a network interface", &text)) {
        return;
    }
    bool good = value_is_bearer(text) && text.size <= INTERFACE_NAME_MAX &&
                !memchr(text.at, '/', text.size) && text.at[0] != '.' &&
                value_fits_keepalived(text.at);
    if (!good) {
        conf_problem(r, value,
                     "the name of a network interface has 1 to %d visible characters without "
                     "spaces, quotes and any of / \\ $ # ! ~ { }",
                     INTERFACE_NAME_MAX);
        return;
    }
    *(const char **)place = text.at;
}

/* keepalived reads it, too. */
static CONF_READER(read_track_file)
{
    const char *path = NULL;
    conf_read_path(r, field, value, &path);
    if (path && !value_fits_keepalived(path)) {
        conf_problem(
            r, value,
            "keepalived.conf cannot hold this path (with its folder): it has spaces, quotes "
            "or any of \\ $ # ! ~ { }");
    } else if (path) {
        *(const char **)place = path;
    }
}

static CONF_READER(read_advert_interval)
{
    uint64_t ms = *(uint64_t *)place;
    conf_read_duration(r, field, value, &ms);
    if (ms % 10 != 0) {
        conf_problem(r, value, "must be a multiple of 10ms: VRRP counts in hundredths of a second");
        return;
    }
    *(uint64_t *)place = ms;
}

static CONF_READER(read_peers)
{
    struct conf_vip *vip = place;
    struct bytes text;
    size_t count;
    if (!conf_is_list(r, field, value, "addresses", &count)) {
        return;
    }
    struct yaml_node **items = value->items;
    vip->peers = arena_array(r->arena, count, sizeof *vip->peers);
    vip->peer_count = count;
    for (size_t i = 0; i < count; i++) {
        if (!conf_text(r, items[i], "an address", &text)) {
            continue;
        }
        vip->peers[i] = text.at;
        if (!value_is_ip(text.at)) {
            conf_problem(r, items[i], "expected an IPv4 or IPv6 address, without a port");
        }
    }
}

/* VRRP speaks of addresses of the family that it is spoken in (RFC 5798 §5.1). */
static void check_peer_families(struct conf_reader *r, const struct yaml_node *value,
                                const struct conf_vip *vip)
{
    const struct yaml_node *list = yaml_tree_get(value, "peers");
    for (size_t i = 0; vip->address && i < vip->peer_count; i++) {
        const char *peer = vip->peers[i];
        if (peer && value_is_ip(peer) && !strchr(peer, ':') != !strchr(vip->address, ':')) {
            conf_problem(r, list->items[i],
                         "a peer is of the family of `address`: both IPv4 or both IPv6");
        }
    }
}

CONF_READER(conf_read_vip)
{
    static const struct conf_field fields[] = {
        {"address", read_vip_address, .offset = 0, .required = true},
        {"interface", read_interface, .offset = offsetof(struct conf_vip, interface),
         .required = true},
        {"router_id", conf_read_number, .offset = offsetof(struct conf_vip, router_id), .min = 1,
         .max = 255},
        {"priority", conf_read_number, .offset = offsetof(struct conf_vip, priority), .min = 1,
         .max = 254},
        {"advert_interval", read_advert_interval,
         .offset = offsetof(struct conf_vip, advert_interval_ms), .min = 10,
         .max = ADVERT_INTERVAL_MAX},
        {"peers", read_peers, .offset = 0, .min = 0, .max = PEERS_MAX},
        {"track_file", read_track_file, .offset = offsetof(struct conf_vip, track_file)},
        {0},
    };
    struct conf_vip *vip = place;
    (void)field;
    r->conf->has_vip = true;
    vip->line = value->line;
    vip->column = value->column;
    if (conf_read_section(r, fields, "`vip`", value, vip)) {
        check_peer_families(r, value, vip);
    }
}
