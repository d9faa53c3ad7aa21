"""The table of DIFY.md §0, row by row, as far as this stand-in claims it; each row for both versions.

Not claimed here, so not to be leaned on: whose id is known where beyond GET /v1/messages and conversations,
a dead worker, what a stop ends, and agents.
"""

import json
import time

import pytest
from raw_client import Raw
from stub_client import Stub, wait_for

VERSIONS = ["1.13.0", "1.16.0"]
IDLE = 0.5       # seconds; gunicorn's 2.0 made short
PLACES = 10
MB = 1024 * 1024
DEAD = b'{"message":"Internal Server Error","code":"unknown","status":500}\n'
WITH_A_TOKEN = [   # (method, target, JSON body)
    ("GET", "/v1/parameters", None), ("GET", "/v1/info", None), ("GET", "/v1/meta", None), ("GET", "/v1/site", None),
    ("POST", "/v1/chat-messages", {"user": "a", "query": "q", "inputs": {}}),
    ("POST", "/v1/completion-messages", {"user": "a", "inputs": {}}), ("POST", "/v1/workflows/run", {"user": "a"}),
    ("POST", "/v1/workflows/w/run", {"user": "a"}), ("GET", "/v1/workflows/run/r", None),
    ("GET", "/v1/workflow/r/events?user=a", None), ("POST", "/v1/chat-messages/t/stop", {"user": "a"}),
    ("POST", "/v1/completion-messages/t/stop", {"user": "a"}), ("POST", "/v1/workflows/tasks/t/stop", {"user": "a"}),
    ("GET", "/v1/conversations?user=a", None), ("GET", "/v1/messages?user=a&conversation_id=c", None),
    ("DELETE", "/v1/conversations/c", {"user": "a"}), ("POST", "/v1/conversations/c/name", {"user": "a"}),
    ("GET", "/v1/conversations/c/variables?user=a", None), ("POST", "/v1/messages/m/feedbacks", {"user": "a"}),
    ("GET", "/v1/messages/m/suggested?user=a", None), ("POST", "/v1/files/upload", None),
    ("GET", "/v1/files/f/preview?user=a", None), ("POST", "/v1/audio-to-text", None),
    ("POST", "/v1/text-to-audio", {"user": "a"}), ("GET", "/v1/datasets", None), ("GET", "/v1/_echo", None),
    ("GET", "/v1/apps/annotations", None), ("DELETE", "/v1/apps/annotations/a", None), ("GET", "/v1/end-users/e", None)]
NO_BEARER = "Authorization header must be provided and start with 'Bearer'"


@pytest.fixture(scope="module", params=VERSIONS)
def stub(request):
    with Stub("dify1", tokens=["app-one", "app-two", "dataset-one", "ds-one"], idle_timeout=5, event_interval=0.01,
              version=request.param) as it:
        it.version = request.param
        yield it


def ask(raw, method, target, token=None, **more):
    """(Head, JSON or bytes of the body)"""
    head, body = raw.request(method, target, token, **more).response()
    return head, json.loads(body) if head.headers.get("content-type") == "application/json" and body else body


def stream(raw, token="app-one", **inputs):
    body = {"user": "alice", "query": "a/b", "response_mode": "streaming", "inputs": inputs}
    return raw.request("POST", "/v1/chat-messages", token, json_body=body).head()


# ---- what a check may ask

@pytest.mark.parametrize("token", [None, "app-one", "app-no"])
def test_the_root_of_v1_is_an_html_404_with_and_without_a_token(raw, token):
    head, body = ask(raw, "GET", "/v1/", token)
    assert head.status == 404 and head.headers["content-type"] == "text/html; charset=utf-8"
    assert body.startswith(b"<!doctype html>")


@pytest.mark.parametrize("path", ["/v1/parameters", "/v1/info"])
@pytest.mark.parametrize("value, message", [
    (None, NO_BEARER), ("Basic app-one", NO_BEARER), ("app-one", NO_BEARER), ("Bearer", NO_BEARER),
    ("Bearer app-oneX", "Access token is invalid"), ("Bearer app-on", "Access token is invalid"),
    ("bearer dataset-one", "Access token is invalid")])
def test_parameters_and_info_want_a_known_app_token(raw, path, value, message):
    head, answer = ask(raw, "GET", path, headers=[("Authorization", value)] if value else [])
    assert head.status == 401 and head.headers["www-authenticate"] == 'Bearer realm="api"'
    assert answer == {"code": "unauthorized", "message": message, "status": 401}
    head, answer = ask(raw, "GET", path, "app-two")
    assert head.status == 200 and isinstance(answer, dict)


