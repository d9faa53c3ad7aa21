/* The words for logs, /status and metrics. They are part of the contract: dashboards match them. */
#include <stdlib.h>

#include "gossip/gossip.h"

const char *gossip_problem_text(enum gossip_problem problem)
{
    switch (problem) {
    case GOSSIP_NEWER_VERSION:
        return "newer_version";
    case GOSSIP_UNKNOWN_KEY:
        return "unknown_key";
    case GOSSIP_FORGED:
        return "forged";
    case GOSSIP_CROWDED:
        return "crowded";
    }
    abort();
}

const char *gossip_rejection_text(enum gossip_rejection rejection)
{
    switch (rejection) {
    case GOSSIP_REJECT_TRUNCATED:
        return "truncated";
    case GOSSIP_REJECT_VERSION:
        return "version";
    case GOSSIP_REJECT_UNKNOWN_KEY:
        return "unknown_key";
    case GOSSIP_REJECT_FORGED:
        return "forged";
    case GOSSIP_REJECT_REPLAYED:
        return "replayed";
    case GOSSIP_REJECT_MALFORMED:
        return "malformed";
    case GOSSIP_REJECT_OWN:
        return "own";
    case GOSSIP_REJECT_STALE:
        return "stale";
    case GOSSIP_REJECT_LIMIT:
        return "limit";
    }
    abort();
}

const char *gossip_type_text(enum wire_type type)
{
    static const char *const texts[] = {
        [WIRE_HELLO] = "hello",
        [WIRE_WELCOME] = "welcome",
        [WIRE_PING] = "ping",
        [WIRE_ACK] = "ack",
        [WIRE_PING_REQUEST] = "ping_request",
        [WIRE_PROXY_ACK] = "proxy_ack",
        [WIRE_SYN] = "syn",
        [WIRE_SYN_ACK] = "syn_ack",
        [WIRE_DELTA] = "delta",
        [WIRE_CHUNK_ASK] = "chunk_ask",
        [WIRE_CHUNK] = "chunk",
    };
    return texts[type];
}

const char *gossip_state_text(enum wire_state state)
{
    switch (state) {
    case WIRE_ALIVE:
        return "alive";
    case WIRE_SUSPECT:
        return "suspect";
    case WIRE_DEAD:
        return "dead";
    case WIRE_LEFT:
        return "left";
    }
    abort();
}
