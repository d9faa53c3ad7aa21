/* schema_cluster: cluster and vip. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "conf/read/reader.h"
#include "conf/text/source.h"
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

static const struct conf_type type_bind = {
    .name = "address:port",
    .read = read_bind,
    .parts = {{offsetof(struct conf_cluster, bind_host), sizeof(char *), true},
              {offsetof(struct conf_cluster, bind_port), sizeof(uint16_t), false}},
    .pattern = CONF_PATTERN_ADDRESS,
};

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

static const struct conf_type type_host_port = {"host:port", read_host_port, NULL,
                                                CONF_TEXT,   BARE_NOTHING,   CONF_PATTERN_ADDRESS};

static CONF_READER(read_key)
{
    struct bytes text;
    (void)field;
    if (conf_text(r, value, "a key", &text) && !value_key(text, place)) {
        conf_problem(r, value,
                     "a key is exactly 32 bytes in base64 (44 characters); make one "
                     "with `difyring keygen`");
    }
}

static const struct conf_type type_key = {
    "key", read_key, NULL, CONF_PLAIN(uint8_t[32]), BARE_NOTHING, "^[A-Za-z0-9+/]{43}=$", true};

/* One key a line; empty lines and lines that begin with # are passed over. */
static void read_key_lines(struct conf_reader *r, const struct yaml_node *value, struct bytes rest,
                           struct conf_cluster *cluster)
{
    uint8_t key[32];
    bool told = false;
    cluster->keys = arena_array(r->arena, KEYS_MAX, sizeof *cluster->keys);
    cluster->key_count = 0;
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
            told = true;
        } else if (cluster->key_count == KEYS_MAX) {
            conf_problem(r, value, "the key file has more than %d keys", KEYS_MAX);
            return;
        } else {
            memcpy(cluster->keys[cluster->key_count++], key, sizeof key);
        }
    }
    if (cluster->key_count == 0) {
        conf_problem(r, value, "the key file has no key that can be used%s",
                     told ? "" : "; make one with `difyring keygen`");
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
        conf_problem(r, value, "the key file `%s` cannot be read: %s", path, reason);
        return;
    }
    ((struct conf_cluster *)place)->key_file = path;
    read_key_lines(r, value, (struct bytes){text, size}, place);
    explicit_bzero(text, size);
    free(text);
}

static const struct conf_type type_key_file = {
    .name = "path", .read = read_key_file, .bare = BARE_TEXT, .pattern = CONF_PATTERN_PATH};

/* key_file is read after keys and would hide them */
static void check_keys(struct conf_reader *r, const struct yaml_node *value, void *section)
{
    bool keys = yaml_tree_get(value, "keys"), key_file = yaml_tree_get(value, "key_file");
    (void)section;
    if (keys == key_file) {
        conf_problem(r, value,
                     keys ? "`keys` and `key_file` exclude each other; remove one"
                          : "`keys` (or `key_file`) is missing in `cluster`; make a key with "
                            "`difyring keygen`");
    }
}

static const struct conf_field cluster_fields[] = {
    {"name", &conf_type_name, AT(conf_cluster, name), .standard = "dify",
     .help = "other clusters' packets are ignored"},
    {"bind", &type_bind, .standard = "0.0.0.0:7946", .help = "UDP; a numeric address"},
    {"advertise", &type_host_port, AT(conf_cluster, advertise),
     .help = "without it, bind's port on the address that the other nodes see"},
    {"join", &conf_type_list, AT(conf_cluster, join), .min = 0, .max = JOIN_MAX,
     .items = "HOST:PORT", .item = &(const struct conf_field){.type = &type_host_port},
     .effect = CONF_LIVE, .help = "other nodes; looked up again and again"},
    {"keys", &conf_type_list, AT(conf_cluster, keys), .min = 1, .max = KEYS_MAX, .items = "keys",
     .item = &(const struct conf_field){.type = &type_key}, .effect = CONF_LIVE,
     .help = "32 bytes in base64 each (difyring keygen); the first sends. Required, or "
             "key_file"},
    {"key_file", &type_key_file, .effect = CONF_LIVE, .help = "instead of keys: one a line"},
    {"profile", &conf_type_choice, AT(conf_cluster, profile), .choices = gossip_profile_words,
     .standard = "lan", .help = "how far the nodes are from each other"},
    {"reap", &conf_type_duration, AT(conf_cluster, reap_ms), .min = 1000, .max = CONF_DURATION_MAX,
     .standard = "72h", .effect = CONF_LIVE, .help = "a dead member is forgotten after this"},
    {"reap_left", &conf_type_duration, AT(conf_cluster, reap_left_ms), .min = 1000,
     .max = CONF_DURATION_MAX, .standard = "1h", .effect = CONF_LIVE,
     .help = "one that left after this"},
    {0},
};

