"""Each fault of the stand-in does on the wire what its name says, to the requests that it is meant for."""

import json
import socket
import threading
import time

import pytest
from raw_client import Raw
from stub_client import Stub, wait_for

BAD_HEADS = {   # variant -> bytes that must be on the wire
    "two_lengths": b"Content-Length: ", "length_and_chunked": b"Transfer-Encoding: chunked", "nul": b"a\0b",
    "huge": b"h" * 1024 * 1024, "many": b"X-Many-4999: m", "bad_chunk_size": b"\r\n\r\nzz\r\n",
    "bad_length": b"Content-Length: 12abc", "space_colon": b"X-Space : a", "obs_fold": b"\r\n b\r\n",
    "bare_lf": b"200 OK\nServer", "cr_cr": b"200 OK\r\rServer", "cr_in_head": b"a\rX-B", "cr_in_chunk_size": b"\r\r",
    "bad_status": b"HTTP/1.1 2x0", "bad_version": b"HTTP/9.9",
    "unasked_101": b"HTTP/1.1 101", "extra_bytes": b"forged"}


@pytest.fixture(scope="module")
def stub():
    with Stub(idle_timeout=5, event_interval=0.005) as it:
        yield it


def stream(raw, stub, **inputs):
    body = {"user": "a", "response_mode": "streaming", "inputs": {"stub_events": 5, **inputs}}
    return raw.request("POST", "/v1/chat-messages", stub.token, json_body=body)


def applied(stub, kind, finished=False):
    """The fault was counted once, and the record tells it."""
    record = wait_for(lambda: [each for each in stub.requests() if each["ended_mono"]])[0]
    assert stub.counts()["faults"] == {kind: 1}
    assert (record["fault"], record["finished"], record["body_complete"]) == (kind, finished, True)


def test_refuse_refuses_and_gives_the_same_port_back(raw, stub):
    raw.request("GET", "/health").response()
    stub.refuse()
    with pytest.raises(ConnectionRefusedError):
        Raw.to(stub)
    assert raw.request("GET", "/health").response()[0].status == 200   # open connections live on
    assert stub.counts()["refusing"] is True
    with socket.socket() as thief, pytest.raises(OSError):
        thief.bind((stub.host, stub.port))
    stub.refuse(False)
    with Raw.to(stub) as again:
        assert again.request("GET", "/health").response()[0].status == 200
    stub.fault("refuse")
    with pytest.raises(ConnectionRefusedError):
        Raw.to(stub)


def test_accept_reset(stub):
    stub.fault("accept_reset")
    with pytest.raises(ConnectionResetError), Raw.to(stub) as raw:   # it may strike before connect() is back
        raw.more()
    with Raw.to(stub) as raw:
        assert raw.request("GET", "/health").response()[0].status == 200
    assert stub.counts()["faults"] == {"accept_reset": 1}


@pytest.mark.parametrize("kind, end", [("reset_before_head", "rst"), ("close_before_head", "fin")])
def test_no_head_at_all(raw, stub, kind, end):
    stub.fault(kind)
    assert stream(raw, stub).ended() == end
    applied(stub, kind)


def test_reset_after_head(raw, stub):
    stub.fault("reset_after_head")
    assert stream(raw, stub).head().status == 200
    assert raw.ended() == "rst"
    applied(stub, "reset_after_head")


@pytest.mark.parametrize("reset, end", [(False, "fin"), (True, "rst")])
def test_cut_stream_after_events(raw, stub, reset, end):
    stub.fault("cut_stream", events=3, reset=reset)
    stream(raw, stub).head()
    for _ in range(3):
        assert raw.chunk().startswith(b"data: ")
    assert raw.ended() == end
    applied(stub, "cut_stream")


def test_cut_stream_does_not_wait_for_the_next_event(raw, stub):
    stub.fault("cut_stream", events=1)
    stream(raw, stub, stub_interval=60).head()
    raw.chunk()
    assert raw.ended() == "fin"


@pytest.mark.parametrize("events", [6, 99])
def test_cut_stream_withholds_at_least_the_last_chunk(raw, stub, events):
    stub.fault("cut_stream", events=events)
    stream(raw, stub).head()
    for _ in range(6):
        raw.chunk()
    assert raw.ended() == "fin"


@pytest.mark.parametrize("size", [0, 1, 5, 400, 700])
def test_cut_stream_after_bytes(raw, stub, size):
    stub.fault("cut_stream", bytes=size)
    stream(raw, stub).head()
    assert len(raw.rest()) == size


def test_cut_length(raw, stub):
    stub.fault("cut_length", extra=7)
    head = raw.request("GET", "/v1/_bytes?size=10", stub.token).head()
    assert head.headers["content-length"] == "17" and len(raw.rest()) == 10
    applied(stub, "cut_length")


@pytest.mark.parametrize("kind, seen", [("stall_before_head", 0), ("stall_after_head", 0), ("stall_mid_body", 40)])
def test_stalls_go_on_after_their_time(raw, stub, kind, seen):
    stub.fault(kind, seconds=0.5, **({"bytes": 40} if seen else {}))
    start = time.monotonic()
    stream(raw, stub)
    if kind != "stall_before_head":
        raw.head()
        assert len(raw.take(seen)) == seen and time.monotonic() - start < 0.5
        raw.take_until(b"message_end")
    else:
        raw.response()
    assert time.monotonic() - start >= 0.5
    applied(stub, kind, finished=True)


