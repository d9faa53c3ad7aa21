"""`difyring status`: how it finds a node, what it makes of answers, and --watch (SPEC §1)."""

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest

from certificates import Authority
from commands import GOOD, failed, good, keeps_secrets, server, write  # noqa: F401 (good is a fixture)
from harness import BIN, PATIENCE, TIMEOUT, Node, run_command, settings
from stopwatch import Stopwatch
from stub_client import wait_for

# ---- status

def status_command(*arguments, token=None):
    env = {name: value for name, value in os.environ.items() if name != "DIFYRING_ADMIN_TOKEN"}
    if token is not None:
        env["DIFYRING_ADMIN_TOKEN"] = token
    return run_command("status", *arguments, env=env)


@pytest.mark.smoke
def test_status_shows_the_node_as_tables_and_as_it_came(stubs):
    with Node(settings(stubs)) as node:
        url = f"http://{node.host}:{node.port}"
        result = status_command("-u", url)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith("single node: 1 of 1 node alive, converged: yes")
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
            told = failed(result, 1)
            assert "DIFYRING_ADMIN_TOKEN" in told and ("token that was given" in told) == bool(token)
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


def test_no_listener_is_asked_that_wants_a_proxy_header(tmp_path):
    """The one behind it is; where there is no other, that is said."""
    path = str(tmp_path / "door.yaml")
    with server(STATUS_ANSWER) as url:
        listen = [{"address": "127.0.0.1:1", "proxy_protocol": True}, {"address": url.rpartition("/")[2]}]
        for doors, code in ((listen, 0), (listen[:1], 1)):
            with open(path, "w", encoding="utf-8") as file:
                json.dump({**settings([]), "listen": doors, "trusted_proxies": ["127.0.0.0/8"], "applications": {"one": {
                    "user_tokens": ["usertoken--one"], "instances": [{"name": "a", "host": "127.0.0.1", "port": 1, "token": "app-1"}],
                }}}, file)
            result = status_command("-c", path)
            assert result.returncode == code, result
    assert "wants a PROXY header" in result.stderr


@pytest.mark.parametrize("forms", [("--json", "--check"), ("--check", "--watch"), ("--watch", "--json")])
def test_two_forms_at_once_are_bad_usage(forms):
    assert "exclude each other" in failed(status_command(*forms, "-u", "http://127.0.0.1:1"), 2)


@pytest.mark.parametrize("file", [[], ["-c", "/nowhere.yaml"]])
def test_check_that_knows_no_node_says_so_where_monitoring_reads(file):
    env = {name: value for name, value in os.environ.items() if not name.startswith("DIFYRING_")}
    result = run_command("status", "--check", *file, env=env)
    assert result.returncode == 3 and re.fullmatch(r"UNKNOWN: .+\n", result.stdout) and result.stderr


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


def test_an_https_node_is_asked_by_its_ca_by_its_file_or_blindly(stubs):
    with Authority() as ca:
        pair = ca.pair("site", ["localhost"])
        doors = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": [pair]}]
        with Node(settings(stubs, listen=doors)) as node:
            port = node.events("listening")[1]["address"].rpartition(":")[2]
            url, other = f"https://localhost:{port}", f"https://127.0.0.1:{port}"
            unknown = status_command("-u", url, "--check")
            assert unknown.returncode == 3 and "--ca FILE and --insecure" in unknown.stdout
            assert "--ca FILE and --insecure" in failed(status_command("-u", url), 1)   # nobody's that we know
            assert status_command("-u", url, "--ca", ca.path).returncode == 0
            assert status_command("-u", other, "--insecure").returncode == 0
            assert "mismatch" in failed(status_command("-u", other, "--ca", ca.path), 1)
            path = os.path.join(ca.folder, "node.yaml")   # its own certificate proves it, whatever its name
            with open(path, "w", encoding="utf-8") as file:
                json.dump(settings(stubs, listen=[{"address": f"127.0.0.1:{port}", "tls": [pair]}]), file)
            assert status_command("-c", path).returncode == 0


def test_tls_asked_of_who_speaks_none_says_so(stubs):
    with Node(settings(stubs)) as node:
        assert "does it speak plain http://?" in failed(status_command("-u", f"https://{node.host}:{node.port}"), 1)


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
    (b"", "closed the connection without an answer; does it speak TLS (https://)"), (b"garbage\r\n\r\n", "not HTTP"),
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


def entry(status="healthy", **more):
    return {"host": "10.0.0.1", "port": 80, "status": status, "eligible": status == "healthy", "requests": 334, "failures": 0,
            "active_requests": 2, "ring_share": 0.25, "max_in_flight": 10, "slots_used": 3, "queued": 4, "since": 1000,
            "reason": {"kind": "check_passed", "text": "2 checks in a row passed", "node": "n"}, "last_check": None,
            "last_minute": {"requests": 90, "failures": 5, "p95_ms": 80}, "votes": {}, **more}


