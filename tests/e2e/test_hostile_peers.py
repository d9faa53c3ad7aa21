"""Peers that do what no sane one does: a node neither hangs, nor grows, nor keeps what nobody wants."""

import contextlib
import select
import socket
import struct
import threading
import time

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, observe, open_sockets, settings
from stopwatch import Stopwatch
from stub_client import wait_for

HEAD = f"Host: h\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
LEAVE_MAX = 0.1 * PATIENCE + 0.1   # 100 ms, and the look at a paused client every 50 ms
MEMORY_MAX = (12 if PATIENCE == 1 else 400) << 20   # what a node may grow by; sanitizers keep freed memory


class Peer:
    """An instance made of one function, called with each connection in a thread of its own."""

    def __init__(self, talk):
        self.talk, self.connections = talk, []
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(20)
        self.name, self.token, self.host, self.port = "dify1", "app-1", *self.socket.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.settimeout(TIMEOUT)
            self.connections.append(connection)
            threading.Thread(target=self.run, args=(connection,), daemon=True).start()

    def run(self, connection):
        try:
            self.talk(connection)
        except OSError:
            pass   # the node has closed it

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.connections:
            connection.close()


def has_left(connection, seconds):
    """Has the node closed this connection within the time? Reads what is still in it. The timeout of the socket is
    not touched: its own thread may be sending."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([connection], [], [], deadline - time.monotonic())[0]:
            return False
        try:
            if connection.recv(1 << 20, socket.MSG_DONTWAIT) == b"":
                return True
        except BlockingIOError:
            continue
        except OSError:
            return True
    return False


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def send_until_blocked(client, data):
    """Sends until nothing was taken for a while; how much was sent."""
    client.socket.settimeout(0.3)
    sent = 0
    try:
        while True:
            sent += client.socket.send(data)
    except TimeoutError:
        return sent


def test_a_client_that_neither_sends_nor_reads_is_given_up(stubs):
    """Its body is due, and the response waits for it: both deadlines at once."""
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with Peer(talk) as peer, Node(settings([peer], timeouts={"request_body": "500ms"}, workers=1)) as node:
        with node.client(receive_buffer=4096) as client:
            client.send(b"POST /v1/x?user=u HTTP/1.1\r\nContent-Length: 1000\r\n" + HEAD + b"\r\nabc")
            wait_for(lambda: peer.connections, TIMEOUT)
            wait_for(lambda: node.status()["node"]["active_connections"] == 0
                     or node.status()["applications"]["one"]["active_requests"] == 0, TIMEOUT)
            assert node.request("GET", "/health")[0].status == 200
        node.stop()


def test_interim_answers_without_end_are_garbage(stubs):
    asked = threading.Event()

    def talk(connection):
        connection.recv(65536)
        asked.set()
        while True:
            connection.sendall(b"HTTP/1.1 102 Processing\r\nX: " + b"y" * 900 + b"\r\n\r\n")

    with Peer(talk) as peer, Node(settings([peer])) as node:
        before = node.memory()
        with node.client(receive_buffer=4096) as client:
            client.request("GET", "/v1/x?user=u", TOKEN)
            assert asked.wait(TIMEOUT)   # else has_left() would read the request
            assert has_left(peer.connections[0], TIMEOUT)
            assert node.memory() - before < MEMORY_MAX
            statuses = []
            while not statuses or statuses[-1] < 200:
                statuses.append(client.head().status)
            assert (statuses[0], statuses[-1]) == (102, 502) and len(statuses) < 20


def test_what_is_no_id_of_a_task_goes_into_no_path():
    """With `client_gone: stop` the id stands in the path of a request of the node's own, with the instance's token."""
    said = []

    def talk(connection):
        said.append(connection.recv(65536))
        event = b'data: {"event": "message", "task_id": "a/stop HTTP/1.1\\r\\nHost: h\\r\\n\\r\\nGET /b", "answer": "x"}\n\n'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                           + b"%x\r\n%b\r\n" % (len(event), event))
        while connection.recv(65536):
            pass

    with Peer(talk) as peer, Node(settings([peer], application={"client_gone": "stop", "state": "separate"})) as node:
        client = node.client()
        client.request("POST", "/v1/chat-messages", TOKEN, json_body={"user": "u", "query": "q", "response_mode": "streaming"})
        assert client.head().status == 200 and b"task_id" in client.chunk()
        reset(client)
        observe(0.5 * PATIENCE, lambda: len(said) == 1)   # no stop, as of a run that has told no task
        assert len(peer.connections) == 1
        peer.connections[0].shutdown(socket.SHUT_RDWR)   # else it is read on for 10 s


def test_interim_answers_do_not_put_off_the_first_byte(stubs):
    ending = threading.Event()

    def talk(connection):
        connection.recv(65536)
        while not ending.wait(0.3):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with Peer(talk) as peer, Node(settings([peer], timeouts={"first_byte": "1s"})) as node:
        head, body = node.request("GET", "/v1/x?user=u", token=TOKEN)
        ending.set()
        check_error(head, body, 504, "gateway_timeout")


def test_a_client_that_leaves_an_upload_that_nobody_reads_is_noticed(stubs):
    """By its reset: a close() waits in the client's kernel behind what was not taken."""
    with Peer(lambda connection: None) as peer, Node(settings([peer])) as node:
        client = node.client()
        client.send(b"POST /v1/info?user=u HTTP/1.1\r\nContent-Length: 90000000\r\n" + HEAD + b"\r\n")
        assert send_until_blocked(client, b"z" * 65536) > 100_000
        watch = Stopwatch()
        reset(client)
        wait_for(lambda: node.access(app="one"), TIMEOUT, interval=0.01)
        assert watch.fair_seconds() < LEAVE_MAX
        line, = node.access(app="one")
        assert (line["status"], line["aborted"]) == (499, True)
        assert node.instances()["dify1"]["failures"] == 0
        assert has_left(peer.connections[0], TIMEOUT)


