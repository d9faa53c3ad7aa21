"""SPEC §3, "Own errors": each row of the page's table, brought about at one node and held against what the row says."""

import contextlib
import json
import os
import re
import socket

import pytest
from harness import PATIENCE, ROOT, TIMEOUT, TOKEN, Node, check_error, instance, settings
from stub_client import wait_for

ORIGIN = "https://chat.example.com"
OUTSIDE = {"allow": ["127.0.0.99/32"]}   # or this client would have the places that are kept for who administers
CONNECTIONS = 12

with open(os.path.join(ROOT, "doc", "SPEC.md"), encoding="utf-8") as page:
    TABLE = re.search(r"^\| when \| answer \|\n\|---\|---\|\n((?:\|.*\n)+)", page.read(), re.M)[1]
ROWS = dict(re.fullmatch(r"\| (.+?) \| (.+) \|", line).groups() for line in TABLE.splitlines())


def application(token, instances, **more):
    return {"user_tokens": [token], "instances": instances, **more}


@pytest.fixture(scope="module")
def node(all_stubs):
    plain, full = all_stubs[:2]
    with socket.socket() as taken:   # nobody listens there, and nobody else can
        taken.bind(("127.0.0.1", 0))
        gone = {"name": "gone", "host": "127.0.0.1", "port": taken.getsockname()[1], "token": "app-gone", "max_fails": 0}
        config = settings([plain], admin=OUTSIDE, limits={
            "connections": CONNECTIONS, "uri_size": "1KiB", "header_size": "4KiB", "body_size": "1MiB", "spool_memory": 0,
            "spool_dir": "/nobody/has/this"}, timeouts={"request_body": "1s", "first_byte": f"{2 * PATIENCE}s"})
        one = [instance(plain)]
        config["applications"].update({
            "named": application("usertoken--named", one, user_id={"missing": "reject"}),
            "limited": application("usertoken--limited", one, quotas=[{"per": "user", "requests": 1, "every": "1h"}]),
            "full": application("usertoken--full", [instance(full, max_in_flight=1)], queue={"size": 0}),
            "gone": application("usertoken--gone", [gone])})
        with Node(config) as it:
            yield it


# ---- how each comes about: (head, body) of each answer, which is read from a client that is still there

def ask(client, method, target, token=TOKEN, *, headers=(), **more):
    return client.request(method, target, token, [("Origin", ORIGIN), *headers], **more).response()


def unknown_token(node, client, stubs):
    yield ask(client, "GET", "/v1/info", None)
    yield ask(client, "GET", "/v1/info", "usertoken--nobodys")


def no_such_method(node, client, stubs):
    head, body = ask(client, "TRACE", "/v1/info")
    assert head.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
    yield head, body
    yield ask(client, "CONNECT", "dify:443")   # which ends the connection


def no_user(node, client, stubs):
    yield ask(client, "POST", "/v1/_echo", "usertoken--named", json_body={})


def elsewhere(node, client, stubs):
    yield ask(client, "GET", "/v2/info")
    yield ask(client, "GET", "/v1")


def malformed(node, client, stubs):
    yield client.send(b"GET /v1/info HTTP/1.1\r\nHost: a\r\nHost: b\r\nOrigin: " + ORIGIN.encode() + b"\r\n\r\n").response()


def large_body(node, client, stubs):
    yield ask(client, "POST", "/v1/_echo?user=u", headers=[("Content-Length", "1048577")])


def large_head(node, client, stubs):
    yield ask(client, "GET", "/v1/_echo", headers=[("X-Large", "x" * 4096)])
    with node.client() as another:
        yield ask(another, "GET", "/v1/_echo?x=" + "x" * 1024)


def full_queue(node, client, stubs):
    with node.client() as first:
        def held():   # its head within the time of the first byte
            return first.request("GET", "/v1/_sse?events=2&interval=600&user=u", "usertoken--full").head().status == 200
        wait_for(held, TIMEOUT)
        yield ask(client, "GET", "/v1/_echo?user=u", "usertoken--full")


def over_a_quota(node, client, stubs):
    with node.client() as first:
        ask(first, "GET", "/v1/_echo?user=u", "usertoken--limited")
    head, body = ask(client, "GET", "/v1/_echo?user=u", "usertoken--limited")
    assert b"1 request" in body and b"user" in body and b"1h" in body   # limit, `per`, window
    assert head.headers["ratelimit-limit"] == "1" and head.headers["ratelimit-remaining"] == "0"
    assert int(head.headers["ratelimit-reset"]) > 0
    yield head, body


