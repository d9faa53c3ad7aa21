"""What an operator does to a running node: reload, drain, read its logs."""

import base64
import json
import signal
import threading
from urllib.parse import quote

import pytest

from harness import BUILD, PATIENCE, TIMEOUT, TOKEN, Node, instance, settings
from stopwatch import Stopwatch
from stub_client import wait_for

STREAM = "/v1/_sse?events=20&interval=0.05&user=u1"


class Stream:
    """A client that reads a stream of events on a thread of its own."""

    def __init__(self, node, target=STREAM):
        self.client = node.client()
        self.body, self.error = None, None
        self.client.request("GET", target, TOKEN)
        self.head = self.client.head()
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        try:
            chunks = iter(self.client.chunk, b"")
            self.body = b"".join(chunks)
        except (OSError, EOFError, ValueError) as error:
            self.error = error

    def whole(self):
        self.thread.join(TIMEOUT)
        assert self.error is None, self.error
        return self.body.count(b"data: ")


@pytest.mark.threads
def test_an_open_stream_finishes_under_the_configuration_it_began_with(stubs):
    with Node(settings(stubs[:1])) as node:
        stream = Stream(node)
        status, answer = node.reload(settings(stubs[1:2]))
        assert (status, answer["status"], answer["config_revision"]) == (200, "success", 2)
        assert node.echo("/v1/_echo?user=u1")["instance"] == "dify2"
        assert stream.whole() == 20
        assert set(node.instances()) == {"dify2"}


@pytest.mark.threads
def test_counters_live_on_over_a_reload(stubs):
    with Node(settings(stubs)) as node:
        for i in range(30):
            node.echo(f"/v1/_echo?user=u{i}")
        before = node.status()
        assert before["stats"]["total_requests"] == 30
        node.signal(signal.SIGHUP)
        wait_for(lambda: node.status()["node"]["config_revision"] == 2, TIMEOUT)
        after = node.status()
        assert after["stats"]["total_requests"] == 30
        assert {n: i["requests"] for n, i in after["applications"]["one"]["instances"].items()} == \
            {n: i["requests"] for n, i in before["applications"]["one"]["instances"].items()}
        assert after["node"]["config_digest"] == before["node"]["config_digest"]


@pytest.mark.smoke
def test_a_bad_file_changes_nothing_and_says_where_it_is_wrong(stubs):
    with Node(settings(stubs[:1])) as node:
        status, answer = node.reload("listen:\n  - address: 127.0.0.1:0\napplications: 7\nnonsense: 1\n")
        assert (status, answer["status"]) == (400, "error")
        assert {(e["line"], e["column"]) for e in answer["errors"]} >= {(3, 15), (4, 1)}
        assert all(e["file"] == node.conf_path and e["message"] for e in answer["errors"])
        assert node.status()["node"]["config_revision"] == 1
        assert node.echo("/v1/_echo?user=u")["instance"] == "dify1"


def test_a_hundred_reloads_under_load_fail_nobody(stubs):
    with Node(settings(stubs)) as node:
        stop, failures, served = threading.Event(), [], [0]

        def ask(number):
            with node.client() as client:
                while not stop.is_set():
                    user = f"user-{number}-{served[0]}"
                    head, value = client.json("POST", "/v1/_echo", TOKEN, json_body={"user": user})
                    served[0] += 1
                    if head.status != 200 or value["user"] != user:
                        failures.append((head.status, value))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(100 if BUILD == "release" else 10):
            names = stubs if turn % 2 else stubs[:2]
            assert node.reload(settings(names))[0] == 200
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT)
        assert not failures, failures[:3]
        assert served[0] > 0


@pytest.mark.threads
def test_sigterm_lets_a_stream_end_and_says_draining_meanwhile(stubs):
    with Node(settings(stubs[:1])) as node:
        stream = Stream(node)
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=2&interval=60&user=u", TOKEN).head()   # the node is there till we leave
            node.signal(signal.SIGTERM)
            _, body = wait_for(lambda: (lambda a: a if a[0].status == 503 else None)(node.request("GET", "/health")),
                               TIMEOUT)
            assert body.strip() == b"draining"
            assert stream.whole() == 20
        assert node.wait() == 0
        for name in ("draining", "stopped"):   # and says who wanted it
            assert [event["asked_by"] for event in node.events(name)] == ["SIGTERM"], name


@pytest.mark.slow
@pytest.mark.threads
def test_who_has_connected_to_a_node_that_stops_gets_an_answer(stubs):
    """New connections all the time, two workers: each is refused clearly, or answered."""
    ask = (f"GET /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
           "Connection: close\r\n\r\n").encode()
    answers = []

    def connect_until_refused(node):
        while True:
            try:
                client = node.client()
            except OSError:
                return
            with client:
                try:
                    answers.append(client.send(ask).head().status)
                except (OSError, EOFError) as error:
                    answers.append(repr(error))

    for _ in range(5):
        with Node(settings(stubs)) as node:
            count = len(answers)
            threads = [threading.Thread(target=connect_until_refused, args=(node,)) for _ in range(16)]
            for thread in threads:
                thread.start()
            wait_for(lambda: len(answers) > count + 200, TIMEOUT)
            node.signal(signal.SIGTERM)
            for thread in threads:
                thread.join(TIMEOUT)
            assert node.wait() == 0
    assert set(answers) == {200}, [answer for answer in answers if answer != 200]


def test_a_second_sigterm_ends_at_once(stubs):
    node = Node(settings(stubs[:1]))
    try:
        stream = Stream(node, "/v1/_sse?events=10000&interval=0.05&user=u1")
        node.signal(signal.SIGTERM)
        wait_for(lambda: node.events("draining"), TIMEOUT)
        watch = Stopwatch()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert watch.fair_seconds() < 2 * PATIENCE
        stream.thread.join(TIMEOUT)
        assert stream.error is not None   # cut, and visibly so
    finally:
        node.destroy()