def test_a_client_that_leaves_with_requests_behind_the_one_at_work_is_noticed(stubs):
    with Peer(lambda connection: None) as peer, Node(settings([peer])) as node:
        client = node.client()
        client.send(b"POST /v1/chat-messages?user=u HTTP/1.1\r\nContent-Length: 2\r\n" + HEAD + b"\r\n{}")
        send_until_blocked(client, b"GET /v1/x HTTP/1.1\r\n" + HEAD + b"\r\n")
        wait_for(lambda: peer.connections, TIMEOUT)
        watch = Stopwatch()
        reset(client)
        wait_for(lambda: node.access(app="one"), TIMEOUT, interval=0.01)
        assert watch.fair_seconds() < LEAVE_MAX
        assert has_left(peer.connections[0], TIMEOUT)


def test_a_tunnel_whose_instance_does_not_read_ends_with_its_client(stubs):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")

    with Peer(talk) as peer, Node(settings([peer])) as node:
        client = node.client()
        client.send(b"GET /v1/x?user=u HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\n" + HEAD + b"\r\n")
        assert client.head().status == 101
        before = open_sockets(node)
        send_until_blocked(client, b"z" * 65536)
        reset(client)
        wait_for(lambda: open_sockets(node) <= before - 2, TIMEOUT)   # what the instance never read is lost


def test_a_refused_upload_is_answered_however_large(stubs):
    """A client that writes all before it reads sees the answer only if all is taken."""
    with Node(settings(stubs, limits={"body_size": "1MiB"})) as node:
        size = 60 << 20
        with node.client() as client:
            client.send(b"POST /v1/files/upload?user=u HTTP/1.1\r\nContent-Length: %d\r\n" % size + HEAD + b"\r\n")
            client.socket.settimeout(TIMEOUT)
            piece = b"z" * (1 << 20)
            for _ in range(size >> 20):
                client.socket.sendall(piece)
            head, body = client.response()
            check_error(head, body, 413, "file_too_large")


