"""What a node logs: each request's line, its own events; and that no secret is in any output."""

import contextlib
import json
import os
import pty
import re
import signal
import socket
import time

import pytest
from harness import TIMEOUT, TOKEN, Node, instance, parallel, settings
from stub_client import wait_for

FIELDS = ["timestamp", "request_id", "remote_addr", "peer_addr", "method", "host", "uri", "protocol", "tls", "status",
          "bytes_in", "bytes_out", "request_time", "queue_time", "connect_time", "upstream_head_time", "app", "user_id",
          "user_cut", "instance", "upstream_addr", "placed", "quota", "attempts", "tried", "termination", "prompt_tokens",
          "completion_tokens", "total_tokens", "node", "user_agent", "forwarded_for", "aborted"]


def test_the_access_log(stubs):
    with Node(settings(stubs[:1])) as node:
        headers = [("User-Agent", 'odd "agent" \\ \xff'), ("X-Forwarded-For", "1.2.3.4"), ("X-Request-ID", "log-1")]
        began = time.time()
        head, body = node.request("POST", "/v1/chat-messages?x=%20y", token=TOKEN, headers=headers, json_body={
            "user": "us\u00e9r\n1", "query": "q", "inputs": {"stub_delay": 0.1}})
        line, = node.wait_access(request_id="log-1")
        assert list(line) == FIELDS
        assert (line["method"], line["uri"], line["protocol"]) == ("POST", "/v1/chat-messages?x=%20y", "HTTP/1.1")
        assert (line["status"], line["app"], line["instance"], line["attempts"]) == (200, "one", "dify1", 1)
        assert (line["user_id"], line["node"], line["aborted"]) == ("us\u00e9r\n1", "node-a", False)
        assert (line["termination"], line["tried"]) == ("complete", [])
        assert line["upstream_addr"] == f"{stubs[0].host}:{stubs[0].port}" and line["host"] == "stub"
        assert 0 < line["connect_time"] <= line["upstream_head_time"]
        assert all(line[name] is None for name in ("tls", "queue_time", "placed", "quota"))
        assert (line["prompt_tokens"], line["completion_tokens"], line["total_tokens"]) == (12, 8, 20)
        assert (line["remote_addr"], line["forwarded_for"]) == ("127.0.0.1", "1.2.3.4")
        assert line["user_agent"].startswith('odd "agent" \\ ')
        assert 0.1 <= line["upstream_head_time"] <= line["request_time"] < 5
        assert line["bytes_out"] >= len(head.raw) + len(body) and line["bytes_in"] > 200
        stamp = re.match(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|\+00:00)$", str(line["timestamp"]))
        assert stamp or abs(line["timestamp"] - began) < 10


def test_local_endpoints_that_are_skipped_get_no_line(stubs):
    with Node(settings(stubs)) as node:
        node.request("GET", "/health")
        node.request("GET", "/status")
        node.request("GET", "/v1/_echo?user=u", token=TOKEN)
        node.wait_access(uri="/v1/_echo?user=u")
        assert {line["uri"] for line in node.access()} == {"/status", "/v1/_echo?user=u"}
        config = settings(stubs, log={"access": node.access_path, "skip": ["/status", "/metrics"]})
        assert node.reload(config)[0] == 200   # at once: no restart
        for path in "/health?x=1", "/status", "/metrics?y", "/v1/_echo?user=v":
            node.request("GET", path, token=TOKEN)
        node.wait_access(uri="/v1/_echo?user=v")
        assert {line["uri"] for line in node.access()} == {"/status", "/v1/_echo?user=u", "/reload-config", "/health?x=1",
                                                           "/v1/_echo?user=v"}


