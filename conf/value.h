/* value: text of one scalar -> number, duration, size, address. Pure; nothing allocates.
 * Each returns true and sets `ret_x`, or returns false and leaves it. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/bytes.h"
#include "conf/conf.h"

enum {
    VALUE_HOST_SIZE = 254, /* RFC 1035: a name has at most 253 characters; + NUL */
    VALUE_KEY_SIZE = 64,   /* no key of the schema is longer than 20 */
};

/* YAML 1.1 booleans: yes no on off true false y n, in their three spellings. */
bool value_boolean(struct bytes text, bool *ret_value);

/* Decimal (with `_` between digits as in YAML 1.1) or 0x hexadecimal. Not a number here: a sign,
 * and a leading zero, which YAML 1.1 reads as octal and people as decimal. */
bool value_number(struct bytes text, uint64_t *ret_value);

/* True for what a person means as a number though value_number() refuses it: digits with a sign, a
 * fraction, a leading zero. For better messages only. */
bool value_looks_numeric(struct bytes text);

/* `30`, `1.5` (seconds), `100ms`, `5s`, `2m`, `1h`; not finer than a millisecond. */
bool value_duration_ms(struct bytes text, uint64_t *ret_ms);

/* `65536`, `64KiB`, `100MiB`, `2GiB`. */
bool value_size(struct bytes text, uint64_t *ret_size);

/* A numeric IPv4 or IPv6 address without brackets. */
bool value_is_ip(const char *text);

/* Both numeric, and the same address however it is spelled. */
bool value_same_ip(const char *a, const char *b);

/* What is wrong with a numeric address as that of one host, "" if nothing; "" for a name, too. */
const char *value_no_host(const char *host);

/* `address` or `address/prefix`; bits behind the prefix are cleared. */
bool value_cidr(struct bytes text, struct cidr *ret_block);

/* A numeric address or a DNS name (also with `_`, as container names have, and with the root's dot
 * at its end). `[v6]` loses its brackets. `ret_host` gets the text. */
bool value_host(struct bytes text, char ret_host[VALUE_HOST_SIZE]);

/* `scheme://host`, `scheme://host:port` or `null`: what browsers send as Origin (RFC 6454 §6.1). */
bool value_is_origin(struct bytes text);

/* `host:port` or `[v6]:port`, port 0..65535. */
enum value_address_fault {
    VALUE_ADDRESS_GOOD,
    VALUE_ADDRESS_NO_PORT,
    VALUE_ADDRESS_BAD_PORT,
    VALUE_ADDRESS_BAD_HOST,
};
enum value_address_fault value_address(struct bytes text, char ret_host[VALUE_HOST_SIZE],
                                       uint16_t *ret_port);

enum { VALUE_NAME_MAX = 64 };

/* [A-Za-z0-9._-]{1,64} (VALUE_NAME_MAX) but `.` and `..`, which no URL can have: names that stand
 * in URLs, log lines and metrics. */
bool value_is_name(struct bytes text);

/* RFC 9110 §5.6.2 token: header and cookie names. */
bool value_is_http_token(struct bytes text);

/* Visible ASCII without spaces: what can stand behind `Bearer ` in one piece. Wider than RFC 6750's
 * b64token, since keys of other makers are. */
bool value_is_bearer(struct bytes text);

/* No control characters (also not DEL). */
bool value_is_clean(struct bytes text);

/* What can stand in keepalived.conf, as node/vip/keepalived.c writes it: no spaces, no quotes, none
 * of the characters that mean something there. */
bool value_fits_keepalived(const char *text);

/* Exactly 32 bytes in padded base64 (RFC 4648 §4), as `difyring keygen` prints them. */
bool value_key(struct bytes text, uint8_t ret_key[32]);

/* In small letters, `-` as `_`; without both if `bare`. Cut at VALUE_KEY_SIZE. */
struct bytes value_folded(struct bytes key, bool bare, char space[VALUE_KEY_SIZE]);

/* How many letters must be added, left out, replaced or swapped with their neighbour to get from
 * one to the other (Damerau-Levenshtein, optimal string alignment), at most `max` + 1. */
unsigned value_distance(struct bytes a, struct bytes b, unsigned max);

#endif
