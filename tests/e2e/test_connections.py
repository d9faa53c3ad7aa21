"""Connections as a scarce thing: what idle ones to an instance cost others, who gives way when a node is full,
clients that take nothing or send next to nothing, and what the time for all attempts ends."""

import contextlib
import os
import re
import select
import signal
import socket
import time

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, open_sockets, parallel, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for
from test_hostile_peers import Peer

pytestmark = pytest.mark.alone

PLACES = 10   # of a stock Dify


@pytest.fixture
def stock():
    """An instance that serves ten connections at a time, idle ones among them."""
    with Stub("dify1", tokens=["app-one", "app-two"], connections=PLACES) as stub:
        yield stub


# ---- idle connections to an instance

def seconds_of_another_client(stub):
    """How long somebody else waits who asks the same instance."""
    watch = Stopwatch()
    with socket.create_connection((stub.host, stub.port), timeout=TIMEOUT) as other:
        other.sendall(b"GET /health HTTP/1.1\r\nHost: dify\r\nConnection: close\r\n\r\n")
        assert other.recv(1000).startswith(b"HTTP/1.1 200")
    return watch.fair_seconds()


def test_twenty_requests_at_once_leave_room_for_another_client_of_the_instance(stock):
    second = {"user_tokens": ["usertoken--two"], "instances": [{**instance(stock), "token": "app-two"}]}
    config = settings([stock])
    config["applications"]["two"] = second
    with Node(config) as node:
        def ask(index):
            token = TOKEN if index % 2 else "usertoken--two"
            return node.request("POST", "/v1/chat-messages", token=token, json_body={
                "user": f"u{index}", "query": "q", "inputs": {"stub_delay": 0.1}})[0].status
        waited = []
        for _ in range(4):   # one try of a busy machine may be slow; idle connections in the way always are
            assert parallel([lambda i=i: ask(i) for i in range(20)]) == [200] * 20
            waited.append(seconds_of_another_client(stock))
        assert min(waited) < 0.5 * PATIENCE, waited


def test_two_idle_connections_stay_for_who_asks_again(stock):
    with Node(settings([stock])) as node:
        def ask(index):
            return node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
                "user": f"u{index}", "query": "q", "inputs": {"stub_delay": 0.1}})[0].status
        for _ in range(10):   # a machine may be so busy that the time is over before it has looked
            parallel([lambda i=i: ask(i) for i in range(8)])
            until = time.monotonic() + 0.8   # about half of what gunicorn and we keep them for
            wait_for(lambda: stock.counts()["connections_open"] <= 2, TIMEOUT)
            looks = 0
            while time.monotonic() < until:
                assert stock.counts()["connections_open"] == 2
                looks += 1
            if looks >= 5:
                return
        raise AssertionError("no time to look")


# ---- clients that take nothing

IDLE = 2   # seconds; what counted it twice took more than twice as long