def test_bytes_are_counted_as_they_came(stubs):
    with Node(settings(stubs)) as node:
        auth = f"Authorization: Bearer {TOKEN}\r\n".encode()
        chunks = b"".join(b"1;x=%d\r\nx\r\n" % i for i in range(300)) + b"0\r\nTrailer: t\r\n\r\n"
        sent = [b"GET /v1/_echo?user=u HTTP/1.1\r\nHost:    h   \r\nX-Request-ID: n0\r\n" + auth + b"\r\n",
                b"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nX-Request-ID: n1\r\n" + auth
                + b"Transfer-Encoding: chunked\r\n\r\n" + chunks,
                b"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nX-Request-ID: n2\r\n" + auth
                + b"Content-Length: 3\r\n\r\nxyz"]
        with node.client() as client:
            client.send(b"".join(sent))   # pipelined: each has its own
            heads = [client.response()[0] for _ in sent]
        for number, text in enumerate(sent):
            line, = node.wait_access(request_id=f"n{number}")
            assert (line["bytes_in"], line["bytes_out"] > len(heads[number].raw)) == (len(text), True)
        with node.client() as client:
            client.send(sent[2][:9])
            for piece in (sent[2][9:50], sent[2][50:].replace(b"n2", b"n3")):
                client.send(piece)
            client.response()
        line, = node.wait_access(request_id="n3")
        assert line["bytes_in"] == len(sent[2])


