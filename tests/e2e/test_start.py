"""A node that cannot start says why, in one clear line each, and exits with the right code."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess

import pytest
from harness import BIN, TIMEOUT, TOKEN, Node, instance, run_command, settings
from stub_client import wait_for

PROBLEM = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): (?P<message>\S.*)$")
MORE = re.compile(r"difyring: \d+ more problems")
HEAD = "listen:\n  - address: 127.0.0.1:0\n"
APPS = """applications:
  one:
    user_tokens: ["t-secret"]
    instances:
      - { name: dify1, host: 127.0.0.1, port: 1, token: k-secret }
"""
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def problems(tmp_path, text, command="run"):
    """Runs it on `text`; [(line, column, message)]. It must end with 1, and say only such lines."""
    path = tmp_path / "node.yaml"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text, encoding="utf-8")
    result = run_command(command, "-c", str(path))
    assert result.returncode == 1, (result.returncode, result.stderr)
    found = []
    lines = (result.stderr + result.stdout).splitlines()
    if MORE.fullmatch(lines[-1]):   # after so many that nobody reads on
        assert len(lines) > 50
        lines.pop()
    for line in lines:
        match = PROBLEM.match(line)
        assert match and match["file"] == str(path), line
        found.append((int(match["line"]), int(match["column"]), match["message"]))
    assert found
    return found


@pytest.mark.parametrize("command", ["run", "check"])
def test_all_problems_of_a_file_are_told(tmp_path, command):
    text = (HEAD + "aplications: {}\nworkers: many\nlimits: { header_size: 7TB, headers: 100, headers: 101 }\n"
            "timeouts: { idle: never }\n" + APPS.replace("port: 1", "port: 70000"))
    found = problems(tmp_path, text, command)
    assert len(found) >= 6
    assert [line for line, _, _ in found] == sorted(line for line, _, _ in found)
    assert {3, 4, 5, 6, 11} <= {line for line, _, _ in found}
    assert not any("secret" in message for _, _, message in found)


@pytest.mark.parametrize("text", [
    "", "   \n# nothing\n", "a: [", "\t", "- a\n- b\n", "just text", "listen: [", b"\x00\x01\x02\xff\xfe" * 50,
    b"\xff\xfe" + (HEAD + APPS)[:31].encode("utf-16-le"), (HEAD + APPS)[:60], "{" * 2000, "a: &a [*a]\n", HEAD, APPS,
    HEAD + "applications: {}\n", HEAD + APPS.replace('["t-secret"]', "[]"), HEAD + APPS.replace("k-secret", '""'),
    HEAD + APPS + "x: &x [1,2,3]\n" * 200, HEAD.replace("127.0.0.1:0", "nowhere:0") + APPS,
    HEAD + APPS.replace("k-secret", "${NOT_SET_ANYWHERE}"), HEAD + APPS.replace("name: dify1", 'name: "a b\\n"')],
    ids=lambda text: repr(text[:20]))
def test_odd_files_are_told_in_lines_and_never_crash(tmp_path, text):
    problems(tmp_path, text)


@pytest.mark.parametrize("wrong", ["[]", "{}", "null", "-1", "1e99", "true", '"x\\0y"', "0x10", "~", "'"])
@pytest.mark.parametrize("key", ["listen", "workers", "limits", "timeouts", "log", "admin", "health_check", "retries",
                                 "consistent_hash", "user_id", "debug_headers", "applications", "node"])
def test_every_wrong_type_is_told_or_taken(tmp_path, key, wrong):
    """check, so that what is taken ends too."""
    path = tmp_path / "node.yaml"
    sections = {"listen": HEAD, "applications": APPS}
    sections[key] = f"{key}: {wrong}\n"
    path.write_text("".join(sections.values()))
    result = run_command("check", "-c", str(path))
    assert result.returncode in (0, 1), result
    if result.returncode == 1:
        assert all(PROBLEM.match(line) for line in (result.stdout + result.stderr).splitlines())


def test_a_huge_file_is_refused(tmp_path):
    problems(tmp_path, HEAD + "#" * 40_000_000 + "\n" + APPS + "zzz: 1\n")


def test_a_missing_file(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        result = run_command("run", "-c", str(path))
        assert result.returncode == 1
        line, = result.stderr.splitlines()
        assert str(path) in line


def test_the_port_is_taken(stubs, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        node = Node(settings(stubs, listen=[{"address": address}]), wait=False)
        try:
            assert node.wait() == 1
            said = [line for line in node.stderr().splitlines() if "in use" in line.lower()]
            assert len(said) == 1 and address in said[0]
            assert f"`ss -ltnp 'sport = :{address.rpartition(':')[2]}'` shows by whom" in said[0]
        finally:
            node.destroy()


def test_two_nodes_do_not_share_a_port(stubs):
    """SO_REUSEPORT is for one node's workers: a second node must not take half of the connections."""
    with Node(settings(stubs)) as first:
        second = Node(settings(stubs, listen=[{"address": f"127.0.0.1:{first.port}"}]), wait=False)
        try:
            assert second.wait() == 1
            assert "in use" in second.stderr().lower()
        finally:
            second.destroy()
        assert first.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200


