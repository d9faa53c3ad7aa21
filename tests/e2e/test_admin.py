"""What a node answers itself, and its signals."""

import hashlib
import json
import os
import re
import signal
import time

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, observe, parallel, ring_points, settings
from stub_client import wait_for

ADMIN_TOKEN = "admin-secret-4711"


# ---- /health and /status

@pytest.mark.smoke
def test_health(stubs):
    with Node(settings(stubs, admin={"allow": []})) as node:
        head, body = node.request("GET", "/health")
        assert (head.status, body.strip()) == (200, b"healthy")
        assert node.request("GET", "/health?x=1")[0].status == 200
        assert node.request("POST", "/health", body=b"x")[0].status == 405
        with node.client() as client:
            head = client.request("HEAD", "/health").head()
            assert head.status == 200
            assert client.request("GET", "/health").response()[0].status == 200


def test_status_has_the_shape_of_the_contract(stubs):
    with Node(settings(stubs)) as node:
        began = time.time()
        value = node.status()
        assert set(value) >= {"status", "architecture", "algorithm", "stats", "timestamp", "problems", "node", "cluster", "applications"}
        assert value["status"] == "running" and value["architecture"] == os.uname().machine
        assert value["algorithm"] == "consistent_hash"
        assert set(value["stats"]) == {"total_requests", "active_connections"}
        assert abs(value["timestamp"] - began) < 5
        own = value["node"]
        assert set(own) == {"name", "version", "uptime_seconds", "generation", "workers", "certificates", "draining", "config_revision",
                            "config_digest", "ring_digest", "total_requests", "active_connections"}
        assert (own["name"], own["workers"], own["draining"], own["config_revision"]) == ("node-a", 2, False, 1)
        assert all(re.fullmatch(r"[0-9a-f]{64}", own[name]) for name in ("config_digest", "ring_digest"))
        cluster = value["cluster"]
        assert (cluster["size"], cluster["alive"], cluster["converged"]) == (1, 1, True)
        assert [member["name"] for member in cluster["nodes"]] == ["node-a"]
        assert cluster["nodes"][0]["state"] == "alive"
        assert (cluster["nodes"][0]["version"], cluster["nodes"][0]["key"]) == (own["version"], None)
        app = value["applications"]["one"]
        assert set(app) == {"algorithm", "total_requests", "errors", "active_requests", "latency_ms", "usage",
                            "quotas", "instances"}
        assert app["quotas"] == []
        assert app["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "price": {}}
        assert set(app["latency_ms"]) == {"p50", "p95", "p99"}
        assert list(app["instances"]) == ["dify1", "dify2", "dify3"]
        for stub in stubs:
            found = app["instances"][stub.name]
            assert list(found) == ["host", "port", "weight", "status", "eligible", "requests", "failures",
                                   "active_requests", "ring_share", "max_in_flight", "slots_used", "queued", "since",
                                   "reason", "last_check", "last_minute", "votes"]
            assert found["reason"] == {"kind": "new", "text": "no check and no request has said anything yet",
                                       "node": None}
            assert found["last_check"] is None and abs(found["since"] - began) < 5 * PATIENCE
            assert found["last_minute"] == {"requests": 0, "failures": 0, "p95_ms": 0}
            assert (found["host"], found["port"], found["weight"]) == (stub.host, stub.port, 1)
        assert abs(sum(found["ring_share"] for found in app["instances"].values()) - 1) < 0.001


def test_ring_digest_is_what_the_contract_says(stubs):
    with Node(settings(stubs)) as node:
        text = b"one\n" + b"".join(point.to_bytes(8, "big") + name.encode() + b"\n"
                                   for point, name in ring_points({stub.name: 1 for stub in stubs}))
        assert node.status()["node"]["ring_digest"] == hashlib.sha256(text).hexdigest()


@pytest.mark.threads
def test_status_counts_what_was_sent(stubs):
    with Node(settings(stubs)) as node:
        def some(part):
            with node.client() as client:
                for i in range(50):
                    client.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"u{part}-{i}"})
        parallel([lambda part=part: some(part) for part in range(6)])
        stubs[0].fault("status", code=503, count=None, match="/_echo")
        for i in range(30):
            node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"v{i}"})
        failed = len([r for r in stubs[0].requests(path="/_echo") if r["fault"]])
        assert failed > 0
        node.request("POST", "/v1/_echo", token="wrong", json_body={"user": "x"})
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=2&interval=60&user=u", TOKEN).head()
            value = node.status()
            app = value["applications"]["one"]
            assert (app["total_requests"], value["stats"]["total_requests"]) == (331, 331)
            assert (app["errors"], app["active_requests"]) == (failed, 1)
            assert sum(found["active_requests"] for found in app["instances"].values()) == 1
            assert value["stats"]["active_connections"] == 2   # the stream's and the one that asks
            for stub in stubs:
                assert app["instances"][stub.name]["requests"] == len(stub.requests())
            assert app["instances"]["dify1"]["failures"] == failed
        wait_for(lambda: node.status()["applications"]["one"]["active_requests"] == 0, TIMEOUT)


