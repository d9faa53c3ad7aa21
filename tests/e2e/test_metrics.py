"""/metrics: every family of the contract, in Prometheus' format, with the numbers that clients saw."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from harness import TIMEOUT, TOKEN, Node, check_error, instance, parallel, settings
from prometheus import Metrics
from prometheus_client.parser import text_string_to_metric_families
from stub_client import wait_for

ADMIN_TOKEN = "admin-secret-4711"
KEY = base64.b64encode(bytes(range(32))).decode()

# SPEC §5, and what every collector expects of a process.
FAMILIES = {
    "difyring_requests_total": "counter", "difyring_request_head_seconds": "histogram",
    "difyring_request_seconds": "histogram", "difyring_check_seconds": "histogram", "difyring_problems": "gauge",
    "difyring_reloads_total": "counter", "difyring_terminations_total": "counter", "difyring_placements_total": "counter",
    "difyring_placements": "gauge", "difyring_certificate_not_after_seconds": "gauge",
    "difyring_tls_handshakes_total": "counter", "difyring_instance_drained": "gauge",
    "difyring_retries_total": "counter", "difyring_instance_up": "gauge", "difyring_instance_in_flight": "gauge",
    "difyring_queue_length": "gauge", "difyring_queue_seconds": "histogram", "difyring_queue_rejected_total": "counter",
    "difyring_connections": "gauge", "difyring_client_aborts_total": "counter",
    "difyring_bytes_total": "counter", "difyring_gossip_members": "gauge", "difyring_gossip_packets_total": "counter",
    "difyring_gossip_bytes_total": "counter", "difyring_gossip_rejected_total": "counter",
    "difyring_gossip_divergence_seconds": "gauge", "difyring_cluster_requests_total": "counter",
    "difyring_worker_standstills_total": "counter",
    "difyring_usage_tokens_total": "counter", "difyring_usage_price_total": "counter",
    "difyring_control_standstill_seconds": "gauge", "difyring_control_standstill_cpu_seconds": "gauge",
    "difyring_log_lines_dropped_total": "counter", "difyring_config_revision": "gauge",
    "difyring_build_info": "gauge", "process_start_time_seconds": "gauge", "process_open_fds": "gauge",
    "process_resident_memory_bytes": "gauge", "process_cpu_seconds_total": "counter",
}


def scrape(node):
    head, body = node.request("GET", "/metrics")
    assert head.status == 200
    assert head.headers["content-type"] == "text/plain; version=0.0.4"
    return Metrics(body.decode())


def post(node, user, token=TOKEN):
    return node.request("POST", "/v1/_echo", token=token, json_body={"user": user})


# ---- the document

@pytest.mark.smoke
def test_every_family_of_the_contract_is_there(stubs):
    with Node(settings(stubs)) as node:
        post(node, "u")
        found = {name: kind for name, (kind, _) in scrape(node).families.items()}
        assert FAMILIES.items() <= found.items()
        assert not [name for name in found if not re.match("difyring_|process_", name)]


def test_prometheus_own_reader_reads_the_same(stubs):
    with Node(settings(stubs)) as node:
        for i in range(10):
            post(node, f"u{i}")
        text = node.request("GET", "/metrics")[1].decode()
        theirs = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
                  for family in text_string_to_metric_families(text) for sample in family.samples}
        ours = {(name, tuple(sorted(labels))): value for (name, labels), value in Metrics(text).samples.items()}
        assert theirs == ours


def test_metrics_are_for_admins_and_for_reading(stubs):
    config = settings(stubs, admin={"allow": ["127.0.0.2/32"], "token": ADMIN_TOKEN})
    with Node(config) as node:
        check_error(*node.request("GET", "/metrics"), 403, "forbidden")
        assert node.request("GET", "/metrics", token=TOKEN)[0].status == 403
        assert node.request("GET", "/metrics", token=ADMIN_TOKEN)[0].status == 200
        assert node.request("GET", "/metrics", source="127.0.0.2")[0].status == 200
        assert node.request("POST", "/metrics", source="127.0.0.2", body=b"x")[0].status == 405
        with node.client(source="127.0.0.2") as client:
            head = client.request("HEAD", "/metrics").head()
            assert head.status == 200 and int(head.headers["content-length"]) > 1000
            assert client.request("GET", "/health").response()[0].status == 200   # no body came in between


# ---- its numbers

@pytest.mark.threads
def test_requests_are_those_that_clients_sent(stubs):
    with Node(settings(stubs)) as node:
        def some(part):
            with node.client() as client:
                for i in range(50):
                    client.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"u{part}-{i}"})
        ended = []

        def watch():
            before = scrape(node)
            while not ended:
                now = scrape(node)
                now.check_growth(before)
                before = now

        def load():
            try:
                parallel([lambda part=part: some(part) for part in range(6)])
            finally:
                ended.append(True)
        parallel([load, watch])
        now = scrape(node)
        for stub in stubs:
            seen = len(stub.requests())
            assert now.get("difyring_requests_total", app="one", dify_instance=stub.name, code="200") == seen
            assert now.get("difyring_cluster_requests_total", app="one", dify_instance=stub.name) == seen
            assert now.get("difyring_instance_up", app="one", dify_instance=stub.name) == 1
        assert now.sum("difyring_requests_total", app="one") == 300
        assert now.get("difyring_request_head_seconds_count", app="one") == 300
        assert now.get("difyring_request_seconds_count", app="one") == 300
        assert 0 < now.get("difyring_request_head_seconds_sum", app="one") < 300 * TIMEOUT
        assert now.get("difyring_retries_total", app="one") == 0


def test_requests_and_bytes_agree_with_the_access_log(stubs):
    with Node(settings(stubs), logs={"skip": []}) as node:
        stubs[0].fault("status", code=503, count=None, match="/_echo")
        stubs[1].fault("reset_before_head", count=None, match="/_echo")
        for i in range(30):
            post(node, f"u{i}")   # 503 from the instance, 502 from the node in its name, 200
        for target, token, code in (("/v1/_echo", "wrong", 401), ("/nothing", None, 404), ("/metrics", None, 200)):
            assert node.request("GET", target, token=token)[0].status == code
        assert node.request("GET", "/v1/_echo", headers=[("Bad header", "x")])[0].status == 400
        head, body = node.request("GET", "/metrics")
        now = Metrics(body.decode())   # the scrape itself is not in it
        wait_for(lambda: len(node.access()) == now.sum("difyring_requests_total") + 1, TIMEOUT)
        lines = [line for line in node.access() if line["request_id"] != head.headers["x-request-id"]]
        logged = {}
        for line in lines:
            key = (line["app"] or "", line["instance"] or "", str(line["status"]))
            logged[key] = logged.get(key, 0) + 1
        assert {("one", "dify1", "503"), ("one", "dify2", "502"), ("one", "dify3", "200"), ("", "", "401"),
                ("", "", "404"), ("", "", "400"), ("", "", "200")} == set(logged)
        assert logged == {tuple(value for _, value in labels): number for (name, labels), number in now.samples.items()
                          if name == "difyring_requests_total"}
        for direction in ("in", "out"):
            assert now.get("difyring_bytes_total", direction=direction) == sum(
                line["bytes_" + direction] for line in lines)


def test_the_histogram_is_of_the_response_head(stubs):
    with Node(settings(stubs[:1])) as node:
        for _ in range(3):
            node.request("POST", "/v1/chat-messages", token=TOKEN,
                         json_body={"user": "u", "query": "x", "inputs": {"stub_delay": 0.3}})
        now = scrape(node)
        assert now.get("difyring_request_head_seconds_bucket", app="one", le="0.262144") == 0
        assert now.get("difyring_request_head_seconds_bucket", app="one", le="134.217728") == 3
        took = sum(line["upstream_head_time"] for line in node.wait_access(3, app="one"))
        assert abs(now.get("difyring_request_head_seconds_sum", app="one") - took) < 1e-5


def test_retries_and_failures_are_counted(stubs):
    with Node(settings(stubs[:2])) as node:
        stubs[0].fault("status", code=503, count=None, match="/_echo")
        users = [f"u{i}" for i in range(20)]
        for user in users:
            assert node.request("GET", f"/v1/_echo?user={user}", token=TOKEN)[0].status == 200
        failed = len([r for r in stubs[0].requests() if r["fault"]])
        now = scrape(node)
        assert failed > 0 and now.get("difyring_retries_total", app="one") == failed
        assert now.get("difyring_instance_failures_total", app="one", dify_instance="dify1") == failed
        assert now.get("difyring_instance_failures_total", app="one", dify_instance="dify2") == 0
        assert now.sum("difyring_requests_total", app="one", dify_instance="dify1") == 0   # nobody got its answer
        assert now.get("difyring_requests_total", app="one", dify_instance="dify2", code="200") == len(users)


def test_an_ejected_instance_is_not_up(stubs):
    instances = [instance(stub, max_fails=1, fail_timeout="60s") for stub in stubs]
    with Node(settings(stubs, instances=instances)) as node:
        stubs[1].fault("status", code=503, count=None, match="/_echo")

        def eject():
            for i in range(20):
                post(node, f"u{i}")
            return node.instances()["dify2"]["status"] == "ejected"
        wait_for(eject, TIMEOUT)
        now = scrape(node)
        assert [now.get("difyring_instance_up", app="one", dify_instance=stub.name) for stub in stubs] == [1, 0, 1]


def test_gauges_and_clients_that_leave(stubs):
    with Node(settings(stubs[:1])) as node:
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=2&interval=60&user=u", TOKEN).head()
            # This one and the scrape's; those of the start and of the last scrape may still be on their way out.
            wait_for(lambda: scrape(node).get("difyring_connections") == 2, TIMEOUT)
            now = scrape(node)
            assert now.get("difyring_instance_in_flight", app="one", dify_instance="dify1") == 1
            assert now.get("difyring_queue_length", app="one", dify_instance="dify1") == 0
            assert now.get("difyring_client_aborts_total") == 0
        wait_for(lambda: scrape(node).get("difyring_client_aborts_total") == 1, TIMEOUT)
        with node.client() as client:   # gone before any answer: 499
            stubs[0].fault("stall_before_head", match="/_echo")
            client.request("GET", "/v1/_echo?user=u", TOKEN)
            wait_for(lambda: scrape(node).get("difyring_instance_in_flight", app="one", dify_instance="dify1") == 1, TIMEOUT)
        wait_for(lambda: scrape(node).get("difyring_client_aborts_total") == 2, TIMEOUT)
        now = scrape(node)
        assert now.get("difyring_instance_in_flight", app="one", dify_instance="dify1") == 0
        assert now.get("difyring_requests_total", app="one", dify_instance="dify1", code="499") == 1
        assert now.get("difyring_requests_total", app="one", dify_instance="dify1", code="200") == 1


def test_counters_outlive_reloads(stubs):
    with Node(settings(stubs)) as node:
        for i in range(30):
            post(node, f"u{i}")
        before = scrape(node)
        assert node.reload(settings(stubs[:1]))[0] == 200
        without = scrape(node)
        without.check_growth(before)
        assert without.get("difyring_config_revision") == before.get("difyring_config_revision") + 1
        assert ("difyring_instance_up", (("app", "one"), ("dify_instance", "dify2"))) not in without.samples
        moved = settings(stubs, instances=[{**instance(stubs[0]), "name": stub.name} for stub in stubs])
        assert node.reload(moved)[0] == 200   # the names are back, at another address
        for i in range(30):
            post(node, f"u{i}")
        after = scrape(node)
        after.check_growth(without)
        for stub in stubs:
            labels = {"app": "one", "dify_instance": stub.name, "code": "200"}
            assert after.get("difyring_requests_total", **labels) == 2 * before.get("difyring_requests_total", **labels)


def test_the_process_is_told_of(stubs):
    with Node(settings(stubs)) as node:
        now = scrape(node)
        assert abs(now.get("process_start_time_seconds") - time.time()) < TIMEOUT
        fds = len(os.listdir(f"/proc/{node.pid}/fd"))
        assert abs(now.get("process_open_fds") - fds) <= 2   # the scrape's own connection
        assert abs(now.get("process_resident_memory_bytes") - node.memory()) < 8 << 20
        version = node.status()["node"]["version"]
        assert now.get("difyring_build_info", version=version) == 1
        assert now.get("difyring_workers") == 2
        assert not re.search(re.escape(TOKEN), node.request("GET", "/metrics")[1].decode())


# ---- of a cluster

def udp_ports(count):
    """Free ones, as the kernel picks them; others may take them, but nobody here does."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def member(stubs, name, port, join):
    return settings(stubs, node={"name": name}, cluster={
        "name": "dify", "bind": f"127.0.0.1:{port}", "join": [f"127.0.0.1:{join}"], "keys": [KEY]})


