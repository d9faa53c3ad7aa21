"""What a run cost, as its answer told it: in the access log, /status, /metrics and /usage (doc/USAGE.md)."""

import csv
import decimal
import json
import random
import socket
import time

import pytest
from cluster import Cluster
from harness import TOKEN, TIMEOUT, Node, parallel, settings
from prometheus import Metrics
from stub_client import Stub, wait_for

VERSIONS = ["1.13.0", "1.16.0"]
USAGE = {"prompt_tokens": 1033, "completion_tokens": 128, "total_tokens": 1161, "total_price": "0.0012890",
         "currency": "USD"}
TOKENS = "prompt_tokens", "completion_tokens", "total_tokens"


@pytest.fixture(scope="module", params=VERSIONS)
def dify(request):
    with Stub("dify1", tokens=["app-1"], event_interval=0.001, version=request.param) as stub:
        stub.version = request.param
        yield stub


def config_of(*stubs, **more):
    one = [{"name": f"dify{n}", "host": stub.host, "port": stub.port, "token": f"app-{n}"}
           for n, stub in enumerate(stubs, 1)]
    return settings(stubs, instances=one, **more)


def run(node, path="/v1/chat-messages", *, stream=False, headers=(), user="u", **inputs):
    """Its answer, and its line in the access log."""
    head, body = node.request("POST", path, token=TOKEN, headers=headers, json_body={
        "user": user, "query": "q", "response_mode": "streaming" if stream else "blocking", "inputs": inputs})
    assert head.status == 200, body
    line, = node.wait_access(request_id=head.headers["x-request-id"])
    return body, line


def tokens_of(line):
    return tuple(line[name] for name in TOKENS)


def head_at(listener, node, path, headers):
    """The head that an instance gets."""
    with node.client() as client:
        client.request("POST", path, TOKEN, headers=headers, json_body={"user": "u"})
        with listener.accept()[0] as instance:
            return instance.recv(65536).partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat-messages", "/v1/completion-messages"])
def test_a_message_tells_both_kinds(dify, path, stream):
    with Node(config_of(dify)) as node:
        assert tokens_of(run(node, path, stream=stream, stub_usage=USAGE)[1]) == (1033, 128, 1161)
        assert tokens_of(run(node, path, stream=stream, stub_ping_after=True)[1]) == (12, 8, 20)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/workflows/run", "/v1/workflows/5f1c/run"])
def test_a_workflow_tells_all_tokens_alone(dify, path, stream):
    with Node(config_of(dify)) as node:
        assert tokens_of(run(node, path, stream=stream, stub_usage=USAGE)[1]) == (None, None, 1161)


def test_a_chatflow_counts_once(dify):
    with Node(config_of(dify)) as node:
        line = run(node, stream=True, stub_mode="chatflow", stub_usage=USAGE)[1]
        assert tokens_of(line) == ((None, None, 1161) if dify.version == "1.13.0" else (1033, 128, 1161))


def test_what_was_stopped_tells_noughts_and_what_failed_nothing(dify):
    with Node(config_of(dify)) as node:
        assert tokens_of(run(node, stream=True, stub_error="no")[1]) == (None, None, None)
        with node.client() as client:
            client.request("POST", "/v1/chat-messages", TOKEN, headers=[("X-Request-ID", "stopped")], json_body={
                "user": "u", "query": "q", "response_mode": "streaming",
                "inputs": {"stub_events": 2, "stub_interval": 0.5}}).head()
            task = json.loads(client.chunk()[6:])["task_id"]
            node.request("POST", f"/v1/chat-messages/{task}/stop", token=TOKEN, json_body={"user": "u"})
            line, = node.wait_access(request_id="stopped")
        assert tokens_of(line) == (0, 0, 0)


def test_other_routes_tell_nothing(dify):
    with Node(config_of(dify)) as node:
        run_id = json.loads(run(node, "/v1/workflows/run")[0])["workflow_run_id"]
        for target in (f"/v1/workflows/run/{run_id}", f"/v1/workflow/{run_id}/events?user=u"):
            head, body = node.request("GET", target, token=TOKEN)
            assert head.status == 200 and b"total_tokens" in body
            line, = node.wait_access(request_id=head.headers["x-request-id"])
            assert tokens_of(line) == (None, None, None)


