"""Everybody votes, all come to the same verdict (SPEC §4), and a node still skips what it cannot reach itself."""

import pytest
from cluster import Cluster
from gate import Gate
from harness import PATIENCE, STATE_SECONDS, TOKEN, instance, observe, ring_find, ring_points, settings
from stub_client import wait_for

CHECK = {"interval": "100ms", "timeout": f"{500 * PATIENCE}ms", "path": "/health", "enabled": True}
PATH = "/v1/_echo"
NAMES = ("dify1", "dify2", "dify3")


@pytest.fixture
def gates(stubs):
    """A door before each instance."""
    found = [Gate(stub) for stub in stubs]
    yield found
    for gate in found:
        gate.close()


@pytest.fixture(scope="module")
def users():
    """instance -> a user who lands there while all are eligible."""
    points = ring_points({name: 1 for name in NAMES})
    return {name: next(f"u{i}" for i in range(1000) if ring_find(points, "one", f"u{i}") == name) for name in NAMES}


def verdicts(cluster):
    """{({instance: status}, ring digest)} of all nodes: one element when they agree."""
    return {(tuple((name, found["status"]) for name, found in status["applications"]["one"]["instances"].items()),
             status["node"]["ring_digest"]) for status in cluster.statuses()}


def wait_verdict(cluster, **wanted):
    """Until all nodes say so of these instances, and `healthy` of the others, with one ring."""
    def agreed():
        found = verdicts(cluster)
        return len(found) == 1 and dict(found.pop()[0]) == {**{name: "healthy" for name in NAMES}, **wanted}
    wait_for(agreed, STATE_SECONDS + 5)


def votes(cluster, name, kind):
    return {node: vote[kind] for node, vote in cluster["node-a"].instances()[name]["votes"].items()}


def wait_votes(cluster, name, kind, **wanted):
    wanted = {f"node-{letter}": vote for letter, vote in wanted.items()}
    wait_for(lambda: votes(cluster, name, kind) == wanted, STATE_SECONDS + 5)


def served_by(node, user):
    """At the first attempt: a node that tries what it cannot reach has not skipped it."""
    seen = node.echo(f"{PATH}?user={user}")
    [line] = node.wait_access(request_id=seen["head"].headers["x-request-id"])
    assert line["attempts"] == 1
    return seen["instance"]


# ---- active

def test_a_majority_takes_an_instance_down_and_a_single_node_does_not(stubs, gates, users):
    with Cluster(settings(gates, health_check=CHECK), 3) as cluster:
        a, b, c = cluster.nodes()
        wait_verdict(cluster)
        full = verdicts(cluster)
        gates[1].shut_for(c)
        wait_votes(cluster, "dify2", "active", a="up", b="up", c="down")
        assert verdicts(cluster) == full   # one of three
        assert served_by(a, users["dify2"]) == served_by(b, users["dify2"]) == "dify2"
        assert served_by(c, users["dify2"]) != "dify2"   # but it skips what it cannot reach
        assert served_by(c, users["dify1"]) == "dify1"   # and nobody else moves
        gates[1].shut_for(b, c)
        wait_verdict(cluster, dify2="unhealthy")
        assert served_by(a, users["dify2"]) != "dify2"   # which still sees it up
        cluster.kill("node-c")
        cluster.wait_state("node-c", "dead")   # its votes count for 30 s
        wait_verdict(cluster, dify2="unhealthy")
        gates[1].shut_for()
        wait_verdict(cluster)
        assert verdicts(cluster) == full


def test_a_tie_is_up(stubs, gates, users):
    with Cluster(settings(gates, health_check=CHECK), 2) as cluster:
        a, b = cluster.nodes()
        wait_verdict(cluster)
        gates[1].shut_for(b)
        wait_votes(cluster, "dify2", "active", a="up", b="down")
        wait_verdict(cluster)
        assert served_by(a, users["dify2"]) == "dify2" != served_by(b, users["dify2"])
        gates[1].shut_for(a, b)
        wait_verdict(cluster, dify2="unhealthy")


def test_a_node_that_reaches_nobody_has_no_say(stubs, gates, users):
    with Cluster(settings(gates, health_check=CHECK), 3) as cluster:
        a, b, c = cluster.nodes()
        wait_verdict(cluster)
        for gate in gates:
            gate.shut_for(c)
        gates[1].shut_for(b, c)
        wait_votes(cluster, "dify1", "active", a="up", b="up", c="down")
        wait_votes(cluster, "dify2", "active", a="up", b="down", c="down")   # two of three, but c is isolated
        wait_verdict(cluster)
        assert served_by(a, users["dify2"]) == "dify2"
        gates[0].shut_for()
        gates[2].shut_for()   # c is back, and says of dify2 what b says
        wait_verdict(cluster, dify2="unhealthy")


# ---- passive

def fail(node, user, count=1):
    for _ in range(count):
        assert node.request("POST", PATH, token=TOKEN, json_body={"user": user})[0].status == 503


