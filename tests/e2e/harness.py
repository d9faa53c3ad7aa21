"""Starts the real node in front of stand-in instances, and talks to it.

    with Node(settings(stubs)) as node:
        head, body = node.request("GET", "/v1/_echo", token=TOKEN)

DIFYRING_BIN is the program, DIFYRING_WRAP a command to put before it, DIFYRING_BUILD says how
patient to be. A node that did not end well, or that complained on its way, fails its test.
"""

import contextlib
import copy
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from raw_client import Raw
from stub_client import wait_for

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.path.abspath(os.environ.get("DIFYRING_BIN") or os.path.join(ROOT, "build/release/node/difyring"))
BUILD = os.environ.get("DIFYRING_BUILD", "release")
PATIENCE = {"release": 1, "asan": 3, "tsan": 8, "valgrind": 20}.get(BUILD, 3)
TIMEOUT = 10 * PATIENCE    # seconds for what takes milliseconds; a test that waits so long has failed
TOKEN = "usertoken--one"   # of the application `one`
COMPLAINTS = re.compile(r"Sanitizer|runtime error:|^==\d+==|Assertion", re.M)
STATE_SECONDS = 5 * PATIENCE
LONG = bool(os.environ.get("DIFYRING_LONG"))   # tests/long: the same tests, as large as the promise says


def instance(stub, **more):
    """An entry of `instances`. max_fails 0 unless a test is about ejection: else faults of one test step
    would choose the instance of the next."""
    return {"name": stub.name, "host": stub.host, "port": stub.port, "token": stub.token, "max_fails": 0, **more}


def settings(stubs, *, instances=None, application=None, **sections):
    """A configuration with one application `one`. `application` and `sections` override."""
    value = {
        "node": {"name": "node-a"},
        "listen": [{"address": "127.0.0.1:0"}],
        "workers": 2,
        "health_check": {"enabled": False},
        "applications": {"one": {
            "user_tokens": [TOKEN],
            "instances": instances if instances is not None else [instance(stub) for stub in stubs],
            **(application or {})}},
    }
    value.update(sections)
    return value


def ring_points(weights, virtual_nodes=160):
    """SPEC §3, once more: [(point, instance)] of {instance: weight}."""
    return sorted((int.from_bytes(hashlib.sha256(f"{name}#{i}".encode()).digest()[:8], "big"), name)
                  for name, weight in weights.items() for i in range(1, virtual_nodes * weight + 1))


def ring_find(points, app, user, eligible=None):
    """The instance that serves `user` of `app`."""
    key = int.from_bytes(hashlib.sha256(f"{app}:{user}".encode()).digest()[:8], "big")
    turned = sorted(points, key=lambda point: (point[0] < key, point))
    return next(name for _, name in turned if eligible is None or name in eligible)


def parallel(jobs):
    """Runs the callables side by side; their results in order. The first failure is raised."""
    results = [None] * len(jobs)

    def run(index, job):
        try:
            results[index] = (True, job())
        except BaseException as error:   # handed over to the caller, whatever it is
            results[index] = (False, error)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for good, value in results:
        if not good:
            raise value
    return [value for _, value in results]


