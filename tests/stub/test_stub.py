"""The stand-in Dify behaves as Dify's own api container: routes, users, state, gunicorn's manners."""

import base64
import hashlib
import json
import os
import socket
import subprocess
import time

import pytest
from raw_client import Raw
from stub_client import LAUNCHER, Stub, pattern, start_stubs, wait_for

IDLE = 0.5   # seconds; gunicorn's 2.0 made short


@pytest.fixture(scope="module")
def stub():
    with Stub("dify1", tokens=["app-one", "app-two"], idle_timeout=5, event_interval=0.01) as it:
        yield it


def ask(raw, stub, method, target, **more):
    """(status, JSON) of one request with the first token."""
    head, body = raw.request(method, target, stub.token, **more).response()
    return head.status, json.loads(body) if body else None


def chat(raw, stub, user="alice", **more):
    return ask(raw, stub, "POST", "/v1/chat-messages", json_body={"user": user, "query": "hi", "inputs": {}, **more})


def start_stream(raw, stub, path="/v1/chat-messages", user="alice", **inputs):
    body = {"user": user, "query": "hi", "response_mode": "streaming", "inputs": inputs}
    return raw.request("POST", path, stub.token, json_body=body).head()


def data_of(chunk):
    assert chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") and chunk.count(b"\n") == 2
    return json.loads(chunk[6:])


def form(user_first, user="bob", data=b"\r\n--x file \x00\xff"):
    file = b'--BB\r\nContent-Disposition: form-data; name="file"; filename="f.bin"\r\n' \
           b"Content-Type: application/octet-stream\r\n\r\n" + data + b"\r\n"
    field = b'--BB\r\nContent-Disposition: form-data; name="user"\r\n\r\n' + user.encode() + b"\r\n"
    return (field + file if user_first else file + field) + b"--BB--\r\n"


FORM = [("Content-Type", "multipart/form-data; boundary=BB")]

# ---- routes, tokens, users


def test_routes_without_a_user_answer_and_name_the_instance(raw, stub):
    assert "dify1" in ask(raw, stub, "GET", "/v1/info")[1]["name"]
    assert ask(raw, stub, "GET", "/v1/parameters")[0] == 200
    assert ask(raw, stub, "GET", "/v1/meta")[0] == 200
    assert stub.counts()["users"] == {}


def test_an_unknown_path_is_flasks_html_404(raw, stub):
    head, body = raw.request("GET", "/v1/no-such", stub.token).response()
    assert head.status == 404 and head.headers["content-type"].startswith("text/html") and b"<!doctype html>" in body
    assert raw.request("PATCH", "/v1/info", stub.token).response()[0].status == 405


@pytest.mark.parametrize("value, seen", [("a", "a"), (123, "123"), (1.5, "1.5"), (True, "True")])
def test_a_json_user_is_its_text(raw, stub, value, seen):
    assert chat(raw, stub, value)[0] == 200
    assert stub.requests()[0]["user"] == seen and stub.counts()["users"] == {seen: 1}


@pytest.mark.parametrize("value", ["", None, 0, False])
def test_a_missing_user_is_invalid_param_where_it_is_required(raw, stub, value):
    assert chat(raw, stub, value) == (
        400, {"code": "invalid_param", "message": "Arg user must be provided.", "status": 400})
    assert ask(raw, stub, "GET", "/v1/conversations")[0] == 200
    assert stub.counts()["users"] == {"DEFAULT-USER": 1}


def test_json_of_another_content_type_is_415_and_no_json_400(raw, stub):
    assert ask(raw, stub, "POST", "/v1/chat-messages", body=b'{"user":"a"}')[0] == 415
    kind = [("Content-Type", "application/json")]
    assert ask(raw, stub, "POST", "/v1/chat-messages", body=b'{"user":', headers=kind)[0] == 400


@pytest.mark.parametrize("user_first", [True, False])
def test_an_upload_finds_its_user_before_and_after_the_file(raw, stub, user_first):
    data = os.urandom(100_000)
    status, answer = ask(raw, stub, "POST", "/v1/files/upload", headers=FORM, body=form(user_first, data=data))
    assert status == 201 and answer["size"] == len(data) and answer["user"] == "bob"
    assert answer["sha256"] == hashlib.sha256(data).hexdigest()
    head, body = raw.request("GET", f"/v1/files/{answer['id']}/preview?user=bob", stub.token).response()
    assert body == data and head.headers["cache-control"] == "public, max-age=3600"
    files = [{"upload_file_id": answer["id"]}]
    assert chat(raw, stub, "bob", files=files)[0] == 200
    assert chat(raw, stub, "bob", files=[{"upload_file_id": "no-such"}])[0] == 400
    assert chat(raw, stub, "carol", files=files)[1]["message"] == "Invalid upload file"