def test_a_run_is_asked_for_without_compression(dify):
    sent = [("Accept-Encoding", "gzip"), ("accept-encoding", "br")]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = {"name": "dify1", "host": "127.0.0.1", "port": listener.getsockname()[1], "token": "app-1"}
        with Node(settings([], instances=[one])) as node:
            for path in "/v1/chat-messages", "/v1/./completion%2Dmessages", "/v1/workflows/run", "/v1/workflows/w/run":
                assert b"encoding" not in head_at(listener, node, path, sent).lower()
            assert head_at(listener, node, "/v1/workflows/tasks/t/stop", sent).lower().count(b"accept-encoding: ") == 2


def test_an_answer_that_is_encoded_all_the_same_is_not_read(dify):
    answer = {"code": 200, "content_type": "application/json", "body": json.dumps({"metadata": {"usage": USAGE}})}
    with Node(config_of(dify)) as node:
        dify.fault("status", match="chat-messages", **answer)
        assert tokens_of(run(node)[1]) == (1033, 128, 1161)
        dify.fault("status", match="chat-messages", encoding="gzip", **answer)
        assert tokens_of(run(node)[1]) == (None, None, None)
        dify.fault("status", match="chat-messages", encoding="Identity", **answer)   # as good as none
        assert tokens_of(run(node)[1]) == (1033, 128, 1161)


# ---- totals

class Told:
    """What answers told, added up by instance."""

    def __init__(self):
        self.tokens, self.prices = {}, {}

    def add(self, instance, usage, split=True):
        tokens = [usage[name] for name in TOKENS] if split else [0, 0, usage["total_tokens"]]
        before = self.tokens.get(instance, [0, 0, 0])
        self.tokens[instance] = [a + b for a, b in zip(before, tokens)]
        if split:
            prices = self.prices.setdefault(instance, {})
            prices[usage["currency"]] = prices.get(usage["currency"], 0) + decimal.Decimal(usage["total_price"])

    def check(self, status):
        """Is it all in /status, and nothing more?"""
        app = status["applications"]["one"]
        nothing = {**dict.fromkeys(TOKENS, 0), "price": {}}
        told = {name: each.get("usage", nothing) for name, each in app["instances"].items()}
        for name, usage in told.items():
            assert [usage[kind] for kind in TOKENS] == self.tokens.get(name, [0, 0, 0])
            assert {c: decimal.Decimal(p) for c, p in usage["price"].items()} == self.prices.get(name, {})
        assert [app["usage"][kind] for kind in TOKENS] == [sum(column) for column in zip([0, 0, 0], *self.tokens.values())]


def some_usage(rng):
    prompt, completion = rng.randrange(5000), rng.randrange(900)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
            "total_price": str(decimal.Decimal(rng.randrange(10 ** rng.randrange(1, 7))) / 10 ** 7),
            "currency": rng.choice(["USD", "RMB"])}


def some_run(node, rng, told):
    """A run at random, and what it told put down. Some clients leave, some instances answer 502 first."""
    path = rng.choice(["/v1/chat-messages", "/v1/completion-messages", "/v1/workflows/run"])
    usage, stream, chatflow = some_usage(rng), rng.random() < 0.6, path == "/v1/chat-messages" and rng.random() < 0.3
    inputs = {"stub_usage": usage, "stub_events": 3, **({"stub_mode": "chatflow"} if chatflow else {})}
    with node.client() as client:
        leaves = stream and rng.random() < 0.15
        if leaves:
            inputs["stub_interval"] = 0.2
        client.request("POST", path, TOKEN, json_body={
            "user": f"u{rng.randrange(9)}", "query": "q", "inputs": inputs,
            "response_mode": "streaming" if stream else "blocking"})
        head = client.head()
        ident = head.headers["x-request-id"]
        if leaves and head.status == 200:
            client.chunk()   # it has begun, and tells nothing more to anybody
        else:
            client.body(head)
    line, = node.wait_access(request_id=ident)
    if not leaves and line["status"] == 200:
        told.add(line["instance"], usage, split=path != "/v1/workflows/run")


@pytest.fixture(scope="module")
def pair():
    with Stub("dify1", tokens=["app-1"], event_interval=0.001) as one, \
            Stub("dify2", tokens=["app-2"], event_interval=0.001) as two:
        yield one, two