def kernel_has(node, client):
    """States (proc(5): 04 is FIN-WAIT-1) and bytes to send of the node's end of this connection."""
    ours, theirs = f":{node.port:04X}", f":{client.socket.getsockname()[1]:04X}"
    with open("/proc/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in file.readlines()[1:]]
    return [(line[3], int(line[4].split(":")[0], 16)) for line in lines
            if line[1].endswith(ours) and line[2].endswith(theirs)]


def to_port(port):
    """The same of all connections to this port, but for what is over (06 is TIME-WAIT)."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in file.readlines()[1:]]
    return [(line[3], int(line[4].split(":")[0], 16)) for line in lines
            if line[2].endswith(f":{port:04X}") and line[3] != "06"]


def asked_for_life(port):
    """Seconds until the kernel asks each peer at this port for a sign of life (proc(5): timer 02)."""
    with open("/proc/net/tcp", encoding="ascii") as file:
        lines = [line.split() for line in file.readlines()[1:]]
    timers = [line[5].split(":") for line in lines if line[2].endswith(f":{port:04X}") and line[3] == "01"]
    return [int(ticks, 16) / os.sysconf("SC_CLK_TCK") for kind, ticks in timers if kind == "02"]


def takes_nothing(node, target, **more):
    """A client that has asked, has been answered with more than its buffer takes, and reads none of it."""
    client = node.client(receive_buffer=4096)
    client.request("GET", target, TOKEN, **more)
    wait_for(lambda: any(size > 0 for _, size in kernel_has(node, client)), TIMEOUT)
    return client


# More than all buffers on the way take; what fits into them whole; the same, and the connection is to end.
@pytest.mark.parametrize("size,headers", [(50_000_000, []), (600_000, []), (600_000, [("Connection", "close")])])
def test_a_client_that_takes_nothing_is_reset_after_idle_and_nothing_stays(stub, size, headers):
    with Node(settings([stub], timeouts={"idle": IDLE, "keepalive": 2 * TIMEOUT})) as node:
        watch = Stopwatch()
        with takes_nothing(node, f"/v1/_bytes?size={size}", headers=headers) as client:
            wait_for(lambda: not kernel_has(node, client), TIMEOUT)
            assert IDLE * 0.9 < watch.seconds() and watch.fair_seconds() < IDLE * 1.9 * PATIENCE
            wait_for(lambda: stub.counts()["connections_open"] == 0, PATIENCE)
            with pytest.raises(ConnectionResetError):
                while client.socket.recv(65536):
                    pass
        if size > 1_000_000:
            line, = node.wait_access(1, app="one")
            assert line["aborted"]


def test_a_stream_is_let_go_when_its_client_takes_nothing_of_it(stub):
    """The instance says so little that the kernel takes all of it: no buffer of the node's fills."""
    with Node(settings([stub], timeouts={"idle": IDLE})) as node:
        with node.client(receive_buffer=4096) as client:
            client.request("GET", "/v1/_bytes?size=50000000&piece=20000&interval=0.05&chunked=1", TOKEN)
            wait_for(lambda: any(size > 0 for _, size in kernel_has(node, client)), TIMEOUT)
            watch = Stopwatch()
            wait_for(lambda: not kernel_has(node, client), TIMEOUT)
            assert watch.fair_seconds() < IDLE * 1.9 * PATIENCE
            wait_for(lambda: stub.counts()["aborts"] == 1, PATIENCE)


def test_a_client_that_reads_slowly_gets_all_of_it(stub):
    size = 400_000
    with Node(settings([stub], timeouts={"idle": IDLE, "keepalive": IDLE})) as node:
        for headers in ([], [("Connection", "close")]):
            with takes_nothing(node, f"/v1/_bytes?size={size}", headers=headers) as client:
                got = 0
                while got < size:   # the pauses are shorter than `idle`, all of it takes longer
                    time.sleep(IDLE * 0.02)
                    data = client.socket.recv(8192)
                    assert data, got
                    got += len(data)


def test_nothing_stays_for_an_instance_that_does_not_read_when_its_client_leaves():
    """The other side of it: a request that was given up leaves no bytes in the kernel either."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = deaf.getsockname()[1]
        instances = [{"name": "dify1", "host": "127.0.0.1", "port": port, "token": "app-one", "max_fails": 0}]
        with Node(settings([], instances=instances)) as node:
            with node.client() as client:
                client.socket.sendall(f"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                                      "Content-Length: 9000000\r\n\r\n".encode() + b"x" * 300_000)
                deaf.accept()[0].detach()   # open, and never read
                wait_for(lambda: any(size > 0 for _, size in to_port(port)), TIMEOUT)
            wait_for(lambda: not to_port(port), TIMEOUT)


# ---- bodies that hardly come

def test_a_body_slower_than_body_rate_is_408_and_frees_the_instance(stub):
    window, rate, clients = 1, 512, 12
    with Node(settings([stub], timeouts={"request_body": window}, limits={"body_rate": rate})) as node:
        def trickle(_):
            with node.client() as client:
                client.socket.sendall(f"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                                      "Content-Length: 1000\r\n\r\n".encode())
                began = time.monotonic()
                client.socket.settimeout(window * 0.2)
                while time.monotonic() < began + 10 * window * PATIENCE:
                    client.socket.sendall(b"x")
                    try:
                        answer = client.socket.recv(4000)
                    except TimeoutError:
                        continue
                    assert answer.startswith(b"HTTP/1.1 408 ") and b"request_timeout" in answer, answer
                    assert b"connection: close" in answer.lower()
                    return time.monotonic() - began
                raise AssertionError("never refused")
        took = parallel([lambda i=i: trickle(i) for i in range(clients)])
        assert min(took) > 0.9 * window and max(took) < 1.6 * window * PATIENCE, took
        wait_for(lambda: stub.counts()["connections_open"] == 0, TIMEOUT)
        node.wait_access(clients, status=408)


def test_a_steady_body_at_the_rate_and_a_slow_instance_are_no_reason(stub):
    with Node(settings([stub], timeouts={"request_body": 1}, limits={"body_rate": 512})) as node:
        with node.client() as client:   # for two windows, twice as fast as it must be
            client.socket.sendall(f"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                                  "Content-Length: 2000\r\n\r\n".encode())
            for _ in range(20):
                client.socket.sendall(b"x" * 100)
                time.sleep(0.1)
            assert client.response()[0].status == 200
        stub.fault("slow_read", ms=20, per=65536)
        body = b"x" * 6_000_000   # two seconds for the instance, with the client held back meanwhile
        head, _ = node.request("POST", "/v1/_echo?user=u", token=TOKEN, body=body)
        assert head.status == 200


def test_body_rate_0_is_off(stub):
    with Node(settings([stub], timeouts={"request_body": "300ms"}, limits={"body_rate": 0})) as node:
        with node.client() as client:
            client.socket.sendall(f"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                                  "Content-Length: 15\r\n\r\n".encode())
            for _ in range(15):
                client.socket.sendall(b"x")
                time.sleep(0.1)
            assert client.response()[0].status == 200


# ---- the time for all attempts

@pytest.fixture
def silent():
    """An address that takes no connection, and refuses none."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_a_connect_under_way_ends_with_the_time_for_all_attempts(silent):
    gone = {"host": "127.0.0.1", "port": silent, "token": "app-one", "max_fails": 0}
    config = settings([], instances=[{**gone, "name": "dify1"}, {**gone, "name": "dify2"}],
                      timeouts={"connect": 1}, retries={"attempts": 3, "timeout": 1.3})
    with Node(config) as node:
        watch = Stopwatch()
        head, _ = node.request("POST", "/v1/_echo?user=u", token=TOKEN, json_body={})
        assert 1.2 < watch.seconds() and watch.fair_seconds() < 1.7 * PATIENCE
        assert head.status == 503
        failures = [found["failures"] for found in node.instances().values()]
        assert sorted(failures) == [0, 1]   # the second one had 0.3 s of its second only
        assert node.wait_access(1, status=503)[0]["attempts"] == 2


def test_a_run_that_takes_longer_than_the_time_for_all_attempts_is_not_cut(stub):
    with Node(settings([stub], retries={"timeout": 0.3})) as node:
        for method in ("GET", "POST"):
            stub.fault("stall_before_head", seconds=1)
            began = time.monotonic()
            assert node.request(method, "/v1/_echo?user=u", token=TOKEN)[0].status == 200
            assert time.monotonic() - began > 0.9


def test_an_instance_whose_host_has_lost_its_power_is_noticed_while_it_is_silent(stub):
    """HAProxy's `option srvtcpka`: a run that waits sends nothing, so its connection, and its slot, would stay until
    `first_byte` is over, also when the host has long started again."""
    with Node(settings([stub])) as node, node.client() as client:
        stub.fault("stall_before_head", seconds=None)
        client.request("POST", "/v1/_echo?user=u", TOKEN, json_body={})
        assert 0 < wait_for(lambda: asked_for_life(stub.port), TIMEOUT)[0] <= 15


# ---- limits.connections

OPERATOR = "127.0.0.9"   # in admin.allow, where the clients are not
VIEWER = "127.0.0.8"     # in view_allow
FEW = 4


def full(stub, **more):
    return settings([stub], workers=2, limits={"connections": FEW}, admin={"allow": [OPERATOR + "/32"], "view_allow": [VIEWER + "/32"]}, **more)


def asked_once(node, stack):
    """A client that is served and stays."""
    client = stack.enter_context(node.client())
    assert client.request("GET", "/health").response()[0].status == 200
    return client


def active(node):
    """Connections that the node has admitted, but for the one that asks."""
    head, status = node.json("GET", "/status", source=OPERATOR)
    assert head.status == 200, (head.raw, status)
    return status["node"]["active_connections"] - 1


def is_closed(client):
    return select.select([client.socket], [], [], 0)[0] and client.ended() == "fin"


def test_the_connection_idle_longest_gives_way_to_a_new_one(stub):
    with Node(full(stub)) as node, contextlib.ExitStack() as stack:
        idle = []
        for _ in range(10 * FEW):   # the kernel spreads them over both workers
            idle.append(asked_once(node, stack))
            if len(idle) > FEW:
                wait_for(lambda: is_closed(idle[0]), TIMEOUT)
                idle.pop(0)
            time.sleep(0.003)   # so that the clock tells who is older
            assert all(client.quiet() for client in idle)
            if len(idle) == FEW:   # who asks again has not been idle for long any more
                again = idle.pop(1)
                assert again.request("GET", "/health").response()[0].status == 200
                idle.append(again)
                time.sleep(0.003)
        wait_for(lambda: active(node) == FEW - 1, TIMEOUT)   # who asks has made one more give way


def test_what_is_at_work_or_has_not_asked_yet_does_not_give_way(stub):
    with Node(full(stub)) as node, contextlib.ExitStack() as stack:
        silent = stack.enter_context(node.client())
        wait_for(lambda: active(node) == 1, TIMEOUT)
        for _ in range(FEW - 1):
            client = stack.enter_context(node.client())
            assert client.request("GET", "/v1/_sse?events=2&interval=60", TOKEN).head().status == 200
        wait_for(lambda: active(node) == FEW, TIMEOUT)
        head, body = node.request("GET", "/v1/_echo", token=TOKEN)
        check_error(head, body, 503, "service_unavailable")
        assert silent.request("GET", "/health").response()[0].status == 200
        assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200   # it has asked, and gives way
        wait_for(lambda: is_closed(silent), TIMEOUT)


def heads_on_their_way(node, head_seconds):
    """(what holds them, FEW clients that have a place each and send a head that has no end, when the first began).
    A machine that lets them in so slowly that the first head's time is over gets another try."""
    deadline = time.monotonic() + TIMEOUT
    while True:
        with contextlib.ExitStack() as stack:
            began = time.monotonic()
            clients = [stack.enter_context(node.client()) for _ in range(FEW)]
            for client in clients:
                client.send(b"GET /v1/_echo HTTP/1.1\r\nX: ")
            while time.monotonic() - began < head_seconds:
                if active(node) == FEW:
                    return stack.pop_all(), clients, began
        wait_for(lambda: active(node) == 0, TIMEOUT)
        assert time.monotonic() < deadline, "they are never let in in time"


def test_who_has_had_its_408_and_goes_on_sending_gives_way(stub):
    """A trickle of bytes keeps a lingering close going for 30 s; its place is not kept for it that long."""
    with Node(full(stub, timeouts={"request_head": "1s"})) as node:
        held, slow, began = heads_on_their_way(node, 1)

        def served():
            for client in slow:
                with contextlib.suppress(OSError):
                    client.send(b"a")
            return node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200
        with held:
            wait_for(served, 4 * PATIENCE, 0.05)
            assert time.monotonic() - began > 0.9   # the heads that are coming had their places


def test_who_has_been_refused_and_owes_the_rest_of_its_body_gives_way_and_holds_up_no_end(stub):
    with Node(full(stub)) as node, contextlib.ExitStack() as stack:
        def owes():
            client = stack.enter_context(node.client())
            head, _ = client.request("POST", "/v1/_echo", "usertoken--nobodys", headers=[("Content-Length", "60000")]).response()
            assert head.status == 401 and "connection" not in head.headers
            return client
        owing = [owes() for _ in range(FEW)]
        assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200
        wait_for(lambda: any(is_closed(client) for client in owing), TIMEOUT)
        owes()
        node.stop()   # at once, not after 5 s of silence


def test_sixteen_more_are_kept_for_who_administers_and_who_looks(stub):
    with Node(full(stub)) as node, contextlib.ExitStack() as stack:
        def busy(source):
            client = stack.enter_context(node.client(source=source))
            return client.request("GET", "/v1/_sse?events=2&interval=60", TOKEN).head().status
        assert [busy("127.0.0.1") for _ in range(FEW + 1)] == [200] * FEW + [503]
        wait_for(lambda: active(node) == FEW, TIMEOUT)
        assert [busy(source) for source in [OPERATOR] * 8 + [VIEWER] * 8] == [200] * 16
        assert busy(OPERATOR) == 503 and busy(VIEWER) == 503 and busy("127.0.0.1") == 503


def test_places_are_counted_right_when_many_come_at_once(stub):
    with Node(full(stub)) as node:
        idle = open_sockets(node)

        def visit(_):
            with contextlib.suppress(OSError, EOFError), node.client() as client:
                for _ in range(3):
                    client.request("GET", "/v1/_echo", TOKEN).response()
        for _ in range(10):
            parallel([lambda i=i: visit(i) for i in range(40)])
            assert open_sockets(node) - idle <= FEW + 64 + 40
        wait_for(lambda: active(node) == 0, TIMEOUT)
        with contextlib.ExitStack() as stack:   # and all places are there again
            for _ in range(FEW):
                client = stack.enter_context(node.client())
                assert client.request("GET", "/v1/_sse?events=2&interval=60", TOKEN).head().status == 200
            assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 503


class Counting(Peer):
    """An instance that reads requests to their end and keeps its connections; each request as (head, body)."""

    def __init__(self):
        self.seen = []
        super().__init__(self.answer)

    def answer(self, connection):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                came = connection.recv(1 << 20)
                if not came:
                    return
                data += came
            head, _, data = data.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            chunked = b"chunked" in head
            while len(data) < int(length[1]) if length else chunked and not data.endswith(b"0\r\n\r\n"):
                data += connection.recv(1 << 20)
            self.seen.append((head, data))
            data = b""
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def stand_still(node):
    """Until SIGCONT. All threads have stopped when this returns."""
    def all_stopped():
        for task in os.listdir(f"/proc/{node.pid}/task"):
            with open(f"/proc/{node.pid}/task/{task}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] != "T":
                    return False
        return True
    node.signal(signal.SIGSTOP)
    wait_for(all_stopped, TIMEOUT)


BODIES = {"small": b"x" * 20, "large": b"x" * 200_000, "a chunk": b"5\r\nhello\r\n0\r\n\r\n",
          "a large chunk": b"186a0\r\n" + b"x" * 100_000 + b"\r\n0\r\n\r\n"}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("behind", [False, True])
def test_a_kept_connection_that_ends_unused_loses_no_request_however_large(body, behind):
    """The news that it has ended comes after the request in the same turn, which takes more sockets than are told at
    a time. A POST that it took no byte of goes up over another one, also where its body is still to come."""
    body = BODIES[body]
    framing = b"Transfer-Encoding: chunked" if body.endswith(b"\r\n") else b"Content-Length: %d" % len(body)
    head = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + TOKEN.encode() + \
        b"\r\nX-User-ID: u\r\n" + framing + b"\r\n\r\n"
    with Counting() as peer, Node(settings([peer], workers=1)) as node, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for _ in range(60)]
        for client in clients:
            assert client.request("GET", "/health").response()[0].status == 200
        first = clients[0]
        assert first.request("GET", "/v1/x?user=u", TOKEN).response()[0].status == 200
        stand_still(node)
        first.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):
            first.socket.sendall(head if behind else head + body)
        for client in clients[1:]:
            client.request("GET", "/health")
        peer.connections[-1].shutdown(socket.SHUT_RDWR)
        node.signal(signal.SIGCONT)
        first.socket.settimeout(TIMEOUT)
        for client in clients[1:]:
            assert client.response()[0].status == 200
        if behind:
            first.send(body)
        assert first.response()[0].status == 200
        posts = [(line, got) for line, got in peer.seen if line.startswith(b"POST")]
        assert len(posts) == 1 and posts[0][1].count(b"x") == body.count(b"x")
        assert len(peer.connections) == 2
        assert node.wait_access(method="POST")[0]["attempts"] == 1
