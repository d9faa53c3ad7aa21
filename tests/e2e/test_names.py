"""An instance's name with several addresses, of which not all can be reached: in a mount namespace of
the test's own, whose /etc/hosts is the test's."""

import os
import shlex
import subprocess

import pytest
from harness import TOKEN, Node, instance, settings

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
