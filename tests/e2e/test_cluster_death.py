"""A process that is killed while its machine lives: its kernel says so, and the others act on it at once."""

import pytest
from cluster import Cluster
from harness import PATIENCE, settings
from stopwatch import Stopwatch
from stub_client import wait_for

ROUNDS = 3
KILLED_SECONDS = 0.5 * PATIENCE   # SPEC §6, of the quickest round: the machine may have other things to do
TIME_OUTS_SECONDS = 1.0 * PATIENCE   # of the median: without the kernel's help no death is known by then


def is_dead_for(cluster, name):
    """[when each of the others said so], in its log."""
    return [event["timestamp"] for node in cluster.nodes()
            for event in node.events("member") if event["member"] == name and event["state"] == "dead"]


@pytest.mark.parametrize("count, host", [(2, None), (3, None), (2, "::1")], ids=["two", "three", "ipv6"])
def test_a_killed_process_is_dead_at_once(stubs, count, host):
    with Cluster(settings(stubs), count, profile="lan", host=host) as cluster:
        victim, took = cluster.names[-1], []
        for round_number in range(1, ROUNDS + 1):
            cluster.settle()
            watch = Stopwatch()
            cluster.kill(victim)
            known = round_number * (count - 1)
            wait_for(lambda known=known: len(is_dead_for(cluster, victim)) == known, 10 * PATIENCE)
            took.append(watch.fair_seconds())
            cluster.start(victim)
        print(f"dead after {took}")
        assert sorted(took)[len(took) // 2] < TIME_OUTS_SECONDS
        assert min(took) < KILLED_SECONDS
        cluster.settle()
