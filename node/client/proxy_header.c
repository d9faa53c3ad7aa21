/* proxy_header: version 1 is a line, read when its LF has come; version 2 is 16 bytes that say what
 * follows. The first byte tells them apart, and the first byte that fits neither refuses. */
#include "client/proxy_header.h"

#include <assert.h>

/* §2.2, figure: the fixed part. */
enum {
    V2_SIGNATURE_SIZE = 12,
    V2_COMMAND_AT = 12,
    V2_FAMILY_AT = 13,
    V2_LENGTH_AT = 14,
    V2_FIXED_SIZE = 16,
    V2_LOCAL = 0x20,
    V2_PROXY = 0x21,
    V2_ADDRESSES_V4 = 12, /* two addresses, two ports */
    V2_ADDRESSES_V6 = 36,
    V2_ADDRESSES_UNIX = 216, /* two paths */
    V1_WORDS = 6,
};

static const char signature_v1[] = "PROXY ", signature_v2[] = "\r\n\r\n\0\r\nQUIT\n";

static const char not_one[] = "no PROXY header", bad_line[] = "a malformed line of version 1",
                  long_line[] = "a line of version 1 that is longer than 107 bytes",
                  bad_kind[] = "a version, command, family or protocol that there is not",
                  short_addresses[] = "a length below that of its addresses";

static enum proxy_header_state refuse(struct proxy_header *h, const char *fault)
{
    h->fault = fault;
    return PROXY_HEADER_BAD;
}

/* ---- version 1 ---- */

/* §2.1: 0 to 65535, without heading zeroes. */
static bool is_port(struct bytes word)
{
    unsigned port = 0;
    for (size_t i = 0; i < word.size; i++) {
        if (word.at[i] < '0' || word.at[i] > '9') {
            return false;
        }
        port = port > UINT16_MAX ? port : 10 * port + (unsigned)(word.at[i] - '0');
    }
    return word.size > 0 && port <= UINT16_MAX && (word.size == 1 || word.at[0] != '0');
}

static bool is_family(struct bytes word, bool v6)
{
    return (memchr(word.at, ':', word.size) != NULL) == v6;
}

/* Splits at each single space. False: there are more or fewer than V1_WORDS. */
static bool split(struct bytes line, struct bytes ret_words[V1_WORDS])
{
    size_t count = 1;
    ret_words[0] = (struct bytes){line.at, 0};
    for (size_t i = 0; i < line.size; i++) {
        if (line.at[i] != ' ') {
            ret_words[count - 1].size++;
        } else if (count == V1_WORDS) {
            return false;
        } else {
            ret_words[count++] = (struct bytes){line.at + i + 1, 0};
        }
    }
    return count == V1_WORDS;
}

/* The line without its CR LF. */
static enum proxy_header_state read_line(struct proxy_header *h, struct bytes line)
{
    static const char unknown[] = "PROXY UNKNOWN";
    const size_t known = sizeof(unknown) - 1;
    struct bytes words[V1_WORDS];
    uint8_t destination[ADDRESS_SIZE];
    if (line.size >= known && memcmp(line.at, unknown, known) == 0 &&
        (line.size == known || line.at[known] == ' ')) {
        return PROXY_HEADER_DONE; /* "the receiver must ignore anything presented before the CRLF"
                                   */
    }
    if (!split(line, words)) {
        return refuse(h, bad_line);
    }
    bool v6 = bytes_equal(words[1], BYTES("TCP6"));
    if ((!v6 && !bytes_equal(words[1], BYTES("TCP4"))) || !is_family(words[2], v6) ||
        !is_family(words[3], v6) || !address_read(words[2], h->address) ||
        !address_read(words[3], destination) || !is_port(words[4]) || !is_port(words[5])) {
        return refuse(h, bad_line);
    }
    h->has_address = true;
    return PROXY_HEADER_DONE;
}

static enum proxy_header_state take_v1(struct proxy_header *h)
{
    const char *text = (const char *)h->kept;
    size_t compared = sizeof(signature_v1) - 1;
    if (memcmp(text, signature_v1, h->size < compared ? h->size : compared) != 0) {
        return refuse(h, not_one);
    }
    if (text[h->size - 1] == '\n') {
        bool ends = text[h->size - 2] == '\r';
        return ends ? read_line(h, (struct bytes){text, h->size - 2}) : refuse(h, bad_line);
    }
    return h->size == PROXY_HEADER_V1_MAX ? refuse(h, long_line) : PROXY_HEADER_MORE;
}