@pytest.mark.threads
def test_two_nodes_tell_of_each_other(stubs):
    one, two = udp_ports(2)
    with Node(member(stubs, "node-a", one, two)) as a, Node(member(stubs, "node-b", two, one)) as b:
        wait_for(lambda: all(scrape(node).get("difyring_gossip_members", state="alive") == 2 for node in (a, b)), TIMEOUT)
        for i in range(20):
            post(a, f"u{i}")
        for i in range(10):
            post(b, f"v{i}")
        assert scrape(a).sum("difyring_requests_total", app="one") == 20
        assert scrape(b).sum("difyring_requests_total", app="one") == 10
        for node in (a, b):   # each has all
            wait_for(lambda node=node: scrape(node).sum("difyring_cluster_requests_total", app="one") == 30, TIMEOUT)
            for stub in stubs:
                assert scrape(node).get("difyring_cluster_requests_total", app="one", dify_instance=stub.name) == \
                    len(stub.requests())
        wait_for(lambda: scrape(a).get("difyring_gossip_divergence_seconds") == 0, TIMEOUT)
        before = scrape(a)
        for kind in ("syn", "syn_ack"):   # where all exchange state so often, nobody needs pings
            for direction in ("in", "out"):
                wait_for(lambda kind=kind, direction=direction: scrape(a).get(
                    "difyring_gossip_packets_total", type=kind, direction=direction) > 0, TIMEOUT)
        scrape(a).check_growth(before)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            rejected = scrape(a).sum("difyring_gossip_rejected_total")
            for _ in range(5):
                forger.sendto(b"x" * 100, ("127.0.0.1", one))
            forger.sendto(b"x", ("127.0.0.1", one))
            wait_for(lambda: scrape(a).sum("difyring_gossip_rejected_total") == rejected + 6, TIMEOUT)
        assert scrape(a).get("difyring_gossip_rejected_total", reason="truncated") == 1
        b.process.kill()
        b.process.wait()
        wait_for(lambda: scrape(a).get("difyring_gossip_members", state="dead") == 1, 3 * TIMEOUT)
        after = scrape(a)
        after.check_growth(before)
        assert after.sum("difyring_cluster_requests_total", app="one") == 30
        assert after.get("difyring_gossip_deaths_total") == 1
        b.stop = lambda: None   # it did not end well, and was not to


