"""A Dify whose worker is dead answers checks and everything else, and its streamed runs with a ping and silence."""

import contextlib
import time

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, instance, ring_find, ring_points, settings
from stub_client import Stub, wait_for

NAMES = ["dify1", "dify2", "dify3"]
POINTS = ring_points({name: 1 for name in NAMES})
FIRST_EVENT = 1.0


@pytest.fixture(scope="module")
def three():
    with contextlib.ExitStack() as stack:
        stubs = [stack.enter_context(Stub(name, chatflow=True, ping_interval=0.3)) for name in NAMES]
        yield {stub.name: stub for stub in stubs}


@pytest.fixture
def stubs(three):
    for stub in three.values():
        stub.fresh()
    return three


def config(stubs, fail_timeout="2s", **sections):
    return settings([], instances=[instance(stub, max_fails=3, fail_timeout=fail_timeout) for stub in stubs.values()],
                    timeouts={"first_event": FIRST_EVENT}, debug_headers=True, application={"state": "shared"},
                    health_check={"interval": 0.2, "healthy_threshold": 1}, **sections)


def users_of(name, count):
    return [user for user in (f"user{i}" for i in range(300)) if ring_find(POINTS, "one", user) == name][:count]


def start(stack, node, user, **inputs):
    client = stack.enter_context(node.client())
    client.request("POST", "/v1/chat-messages", TOKEN, json_body={
        "user": user, "query": "q", "response_mode": "streaming", "inputs": inputs})
    assert client.head().status == 200
    return client


def state_of(node, name="dify1"):
    return node.status()["applications"]["one"]["instances"][name]


def talk(node, user):
    """The instance that serves this user's whole stream."""
    head, body = node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
        "user": user, "query": "q", "response_mode": "streaming", "inputs": {"stub_events": 1, "stub_interval": 0}})
    assert head.status == 200 and b"workflow_finished" in body
    return head.headers["x-dify-instance"]


def test_an_instance_whose_worker_is_dead_is_ejected_and_comes_back_by_a_stream_alone(stubs):
    users = users_of("dify1", 6)
    with Node(config(stubs, workers=2)) as node, contextlib.ExitStack() as stack:
        node.wait_instance("dify1", status="healthy")
        stubs["dify1"].worker(False)
        for user in users[:2]:
            start(stack, node, user)
        wait_for(lambda: stubs["dify1"].counts()["runs_waiting"] == 2, TIMEOUT)
        time.sleep(FIRST_EVENT + 0.7)   # two are not enough, however long they wait
        assert state_of(node)["status"] == "healthy"
        start(stack, node, users[2])
        began = time.monotonic()
        node.wait_instance("dify1", status="ejected")
        assert time.monotonic() - began > FIRST_EVENT / 2
        seen = state_of(node)
        assert seen["reason"]["kind"] == "no_events" and seen["failures"] == 3
        metrics = node.request("GET", "/metrics")[1].decode()
        assert 'difyring_instance_failures_total{app="one",dify_instance="dify1"} 3' in metrics
        assert talk(node, users[3]) != "dify1"
        # Checks pass and its time is over, and others than streams are no trial: it stays out.
        time.sleep(2.6)
        for user in users[:3]:
            head, _ = node.request("GET", f"/v1/parameters?user={user}", token=TOKEN)
            assert (head.status, head.headers["x-dify-instance"] != "dify1") == (200, True)
            head, _ = node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
                "user": user, "query": "q", "response_mode": "blocking", "inputs": {}})
            assert (head.status, head.headers["x-dify-instance"] != "dify1") == (200, True)
        assert state_of(node)["status"] == "ejected"
        # The trial: one stream goes there, waits in vain, and the instance stays out.
        stubs["dify1"].forget()
        trial = start(stack, node, users[4])
        wait_for(lambda: stubs["dify1"].requests(path="/v1/chat-messages"), TIMEOUT)
        assert talk(node, users[5]) != "dify1"   # one at a time
        wait_for(lambda: state_of(node)["reason"]["kind"] == "trial_failed", TIMEOUT)
        assert state_of(node)["failures"] == 4
        trial.socket.close()
        # The worker is back: the next trial shows an event.
        stubs["dify1"].worker(True)
        wait_for(lambda: talk(node, users[5]) == "dify1", TIMEOUT, 0.1)
        node.wait_instance("dify1", status="healthy")
        assert state_of(node)["reason"]["kind"] == "trial_passed"
        assert talk(node, users[3]) == "dify1"


def test_enable_ends_it_too(stubs):
    with Node(config(stubs, fail_timeout="1h")) as node, contextlib.ExitStack() as stack:
        stubs["dify1"].worker(False)
        for user in users_of("dify1", 3):
            start(stack, node, user)
        node.wait_instance("dify1", status="ejected")
        stubs["dify1"].worker(True)
        head, _ = node.request("POST", "/admin/instances/one/dify1/enable")
        assert head.status == 200
        node.wait_instance("dify1", status="healthy")


def test_a_busy_worker_is_no_failure(stubs):
    """Three wait in vain, but the stream of another has events."""
    users = users_of("dify1", 4)
    with Node(config(stubs)) as node, contextlib.ExitStack() as stack:
        node.wait_instance("dify1", status="healthy")
        busy = start(stack, node, users[3], stub_events=30, stub_interval=0.3)
        busy.chunk()
        stubs["dify1"].worker(True, busy=True)
        for user in users[:3]:
            start(stack, node, user)
        wait_for(lambda: stubs["dify1"].counts()["runs_waiting"] == 3, TIMEOUT)
        time.sleep(2 * FIRST_EVENT + 1)
        assert (state_of(node)["status"], state_of(node)["failures"]) == ("healthy", 0)


def test_a_slow_model_is_no_failure(stubs):
    """Its run says at once that it has begun; a chat without a worker says nothing, not even a ping."""
    users = users_of("dify1", 8)
    with Node(config(stubs)) as node, contextlib.ExitStack() as stack:
        node.wait_instance("dify1", status="healthy")
        for user in users[:4]:
            start(stack, node, user, stub_delay=50)
        time.sleep(2 * FIRST_EVENT + 0.5)
        assert (state_of(node)["status"], state_of(node)["failures"]) == ("healthy", 0)


def test_a_chat_whose_model_is_slow_begins_with_a_late_ping(three):
    """Without a worker there is no ping at once: DIFY.md has 10 s."""
    with Stub("dify1", ping_interval=2.2) as stub:
        one = settings([], instances=[instance(stub, max_fails=1)], timeouts={"first_event": FIRST_EVENT})
        with Node(one) as node, contextlib.ExitStack() as stack:
            clients = []
            for i in range(4):
                client = stack.enter_context(node.client())
                client.request("POST", "/v1/completion-messages", TOKEN, json_body={
                    "user": f"u{i}", "response_mode": "streaming", "inputs": {"stub_delay": 50}})
                clients.append(client)
            for client in clients:
                assert client.head().status == 200
            time.sleep(2 * FIRST_EVENT + PATIENCE)
            assert state_of(node)["failures"] == 0


def test_with_nought_nobody_looks(stubs):
    value = config(stubs)
    value["timeouts"]["first_event"] = 0
    with Node(value) as node, contextlib.ExitStack() as stack:
        stubs["dify1"].worker(False)
        for user in users_of("dify1", 4):
            start(stack, node, user)
        time.sleep(2 * FIRST_EVENT)
        assert state_of(node)["failures"] == 0