def test_audio_goes_both_ways(raw, stub):
    assert ask(raw, stub, "POST", "/v1/audio-to-text", headers=FORM, body=form(False))[0] == 200
    head = raw.request("POST", "/v1/text-to-audio", stub.token, json_body={"user": "a", "text": "x"}).head()
    assert head.headers["content-type"] == "audio/mpeg" and sum(map(len, raw.chunks())) == 8 * 4096


def test_odd_values_get_difys_500_and_the_next_request_an_answer(raw, stub):
    assert chat(raw, stub, inputs={"stub_events": "many"})[0] == 500
    assert ask(raw, stub, "POST", "/v1/chat-messages", json_body=["user"])[0] == 500
    assert chat(raw, stub)[0] == 200


# ---- state

def test_a_conversation_lives_on_one_instance_for_one_user_of_one_application(raw, stub):
    ident = chat(raw, stub)[1]["conversation_id"]
    assert chat(raw, stub, conversation_id=ident)[1]["conversation_id"] == ident
    assert len(ask(raw, stub, "GET", f"/v1/messages?user=alice&conversation_id={ident}")[1]["data"]) == 2
    assert chat(raw, stub, "bob", conversation_id=ident)[0] == 404
    body = {"user": "alice", "query": "", "conversation_id": ident}
    head, text = raw.request("POST", "/v1/chat-messages", "app-two", json_body=body).response()
    assert head.status == 404 and text.startswith(
        rb'{"code":"not_found","message":"Conversation Not Exists. You have requested this URI [\/v1\/chat-messages]')
    assert json.loads(text)["status"] == 404


def test_a_conversation_can_be_renamed_given_variables_and_deleted_with_a_body(raw, stub):
    ident = chat(raw, stub, "dora")[1]["conversation_id"]
    base = f"/v1/conversations/{ident}"
    assert ask(raw, stub, "POST", base + "/name", json_body={"user": "dora", "name": "N"})[1]["name"] == "N"
    assert ask(raw, stub, "PUT", base + "/variables/v1", json_body={"user": "dora", "value": "7"})[1]["value"] == "7"
    assert ask(raw, stub, "GET", base + "/variables?user=dora")[1]["data"][0]["value"] == "7"
    assert [each["id"] for each in ask(raw, stub, "GET", "/v1/conversations?user=dora")[1]["data"]] == [ident]
    assert ask(raw, stub, "DELETE", base, json_body={"user": "eve"})[0] == 404
    assert ask(raw, stub, "DELETE", base, json_body={"user": "dora"}) == (204, None)
    assert ask(raw, stub, "GET", "/v1/conversations?user=dora")[1]["data"] == []


def test_messages_take_feedback_from_their_own_user_only(raw, stub):
    ident = chat(raw, stub)[1]["message_id"]
    assert ask(raw, stub, "POST", f"/v1/messages/{ident}/feedbacks", json_body={"user": "alice"})[0] == 200
    assert ask(raw, stub, "POST", f"/v1/messages/{ident}/feedbacks", json_body={"user": "bob"})[0] == 404
    assert ask(raw, stub, "GET", f"/v1/messages/{ident}/suggested?user=alice")[1]["result"] == "success"
    assert ask(raw, stub, "GET", f"/v1/messages/{ident}/suggested")[0] == 400


def test_a_run_can_be_read_where_it_ran_only(raw, stub):
    status, answer = ask(raw, stub, "POST", "/v1/workflows/run", json_body={"user": "a", "inputs": {"k": 1}})
    assert status == 200 and answer["data"]["status"] == "succeeded"
    ident = answer["workflow_run_id"]
    assert ask(raw, stub, "GET", f"/v1/workflows/run/{ident}")[1]["inputs"] == {"k": 1}
    with Stub("dify2", "app-one") as other, Raw.to(other) as there:
        status, answer = ask(there, other, "GET", f"/v1/workflows/run/{ident}")
        assert status == 404 and answer["message"].startswith("Workflow run not found")


# ---- streams

def test_a_chat_stream_is_one_chunk_an_event_with_all_ids(raw, stub):
    head = start_stream(raw, stub, stub_events=3)
    assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert head.headers["transfer-encoding"] == "chunked" and "cache-control" not in head.headers
    events = [data_of(each) for each in raw.chunks()]
    assert [each["event"] for each in events] == ["message"] * 3 + ["message_end"]
    assert all(each["task_id"] and each["message_id"] and each["conversation_id"] for each in events)
    assert "".join(each.get("answer", "") for each in events) == "This is dify1. Hello alice, you said: hi"
    assert chat(raw, stub)[0] == 200   # and the connection goes on