def test_divergence_lasts_as_long_as_the_nodes_differ(stubs):
    """node-b is stopped in the middle of a change: node-a sees another ring on it until it goes on."""
    one, two = udp_ports(2)
    with Node(member(stubs, "node-a", one, two)) as a, Node(member(stubs, "node-b", two, one)) as b:
        wait_for(lambda: a.status()["cluster"]["alive"] == 2 and a.status()["cluster"]["converged"], TIMEOUT)
        assert scrape(a).get("difyring_gossip_divergence_seconds") == 0
        b.signal(signal.SIGSTOP)
        try:
            a.request("POST", "/admin/instances/one/dify1/drain")
            wait_for(lambda: scrape(a).get("difyring_gossip_divergence_seconds") > 0.2, TIMEOUT)
        finally:
            b.signal(signal.SIGCONT)
        wait_for(lambda: scrape(a).get("difyring_gossip_divergence_seconds") == 0, TIMEOUT)
        assert scrape(a).get("difyring_instance_up", app="one", dify_instance="dify1") == 0
        wait_for(lambda: scrape(b).get("difyring_instance_up", app="one", dify_instance="dify1") == 0, TIMEOUT)


def own_addresses():
    """(interface, address/prefix) that this host has besides loopback's."""
    shown = json.loads(subprocess.run(["ip", "-4", "-j", "addr"], capture_output=True, check=True).stdout)
    return [(link["ifname"], f"{address['local']}/{address['prefixlen']}")
            for link in shown if link["ifname"] != "lo" for address in link["addr_info"]]