def test_traffic_of_just_now_counts_against_a_trip(stubs, users):
    config = settings(stubs, instances=[instance(stub, max_fails=3, fail_timeout=600) for stub in stubs])
    with Cluster(config, 2) as cluster:
        cluster.settle()
        a, b = cluster.nodes()
        with a.client() as good, b.client() as bad:
            for _ in range(64):
                good.request("POST", f"{PATH}?user={users['dify2']}", TOKEN, body=b"x").response()
            stubs[1].fault("status", code=503, count=3, match=PATH)
            for _ in range(3):
                bad.request("POST", f"{PATH}?user={users['dify2']}", TOKEN, body=b"x").response()
        wait_votes(cluster, "dify2", "passive", a="ok", b="tripped")
        wait_for(lambda: all(node.instances()["dify2"]["eligible"] for node in cluster.nodes()), 0.25 * PATIENCE)


def wait_outvoted(cluster):
    """Until node-b alone has tripped dify2, and the weight of node-a's answers (told up to two seconds later than
    they came) has outvoted it; and it stays so."""
    def outvoted():
        return (votes(cluster, "dify2", "passive") == {"node-a": "ok", "node-b": "tripped", "node-c": "ok"}
                and all(node.instances()["dify2"]["eligible"] for node in cluster.nodes()))
    wait_for(outvoted, STATE_SECONDS)
    observe(0.3, outvoted)


def test_who_has_the_traffic_decides_on_an_ejection(stubs, users):
    config = settings(stubs, instances=[instance(stub, max_fails=2, fail_timeout=600) for stub in stubs])
    with Cluster(config, 3) as cluster:
        cluster.settle()
        a, b, c = cluster.nodes()
        user = users["dify2"]
        for _ in range(20):
            assert served_by(a, user) == "dify2"
        stubs[1].fault("status", code=503, count=2, match=PATH)
        fail(b, user, 2)
        wait_outvoted(cluster)
        assert served_by(a, user) == served_by(b, user) == served_by(c, user) == "dify2"   # b, too: it reaches it
        stubs[1].fault("status", code=503, count=2, match=PATH)
        fail(a, user, 2)   # and with it most of the weight
        wait_for(lambda: not any(node.instances()["dify2"]["eligible"] for node in cluster.nodes()), STATE_SECONDS)
        assert len(verdicts(cluster)) == 1 and served_by(c, user) != "dify2"


def test_enabling_on_one_node_ends_the_ejection_on_all(stubs, users):
    """Whoever had the failures; and it stays in service, though it was not drained."""
    config = settings(stubs, health_check=CHECK,
                      instances=[instance(stub, max_fails=2, fail_timeout="600s") for stub in stubs])
    with Cluster(config, 2) as cluster:
        wait_verdict(cluster)
        stubs[1].fault("status", count=None, code=503, match="/v1/")
        for _ in range(2):
            cluster["node-a"].request("POST", PATH, token=TOKEN, json_body={"user": users["dify2"]})
        wait_verdict(cluster, dify2="ejected")
        stubs[1].clear()
        answer = cluster["node-b"].json("POST", "/admin/instances/one/dify2/enable")
        assert answer[0].status == 200
        wait_verdict(cluster)
        assert votes(cluster, "dify2", "passive") == {"node-a": "ok", "node-b": "ok"}
        assert cluster["node-a"].instances()["dify2"]["reason"]["kind"] == "enabled"
        assert served_by(cluster["node-a"], users["dify2"]) == "dify2"


def test_a_node_skips_what_its_own_requests_do_not_reach(stubs, gates, users):
    config = settings(gates, instances=[instance(gate, max_fails=2, fail_timeout=600) for gate in gates])
    with Cluster(config, 3) as cluster:
        cluster.settle()
        a, b, _ = cluster.nodes()
        user = users["dify2"]
        for _ in range(20):
            assert served_by(a, user) == "dify2"

        gates[1].shut_for(b)
        for _ in range(2):
            assert b.echo(f"{PATH}?user={user}")["instance"] != "dify2"   # after a try
        wait_outvoted(cluster)
        assert served_by(a, user) == "dify2" != served_by(b, user)


def test_all_nodes_together_eject_at_most_half(stubs, users):
    config = settings(stubs, instances=[instance(stub, max_fails=1, fail_timeout=600) for stub in stubs])
    with Cluster(config, 3) as cluster:
        cluster.settle()
        for stub, node in zip(stubs, cluster.nodes()):
            stub.fault("status", code=503, match=PATH)
            fail(node, users[stub.name]) if node.instances()[stub.name]["eligible"] else None

        def one_out():
            found = verdicts(cluster)
            return len(found) == 1 and [status for _, status in found.pop()[0]].count("ejected") == 1
        wait_for(one_out, STATE_SECONDS)
        observe(0.3, one_out)
