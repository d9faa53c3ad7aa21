/* problem_kinds: the table. */
#include "member/problem_kinds.h"

#include <assert.h>
#include <string.h>

enum {
    /* What is noted at least once a second while it goes on. */
    AGAIN_MS = 4500,
    /* Told every second, by whoever hears it. */
    CLASH_MS = 2000,
    /* What happened once, and somebody must hear of. */
    ONCE_MS = 10 * 60 * 1000,
};

#define CRITICAL .severity = PROBLEM_CRITICAL, .worst = PROBLEM_CRITICAL
#define WARNING  .severity = PROBLEM_WARNING, .worst = PROBLEM_WARNING
#define INFO     .severity = PROBLEM_INFO, .worst = PROBLEM_INFO

const struct problem_kind problem_kinds[PROBLEM_KINDS] = {
    [PROBLEM_NO_INSTANCE] = {"no_instance", CRITICAL,
                             .remedy = "bring one of the application's instances back: their own "
                                       "problems say what is wrong; enable one that is drained"},
    [PROBLEM_VIP_CONFLICT] = {"vip_conflict", CRITICAL,
                              .remedy = "see whether the keepalived processes reach each other"},
    [PROBLEM_VIP_UNHELD] = {"vip_unheld", CRITICAL,
                            .remedy =
                                "see whether keepalived runs on the nodes, and what its log "
                                "says; a node that drains or starts is not given the address"},
    [PROBLEM_INSTANCE_KEPT] = {"instance_kept", .severity = PROBLEM_WARNING,
                               .worst = PROBLEM_CRITICAL,
                               .remedy = "repair it: it fails, and stays in service only since too "
                                         "many of the others are out"},
    [PROBLEM_INSTANCE_DOWN] = {"instance_down", WARNING,
                               .remedy =
                                   "look at the instance, beginning with the reason; it comes "
                                   "back by itself"},
    [PROBLEM_INSTANCE_EJECTED] = {"instance_ejected", WARNING,
                                  .remedy = "look at the instance's log at that time; a trial "
                                            "request brings it back, or `difyring enable`"},
    [PROBLEM_INSTANCE_UNREACHABLE] = {"instance_unreachable", WARNING,
                                      .remedy = "look at the network between this node and the "
                                                "instance: the other nodes reach it"},
    [PROBLEM_NAME_UNRESOLVED] = {"name_unresolved", WARNING,
                                 .remedy = "correct `host`, or see to this machine's DNS: `getent "
                                           "hosts NAME` asks what the node asks"},
    [PROBLEM_NODE_DEAD] = {"node_dead", WARNING,
                           .remedy = "start it again; `difyring forget` if it is gone for good"},
    [PROBLEM_NODE_SUSPECT] = {"node_suspect", WARNING,
                              .remedy =
                                  "wait a second: it is either back or dead then; if it comes "
                                  "and goes, look at the network and at that host's load"},
    [PROBLEM_NOT_CONVERGED] = {"not_converged", WARNING,
                               .remedy = "compare the nodes' configuration and ring digests; the "
                                         "problems of the other nodes say why"},
    [PROBLEM_CLOCK_OFF] = {"clock_off", WARNING, .remedy = "keep the clocks of all nodes by NTP"},
    [PROBLEM_WORKER_STANDS] = {"worker_stands", CRITICAL, .shown_ms = PROBLEM_UNTIL_DROPPED,
                               .remedy = "nothing, now: the node ends after 10 s and is started "
                                         "again; report its event worker_stands, with the version"},
    [PROBLEM_NAME_CLASH] = {"name_clash", WARNING, .shown_ms = CLASH_MS,
                            .remedy = "give each node a node.name of its own"},
    [PROBLEM_STATE_NOT_WRITTEN] = {"state_not_written", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                   .remedy = "make room on the disk, or correct who may write "
                                             "node.state_dir"},
    [PROBLEM_STATE_DAMAGED] = {"state_damaged", WARNING, .shown_ms = ONCE_MS,
                               .remedy = "look at the disk; the node goes on without the file, and "
                                         "learns what it can from the others"},
    [PROBLEM_STATE_CLONED] = {"state_cloned", WARNING, .shown_ms = ONCE_MS,
                              .remedy = "give each node a node.state_dir of its own; after a "
                                        "renaming there is nothing to do"},
    [PROBLEM_CERTIFICATE_ENDS] = {"certificate_ends", .severity = PROBLEM_WARNING,
                                  .worst = PROBLEM_CRITICAL, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                  .remedy = "renew the certificate's file, and reload"},
    [PROBLEM_FILE_UNREADABLE] = {"file_unreadable", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                 .remedy = "put the file on this node too, readable for difyring, "
                                           "and reload"},
    [PROBLEM_QUEUE_FULL] = {"queue_full", WARNING, .shown_ms = AGAIN_MS,
                            .remedy =
                                "requests get 429: the instance is slower than what comes; "
                                "add instances, or workers to the container and max_in_flight"},
    [PROBLEM_RELOAD_REFUSED] = {"reload_refused", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                .remedy = "correct the file (`difyring check`), and reload"},
    [PROBLEM_RESTART_NEEDED] = {"restart_needed", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                .remedy =
                                    "restart this node when it suits, or take the change back"},
    [PROBLEM_CONFIG_REFUSED] = {"config_refused", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                .remedy = "bring all nodes to the same version of difyring, then "
                                          "reload"},
    [PROBLEM_CONFIG_CONDEMNED] = {"config_condemned", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                  .remedy = "take the last change out of the file, and reload; "
                                            "report what ended the process"},
    [PROBLEM_CONFIG_CONFLICT] = {"config_conflict", WARNING, .shown_ms = ONCE_MS,
                                 .remedy = "reload on the node whose file is the right one"},
    [PROBLEM_CHANGES_LOST] = {"changes_lost", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                              .remedy = "`difyring config diff` shows what this node's file would "
                                        "take back; bring the file up to date, and reload"},
    [PROBLEM_UNKNOWN_KEY] = {"unknown_key", WARNING, .shown_ms = AGAIN_MS,
                             .remedy = "add that key to cluster.keys here, or correct it there"},
    [PROBLEM_FORGED] = {"forged", WARNING, .shown_ms = AGAIN_MS,
                        .remedy =
                            "compare cluster.name and cluster.keys of both ends, or close the "
                            "port to strangers"},
    [PROBLEM_NEWER_VERSION] = {"newer_version", WARNING, .shown_ms = AGAIN_MS,
                               .remedy = "bring all nodes to the same version of difyring"},
    [PROBLEM_CROWDED] = {"crowded", WARNING, .shown_ms = AGAIN_MS,
                         .remedy = "use fewer nodes, applications or instances"},
    [PROBLEM_LOG_DROPPED] = {"log_dropped", WARNING, .shown_ms = AGAIN_MS,
                             .remedy = "see why the log's reader, or its disk, is so slow"},
    [PROBLEM_LOG_NOT_OPENED] = {"log_not_opened", WARNING, .shown_ms = PROBLEM_UNTIL_DROPPED,
                                .remedy = "correct who may write the folder and the file (in "
                                          "logrotate: `create`), then send SIGUSR1 again"},
    [PROBLEM_MORE] = {"more", .severity = PROBLEM_WARNING, .worst = PROBLEM_CRITICAL,
                      .remedy =
                          "there are more problems than fit here: see the table of instances"},
    [PROBLEM_INSTANCE_DRAINED] = {"instance_drained", INFO,
                                  .remedy = "`difyring enable` brings it back"},
    [PROBLEM_NODE_DRAINED] = {"node_drained", INFO,
                              .remedy = "`difyring enable --node` brings it back"},
    [PROBLEM_FILE_DIFFERS] = {"file_differs", INFO, .shown_ms = PROBLEM_UNTIL_DROPPED,
                              .remedy = "`difyring config diff` shows what differs; put what is in "
                                        "force into this node's file"},
};

const char *problem_severity_text(enum problem_severity severity)
{
    switch (severity) {
    case PROBLEM_CRITICAL:
        return "critical";
    case PROBLEM_WARNING:
        return "warning";
    case PROBLEM_INFO:
        return "info";
    }
    assert(false);
    return "";
}

enum problem_id problem_id_of(const char *name)
{
    unsigned id = 0;
    while (id < PROBLEM_KINDS && strcmp(problem_kinds[id].name, name) != 0) {
        id++;
    }
    return (enum problem_id)id;
}
