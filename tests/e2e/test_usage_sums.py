"""The sums of usage are what the answers told: over clients that leave (client_gone: finish), instances that refuse,
cut and answer 502, and nodes that are killed, which lack at most what they counted in their last interval and the runs
that were open.

As a program with as many requests as wanted: tests/e2e/test_usage_sums.py [REQUESTS]   (10000)"""
import os
import sys

if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stub")]

import contextlib
import decimal
import random
import threading
import time

from cluster import Cluster
from harness import PATIENCE, TOKEN, parallel, settings, wait_for
from stub_client import Stub

KINDS = "prompt_tokens", "completion_tokens", "total_tokens"
NODES = 3
TALKERS = 6        # at a time; more than the stand-ins' core serves is no use
INTERVAL = 0.2     # after so long a node has told what it counted
RUN_SECONDS = 0.5  # a run whose client has left has ended after that, three events of 50 ms
PATHS = "/v1/chat-messages", "/v1/completion-messages", "/v1/workflows/run"


class Run:
    """What one answer told, or may have told."""

    def __init__(self, rng):
        self.path = rng.choice(PATHS)
        self.chatflow = self.path == PATHS[0] and rng.random() < 0.3
        self.stream = rng.random() < 0.6
        self.leaves = self.stream and rng.random() < 0.2
        self.get = rng.random() < 0.1   # costs nothing, and may be tried again
        prompt, completion = rng.randrange(5000), rng.randrange(900)
        price = decimal.Decimal(rng.randrange(10 ** rng.randrange(1, 7))) / 10 ** 7
        self.usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                      "total_price": str(price), "currency": rng.choice(["USD", "RMB"])}
        self.instance = None
        self.node, self.ended = None, None   # when its usage was counted, at the latest
        self.told = False
        self.open = False                    # nobody knows what became of it

    def go(self, node, user):
        """One request to the node."""
        inputs = {"stub_usage": self.usage, "stub_events": 3}
        if self.chatflow:
            inputs["stub_mode"] = "chatflow"
        if self.leaves:
            inputs["stub_interval"] = 0.05
        try:
            with node.client() as client:
                if self.get:
                    client.request("GET", f"/v1/parameters?user={user}", TOKEN)
                    client.response()
                    return
                # Who leaves cannot see an instance cut: those are cut of which somebody sees it.
                client.request("POST", self.path + ("?leaves" if self.leaves else "?stays"), TOKEN, json_body={
                    "user": user, "query": "q", "inputs": inputs,
                    "response_mode": "streaming" if self.stream else "blocking"})
                self.open = True
                head = client.head()
                self.instance = head.headers.get("x-dify-instance")
                if head.status == 200 and self.leaves:
                    client.chunk()
                elif head.status == 200:
                    client.body(head)
                self.told = head.status == 200
            self.open = False
        except (EOFError, OSError):   # cut by an instance, or the node was killed
            pass
        self.ended = time.monotonic() + (RUN_SECONDS if self.leaves else 0)

    def figures(self):
        split = self.path != PATHS[2]
        money = {self.usage["currency"]: decimal.Decimal(self.usage["total_price"])} if split else {}
        return [self.usage[kind] if split or kind == KINDS[2] else 0 for kind in KINDS], money


class Sums:
    """Figures added up, of all instances together and of each."""

    def __init__(self, runs=()):
        self.tokens, self.money = {}, {}
        for run in runs:
            tokens, money = run.figures()
            self.tokens[run.instance] = [a + b for a, b in zip(self.tokens.get(run.instance, [0, 0, 0]), tokens)]
            for currency, price in money.items():
                key = run.instance, currency
                self.money[key] = self.money.get(key, 0) + price

    @staticmethod
    def of(status):
        sums = Sums()
        for name, each in status["applications"]["one"]["instances"].items():
            usage = each.get("usage", {**dict.fromkeys(KINDS, 0), "price": {}})
            sums.tokens[name] = [usage[kind] for kind in KINDS]
            sums.money.update({(name, currency): decimal.Decimal(price) for currency, price in usage["price"].items()})
        return sums

    def least(self, other, anywhere=()):
        """None of its figures is above the other's, with those on top that nobody knows the instance of."""
        more = Sums(anywhere)
        spare = more.tokens.get(None, [0, 0, 0])
        return all(a <= b + s for name, tokens in self.tokens.items()
                   for a, b, s in zip(tokens, other.tokens.get(name, [0, 0, 0]), spare)) and \
            all(price <= other.money.get(key, 0) + more.money.get((None, key[1]), 0)
                for key, price in self.money.items())

    def total(self):
        return sum(tokens[2] for tokens in self.tokens.values())