def test_latency_is_that_of_the_response_head(stubs):
    with Node(settings(stubs[:1])) as node:
        for _ in range(3):
            node.request("POST", "/v1/chat-messages", token=TOKEN,
                         json_body={"user": "u", "query": "x", "inputs": {"stub_delay": 0.2}})
        latency = node.status()["applications"]["one"]["latency_ms"]
        assert 180 <= latency["p50"] <= latency["p95"] <= latency["p99"] < 2000


# ---- who may ask

def test_local_endpoints_are_for_admins(stubs):
    config = settings(stubs, admin={"allow": ["127.0.0.2/31", "::1/128"], "token": ADMIN_TOKEN})
    with Node(config) as node:
        for path in ("/status", "/reload-config"):
            head, body = node.request("GET", path, source="127.0.0.9")
            check_error(head, body, 403, "forbidden")
            assert node.request("GET", path, source="127.0.0.3")[0].status == 200
            assert node.request("GET", path, source="127.0.0.4")[0].status == 403
            assert node.request("GET", path, token=ADMIN_TOKEN, source="127.0.0.9")[0].status == 200
            for wrong in (TOKEN, ADMIN_TOKEN + "x", ADMIN_TOKEN[:-1], ""):
                headers = [("Authorization", f"Bearer {wrong}")]
                assert node.request("GET", path, headers=headers, source="127.0.0.9")[0].status == 403
            lie = [("X-Forwarded-For", "127.0.0.2"), ("X-Real-IP", "127.0.0.2")]
            assert node.request("GET", path, headers=lie, source="127.0.0.9")[0].status == 403
        assert node.request("GET", "/health", source="127.0.0.9")[0].status == 200
        assert node.request("GET", "/v1/_echo", token=ADMIN_TOKEN)[0].status == 401   # it opens no application


def test_without_an_admin_token_an_empty_one_opens_nothing(stubs):
    with Node(settings(stubs, admin={"allow": []})) as node:
        for headers in ([], [("Authorization", "Bearer ")], [("Authorization", "Bearer")], [("Authorization", "")]):
            assert node.request("GET", "/status", headers=headers)[0].status == 403


ACTS = [("POST", "/admin/drain"), ("POST", "/admin/enable"), ("POST", "/admin/instances/one/dify1/drain"),
        ("POST", "/admin/instances/one/dify1/enable"), ("POST", "/reload-config"), ("GET", "/reload-config")]
FOREIGN = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Site", "same-site"), ("Origin", "http://evil.example"),
           ("Origin", "null"), ("Origin", "http://127.0.0.1:1"), ("Origin", "http://stub.evil.example"),
           ("Origin", "http://evil.example/://stub")]


@pytest.mark.smoke
def test_a_foreign_page_in_an_admins_browser_changes_nothing(stubs):
    with Node(settings(stubs, admin={"token": ADMIN_TOKEN})) as node:
        for method, path in ACTS:
            for field in FOREIGN:
                with node.client() as client:
                    assert client.request(method, path, ADMIN_TOKEN, [field]).head().status == 403, (method, path, field)
        status = node.status()
        assert not status["node"]["draining"] and status["node"]["config_revision"] == 1
        assert node.instances()["dify1"]["status"] != "draining"
        for method, path in ACTS:
            for fields in ([("Origin", "http://Stub")], [("Sec-Fetch-Site", "none")],   # Client says Host: stub
                           [("Origin", "http://stub"), ("Sec-Fetch-Site", "same-origin")]):
                with node.client() as client:
                    assert client.request(method, path, None, fields).head().status == 200, (method, path, fields)
        for path in ("/dashboard", "/dashboard/data", "/status", "/metrics"):   # a link from elsewhere may lead there
            assert node.request("GET", path, headers=[FOREIGN[0]])[0].status == 200


