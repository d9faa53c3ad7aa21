"""Connections as a scarce thing: what idle ones to an instance cost others, who gives way when a node is full,
clients that take nothing or send next to nothing, and what the time for all attempts ends."""

import socket
import time

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, instance, parallel, settings
from stub_client import Stub, wait_for

PLACES = 10   # of a stock Dify


@pytest.fixture
def stock():
    """An instance that serves ten connections at a time, idle ones among them."""
    with Stub("dify1", tokens=["app-one", "app-two"], connections=PLACES) as stub:
        yield stub


# ---- idle connections to an instance

def seconds_of_another_client(stub):
    """How long somebody else waits who asks the same instance."""
    began = time.monotonic()
    with socket.create_connection((stub.host, stub.port), timeout=TIMEOUT) as other:
        other.sendall(b"GET /health HTTP/1.1\r\nHost: dify\r\nConnection: close\r\n\r\n")
        assert other.recv(1000).startswith(b"HTTP/1.1 200")
    return time.monotonic() - began


def test_twenty_requests_at_once_leave_room_for_another_client_of_the_instance(stock):
    second = {"user_tokens": ["usertoken--two"], "instances": [{**instance(stock), "token": "app-two"}]}
    config = settings([stock])
    config["applications"]["two"] = second
    with Node(config) as node:
        def ask(index):
            token = TOKEN if index % 2 else "usertoken--two"
            return node.request("POST", "/v1/chat-messages", token=token, json_body={
                "user": f"u{index}", "query": "q", "inputs": {"stub_delay": 0.1}})[0].status
        waited = []
        for _ in range(4):   # one try of a busy machine may be slow; idle connections in the way always are
            assert parallel([lambda i=i: ask(i) for i in range(20)]) == [200] * 20
            waited.append(seconds_of_another_client(stock))
        assert min(waited) < 0.5 * PATIENCE, waited


def test_two_idle_connections_stay_for_who_asks_again(stock):
    with Node(settings([stock])) as node:
        def ask(index):
            return node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
                "user": f"u{index}", "query": "q", "inputs": {"stub_delay": 0.1}})[0].status
        parallel([lambda i=i: ask(i) for i in range(8)])
        wait_for(lambda: stock.counts()["connections_open"] <= 2, TIMEOUT)
        time_left = time.monotonic() + 0.5   # a third of what gunicorn and we keep them for
        while time.monotonic() < time_left:
            assert stock.counts()["connections_open"] == 2