def no_room(node, client, stubs):
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 400000
    client.send(b"POST /v1/files/upload HTTP/1.1\r\nHost: a\r\nOrigin: %s\r\nAuthorization: Bearer %s\r\nContent-Length: 500000\r\n"
                b"Content-Type: multipart/form-data; boundary=B\r\n\r\n" % (ORIGIN.encode(), TOKEN.encode()))
    with contextlib.suppress(OSError):   # refused in the middle
        client.send(body)
    yield client.response()


def nobody_there(node, client, stubs):
    yield ask(client, "POST", "/v1/_echo", "usertoken--gone", json_body={"user": "u"})


def broken(node, client, stubs):
    for kind in ("reset_before_head", "close_before_head", "garbage"):
        stubs[0].fault(kind, match="/v1/_echo")
        yield ask(client, "POST", "/v1/_echo", json_body={"user": "u"})


def no_head(node, client, stubs):
    stubs[0].fault("stall_before_head", match="/v1/_echo")
    yield ask(client, "POST", "/v1/_echo", json_body={"user": "u"})


def slow_body(node, client, stubs):
    client.request("POST", "/v1/_echo?user=u", TOKEN, [("Origin", ORIGIN), ("Content-Length", "10")])
    yield client.send(b"half").response()


def too_many(node, client, stubs):
    with contextlib.ExitStack() as stack:
        def another():   # whose request is not all there: it does not give way
            return stack.enter_context(node.client()).request("GET", "/v1/_sse?events=2&interval=600&user=u", TOKEN).head().status
        for _ in range(CONNECTIONS):
            wait_for(lambda: another() in (200, 503), TIMEOUT)   # some of the test before may still count
        def refused():
            with node.client() as last:
                found = ask(last, "GET", "/v1/_echo?user=u")
                return found if found[0].status == 503 and last.ended() == "fin" else None
        yield wait_for(refused, TIMEOUT)


CAUSES = {
    "no or unknown token": unknown_token, "TRACE, CONNECT": no_such_method, "no user, `missing: reject`": no_user,
    "not `/v1/`": elsewhere, "malformed or ambiguous request": malformed, "body over `body_size`": large_body,
    "header or URI too large": large_head, "queue full or timed out": full_queue, "over a quota": over_a_quota,
    "no room for an upload": no_room, "no instance could be reached": nobody_there,
    "instance broke before its response head / answered garbage": broken, "no response head within `first_byte`": no_head,
    "request body slower than `request_body`": slow_body, "over `limits.connections`": too_many,
}


def row_of(cause):
    return next(row for row in ROWS if row.startswith(cause))


def test_no_row_is_left_out():
    assert [row_of(cause) for cause in CAUSES] == list(ROWS)


@pytest.mark.parametrize("cause", CAUSES)
def test_the_answer_is_the_row(stubs, node, cause):
    row = ROWS[row_of(cause)]
    statuses = [int(text) for text in re.findall(r"\b[45]\d\d\b", re.sub(r"\{.*?\}", "", row))]
    code = re.search(r"^\d+ `(\w+)`", row)
    exactly = re.search(r"`(\{.*?\})`", row)
    with node.client() as client:
        answers = list(CAUSES[cause](node, client, stubs))
        assert len(statuses) in (1, len(answers)), (row, answers)
        for index, (head, body) in enumerate(answers):
            status = statuses[min(index, len(statuses) - 1)]
            said = check_error(head, body, status, code[1] if code else json.loads(body)["code"])
            if exactly:
                assert body.decode().strip() == exactly[1]
            quoted = re.search(r'"([^"{]+…)"', row)
            assert said["message"].startswith(quoted[1][:-1] if quoted else "")
            assert ("allow" in head.headers) == ("`Allow`" in row)
            if "`Retry-After`" in row:
                assert re.fullmatch(r"[1-9]\d*", head.headers["retry-after"])
            if "WWW-Authenticate" in row:
                assert head.headers["www-authenticate"] == 'Bearer realm="api"'
            assert ("ratelimit-limit" in head.headers) == ("`RateLimit-*`" in row)
            if status != 414:   # refused before its Origin has come
                assert head.headers["access-control-allow-origin"] == ORIGIN, head.raw
                assert head.headers["access-control-expose-headers"] == "X-Request-ID"
            if "then close" in row:
                assert head.headers["connection"] == "close"
        if "then close" in row and cause != "over `limits.connections`":
            assert client.ended() in ("fin", "rst")
