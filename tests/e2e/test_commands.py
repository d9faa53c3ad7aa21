"""The command line of SPEC §1 but for `run`: what each command prints, its exit code, its errors."""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest

from harness import BIN, PATIENCE, ROOT, TIMEOUT, Node, ring_points, run_command, settings
from stub_client import wait_for

COMMANDS = ["run", "check", "ring", "status", "explain", "vrrp-config", "vip-guard", "vip-relay", "keygen", "version"]
NEED_CONFIG = ["run", "check", "ring", "vrrp-config"]
EXAMPLES = [os.path.join(ROOT, "conf", "examples", name) for name in
            ("full.yaml", "quickstart-a.yaml", "quickstart-b.yaml", "two-applications.yaml",
             "behind-a-balancer.yaml", "slots.yaml")]
PROBLEM = re.compile(r"^(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<message>.+)$")
SECRETS = ["SECRET-user", "SECRET-app", "SECRET-admin"]

GOOD = """\
listen:
  - address: 127.0.0.1:0
admin: { token: SECRET-admin }
applications:
  app:
    user_tokens: [SECRET-user]
    instances:
      - { name: a, host: 127.0.0.1, port: 1, token: SECRET-app-1 }
      - { name: b, host: 127.0.0.1, port: 2, token: SECRET-app-2, weight: 2 }
      - { name: c, host: 127.0.0.1, port: 3, token: SECRET-app-3 }
"""
WEIGHTS = {"a": 1, "b": 2, "c": 1}


