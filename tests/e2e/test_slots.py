"""Slots of an instance (max_in_flight) and the queue before them: nobody is let in beyond the limit, nobody is
refused who could wait, and users take turns."""

import contextlib
import math
import socket
import threading
import time

import pytest
from cluster import Cluster
from harness import LONG, PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, parallel, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for

SLOTS = 10


@pytest.fixture
def stock():
    """An instance as Dify ships it: ten connections at a time. It would serve more, and counts them."""
    with Stub("dify1", tokens=["app-one", "app-two"]) as stub:
        yield stub


def limited(stub, slots=SLOTS, *, queue=None, workers=4, **sections):
    application = {"queue": queue} if queue else {}
    return settings([stub], instances=[instance(stub, max_in_flight=slots)], application=application,
                    workers=workers, **sections)


def chat(node, user, delay=0.0, *, client=None, **more):
    """(status, JSON or text) of a blocking run."""
    body = {"user": user, "query": "q", "inputs": {"stub_delay": delay}, "response_mode": "blocking", **more}
    if client:
        head, said = client.request("POST", "/v1/chat-messages", TOKEN, json_body=body).response()
    else:
        head, said = node.request("POST", "/v1/chat-messages", token=TOKEN, json_body=body)
    return head, said


class Holder:
    """Runs that hold slots until they are let go: event streams without an end in sight."""

    def __init__(self, node, count, user="holder", seconds=30):
        self.clients = [node.client() for _ in range(count)]
        for index, client in enumerate(self.clients):
            client.request("POST", "/v1/chat-messages", TOKEN, json_body={
                "user": f"{user}{index}", "query": "q", "response_mode": "streaming",
                "inputs": {"stub_events": int(seconds / 0.05), "stub_interval": 0.05}})
        for client in self.clients:
            assert client.head().status == 200

    def release(self, count=None):
        for client in self.clients[:count]:
            client.__exit__(None, None, None)
        self.clients = self.clients[len(self.clients) if count is None else count:]

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.release()


def queued(node, name="dify1"):
    return node.instances()[name]["queued"]


def jain(values):
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