class Life:
    """Runs through a cluster, and what all of them told."""

    def __init__(self, cluster, stubs, seed):
        self.cluster, self.stubs = cluster, stubs
        self.rng = random.Random(seed)
        self.lock = threading.Lock()
        self.runs = []
        self.died = None   # when the last one was killed

    def some(self, count, kill=None):
        """So many runs by some talkers side by side; in the middle `kill` is killed."""
        left = [Run(self.rng) for _ in range(count)]
        nodes = {name: self.cluster[name] for name in self.cluster.names}
        killed = threading.Event()

        def talker(number):
            rng = random.Random(count + number)
            while True:
                with self.lock:
                    if not left:
                        return
                    run = left.pop()
                    if kill and not killed.is_set() and len(left) < count // 2:
                        killed.set()
                        self.cluster.kill(kill)
                        self.died = time.monotonic()
                        nodes.pop(kill)
                    run.node = rng.choice(sorted(nodes))
                    self.runs.append(run)
                run.go(nodes[run.node], f"user-{rng.randrange(40)}")

        def trouble():
            """One after the other, and never two at a time, so that retries find somebody."""
            rng = random.Random(count)
            while left:
                stub, what = rng.choice(self.stubs), rng.randrange(3)
                if what == 0:
                    stub.refuse()
                    time.sleep(0.05)
                    stub.refuse(False)
                elif what == 1:
                    stub.fault("reset_before_head", match="/v1/")
                else:
                    stub.fault("cut_stream", events=1, match="?stays")
                time.sleep(0.1)
        parallel([trouble, *(lambda number=number: talker(number) for number in range(TALKERS))])

    def unsure(self, node, died):
        """Runs that a killed node may not have told of."""
        return [run for run in self.runs if run.node == node and not run.get and
                (run.open or run.told and run.ended > died - INTERVAL * PATIENCE)]


def told_by(runs, but=()):
    left_out = set(map(id, but))
    return [run for run in runs if run.told and not run.open and id(run) not in left_out]


def live(stubs, count, kills, say=lambda *words: None):
    entries = [{"name": stub.name, "host": stub.host, "port": stub.port, "token": stub.tokens[0], "max_fails": 0}
               for stub in stubs]
    config = settings([], instances=entries, debug_headers=True, application={"client_gone": "finish"})
    with Cluster(config, NODES) as cluster:
        cluster.settle()
        life = Life(cluster, stubs, 14)

        life.some(count // 2)
        # What a client saw cut was told by nobody: an instance cuts a stream before its end.
        told = Sums(told_by(life.runs))

        def equal():
            return all(told.least(now) and now.least(told) for now in map(Sums.of, cluster.statuses()))
        wait_for(equal, timeout=RUN_SECONDS + 5 * PATIENCE)
        say(f"{len(life.runs)} requests, {sum(run.leaves for run in life.runs)} left, "
            f"{sum(run.open for run in life.runs)} cut: {told.total()} tokens, equal on {NODES} nodes")

        unsure = []
        for number in range(kills):
            victim = cluster.names[number % NODES]
            life.some(-(-(count - count // 2) // kills), kill=victim)
            unsure += life.unsure(victim, life.died)
            cluster.start(victim)
            cluster.settle()
        sure = told_by(life.runs, but=unsure)
        least, most = Sums(sure), Sums(sure + unsure)

        def between():
            found = list(map(Sums.of, cluster.statuses()))
            same = all(one.least(found[0]) and found[0].least(one) for one in found)
            return same and least.least(found[0]) and found[0].least(most, unsure) and found[0]
        found = wait_for(between, timeout=RUN_SECONDS + 10 * PATIENCE)
        say(f"{len(life.runs)} requests, {kills} nodes killed: {found.total()} tokens of {Sums(told_by(life.runs)).total()} "
            f"told to clients; {len(unsure)} runs were open or of the last {INTERVAL} s of a killed node, and at least "
            f"{least.total()} must be there")


@contextlib.contextmanager
def instances():
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Stub(f"dify{n}", tokens=[f"app-{n}"], event_interval=0.001, idle_timeout=60))
               for n in (1, 2, 3)]


def test_sums_are_what_the_answers_told_whatever_happens():
    with instances() as stubs:
        live(stubs, 200, 2)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    began = time.monotonic()
    with instances() as stubs:
        live(stubs, count, 12, lambda *words: print(f"{time.monotonic() - began:7.1f} s", *words, flush=True))


if __name__ == "__main__":
    main()