def test_a_stall_without_a_time_lasts_until_the_client_leaves(stub):
    stub.fault("stall_before_head")
    with Raw.to(stub, timeout=0.15) as raw, pytest.raises(TimeoutError):
        raw.request("GET", "/health").head()
    wait_for(lambda: stub.counts()["aborts"] == 1)
    stub.wait_counts(lambda counts: counts["connections_open"] == 0)


def test_status_is_nginx_html_or_what_is_wanted(raw, stub):
    stub.fault("status", code=504)
    stub.fault("status", code=429, body="{}", content_type="application/json", retry_after=2)
    head, body = raw.request("GET", "/health").response()
    assert head.status == 504 and b"<center>nginx/" in body
    head, body = raw.request("GET", "/health").response()
    assert (head.status, body, head.headers["retry-after"]) == (429, b"{}", "2")
    assert [each["status"] for each in stub.requests()] == [504, 429]


def test_garbage(raw, stub):
    stub.fault("garbage")
    assert stream(raw, stub).rest().startswith(b"\x16\x03\x01")
    applied(stub, "garbage")


@pytest.mark.parametrize("variant, bytes_seen", BAD_HEADS.items())
def test_bad_heads(raw, stub, variant, bytes_seen):
    stub.fault("bad_head", variant=variant)
    wire = raw.request("GET", "/health").rest()
    assert bytes_seen in wire
    assert variant != "two_lengths" or wire.count(bytes_seen) == 2
    applied(stub, "bad_head")


def test_slow_bytes_are_right_but_slow(raw, stub):
    stub.fault("slow_bytes", ms=1, per=5)
    start = time.monotonic()
    head, body = raw.request("GET", "/health").response()
    assert json.loads(body)["status"] == "ok"
    assert time.monotonic() - start > (len(head.raw) + len(body)) / 5 * 0.001
    applied(stub, "slow_bytes", finished=True)


def test_slow_read_takes_the_body_in_small_bites(raw, stub):
    stub.fault("slow_read", per=100, ms=5)
    size = 4000
    raw.send(b"POST /v1/_echo HTTP/1.1\r\nAuthorization: Bearer app-dify1\r\nContent-Length: %d\r\n\r\n" % size)
    wait_for(lambda: stub.counts()["requests"] == 1)
    start = time.monotonic()
    sender = threading.Thread(target=raw.send, args=(b"s" * size,))
    sender.start()
    assert json.loads(raw.response()[1])["body_size"] == size
    sender.join()
    assert time.monotonic() - start > size / 100 * 0.005 * 0.9
    applied(stub, "slow_read", finished=True)


def test_early_close_idle_promises_keep_alive_and_closes(raw, stub):
    stub.fault("early_close_idle")
    head, _ = raw.request("GET", "/health").response()
    assert head.headers["connection"] == "keep-alive" and raw.ended() == "fin"
    applied(stub, "early_close_idle", finished=True)


def test_faults_hit_what_they_match_so_often_as_told(raw, stub):
    stub.fault("status", code=500, match="_echo", method="POST", skip=1, count=2)
    def status(method, path="/v1/_echo"):
        return raw.request(method, path, stub.token).response()[0].status
    assert [status("GET"), status("POST", "/v1/_status/200")] == [200, 200]
    assert [status("POST") for _ in range(4)] == [200, 500, 500, 200]
    stub.fault("status", code=500, count=None)
    assert {status("POST") for _ in range(5)} == {500}
    stub.clear()
    assert status("POST") == 200 and stub.counts()["faults"] == {"status": 7}


@pytest.mark.parametrize("wish", [{"kind": "no_such"}, {"kind": "garbage", "typo": 1},
                                  {"kind": "bad_head", "variant": "no_such"}])
def test_a_mistyped_fault_is_refused_with_the_known_names(stub, wish):
    with pytest.raises(RuntimeError, match="known: |it has: "):
        stub.fault(**wish)


@pytest.mark.parametrize("reset, end", [(False, "fin"), (True, "rst")])
def test_open_connections_can_be_dropped(raw, stub, reset, end):
    stream(raw, stub).head()
    stub.close_connections(reset)
    try:
        raw.rest()
        seen = "fin"
    except ConnectionResetError:
        seen = "rst"
    assert seen == end and stub.counts()["aborts"] == 0


def test_two_hundred_clients_get_the_fault_each_and_nobody_hangs(stub):
    stub.fault("cut_stream", events=1, count=200)
    clients = [Raw.to(stub) for _ in range(200)]
    for client in clients:
        stream(client, stub)
    for client in clients:
        client.head()
        client.chunk()
        assert client.ended() == "fin"
        client.close()
    assert stub.counts()["faults"] == {"cut_stream": 200}
    stub.wait_counts(lambda counts: counts["connections_open"] == 0 and counts["streams_open"] == 0)