def test_a_workflow_stream_begins_with_a_bare_ping_at_once(raw, stub):
    start_stream(raw, stub, "/v1/workflows/run", stub_events=1)
    ping, *events = raw.chunks()
    assert ping == b"event: ping\n\n"
    names = [data_of(each)["event"] for each in events]
    assert names == ["workflow_started", "node_finished", "workflow_finished"]


def test_silence_is_filled_with_pings():
    with Stub(ping_interval=0.02, event_interval=0.07, events=1) as stub, Raw.to(stub) as raw:
        start_stream(raw, stub)
        assert raw.chunks().count(b"event: ping\n\n") == 3


def test_stop_succeeds_always_and_works_for_its_own_user_only(raw, stub):
    start_stream(raw, stub, stub_events=100_000)
    task = data_of(raw.chunk())["task_id"]
    with Raw.to(stub) as second:
        for path in ("no-such", task):
            assert ask(second, stub, "POST", f"/v1/chat-messages/{path}/stop", json_body={"user": "bob"}) == (
                200, {"result": "success"})
        for _ in range(5):
            assert data_of(raw.chunk())["event"] == "message"
        ask(second, stub, "POST", f"/v1/chat-messages/{task}/stop", json_body={"user": "alice"})
    assert data_of(raw.chunks()[-1])["event"] == "message_end"


def test_an_error_event_ends_a_stream_with_status_200(raw, stub):
    assert start_stream(raw, stub, stub_events=1, stub_error="no money").status == 200
    last = data_of(raw.chunks()[-1])
    assert last["event"] == "error" and last["message"] == "no money" and "task_id" not in last


def test_a_client_that_leaves_a_stream_is_noticed_at_once(stub):
    with Raw.to(stub) as raw:
        start_stream(raw, stub, stub_interval=60, stub_events=3)
        raw.chunk()
        assert stub.counts()["streams_open"] == 1
        left = time.monotonic()
    record = wait_for(lambda: [each for each in stub.requests() if each["aborted"]])[0]
    assert record["ended_mono"] - left < 0.5 and not record["finished"]
    counts = stub.counts()
    assert (counts["aborts"], counts["streams_open"], counts["tasks_running"]) == (1, 0, 0)


def test_timed_events_carry_their_send_time(raw, stub):
    raw.request("GET", "/v1/_sse?events=3&interval=0.03", stub.token).head()
    for n in range(3):
        sent = data_of(raw.chunk())
        assert sent["n"] == n and 0 <= time.monotonic() - sent["mono"] < 0.5
    assert raw.chunk() == b""


# ---- test routes

def test_echo_shows_what_arrived(raw, stub):
    headers = [("X-B", "1"), ("x-a", "2")]
    head, body = raw.request("PUT", "/v1/_echo/x?user=u%20v", stub.token, headers, b"abc").response()
    seen = json.loads(body)
    assert seen["method"] == "PUT" and seen["target"] == "/v1/_echo/x?user=u%20v" and seen["body"] == "abc"
    assert seen["headers"][-2:] == [["X-B", "1"], ["x-a", "2"]] and seen["user"] == "u v"
    assert seen["body_sha256"] == hashlib.sha256(b"abc").hexdigest() and seen["request_number_on_connection"] == 1
    assert head.status == 200


@pytest.mark.parametrize("how, key", [("", "content-length"), ("&chunked=1", "transfer-encoding"), ("&close=1", None)])
def test_bytes_come_in_all_three_framings(raw, stub, how, key):
    size = 300_001
    head, body = raw.request("GET", f"/v1/_bytes?size={size}&seed=7&piece=1000{how}", stub.token).response()
    assert body == pattern(size, 7)
    assert {"content-length", "transfer-encoding"} & set(head.headers) == ({key} if key else set())


@pytest.mark.parametrize("code", [200, 204, 304, 404, 429, 503])
def test_any_status_can_be_had(raw, stub, code):
    head, body = raw.request("GET", f"/v1/_status/{code}", stub.token).response()
    assert head.status == code and bool(body) == (code not in (204, 304))
    assert raw.request("GET", "/health").response()[0].status == 200


def test_early_answers_before_the_body_and_closes(raw, stub):
    raw.send(b"POST /v1/_early?linger=0.1 HTTP/1.1\r\nContent-Length: 1000000\r\n\r\npart")
    assert raw.response()[0].status == 413 and raw.ended() == "fin"
    assert stub.requests()[0]["body_complete"] is False


