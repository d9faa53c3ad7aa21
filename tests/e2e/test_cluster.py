"""Three nodes, one mind: what one knows all know, and totals outlive whoever counted them."""

import statistics
import threading
import time

import pytest
from cluster import DEAD_SECONDS, Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, parallel, ring_find, ring_points, settings
from stopwatch import Stopwatch
from stub_client import wait_for

PATH = "/v1/_echo"
# SPEC §5: what a node takes with it is what it served in its last gossip interval. Intervals vary by half
# (gossip/content/antientropy.c), and a busy machine delays a packet.
LOSS_INTERVALS = 1.25   # one is promised; the rest is for packets and threads on their way
EQUAL_SECONDS = 1 * PATIENCE  # issue 3: totals are equal within 1 s of traffic's end
HAND_SECONDS = 3 * PATIENCE  # who was there tells a node what it counted before (node/roster/handoff.c)
TRIES = 100 if PATIENCE == 1 else 20


def user_of(name, names=("dify1", "dify2", "dify3")):
    """A user whose requests go to this instance."""
    points = ring_points({each: 1 for each in names})
    return next(f"u{i}" for i in range(1000) if ring_find(points, "one", f"u{i}") == name)


class Load:
    """Clients of one node, each sending one request after the other until stop() or the node's end."""

    def __init__(self, node, clients=4):
        self.node, self.ending = node, False
        self.sent, self.answered = 0, []   # [(when by the watch, instance)]
        self.watch = Stopwatch()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        try:
            with self.node.client() as client:
                for i in range(1_000_000):
                    if self.ending:
                        return
                    with self.lock:
                        self.sent += 1
                    head, value = client.json("POST", PATH, TOKEN, json_body={"user": f"l{number}-{i}"})
                    assert head.status == 200
                    with self.lock:
                        self.answered.append((self.watch.fair_seconds(), value["instance"]))
        except (OSError, EOFError):
            pass   # the node was killed

    def stop(self):
        self.ending = True
        for thread in self.threads:
            thread.join()
        return self


def totals(cluster):
    return [status["stats"]["total_requests"] for status in cluster.statuses()]


def wait_totals(cluster, total, seconds=EQUAL_SECONDS):
    """Until every node that runs says so, of the application, too."""
    wait_for(lambda: set(totals(cluster)) == {total}, seconds)
    for status in cluster.statuses():
        assert status["applications"]["one"]["total_requests"] == total


def rows(cluster):
    """For every node that runs, what it says of each node's requests, by the nodes' names."""
    told = [sorted(status["cluster"]["nodes"], key=lambda row: row["name"]) for status in cluster.statuses()]
    return [[row["total_requests"] for row in nodes] for nodes in told]


class Watch:
    """Asks every node that runs for its totals all the time; none may ever fall while its process lives."""

    def __init__(self, cluster):
        self.cluster, self.ending, self.fallen, self.seen = cluster, False, [], {}
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending:
            for node in [node for node in self.cluster.nodes() if node.port]:
                try:
                    head, status = node.json("GET", "/status")
                except (OSError, EOFError):
                    continue   # gone
                if (head.status, status.get("code")) == (503, "joining"):
                    continue   # it does not speak for the cluster yet
                assert head.status == 200
                app = status["applications"]["one"]
                now = [app["total_requests"], *(one["requests"] for one in app["instances"].values())]
                before = self.seen.get(node.pid, now)
                if any(a < b for a, b in zip(now, before)):
                    self.fallen.append((node.pid, before, now))
                self.seen[node.pid] = now

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending = True
        self.thread.join()
        assert not self.fallen


# ---- one view