def test_nothing_of_a_malformed_chunked_request_reaches_an_instance(stubs):
    with Node(settings(stubs[:1])) as node:
        with node.client() as client:
            client.send(b"POST /v1/_echo?user=u HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n")
            wait_for(lambda: node.instances()["dify1"]["requests"] == 0
                     and node.status()["applications"]["one"]["total_requests"] == 1, TIMEOUT)   # the head was read
            client.send(b"zz\r\nhello\r\n0\r\n\r\n")
            head, body = client.response()
            check_error(head, body, 400, "bad_request")
        assert not stubs[0].requests(path="/v1/_echo")
        before = stubs[0].counts()["connections_ever"]
        with node.client() as client:   # and a good one goes up with its first piece
            client.send(b"POST /v1/_echo?user=u HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\n1\r\nx\r\n")
            wait_for(lambda: stubs[0].counts()["connections_ever"] > before, TIMEOUT)
            client.send(b"0\r\n\r\n")
            assert client.response()[0].status == 200


def test_an_answer_may_have_more_fields_than_a_request(stubs):
    def talk(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"X-Many: y\r\n" * 150
                           + b"X-Long: " + b"z" * 50_000 + b"\r\n\r\n")

    with Peer(talk) as peer, Node(settings([peer], limits={"headers": 20, "header_size": "2KiB"})) as node:
        head, _ = node.request("GET", "/v1/x?user=u", token=TOKEN)
        assert head.status == 200 and len(head.raw) > 51_000


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65536)
        if not data:
            return b""
        head += data
    return head


@pytest.mark.parametrize("method, status", [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")])
@pytest.mark.parametrize("field, rest", [("Content-Length: 5", b"hello"), ("Transfer-Encoding: chunked", b"0\r\n\r\n")])
def test_a_body_behind_an_answer_without_one_spoils_no_other(method, status, field, rest):
    """It comes when the next request is under way, over the same connection if that was kept."""
    asked = []

    def talk(connection):
        head = read_head(connection)
        while head:
            asked.append(head.split()[0])
            if len(asked) == 1:
                connection.sendall(f"HTTP/1.1 {status}\r\n{field}\r\n\r\n".encode())
                head = read_head(connection)
                if head:   # the next request
                    connection.sendall(rest)
            else:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                head = read_head(connection)

    with Peer(talk) as peer, Node(settings([peer], workers=1)) as node, node.client() as client:
        assert client.request(method, "/v1/x?user=u", TOKEN).head().status == int(status[:3])
        head, body = client.request("POST", "/v1/x?user=u", TOKEN, body=b"hi").response()
        assert (head.status, body) == (200, b"ok")


@pytest.mark.parametrize("size", [100, 70_000, 1_000_000, 20_000_000])
def test_an_answer_before_the_body_reaches_the_client_whatever_the_reset(size):
    """The instance has answered, has read nothing of the body and resets: its kernel does so at close()."""
    def talk(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with Peer(talk) as peer, Node(settings([peer])) as node:
        for _ in range(10):
            with node.client() as client:
                sender = threading.Thread(target=send_all, args=(client, size))
                sender.start()
                head, body = client.response()
                assert (head.status, body) == (403, b"no!")
                sender.join()


def send_all(client, size):
    """All of the body, whether anybody wants it."""
    with contextlib.suppress(OSError):
        client.send(b"POST /v1/x?user=u HTTP/1.1\r\n" + HEAD + f"Content-Length: {size}\r\n\r\n".encode() + b"x" * size)


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("start, tail", [("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"\r\n0\r\n\r\n"),
                                         ("HTTP/1.0 200 OK\r\n", b"")])
def test_a_large_event_is_whole_when_its_instance_closes_right_behind_it(start, tail, slow):
    event = b"data: " + b"x" * 3_000_000 + b"\n\n"

    def talk(connection):
        read_head(connection)
        connection.sendall(start.encode() + b"Content-Type: text/event-stream\r\n\r\n"
                           + (b"%x\r\n" % len(event) if tail else b"") + event + tail)
        connection.close()

    with Peer(talk) as peer, Node(settings([peer])) as node:
        with node.client(receive_buffer=4096 if slow else None) as client:
            head, body = client.request("GET", "/v1/x?user=u", TOKEN).response()
            assert (head.status, body == event) == (200, True)