def test_methods_are_named_and_only_to_those_who_may_ask(stubs):
    with Node(settings(stubs, admin={"allow": ["127.0.0.2/32"]})) as node:
        for method, path, allow in [("HEAD", "/reload-config", "GET, POST"), ("PUT", "/status", "GET, HEAD"),
                                    ("GET", "/admin/drain", "POST")]:
            with node.client(source="127.0.0.2") as client:
                head = client.request(method, path).head()
                assert (head.status, head.headers["allow"]) == (405, allow)
            with node.client() as client:
                assert client.request(method, path).head().status == 403
        assert node.request("POST", "/admin/nothing", source="127.0.0.2")[0].status == 404
        assert node.request("POST", "/admin/nothing")[0].status == 403
        assert node.request("GET", "/nothing")[0].status == 404


# ---- reload

def ask_to_reload(node, way):
    """Reloads what is in the file and waits until it is in force."""
    revision = node.instances() and node.status()["node"]["config_revision"]
    if way == "HUP":
        node.signal(signal.SIGHUP)
    else:
        head, value = node.json(way, "/reload-config")
        assert head.status == 200
        assert (value["status"], value["message"], value["config_revision"]) == ("success", "Configuration reloaded", revision + 1)
    wait_for(lambda: node.status()["node"]["config_revision"] == revision + 1, TIMEOUT)


@pytest.mark.threads
@pytest.mark.parametrize("way", ["GET", "POST", "HUP"])
def test_reload_swaps_under_open_streams(stubs, way):
    with Node(settings(stubs[:1])) as node, node.client() as client, node.client() as kept:
        client.request("GET", "/v1/_sse?events=60&interval=0.02&user=u", TOKEN).head()
        client.chunk()
        assert kept.json("GET", "/v1/_echo?user=u", TOKEN)[1]["instance"] == "dify1"
        digests = [node.status()["node"][name] for name in ("config_digest", "ring_digest")]
        changed = settings(stubs[1:2])
        changed["applications"]["one"]["user_tokens"] = ["usertoken--new"]
        node.write(changed)
        ask_to_reload(node, way)
        assert kept.json("GET", "/v1/_echo?user=u", "usertoken--new")[1]["instance"] == "dify2"
        assert kept.request("GET", "/v1/_echo?user=u", TOKEN).response()[0].status == 401
        assert len(client.chunks()) == 59   # to its end, from the instance that is gone from the file
        found = [node.status()["node"][name] for name in ("config_digest", "ring_digest")]
        assert found[0] != digests[0] and found[1] != digests[1]
    assert stubs[0].requests(path="_sse")[0]["finished"]


@pytest.mark.threads
def test_no_request_fails_while_reloads_go_on(stubs):
    both = [settings(stubs), settings(stubs[:2], debug_headers=True)]
    with Node(both[0]) as node:
        ended = []

        def requests():
            with node.client() as client:
                sent = 0
                while not ended:
                    head, _ = client.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"u{sent}"})
                    assert head.status == 200
                    sent += 1
                return sent

        def reloads():
            try:
                for turn in range(20):
                    assert node.reload(both[turn % 2 == 0])[0] == 200
            finally:
                ended.append(True)
        results = parallel([requests, requests, requests, reloads])
        assert node.status()["stats"]["total_requests"] == sum(results[:3])


