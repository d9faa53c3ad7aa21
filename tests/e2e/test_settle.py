"""What a turn of the control loop has changed takes effect at its end, and not when the clock brings it by: each
of these would come right within a second or so without its mark, so several in a row are timed together."""

from cluster import Cluster
from gate import Gate
from harness import PATIENCE, TIMEOUT, TOKEN, Node, instance, settings
from stopwatch import Stopwatch
from stub_client import wait_for

TURNS = 8
TOGETHER_SECONDS = 3 * PATIENCE   # by the clock alone it is about TURNS


def timed(steps):
    watch = Stopwatch()
    for step in steps:
        step()
    return watch.fair_seconds()


def draining_at(node, name):
    return {row["name"]: row["draining"] for row in node.status()["cluster"]["nodes"]}[name]


def test_a_node_s_row_is_told_in_the_turn_that_changes_it(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        a, b = cluster.settle().nodes()

        def turn(verb):
            assert a.json("POST", "/admin/" + verb, token="")[0].status == 200
            wait_for(lambda: draining_at(b, "node-a") == (verb == "drain"), TIMEOUT)
        assert timed([lambda verb=("drain", "enable")[i % 2]: turn(verb) for i in range(TURNS)]) < TOGETHER_SECONDS


def many(stubs):
    """TURNS applications; one failure of an instance takes it out, for longer than the test lasts."""
    both = [instance(stub, max_fails=1, fail_timeout="60s") for stub in stubs[:2]]
    config = settings(stubs, instances=both)
    [(_, one)] = config["applications"].items()
    config["applications"] = {f"app{i}": {**one, "user_tokens": [f"{TOKEN}-{i}"]} for i in range(TURNS)}
    return config


def test_a_failure_counts_in_the_turn_that_hears_of_it(stubs):
    with Node(many(stubs)) as node:
        stubs[0].fault("close_before_head", count=None, match="/v1/_echo")

        def fail(i):
            def out():
                return not node.instances(f"app{i}")["dify1"]["eligible"]
            assert any(node.request("POST", "/v1/_echo", token=f"{TOKEN}-{i}", json_body={"user": f"u{n}"})[0].status >= 500
                       for n in range(50))
            wait_for(out, TIMEOUT)
        assert timed([lambda i=i: fail(i) for i in range(TURNS)]) < TOGETHER_SECONDS
