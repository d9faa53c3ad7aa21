"""Nodes that end and start again, in every way and under load: what they say is whole again at once, and
never less than it was."""

import datetime
import random
import shutil
import signal
import socket
import threading
import time

import pytest
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, run_command, settings
from stopwatch import Stopwatch
from stub_client import wait_for

PATH = "/v1/_echo"
WHOLE_SECONDS = 2 * PATIENCE   # after the last start the totals of all are equal within this
CHAOS_SECONDS = 12
JOINING_SECONDS = 2   # SPEC §5 /health: no longer, whoever is heard


class Clients:
    """Send to whichever node runs, a connection each time, until stop()."""

    def __init__(self, cluster, count=3):
        self.cluster, self.ending, self.answered = cluster, False, 0
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        turn = number
        while not self.ending:
            turn += 1
            nodes = [node for node in self.cluster.nodes() if node.port]
            if not nodes:
                time.sleep(0.005)   # nobody runs: nothing is waited for but the next start
                continue
            try:
                head, _ = nodes[turn % len(nodes)].request("POST", PATH, token=TOKEN, json_body={"user": f"u{turn}"})
                self.answered += head.status == 200
            except (OSError, EOFError):
                pass   # it was killed

    def stop(self):
        self.ending = True
        for thread in self.threads:
            thread.join()


def do_one(cluster, generator, name):
    """Something that happens to a node in its life; it runs afterwards."""
    fate = generator.choice(["kill", "kill", "kill", "stop", "reload", "drain"])
    node = cluster[name]
    if fate == "kill":
        cluster.kill(name)
        cluster.start(name)
    elif fate == "stop":
        cluster.stop(name)
        cluster.start(name)
    elif fate == "reload":
        node.signal(signal.SIGHUP)
    else:
        node.json("POST", "/admin/drain")
        node.json("POST", "/admin/enable")
    return fate


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_totals_are_equal_soon_after_a_row_of_restarts(stubs, seed):
    generator = random.Random(seed)
    with Cluster(settings(stubs), 2, profile="lan") as cluster:
        cluster.settle()
        clients = Clients(cluster)
        fates, end = [], time.monotonic() + CHAOS_SECONDS
        try:
            while time.monotonic() < end or fates[-1] != "kill":   # the last one is the worst one
                fates.append(do_one(cluster, generator, generator.choice(cluster.names)))
                # Between two events some requests are answered, so that each life has something to count.
                enough = clients.answered + generator.randrange(1, 300)
                wait_for(lambda: clients.answered >= enough, TIMEOUT)
        finally:
            clients.stop()
        watch = Stopwatch()

        def equal():
            said = cluster.statuses()
            return len({status["stats"]["total_requests"] for status in said}) == 1 and len(
                {tuple(sorted((row["name"], row["total_requests"]) for row in status["cluster"]["nodes"]))
                 for status in said}) == 1
        wait_for(equal, 10 * WHOLE_SECONDS)
        seconds = watch.fair_seconds()
        print(f"{len(fates)} events, {clients.answered} answers, equal {seconds:.2f} s after the end")
        assert seconds <= WHOLE_SECONDS


# ---- joining

def when(event):
    return datetime.datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00")).timestamp()


def seconds_to_ready(node):
    """From `listening` to `ready`, by the log's own times."""
    listening, ready = (wait_for(lambda name=name: node.events(name), TIMEOUT)[0] for name in ("listening", "ready"))
    return when(ready) - when(listening)


def begin(cluster, name):
    """Starts it and waits only until it listens."""
    node = cluster.running[name] = Node(cluster.node_config(name), wait=False)
    address = wait_for(lambda: node.events("listening"), TIMEOUT)[0]["address"]
    node.host, _, port = address.rpartition(":")
    node.port = int(port)
    return node


def numbers(status):
    """Everything in /status that may never fall."""
    app = status["applications"]["one"]
    return [status["stats"]["total_requests"], app["total_requests"],
            *(one["requests"] for one in app["instances"].values())]