def write(folder, text, name="node.yaml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def good(tmp_path):
    return write(tmp_path, GOOD)


def failed(result, code):
    """Nothing but one clear line on stderr, and this exit code."""
    assert (result.returncode, result.stdout) == (code, ""), result
    assert re.fullmatch(r"difyring.*: .+\n", result.stderr), result.stderr
    return result.stderr


def keeps_secrets(result):
    for secret in SECRETS:
        assert secret not in result.stdout + result.stderr


# ---- usage

@pytest.mark.smoke
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_everywhere_on_standard_output(option):
    result = run_command(option)
    assert (result.returncode, result.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^ +{command} ", result.stdout, re.M)
        own = run_command(command, option)
        assert (own.returncode, own.stderr) == (0, ""), command
        assert own.stdout.startswith(f"usage: difyring {command}") and "--help" in own.stdout


def test_no_command_is_bad_usage_and_lists_them():
    result = run_command()
    assert (result.returncode, result.stdout) == (2, "")
    assert all(command in result.stderr for command in COMMANDS)


@pytest.mark.parametrize("word", ["serve", "", "-x", "--versoin"])
def test_an_unknown_command_is_bad_usage(word):
    failed(run_command(word), 2)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("words", [["--nonsense"], ["-Z"], ["word"]])
def test_unknown_options_and_arguments_are_bad_usage(command, words):
    assert f"difyring {command} -h" in failed(run_command(command, *words), 2)


def test_the_value_of_a_wrong_option_is_not_repeated():
    result = run_command("status", "--token=SECRET-admin")
    assert "--token" in failed(result, 2)
    keeps_secrets(result)


@pytest.mark.parametrize("command", NEED_CONFIG)
@pytest.mark.parametrize("words", [[], ["-c"], ["--config"]])
def test_a_missing_configuration_is_bad_usage(command, words):
    failed(run_command(command, *words), 2)


def test_ring_without_an_application_is_bad_usage(good):
    assert "--app" in failed(run_command("ring", "-c", good), 2)


def test_output_that_cannot_be_written_is_a_failure(good):
    with open("/dev/full", "wb") as full:
        for arguments in (["version"], ["keygen"], ["check", "-c", good], ["-h"],
                          ["ring", "-c", good, "--app", "app"]):
            code, errors = run_with_output(full, *arguments)
            assert code == 1, arguments
            assert re.fullmatch(r"difyring: cannot write [^\n]*\n", errors), errors


def run_with_output(file, *arguments):
    result = subprocess.run([*shlex.split(os.environ.get("DIFYRING_WRAP", "")), BIN, *arguments], stdout=file,
                            stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    return result.returncode, result.stderr


# ---- version, keygen

def test_version_names_difyring_and_every_library():
    result = run_command("version")
    assert (result.returncode, result.stderr) == (0, "")
    versions = dict(line.split(" ") for line in result.stdout.splitlines())
    assert {"difyring", "libuv", "llhttp", "OpenSSL", "protobuf-c", "libyaml", "jansson"} == set(versions)
    assert all(re.fullmatch(r"\d+\.\d+(\.\d+)?\S*", version) for version in versions.values()), versions
    assert result.stdout.startswith("difyring ")


def test_each_key_is_new_and_has_32_bytes():
    keys = [run_command("keygen").stdout for _ in range(5)]
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{43}=\n", key) for key in keys), keys
    assert {len(base64.b64decode(key, validate=False)) for key in keys} == {32}
    assert len(set(keys)) == 5


def test_a_new_key_is_one_that_the_configuration_takes(tmp_path):
    key = run_command("keygen").stdout.strip()
    path = write(tmp_path, GOOD + f'cluster: {{ keys: ["{key}"] }}\n')
    result = run_command("check", "-c", path)
    assert result.returncode == 0, result.stdout
    assert key not in result.stdout + result.stderr


# ---- check

def without_notes(text):
    """What `check` has decided for the reader (`state: auto`) is neither a problem nor a warning."""
    return "".join(line for line in text.splitlines(keepends=True) if ": note: " not in line)


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_are_valid(path):
    key = run_command("keygen").stdout.strip()   # two of them want one
    result = run_command("check", "-c", path, env={**os.environ, "DIFYRING_KEY": key})
    assert (result.returncode, without_notes(result.stdout), result.stderr) == (0, f"{path} is valid\n", "")


def test_every_problem_has_its_place(tmp_path):
    text = GOOD.replace("admin:", "adnim:").replace("port: 2", "port: 99999").replace("weight: 2", "weight: heavy")
    path = write(tmp_path, text)
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr) == (1, "")
    found = [PROBLEM.match(line).groupdict() for line in result.stdout.splitlines()]
    lines = text.splitlines()
    expected = [(number + 1, line.index(word) + 1) for word in ("adnim", "99999", "heavy")
                for number, line in enumerate(lines) if word in line]
    assert [(int(one["line"]), int(one["column"])) for one in found] == expected
    assert {one["file"] for one in found} == {path}
    keeps_secrets(result)


BAD_FILES = {
    "empty": b"", "binary": bytes(range(256)) * 64, "nul": GOOD.encode() + b"\0", "open quote": b'listen: "',
    "a list": b"- 1\n- 2\n", "a number": b"7\n", "cut off": GOOD.encode()[:-20], "latin1": GOOD.encode() + b"# \xe4\n",
    "deep": b"[" * 5000, "huge": b"# " + b"x" * (5 << 20), "tab": b"listen:\n\t- address: 127.0.0.1:0\n",
    "duplicate": GOOD.encode() + b"workers: 1\nworkers: 2\n", "unset": GOOD.replace("SECRET-admin", "${NOT_SET_HERE}").encode(),
    "secret as number": GOOD.replace("port: 1", "port: SECRET-app-1").encode(),
    "secret as key": GOOD.replace("weight:", "weigth:").encode(),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_told_in_clear_lines(tmp_path, name):
    path = write(tmp_path, BAD_FILES[name])
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr) == (1, ""), result
    assert result.stdout
    for line in result.stdout.splitlines():
        found = PROBLEM.match(line)
        assert found and found["file"] == path, line
    keeps_secrets(result)


@pytest.mark.parametrize("command", ["run", "ring"])
def test_other_commands_tell_the_same_problems_on_standard_error(tmp_path, command):
    path = write(tmp_path, GOOD.replace("admin:", "adnim:"))
    more = ["--app", "app"] if command == "ring" else []
    result = run_command(command, "-c", path, *more)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{path}:3:1: " in result.stderr
    assert run_command("check", "-c", path).stdout.strip().split(": ", 1)[1] in result.stderr
    keeps_secrets(result)


def test_files_that_cannot_be_read_say_why(tmp_path):
    for path, why in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory"), ("/dev/null", "regular")):
        result = run_command("check", "-c", str(path))
        assert (result.returncode, result.stderr) == (1, "")
        assert result.stdout.startswith(f"{path}:0:0: ") and why in result.stdout, result.stdout


def test_a_short_token_is_a_warning_here_and_in_the_log(tmp_path):
    text = GOOD.replace("SECRET-user", "qqq")
    path = write(tmp_path, text)
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr) == (0, "")
    warning, last = without_notes(result.stdout).splitlines()
    assert warning.startswith(f"{path}:5:") and "warning: 1 of the user tokens of `app`" in warning
    assert last == f"{path} is valid" and "qqq" not in result.stdout
    with Node(text) as node:
        event, = node.events("config_unwise")
        assert event["level"] == "warning" and event["line"] == 5 and "qqq" not in node.stderr()


def test_check_is_content_with_a_good_file(tmp_path):
    path = write(tmp_path, GOOD)
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr, without_notes(result.stdout)) == (0, "", f"{path} is valid\n")


