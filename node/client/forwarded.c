/* forwarded: from the right to the left, element by element, field by field. */
#include "client/forwarded.h"

enum { PORT_DIGITS_MAX = 5 };

/* `:` and a number of up to 16 bits, or nothing. */
static bool is_port(struct bytes text)
{
    unsigned port = 0;
    if (text.size == 0) {
        return true;
    }
    if (text.at[0] != ':' || text.size == 1 || text.size > 1 + PORT_DIGITS_MAX) {
        return false;
    }
    for (size_t i = 1; i < text.size; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        port = 10 * port + (unsigned)(text.at[i] - '0');
    }
    return port <= UINT16_MAX;
}

static struct bytes before(struct bytes text, const char *end)
{
    return (struct bytes){text.at, (size_t)(end - text.at)};
}

static struct bytes from(struct bytes text, const char *begin)
{
    return (struct bytes){begin, text.size - (size_t)(begin - text.at)};
}

/* An IPv6 address, perhaps with a zone (RFC 4007 §11.2), which is not empty. */
static bool read_v6(struct bytes text, uint8_t ret_address[ADDRESS_SIZE])
{
    const char *zone = text.size > 0 ? memchr(text.at, '%', text.size) : NULL;
    if (zone && zone + 1 == text.at + text.size) {
        return false;
    }
    struct bytes address = zone ? before(text, zone) : text;
    return address.size > 0 && memchr(address.at, ':', address.size) &&
           address_read(address, ret_address);
}

bool forwarded_read(struct bytes element, uint8_t ret_address[ADDRESS_SIZE])
{
    if (element.size == 0) {
        return false;
    }
    if (element.at[0] == '[') {
        const char *end = memchr(element.at, ']', element.size);
        struct bytes inside = {element.at + 1, end ? (size_t)(end - element.at) - 1 : 0};
        return end && is_port(from(element, end + 1)) && read_v6(inside, ret_address);
    }
    const char *colon = memchr(element.at, ':', element.size);
    if (colon && memchr(colon + 1, ':', element.size - (size_t)(colon - element.at) - 1)) {
        return read_v6(element, ret_address);
    }
    return (!colon || is_port(from(element, colon))) &&
           address_read(colon ? before(element, colon) : element, ret_address);
}

/* Takes the last element that is not empty (RFC 9110 §5.6.1.2) off `*list`, trimmed. False: there
 * is none. */
static bool take_last(struct bytes *list, struct bytes *ret_element)
{
    while (list->size > 0) {
        const char *comma = memrchr(list->at, ',', list->size);
        *ret_element = bytes_trim(comma ? from(*list, comma + 1) : *list);
        list->size = comma ? (size_t)(comma - list->at) : 0;
        if (ret_element->size > 0) {
            return true;
        }
    }
    return false;
}

/* One field's. False: the walk has ended. */
static bool walk_field(struct bytes list, const struct cidr *trusted, size_t trusted_count,
                       uint8_t address[ADDRESS_SIZE])
{
    struct bytes element;
    while (take_last(&list, &element)) {
        if (!forwarded_read(element, address) || !cidr_list_has(trusted, trusted_count, address)) {
            return false;
        }
    }
    return true;
}

void forwarded_walk(const struct http_head *h, const struct cidr *trusted, size_t trusted_count,
                    uint8_t address[ADDRESS_SIZE])
{
    bool goes_on = true;
    for (size_t i = h->field_count; i > 0 && goes_on; i--) {
        const struct http_field *field = &h->fields[i - 1];
        if (field->id == HTTP_FIELD_X_FORWARDED_FOR) {
            goes_on = walk_field(http_field_value(h, field), trusted, trusted_count, address);
        }
    }
}
