"""Every conversation is found, whatever happens: two nodes, three separate instances and a fourth, all talking.

    python3 tests/e2e/test_conversations.py [USERS [CONVERSATIONS]]      1000 and 3: the whole of issue size, minutes

In the suite it is 20 users with 3 conversations each. What is counted is counted at the instances.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stub")]

import contextlib
import json
import random
import threading
import time

import pytest
from cluster import Cluster
from harness import TOKEN, instance, parallel, settings, wait_for
from stub_client import Stub

NAMES = ["dify1", "dify2", "dify3", "dify4"]
TALKERS = 6   # at a time; more than the stand-ins' one core serves is no use


def config(stubs, weights=()):
    """As an operator has it, but for intervals that tests can wait for."""
    entries = [instance(stub, weight=weight, max_fails=3, fail_timeout="500ms")
               for stub, weight in zip(stubs, [*weights, 1, 1, 1, 1])]
    return settings([], instances=entries, debug_headers=True, application={"queue": {"size": 1000, "timeout": "40s"}},
                    health_check={"interval": "500ms", "timeout": "2s", "healthy_threshold": 1, "unhealthy_threshold": 1})


class Talk:
    """The users' conversations, and what the instances have seen of them."""

    def __init__(self, stubs, users, each):
        self.stubs = stubs
        self.users = [f"user-{i}" for i in range(users)]
        self.each = each
        self.owner = {}      # (user, conversation) -> name of the instance
        self.random = random.Random(12)
        self.lost = []       # what was not answered as it must

    def run(self, jobs, node):
        """`jobs` (callables of a client) by some talkers side by side, each over one connection."""
        jobs, lock = list(jobs), threading.Lock()

        def talker():
            with contextlib.ExitStack() as stack:
                client = None
                while True:
                    with lock:
                        if not jobs:
                            return
                        job = jobs.pop()
                    if client is None:
                        client = stack.enter_context(node.client())
                        client.socket.settimeout(60)
                    if job(client) == "close":
                        client = None
        parallel([talker] * TALKERS)

    def say(self, client, user, conversation, mode):
        """(instance, conversation) of one exchange, or None with an entry in `lost`."""
        body = {"user": user, "query": "q", "response_mode": mode, "inputs": {"stub_events": 1, "stub_interval": 0}}
        if conversation:
            body["conversation_id"] = conversation
        client.request("POST", "/v1/chat-messages", TOKEN, json_body=body)
        head, said = client.response()
        if head.status != 200:
            self.lost.append((user, conversation, mode, head.status, said[:200]))
            return None
        if mode == "streaming":
            events = [json.loads(line[6:]) for line in said.split(b"\n") if line.startswith(b"data: ")]
            told = {event["conversation_id"] for event in events if event.get("conversation_id")}
        else:
            told = {json.loads(said)["conversation_id"]}
        if len(told) != 1 or (conversation and told != {conversation}):
            self.lost.append((user, conversation, mode, "told", told))
            return None
        return head.headers["x-dify-instance"], told.pop()

    def begin(self, node):
        def job(user):
            def go(client):
                for index in range(self.each):
                    made = self.say(client, user, None, ("blocking", "streaming")[index % 2])
                    if made:
                        self.owner[user, made[1]] = made[0]
            return go
        self.run([job(user) for user in self.users], node)
        assert not self.lost, self.lost[:3]
        assert len(self.owner) == len(self.users) * self.each

    def follow_up(self, node, pairs=None):
        """One message in each conversation, in any order; every one must come from where the conversation is."""
        pairs = list(self.owner if pairs is None else pairs)
        self.random.shuffle(pairs)

        def job(index, user, conversation):
            def go(client):
                found = self.say(client, user, conversation, ("blocking", "streaming")[index % 2])
                if found and found[0] != self.owner[user, conversation]:
                    self.lost.append((user, conversation, found))
            return go
        for stub in self.stubs:
            stub.forget()
        self.run([job(index, *pair) for index, pair in enumerate(pairs)], node)
        assert not self.lost, (len(self.lost), self.lost[:3])
        wanted = {stub.name: 0 for stub in self.stubs}
        for pair in pairs:
            wanted[self.owner[pair]] += 1
        posts = {stub.name: stub.counts()["methods"].get("POST", 0) for stub in self.stubs}
        assert posts == wanted   # none was sent to a second instance, none twice
        return {stub.name: len(stub.requests(path="/v1/messages?")) for stub in self.stubs}

    def kept_by(self, name):
        return [pair for pair, owner in self.owner.items() if owner == name]


