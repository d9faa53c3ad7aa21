"""node.state_dir: what cannot be is refused at the start, and what goes wrong later is told once."""

import json
import os
import shutil
import subprocess

import pytest
from harness import BIN, TIMEOUT, TOKEN, Node, observe, settings
from stub_client import wait_for

NOBODY = 65534


def config(stubs, folder):
    value = settings(stubs)
    value["node"]["state_dir"] = str(folder)
    return value


def refused(tmp_path, stubs, folder, *before):
    """What `run` says of it, without the place, which is the key's."""
    path = tmp_path / "node.yaml"
    text = json.dumps({**config(stubs, folder), "log": {"access": "off", "error": "off"}}, indent=1)
    path.write_text(text)
    path.chmod(0o644)
    for above in tmp_path.parents:   # somebody else may pass: several test processes have closed folders of their own
        if str(above).startswith("/tmp/"):
            above.chmod(above.stat().st_mode | 0o011)
    done = subprocess.run([*before, BIN, "run", "-c", str(path)], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False)
    line = 1 + text[:text.index('"state_dir"')].count("\n")
    start = f"{path}:{line}:"
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and done.stderr.startswith(start), done.stderr
    column, _, said = done.stderr[len(start):].strip().partition(": ")
    assert int(column) > 1 and said.startswith(f"node.state_dir: {folder} "), said
    return said


def test_the_folders_above_it_are_made_too(stubs, tmp_path):
    folder = tmp_path / "var" / "lib" / "difyring"
    with Node(config(stubs, folder)):
        assert (folder / "generation").exists()
        assert folder.stat().st_mode & 0o777 == 0o700   # tokens are in it


def test_a_file_in_its_place_is_refused(stubs, tmp_path):
    said = refused(tmp_path, stubs, "/etc/passwd")
    assert "is no folder" in said and "name another" in said


def test_a_file_on_its_way_is_refused(stubs, tmp_path):
    (tmp_path / "file").touch()
    said = refused(tmp_path, stubs, tmp_path / "file" / "a" / "state")
    assert f"cannot be made: {tmp_path / 'file' / 'a'}: Not a directory" in said


def test_a_kernel_that_makes_none_there_is_heard(stubs, tmp_path):
    said = refused(tmp_path, stubs, "/proc/difyring/state")
    assert "cannot be made: /proc/difyring: No such file or directory" in said


@pytest.fixture
def open_path(tmp_path):
    """A folder that everybody can reach."""
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can try as somebody else")
@pytest.mark.parametrize("there", [False, True], ids=["to be made", "there"])
def test_a_folder_of_somebody_else_is_refused(stubs, open_path, there):
    folder = open_path / "state"
    if there:
        folder.mkdir(0o755)
    said = refused(open_path, stubs, folder, "setpriv", f"--reuid={NOBODY}", "--clear-groups")
    assert "Permission denied" in said and "chown" in said


def told(node):
    return [event for event in node.events("problem") if event["kind"] == "state_not_written"]


def point(link, target):
    """The path `link` becomes `target`'s in one step: the node may write at any moment, and makes what is missing."""
    beside = link.with_name("beside")
    beside.symlink_to(target)
    beside.rename(link)


def test_what_cannot_be_written_later_is_told_once_and_again_when_it_changes(stubs, tmp_path):
    folder, good, other, blocked = (tmp_path / name for name in ("state", "good", "file", "blocked"))
    good.mkdir()
    other.write_text("in its place")
    (blocked / "state").mkdir(parents=True)
    (blocked / "state" / "x").touch()
    point(folder, good)
    with Node(config(stubs, folder)) as node:
        point(folder, other)
        node.request("GET", "/v1/_echo?user=u", token=TOKEN)   # there is something to write
        wait_for(lambda: len(told(node)) >= 8, TIMEOUT)   # each of its files, for all are written then
        before = len(told(node))
        observe(2.5, lambda: len(told(node)) == before)
        assert before <= 8 and all(event["level"] == "error" and "Not a directory" in event["message"]
                                   for event in told(node))
        assert node.status()["problems"]
        point(folder, blocked)   # now it is something else

        def is_told():
            return [event for event in told(node)
                    if "/state/state cannot be written: Is a directory" in event["message"]]
        wait_for(is_told, TIMEOUT)
        shutil.rmtree(blocked / "state")
        wait_for(lambda: node.events("state_written_again"), TIMEOUT)
        assert len(is_told()) == 1
        assert not node.status()["problems"]


def test_a_file_that_cannot_be_read_is_set_aside_and_not_overwritten(stubs, tmp_path):
    """400 days of usage are in it: whoever looks at the disk finds them."""
    past = tmp_path / "usage-past"
    with open(past, "wb") as file:
        file.write(b"of before")
        file.truncate(257 << 20)   # larger than any of ours
    with Node(config(stubs, tmp_path)) as node:
        [problem] = [one for one in node.status()["problems"] if one["kind"] == "state_damaged"]
        assert "usage-past cannot be read: " in problem["detail"] and "renamed" in problem["detail"]
    with open(f"{past}.damaged", "rb") as file:
        assert file.read(9) == b"of before"


def test_a_folder_that_was_removed_is_made_again(stubs, tmp_path):
    """With all that was in it: a restart would know no revision of the shared configuration any more."""
    folder, moved = tmp_path / "state", tmp_path / "moved"
    with Node(config(stubs, folder)) as node:
        assert node.request("GET", "/v1/_echo?user=u", token=TOKEN)[0].status == 200
        wait_for((folder / "shared").exists, TIMEOUT)
        wait_for((folder / "state").exists, TIMEOUT)
        folder.rename(moved)
        node.request("GET", "/v1/_echo?user=u", token=TOKEN)
        # But for what was being written as the folder went, and what changes too rarely.
        lasting = {path.name for path in moved.iterdir() if path.suffix != ".new"} - {"usage", "usage-past"}
        wait_for(lambda: folder.exists() and lasting <= {path.name for path in folder.iterdir()}, TIMEOUT)
        assert {"owner", "generation", "shared", "state"} <= lasting and not told(node)


def test_the_file_of_quotas_is_written_again_when_the_disk_has_room_though_nobody_has_asked_meanwhile(stubs, tmp_path):
    folder = tmp_path / "state"
    blocked = folder / "quotas.new"   # as a full disk would, for this file alone
    value = config(stubs, folder)
    value["applications"]["one"]["quotas"] = [{"per": "user", "requests": 5, "every": "1h"}]
    with Node(value) as node:
        blocked.mkdir()
        assert node.request("GET", "/v1/_echo?user=u", token=TOKEN)[0].status == 200
        wait_for(lambda: told(node), 2 * TIMEOUT)
        assert [one for one in node.status()["problems"] if "/quotas cannot be written" in one["detail"]]
        blocked.rmdir()
        wait_for((folder / "quotas").exists, TIMEOUT)
        wait_for(lambda: not node.status()["problems"], TIMEOUT)
        folder.rename(tmp_path / "moved")   # so it is when the folder was removed
        [app] = value["applications"]
        drain = f"/admin/instances/{app}/{value['applications'][app]['instances'][0]['name']}/drain"
        assert node.request("POST", drain)[0].status == 200   # which is written, so that it is noticed
        wait_for((folder / "quotas").exists, TIMEOUT)
