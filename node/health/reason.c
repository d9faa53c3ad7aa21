/* reason: from votes to the one that mattered; and the words. */
#include "health/reason.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "health/verdict.h"

bool reason_same(const struct reason *a, const struct reason *b)
{
    return a->kind == b->kind && a->count == b->count && a->detail == b->detail &&
           a->at_s == b->at_s;
}

/* ---- whose vote ---- */

static bool counts(const struct reason_input *in, size_t n)
{
    return !in->nodes[n].lapsed && !in->isolated[n];
}

/* Is `a`'s active vote the earlier one? Those without a time are the latest: nothing is known. */
static bool is_earlier(const struct reason_input *in, size_t a, size_t b)
{
    uint32_t x = in->votes[a].why_active.at_s - 1, y = in->votes[b].why_active.at_s - 1;
    return x < y || (x == y && in->ids[a] < in->ids[b]);
}

/* Of those with this opinion the one with whom they were enough: the `needed`th in order of time.
 * node_count = there are not so many. */
static size_t find_active(const struct reason_input *in, enum active_state opinion, size_t needed)
{
    size_t found = in->node_count;
    for (size_t n = 0; n < in->node_count; n++) {
        size_t earlier = 0;
        if (!counts(in, n) || in->votes[n].active != opinion) {
            continue;
        }
        for (size_t m = 0; m < in->node_count; m++) {
            bool same = m != n && counts(in, m) && in->votes[m].active == opinion;
            earlier += same && is_earlier(in, m, n);
        }
        found = earlier + 1 == needed ? n : found;
    }
    return found;
}

static struct reason_found found_active(const struct reason_input *in, size_t node)
{
    return node < in->node_count ? (struct reason_found){in->votes[node].why_active, true, node}
                                 : (struct reason_found){0};
}

static struct reason_found find_by_checks(const struct reason_input *in, bool up)
{
    size_t opinions = 0;
    for (size_t n = 0; n < in->node_count; n++) {
        opinions += counts(in, n) && in->votes[n].active != ACTIVE_UNKNOWN;
    }
    size_t needed = up ? (opinions + 1) / 2 : opinions / 2 + 1; /* a tie is up */
    struct reason_found found =
        found_active(in, find_active(in, up ? ACTIVE_UP : ACTIVE_DOWN, needed));
    if (found.by_node && found.why.kind == REASON_NONE) {
        found.why.kind = up ? REASON_CHECK_PASSED : REASON_CHECK_FAILED;
    }
    return found;
}

/* Is `n` the one to name, rather than `best`, of those that tripped? */
static bool tripped_more(const struct reason_input *in, size_t n, size_t best)
{
    uint64_t x = verdict_weight(in->votes[n].answers), y = verdict_weight(in->votes[best].answers);
    return x != y ? x > y : in->ids[n] < in->ids[best];
}

/* The tripped one that had the most answers. */
static struct reason_found find_tripped(const struct reason_input *in)
{
    size_t best = in->node_count;
    for (size_t n = 0; n < in->node_count; n++) {
        const struct verdict_vote *v = &in->votes[n];
        if (counts(in, n) && v->tripped && (best == in->node_count || tripped_more(in, n, best))) {
            best = n;
        }
    }
    if (best == in->node_count) {
        return (struct reason_found){0};
    }
    struct reason_found found = {in->votes[best].why_passive, true, best};
    if (found.why.kind == REASON_NONE) {
        found.why = (struct reason){.kind = REASON_RESET, .detail = FAULT_UNTOLD};
    }
    return found;
}

/* What has put an end to something is why it is healthy, if it came last. */
static struct reason_found find_healthy(const struct reason_input *in)
{
    struct reason_found best = find_by_checks(in, true);
    if (best.why.kind == REASON_NONE) {
        best = (struct reason_found){.why = {.kind = REASON_NEW}};
    }
    bool ended_here = false; /* `best` is an end of an ejection */
    for (size_t n = 0; n < in->node_count; n++) {
        const struct verdict_vote *v = &in->votes[n];
        bool ended = counts(in, n) && !v->tripped && v->why_passive.kind != REASON_NONE;
        bool same = v->why_passive.at_s == best.why.at_s && best.by_node && ended_here &&
                    in->ids[n] < in->ids[best.node];
        if (ended && (v->why_passive.at_s > best.why.at_s || same)) {
            ended_here = true;
            best = (struct reason_found){v->why_passive, true, n};
        }
    }
    if (in->drain.known && !in->drain.drained && in->drain.at_s >= best.why.at_s) {
        best = (struct reason_found){.why = {.kind = REASON_ENABLED, .at_s = in->drain.at_s}};
    }
    return best;
}