def unnoticed(stub):
    """Connections that the instance has closed and a node has not: a POST on one of them would be lost, honestly."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in list(table)[1:]]
    return [row for row in rows if row[2].endswith(f":{stub.port:04X}") and row[3] == "08"]   # CLOSE_WAIT


def nobody(asked):
    return sum(asked.values()) == 0


def life(stubs, users, each, say=lambda *_: None):
    """The whole run. `say` is told how far it has come."""
    three = stubs[:3]
    talk = Talk(stubs, users, each)
    with Cluster(config(three), 2, state=True) as cluster:
        cluster.settle()
        for name in NAMES[:3]:
            cluster["node-a"].wait_instance(name, status="healthy")
            cluster["node-b"].wait_instance(name, status="healthy")
        talk.begin(cluster["node-a"])
        say("begun", {name: len(talk.kept_by(name)) for name in NAMES})
        assert nobody(talk.follow_up(cluster["node-a"]))    # it saw them being made
        asked = talk.follow_up(cluster["node-b"])
        say("found by the other node, asking", asked)
        assert max(asked.values()) <= len(talk.owner)       # at most one question an instance and conversation
        assert asked["dify4"] == 0 and sum(asked.values()) < 1.5 * len(talk.owner)   # mostly at home
        assert nobody(talk.follow_up(cluster["node-b"]))

        # An instance dies and returns: its own wait for it, nobody else notices.
        three[0].refuse()
        three[0].close_connections()
        wait_for(lambda: not unnoticed(three[0]), 10)
        own = talk.kept_by("dify1")[:TALKERS * 3]
        waiting = threading.Thread(target=lambda: talk.run(
            [lambda client, pair=pair: talk.say(client, *pair, "blocking") and None for pair in own], cluster["node-a"]))
        waiting.start()
        others = [pair for pair, owner in talk.owner.items() if owner != "dify1"]
        began = time.monotonic()
        for pair in others[:50]:
            with cluster["node-b"].client() as client:
                assert talk.say(client, *pair, "blocking")[0] == talk.owner[pair]
        say("the others meanwhile", round((time.monotonic() - began) / 50 * 1000, 1), "ms each")
        cluster["node-a"].wait_instance("dify1", eligible=False)
        three[0].refuse(False)
        waiting.join(60)
        assert not waiting.is_alive() and not talk.lost, talk.lost[:3]
        for node in cluster.nodes():
            node.wait_instance("dify1", eligible=True)
        assert nobody(talk.follow_up(cluster["node-a"])) and nobody(talk.follow_up(cluster["node-b"]))

        # A fourth is added, then weights change: users have new homes, conversations stay.
        for weights in ((), (1, 5, 1, 2)):
            status, told = cluster.reload("node-a", config(stubs, weights))
            assert status == 200, told
            cluster.settle()
            cluster["node-b"].wait_instance("dify4", eligible=True)
            assert nobody(talk.follow_up(cluster["node-a"])) and nobody(talk.follow_up(cluster["node-b"]))
            say("moved in", weights)

        # The node that remembers most dies; all restart, and remember nothing.
        cluster.kill("node-a")
        assert nobody(talk.follow_up(cluster["node-b"]))
        cluster.stop("node-b")
        cluster.start("node-a", "node-b")
        cluster.settle()
        for node in cluster.nodes():
            for name in NAMES:
                node.wait_instance(name, eligible=True)
        for name in ("node-a", "node-b"):
            asked = talk.follow_up(cluster[name])
            say("after the restart", name, "asks", asked)
            assert max(asked.values()) <= len(talk.owner)
            assert nobody(talk.follow_up(cluster[name]))


@contextlib.contextmanager
def instances(chatflow, version):
    with contextlib.ExitStack() as stack:
        # Idle connections stay: a POST that is lost in one that closes just then is another test's matter.
        yield [stack.enter_context(Stub(name, version=version, idle_timeout=60, **({"chatflow": True} if chatflow else {})))
               for name in NAMES]


@pytest.mark.parametrize("chatflow, version", [(True, "1.13.0"), (False, "1.16.0")])
def test_every_conversation_is_found_whatever_happens(chatflow, version):
    with instances(chatflow, version) as stubs:
        life(stubs, 20, 3)


def main():
    users, each = [int(word) for word in [*sys.argv[1:], "1000", "3"][:2]] if len(sys.argv) > 1 else (1000, 3)
    for chatflow, version in ((True, "1.13.0"), (True, "1.16.0"), (False, "1.16.0")):
        began = time.monotonic()
        with instances(chatflow, version) as stubs:
            life(stubs, users, each, lambda *words: print(f"{time.monotonic() - began:7.1f} s", *words, flush=True))
        print(f"{'chatflows' if chatflow else 'chats'} of {version}: {users * each} conversations, none lost", flush=True)


if __name__ == "__main__":
    main()
