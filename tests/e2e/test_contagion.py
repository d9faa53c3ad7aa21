"""A configuration that ends processes is not tried a third time, and reaches nobody (SPEC §6)."""

import contextlib
import copy
import os
import re
import signal
import threading
import time

from cluster import Cluster
from harness import TIMEOUT, Node, run_command, settings
from stub_client import wait_for

VOUCHED_SECONDS = 5


def trials(folder):
    """{digest: condemned} of the file in state_dir."""
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(folder, "trials"), encoding="ascii") as file:
            lines = file.read().splitlines()
        assert lines[0].startswith("difyring-trials 1 ")
        return {line.split()[0]: line.split()[3] == "1" for line in lines[1:]}
    return {}


def changed(config, weight):
    """The same with another shared part."""
    value = copy.deepcopy(config)
    value["applications"]["one"]["instances"][0]["weight"] = weight
    return value


def weight(node):
    return node.instances()["dify1"]["weight"]


def kill_on_trial(folder, pid, known=()):
    """As a configuration that ends the process would: once it has been noted, before it is vouched for."""
    deadline = time.monotonic() + TIMEOUT
    while not set(trials(folder)) - set(known):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)


def tries(folder):
    """How many tries the file tells, of all texts."""
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(folder, "trials"), encoding="ascii") as file:
            return sum(int(time) > 0 for line in file.read().splitlines()[1:] for time in line.split()[1:3])
    return 0


def start_and_kill(config, folder):
    """A start that the configuration ends, as far as the next one can tell."""
    before = tries(folder)
    node = Node(config, wait=False)
    try:
        deadline = time.monotonic() + TIMEOUT
        while tries(folder) <= before:
            assert time.monotonic() < deadline and node.process.poll() is None, node.stderr()
            time.sleep(0.001)
        node.process.kill()
        node.process.wait()
    finally:
        node.destroy()


def wait_vouched(folder):
    wait_for(lambda: trials(folder) == {} and os.path.exists(os.path.join(folder, "vouched")), VOUCHED_SECONDS + TIMEOUT)


def test_a_node_alone_begins_with_the_one_before(stubs, tmp_path):
    folder = str(tmp_path / "state")
    good = settings(stubs, node={"name": "node-a", "state_dir": folder})
    with Node(good):
        wait_vouched(folder)
    bad = changed(good, 7)
    start_and_kill(bad, folder)
    start_and_kill(bad, folder)
    with Node(bad) as node:   # not a third time
        assert weight(node) == 1
        problem, = [one for one in node.status()["problems"] if one["kind"] == "config_condemned"]
        assert "twice within a minute" in problem["detail"] and problem["severity"] == "warning"
        assert list(trials(folder).values()).count(True) == 1
        status, value = node.reload()   # nor by somebody who does not know
        assert status == 400 and "insist with force" in value["errors"][0]["message"], value
        assert weight(node) == 1
    with Node(bad) as node:   # a restart does not make it better
        assert weight(node) == 1
        assert node.reload(changed(good, 3))[0] == 200
        assert weight(node) == 3
        wait_for(lambda: not [one for one in node.status()["problems"] if one["kind"] == "config_condemned"], TIMEOUT)
        node.write(bad)
        head, _ = node.request("POST", "/reload-config?force=1")
        assert head.status == 200 and weight(node) == 7
        wait_vouched(folder)
    with Node(bad) as node:
        assert weight(node) == 7


def test_a_quick_stop_or_one_death_condemns_nothing(stubs, tmp_path):
    folder = str(tmp_path / "state")
    config = settings(stubs, node={"name": "node-a", "state_dir": folder})
    for number in range(3):
        node = Node(changed(config, 2 + number), wait=False)
        try:
            wait_for(lambda: trials(folder), TIMEOUT)
            node.stop()
            assert trials(folder) == {}
        finally:
            node.destroy()
    start_and_kill(changed(config, 9), folder)
    with Node(changed(config, 9)) as node:
        assert weight(node) == 9
        wait_vouched(folder)


def test_the_others_do_not_take_it_over(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        folder = cluster.state["node-a"]
        wait_vouched(folder)
        a, b = cluster.nodes()
        cluster.config = changed(config, 7)
        a.write(cluster.node_config("node-a"))

        def ask():
            with contextlib.suppress(OSError, EOFError):
                a.request("POST", "/reload-config")
        threading.Thread(target=ask).start()
        kill_on_trial(folder, a.pid)
        a.process.wait()
        cluster.ended.append(cluster.running.pop("node-a"))
        start_and_kill(cluster.node_config("node-a"), folder)
        a = cluster.start("node-a")
        assert weight(a) == 1 and [one for one in a.status()["problems"] if one["kind"] == "config_condemned"]
        cluster.wait_state("node-a", "alive")
        assert weight(b) == 1 and b.status()["node"]["config_revision"] == 1
        assert not [event for event in b.events("config_taken_over") if event["config_revision"] > 1]
        # one that does no harm goes to all, as ever
        cluster.config = changed(config, 3)
        assert cluster.reload("node-a")[0] == 200
        wait_for(lambda: weight(b) == 3, 2 + TIMEOUT)
        cluster.settle()


def test_a_node_refuses_what_ended_it_when_others_have_it(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        folder = cluster.state["node-a"]
        wait_vouched(folder)
        cluster.kill("node-a")
        assert cluster.reload("node-b", changed(config, 7))[0] == 200   # it does b no harm
        wait_vouched(cluster.state["node-b"])
        cluster.config = config
        for _ in range(2):   # its own was vouched for: what it tries is b's
            start_and_kill(cluster.node_config("node-a"), folder)
            assert len(trials(folder)) == 1
        a = cluster.start("node-a")
        problem = wait_for(lambda: cluster.problems("node-a", "config_refused"), TIMEOUT)[0]
        assert "has ended this process twice" in problem["detail"], problem
        assert (weight(a), weight(cluster["node-b"])) == (1, 7)
        for own, other in ("node-a", "node-b"), ("node-b", "node-a"):   # so they differ: told after 5 s, by both
            differ = cluster.wait_problem(own, "not_converged", says=f"; {other} has another configuration (revision ",
                                          seconds=2 * TIMEOUT)
            assert re.match(r"the nodes have had different configurations or rings for \d+ s; ", differ)
            told, = cluster.problems(own, "not_converged")
            assert told["subject"] == "e2e" and told["since"] <= time.time() - 4
            event = wait_for(lambda own=own: [one for one in cluster[own].events("problem") if one["kind"] == "not_converged"], TIMEOUT)[-1]
            assert (told["severity"], event["level"], cluster[own].status()["cluster"]["converged"]) == ("warning", "warning", False)
            text = run_command("status", "-u", f"http://{cluster[own].host}:{cluster[own].port}").stdout
            assert re.search(r"^not_converged +compare the nodes' configuration and ring digests", text, re.M), text
        assert cluster.reload("node-b", changed(config, 3))[0] == 200   # another one is taken
        wait_for(lambda: weight(a) == 3, 2 + TIMEOUT)
        for name in "node-a", "node-b":   # and with it that is over
            wait_for(lambda name=name: not cluster.problems(name, "not_converged", "config_refused"), TIMEOUT)
            wait_for(lambda name=name: [one for one in cluster[name].events("problem_over") if one["kind"] == "not_converged"], TIMEOUT)
