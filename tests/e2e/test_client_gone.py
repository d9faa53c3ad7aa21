"""What becomes of a run whose client left before its end (`client_gone`)."""

import json

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, instance, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for

SLOW = {"stub_events": 400, "stub_interval": 0.1}   # 40 s, unless it is stopped
KINDS = {"chat-messages": "/v1/chat-messages/{task}/stop", "completion-messages": "/v1/completion-messages/{task}/stop",
         "workflows/run": "/v1/workflows/tasks/{task}/stop"}


@pytest.fixture(scope="module")
def chatflow():
    with Stub("dify1", chatflow=True, ping_interval=0.2) as stub:
        yield stub


@pytest.fixture
def stub(chatflow):
    chatflow.fresh()
    return chatflow


def config(stub, rule, **more):
    return settings([], instances=[instance(stub, **more)], application={"client_gone": rule})


def begin(client, route, inputs, mode="streaming", user="al\"ice"):
    client.request("POST", f"/v1/{route}", TOKEN, json_body={
        "user": user, "query": "q", "response_mode": mode, "inputs": inputs})


def first_event(client):
    """Of the data events, the first."""
    assert client.head().status == 200
    while True:
        chunk = client.chunk()
        if b"data: " in chunk:
            return json.loads(chunk.split(b"data: ")[1])


def stops(stub):
    return stub.requests(path="/stop")


@pytest.mark.parametrize("route", KINDS)
def test_a_run_whose_client_left_is_stopped_at_its_instance(stub, route):
    with Node(config(stub, "stop")) as node:
        with node.client() as client:
            begin(client, route, SLOW)
            task = first_event(client)["task_id"]
        stop = wait_for(lambda: stops(stub), TIMEOUT)
        assert [(one["target"], one["user"], one["status"]) for one in stop] == [
            (KINDS[route].format(task=task), "al\"ice", 200)]
        line = node.wait_access(1, uri=f"/v1/{route}")[0]   # at its end, which the stop brought
        assert (line["termination"], line["aborted"], line["status"]) == ("client_left", True, 200)
        assert line["request_id"] == stop[0]["x_request_id"] and line["request_time"] < 10 * PATIENCE
        counts = stub.wait_counts(lambda counts: counts["tasks_running"] == 0, TIMEOUT)
        assert counts["aborts"] == 0   # the stream was read to its end
        assert len(stops(stub)) == 1


def test_one_that_left_before_it_told_its_task_is_stopped_then(stub):
    with Node(config(stub, "stop", max_in_flight=5)) as node:
        stub.worker(False)
        with node.client() as client:
            begin(client, "workflows/run", SLOW)
            assert client.head().status == 200   # a ping at once, and nothing yet of the run
        wait_for(lambda: stub.counts()["runs_waiting"] == 1, TIMEOUT)
        assert not stops(stub)
        stub.worker(True)
        wait_for(lambda: stops(stub), TIMEOUT)
        stub.wait_counts(lambda counts: counts["runs_ended"].get("stopped"), TIMEOUT)
        node.wait_access(1, uri="/v1/workflows/run")


@pytest.mark.slow
def test_one_that_never_tells_its_task_is_closed_after_ten_seconds(stub):
    with Node(config(stub, "stop")) as node:
        stub.worker(False)
        with node.client() as client:
            begin(client, "workflows/run", SLOW)
            assert client.head().status == 200
        watch = Stopwatch()
        wait_for(lambda: node.access(uri="/v1/workflows/run"), 2 * TIMEOUT)
        assert 9 < watch.seconds() and watch.fair_seconds() < 12 * PATIENCE and not stops(stub)
        assert stub.counts()["aborts"] == 1


def test_a_blocking_one_is_not_waited_for_with_stop(stub):
    """It tells its task with its answer alone, and holds no slot here."""
    with Node(config(stub, "stop")) as node:
        with node.client() as client:
            begin(client, "chat-messages", {"stub_delay": 20}, mode="blocking")
            wait_for(lambda: stub.requests(path="/v1/chat-messages"), TIMEOUT)
        stub.wait_counts(lambda counts: counts["aborts"] == 1, TIMEOUT)
        assert not stops(stub) and node.wait_access(1, uri="/v1/chat-messages")


@pytest.mark.parametrize("mode", ["streaming", "blocking"])
def test_with_finish_it_is_read_to_its_end(stub, mode):
    with Node(config(stub, "finish")) as node:
        with node.client() as client:
            begin(client, "workflows/run", {"stub_events": 10, "stub_interval": 0.1, "stub_delay": 0.5}, mode)
            if mode == "streaming":
                first_event(client)
            else:
                wait_for(lambda: stub.requests(path="/v1/workflows/run"), TIMEOUT)
        line = node.wait_access(1, uri="/v1/workflows/run")[0]
        assert (line["termination"], line["aborted"]) == ("client_left", True)
        record = stub.requests(path="/v1/workflows/run")[0]
        assert record["finished"] and not record["aborted"] and not stops(stub)


def test_with_abort_a_stream_is_closed_and_nothing_stopped(stub):
    with Node(config(stub, "abort")) as node:
        with node.client() as client:
            begin(client, "workflows/run", SLOW)
            first_event(client)
        stub.wait_counts(lambda counts: counts["aborts"] == 1, TIMEOUT)
        assert stub.counts()["tasks_running"] == 1 and not stops(stub)   # Dify's worker works on
        node.wait_access(1, uri="/v1/workflows/run")
        stub.worker(False)   # and ends here


def test_a_stop_waits_for_a_slot(stub):
    """All are taken by short requests that hang: it is sent when one is free."""
    with Node(config(stub, "stop", max_in_flight=2)) as node:
        stub.fault("stall_before_head", seconds=0.5, match="/v1/info")
        with node.client() as client, node.client() as other:
            begin(client, "chat-messages", SLOW)
            first_event(client)
            other.request("GET", "/v1/info?user=x", TOKEN)
            wait_for(lambda: stub.requests(path="/v1/info"), TIMEOUT)
            client.socket.close()
            wait_for(lambda: stops(stub), TIMEOUT)
            assert other.response()[0].status == 200
        stub.wait_counts(lambda counts: counts["tasks_running"] == 0, TIMEOUT)


def test_an_ordinary_end_stops_nothing(stub):
    with Node(config(stub, "stop")) as node:
        with node.client() as client:
            begin(client, "chat-messages", {"stub_events": 2, "stub_interval": 0})
            client.response()
        assert node.wait_access(1, uri="/v1/chat-messages")[0]["termination"] == "complete" and not stops(stub)
