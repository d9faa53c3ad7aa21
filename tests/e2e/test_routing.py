"""Which application, which user, which instance."""

import bisect
import hashlib
import json
import os
import re
from collections import Counter

import pytest
from harness import (TOKEN, TIMEOUT, Node, check_error, instance, parallel, ring_find, ring_points, run_command,
                     settings)
from stub_client import wait_for

NAMES = ["dify1", "dify2", "dify3"]
POINTS = ring_points({name: 1 for name in NAMES})
BATCH = 50   # requests on the wire at a time


@pytest.fixture(scope="module")
def node(all_stubs):
    with Node(settings(all_stubs, debug_headers=True, limits={"json_inspect": "4KiB"})) as it:
        yield it


def place(users, app="one", eligible=None):
    """The independent computation, quick enough for 10 000 users: user -> instance."""
    values = [value for value, _ in POINTS]

    found = {}
    for user in users:
        key = int.from_bytes(hashlib.sha256(f"{app}:{user}".encode()).digest()[:8], "big")
        at = bisect.bisect_left(values, key) % len(POINTS)
        while eligible and POINTS[at][1] not in eligible:
            at = (at + 1) % len(POINTS)
        found[user] = POINTS[at][1]
    return found


def seen_by_stubs(node, users, path="/v1/_echo"):
    """Sends a POST for each user over one connection: user -> instance that says it served it."""
    seen = {}
    with node.client() as client:
        for at in range(0, len(users), BATCH):
            batch = users[at:at + BATCH]
            for user in batch:
                client.request("POST", path, TOKEN, json_body={"user": user, "query": "hello"})
            for user in batch:
                head, body = client.response()
                assert head.status == 200, (head.raw, body)
                answer = json.loads(body)
                assert answer["user"] == user   # nobody's answer came to somebody else
                seen[user] = answer["instance"]
    return seen


def ask_ring(node, users, *more):
    """What `difyring ring` says: user -> instance."""
    arguments = ["ring", "-c", node.conf_path, "--app", "one", *more]
    for user in users:
        arguments += ["--user", user]
    result = run_command(*arguments)
    assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    at = rows.index(["user", "instance", "key"])
    return {user: name for user, name, _key in rows[at + 1:]}


def many_users(count):
    return [f"user-{i}@example.com" for i in range(count)]


# ---- the ring

@pytest.mark.threads
def test_ten_thousand_users_land_where_ring_and_arithmetic_say(stubs, node):
    users = many_users(10_000)
    expected = place(users)
    assert ring_find(POINTS, "one", users[7]) == expected[users[7]]
    assert ask_ring(node, users) == expected
    quarters = parallel([lambda part=part: seen_by_stubs(node, users[part::4]) for part in range(4)])
    seen = {user: name for quarter in quarters for user, name in quarter.items()}
    assert seen == expected
    assert sum(stub.counts()["requests"] for stub in stubs) == 10_000
    for stub in stubs:
        assert set(stub.counts()["users"]) == {user for user in users if expected[user] == stub.name}


def test_no_user_of_the_others_moves_when_an_instance_refuses_connections(stubs):
    users = many_users(1500)
    before, after = place(users), place(users, eligible={"dify1", "dify3"})
    with Node(settings(stubs)) as node:
        assert seen_by_stubs(node, users) == before
        stubs[1].close_connections()
        stubs[1].refuse()
        moved = seen_by_stubs(node, users)
        assert moved == after
        assert ask_ring(node, users[:100], "--down", "dify2") == {user: after[user] for user in users[:100]}
        stubs[1].refuse(False)
        assert seen_by_stubs(node, users) == before


def test_no_user_of_the_others_moves_when_checks_say_down(stubs):
    users = many_users(1500)
    before, after = place(users), place(users, eligible={"dify1", "dify3"})
    assert {user for user in users if before[user] != after[user]} == {u for u in users if before[u] == "dify2"}
    config = settings(stubs, health_check={"interval": "50ms", "timeout": "1s", "path": "/health"})
    with Node(config) as node:
        for name in NAMES:
            node.wait_instance(name, status="healthy")
        assert seen_by_stubs(node, users) == before
        stubs[1].fault("status", code=500, count=None, match="/health")
        node.wait_instance("dify2", status="unhealthy", eligible=False)
        assert seen_by_stubs(node, users) == after
        stubs[1].clear()
        node.wait_instance("dify2", status="healthy", eligible=True)
        assert seen_by_stubs(node, users) == before