def test_sums_are_what_the_answers_told(pair):
    rng, told = random.Random(1), Told()
    with Node(config_of(*pair)) as node:
        for number in range(150):
            if number % 25 == 0:
                rng.choice(pair).fault("reset_before_head", match="/v1/")   # no POST is sent twice: 502
            some_run(node, rng, told)
        for stub in pair:
            stub.clear()   # what nobody met is not for the next test
        told.check(node.status())
        metrics = Metrics(node.request("GET", "/metrics")[1].decode())
        for name, tokens in told.tokens.items():
            kinds = {kind: metrics.get("difyring_usage_tokens_total", app="one", dify_instance=name, kind=kind)
                     for kind in ("prompt", "completion", "unsplit")}
            assert kinds["prompt"] == tokens[0] and kinds["completion"] == tokens[1] and sum(kinds.values()) == tokens[2]
        for currency in "USD", "RMB":
            price = sum(prices.get(currency, 0) for prices in told.prices.values())
            assert metrics.get("difyring_usage_price_total", app="one", currency=currency) == float(price)



def test_totals_are_the_clusters_and_outlive_kills(pair):
    rng, told = random.Random(2), Told()
    with Cluster(config_of(*pair), 3) as cluster:
        cluster.settle()
        names = list(cluster.names)
        for _ in range(3):
            for name in names:
                for _ in range(10):
                    some_run(cluster[name], rng, told)
            wait_for(lambda: all_told(cluster, told), timeout=10)
            victim = rng.choice(names)
            cluster.kill(victim)   # all that it counted has been told: nothing is missing
            for name in names:
                if name != victim:
                    some_run(cluster[name], rng, told)
            cluster.start(victim)
            wait_for(lambda: all_told(cluster, told), timeout=20)


def all_told(cluster, told):
    try:
        for status in cluster.statuses():
            told.check(status)
    except AssertionError:
        return False
    return True


def test_a_reload_keeps_what_was_counted(pair):
    told, rng = Told(), random.Random(3)
    with Node(config_of(*pair)) as node:
        for _ in range(10):
            some_run(node, rng, told)
        assert node.reload(config_of(pair[0]))[0] == 200
        app = node.status()["applications"]["one"]   # also what the instance cost that has left
        assert app["usage"]["total_tokens"] == sum(tokens[2] for tokens in told.tokens.values())
        assert node.reload(config_of(*pair))[0] == 200
        told.check(node.status())


# ---- /usage

HEADER = "day,application,instance,requests,prompt_tokens,completion_tokens,total_tokens,price,currency"


def usage_rows(node, query="", **more):
    head, body = node.request("GET", f"/usage{query}", **more)
    assert head.status == 200 and head.headers["content-type"] == "text/csv; charset=utf-8"
    lines = body.decode().split("\n")   # as Unix tools want them
    assert lines[0] == HEADER and lines[-1] == ""
    return list(csv.DictReader(lines[:-1]))


def check_rows(rows, told, requests):
    """The rows of today are what the answers told."""
    assert sum(int(row["requests"]) for row in rows) == requests
    for name in {row["instance"] for row in rows}:
        of_it = [row for row in rows if row["instance"] == name]
        assert [sum(int(row[kind]) for row in of_it) for kind in TOKENS] == told.tokens.get(name, [0, 0, 0])
        prices = {row["currency"]: decimal.Decimal(row["price"]) for row in of_it if row["currency"]}
        assert prices == told.prices.get(name, {})


def today():
    return time.strftime("%Y-%m-%d", time.gmtime())


def test_usage_by_days_is_csv(pair):
    rng, told = random.Random(4), Told()
    with Node(config_of(*pair)) as node:
        assert usage_rows(node) == []
        for _ in range(20):
            some_run(node, rng, told)
        node.request("GET", "/v1/parameters", token=TOKEN)   # costs nothing, and is a request
        rows = usage_rows(node)   # of now: what has just been answered is there
        assert {(row["day"], row["application"]) for row in rows} == {(today(), "one")}
        check_rows(rows, told, 21)
        assert usage_rows(node, f"?from={today()}&to={today()}") == rows
        assert usage_rows(node, "?from=2020-01-01") == rows and usage_rows(node, "?to=2099-12-31") == rows
        assert usage_rows(node, "?to=2020-01-01") == [] and usage_rows(node, "?from=2099-01-01") == []
        with node.client() as client:
            assert client.request("HEAD", "/usage").head().status == 200