def test_103_comes_before_200(raw, stub):
    raw.request("GET", "/v1/_1xx?n=2", stub.token)
    assert [raw.head().status, raw.head().status, raw.response()[0].status] == [103, 103, 200]


def test_http10_answers_are_ended_by_the_close(raw, stub):
    head, body = raw.request("GET", "/v1/_http10", stub.token).response()
    assert head.version == "HTTP/1.0" and "content-length" not in head.headers and json.loads(body)["instance"]


@pytest.mark.parametrize("size", [5, 200, 70_000])
def test_websocket_frames_are_echoed(raw, stub, size):
    key = base64.b64encode(b"k" * 16).decode()
    head = raw.request("GET", "/v1/_ws", stub.token, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                                      ("Sec-WebSocket-Key", key)]).head()
    assert head.status == 101
    assert head.headers["sec-websocket-accept"] == base64.b64encode(
        hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    payload, mask = pattern(size), b"\1\2\3\4"
    length = bytes([0x80 | size]) if size < 126 else (b"\xfe" + size.to_bytes(2, "big") if size < 65536 else
                                                      b"\xff" + size.to_bytes(8, "big"))
    raw.send(b"\x82" + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload)))
    assert raw.take(len(length) + 1)[0] == 0x82 and raw.take(size) == payload
    raw.send(b"\x88\x80" + mask)
    assert raw.take(2) == b"\x88\x00" and raw.ended() == "fin"


# ---- gunicorn's manners

def test_expect_100_is_answered_by_the_server_itself(raw, stub):
    raw.send(b"POST /v1/_echo HTTP/1.1\r\nAuthorization: Bearer app-one\r\nContent-Length: 3\r\n"
             b"Expect: 100-continue\r\n\r\n")
    assert raw.head().status == 100
    assert json.loads(raw.send(b"abc").response()[1])["body"] == "abc"


def test_a_chunked_request_is_the_same_however_it_is_split(stub):
    wire = (b"POST /v1/_echo HTTP/1.1\r\nAuthorization: Bearer app-one\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n")
    with Raw.to(stub) as raw:
        for split in range(1, len(wire), 7):
            seen = json.loads(raw.send(wire[:split]).send(wire[split:]).response()[1])
            assert seen["body"] == "abc0123456789"
        for byte in wire:
            raw.send(bytes([byte]))
        assert json.loads(raw.response()[1])["body_size"] == 13


def test_pipelined_requests_are_answered_in_order(raw, stub):
    one = b"GET /v1/_echo?user=%d HTTP/1.1\r\nAuthorization: Bearer app-one\r\n\r\n"
    raw.send(b"".join(one % i for i in range(50)))
    assert [json.loads(raw.response()[1])["user"] for _ in range(50)] == [str(i) for i in range(50)]


def test_head_has_no_body_and_http10_closes(raw, stub):
    raw.request("HEAD", "/v1/_bytes?size=100", stub.token)
    assert raw.head().headers["content-length"] == "100"
    raw.send(b"GET /v1/_bytes?size=9&chunked=1 HTTP/1.0\r\nAuthorization: Bearer app-one\r\n\r\n")
    head = raw.head()
    assert head.version == "HTTP/1.0" and "transfer-encoding" not in head.headers and raw.rest() == pattern(9)


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", b"GET /health HTTP/1.1\r\n\r\n"], ids=["fresh", "half", "kept"])
def test_a_connection_without_a_whole_head_is_closed_after_the_idle_time(sent):
    with Stub(idle_timeout=IDLE) as stub, Raw.to(stub) as raw:
        start = time.monotonic()
        raw.send(sent)
        if sent.endswith(b"\r\n\r\n"):
            raw.response()
        assert raw.ended() == "fin" and IDLE - 0.02 < time.monotonic() - start < IDLE + 5
        assert stub.counts()["idle_closes"] == 1


def test_a_connection_in_use_outlives_the_idle_time():
    with Stub(idle_timeout=IDLE) as stub, Raw.to(stub) as raw:
        start = time.monotonic()
        while time.monotonic() - start < 2.5 * IDLE:
            last = time.monotonic()
            assert raw.request("GET", "/health").response()[0].status == 200
        assert raw.ended() == "fin" and time.monotonic() - last > IDLE - 0.02


def test_a_long_body_is_waited_for_beyond_the_idle_time():
    with Stub(idle_timeout=IDLE) as stub, Raw.to(stub) as raw:
        raw.send(b"POST /v1/_echo HTTP/1.1\r\nAuthorization: Bearer app-dify1\r\nContent-Length: 1\r\n\r\n")
        with Raw.to(stub) as idle:      # a later connection than ours has been closed for idleness
            assert idle.ended() == "fin"
        assert raw.send(b"x").response()[0].status == 200