def test_counters_and_ejections_live_on(stubs):
    instances = [instance(stub, max_fails=2, fail_timeout="60s") for stub in stubs]
    with Node(settings(stubs, instances=instances)) as node:
        stubs[1].fault("status", code=503, count=None, match="/_echo")

        def eject():
            for i in range(20):
                node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"u{i}"})
            return node.instances()["dify2"]["status"] == "ejected"
        wait_for(eject, TIMEOUT)
        before = node.status()
        more = settings(stubs, instances=[*instances, {**instances[0], "name": "another"}])
        assert node.reload(more)[0] == 200
        after = node.status()
        assert after["node"]["generation"] == before["node"]["generation"]
        assert after["stats"]["total_requests"] == before["stats"]["total_requests"] > 0
        found = after["applications"]["one"]["instances"]
        assert found["dify2"]["status"] == "ejected" and not found["dify2"]["eligible"]
        for name, counts in before["applications"]["one"]["instances"].items():
            assert (found[name]["requests"], found[name]["failures"]) == (counts["requests"], counts["failures"])
        assert after["applications"]["one"]["latency_ms"] == before["applications"]["one"]["latency_ms"]


BAD_FILE = """\
listen:
  - address: 127.0.0.1:0
aplications: {}
workers: many
applications:
  one:
    user_tokens: ["never-shown-token"]
    instances:
      - { name: a, host: h, port: 99999, token: "never-shown-key" }
"""


@pytest.mark.parametrize("way", ["POST", "HUP"])
def test_a_bad_file_changes_nothing_and_says_where(stubs, way):
    with Node(settings(stubs)) as node:
        before = node.status()["node"]
        node.write(BAD_FILE)
        if way == "POST":
            status, value = node.reload()
            assert (status, value["status"]) == (400, "error") and value["message"]
            errors = value["errors"]
            assert all(set(error) == {"file", "line", "column", "message"} for error in errors)
            assert {error["file"] for error in errors} == {node.conf_path}
            assert [error["line"] for error in errors] == sorted(error["line"] for error in errors)
            assert {(3, 1), (4, 10)} <= {(error["line"], error["column"]) for error in errors}
            assert 9 in {error["line"] for error in errors}
            assert "never-shown" not in json.dumps(value)
        else:
            node.signal(signal.SIGHUP)
        wait_for(lambda: len(node.events("config_problem")) >= 3, TIMEOUT)
        assert "never-shown" not in node.outputs()
        after = node.status()["node"]
        assert (after["config_digest"], after["config_revision"]) == (before["config_digest"], before["config_revision"])
        assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200
        os.unlink(node.conf_path)
        status, value = node.reload()
        assert status == 400 and value["errors"]
        assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200


def test_reload_names_what_needs_a_restart(stubs):
    with Node(settings(stubs)) as node:
        assert node.reload(settings(stubs, workers=1))[0] == 200
        wait_for(lambda: [event for event in node.events("restart_needed") if event["section"] == "workers"], TIMEOUT)


def test_what_waits_for_a_restart_is_told_at_each_reload_and_compared_with_what_runs(stubs):
    def told():
        return [event["section"] for event in node.events("restart_needed")]

    def after_reload(config):
        before, done = len(told()), len(node.events("config_reloaded"))
        assert node.reload(config)[0] == 200
        wait_for(lambda: len(node.events("config_reloaded")) > done, TIMEOUT)
        return told()[before:]

    first = settings(stubs, workers=2, debug_headers=True)
    second = {**first, "node": {"name": "node-z"}, "workers": 1}
    with Node(first) as node:
        assert after_reload(first) == []
        assert after_reload(second) == ["node", "workers"]
        assert after_reload(second) == ["node", "workers"]   # it still waits
        assert after_reload(first) == []                     # and now it does not: this is what runs


def test_a_new_node_name_waits_for_the_restart_everywhere(stubs):
    config = settings(stubs, debug_headers=True)
    with Node(config) as node:
        assert node.reload({**config, "node": {"name": "node-z"}})[0] == 200
        head, _ = node.request("GET", "/v1/_echo", token=TOKEN)
        assert head.headers["x-served-by"] == "node-a"
        assert node.status()["node"]["name"] == "node-a"
        assert node.json("POST", "/admin/drain")[1]["node"] == "node-a"
        assert node.wait_access(uri="/v1/_echo")[-1]["node"] == "node-a"


