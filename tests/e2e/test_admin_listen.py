"""admin.listen: the node's own endpoints on listeners of their own (SPEC §2)."""

import contextlib
import json
import signal
import socket

import pytest
from harness import TIMEOUT, TOKEN, Client, Node, check_error, run_command, settings
from stub_client import wait_for

ADMIN, VIEW = "admin-secret-4711", "view-secret-4712"
LOOKS = ["/status", "/metrics", "/dashboard", "/admin/config", "/admin/explain?user=u"]
ACTS = ["/reload-config", "/admin/drain", "/admin/enable", "/admin/instances/one/dify1/drain",
        "/admin/instances/one/dify1/enable"]


class Door:
    """What Client takes for a node: one of its listeners."""

    def __init__(self, address):
        self.host, _, port = address.rpartition(":")
        self.port = int(port)

    def request(self, method, target, *, token=None, headers=(), body=None, json_body=None, source=None):
        with Client(self, source=source) as client:
            return client.request(method, target, token, headers, body, json_body).response()


def admin_door(node):
    clients, admin = node.events("listening")
    assert "for" not in clients and admin["for"] == "admin"
    return Door(admin["address"])


def with_door(stubs, port=0, **admin):
    return settings(stubs, admin={"listen": [f"127.0.0.1:{port}"], **admin})


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.smoke
def test_clients_find_health_alone(stubs):
    with Node(with_door(stubs, token=ADMIN)) as node:
        head, body = node.request("GET", "/health")
        assert (head.status, body.strip()) == (200, b"healthy")
        for path in LOOKS:
            for token in None, ADMIN:
                check_error(*node.request("GET", path, token=token), 404, "not_found")
        for path in ACTS:
            check_error(*node.request("POST", path, token=ADMIN), 404, "not_found")
        for source in "127.0.0.1", "127.0.0.9":   # whoever asks: nothing tells what there is elsewhere
            check_error(*node.request("GET", "/admin/nothing", source=source), 404, "not_found")
        node.echo("/v1/_echo?user=u")
        assert [line["termination"] for line in node.wait_access(2, uri="/status")] == ["local"] * 2


@pytest.mark.smoke
def test_its_own_listener_serves_no_client(stubs):
    with Node(with_door(stubs, token=ADMIN)) as node:
        door = admin_door(node)
        for method in "GET", "POST", "OPTIONS":
            head, body = door.request(method, "/v1/_echo?user=u", token=TOKEN, headers=[
                ("Origin", "http://page.example"), ("Access-Control-Request-Method", "POST")])
            check_error(head, body, 404, "not_found")
            assert b"access-control" not in head.raw.lower()
        assert not [one for stub in stubs for one in stub.requests(path="/_echo")]
        assert door.request("TRACE", "/v1/x")[0].status == 405
        head, body = door.request("GET", "/health")
        assert (head.status, body.strip()) == (200, b"healthy")
        for path in LOOKS:
            assert door.request("GET", path)[0].status == 200, path
        for path in ACTS:
            assert door.request("POST", path)[0].status == 200, path


def test_who_may_look_and_who_may_act_there(stubs):
    config = with_door(stubs, allow=["127.0.0.2/32"], token=ADMIN, view_allow=["127.0.0.3/32"], view_token=VIEW)
    with Node(config) as node:
        door = admin_door(node)
        who = [("127.0.0.9", None, 403, 403), ("127.0.0.9", TOKEN, 403, 403), ("127.0.0.3", None, 200, 403),
               ("127.0.0.9", VIEW, 200, 403), ("127.0.0.2", None, 200, 200), ("127.0.0.9", ADMIN, 200, 200)]
        for source, token, looks, acts in who:
            for path in LOOKS:
                assert door.request("GET", path, token=token, source=source)[0].status == looks, (source, token, path)
            for path in ACTS:
                assert door.request("POST", path, token=token, source=source)[0].status == acts, (source, token, path)
        wait_for(lambda: {event["asked_by"] for event in node.events("instance_drain")}
                 == {"127.0.0.2 (admin.allow)", "127.0.0.9 (admin.token)"}, TIMEOUT)
        assert not [text for text in (ADMIN, VIEW) if text in node.outputs()]


