"""`/admin/explain` and `difyring explain`: where a request would go, and that it then goes there."""

import hashlib
import json
from urllib.parse import quote

import pytest
from cluster import Cluster
from gate import Gate
from harness import TIMEOUT, TOKEN, Node, check_error, instance, ring_find, ring_points, run_command, settings
from stub_client import wait_for

CHECK = {"interval": "100ms", "timeout": "200ms", "path": "/health"}
KEYS = ["application", "user", "key", "home", "instance", "placed", "skipped", "slots", "quotas"]


def explain(node, **parameters):
    query = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
    head, value = node.json("GET", f"/admin/explain?{query}")
    assert head.status == 200 and list(value) == KEYS, (head.raw, value)
    return value


def goes_to(node, user=None):
    return node.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": user} if user else {})[1]["instance"]


def key_of(user):
    return hashlib.sha256(f"one:{user}".encode()).digest()[:8].hex()


def test_the_walk_of_a_user(stubs):
    points = ring_points({stub.name: 1 for stub in stubs})
    with Node(settings(stubs, health_check=CHECK)) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
        for user in ("u1", "ü & =", "u%20"):
            said = explain(node, app="one", user=user)
            assert said == {"application": "one", "user": {"id": user, "source": None}, "key": key_of(user),
                            "home": ring_find(points, "one", user), "instance": ring_find(points, "one", user),
                            "placed": None, "skipped": [], "slots": {}, "quotas": []}
            assert goes_to(node, user) == said["instance"]
        home = explain(node, user="u1")["home"]   # the only application
        node.request("POST", f"/admin/instances/one/{home}/drain")
        after = [stub.name for stub in stubs if stub.name != home]
        said = explain(node, user="u1")
        assert said["home"] == home and said["instance"] == ring_find(points, "one", "u1", after) == goes_to(node, "u1")
        assert said["skipped"] == [{"instance": home, "reason": {
            "kind": "drained", "text": "an operator drained it", "node": "node-a"}}]
        second = next(stub for stub in stubs if stub.name == said["instance"])
        second.fault("status", count=None, code=401, match="/health")
        node.wait_instance(second.name, status="unhealthy")
        said = explain(node, user="u1")
        assert [one["instance"] for one in said["skipped"]] == [home, second.name]
        assert said["skipped"][1]["reason"]["kind"] == "check_failed" and "401" in said["skipped"][1]["reason"]["text"]
        assert goes_to(node, "u1") == said["instance"] not in (home, second.name)
        result = run_command("explain", "-u", f"http://{node.host}:{node.port}", "--user", "u1", "--app", "one")
        assert result.returncode == 0 and result.stderr == ""
        lines = [line.split(None, 1) for line in result.stdout.splitlines()]
        assert [word for word, _ in lines] == ["application", "user", "key", "home", "not", "not", "instance", "placed", "slots"]
        assert lines[6][1] == said["instance"] and "status 401" in lines[5][1]
        raw = run_command("explain", "-u", f"http://{node.host}:{node.port}", "--user", "u1", "--json")
        assert json.loads(raw.stdout) == said


def test_where_the_user_comes_from(stubs):
    with Node(settings(stubs)) as node:
        assert explain(node, path="/v1/conversations?limit=2&user=u%207")["user"] == {"id": "u 7", "source": "query:user"}
        assert explain(node, path="/v1/x?user=b&user_id=a")["user"] == {"id": "a", "source": "query:user_id"}
        none = explain(node, path="/v1/info", method="GET")
        assert none["user"] == {"id": None, "source": None} and none["key"] is None and none["home"] is None


@pytest.mark.parametrize("algorithm", ["weighted_round_robin", "least_connections"])
def test_turns_are_foretold_and_not_taken(stubs, algorithm):
    instances = [instance(stub, weight=weight) for stub, weight in zip(stubs, (1, 2, 3))]
    with Node(settings(stubs, instances=instances, application={"algorithm": algorithm})) as node:
        for _ in range(12):
            said = {explain(node, user="u")["instance"] for _ in range(2)}
            assert said == {goes_to(node, "u")}


def test_ip_hash_asks_for_the_address(stubs):
    with Node(settings(stubs, application={"algorithm": "ip_hash"})) as node:
        said = explain(node, address="127.0.0.1")
        assert said["key"] == key_of("127.0.0.1") and said["instance"] == goes_to(node, "whoever")
        check_error(*node.request("GET", "/admin/explain?app=one"), 400, "invalid_param")
        check_error(*node.request("GET", "/admin/explain?app=one&address=1.2.3"), 400, "invalid_param")


def test_nobody_left_and_wrong_questions(stubs):
    with Node(settings(stubs, application={"all_down": "fail"}, health_check=CHECK)) as node:
        for stub in stubs:
            stub.fault("status", count=None, code=500, match="/health")
        for stub in stubs:
            node.wait_instance(stub.name, status="unhealthy")
        said = explain(node, user="u")
        assert said["instance"] is None and len(said["skipped"]) == 3
        check_error(*node.request("GET", "/admin/explain?app=nothing&user=u"), 404, "not_found")
        check_error(*node.request("GET", "/admin/explain?nonsense=1"), 400, "invalid_param")
        check_error(*node.request("GET", "/admin/explain?path=/health"), 400, "invalid_param")
        assert node.request("POST", "/admin/explain?app=one")[0].status == 405
        failed = run_command("explain", "-u", f"http://{node.host}:{node.port}", "--app", "nothing")
        assert failed.returncode == 1 and "404" in failed.stderr


def test_what_this_node_alone_does_not_reach(stubs):
    stubs = stubs[:2]
    gates = [Gate(stub) for stub in stubs]
    try:
        with Cluster(settings(gates, health_check=CHECK), 3) as cluster:
            cluster.settle()
            a, _, c = cluster.nodes()
            for gate in gates:
                c.wait_instance(gate.name, status="healthy")
            points = ring_points({gate.name: 1 for gate in gates})
            user = next(u for u in (f"u{i}" for i in range(100)) if ring_find(points, "one", u) == gates[1].name)
            gates[1].shut_for(c)
            said = wait_for(lambda: [one for one in [explain(c, user=user)] if one["skipped"]], TIMEOUT)[0]
            assert said["skipped"][0]["reason"]["kind"] == "unreachable" and said["skipped"][0]["reason"]["node"] == "node-c"
            assert explain(a, user=user)["skipped"] == []
            entry = c.instances()[gates[1].name]
            assert entry["status"] == "healthy" and entry["reason"]["kind"] == "unreachable"
            assert ("instance_unreachable", f"one/{gates[1].name}") in {
                (p["kind"], p["subject"]) for p in c.status()["problems"]}
    finally:
        for gate in gates:
            gate.close()