def test_the_drain_deadline_ends_what_goes_on_for_ever(stubs):
    with Node(settings(stubs[:1], timeouts={"drain": "300ms"})) as node:
        stream = Stream(node, "/v1/_sse?events=10000&interval=0.05&user=u1")
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        stream.thread.join(TIMEOUT)
        assert stream.error is not None
        assert node.events("drain_timed_out")[0]["exchanges_cut"] == 1


@pytest.mark.smoke
def test_no_token_is_ever_told(stubs):
    secrets = [TOKEN, "app-one", "the-admin-token"]
    config = settings(stubs, instances=[instance(s) for s in stubs], admin={"token": "the-admin-token"})
    with Node(config) as node:
        for secret in secrets:
            node.request("GET", f"/v1/_echo?user={secret}&key={secret}", token=TOKEN,
                         headers=[("User-Agent", f"a {secret}"), ("X-Forwarded-For", secret),
                                  ("X-Request-ID", secret)])
            node.request("GET", f"/v1/{secret}", token=secret)
            node.request("GET", f"/{secret}", token=secret)
            node.request("GET", "/status", token=secret)
        node.wait_access(count=4 * len(secrets))
        told = node.outputs() + json.dumps(node.status())
        assert not [secret for secret in secrets if secret in told]
        assert "***" in node.outputs()


def test_no_secret_is_told_however_it_is_written_and_after_it_was_replaced(stubs):
    key = base64.b64encode(bytes(range(32))).decode()
    old, new = "sk/live+old==", "sk/live+new=="
    cluster = {"name": "e2e", "keys": [key], "bind": "127.0.0.1:0"}
    with Node(settings(stubs[:1], application={"user_tokens": [TOKEN, old]}, cluster=cluster)) as node:
        status, _ = node.reload(settings(stubs[:1], application={"user_tokens": [TOKEN, new]}, cluster=cluster))
        assert status == 200
        secrets = [old, new, key]
        targets = []
        for secret in secrets:
            for written in (secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe=""),
                            "".join(f"%{ord(c):02x}" for c in secret)):
                targets += [f"/v1/x?foo={written}&user=u", f"/v1/x/{written}/y"]
        for target in targets:
            node.request("GET", target, token=TOKEN)
        uris = [line["uri"] for line in node.wait_access(count=len(targets), app="one")]
        assert sorted(uris) == sorted(["/v1/x?foo=***&user=u", "/v1/x/***/y"] * (len(targets) // 2))
        assert not [secret for secret in secrets if secret in node.outputs()]


def test_only_who_may_sees_the_status(stubs):
    config = settings(stubs[:1], admin={"allow": ["127.0.0.1/32"], "token": "let-me-in"})
    with Node(config) as node:
        assert node.request("GET", "/status")[0].status == 200
        assert node.request("GET", "/status", source="127.0.0.2")[0].status == 403
        assert node.request("GET", "/status", source="127.0.0.2", token="let-me-in")[0].status == 200
        assert node.request("GET", "/status", source="127.0.0.2", token="let-me-on")[0].status == 403
        assert node.request("POST", "/reload-config", source="127.0.0.2")[0].status == 403
        assert node.request("GET", "/health", source="127.0.0.2")[0].status == 200
        assert node.request("DELETE", "/health")[0].status == 405
        assert node.request("GET", "/nowhere")[0].status == 404


def test_failures_eject_and_one_trial_brings_back(stubs):
    instances = [instance(s, max_fails=2, fail_timeout="1s") for s in stubs]
    with Node(settings(stubs, instances=instances)) as node:
        user = next(f"u{i}" for i in range(100) if node.echo(f"/v1/_echo?user=u{i}")["instance"] == "dify2")
        stubs[1].fault("status", code=503, count=None, match="/v1/_echo")
        for _ in range(2):
            assert node.request("POST", f"/v1/_echo?user={user}", token=TOKEN)[0].status == 503
        node.wait_instance("dify2", status="ejected", eligible=False)
        elsewhere = {node.echo(f"/v1/_echo?user={user}")["instance"] for _ in range(5)}
        assert len(elsewhere) == 1 and "dify2" not in elsewhere
        stubs[1].clear()
        wait_for(lambda: node.echo(f"/v1/_echo?user={user}")["instance"] == "dify2", TIMEOUT)   # the trial
        node.wait_instance("dify2", status="unknown", eligible=True)


def test_checks_take_an_instance_out_and_back(stubs):
    checks = {"interval": "50ms", "timeout": "500ms", "healthy_threshold": 2, "unhealthy_threshold": 2}
    with Node(settings(stubs, health_check=checks)) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
        digest = node.status()["node"]["ring_digest"]
        stubs[0].refuse()
        node.wait_instance("dify1", status="unhealthy", eligible=False, ring_share=0)
        assert node.status()["node"]["ring_digest"] != digest
        assert {node.echo(f"/v1/_echo?user=u{i}")["instance"] for i in range(40)} == {"dify2", "dify3"}
        stubs[0].refuse(False)
        node.wait_instance("dify1", status="healthy", eligible=True)
        assert node.status()["node"]["ring_digest"] == digest


def test_a_port_that_is_taken_is_named(stubs):
    with Node(settings(stubs[:1])) as first:
        config = settings(stubs[:1], listen=[{"address": f"127.0.0.1:{first.port}"}])
        second = Node(config, wait=False)
        try:
            assert second.wait() == 1
            assert f"cannot listen on 127.0.0.1:{first.port}" in second.stderr()
        finally:
            second.destroy()