def test_the_worst_comes_first_with_its_reason_slots_and_queue():
    """Instances of all applications, and nodes; what is kept though it fails is worse than what is drained."""
    reason = {"kind": "check_failed", "text": "3 checks in a row failed: refused", "node": "n"}
    status = {
        "timestamp": 1300, "problems": [{"severity": "warning", "kind": "instance_kept", "subject": "two/kept", "since": 1, "detail": "x"}],
        "node": {"name": "a"},
        "cluster": {"name": "c", "alive": 1, "size": 2, "converged": True, "nodes": [
            {"name": name, "address": "10.0.0.1:7946", "state": state, "version": "0.1.0", "key": "5f0c1122", "config_revision": 3}
            for name, state in (("a", "alive"), ("b", "dead"))]},
        "applications": {"one": {"instances": {"good": entry(max_in_flight=0), "drained": entry("draining")}},
                         "two": {"instances": {"kept": entry(), "down": entry("unhealthy", reason=reason)}}}}
    body = json.dumps(status).encode()
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        text = status_command("-u", url).stdout
    rows = {line.split()[1]: line for line in text.splitlines() if line.startswith(("one ", "two "))}
    assert list(rows) == ["kept", "down", "drained", "good"]
    head = next(line for line in text.splitlines() if line.startswith("APPLICATION"))
    assert re.split(r"  +", head) == ["APPLICATION", "INSTANCE", "STATUS", "FOR", "ELIGIBLE", "SHARE", "REQ/S", "P95 MS", "FAILED",
                                      "ACTIVE", "SLOTS", "QUEUED", "REQUESTS", "HOST", "WHY", "VOTES"]
    assert re.split(r"  +", rows["down"].strip()) == ["two", "down", "unhealthy", "5 m", "no", "25.00%", "1.5", "80", "5", "2", "3/10",
                                                      "4", "334", "10.0.0.1:80", "3 checks in a row failed: refused"]
    assert re.split(r"  +", rows["good"].strip())[10] == "-"   # no limit, no slots
    nodes = [line.split() for line in text.splitlines() if re.match(r"[ab] +10\.0\.0\.1:7946", line)]
    assert [row[0] for row in nodes] == ["b", "a"] and nodes[0][6:8] == ["0.1.0", "5f0c1122"]


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
        watch = Stopwatch()
        failed(status_command("-u", f"http://127.0.0.1:{listener.getsockname()[1]}"), 1)
        assert 4 < watch.seconds() and watch.fair_seconds() < 5 + 5 * PATIENCE
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

    def __init__(self, url, width=110, height=30, **environment):
        self.ours, theirs = os.openpty()
        self.resize(width, height, None)
        self.process = subprocess.Popen([BIN, "status", "--watch", "-u", url], stdin=theirs, stdout=theirs, stderr=theirs,
                                        start_new_session=True, env={**os.environ, "TERM": "xterm", **environment})
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


def drawn(screen):
    """The lines of the last whole picture."""
    picture = screen.read().rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", picture).split("\r\n")


def test_watch_is_live_until_q(stubs):
    with Node(settings(stubs)) as node:
        screen = Terminal(f"http://{node.host}:{node.port}")
        try:
            screen.wait("no problems")
            for stub in stubs:
                screen.wait(f"one/{stub.name} ")
            node.request("POST", "/admin/instances/one/dify3/drain")
            screen.wait("instance_drained one/dify3")   # without a key
            last = screen.read().rpartition("SLOTS")[2]
            assert last.index("one/dify3 ") < last.index("one/dify1 ") < last.index("one/dify2 ")   # the worst first
            # where lines are to spare a problem is told whole, with what to do
            assert "         `difyring enable` brings it back" in drawn(screen)
            screen.seen = ""
            screen.resize(60, 30, screen.process)
            screen.wait("q quits")
            lines = drawn(screen)
            at = next(i for i, text in enumerate(lines) if text.startswith("info     instance_drained one/dify3, for "))
            assert re.sub(" +", " ", " ".join(lines[at:at + 3])).endswith(
                " s: an operator drained it at node-a `difyring enable` brings it back"), lines
            assert all(len(line) <= 60 for line in lines) and all(line.startswith(" " * 9) for line in lines[at + 1:at + 3])
            screen.seen = ""
            screen.resize(40, 10, screen.process)
            screen.wait("q quits")
            lines = drawn(screen)
            assert all(len(line) <= 40 for line in lines) and len(lines) <= 10, lines
            screen.resize(20, 5, screen.process)   # the line of keys is cut, too
            wait_for(lambda: screen.read().endswith("q quits; numbers of \x1b[0m\x1b[J"), TIMEOUT)
            lines = drawn(screen)
            assert all(len(line) <= 20 for line in lines) and len(lines) == 5, lines
            os.write(screen.ours, b"q")
            assert screen.process.wait(TIMEOUT) == 0
            screen.read()
            assert screen.seen.endswith("\x1b[?25h\x1b[?1049l")
        finally:
            screen.close()
    assert "terminal" in failed(status_command("-u", "http://127.0.0.1:1", "--watch"), 1)


def test_watch_is_as_the_terminal_is(stubs):
    """Without colours where they are not wanted, not at all where the cursor cannot move, away on Ctrl-Z."""
    with Node(settings(stubs)) as node:
        url = f"http://{node.host}:{node.port}"
        screen = Terminal(url, NO_COLOR="1")
        try:
            screen.wait("q quits")
            assert not re.search(r"\x1b\[[0-9;]*m", screen.read())
            screen.process.send_signal(signal.SIGTSTP)
            screen.wait("\x1b[?25h\x1b[?1049l")   # the shell has its terminal again
            wait_for(lambda: open(f"/proc/{screen.process.pid}/stat").read().split()[2] == "T", TIMEOUT)
            screen.seen = ""
            screen.process.send_signal(signal.SIGCONT)
            screen.wait("\x1b[?1049h")
            screen.wait("q quits")
        finally:
            screen.close()
        screen = Terminal(url, TERM="dumb")
        try:
            assert screen.process.wait(TIMEOUT) == 1
            assert "TERM is `dumb`" in screen.read() and "\x1b" not in screen.seen
        finally:
            screen.close()


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