def test_a_log_that_cannot_be_written(stubs):
    for name in ("access", "error"):
        node = Node(settings(stubs), wait=False, logs={name: "{dir}/no/such/folder/x.log"})
        try:
            assert node.wait() == 1
            line, = node.stderr().splitlines()
            assert "no/such/folder/x.log" in line and "is its folder there, and ours?" in line
        finally:
            node.destroy()


@pytest.mark.parametrize("arguments, code", [
    ([], 2), (["run"], 2), (["fly"], 2), (["run", "-x"], 2), (["run", "-c"], 2), (["run", "-c", "a", "b"], 2),
    (["-h"], 0), (["run", "-h"], 0), (["check", "-h"], 0), (["ring", "-h"], 0), (["version", "-h"], 0), (["version"], 0),
    (["check", "-c", "/no/such"], 1)])
def test_exit_codes(arguments, code):
    result = run_command(*arguments)
    assert result.returncode == code, result
    said = result.stdout if code == 0 or arguments[:1] == ["check"] else result.stderr   # problems are what check is for
    assert said.strip()


def test_check_is_content_with_a_good_file(stubs, tmp_path):
    path = tmp_path / "node.yaml"
    path.write_text(HEAD + APPS)
    assert run_command("check", "-c", str(path)).returncode == 0


@pytest.mark.smoke
def test_it_starts_serves_and_stops(stubs):
    with Node(settings(stubs)) as node:
        assert node.echo("/v1/_echo?user=u")["user"] == "u"
        assert [event["event"] for event in node.events() if event["event"] in ("listening", "ready")] == [
            "listening", "ready"]


def test_without_a_node_section_it_has_its_hosts_name_and_a_worker_on_each_usable_cpu(stubs):
    config = settings(stubs)
    del config["workers"], config["node"]   # auto; the host's name
    with Node(config) as node:
        told, = node.events("no_state_dir")
        assert told["level"] == "warning" and "nothing survives a restart" in told["message"]
        said = run_command("check", "-c", node.conf_path).stdout
        assert f"{node.conf_path}:0:0: note: `node.state_dir` is not set: nothing survives a restart\n" in said
        cpus = []
        for thread in os.listdir(f"/proc/{node.pid}/task"):
            with open(f"/proc/{node.pid}/task/{thread}/status", encoding="ascii") as file:
                fields = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
            if fields["Name"] == "worker":
                cpus.append(fields["Cpus_allowed_list"])
        usable = os.sched_getaffinity(node.pid)
        assert sorted(cpus) == sorted(str(cpu) for cpu in usable)
        own = node.status()["node"]
        assert (own["workers"], own["name"]) == (len(usable), socket.gethostname())


def real_ip(host, port):
    """What the instance is told of a client that connects to this address."""
    with socket.create_connection((host, port), TIMEOUT) as raw:
        raw.sendall(b"GET /v1/_echo?user=u HTTP/1.0\r\nAuthorization: Bearer %b\r\n\r\n" % TOKEN.encode())
        text = b""
        while piece := raw.recv(65536):
            text += piece
    fields = json.loads(text.partition(b"\r\n\r\n")[2])["headers"]
    return [value for name, value in fields if name == "X-Real-IP"]


