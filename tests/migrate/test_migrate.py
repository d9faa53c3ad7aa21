"""deploy/dify-migrate between two compose projects with a real PostgreSQL and a real Redis."""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

import sshd
from daemon import ROOT, CannotStart, Daemon

HERE = os.path.dirname(os.path.abspath(__file__))
TOOL = os.path.join(ROOT, "deploy", "dify-migrate")
IMAGES = ["langgenius/dify-api:1.13.0", "langgenius/dify-api:1.16.0", "langgenius/dify-api:1.9.0", "difyring-test-postgres",
          "difyring-test-redis", "difyring-test-weaviate"]
SECRETS = ("SECRET-database", "SECRET-redis", "SECRET-key", "SECRET-app-token", "SECRET-passphrase")
TOKEN = "SECRET-app-token"
ODD = [b"plain", b"with space", b"new\nline", b"\xff\xfe not UTF-8", "Umlaut ä".encode(), b"-dash", b"back\\slash", b"..data", b"x" * 250]
SPARSE_BYTES = 3 << 30
READY_SECONDS = 90
PLUGIN = os.environ.get("DIFYRING_COMPOSE_PLUGIN")


def build_image():
    with Daemon(networked=True) as daemon:
        if not daemon.docker("images", "--quiet", "debian:trixie-slim").strip():
            daemon.make_base_image()
        daemon.docker("build", "--network", "host", "-q", "-f", os.path.join(HERE, "Dockerfile"), "-t", IMAGES[0], HERE)
        for name in IMAGES[1:]:
            daemon.docker("tag", IMAGES[0], name)


@pytest.fixture(scope="module")
def daemon():
    try:
        build_image()
        with Daemon() as running:
            if PLUGIN:   # Compose's second version; the tool takes it where it is
                os.makedirs(os.path.join(running.scratch, "cli-plugins"))
                shutil.copy2(PLUGIN, os.path.join(running.scratch, "cli-plugins", "docker-compose"))
            yield running
    except CannotStart as error:
        pytest.skip(f"Docker cannot run here: {error}")


class Server:
    """A folder with a project, and what is in it."""

    def __init__(self, daemon, folder, port):
        self.daemon, self.folder, self.port = daemon, str(folder), port
        self.env = {key: value for key, value in daemon.env.items() if key != "COMPOSE_PROJECT_NAME"}

    def daemon_pid(self):
        holder = self.daemon.process.pid
        with open(f"/proc/{holder}/task/{holder}/children", encoding="ascii") as file:
            return file.read().split()[0]

    def compose(self, *words):
        done = subprocess.run([*(["docker", "compose"] if PLUGIN else ["docker-compose"]), *words], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self):
        self.compose("up", "-d")
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                if self.ask("/health")[0] == 200:
                    return self
            except OSError:
                pass
            assert time.monotonic() < deadline and "Exit" not in self.compose("ps"), self.compose("logs")
            time.sleep(0.1)

    def ask(self, path, body=None):
        """Inside the daemon's network: through the api's container."""
        script = ("import sys, urllib.request as r, urllib.error as e\n"
                  "data = sys.stdin.buffer.read() or None\n"
                  f"q = r.Request('http://127.0.0.1:5001{path}', data=data, headers={{'Authorization': 'Bearer {TOKEN}'}})\n"
                  "try:\n a = r.urlopen(q, timeout=30)\nexcept e.HTTPError as error:\n a = error\n"
                  "sys.stdout.buffer.write(str(a.status).encode() + b'\\n' + a.read())")
        done = subprocess.run(["docker", "exec", "-i", self.container("api"), "python3", "-c", script], env=self.env,
                              input=body or b"", capture_output=True, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr.decode())
        status, _, text = done.stdout.partition(b"\n")
        return int(status), text

    def container(self, service):
        return self.compose("ps", "-q", "-a", service).strip()

    def chat(self, user, text, conversation=""):
        status, answer = self.ask("/v1/chat-messages", json.dumps(
            {"query": text, "user": user, "conversation_id": conversation, "inputs": {}}).encode())
        return status, json.loads(answer)

    def redis(self, *words):
        return subprocess.run(["docker", "exec", "-e", "REDISCLI_AUTH=SECRET-redis", self.container("redis"), "redis-cli", *words],
                              env=self.env, capture_output=True, text=True, check=True).stdout.strip()

    def down(self):
        if os.path.isdir(self.folder):
            self.compose("down", "--volumes", "--remove-orphans", "-t", "1")
            shutil.rmtree(self.folder)


