"""deploy/dify-migrate when something is in the way: killed behind every line of its journals, a disk that fills up in each step,
a connection that breaks, projects that are not what they look like."""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import time

import pytest

import sshd
from test_migrate import HERE, SECRETS, TOOL, Server, daemon, migrate, old, picture, write  # noqa: F401

PATIENCE = 300
FULL = "make room and call the same command again"


@pytest.fixture(scope="module")
def archive(old, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("faults") / "archive"
    assert old.chat("ann", "hello")[0] == 200
    migrate(old, "backup", old.folder, "--to", folder, "--digests")
    return folder


def lines(path):
    """Those of a journal that are whole."""
    found = []
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    found.append(json.loads(line))
                except ValueError:
                    pass   # it is being written
    except FileNotFoundError:
        pass
    return found


def killed_behind_every_line(server, words, path):
    """Runs a command again and again, and kills it as soon as its journal has a line that no killed run has ended with. What it
    had come to, each time."""
    states = []
    while True:
        before = len(lines(path))
        process = migrate(server, *words, wait=False)
        while process.poll() is None:
            last = [[line["step"], line.get("of")] for line in lines(path)[before:]][-1:]
            if last and last[0] not in states:
                process.send_signal(signal.SIGKILL)
                states += last
                break
            time.sleep(0.002)
        output, said = process.communicate()
        if process.returncode == 0:
            return states
        assert process.returncode == -signal.SIGKILL, output + said


def test_a_backup_that_is_killed_in_every_state(old, archive, tmp_path):  # noqa: F811
    target = tmp_path / "archive"
    states = killed_behind_every_line(old, ["backup", old.folder, "--to", target], target / "journal.jsonl")
    print(f"killed in {len(states)} states of backup: {states}")
    # "first pass" is followed by "moment" at once: a quick machine shows it to nobody
    assert {"archive", "part", "moment", "moment part", "stopping", "moment done"} <= {step for step, _of in states}
    migrate(old, "verify-archive", target)
    parts = [{(p["kind"], p.get("of")) for p in json.loads((folder / "manifest.json").read_text())["parts"]} for folder in (archive, target)]
    assert parts[0] == parts[1]
    assert "Up" in old.compose("ps", "weaviate") or "running" in old.compose("ps", "weaviate")
    text = (target / "manifest.json").read_text() + (target / "journal.jsonl").read_text()
    assert not [secret for secret in SECRETS if secret in text]


def test_a_restore_that_is_killed_in_every_state(old, archive, tmp_path):  # noqa: F811
    new = Server(old.daemon, tmp_path / "killed", 15021)
    journal = tmp_path / "killed" / ".dify-migrate" / "journal.jsonl"
    try:
        states = killed_behind_every_line(new, ["restore", archive, "--to", new.folder, "--set", "EXPOSE_PORT=15021"], journal)
        print(f"killed in {len(states)} states of restore: {states}")
        assert {"archive", "configuration", "containers", "redis", "database dify", "database dify_plugin", "started"} <= {of for _step, of in states}
        assert picture(new.folder) == picture(old.folder)
        assert new.chat("ann", "again")[0] == 200
        assert agent(new, "digests")["dify"]["public.rows"] == agent(old, "digests")["dify"]["public.rows"]
        assert not [secret for secret in SECRETS if secret in journal.read_text()]
    finally:
        new.down()


def killed_behind(server, words, path, of):
    """Runs a command and kills it as soon as its journal says that this has begun."""
    process = migrate(server, *words, wait=False)
    while process.poll() is None and not [line for line in lines(path) if line.get("of") == of]:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    output, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, output + said


@contextlib.contextmanager
def disk(path, image, daemon_pid):
    """A disk of its own at `path`, for this program and for the daemon, which has its own mounts."""
    path.mkdir()
    subprocess.run(["truncate", "-s", "8G", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    loop = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    everywhere = [], ["nsenter", "-m", "-t", daemon_pid]
    try:
        for where in everywhere:
            subprocess.run([*where, "mount", loop, path], check=True)
        yield
    finally:
        for where in everywhere:
            subprocess.run([*where, "umount", "-l", path], check=False)
        subprocess.run(["losetup", "-d", loop], check=True)


def test_a_disk_that_is_full_when_the_database_starts(old, archive, tmp_path):  # noqa: F811
    """What PostgreSQL says is told at once, not after ten minutes; and with room the same command ends well."""
    small = tmp_path / "small"
    new = Server(old.daemon, small / "new", 15024)
    words = ["restore", archive, "--to", new.folder, "--set", "EXPOSE_PORT=15024"]
    with disk(small, tmp_path / "disk", old.daemon_pid()):
        try:
            killed_behind(new, words, small / "new" / ".dify-migrate" / "journal.jsonl", "database dify")
            new.compose("stop", "-t", "1")   # a database that had begun keeps what it has
            shutil.rmtree(small / "new" / "volumes" / "db", ignore_errors=True)
            filler = small / "filler"
            subprocess.run(["fallocate", "-l", str(shutil.disk_usage(small).free - (4 << 20)), filler], check=True)
            began = time.monotonic()
            said = migrate(new, *words, status=1)
            assert time.monotonic() - began < PATIENCE
            assert "ended as soon as it was started" in said and "No space left" in said and FULL in said
            filler.unlink()
            migrate(new, *words)
            assert new.chat("ann", "again")[0] == 200
        finally:
            new.down()


def test_the_images_come_along_where_there_is_no_registry(old, tmp_path):  # noqa: F811
    migrate(old, "backup", old.folder, "--to", tmp_path / "archive", "--images")
    [part] = [part for part in json.loads((tmp_path / "archive" / "manifest.json").read_text())["parts"] if part["kind"] == "images"]
    assert part["bytes"] > 1 << 20
    migrate(old, "verify-archive", tmp_path / "archive")
    new = Server(old.daemon, tmp_path / "images", 15025)
    try:
        output = migrate(new, "restore", tmp_path / "archive", "--to", new.folder, "--set", "EXPOSE_PORT=15025")
        assert "images: done" in output
        assert new.chat("ann", "again")[0] == 200
    finally:
        new.down()


def agent(server, *words):
    done = subprocess.run(["nsenter", "-n", "-t", server.daemon_pid(), TOOL, "agent", server.folder, *words], env=server.env, capture_output=True, check=True)
    return json.loads(done.stdout)


# --- carry -----------------------------------------------------------------------------------------

def archive_of(folder, sizes):
    """One that is whole as far as carry looks, of random bytes."""
    folder.mkdir()
    parts = []
    for number, count in enumerate(sizes):
        data = secrets.token_bytes(count)
        (folder / f"part-{number}").write_bytes(data)
        parts.append({"name": f"part-{number}", "bytes": count, "sha256": hashlib.sha256(data).hexdigest(), "kind": "files"})
    (folder / "manifest.json").write_text(json.dumps({"format": 1, "id": "1", "salt": "00", "encrypted": False, "parts": parts}))
    return folder


def there_now(folder):
    return sum(entry.stat().st_size for entry in os.scandir(folder)) if folder.is_dir() else 0


@pytest.mark.skipif(not sshd.program(), reason="there is no sshd (Debian's openssh-server; or DIFYRING_SSHD)")
def test_a_carry_over_ssh_that_breaks_goes_on(old, tmp_path):  # noqa: F811
    """Killed twice in the middle, and once the connection is cut: less than a block a time is sent again."""
    sent = archive_of(tmp_path / "archive", [60 << 20, 1 << 20, 60 << 20])
    total, there = sum(path.stat().st_size for path in sent.iterdir()), tmp_path / "there"
    real = sshd.Sshd(tmp_path / "sshd", ["nsenter", "-n", "-t", old.daemon_pid()], old.env).start()
    words = ["carry", sent, f"root@there:{there}", "--ssh", real.command]
    try:
        for share in 0.2, 0.6, 0.8:
            process = migrate(old, *words, wait=False)
            deadline = time.monotonic() + PATIENCE
            while there_now(there) < share * total:
                assert process.poll() is None and time.monotonic() < deadline, process.communicate()
                time.sleep(0.002)
            if share == 0.8:   # the other end goes away
                for child in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split():
                    os.kill(int(child), signal.SIGKILL)
                assert "call this again" in "".join(process.communicate()) and process.returncode == 1
            else:
                process.kill()
                process.communicate()
        have = there_now(there)
        said = migrate(old, *words)
    finally:
        real.stop()
    again = float(re.search(r"([\d.]+) MiB sent", said).group(1)) - (total - have) / 2**20
    print(f"of {total / 2**20:.0f} MiB {have / 2**20:.0f} were there for the last call, {max(again, 0):.2f} MiB were sent again")
    assert again < 0.2, said
    for path in sent.iterdir():
        assert (there / path.name).read_bytes() == path.read_bytes()
    assert not list(there.glob("*.part"))


def mounted(place, size, enter=()):
    place.mkdir(exist_ok=True)
    subprocess.run([*enter, "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)


def resize(place, size, enter=()):
    subprocess.run([*enter, "mount", "-o", f"remount,size={size}", place], check=True)


def test_a_carry_to_a_disk_that_fills_up(old, archive, tmp_path):  # noqa: F811
    place, ssh = tmp_path / "small", tmp_path / "ssh"
    mounted(place, "400m")
    ssh.write_text(f'#!/bin/sh\ncase "$*" in *" dd "*) mount -o remount,size=2m {place} ;; esac\n'
                   'while [ "$1" = -o ]; do shift 2; done\nshift\nexec sh -c "$*"\n')
    ssh.chmod(0o755)
    try:
        said = migrate(old, "carry", archive, f"root@there:{place}/archive", "--ssh", ssh, status=1)
        assert "No space left" in said
        resize(place, "200m")
        assert "are needed" in migrate(old, "carry", archive, f"root@there:{place}/archive", "--ssh", ssh, status=1)
        resize(place, "400m")
        ssh.write_text(ssh.read_text().replace("*dd*", "*none*").replace('*" dd "*', "none"))
        migrate(old, "carry", archive, f"root@there:{place}/archive", "--ssh", ssh)
        migrate(old, "verify-archive", place / "archive")
    finally:
        subprocess.run(["umount", "-l", place], check=True)


# --- projects that are not what they look like -----------------------------------------------------

EXTRA = "version: '3.8'\nservices:\n  plugin_daemon:\n    image: langgenius/dify-api:${DIFY_VERSION}\n    command: [api.py, worker]\n" \
        "    environment: { DB_HOST: db_postgres, DB_DATABASE: none_such }\n"


@pytest.fixture
def odd(daemon, tmp_path):  # noqa: F811
    shutil.copytree(os.path.join(HERE, "project"), tmp_path / "odd")
    server = Server(daemon, tmp_path / "odd", 15023)
    server.set = lambda **more: write(os.path.join(server.folder, ".env"), "".join(
        f"{key}={value}\n" for key, value in {**environment(server), **more}.items()).encode(), 0o600, (0, 0))
    server.set(EXPOSE_PORT=15023)
    yield server
    names = subprocess.run(["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project.working_dir={server.folder}"], env=server.env,
                           capture_output=True, text=True, check=True).stdout.split()
    if names:
        subprocess.run(["docker", "rm", "-f", "-v", *names], env=server.env, capture_output=True, check=True)


def environment(server):
    with open(os.path.join(server.folder, ".env"), encoding="utf-8") as file:
        return dict(line.rstrip("\n").partition("=")[::2] for line in file)


def test_a_project_under_another_name_stays_one(odd, tmp_path):
    """Compose would make all of it a second time, on the same files."""
    odd.compose("-p", "other", "up", "-d", "db_postgres", "redis", "weaviate", "api", "worker")
    migrate(odd, "agent", odd.folder, "database", str(PATIENCE))   # waits for it
    migrate(odd, "backup", odd.folder, "--to", tmp_path / "archive")
    migrate(odd, "agent", odd.folder, "up", "120")
    listed = ["docker", "ps", "-a", "--format", '{{.Label "com.docker.compose.project"}} {{.Label "com.docker.compose.project.working_dir"}}']
    here = {line.split(" ", 1)[0] for line in subprocess.run(listed, env=odd.env, capture_output=True, text=True, check=True).stdout.splitlines()
            if line.endswith(" " + odd.folder)}
    assert here == {"other"}
    odd.compose("-p", "third", "up", "--no-start", "worker")
    assert "projects other, third: which one is it?" in migrate(odd, "plan", odd.folder, status=1)
    odd.compose("-p", "third", "rm", "-f", "-s")
    migrate(odd, "agent", odd.folder, "down")
    assert odd.folder not in subprocess.run(listed, env=odd.env, capture_output=True, text=True, check=True).stdout


def test_what_was_started_otherwise_is_refused(odd, tmp_path):
    words = ["backup", odd.folder, "--to", tmp_path / "archive"]
    assert "knows no container" in migrate(odd, *words, status=1)
    write(os.path.join(odd.folder, "extra.yaml"), EXTRA.encode())
    odd.compose("-f", "docker-compose.yaml", "-f", "extra.yaml", "up", "-d")
    migrate(odd, "agent", odd.folder, "database", str(PATIENCE))
    assert "extra.yaml, which another server would not take" in migrate(odd, *words, status=1)
    odd.set(COMPOSE_FILE="docker-compose.yaml:extra.yaml")
    assert "no database none_such, which plugin_daemon's DB_DATABASE names" in migrate(odd, *words, status=1)
    odd.set(DB_PASSWORD="SECRET-database-2")   # since it was started
    told = json.loads(migrate(odd, "plan", odd.folder, "--json"))
    assert [line for line in told["unusual"] if "db_postgres" in line and "started with another .env" in line], told["unusual"]
    shutil.move(os.path.join(odd.folder, ".env"), tmp_path / "kept")
    os.makedirs(tmp_path / "values")
    shutil.copy(tmp_path / "kept", tmp_path / "values" / ".env")
    said = migrate(odd, "plan", odd.folder)
    assert "refused: " in said
    assert not (tmp_path / "archive").exists()


def test_what_is_elsewhere_is_told_and_not_copied(odd, tmp_path):
    path = os.path.join(odd.folder, "docker-compose.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read().replace("DB_HOST: db_postgres", "DB_HOST: ${DB_HOST}\n      CONSOLE_API_URL: ${CONSOLE_API_URL}\n      FILES_URL: http://localhost")
    write(path, text.encode())
    odd.set(STORAGE_TYPE="s3", DB_HOST="db.example.com", CONSOLE_API_URL="https://dify.example.com")
    odd.compose("up", "--no-start")
    told = migrate(odd, "plan", odd.folder)
    for wanted in ("files are in s3 storage", "DB_HOST db.example.com", "db_postgres is a database that the api does not use",
                   "CONSOLE_API_URL of .env: an address that users see"):
        assert wanted in told, told
    assert "back it up by its own means" in migrate(odd, "backup", odd.folder, "--to", tmp_path / "archive", status=1)
    odd.compose("up", "-d", "redis", "weaviate")
    migrate(odd, "backup", odd.folder, "--to", tmp_path / "archive", "--without-database")
    manifest = json.loads((tmp_path / "archive" / "manifest.json").read_text())
    assert "database" not in manifest and not [part for part in manifest["parts"] if part["kind"] == "database"]
