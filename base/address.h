/* address: an IP address as text and as 16 bytes, IPv4 as ::ffff:a.b.c.d. */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include "base/bytes.h"

enum {
    ADDRESS_SIZE = 16,
    ADDRESS_TEXT_SIZE = 46, /* the longest, and its NUL */
};

/* A numeric address and nothing else: no port, brackets, zone or space. */
bool address_read(struct bytes text, uint8_t ret_address[ADDRESS_SIZE]);

/* The one way in which it is written here (RFC 5952), so that equal addresses are equal texts; IPv4
 * in its own form, however it came. NUL-terminated. Returns its size. */
size_t address_write(const uint8_t address[ADDRESS_SIZE], char ret_text[ADDRESS_TEXT_SIZE]);

bool address_is_v4(const uint8_t address[ADDRESS_SIZE]);

#endif
