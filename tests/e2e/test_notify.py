"""Type=notify: what systemd is told, and when (sd_notify(3))."""

import contextlib
import signal
import socket
import time

import pytest

from harness import TIMEOUT, TOKEN, Node, settings
from stub_client import wait_for


@contextlib.contextmanager
def manager(kind, folder):
    """(socket, its name as in NOTIFY_SOCKET): a path, or an abstract address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = f"{folder}/notify"
        name = f"@{path}" if kind == "abstract" else path
        listener.bind("\0" + path if kind == "abstract" else path)
        listener.settimeout(TIMEOUT)
        yield listener, name


def told(listener):
    """The next datagram, as a dict."""
    return dict(line.split("=", 1) for line in listener.recv(4096).decode().splitlines())


def monotonic_us():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


@pytest.mark.smoke
@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_hears_of_every_step(stubs, tmp_path, kind):
    config = settings(stubs)
    with manager(kind, tmp_path) as (listener, name), \
            Node(config, wait=False, env={"NOTIFY_SOCKET": name}) as node:
        assert told(listener) == {"READY": "1"}
        host, _, port = wait_for(lambda: node.events("listening"), TIMEOUT)[0]["address"].rpartition(":")
        socket.create_connection((host, int(port)), TIMEOUT).close()   # it listens already
        node.ready()

        def reload_is_told():
            before = monotonic_us()
            node.signal(signal.SIGHUP)
            reloading = told(listener)
            assert set(reloading) == {"RELOADING", "MONOTONIC_USEC"} and reloading["RELOADING"] == "1"
            assert before <= int(reloading["MONOTONIC_USEC"]) <= monotonic_us()
            assert told(listener) == {"READY": "1"}
        reload_is_told()
        wait_for(lambda: node.events("config_reloaded"), TIMEOUT)
        node.write("nonsense: 1\n")
        reload_is_told()
        wait_for(lambda: node.events("config_problem"), TIMEOUT)
        node.signal(signal.SIGTERM)
        assert told(listener) == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "90000000"}   # timeouts.drain and 30 s
        assert node.wait() == 0
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(4096)


def test_nothing_follows_stopping(stubs, tmp_path):
    """READY behind it would take it back; a reload while draining is not systemd's business any more."""
    with manager("path", tmp_path) as (listener, name), \
            Node(settings(stubs), env={"NOTIFY_SOCKET": name}) as node:
        assert told(listener) == {"READY": "1"}
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=2&interval=60&user=u", TOKEN).head()
            node.signal(signal.SIGTERM)
            assert told(listener) == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "90000000"}   # timeouts.drain and 30 s
            node.signal(signal.SIGHUP)
            wait_for(lambda: node.events("config_reloaded"), TIMEOUT)
        assert node.wait() == 0
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(4096)
