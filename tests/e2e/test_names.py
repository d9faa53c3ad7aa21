"""An instance's name with several addresses, of which not all can be reached: in a mount namespace of
the test's own, whose /etc/hosts is the test's."""

import os
import shlex
import signal
import socket
import subprocess

import pytest
from harness import BUILD, PATIENCE, TIMEOUT, TOKEN, Node, instance, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for

NAME = "dify.test"
ENTER = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"']
CAN = subprocess.run([*ENTER, "/etc/hosts", "true"], capture_output=True, check=False).returncode == 0
pytestmark = pytest.mark.skipif(not CAN, reason="needs the right to mount in a namespace of its own")


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Writes the addresses of NAME, which a node sees that is started next."""
    path = tmp_path / "hosts"
    wrap = " ".join(map(shlex.quote, [*ENTER, str(path)]))
    monkeypatch.setenv("DIFYRING_WRAP", f"{wrap} {os.environ.get('DIFYRING_WRAP', '')}")

    def write(*addresses):
        path.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} {NAME}\n" for ip in addresses))
    return write


def named(stub, **more):
    return settings([stub], instances=[{**instance(stub, max_fails=1, fail_timeout="60s"), "host": NAME}], **more)


def test_a_name_is_served_by_whichever_of_its_addresses_works(stub, hosts):
    hosts("::1", "127.0.0.2", "127.0.0.1")   # what cannot be reached comes first
    with Node(named(stub)) as node:
        for _ in range(3):
            seen = node.echo(method="POST", json_body={"user": "u"})
            assert seen["head"].status == 200
        found = node.instances()[stub.name]
        assert (found["failures"], found["votes"]["node-a"]["passive"]) == (0, "ok")
        assert [line["attempts"] for line in node.wait_access(3, app="one")] == [1, 1, 1]


def test_checks_find_the_address_that_works(stub, hosts):
    hosts("::1", "127.0.0.2", "127.0.0.1")
    check = {"interval": "100ms", "timeout": "1s", "path": "/health", "unhealthy_threshold": 1}
    with Node(named(stub, health_check=check)) as node:
        node.wait_instance(stub.name, status="healthy")
        assert not [event for event in node.events("check_result") if event["active"] == "down"]


def test_a_name_of_which_no_address_works_is_one_attempt_that_failed(stub, hosts):
    hosts("127.0.0.2", "127.0.0.3")
    with Node(named(stub)) as node:
        head, _ = node.request("GET", "/v1/_echo", token=TOKEN)
        assert head.status == 503
        assert node.wait_access(1, app="one")[0]["attempts"] == 1
        node.wait_instance(stub.name, failures=1)


@pytest.mark.skipif(BUILD != "release", reason="waits 30 s for a second look-up, which no build does otherwise")
def test_a_name_that_moves_takes_the_requests_with_it(hosts):
    hosts("127.0.0.2")
    with Stub("old", token="app-dify", host="127.0.0.2") as old, \
            Stub("new", token="app-dify", host="127.0.0.3", port=old.port) as new, Node(named(old)) as node:
        def served_by_new():   # often enough that the connection is never idle for as long as it is kept
            assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200
            return new.requests(path="/v1/_echo")
        served_by_new()
        hosts("127.0.0.3")
        wait_for(served_by_new, 45, interval=0.5)
        before = len(old.requests())
        assert all(served_by_new() for _ in range(10))
        assert len(old.requests()) == before


# ---- a name server that does not answer

@pytest.fixture
def silent(tmp_path, monkeypatch):
    """Nodes that are started next ask a name server that says nothing: a look-up takes 10 s."""
    own = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"   # tests run beside each other
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        try:
            server.bind((own, 53))
        except OSError as error:
            pytest.skip(f"port 53 cannot be had: {error}")
        path = tmp_path / "resolv.conf"
        path.write_text(f"nameserver {own}\noptions timeout:5 attempts:2\n")
        enter = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(path)]
        monkeypatch.setenv("DIFYRING_WRAP", f"{' '.join(map(shlex.quote, enter))} {os.environ.get('DIFYRING_WRAP', '')}")
        yield server


def without_answer(stub, count=8, **more):
    names = [{**instance(stub), "name": f"gone{n}", "host": f"gone{n}.dify.test"} for n in range(count)]
    return settings([stub], instances=[instance(stub), *names], **more)


def test_a_check_before_the_first_look_up_has_ended_is_no_failure(stub, silent):
    check = {"enabled": True, "interval": "100ms", "timeout": "1s", "unhealthy_threshold": 1}
    with Node(without_answer(stub, 1, health_check=check)) as node:   # starts after 3 s
        node.wait_instance(stub.name, status="healthy")   # so checks are made
        found = node.instances()["gone0"]
        assert (found["status"], found["eligible"]) == ("unknown", True)
        assert not [event for event in node.events("check_result") if event["active"] == "down"]
        node.wait_instance("gone0", seconds=10 * PATIENCE, status="unhealthy")   # now it is known to have none
        stop_quickly(node)


def stop_quickly(node):
    watch = Stopwatch()
    node.signal(signal.SIGTERM)
    assert node.wait() == 0
    assert watch.fair_seconds() < 1.5 * PATIENCE


def test_names_without_an_answer_do_not_hold_up_the_end(stub, silent):
    with Node(without_answer(stub)) as node:   # 3 s are given to the first look-ups
        stop_quickly(node)
    assert silent.recv(512)   # it was asked


def test_names_without_an_answer_hold_up_neither_files_nor_a_reload_nor_the_end_after_it(stub, silent, tmp_path):
    state = tmp_path / "state"
    config = without_answer(stub, node={"name": "node-a", "state_dir": str(state)})
    with Node(config) as node:
        node.echo()
        wait_for((state / "state").exists, 2 * PATIENCE)   # what was counted
        watch = Stopwatch()
        assert node.reload(without_answer(stub, 4, node=config["node"]))[0] == 200
        assert watch.fair_seconds() < PATIENCE
        stop_quickly(node)


def test_a_node_that_waits_for_its_own_name_can_be_told_to_stop(stub, silent, tmp_path):
    config = settings([stub], cluster={"keys": ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="],
                                       "bind": "127.0.0.1:0", "advertise": "me.dify.test:7946"})
    node = Node(config, wait=False)
    try:
        assert wait_for(lambda: silent.recv(512), TIMEOUT)   # it waits for the answer
        stop_quickly(node)
    finally:
        node.destroy()
