"""After 101: bytes as they are, both ways; who may stop talking, who is waited for, and how it ends."""

import hashlib
import select
import signal
import socket
import struct
import threading

import pytest

from harness import PATIENCE, TIMEOUT, TOKEN, Node, settings
from stopwatch import Stopwatch
from stub_client import pattern, wait_for
from test_hostile_peers import Peer, has_left

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
ASK = (b"GET /v1/x?user=u HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: x\r\nHost: h\r\nAuthorization: Bearer "
       + TOKEN.encode() + b"\r\n\r\n")
MUCH = 8 << 20
IDLE = 0.5 * PATIENCE


def head_taken(connection):
    """Reads the request's head; returns what came behind it."""
    text = b""
    while b"\r\n\r\n" not in text:
        text += connection.recv(65536)
    return text.split(b"\r\n\r\n", 1)[1]


def rest_of(connection):
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def opened(node, early=b"", **options):
    client = node.client(**options)
    assert client.send(ASK + early).head().status == 101
    return client


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def ended(node, termination):
    line = node.wait_access(app="one")[0]
    assert (line["status"], line["termination"], line["aborted"]) == (101, termination, True)


def echo(connection):
    early = head_taken(connection)
    connection.sendall(SWITCH + early)
    while piece := connection.recv(65536):
        connection.sendall(piece)
    connection.close()


@pytest.mark.parametrize("size", [0, 5, MUCH])
def test_a_client_that_has_said_all_still_hears_the_instance(size):
    """Its FIN goes on to the instance, behind all bytes; the answer to it comes back, then the end."""
    def talk(connection):
        connection.sendall(SWITCH)
        said = head_taken(connection) + rest_of(connection)
        connection.sendall(hashlib.sha256(said).digest() + b"!" * MUCH)
        connection.close()

    with Peer(talk) as peer, Node(settings([peer])) as node, opened(node) as client:
        client.socket.sendall(pattern(size))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.take(32) == hashlib.sha256(pattern(size)).digest()
        assert client.take(MUCH) == b"!" * MUCH
        assert client.ended() == "fin"
        line = node.wait_access(app="one")[0]
        assert line["status"] == 101 and not line["aborted"]
        assert line["bytes_in"] == len(ASK) + size and line["bytes_out"] > MUCH


def test_a_client_that_has_said_all_and_then_breaks_has_left():
    quiet = threading.Event()

    def talk(connection):
        connection.sendall(SWITCH)
        rest_of(connection)
        quiet.set()
        threading.Event().wait(TIMEOUT)

    with Peer(talk) as peer, Node(settings([peer])) as node:
        client = opened(node)
        client.socket.shutdown(socket.SHUT_WR)
        assert quiet.wait(TIMEOUT)
        assert not node.access(app="one")   # it is waited for
        reset(client)
        ended(node, "client_left")
        wait_for(lambda: node.instances()["dify1"]["active_requests"] == 0, TIMEOUT)


def test_the_end_of_the_instance_is_the_tunnels_behind_its_last_byte():
    def talk(connection):
        head_taken(connection)
        connection.sendall(SWITCH + pattern(MUCH))
        connection.close()

    with Peer(talk) as peer, Node(settings([peer])) as node, opened(node) as client:
        assert client.take(MUCH) == pattern(MUCH)
        assert client.ended() == "fin"
        assert not node.wait_access(app="one")[0]["aborted"]


def test_what_comes_behind_the_request_goes_up_first():
    with Peer(echo) as peer, Node(settings([peer])) as node, opened(node, pattern(50_000)) as client:
        assert client.take(50_000) == pattern(50_000)
        client.send(b"more")
        assert client.take(4) == b"more"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.ended() == "fin"
        assert node.wait_access(app="one")[0]["bytes_in"] == len(ASK) + 50_004


def test_much_passes_both_ways_at_once_and_little_of_it_waits_in_the_node():
    with Peer(echo) as peer, Node(settings([peer])) as node, opened(node, receive_buffer=65536) as client:
        before = node.memory()
        sender = threading.Thread(target=client.socket.sendall, args=(pattern(4 * MUCH),), daemon=True)
        sender.start()
        wait_for(lambda: not sender.is_alive() or not select.select([], [client.socket], [], 0.05 * PATIENCE)[1],
                 TIMEOUT)   # all is full, or the kernel has room for all of it
        assert client.take(4 * MUCH) == pattern(4 * MUCH)
        sender.join(TIMEOUT)
        assert node.memory("VmHWM") - before < (4 << 20) * (1 if PATIENCE == 1 else 100)


def test_a_silent_tunnel_ends_after_idle_and_a_byte_either_way_puts_that_off():
    turns = []

    def talk(connection):
        head_taken(connection)
        connection.sendall(SWITCH)
        for _ in range(4):
            turns.append(connection.recv(1))
        for _ in range(4):
            connection.sendall(b"i")
            threading.Event().wait(IDLE / 2)
        rest_of(connection)

    with Peer(talk) as peer, Node(settings([peer], timeouts={"idle": IDLE})) as node, opened(node) as client:
        for _ in range(4):
            client.send(b"c")
            threading.Event().wait(IDLE / 2)
        assert client.take(4) == b"iiii" and turns == [b"c"] * 4
        watch = Stopwatch()
        assert client.ended() == "fin"
        assert IDLE * 0.4 < watch.seconds() and watch.fair_seconds() < 4 * IDLE
        assert has_left(peer.connections[0], TIMEOUT)
        ended(node, "idle_timeout")


def test_a_client_of_a_tunnel_that_takes_nothing_is_reset_after_idle():
    def talk(connection):
        head_taken(connection)
        connection.sendall(SWITCH)
        while True:
            connection.sendall(b"z" * 65536)

    with Peer(talk) as peer, Node(settings([peer], timeouts={"idle": IDLE})) as node:
        with opened(node, receive_buffer=4096) as client:
            ended(node, "client_slow")
            assert has_left(peer.connections[0], TIMEOUT)
            assert client.socket.fileno() > 0


def test_a_stopping_node_ends_its_tunnels():
    with Peer(echo) as peer, Node(settings([peer], timeouts={"drain": IDLE})) as node, opened(node) as client:
        client.send(b"x")
        assert client.take(1) == b"x"
        node.signal(signal.SIGTERM)
        assert client.ended() in ("fin", "reset")
        ended(node, "drained")
