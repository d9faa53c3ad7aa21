"""Which instances get requests: active checks, passive ejection, its trial, and the limits of both."""

import time

import pytest
from harness import (PATIENCE, STATE_SECONDS, TIMEOUT, TOKEN, Node, check_error, instance, observe, parallel, ring_find,
                     ring_points, settings)
from stub_client import Stub, wait_for

CHECK = {"interval": "100ms", "timeout": "200ms", "path": "/health"}
PATH = "/v1/_echo"
UNTIL_LATER = "60s"    # a fail_timeout that no test waits for


def watched(stubs, check=None, **more):
    return settings(stubs, health_check={**CHECK, **(check or {})}, **more)


def with_ejection(stubs, max_fails=3, fail_timeout=UNTIL_LATER, **more):
    """No checks: only what requests show."""
    return settings(stubs, instances=[instance(stub, max_fails=max_fails, fail_timeout=fail_timeout)
                                      for stub in stubs], **more)



@pytest.fixture(scope="module")
def users(all_stubs):
    """instance -> a user who lands there while all are eligible."""
    points = ring_points({stub.name: 1 for stub in all_stubs})
    found = {}
    for i in range(1000):
        found.setdefault(ring_find(points, "one", f"u{i}"), f"u{i}")
    return found


def post(node, user, path=PATH):
    """(status, instance or None) of a POST for `user`; a POST is never retried, so each is one outcome."""
    head, value = node.json("POST", path, token=TOKEN, json_body={"user": user, "query": "x"})
    return head.status, value.get("instance")


def fail(node, user, times=1):
    for _ in range(times):
        assert node.request("POST", PATH, token=TOKEN, json_body={"user": user})[0].status >= 500


def checks_of(stub):
    return [record["mono"] for record in stub.requests(path="/health")]


# ---- active

def test_thresholds_up_and_down(stubs, users):
    check = {"healthy_threshold": 3, "unhealthy_threshold": 4}
    with Node(watched(stubs, check)) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy", eligible=True)
        assert node.instances()["dify1"]["votes"] == {"node-a": {"active": "up", "passive": "ok"}}
        stubs[0].forget()
        stubs[0].fault("status", code=500, count=3, match="/health")   # one fewer than it takes
        wait_for(lambda: len(checks_of(stubs[0])) >= 5, TIMEOUT)
        assert node.instances()["dify1"]["status"] == "healthy"
        stubs[0].fault("status", code=404, count=None, match="/health")
        node.wait_instance("dify1", status="unhealthy", eligible=False)
        assert node.instances()["dify1"]["votes"]["node-a"]["active"] == "down"
        assert post(node, users["dify1"])[1] != "dify1"
        stubs[0].clear()
        stubs[0].forget()
        node.wait_instance("dify1", status="healthy", eligible=True)
        assert len(checks_of(stubs[0])) >= 3
        assert post(node, users["dify1"]) == (200, "dify1")
        assert [event for event in node.events("instance_status") if event["instance"] == "dify1"]


@pytest.mark.parametrize("kind, more", [
    ("refuse", {}), ("accept_reset", {}), ("close_before_head", {}), ("stall_before_head", {}), ("garbage", {}),
    ("bad_head", {"variant": "two_lengths"})])
def test_each_way_to_fail_a_check(stubs, kind, more):
    with Node(watched(stubs)) as node:
        node.wait_instance("dify2", status="healthy")
        if kind == "refuse":
            stubs[1].refuse()
        else:
            stubs[1].fault(kind, count=None, match="/health", **more)
        node.wait_instance("dify2", status="unhealthy")
        assert [found["status"] for found in node.instances().values()] == ["healthy", "unhealthy", "healthy"]
        stubs[1].clear()
        node.wait_instance("dify2", status="healthy")


def test_expected_statuses(stubs):
    with Node(watched(stubs, {"path": "/v1/info", "token": False, "expect": ["400-403", 500]})) as node:
        node.wait_instance("dify1", status="healthy")   # 401
    with Node(watched(stubs, {"path": "/v1/info", "token": False, "expect": [200, "402-599"], "unhealthy_threshold": 1})) as node:
        node.wait_instance("dify1", status="unhealthy")


def test_checks_do_not_come_all_at_once(stubs):
    with Node(watched(stubs, {"interval": "300ms"})) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
            stub.forget()
        wait_for(lambda: all(len(checks_of(stub)) >= 5 for stub in stubs), TIMEOUT)
        times = [checks_of(stub) for stub in stubs]
    for each in times:
        gaps = [b - a for a, b in zip(each, each[1:])]
        assert 0.15 < sum(gaps) / len(gaps) and min(gaps) < 0.45 * PATIENCE   # the host may be late now and then
    firsts = sorted(each[0] for each in times)
    assert firsts[-1] - firsts[0] > 0.02   # somewhere within the interval, not in one burst