def test_commands_read_a_pipe(tmp_path):
    result = run_command("check", "-c", "/dev/stdin", input=GOOD)
    assert (result.returncode, without_notes(result.stdout)) == (0, "/dev/stdin is valid\n")
    assert "a\t1\t160" in run_command("ring", "-c", "/dev/stdin", "--app", "app", input=GOOD).stdout
    result = run_command("check", "-c", "/dev/stdin", input="#" * (16 * 1024 * 1024 + 1))
    assert (result.returncode, result.stdout) == (1, "/dev/stdin:0:0: the configuration cannot be read: is too large\n")
    assert "is not a regular file" in run_command("check", "-c", "/dev/null").stdout


# ---- ring

def tables(result):
    """(rows of instances, rows of users) without their titles."""
    assert result.returncode == 0, result.stderr
    keeps_secrets(result)
    first, _, second = result.stdout.partition("\n\n")
    instances, users = [[line.split("\t") for line in part.splitlines()] for part in (first, second)]
    assert instances[0] == ["instance", "weight", "points", "share", "state"]
    assert not users or users[0] == ["user", "instance", "key"]
    return instances[1:], users[1:]


def key_of(app, user):
    data = user if isinstance(user, bytes) else user.encode()
    return int.from_bytes(hashlib.sha256(app.encode() + b":" + data).digest()[:8], "big")


def place(points, key, eligible):
    """SPEC §3, word for word: the first point at or after the key whose instance is eligible."""
    for value, name in [point for point in points if point[0] >= key] + points:
        if name in eligible:
            return name
    return "-"


def exact_shares(points, eligible):
    left = [point for point in points if point[1] in eligible]
    shares = dict.fromkeys(WEIGHTS, 0)
    for index, (value, name) in enumerate(left):
        shares[name] += (value - left[index - 1][0]) % 2**64
    return {name: share / 2**64 for name, share in shares.items()}


@pytest.mark.parametrize("down", [[], ["a"], ["a", "c"]])
def test_ten_thousand_users_land_where_the_specification_says(good, down):
    users = [f"user-{i}" if i % 3 else f"ユーザー {i}@例" for i in range(10000)]
    points = ring_points(WEIGHTS)
    eligible = set(WEIGHTS) - set(down)
    words = [word for name in down for word in ("--down", name)]
    result = run_command("ring", "-c", good, "--app", "app", "--user", "-", *words, input="\n".join(users) + "\n")
    instances, rows = tables(result)
    assert rows == [[user, place(points, key_of("app", user), eligible), f"{key_of('app', user):016x}"]
                    for user in users]
    shares = exact_shares(points, eligible)
    assert instances == [[name, str(weight), str(160 * weight), f"{shares[name]:.6f}",
                          "down" if name in down else "up"] for name, weight in WEIGHTS.items()]


def test_with_one_instance_down_only_its_users_move(good):
    users = "\n".join(f"u{i}" for i in range(3000))
    arguments = ["ring", "-c", good, "--app", "app", "--user", "-"]
    before = tables(run_command(*arguments, input=users))[1]
    after = tables(run_command(*arguments, "--down", "b", input=users))[1]
    assert len(before) == len(after) == 3000
    for (user, old, _), (again, new, _) in zip(before, after):
        assert user == again and new != "b"
        assert new == old or old == "b"


def test_users_are_printed_in_the_order_given(good):
    rows = tables(run_command("ring", "-c", good, "--app", "app", "--user", "z", "--user", "-", "--user", "a b",
                              input="m\n\nn"))[1]
    assert [row[0] for row in rows] == ["z", "m", "n", "a b"]   # an empty line is no user


def test_without_users_there_is_one_table(good):
    result = run_command("ring", "-c", good, "--app", "app")
    assert len(tables(result)[0]) == 3 and "user" not in result.stdout


