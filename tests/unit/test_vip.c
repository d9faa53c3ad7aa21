/* The pure half of the vip room: the kernel's messages, the relay's rules, keepalived.conf. */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "vip/address.h"
#include "vip/keepalived.h"
#include "vip/relay.h"

enum { LO = 1, ETH0 = 2, ETH1 = 3 };

/* One message of the kernel's, as it says that an address is, or is no more, on an interface. */
struct message {
    struct nlmsghdr header;
    struct ifaddrmsg body;
    char attributes[RTA_SPACE(16)];
};

static struct message message_of(uint16_t type, const char *address, unsigned index)
{
    struct message m = {.header = {.nlmsg_type = type}, .body = {.ifa_index = index}};
    bool six = strchr(address, ':') != NULL;
    struct rtattr *a = (struct rtattr *)m.attributes;
    m.body.ifa_family = six ? AF_INET6 : AF_INET;
    a->rta_type = six ? IFA_ADDRESS : IFA_LOCAL;
    a->rta_len = (unsigned short)RTA_LENGTH(six ? 16 : 4);
    inet_pton(m.body.ifa_family, address, RTA_DATA(a));
    m.header.nlmsg_len = NLMSG_LENGTH(sizeof(m.body)) + (uint32_t)RTA_SPACE(six ? 16 : 4);
    return m;
}

static bool tell(struct address_table *t, uint16_t type, const char *address, unsigned index)
{
    struct message m = message_of(type, address, index);
    return address_table_take(t, &m, m.header.nlmsg_len);
}

static struct address_table table_of(const char *address)
{
    struct address_table t;
    assert_true(address_table_init(&t, address));
    return t;
}

static void an_address_on_an_outer_interface_is_held_until_it_goes(void **state)
{
    struct address_table t = table_of("10.0.0.100");
    (void)state;
    assert_false(address_table_held(&t));
    assert_true(tell(&t, RTM_NEWADDR, "10.0.0.100", ETH0));
    assert_true(address_table_held(&t));
    assert_false(address_table_kept(&t));
    assert_false(tell(&t, RTM_NEWADDR, "10.0.0.100", ETH0)); /* no news */
    assert_true(tell(&t, RTM_DELADDR, "10.0.0.100", ETH0));
    assert_false(address_table_held(&t));
}

static void on_loopback_alone_it_is_kept_and_not_held(void **state)
{
    struct address_table t = table_of("10.0.0.100");
    (void)state;
    tell(&t, RTM_NEWADDR, "10.0.0.100", LO);
    assert_true(address_table_kept(&t));
    assert_false(address_table_held(&t));
    tell(&t, RTM_NEWADDR, "10.0.0.100", ETH1);
    assert_true(address_table_held(&t));
    tell(&t, RTM_DELADDR, "10.0.0.100", ETH1);
    assert_true(address_table_kept(&t) && !address_table_held(&t));
}

static void other_addresses_are_passed_over(void **state)
{
    struct address_table t = table_of("fd00::100");
    (void)state;
    assert_false(tell(&t, RTM_NEWADDR, "10.0.0.100", ETH0));
    assert_false(tell(&t, RTM_NEWADDR, "fd00::101", ETH0));
    assert_true(tell(&t, RTM_NEWADDR, "fd00::100", ETH0));
    assert_false(tell(&t, RTM_NEWLINK, "fd00::100", ETH0));
}

static void a_datagram_may_hold_many_messages_and_the_end_of_the_list(void **state)
{
    struct address_table t = table_of("10.0.0.100");
    struct message many[2] = {message_of(RTM_NEWADDR, "10.0.0.1", ETH0),
                              message_of(RTM_NEWADDR, "10.0.0.100", ETH0)};
    char datagram[2 * sizeof(struct message) + sizeof(struct nlmsghdr)];
    struct nlmsghdr done = {.nlmsg_type = NLMSG_DONE, .nlmsg_len = sizeof(done)};
    size_t size = 0;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        memcpy(datagram + size, &many[i], many[i].header.nlmsg_len);
        size += NLMSG_ALIGN(many[i].header.nlmsg_len);
    }
    memcpy(datagram + size, &done, sizeof(done));
    assert_true(address_table_take(&t, datagram, size + sizeof(done)));
    assert_true(address_table_held(&t));
    assert_true(t.whole);
    address_table_forget(&t);
    assert_false(address_table_held(&t) || t.whole);
}

static void a_broken_message_changes_nothing(void **state)
{
    struct address_table t = table_of("10.0.0.100");
    struct message m = message_of(RTM_NEWADDR, "10.0.0.100", ETH0);
    uint32_t whole = m.header.nlmsg_len;
    (void)state;
    for (uint32_t size = 0; size < whole; size++) { /* cut short on the way */
        assert_false(address_table_take(&t, &m, size));
    }
    for (uint32_t length = 0; length < NLMSG_LENGTH(sizeof(m.body));
         length++) { /* a false length */
        m.header.nlmsg_len = length;
        assert_false(address_table_take(&t, &m, whole));
    }
    ((struct rtattr *)m.attributes)->rta_len = 3;
    m.header.nlmsg_len = whole;
    assert_false(address_table_take(&t, &m, whole));
    assert_false(address_table_held(&t));
}

