/* value_address: hosts, host:port, address blocks. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/address.h"
#include "conf/value.h"

/* The longest numeric address is shorter than INET6_ADDRSTRLEN. */
static bool copy_text(struct bytes text, char *ret_text, size_t size)
{
    if (text.size == 0 || text.size >= size || memchr(text.at, '\0', text.size)) {
        return false;
    }
    memcpy(ret_text, text.at, text.size);
    ret_text[text.size] = '\0';
    return true;
}

bool value_is_ip(const char *text)
{
    struct in6_addr address;
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static bool ip_bytes(const char *text, uint8_t ret_address[16], unsigned *ret_bits)
{
    *ret_bits = strchr(text, ':') ? 128 : 32;
    return address_read(bytes_of(text), ret_address);
}

bool value_same_ip(const char *a, const char *b)
{
    uint8_t left[16], right[16];
    unsigned bits;
    return ip_bytes(a, left, &bits) && ip_bytes(b, right, &bits) && memcmp(left, right, 16) == 0;
}

const char *value_no_host(const char *host)
{
    static const uint8_t v4[12] = {[10] = 0xFF, [11] = 0xFF}, zero[16],
                         ones[4] = {255, 255, 255, 255};
    uint8_t address[16];
    unsigned bits;
    if (!ip_bytes(host, address, &bits)) {
        return "";
    }
    bool is_v4 = memcmp(address, v4, 12) == 0;
    if (is_v4 ? memcmp(address + 12, zero, 4) == 0 : memcmp(address, zero, 16) == 0) {
        return "the wildcard address";
    }
    if (is_v4 && memcmp(address + 12, ones, 4) == 0) {
        return "the broadcast address";
    }
    return (is_v4 ? address[12] >> 4 == 14 : address[0] == 0xFF) ? "a multicast address" : "";
}

bool value_cidr(struct bytes text, struct cidr *ret_block)
{
    const char *slash = text.size > 0 ? memchr(text.at, '/', text.size) : NULL;
    struct bytes address = {text.at, slash ? (size_t)(slash - text.at) : text.size};
    char copy[INET6_ADDRSTRLEN];
    struct cidr block = {0};
    unsigned bits;
    if (!copy_text(address, copy, sizeof copy) || !ip_bytes(copy, block.address, &bits)) {
        return false;
    }
    uint64_t prefix = bits;
    if (slash && (!value_number((struct bytes){slash + 1, text.size - address.size - 1}, &prefix) ||
                  prefix > bits)) {
        return false;
    }
    block.prefix = (uint8_t)(prefix + 128 - bits);
    for (unsigned bit = block.prefix; bit < 128; bit++) {
        block.address[bit / 8] &= (uint8_t) ~(0x80U >> bit % 8);
    }
    *ret_block = block;
    return true;
}

static bool is_scheme(struct bytes text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.at[i], lower = ascii_lower(c);
        bool letter = lower >= 'a' && lower <= 'z';
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!letter && (i == 0 || !other)) {
            return false;
        }
    }
    return text.size > 0;
}

bool value_is_origin(struct bytes text)
{
    const char *mark = text.size > 0 ? memmem(text.at, text.size, "://", 3) : NULL;
    if (!mark) {
        return bytes_equal(text, BYTES("null")); /* of a file, or of a sandboxed page */
    }
    struct bytes scheme = {text.at, (size_t)(mark - text.at)};
    struct bytes rest = {mark + 3, text.size - scheme.size - 3};
    char host[VALUE_HOST_SIZE];
    uint16_t port;
    return is_scheme(scheme) &&
           (value_host(rest, host) || value_address(rest, host, &port) == VALUE_ADDRESS_GOOD);
}

static bool is_label_character(char c)
{
    char lower = ascii_lower(c);
    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of 1..63 characters; the last one is not all digits, so that 300.1.1.1 or 10.0.1 is taken
 * for the mistyped address that it is. A dot behind it is the root's: such a name is looked up as
 * it stands, without the search list of resolv.conf (RFC 1034 §3.1). */
static bool is_dns_name(const char *text)
{
    size_t length = 0;
    bool letters = false;
    for (const char *c = text; *c; c++) {
        if (*c == '.' && length > 0) {
            if (c[1] == '\0') {
                break;
            }
            length = 0;
            letters = false;
        } else if (!is_label_character(*c) || ++length > 63) {
            return false;
        } else {
            letters = letters || *c < '0' || *c > '9';
        }
        if (length == 1 && *c == '-') {
            return false;
        }
    }
    return length > 0 && letters;
}

bool value_host(struct bytes text, char ret_host[VALUE_HOST_SIZE])
{
    char host[VALUE_HOST_SIZE];
    bool brackets = text.size > 2 && text.at[0] == '[' && text.at[text.size - 1] == ']';
    if (brackets) {
        text = (struct bytes){text.at + 1, text.size - 2};
    }
    struct in6_addr v6;
    if (!copy_text(text, host, sizeof host)) {
        return false;
    }
    if (brackets ? inet_pton(AF_INET6, host, &v6) != 1 : !value_is_ip(host) && !is_dns_name(host)) {
        return false;
    }
    memcpy(ret_host, host, text.size + 1);
    return true;
}

enum value_address_fault value_address(struct bytes text, char ret_host[VALUE_HOST_SIZE],
                                       uint16_t *ret_port)
{
    const char *colon = text.size > 0 ? memrchr(text.at, ':', text.size) : NULL;
    if (!colon || (text.at[0] == '[' && text.at[text.size - 1] == ']')) {
        return VALUE_ADDRESS_NO_PORT;
    }
    struct bytes host = {text.at, (size_t)(colon - text.at)};
    uint64_t port;
    if (host.size > 0 && host.at[0] != '[' && memchr(host.at, ':', host.size)) {
        return VALUE_ADDRESS_BAD_HOST; /* an IPv6 address needs brackets to have a port */
    }
    if (!value_number((struct bytes){colon + 1, text.size - host.size - 1}, &port) ||
        port > UINT16_MAX) {
        return VALUE_ADDRESS_BAD_PORT;
    }
    if (!value_host(host, ret_host)) {
        return VALUE_ADDRESS_BAD_HOST;
    }
    *ret_port = (uint16_t)port;
    return VALUE_ADDRESS_GOOD;
}
