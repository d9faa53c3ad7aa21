"""Bodies that wait for their user: in memory, in files without a name, and when there is no room.

The user stands behind the file, as in Dify's own curl example.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import tempfile

import pytest
from harness import BUILD, LONG, PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, parallel, ring_find, ring_points, run_command, settings
from stub_client import Stub, wait_for

KIB, MIB = 1024, 1024 * 1024
BOUNDARY = "b0undary"
BEGIN = (f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n').encode()
SLACK = 8 * MIB   # pools of blocks, pages of malloc


def end(user):
    return f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n--{BOUNDARY}--\r\n'.encode()


def data(size, seed=1):
    return hashlib.shake_128(str(seed).encode()).digest(64 * KIB) * (size // (64 * KIB)) + b"x" * (size % (64 * KIB))


def files(node):
    """Of kept bodies, that the node has open: `#12345 (deleted)`, or with a name that is gone."""
    found = 0
    for fd in os.listdir(f"/proc/{node.pid}/fd"):
        with contextlib.suppress(OSError):
            name = os.path.basename(os.readlink(f"/proc/{node.pid}/fd/{fd}"))
            found += name.endswith(" (deleted)") and name.startswith(("#", "difyring-"))
    return found


def used(folder):
    """Bytes on its file system."""
    facts = os.statvfs(folder)
    return (facts.f_blocks - facts.f_bfree) * facts.f_bsize


class Upload:
    """One that is in flight."""

    def __init__(self, node, size, user="late", chunked=False, path="/v1/_echo"):
        self.user, self.data, self.chunked = user, data(size, user), chunked
        self.client = node.client()
        length = len(BEGIN) + size + len(end(user))
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
        self.client.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n{framing}\r\n"
                         f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode())
        self.piece(BEGIN)

    def piece(self, piece):
        self.client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if self.chunked else piece)
        return self

    def file(self):
        for at in range(0, len(self.data), MIB):
            self.piece(self.data[at:at + MIB])
        return self

    def user_comes(self):
        self.piece(end(self.user))
        if self.chunked:
            self.client.send(b"0\r\n\r\n")
        return self

    def response(self):
        with self.client:   # all of it goes on once the user is known: a busy machine may take a second a MiB
            self.client.socket.settimeout(TIMEOUT + PATIENCE * len(self.data) // MIB)
            return self.client.response()

    def sha256(self):
        return hashlib.sha256(BEGIN + self.data + end(self.user)).hexdigest()


@pytest.fixture(name="folder")
def make_folder():
    with tempfile.TemporaryDirectory(prefix="difyring-spool-") as folder:
        yield folder


@pytest.fixture(name="disk")
def small_disk(folder):
    """Of 8 MiB."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", folder], check=False).returncode != 0:
        pytest.skip("needs to mount a file system")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def config(stubs, folder, instances=None, **limits):
    return settings(stubs, instances=instances, limits={"spool_dir": folder, **limits})


@pytest.mark.threads
@pytest.mark.smoke
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_takes_little_memory_and_arrives_as_it_is(stubs, folder, chunked):
    size = 100 * MIB - 1000 if BUILD == "release" and not chunked else 6 * MIB
    with Node(config(stubs, folder)) as node:
        before = node.memory("VmHWM")
        upload = Upload(node, size, chunked=chunked, path="/v1/_echo").file()
        wait_for(lambda: files(node) == 1, TIMEOUT)
        assert not os.listdir(folder)
        head, body = upload.user_comes().response()
        if BUILD == "release":
            assert node.memory("VmHWM") < before + 2 * MIB + SLACK
        seen = json.loads(body)
        fields = {name.lower(): value for name, value in seen["headers"]}
        assert head.status == 200
        assert seen["instance"] == ring_find(ring_points({stub.name: 1 for stub in stubs}), "one", "late")
        assert seen["body_sha256"] == upload.sha256()
        if chunked:
            assert fields.get("transfer-encoding") == "chunked"
        else:
            assert int(fields["content-length"]) == len(BEGIN) + size + len(end("late"))
        wait_for(lambda: files(node) == 0, TIMEOUT)


def test_what_fits_into_memory_needs_no_folder(stubs):
    with Node(config(stubs, "/nobody/has/this")) as node:
        assert Upload(node, 900 * KIB).file().user_comes().response()[0].status == 200
        upload = Upload(node, 3 * MIB)
        with contextlib.suppress(OSError):
            upload.file().user_comes()
        value = check_error(*upload.response(), 503, "insufficient_storage")
        assert "room" in value["message"]
        told = wait_for(lambda: node.events("spool_failed"), TIMEOUT)[0]
        assert (told["level"], told["dir"]) == ("error", "/nobody/has/this")
        assert node.echo("/v1/_echo?user=x")["user"] == "x"


