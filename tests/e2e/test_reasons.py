"""Why an instance has its status, since when, and by whose vote (SPEC §5), as any node tells it."""

import re
import time

import pytest
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, Node, instance, ring_find, ring_points, settings
from prometheus import Metrics
from stub_client import wait_for

CHECK = {"interval": "100ms", "timeout": "200ms", "path": "/health"}
PATH = "/v1/_echo"


def user_of(stubs, name):
    points = ring_points({stub.name: 1 for stub in stubs})
    return next(user for user in (f"u{i}" for i in range(1000)) if ring_find(points, "one", user) == name)


def check_since(entry, began):
    assert began - 1 <= entry["since"] <= time.time() + 1, entry


@pytest.mark.parametrize("kind, more, words", [
    ("status", {"code": 401}, ["status 401", "does not know its token"]),
    ("status", {"code": 500}, ["status 500"]),
    ("refuse", {}, ["ECONNREFUSED"]),
    ("stall_before_head", {}, ["timed out"]),
    ("close_before_head", {}, ["connection lost"]),
    ("garbage", {}, ["answered garbage"])])
def test_a_failed_check_says_what_was_wrong(stubs, kind, more, words):
    with Node(settings(stubs, health_check=CHECK)) as node:
        first = node.wait_instance("dify2", status="healthy")
        assert first["reason"] == {"kind": "check_passed", "text": "2 checks in a row passed", "node": "node-a"}
        assert first["last_check"]["result"] == "up" and first["last_check"]["ms"] >= 0
        began = time.time()
        if kind == "refuse":
            stubs[1].refuse()
        else:
            stubs[1].fault(kind, count=None, match="/health", **more)
        entry = node.wait_instance("dify2", status="unhealthy")
        check_since(entry, began)
        assert entry["reason"]["kind"] == "check_failed" and entry["reason"]["node"] == "node-a"
        for word in ["3 checks in a row failed", *words]:
            assert word in entry["reason"]["text"], entry["reason"]
        assert entry["last_check"]["result"] == "down" and abs(entry["last_check"]["at"] - time.time()) < 5 * PATIENCE
        counted = Metrics(node.request("GET", "/metrics")[1].decode())
        assert counted.samples[("difyring_check_seconds_count", (("app", "one"), ("dify_instance", "dify2")))] >= 5
        event = wait_for(lambda: [e for e in node.events("instance_status") if e["status"] == "unhealthy"], TIMEOUT)[0]
        assert event["reason"] == "check_failed" and event["by"] == "node-a" and words[0] in event["message"]


def test_a_name_without_an_address_is_unresolved(stubs):
    nowhere = {"name": "nowhere", "host": "nowhere.invalid", "port": 1, "token": "app-nowhere"}
    with Node(settings(stubs, instances=[instance(stubs[0]), nowhere], health_check=CHECK)) as node:
        entry = node.wait_instance("nowhere", status="unhealthy", seconds=3 * TIMEOUT)
        assert entry["reason"]["kind"] == "unresolved" and "no address" in entry["reason"]["text"]
        assert not [p for p in node.status()["problems"] if p["kind"] == "name_unresolved"]   # the same, said once
    # told before any check has failed, and where there are none; once a name
    both = [nowhere, {**nowhere, "name": "nowhere2", "token": "app-nowhere2"}, instance(stubs[0])]
    with Node(settings(stubs, instances=both, health_check={"enabled": False})) as node:
        told, = wait_for(lambda: [p for p in node.status()["problems"] if p["kind"] == "name_unresolved"], 3 * TIMEOUT)
        assert (told["severity"], told["subject"]) == ("warning", "nowhere.invalid")
        assert re.fullmatch(r"the name does not resolve \(.+\); its instances get no request until it does", told["detail"])
        wait_for(lambda: [e for e in node.events("problem") if e["kind"] == "name_unresolved"], TIMEOUT)
        assert node.reload(settings(stubs, instances=both[2:], health_check={"enabled": False}))[0] == 200
        wait_for(lambda: node.status()["problems"] == [], TIMEOUT)
        assert [e["level"] for e in wait_for(lambda: node.events("problem_over"), TIMEOUT)] == ["info"]


def ejecting(stubs, fail_timeout="60s"):
    return settings(stubs, instances=[instance(stub, max_fails=2, fail_timeout=fail_timeout) for stub in stubs])


@pytest.mark.parametrize("fault, more, kind, word", [
    ("status", {"code": 503}, "status", "status 503"), ("refuse", {}, "refused", "ECONNREFUSED"),
    ("close_before_head", {}, "reset", "lost"), ("garbage", {}, "garbage", "garbage"),
    ("stall_before_head", {}, "first_byte_timeout", "timeouts.first_byte")])