def migrate(server, *arguments, status=0, wait=True):
    # Ports of containers are in the daemon's network.
    process = subprocess.Popen(["nsenter", "-n", "-t", server.daemon_pid(), TOOL, *map(str, arguments)], env=server.env, stdin=subprocess.DEVNULL, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if not wait:
        return process
    output, said = process.communicate(timeout=900)
    assert process.returncode == status, f"exit {process.returncode}\n{output}\n{said}"
    assert "Traceback" not in said
    for secret in SECRETS:
        assert secret not in output + said
    return said + output


def ssh_of(folder, server):
    """The ssh command to "the other server": a real one where there is an sshd, and how to end it."""
    if not sshd.program():
        return write_ssh(folder), lambda: None
    real = sshd.Sshd(folder / "sshd", ["nsenter", "-n", "-t", server.daemon_pid()], server.env).start()
    return real.command, real.stop


def write_ssh(folder):
    """ssh [-o OPTION]... HOST COMMAND, to this machine."""
    (folder / "ssh").write_text('#!/bin/sh\nwhile [ "$1" = -o ]; do shift 2; done\nshift\nexec sh -c "$*"\n')
    (folder / "ssh").chmod(0o755)
    return folder / "ssh"


def write(path, data, mode=0o644, owner=(1001, 1001)):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    os.chown(path, *owner)


@pytest.fixture(scope="module")
def old(daemon, tmp_path_factory):
    folder = tmp_path_factory.mktemp("old") / "docker"
    shutil.copytree(os.path.join(HERE, "project"), folder)
    server = Server(daemon, folder, 15001).start()
    fill(server)
    yield server
    server.down()


def fill(server):
    storage = os.path.join(server.folder, "volumes/app/storage").encode()
    for number, name in enumerate(ODD):
        write(os.path.join(storage, b"odd", name), b"%d" % number, mode=0o600 + number)
    os.symlink(b"/etc/passwd", os.path.join(storage, b"odd", b"link"))
    os.link(os.path.join(storage, b"odd", b"plain"), os.path.join(storage, b"odd", b"hard"))
    os.mkfifo(os.path.join(storage, b"odd", b"fifo"))
    os.mknod(os.path.join(storage, b"odd", b"socket"), stat.S_IFSOCK | 0o600)   # of a plugin: its maker makes it anew
    os.mknod(os.path.join(storage, b"odd", b"device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.chmod(storage, 0o750)
    os.chown(storage, 1001, 1001)
    write(os.path.join(storage, b"privkeys/t/private.pem"), b"SECRET-key", mode=0o400, owner=(0, 0))
    with open(os.path.join(storage, b"sparse"), "wb") as file:
        file.write(b"begin")
        file.seek(SPARSE_BYTES // 2)
        file.write(b"middle")
        file.truncate(SPARSE_BYTES)
    for number in range(40):
        write(os.path.join(storage, b"many", b"%d" % number), os.urandom(100000))
    server.redis("SET", "key", "value")
    subprocess.run(["docker", "exec", server.container("db_postgres"), "psql", "-U", "postgres", "-d", "dify", "-q", "-c",
                    "CREATE TABLE rows AS SELECT g AS id, md5(g::text) AS text FROM generate_series(1, 100000) g; "
                    "INSERT INTO \"odd \"\" name\" VALUES ('\\x00ff')"], env=server.env, check=True)


def picture(folder):
    """{path: what it is} of all files of the storage."""
    found = {}
    top = os.path.join(folder, "volumes/app/storage").encode()
    for at, folders, files in os.walk(top):
        for name in folders + files + ([b""] if at == top else []):   # the folder itself, too
            path = os.path.join(at, name)
            info = os.lstat(path)
            if stat.S_ISSOCK(info.st_mode) or stat.S_ISCHR(info.st_mode):
                continue
            what = [stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid]
            if stat.S_ISREG(info.st_mode):
                digest = hashlib.sha256()
                with open(path, "rb") as file:
                    if info.st_size < SPARSE_BYTES:
                        digest.update(file.read())
                    else:
                        digest.update(file.read(1 << 20))
                        file.seek(SPARSE_BYTES // 2)
                        digest.update(file.read(1 << 20))
                what += [info.st_size, digest.hexdigest(), info.st_mtime_ns, info.st_nlink]
            elif stat.S_ISLNK(info.st_mode):
                what = [what[0], os.readlink(path)]
            found[os.path.relpath(path, top)] = what
    return found


@pytest.fixture(scope="module")
def moved(daemon, old, tmp_path_factory):
    """The whole way once: plan, backup, verify, carry, restore. Later tests look at what came out."""
    base = tmp_path_factory.mktemp("moved")
    status, first = old.chat("ann", "hello")
    assert status == 200
    _, uploaded = old.ask("/v1/files/upload?user=ann", b"file of ann" * 1000)
    plan = migrate(old, "plan", old.folder)
    migrate(old, "backup", old.folder, "--to", base / "archive", "--digests")
    verified = migrate(old, "verify-archive", base / "archive")
    ssh, end_ssh = ssh_of(base, old)
    carried = migrate(old, "carry", base / "archive", f"root@there:{base / 'carried'}", "--ssh", ssh)
    new = Server(daemon, base / "new", 15002)
    migrate(new, "restore", base / "carried", "--to", new.folder, "--set", "EXPOSE_PORT=15002")
    yield {"plan": plan, "verified": verified, "carried": carried, "base": base, "new": new, "ssh": ssh,
           "conversation": first["conversation_id"], "file": json.loads(uploaded)["id"]}
    new.down()
    end_ssh()


def test_plan_tells_what_is_there(old, moved):
    plan = moved["plan"]
    for text in ("Dify 1.13.0", "database  dify (postgres", "database  dify_plugin (postgres", "api:/app/api/storage",
                 "weaviate is stopped meanwhile", "redis, a snapshot"):
        assert text in plan, text
    told = json.loads(migrate(old, "plan", old.folder, "--json"))
    assert told["files"][0]["bytes"] < 1 << 30 and told["unusual"] == [] and told["refused"] == []


def test_everything_is_there_afterwards(old, moved):
    new = moved["new"]
    assert new.ask(f"/v1/files/{moved['file']}/preview") == (200, b"file of ann" * 1000)
    assert picture(new.folder) == picture(old.folder)
    sparse = os.stat(os.path.join(new.folder, "volumes/app/storage/sparse"))
    assert sparse.st_size == SPARSE_BYTES and sparse.st_blocks * 512 < 1 << 20
    assert new.redis("GET", "key") == "value"
    assert "EXPOSE_PORT=15002" in open(os.path.join(new.folder, ".env"), encoding="utf-8").read()
    assert os.path.exists(os.path.join(new.folder, "volumes/weaviate/now"))
    with open(os.path.join(new.folder, "volumes/weaviate.conf"), "rb") as file:
        assert file.read() == b"mounted alone\n"


def test_verify_compares_answers_and_tables(old, moved):
    new, base = moved["new"], moved["base"]
    keys = base / "keys"
    keys.write_text(f"app {TOKEN}\n")

    def compare(status):
        output = migrate(old, "verify", "--old", "http://127.0.0.1:15001", "--new", "http://127.0.0.1:15002", "--keys", keys,
                         "--old-dir", old.folder, "--new-dir", new.folder, "--json", status=status)
        return json.loads(output[output.index("{\n"):output.rindex("}") + 1])
    findings = compare(0)["findings"]
    assert {"what": "dify public.rows", "result": "same", "detail": "100000 rows"} in findings
    assert any(finding["what"] == "app conversations of ann" for finding in findings)
    assert new.chat("ann", "said to the new one alone", moved["conversation"])[0] == 200
    keys.write_text("app SECRET-app-token-of-nobody\n")
    assert {finding["result"] for finding in compare(1)["findings"] if finding["what"].startswith("app ")} == {"unasked"}
    keys.write_text(f"app {TOKEN}\n")
    bad = [finding for finding in compare(1)["findings"] if finding["result"] != "same"]
    assert [finding["what"] for finding in bad] == [f"app messages of {moved['conversation']}", "dify public.messages"]
    assert "has 1 entries and 2" in bad[0]["detail"]


def test_carry_sends_nothing_twice(old, moved):
    base = moved["base"]
    again = migrate(old, "carry", base / "archive", f"root@there:{base / 'carried'}", "--ssh", moved["ssh"])
    assert "0 B sent" in again
    whole = max((base / "archive").glob("*.tar"), key=lambda path: path.stat().st_size)
    target = base / "carried" / whole.name
    target.rename(str(target) + ".part")
    with open(str(target) + ".part", "r+b") as file:
        file.truncate(whole.stat().st_size // 2)
    migrate(old, "carry", base / "archive", f"root@there:{base / 'carried'}", "--ssh", moved["ssh"])
    assert target.read_bytes() == whole.read_bytes()
    other = base / "other"
    other.mkdir()
    (other / "manifest.json").write_text('{"id": "another"}')
    assert "holds another archive" in migrate(old, "carry", base / "archive", f"root@there:{other}", "--ssh", moved["ssh"], status=1)
    assert [path.name for path in other.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_archive_that_is_damaged_anywhere_is_refused(old, moved, tmp_path, encrypted):
    archive = tmp_path / "archive"
    (tmp_path / "passphrase").write_text("SECRET-passphrase")
    (tmp_path / "other").write_text("SECRET-passphrase-2")
    words = ["--passphrase-file", tmp_path / "passphrase"] if encrypted else []
    migrate(old, "backup", old.folder, "--to", archive, *words)
    migrate(old, "verify-archive", archive, *words)
    if not encrypted:   # somebody put a plain one in its place
        assert "is not encrypted" in migrate(old, "verify-archive", archive, "--passphrase-file", tmp_path / "passphrase", status=1)
    names = sorted(path.name for path in archive.iterdir() if path.name not in (".lock", "journal.jsonl"))
    for name in names:
        data = (archive / name).read_bytes()
        for changed in (data[:-1], data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]):
            (archive / name).write_bytes(changed)
            migrate(old, "verify-archive", archive, *words, status=1)
        (archive / name).write_bytes(data)
    migrate(old, "verify-archive", archive, *words)
    if encrypted:
        assert b"file of ann" not in b"".join(path.read_bytes() for path in archive.iterdir())
        migrate(old, "verify-archive", archive, status=1)
        assert "passphrase" in migrate(old, "verify-archive", archive, "--passphrase-file", tmp_path / "other", status=1)


def test_what_is_killed_goes_on(old, moved, tmp_path):
    """A backup and a restore that are killed again and again come to the same."""
    archive = tmp_path / "archive"
    killed = kill_until_done(old, ["backup", old.folder, "--to", archive])
    migrate(old, "verify-archive", archive)
    assert old.compose("ps", "-q", "weaviate").strip() and "Up" in old.compose("ps", "weaviate")
    new = Server(old.daemon, tmp_path / "killed", 15003)
    try:
        killed += kill_until_done(new, ["restore", archive, "--to", new.folder, "--set", "EXPOSE_PORT=15003"])
        assert killed >= 4
        assert picture(new.folder) == picture(old.folder)
        assert new.chat("ann", "again", moved["conversation"])[0] == 200
    finally:
        new.down()


def kill_until_done(server, words):
    kills, patience = 0, 0.3
    while True:
        process = migrate(server, *words, wait=False)
        try:
            output, said = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills, patience = kills + 1, patience * 1.7
            continue
        assert process.returncode == 0, output + said
        return kills


def test_refusals(old, moved, tmp_path):
    archive, new = moved["base"] / "archive", moved["new"]
    assert "not empty" in migrate(old, "restore", archive, "--to", moved["base"], status=1)
    assert "taken" in migrate(old, "restore", archive, "--to", tmp_path / "ports", "--set", "EXPOSE_PORT=15001", status=1)
    migrate(old, "restore", archive, "--to", tmp_path / "ports", "--set", "EXPOSE_PORT=15008", "--no-start")   # the same folder, another port
    assert picture(tmp_path / "ports") == picture(old.folder)
    Server(old.daemon, tmp_path / "ports", 0).down()
    assert "older Dify cannot read it" in migrate(old, "restore", archive, "--to", tmp_path / "older", "--set",
                                                  "DIFY_VERSION=1.9.0", "--set", "EXPOSE_PORT=15009", status=1)
    Server(old.daemon, tmp_path / "older", 0).down()
    assert "project docker is here already" in migrate(old, "restore", archive, "--to", tmp_path / "docker", status=1)
    migrate(old, "restore", archive, "--to", tmp_path / "docker", "--set", "COMPOSE_PROJECT_NAME=other", "--set", "EXPOSE_PORT=15007", "--no-start")
    Server(old.daemon, tmp_path / "docker", 0).down()
    assert old.ask("/health")[0] == 200   # nothing of the first one has ended
    assert "another project" in migrate(old, "backup", new.folder, "--to", begun(tmp_path, old), status=1)
    assert "inside the project" in migrate(old, "backup", old.folder, "--to", os.path.join(old.folder, "archive"), status=1)
    assert "finished archive" in migrate(old, "backup", old.folder, "--to", archive, status=1)
    assert "no docker-compose.yaml" in migrate(old, "plan", tmp_path, status=1)


def begun(tmp_path, old):
    process = migrate(old, "backup", old.folder, "--to", tmp_path / "begun", wait=False)
    while not (tmp_path / "begun" / "journal.jsonl").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    return tmp_path / "begun"


def test_a_full_disk_is_one_line_and_can_be_mended(old, tmp_path):
    target = tmp_path / "small"
    target.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", target], check=True)
    try:
        (target / "archive").mkdir()
        (target / "archive" / "journal.jsonl").touch()   # begun: the check of free space is behind it
        said = migrate(old, "backup", old.folder, "--to", target / "archive", status=1)
        assert "No space left" in said and "make room" in said
        subprocess.run(["mount", "-o", "remount,size=1g", target], check=True)
        migrate(old, "backup", old.folder, "--to", target / "archive")
        migrate(old, "verify-archive", target / "archive")
    finally:
        subprocess.run(["umount", "-l", target], check=True)


def test_no_secret_is_in_the_list_of_processes_or_open_to_others(old, moved, tmp_path):
    """`ps` shows everybody's command lines, in containers, too."""
    (tmp_path / "passphrase").write_text("SECRET-passphrase")
    seen, stop = {}, threading.Event()

    def look():
        while not stop.is_set():
            for entry in os.scandir("/proc"):
                if entry.name.isdigit() and entry.name not in before:
                    try:
                        with open(f"/proc/{entry.name}/cmdline", "rb") as file:
                            seen[entry.name] = file.read()
                    except OSError:
                        pass
            stop.wait(0.02)
    before = set(os.listdir("/proc"))
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        said = migrate(old, "backup", old.folder, "--to", tmp_path / "archive", "--passphrase-file", tmp_path / "passphrase")
        migrate(old, "verify-archive", tmp_path / "archive", "--passphrase-file", tmp_path / "passphrase")
    finally:
        stop.set()
        watcher.join()
    assert "others can read it" in said
    for program in b"openssl", b"pg_dump", b"redis-cli":
        assert any(program in words for words in seen.values()), program   # it was looked at
    for secret in "SECRET-database", "SECRET-redis", "SECRET-passphrase":
        assert not [words for words in seen.values() if secret.encode() in words]
    for top, folders, files in os.walk(tmp_path / "archive"):
        for path in [top] + [os.path.join(top, name) for name in folders + files]:
            assert os.lstat(path).st_mode & 0o077 == 0, path
    new = moved["new"].folder
    for path in (".dify-migrate", "volumes/redis/data/dump.rdb"):
        assert os.lstat(os.path.join(new, path)).st_mode & 0o077 == 0, path
    assert stat.S_IMODE(os.lstat(os.path.join(new, ".env")).st_mode) == stat.S_IMODE(os.lstat(os.path.join(old.folder, ".env")).st_mode)


def test_two_at_once(old, moved, tmp_path):
    """The second one is refused, whatever it wants to do there."""
    held = os.open(old.folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)   # as a move does
    try:
        assert "another dify-migrate works on" in migrate(old, "backup", old.folder, "--to", tmp_path / "archive", status=1)
    finally:
        os.close(held)
    os.makedirs(tmp_path / "new" / ".dify-migrate")
    held = os.open(tmp_path / "new", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        assert "another dify-migrate works on" in migrate(old, "restore", moved["base"] / "archive", "--to", tmp_path / "new", status=1)
    finally:
        os.close(held)


def test_a_newer_version_takes_the_archive(old, moved, tmp_path):
    new = Server(old.daemon, tmp_path / "newer", 15004)
    try:
        migrate(new, "restore", moved["base"] / "archive", "--to", new.folder, "--set", "DIFY_VERSION=1.16.0",
                "--set", "EXPOSE_PORT=15004")
        assert new.chat("ann", "again", moved["conversation"])[0] == 200
    finally:
        new.down()


def test_dry_run_does_nothing(old, moved, tmp_path):
    for words in (["backup", old.folder, "--to", tmp_path / "a"], ["restore", moved["base"] / "archive", "--to", tmp_path / "b"],
                  ["carry", moved["base"] / "archive", f"root@there:{tmp_path / 'c'}", "--ssh", moved["ssh"]]):
        assert "1. " in migrate(old, *words, "--dry-run")
    assert list(tmp_path.iterdir()) == []
    assert "not empty" in migrate(old, "restore", moved["base"] / "archive", "--to", moved["base"], "--dry-run", status=1)