def test_busy_is_not_down():
    """One place, taken by a stream: checks wait behind it, and time out, while its events come."""
    with Stub("dify1", connections=1) as stub, Node(watched([stub], {"unhealthy_threshold": 1})) as node:
        node.wait_instance("dify1", status="healthy")
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=100000&interval=0.02", TOKEN).head()
            began = time.monotonic()
            while time.monotonic() < began + 1:   # five timeouts of a check
                client.more()
                client.buffer = b""
            assert node.instances()["dify1"]["status"] == "healthy"
        stub.clear()
        stub.pause()   # now it is stuck, and nothing comes
        try:
            node.wait_instance("dify1", status="unhealthy")
        finally:
            stub.resume()
        node.wait_instance("dify1", status="healthy")


def test_no_checks_when_switched_off(stubs):
    with Node(settings(stubs, health_check={"enabled": False, "interval": "50ms"})) as node:
        before = stubs[0].counts()["connections_ever"]
        observe(0.5, lambda: node.instances()["dify1"]["status"] == "unknown")
        assert node.instances()["dify1"]["eligible"]
        assert stubs[0].counts()["connections_ever"] == before and stubs[0].requests() == []


# ---- passive

@pytest.mark.parametrize("kind, more", [
    ("close_before_head", {}), ("reset_before_head", {}), ("garbage", {}), ("status", {"code": 502}),
    ("status", {"code": 503}), ("stall_before_head", {})])
def test_max_fails_eject(stubs, users, kind, more):
    config = with_ejection(stubs, timeouts={"first_byte": "150ms"})
    with Node(config) as node:
        stubs[1].fault(kind, count=None, match=PATH, **more)
        fail(node, users["dify2"], 2)
        assert node.instances()["dify2"]["status"] != "ejected"
        fail(node, users["dify2"])
        node.wait_instance("dify2", status="ejected", eligible=False)
        found = node.instances()["dify2"]
        assert found["failures"] == 3 and found["votes"]["node-a"]["passive"] == "tripped"
        status, name = post(node, users["dify2"])
        assert status == 200 and name != "dify2"


def test_a_refused_connect_counts_though_the_client_sees_nothing(stubs, users):
    with Node(with_ejection(stubs)) as node:
        stubs[1].refuse()
        for _ in range(3):
            assert post(node, users["dify2"])[0] == 200
        node.wait_instance("dify2", status="ejected")


def test_failures_out_of_the_window_do_not_add_up(stubs, users):
    with Node(with_ejection(stubs, max_fails=2, fail_timeout="100ms")) as node:
        for _ in range(3):
            stubs[1].fault("status", code=503, match=PATH)
            fail(node, users["dify2"])
            observe(0.15, lambda: node.instances()["dify2"]["status"] != "ejected")


def test_max_fails_zero_never_ejects(stubs, users):
    with Node(with_ejection(stubs, max_fails=0)) as node:
        stubs[1].fault("status", code=503, count=None, match=PATH)
        fail(node, users["dify2"], 10)
        observe(0.1, lambda: node.instances()["dify2"]["eligible"])


@pytest.mark.parametrize("code", [400, 401, 404, 413, 429, 422, 501])
def test_429_and_4xx_are_no_failures(stubs, users, code):
    with Node(with_ejection(stubs, max_fails=1)) as node:
        for _ in range(4):
            head, _ = node.request("POST", f"/v1/_status/{code}", token=TOKEN, json_body={"user": users["dify2"]})
            assert head.status == code
        observe(0.1, lambda: node.instances()["dify2"]["eligible"])
        assert node.instances()["dify2"]["failures"] == 0


def test_failure_statuses_are_configurable(stubs, users):
    config = with_ejection(stubs, max_fails=1, health_check={"enabled": False, "failure_statuses": [501]})
    with Node(config) as node:
        node.request("POST", "/v1/_status/500", token=TOKEN, json_body={"user": users["dify2"]})
        observe(0.1, lambda: node.instances()["dify2"]["eligible"])
        node.request("POST", "/v1/_status/501", token=TOKEN, json_body={"user": users["dify2"]})
        node.wait_instance("dify2", status="ejected")


