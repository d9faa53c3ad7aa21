"""deploy/dify-migrate with archives that somebody else made, names that are no plain words, and a second one of itself.
No Docker: what it does with containers is in tests/migrate."""

import fcntl
import io
import json
import os
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import types

import pytest
from harness import tool_command
from test_dify_migrate import TOOL, tool  # noqa: F401

pytestmark = pytest.mark.slow   # nothing of it is C

SECRET = b"SECRET of the machine"


@pytest.fixture
def place(tmp_path):
    """A folder to unpack into, and a file of the machine's beside it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(SECRET)
    (outside / "file").chmod(0o640)
    (outside / "folder").mkdir(mode=0o750)
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def state(place):
    """Of what no archive may touch."""
    found = {}
    for folder, folders, files in os.walk(place.parent / "outside"):
        for name in folders + files:
            info = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (info.st_mode, info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns, info.st_nlink)
    return found


def member(name, kind=tarfile.REGTYPE, link="", mode=0o777, data=b"changed"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.gid, info.mtime = kind, str(link), mode, 12345, 12345, 1
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data


def tar_of(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if info.size else None)
    stream.seek(0)
    return stream


def attacks(outside):
    link, hard, folder = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
    return {
        "dots": [member("../outside/file")],
        "dots inside": [member("a/../../outside/file")],
        "dots behind a link": [member("a/b", folder), member("a/link", link, outside / "folder" if outside else ""), member("a/link/../new")],
        "a hard link with dots behind a link": [member("a", link, outside / "folder" if outside else ""), member("b", hard, "a/../file")],
        "absolute": [member(f"{outside}/file")],
        "behind a link": [member("a", link, outside), member("a/file")],
        "behind a link of links": [member("b", link, outside), member("a", link, "b"), member("a/new")],
        "a folder that becomes a link": [member("a", folder), member("a", link, f"{outside}/folder")],
        "a folder's parent that becomes a link": [member("a/folder", folder), member("a", link, outside)],
        "a hard link outside": [member("a", hard, f"{outside}/file"), member("a")],
        "a hard link with dots": [member("a", hard, "../outside/file")],
        "a hard link behind a link": [member("b", link, outside), member("a", hard, "b/file")],
        "a hard link to a link": [member("b", link, f"{outside}/file"), member("a", hard, "b")],
        "a device": [member("a", tarfile.CHRTYPE)],
        "a disk": [member("a", tarfile.BLKTYPE)],
    }


@pytest.mark.parametrize("name", sorted(attacks("")))
def test_no_archive_reaches_out_of_its_folder(tool, place, name):  # noqa: F811
    before = state(place)
    with pytest.raises((tool.Trouble, tarfile.TarError)):
        tool.extract(tar_of(*attacks(place.parent / "outside")[name]), str(place), lambda count: None)
    assert state(place) == before
    assert sorted(os.listdir(place.parent)) == ["outside", "top"]


def test_what_only_looks_like_it_is_taken(tool, place):  # noqa: F811
    """Links that lead out are a user's own files; only nothing is written through them."""
    names = ["..data", "...", "a..b", "-rf", "sp ace", "Größe", "new\nline"]
    members = [member(name, data=name.encode()) for name in names]
    members += [member("link", tarfile.SYMTYPE, place.parent / "outside" / "file"), member("hard", tarfile.LNKTYPE, "..data"),
                member("folder", tarfile.DIRTYPE, mode=0o2750), member("link")]
    before = state(place)
    tool.extract(tar_of(*members), str(place), lambda count: None)
    assert state(place) == before
    for name in names:
        assert (place / name).read_bytes() == name.encode()
    assert not (place / "link").is_symlink() and (place / "hard").read_bytes() == b"..data"
    tool.remove_below(str(place), "..data")
    assert not (place / "..data").exists()
    for path in ("../outside/file", "/etc/passwd", "."):
        with pytest.raises(tool.Trouble, match="outside"):
            tool.remove_below(str(place), path)


def test_a_tar_that_ends_early_is_no_tar(tool, place, tmp_path):  # noqa: F811
    whole = tar_of(*[member(f"f{n}", data=b"x" * 1000) for n in range(20)]).getvalue()
    for length in (700, 10 * 1536, len(whole) - 10240):
        archive = made(tool, tmp_path / f"a{length}", {"files.tar": whole[:length]})
        with pytest.raises((tool.Trouble, tarfile.TarError)):
            tool.verify_parts(tool.Archive(str(archive)).open())


