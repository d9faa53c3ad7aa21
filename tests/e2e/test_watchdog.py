"""A worker that stands still is told and ends the process; a node that was stopped as a whole does not."""

import contextlib
import ctypes
import os
import re
import signal
import socket
import time

import pytest
from harness import BUILD, TIMEOUT, TOKEN, Node, settings
from stopwatch import Stopwatch
from stub_client import wait_for

pytestmark = pytest.mark.skipif(BUILD == "valgrind", reason="a thread of the program is none of the kernel's there")
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
LOST_EXIT = 70
WALL = 0x40000000   # __WALL: of threads, too
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long


def workers(node):
    """The kernel's numbers of their threads, of both: one of them answers before the other has its name."""
    def named():
        found = []
        for task in os.listdir(f"/proc/{node.pid}/task"):
            with open(f"/proc/{node.pid}/task/{task}/comm", encoding="ascii") as file:
                if file.read() == "worker\n":
                    found.append(int(task))
        return sorted(found) if len(found) == 2 else None
    return wait_for(named, TIMEOUT)


def ptrace(request, thread):
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@contextlib.contextmanager
def stopped(thread):
    """One thread alone does not run. Yields what lets it go on."""
    try:
        ptrace(PTRACE_SEIZE, thread)
    except OSError as error:
        pytest.skip(f"no ptrace here: {error}")
    ptrace(PTRACE_INTERRUPT, thread)
    os.waitpid(thread, WALL)
    held = [True]

    def go_on():
        held[0] = False
        ptrace(PTRACE_DETACH, thread)
    yield go_on
    if held[0]:
        with contextlib.suppress(OSError):
            go_on()


def end_of(node, thread, seconds):
    """The exit code of a node one of whose threads is held: whoever holds it has to bury it first."""
    wait_for(lambda: os.waitpid(thread, WALL | os.WNOHANG)[0], seconds)
    return node.process.wait(TIMEOUT)


def ask(node, path):
    """The answer of a worker that is not stopped: connections go to any of them."""
    for _ in range(100):
        with node.client() as client:
            client.socket.settimeout(0.3)
            with contextlib.suppress(TimeoutError):
                return client.request("GET", path).response()
    raise AssertionError("no worker answers")


def test_a_worker_that_stands_is_told_and_ends_the_node(stubs):
    with contextlib.ExitStack() as stack:
        node = Node(settings(stubs))
        stack.callback(node.destroy)
        first, second = workers(node)
        watch = Stopwatch()
        with stopped(second):
            event, = wait_for(lambda: node.events("worker_stands"), TIMEOUT)
            assert 5 <= watch.seconds() and watch.fair_seconds() < 5 + TIMEOUT / 2
            assert event["level"] == "error" and event["worker"] in (0, 1) and 5000 <= event["stood_ms"] < 7000
            assert event["backtrace"].startswith("no answer; state t"), event
            problem, = wait_for(lambda: [one for one in node.events("problem") if one["kind"] == "worker_stands"], TIMEOUT)
            assert (problem["severity"], problem["level"]) == ("critical", "error")
            assert re.search(rb'"kind":"worker_stands"', ask(node, "/status")[1])
            assert b"\ndifyring_worker_standstills_total 1\n" in ask(node, "/metrics")[1]
            assert end_of(node, second, 10 + TIMEOUT) == LOST_EXIT
            assert 10 <= watch.seconds() and watch.fair_seconds() < 10 + TIMEOUT
        lost, = node.events("worker_lost")
        assert lost["worker"] == event["worker"] and lost["level"] == "error"
        assert first != second


def test_one_that_goes_on_is_forgiven(stubs):
    with Node(settings(stubs)) as node:
        with stopped(workers(node)[0]) as go_on:
            wait_for(lambda: node.events("worker_stands"), TIMEOUT)
            go_on()
        wait_for(lambda: node.events("worker_goes_on"), TIMEOUT)
        wait_for(lambda: not node.status()["problems"], TIMEOUT)
        assert node.request("GET", "/v1/_echo?user=u", token=TOKEN)[0].status == 200


@pytest.mark.slow
def test_a_node_that_was_stopped_as_a_whole_goes_on(stubs):
    with Node(settings(stubs)) as node:
        for seconds in 11, 0.7, 0.7:
            node.signal(signal.SIGSTOP)
            time.sleep(seconds)   # what is tested is a time that passes
            node.signal(signal.SIGCONT)
            assert node.request("GET", "/v1/_echo?user=u", token=TOKEN)[0].status == 200
        time.sleep(1.5)   # three looks
        assert node.events("worker_stands") == [] and node.status()["problems"] == []


def test_systemd_is_fed_as_long_as_all_workers_turn(stubs, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(TIMEOUT)
        with Node(settings(stubs), env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "15000000"}) as node:
            said = []

            def fed():
                said.append(listener.recv(4096).decode())
                return said.count("WATCHDOG=1\n") >= 4
            watch = Stopwatch()
            wait_for(fed, TIMEOUT)
            assert watch.fair_seconds() < TIMEOUT and "READY=1\n" in said
            with stopped(workers(node)[0]) as go_on:
                wait_for(lambda: node.events("worker_stands"), TIMEOUT)
                listener.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        listener.recv(4096)
                time.sleep(1.2)   # two looks
                with pytest.raises(BlockingIOError):
                    listener.recv(4096)
                go_on()
            listener.settimeout(TIMEOUT)
            assert listener.recv(4096) == b"WATCHDOG=1\n"
            listener.settimeout(0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path += "2"
        listener.bind(path)
        listener.settimeout(TIMEOUT)
        env = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "1"}   # another's
        with Node(settings(stubs), env=env):
            assert listener.recv(4096) == b"READY=1\n"
            listener.settimeout(1.2)
            with pytest.raises(TimeoutError):
                listener.recv(4096)