@pytest.mark.alone
@pytest.mark.threads
def test_fifty_clients_of_five_users_share_ten_slots(stock):
    """One user sends half of all. Nobody is refused, the limit holds, users get the same."""
    config = limited(stock, health_check={"interval": 0.2, "timeout": 0.2, "unhealthy_threshold": 1})
    end = time.monotonic() + (60 if LONG else 2 + PATIENCE)
    served, statuses, lock = {}, [], threading.Lock()

    def customer(node, index):
        user = "greedy" if index < 25 else f"user{index % 4}"
        with node.client() as client:
            while time.monotonic() < end:
                head, _ = chat(node, user, 0.1, client=client)
                with lock:
                    statuses.append(head.status)
                    if time.monotonic() < end - 0.3:   # while all of them wait
                        served[user] = served.get(user, 0) + 1

    def asks_short(node):
        slowest = []
        with node.client() as client:
            while time.monotonic() < end - 0.5:
                watch = Stopwatch()
                head, _ = client.request("GET", "/v1/conversations?user=u", TOKEN).response()
                assert head.status == 200
                head, _ = client.request("POST", "/v1/chat-messages/none/stop", TOKEN, json_body={"user": "u"}).response()
                assert head.status < 500
                slowest.append(watch.fair_seconds())
                time.sleep(0.02)
        return sorted(slowest)

    with Node(config) as node:
        node.wait_instance("dify1", status="healthy")
        results = parallel([lambda i=i: customer(node, i) for i in range(50)] + [lambda: asks_short(node)])
        times = results[-1]
        counts = stock.counts()
        assert set(statuses) == {200}
        assert counts["connections_peak"] <= SLOTS, counts
        assert jain(list(served.values())) >= 0.95, served
        print(f"{len(statuses)} runs, Jain's index {jain(list(served.values())):.4f}; a list and a stop together: p50 "
              f"{times[len(times) // 2] * 1000:.1f} ms, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms")
        assert times[len(times) // 2] < 0.05 * PATIENCE, times   # two of them, one after the other
        assert node.instances()["dify1"]["status"] == "healthy"
        assert [event["active"] for event in node.events("check_result")] == ["up"]


def test_leavers_are_never_seen_by_the_instance(stock):
    """They wait for a slot, also in the moment in which one comes free."""
    left = 0
    with Node(limited(stock, 2, queue={"size": 500})) as node, Holder(node, 1) as holder:
        for _ in range(11 if LONG else 2):
            stock.forget()
            leavers = [node.client() for _ in range(100)]
            for index, client in enumerate(leavers):
                client.request("POST", "/v1/chat-messages", TOKEN,
                               json_body={"user": f"leaver{index}", "query": "q", "response_mode": "streaming"})
            wait_for(lambda: queued(node) == 100, TIMEOUT)
            for client in leavers[1:]:
                client.__exit__(None, None, None)
            holder.release()
            head = leavers[0].head()
            assert head.status == 200
            leavers[0].__exit__(None, None, None)
            wait_for(lambda: queued(node) == 0, TIMEOUT)
            users = stock.counts()["users"]
            assert set(users) <= {"leaver0"}, users
            left += len(leavers) - 1
            holder.__init__(node, 1)
        print(f"{left} have left the queue, seen by the instance: 0")


def test_a_full_queue_is_429_at_once_and_says_when_to_come_back(stock):
    with Node(limited(stock, 2, queue={"size": 3, "timeout": 60})) as node, Holder(node, 1):
        waiting = [node.client() for _ in range(3)]
        for index, client in enumerate(waiting):
            client.request("POST", "/v1/chat-messages", TOKEN, json_body={"user": f"w{index}", "query": "q"})
        wait_for(lambda: queued(node) == 3, TIMEOUT)
        watch = Stopwatch()
        head, said = chat(node, "late")
        assert watch.fair_seconds() < 1 * PATIENCE
        check_error(head, said, 429, "too_many_requests")
        assert 1 <= int(head.headers["retry-after"]) <= 60
        assert node.wait_access(user_id="late")[0]["termination"] == "queue_full"
        assert stock.counts()["users"].keys() == {"holder0"}
        wait_for(lambda: [p["subject"] for p in node.status()["problems"] if p["kind"] == "queue_full"] ==
                 ["one/dify1"], TIMEOUT)
        for client in waiting:
            client.__exit__(None, None, None)
        wait_for(lambda: queued(node) == 0, TIMEOUT)


def test_queue_timeout_is_429_and_counts_from_the_first_wait(stock):
    with Node(limited(stock, 2, queue={"timeout": "400ms"})) as node, Holder(node, 1):
        watch = Stopwatch()
        head, said = chat(node, "late")
        waited, fair = watch.seconds(), watch.fair_seconds()
        check_error(head, said, 429, "too_many_requests")
        assert head.headers["retry-after"]
        assert 0.35 < waited and fair < 1.5 * PATIENCE
        line = node.wait_access(user_id="late")[0]
        assert line["termination"] == "queue_timeout" and 0.35 < line["queue_time"] < line["request_time"] + 0.005
        metrics = node.request("GET", "/metrics")[1].decode()
        assert 'difyring_queue_rejected_total{app="one",reason="timeout"} 1' in metrics
        assert 'difyring_terminations_total{app="one",reason="queue_timeout"} 1' in metrics


class Closer:
    """Ends each connection a moment after its answer, and counts those whose end it has not come to. Who is late
    himself is not counted: the node waits 100 ms for an instance to hear an end, and no longer."""

    LATE = 0.05

    def __init__(self, says_so):
        self.field = b"Connection: close\r\n" if says_so else b""
        self.lock = threading.Lock()
        self.ends, self.peak = {}, 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        with contextlib.suppress(OSError):   # of accept(), once it is closed
            while True:
                sock, _ = self.listener.accept()
                with self.lock:
                    self.ends[sock] = math.inf
                    now = time.monotonic()
                    self.peak = max(self.peak, sum(now < end + self.LATE for end in self.ends.values()))
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock, contextlib.suppress(OSError):
            data = sock.recv(65536)
            while data and not data.endswith(b"once"):
                data = sock.recv(65536)
            time.sleep(0.005)
            with self.lock:
                self.ends[sock] = time.monotonic() + 0.01
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + self.field + b"\r\nok")
            time.sleep(0.01)
            with self.lock:
                del self.ends[sock]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.mark.parametrize("says_so", [True, False])
def test_an_instance_that_closes_after_each_answer_sees_no_more_than_its_slots(says_so):
    with contextlib.closing(Closer(says_so)) as closer:
        entry = {"name": "dify1", "host": "127.0.0.1", "port": closer.port, "token": "app-one", "max_fails": 0,
                 "max_in_flight": SLOTS}
        with Node(settings([], instances=[entry], workers=4)) as node:
            def one(index):
                return node.request("POST", f"/v1/files/upload?user=u{index % 5}", token=TOKEN, body=b"once")[0].status
            statuses = parallel([lambda index=index: one(index) for index in range(100)])
            # Unsaid: one in 25 runs had 11, for as long as the instance took to hear an end (doc/LIMITS.md); without
            # waiting for ends at all it was 19.
            assert closer.peak <= SLOTS + (0 if says_so else 4), closer.peak
            assert statuses.count(200) >= (100 if says_so else 80), statuses   # who closes unsaid loses some