class Client(Raw):
    """One connection to a node, which may come from another loopback address."""

    def __init__(self, node, *, source=None, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT)
        if receive_buffer:   # before connect(), or the window is already offered
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((node.host, node.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()

    def json(self, *arguments, **more):
        """(Head, JSON of the body) of one request."""
        head, body = self.request(*arguments, **more).response()
        return head, json.loads(body)

    def quiet(self):
        """Nothing has come that was not read."""
        self.socket.setblocking(False)
        try:
            extra = self.socket.recv(1000)
        except BlockingIOError:
            extra = b""
        self.socket.settimeout(TIMEOUT)
        return not self.buffer and not extra


def run_command(*arguments, timeout=60, **more):
    """`difyring …` to its end: CompletedProcess with text."""
    return subprocess.run([*shlex.split(os.environ.get("DIFYRING_WRAP", "")), BIN, *arguments], capture_output=True,
                          text=True, timeout=timeout * PATIENCE, check=False, **more)


# As `python3 FILE` does, which compiles thousands of lines each time; this compiles once and keeps it beside the tests' own.
RUN_COMPILED = """
import importlib.machinery, sys
sys.argv[:] = sys.argv[1:]
__file__ = sys.argv[0]
exec(importlib.machinery.SourceFileLoader("__main__", __file__).get_code("__main__"))
"""


def tool_command(path, *words):
    """The command that runs a program of deploy/ that is in Python. (A test or two start it by its name all the same.)"""
    return [sys.executable, "-c", RUN_COMPILED, path, *words]


def open_sockets(node):
    """How many sockets the node holds: not all its descriptors, for a worker's first connection makes it open some."""
    count = 0
    for fd in os.listdir(f"/proc/{node.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):   # closed between the list and the look
            count += os.readlink(f"/proc/{node.pid}/fd/{fd}").startswith("socket:")
    return count


class Lines:
    """A file of JSON lines that grows: what waits for a line looks often, and each is parsed once."""

    LAST = 200   # bytes of the last line that say whether it is still the same file

    def __init__(self, path, others=False):
        """`others`: there may be lines that are no objects; they are not told."""
        self.path, self.others, self.lock = path, others, threading.Lock()
        self.forget()

    def forget(self):
        self.values, self.end, self.last = [], 0, b""

    def read(self):
        """The whole lines so far."""
        with self.lock, open(self.path, "rb") as file:
            file.seek(self.end - len(self.last))
            if file.read(len(self.last)) != self.last:   # truncated, or another one under this name
                self.forget()
                file.seek(0)
            new = file.read()
            new = new[:new.rfind(b"\n") + 1]
            lines = new.decode("utf-8", "replace" if self.others else "strict").split("\n")[:-1]
            self.values += [json.loads(line) for line in lines if line.startswith("{") or not self.others]
            self.end += len(new)
            self.last = (self.last + new)[-self.LAST:]
            return list(self.values)


class Node:
    """One process, with a folder of its own for configuration and logs."""

    def __init__(self, config, *, wait=True, logs=None, stdout=None, env=None):
        """`config`: a dict, or YAML text. The access log is a file and the error log stderr, into a file too,
        unless `logs` (the `log` section) says otherwise; {dir} in it is this node's folder."""
        self.folder = tempfile.mkdtemp(prefix="difyring-e2e-")
        self.conf_path = os.path.join(self.folder, "node.yaml")
        self.access_path = os.path.join(self.folder, "access.log")
        self.error_path = os.path.join(self.folder, "stderr.log")
        self.error_lines, self.access_lines = Lines(self.error_path, others=True), Lines(self.access_path)
        self.host, self.port = "127.0.0.1", None
        self.logs = {"access": "{dir}/access.log", "error": "stderr", "level": "info", **(logs or {})}
        self.write(config)
        command = [*shlex.split(os.environ.get("DIFYRING_WRAP", "")), BIN, "run", "-c", self.conf_path]
        with open(self.error_path, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=errors,
                                            stdout=stdout or subprocess.DEVNULL, cwd=self.folder,
                                            env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        if wait:
            try:
                self.ready()
            except BaseException:
                self.destroy()
                raise

    def write(self, config):
        """Puts a configuration into the file that the node reads, whole at once."""
        if isinstance(config, dict):
            config = copy.deepcopy(config)
            config.setdefault("log", {
                name: value.replace("{dir}", self.folder) if isinstance(value, str) else value
                for name, value in self.logs.items()})
            config = json.dumps(config, indent=1)   # JSON is YAML enough
        with open(self.conf_path + ".new", "w", encoding="utf-8") as file:
            file.write(config)
        os.rename(self.conf_path + ".new", self.conf_path)

    def ready(self):
        """Waits for the event `listening` and for /health."""
        def listening():
            assert self.process.poll() is None, f"exit {self.process.returncode}: {self.stderr()}"
            return [event for event in self.events() if event.get("event") == "listening"]
        address = wait_for(listening, TIMEOUT)[0]["address"]
        self.host, _, port = address.rpartition(":")
        self.host, self.port = self.host.strip("[]"), int(port)

        def healthy():
            with contextlib.suppress(OSError, EOFError):
                return self.request("GET", "/health")[0].status == 200
        wait_for(healthy, TIMEOUT)
        return self

    # ---- what it says

    def stderr(self):
        with open(self.error_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def events(self, name=None):
        """The whole lines of the error log so far, as dicts; only those of one event."""
        return [event for event in self.error_lines.read() if name is None or event.get("event") == name]

    def access(self, **wanted):
        """The whole lines of the access log so far, as dicts; only those with these values."""
        lines = self.access_lines.read()
        return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]

    def wait_access(self, count=1, **wanted):
        return wait_for(lambda: (lambda found: found if len(found) >= count else None)(self.access(**wanted)), TIMEOUT)

    def outputs(self):
        """Every byte in its folder but for the configuration."""
        text = b""
        for name in os.listdir(self.folder):
            if not name.startswith("node.yaml"):
                with open(os.path.join(self.folder, name), "rb") as file:
                    text += file.read()
        return text.decode("utf-8", "replace")

    def memory(self, name="VmRSS"):
        """Bytes: VmRSS now, VmHWM at most so far."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(rf"^{name}:\s+(\d+) kB", file.read(), re.M)[1]) * 1024

    # ---- requests

    def client(self, **more):
        return Client(self, **more)

    def request(self, method, target, *, token=None, headers=(), body=None, json_body=None, source=None):
        """(Head, body) over a connection of its own."""
        with self.client(source=source) as client:
            return client.request(method, target, token, headers, body, json_body).response()

    def json(self, *arguments, **more):
        head, body = self.request(*arguments, **more)
        return head, json.loads(body)

    def echo(self, target="/v1/_echo", method="GET", token=TOKEN, **more):
        """What the instance saw: the echo's JSON, with its headers as {lower-case name: [values]}."""
        head, seen = self.json(method, target, token=token, **more)
        assert head.status == 200, (head.raw, seen)
        fields = {}
        for name, value in seen["headers"]:
            fields.setdefault(name.lower(), []).append(value)
        seen["fields"] = fields
        seen["head"] = head
        return seen

    def status(self):
        head, value = self.json("GET", "/status")
        assert head.status == 200, (head.raw, value)
        return value

    def instances(self, app="one"):
        return self.status()["applications"][app]["instances"]

    def wait_instance(self, name, app="one", seconds=STATE_SECONDS, **wanted):
        """Until /status says so of the instance; all that it says."""
        def as_wanted():
            found = self.instances(app)[name]
            return found if all(found[key] == value for key, value in wanted.items()) else None
        return wait_for(as_wanted, seconds)

    def reload(self, config=None):
        """(status, JSON) of /reload-config, after writing `config`."""
        if config is not None:
            self.write(config)
        head, value = self.json("POST", "/reload-config")
        return head.status, value

    # ---- its end

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=TIMEOUT):
        return self.process.wait(timeout)

    def stop(self):
        """SIGTERM; demands exit 0 and no complaint."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        code = self.wait()
        text = self.stderr()
        assert code == 0, f"exit {code}: {text[-3000:]}"
        assert not COMPLAINTS.search(text), text[-6000:]

    def destroy(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_rest):
        try:
            if kind is None or self.process.poll() is not None:
                self.stop()
        finally:
            if kind is not None:
                print(f"--- the end of {self.error_path}\n{self.stderr()[-6000:]}")
            self.destroy()


def check_error(head, body, status, code):
    """An answer of the node's own has Dify's shape (SPEC §3)."""
    assert head.status == status, (head.raw, body)
    assert head.headers["content-type"] == "application/json" and head.headers["x-content-type-options"] == "nosniff"
    assert head.headers["x-request-id"]
    value = json.loads(body)
    assert set(value) == {"code", "message", "status"}, value
    assert (value["code"], value["status"]) == (code, status)
    assert isinstance(value["message"], str) and value["message"]
    return value




def observe(seconds, condition):
    """`condition` holds all the time; the opposite of a wait, for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition()
        time.sleep(0.01)
