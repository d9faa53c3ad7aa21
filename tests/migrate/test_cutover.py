"""deploy/dify-migrate cutover, rollback and clean: two nodes of difyring, clients that chat all the time, and two
compose projects as two servers. Every test demands that no request has failed and that each conversation is found."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

import pytest

from daemon import ROOT
from test_migrate import HERE, SECRETS, TOKEN, Server, daemon, fill, migrate, ssh_of, write  # noqa: F401

BINARY = os.environ.get("DIFYRING_BIN") or os.path.join(ROOT, "build", "release", "node", "difyring")
USERS = {"one": "SECRET-user-one", "only": "SECRET-user-only"}
OLD, NEW = 15011, 15012
CLIENTS = 4
CONFIG = """\
# The operator's own words stay.
node: {{ name: {name}, state_dir: {folder}/{name} }}
listen: [ {{ address: "127.0.0.1:{port}" }} ]
workers: 1
admin: {{ token: SECRET-admin, allow: [] }}
log: {{ access: {folder}/{name}.access, error: {folder}/{name}.error }}
cluster:
  {{ name: move, profile: local, bind: "127.0.0.1:{udp}", join: ["127.0.0.1:7951", "127.0.0.1:7952"], keys: [{key}] }}
health_check: {{ interval: 1s, timeout: 10s }}
applications:
  one:
    user_tokens: [SECRET-user-one]
    queue: {{ size: 100, timeout: 20s }}
    instances:
      - {{ name: dify1, host: 127.0.0.1, port: {old}, token: SECRET-app-token }}   # moves
      - name: dify2
        host: 127.0.0.1
        port: 15090
        token: app-two
  only:
    user_tokens: [SECRET-user-only]
    queue: {{ size: 100, timeout: 20s }}
    instances:
      - name: dify1
        # the same Dify, another application
        port: {old}
        host: "127.0.0.1"
        token: SECRET-app-token
