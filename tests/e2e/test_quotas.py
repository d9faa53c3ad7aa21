"""Quotas: a limit is exact on one node whatever workers it has, a refusal says what and for how long, a shadow
refuses nobody, and a reload forgets nothing."""

import json
import os
import re
import struct
import time

import pytest
from harness import PATIENCE, ROOT, TIMEOUT, TOKEN, Node, check_error, parallel, run_command, settings
from stub_client import wait_for

OTHER = "usertoken--one-more"


def quotas(stubs, *entries, **sections):
    return settings(stubs, application={"quotas": list(entries), "user_tokens": [TOKEN, OTHER]}, **sections)


def ask(node, user="u", **more):
    return node.request("GET", f"/v1/_echo?user={user}", token=more.pop("token", TOKEN), **more)


def chat(node, user="u", **more):
    return node.request("POST", "/v1/chat-messages", token=TOKEN,
                        json_body={"user": user, "query": "q", "inputs": {}, "response_mode": "blocking", **more})


def limit_fields(head):
    return tuple(int(head.headers[f"ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))


@pytest.mark.threads
def test_a_limit_is_exact_over_all_workers(stubs):
    """Forty connections, spread over four workers, ask for more than there is: as many pass as may."""
    with Node(quotas(stubs, {"per": "user", "requests": 100, "every": "1h"}, workers=4)) as node:
        def customer():
            with node.client() as client:
                return [client.request("GET", "/v1/_echo?user=u", TOKEN).response()[0].status for _ in range(5)]
        statuses = [status for found in parallel([customer] * 40) for status in found]
        assert statuses.count(200) == 100 and statuses.count(429) == 100
        assert ask(node, "another")[0].status == 200


@pytest.mark.smoke
def test_a_refusal_says_what_and_for_how_long(stub):
    with Node(quotas([stub], {"per": "user", "requests": 2, "every": 300})) as node:
        assert [limit_fields(ask(node)[0])[:2] for _ in range(2)] == [(2, 1), (2, 0)]
        head, body = ask(node)
        value = check_error(head, body, 429, "rate_limit_error")
        assert all(word in value["message"] for word in ("2 requests", "per user", "every 5m"))
        wait = int(head.headers["retry-after"])
        assert 1 <= wait <= 300 and limit_fields(head)[:2] == (2, 0) and 1 <= limit_fields(head)[2] <= 300
        line = node.wait_access(status=429)[0]
        assert (line["quota"], line["termination"], line["instance"], line["attempts"]) == ("user", "quota", None, 0)
        assert all(line["quota"] is None for line in node.access(status=200))


@pytest.mark.smoke
def test_a_refusal_ends_with_its_window(stub):
    """However late the host is: the third request of three seconds is never let through before they are over."""
    with Node(quotas([stub], {"per": "user", "requests": 2, "every": 3})) as node:
        began = time.monotonic()
        assert [ask(node)[0].status for _ in range(2)] == [200, 200]
        wait_for(lambda: ask(node)[0].status == 200, 3 + TIMEOUT)
        assert time.monotonic() - began >= 3


def test_each_counts_whom_it_says(stub):
    for per, same, another in [
            ("user", {"user": "u"}, {"user": "v"}),
            ("token", {"user": "w"}, {"user": "w", "token": OTHER}),
            ("address", {"user": "w"}, {"user": "w", "source": "127.0.0.9"})]:
        with Node(quotas([stub], {"per": per, "requests": 1, "every": "1h"})) as node:
            assert ask(node, **same)[0].status == 200
            assert ask(node, **same)[0].status == 429
            assert ask(node, **another)[0].status == 200, per
    with Node(quotas([stub], {"per": "application", "requests": 2, "every": "1h"})) as node:
        assert [ask(node, user, token=token)[0].status for user, token in
                [("u", TOKEN), ("v", OTHER), ("w", TOKEN)]] == [200, 200, 429]


def test_requests_without_a_user_are_one_user(stub):
    with Node(quotas([stub], {"per": "user", "requests": 2, "every": "1h"})) as node:
        assert [node.request("GET", "/v1/_echo", token=TOKEN)[0].status for _ in range(3)] == [200, 200, 429]
        assert ask(node)[0].status == 200


def test_the_user_of_a_body_counts_whatever_its_framing(stub):
    with Node(quotas([stub], {"per": "user", "requests": 2, "every": "1h"})) as node:
        assert chat(node)[0].status == 200
        body = json.dumps({"query": "q" * 100000, "inputs": {}, "response_mode": "blocking", "user": "u"}).encode()
        with node.client() as client:
            client.send(b"POST /v1/chat-messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode() +
                        b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
                        b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            assert client.response()[0].status == 200
        head, body = chat(node)
        check_error(head, body, 429, "rate_limit_error")
        with node.client() as client:   # the connection goes on behind a refusal
            assert client.request("GET", "/v1/_echo?user=u", TOKEN).response()[0].status == 429
            assert client.request("GET", "/v1/_echo?user=v", TOKEN).response()[0].status == 200


def test_what_one_quota_refuses_counts_in_no_other(stub):
    with Node(quotas([stub], {"per": "application", "requests": 3, "every": "1h"},
                     {"per": "user", "requests": 1, "every": "1h"})) as node:
        assert ask(node)[0].status == 200
        assert [ask(node)[0].status for _ in range(5)] == [429] * 5
        head = ask(node, "v")[0]
        assert head.status == 200 and limit_fields(head)[:2] == (1, 0)   # the tightest of the two
        assert ask(node, "w")[0].status == 200
        head, body = ask(node, "x")
        assert "3 requests per application every 1h" in check_error(head, body, 429, "rate_limit_error")["message"]


def test_a_shadow_counts_and_logs_and_refuses_nobody(stub):
    with Node(quotas([stub], {"per": "token", "requests": 1, "every": "1h", "shadow": True})) as node:
        heads = [ask(node)[0] for _ in range(3)]
        assert [head.status for head in heads] == [200] * 3
        assert not any(name.startswith("ratelimit") for head in heads for name in head.headers)
        lines = node.wait_access(3)   # workers write in no order among them
        assert sorted(str(line["quota"]) for line in lines) == ["None", "token", "token"]
        assert {line["termination"] for line in node.access()} == {"complete"}


def test_stops_are_never_refused_nor_counted(stub):
    with Node(quotas([stub], {"per": "user", "requests": 1, "every": "1h"})) as node:
        def stop():
            return node.request("POST", "/v1/chat-messages/3b241101-e2bb-4255-8caf-4136c566a962/stop", token=TOKEN,
                                json_body={"user": "u"})[0].status
        assert stop() != 429
        assert chat(node)[0].status == 200
        assert chat(node)[0].status == 429
        assert stop() != 429


def stream(client, user="u", seconds=30):
    client.request("POST", "/v1/chat-messages", TOKEN, json_body={
        "user": user, "query": "q", "response_mode": "streaming",
        "inputs": {"stub_events": int(seconds / 0.05), "stub_interval": 0.05}})
    return client.head().status


def test_concurrency_counts_long_requests_and_ends_with_them(stub):
    with Node(quotas([stub], {"per": "user", "concurrent": 2})) as node:
        with node.client() as one:
            with node.client() as two:
                assert stream(one) == 200 and stream(two) == 200
                head, body = chat(node)
                value = check_error(head, body, 429, "rate_limit_error")
                assert "2 requests at a time per user" in value["message"]
                assert head.headers["retry-after"] and "ratelimit-limit" not in head.headers
                assert chat(node, "v")[0].status == 200
                assert node.request("GET", "/v1/parameters?user=u", token=TOKEN)[0].status == 200   # a short one
            wait_for(lambda: chat(node)[0].status == 200, TIMEOUT)   # two has left
            assert all(chat(node)[0].status == 200 for _ in range(5))


def test_a_reload_keeps_what_was_counted(stub):
    def config(limit, **more):
        return quotas([stub], {"per": "user", "requests": limit, "every": "1h", **more})
    with Node(config(2)) as node:
        assert [ask(node)[0].status for _ in range(3)] == [200, 200, 429]
        assert node.reload(config(4))[0] == 200
        wait_for(lambda: limit_fields(ask(node, "v")[0])[0] == 4, TIMEOUT)
        assert [ask(node)[0].status for _ in range(3)] == [200, 200, 429]
        assert node.reload(settings([stub]))[0] == 200
        wait_for(lambda: ask(node)[0].status == 200, TIMEOUT)
        assert node.reload(config(4))[0] == 200   # not for long: it is not forgotten either
        wait_for(lambda: ask(node)[0].status == 429, TIMEOUT)
        assert node.reload(quotas([stub], {"per": "user", "requests": 4, "every": "2h"}))[0] == 200
        wait_for(lambda: ask(node)[0].status == 200, TIMEOUT)   # another window is another quota


def kept(path):
    """How much the file of quotas has as granted, of all subjects (together/quotas_file.c)."""
    text = path.read_bytes()[8 + 8 + 32:-32]
    numbers = struct.unpack(f"<{len(text) // 8}Q", text)
    at, amount = 1 + 2 * numbers[0], 0   # behind the owners
    at += 1 + 3 * numbers[at]
    while at < len(numbers):
        uses = numbers[at + 1] & 0xff
        amount += sum(use & 0xffffffff for use in numbers[at + 2:at + 2 + uses])
        at += 2 + uses
    return amount


@pytest.mark.parametrize("clustered", [False, True])
def test_windows_of_an_hour_and_longer_survive_a_restart(stub, tmp_path, clustered):
    """Stopped, or killed once it is written, and started: by the user's day nothing has changed. The minute begins anew."""
    config = quotas([stub], {"per": "user", "requests": 3, "every": "1d"}, {"per": "token", "requests": 1, "every": "1m"},
                    node={"name": "node-a", "state_dir": str(tmp_path)})
    if clustered:
        config["cluster"] = {"name": "e2e", "keys": ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="],
                             "bind": "127.0.0.1:0", "join": []}
    for count in range(3):
        node = Node(config)
        try:
            head = ask(node)[0]
            assert head.status == 200, head.raw
            if count == 1:
                wait_for(lambda: (tmp_path / "quotas").exists() and kept(tmp_path / "quotas") == 2, 8 * PATIENCE)
            else:
                node.stop()
        finally:
            node.destroy()
    with Node(config) as node:
        head, body = ask(node)
        assert "3 requests per user every 1d" in check_error(head, body, 429, "rate_limit_error")["message"]
        assert 86000 < int(head.headers["retry-after"]) <= 86402
        assert ask(node, "v", token=OTHER)[0].status == 200
    with open(tmp_path / "quotas", "r+b") as file:   # a damaged one is set aside
        file.seek(100)
        file.write(b"x")
    with Node(config) as node:
        assert ask(node)[0].status == 200 and (tmp_path / "quotas.damaged").exists()


def test_a_window_slides(stub):
    """Of ten requests a second's quota lets four pass in any second, and goes on doing so."""
    if PATIENCE > 1:
        pytest.skip("measures seconds")
    with Node(quotas([stub], {"per": "application", "requests": 4, "every": 1})) as node:
        passed, end = [], time.monotonic() + 4
        with node.client() as client:
            while time.monotonic() < end:
                before = time.monotonic()
                if client.request("GET", "/v1/_echo?user=u", TOKEN).response()[0].status == 200:
                    passed.append((before, time.monotonic()))
                time.sleep(0.02)
        for index in range(len(passed) - 4):
            assert passed[index + 4][1] - passed[index][0] >= 1   # five never lie within a second
        assert len(passed) >= 12   # 16 at most, and nearly as many


def test_own_errors_of_a_limited_request_have_the_fields_too(stub):
    config = quotas([stub], {"per": "user", "requests": 9, "every": "1h"}, limits={"body_size": 10})
    with Node(config) as node:
        head, body = node.request("POST", "/v1/chat-messages?user=u", token=TOKEN, body=b"x" * 100)
        check_error(head, body, 413, "file_too_large")
        assert limit_fields(head)[0] == 9
        head, _ = node.request("GET", "/v1/_echo", token="unknown")
        assert head.status == 401 and "ratelimit-limit" not in head.headers


def test_the_example_of_the_page_keeps_an_application_within_its_budget(stubs):
    """conf/examples/quotas.yaml as it stands, but for ports, a folder, and a budget that a test can use up."""
    with open(os.path.join(ROOT, "conf", "examples", "quotas.yaml"), encoding="utf-8") as file:
        text = file.read()
    for stub, port in zip(stubs, ("9101", "9102")):
        text = text.replace(f"port: {port}, token: app-customer-service-{stub.name[-1]}",
                            f"port: {stub.port}, token: {stub.token}")
    text = text.replace("127.0.0.1:8182", "127.0.0.1:0").replace("requests: 20000", "requests: 20")
    text = text.replace("state_dir: /tmp/difyring-quotas #", "# state_dir:")
    text += "health_check: { enabled: false }\nlog: { access: \"off\", error: stderr }\n"
    with Node(text) as node:
        def ask_as(user):
            return node.request("GET", f"/v1/_echo?user={user}", token="usertoken--customer-service-v1")
        assert [ask_as(f"u{i}")[0].status for i in range(20)] == [200] * 20
        head, body = ask_as("late")
        message = check_error(head, body, 429, "rate_limit_error")["message"]
        assert message == "Rate limit exceeded: at most 20 requests per application every 1d. Please try again later."


def test_tokens_count_when_dify_has_told_them(stub):
    with Node(quotas([stub], {"per": "user", "tokens": 1, "every": "1h"})) as node:
        head, body = chat(node)
        assert head.status == 200 and json.loads(body)["metadata"]["usage"]["total_tokens"] > 1
        head, body = wait_for(lambda: (lambda got: got if got[0].status == 429 else None)(chat(node)), TIMEOUT)
        assert "1 tokens per user every 1h" in check_error(head, body, 429, "rate_limit_error")["message"]
        assert limit_fields(head)[:2] == (1, 0)
        assert chat(node, "v")[0].status == 200
        line = node.wait_access(status=200, user_id="u")[0]
        _, explained = node.json("GET", "/admin/explain?user=u")
        assert explained["quotas"][0]["used"] >= line["total_tokens"] > 1
        words = run_command("explain", "-u", f"http://{node.host}:{node.port}", "--user", "u").stdout
        assert re.search(r"^quota +per user: \d+ of \d+ tokens every ", words, re.M), words