def test_sockets_and_devices_are_no_files(tool, place):  # noqa: F811
    """A plugin's socket lies in the storage: it is neither copied nor missed."""
    (place / "file").write_bytes(b"file")
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place / "socket"))
        if os.geteuid() == 0:
            os.mknod(place / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert [path for path, _info in tool.walk(str(place))] == ["fifo", "file"]
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            taken = [tool.add_to_tar(tar, str(place), path) for path in ("file", "socket", "fifo")]
        assert taken == [True, False, True]


def test_what_becomes_a_link_meanwhile_leads_nobody_out(tool, place, monkeypatch):  # noqa: F811
    """A container may change its files while root reads them: the host's own files come into no archive."""
    outside = place.parent / "outside"
    for name in ("file", "folder/file", "pipe"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"its own")
    listed = [path for path, _info in tool.walk(str(place))]
    assert listed == ["file", "folder", "pipe", "folder/file"]
    lstat, stream = os.lstat, io.BytesIO()

    def changes(path, **more):
        """After it was looked at, each becomes another thing."""
        info = lstat(path, **more)
        if path == str(place / "folder" / "file"):
            os.rename(place / "folder", place / "moved")
            os.symlink(outside, place / "folder")
        elif os.path.basename(path) in ("file", "pipe"):
            os.unlink(path)
            os.symlink(outside / "file", path) if path.endswith("file") else os.mkfifo(path)
        return info
    monkeypatch.setattr(tool.os, "lstat", changes)
    with tarfile.open(fileobj=stream, mode="w") as tar:
        assert [tool.add_to_tar(tar, str(place), path) for path in ("file", "folder/file", "pipe")] == [False, False, False]
    monkeypatch.undo()
    assert SECRET not in stream.getvalue()
    assert [path for path, _info in tool.walk(str(place))] == ["file", "folder", "moved", "pipe", "moved/file"]
    assert tool.list_below(str(place), "folder") == []


def test_a_folder_that_others_may_write_into_is_no_archive(tool, tmp_path):  # noqa: F811
    folder = tmp_path / "archive"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(tool.Trouble, match="others may write into"):
        tool.Archive(str(folder)).create("it")
    assert list(folder.iterdir()) == []
    folder.chmod(0o755)
    tool.Archive(str(folder)).create("it")


def made(tool, folder, parts, **more):  # noqa: F811
    """An archive that is whole."""
    folder.mkdir()
    archive = tool.Archive(str(folder))
    archive.manifest = {"format": tool.FORMAT, "id": "1", "salt": "00", "encrypted": False, "parts": [], **more}
    for name, data in parts.items():
        (folder / name).write_bytes(data)
        digest = tool.hashlib.sha256(data).hexdigest()
        archive.manifest["parts"].append({"name": name, "bytes": len(data), "sha256": digest, "kind": "files"})
    archive.write_manifest()
    return folder


@pytest.mark.parametrize("change", [
    b"", b"[]", b"{}", b'"x"', b"null", b'{"format": 1}', b'{"format": 1, "encrypted": "no", "id": 1, "salt": "00", "parts": []}',
    b'{"format": 1, "encrypted": false, "id": "1", "salt": "x", "parts": []}', b"[" * 100000,
    b'{"format": 1, "encrypted": false, "id": "1", "salt": "00", "parts": {"a": 1}}',
    b'{"format": 1, "encrypted": false, "id": "1", "salt": "00", "parts": [{"name": "a"}]}', "another version",
    "../outside/file", "/etc/passwd", "a/b", "-rf", "..", "", ".lock\n"], ids=lambda value: str(value)[:30])
def test_a_manifest_that_somebody_else_wrote_is_one_line(tool, tmp_path, change):  # noqa: F811
    archive = made(tool, tmp_path / "archive", {"files.tar": b"x" * 10240})
    manifest = archive / "manifest.json"
    if isinstance(change, bytes):
        manifest.write_bytes(change)
    else:
        value = json.loads(manifest.read_text())
        if change == "another version":
            value["format"] = 2
        else:
            value["parts"][0]["name"] = change
        del value["tag"]
        value["tag"] = tool.hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()   # whoever wrote it knows how
        manifest.write_text(json.dumps(value))
    for words in (["verify-archive", str(archive)], ["carry", str(archive), f"me@there:{tmp_path / 'there'}", "--ssh", "false"]):
        done = subprocess.run(tool_command(TOOL, *words), capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stderr.startswith("dify-migrate: "), done
        assert ("format 2" if change == "another version" else "format" if change in (b"{}",) else "damaged") in done.stderr, done


def test_nobody_else_reads_what_has_a_secret(tool, tmp_path):  # noqa: F811
    """Not even while it is written, and whatever the umask is."""
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(0o640)
    seen = []
    was = os.umask(0)
    try:
        with ReadEnd(lambda: seen.append(stat.S_IMODE(os.stat(f"{path}.new").st_mode))) as stream:
            tool.write_whole(str(path), stream, os.stat(path))
        assert (seen, stat.S_IMODE(path.stat().st_mode)) == ([0o640], 0o640)
        tool.write_whole(str(tmp_path / "fresh"), b"x", os.stat(tmp_path))   # as a folder's owner, but not with its mode
        assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o600
        os.symlink(tmp_path / "victim", tmp_path / "link.new")
        tool.write_whole(str(tmp_path / "link"), b"x")
        assert not (tmp_path / "victim").exists() and (tmp_path / "link").read_bytes() == b"x"
    finally:
        os.umask(was)


class ReadEnd(io.BytesIO):
    """A stream that tells when it is read."""

    def __init__(self, told):
        super().__init__(b"SECRET=1\n")
        self.told = told

    def read(self, *words):
        if self.told:
            self.told()
            self.told = None
        return super().read(*words)


def test_two_at_once(tool, tmp_path):  # noqa: F811
    """A backup would start the vector store that a move has stopped."""
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_SH)
    with pytest.raises(tool.Trouble, match="another dify-migrate works on"):
        tool.lock_folder(str(tmp_path), alone=True)
    tool.lock_folder(str(tmp_path), alone=False)
    os.close(held)


def test_a_killed_move_leaves_an_agent_which_is_waited_for(tool, tmp_path):  # noqa: F811
    """Its `docker stop` would end what the next one starts."""
    def alone(what):
        agent = object.__new__(tool.Agent)
        agent.project = types.SimpleNamespace(folder=str(tmp_path))
        agent._alone(what)
        return agent
    assert {tool.Agent.CHANGES[verb] for verb in ("stop", "start", "up", "down")} == {"services"}
    first, order = alone("services"), []
    second = threading.Thread(target=lambda: order.append(alone("services")))
    second.start()
    alone("load-../odd name")   # of something else
    second.join(0.5)
    assert second.is_alive() and order == []
    first.turn.close()
    second.join(20)
    assert len(order) == 1 and sorted(os.listdir(tmp_path)) == [".dify-migrate"]


def test_a_home_is_the_home_there(tool):  # noqa: F811
    """A shell leaves root@new:~/x to the program."""
    assert [tool.folder_there(text) for text in ("~/x y", "~", "~/", "/srv/x", "x", "~user/x")] == ["x y", ".", ".", "/srv/x", "x", "~user/x"]
    assert tool.Side("root@new:~/docker", "ssh -p 2222", "it").command("look")[-1].startswith("python3 docker/.dify-migrate/dify-migrate agent docker")
    assert tool.Side("/srv/a:b", "ssh", "it").host == ""


def test_a_dead_connection_is_noticed(tool):  # noqa: F811
    words = tool.ssh_words("ssh -o ServerAliveInterval=1 -p 2222")
    assert words[:5] == ["ssh", "-o", "ServerAliveInterval=1", "-p", "2222"] and "ServerAliveCountMax=5" in words
    assert tool.ssh_words("/srv/wrapper -x") == ["/srv/wrapper", "-x"]
    with pytest.raises(tool.Trouble):
        tool.ssh_words(" ")


def test_a_token_goes_nowhere_else(tool, monkeypatch):  # noqa: F811
    """Neither to a proxy that the environment names, nor where a redirect leads."""
    asked = []

    def serve(server):
        with server, server.accept()[0] as peer:
            asked.append((server.getsockname()[1], peer.recv(4096)))
            peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    node, proxy = (server.getsockname()[1] for server in servers)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy}")
    threading.Thread(target=serve, args=(servers[0],), daemon=True).start()
    nodes = tool.Nodes(f"http://127.0.0.1:{node}", "SECRET-admin", None, False)
    assert nodes.ask("GET", "/status") == (302, {})
    assert [port for port, _text in asked] == [node] and b"SECRET-admin" in asked[0][1]
    servers[1].close()


