"""Starts and steers stand-in Dify instances from tests.  Standard library only.

    with Stub("dify1") as stub:
        stub.fault("cut_stream", events=2, match="/chat-messages")
        ... talk to stub.url with stub.token ...
        assert stub.counts()["faults"] == {"cut_stream": 1}
"""

import atexit
import contextlib
import hashlib
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time

from stopwatch import Stopwatch

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dify_stub")
START_TIMEOUT = 15   # seconds; it takes 0.1, but a loaded machine may have many starting
PATTERN_PERIOD = 65521


def pattern(size, seed="0"):
    """The bytes that /v1/_bytes?size=…&seed=… sends."""
    period = hashlib.shake_128(str(seed).encode()).digest(PATTERN_PERIOD)
    return (period * (size // PATTERN_PERIOD + 1))[:size]


def wait_for(condition, timeout=5.0, interval=None):
    """The first true value of condition(); AssertionError after `timeout` seconds in which the host did not stand
    still. It looks each `interval` seconds; by itself each 5 ms, and after 100 ms less and less often, down to
    each 20: a look may be a request."""
    watch = Stopwatch()
    while True:
        value = condition()
        if value:
            return value
        passed = watch.fair_seconds()
        assert passed < timeout, f"not true within {timeout} s; last value: {value!r}"
        time.sleep(min(max(0.005, passed / 20), 0.02) if interval is None else interval)


class Process:
    """An instance out of the nursery (stub/nursery.py): of subprocess.Popen what is needed here."""

    nursery = control = network = None
    lock = threading.Lock()

    def __init__(self, arguments):
        self.returncode = None
        with contextlib.ExitStack() as theirs, Process.lock:
            stdin, self.stdin = pipe()
            self.stdout, stdout = pipe()
            self.ending, ending = pipe()
            for end in (stdin, stdout, ending):
                theirs.enter_context(end)
            if Process.nursery is None:
                Process.start_nursery()
            socket.send_fds(Process.control, [json.dumps(arguments).encode()],
                            [stdin.fileno(), stdout.fileno(), 2, ending.fileno()])
        self.pid = self.told(START_TIMEOUT)

    @staticmethod
    def start_nursery():
        Process.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            Process.nursery = subprocess.Popen([LAUNCHER, "--nursery", str(theirs.fileno())], pass_fds=[theirs.fileno()])
        Process.network = network()
        atexit.register(Process.end_nursery)

    @staticmethod
    def end_nursery():
        Process.control.close()
        Process.nursery.wait()

    @staticmethod
    def possible():
        """Not for a thread that has gone into another network than the nursery's."""
        return Process.nursery is None or Process.network == network()

    def told(self, timeout):
        """The next number that the nursery tells of it; None when there is none within so many seconds."""
        if not select.select([self.ending], [], [], timeout)[0]:
            return None
        return int(self.ending.readline() or b"the nursery is gone")

    def poll(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None:
            self.returncode = self.told(timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired("dify_stub", timeout)
            self.ending.close()
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):   # it ended just now
                os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


def pipe():
    """Where to read and where to write, unbuffered: select() is to see all that is not read yet."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb", 0), os.fdopen(writing, "wb", 0)


def network():
    return os.readlink("/proc/thread-self/ns/net")


class Stub:
    """One process. Attributes: name, host, port, control_port, pid, token (the first), tokens, url."""

    def __init__(self, name="dify1", token=None, *, tokens=(), wait=True, **options):
        """`options` become switches: connections=10, idle_timeout=0.3, event_interval=0.01, events=3 …
        `wait=False`: call .ready() later, so that several start side by side."""
        self.name = name
        self.tokens = list(tokens) or [token or f"app-{name}"]
        self.token = self.tokens[0]
        self.host = options.get("host", "127.0.0.1")
        arguments = ["--name", name, "--exit-with-stdin"]
        for each in self.tokens:
            arguments += ["--token", each]
        for key, value in options.items():
            arguments += ["--" + key.replace("_", "-"), *([] if value is True else [str(value)])]
        # Our end of its standard input closes when we end in whatever way: no stub outlives its test.
        self.process = (Process(arguments) if Process.possible() else
                        subprocess.Popen([LAUNCHER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        self.pid = self.process.pid
        self.port = self.control_port = self.url = None
        if wait:
            self.ready()

    def ready(self):
        """Waits for its JSON line."""
        readable, _, _ = select.select([self.process.stdout], [], [], START_TIMEOUT)
        line = self.process.stdout.readline() if readable else b""
        if not line:
            self.process.kill()
            raise RuntimeError(f"stub {self.name} did not start: exit {self.process.wait()}")
        said = json.loads(line)
        self.port, self.control_port = said["port"], said["control_port"]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.url = f"http://{host}:{self.port}"
        return self

    def control(self, method, path, value=None):
        """One control request; its JSON answer, or RuntimeError with its text."""
        connection = http.client.HTTPConnection(self.host, self.control_port, timeout=30)
        try:
            connection.request(method, path, None if value is None else json.dumps(value))
            response = connection.getresponse()
            body = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"stub {self.name}: {method} {path}: {body.get('error', body)}")
        return body

    def requests(self, since=0, path=""):
        """Request heads seen so far, oldest first: dicts as the README lists them."""
        return self.control("GET", f"/requests?since={since}&path={path}")

    def forget(self):
        """Forgets the requests and sets all sums to zero."""
        return self.control("DELETE", "/requests")

    def counts(self):
        return self.control("GET", "/counts")

    def fresh(self):
        """clear() and forget() at once."""
        return self.control("DELETE", "/")

    def fault(self, kind, **parameters):
        """count=1 (None: until cleared), skip=0, match="part of the target", method=None, and the kind's own."""
        return self.control("POST", "/faults", {"kind": kind, **parameters})

    def clear(self):
        """No more faults; listens again; the database is alive."""
        return self.control("DELETE", "/faults")

    def refuse(self, on=True):
        """Connects are refused (open connections live on) until refuse(False); the port stays ours."""
        return self.control("POST", "/refuse", {"on": on})

    def database(self, alive):
        """False: every call with a token is 500, while /health and its like go on saying 200; clear() ends it."""
        return self.control("POST", "/database", {"alive": alive})

    def worker(self, alive, busy=False):
        """False: streamed chatflows and workflows are a ping and silence; busy: those that come from now on are.
        clear() ends it, and all runs."""
        return self.control("POST", "/worker", {"alive": alive, "busy": busy})

    def close_connections(self, reset=False):
        return self.control("POST", "/connections/close", {"reset": reset})

    def wait_counts(self, condition, timeout=5.0):
        """The counts, once condition(counts) holds."""
        return wait_for(lambda: (lambda counts: counts if condition(counts) else None)(self.counts()), timeout)

    def pause(self):
        """SIGSTOP: the kernel still accepts connects, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.stop()

    def terminate(self):
        """SIGTERM: refuses connections from now on, serves the open ones, and ends."""
        self.process.terminate()

    def stop(self):
        """Ends it at once and returns its exit code (0 for a clean end)."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(10)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()


def start_stubs(*names, **options):
    """Several at once, side by side."""
    stubs = [Stub(name, wait=False, **options) for name in names]
    return [stub.ready() for stub in stubs]