@pytest.mark.parametrize("query, says", [
    ("from=2026-02-30", "from is no day"), ("to=yesterday", "to is no day"), ("from=", "from is no day"),
    ("from=2026-11-30&to=2026-11-29", "from is after to"), ("from=2026-11-01&from=2026-11-02", "from is given twice"),
    ("to=2026-11-01&to=2026-11-01", "to is given twice"), ("day=2026-11-30", "takes from and to")])
def test_what_is_no_day_is_named(pair, query, says):
    with Node(config_of(*pair)) as node:
        head, error = node.json("GET", f"/usage?{query}")
        assert head.status == 400 and error["code"] == "invalid_param" and says in error["message"]


def test_who_may_look_may_ask(pair):
    admin = {"allow": ["127.0.0.1"], "view_token": "only-looks"}
    with Node(config_of(*pair, admin=admin)) as node:
        assert node.request("GET", "/usage", source="127.0.0.2")[0].status == 403
        assert usage_rows(node, token="only-looks", source="127.0.0.2") == []
        assert node.request("POST", "/usage")[0].status == 405


def test_days_outlive_a_restart_and_a_kill(pair, tmp_path):
    rng, told = random.Random(5), Told()
    config = config_of(*pair, node={"name": "node-a", "state_dir": str(tmp_path)})
    for number in range(4):
        node = Node(config)
        try:
            check_rows(usage_rows(node), told, 10 * number)
            for _ in range(10):
                some_run(node, rng, told)
            check_rows(usage_rows(node), told, 10 * number + 10)
            if number % 2 == 0:   # the first life, too
                wait_for(lambda: settled(tmp_path), TIMEOUT)
                node.process.kill()
                node.process.wait()
            else:
                node.stop()
        finally:
            node.destroy()


def settled(folder):
    """Nothing has been counted that is not in the file of the counters: it is written within 0.2 s, as the first of days is.
    Either file may be the first one to be there."""
    usage, state = folder / "usage", folder / "state"
    return usage.exists() and state.exists() and time.time() - state.stat().st_mtime > 0.5


def test_any_node_tells_the_days_of_all_and_a_newcomer_no_more_than_its_own(pair):
    rng, told = random.Random(6), Told()
    with Cluster(config_of(*pair), 3, start=["node-a", "node-b"]) as cluster:
        for number in range(20):
            some_run(cluster[("node-a", "node-b")[number % 2]], rng, told)
        for name in "node-a", "node-b":
            wait_for(lambda name=name: agrees(cluster[name], told, 20), timeout=5)
        cluster.start("node-c")
        cluster.settle()
        assert usage_rows(cluster["node-c"]) == []   # of before it came
        since = Told()
        some_run(cluster["node-c"], rng, since)
        wait_for(lambda: agrees(cluster["node-c"], since, 1), timeout=5)


def agrees(node, told, requests):
    try:
        check_rows(usage_rows(node), told, requests)
        return True
    except AssertionError:
        return False


@pytest.mark.parametrize("path, mode", [("/v1/chat-messages", {}), ("/v1/chat-messages", {"stub_mode": "chatflow"}),
                                        ("/v1/workflows/run", {})])
def test_a_run_that_is_read_to_its_end_without_its_client_counts(pair, path, mode):
    told = Told()
    with Node(config_of(*pair, application={"client_gone": "finish"})) as node:
        with node.client() as client:
            client.request("POST", path, TOKEN, headers=[("X-Request-ID", "left")], json_body={
                "user": "u", "query": "q", "response_mode": "streaming",
                "inputs": {"stub_events": 3, "stub_interval": 0.2, "stub_usage": USAGE, **mode}})
            assert client.head().status == 200, node.access()
            client.chunk()
        line, = node.wait_access(request_id="left")
        told.add(line["instance"], USAGE, split=path != "/v1/workflows/run")
        assert line["termination"] == "client_left" and line["total_tokens"] == 1161
        told.check(node.status())