class Recorder:
    """A side, or the nodes, that does what it is told."""

    def __init__(self, answers=None):
        self.calls, self.answers, self.name, self.host, self.folder = [], answers or {}, "it", "", "/x"

    def __getattr__(self, name):
        def call(*words, **_more):
            self.calls.append((name, *words))
            answer = self.answers.get(words[0] if name == "ask" else name)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return call

    def where(self):
        return "/x"


def test_a_full_disk_keeps_nobody_waiting(tool, tmp_path, capsys):  # noqa: F811
    """The journal cannot be written, a side answers nonsense: the old one is started and enabled all the same, and
    a new one that died is told, not waited for."""
    journal = tool.Journal(str(tmp_path / "moves.jsonl"))
    journal.add("begin", kind="cutover", entries=[["one", "dify1"]], had_votes=False)
    journal.add("holding")
    journal.add("stopping", services=["api"])
    source, target, nodes = Recorder(), Recorder({"stop": ValueError("nonsense")}), Recorder()
    move = tool.Move("cutover", source, target, nodes, Recorder(), (("a", 1), ("b", 2)), journal, types.SimpleNamespace(wait=1))
    move._load(journal.entries[0])

    def full(*_words, **_more):
        raise OSError(28, "No space left on device")
    journal.add = full
    with pytest.raises(tool.Trouble, match="could not write that down"):
        move._go_back("a reason")
    assert ("ask", "start", "api") in source.calls and ("order", ["one", "dify1"], "enable") in nodes.calls
    assert "it is not stopped: stop its services by hand" in capsys.readouterr().err