/* ---- the relay's rules ---- */

static const char *rules_of(struct buffer *b, const struct relay *relay, bool peer_lives)
{
    buffer_clear(b);
    relay_rules(b, relay, peer_lives);
    buffer_append(b, "", 1);
    return b->data;
}

static struct relay relay_for(enum relay_role role)
{
    return (struct relay){.role = role,
                          .interface = "eth0",
                          .address = "10.0.0.100",
                          .peers = {"10.0.0.12"},
                          .peer_count = 1,
                          .window_s = 60};
}

static void a_start_puts_the_table_in_place_armed(void **state)
{
    struct buffer b = {0};
    struct relay relay = relay_for(RELAY_START);
    const char *rules = rules_of(&b, &relay, false);
    (void)state;
    assert_non_null(strstr(rules, "table ip difyring {\n}\ndelete table ip difyring\n"));
    assert_non_null(strstr(rules, "add element ip difyring armed { 10.0.0.100 }\n"));
    assert_non_null(strstr(rules, "socket wildcard 0 accept"));
    assert_non_null(strstr(rules, "dscp set 43 counter dup to 10.0.0.12 drop"));
    assert_non_null(strstr(rules, "ip dscp 43 accept")); /* the peer's reset is the true answer */
    buffer_done(&b);
}

static void a_node_bound_to_the_address_does_without_the_socket_match(void **state)
{
    struct buffer b = {0};
    struct relay relay = relay_for(RELAY_START);
    (void)state;
    relay.bound = true;
    assert_null(strstr(rules_of(&b, &relay, false), "socket wildcard"));
    buffer_done(&b);
}

static void with_several_peers_only_the_one_that_knows_a_connection_answers(void **state)
{
    struct buffer b = {0};
    struct relay relay = relay_for(RELAY_START);
    (void)state;
    relay.address = "fd00::100";
    relay.peers[0] = "fd00::12";
    relay.peers[relay.peer_count++] = "fd00::13";
    const char *rules = rules_of(&b, &relay, false);
    assert_non_null(strstr(rules, "table ip6 difyring"));
    assert_non_null(strstr(rules, "ip6 dscp 43 drop"));
    assert_non_null(strstr(rules, "dup to fd00::12 dup to fd00::13 drop"));
    buffer_done(&b);
}

static bool ends_with(const char *text, const char *end)
{
    return strlen(text) >= strlen(end) && strcmp(text + strlen(text) - strlen(end), end) == 0;
}

static void a_change_of_roles_keeps_what_is_known_of_connections(void **state)
{
    struct buffer b = {0};
    struct relay relay = relay_for(RELAY_STANDBY);
    (void)state;
    assert_null(strstr(rules_of(&b, &relay, false), "delete table ip difyring"));
    assert_null(strstr(b.data, "flush set ip difyring fresh"));
    assert_true(ends_with(b.data, "flush set ip difyring armed\n"
                                  "add element ip difyring armed { 10.0.0.100 }\n"));
    relay.role = RELAY_MASTER;
    assert_true(ends_with(rules_of(&b, &relay, true),
                          "flush set ip difyring armed\n"
                          "add element ip difyring armed { 10.0.0.100 timeout 60s }\n"));
    assert_true(ends_with(rules_of(&b, &relay, false), "flush set ip difyring armed\n"));
    buffer_done(&b);
}

/* keepalived runs its startup script once, and may be told of another address later. */
static void every_role_puts_the_rules_in_place_as_they_are_wanted_now(void **state)
{
    static const enum relay_role roles[] = {RELAY_START, RELAY_STANDBY, RELAY_MASTER};
    struct buffer b = {0};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct relay relay = relay_for(roles[i]);
        relay.address = "10.0.0.101";
        const char *rules = rules_of(&b, &relay, true);
        const char *emptied = strstr(rules, "flush chain ip difyring relay\n");
        assert_non_null(emptied);
        assert_non_null(strstr(emptied, "ip daddr != 10.0.0.101 accept"));
        assert_non_null(strstr(emptied, "dup to 10.0.0.12 drop"));
        assert_non_null(strstr(rules, "delete table ip6 difyring\n"));
    }
    buffer_done(&b);
}

static void off_leaves_nothing_of_either_family(void **state)
{
    struct buffer b = {0};
    struct relay relay = relay_for(RELAY_OFF);
    (void)state;
    assert_string_equal(rules_of(&b, &relay, false),
                        "table ip6 difyring {\n}\ndelete table ip6 difyring\n"
                        "table ip difyring {\n}\ndelete table ip difyring\n");
    buffer_done(&b);
}

/* ---- keepalived.conf ---- */

static struct keepalived_options options_for(const char *const *peers, size_t peer_count)
{
    return (struct keepalived_options){
        .node = "node-a",
        .program = "/usr/bin/difyring",
        .interface = "eth0",
        .address = "10.0.0.100",
        .prefix = 24,
        .router_id = 51,
        .priority = 120,
        .advert_interval_ms = 100,
        .peers = peers,
        .peer_count = peer_count,
        .track_file = "/run/difyring/vrrp",
        .port = 82,
        .drain_ms = 60500,
    };
}

