"""Random calls while instances fail at random: what is answered comes from who has the id, and nothing runs twice.

    tests/long calls [CALLS [SEED]]      100000 and 1: half an hour

In the suite it is 600. Two claims, both counted at the instances:
- 0 answers (but to stops) from an instance that does not have the id, while the one that has it is eligible. What a
  POST gets that may have run (5xx) is passed on, from wherever it is (SPEC §3), and proves nothing.
- 0 POSTs sent again after any answer but a 404 of the routes that ask by themselves; chats, completions and
  uploads are sent once, whatever happens, and so is the DELETE of a conversation.

Most of these ids the node has seen being made, and remembers; some were made past it, and it must ask for them.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stub")]

import collections
import contextlib
import http.client
import json
import random
import threading
import time
import urllib.request

from harness import TOKEN, Node, instance, parallel, settings
from stub_client import Stub

NAMES = ["dify1", "dify2", "dify3"]
TALKERS = 4
BATCH = 2000   # then what the instances have written down is looked at
ASKING = ("/feedbacks", "/name")   # POSTs that are sent on after a 404
FAULTS = ({"kind": "status", "code": 500}, {"kind": "status", "code": 503}, {"kind": "status", "code": 429},
          {"kind": "reset_before_head"}, {"kind": "close_before_head"}, {"kind": "cut_length"},
          {"kind": "stall_before_head", "seconds": 0.3}, {"kind": "garbage", "data": "what?\r\n\r\n"})


def config(stubs):
    entries = [instance(stub, max_fails=3, fail_timeout="300ms") for stub in stubs]
    return settings([], instances=entries, debug_headers=True, application={"queue": {"size": 1000, "timeout": "2s"}},
                    health_check={"interval": "200ms", "timeout": "1s", "healthy_threshold": 1, "unhealthy_threshold": 1})


class Calls:
    def __init__(self, stubs, node, seed):
        self.stubs, self.node, self.random = {stub.name: stub for stub in stubs}, node, random.Random(seed)
        self.lock = threading.Lock()
        self.known = []                # (kind, user, id, who has it, its conversation)
        self.deleted = set()           # conversations: of these nobody knows any more who has what
        self.number = 0
        self.wrong, self.answered, self.statuses = [], 0, collections.Counter()
        self.unsafe = {}               # X-Request-ID -> method and path of a POST or DELETE
        self.sent = collections.Counter()   # of these, what the instances have seen
        self.over = False

    # ---- calls

    def draw(self):
        """(number, user, method, path, body, who has what it names, of which conversation)."""
        with self.lock:
            self.number += 1
            one = self.random.choice(self.known) if self.known and self.random.random() < 0.75 else None
            how, mode = self.random.random(), self.random.choice(["blocking", "streaming"])
            user = one[1] if one else f"user-{self.random.randrange(50)}"
            number = self.number
        text = {"user": user, "query": "q", "inputs": {"stub_events": 1, "stub_interval": 0}, "response_mode": mode}
        if not one:
            return number, user, "POST", "/v1/chat-messages", text, None, None
        kind, _, name, owner, talk = one
        if kind == "conversation":
            if how < 0.55:
                return number, user, "POST", "/v1/chat-messages", {**text, "conversation_id": name}, owner, talk
            if how < 0.7:
                return number, user, "GET", f"/v1/messages?conversation_id={name}&user={user}", None, owner, talk
            if how < 0.85:
                return number, user, "POST", f"/v1/conversations/{name}/name", {"user": user, "name": "n"}, owner, talk
            return number, user, "DELETE", f"/v1/conversations/{name}", {"user": user}, owner, talk
        if how < 0.5:
            return number, user, "POST", f"/v1/messages/{name}/feedbacks", {"user": user, "rating": "like"}, owner, talk
        return number, user, "GET", f"/v1/messages/{name}/suggested?user={user}", None, owner, talk

    def make_past_the_node(self):
        """A conversation at any instance, whose ids the node has not seen."""
        with self.lock:
            stub, user = self.stubs[self.random.choice(NAMES)], f"user-{self.random.randrange(50)}"
        text = json.dumps({"user": user, "query": "q", "inputs": {}, "response_mode": "blocking"}).encode()
        fields = {"Authorization": f"Bearer {stub.token}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{stub.url}/v1/chat-messages", text, fields), timeout=60) as said:
            self.note(said.read(), user, stub.name)

    def note(self, said, user, where):
        """What an answer of a new chat has made."""
        texts = [line[6:] for line in said.split(b"\n") if line.startswith(b"data: ")] or [said]
        for text in texts[:1]:
            value = json.loads(text)
            with self.lock:
                for kind in ("conversation", "message"):
                    if value.get(f"{kind}_id"):
                        self.known.append((kind, user, value[f"{kind}_id"], where, value.get("conversation_id")))
                del self.known[:-3000]

    def eligible(self, name):
        return self.node.status()["applications"]["one"]["instances"][name]["eligible"]

    def call(self, client):
        number, user, method, path, body, owner, talk = self.draw()
        request_id = f"call-{number}"
        with self.lock:
            if method != "GET":
                self.unsafe[request_id] = f"{method} {path}"
            if method == "DELETE" and talk not in self.deleted:
                self.deleted.add(talk)
                self.known = [one for one in self.known if one[4] != talk]
                talk = None   # it is there until this one has been answered
        client.request(method, path, TOKEN, json_body=body, headers=[("X-Request-ID", request_id)])
        head, said = client.response()
        where = head.headers.get("x-dify-instance")
        with self.lock:
            self.answered += 1
            self.statuses[head.status] += 1
        if owner is None and head.status == 200 and where:
            self.note(said, user, where)
        said_of_id = talk not in self.deleted and (head.status < 300 or head.status in (400, 404))
        if owner and where and where != owner and said_of_id and self.eligible(owner):
            with self.lock:
                self.wrong.append((number, method, path, head.status, where, owner))
        return "close" if (head.headers.get("connection") or "").lower() == "close" else None

    def talker(self, last):
        with contextlib.ExitStack() as stack:
            client = None
            while self.number < last:
                with contextlib.suppress(OSError, ValueError, http.client.HTTPException):   # it is in trouble, too
                    if self.random.random() < 0.04:
                        self.make_past_the_node()
                if client is None:
                    client = stack.enter_context(self.node.client())
                    client.socket.settimeout(60)
                try:
                    if self.call(client) == "close":
                        client = None
                except (OSError, ValueError, AssertionError, EOFError):   # cut, as it may be
                    client = None

    # ---- what goes wrong meanwhile

    def await_calls(self, count):
        """Trouble comes by the calls, not by the clock: as much of it on a slow machine as on a fast one."""
        last = self.number + count
        while self.number < last and not self.over:
            time.sleep(0.005)

    def trouble(self):
        chance = random.Random(7)
        while not self.over:
            self.await_calls(chance.randrange(2, 12))
            stub = self.stubs[chance.choice(NAMES)]
            kind = chance.random()
            if kind < 0.1:
                stub.clear()   # what has not been met yet
            elif kind < 0.8:
                stub.fault(**chance.choice(FAULTS), count=chance.randrange(1, 8), match=chance.choice(["/v1/chat", "/v1/mess", "/v1/conv"]))
            elif kind < 0.9:
                stub.refuse()
                stub.close_connections()
                time.sleep(chance.random() / 2)
                stub.refuse(False)
            else:
                name = stub.name
                self.node.request("POST", f"/admin/instances/one/{name}/drain")
                time.sleep(chance.random() / 4)
                self.node.request("POST", f"/admin/instances/one/{name}/enable")

    def look(self):
        """Each POST and DELETE of the batch, as the instances have written it down."""
        seen = collections.defaultdict(list)
        for name, stub in self.stubs.items():
            for row in stub.requests():
                if row["x_request_id"] in self.unsafe:
                    seen[row["x_request_id"]].append((name, row["status"]))
            stub.forget()
        for request_id, rows in seen.items():
            asks = self.unsafe[request_id].endswith(ASKING)
            if (len(rows) > 1 and not asks) or sum(status != 404 for _, status in rows) > 1:
                self.wrong.append((request_id, self.unsafe[request_id], rows))
        self.sent.update(self.unsafe[request_id].split()[0] for request_id in seen)
        self.unsafe.clear()

    def run(self, count, say=lambda *_: None):
        worry = threading.Thread(target=self.trouble)
        worry.start()
        try:
            while self.number < count:
                last = min(self.number + BATCH, count)
                parallel([lambda last=last: self.talker(last)] * TALKERS)
                self.look()
                say(self.number, "calls,", self.answered, "answered,", dict(self.statuses), len(self.wrong), "wrong")
                assert not self.wrong, self.wrong[:5]
        finally:
            self.over = True
            worry.join()
        assert self.answered > count / 2 and self.statuses[200] > count / 3, self.statuses
        assert self.sent["DELETE"] > count / 100, self.sent


def life(count, seed, say=lambda *_: None):
    with contextlib.ExitStack() as stack:
        stubs = [stack.enter_context(Stub(name, idle_timeout=60)) for name in NAMES]
        node = stack.enter_context(Node(config(stubs)))
        for name in NAMES:
            node.wait_instance(name, status="healthy")
        Calls(stubs, node, seed).run(count, say)


def test_random_calls_with_random_faults():
    life(600, 1)


if __name__ == "__main__":
    words = [int(word) for word in sys.argv[1:]]
    began = time.monotonic()
    life(*[*words, 100000, 1][:2] if len(words) != 1 else (words[0], 1),
         lambda *told: print(f"{time.monotonic() - began:7.1f} s", *told, flush=True))
