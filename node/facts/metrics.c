/* metrics: a metric is a row, and this file is the table of them, in the order of the document. */
#include "facts/metrics.h"

#include <assert.h>

#include "facts/metric.h"
#include "placement/placement_core.h"

/* Does not compile for a member of any other type. */
#define OFFSET(type, member)                                                                       \
    (offsetof(type, member) +                                                                      \
     _Generic(((type *)0)->member, uint64_t : 0U, uint64_t * : 0U, struct histogram : 0U))
#define NODE(member) .scope = OF_NODE, .offset = OFFSET(struct facts_node, member)
#define APPLICATION(member)                                                                        \
    .scope = OF_APPLICATION, .offset = OFFSET(struct facts_application, member)
#define INSTANCE(member) .scope = OF_INSTANCE, .offset = OFFSET(struct facts_instance, member)

/* ---- labels ---- */

static const char *handshake_text(unsigned value)
{
    return value == PROXY_RESUMED ? "resumed" : tls_failure_word((enum tls_failure)value);
}

static const char *direction_text(unsigned value)
{
    return value == 0 ? "in" : "out";
}

static const char *stream_text(unsigned value)
{
    return log_stream_word((enum log_stream)value);
}

static const char *state_text(unsigned value)
{
    return gossip_state_text((enum wire_state)value);
}

static const char *type_text(unsigned value)
{
    return gossip_type_text((enum wire_type)value);
}

static const char *rejection_text(unsigned value)
{
    return gossip_rejection_text((enum gossip_rejection)value);
}

static const char *result_text(unsigned value)
{
    static const char *const texts[] = {"success", "error", "conflict"};
    return texts[value];
}

static const struct dimension result = {"result", result_text, 0, 2};

static const char *placed_text(unsigned value)
{
    return placement_placed_word((enum placement_placed)(value + PLACEMENT_HOME));
}

static const struct dimension placed = {"result", placed_text, 0, PLACEMENT_LOST - PLACEMENT_HOME};
static const struct dimension direction = {"direction", direction_text, 0, 1};
static const struct dimension handshake = {"result", handshake_text, 0, PROXY_HANDSHAKES - 1};
static const struct dimension stream = {"stream", stream_text, 0, LOG_STREAM_COUNT - 1};
static const struct dimension state = {"state", state_text, WIRE_ALIVE, WIRE_LEFT};
static const struct dimension packet = {"type", type_text, WIRE_HELLO, WIRE_CHUNK};
static const struct dimension reason = {"reason", rejection_text, 0, GOSSIP_REJECTIONS - 1};

/* 25 lines an instance: of very many they would be most of the document. */
static bool are_few(const struct facts *facts)
{
    enum { FEW = 2048 };
    size_t count = 0;
    for (size_t a = 0; a < facts->application_count; a++) {
        count += facts->applications[a].instance_count;
    }
    return count <= FEW;
}

/* A counter that falls and comes back is counted twice. */
static bool has_joined(const struct facts *facts)
{
    return !facts->node.joining;
}

static bool has_vip(const struct facts *facts)
{
    return facts->vip_address.at != NULL;
}

/* ---- the table ---- */