def test_an_ejection_says_what_ended_the_run(stubs, fault, more, kind, word):
    with Node({**ejecting(stubs), "timeouts": {"first_byte": "300ms"}}) as node:
        new = node.instances()["dify1"]
        assert (new["status"], new["reason"]["kind"], new["reason"]["node"]) == ("unknown", "new", None)
        assert new["last_check"] is None
        began = time.time()
        if fault == "refuse":
            stubs[0].refuse()
        else:
            stubs[0].fault(fault, count=None, match="/v1/", **more)
        user = user_of(stubs, "dify1")
        for _ in range(2):
            node.request("POST", PATH, token=TOKEN, json_body={"user": user})
        entry = node.wait_instance("dify1", status="ejected")
        check_since(entry, began)
        assert entry["reason"]["kind"] == kind and entry["reason"]["node"] == "node-a"
        assert "2 requests failed" in entry["reason"]["text"] and word in entry["reason"]["text"]


def test_trials_are_reasons(stubs):
    user = user_of(stubs, "dify1")
    with Node(ejecting(stubs, "300ms")) as node:
        stubs[0].fault("status", count=None, code=503, match="/v1/")

        def ask():
            node.request("POST", PATH, token=TOKEN, json_body={"user": user})
            return node.instances()["dify1"]
        began = wait_for(lambda: [ask()["since"]] if ask()["status"] == "ejected" else None, TIMEOUT)[0]
        entry = wait_for(lambda: [one for one in [ask()] if one["reason"]["kind"] == "trial_failed"], TIMEOUT)[0]
        assert entry["since"] == began and entry["status"] == "ejected"
        stubs[0].clear()
        entry = wait_for(lambda: [one for one in [ask()] if one["status"] == "healthy" or one["eligible"]], TIMEOUT)[0]
        assert entry["reason"]["kind"] == "trial_passed" and entry["since"] >= began


def test_all_nodes_give_the_same_reason_and_so_does_one_that_comes_later(stubs):
    def told(cluster, name="dify2"):
        entries = [node.instances()[name] for node in cluster.nodes()]
        return [(e["status"], e["since"], e["reason"]["kind"], e["reason"]["text"], e["reason"]["node"]) for e in entries]

    with Cluster(settings(stubs, health_check=CHECK), start=["node-a", "node-b"]) as cluster:
        cluster.settle()
        for node in cluster.nodes():
            node.wait_instance("dify2", status="healthy")
        began = time.time()
        stubs[1].fault("status", count=None, code=401, match="/health")
        for node in cluster.nodes():
            node.wait_instance("dify2", status="unhealthy")
        wait_for(lambda: len(set(told(cluster))) == 1, TIMEOUT)
        before = told(cluster)[0]
        assert began - 1 <= before[1] <= began + 5 * PATIENCE and before[2] == "check_failed"
        wait_for(lambda: time.time() > before[1] + 2, TIMEOUT)   # else a later since could not be told from it
        cluster.start("node-c")
        cluster["node-c"].wait_instance("dify2", status="unhealthy")
        wait_for(lambda: {one[:4] for one in told(cluster)} == {before[:4]}, TIMEOUT)
        cluster.stop("node-a")
        cluster.wait_state("node-a", "left")
        assert {one[1] for one in told(cluster)} == {before[1]}
        node = cluster["node-b"]
        began = time.time()
        assert node.request("POST", "/admin/instances/one/dify1/drain")[0].status == 200
        for other in cluster.nodes():
            entry = other.wait_instance("dify1", status="draining")
            assert entry["reason"] == {"kind": "drained", "text": "an operator drained it", "node": "node-b"}
            check_since(entry, began)
        assert node.request("POST", "/admin/instances/one/dify1/enable")[0].status == 200
        for other in cluster.nodes():
            entry = other.wait_instance("dify1", status="healthy")
            assert entry["reason"]["kind"] == "enabled" and entry["reason"]["node"] == "node-b"


def test_the_last_minute_is_the_cluster_s(stubs):
    """Requests, failures and p95 of all nodes together, as any of them tells it."""
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle()
        a, b = cluster.nodes()
        user = user_of(stubs, "dify1")
        for node, count in ((a, 6), (b, 4)):
            for _ in range(count):
                assert node.request("POST", PATH, token=TOKEN, json_body={"user": user})[0].status == 200

        def minutes():
            return [node.instances()["dify1"]["last_minute"] for node in cluster.nodes()]
        assert a.instances()["dify1"]["last_minute"]["requests"] >= 6   # its own at once
        wait_for(lambda: all(one["requests"] == 10 and one["failures"] == 0 and 0 < one["p95_ms"] < 1000 * TIMEOUT
                             for one in minutes()), TIMEOUT)
        assert b.instances()["dify2"]["last_minute"] == {"requests": 0, "failures": 0, "p95_ms": 0}