def test_weights_share_the_ring(stubs):
    weights = {"dify1": 1, "dify2": 5, "dify3": 2}
    points = ring_points(weights, 40)
    config = settings(stubs, instances=[instance(stub, weight=weights[stub.name]) for stub in stubs],
                      consistent_hash={"virtual_nodes": 40})
    with Node(config) as node:
        users = many_users(300)
        assert seen_by_stubs(node, users) == {user: ring_find(points, "one", user) for user in users}
        shares = {name: found["ring_share"] for name, found in node.instances().items()}
    assert abs(sum(shares.values()) - 1) < 0.01
    assert shares["dify2"] > shares["dify3"] > shares["dify1"]


# ---- the user id

def used(node, target="/v1/_echo", **more):
    """The id that the node found, as it tells the instance; None when it balanced."""
    seen = node.echo(target, **more)
    value = seen["fields"].get("x-user-id-used", [None])[0]
    if value:
        assert seen["instance"] == ring_find(POINTS, "one", value), "found, but not used for the choice"
    return value or None


def test_the_default_order_of_sources(node):
    body = {"user": "j"}
    headers = [("X-User-ID", "h"), ("Cookie", "a=b; user_id=c; z=1")]
    assert used(node, "/v1/_echo?user=q2&user_id=q1", method="POST", headers=headers, json_body=body) == "h"
    assert used(node, "/v1/_echo?user=q2&user_id=q1", method="POST", headers=headers[1:], json_body=body) == "q1"
    assert used(node, "/v1/_echo?user=q2", method="POST", headers=headers[1:], json_body=body) == "q2"
    assert used(node, method="POST", headers=headers[1:], json_body=body) == "c"
    assert used(node, method="POST", json_body=body) == "j"
    assert used(node) is None


def test_an_empty_value_is_none(node):
    headers = [("X-User-ID", ""), ("Cookie", "user_id=")]
    assert used(node, "/v1/_echo?user_id=&user=", method="POST", headers=headers, json_body={"user": "j"}) == "j"
    assert used(node, method="POST", headers=headers, json_body={"user": ""}) is None
    assert used(node, headers=[("X-User-ID", ""), ("X-User-ID", "second")]) == "second"


def test_a_custom_order_of_sources(stubs):
    sources = ["json:user", "form:user", "cookie:who", "query:person", "header:X-Me"]
    config = settings(stubs, debug_headers=True, user_id={"sources": sources})
    with Node(config) as node:
        headers = [("X-Me", "h"), ("Cookie", "who=c")]
        assert used(node, "/v1/_echo?person=q", method="POST", headers=headers, json_body={"user": "j"}) == "j"
        assert used(node, "/v1/_echo?person=q", headers=headers) == "c"
        assert used(node, "/v1/_echo?person=q", headers=headers[:1]) == "q"
        assert used(node, headers=headers[:1]) == "h"
        assert used(node, headers=[("X-User-ID", "not asked for")]) is None


def test_an_application_may_override_the_sources(stubs):
    config = settings(stubs, debug_headers=True, application={"user_id": {"sources": ["header:X-Own"]}})
    with Node(config) as node:
        assert used(node, headers=[("X-Own", "mine"), ("X-User-ID", "general")]) == "mine"


@pytest.mark.parametrize("target, expected", [
    ("/v1/_echo?user=a%20b", "a b"), ("/v1/_echo?user=%41%62c", "Abc"), ("/v1/_echo?x=1&user=p%3Dq%26r", "p=q&r"),
    ("/v1/_echo?%75ser=name", "name"), ("/v1/_echo?user=a%zz", "a%zz"), ("/v1/_echo?xuser=no&user=yes", "yes"),
    ("/v1/_echo?USER=no", None), ("/v1/_echo?user", None)])
def test_query_values_are_decoded(node, target, expected):
    assert used(node, target) == expected


@pytest.mark.parametrize("cookie, expected", [
    ("user_id=plain", "plain"), ("a=1;user_id=b%20c;d=2", "b c"), ("xuser_id=no; user_id=yes", "yes"),
    ("user_id=a=b", "a=b"), ("user_idx=no", None), ("user_id=", None)])