def test_whoever_is_not_back_is_not_enabled(tool, tmp_path):  # noqa: F811
    """The old one does not start: what waits goes on waiting until somebody has mended that."""
    journal = tool.Journal(str(tmp_path / "moves.jsonl"))
    journal.add("begin", kind="cutover", entries=[["one", "dify1"]], had_votes=False)
    journal.add("stopping", services=["api"])
    source, nodes = Recorder({"start": tool.Trouble("no room")}), Recorder()
    move = tool.Move("cutover", source, Recorder(), nodes, Recorder(), (("a", 1), ("b", 2)), journal, types.SimpleNamespace(wait=1))
    move._load(journal.entries[0])
    with pytest.raises(tool.Trouble, match="not complete: it is not started"):
        move._go_back("a reason")
    assert nodes.calls == [] and journal.entries[-1]["step"] == "going back"


@pytest.mark.parametrize("noise", ["Welcome to new!\n", "stty: not a terminal\n"])
def test_a_shell_that_talks_is_refused(tool, tmp_path, noise):  # noqa: F811
    """It would talk into the configuration, and into every dump."""
    ssh = tmp_path / "far"
    ssh.write_text(f"#!/bin/sh\nshift\nprintf '{noise}'\nexec sh -c \"$*\"\n")
    ssh.chmod(0o755)
    with pytest.raises(tool.Trouble, match="says something before any command"):
        tool.Side(f"me@there:{tmp_path}", str(ssh), "the new one").install()
    assert not (tmp_path / ".dify-migrate").exists()
    archive = made(tool, tmp_path / "archive", {"a": b"x"})
    with pytest.raises(tool.Trouble, match="says something"):
        tool.Carry(tool.Archive(str(archive)).open(), f"me@there:{tmp_path / 'there'}", str(ssh)).run()
    assert not (tmp_path / "there").exists()


DOCKER = """#!/usr/bin/python3
# docker exec -i CONTAINER WORD...: as Docker does it, drops what nobody has read a while after the program's end.
import os, subprocess, sys, threading, time
process = subprocess.Popen(sys.argv[4:], stdout=subprocess.PIPE)
def copy():
    for data in iter(lambda: process.stdout.read1(4096), b""):
        os.write(1, data)
    whole.set()
whole = threading.Event()
threading.Thread(target=copy, daemon=True).start()
status = process.wait()
whole.wait(0.5)
os._exit(status)
"""