@pytest.mark.parametrize("count", [26, 150])
def test_every_problem_of_a_bad_reload_is_told_and_the_rest_counted(stubs, count):
    listed = min(count, 100)
    with Node(settings(stubs)) as node:
        node.write("".join(f"wrong_{chr(97 + i // 26)}{chr(97 + i % 26)}: 1\n" for i in range(count - 1))
                   + "workers: 0\nlisten: [{ address: 127.0.0.1:0 }]\napplications: { one: { user_tokens: [t], "
                   + "instances: [{ name: a, host: h, port: 1, token: t }] } }\n")
        for turn in (1, 2):   # the second one in the same second as the first
            status, value = node.reload()
            assert (status, len(value["errors"])) == (400, listed)
            assert ("50 more" in value["message"]) == (count == 150)
            wanted = turn * (listed + (count > listed))
            wait_for(lambda: len(node.events("config_problem")) == wanted, TIMEOUT)
        assert any(event["message"] == "and 50 more" for event in node.events("config_problem")) == (count == 150)


# ---- other signals

def test_usr1_opens_the_logs_anew(stubs):
    with Node(settings(stubs)) as node:
        node.echo("/v1/_echo/before")
        node.wait_access(uri="/v1/_echo/before")
        os.rename(node.access_path, node.access_path + ".1")
        node.signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(node.access_path), TIMEOUT)
        wait_for(lambda: node.events("log_reopened"), TIMEOUT)
        node.echo("/v1/_echo/after")
        node.wait_access(uri="/v1/_echo/after")
        with open(node.access_path + ".1", encoding="utf-8") as file:
            assert "/v1/_echo/after" not in file.read()
        # A log that cannot be opened stays where it is, which is told until it can.
        os.remove(node.access_path)
        os.mkdir(node.access_path)
        node.signal(signal.SIGUSR1)
        wait_for(lambda: node.status()["problems"], TIMEOUT)
        [problem] = node.status()["problems"]
        assert problem["kind"] == "log_not_opened" and f"cannot open {node.access_path}: Is a directory" in problem["detail"]
        os.rmdir(node.access_path)
        node.signal(signal.SIGUSR1)
        wait_for(lambda: not node.status()["problems"], TIMEOUT)


@pytest.mark.smoke
def test_term_drains(stubs):
    with Node(settings(stubs[:1])) as node:
        idle = node.client()
        idle.request("GET", "/v1/_echo", TOKEN).response()
        with node.client() as client, node.client() as busy:
            client.request("GET", "/v1/_sse?events=60&interval=0.02", TOKEN).head()
            busy.request("POST", "/v1/_echo?user=u", TOKEN, headers=[("Content-Length", "5"),
                                                                     ("Content-Type", "text/plain")])
            wait_for(lambda: stubs[0].requests(path="_echo?user=u"), TIMEOUT)
            node.signal(signal.SIGTERM)
            wait_for(lambda: node.events("draining"), TIMEOUT)
            with node.client() as asker:
                head, body = asker.request("GET", "/health").response()
                assert (head.status, body.strip()) == (503, b"draining")
            head, _ = node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "late"})
            assert head.status == 200 and head.headers["connection"] == "close"
            head, _ = busy.send(b"hello").response()
            assert head.status == 200 and head.headers["connection"] == "close"
            assert busy.ended() == "fin"
            assert len(client.chunks()) == 60
            assert idle.quiet()
        assert idle.ended() == "fin"
        assert node.wait() == 0
        idle.close()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_term_ends_at_once(stubs, first):
    with Node(settings(stubs[:1])) as node, node.client() as client:
        client.request("GET", "/v1/_sse?events=100&interval=5", TOKEN).head()
        node.signal(first)
        wait_for(lambda: node.events("draining"), TIMEOUT)
        observe(0.1, lambda: node.process.poll() is None)
        node.signal(signal.SIGTERM)
        assert node.wait(TIMEOUT) == 0
        with pytest.raises((EOFError, ConnectionResetError)):
            client.chunks()


def test_drain_has_an_end(stubs):
    with Node(settings(stubs[:1], timeouts={"drain": "200ms"})) as node, node.client() as client:
        client.request("GET", "/v1/_sse?events=100&interval=5", TOKEN).head()
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
        assert node.events("drain_timed_out")
        line, = node.wait_access(app="one")
        assert (line["termination"], line["aborted"]) == ("drained", True)
