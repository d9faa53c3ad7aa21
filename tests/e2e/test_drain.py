"""Out of service and back, and the end, as clients see them that keep their connections or make new ones all the
time: SPEC §5 and §7, 0 failed requests."""

import asyncio
import collections
import itertools
import json
import select
import signal
import subprocess
import threading
import time

import line
import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, observe, settings
from raw_client import Raw
from stopwatch import Stopwatch
from stub_client import start_stubs, wait_for

NO_LINE = line.why_impossible()
DELAY = 0.015   # one way
CLIENTS = 30
EVERY = 0.1


def drain(node, what="drain"):
    assert node.json("POST", f"/admin/{what}")[0].status == 200


def closes(head):
    return head.headers.get("connection") == "close"


def ask(client, target="/v1/_echo?user=u"):
    return client.request("POST", target, TOKEN, json_body={}).response()


# ---- one connection

@pytest.mark.smoke
@pytest.mark.threads
def test_a_drain_tells_an_idle_connection_with_its_next_answer(stubs):
    with Node(settings(stubs)) as node, node.client() as client, node.client() as unused:
        assert not closes(ask(client)[0])
        drain(node)
        wait_for(lambda: node.request("GET", "/health")[0].status == 503, TIMEOUT)
        for each in (client, unused):
            head, _ = ask(each)
            assert head.status == 200 and closes(head)
            assert each.ended() == "fin"


@pytest.mark.threads
def test_a_drain_taken_back_leaves_idle_connections_alone(stubs):
    with Node(settings(stubs)) as node, node.client() as client:
        ask(client)
        for _ in range(3):
            drain(node)
            drain(node, "enable")
        head, _ = ask(client)
        assert head.status == 200 and not closes(head)


def test_a_stream_that_began_before_a_drain_leaves_a_connection_of_use(stubs):
    """Its head has promised that: the client may send its next request at the very end of the stream."""
    with Node(settings(stubs)) as node, node.client() as client:
        head = client.request("GET", "/v1/_sse?events=10&interval=0.05&user=u", TOKEN).head()
        assert not closes(head)
        drain(node)
        wait_for(lambda: node.request("GET", "/health")[0].status == 503, TIMEOUT)
        client.body(head)
        head, _ = ask(client)
        assert head.status == 200 and closes(head)


@pytest.mark.slow
def test_who_asks_now_and_then_is_told_before_the_node_ends(stubs):
    with Node(settings(stubs)) as node, node.client() as client:
        ask(client)
        node.signal(signal.SIGTERM)
        wait_for(lambda: node.request("GET", "/health")[0].status == 503, TIMEOUT)
        observe(1, lambda: client.quiet() and node.process.poll() is None)
        head, _ = ask(client)
        assert head.status == 200 and closes(head)
        assert node.wait() == 0


def test_an_idle_connection_does_not_keep_a_node_alive(stubs):
    with Node(settings(stubs)) as node, node.client() as client, node.client() as unused:
        ask(client)
        watch = Stopwatch()
        node.signal(signal.SIGTERM)
        assert client.ended() == unused.ended() == "fin"
        assert node.wait() == 0
        assert watch.fair_seconds() < 4 * PATIENCE


# ---- many, some milliseconds away