def test_cookie_values_are_decoded(node, cookie, expected):
    assert used(node, headers=[("Cookie", cookie)]) == expected


@pytest.mark.parametrize("text, expected", [
    (b'{"user":"a"}', "a"), (b' \r\n\t{ "inputs" : {} , "user" : "a" } ', "a"),
    (b'{"user":"first","user":"last"}', "last"), (b'{"user":"a","user":null}', None), (b'{"user":"a","user":""}', None),
    (b'{"user":12}', "12"), (b'{"user":-1.5e3}', "-1.5e3"), (b'{"user":0}', "0"),
    (b'{"user":"\\u0061\\/\\"b"}', 'a/"b'), (b'{"\\u0075ser":"key"}', "key"), (b'{"User":"no"}', None),
    (b'{"user":true}', None), (b'{"user":["a"]}', None), (b'{"user":{"user":"b"}}', None),
    (b'{"inputs":{"user":"inner"}}', None), (b'{"inputs":{"user":"inner"},"user":"outer"}', "outer"),
    (b'[{"user":"a"}]', None), (b'{"user":"a"', None), (b'{"user":"a"} x', None), (b'{"user":"a",}', None),
    (b'{"user":"a\\x"}', None), (b"", None), (b'"user"', None)])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_the_user_of_a_json_body(node, text, expected, method):
    headers = [("Content-Type", "application/json; charset=utf-8")]
    assert used(node, method=method, headers=headers, body=text) == expected


@pytest.mark.parametrize("headers, expected", [
    ([("Cookie", "a=b"), ("Cookie", "user_id=second")], "second"),
    ([("Cookie", "user_id=first"), ("cookie", "user_id=second")], "first"),
    ([("Cookie", "user_id="), ("Cookie", "x=y; user_id=third; z")], "third"),
    ([("Cookie", ""), ("Cookie", "a")], None)])
def test_all_cookie_fields_count(node, headers, expected):
    assert used(node, headers=headers) == expected


@pytest.mark.parametrize("name", ["application/json", "application/vnd.api+json", "Application/LD+JSON; charset=x"])
@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "PATCH", "DELETE"])
def test_json_is_read_of_any_method_and_kind(node, name, method):
    assert used(node, method=method, headers=[("Content-Type", name)], body=b'{"user":"a"}') == "a"


def test_what_dify_takes_has_its_user(stubs):
    """Also where a request without one is refused."""
    with Node(settings(stubs, user_id={"missing": "reject"})) as node:
        for text in (b'{"query":"a\\u0000b","user":"alice"}', b'{"query":"\\ud83d","user":"alice"}',
                     b'\xef\xbb\xbf{"user":"alice"}', b'{"x":NaN,"user":"alice"}', '{"user":"alice"}'.encode("utf-16")):
            node.echo(method="POST", headers=[("Content-Type", "application/json")], body=text)
        node.wait_access(count=5, user_id="alice", user_cut=False, status=200)


def test_another_content_type_is_no_json(node):
    assert used(node, method="POST", headers=[("Content-Type", "text/plain")], body=b'{"user":"a"}') is None


@pytest.mark.parametrize("pad, first, expected, cut", [
    (4000, {}, "late", False), (5000, {}, None, True), (5000, {"user": "early"}, "early", True),
    (5000, {"user": None}, None, True)])
@pytest.mark.parametrize("chunked", [False, True])
def test_beyond_json_inspect_what_was_found_before_counts(node, pad, first, expected, cut, chunked):
    text = json.dumps({**first, "query": "x" * pad, **({} if first else {"user": "late"})}).encode()
    before = len(node.access(user_cut=cut, app="one"))
    check_beyond(node, text, expected, chunked)
    assert node.wait_access(count=before + 1, user_cut=cut, app="one")[-1]["user_id"] == expected