"""


class Pair:
    """Two nodes, an instance that stays (a stand-in), and whoever chats; all in the daemon's network."""

    def __init__(self, server, folder):
        self.enter = ["nsenter", "-n", "-t", server.daemon_pid()]
        self.folder, self.processes = folder, []
        (folder / "token").write_text("SECRET-admin\n")
        key = subprocess.run([BINARY, "keygen"], capture_output=True, text=True, check=True).stdout.strip()
        self.start([os.path.join(ROOT, "tests/stub/dify_stub"), "--name", "dify2", "--token", "app-two", "--port", "15090"])
        for number, name in enumerate(("node-a", "node-b"), 1):
            self.file(name).write_text(CONFIG.format(name=name, folder=folder, port=8100 + number, udp=7950 + number, old=OLD, key=key))
            self.start([BINARY, "run", "-c", str(self.file(name))])
        try:
            self.wait(lambda status: status["cluster"]["alive"] == 2 and self.instance(status)["status"] == "healthy")
        except BaseException:
            self.end()
            raise

    def file(self, name):
        return self.folder / f"{name}.yaml"

    def start(self, command, **more):
        process = subprocess.Popen([*self.enter, *command], stdin=subprocess.DEVNULL, **{"stdout": subprocess.DEVNULL, **more})
        self.processes.append(process)
        return process

    def curl(self, path, method="GET", port=8101, token="SECRET-admin"):
        done = subprocess.run([*self.enter, "curl", "-sS", "-m", "60", "-X", method, "-H", f"Authorization: Bearer {token}",
                               f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    @staticmethod
    def instance(status, app="one"):
        return status["applications"][app]["instances"]["dify1"]

    def status(self, port=8101):
        return self.curl("/status", port=port)

    def wait(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if status and "applications" in status and condition(status):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.2)

    def ports(self):
        return {self.instance(self.status(port), app)["port"] for port in (8101, 8102) for app in USERS}

    def chat(self):
        process = self.start([sys.executable, os.path.join(HERE, "chatter.py"), ",".join(USERS.values()),
                              "http://127.0.0.1:8101,http://127.0.0.1:8102", str(CLIENTS)], stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "started\n"
        time.sleep(1.5)
        return process

    def check(self, process, held=True):
        """Ends the clients: none has failed, and all that they said is there, in order, at both nodes."""
        time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=500)
        report = json.loads(output)
        assert report["failed"] == [], report["failed"][:5]
        assert report["requests"] > 4 * CLIENTS and (not held or report["longest"] > 1)
        for conversation in report["conversations"]:
            query = urllib.parse.urlencode({"user": conversation["user"], "conversation_id": conversation["id"], "limit": 100})
            for port in (8101, 8102):
                found = self.curl(f"/v1/messages?{query}", port=port, token=conversation["token"])
                assert [one["query"] for one in found["data"]] == conversation["texts"], conversation
        print(f"clients: {report['requests']} requests, {len(report['failed'])} failed, longest {report['longest']} s, "
              f"{len(report['conversations'])} conversations")
        return report

    def end(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for name in ("node-a", "node-b"):
            for kind in ("access", "error"):
                text = (self.folder / f"{name}.{kind}").read_text(encoding="utf-8")
                assert not [secret for secret in (*SECRETS, *USERS.values(), "SECRET-admin") if secret in text]


def no_secret_is_kept(folder):
    """In what a move writes down."""
    own = os.path.join(folder, ".dify-migrate")
    for name in os.listdir(own) if os.path.isdir(own) else []:
        with open(os.path.join(own, name), encoding="utf-8") as file:
            text = file.read() if name != "dify-migrate" else ""
        assert not [secret for secret in (*SECRETS, *USERS.values(), "SECRET-admin") if secret in text], name


@pytest.fixture(scope="module")
def servers(daemon, tmp_path_factory):  # noqa: F811
    base = tmp_path_factory.mktemp("cutover") / "srv of Größe"
    base.mkdir()
    shutil.copytree(os.path.join(HERE, "project"), base / "old")
    env = base / "old" / ".env"
    env.write_text(env.read_text().replace("EXPOSE_PORT=15001", f"EXPOSE_PORT={OLD}"))
    old = Server(daemon, base / "old", OLD).start()
    fill(old)
    migrate(old, "backup", old.folder, "--to", base / "archive")
    new = Server(daemon, base / "new", NEW)
    migrate(new, "restore", base / "archive", "--to", new.folder, "--set", f"EXPOSE_PORT={NEW}", "--no-start")
    ssh, end_ssh = ssh_of(base.parent, old)
    yield {"old": old, "new": new, "base": base, "ssh": ssh}
    end_ssh()
    new.down()
    old.down()


@pytest.fixture
def pair(servers, tmp_path):
    made = Pair(servers["old"], tmp_path)
    yield made
    made.end()


def common(servers, pair):
    return ["--node", "http://127.0.0.1:8101", "--token-file", pair.folder / "token", "--config", f"root@node-a:{pair.file('node-a')}",
            "--ssh", servers["ssh"], "--hold", "600s", "--wait", "120"]


def cutover(servers, pair, *more, **how):
    return migrate(servers["old"], "cutover", servers["old"].folder, "--to", f"root@new:{servers['new'].folder}", "--old-host", f"127.0.0.1:{OLD}",
                   "--new-host", f"127.0.0.1:{NEW}", *common(servers, pair), *more, **how)


def rollback(servers, pair, *more, **how):
    return migrate(servers["old"], "rollback", servers["old"].folder, *common(servers, pair), *more, **how)


def runs(server, service="api"):
    identity = server.container(service)
    return subprocess.run(["docker", "inspect", "-f", "{{.State.Running}}", identity], env=server.env, capture_output=True,
                          text=True, check=True).stdout.strip() == "true"


def test_there_and_back_while_clients_chat(servers, pair):
    """cutover, then rollback: what was said at the new one comes back, too."""
    old, new, text = servers["old"], servers["new"], pair.file("node-a").read_text()
    assert "1. check: 2 instances" in cutover(servers, pair, "--dry-run")
    assert (pair.file("node-a").read_text(), pair.ports(), runs(old)) == (text, {OLD}, True)
    chatting = pair.chat()
    said = cutover(servers, pair)
    print(said)
    assert "every table and every file is the same" in said and "knows 2 of 2 tokens" in said
    assert pair.ports() == {NEW} and runs(new) and not runs(old) and not runs(old, "db_postgres")
    assert pair.file("node-a").read_text() == text.replace(str(OLD), str(NEW))
    assert new.redis("GET", "key") == "value"
    time.sleep(2)
    said = rollback(servers, pair)
    print(said)
    assert pair.ports() == {OLD} and runs(old) and not runs(new)
    pair.check(chatting)
    assert "has been rolled back" in rollback(servers, pair, status=1)
    for folder in old.folder, new.folder:
        no_secret_is_kept(folder)


STEPS = ("begin", "preparing", "prepared", "holding", "idle", "stopping", "copied", "compared", "starting", "healthy", "changing", "opening")


def steps_since(servers, count):
    """Of the journal's lines after the first `count`."""
    found = []
    try:
        lines = (servers["base"] / "old" / ".dify-migrate" / "moves.jsonl").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    for line in lines[count:]:
        try:
            found.append(json.loads(line)["step"])
        except ValueError:
            pass   # it is being written
    return found


def last_step(servers):
    return (steps_since(servers, 0) or ["nothing"])[-1]


def kill_at(servers, process, condition):
    """SIGKILL as soon as it is so; False if the process has ended before."""
    while process.poll() is None:
        if condition():
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.005)
    output, said = process.communicate()
    print(output + said)
    return False


def test_what_is_killed_goes_on(servers, pair):
    """SIGKILL in every state, and begun again: in the end it is done, and nobody has noticed."""
    chatting, before, killed = pair.chat(), len(steps_since(servers, 0)), []
    for step in STEPS:
        if step in steps_since(servers, before):
            continue   # the last kill came late
        assert kill_at(servers, cutover(servers, pair, wait=False), lambda step=step: step in steps_since(servers, before)), step
        killed.append(last_step(servers))
    print("killed after", killed)
    assert len(killed) >= 7 and {"stopping", "copied", "starting", "opening"} <= set(killed)
    said = cutover(servers, pair)
    assert "serves" in said and pair.ports() == {NEW}
    pair.check(chatting)
    rollback(servers, pair)


@pytest.mark.parametrize("step", ["prepared", "idle", "copied", "changing"])
def test_who_is_killed_on_the_way_back_goes_back(servers, pair, step):
    """`--back` after a kill, killed itself again and again."""
    old, text = servers["old"], pair.file("node-a").read_text()
    chatting, before = pair.chat(), len(steps_since(servers, 0))
    assert kill_at(servers, cutover(servers, pair, wait=False), lambda: step in steps_since(servers, before))
    if step == "idle":   # a rollback is another move
        assert "no finished cutover" in rollback(servers, pair, status=1)
    for patience in 0, 1, 3, 6:
        began = None

        def is_late(patience=patience):
            nonlocal began
            began = began or (time.monotonic() if last_step(servers) == "going back" else None)
            return began and time.monotonic() - began >= patience
        if not kill_at(servers, cutover(servers, pair, "--back", wait=False), is_late):
            break
    if last_step(servers) != "back":
        # The same command without --back: it was on its way back, so it goes on with that.
        assert "it went back" in cutover(servers, pair, status=1)
    assert last_step(servers) == "back" and pair.ports() == {OLD} and runs(old) and pair.file("node-a").read_text() == text
    pair.check(chatting, held=step != "prepared")
    assert "nothing is under way" in cutover(servers, pair, "--back", status=1)


@pytest.mark.parametrize("fault", ["token", "terminated", "file", "new one"])
def test_a_failure_goes_back_by_itself(servers, pair, fault):
    """Another token there; Ctrl-C while clients wait; a configuration that cannot be written; a service that does not start."""
    old, new, text = servers["old"], servers["new"], pair.file("node-a").read_text()
    env = os.path.join(new.folder, ".env")
    was = open(env, encoding="utf-8").read()
    chatting = pair.chat()
    try:
        if fault == "terminated":
            process = cutover(servers, pair, wait=False)
            pair.wait(lambda status: pair.instance(status)["status"] == "draining", 300)
            time.sleep(3)
            process.send_signal(signal.SIGTERM)
            output, said = process.communicate(timeout=400)
            assert process.returncode != 0 and "serves as before" in said, output + said
        elif fault == "file":
            process = cutover(servers, pair, wait=False)
            pair.wait(lambda status: pair.instance(status)["status"] == "draining", 300)
            pair.file("node-a").write_text(text.replace("size: 100", "size: 99", 1))   # somebody edits it meanwhile
            output, said = process.communicate(timeout=400)
            assert process.returncode == 1 and "more than the host" in said and "serves as before" in said, output + said
        else:
            broken = was.replace("APP_TOKEN=SECRET-app-token", "APP_TOKEN=other") if fault == "token" else was.replace("DB_PASSWORD=SECRET-database", "DB_PASSWORD=no")
            assert broken != was
            with open(env, "w", encoding="utf-8") as file:
                file.write(broken)
            said = cutover(servers, pair, *(["--wait", "15"] if fault == "new one" else []), status=1)
            assert "serves as before" in said and ("401" in said if fault == "token" else "ealthy" in said), said
    finally:
        with open(env, "w", encoding="utf-8") as file:
            file.write(was)
    assert pair.ports() == {OLD} and runs(old)
    assert pair.file("node-a").read_text().replace("size: 99", "size: 100") == text
    pair.check(chatting)
    if fault == "new one":   # its database keeps its first password
        new.compose("up", "-d", "db_postgres")


def test_refusals(servers, pair):
    old, new = servers["old"], servers["new"]
    words = ["cutover", old.folder, "--to", new.folder, *common(servers, pair)]
    assert "no instance of difyring" in migrate(old, *words, "--old-host", "127.0.0.1:1", "--new-host", f"127.0.0.1:{NEW}", status=1)
    assert "is an instance of difyring already" in migrate(old, *words, "--old-host", f"127.0.0.1:{OLD}", "--new-host", "127.0.0.1:15090", status=1)
    pair.curl("/admin/instances/one/dify1/drain", "POST")
    assert "drained already" in cutover(servers, pair, status=1)
    pair.curl("/admin/instances/one/dify1/enable", "POST")
    env = os.path.join(new.folder, ".env")
    was = open(env, encoding="utf-8").read()
    write(env, was.replace("SECRET_KEY=SECRET-key", "SECRET_KEY=SECRET-key-2").encode(), 0o600, (0, 0))
    new.compose("up", "--no-start")
    try:
        assert "another SECRET_KEY" in cutover(servers, pair, status=1)
    finally:
        write(env, was.encode(), 0o600, (0, 0))
        new.compose("up", "--no-start")
    wrong = pair.folder / "wrong"
    wrong.write_text("SECRET-other-admin")
    assert "not allowed" in cutover(servers, pair, "--token-file", wrong, status=1)
    assert "no finished cutover" in migrate(old, "clean", old.folder, "--node", "http://127.0.0.1:8101", "--token-file", pair.folder / "token", status=1)


def test_clean_removes_only_what_has_not_changed(servers, pair):
    """Last: the old one is gone afterwards."""
    old = servers["old"]
    words = ["clean", old.folder, "--node", "http://127.0.0.1:8101", "--token-file", pair.folder / "token"]
    chatting = pair.chat()
    process = cutover(servers, pair, wait=False)   # killed in the hold, and begun again
    pair.wait(lambda status: pair.instance(status)["status"] == "draining", 300)
    time.sleep(8)
    process.kill()
    process.communicate()
    assert "going on" in cutover(servers, pair)
    pair.check(chatting)
    stray = os.path.join(old.folder, "volumes/app/storage/stray")
    write(stray, b"changed since")
    assert "has changed since" in migrate(old, *words, status=1)
    os.unlink(stray)   # its folder has changed, too, which is no file
    old.compose("start", "worker")
    assert "worker has run since" in migrate(old, *words, status=1)
    old.compose("stop", "-t", "1", "worker")
    assert "worker has run since" in migrate(old, *words, "--yes", status=1)
    rollback(servers, pair)   # so it is moved again, which compares all again
    assert "no finished cutover" in migrate(old, *words, "--yes", status=1)
    cutover(servers, pair)
    assert "would remove" in migrate(old, *words, "--dry-run")
    assert "say --yes" in migrate(old, *words, status=1) and os.path.isdir(old.folder)
    migrate(old, *words, "--yes")
    assert not os.path.exists(old.folder)
    assert pair.ports() == {NEW}
