"""A node that has no file descriptor left blames no instance for it."""

import contextlib
import os
import resource
import socket
import time

import pytest
from harness import TIMEOUT, TOKEN, Node, check_error, instance, settings
from stub_client import wait_for

FEW = 48       # above what a node with one worker opens at its start, some 20, and soon used up
FALL = 3
CHECK = {"interval": "100ms", "timeout": "1s", "path": "/health", "unhealthy_threshold": FALL}


@pytest.fixture
def few_files(monkeypatch):
    wrap = os.environ.get("DIFYRING_WRAP", "")
    monkeypatch.setenv("DIFYRING_WRAP", f"prlimit --nofile={FEW}:{FEW} {wrap}")


def watched(stubs):
    return settings(stubs, workers=1, health_check=CHECK,
                    instances=[instance(stub, max_fails=FALL, fail_timeout="60s") for stub in stubs])


@contextlib.contextmanager
def used_up(node):
    """Idle clients hold all descriptors; more of the checks than it takes to be down have met with that."""
    with contextlib.ExitStack() as clients:
        def enough():
            clients.enter_context(socket.create_connection((node.host, node.port), timeout=TIMEOUT))
            return len(node.events("check_lacks")) > 2 * 2 * FALL
        wait_for(enough, TIMEOUT, interval=0.02)
        yield


def is_served(node):
    with contextlib.suppress(OSError, EOFError):   # the last one that could not be accepted
        return node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200


def test_no_instance_is_ejected_or_down_for_what_the_node_lacks(stubs, few_files):
    with Node(watched(stubs[:2])) as node, node.client() as client:
        for stub in stubs[:2]:
            node.wait_instance(stub.name, status="healthy")
        with used_up(node):
            sent = [len(stub.requests(path="/v1/")) for stub in stubs[:2]]
            for i in range(4 * FALL):
                head, body = client.request("POST", "/v1/_echo", TOKEN, json_body={"user": f"u{i}"}).response()
                check_error(head, body, 503, "service_unavailable")
                assert head.headers["retry-after"]
            told = wait_for(lambda: node.events("connect_lacks"), TIMEOUT)[0]
            assert "file descriptor" in told["lack"] and told["instance"].startswith("dify")
            assert [len(stub.requests(path="/v1/")) for stub in stubs[:2]] == sent
        wait_for(lambda: is_served(node), TIMEOUT)
        for stub in stubs[:2]:
            found = node.instances()[stub.name]
            assert (found["status"], found["eligible"], found["failures"]) == ("healthy", True, 0)
            assert found["votes"]["node-a"] == {"active": "up", "passive": "ok"}
        assert not [event for event in node.events("check_result") if event["active"] == "down"]
        assert all(line["attempts"] == 1 for line in node.wait_access(4 * FALL, status=503))


def test_who_is_connected_is_served_while_nobody_can_be_accepted(stub):
    """A worker that has no descriptor for those who wait does not stand still before their queue."""
    with Node(settings([stub], workers=1)) as node, node.client() as client:
        assert client.request("GET", "/health").response()[0].status == 200  # it has been accepted
        soft, hard = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (3, hard))   # below what libuv keeps in reserve, too
        with contextlib.ExitStack() as waiting:
            late = [waiting.enter_context(node.client()) for _ in range(3)]
            for one in late:
                one.request("GET", "/health")
            told = wait_for(lambda: node.events("accept_failed"), TIMEOUT)[0]
            assert told["error"] == "too many open files"
            began = time.monotonic()
            for _ in range(20):
                assert client.request("GET", "/health").response()[0].status == 200
            passed = time.monotonic() - began
            assert len(node.events("accept_failed")) <= 3 + passed / 0.1   # and asks again now and then only
            resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (soft, hard))
            assert [one.response()[0].status for one in late] == [200, 200, 200]


def test_a_limit_of_open_files_below_what_connections_need_is_told_at_the_start(stub, few_files):
    with Node(watched([stub])) as node:
        told, = node.events("few_open_files")
        assert told["open_files"] == FEW and told["needed"] > 2 * 8192
        assert "LimitNOFILE" in told["message"] and "limits.connections: 8192" in told["message"]


def test_the_soft_limit_of_open_files_is_raised_to_the_hard_one(stub, monkeypatch):
    monkeypatch.setenv("DIFYRING_WRAP", f"prlimit --nofile=64:1000 {os.environ.get('DIFYRING_WRAP', '')}")
    with Node(settings([stub], limits={"connections": 300})) as node:
        assert not node.events("few_open_files")
        with open(f"/proc/{node.pid}/limits", encoding="ascii") as file:
            line, = [line for line in file if line.startswith("Max open files")]
        assert line.split()[3:5] == ["1000", "1000"]