def check_beyond(node, text, expected, chunked):
    if not chunked:
        assert used(node, method="POST", headers=[("Content-Type", "application/json")], body=text) == expected
        return
    with node.client() as client:
        client.send(b"POST /v1/_echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + TOKEN.encode() +
                    b"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(text), 700):
            piece = text[at:at + 700]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        _, body = client.send(b"0\r\n\r\n").response()
    found = dict(json.loads(body)["headers"]).get("X-User-ID-Used") or None
    assert found == expected


def form(*parts, boundary="b0undary"):
    """(headers, body) of a multipart form of (name, filename or None, bytes)."""
    out = b""
    for name, filename, data in parts:
        tail = f'; filename="{filename}"' if filename else ""
        out += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{tail}\r\n\r\n'.encode() + data + b"\r\n"
    return [("Content-Type", f"multipart/form-data; boundary={boundary}")], out + f"--{boundary}--\r\n".encode()


@pytest.mark.threads
@pytest.mark.parametrize("order", ["before", "after"])
def test_the_user_of_a_form_wherever_it_stands(node, order):
    upload = ("file", "a.bin", os.urandom(3 * 1024 * 1024))
    user = ("user", None, b"form user")
    headers, body = form(*([user, upload] if order == "before" else [upload, user]))
    head, answer = node.json("POST", "/v1/files/upload", token=TOKEN, headers=headers, body=body)
    assert head.status == 201
    assert answer["user"] == "form user"
    assert answer["instance"] == ring_find(POINTS, "one", "form user")

    assert answer["sha256"] == hashlib.sha256(upload[2]).hexdigest()


def test_a_file_named_user_is_no_user(node):
    headers, body = form(("user", "a.txt", b"content"), ("other", None, b"x"))
    assert used(node, method="POST", headers=headers, body=body) is None


# ---- no user

def test_missing_balance_is_weighted_round_robin(stubs):
    weights = {"dify1": 5, "dify2": 1, "dify3": 1}
    config = settings(stubs, instances=[instance(stub, weight=weights[stub.name]) for stub in stubs], workers=1)
    with Node(config) as node, node.client() as client:
        seen = [client.json("GET", "/v1/_echo", token=TOKEN)[1]["instance"] for _ in range(14)]
    assert seen == ["dify1", "dify1", "dify2", "dify1", "dify3", "dify1", "dify1"] * 2   # nginx's own example


def test_missing_reject_is_400_and_reaches_nobody(stubs):
    with Node(settings(stubs, user_id={"missing": "reject"})) as node:
        for more in ({"method": "GET"}, {"method": "POST", "json_body": {"query": "x"}},
                     {"method": "POST", "headers": [("Content-Type", "text/plain")], "body": b"x"}):
            method = more.pop("method")
            head, body = node.request(method, "/v1/_echo", token=TOKEN, **more)
            value = check_error(head, body, 400, "invalid_param")
            assert value["message"].startswith("User ID required: ")
        assert sum(stub.counts()["requests"] for stub in stubs) == 0
        assert node.echo("/v1/_echo?user=there")["user"] == "there"


# ---- algorithms

@pytest.mark.parametrize("workers", [1, 2])
def test_weighted_round_robin(stubs, workers):
    weights = {"dify1": 4, "dify2": 2, "dify3": 1}
    config = settings(stubs, instances=[instance(stub, weight=weights[stub.name]) for stub in stubs], workers=workers,
                      application={"algorithm": "weighted_round_robin"})
    with Node(config) as node:
        def some():
            with node.client() as client:
                return [client.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": "same"})[1]["instance"]
                        for _ in range(35)]
        if workers == 1:
            cycle = ["dify1", "dify2", "dify1", "dify3", "dify1", "dify2", "dify1"]
            assert some() == cycle * 5
            return
        total = Counter(name for part in parallel([some] * 8) for name in part)
    for name, weight in weights.items():
        assert abs(total[name] - 40 * weight) <= 2 * workers, total


@pytest.mark.threads
def test_least_connections_counts_over_all_workers(stubs):
    weights = {"dify1": 2, "dify2": 1, "dify3": 1}
    config = settings(stubs, instances=[instance(stub, weight=weights[stub.name]) for stub in stubs],
                      application={"algorithm": "least_connections"})
    with Node(config) as node:
        clients = []
        for _ in range(16):
            client = node.client()
            client.request("GET", "/v1/_sse?events=1000000&interval=10", TOKEN).head()
            clients.append(client)
        assert [stub.counts()["streams_open"] for stub in stubs] == [8, 4, 4]
        assert [found["active_requests"] for found in node.instances().values()] == [8, 4, 4]
        for client in clients:
            client.close()
        for stub in stubs:
            stub.wait_counts(lambda counts: counts["streams_open"] == 0, TIMEOUT)


def test_ip_hash(stubs):
    with Node(settings(stubs, application={"algorithm": "ip_hash"})) as node:
        sources = [f"127.0.0.{i}" for i in range(2, 40)]
        seen = {source: node.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": "x"}, source=source)[1]
                ["instance"] for source in sources}
    assert seen == {source: ring_find(POINTS, "one", source) for source in sources}
    assert len(set(seen.values())) == 3


# ---- tokens and applications

def test_the_token_names_the_application(stubs):
    second = {"user_tokens": ["usertoken--two", "usertoken--two-b"],
              "instances": [{**instance(stubs[2]), "name": "other", "token": "app-two"}]}
    config = settings(stubs[:2])
    config["applications"]["two"] = second
    with Node(config) as node:
        for token, instances, own in ((TOKEN, {"dify1", "dify2"}, "app-one"), ("usertoken--two", {"dify3"}, "app-two"),
                                      ("usertoken--two-b", {"dify3"}, "app-two")):
            for user in ("a", "b", "c"):
                seen = node.echo(token=token, method="POST", json_body={"user": user})
                assert seen["instance"] in instances
                assert seen["fields"]["authorization"] == [f"Bearer {own}"]
        applications = node.status()["applications"]
        assert [applications[name]["total_requests"] for name in ("one", "two")] == [3, 6]


def test_an_application_may_have_65536_tokens(stubs):
    """Each is found, over a reload too, and so is the one of another application."""
    tokens = [f"usertoken--{number:08x}-89ab-cdef-0123-456789abcdef" for number in range(65536)]
    config = settings(stubs[:1], application={"user_tokens": tokens})
    config["applications"]["two"] = {**config["applications"]["one"], "user_tokens": ["usertoken--two"]}
    with Node(config) as node:
        for _ in range(2):
            with node.client() as client:
                for token in (tokens[0], tokens[-1], *tokens[1:65535:2571], "usertoken--two"):
                    assert client.request("GET", "/v1/_echo?user=u", token).response()[0].status == 200
                for token in (tokens[5][:-1], tokens[5] + "0", "usertoken--00010000-89ab-cdef-0123-456789abcdef"):
                    assert client.request("GET", "/v1/_echo?user=u", token).response()[0].status == 401
            assert node.reload(config)[0] == 200
        config["applications"]["one"]["user_tokens"] = [*tokens, "usertoken--one-more"]
        status, answer = node.reload(config)
        assert status == 400 and "65537 tokens; at most 65536" in answer["errors"][0]["message"]
        assert set(tokens) & set(re.findall(r"usertoken--[0-9a-f-]+", node.outputs())) == set()


@pytest.mark.parametrize("value", [
    None, "", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer x{TOKEN}",
    f"Bearer {TOKEN} {TOKEN}", f"Bearer {TOKEN.upper()}", "Bearer app-one", f"Bearer{TOKEN}", f"Bearer,{TOKEN}"])
def test_a_wrong_token_is_401_and_reaches_nobody(stubs, node, value):
    headers = [] if value is None else [("Authorization", value)]
    head, body = node.request("POST", "/v1/_echo", headers=headers, json_body={"user": "a"})
    answer = check_error(head, body, 401, "unauthorized")
    assert answer["message"] == "Access token is invalid"
    assert head.headers["www-authenticate"] == 'Bearer realm="api"'
    assert sum(stub.counts()["requests"] for stub in stubs) == 0


@pytest.mark.parametrize("value", [f"bearer {TOKEN}", f"BEARER {TOKEN}", f"Bearer   {TOKEN}", f"Bearer {TOKEN}  "])
def test_the_scheme_may_be_written_in_any_case(node, value):
    seen = node.echo(token=None, headers=[("Authorization", value)])
    assert seen["fields"]["authorization"] == ["Bearer app-one"]


def test_two_authorization_fields_are_not_a_choice(stubs, node):
    headers = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {TOKEN}")]
    for each in (headers, headers[::-1], [headers[1]] * 2):
        head, body = node.request("GET", "/v1/_echo", headers=each)
        check_error(head, body, 400, "bad_request")
    wait_for(lambda: sum(stub.counts()["requests"] for stub in stubs) == 0)