def test_a_full_disk_refuses_who_needs_it_and_nobody_else(stubs, disk):
    with Node(config(stubs, disk)) as node:
        small = Upload(node, 5 * MIB, "small").file()
        wait_for(lambda: used(disk) > 5 * MIB - 200 * KIB, TIMEOUT)   # less than two pieces are in memory
        large = Upload(node, 20 * MIB, "large")
        with contextlib.suppress(OSError):   # refused in the middle
            large.file().user_comes()
        head, body = large.response()
        check_error(head, body, 503, "insufficient_storage")
        assert head.headers["retry-after"] and head.headers["connection"] == "close"
        head, body = small.user_comes().response()
        assert (head.status, json.loads(body)["body_sha256"]) == (200, small.sha256())
        assert Upload(node, 5 * MIB, "next").file().user_comes().response()[0].status == 200   # there is room again
        assert [line["status"] for line in node.wait_access(3, method="POST")] == [503, 200, 200]


def test_many_at_once_share_the_nodes_memory(stubs, folder):
    count, size, allowed = (512, 2 * MIB, 64 * MIB) if LONG else (32, 2 * MIB, 4 * MIB)
    patient = {**config(stubs, folder, spool_memory_all=allowed), "timeouts": {"request_body": "600s"}}
    with Node(patient) as node:   # each waits for its turn, on a busy machine for minutes
        before = node.memory("VmHWM")
        uploads = [Upload(node, size, f"user {i}") for i in range(count)]
        parallel([lambda some=uploads[i::4]: [upload.file() for upload in some] for i in range(4)])
        wait_for(lambda: files(node) == count, TIMEOUT)
        kept = node.memory("VmHWM") - before
        answers = [upload.user_comes().response() for upload in uploads]
        assert [head.status for head, _ in answers] == [200] * count
        assert [json.loads(body)["body_sha256"] for _, body in answers] == [upload.sha256() for upload in uploads]
        if BUILD == "release":
            assert kept < allowed + SLACK + count * 40 * KIB   # what a connection and its first block take
        print(f"{count * size // MIB} MiB of uploads at once, {allowed // MIB} MiB allowed: {kept / MIB:.0f} MiB more in "
              f"memory, {len(answers)} of {count} whole")
        wait_for(lambda: files(node) == 0, TIMEOUT)


def test_beyond_the_nodes_memory_small_requests_need_no_disk(stubs):
    with Node(config(stubs, "/nobody/has/this", spool_memory_all="512KiB")) as node:
        uploads = [Upload(node, 700 * KIB, f"user {i}") for i in range(2)]
        for upload in uploads:
            with contextlib.suppress(OSError):
                upload.file()
        assert node.echo(method="POST", json_body={"user": "x", "query": "q" * 9000})["user"] == "x"
        statuses = set()
        for upload in uploads:
            with contextlib.suppress(OSError):
                upload.user_comes()
            statuses.add(upload.response()[0].status)
        assert 503 in statuses


def test_check_host_looks_at_the_folder(disk):
    def warnings(folder, **limits):
        path = os.path.join(disk, "node.yaml")
        with open(path, "w", encoding="utf-8") as file:
            one = {"name": "i", "host": "127.0.0.1", "port": 9, "token": "app-123456"}
            json.dump(settings([], instances=[one], limits={"spool_dir": folder, **limits}), file)
        result = run_command("check", "--host", "-c", path)
        return [line for line in result.stdout.splitlines() if ": warning: " in line]
    assert any("No such file" in line for line in warnings("/nobody/has/this"))
    assert any("not a folder" in line for line in warnings("/etc/passwd"))
    assert any("in memory" in line for line in warnings(disk))
    assert any("fewer than one body" in line for line in warnings(disk))
    assert not any("fewer than one body" in line for line in warnings(disk, body_size="1MiB"))


@pytest.mark.threads
def test_a_client_that_leaves_in_the_middle_leaves_nothing(stubs, folder):
    with Node(config(stubs, folder, spool_memory="64KiB")) as node:
        uploads = [Upload(node, 2 * MIB, f"user {i}").file() for i in range(5)]
        wait_for(lambda: files(node) == 5, TIMEOUT)
        for upload in uploads:
            upload.client.close()
        wait_for(lambda: files(node) == 0, TIMEOUT)
        assert {line["status"] for line in node.wait_access(5, method="POST")} == {499}


def test_a_node_that_is_killed_leaves_nothing(stubs, folder):
    with Node(config(stubs, folder, spool_memory="64KiB")) as node:
        upload = Upload(node, 2 * MIB)   # an object of its own, or its connection ends here
        upload.file()
        wait_for(lambda: files(node) == 1, TIMEOUT)
        node.signal(signal.SIGKILL)
        node.wait()
        assert not os.listdir(folder)
        node.process = subprocess.Popen(["true"])   # its end was meant
        node.wait()


def test_a_kept_body_goes_to_the_next_instance_when_the_first_refuses(folder):
    with Stub("dify1") as one, Stub("dify2") as two:
        home = ring_find(ring_points({"dify1": 1, "dify2": 1}), "one", "late")
        first, second = (one, two) if home == "dify1" else (two, one)
        first.refuse()
        with Node(config([one, two], folder)) as node:
            upload = Upload(node, 5 * MIB).file().user_comes()
            head, body = upload.response()
            seen = json.loads(body)
            assert (head.status, seen["instance"]) == (200, second.name)
            assert seen["body_sha256"] == upload.sha256()
            assert node.wait_access(method="POST")[0]["attempts"] == 2


