"""Whatever happened to requests, in the end nothing of what they were lent is missing: slots, places in queues, counts
of `concurrent` quotas, counts of what is at work.

Clients that do anything, instances that break, and reloads and drains under them, all at random; a seed that failed is
tried again with DIFYRING_SEED."""

import contextlib
import json
import os
import random
import re
import socket
import struct
import threading
import time

import pytest
from certificates import Authority
from harness import LONG, PATIENCE, TIMEOUT, Node, parallel, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for
from terminator import Terminator

pytestmark = pytest.mark.threads

SECONDS = (120 if LONG else 6) * min(PATIENCE, 3)
CLIENTS = 12
SLOTS = 4
APPS = {"abort": "abort", "finish": "finish", "stopped": "stop"}
FAULTS = ["reset_before_head", "close_before_head", "reset_after_head", "cut_stream", "cut_length", "stall_before_head",
          "stall_after_head", "status", "garbage", "early_close_idle", "slow_bytes", "accept_reset"]


@pytest.fixture(params=["plain", "tls"])
def three(request):
    """Instances of all applications, which share their hosts and ports."""
    with contextlib.ExitStack() as stack:
        stubs = [stack.enter_context(Stub(f"dify{n}", chatflow=True, ping_interval=0.2,
                                          tokens=[f"app-{app}-{n}" for app in APPS])) for n in (1, 2, 3)]
        pair = stack.enter_context(Authority()).pair("good", ["localhost"]) if request.param == "tls" else None
        for stub in stubs:
            stub.entry = {"port": stub.port}
            if pair:
                stub.entry = {"port": stack.enter_context(Terminator(pair, stub)).port, "tls": {"verify": False}}
        yield stubs


def config(stubs, slots=SLOTS, quotas=True, left_out=None, queue=6):
    def entries(app):
        return [{"name": stub.name, "host": stub.host, **stub.entry, "token": f"app-{app}-{stub.name[-1]}",
                 "max_in_flight": slots, "max_fails": 4, "fail_timeout": 0.3}
                for stub in stubs if stub.name != left_out]
    limits = [{"per": "application", "concurrent": 30}, {"per": "user", "requests": 1000000, "every": "1h"}]
    return settings(
        stubs,
        applications={app: {
            "user_tokens": [f"usertoken--{app}"], "state": "separate", "client_gone": gone, "instances": entries(app),
            "queue": {"size": queue, "timeout": 0.4},
            "quotas": ([{"per": "user", "concurrent": 6}] if quotas else []) + limits} for app, gone in APPS.items()},
        health_check={"interval": 0.3, "timeout": 0.5, "busy_timeout": 2},
        limits={"spool_memory": "32KiB", "spool_memory_all": "128KiB", "body_size": "2MiB"},
        timeouts={"request_body": 1, "first_byte": 2, "idle": 2, "first_event": 0.5, "drain": 3, "connect": 0.5},
        debug_headers=True)


