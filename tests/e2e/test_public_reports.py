"""What users of other proxies and gateways have reported as bugs, tried here. Each test names the reports."""

import contextlib
import os
import socket
import ssl
import threading
import time

import pytest
from certificates import Authority
from harness import BUILD, PATIENCE, TIMEOUT, TOKEN, Node, instance, open_sockets, parallel, settings
from stub_client import Stub, wait_for
from test_hostile_peers import Peer

ASK = b"Host: h\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
MIB = 1 << 20


@pytest.fixture(scope="module")
def ca():
    with Authority() as it:
        it.good = it.pair("good", ["localhost"])
        yield it


class TlsPeer(Peer):
    """An instance made of one function, called with each TLS connection."""

    def __init__(self, pair, talk):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair["certificate"], pair["key"])
        super().__init__(talk)

    def run(self, connection):
        with contextlib.suppress(OSError):
            with self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as secure:
                self.talk(secure)


def over_tls(peer, ca):
    return settings([], workers=1, instances=[{"name": "dify1", "host": "localhost", "port": peer.port, "token": "app-1",
                                               "max_fails": 0, "tls": {"ca": ca.path}}])


def read_head(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    return data


def ask(client, target="/v1/x?user=u"):
    client.send(f"GET {target} HTTP/1.1\r\n".encode() + ASK + b"\r\n")
    return client.response()


# ---- answers before, beside and behind the request

@pytest.mark.parametrize("expects", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_to_a_body_that_nobody_reads_arrives(expects, reset):
    """Envoy #38697 and #2929: 503 for an instance that says 403 or 413 and closes; tinyproxy #79: with Expect, nothing
    at all."""
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        if reset:
            time.sleep(0.05)   # the answer is on its way
        else:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    with Peer(talk) as peer, Node(settings([peer])) as node, node.client() as client:
        client.send(b"POST /v1/files/upload HTTP/1.1\r\n" + ASK + b"X-User-ID: u\r\nContent-Length: 8000000\r\n"
                    + (b"Expect: 100-continue\r\n" if expects else b"") + b"\r\n")
        head = client.head() if expects else None
        assert not expects or head.status == 100
        with contextlib.suppress(OSError):   # a client that sends all of it before it reads
            client.send(b"x" * 8_000_000)
        head, body = client.response()
        assert (head.status, body) == (401, b"no")


def test_an_interim_head_may_have_fields_and_no_reason():
    """HAProxy #27 and xrootd #1120: `100` with a Content-Length and without words broke each client in its own way."""
    def talk(connection):
        for _ in range(2):
            read_head(connection)
            connection.sendall(b"HTTP/1.1 100\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n"
                               b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok")

    with Peer(talk) as peer, Node(settings([peer])) as node, node.client() as client:
        for _ in range(2):
            assert ask(client)[1] == b"ok"
        assert len(peer.connections) == 1


def test_an_upgrade_that_nobody_asked_for_does_not_change_how_a_body_is_read():
    """Envoy #10566: `Connection: upgrade` and `Upgrade: h2` beside a chunked 200, and the chunks were the body."""
    def talk(connection):
        for _ in range(2):
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2\r\nTransfer-Encoding: chunked\r\n\r\n"
                               b"5\r\nhello\r\n0\r\n\r\n")

    with Peer(talk) as peer, Node(settings([peer], workers=1)) as node, node.client() as client:
        for _ in range(2):
            head, body = ask(client)
            assert body == b"hello" and "upgrade" not in head.headers


@pytest.mark.parametrize("begin", [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"HTTP/1.0 200 OK\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_whose_time_is_over_is_cut_and_not_ended(begin, version):
    """Envoy #17186: a chunked answer that ran out of time got a proper end, and half a file was taken for a whole one."""
    def talk(connection):
        read_head(connection)
        connection.sendall(begin)
        with contextlib.suppress(OSError):
            connection.recv(1)

    with Peer(talk) as peer, Node(settings([peer], timeouts={"idle": "300ms"})) as node, node.client() as client:
        client.send(f"GET /v1/x?user=u HTTP/{version}\r\n".encode() + ASK + b"\r\n")
        client.head()
        seen = b""
        try:
            seen = client.rest()
            end = "fin"
        except ConnectionResetError:
            end = "rst"
        assert b"0\r\n\r\n" not in seen and seen.count(b"abc") <= 1
        framed = version == "1.1" or b"Content-Length" in begin
        assert framed or end == "rst", (seen, end)   # without a frame only a reset says that something is missing
        assert node.wait_access(app="one")[0]["termination"] == "idle_timeout"


@pytest.mark.parametrize("slow", [False, True])
def test_the_tail_of_a_large_event_over_tls_arrives_when_the_instance_closes_at_once(ca, slow):
    """OpenSandbox #1461 (mitmproxy): an end of the connection overtook bytes that had not been opened yet."""
    event = b"data: " + b"y" * (3 * MIB) + b"\n\n"

    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                           b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event))
        with contextlib.suppress(OSError):
            connection.unwrap()   # its word for the end, and the connection's end right behind it

    with TlsPeer(ca.good, talk) as peer, Node(over_tls(peer, ca)) as node, node.client() as client:
        client.send(b"GET /v1/x?user=u HTTP/1.1\r\n" + ASK + b"\r\n")
        assert client.head().status == 200
        if slow:
            time.sleep(0.3)
        assert b"".join(client.chunks()) == event


def test_a_pooled_connection_whose_peer_has_said_its_end_is_not_used_again(ca):
    """fluent-bit #12079: close_notify while the TCP connection stays open, and the same connection failed for ever."""
    held = []

    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        time.sleep(0.02)
        with contextlib.suppress(OSError):   # close_notify, and nothing else
            connection.settimeout(0.01)
            connection.unwrap()
        held.append(connection)
        time.sleep(0.3)

    with TlsPeer(ca.good, talk) as peer, Node(over_tls(peer, ca)) as node, node.client() as client:
        for index in range(3):
            client.send(b"POST /v1/x?user=u HTTP/1.1\r\n" + ASK + b"Content-Length: 2\r\n\r\nhi")
            assert client.response()[0].status == 200
            wait_for(lambda: len(peer.connections) == index + 1, TIMEOUT)
            wait_for(lambda: len(held) == index + 1, TIMEOUT)
            time.sleep(0.05)   # its news is here


def test_two_answers_to_one_request_reach_nobody_else():
    """Response queue poisoning: what comes behind an answer is not the answer to the next request on that connection."""
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        with contextlib.suppress(OSError):
            connection.recv(1)

    with Peer(talk) as peer, Node(settings([peer], workers=1)) as node:
        for _ in range(20):
            with node.client() as client:
                assert ask(client)[1] == b"ok"
        assert len(peer.connections) == 20


# ---- slots and connections that leak

class Runs:
    def __init__(self, node, kind):
        self.node, self.kind = node, kind

    def leave(self, after):
        """A run whose client leaves so many seconds later."""
        with contextlib.suppress(OSError, EOFError), self.node.client() as client:
            client.request("POST", "/v1/chat-messages", TOKEN, json_body={
                "user": "u", "query": "q", "response_mode": self.kind,
                "inputs": {"stub_delay": 0.02, "stub_events": 20, "stub_interval": 0.01}})
            client.socket.settimeout(after)
            while client.socket.recv(65536):
                pass


@pytest.mark.parametrize("kind", ["streaming", "blocking"])
def test_runs_that_are_given_up_at_any_moment_leave_no_slot_taken(kind):
    """LiteLLM #27955 and #9178, Atlas #368: a slot or a connection to the provider stayed with each client that left."""
    with Stub("dify1") as stub:
        config = settings([stub], instances=[instance(stub, max_in_flight=5)], workers=2,
                          application={"queue": {"size": 500, "timeout": "20s"}})
        with Node(config) as node:
            runs = Runs(node, kind)
            parallel([lambda some=some: [runs.leave(0.001 + 0.002 * (i + some)) for i in range(25)] for some in range(8)])
            wait_for(lambda: (lambda i: i["slots_used"] == i["queued"] == i["active_requests"] == 0)
                     (node.instances()["dify1"]), TIMEOUT)
            wait_for(lambda: stub.counts()["connections_open"] == 0, TIMEOUT)
            assert node.request("POST", "/v1/chat-messages", token=TOKEN,
                                json_body={"user": "u", "query": "q"})[0].status == 200


def test_a_place_in_a_quota_comes_back_however_a_run_fails():
    """LiteLLM #20256: after time-outs and 502s of the provider the parallel requests of a key were used up for ever."""
    def talk(connection):
        head = read_head(connection)
        if b"way=status" in head:
            connection.sendall(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif b"way=garbage" in head:
            connection.sendall(b"?\r\n\r\n")
        elif b"way=cut" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        elif b"way=late" in head:
            with contextlib.suppress(OSError):
                connection.recv(1)
        elif b"way=well" in head:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    def run(node, way):
        with node.client() as client:
            client.send(f"POST /v1/files/upload?user=u&way={way} HTTP/1.1\r\n".encode() + ASK + b"Content-Length: 0\r\n\r\n")
            with contextlib.suppress(EOFError, ConnectionResetError):
                return client.head().status
        return None

    config = {"timeouts": {"first_byte": "300ms"}, "application": {"quotas": [{"per": "user", "concurrent": 1}]}}
    with Peer(talk) as peer, Node(settings([peer], **config)) as node:
        for way, status in {"status": 503, "garbage": 502, "lost": 502, "late": 504, "cut": 200}.items():
            assert run(node, way) == status
            wait_for(lambda: node.instances()["dify1"]["active_requests"] == 0, TIMEOUT)
            assert run(node, "well") == 200


def test_failures_to_reach_an_instance_leave_neither_slots_nor_descriptors():
    """HAProxy #1003 and #1453: connections leaked in bursts of failed connects; SignalR.E.A.C.H #11: each failed stream
    took a slot for ever, until all was 503."""
    with Stub("dify1") as stub:
        config = settings([stub], workers=2, instances=[instance(stub, max_in_flight=3)],
                          application={"queue": {"size": 500, "timeout": "20s"}}, retries={"attempts": 1})
        with Node(config) as node:
            def run(_):
                statuses = []
                with node.client() as client:
                    for _ in range(10):
                        statuses.append(client.request("POST", "/v1/completion-messages", TOKEN, json_body={
                            "user": "u", "query": "q", "response_mode": "streaming",
                            "inputs": {"stub_events": 1, "stub_interval": 0}}).response()[0].status)
                return statuses

            before = open_sockets(node)
            stub.refuse()
            refused = parallel([lambda i=i: run(i) for i in range(10)])
            assert {status for row in refused for status in row} == {503}
            stub.refuse(False)
            for kind in ("accept_reset", "close_before_head", "reset_before_head", "garbage"):
                stub.fault(kind, count=None, match="" if kind == "accept_reset" else "completion")
                broken = parallel([lambda i=i: run(i) for i in range(10)])
                assert {status for row in broken for status in row} <= {502, 503}, (kind, broken)
                stub.clear()
            wait_for(lambda: node.instances()["dify1"]["slots_used"] == 0, TIMEOUT)
            wait_for(lambda: open_sockets(node) <= before + 2, TIMEOUT)
            assert run(0) == [200] * 10


def test_the_limit_holds_while_instances_come_and_go_under_load():
    """HAProxy #2744: up to twice maxconn when a server came back from maintenance, with several servers."""
    stubs = [Stub(f"dify{i}", token="app-1") for i in (1, 2, 3)]
    with contextlib.ExitStack() as stack:
        for stub in stubs:
            stack.enter_context(stub)
        config = settings(stubs, workers=4, instances=[instance(stub, max_in_flight=4) for stub in stubs],
                          application={"algorithm": "least_connections", "queue": {"size": 500, "timeout": "30s"}})
        end = time.monotonic() + 2 + PATIENCE
        statuses = []
        with Node(config) as node:
            def customer(index):
                with node.client() as client:
                    while time.monotonic() < end:
                        statuses.append(client.request("POST", "/v1/completion-messages", TOKEN, json_body={
                            "user": f"u{index % 7}", "query": "q", "response_mode": "blocking",
                            "inputs": {"stub_delay": 0.01}}).response()[0].status)

            def operator():
                while time.monotonic() < end:
                    for stub in stubs[:2]:
                        assert node.json("POST", f"/admin/instances/one/{stub.name}/drain")[0].status == 200
                        assert node.json("POST", f"/admin/instances/one/{stub.name}/enable")[0].status == 200

            parallel([lambda i=i: customer(i) for i in range(40)] + [operator])
            assert set(statuses) == {200}
            peaks = [stub.counts()["connections_peak"] for stub in stubs]
            assert max(peaks) <= 4, peaks
            wait_for(lambda: all(i["slots_used"] == i["queued"] == 0 for i in node.instances().values()), TIMEOUT)


# ---- bytes without end

ENDLESS = {
    "extension of a chunk": (b"POST /v1/x?user=u HTTP/1.1\r\n" + ASK + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a"),
    "trailers": (b"POST /v1/x?user=u HTTP/1.1\r\n" + ASK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
                 b"X-A: bbbbbbbb\r\n"),
    "empty lines before a request": (b"", b"\r\n"),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_bytes_that_are_no_body_do_not_come_without_end(stub, what):
    """Node.js CVE-2024-22019: a chunk's extension was read for ever, at no cost to the client."""
    start, piece = ENDLESS[what]
    piece *= 65536 // len(piece)
    with Node(settings([stub], workers=1)) as node, node.client() as client:
        before = node.memory("VmHWM")
        client.send(start)
        client.socket.settimeout(0.5 * PATIENCE)
        told = b""
        stop = time.monotonic() + TIMEOUT
        while not told and time.monotonic() < stop:
            with contextlib.suppress(TimeoutError):
                client.socket.sendall(piece)
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                told = client.socket.recv(1000)
            client.socket.settimeout(0.5 * PATIENCE)
        assert told.startswith(b"HTTP/1.1 400 "), told
        if BUILD == "release":
            assert node.memory("VmHWM") - before < 2 * MIB


def test_what_a_request_says_of_hops_takes_nothing_that_frames_or_names_it(stub):
    """Nathan Davison's hop-by-hop headers: `Connection: Content-Length` made proxies drop what the next one needs."""
    with Node(settings([stub])) as node:
        for name in ("content-length", "host", "authorization", "x-real-ip", "x-forwarded-for", "content-type"):
            seen = node.echo(method="POST", json_body={"user": "u"}, headers=[("Connection", f"keep-alive, {name}")])
            assert seen["body_size"] == len('{"user": "u"}') and seen["user"] == "u"
            for field in ("content-length", "host", "authorization", "x-real-ip", "x-forwarded-for", "content-type"):
                assert len(seen["fields"][field]) == 1, (name, field)


def test_a_target_with_a_fragment_is_refused(stub):
    """HAProxy CVE-2023-45539: `#` was taken into the path, and rules by path were passed by."""
    with Node(settings([stub])) as node:
        for target in ("/v1/_echo#/x", "/#/v1/_echo", "/v1/_echo?a#b"):
            with node.client() as client:
                client.send(f"GET {target} HTTP/1.1\r\n".encode() + ASK + b"\r\n")
                assert client.response()[0].status == 400


def test_only_a_protocol_that_was_asked_for_and_is_a_websocket_is_switched_to():
    """h2c smuggling (Bishop Fox): a tunnel by `Upgrade: h2c` led past all rules of a proxy."""
    seen = []

    def talk(connection):
        seen.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n")
        seen.append(connection.recv(65536))

    with Peer(talk) as peer, Node(settings([peer])) as node, node.client() as client:
        client.send(b"GET /v1/x HTTP/1.1\r\n" + ASK + b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
                    b"Connection: Upgrade, HTTP2-Settings\r\n\r\n")
        assert client.response()[0].status == 502
        wait_for(lambda: len(seen) == 2, TIMEOUT)
        assert b"pgrade" not in seen[0] and b"HTTP2-Settings" not in seen[0] and seen[1] == b""


def test_clients_that_shake_half_a_hand_and_leave_cost_nothing(stub, ca):
    """Titanium #809: CPU and sockets stayed behind handshakes that had been broken off."""
    config = settings([stub], workers=1, listen=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": [ca.good]}])
    with Node(config) as node:
        port = int(node.events("listening")[1]["address"].rpartition(":")[2])
        before = open_sockets(node)
        outgoing = ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
        with contextlib.suppress(ssl.SSLWantReadError):
            hello.do_handshake()
        first = outgoing.read()

        def some(seed):
            for cut in range(1, len(first), 1 + len(first) // 40):
                with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as client:
                    client.sendall(first[:cut + seed])
        threads = [threading.Thread(target=some, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(lambda: open_sockets(node) <= before, TIMEOUT)

        def ticks():
            with open(f"/proc/{node.pid}/stat", encoding="ascii") as file:
                fields = file.read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        spent = ticks()
        time.sleep(0.5)
        assert ticks() - spent < 0.25 * os.sysconf("SC_CLK_TCK") * PATIENCE   # and nobody spins