struct reason_found reason_find(const struct reason_input *in)
{
    switch ((enum verdict)in->status) {
    case VERDICT_UNHEALTHY:
        return find_by_checks(in, false);
    case VERDICT_EJECTED:
        return find_tripped(in);
    case VERDICT_DRAINING:
        return (struct reason_found){
            .why = {.kind = REASON_DRAINED, .detail = in->drain.now, .at_s = in->drain.at_s}};
    case VERDICT_HEALTHY:
    case VERDICT_UNKNOWN:
        return find_healthy(in);
    }
    assert(false);
    return (struct reason_found){0};
}

/* ---- words ---- */

const char *reason_word(unsigned kind)
{
    static const char *const words[REASON_KINDS] = {
        [REASON_NONE] = "new",
        [REASON_NEW] = "new",
        [REASON_CHECK_PASSED] = "check_passed",
        [REASON_CHECK_FAILED] = "check_failed",
        [REASON_UNRESOLVED] = "unresolved",
        [REASON_REFUSED] = "refused",
        [REASON_CONNECT_TIMEOUT] = "connect_timeout",
        [REASON_TLS] = "tls",
        [REASON_RESET] = "reset",
        [REASON_GARBAGE] = "garbage",
        [REASON_FIRST_BYTE_TIMEOUT] = "first_byte_timeout",
        [REASON_STATUS] = "status",
        [REASON_NO_EVENTS] = "no_events",
        [REASON_TRIAL_FAILED] = "trial_failed",
        [REASON_TRIAL_PASSED] = "trial_passed",
        [REASON_DRAINED] = "drained",
        [REASON_ENABLED] = "enabled",
        [REASON_UNREACHABLE] = "unreachable",
    };
    return kind < REASON_KINDS ? words[kind] : words[REASON_NONE];
}

/* What is usually wrong. */
static const struct fault_words {
    unsigned fault;
    const char *word, *usually;
} fault_words[] = {
    {FAULT_NO_ADDRESS, "its name has no address", "look at the host's name and at DNS"},
    {FAULT_TIMED_OUT, "timed out",
     "it takes the connection and does not answer: overloaded, or stuck"},
    {FAULT_CONNECT_TIMED_OUT, "connecting timed out",
     "the host is off, or a firewall drops what goes there"},
    {FAULT_LOST, "connection lost",
     "it closes the connection without an answer: it is restarting, or crashes"},
    {FAULT_GARBAGE, "answered garbage", "what listens there does not speak HTTP: is it TLS?"},
    {FAULT_NO_SLOT, "no free slot, and silent for busy_timeout", "all its workers hang"},
    {FAULT_HUNG, "silent for busy_timeout", "all its workers hang"},
    {FAULT_UNTOLD, "not told", "that node's version does not tell how"},
    {FAULT_TLS, "the TLS handshake failed", "look at the instance's certificate and at tls.ca"},
    {400, "unexpected status", "it does not understand the check: look at health_check.path"},
    {401, "unexpected status", "the instance does not know its token"},
    {403, "unexpected status", "the application is switched off, or its API is"},
    {404, "unexpected status", "look at health_check.path, and at what listens there"},
    {429, "unexpected status", "something in front of it limits requests"},
    {500, "unexpected status", "its database or Redis is not reached: look at its log"},
    {502, "unexpected status", "a proxy in front of it does not reach it"},
    {503, "unexpected status", "it is starting, or a proxy in front of it has no backend"},
    {504, "unexpected status", "a proxy in front of it waits in vain"},
    /* errno of Linux, whichever machine this is read on */
    {FAULT_SYSTEM + 111, "connection refused (ECONNREFUSED)", "nothing listens on that port"},
    {FAULT_SYSTEM + 110, "connecting timed out (ETIMEDOUT)",
     "the host is off, or a firewall drops what goes there"},
    {FAULT_SYSTEM + 113, "no route to the host (EHOSTUNREACH)",
     "the host is off, or its address is wrong"},
    {FAULT_SYSTEM + 101, "no route to the network (ENETUNREACH)", "look at this machine's routes"},
    {FAULT_SYSTEM + 104, "connection reset (ECONNRESET)", "it is restarting, or crashes"},
};

static const struct fault_words *words_of(unsigned fault)
{
    for (size_t i = 0; i < sizeof(fault_words) / sizeof(*fault_words); i++) {
        if (fault_words[i].fault == fault) {
            return &fault_words[i];
        }
    }
    return NULL;
}

const char *fault_word(unsigned fault)
{
    const struct fault_words *words = words_of(fault);
    return fault == FAULT_NONE               ? ""
           : fault < FAULT_NO_ADDRESS        ? "unexpected status"
           : fault >= FAULT_SYSTEM || !words ? "connect failed"
                                             : words->word;
}

enum { FAULT_TEXT_SIZE = 160 };