def test_the_line_of_a_refused_request_says_what_is_known(stubs):
    limits = {"uri_size": "1KiB", "header_size": "4KiB", "headers": 20}
    cases = [
        (b"GET /v1/" + b"u" * 2000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 414, "GET", None, b"/v1/" + b"u" * 1020),
        (b"GET /v1/a HTTP/1.1\r\nHost: h\r\nBig: " + b"x" * 5000 + b"\r\n\r\n", 431, "GET", "HTTP/1.1", b"/v1/a"),
        (b"GET /v1/b HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 30 + b"\r\n", 431, "GET", "HTTP/1.1", b"/v1/b"),
        (b"GET /v1/c HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400, "GET", "HTTP/1.1", b"/v1/c"),
        (b"GET /v1/d HTTP/1.0\r\nBad Header: h\r\n\r\n", 400, "GET", "HTTP/1.0", b"/v1/d"),
        (b"GET /v1/e HTTP/2.0\r\nHost: h\r\n\r\n", 400, "GET", None, b"/v1/e"),
        (b"GET /v1/f\r\n\r\n", 400, "GET", None, b"/v1/f"),
        (b"\x16\x03\x01\x02\x00garbage", 400, None, None, None),
    ]
    with Node(settings(stubs, limits=limits)) as node:
        for sent, status, method, protocol, uri in cases:
            with node.client() as client:
                client.send(sent)
                head = client.response()[0]
                assert head.status == status, sent[:40]
            line, = node.wait_access(request_id=head.headers["x-request-id"])
            assert (line["status"], line["method"], line["protocol"]) == (status, method, protocol), sent[:40]
            assert line["uri"] == (uri and uri.decode()) and 0 < line["bytes_in"] <= len(sent)


def test_request_time_begins_with_the_first_byte(stubs):
    with Node(settings(stubs, timeouts={"request_head": "600ms"})) as node:
        with node.client() as client:
            client.send(b"GET /v1/_echo HTT")
            head = client.response()[0]
            assert head.status == 408
        line, = node.wait_access(request_id=head.headers["x-request-id"])
        assert 0.5 < line["request_time"] < 0.6 + TIMEOUT and line["upstream_head_time"] is None


def test_the_whole_way_of_a_forwarded_request_is_told(stubs):
    with Node(settings(stubs)) as node:
        node.request("GET", "/v1/_echo?user=u", token=TOKEN, headers=[
            ("X-Request-ID", "way"), ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "2.2.2.2, 3.3.3.3")])
        line, = node.wait_access(request_id="way")
        assert line["forwarded_for"] == "1.1.1.1, 2.2.2.2, 3.3.3.3"


def test_every_kind_of_request_is_one_line(stubs):
    with Node(settings(stubs)) as node:
        stubs[0].fault("close_before_head", count=None, match="/_echo")
        for i in range(20):
            node.request("GET" if i % 2 else "POST", f"/v1/_echo/{i}?user=u{i}", token=TOKEN)
        node.request("GET", "/v1/_echo/x", token="wrong")
        node.request("GET", "/nowhere")
        with node.client() as client:
            client.send(b"GET /v1/bad HTTP/1.1\r\nBad Header: x\r\n\r\n").head()

        def told():
            found = [line for line in node.access() if line["uri"] not in ("/health", "/status")]
            return found if len(found) >= 23 else None
        lines = wait_for(told, TIMEOUT)
        assert len(lines) == 23
        assert all(list(line) == FIELDS for line in lines)
        statuses = [line["status"] for line in lines]
        assert statuses.count(401) == 1 and statuses.count(404) == 1 and statuses.count(400) == 1
        retried = [line for line in lines if line["status"] == 200 and line["attempts"] == 2]
        assert all(line["method"] == "GET" and line["instance"] != "dify1" for line in retried)


def test_the_error_log_is_json(stubs):
    with Node(settings(stubs)) as node:
        node.reload("nobody: knows this\n")
        node.stop()
        lines = node.stderr().splitlines()
        assert lines
        for line in lines:
            value = json.loads(line)
            assert {"timestamp", "level", "event"} <= set(value), value
        assert [event["event"] for event in node.events()][-1] == "stopped"


SECRETS = ["usertoken--SECRET", "app-SECRET", "admin-SECRET", "unknown-SECRET", "SECRET"]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_no_secret_is_in_any_output(stubs, level):
    """Known and unknown tokens, in the head and where they do not belong, on good days and bad ones."""
    own = stubs[0]
    bad_key = {**instance(own), "token": "app-SECRET"}   # the instance answers 401
    config = settings([], instances=[bad_key], application={"user_tokens": ["usertoken--SECRET"]},
                      admin={"allow": ["127.0.0.1/32"], "token": "admin-SECRET"},
                      health_check={"interval": "50ms"})
    with Node(config, logs={"level": level}) as node:
        answers = []

        def ask(method, target, **more):
            with contextlib.suppress(EOFError, ConnectionError):
                head, body = node.request(method, target, **more)
                answers.append(head.raw + body)
        for token in ("usertoken--SECRET", "unknown-SECRET", "admin-SECRET", "app-SECRET"):
            for target in ("/v1/_echo?user=u", f"/v1/_echo?user=u&api_key={token}", f"/v1/_echo?token={token}&user=u",
                           f"/status?token={token}", f"/nowhere?authorization=Bearer%20{token}",
                           f"/v1/x?access_token={token}#".rstrip("#"), f"/status?key={token}", "/status",
                           "/reload-config"):
                ask("GET", target, token=token)
                ask("GET", target, headers=[("Authorization", f"Basic {token}")], source="127.0.0.8")
                ask("POST", target, token=token, json_body={"user": "u", "query": "x"})
        for kind in ("close_before_head", "garbage", "stall_before_head"):
            own.fault(kind, match="/v1/_echo")
            with node.client() as client:
                client.request("POST", "/v1/_echo?user=u&token=usertoken--SECRET", "usertoken--SECRET")
                if kind != "stall_before_head":
                    answers.append(client.head().raw)
        with node.client() as client:
            client.send(b"GET /v1/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer usertoken--SECRET\r\nBad Line\r\n\r\n")
            answers.append(b"".join(client.response()[1:]))
        node.write(settings([], instances=[{**bad_key, "port": 0}],
                            application={"user_tokens": ["usertoken--SECRET", "usertoken--SECRET", ["app-SECRET"]]}))
        ask("POST", "/reload-config")
        node.wait_access(count=len(answers))
        node.stop()
        outputs = node.outputs()
        found = [line for line in outputs.splitlines() if "SECRET" in line]
        assert found == []
        assert not [answer for answer in answers if b"SECRET" in answer]


CUT_TOKEN = "usertoken--SECRET-0123456789abcdefghijklmnopqrstuvwxyz"


def test_a_token_at_the_end_of_a_target_that_is_too_long_is_not_logged(stubs):
    """Wherever the cut goes through it, and however it is written."""
    forms = [CUT_TOKEN, "".join(f"%{byte:02x}" for byte in CUT_TOKEN.encode())]
    config = settings(stubs, application={"user_tokens": [CUT_TOKEN]}, limits={"uri_size": "256", "header_size": "4KiB"})
    with Node(config) as node:
        count = 0
        for form in forms:
            for shown in range(0, len(form) + 3, 3):
                target = b"/v1/" + b"a" * (252 - shown) + form.encode() + b"b" * 40
                with node.client() as client:
                    client.send(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
                    assert client.response()[0].status == 414
                count += 1
        for line in node.wait_access(count=count, status=414):
            rest = line["uri"][4:].lstrip("a")
            assert len(rest) < 12 and not rest.startswith("user"), line["uri"][-80:]
            assert not rest.startswith("%75%73%65%72"), line["uri"][-80:]


def test_a_token_whose_rest_does_not_come_is_not_logged(stubs):
    config = settings(stubs, application={"user_tokens": [CUT_TOKEN]}, timeouts={"request_head": "300ms"})
    with Node(config) as node:
        for rest in (b"", b"\x01x HTTP/1.1\r\nHost: h\r\n\r\n"):   # it never comes; it is malformed
            with node.client() as client:
                client.send(b"GET /v1/x?q=" + CUT_TOKEN[:30].encode())
                client.send(rest)
                client.response()
        lines = node.wait_access(status=408) + node.wait_access(status=400)
        assert lines[0]["uri"] == "/v1/x?q=***"
        assert lines[1]["uri"] in ("/v1/x?q=***", None), lines   # None: it came in one read


@pytest.mark.parametrize("token", ["usertoken--SEC+RET+1", "usertoken--SEC%41RET"])
def test_a_token_is_black_in_every_field_however_it_came_there(stubs, token):
    """Also where a query's `+` became a space, and an escape in the token a byte."""
    config = settings(stubs, application={"user_tokens": [token]})
    with Node(config) as node:
        ways = [("POST", f"/v1/x?user={token}", {}), ("POST", "/v1/x", {"headers": [("X-User-ID", token)]}),
                ("POST", "/v1/x", {"headers": [("Cookie", f"user_id={token}")]}),
                ("POST", "/v1/x", {"json_body": {"user": token}}),
                ("POST", "/v1/x", {"json_body": {"user": token.replace("+", " ")}}),
                ("POST", "/v1/x?user=u", {"headers": [("User-Agent", f"a {token} b" + "c" * 2000),
                                                      ("X-Forwarded-For", token)]})]
        for method, target, more in ways:
            node.request(method, target, token=token, **more)
        node.wait_access(count=len(ways), app="one")
        shown = [line for line in node.access(app="one") for name in ("uri", "user_id", "user_agent", "forwarded_for")
                 if re.search("SEC.?.?.?RET", line[name] or "")]
        assert shown == []


@pytest.mark.threads
def test_a_log_reader_that_does_not_read_stops_nobody(stubs):
    reader, writer = os.pipe()
    with Node(settings(stubs), logs={"access": "stdout"}, stdout=writer) as node:
        os.close(writer)
        agent = [("User-Agent", "a" * 1500)]

        def some():
            with node.client() as client:
                for _ in range(400):
                    assert client.json("GET", "/v1/_echo", TOKEN, headers=agent)[0].status == 200
        parallel([some] * 4)   # 2.5 MB of lines: the pipe holds 64 KiB, the rings 1 MiB
        dropped = wait_for(lambda: node.events("log_lines_dropped"), TIMEOUT)[0]
        assert dropped["level"] == "warning"
        problem = wait_for(lambda: [event for event in node.events("problem") if event["kind"] == "log_dropped"], TIMEOUT)[0]
        assert (problem["level"], problem["severity"], problem["subject"]) == ("warning", "warning", "log.access")
        assert re.match(r"\d+ lines? dropped since the start: its reader is gone or too slow", problem["message"])
        node.signal(signal.SIGTERM)
        assert node.wait() == 0
    with open(reader, "rb") as file:
        text = file.read()
    for line in text.split(b"\n")[:-1]:
        assert list(json.loads(line)) == FIELDS


def test_a_closed_stdout_stops_nobody(stubs):
    reader, writer = os.pipe()
    with Node(settings(stubs), logs={"access": "stdout"}, stdout=writer) as node:
        os.close(writer)
        os.close(reader)
        for _ in range(20):
            assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200


# ---- how a request ended

def slow(config):
    return {**config, "timeouts": {"first_byte": "300ms", "idle": "300ms", "connect": "1s", "request_body": "300ms"}}


ENDINGS = [   # fault or None, target, status, termination
    ("reset_before_head", "/v1/_echo?user=u", 502, "lost"),
    ("close_before_head", "/v1/_echo?user=u", 502, "lost"),
    ("garbage", "/v1/_echo?user=u", 502, "garbage"),
    ("stall_before_head", "/v1/_echo?user=u", 504, "first_byte_timeout"),
    ("stall_mid_body", "/v1/_bytes?size=100000&user=u", 200, "idle_timeout"),
    ("cut_stream", "/v1/_sse?events=9&interval=0.01&user=u", 200, "instance_cut"),
]


@pytest.mark.parametrize("fault, target, status, word", ENDINGS)
def test_a_fault_of_an_instance_is_named(stubs, fault, target, status, word):
    with Node(slow(settings(stubs[:1]))) as node:
        stubs[0].fault(fault, match="/v1/_", count=None)
        with contextlib.suppress(Exception):
            node.request("POST", target, token=TOKEN, body=b"x")
        line, = node.wait_access(app="one")
        assert (line["status"], line["termination"], line["attempts"], line["tried"]) == (status, word, 1, [])


def test_what_this_node_answers_is_named(stubs):
    config = slow(settings(stubs[:1], limits={"uri_size": "1KiB", "body_size": 10}, admin={"allow": []}))
    with Node(config) as node:
        def word(name, *arguments, **more):
            node.request(*arguments, headers=[("X-Request-ID", name)], **more)
            line, = node.wait_access(request_id=name)
            return line["status"], line["termination"]
        assert word("w1", "GET", "/v1/_echo") == (401, "unauthorized")
        assert word("w2", "GET", "/status") == (403, "forbidden")
        assert word("w3", "GET", "/nothing") == (404, "local")
        assert word("w4", "TRACE", "/v1/x") == (405, "bad_request")
        assert word("w5", "POST", "/v1/_echo?user=u", token=TOKEN, body=b"x" * 11) == (413, "too_large")
        assert word("w6", "GET", "/v1/_echo?user=u", token=TOKEN) == (200, "complete")
        node.request("GET", "/v1/" + "x" * 2000, token=TOKEN)
        assert node.wait_access(status=414)[0]["termination"] == "too_large"
        with node.client() as client:
            client.send(f"POST /v1/_echo?user=u HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\nx".encode())
            assert client.response()[0].status == 408
        assert node.wait_access(status=408)[0]["termination"] == "client_slow"
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=500&interval=0.02&user=u", TOKEN).head()
            client.chunk()
        left, = node.wait_access(termination="client_left")
        assert (left["status"], left["aborted"]) == (200, True)


def test_an_instance_that_takes_no_connection_in_time_is_named(stubs):
    """Its queue of connections is full, and so the kernel drops what comes."""
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        while True:
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0.2)
            try:
                filler.connect(full.getsockname())
            except TimeoutError:
                break
        entry = {**instance(stubs[0]), "host": "127.0.0.1", "port": full.getsockname()[1]}
        with Node(settings([], instances=[entry], timeouts={"connect": "200ms"})) as node:
            assert node.request("POST", "/v1/_echo?user=u", token=TOKEN)[0].status == 503
            line, = node.wait_access(app="one")
            assert (line["termination"], line["connect_time"]) == ("connect_timeout", None)
            metrics = node.request("GET", "/metrics")[1].decode()
            assert 'difyring_terminations_total{app="one",reason="connect_timeout"} 1' in metrics
            assert 'difyring_terminations_total{app="one",reason="complete"} 0' in metrics


def test_the_attempts_before_the_last_are_listed(stubs):
    with Node(settings(stubs, application={"algorithm": "weighted_round_robin"})) as node:
        stubs[0].refuse()
        stubs[1].fault("status", code=503, match="/v1/_echo", count=None)
        for i in range(3):
            assert node.request("GET", f"/v1/_echo?n={i}", token=TOKEN)[0].status == 200
        lines = node.wait_access(3, app="one")
        tried = [tuple((one["instance"], one["failed"]) for one in line["tried"]) for line in lines]
        assert all(line["termination"] == "complete" and line["attempts"] == 1 + len(line["tried"]) for line in lines)
        assert {one for row in tried for one in row} == {("dify1", "refused"), ("dify2", "status")}, tried
    for stub in stubs:
        stub.refuse()
    with Node(settings(stubs)) as node:
        node.request("POST", "/v1/_echo?user=u", token=TOKEN)
        last, = node.wait_access(app="one")
        assert (last["status"], last["termination"], last["attempts"]) == (503, "refused", 3)
        assert [one["failed"] for one in last["tried"]] == ["refused"] * 2


def test_the_first_line_says_what_runs(stubs):
    with Node(settings(stubs)) as node:
        first = node.events()[0]
        assert (first["event"], first["pid"], first["file"]) == ("started", node.pid, node.conf_path)
        assert re.match(r"\d+\.\d+", first["version"]) and first["listeners"] == "127.0.0.1:0"
        listening, = node.events("listening")
        assert listening["dashboard"] == f"http://127.0.0.1:{node.port}/dashboard"
    base = settings(stubs, admin={"listen": ["0.0.0.0:0"]})
    base["listen"] += [{"address": "[::]:0"}]
    with Node(base) as node:
        told = {event.get("for"): event for event in node.events("listening")}
        port = told["admin"]["address"].rpartition(":")[2]
        assert told["admin"]["dashboard"] == f"http://127.0.0.1:{port}/dashboard"
        assert "dashboard" not in told[None]   # it is not there


def test_where_no_instance_may_be_asked_this_is_named(stubs):
    with Node(settings(stubs[:1], application={"all_down": "fail"})) as node:
        assert node.request("POST", "/admin/instances/one/dify1/drain")[0].status == 200
        assert node.request("POST", "/v1/_echo?user=u", token=TOKEN)[0].status == 503
        line, = node.wait_access(app="one")
        assert (line["termination"], line["instance"], line["attempts"]) == ("no_instance", None, 0)


def test_this_nodes_own_want_is_named(stubs, tmp_path):
    """A file that only the node cannot read is no failure of the instance."""
    entry = {**instance(stubs[0]), "tls": {"ca": str(tmp_path / "nothing.crt")}}
    with Node(settings([], instances=[entry])) as node:
        assert node.request("POST", "/v1/_echo?user=u", token=TOKEN)[0].status == 503
        line, = node.wait_access(app="one")
        assert line["termination"] == "lacking", line
        event, = node.events("instance_tls_unreadable")
        assert event["level"] == "warning"


def test_on_a_terminal_lines_are_for_people(stubs):
    """The access log on a terminal, the error log in a file: each as it is read."""
    ours, theirs = pty.openpty()
    with Node(settings(stubs), logs={"access": "stdout"}, stdout=theirs) as node:
        os.close(theirs)
        node.request("POST", "/v1/_echo?user=%1B[2Jx", token=TOKEN, headers=[("X-Request-ID", "seen")])
        seen = b""
        while b"id=seen" not in seen:
            seen += os.read(ours, 4096)
        line = next(line for line in seen.decode().split("\r\n") if "id=seen" in line)
        assert re.match(r"\d\d:\d\d:\d\d\.\d{3}Z POST /v1/_echo\?user=%1B\[2Jx 200 \d\.\d{3}s one/dify\d "
                        r'user="\\u001b\[2Jx" from=127\.0\.0\.1 id=seen$', line), line
        assert node.events("ready")
    os.close(ours)


def test_debug_tells_each_check(stubs):
    config = settings(stubs[:1], health_check={"interval": "50ms", "path": "/health", "unhealthy_threshold": 1})
    with Node(config, logs={"level": "debug"}) as node:
        wait_for(lambda: len(node.events("check")) > 3, TIMEOUT)
        one = node.events("check")[0]
        assert (one["level"], one["app"], one["instance"], one["result"], one["status"]) == ("debug", "one", "dify1", "up", 200), one
        stubs[0].fault("status", code=500, count=None, match="/health")
        bad = wait_for(lambda: [event for event in node.events("check") if event["result"] == "down"], TIMEOUT)[0]
        assert bad["status"] == 500
    with Node(config) as node:
        wait_for(lambda: node.events("instance_status"), TIMEOUT)
        assert node.events("check") == []


def attempts(node, request_id):
    return [event for event in node.events("attempt") if event["request_id"] == request_id]


def test_debug_tells_each_attempt(stubs):
    """How each ended and why, of which request; nothing of it at another level, and no secret in any."""
    config = settings(stubs[:2], application={"algorithm": "weighted_round_robin", "state": "shared"}, retries={"attempts": 2})
    names = {stub.name for stub in stubs[:2]}

    def ask(node, request_id, method="GET", **more):
        head, _ = node.request(method, "/v1/_echo", token=TOKEN, headers=[("X-Request-ID", request_id)], **more)
        return head.status

    with Node(config, logs={"level": "debug"}) as node:
        assert ask(node, "good") == 200
        one = wait_for(lambda: attempts(node, "good"), TIMEOUT)
        assert len(one) == 1
        one = one[0]
        assert {key: one[key] for key in ("level", "app", "attempt", "result", "reason", "status", "reused", "asks", "trial")} == {
            "level": "debug", "app": "one", "attempt": 1, "result": "complete", "reason": "", "status": 200,
            "reused": False, "asks": False, "trial": False}
        assert one["instance"] in names and 0 <= one["connect_ms"] <= one["after_ms"] < 1000 * TIMEOUT

        for stub in stubs[:2]:
            stub.fault("status", code=503, count=1, match="/v1/_echo")
        assert ask(node, "bad") == 503   # both say so: the second one's is passed on
        first, second = wait_for(lambda: len(attempts(node, "bad")) == 2 and attempts(node, "bad"), TIMEOUT)
        assert [(a["attempt"], a["result"], a["status"]) for a in (first, second)] == [(1, "status", 503), (2, "complete", 503)]
        assert {first["instance"], second["instance"]} == names

        for stub in stubs[:2]:
            stub.refuse()
            stub.close_connections()
        assert ask(node, "refused") == 503
        gone = wait_for(lambda: len(attempts(node, "refused")) == 2 and attempts(node, "refused"), TIMEOUT)
        assert {(a["result"], a["reason"], a["status"], a["reused"]) for a in gone} == {("refused", "ECONNREFUSED", 0, False)}
        for stub in stubs[:2]:
            stub.refuse(False)

        assert ask(node, TOKEN) in (200, 503)   # a token in the wrong place
        for text in (TOKEN, *(stub.token for stub in stubs)):
            assert text not in node.stderr()
    with Node(config) as node:
        assert ask(node, "good") == 200
        node.wait_access(1)
        assert node.events("attempt") == []
