/* local_query: NAME=VALUE between `&`; neither has anything to be percent-decoded. */
#include "worker/local_query.h"

#include <stdint.h>
#include <stdio.h>

#include "cluster/cluster.h"

static const struct {
    struct bytes name;
    enum local_parameter parameter;
} parameters[] = {
    {{"force", 5}, LOCAL_FORCE}, {{"dry_run", 7}, LOCAL_DRY_RUN}, {{"secrets", 7}, LOCAL_SECRETS},
    {{"now", 3}, LOCAL_NOW},     {{"hold", 4}, LOCAL_HOLD},
};

enum { PARAMETER_COUNT = sizeof(parameters) / sizeof(parameters[0]) };

/* Up to the mark, which is taken off, too. */
static struct bytes next_part(struct bytes *rest, char mark)
{
    const char *end = rest->size > 0 ? memchr(rest->at, mark, rest->size) : NULL;
    size_t size = end ? (size_t)(end - rest->at) : rest->size;
    struct bytes part = {rest->at, size};
    size_t taken = size + (end != NULL);
    rest->at += taken;
    rest->size -= taken;
    return part;
}

static bool is_one_of(struct bytes value, struct bytes a, struct bytes b)
{
    return bytes_equal(value, a) || bytes_equal(value, b);
}

/* A whole number and a unit; without one, seconds. */
static bool read_duration(struct bytes text, uint64_t *ret_ms)
{
    static const struct {
        struct bytes unit;
        uint64_t ms;
    } units[] = {
        {{"ms", 2}, 1}, {{"s", 1}, 1000}, {{"m", 1}, 60000}, {{"h", 1}, 3600000}, {{"", 0}, 1000}};
    uint64_t number = 0;
    size_t at = 0;
    for (; at < text.size && at < 9 && text.at[at] >= '0' && text.at[at] <= '9'; at++) {
        number = number * 10 + (uint64_t)(text.at[at] - '0');
    }
    struct bytes unit = {text.at + at, text.size - at};
    for (size_t i = 0; at > 0 && i < sizeof(units) / sizeof(units[0]); i++) {
        if (bytes_equal(unit, units[i].unit)) {
            *ret_ms = number * units[i].ms;
            return *ret_ms <= CLUSTER_HOLD_MAX_MS;
        }
    }
    return false;
}

static bool read_value(struct bytes value, enum local_parameter parameter, struct local_query *q)
{
    bool given;
    if (parameter == LOCAL_HOLD) {
        if (!read_duration(value, &q->hold_ms)) {
            return false;
        }
        given = q->hold_ms > 0;
    } else {
        given = is_one_of(value, BYTES("1"), BYTES("true"));
        if (!given && !is_one_of(value, BYTES("0"), BYTES("false"))) {
            return false;
        }
    }
    q->given = given ? q->given | parameter : q->given & ~(unsigned)parameter;
    return true;
}

/* The names are told, never what was sent. */
static void tell_known(unsigned known, char error[LOCAL_QUERY_ERROR_SIZE])
{
    size_t used = (size_t)snprintf(error, LOCAL_QUERY_ERROR_SIZE, "Unknown parameter; ");
    const char *between = known ? "this takes " : "this takes none";
    used += (size_t)snprintf(error + used, LOCAL_QUERY_ERROR_SIZE - used, "%s", between);
    between = "";
    for (size_t i = 0; i < PARAMETER_COUNT; i++) {
        if (known & parameters[i].parameter) {
            used += (size_t)snprintf(error + used, LOCAL_QUERY_ERROR_SIZE - used, "%s%.*s", between,
                                     (int)parameters[i].name.size, parameters[i].name.at);
            between = ", ";
        }
    }
    snprintf(error + used, LOCAL_QUERY_ERROR_SIZE - used, ".");
}

bool local_query_read(struct bytes query, unsigned known, struct local_query *ret,
                      char ret_error[LOCAL_QUERY_ERROR_SIZE])
{
    struct local_query q = {0};
    while (query.size > 0) {
        struct bytes value = next_part(&query, '&');
        struct bytes name = next_part(&value, '=');
        size_t i = 0;
        while (i < PARAMETER_COUNT && !bytes_equal(parameters[i].name, name)) {
            i++;
        }
        if (name.size == 0 && value.size == 0) {
            continue; /* `&&`, or one at the end */
        }
        if (i == PARAMETER_COUNT || !(known & parameters[i].parameter)) {
            tell_known(known, ret_error);
            return false;
        }
        if (!read_value(value, parameters[i].parameter, &q)) {
            snprintf(ret_error, LOCAL_QUERY_ERROR_SIZE, "%.*s must be %s.",
                     (int)parameters[i].name.size, parameters[i].name.at,
                     parameters[i].parameter == LOCAL_HOLD ? "a duration up to 24h, such as 60s"
                                                           : "0 or 1");
            return false;
        }
    }
    *ret = q;
    return true;
}