def test_clients_that_leave_are_no_failures(stubs, users):
    with Node(with_ejection(stubs, max_fails=1)) as node:
        stubs[1].fault("stall_before_head", count=2, match=PATH)
        stubs[1].fault("stall_after_head", count=2, match=PATH)
        for turn in range(4):
            client = node.client()
            client.request("POST", PATH, TOKEN, json_body={"user": users["dify2"]})
            wait_for(lambda wanted=turn + 1: len(stubs[1].requests(path=PATH)) == wanted, TIMEOUT)
            client.close()
            stubs[1].wait_counts(lambda counts, wanted=turn + 1: counts["aborts"] == wanted, TIMEOUT)
        observe(0.1, lambda: node.instances()["dify2"]["eligible"])
        assert node.instances()["dify2"]["failures"] == 0


@pytest.mark.threads
@pytest.mark.parametrize("good", [True, False])
def test_after_fail_timeout_exactly_one_request_tries(stubs, users, good):
    seconds = 0.6
    with Node(with_ejection(stubs, max_fails=1, fail_timeout=f"{int(seconds * 1000)}ms")) as node:
        stubs[1].fault("status", code=503, match=PATH)
        began = time.monotonic()
        fail(node, users["dify2"])
        node.wait_instance("dify2", status="ejected")
        stubs[1].forget()
        if good:
            stubs[1].fault("stall_before_head", seconds=0.2, count=None, match=PATH)
        else:
            stubs[1].fault("close_before_head", count=None, match=PATH)

        def trial_came():
            outcomes = parallel([lambda: post(node, users["dify2"])] * 12)
            return outcomes if stubs[1].requests(path=PATH) else None
        outcomes = wait_for(trial_came, STATE_SECONDS)
        first = stubs[1].requests(path=PATH)[0]
        assert first["mono"] - began > seconds * 0.9   # not before its time
        tried = stubs[1].requests(path=PATH)
        if good:
            assert len([record for record in tried if record["mono"] < first["mono"] + 0.15]) == 1
            stubs[1].clear()
            node.wait_instance("dify2", status="unknown", eligible=True)   # it passed; no checks, so no opinion
            assert post(node, users["dify2"]) == (200, "dify2")
        else:
            assert len(tried) == 1   # and it is out again
            assert [status for status, _ in outcomes].count(502) == 1
            assert node.instances()["dify2"]["status"] == "ejected"


def test_at_most_half_are_ejected_and_never_the_last(stubs, users):
    with Node(with_ejection(stubs, max_fails=1)) as node:
        for stub in stubs:
            stub.fault("status", code=503, count=None, match=PATH)
        for _ in range(3):
            for user in users.values():
                node.request("POST", PATH, token=TOKEN, json_body={"user": user})
        wait_for(lambda: [i["status"] for i in node.instances().values()].count("ejected") == 1, STATE_SECONDS)
        observe(0.2, lambda: [i["eligible"] for i in node.instances().values()].count(False) == 1)
    with Node(with_ejection(stubs[:1], max_fails=1)) as node:
        for _ in range(4):
            node.request("POST", PATH, token=TOKEN, json_body={"user": "u"})
        observe(0.2, lambda: node.instances()["dify1"]["eligible"])


# ---- all down

def all_down(node):
    wait_for(lambda: {found["status"] for found in node.instances().values()} == {"unhealthy"}, STATE_SECONDS)


def test_all_down_try_all_and_recovery(stubs, users):
    with Node(watched(stubs)) as node:
        for stub in stubs:
            stub.fault("status", code=500, count=None, match="/health")
        all_down(node)
        for name, user in users.items():   # as if all were up
            assert post(node, user) == (200, name)
        for stub in stubs:
            stub.clear()
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy", eligible=True)


def test_all_down_fail(stubs, users):
    with Node(watched(stubs, application={"all_down": "fail"})) as node:
        for stub in stubs:
            stub.fault("status", code=500, count=None, match="/health")
        all_down(node)
        for stub in stubs:
            stub.forget()
        head, body = node.request("POST", PATH, token=TOKEN, json_body={"user": "u"})
        check_error(head, body, 503, "service_unavailable")
        assert int(head.headers["retry-after"]) > 0
        assert all(stub.requests(path=PATH) == [] for stub in stubs)
        stubs[0].clear()
        node.wait_instance("dify1", status="healthy")
        assert post(node, "u") == (200, "dify1")


def test_an_application_has_checks_of_its_own(stubs):
    config = settings(stubs, application={"health_check": {**CHECK, "enabled": True, "path": "/console/api/ping"}})
    with Node(config) as node:
        node.wait_instance("dify1", status="healthy")
        assert stubs[0].requests(path="/console/api/ping")