def test_a_program_in_a_container_is_heard_to_its_end(tool, tmp_path, monkeypatch):  # noqa: F811
    """Also by who reads slowly: a dump without its end restores, and lacks tables."""
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    place, found = ["docker", "exec", "-i", "container"], []

    def slow(data):
        if data and not found:
            time.sleep(2)
        found.append(data)
    tool.run_inside(place, ["head", "-c", "300000", "/dev/zero"], slow, what="it")
    assert b"".join(found) == bytes(300000)
    assert tool.text_inside(place, ["printf", "%s", "a b  $0 '\n"], what="it") == "a b  $0 '\n"
    assert tool.text_inside(place, ["true"], what="it") == ""
    assert tool.text_inside(place, ["cat"], what="it") == ""   # it has no input
    for words, wanted, timeout in ((["sh", "-c", "echo why: error >&2; echo half; exit 3"], "why: error", 60),
                                   (["none-such"], "none-such", 60), (["sleep", "9"], "no end within 1 s", 1)):
        with pytest.raises(tool.Trouble, match=wanted):
            tool.text_inside(place, words, what="it", timeout=timeout)
    (tmp_path / "docker").write_text("#!/bin/sh\nshift 3\n\"$@\" </dev/null | head -c 1000\n")
    with pytest.raises(tool.Trouble, match="cut on the way"):
        tool.text_inside(place, ["head", "-c", "300000", "/dev/zero"], what="it")


def test_bytes_that_a_dead_connection_writes_yet_do_no_harm(tool, tmp_path):  # noqa: F811
    """The first ssh is killed and leaves a slow program at the other end. What is sent again is less than a block."""
    data = os.urandom(3 << 20)
    archive = made(tool, tmp_path / "archive", {"a": data})
    there, late = tmp_path / "there", tmp_path / "late"
    there.mkdir()
    (there / "a.part").write_bytes(data[:1 << 20] + bytes(100))   # it was cut within a block
    ssh = tmp_path / "far"
    ssh.write_text(f"""#!/bin/sh
shift
case $1 in *dd*seek*) [ -e {late} ] || {{ touch {late}; tail -c +1048577 {archive}/a | head -c 1500000 | sh -c 'cd {there}; sleep 0.3; dd of=a.part bs=65536 seek=16 conv=notrunc status=none' & }}; sleep 0.6 ;; esac
exec sh -c "$*"
""")
    ssh.chmod(0o755)
    carry = tool.Carry(tool.Archive(str(archive)).open(), f"me@there:{there}", str(ssh))
    carry.run()
    assert (there / "a").read_bytes() == data
    assert carry.sent == (2 << 20) + os.path.getsize(archive / "manifest.json")


@pytest.mark.parametrize(("old", "new", "wanted"), [
    ("1.27.0", "1.27.3", None), ("1.27.0", "1.28.1", None), ("1.27.0", "1.39.2", "same version"), ("1.27.0", "1.19.0", "older one"),
    ("v2.5.15", "v3.0.0", "same version"), ("1.27.0", "latest", None), ("1.27.0@sha256:9", "1.27.1@sha256:1", None), (None, "1", None)])
def test_files_of_a_vector_store_want_its_version(tool, old, new, wanted):  # noqa: F811
    images = [{} if tag is None else {"weaviate": f"host:5000/weaviate:{tag}", "redis": "redis:6-alpine"} for tag in (old, new)]
    if wanted is None:
        tool.refuse_versions(*images, tool.kept_files(["weaviate", "api"]), "there")
    else:
        with pytest.raises(tool.Trouble, match=wanted):
            tool.refuse_versions(*images, tool.kept_files(["weaviate", "api"]), "there")


def test_redis_reads_what_an_older_one_wrote(tool):  # noqa: F811
    tool.refuse_versions({"redis": "redis:6-alpine"}, {"redis": "redis:8.0"}, tool.REDIS, "there")
    with pytest.raises(tool.Trouble, match="redis is 6"):
        tool.refuse_versions({"redis": "redis:7.2"}, {"redis": "redis:6-alpine"}, tool.REDIS, "there")