def test_a_slow_instance_gets_all_of_it_and_holds_the_client_back(folder):
    with Stub("dify1") as stub, Node(config([stub], folder)) as node:
        stub.fault("slow_read", ms=1, per=64 * KIB, match="_echo")
        before = node.memory("VmHWM")
        upload = Upload(node, 6 * MIB, chunked=True).file().user_comes()
        head, body = upload.response()
        assert (head.status, json.loads(body)["body_sha256"]) == (200, upload.sha256())
        if BUILD == "release":
            assert node.memory("VmHWM") < before + 2 * MIB + SLACK


def test_a_kept_body_waits_for_a_slot(folder):
    with Stub("dify1") as stub:
        with Node(config([stub], folder, spool_memory="64KiB",
                         instances=[instance(stub, max_in_flight=1)])) as node, node.client() as busy:
            busy.send(f"POST /v1/_echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nX-User-ID: x\r\n"
                      "Content-Length: 2\r\n\r\n1".encode())   # has the slot until its body is whole
            wait_for(lambda: node.instances()["dify1"]["slots_used"] == 1, TIMEOUT)
            upload = Upload(node, 3 * MIB).file().user_comes()
            wait_for(lambda: node.instances()["dify1"]["queued"] == 1, TIMEOUT)
            assert files(node) == 1
            assert busy.send(b"2").response()[0].status == 200
            head, body = upload.response()
            assert (head.status, json.loads(body)["body_sha256"]) == (200, upload.sha256())


def test_bodies_that_wait_for_a_slot_share_the_nodes_memory(folder):
    """Each may hold 64 KiB; beyond what all may have together it goes to the disk, as one does that waits for its
    user, and those in memory count as the blocks that they take."""
    count, size = 40, 60 * KIB
    with Stub("dify1") as stub:
        slow = [instance(stub, max_in_flight=1)]
        with Node(config([stub], folder, slow, spool_memory_all="1MiB")) as node, node.client() as busy:
            busy.send(f"POST /v1/_echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nX-User-ID: x\r\n"
                      "Content-Length: 2\r\n\r\n1".encode())
            wait_for(lambda: node.instances()["dify1"]["slots_used"] == 1, TIMEOUT)
            clients = [node.client() for _ in range(count)]
            for index, client in enumerate(clients):
                client.send(f"POST /v1/_echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                            f"X-User-ID: u{index}\r\nContent-Length: {size}\r\n\r\n".encode() + data(size, index))
                wait_for(lambda: node.instances()["dify1"]["queued"] == len(clients[:index + 1]), TIMEOUT)
            in_memory = 2 * MIB // (4 * 16 * KIB)   # four blocks each; what a worker has not said yet comes on top
            wait_for(lambda: files(node) >= count - in_memory, TIMEOUT)
            assert busy.send(b"2").response()[0].status == 200
            for index, client in enumerate(clients):
                head, body = client.response()
                assert head.status == 200
                assert json.loads(body)["body_sha256"] == hashlib.sha256(data(size, index)).hexdigest()
                client.close()
            wait_for(lambda: files(node) == 0, TIMEOUT)


def test_small_bodies_count_as_the_block_that_each_takes(folder):
    """A byte of a body is 16 KiB of memory: 80 of them fill a MiB."""
    with Stub("dify1") as stub:
        with Node(config([stub], folder, spool_memory_all="1MiB", spool_memory="1MiB")) as node:
            small = [node.client() for _ in range(80)]
            for client in small:
                client.send(f"POST /v1/_echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\n"
                            "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{".encode())
            wait_for(lambda: node.status()["applications"]["one"]["total_requests"] == 80, TIMEOUT)
            upload = Upload(node, 300 * KIB).file()   # would have a MiB for itself
            wait_for(lambda: files(node) == 1, TIMEOUT)
            assert upload.user_comes().response()[0].status == 200
            for client in small:
                assert client.send(b'"user":"u"}').response()[0].status == 200
                client.close()


def test_an_answer_before_the_whole_body_is_passed_on(folder):
    with Stub("dify1") as stub, Node(config([stub], folder, spool_memory="64KiB")) as node:
        upload = Upload(node, 4 * MIB, path="/v1/_early?linger=0").file()
        wait_for(lambda: files(node) == 1, TIMEOUT)
        with contextlib.suppress(OSError):
            upload.user_comes()
        assert upload.response()[0].status == 413
        wait_for(lambda: files(node) == 0, TIMEOUT)
        assert node.echo("/v1/_echo?user=x")["user"] == "x"


def test_the_limits_are_taken_over_by_a_reload(stubs, folder):
    with Node(config(stubs, "/nobody/has/this")) as node:
        assert node.reload(config(stubs, folder, spool_memory="100KiB"))[0] == 200
        upload = Upload(node, 500 * KIB).file()
        wait_for(lambda: files(node) == 1, TIMEOUT)
        assert upload.user_comes().response()[0].status == 200