static const char *conf_of(struct buffer *b, const struct keepalived_options *o)
{
    struct buffer error = {0};
    buffer_clear(b);
    assert_int_equal(keepalived_print(b, o, &error), 0);
    buffer_append(b, "", 1);
    buffer_done(&error);
    return b->data;
}

static const char *const one_peer[] = {"10.0.0.12"};

static void adverts_are_in_seconds_with_two_decimals(void **state)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {
        {20, "advert_int 0.02\n"}, {100, "advert_int 0.10\n"}, {1050, "advert_int 1.05\n"}};
    struct buffer b = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct keepalived_options o = options_for(one_peer, 1);
        o.advert_interval_ms = cases[i].ms;
        assert_non_null(strstr(conf_of(&b, &o), cases[i].text));
    }
    buffer_done(&b);
}

static void the_relay_is_called_with_everything_it_needs(void **state)
{
    struct buffer b = {0};
    struct keepalived_options o = options_for(one_peer, 1);
    (void)state;
    assert_non_null(strstr(conf_of(&b, &o),
                           "notify_master \"/usr/bin/difyring vip-relay --role master --interface "
                           "eth0 --address 10.0.0.100 --port 82 --window 61 --peer 10.0.0.12\"\n"));
    buffer_done(&b);
}

static void without_peers_there_is_no_relay_and_no_unicast(void **state)
{
    struct buffer b = {0};
    struct keepalived_options o = options_for(NULL, 0);
    const char *text = conf_of(&b, &o);
    (void)state;
    assert_null(strstr(text, "vip-relay"));
    assert_null(strstr(text, "    unicast_peer {"));
    buffer_done(&b);
}

static void the_own_address_is_named_if_it_is_known(void **state)
{
    struct buffer b = {0};
    struct keepalived_options o = options_for(one_peer, 1);
    (void)state;
    assert_null(strstr(conf_of(&b, &o), "    unicast_src_ip 1"));
    o.source = "10.0.0.11";
    assert_non_null(strstr(conf_of(&b, &o), "    unicast_src_ip 10.0.0.11"));
    buffer_done(&b);
}

/* A setting is a line with words that is no brace and no heading of a block. */
static bool is_setting(const char *line, size_t size)
{
    size_t indent = strspn(line, " ");
    return indent < size && line[indent] != '#' && line[indent] != '}' && line[size - 1] != '{' &&
           strncmp(line, "@host }", 7) != 0;
}

static void every_setting_says_why(void **state)
{
    struct buffer b = {0};
    struct keepalived_options o = options_for(one_peer, 1);
    const char *line = conf_of(&b, &o);
    bool after_comment = false;
    unsigned settings = 0;
    (void)state;
    while (*line) {
        size_t size = strcspn(line, "\n");
        const char *comment = memchr(line, '#', size);
        if (is_setting(line, size)) {
            settings++;
            assert_true(comment != NULL || after_comment);
        }
        after_comment = comment == line + strspn(line, " ");
        line += size + 1;
    }
    assert_true(settings > 30);
    buffer_done(&b);
}

static void what_keepalived_cannot_read_is_refused(void **state)
{
    static const char *const bad[] = {"/run/a b", "/run/\"", "/run/$x", "/run/#", "/run/x{"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct buffer b = {0}, error = {0};
        struct keepalived_options o = options_for(one_peer, 1);
        o.track_file = bad[i];
        assert_int_equal(keepalived_print(&b, &o, &error), -1);
        assert_int_equal(b.size, 0);
        buffer_append(&error, "", 1);
        assert_non_null(strstr(error.data, "vip.track_file"));
        buffer_done(&b);
        buffer_done(&error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_on_an_outer_interface_is_held_until_it_goes),
        cmocka_unit_test(on_loopback_alone_it_is_kept_and_not_held),
        cmocka_unit_test(other_addresses_are_passed_over),
        cmocka_unit_test(a_datagram_may_hold_many_messages_and_the_end_of_the_list),
        cmocka_unit_test(a_broken_message_changes_nothing),
        cmocka_unit_test(a_start_puts_the_table_in_place_armed),
        cmocka_unit_test(a_node_bound_to_the_address_does_without_the_socket_match),
        cmocka_unit_test(with_several_peers_only_the_one_that_knows_a_connection_answers),
        cmocka_unit_test(a_change_of_roles_keeps_what_is_known_of_connections),
        cmocka_unit_test(every_role_puts_the_rules_in_place_as_they_are_wanted_now),
        cmocka_unit_test(off_leaves_nothing_of_either_family),
        cmocka_unit_test(adverts_are_in_seconds_with_two_decimals),
        cmocka_unit_test(the_relay_is_called_with_everything_it_needs),
        cmocka_unit_test(without_peers_there_is_no_relay_and_no_unicast),
        cmocka_unit_test(the_own_address_is_named_if_it_is_known),
        cmocka_unit_test(every_setting_says_why),
        cmocka_unit_test(what_keepalived_cannot_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
