"""Starts and steers stand-in Dify instances from tests.  Standard library only.

    with Stub("dify1") as stub:
        stub.fault("cut_stream", events=2, match="/chat-messages")
        ... talk to stub.url with stub.token ...
        assert stub.counts()["faults"] == {"cut_stream": 1}
"""

import hashlib
import http.client
import json
import os
import select
import signal
import subprocess
import time

LAUNCHER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dify_stub")
START_TIMEOUT = 15   # seconds; it takes 0.1, but a loaded machine may have many starting
PATTERN_PERIOD = 65521


def pattern(size, seed="0"):
    """The bytes that /v1/_bytes?size=…&seed=… sends."""
    period = hashlib.shake_128(str(seed).encode()).digest(PATTERN_PERIOD)
    return (period * (size // PATTERN_PERIOD + 1))[:size]


def wait_for(condition, timeout=5.0, interval=0.005):
    """The first true value of condition(); AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not true within {timeout} s; last value: {value!r}"
        time.sleep(interval)


class Stub:
    """One process. Attributes: name, host, port, control_port, pid, token (the first), tokens, url."""

    def __init__(self, name="dify1", token=None, *, tokens=(), wait=True, **options):
        """`options` become switches: connections=10, idle_timeout=0.3, event_interval=0.01, events=3 …
        `wait=False`: call .ready() later, so that several start side by side."""
        self.name = name
        self.tokens = list(tokens) or [token or f"app-{name}"]
        self.token = self.tokens[0]
        self.host = options.get("host", "127.0.0.1")
        arguments = [LAUNCHER, "--name", name, "--exit-with-stdin"]
        for each in self.tokens:
            arguments += ["--token", each]
        for key, value in options.items():
            arguments += ["--" + key.replace("_", "-"), *([] if value is True else [str(value)])]
        # Our end of its standard input closes when we end in whatever way: no stub outlives its test.
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
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