def test_all_down_is_honoured(tmp_path):
    everything = [word for name in WEIGHTS for word in ("--down", name)]
    for setting, served in (("try_all", True), ("fail", False)):
        path = write(tmp_path, GOOD.replace("    instances:", f"    all_down: {setting}\n    instances:"))
        instances, rows = tables(run_command("ring", "-c", path, "--app", "app", "--user", "x", *everything))
        assert {row[4] for row in instances} == {"down"}
        assert (sum(float(row[3]) for row in instances) > 0.99) == served
        wanted = place(ring_points(WEIGHTS), key_of("app", "x"), set(WEIGHTS) if served else set())
        assert rows[0][1] == wanted


def test_virtual_nodes_are_those_of_the_file(tmp_path):
    path = write(tmp_path, GOOD + "consistent_hash: { virtual_nodes: 7 }\n")
    users = [f"u{i}" for i in range(500)]
    instances, rows = tables(run_command("ring", "-c", path, "--app", "app", "--user", "-", input="\n".join(users)))
    assert [row[2] for row in instances] == ["7", "14", "7"]
    points = ring_points(WEIGHTS, 7)
    assert [row[1] for row in rows] == [place(points, key_of("app", user), set(WEIGHTS)) for user in users]


def test_unknown_names_come_with_the_known_ones(good):
    application = failed(run_command("ring", "-c", good, "--app", "nope"), 1)
    assert "`nope`" in application and application.rstrip().endswith(" app")
    instance = failed(run_command("ring", "-c", good, "--app", "app", "--down", "zz"), 1)
    assert "`zz`" in instance and instance.rstrip().endswith("a, b, c")


def test_an_algorithm_without_a_ring_is_told(tmp_path):
    path = write(tmp_path, GOOD.replace("    instances:", "    algorithm: least_connections\n    instances:"))
    result = run_command("ring", "-c", path, "--app", "app", "--user", "x")
    assert "warning" in result.stderr and len(tables(result)[1]) == 1


@pytest.mark.parametrize("user", ["", "two\nlines"])
def test_ids_that_no_request_has_are_bad_usage(good, user):
    failed(run_command("ring", "-c", good, "--app", "app", "--user", user), 2)


# ---- status

def status_command(*arguments, token=None):
    env = {name: value for name, value in os.environ.items() if name != "DIFYRING_ADMIN_TOKEN"}
    if token is not None:
        env["DIFYRING_ADMIN_TOKEN"] = token
    return run_command("status", *arguments, env=env)