const struct conf_section conf_cluster = {
    .what = "`cluster`",
    .fields = cluster_fields,
    .size = sizeof(struct conf_cluster),
    .line = offsetof(struct conf_cluster, line),
    .check = check_keys,
    .rule = "\"oneOf\": [{\"required\": [\"keys\"]}, {\"required\": [\"key_file\"]}]"};

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

static const struct conf_type type_vip_address = {
    .name = "address/prefix",
    .read = read_vip_address,
    .parts = {{offsetof(struct conf_vip, address), sizeof(char *), true},
              {offsetof(struct conf_vip, prefix), sizeof(unsigned), false}},
    .pattern = CONF_PATTERN_CIDR,
};

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

static const struct conf_type type_interface = {
    "network interface",
    read_interface,
    NULL,
    CONF_TEXT,
    BARE_TEXT,
    "^(?!\\.)[^\\u0000- \\u007f-\\uffff\"'\\\\$#!~{}/]{1,15}$"};

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

static const struct conf_type type_track_file = {
    "path", read_track_file, NULL, CONF_TEXT, BARE_TEXT, "^[^\\u0000- \\u007f\"'\\\\$#!~{}]+$"};

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

static const struct conf_type type_advert_interval = {"duration",   read_advert_interval,
                                                      NULL,         CONF_PLAIN(uint64_t),
                                                      BARE_SECONDS, CONF_PATTERN_DURATION};

static CONF_READER(read_peer)
{
    struct bytes text;
    (void)field;
    if (conf_text(r, value, "an address", &text)) {
        *(const char **)place = text.at;
        if (!value_is_ip(text.at)) {
            conf_problem(r, value, "expected an IPv4 or IPv6 address, without a port");
        }
    }
}

static const struct conf_type type_peer = {"address", read_peer,    NULL,
                                           CONF_TEXT, BARE_NOTHING, "^[0-9A-Fa-f.:]+$"};

/* VRRP speaks of addresses of the family that it is spoken in (RFC 5798 §5.1). */
static void check_peer_families(struct conf_reader *r, const struct yaml_node *value, void *section)
{
    const struct conf_vip *vip = section;
    const struct yaml_node *list = yaml_tree_get(value, "peers");
    for (size_t i = 0; vip->address && i < vip->peer_count; i++) {
        const char *peer = vip->peers[i];
        if (peer && value_is_ip(peer) && !strchr(peer, ':') != !strchr(vip->address, ':')) {
            conf_problem(r, list->items[i],
                         "a peer is of the family of `address`: both IPv4 or both IPv6");
        }
    }
}

static const struct conf_field vip_fields[] = {
    {"address", &type_vip_address, .required = true, .help = "such as 10.0.0.100/24"},
    {"interface", &type_interface, AT(conf_vip, interface), .required = true, .effect = CONF_TOOL,
     .help = "that carries the address, such as eth0"},
    {"router_id", &conf_type_number, AT(conf_vip, router_id), .min = 1, .max = 255,
     .standard = "51", .effect = CONF_TOOL, .help = "the same on all nodes"},
    {"priority", &conf_type_number, AT(conf_vip, priority), .min = 1, .max = 254, .standard = "120",
     .effect = CONF_TOOL, .help = "the highest holds the address"},
    {"advert_interval", &type_advert_interval, AT(conf_vip, advert_interval_ms), .min = 10,
     .max = ADVERT_INTERVAL_MAX, .standard = "100ms", .effect = CONF_TOOL,
     .help = "a multiple of 10ms"},
    {"peers", &conf_type_list, AT(conf_vip, peers), .min = 0, .max = PEERS_MAX,
     .items = "addresses", .item = &(const struct conf_field){.type = &type_peer},
     .effect = CONF_TOOL, .help = "of the other nodes; without them, multicast"},
    {"track_file", &type_track_file, AT(conf_vip, track_file), .standard = "/run/difyring/vrrp",
     .help = "0 = ready to serve; keepalived reads it"},
    {0},
};

const struct conf_section conf_vip = {.what = "`vip`",
                                      .fields = vip_fields,
                                      .size = sizeof(struct conf_vip),
                                      .line = offsetof(struct conf_vip, line),
                                      .check = check_peer_families};