@pytest.mark.parametrize("count", [2, 3])
def test_no_total_falls_when_a_state_dir_was_lost(stubs, count):
    with Cluster(settings(stubs), count, profile="lan") as cluster:
        cluster.settle()
        for node in cluster.nodes():
            for i in range(30):
                node.echo(f"{PATH}?user=u{i}")
        wait_for(lambda: {status["stats"]["total_requests"] for status in cluster.statuses()} == {30 * count}, TIMEOUT)
        before = numbers(cluster.statuses()[0])
        for name in cluster.names:   # of each rank
            cluster.kill(name)
            shutil.rmtree(cluster.state[name])
            node = begin(cluster, name)
            said = []
            while 200 not in said:   # asked all the time, as a monitor does
                head, value = node.json("GET", "/status")
                said.append(head.status)
                if head.status == 200:
                    assert all(a >= b for a, b in zip(numbers(value), before)), (numbers(value), before)
                else:
                    assert (head.status, value["code"]) == (503, "joining")
            took = seconds_to_ready(node)
            print(f"{name}: ready after {took:.2f} s, {len(said)} answers")
            assert took < JOINING_SECONDS / 2 * PATIENCE   # it was told, rather than waited its time out


def test_a_node_that_joins_serves_but_is_not_ready(stubs, tmp_path):
    """Nobody can be heard: for two seconds it says so wherever somebody may ask, and serves all the while."""
    track = tmp_path / "vrrp"
    config = settings(stubs)
    vip = {"vip": {"address": "10.99.99.99/24", "interface": "lo", "router_id": 51, "priority": 100,
                   "peers": ["10.99.99.98"], "track_file": str(track)}}
    with Cluster(config, 2, relay=True, local={"node-b": vip}) as cluster:
        cluster.settle()
        for node in cluster.nodes():
            node.echo()
        wait_for(lambda: {status["stats"]["total_requests"] for status in cluster.statuses()} == {2}, TIMEOUT)
        assert track.read_text().strip() == "0"
        cluster.kill("node-b")
        shutil.rmtree(cluster.state["node-b"])
        cluster.relay.drops = lambda sender, receiver: True
        node = begin(cluster, "node-b")
        head, body = node.request("GET", "/health")
        assert (head.status, body) == (503, b"joining")
        head, body = node.request("GET", "/status")
        check_error(head, body, 503, "joining")
        assert node.echo()["head"].status == 200
        head, body = node.request("GET", "/metrics")
        assert head.status == 200 and b"difyring_joining 1" in body and b"difyring_cluster_requests_total{" not in body
        assert track.read_text().strip() == "1"
        command = run_command("status", "--check", "-u", f"http://{node.host}:{node.port}")
        assert command.returncode == 3 and command.stdout.startswith("UNKNOWN: ") and "joining" in command.stdout, command
        assert not node.events("ready")
        node.json("POST", "/admin/drain")
        node.json("POST", "/admin/enable")   # that does not make it ready either
        assert track.read_text().strip() == "1"
        node.ready()
        assert JOINING_SECONDS * 0.7 < seconds_to_ready(node) + 0.3 < (JOINING_SECONDS + 1) * PATIENCE
        wait_for(lambda: track.read_text().strip() == "0", TIMEOUT)
        assert node.status()["stats"]["total_requests"] == 1
        assert b"difyring_cluster_requests_total{" in node.request("GET", "/metrics")[1]
        cluster.relay.drops = lambda sender, receiver: False
        cluster.settle()
        wait_for(lambda: {status["stats"]["total_requests"] for status in cluster.statuses()} == {3}, TIMEOUT)


def test_first_starts_and_lone_nodes_are_ready_in_time(stubs):
    with Node(settings(stubs)) as node:   # without a cluster there is nobody to hear
        assert not node.events("joining") and node.events("ready")
        assert seconds_to_ready(node) < 0.5 * PATIENCE
    with Cluster(settings(stubs), 3, profile="lan") as cluster:   # all are new: nobody waits for the time to be over
        slowest = max(seconds_to_ready(node) for node in cluster.nodes())
        print(f"three first starts: ready after {slowest:.2f} s")
        assert slowest < JOINING_SECONDS / 2 * PATIENCE
        cluster.settle()
        cluster.stop("node-a", "node-b", "node-c")
        node = cluster.start("node-c")   # alone, with its state_dir
        assert JOINING_SECONDS * 0.7 < seconds_to_ready(node) + 0.3 < (JOINING_SECONDS + 1) * PATIENCE


def test_systemd_hears_ready_when_it_has_joined(stubs, tmp_path):
    """So that restarts one after the other leave no moment in which nobody knows the totals."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Cluster(settings(stubs), 2) as cluster:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(TIMEOUT)
        cluster.settle()
        cluster.kill("node-b")
        node = cluster.running["node-b"] = Node(cluster.node_config("node-b"), wait=False,
                                                env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(4096) == b"READY=1\n"
        wait_for(lambda: node.events("joining") and node.events("listening"))
        node.ready()
        assert node.status()["cluster"]["alive"] == 2