@pytest.mark.parametrize("token, app, dataset", [("app-one", 200, 401), ("dataset-one", 401, 200), ("ds-one", 401, 200)])
def test_each_kind_of_key_opens_its_own_routes_only(raw, token, app, dataset):
    assert ask(raw, "GET", "/v1/parameters", token)[0].status == app
    assert ask(raw, "GET", "/v1/datasets", token)[0].status == dataset


@pytest.mark.parametrize("method, target, body", WITH_A_TOKEN)
def test_an_unknown_token_is_401_everywhere(raw, method, target, body):
    for token in (None, "app-no"):
        head, answer = ask(raw, method, target, token, json_body=body)
        assert (head.status, answer["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("token", [None, "app-no"])
def test_health_and_ping_are_200_always(raw, stub, token):
    for alive in (True, False):
        stub.database(alive)
        assert ask(raw, "GET", "/health", token)[1] == {"pid": 1, "status": "ok", "version": stub.version}
        assert ask(raw, "GET", "/console/api/ping", token)[1] == {"result": "pong"}


# ---- a dead database

@pytest.mark.parametrize("method, target, body", WITH_A_TOKEN)
def test_with_a_dead_database_any_call_with_a_token_is_500(raw, stub, method, target, body):
    stub.database(False)
    for token in ("app-one", "dataset-one", "app-no"):
        head, answer = raw.request(method, target, token, json_body=body).response()
        assert (head.status, answer, head.headers["content-type"]) == (500, DEAD, "application/json")
    assert ask(raw, method, target, json_body=body)[0].status == 401


def test_with_a_dead_database_what_needs_none_goes_on(raw, stub):
    stub.database(False)
    assert stub.counts()["database_alive"] is False
    assert ask(raw, "GET", "/v1/", "app-one")[0].status == 404
    assert ask(raw, "OPTIONS", "/v1/info", headers=PREFLIGHT)[0].status == 200
    stub.database(True)
    assert ask(raw, "GET", "/v1/info", "app-one")[0].status == 200
    stub.database(False)
    stub.clear()
    assert ask(raw, "GET", "/v1/info", "app-one")[0].status == 200


# ---- browsers

PREFLIGHT = [("Origin", "https://shop.example"), ("Access-Control-Request-Method", "POST"),
             ("Access-Control-Request-Headers", "authorization,content-type")]


@pytest.mark.parametrize("path", ["/v1/chat-messages", "/v1/conversations/c", "/v1/_echo"])
def test_a_preflight_needs_no_token(raw, path):
    head, _ = ask(raw, "OPTIONS", path, headers=PREFLIGHT)
    assert head.status == 200
    seen = {name: head.headers.get(name) for name in (
        "access-control-allow-origin", "access-control-allow-headers", "access-control-allow-methods",
        "access-control-expose-headers", "vary")}
    assert seen == {
        "access-control-allow-origin": "https://shop.example",
        "access-control-allow-headers": "authorization,content-type",
        "access-control-allow-methods": "DELETE, GET, OPTIONS, PATCH, POST, PUT",
        "access-control-expose-headers": "X-Env, X-Trace-Id, X-Version", "vary": "Origin"}
    head, _ = ask(raw, "OPTIONS", path, headers=PREFLIGHT[:2])
    assert head.status == 200 and "access-control-allow-headers" not in head.headers


@pytest.mark.parametrize("token, status", [("app-one", 200), (None, 401)])
def test_answers_to_a_page_of_another_site_may_be_read_by_it(raw, token, status):
    head, _ = ask(raw, "GET", "/v1/info", token, headers=PREFLIGHT[:1])
    assert head.status == status and head.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-origin" not in ask(raw, "GET", "/v1/info", token)[0].headers
    assert "access-control-allow-origin" not in ask(raw, "GET", "/health", headers=PREFLIGHT[:1])[0].headers


# ---- heads, forms, sizes

@pytest.mark.parametrize("method, target, token", [
    ("GET", "/v1/", None), ("GET", "/v1/info", None), ("GET", "/v1/info", "app-one"), ("GET", "/health", None),
    ("PATCH", "/v1/info", "app-one"), ("OPTIONS", "/v1/info", None), ("GET", "/v1/_status/204", "app-one"),
    ("GET", "/v1/_sse?events=1", "app-one"), ("GET", "/nowhere", None)])
def test_each_answer_names_version_and_environment(raw, stub, method, target, token):
    head, _ = raw.request(method, target, token).response()
    names = [name.lower() for name, _ in head.pairs]
    assert names.count("x-version") == names.count("x-env") == 1
    assert (head.headers["x-version"], head.headers["x-env"]) == (stub.version, "PRODUCTION")
    assert head.headers["server"] == "gunicorn"


def test_blocking_answers_have_blanks_and_streamed_ones_none_and_escaped_slashes(raw):
    _, body = raw.request("POST", "/v1/chat-messages", "app-one", json_body={"user": "u", "query": "a/b"}).response()
    assert b'{"event": "message", "task_id": "' in body and b"you said: a/b" in body
    assert stream(raw).status == 200
    wire = b"".join(raw.chunks())
    assert b'data: {"event":"message","conversation_id":"' in wire and rb"a\/b" in wire and b'": ' not in wire


def test_nul_is_taken_in_a_query_and_refused_in_a_user(raw):
    kind = [("Content-Type", "application/json")]
    for text in (rb'{"user":"u","query":"a\u0000b"}', rb'{"user":"u","query":"\ud800"}', b'\xef\xbb\xbf{"user":"u"}'):
        assert ask(raw, "POST", "/v1/chat-messages", "app-one", headers=kind, body=text)[0].status == 200
    head, answer = ask(raw, "POST", "/v1/chat-messages", "app-one", headers=kind, body=rb'{"user":"a\u0000b"}')
    assert head.status == 400 and answer["code"] == "invalid_param"


def upload(raw, name, size):
    body = (b'--BB\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode() +
            b'"\r\nContent-Type: text/plain\r\n\r\n' + bytes(size) +
            b'\r\n--BB\r\nContent-Disposition: form-data; name="user"\r\n\r\nu\r\n--BB--\r\n')
    return ask(raw, "POST", "/v1/files/upload", "app-one", headers=[("Content-Type", "multipart/form-data; boundary=BB")],
               body=body)


@pytest.mark.parametrize("name, most", [("f.txt", 15), ("f.png", 10)])
def test_an_upload_over_its_limit_is_413(raw, name, most):
    assert upload(raw, name, most * MB)[0].status == 201
    head, answer = upload(raw, name, most * MB + 1)
    assert head.status == 413 and answer == {"code": "file_too_large", "message": "", "status": 413}
    assert upload(raw, "f.mp3", 15 * MB + 1)[0].status == 201


# ---- conversations: only as much of it as the other rows need

def test_messages_of_a_conversation_are_404_for_all_but_its_user_on_its_instance(raw, stub):
    _, answer = ask(raw, "POST", "/v1/chat-messages", "app-one", json_body={"user": "alice", "query": "q"})
    path = f"/v1/messages?conversation_id={answer['conversation_id']}"
    assert len(ask(raw, "GET", path + "&user=alice", "app-one")[1]["data"]) == 1
    for target in (path + "&user=bob", path):
        head, answer = ask(raw, "GET", target, "app-one")
        assert (head.status, answer["code"]) == (404, "not_found")
        assert answer["message"].startswith("Conversation Not Exists.")
    with Stub("dify2", "app-one", version=stub.version) as other, Raw.to(other) as there:
        assert ask(there, "GET", path + "&user=alice", "app-one")[0].status == 404


# ---- ten places

def test_with_ten_streams_open_the_eleventh_request_and_every_check_wait_until_one_ends(stub):
    with Stub(connections=PLACES, idle_timeout=IDLE, version=stub.version) as full:
        streams = [Raw.to(full) for _ in range(PLACES)]
        for each in streams:
            stream(each, full.token, stub_interval=60)
        wait_for(lambda: full.counts()["streams_open"] == PLACES)
        with Raw.to(full) as request, Raw.to(full) as check:   # connected at once, for the kernel does that
            request.request("GET", "/v1/info", full.token, [("Connection", "close")])
            check.request("GET", "/health", headers=[("Connection", "close")])
            request.socket.settimeout(2 * IDLE)                # they are not idle, so this is no matter of time
            with pytest.raises(TimeoutError):
                request.more()
            request.socket.settimeout(10)
            assert full.counts()["requests"] == full.counts()["connections_open"] == PLACES
            streams.pop().close()
            assert request.response()[0].status == check.response()[0].status == 200
        for each in streams:
            each.close()


def test_ten_idle_kept_alive_connections_keep_everybody_else_out_until_their_time_is_over(stub):
    with Stub(connections=PLACES, idle_timeout=IDLE, version=stub.version) as full:
        began = time.monotonic()
        kept = [Raw.to(full) for _ in range(PLACES)]
        for each in kept:
            assert each.request("GET", "/health").response()[0].headers["connection"] == "keep-alive"
        with Raw.to(full) as late:
            assert late.request("GET", "/health").response()[0].status == 200
            assert IDLE - 0.02 < time.monotonic() - began < IDLE + 5
        for each in kept:
            assert each.ended() == "fin"
            each.close()


# ---- its end

def test_sigterm_refuses_connections_and_serves_streams_to_their_end(stub):
    other = Stub(idle_timeout=IDLE, version=stub.version)
    with Raw.to(other) as raw, Raw.to(other) as idle:
        stream(raw, other.token, stub_events=100_000, stub_interval=0.02)
        task = json.loads(raw.chunk()[6:])["task_id"]
        idle.request("GET", "/health").response()
        other.terminate()
        wait_for(lambda: other.counts()["ending"])
        with pytest.raises(ConnectionRefusedError):
            Raw.to(other)
        other.refuse(False)
        other.clear()
        with pytest.raises(ConnectionRefusedError):   # nothing opens it again
            Raw.to(other)
        head, _ = ask(idle, "POST", f"/v1/chat-messages/{task}/stop", other.token, json_body={"user": "alice"})
        assert head.status == 200 and head.headers["connection"] == "close" and idle.ended() == "fin"
        assert b"message_end" in raw.chunks()[-1] and raw.ended() == "fin"
    assert other.process.wait(5) == 0
    other.stop()


def test_sigterm_does_not_wait_beyond_the_graceful_timeout(stub):
    other = Stub(graceful_timeout=0.3, version=stub.version)
    with Raw.to(other) as raw:
        stream(raw, other.token, stub_interval=60)
        other.terminate()
        assert other.process.wait(5) == 0
        with pytest.raises((EOFError, ConnectionResetError)):
            raw.chunks()
    other.stop()


def test_sigkill_in_a_stream_cuts_it_without_a_last_chunk(stub):
    other = Stub(version=stub.version)
    with Raw.to(other) as raw:
        stream(raw, other.token, stub_interval=60)
        other.kill()
        with pytest.raises((EOFError, ConnectionResetError)):
            raw.chunks()


# ---- what a run costs

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7, "total_price": "0.0000002", "currency": "USD"}


def run_of(raw, path, streaming, **inputs):
    """A blocking answer, or the events of a stream that have data."""
    raw.request("POST", path, "app-one", json_body={
        "user": "alice", "query": "q", "response_mode": "streaming" if streaming else "blocking",
        "inputs": {"stub_usage": USAGE, "stub_events": 1, **inputs}})
    _, body = raw.response()
    if not streaming:
        return json.loads(body)
    return [json.loads(data[6:]) for data in body.split(b"\n\n") if data.startswith(b"data: ")]


@pytest.mark.parametrize("path", ["/v1/chat-messages", "/v1/completion-messages"])
def test_usage_stands_in_message_end_with_exponents_and_in_a_blocking_answer_without(raw, path):
    *_, end = run_of(raw, path, True)
    usage = run_of(raw, path, False)["metadata"]["usage"]
    assert end["event"] == "message_end" and end["metadata"]["usage"]["total_price"] == "2E-7"
    assert usage["total_price"] == "0.0000002" and usage["total_tokens"] == 7


def test_a_workflow_tells_its_total_alone_and_its_nodes_their_own_usage(raw):
    answer = run_of(raw, "/v1/workflows/run", False)
    assert answer["data"]["total_tokens"] == 7 and "metadata" not in answer
    _, node, end = run_of(raw, "/v1/workflows/run", True)
    assert node["event"] == "node_finished" and node["data"]["outputs"]["usage"]["total_tokens"] == 7
    assert "message_end" in node["data"]["process_data"]["prompts"][0]["text"]
    assert end["event"] == "workflow_finished" and end["data"]["total_tokens"] == 7


def test_a_chatflow_has_a_message_end_from_1_16_on(raw, stub):
    events = [each["event"] for each in run_of(raw, "/v1/chat-messages", True, stub_mode="chatflow")]
    end = ["workflow_finished"] if stub.version == "1.13.0" else ["message_end", "workflow_finished"]
    assert events == ["workflow_started", "message", "node_finished", *end]
