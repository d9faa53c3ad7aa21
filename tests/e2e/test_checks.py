"""Active checks as Dify needs them: whose token, what an answer says of whom, busy or hanging, and what ends an
ejection or a run of failures. For thresholds and each way to fail a check see test_health."""

import http.server
import socket
import threading
import time

import pytest
from cluster import Cluster
from harness import PATIENCE, STATE_SECONDS, TIMEOUT, TOKEN, Node, instance, observe, parallel, ring_find, ring_points, settings
from stopwatch import Stopwatch
from stub_client import Stub, start_stubs, wait_for

CHECK = {"interval": "100ms", "timeout": f"{300 * PATIENCE}ms"}
PATH = "/v1/_echo"


class Dify:
    """An instance that writes its checks down and answers them as `answer` (token -> status) says."""

    def __init__(self, answer, host="127.0.0.1"):
        self.name, self.host, self.token = "dify1", host, "app-1"
        self.answer = answer
        self.seen = []   # (monotonic time, path, token or None, user agent)
        self.hosts = set()   # what the field Host said
        self.open = self.most_open = 0
        self.lock = threading.Lock()
        dify = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
                with dify.lock:
                    dify.hosts.add(self.headers.get("Host"))
                    dify.seen.append((time.monotonic(), self.path, token, self.headers.get("User-Agent")))
                    dify.open += 1
                    dify.most_open = max(dify.most_open, dify.open)
                self.send_response(dify.answer(token))
                self.send_header("Content-Length", "0")
                self.end_headers()
                with dify.lock:
                    dify.open -= 1

            do_POST = do_GET

            def log_message(self, *_arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self.server = Server((self.host, 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def checks(self):
        """[(time, token)] so far."""
        with self.lock:
            return [(when, token) for when, _path, token, agent in self.seen if agent == "difyring-health-check"]

    def forget(self):
        with self.lock:
            self.seen.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def knows(*tokens):
    """As a Dify that knows these tokens answers."""
    return lambda token: 200 if token in tokens else 401


def entry(dify, name, token, **more):
    return instance(dify, name=name, token=token, **more)


def two_applications(one, two, **sections):
    """Entries of two applications."""
    config = settings([], instances=one, **sections)
    config["applications"]["two"] = {"user_tokens": ["usertoken--two"], "instances": two}
    return config


def states(node):
    return {f"{app}/{name}": found["status"] for app, entries in node.status()["applications"].items()
            for name, found in entries["instances"].items()}


def wait_states(node, seconds=STATE_SECONDS, **wanted):
    """`a__b`: instance b of application a."""
    wanted = {key.replace("__", "/"): value for key, value in wanted.items()}
    wait_for(lambda: states(node) == wanted, seconds)


# ---- tokens

def test_the_default_check_asks_for_parameters_with_the_instances_token():
    def dify(token):
        return 200 if token == "app-1" else 401
    with Dify(dify) as one, Node(settings([one], health_check=CHECK)) as node:
        node.wait_instance("dify1", status="healthy", eligible=True)
        assert {(path, token, agent) for _, path, token, agent in one.seen} == {
            ("/v1/parameters", "app-1", "difyring-health-check")}


@pytest.mark.parametrize("host, written", [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}")])
def test_a_check_names_the_host_as_http_wants_it(host, written):
    with Dify(knows("app-1"), host) as one, Node(settings([one], health_check=CHECK)) as node:
        node.wait_instance("dify1", status="healthy")
        assert one.hosts == {written.format(one.port)}


def test_a_stand_in_dify_passes_the_default_check(stubs):
    with Node(settings(stubs, health_check=CHECK)) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
            assert {(record["target"], record["token"]) for record in stub.requests()} == {
                ("/v1/parameters", stub.token)}


def test_a_wrong_token_is_down_for_its_entry_alone_until_a_reload_mends_it():
    with Dify(knows("app-1", "app-3")) as dify:
        config = two_applications([entry(dify, "a", "app-1"), entry(dify, "b", "app-2")], [entry(dify, "c", "app-3")],
                                  health_check=CHECK)
        with Node(config) as node:
            wait_states(node, one__a="healthy", one__b="unhealthy", two__c="healthy")
            observe(0.5, lambda: states(node)["one/b"] == "unhealthy")
            [event] = [e for e in node.events("check_result") if e["instance"] == "b"]
            assert (event["active"], event["status"]) == ("down", 401)
            config["applications"]["one"]["instances"][1]["token"] = "app-3"
            assert node.reload(config)[0] == 200
            wait_states(node, one__a="healthy", one__b="healthy", two__c="healthy")


def test_without_a_token_401_is_an_answer():
    with Dify(knows("app-1", "dataset-2")) as dify:
        config = two_applications([entry(dify, "a", "app-1"), entry(dify, "d", "dataset-2"), entry(dify, "e", "ds-3")],
                                  [entry(dify, "b", "app-unknown")], health_check=CHECK)
        config["applications"]["two"]["health_check"] = {"token": False}
        with Node(config) as node:
            wait_states(node, one__a="healthy", one__d="healthy", one__e="healthy", two__b="healthy")
            assert {token for _, token in dify.checks()} == {"app-1", None}


def test_what_is_expected_can_be_given_without_a_token_too():
    with Dify(lambda token: 401 if token is None else 200) as dify:
        check = {**CHECK, "expect": [200], "unhealthy_threshold": 1}
        config = settings([], instances=[entry(dify, "d", "dataset-2")], health_check=check)
        with Node(config) as node:
            node.wait_instance("d", status="unhealthy")


def test_one_check_an_interval_for_all_entries_of_a_container_with_each_token_in_turn():
    seconds = 0.25
    with Dify(knows("app-1", "app-2", "app-3")) as dify:
        config = two_applications([entry(dify, "a", "app-1"), entry(dify, "b", "app-2")], [entry(dify, "c", "app-3")],
                                  health_check={**CHECK, "interval": f"{int(seconds * 1000)}ms"})
        with Node(config) as node:
            wait_states(node, one__a="healthy", one__b="healthy", two__c="healthy")
            dify.forget()
            wait_for(lambda: len(dify.checks()) >= 9, TIMEOUT)
            checks = dify.checks()
            for first in range(len(checks) - 2):   # any three in a row
                assert {token for _, token in checks[first:first + 3]} == {"app-1", "app-2", "app-3"}
            gaps = [b[0] - a[0] for a, b in zip(checks, checks[1:])]
            assert sum(gaps) / len(gaps) > 0.8 * seconds
            assert dify.most_open == 1


def test_another_port_or_other_checks_are_not_shared():
    with Dify(knows("app-1", "app-2")) as dify, Dify(knows("app-1")) as other:
        config = two_applications([entry(dify, "a", "app-1"), entry(other, "b", "app-1")], [entry(dify, "c", "app-2")],
                                  health_check=CHECK)
        config["applications"]["two"]["health_check"] = {"path": "/v1/info"}
        with Node(config) as node:
            wait_states(node, one__a="healthy", one__b="healthy", two__c="healthy")
            assert {(path, token) for _, path, token, _ in dify.seen} == {("/v1/parameters", "app-1"),
                                                                          ("/v1/info", "app-2")}
            assert {token for _, token in other.checks()} == {"app-1"}


def test_a_dead_database_is_down_for_all_entries():
    """Every call with a token is 500; without one the answer is 401 as ever."""
    alive = threading.Event()
    alive.set()

    def answer(token):
        return 401 if token is None else 200 if alive.is_set() else 500
    with Dify(answer) as dify:
        config = two_applications([entry(dify, "a", "app-1"), entry(dify, "d", "dataset-2")],
                                  [entry(dify, "c", "app-3")], health_check=CHECK)
        with Node(config) as node:
            wait_states(node, one__a="healthy", one__d="healthy", two__c="healthy")
            alive.clear()
            wait_states(node, one__a="unhealthy", one__d="unhealthy", two__c="unhealthy")
            alive.set()
            wait_states(node, one__a="healthy", one__d="healthy", two__c="healthy")


def test_a_broken_application_does_not_take_its_neighbour_down():
    with Dify(lambda token: {"app-1": 500}.get(token, 200)) as dify:
        config = two_applications([entry(dify, "a", "app-1")], [entry(dify, "c", "app-3")], health_check=CHECK)
        with Node(config) as node:
            wait_states(node, one__a="unhealthy", two__c="healthy")
            observe(0.5, lambda: states(node)["two/c"] == "healthy")


# ---- busy

PLACES = 10


@pytest.fixture
def full():
    """A Dify of its own with 10 places."""
    with Stub("dify1", connections=PLACES) as stub:
        yield stub


def busy_check(busy_timeout):
    return {"interval": "100ms", "timeout": "200ms", "busy_timeout": f"{int(busy_timeout * PATIENCE * 1000)}ms",
            "enabled": True}


def open_streams(node, interval, count=PLACES):
    clients = [node.client() for _ in range(count)]
    for client in clients:
        client.request("GET", f"/v1/_sse?events=1000&interval={interval}", TOKEN).head()
    return clients


@pytest.mark.parametrize("silence", [0.5, 1.5])
def test_ten_streams_fill_an_instance_and_no_node_calls_it_down(full, silence):
    """Nobody else is served while they go on, no check is; node-b has nothing in flight itself."""
    with Cluster(settings([full], health_check=busy_check(2.5)), 2) as cluster:
        cluster.settle()
        for node in cluster.nodes():
            node.wait_instance("dify1", status="healthy")
        clients = open_streams(cluster["node-a"], silence)
        observe(4, lambda: all(node.instances()["dify1"]["status"] == "healthy" for node in cluster.nodes()))
        for node in cluster.nodes():
            assert not [e for e in node.events("check_result") if e["active"] == "down"]
        for client in clients:
            client.close()
        full.forget()
        wait_for(lambda: full.requests(path="/v1/parameters"), TIMEOUT)
        observe(0.5, lambda: all(node.instances()["dify1"]["status"] == "healthy" for node in cluster.nodes()))


def test_ten_blocking_calls_fill_an_instance_and_it_stays_up(full):
    def call(node):
        return node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
            "user": "u", "query": "x", "response_mode": "blocking", "inputs": {"stub_delay": 2}})[0].status
    with Cluster(settings([full], health_check=busy_check(4)), 2) as cluster:
        cluster.settle()
        for node in cluster.nodes():
            node.wait_instance("dify1", status="healthy")
        calls = threading.Thread(target=lambda: statuses.extend(parallel([lambda: call(cluster["node-a"])] * PLACES)))
        statuses = []
        calls.start()
        while calls.is_alive():
            assert all(node.instances()["dify1"]["status"] == "healthy" for node in cluster.nodes())
            calls.join(0.05)
        assert statuses == [200] * PLACES
        assert not [e for node in cluster.nodes() for e in node.events("check_result") if e["active"] == "down"]


def test_an_instance_that_hangs_with_requests_is_found_after_busy_timeout(full):
    busy = 1.5 * PATIENCE
    with Cluster(settings([full], health_check=busy_check(1.5)), 2) as cluster:
        cluster.settle()
        for node in cluster.nodes():
            node.wait_instance("dify1", status="healthy")
        clients = open_streams(cluster["node-a"], 0.1, count=2)
        full.pause()
        try:
            began = time.monotonic()
            observe(busy * 0.6, lambda: all(node.instances()["dify1"]["status"] == "healthy"
                                            for node in cluster.nodes()))
            for node in cluster.nodes():
                node.wait_instance("dify1", status="unhealthy", seconds=busy + 3)
            assert busy * 0.9 < time.monotonic() - began
        finally:
            full.resume()
        for node in cluster.nodes():
            node.wait_instance("dify1", status="healthy")
        for client in clients:
            client.close()


def test_an_instance_that_hangs_is_down_at_busy_timeout_whatever_the_interval(full):
    """What was excused as busy counts after all: no further run of failures has to come together."""
    busy = 4 * PATIENCE
    check = {"interval": f"{2 * PATIENCE}s", "timeout": f"{PATIENCE}s", "busy_timeout": f"{busy}s", "enabled": True,
             "healthy_threshold": 1, "unhealthy_threshold": 5}
    with Node(settings([full], health_check=check)) as node:
        node.wait_instance("dify1", status="healthy", seconds=busy)
        clients = open_streams(node, 0.1, count=2)
        full.pause()
        try:
            watch = Stopwatch()
            node.wait_instance("dify1", status="unhealthy", seconds=busy + 3 * PATIENCE)
            assert busy * 0.9 < watch.seconds() and watch.fair_seconds() < busy + 2 * PATIENCE  # deliveries are timed once a second
        finally:
            full.resume()
        wait_for(lambda: [e["reason"] for e in node.events("check_result") if e["active"] == "down"] ==
                 ["silent for busy_timeout"])
        for client in clients:
            client.close()


def test_an_instance_that_hangs_without_requests_is_found_at_once(full):
    with Node(settings([full], health_check=busy_check(600))) as node:
        node.wait_instance("dify1", status="healthy")
        full.pause()
        try:
            node.wait_instance("dify1", status="unhealthy")
        finally:
            full.resume()


@pytest.mark.parametrize("kind", ["refuse", "accept_reset"])
def test_who_refuses_or_resets_is_down_at_once_however_busy(full, kind):
    with Node(settings([full], health_check=busy_check(600))) as node:
        node.wait_instance("dify1", status="healthy")
        clients = open_streams(node, 0.1, count=2)
        full.fault(kind, count=None)
        node.wait_instance("dify1", status="unhealthy")
        assert node.instances()["dify1"]["active_requests"] == 2
        for client in clients:
            client.close()


# ---- statuses

@pytest.fixture(scope="module")
def four():
    stubs = start_stubs("dify1", "dify2", "dify3", "dify4")
    yield stubs
    for stub in stubs:
        stub.stop()


def post(node, user, path):
    return node.request("POST", path, token=TOKEN, json_body={"user": user})[0].status


@pytest.mark.parametrize("code", [500, 503])
def test_one_users_errors_among_good_answers_move_nobody(four, code):
    """500 is no failure; 503 is one, but a good answer ends the run."""
    points = ring_points({stub.name: 1 for stub in four})
    users = [f"u{i}" for i in range(80)]
    homes = {user: ring_find(points, "one", user) for user in users}
    config = settings(four, health_check={**CHECK, "enabled": True},
                      instances=[instance(stub, max_fails=3, fail_timeout=30) for stub in four])
    with Node(config) as node:
        for stub in four:
            node.wait_instance(stub.name, status="healthy")
        neighbour = next(user for user in users[1:] if homes[user] == homes[users[0]])
        for _ in range(6):
            assert post(node, users[0], f"/v1/_status/{code}") == code
            for _ in range(10):
                assert post(node, neighbour, PATH) == 200
        observe(0.5, lambda: all(found["eligible"] for found in node.instances().values()))
        assert {user: node.echo(f"{PATH}?user={user}")["instance"] for user in users} == homes


def test_errors_in_a_row_move_nobody_either(four):
    config = settings(four, health_check={**CHECK, "enabled": True},
                      instances=[instance(stub, max_fails=3, fail_timeout=30) for stub in four])
    with Node(config) as node:
        for stub in four:
            node.wait_instance(stub.name, status="healthy")
        for _ in range(10):
            assert post(node, "u", "/v1/_status/500") == 500
        observe(0.3, lambda: all(found["eligible"] for found in node.instances().values()))


def test_an_error_brings_the_next_check_forward_at_most_once_a_second(four):
    stub = four[0]
    with Node(settings([stub], health_check={**CHECK, "interval": "1h", "unhealthy_threshold": 3})) as node:
        stub.forget()
        assert post(node, "u", "/v1/_status/500") == 500
        wait_for(lambda: stub.requests(path="/v1/parameters"), TIMEOUT)   # though the interval is an hour
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert post(node, "u", "/v1/_status/500") == 500
        times = [record["mono"] for record in stub.requests(path="/v1/parameters")]
        assert 3 <= len(times) <= 5
        assert min(b - a for a, b in zip(times, times[1:])) > 0.95
        assert node.instances()["dify1"]["status"] == "healthy"   # by two of them


def test_a_database_that_dies_is_found_by_three_answers(four):
    stub = four[1]
    with Node(settings([stub], health_check={**CHECK, "interval": "1h"})) as node:
        stub.fault("status", code=500, count=None, match="/v1/parameters")
        for turn in range(3):
            stub.forget()
            # Again where it comes while the check before is still on its way: that is the one it would bring.
            wait_for(lambda: post(node, "u", "/v1/_status/500") == 500 and stub.requests(path="/v1/parameters"), TIMEOUT)
        node.wait_instance(stub.name, status="unhealthy")
        stub.clear()


# ---- ejections

def test_passed_checks_end_an_ejection_at_night(stubs):
    """Refused for a moment, then well again, and nobody asks for it."""
    config = settings(stubs, health_check={**CHECK, "enabled": True, "unhealthy_threshold": 1000},
                      instances=[instance(stub, max_fails=2, fail_timeout="1s") for stub in stubs])
    points = ring_points({stub.name: 1 for stub in stubs})
    user = next(f"u{i}" for i in range(1000) if ring_find(points, "one", f"u{i}") == "dify2")
    with Node(config) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
        stubs[1].refuse()
        stubs[1].close_connections()
        for _ in range(2):
            assert post(node, user, PATH) == 200
        node.wait_instance("dify2", status="ejected", eligible=False)
        observe(1.5, lambda: node.instances()["dify2"]["status"] == "ejected")   # while it refuses
        stubs[1].clear()
        node.wait_instance("dify2", status="healthy", eligible=True)
        assert post(node, user, PATH) == 200


def test_passed_checks_do_not_end_an_ejection_by_statuses(stubs):
    config = settings(stubs, health_check={**CHECK, "enabled": True},
                      instances=[instance(stub, max_fails=2, fail_timeout="300ms") for stub in stubs])
    points = ring_points({stub.name: 1 for stub in stubs})
    user = next(f"u{i}" for i in range(1000) if ring_find(points, "one", f"u{i}") == "dify2")
    with Node(config) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
        for _ in range(2):
            assert post(node, user, "/v1/_status/503") == 503
        node.wait_instance("dify2", status="ejected")
        observe(1.5, lambda: node.instances()["dify2"]["status"] == "ejected")
        wait_for(lambda: post(node, user, PATH) == 200 and node.instances()["dify2"]["eligible"], STATE_SECONDS)
