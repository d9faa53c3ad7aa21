"""SPEC §3, "Own errors": each row of the page's table, brought about at one node and held against what the row says;
and what becomes of the connection of a refused request, whose body nobody wants."""

import contextlib
import json
import os
import re
import socket
import struct
import time

import pytest
from harness import PATIENCE, ROOT, TIMEOUT, TOKEN, Node, check_error, instance, open_sockets, settings
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


# ---- the connection of a refused request: kept where its rest is sure to come, short, and known in length

REST_MAX = 64 * 1024     # EXCHANGE_REST_MAX
SILENT_SECONDS = 5       # DOWNSTREAM_LINGER_MS
# What each body is made of: were a byte of one taken for the next request's first, an instance would get this.
SMUGGLED = b"GET /v1/_echo/smuggled?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
NEXT = SMUGGLED.replace(b"/smuggled", b"/next")
FORM = (b'--B\r\nContent-Disposition: form-data; name="user"\r\n\r\nover\r\n--B\r\nContent-Disposition: form-data; name="file"; '
        b'filename="f"\r\n\r\n' + SMUGGLED + b"\r\n--B--\r\n")
# Refused by its head; by a node's own endpoint, at once and by control; by a quota of whom the body names; by nobody's being there.
REFUSED = {"token": ("/v1/_echo?user=u", "usertoken--nobodys", 401), "path": ("/v2/info", TOKEN, 404), "admin": ("/admin/reload", TOKEN, 403),
           "quota": ("/v1/_echo?user=over", "usertoken--limited", 429), "quota of a form": ("/v1/files/upload", "usertoken--limited", 429),
           "nobody": ("/v1/_echo?user=u", "usertoken--gone", 503)}


def post_head(name, *fields):
    target, token, _ = REFUSED[name]
    lines = [f"POST {target} HTTP/1.1", "Host: h", f"Authorization: Bearer {token}", "Content-Type: multipart/form-data; boundary=B", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def of_length(name, *fields, body=FORM):
    return post_head(name, f"Content-Length: {len(body)}", *fields), body


def in_chunks(name, *fields):
    return post_head(name, "Transfer-Encoding: chunked", *fields), b"%X\r\n" % len(FORM) + FORM + b"\r\n0\r\nX-T: 1\r\n\r\n"


@pytest.fixture
def over(stubs, node):
    """A user of `limited` who has used up the quota; and nothing of a body may reach an instance as a request."""
    with node.client() as client:
        ask(client, "GET", "/v1/_echo?user=over", "usertoken--limited")
    yield node
    assert stubs[0].requests(path="smuggled") == []


def refused(client, name):
    """Reads the answer; does it say that the connection goes on?"""
    head, _ = client.response()
    assert head.status == REFUSED[name][2], (name, head.raw)
    return head.headers.get("connection") != "close"


def goes_on(client):
    """The next answer is that of the next request."""
    head, body = client.response()
    return head.status == 200 and json.loads(body)["target"].startswith("/v1/_echo/next")


def nothing_more(client):
    with contextlib.suppress(ConnectionError):
        return client.rest() == b""
    return True


def test_a_refused_body_that_is_there_leaves_its_connection_to_the_next_request(over):
    with over.client() as client:
        for name in REFUSED:
            for head, body in (of_length(name), in_chunks(name), of_length(name, "Upgrade: x", "Connection: upgrade")):
                client.send(head + body + NEXT)
                assert refused(client, name) and goes_on(client), (name, head)


def test_a_refused_body_that_is_still_to_come_is_read_away_to_its_last_byte(over):
    with over.client() as client:
        for name in REFUSED:
            if name == "quota of a form":   # tells its user first
                continue
            head, body = of_length(name)
            assert refused(client.send(head), name), name
            for at in range(0, len(body), 40):
                client.send(body[at:at + 40])
            assert goes_on(client.send(NEXT)), name


@pytest.mark.parametrize("make", [of_length, in_chunks])
@pytest.mark.parametrize("name", ["token", "quota of a form"])
def test_however_a_refused_request_is_split_no_byte_of_its_body_is_taken_for_the_next(over, name, make):
    head, body = make(name)
    whole, client, closed = head + body + NEXT, over.client(), 0
    for at in range(1, len(whole), 3):
        with contextlib.suppress(ConnectionError):   # answered and closed meanwhile
            client.send(whole[:at]).send(whole[at:])
        if refused(client, name):
            assert goes_on(client), at
        else:
            assert nothing_more(client), at
            client.close()
            client, closed = over.client(), closed + 1
    client.close()
    # Of chunks the rest has to be there, which is this machine's to say. One of the splits is behind the body.
    assert closed == 0 if make is of_length else closed < len(whole) // 3


def test_so_much_may_still_be_to_come_and_no_byte_more(over):
    for size, kept in ((REST_MAX, True), (REST_MAX + 1, False)):
        with over.client() as client:
            body = (SMUGGLED * (1 + size // len(SMUGGLED)))[:size]
            head, _ = of_length("token", body=body)
            assert refused(client.send(head), "token") == kept
            with contextlib.suppress(ConnectionError):   # the end of a connection that lingers
                client.send(body + NEXT)
            assert goes_on(client) if kept else nothing_more(client)


def test_a_body_that_its_client_may_keep_to_itself_is_not_waited_for(over):
    for name, behind in (("token", NEXT), ("path", NEXT), ("token", FORM + NEXT)):
        with over.client() as client:
            head, _ = of_length(name, "Expect: 100-continue")
            assert not refused(client.send(head), name)
            with contextlib.suppress(ConnectionError):
                client.send(behind)
            assert nothing_more(client), name
    with over.client() as client:   # but once it was told to come, it does
        head, body = of_length("quota of a form", "Expect: 100-continue")
        assert client.send(head).head().status == 100
        assert refused(client.send(body + NEXT), "quota of a form") and goes_on(client)


def test_a_refused_body_that_does_not_come_ends_its_connection(over):
    sockets = open_sockets(over)
    head, body = of_length("token")
    with over.client() as silent, over.client() as half, over.client() as gone:
        began = time.monotonic()
        for client, some in ((silent, b""), (half, body[:9]), (gone, body[:9])):
            assert refused(client.send(head + some), "token")
        half.socket.shutdown(socket.SHUT_WR)
        assert half.ended() == "fin"
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()
        wait_for(lambda: open_sockets(over) <= sockets + 1, TIMEOUT)
        assert silent.ended() == "fin" and time.monotonic() - began > 0.9 * SILENT_SECONDS