def test_connections_beyond_the_limit_are_accepted_but_wait():
    with Stub(connections=2, idle_timeout=5) as stub:
        first, second, third = (Raw.to(stub) for _ in range(3))
        for raw in (first, second):
            raw.request("GET", "/health").response()
        third.request("GET", "/health")
        assert stub.counts()["connections_ever"] == 2 and stub.counts()["requests"] == 2
        first.close()
        assert third.response()[0].status == 200
        second.close()
        third.close()


@pytest.mark.parametrize("head, status", [
    (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 400),
    (b"GET /" + b"x" * 5000, 400),
    (b"GET /v1/ HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
    (b"GET /v1/ HTTP/1.1\r\nX: " + b"y" * 8200 + b"\r\n\r\n", 431),
    (b"GET /v1/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"GET /v1/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
    (b"GET /v1/ HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
    (b"GET /v1/ HTTP/1.1\r\nX: a\r\n fold\r\n\r\n", 400),
    (b"GET /v1/ HTTP/1.1\r\nX : a\r\n\r\n", 400),
    (b"GET /v1/ HTTP/1.1\r\nX: a\nY: b\r\n\r\n", 400),
    (b"POST /v1/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    (b"\x16\x03\x01\r\n\r\n", 400)],
    ids=["long_line", "long_half_line", "many_fields", "long_field", "length_and_chunked", "two_lengths", "nul", "fold",
         "space_colon", "bare_lf", "chunk_size", "tls"])
def test_what_cannot_be_read_gets_gunicorns_html_and_a_close(raw, stub, head, status):
    answer, body = raw.send(head).response()
    assert answer.status == status and body.startswith(b"<html>") and raw.ended() == "fin"
    assert stub.counts()["bad_requests"] == 1 and stub.requests()[0]["bad"]


def test_the_limits_themselves_still_pass(raw, stub):
    target = "/v1/_echo?" + "x" * (4094 - len("GET /v1/_echo? HTTP/1.1"))
    headers = [("X", "y" * 8187)] * 98
    assert raw.request("GET", target, stub.token, headers).response()[0].status == 200


# ---- the process

def test_records_tell_the_whole_story(raw, stub):
    chat(raw, stub)
    raw.request("POST", "/v1/_echo", stub.token, [("X-Request-ID", "r-1")], body=b"12").response()
    first, second = stub.requests()
    assert (first["method"], first["target"], first["user"]) == ("POST", "/v1/chat-messages", "alice")
    assert (second["x_request_id"], second["token"], second["body_size"]) == ("r-1", "app-one", 2)
    assert second["body_complete"] and second["finished"] and not second["aborted"] and second["number"] == 2
    assert stub.requests(since=first["id"]) == [second] and stub.requests(path="_echo") == [second]
    assert stub.counts()["methods"] == {"POST": 2}


def test_sigint_ends_it_cleanly_at_once_with_streams_open(stub):
    other = Stub("dify9")
    with Raw.to(other) as raw:
        start_stream(raw, other, stub_interval=60)
        start = time.monotonic()
        assert other.stop() == 0 and time.monotonic() - start < 2


def test_it_ends_when_its_starter_is_gone():
    stub = Stub("dify9")
    stub.process.stdin.close()
    assert stub.process.wait(5) == 0
    stub.process.stdout.close()


def test_several_start_side_by_side_on_ports_of_their_own():
    stubs = start_stubs("a", "b", "c")
    assert len({stub.port for stub in stubs} | {stub.control_port for stub in stubs}) == 6
    for stub in stubs:
        assert stub.stop() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((stub.host, stub.port))


def test_how_it_ended_is_told_like_any_other_process(stub):
    with pytest.raises(RuntimeError, match="exit 1"):
        Stub("dify9", port=stub.port)
    other = Stub("dify9")
    other.process.kill()
    assert other.process.wait(5) == other.process.poll() == other.stop() == -9
    wait_for(lambda: not os.path.exists(f"/proc/{other.pid}"))


def test_one_is_started_by_its_command_too():
    with subprocess.Popen([LAUNCHER, "--name", "dify9", "--token", "app-one", "--exit-with-stdin"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        said = json.loads(process.stdout.readline())
        assert (said["name"], said["pid"]) == ("dify9", process.pid)
        socket.create_connection(("127.0.0.1", said["port"])).close()
        process.stdin.close()
        assert process.wait(5) == 0