def test_files_belong_to_whom_dify_runs_as(tool, place):  # noqa: F811
    """Its images run as 1001 since 1.10.1; files of an older one are root's."""
    users = {"": 0, "root": 0, "0": 0, "1001": 1001, "1002:0": 1002, "dify": 1001, "postgres": 0}
    assert {user: tool.owner_wanted({"Config": {"User": user}}) for user in users} == users and tool.owner_wanted({}) == 0
    if os.geteuid() != 0:
        pytest.skip("owners are root's to give")
    (place / "folder").mkdir()
    (place / "folder" / "file").write_bytes(b"x")
    (place / "folder" / "file").chmod(0o2640)
    os.symlink(place.parent / "outside" / "file", place / "link")
    before = state(place)
    tool.give_all(str(place), 1001)
    assert {os.lstat(place / path).st_uid for path in (".", "folder", "folder/file", "link")} == {1001}
    assert stat.S_IMODE(os.stat(place / "folder" / "file").st_mode) == 0o2640 and state(place) == before


def test_a_dry_run_of_what_is_under_way_does_nothing(tool, tmp_path, capsys):  # noqa: F811
    """Also of --back, whatever the move has done by then."""
    journal = tool.Journal(str(tmp_path / "moves.jsonl"))
    move = tool.Move("cutover", Recorder(), Recorder(), Recorder(), Recorder(), (("a", 1), ("b", 2)), journal, types.SimpleNamespace(wait=1))
    options = types.SimpleNamespace(dry_run=True, back=True)
    assert tool.carry_out(move, options) == 0 and "no move is under way" in capsys.readouterr().out
    journal.add("begin", kind="cutover", entries=[["one", "dify1"]], had_votes=False, new=["b", 2], source="/x", target="new:/x")
    journal.add("holding")
    journal.add("stopping", services=["api", "worker"])
    size = os.path.getsize(journal.path)
    assert tool.carry_out(move, options) == 0
    said = capsys.readouterr().out
    assert "start: api, worker of /x" in said and "enable: what waited" in said
    options.back = False
    assert tool.carry_out(move, options) == 0 and "behind `stopping`, to b:2" in capsys.readouterr().out
    assert move.source.calls == move.target.calls == move.nodes.calls == move.config.calls == [] and os.path.getsize(journal.path) == size


def test_the_key_that_data_was_encrypted_with_stays(tool):  # noqa: F811
    done = subprocess.run([sys.executable, TOOL, "restore", "/none", "--to", "/none", "--set", "SECRET_KEY=SECRET-other"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 1 and "belongs to what is restored" in done.stderr and "SECRET-other" not in done.stderr


def test_verify_gives_a_key_to_nobody_else(tool, tmp_path):  # noqa: F811
    asked = []

    def serve(server):
        with server, server.accept()[0] as peer:
            asked.append(peer.recv(4096))
            peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    verify = tool.Verify(types.SimpleNamespace(old=f"http://127.0.0.1:{port}", new=""))
    assert verify._ask(verify.options.old, "SECRET-app", "/v1/info") == (302, b"{}") and b"SECRET-app" in asked[0]


def test_a_part_that_is_damaged_after_it_was_checked_is_told(tool, place, tmp_path):  # noqa: F811
    """A restore that was interrupted, and went on a day later."""
    archive = made(tool, tmp_path / "archive", {"files.tar": tar_of(member("f", data=b"x" * 5000)).getvalue()})
    opened = tool.Archive(str(archive)).open()
    tool.verify_parts(opened)
    data = bytearray((archive / "files.tar").read_bytes())
    data[600] ^= 1   # of the file's own bytes: a tar has no sum of them
    (archive / "files.tar").write_bytes(data)
    with pytest.raises(tool.Trouble, match="files.tar is damaged"), opened.reader("files.tar") as stream:
        tool.extract(stream, str(place), lambda count: None)


@pytest.mark.parametrize(("service", "wanted"), [("db", False), ("certbot", True), ("web", True), ("volumes", False), ("image", False)])
def test_what_an_older_compose_file_left_is_not_missed(tool, tmp_path, service, wanted):  # noqa: F811
    (tmp_path / "docker-compose.yaml").write_text("services:\n  db_postgres:\n    image: a\n  'certbot':\n    profiles: [certbot]\n  web: &web\n    image: b\nvolumes:\n")
    project = object.__new__(tool.Project)
    project.folder = str(tmp_path)
    assert project.names_service(service) == wanted