@contextlib.contextmanager
def server(answer, seen=None):
    """(URL) of something that reads one request's head, keeps it in `seen`, answers these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)

        def serve():
            with contextlib.suppress(OSError), listener.accept()[0] as peer:
                peer.settimeout(TIMEOUT)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += peer.recv(4096)
                if seen is not None:
                    seen.append(request.decode())
                peer.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()


@pytest.mark.smoke
def test_status_shows_the_node_as_tables_and_as_it_came(stubs):
    with Node(settings(stubs)) as node:
        url = f"http://{node.host}:{node.port}"
        result = status_command("-u", url)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("single node: 1 of 1 nodes alive")
        for word in ("node-a", "alive", "one", *(stub.name for stub in stubs)):
            assert word in result.stdout
        raw = status_command("--url", url + "/", "--json")
        assert (raw.returncode, raw.stderr) == (0, "")
        document = json.loads(raw.stdout)
        assert list(document) == ["status", "architecture", "algorithm", "stats", "timestamp", "problems", "node",
                                  "cluster", "applications"]
        assert list(document["applications"]["one"]["instances"]) == [stub.name for stub in stubs]
        for stub in stubs:
            assert stub.token not in result.stdout + raw.stdout


def test_the_admin_token_comes_from_the_environment(stubs):
    with Node(settings(stubs, admin={"allow": [], "token": "SECRET-admin"})) as node:
        url = f"http://{node.host}:{node.port}"
        for token in (None, "", "wrong", "SECRET-admin-2"):
            result = status_command("-u", url, token=token)
            assert "DIFYRING_ADMIN_TOKEN" in failed(result, 1)
            keeps_secrets(result)
        result = status_command("-u", url, token="SECRET-admin")
        assert result.returncode == 0 and "node-a" in result.stdout
        keeps_secrets(result)


def test_a_token_cannot_add_lines_to_the_request():
    seen = []
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", seen) as url:
        status_command("-u", url, "--json", token="a\r\nX-Evil: 1")
    assert all("Evil" not in request for request in seen)


STATUS_BODY = b'{"cluster":{"name":"found","nodes":[]},"applications":{}}'
STATUS_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(STATUS_BODY), STATUS_BODY)


def run_found(*arguments, **variables):
    env = {name: value for name, value in os.environ.items() if not name.startswith("DIFYRING_")}
    result = run_command("status", *arguments, env={**env, **variables})
    assert result.returncode == 0 and "found" in result.stdout, result
    return result


def test_a_node_is_found_in_its_configuration(tmp_path):
    """Its address and its admin token; a wildcard is reached on this machine."""
    for host in ("127.0.0.1", "0.0.0.0"):
        seen = []
        with server(STATUS_ANSWER, seen) as url:
            path = write(tmp_path, GOOD.replace("127.0.0.1:0", f"{host}:{url.rpartition(':')[2]}"))
            run_found("-c", path, DIFYRING_URL="http://127.0.0.1:1", DIFYRING_ADMIN_TOKEN="other")
        assert "Authorization: Bearer SECRET-admin\r\n" in seen[0]


def test_a_node_is_found_in_the_environment():
    seen = []
    with server(STATUS_ANSWER, seen) as url:
        run_found(DIFYRING_URL=url, DIFYRING_ADMIN_TOKEN="SECRET-admin")
    assert "Authorization: Bearer SECRET-admin\r\n" in seen[0]
    with server(STATUS_ANSWER) as url:
        run_found("-u", url, DIFYRING_URL="http://127.0.0.1:1")


def test_a_port_that_the_kernel_chose_is_not_in_the_file(good):
    assert "-u URL" in failed(status_command("-c", good), 1)


def test_check_without_an_answer_says_so_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    result = status_command("-u", f"http://127.0.0.1:{port}", "--check")
    assert result.returncode == 3 and re.fullmatch(r"UNKNOWN: [^\n]*\n", result.stdout)


@pytest.mark.parametrize("severities,code", [((), 0), (("info",), 0), (("warning", "info"), 1),
                                             (("critical", "warning"), 2), (("warning", "critical"), 2)])
def test_check_has_the_exit_code_of_the_worst_problem(severities, code):
    problems = [{"severity": each, "kind": "instance_down", "subject": "a/b", "since": 1, "detail": "x"}
                for each in severities]
    body = json.dumps({"problems": problems, "cluster": {"alive": 1, "size": 1}, "applications": {}}).encode()
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        result = status_command("-u", url, "--check")
    assert result.returncode == code and result.stdout.count("\n") == 1, result


def test_nobody_there_is_a_failure():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert str(port) in failed(status_command("-u", f"http://127.0.0.1:{port}"), 1)


@pytest.mark.parametrize("answer", [
    b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Le",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
], ids=["nothing", "garbage", "short", "half a head", "no json", "500", "302"])
def test_answers_that_are_no_status_are_failures(answer):
    with server(answer) as url:
        assert url.rpartition(":")[2] in failed(status_command("-u", url), 1)


@pytest.mark.parametrize("answer,said", [
    (b"", "closed the connection without an answer"), (b"garbage\r\n\r\n", "not HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "before its answer was complete"),
], ids=["nothing", "garbage", "short"])
def test_what_came_instead_of_an_answer_is_said(answer, said):
    with server(answer) as url:
        told = failed(status_command("-u", url), 1)
        assert said in told and "5 s" not in told


@pytest.mark.parametrize("how", [[], ["--json"]])
@pytest.mark.parametrize("document", ["[]", "7", "null", "{}", "<html></html>", '{"cluster":[],"applications":{"x":7}}',
                                      '{"applications":{"a":{"instances":{"i":null}}}}'])
def test_what_is_no_status_is_a_failure(document, how):
    body = document.encode()
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        assert "no difyring status" in failed(status_command("-u", url, *how), 1)


@pytest.mark.parametrize("document", ['{"cluster":{},"applications":{"x":7}}', '{"cluster":{"nodes":7},"applications":{}}',
                                      '{"cluster":{},"applications":{"a":{"instances":{"i":null}}}}'])
def test_foreign_json_does_not_crash_it(document):
    body = document.encode()
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        assert status_command("-u", url).returncode == 0


def test_a_name_cannot_steer_the_terminal():
    body = json.dumps({"cluster": {"name": "x\x1b[2J\x9b2J", "nodes": [{"name": "n\x07\r\n"}]},
                       "applications": {"a\x1b[31m": {"instances": {"i\x1b": {"host": "\x1b]0;t\x07"}}}}}).encode()
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        result = status_command("-u", url)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", result.stdout)


def test_an_answer_that_ends_with_the_connection_is_whole():
    body = b'{"cluster":{"name":"until-close","nodes":[]},"applications":{}}'
    with server(b"HTTP/1.1 200 OK\r\n\r\n" + body) as url:
        result = status_command("-u", url)
    assert result.returncode == 0 and "until-close" in result.stdout


@pytest.mark.slow
def test_a_node_that_drips_is_given_up_on():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def drip():
            with contextlib.suppress(OSError), listener.accept()[0] as peer:
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    peer.sendall(b" ")
                    over.wait(0.2)
        over = threading.Event()
        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        start = time.monotonic()
        failed(status_command("-u", f"http://127.0.0.1:{listener.getsockname()[1]}"), 1)
        assert 4 < time.monotonic() - start < 5 + 5 * PATIENCE
        over.set()
        thread.join(TIMEOUT)


@pytest.mark.parametrize("url,said", [
    ("", "http://"), ("127.0.0.1:82", "begin with http://"), ("ftp://x", "begin with http://"), ("https://", "host"), ("http://", "host"), ("http://:82", "host"), ("http://a b", "host"),
    ("http://127.0.0.1:0x50", "no number"), ("http://127.0.0.1:abc", "no number"), ("http://127.0.0.1:", "missing"),
    ("http://127.0.0.1:99999", "65535"), ("http://127.0.0.1:999999", "65535"), ("http://127.0.0.1:86536", "65535"),
    ("http://127.0.0.1:99999999999999999999", "65535"), ("http://127.0.0.1:0", "65535"), ("http://[::1:82", "`]`"),
    ("http://[::1]82", "host"), ("http://127.0.0.1:1?x", "no query"), ("http://127.0.0.1:1/status", "no path"),
    ("http://127.0.0.1:1/?x", "no query"),
])
def test_urls_that_are_none_are_refused(url, said):
    assert said in failed(status_command("-u", url), 2)


def test_a_password_in_a_url_is_not_repeated():
    for url in ("http://admin:SECRET-admin@127.0.0.1:1/", "http://SECRET-admin@127.0.0.1:1", "http://a:SECRET@b"):
        result = status_command("-u", url)
        failed(result, 2)
        assert "SECRET" not in result.stderr


# ---- status --watch

class Terminal:
    """`difyring status --watch` on a terminal of its own."""

    def __init__(self, url, width=110, height=30):
        self.ours, theirs = os.openpty()
        self.resize(width, height, None)
        self.process = subprocess.Popen([BIN, "status", "--watch", "-u", url], stdin=theirs, stdout=theirs, stderr=theirs,
                                        start_new_session=True)
        os.close(theirs)
        self.seen = ""

    def resize(self, width, height, process):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        if process:
            process.send_signal(signal.SIGWINCH)

    def read(self):
        with contextlib.suppress(OSError):   # its end
            while select.select([self.ours], [], [], 0.01)[0]:
                self.seen += os.read(self.ours, 65536).decode()
        return self.seen

    def wait(self, text):
        wait_for(lambda: text in self.read(), TIMEOUT)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


def test_watch_is_live_until_q(stubs):
    with Node(settings(stubs)) as node:
        screen = Terminal(f"http://{node.host}:{node.port}")
        try:
            screen.wait("no problems")
            for stub in stubs:
                screen.wait(f"one/{stub.name} ")
            node.request("POST", "/admin/instances/one/dify1/drain")
            screen.wait("instance_drained one/dify1")   # without a key
            screen.seen = ""
            screen.resize(40, 10, screen.process)
            screen.wait("q quits")
            lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.read()).split("\r\n")
            assert all(len(line) <= 40 for line in lines[:9]) and len(lines) <= 11, lines
            os.write(screen.ours, b"q")
            assert screen.process.wait(TIMEOUT) == 0
            screen.read()
            assert screen.seen.endswith("\x1b[?25h\x1b[?1049l")
        finally:
            screen.close()
    assert "terminal" in failed(status_command("-u", "http://127.0.0.1:1", "--watch"), 1)


def test_watch_goes_on_while_nobody_answers_and_ends_by_signal():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    screen = Terminal(f"http://127.0.0.1:{port}")
    try:
        screen.wait("no answer: no node answers")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.process.wait(TIMEOUT) == 0
        screen.read()
        assert screen.seen.endswith("\x1b[?1049l")
    finally:
        screen.close()