@pytest.mark.smoke
@pytest.mark.threads
def test_all_see_all_and_say_the_same(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle()
        for name, status in zip(cluster.names, cluster.statuses()):
            told = status["cluster"]
            assert (told["name"], told["size"], told["alive"], told["converged"]) == ("e2e", 3, 3, True)
            assert told["nodes"][0]["name"] == name   # the one that answers comes first
            for row in told["nodes"]:
                host, port = cluster.udp[row["name"]]
                assert (row["address"], row["state"], row["draining"]) == (f"{host}:{port}", "alive", False)
                assert row["generation"] == cluster[row["name"]].status()["node"]["generation"]
                assert row["heard_ms_ago"] < 1000 * PATIENCE
            for found in status["applications"]["one"]["instances"].values():
                assert set(found["votes"]) == {"node-a", "node-b", "node-c"}
            assert status["problems"] == []


@pytest.mark.threads
def test_totals_are_what_the_clients_sent(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle()
        loads = [Load(node) for node in cluster.nodes()]
        wait_for(lambda: sum(len(load.answered) for load in loads) > 600 / PATIENCE, TIMEOUT)
        parallel([load.stop for load in loads])
        ended = time.monotonic()
        sent = [load.sent for load in loads]
        wait_totals(cluster, sum(sent))
        print(f"{sum(sent)} requests; equal on all after {(time.monotonic() - ended) * 1000:.0f} ms")
        by_instance = [instance for load in loads for _, instance in load.answered]
        for status in cluster.statuses():
            assert {row["name"]: row["total_requests"] for row in status["cluster"]["nodes"]} == dict(
                zip(cluster.names, sent))
            for name, found in status["applications"]["one"]["instances"].items():
                assert (found["requests"], found["failures"]) == (by_instance.count(name), 0)
        own = [node.status()["node"]["total_requests"] for node in cluster.nodes()]
        assert own == sent


def test_gauges_and_latency_are_of_all_nodes(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle()
        clients = [node.client() for node in cluster.nodes()]
        try:
            for client in clients:
                client.request("GET", "/v1/_sse?events=2&interval=60&user=u", TOKEN).head()
            wait_for(lambda: {status["applications"]["one"]["active_requests"]
                              for status in cluster.statuses()} == {3}, TIMEOUT)
            cluster.kill("node-c")   # its gauges go with it, its requests stay
            cluster.wait_state("node-c", "dead")
            wait_for(lambda: {status["applications"]["one"]["active_requests"]
                              for status in cluster.statuses()} == {2}, TIMEOUT)
            wait_totals(cluster, 3)
        finally:
            for client in clients:
                client.close()
        slow = {"user": "u", "query": "x", "inputs": {"stub_delay": 0.3}}
        for _ in range(6):
            cluster["node-a"].request("POST", "/v1/chat-messages", token=TOKEN, json_body=slow)
        wait_for(lambda: cluster["node-b"].status()["applications"]["one"]["latency_ms"]["p50"] >= 270, TIMEOUT)


def test_what_one_node_trips_all_skip_at_once(stubs):
    """Issue 3: within 50 ms (median) and 250 ms (worst of 100), and the rings are the same by then."""
    # So short that the next try can begin: back in service is who answered a trial.
    config = settings(stubs)
    for one in config["applications"]["one"]["instances"]:
        one.update(max_fails=1, fail_timeout="20ms")
    user = user_of("dify2")
    with Cluster(config, 3, profile="lan") as cluster:
        cluster.settle()
        clients = [node.client() for node in cluster.nodes()]

        def all_say(eligible):
            said = [client.json("GET", "/status")[1] for client in clients]
            return {s["applications"]["one"]["instances"]["dify2"]["eligible"] for s in said} == {eligible} and len(
                {s["node"]["ring_digest"] for s in said}) == 1

        def post(client):
            return client.request("POST", PATH, TOKEN, json_body={"user": user}).response()[0].status

        times = []
        for _ in range(TRIES):
            stubs[1].fault("status", code=503, match=PATH)
            watch = Stopwatch()
            assert post(clients[0]) == 503
            wait_for(lambda: all_say(False), TIMEOUT, interval=0)
            times.append(watch.fair_seconds() * 1000)

            def trial_passed():
                assert post(clients[0]) == 200
                return all_say(True)
            wait_for(trial_passed, TIMEOUT, interval=0)
        for client in clients:
            client.close()
        print(f"{TRIES} tries: median {statistics.median(times):.1f} ms, worst {max(times):.1f} ms")
        assert statistics.median(times) <= 50 * PATIENCE
        assert max(times) <= 250 * PATIENCE


def test_a_standby_skips_an_instance_that_it_never_asked(stubs):
    config = settings(stubs)
    config["applications"]["one"]["instances"][1].update(max_fails=1, fail_timeout=600)
    user = user_of("dify2")
    with Cluster(config, 2) as cluster:
        cluster.settle()
        a, b = cluster.nodes()
        stubs[1].fault("status", code=503, count=None, match=PATH)
        assert a.request("POST", PATH, token=TOKEN, json_body={"user": user})[0].status == 503
        b.wait_instance("dify2", status="ejected", eligible=False)
        assert b.instances()["dify2"]["votes"] == {
            "node-a": {"active": "unknown", "passive": "tripped"}, "node-b": {"active": "unknown", "passive": "ok"}}
        stubs[1].forget()
        cluster.kill("node-a")   # the VIP would move now: the first request already goes elsewhere
        seen = b.echo(PATH, "POST", json_body={"user": user})
        assert seen["instance"] != "dify2" and not stubs[1].requests(path=PATH)


# ---- kill -9

@pytest.mark.parametrize("state, profile, interval", [(True, "lan", 0.2), (False, "local", 0.1)],
                         ids=["state_dir", "no_state_dir"])
def test_totals_survive_kill_9_under_load(stubs, state, profile, interval):
    with Cluster(settings(stubs), 4, profile=profile, state=state, start=["node-a", "node-b", "node-c"]) as cluster:
        cluster.settle()
        with Watch(cluster):
            loads = [Load(node, clients=2) for node in cluster.nodes()]
            victim = loads[2]
            began = time.monotonic()   # several intervals, so that something is due to be known
            wait_for(lambda: len(victim.answered) > 100 and time.monotonic() > began + 1, TIMEOUT)
            time_killed = victim.watch.fair_seconds()
            cluster.kill("node-c")
            cluster.wait_state("node-c", "dead", DEAD_SECONDS)
            print(f"dead after {victim.watch.fair_seconds() - time_killed:.2f} s")
            parallel([load.stop for load in loads])
            sent = [load.sent for load in loads[:2]]
            wait_for(lambda: all(row[:2] == sent for row in rows(cluster)), EQUAL_SECONDS)
            wait_for(lambda: len({row[2] for row in rows(cluster)}) == 1, EQUAL_SECONDS)
            kept = rows(cluster)[0][2]
            old = len([1 for when, _ in victim.answered if when < time_killed - interval * LOSS_INTERVALS * PATIENCE])
            print(f"{victim.sent} sent to it, {old} answered an interval before its end, {kept} known")
            assert old <= kept <= victim.sent
            wait_totals(cluster, sum(sent) + kept)

            cluster.start("node-c").echo()
            cluster.settle()
            # Its own again: what the others kept, or a little more where its file was the last that it told.
            def own_count():
                """What it says of itself, when all say so and have the sum of it."""
                found = {row[2] for row in rows(cluster)}
                total = sum(sent) + max(found)
                return max(found) if len(found) == 1 and max(found) > kept and set(totals(cluster)) == {total} else None
            whole = wait_for(own_count, HAND_SECONDS)
            print(f"{whole - 1} known when it was back")
            assert kept + 1 <= whole <= (victim.sent if state else kept) + 1
            cluster.start("node-d")   # one that was never there
            cluster.settle()
            wait_totals(cluster, sum(sent) + whole)


def test_totals_survive_the_end_of_all(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle()
        for node in cluster.nodes():
            for i in range(20):
                node.echo(f"{PATH}?user=u{i}")
        wait_totals(cluster, 40)
        cluster.stop("node-a", "node-b")
        cluster.start("node-b")   # alone: it kept the other's, too
        wait_totals(cluster, 40)
        assert not cluster.problems("node-b")   # what it wrote it can read, however early it ended
        cluster.start("node-a")
        cluster.settle()
        cluster["node-a"].echo()
        wait_totals(cluster, 41)


# ---- leaving and coming

@pytest.mark.threads
def test_a_graceful_stop_is_announced_and_a_restart_seen(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle()
        generation = cluster["node-c"].status()["node"]["generation"]
        watch = Stopwatch()
        cluster.stop("node-c")
        cluster.wait_state("node-c", "left", 1 * PATIENCE)   # far sooner than a crash is noticed
        assert watch.fair_seconds() < 2 * PATIENCE
        told = cluster["node-a"].status()["cluster"]
        assert (told["size"], told["alive"], told["converged"]) == (3, 2, True)
        assert not [e for e in cluster["node-a"].events("member") if e["state"] in ("suspect", "dead")]
        cluster.start("node-c")
        cluster.settle()
        assert cluster["node-c"].status()["node"]["generation"] > generation