def test_commands_find_it_in_the_configuration(stubs):
    port = free_port()
    with Node(with_door(stubs, port, allow=["127.0.0.9/32"], token=ADMIN)) as node:
        node.write({**with_door(stubs, port, allow=["127.0.0.9/32"], token=ADMIN),
                    "listen": [{"address": f"127.0.0.1:{node.port}"}]})
        result = run_command("status", "-c", node.conf_path)
        assert result.returncode == 0 and "dify1" in result.stdout, result
        result = run_command("drain", "-c", node.conf_path, "one/dify1")
        assert result.returncode == 0, result
        node.write({**with_door(stubs, 0), "listen": [{"address": f"127.0.0.1:{node.port}"}]})
        result = run_command("status", "-c", node.conf_path)
        assert result.returncode == 1 and "kernel's choice" in result.stderr, result


def test_a_change_takes_a_restart_and_is_said(stubs):
    with Node(with_door(stubs, token=ADMIN)) as node:
        door = admin_door(node)

        def reload(config):
            node.write(config)
            head, body = door.request("POST", "/reload-config")
            assert head.status == 200, body
            return json.loads(body)["restart_needed"]
        assert reload(with_door(stubs, free_port(), token=ADMIN)) == ["admin.listen"]
        assert reload(settings(stubs, admin={"token": ADMIN})) == ["admin.listen"]
        assert node.request("GET", "/status")[0].status == 404   # as before
        assert door.request("GET", "/status")[0].status == 200
        assert reload(with_door(stubs, token=ADMIN)) == []


def test_addresses_are_looked_at(stubs, tmp_path):
    def check(admin, listen="127.0.0.1:7001"):
        path = tmp_path / "node.yaml"
        path.write_text(f"listen: [{{ address: '{listen}' }}]\nadmin:\n  listen: {admin}\n"
                        + "applications: {a: {user_tokens: [tttt], instances: [{name: i, host: h, port: 1, token: tttt}]}}\n",
                        encoding="utf-8")
        result = run_command("check", "-c", str(path))
        return result.returncode, [line.split(f"{path}:")[1] for line in result.stdout.splitlines() if ": " in line]
    assert check("['127.0.0.1:7002', '[::1]:7001', '127.0.0.2:7001']")[0] == 0
    code, lines = check("['127.0.0.1:7002', '127.0.0.1:7001', '127.0.0.1:7002']")
    assert code == 1 and len(lines) == 2 and lines[0].startswith("3:30: ") and "line 1" in lines[0]
    assert lines[1].startswith("3:48: ") and "line 3" in lines[1]
    assert check("['localhost:7002']")[0] == check("[{address: '127.0.0.1:7002'}]")[0] == check("['7002']")[0] == 1
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with contextlib.closing(NodeThatEnds(with_door(stubs, port))) as node:
            assert node.wait() == 1
            assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in node.stderr()


class NodeThatEnds(Node):
    def __init__(self, config):
        super().__init__(config, wait=False)

    def close(self):
        self.destroy()


@pytest.mark.threads
def test_it_drains_and_ends_as_the_others(stubs):
    with Node(with_door(stubs)) as node:
        door = admin_door(node)
        assert door.request("POST", "/admin/drain")[0].status == 200
        wait_for(lambda: node.request("GET", "/health")[0].status == 503, TIMEOUT)
        assert door.request("GET", "/health")[0].status == 503
        assert door.request("POST", "/admin/enable")[0].status == 200
        wait_for(lambda: door.request("GET", "/health")[0].status == 200, TIMEOUT)
        with Client(door) as client:
            assert client.request("GET", "/status").response()[0].status == 200
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