/* ---- version 2 ---- */

/* How long the addresses of this family and protocol are; of those that are read. False: §2.2 says
 * to refuse what is not in the list. */
static bool addresses_of(uint8_t family, size_t *ret_size)
{
    switch (family) {
    case 0x00: /* unspecified */
        *ret_size = 0;
        return true;
    case 0x11: /* TCP over IPv4 */
    case 0x12: /* UDP */
        *ret_size = V2_ADDRESSES_V4;
        return true;
    case 0x21: /* TCP over IPv6 */
    case 0x22:
        *ret_size = V2_ADDRESSES_V6;
        return true;
    case 0x31: /* UNIX stream */
    case 0x32: /* UNIX datagram */
        *ret_size = V2_ADDRESSES_UNIX;
        return true;
    default:
        return false;
    }
}

/* The fixed part is there: how much is to be kept, and to be read over. */
static enum proxy_header_state take_fixed(struct proxy_header *h)
{
    uint8_t command = h->kept[V2_COMMAND_AT], family = h->kept[V2_FAMILY_AT];
    size_t length = (size_t)h->kept[V2_LENGTH_AT] << 8 | h->kept[V2_LENGTH_AT + 1];
    size_t addresses = 0;
    h->wanted = V2_FIXED_SIZE;
    h->over = length;
    if (command == V2_LOCAL) {
        return PROXY_HEADER_MORE; /* the rest is discarded, "including the family" */
    }
    if (command != V2_PROXY || !addresses_of(family, &addresses)) {
        return refuse(h, bad_kind);
    }
    if (length < addresses) {
        return refuse(h, short_addresses);
    }
    h->has_address = family == 0x11 || family == 0x21;
    if (h->has_address) {
        h->wanted += addresses;
        h->over -= addresses;
    }
    return PROXY_HEADER_MORE;
}

static void take_addresses(struct proxy_header *h)
{
    const uint8_t *from = h->kept + V2_FIXED_SIZE;
    if (h->kept[V2_FAMILY_AT] == 0x21) {
        memcpy(h->address, from, ADDRESS_SIZE);
    } else {
        memset(h->address, 0, ADDRESS_SIZE);
        memset(h->address + 10, 0xFF, 2);
        memcpy(h->address + 12, from, 4);
    }
}

static enum proxy_header_state take_v2(struct proxy_header *h)
{
    if (h->size <= V2_SIGNATURE_SIZE) {
        bool fits = memcmp(h->kept, signature_v2, h->size) == 0;
        return fits ? PROXY_HEADER_MORE : refuse(h, not_one);
    }
    if (h->size == V2_FIXED_SIZE && take_fixed(h) == PROXY_HEADER_BAD) {
        return PROXY_HEADER_BAD;
    }
    if (h->wanted == 0 || h->size < h->wanted) {
        return PROXY_HEADER_MORE;
    }
    if (h->has_address) {
        take_addresses(h);
    }
    return h->over > 0 ? PROXY_HEADER_MORE : PROXY_HEADER_DONE;
}

/* ---- both ---- */

static bool is_full(const struct proxy_header *h)
{
    return h->wanted > 0 && h->size == h->wanted;
}

static enum proxy_header_state read_over(struct proxy_header *h, struct bytes *rest)
{
    size_t size = rest->size < h->over ? rest->size : h->over;
    h->over -= size;
    rest->at += size;
    rest->size -= size;
    return h->over > 0 ? PROXY_HEADER_MORE : PROXY_HEADER_DONE;
}

enum proxy_header_state proxy_header_read(struct proxy_header *h, struct bytes *rest)
{
    assert(!h->fault);
    while (rest->size > 0) {
        if (is_full(h)) {
            return read_over(h, rest);
        }
        assert(h->size < sizeof(h->kept));
        h->kept[h->size++] = (uint8_t)*rest->at++;
        rest->size--;
        enum proxy_header_state state =
            h->kept[0] == (uint8_t)signature_v1[0] ? take_v1(h) : take_v2(h);
        if (state != PROXY_HEADER_MORE) {
            return state;
        }
    }
    return PROXY_HEADER_MORE;
}
