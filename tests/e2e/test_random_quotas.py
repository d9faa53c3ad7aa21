"""Random quotas and random requests at one node, which must be exact: a model says of each request whether it passes,
what the answer tells (SPEC §3, Quotas), and what explain, /status and the access log say of it.

    tests/long quotas [ROUNDS [SEED]]      500 and 1: a quarter of an hour

In the suite it is 5 rounds. In each the application is another one, so all of its quotas begin with nothing. The model
knows when a request was sent and when it was answered, not when the node counted it: where a use may or may not have
left its window between the two, what the node decides is taken over; a use counts for its window and an eleventh of it
at the most.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                    os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "stub")]

import collections
import json
import math
import random
import time
import uuid

from harness import PATIENCE, TIMEOUT, Node, check_error, instance, settings
from stub_client import Stub, wait_for

PERS = "user", "token", "address", "application"
TOKENS = "usertoken--first", "usertoken--second"
USERS = None, "ann", "bob", "cem"
ADDRESSES = "127.0.0.1", "127.0.0.7"
WINDOWS = {"2s": 2, "3s": 3, "1h": 3600, "1d": 86400}
LATE = 0.5 * PATIENCE   # a node's clock may be that of the turn's begin; also 64 ms that a look is rounded by
HELD_MAX = 3
STEPS = 45

Use = collections.namedtuple("Use", "sent answered amount")
Caller = collections.namedtuple("Caller", "user token address")
Asked = collections.namedtuple("Asked", "caller sent answered")


class Quota:
    def __init__(self, rng, per, kind, every):
        self.per, self.kind, self.every = per, kind, every
        self.window = WINDOWS.get(every)
        self.uses, self.active = collections.defaultdict(list), collections.Counter()
        self.rejected, self.was_shadow = 0, False
        self.draw(rng)

    def draw(self, rng):
        """What a reload may change: the counts stay."""
        self.limit = rng.randint(1, {"requests": 9, "tokens": 60, "concurrent": 3}[self.kind])
        self.shadow = rng.random() < 0.25
        self.was_shadow = self.was_shadow or self.shadow

    def entry(self):
        every = {"every": self.every} if self.every else {}
        return {"per": self.per, self.kind: self.limit, "shadow": self.shadow, **every}

    def message(self):
        what = f"{self.limit} requests at a time" if self.kind == "concurrent" else f"{self.limit} {self.kind}"
        every = f" every {self.every}" if self.every else ""
        return f"Rate limit exceeded: at most {what} per {self.per}{every}. Please try again later."

    def subject(self, caller):
        return {"user": caller.user, "token": caller.token, "address": caller.address, "application": ""}[self.per]

    def told(self):
        return self.kind != "concurrent" and not self.shadow

    def used(self, asked):
        """(at least, at most)"""
        subject = self.subject(asked.caller)
        if self.kind == "concurrent":
            return self.active[subject], self.active[subject]
        surely, perhaps = 0, 0
        for use in self.uses[subject]:
            surely += use.amount if asked.answered - use.sent < self.window - LATE else 0
            perhaps += use.amount if asked.sent - use.answered < self.window * 12 / 11 + LATE else 0
        return surely, perhaps

    def wait(self, asked, most):
        """(at least, at most) until no more than `most` count, where it is known what counts now."""
        uses = [use for use in self.uses[self.subject(asked.caller)]
                if asked.answered - use.sent < self.window - LATE]
        left = sum(use.amount for use in uses)
        for use in uses if left > most else ():
            left -= use.amount
            if left <= most:
                latest = use.answered + self.window * 12 / 11 + LATE - asked.sent
                return use.sent + self.window - LATE - asked.answered, min(self.window, latest)
        return 0, 0

    def use(self, asked, amount):
        if amount > 0:
            self.uses[self.subject(asked.caller)].append(Use(asked.sent, asked.answered, amount))


def is_within(seconds, bounds):
    return math.floor(bounds[0]) <= seconds <= math.ceil(bounds[1])


def draw_quotas(rng):
    kinds = [(per, kind, every) for per in PERS for kind in ("requests", "tokens") for every in WINDOWS]
    kinds += [(per, "concurrent", None) for per in PERS]
    return [Quota(rng, *kind) for kind in rng.sample(kinds, rng.randint(1, 5))]


class Round:
    def __init__(self, node, stub, rng, number, say):
        self.node, self.stub, self.rng, self.say = node, stub, rng, say
        self.app, self.number, self.reloads = f"app-{number}", number, 0
        self.quotas = draw_quotas(rng)
        self.held = []           # (client, asked, task)
        self.lines, self.read = {}, 0
        self.refused = 0

    def config(self):
        self.reloads += 1
        self.probe = f"usertoken--probe-{self.number}-{self.reloads}"
        tokens = [f"{token}-{self.number}" for token in TOKENS] + [self.probe]
        config = settings([self.stub], workers=1)
        config["applications"] = {self.app: {
            "user_tokens": tokens, "instances": [instance(self.stub)], "quotas": [q.entry() for q in self.quotas]}}
        return config

    def reload(self):
        status, answer = self.node.reload(self.config())
        assert status == 200, answer
        wait_for(lambda: self.stop(self.probe) != 401, TIMEOUT)   # the worker has it, too

    def line(self, request_id):
        """Of the access log: with it a request has given back what it held, and its tokens are counted."""
        def found():
            with open(self.node.access_path, encoding="utf-8") as file:
                file.seek(self.read)
                text = file.read()
            whole = text[:text.rfind("\n") + 1]
            self.read += len(whole.encode())
            self.lines.update((line["request_id"], line) for line in map(json.loads, whole.splitlines()))
            return self.lines.get(request_id)
        return wait_for(found, TIMEOUT)

    # ---- what is asked

    def draw_caller(self):
        token = f"{self.rng.choice(TOKENS)}-{self.number}"
        return Caller(self.rng.choice(USERS), token, self.rng.choice(ADDRESSES))

    def stop(self, token):
        head, _ = self.node.request("POST", f"/v1/chat-messages/{uuid.UUID(int=self.rng.getrandbits(128))}/stop",
                                    token=token, json_body={"user": self.rng.choice(USERS[1:])})
        assert head.status != 429 and "ratelimit-limit" not in head.headers
        return head.status

    def get(self):
        caller = self.draw_caller()
        sent = time.monotonic()
        head, body = self.node.request("GET", "/v1/_echo" + (f"?user={caller.user}" if caller.user else ""),
                                       token=caller.token, source=caller.address)
        self.judge(Asked(caller, sent, time.monotonic()), head, body, long=False)

    def run(self, hold=False):
        """A run: a long request, which costs tokens; or one that goes on until end()."""
        caller = self.draw_caller()._replace(user=self.rng.choice(USERS[1:]))
        tokens = 0 if hold else self.rng.choice([0, 0, 1, 7, 20])
        usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens, "total_price": "0",
                 "currency": "USD"}
        inputs = {"stub_usage": usage, **({"stub_events": 100000, "stub_interval": 0.05} if hold else {})}
        client = self.node.client(source=caller.address)
        sent = time.monotonic()
        client.request("POST", "/v1/chat-messages", caller.token, json_body={
            "user": caller.user, "query": "q", "inputs": inputs, "response_mode": "streaming" if hold else "blocking"})
        head = client.head()
        asked = Asked(caller, sent, time.monotonic())
        if hold and head.status == 200:
            task = json.loads(client.chunk()[6:])["task_id"]
            self.judge(asked, head, b"", long=True, held=True)
            self.held.append((client, asked, task, head.headers["x-request-id"]))
            return
        body = client.body(head)
        client.close()
        passed = self.judge(asked, head, body, long=True)
        self.line(head.headers["x-request-id"])
        if passed:
            self.ended(asked, tokens)

    def end(self):
        """Its client leaves, or it is stopped: where tokens count it would be read on (client_gone: finish)."""
        client, asked, task, request_id = self.held.pop(self.rng.randrange(len(self.held)))
        reads_on = any(q.kind == "tokens" for q in self.quotas)
        if reads_on or self.rng.random() < 0.5:
            self.node.request("POST", f"/v1/chat-messages/{task}/stop", token=asked.caller.token,
                              json_body={"user": asked.caller.user})
        else:
            client.close()
        self.line(request_id)
        client.close()
        self.ended(asked, 0)

    def ended(self, asked, tokens):
        now = time.monotonic()
        for q in self.quotas:
            if q.kind == "concurrent":
                q.active[q.subject(asked.caller)] -= 1
            elif q.kind == "tokens":
                q.use(asked._replace(answered=now), tokens)   # some time between

    # ---- what the model says

    def judge(self, asked, head, body, long, held=False):
        """Takes the answer over; does it pass? `held`: its line comes at its end."""
        mine = [q for q in self.quotas if long or q.kind != "concurrent"]
        used = {q: q.used(asked) for q in mine}
        over = {q for q in mine if used[q][1] >= q.limit}       # perhaps
        surely = {q for q in over if used[q][0] >= q.limit}
        passed = head.status != 429
        what = (head.status, body, [(q.entry(), used[q]) for q in mine])
        assert passed or any(not q.shadow for q in over), what
        assert not passed or all(q.shadow for q in surely), what
        if passed:
            for q in mine:
                if q.kind == "concurrent":
                    q.active[q.subject(asked.caller)] += 1
                elif q.kind == "requests":
                    q.use(asked, 1)
        else:
            self.check_refusal(asked, head, body, over, surely)
        self.check_fields(asked, head, passed, mine, used)
        if not held and (not passed or over == surely):
            self.check_log(head, passed, {q.per for q in over if q.shadow or not passed})
        return passed

    def check_refusal(self, asked, head, body, over, surely):
        self.refused += 1
        message = check_error(head, body, 429, "rate_limit_error")["message"]
        named, = [q for q in over if q.message() == message and not q.shadow]
        named.rejected += 1
        wait = int(head.headers["retry-after"])
        if named.kind == "concurrent":
            assert wait == 1
        elif named in surely and named.used(asked)[0] == named.used(asked)[1]:
            assert is_within(wait, named.wait(asked, named.limit - 1)), (wait, named.wait(asked, named.limit - 1))
        assert 1 <= wait <= (named.window or 1)
        # Of several the one that lasts longest: hours are told from days, and from seconds.
        longest = max((q.window or 0) for q in surely if not q.shadow) if surely - {q for q in over if q.shadow} else 0
        assert longest < 3600 or named.window >= longest, (message, longest)

    def check_fields(self, asked, head, passed, mine, used):
        told = [q for q in mine if q.told()]
        fields = [int(head.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining", "reset")] if told else []
        if not told:
            assert not any(name.startswith("ratelimit") for name in head.headers)
        elif all(low == high for low, high in (used[q] for q in told)):
            lefts = [max(0, q.limit - used[q][0] - (passed and q.kind == "requests")) for q in told]
            at = min(range(len(told)), key=lambda i: lefts[i] / told[i].limit)   # of equal ones the first
            q = told[at]
            assert fields[:2] == [q.limit, lefts[at]], (fields, [(q.entry(), used[q]) for q in told])
            count = sum(use.amount for use in q.uses[q.subject(asked.caller)]
                        if asked.answered - use.sent < q.window - LATE)
            if used[q][0] < q.limit:   # else it is when the request would pass
                assert is_within(fields[2], q.wait(asked, count - 1)), (fields, q.wait(asked, count - 1))
            else:
                assert is_within(fields[2], q.wait(asked, q.limit - 1)), (fields, q.wait(asked, q.limit - 1))

    def check_log(self, head, passed, pers):
        if self.rng.random() < 0.3 or not passed:
            word = self.line(head.headers["x-request-id"])["quota"]
            assert word in pers if pers else word is None, (word, pers)

    def check_explain(self):
        caller = self.draw_caller()._replace(user=self.rng.choice(USERS[1:]))
        sent = time.monotonic()
        _, told = self.node.json("GET", f"/admin/explain?app={self.app}&user={caller.user}&address={caller.address}")
        asked = Asked(caller, sent, time.monotonic())
        assert [entry["per"] for entry in told["quotas"]] == [q.per for q in self.quotas]
        for q, entry in zip(self.quotas, told["quotas"]):
            assert (entry[q.kind], entry["shadow"], entry.get("every")) == (q.limit, q.shadow, q.every)
            if q.per == "token":
                assert entry["used"] is None and entry["over"] is None and entry["subject"] is None
                continue
            low, high = q.used(asked)
            assert low <= entry["used"] <= high and entry["over"] == (entry["used"] >= q.limit), (entry, low, high)

    def check_status(self):
        def as_counted():
            told = self.node.status()["applications"][self.app]["quotas"]
            return all(entry["rejected"] >= q.rejected if q.was_shadow else entry["rejected"] == q.rejected
                       for q, entry in zip(self.quotas, told))
        wait_for(as_counted, TIMEOUT)

    # ---- a round

    def step(self):
        drawn = self.rng.random()
        if drawn < 0.45:
            self.get()
        elif drawn < 0.7:
            self.run()
        elif drawn < 0.8:
            if len(self.held) < HELD_MAX:
                self.run(hold=True)
        elif drawn < 0.87:
            if self.held:
                self.end()
        elif drawn < 0.9:
            self.stop(self.draw_caller().token)
        elif drawn < 0.96:
            self.check_explain()
        elif drawn < 0.98:
            for q in self.quotas:
                q.draw(self.rng)
            self.reload()
        elif any(q.window and q.window < 60 for q in self.quotas):
            time.sleep(self.rng.choice([0.1, 1, 2.5]))   # windows slide

    def live(self):
        self.reload()
        try:
            for _ in range(STEPS):
                self.step()
            while self.held:
                self.end()
            self.check_explain()
            self.check_status()
        finally:
            for client, *_ in self.held:
                client.close()
        self.say(f"round {self.number}: {[q.entry() for q in self.quotas]}: {self.refused} refused")
        return self.refused


def live(rounds, seed, say=lambda *words: None):
    with Stub("dify1", tokens=["app-1"], event_interval=0.001) as stub, Node(settings([stub], workers=1)) as node:
        refused = sum(Round(node, stub, random.Random(f"{seed} {number}"), number, say).live()
                      for number in range(1, rounds + 1))
        assert refused > rounds   # the limits were reached
        return refused


def test_one_node_grants_what_the_model_grants():
    live(5, 1)


def main():
    rounds, seed = [*map(int, sys.argv[1:]), *(500, 1)[len(sys.argv) - 1:]][:2]
    began = time.monotonic()
    refused = live(rounds, seed, lambda *words: print(f"{time.monotonic() - began:7.1f} s", *words, flush=True))
    print(f"{rounds} rounds of {STEPS} steps: {refused} refused, all as the model says")


if __name__ == "__main__":
    main()