/* With what is usually wrong: `status 401: the instance does not know its token`. */
static const char *fault_text(unsigned fault, char ret_text[FAULT_TEXT_SIZE])
{
    const struct fault_words *words = words_of(fault);
    const char *usually = words ? words->usually : "";
    const char *between = words ? ": " : "";
    if (fault == FAULT_NONE) {
        ret_text[0] = '\0';
    } else if (fault < FAULT_NO_ADDRESS) {
        snprintf(ret_text, FAULT_TEXT_SIZE, "status %u%s%s", fault, between, usually);
    } else if (words) {
        snprintf(ret_text, FAULT_TEXT_SIZE, "%s: %s", words->word, usually);
    } else if (fault > FAULT_SYSTEM) {
        snprintf(ret_text, FAULT_TEXT_SIZE, "connect failed (errno %u)", fault - FAULT_SYSTEM);
    } else {
        snprintf(ret_text, FAULT_TEXT_SIZE, "connect failed");
    }
    return ret_text;
}

/* `3 requests in a row`, or what is said where nobody tells how many. */
static const char *number_of(const struct reason *r, const char *what, char text[64])
{
    if (r->count == 0) {
        snprintf(text, 64, "%ss", what);
    } else {
        snprintf(text, 64, "%u %s%s", r->count, what, r->count == 1 ? "" : "s");
    }
    return text;
}

static const char *text_of_requests(const struct reason *r, const char *how,
                                    char ret_text[REASON_TEXT_SIZE])
{
    char number[64], fault[FAULT_TEXT_SIZE];
    fault_text(r->detail, fault);
    snprintf(ret_text, REASON_TEXT_SIZE, "%s failed, the last one: %s",
             number_of(r, "request", number), fault[0] ? fault : how);
    return ret_text;
}

static const char *text_of_checks(const struct reason *r, const char *how,
                                  char ret_text[REASON_TEXT_SIZE])
{
    char number[64], fault[FAULT_TEXT_SIZE];
    fault_text(r->detail, fault);
    snprintf(ret_text, REASON_TEXT_SIZE, "%s%s %s%s%s", number_of(r, "check", number),
             r->count > 1 ? " in a row" : "", how, fault[0] ? ": " : "", fault);
    return ret_text;
}

/* Of those that need no more than a sentence. */
static const char *plain_text(unsigned kind, unsigned detail)
{
    static const char *const texts[REASON_KINDS] = {
        [REASON_TRIAL_FAILED] =
            "it had been ejected, and the request let through as a trial failed",
        [REASON_TRIAL_PASSED] =
            "it had been ejected, and the request let through as a trial succeeded",
        [REASON_DRAINED] = "an operator drained it",
        [REASON_ENABLED] = "an operator enabled it",
    };
    if (kind == REASON_TRIAL_PASSED && detail == 1) {
        return "its time out of service is over, and no request failed since";
    }
    if (kind == REASON_DRAINED && detail == 1) {
        return "an operator drained it with `now` (what belongs there waits)";
    }
    return texts[kind] ? texts[kind] : "no check and no request has said anything yet";
}

const char *reason_text(const struct reason *r, char ret_text[REASON_TEXT_SIZE])
{
    switch ((enum reason_kind)r->kind) {
    case REASON_CHECK_PASSED:
        return text_of_checks(&(struct reason){.count = r->count}, "passed", ret_text);
    case REASON_CHECK_FAILED:
    case REASON_UNRESOLVED:
        return text_of_checks(r, "failed", ret_text);
    case REASON_REFUSED:
        return text_of_requests(r, "no connection", ret_text);
    case REASON_CONNECT_TIMEOUT:
        return text_of_requests(r, "connecting timed out", ret_text);
    case REASON_TLS:
        return text_of_requests(r, "the TLS handshake failed", ret_text);
    case REASON_RESET:
        return text_of_requests(r, "the connection was lost before the answer", ret_text);
    case REASON_GARBAGE:
        return text_of_requests(r, "it answered garbage", ret_text);
    case REASON_FIRST_BYTE_TIMEOUT:
        return text_of_requests(r, "no answer within timeouts.first_byte", ret_text);
    case REASON_STATUS:
        return text_of_requests(r, "a status of failure_statuses", ret_text);
    case REASON_NO_EVENTS:
        return text_of_requests(r, "its streams began and brought no event", ret_text);
    case REASON_UNREACHABLE:
        return text_of_requests(r, "it cannot be reached from this node", ret_text);
    case REASON_NONE:
    case REASON_NEW:
    case REASON_TRIAL_FAILED:
    case REASON_TRIAL_PASSED:
    case REASON_DRAINED:
    case REASON_ENABLED:
        break;
    }
    snprintf(ret_text, REASON_TEXT_SIZE, "%s", plain_text(r->kind, r->detail));
    return ret_text;
}