static const struct metric metrics[] = {
    {COUNTER, "difyring_requests_total",
     "Requests that have ended, by the last instance tried (empty: none) and the status the "
     "client got (499: it left before). App empty: of no application.",
     .put = metric_put_requests},
    {HISTOGRAM, "difyring_request_head_seconds",
     "Time to first byte: from a request's head to its response's head.",
     APPLICATION(counts.first_byte)},
    {HISTOGRAM, "difyring_request_seconds",
     "Time of a whole request: from its head to the end of its response.",
     APPLICATION(counts.whole)},
    {HISTOGRAM, "difyring_check_seconds",
     "Time of an active check of the instance, by whichever result.", .scope = OF_NODE,
     .told = are_few, .put = metric_put_checks},
    {COUNTER, "difyring_retries_total", "Attempts beyond the first of requests that have ended.",
     APPLICATION(counts.retries)},
    {GAUGE, "difyring_instance_up",
     "1 if the cluster's verdict lets requests go to the instance, else 0.", INSTANCE(up)},
    {GAUGE, "difyring_instance_drained",
     "1 while an operator has drained the instance: it is down by choice.", INSTANCE(drained)},
    {GAUGE, "difyring_instance_in_flight",
     "Attempts of this node that are in flight at the instance.", INSTANCE(in_flight)},
    {GAUGE, "difyring_queue_length", "Requests of this node that wait for the instance.",
     INSTANCE(queue_length)},
    {HISTOGRAM, "difyring_queue_seconds",
     "Time that requests waited for a slot, of those that had to.", APPLICATION(counts.queued)},
    {COUNTER, "difyring_queue_rejected_total",
     "429 for want of a slot: the queue was full, or queue.timeout over.",
     .put = metric_put_queue_rejected},
    {COUNTER, "difyring_terminations_total",
     "Requests by how they ended, as termination in the access log; app is empty for those that "
     "belong to none.",
     .put = metric_put_terminations},
    {COUNTER, "difyring_quota_rejected_total", "429 of quotas, by whom they count.",
     .put = metric_put_quota_rejected},
    {COUNTER, "difyring_quota_shadowed_total",
     "Requests that quotas with `shadow` would have refused, by whom they count.",
     .put = metric_put_quota_shadowed},
    {GAUGE, "difyring_quota_subjects", "Subjects of quotas that are counted now.",
     NODE(quota_subjects)},
    {COUNTER, "difyring_quota_forgotten_total",
     "Subjects of quotas that were forgotten for want of room, and began anew.",
     NODE(quota_forgotten)},
    {GAUGE, "difyring_placements",
     "Ids of conversations, messages, runs, files whose instance is remembered.", NODE(placements)},
    {COUNTER, "difyring_placements_total",
     "Requests with an id that have ended, by where they went: home (the first choice), remembered "
     "or found (elsewhere), lost.",
     NODE(counts.placed), .by = {&placed}},
    {COUNTER, "difyring_usage_tokens_total",
     "Tokens that answers of runs told: prompt, completion, unsplit (of which no kind was told); "
     "they add up.",
     .put = metric_put_usage_tokens},
    {COUNTER, "difyring_usage_price_total", "Price that answers of runs told, in its currency.",
     .put = metric_put_usage_prices},
    {COUNTER, "difyring_instance_failures_total",
     "Passive failures: no connection, a lost one, garbage, no answer in time, or a status of "
     "failure_statuses.",
     INSTANCE(counts.failures)},
    {GAUGE, "difyring_connections", "Open connections of clients.", NODE(connections)},
    {COUNTER, "difyring_client_aborts_total",
     "Requests whose client left before the answer was complete.", NODE(counts.aborts)},
    {COUNTER, "difyring_proxy_headers_refused_total",
     "Connections closed for a PROXY header that was missing, malformed, or not from "
     "trusted_proxies.",
     NODE(counts.headers_refused)},
    {COUNTER, "difyring_tls_handshakes_total",
     "Ends of TLS handshakes with clients: ok, resumed (ok, of an earlier session), or why not.",
     NODE(counts.handshakes), .by = {&handshake}},
    {GAUGE, "difyring_certificate_not_after_seconds",
     "When a certificate for clients ends, since 1970; by listener, its place there, first name.",
     .put = metric_put_certificates},
    {COUNTER, "difyring_bytes_total",
     "Bytes of requests (in) and answers (out) that have ended, heads included.",
     NODE(counts.bytes_in), .by = {&direction}},
    {GAUGE, "difyring_gossip_members",
     "Nodes of the cluster by state as this node sees it, itself included.", NODE(members),
     .by = {&state}},
    {COUNTER, "difyring_gossip_packets_total",
     "Gossip packets sent, and those received that were accepted as such.", NODE(gossip.packets_in),
     .by = {&packet, &direction}},
    {COUNTER, "difyring_gossip_bytes_total",
     "Bytes of gossip packets, without UDP and IP; in: also of rejected ones.",
     NODE(gossip.bytes_in), .by = {&direction}},
    {COUNTER, "difyring_gossip_rejected_total",
     "Gossip packets that were dropped unread, by reason.", NODE(gossip.rejected), .by = {&reason}},
    {COUNTER, "difyring_gossip_suspicions_total", "Times that this node suspected another one.",
     NODE(gossip.suspicions)},
    {COUNTER, "difyring_gossip_deaths_total", "Times that this node declared another one dead.",
     NODE(gossip.deaths)},
    {COUNTER, "difyring_gossip_refutations_total",
     "Times that this node contradicted its own suspicion or death.", NODE(gossip.refutations)},
    {GAUGE, "difyring_gossip_divergence_seconds",
     "How long the configuration or ring digests of nodes that are up have differed; 0 = they "
     "agree.",
     NODE(divergence_ms), .unit = MILLISECONDS},
    {COUNTER, "difyring_cluster_requests_total",
     "Requests sent to the instance by all nodes, since the cluster began.",
     INSTANCE(cluster.requests), .told = has_joined},
    {COUNTER, "difyring_cluster_application_requests_total",
     "Requests routed to the application by all nodes, since the cluster began.",
     APPLICATION(cluster.requests), .told = has_joined},
    {COUNTER, "difyring_cluster_application_errors_total",
     "Those that ended in a status of 500 or more, or in a broken answer.",
     APPLICATION(cluster.errors), .told = has_joined},
    {GAUGE, "difyring_vip_holder", "1 if this host has the virtual IP.", NODE(vip_holder),
     .told = has_vip},
    {GAUGE, "difyring_vip_conflict", "1 if more than one node says that it has the virtual IP.",
     NODE(vip_conflict), .told = has_vip},
    {COUNTER, "difyring_vip_conflicts_total", "How often that has begun, as seen by this node.",
     NODE(vip_conflicts), .told = has_vip},
    {GAUGE, "difyring_problems",
     "Problems of this node and the cluster as /status lists them, by "
     "severity and kind.",
     .put = metric_put_problems},
    {GAUGE, "difyring_build_info", "Always 1; the version is a label.", .put = metric_put_version},
    {GAUGE, "difyring_config_revision",
     "Revision of the shared configuration that is in force here.", NODE(config_revision)},
    {COUNTER, "difyring_reloads_total",
     "Reloads of this node's file: success, error (the file has problems), conflict (it would have "
     "taken changes back).",
     NODE(reloads), .by = {&result}},
    {GAUGE, "difyring_draining", "1 while /health says draining.", NODE(draining)},
    {GAUGE, "difyring_joining",
     "1 while /health says joining; the totals of the cluster are left out then.", NODE(joining)},
    {GAUGE, "difyring_workers", "Event loops.", NODE(workers)},
    {GAUGE, "difyring_control_standstill_seconds",
     "The longest turn of the control loop in the last minute, its waiting left out.",
     NODE(standstill.wall_us), .unit = MICROSECONDS},
    {GAUGE, "difyring_control_standstill_cpu_seconds",
     "The most CPU time that the control loop took for a turn in the last minute.",
     NODE(standstill.cpu_us), .unit = MICROSECONDS},
    {COUNTER, "difyring_worker_standstills_total",
     "How often a worker's loop has stood still for 5 s.", NODE(worker_standstills)},
    {COUNTER, "difyring_log_lines_dropped_total",
     "Log lines lost because their reader was too slow, or their disk full.", NODE(log_dropped),
     .by = {&stream}},
    {GAUGE, "process_start_time_seconds", "When the process started, since 1970.",
     NODE(started_wall_ms), .unit = MILLISECONDS},
    {COUNTER, "process_cpu_seconds_total", "User and system CPU time that the process has taken.",
     NODE(cpu_us), .unit = MICROSECONDS},
    {GAUGE, "process_open_fds", "Open file descriptors.", NODE(open_fds)},
    {GAUGE, "process_resident_memory_bytes", "Memory in use (RSS).", NODE(resident_size)},
};

void metrics_text(struct buffer *b, const struct facts *facts)
{
    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        metric_put_family(b, &metrics[i], facts);
    }
}
