/* address: inet_pton(3) and inet_ntop(3), and IPv4 within IPv6. */
#include "base/address.h"

#include <arpa/inet.h>
#include <assert.h>

static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};

bool address_is_v4(const uint8_t address[ADDRESS_SIZE])
{
    return memcmp(address, mapped, sizeof(mapped)) == 0;
}

bool address_read(struct bytes text, uint8_t ret_address[ADDRESS_SIZE])
{
    char copy[ADDRESS_TEXT_SIZE];
    uint8_t address[ADDRESS_SIZE];
    if (text.size == 0 || text.size >= sizeof(copy) || memchr(text.at, '\0', text.size)) {
        return false;
    }
    memcpy(copy, text.at, text.size);
    copy[text.size] = '\0';
    if (inet_pton(AF_INET, copy, address + sizeof(mapped)) == 1) {
        memcpy(address, mapped, sizeof(mapped));
    } else if (inet_pton(AF_INET6, copy, address) != 1) {
        return false;
    }
    memcpy(ret_address, address, sizeof(address));
    return true;
}

size_t address_write(const uint8_t address[ADDRESS_SIZE], char ret_text[ADDRESS_TEXT_SIZE])
{
    bool v4 = address_is_v4(address);
    const char *text = inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? address + sizeof(mapped) : address,
                                 ret_text, ADDRESS_TEXT_SIZE);
    assert(text); /* the room is enough for any address */
    return strlen(text);
}