@pytest.mark.slow
def test_two_holders_of_the_virtual_ip_are_a_conflict(stubs, tmp_path):
    """Both nodes run on the host that has the address: each believes to be the holder."""
    if not own_addresses():
        pytest.skip("this host has no address but loopback's")
    interface, address = own_addresses()[0]
    one, two = udp_ports(2)
    configs = [member(stubs, "node-a", one, two), member(stubs, "node-b", two, one)]
    for at, config in enumerate(configs):
        config["timeouts"] = {"drain": "2s"}   # nobody takes the address away
        config["vip"] = {"address": address, "interface": interface, "peers": ["203.0.113.12"],
                         "track_file": str(tmp_path / f"vrrp-{at}")}
    with Node(configs[0]) as a:
        wait_for(lambda: scrape(a).get("difyring_vip_holder") == 1, TIMEOUT)
        assert scrape(a).get("difyring_vip_conflict") == 0
        with Node(configs[1]) as b:
            for node in (a, b):
                wait_for(lambda node=node: scrape(node).get("difyring_vip_conflict") == 1, TIMEOUT)
                wait_for(lambda node=node: scrape(node).get("difyring_vip_conflicts_total") == 1, TIMEOUT)
                assert scrape(node).get("difyring_vip_holder") == 1
                assert node.status()["cluster"]["vip"]["conflict"]   # as /status has it
                told = wait_for(lambda node=node: [e for e in node.events("problem") if e["kind"] == "vip_conflict"], TIMEOUT)
                assert told[0]["message"].startswith("node-") and " both have the virtual IP" in told[0]["message"]
                assert (told[0]["level"], told[0]["severity"]) == ("error", "critical")   # SPEC §8: two holders
        wait_for(lambda: scrape(a).get("difyring_vip_conflict") == 0, TIMEOUT)
