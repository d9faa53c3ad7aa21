"""What a run cost, as its answer told it: in the access log, /status, /metrics and /usage (doc/USAGE.md)."""

import json
import socket

import pytest
from harness import TOKEN, Node, settings
from stub_client import Stub

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