def test_what_the_node_asks_by_itself_takes_slots_and_leaves_them():
    """Where a conversation lives is asked by GETs of the node's own: they count, until the instance has heard their end."""
    with Stub("dify1") as one, Stub("dify2") as two:
        with Node(settings([one, two], instances=[instance(stub, max_in_flight=2) for stub in (one, two)],
                           workers=2)) as node:
            def ask(index):
                return chat(node, f"u{index % 5}", conversation_id=f"{index:08d}-1111-4111-8111-111111111111")[0].status
            assert set(parallel([lambda index=index: ask(index) for index in range(30)])) == {404}
            assert 1 <= one.counts()["connections_peak"] <= 2 and 1 <= two.counts()["connections_peak"] <= 2
            wait_for(lambda: all(entry["slots_used"] == 0 for entry in node.instances().values()), TIMEOUT)


def test_a_size_of_nought_refuses_at_once_but_idle_connections_are_in_nobodys_way(stock):
    with Node(limited(stock, 1, queue={"size": 0})) as node:
        for index in range(40):   # over all workers: the idle connection is mostly another one's
            head, _ = chat(node, f"u{index}")
            assert head.status == 200
        with Holder(node, 1):
            assert chat(node, "late")[0].status == 429
        assert stock.counts()["connections_peak"] == 1


def test_a_blocking_run_whose_client_left_keeps_its_slot_to_its_end(stock):
    with Node(limited(stock, 2)) as node:
        client = node.client()
        client.request("POST", "/v1/chat-messages", TOKEN, json_body={
            "user": "gone", "query": "q", "inputs": {"stub_delay": 0.8}, "response_mode": "blocking"})
        wait_for(lambda: stock.counts()["requests"] == 1, TIMEOUT)
        client.__exit__(None, None, None)
        began = time.monotonic()
        head, _ = chat(node, "next")
        assert head.status == 200 and time.monotonic() - began > 0.3
        assert stock.counts()["aborts"] == 0
        line = node.wait_access(user_id="gone")[0]
        assert line["status"] == 499 and line["aborted"] and line["request_time"] > 0.5


def test_a_stream_whose_client_left_is_closed_at_once(stock):
    """Before its first byte, too."""
    with Node(limited(stock, 2)) as node:
        for inputs in ({"stub_delay": 20}, {"stub_events": 1000}):
            stock.forget()
            client = node.client()
            client.request("POST", "/v1/completion-messages", TOKEN, json_body={
                "user": "gone", "query": "q", "inputs": inputs, "response_mode": "streaming"})
            wait_for(lambda: stock.counts()["requests"] == 1, TIMEOUT)
            client.__exit__(None, None, None)
            stock.wait_counts(lambda counts: counts["aborts"] == 1, TIMEOUT)


def test_an_instance_that_goes_hands_its_waiters_on(stock):
    """By drain, and when its checks fail; hashed users go to the next one."""
    with Stub("dify2", token=stock.token) as second:
        config = settings([stock, second], instances=[instance(one, max_in_flight=2) for one in (stock, second)],
                          health_check={"interval": 0.2, "unhealthy_threshold": 1, "healthy_threshold": 1})
        with Node(config) as node:
            node.wait_instance("dify1", status="healthy")
            node.wait_instance("dify2", status="healthy")
            users = [f"user{index}" for index in range(40)]
            homes = {user: chat(node, user)[0] and None for user in users}
            homes = {user: "dify1" for user in users if user in stock.counts()["users"]}
            first, *others = list(homes)[:6]
            assert len(others) == 5
            for way in ("drain", "refuse"):
                hold = node.client()
                hold.request("POST", "/v1/chat-messages", TOKEN, json_body={
                    "user": first, "query": "q", "response_mode": "streaming", "inputs": {"stub_events": 5000}})
                assert hold.head().status == 200
                clients = [node.client() for _ in others]
                for user, client in zip(others, clients):
                    client.request("POST", "/v1/chat-messages", TOKEN, json_body={"user": user, "query": "q"})
                wait_for(lambda: queued(node) == 5, TIMEOUT)
                second.forget()
                if way == "drain":
                    assert node.json("POST", "/admin/instances/one/dify1/drain")[0].status == 200
                else:
                    stock.refuse()
                for client in clients:
                    assert client.response()[0].status == 200
                assert set(others) <= set(second.counts()["users"])
                hold.__exit__(None, None, None)
                if way == "drain":
                    assert node.json("POST", "/admin/instances/one/dify1/enable")[0].status == 200
                    node.wait_instance("dify1", status="healthy", eligible=True)