class Crowd:
    """Clients on the far side of a line, each with a connection that it keeps as long as it is told to. Like a
    good pool they look whether it has ended before they use it. What fails after that is lost."""

    def __init__(self, line_, node):
        self.line, self.address = line_, (node.host, node.port)
        self.lost, self.refused = [], 0
        self.answers, self.told = [0] * CLIENTS, [0] * CLIENTS   # answers, and those that said close
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with self.line.far():
            asyncio.run(self.all())

    async def all(self):
        await asyncio.gather(*(self.one(index) for index in range(CLIENTS)))

    async def one(self, index):
        body = json.dumps({"user": f"u{index}"}).encode()
        text = (f"POST /v1/_echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body
        reader = writer = None
        await asyncio.sleep(EVERY * index / CLIENTS)
        while not self.ending:
            due = time.monotonic() + EVERY
            if writer and reader.at_eof():
                writer.close()
                writer = None
            try:
                if not writer:
                    reader, writer = await asyncio.open_connection(*self.address)
            except OSError:
                self.refused += 1
                return
            try:
                writer.write(text)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(size)
                self.answers[index] += 1
                if not head.startswith(b"http/1.1 200 "):
                    self.lost.append(head)
            except (OSError, EOFError, asyncio.IncompleteReadError) as error:
                self.lost.append(error)
                head = b"connection: close"
            if b"connection: close" in head:
                self.told[index] += 1
                writer.close()
                writer = None
            await asyncio.sleep(max(0, due - time.monotonic()))
        if writer:
            writer.close()

    def more(self, counts):
        """Waits until each of them has more."""
        before = list(counts)
        wait_for(lambda: all(now > was for now, was in zip(counts, before)), TIMEOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_rest):
        self.ending = True
        self.thread.join()


@pytest.fixture
def away():
    """(line, stubs) beyond which clients are 15 ms away."""
    if NO_LINE:
        pytest.skip(NO_LINE)
    with line.Line(DELAY) as one:
        stubs = start_stubs("dify1", "dify2")
        try:
            yield one, stubs
        finally:
            for stub in stubs:
                stub.stop()


def far_settings(away, **more):
    return settings(away[1], listen=[{"address": f"{away[0].near_ip}:0"}], **more)


def test_four_drains_lose_no_request_of_kept_alive_clients(away):
    config = far_settings(away, admin={"allow": [f"{away[0].near_ip}/32"]})
    with Node(config) as node, Crowd(away[0], node) as crowd:
        crowd.more(crowd.answers)
        for _ in range(4):
            drain(node)
            crowd.more(crowd.told)   # by an answer
            drain(node, "enable")
            crowd.more(crowd.answers)
            crowd.more(crowd.answers)
        assert crowd.lost == [] and crowd.refused == 0


def test_the_end_loses_no_request_of_kept_alive_clients(away):
    with Node(far_settings(away)) as node, Crowd(away[0], node) as crowd:
        crowd.more(crowd.answers)
        node.signal(signal.SIGTERM)
        crowd.more(crowd.told)
        assert node.wait() == 0
        wait_for(lambda: crowd.refused == CLIENTS, TIMEOUT)
        assert crowd.lost == []


class Newcomers:
    """Clients on the far side of a line, each with a connection of its own, at a steady rate. What came of them:
    {outcome: count}, and how long the refused ones waited for that."""

    def __init__(self, line_, node, rate):
        self.line, self.address, self.rate = line_, (node.host, node.port), rate
        self.outcomes, self.refused_after = collections.Counter(), []
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with self.line.far():
            asyncio.run(self.all())

    async def all(self):
        tasks, begin = set(), time.monotonic()
        for number in itertools.count():
            if self.ending:
                break
            await asyncio.sleep(max(0, begin + number / self.rate - time.monotonic()))
            tasks.add(task := asyncio.ensure_future(self.one()))
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def one(self):
        watch = Stopwatch()
        try:
            reader, writer = await asyncio.open_connection(*self.address)
        except OSError as error:
            self.outcomes[type(error).__name__] += 1
            self.refused_after.append(watch.fair_seconds())
            return
        try:
            writer.write(f"GET /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                         "Connection: close\r\n\r\n".encode())
            answer = await reader.read()
            self.outcomes[answer[9:12].decode() or "nothing"] += 1
        except OSError as error:
            self.outcomes[f"{type(error).__name__} after it connected"] += 1
        finally:
            writer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_rest):
        self.ending = True
        self.thread.join()


def test_who_connects_to_a_node_that_ends_is_served_or_refused_at_once(away):
    for _ in range(3):
        with Node(far_settings(away)) as node, Newcomers(away[0], node, 200) as newcomers:
            wait_for(lambda it=newcomers: it.outcomes["200"] > 100, TIMEOUT)
            node.signal(signal.SIGTERM)
            wait_for(lambda it=newcomers: it.outcomes["ConnectionRefusedError"] > 100, TIMEOUT)
            assert node.wait() == 0
        assert set(newcomers.outcomes) == {"200", "ConnectionRefusedError"}
        assert max(newcomers.refused_after) < 0.5 * PATIENCE   # a lost request is repeated after a second


# ---- connections to a virtual IP that goes

VIRTUAL = "10.77.0.100"


def put_address(what, device):
    subprocess.run(["ip", "addr", what, f"{VIRTUAL}/32", "dev", device], check=True)


@pytest.fixture
def holder(away, tmp_path):
    """(node, client of its virtual IP, client of its own address, what the track file says), all near."""
    put_address("add", "line")
    config = settings(away[1], listen=[{"address": "0.0.0.0:0"}], timeouts={"drain": "20s"}, vip={
        "address": f"{VIRTUAL}/24", "interface": "line", "peers": ["10.77.0.12"], "track_file": str(tmp_path / "vrrp")})
    with Node(config) as node:
        says = (tmp_path / "vrrp").read_text
        wait_for(lambda: says() == "0\n", TIMEOUT)
        with Raw(VIRTUAL, node.port) as virtual, Raw(away[0].near_ip, node.port) as own:
            ask(virtual)
            ask(own)
            yield node, virtual, own, says
        put_address("del", "line")


def is_quiet(client):
    return not select.select([client.socket], [], [], 0)[0]


@pytest.mark.slow
def test_idle_connections_to_an_address_that_takes_them_along_end_just_before_it_goes(holder):
    node, virtual, own, says = holder
    drain(node)
    observe(1.5, lambda: is_quiet(virtual) and says() == "0\n")   # patience
    assert virtual.ended() == "fin" and says() == "0\n"
    wait_for(lambda: says() == "1\n", TIMEOUT)
    assert closes(ask(own)[0])   # the node serves on


@pytest.mark.slow
def test_idle_connections_to_an_address_that_leaves_them_behind_end_when_it_has_gone(holder):
    node, virtual, own, says = holder
    put_address("add", "lo")   # as vip-relay does
    wait_for(lambda: any(event["kept"] for event in node.events("vip_changed")), TIMEOUT)
    drain(node)
    wait_for(lambda: says() == "1\n", TIMEOUT)
    observe(0.5, lambda: is_quiet(virtual))
    put_address("del", "line")
    assert virtual.ended() == "fin"
    assert closes(ask(own)[0])
    put_address("add", "line")   # the fixture's to take away


# ---- signals

@pytest.mark.parametrize("config", [{}, {"timeouts": {"drain": "100ms"}}], ids=["drained", "cut"])
def test_signals_without_end_never_end_a_node_but_by_its_own_code(stubs, config):
    """Each of them may come at the very last moment, when the loop and its handlers have gone."""
    for turn in range(10):
        node = Node(settings(stubs[:1], **config))
        try:
            numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
            node.signal(signal.SIGTERM)
            while node.process.poll() is None:
                node.signal(numbers[turn % 4])
            assert node.process.returncode == 0, node.stderr()[-3000:]
        finally:
            node.destroy()


def test_signals_while_a_node_starts_never_end_it_but_by_its_own_code(stubs):
    """From the first line of its own code on: before that the program is not there to be asked."""
    for _ in range(10):
        node = Node(settings(stubs[:1]), wait=False)
        try:
            wait_for(lambda it=node: blocks_term(it.pid), TIMEOUT)
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
        finally:
            node.destroy()


def blocks_term(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        fields = dict(line_.rstrip("\n").split(":\t", 1) for line_ in file)
    return any(int(fields[name], 16) >> (signal.SIGTERM - 1) & 1 for name in ("SigBlk", "SigCgt"))