class Customer:
    """One client after the other, of a few users; some of their ids are known, some nobody's."""

    def __init__(self, node, seed):
        self.node, self.random = node, random.Random(seed)
        self.conversation = "00000000-0000-4000-8000-000000000000"
        self.task = "none"

    def connect(self):
        self.app = self.random.choice(list(APPS))
        self.user = f"u{self.random.randrange(5)}"
        self.socket = socket.create_connection((self.node.host, self.node.port), TIMEOUT)
        if self.random.random() < 0.1:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def send(self, method, target, body=b"", fields="", version="1.1"):
        head = (f"{method} {target} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer usertoken--{self.app}\r\n"
                f"{fields}\r\n")
        self.socket.sendall(head.encode() + body)

    def post(self, target, value, sent=1.0, fields=""):
        body = json.dumps({"user": self.user, **value}).encode()
        self.send("POST", target, body[:int(len(body) * sent)],
                  f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{fields}")

    def run(self, mode):
        ids = {"conversation_id": self.conversation} if self.random.random() < 0.3 else {}
        return {"query": "q", "response_mode": mode, **ids, "inputs": {
            "stub_delay": self.random.random() * 0.6, "stub_events": self.random.randrange(12),
            "stub_interval": self.random.random() * 0.1}}

    def path(self):
        return self.random.choice(["chat-messages", "completion-messages", "workflows/run"])

    def blocking(self):
        self.post(f"/v1/{self.path()}", self.run("blocking"))

    def stream(self):
        self.post(f"/v1/{self.path()}", self.run("streaming"))

    def half_a_body(self):
        self.post(f"/v1/{self.path()}", self.run("blocking"), sent=self.random.random(),
                  fields=self.random.choice(["", "Expect: 100-continue\r\n"]))

    def upload(self):
        """The user comes last, in chunks, of which one may be none."""
        file = b"x" * self.random.randrange(300 * 1000)
        form = (b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\nContent-Type: text/plain\r\n\r\n" +
                file + b"\r\n--b\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\n" + self.user.encode() +
                b"\r\n--b--\r\n")
        self.send("POST", "/v1/files/upload", fields="Content-Type: multipart/form-data; boundary=b\r\n"
                                                     "Transfer-Encoding: chunked\r\n")
        stop_at = self.random.choice([len(form), len(form), self.random.randrange(len(form))])
        for at in range(0, stop_at, 40000):
            piece = form[at:min(at + 40000, stop_at)]
            self.socket.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.socket.sendall(b"0\r\n\r\n" if stop_at == len(form) else self.random.choice([b"", b"zz\r\n", b"5\r\nab"]))

    def get(self):
        target = self.random.choice([
            "_echo", "_echo", f"messages?conversation_id={self.conversation}", "conversations", "_1xx?n=3", "_http10",
            "_bytes?size=400000", "_bytes?size=300000&chunked=1", "_bytes?size=200000&close=1", "_status/503",
            "_status/404", "datasets", "workflows/run/00000000-0000-4000-8000-000000000009"])
        mark = "&" if "?" in target else "?"
        method = self.random.choice(["GET", "GET", "HEAD", "OPTIONS", "DELETE"])
        self.send(method, f"/v1/{target}{mark}user={self.user}", version=self.random.choice(["1.1", "1.1", "1.0"]),
                  fields=self.random.choice(["", "Connection: close\r\n", "Connection: keep-alive\r\n"]))

    def pipelined(self):
        for _ in range(self.random.randrange(2, 6)):
            self.get()

    def stop(self):
        self.post(f"/v1/{self.random.choice(['chat-messages', 'completion-messages'])}/{self.task}/stop", {})

    def tunnel(self):
        self.send("GET", f"/v1/_ws?user={self.user}", fields="Connection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")

    def early(self):
        self.send("POST", "/v1/_early?linger=0.2", b"y" * 1000, f"Content-Length: {self.random.randrange(1000, 50000)}\r\n")

    def read(self, seconds):
        """What comes within the time; ids in it are used later."""
        end, seen = time.monotonic() + seconds, b""
        while time.monotonic() < end:
            self.socket.settimeout(max(0.001, end - time.monotonic()))
            piece = self.socket.recv(65536)
            if not piece:
                break
            seen = (seen + piece)[-4000:]
        for name, value in re.findall(rb'"(conversation_id|task_id)": ?"([0-9a-f-]{36})"', seen):
            setattr(self, "task" if name == b"task_id" else "conversation", value.decode())

    def leave(self):
        way = self.random.randrange(4)
        if way == 0:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif way == 1:
            self.socket.shutdown(socket.SHUT_WR)
            self.read(self.random.random() * 0.2)

    def one(self):
        act = self.random.choice([self.blocking, self.blocking, self.stream, self.stream, self.stream, self.half_a_body,
                                  self.upload, self.get, self.get, self.pipelined, self.stop, self.tunnel, self.early])
        self.connect()
        with contextlib.suppress(OSError):
            act()
            self.read(self.random.choice([0, 0.02, 0.1, 0.5, 1.5]))
            self.leave()
        self.socket.close()

    def until(self, end):
        while time.monotonic() < end:
            self.one()


class World:
    """Instances that break, and whoever reloads and drains."""

    def __init__(self, node, stubs, seed):
        self.node, self.stubs, self.random = node, stubs, random.Random(seed)

    def order(self, enable):
        app, name = self.random.choice(list(APPS)), self.random.choice(self.stubs).name
        words = self.random.choice(["", "?now=1", "?now=1&hold=1s"])
        path = f"/admin/instances/{app}/{name}/" + ("enable" if enable else f"drain{words}")
        self.node.json("POST", path)

    def reload(self):
        self.node.reload(config(
            self.stubs, slots=self.random.choice([0, 2, SLOTS, SLOTS]), quotas=self.random.random() < 0.5,
            left_out=self.random.choice([None, None, "dify3"]), queue=self.random.choice([0, 3, 6])))

    def one(self):
        stub = self.random.choice(self.stubs)
        what = self.random.randrange(10)
        if what < 4:
            stub.fault(self.random.choice(FAULTS), count=self.random.randrange(1, 4))
        elif what < 5:
            stub.close_connections(self.random.random() < 0.5)
        elif what < 6:
            stub.refuse(self.random.random() < 0.5)
        elif what < 7:
            stub.worker(self.random.random() < 0.5, busy=self.random.random() < 0.5)
        elif what < 8:
            self.reload()
        else:
            self.order(enable=self.random.random() < 0.5)
        if self.random.random() < 0.3:
            stub.clear()

    def until(self, end):
        while time.monotonic() < end:
            self.one()
            time.sleep(self.random.random() * 0.1)

    def heal(self):
        for stub in self.stubs:
            stub.clear()
        assert self.node.reload(config(self.stubs))[0] == 200
        for app in APPS:
            for stub in self.stubs:
                assert self.node.json("POST", f"/admin/instances/{app}/{stub.name}/enable")[0].status == 200


def missing(node):
    """What is still lent, by its place in /status and /metrics."""
    status, found = node.status(), {}
    for app, told in status["applications"].items():
        found[f"{app}.active_requests"] = told["active_requests"]
        for name, one in told["instances"].items():
            found.update({f"{app}.{name}.{key}": one[key] for key in ("active_requests", "slots_used", "queued")})
        for quota in told["quotas"]:
            if "concurrent" in quota:
                found[f"{app}.quota.{quota['per']}"] = sum(near["used"] for near in quota["nearest"])
    text = node.request("GET", "/metrics")[1].decode()
    for line in re.findall(r"^difyring_(?:instance_in_flight|queue_length)\{.*", text, re.M):
        found[line.rsplit(" ", 1)[0]] = float(line.rsplit(" ", 1)[1])
    found["connections"] = status["node"]["active_connections"] - 1   # that of this question
    return {place: count for place, count in found.items() if count != 0}


def test_all_that_was_lent_is_given_back(three):
    seed = int(os.environ.get("DIFYRING_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"DIFYRING_SEED={seed}")
    with Node(config(three)) as node:
        end = time.monotonic() + SECONDS
        world = World(node, three, seed)
        customers = [Customer(node, seed + 1 + n) for n in range(CLIENTS)]
        parallel([lambda: world.until(end)] + [lambda one=one: one.until(end) for one in customers])
        world.heal()
        last = {}

        def nothing_is_missing():
            last.clear()
            last.update(missing(node))
            return not last
        try:
            wait_for(nothing_is_missing, 12 + TIMEOUT, 0.1)
        except AssertionError:
            pytest.fail(f"DIFYRING_SEED={seed}: still lent: {last}")
        terminations = {line["termination"] for line in node.access()}
        assert len(terminations) >= 8, terminations   # the walk reached about everything
        together = threading.Barrier(SLOTS - 1)       # and each slot is there: long ones may have all but one

        def takes_a_slot():
            together.wait(TIMEOUT)
            return node.request("POST", "/v1/completion-messages", token="usertoken--abort", json_body={
                "user": "u0", "query": "q", "inputs": {"stub_delay": 0.5}, "response_mode": "blocking"})[0].status

        def takes_all():
            watch = Stopwatch()
            assert parallel([takes_a_slot] * (SLOTS - 1)) == [200] * (SLOTS - 1)
            return watch.fair_seconds()
        # A slot less, and two of them come one after the other, each time.
        assert any(takes_all() < 0.9 * PATIENCE for _ in range(4))