@pytest.mark.threads
@pytest.mark.parametrize("way", ["it leaves the file", "its name moves to another host"])
def test_a_reload_that_takes_an_instance_away_hands_its_waiters_on(stock, way):
    """They go where the new configuration sends them, which those who wait did not begin with."""
    with Stub("dify2", token=stock.token) as second:
        def only(stub, name):
            config = limited(stub, 2, queue={"timeout": "60s"})
            config["applications"]["one"]["instances"][0]["name"] = name
            return config

        with Node(only(stock, "dify1")) as node, Holder(node, 1) as holder:
            clients = [node.client() for _ in range(20)]
            for index, client in enumerate(clients):
                client.request("POST", "/v1/chat-messages", TOKEN, json_body={"user": f"w{index}", "query": "q"})
            wait_for(lambda: queued(node) == 20, TIMEOUT)
            clients.pop().__exit__(None, None, None)
            status, said = node.reload(only(second, "dify2" if way == "it leaves the file" else "dify1"))
            assert status == 200, said
            for client in clients:
                assert client.response()[0].status == 200
                client.__exit__(None, None, None)
            assert {f"w{index}" for index in range(19)} <= set(second.counts()["users"])
            assert stock.counts()["users"].keys() == {"holder0"}
            line = node.wait_access(user_id="w3")[0]
            assert line["attempts"] == 1 and line["queue_time"] > 0
            assert line["upstream_addr"] == f"{second.host}:{second.port}"
            assert holder.clients[0].chunk()   # what is in flight goes on


@pytest.mark.threads
def test_reloads_change_limit_and_queue_under_load(stock):
    end = time.monotonic() + 2.5
    statuses = []

    def customer(node, index):
        with node.client() as client:
            while time.monotonic() < end:
                statuses.append(chat(node, f"u{index % 5}", 0.02, client=client)[0].status)

    def operator(node):
        for slots in (1, 10, 0, 2, 20, 3, 0, 4):
            status, said = node.reload(limited(stock, slots, queue={"size": 50 + slots, "timeout": 30}))
            assert status == 200, said
            time.sleep(0.2)   # under load, that is: not waited for anything
        stock.forget()
        time.sleep(0.3)
        return stock.counts()["connections_peak"]

    with Node(limited(stock, 4)) as node:
        results = parallel([lambda i=i: customer(node, i) for i in range(30)] + [lambda: operator(node)])
        assert set(statuses) == {200}
        assert results[-1] <= 4
        wait_for(lambda: queued(node) == 0 and node.instances()["dify1"]["slots_used"] == 0, TIMEOUT)


def test_entries_of_two_applications_share_one_host(stock):
    """The smallest limit counts."""
    config = limited(stock, 5)
    config["applications"]["two"] = {"user_tokens": ["usertoken--two"], "instances": [
        {**instance(stock, max_in_flight=3), "name": "other", "token": "app-two"}]}
    config["applications"]["three"] = {"user_tokens": ["usertoken--three"], "instances": [
        {**instance(stock), "name": "third", "token": "app-two"}]}
    with Node(config) as node:
        def customer(index):
            token = (TOKEN, "usertoken--two", "usertoken--three")[index % 3]
            for _ in range(4):
                head, _ = node.request("POST", "/v1/chat-messages", token=token, json_body={
                    "user": f"u{index}", "query": "q", "inputs": {"stub_delay": 0.02}})
                assert head.status == 200
        parallel([lambda i=i: customer(i) for i in range(15)])
        assert stock.counts()["connections_peak"] <= 3
        status = node.status()["applications"]
        assert [row["max_in_flight"] for app in status.values() for row in app["instances"].values()] == [3, 3, 3]