def test_several_addresses_and_ipv6(stubs):
    config = settings(stubs, listen=[{"address": "127.0.0.1:0"}, {"address": "[::1]:0"}, {"address": "[::]:0"}])
    with Node(config) as node:
        addresses = [event["address"].rpartition(":") for event in node.events("listening")]
        assert [host for host, _, _ in addresses] == ["127.0.0.1", "[::1]", "[::]"]
        assert real_ip("::1", int(addresses[1][2])) == ["::1"]
        every = int(addresses[2][2])   # of IPv4, too: so a virtual IP of IPv4 reaches it
        assert real_ip("::1", every) == ["::1"] and real_ip("127.0.0.1", every) == ["127.0.0.1"]
        line = node.wait_access(remote_addr="127.0.0.1")[0]
        assert line["peer_addr"] == "127.0.0.1"


def with_both(stubs):
    """A node that listens on [::] and 127.0.0.1 at one port, and that port."""
    for left in range(3, -1, -1):   # somebody else may take the port before the node has it
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        node = Node(settings(stubs, listen=[{"address": f"[::]:{port}"}, {"address": f"127.0.0.1:{port}"}]), wait=False)
        wait_for(lambda: node.events("ready") or node.process.poll() is not None, TIMEOUT)
        if node.process.poll() is None or left == 0:
            return node, port
        text = node.stderr()
        node.destroy()
        assert "Address already in use" in text, text
    return None


def test_beside_a_listener_of_ipv4_the_wildcard_of_ipv6_has_what_is_left(stubs):
    node, port = with_both(stubs)
    with node:
        assert real_ip("::1", port) == ["::1"] and real_ip("127.0.0.1", port) == ["127.0.0.1"]


def test_values_come_from_the_environment(stubs):
    own = {**instance(stubs[0]), "token": "${E2E_KEY}"}
    with Node(settings([], instances=[own]), env={"E2E_KEY": "app-one"}) as node:
        assert node.echo()["fields"]["authorization"] == ["Bearer app-one"]


def test_an_instance_given_by_name(stubs):
    own = {**instance(stubs[0]), "host": "localhost"}
    with Node(settings([], instances=[own])) as node:
        assert node.echo()["instance"] == "dify1"


def test_it_starts_before_its_instances(stubs):
    stubs[0].refuse()
    with Node(settings(stubs[:1])) as node:
        assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 503
        stubs[0].refuse(False)
        wait_for(lambda: node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200, TIMEOUT)


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_descriptors_harm_nothing(stubs, monkeypatch, redirection):
    """And nothing of ours gets their numbers, or the log would be written into it."""
    monkeypatch.setenv("DIFYRING_WRAP", f"""bash -c 'exec "$@" {redirection}' - """ + os.environ.get("DIFYRING_WRAP", ""))
    node = Node(settings(stubs), logs={"access": "stdout", "error": "{dir}/error.log"}, wait=False)
    try:
        def listening():
            with contextlib.suppress(FileNotFoundError), \
                    open(os.path.join(node.folder, "error.log"), encoding="utf-8") as file:
                return re.search(r'"event":"listening","address":"127.0.0.1:(\d+)"', file.read())
            return None
        node.port = int(wait_for(listening, TIMEOUT)[1])
        for descriptor in range(3):
            assert os.readlink(f"/proc/{node.pid}/fd/{descriptor}").startswith(("/dev/null", node.folder))
        assert node.request("GET", "/v1/_echo", token=TOKEN)[0].status == 200
        node.stop()
    finally:
        node.destroy()


@pytest.mark.parametrize("arguments", [["version"], ["keygen"], ["-h"]])
def test_a_command_with_nowhere_to_print_fails(arguments):
    command = ["bash", "-c", 'exec "$@" >&-', "-", BIN, *arguments]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    assert result.returncode == 1 and "cannot write to standard output" in result.stderr


def test_term_while_starting_ends_it(stubs):
    for _ in range(5):
        node = Node(settings(stubs), wait=False)
        try:
            wait_for(lambda it=node: os.path.getsize(it.error_path) > 0, TIMEOUT)
            node.signal(signal.SIGTERM)
            assert node.wait() == 0
        finally:
            node.destroy()