def test_who_may_go_anywhere_goes_where_a_slot_is_free(stock):
    with Stub("dify2", token=stock.token) as second:
        for algorithm in ("least_connections", "weighted_round_robin"):
            config = settings([stock, second], application={"algorithm": algorithm, "queue": {"timeout": "2s"}},
                              instances=[instance(one, max_in_flight=2) for one in (stock, second)])
            with Node(config) as node, Holder(node, 1):
                for index in range(10):   # one of the two has no slot for a long one
                    watch = Stopwatch()
                    assert chat(node, f"u{index}")[0].status == 200
                    assert watch.fair_seconds() < 1 * PATIENCE


def test_two_nodes_share_ten_slots(stock):
    """Beyond the limit only by what both begin before they have heard of each other; and both get their part."""
    config = limited(stock, workers=2, queue={"timeout": 20})
    with Cluster(config, 2) as cluster:
        cluster.settle()
        a, b = cluster.nodes()
        end = time.monotonic() + 3
        served = {"node-a": 0, "node-b": 0}
        over = []

        def customer(name, node, index):
            with node.client() as client:
                while time.monotonic() < end:
                    assert chat(node, f"u{index % 5}", 0.1, client=client)[0].status == 200
                    served[name] += 1

        def watch():
            """From when both are at work; each look is a sample."""
            time.sleep(1)
            while time.monotonic() < end:
                over.append(stock.counts()["connections_open"])
                time.sleep(0.01)

        parallel([lambda i=i: customer("node-a", a, i) for i in range(20)]
                 + [lambda i=i: customer("node-b", b, i) for i in range(20)] + [watch])
        assert sorted(over)[int(len(over) * 0.95)] <= SLOTS + 2, sorted(over)[-20:]
        assert jain(list(served.values())) > 0.8, served
        wait_for(lambda: a.instances()["dify1"]["slots_used"] == 0, TIMEOUT)


def test_what_a_dead_node_had_is_free_again(stock):
    with Cluster(limited(stock, 2, workers=2), 2) as cluster:
        cluster.settle()
        a, b = cluster.nodes()
        with Holder(a, 1):
            wait_for(lambda: b.instances()["dify1"]["slots_used"] == 1, TIMEOUT)
            with b.client() as waits:
                waits.request("POST", "/v1/chat-messages", TOKEN, json_body={"user": "w", "query": "q"})
                wait_for(lambda: queued(a) == 1, TIMEOUT)   # `queued` is the cluster's
                cluster.kill("node-a")
                assert waits.response()[0].status == 200


def test_an_instance_that_moves_refuses_nobody_who_waits_or_comes(stock):
    """Its host changes in the file, again and again, while its worker is busy: with whatever configuration a request
    begins, there is somewhere to go."""
    statuses, moves = [], 0
    begun = None

    def goes_on():
        took = time.monotonic() - begun
        return took < 2 + PATIENCE or (moves < 4 and took < TIMEOUT)

    def customer(node, index):
        with node.client() as client:
            while goes_on():
                statuses.append(chat(node, f"user{index}", 0.01, client=client)[0].status)

    def keeps_busy(node):
        with node.client() as client:
            while goes_on():
                client.send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
                assert {client.response()[0].status for _ in range(200)} == {200}

    def moves_it(node, places):
        nonlocal moves
        while goes_on():
            moves += 1
            assert node.reload(limited(places[moves % 2], 2, queue={"size": 500, "timeout": 20}, workers=1))[0] == 200

    with Stub("dify1", tokens=["app-one"]) as other, \
            Node(limited(stock, 2, queue={"size": 500, "timeout": 20}, workers=1)) as node:
        begun = time.monotonic()
        parallel([lambda i=i: customer(node, i) for i in range(30)] + [lambda: keeps_busy(node)] * 6 +
                 [lambda: moves_it(node, (stock, other))])
        assert moves > 3 and set(statuses) == {200}, (moves, {status: statuses.count(status) for status in statuses})


def test_an_upload_whose_instance_has_moved_meanwhile_goes_where_that_is_now(stock):
    """It began with a configuration in which nobody takes anything any more."""
    form = (b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n" + b"x" * 3000 +
            b"\r\n--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\nu\r\n--b--\r\n")
    with Stub("dify1", tokens=["app-one"]) as other, Node(limited(stock, 2, workers=1)) as node, node.client() as client:
        client.send(b"POST /v1/files/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode() +
                    b"\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % len(form) +
                    form[:1000])
        wait_for(lambda: node.status()["applications"]["one"]["active_requests"] == 1, TIMEOUT)
        assert node.reload(limited(other, 2, workers=1))[0] == 200
        assert node.reload()[0] == 200   # the first one is over in all its parts
        client.send(form[1000:])
        assert client.response()[0].status == 201
        assert len(other.requests(path="/v1/files")) == 1
