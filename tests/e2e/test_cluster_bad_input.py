"""What goes wrong around a cluster: each is named in the log and in /status, and traffic goes on."""

import base64
import hashlib
import os
import shutil
import socket
import subprocess

import pytest
from cluster import Cluster, new_key
from harness import BUILD, PATIENCE, ROOT, TIMEOUT, TOKEN, Node, observe, settings
from stub_client import wait_for

OVER_SECONDS = 5 * PATIENCE   # SPEC §5: a problem that is over goes within
PATH = "/v1/_echo"
HOUR = 3600


def serves(*nodes):
    """Traffic goes on."""
    for node in nodes:
        assert node.echo(f"{PATH}?user=u")["instance"]


def totals(cluster):
    return {status["stats"]["total_requests"] for status in cluster.statuses()}


# ---- others

def test_a_wrong_key(stubs):
    local = {"node-c": {"cluster": {"keys": [new_key()]}}}
    with Cluster(settings(stubs), 3, local=local) as cluster:
        kinds = ("unknown_key", "forged")   # a key's id is one byte: one in 256 is taken for ours
        host, port = cluster.udp["node-c"]
        said = cluster.wait_problem("node-a", *kinds, says=f"{host}:{port}")
        assert "cluster.keys" in said
        cluster.wait_problem("node-c", *kinds)
        serves(*cluster.nodes())
        assert cluster.states("node-a") == {"node-a": "alive", "node-b": "alive"}
        assert cluster.states("node-c") == {"node-c": "alive"}
        # A reload with the right key mends it; the first key sends, all are accepted.
        cluster.local = {"node-c": {"cluster": {"keys": [cluster.key]}}}
        assert cluster.reload("node-c")[0] == 200
        cluster.settle()
        assert len(cluster.states("node-a")) == 3


def test_keys_are_rotated_without_a_gap(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle()
        old, new = cluster.key, new_key()

        def told():
            return {member["key"] for node in cluster.nodes() for member in node.status()["cluster"]["nodes"]}

        def digest(key):
            return hashlib.sha256(base64.b64decode(key)).hexdigest()[:8]
        wait_for(lambda: told() == {digest(old)}, TIMEOUT)
        for keys in ([old, new], [new, old], [new]):   # accept everywhere, send, remove
            cluster.local = {name: {"cluster": {"keys": keys}} for name in cluster.names}
            for name in cluster.names:
                assert cluster.reload(name)[0] == 200
                cluster.settle()
        wait_for(lambda: told() == {digest(new)}, TIMEOUT)
        serves(*cluster.nodes())
        for node in cluster.nodes():
            assert not [event for event in node.events("member") if event["state"] in ("suspect", "dead")]
            assert new not in node.outputs()


def test_another_cluster_name(stubs):
    local = {"node-c": {"cluster": {"name": "other"}}}
    with Cluster(settings(stubs), 3, local=local) as cluster:
        cluster.wait_problem("node-a", "forged", "unknown_key")
        serves(*cluster.nodes())
        assert set(cluster.states("node-a")) == {"node-a", "node-b"}


def clash_problems(node):
    return [problem for problem in node.status()["problems"] if problem["kind"] == "name_clash"]


def names_both(node, cluster):
    """It tells of the clash of node-b and node-c's process, by their addresses, older first."""
    texts = [problem["detail"] for problem in clash_problems(node)]
    older, younger = ("{}:{}".format(*cluster.udp[name]) for name in ("node-b", "node-c"))
    return [text for text in texts if -1 < text.find(older) < text.find(younger) and "node.name" in text]


def test_of_two_with_one_name_the_older_keeps_it(stubs):
    """All name both addresses; what the younger counts and votes reaches nobody, though it serves."""
    config = settings(stubs)
    config["health_check"] = {"enabled": True, "interval": "100ms", "unhealthy_threshold": 1}
    local = {"node-c": {"node": {"name": "node-b"}}}
    with Cluster(config, 3, local=local, start=["node-a", "node-b"]) as cluster:
        cluster.settle()
        older, younger = cluster["node-b"], None
        generation = older.status()["node"]["generation"]
        for node in cluster.nodes():
            node.echo()
        younger = cluster.start("node-c")
        for _ in range(7):
            younger.echo()
        for node in cluster.nodes():
            wait_for(lambda node=node: names_both(node, cluster), 3 * TIMEOUT)
        for node in (cluster["node-a"], older):
            status = node.status()
            assert status["stats"]["total_requests"] == 2
            assert status["cluster"]["alive"] == 2 and status["cluster"]["converged"]
            assert {row["name"]: row["generation"] for row in status["cluster"]["nodes"]}["node-b"] == generation
            assert all(set(one["votes"]) == {"node-a", "node-b"}
                       for one in status["applications"]["one"]["instances"].values())
        serves(*cluster.nodes())
        assert cluster.states("node-a") == {"node-a": "alive", "node-b": "alive"}
        observe(1, lambda: len(clash_problems(cluster["node-a"])) == 1 and clash_problems(older))

        # The older one ends: the younger gets its voice, and the problem is over.
        cluster.kill("node-b")
        wait_for(lambda: {row["name"]: (row["state"], row["generation"])
                          for row in cluster["node-a"].status()["cluster"]["nodes"]}["node-b"] ==
                 ("alive", younger.status()["node"]["generation"]), TIMEOUT)
        wait_for(lambda: not clash_problems(cluster["node-a"]) and not clash_problems(younger), OVER_SECONDS)
        wait_for(lambda: len({s["stats"]["total_requests"] for s in cluster.statuses()}) == 1, TIMEOUT)
        assert cluster.statuses()[0]["stats"]["total_requests"] >= 2 + 7


def test_the_problem_goes_with_the_younger(stubs):
    local = {"node-c": {"node": {"name": "node-b"}}}
    with Cluster(settings(stubs), 3, local=local, start=["node-b"]) as cluster:
        cluster.settle()
        cluster.start("node-c")   # nobody has told node-b its own address: it is "this one"
        wait_for(lambda: [one for one in clash_problems(cluster["node-b"]) if "node-b: this one, which started first" in one["detail"]],
                 3 * TIMEOUT)
        cluster.start("node-a")
        for node in cluster.nodes():
            wait_for(lambda node=node: names_both(node, cluster), 3 * TIMEOUT)
        cluster.stop("node-c")
        wait_for(lambda: not any(clash_problems(node) for node in cluster.nodes()), OVER_SECONDS)
        cluster.settle()


def test_a_restart_elsewhere_is_no_clash(stubs):
    """The same name at another address, hardly after the former process has died, if that was noticed at all."""
    local = {"node-c": {"node": {"name": "node-b"}}}
    with Cluster(settings(stubs), 3, local=local, start=["node-a", "node-b"], profile="lan") as cluster:
        cluster.settle()
        cluster["node-b"].echo()
        wait_for(lambda: cluster["node-a"].status()["stats"]["total_requests"] == 1, TIMEOUT)
        cluster.kill("node-b")
        node = cluster.start("node-c")
        node.echo()
        wait_for(lambda: cluster.states("node-a")["node-b"] == "alive" and
                 {s["stats"]["total_requests"] for s in cluster.statuses()} == {2}, 2 * PATIENCE)
        assert not any(node.events("cluster_problem") for node in cluster.nodes())
        generation = node.status()["node"]["generation"]
        assert not [event for event in cluster["node-a"].events("member")
                    if event["state"] == "dead" and event["generation"] == generation]


def test_a_newer_protocol_version(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.99", 0))
            peer.settimeout(0.2)
            peer.sendto(bytes([2, 0]) + bytes(300), cluster.udp["node-a"])
            said = cluster.wait_problem("node-a", "newer_version", says="127.0.0.99")
            assert "version" in said
            with pytest.raises(TimeoutError):
                peer.recv(2000)   # and nobody answers
        serves(*cluster.nodes())
        assert cluster.statuses()[0]["cluster"]["alive"] == 2


# ---- clocks

@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """The environment of a program whose wall clock is off by so many seconds."""
    if BUILD != "release":
        pytest.skip("a sanitizer or valgrind does not like to be preloaded")
    library = os.path.join(tmp_path_factory.mktemp("clock"), "wall_clock.so")
    source = os.path.join(ROOT, "tests", "support", "wall_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    return lambda seconds: {"LD_PRELOAD": library, "WALL_CLOCK_SHIFT": str(seconds)}


@pytest.mark.parametrize("shift, word", [(HOUR, "ahead of"), (-HOUR, "behind")])
def test_a_clock_an_hour_off(stubs, shifted, shift, word):
    with Cluster(settings(stubs), 2, start=["node-a"]) as cluster:
        off = cluster.start("node-b", env=shifted(shift))
        cluster.settle()
        said = cluster.wait_problem("node-a", "clock_off", says="node-b")
        assert f"3600 s {word}" in said or f"3599 s {word}" in said or f"3601 s {word}" in said
        serves(*cluster.nodes())
        wait_for(lambda: totals(cluster) == {2}, TIMEOUT)
        # What was drained by the clock that is ahead can be enabled by the other, and the other way round.
        for first, second in (("node-b", "node-a"), ("node-a", "node-b")):
            for name, verb, status in ((first, "drain", "draining"), (second, "enable", "unknown")):
                cluster[name].json("POST", f"/admin/instances/one/dify1/{verb}")
                wait_for(lambda: all(node.instances()["dify1"]["status"] == status for node in cluster.nodes()), TIMEOUT)
        # Set right and restarted, it is still taken for a new start of the same node.
        generation = off.status()["node"]["generation"]
        cluster.stop("node-b")
        cluster.start("node-b")
        cluster.settle()
        assert cluster["node-b"].status()["node"]["generation"] > generation
        wait_for(lambda: totals(cluster) == {2}, TIMEOUT)


def test_a_clock_that_went_back_without_a_state_dir(stubs, shifted):
    with Cluster(settings(stubs), 2, state=False, start=["node-a"]) as cluster:
        cluster.start("node-b", env=shifted(HOUR))
        cluster.settle()
        serves(*cluster.nodes())
        wait_for(lambda: totals(cluster) == {2}, TIMEOUT)
        cluster.kill("node-b")
        node = cluster.start("node-b")   # its generation would be older than the one that is known
        cluster.settle()
        wait_for(lambda: node.events("generation_raised"), TIMEOUT)
        serves(node)
        wait_for(lambda: totals(cluster) == {3}, 15)


# ---- state_dir

def test_a_cloned_state_dir(stubs):
    with Cluster(settings(stubs), 3, start=["node-a", "node-b"]) as cluster:
        cluster.settle(revision=1)
        serves(*cluster.nodes())
        wait_for(lambda: totals(cluster) == {2}, TIMEOUT)
        cluster.stop("node-b")
        shutil.copytree(cluster.state["node-b"], cluster.state["node-c"])
        cluster.start("node-b", "node-c")
        cluster.settle()
        assert "written by node node-b" in cluster.wait_problem("node-c", "state_cloned", says="node-c")
        assert not cluster.problems("node-b", "state_cloned")
        serves(*cluster.nodes())
        wait_for(lambda: totals(cluster) == {5}, TIMEOUT)   # nothing counts twice
        cluster.stop("node-c")
        cluster.start("node-c")
        cluster.settle()
        assert not cluster.problems("node-c", "state_cloned")   # it is its own by now


@pytest.mark.parametrize("damage", [{"generation": "cut", "shared": "flipped", "state": "noise"},
                                    {"generation": "noise", "shared": "empty", "state": "cut"}])
def test_damaged_files(stubs, damage):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle(revision=1)
        serves(*cluster.nodes())
        cluster["node-a"].json("POST", "/admin/instances/one/dify1/drain")
        wait_for(lambda: totals(cluster) == {2}, TIMEOUT)
        cluster.stop("node-b")
        for name, how in damage.items():
            path = os.path.join(cluster.state["node-b"], name)
            with open(path, "rb") as file:
                good = file.read()
            bad = {"cut": good[:-5], "noise": os.urandom(len(good)), "empty": b"",
                   "flipped": bytes([good[0] ^ 1]) + good[1:]}[how]
            with open(path, "wb") as file:
                file.write(bad)
        node = cluster.start("node-b")
        for name in damage:
            assert "renamed" in cluster.wait_problem("node-b", "state_damaged", says=f"/{name} is damaged")
            assert os.path.exists(os.path.join(cluster.state["node-b"], name + ".damaged"))
        serves(node)
        cluster.settle(revision=1)
        wait_for(lambda: totals(cluster) == {3}, 15)   # from the other, its own part too
        assert node.instances()["dify1"]["status"] == "draining"


def test_files_that_are_none(stubs):
    """Folders where files should be: they are set aside, and files take their place."""
    with Cluster(settings(stubs), 2, start=["node-a"]) as cluster:
        paths = [os.path.join(cluster.state["node-b"], name) for name in ("generation", "shared", "state", "owner")]
        for path in paths:
            os.makedirs(os.path.join(path, "x"))
        node = cluster.start("node-b")
        for path in paths:
            assert "renamed" in cluster.wait_problem("node-b", "state_damaged", says=f"{path} cannot be read")
            assert os.path.isdir(os.path.join(path + ".damaged", "x"))
        serves(node)
        cluster.settle()
        wait_for(lambda: all(os.path.isfile(path) for path in paths), TIMEOUT)
        assert not cluster.problems("node-b", "state_not_written")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    path = os.path.join(tmp_path, "disk")
    os.makedirs(path)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", path], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("no right to mount a small disk here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk(stubs, small_disk):
    with Cluster(settings(stubs), 2, start=["node-a"]) as cluster:
        cluster.state["node-b"] = os.path.join(small_disk, "state")
        node = cluster.start("node-b")
        cluster.settle(revision=1)
        filler = os.path.join(small_disk, "filler")
        handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError):
            while True:
                os.write(handle, bytes(4096))
        os.close(handle)
        serves(*cluster.nodes())   # there is something to write
        said = cluster.wait_problem("node-b", "state_not_written")
        assert "No space left" in said and cluster.state["node-b"] in said
        assert cluster.reload("node-b")[0] == 200
        serves(*cluster.nodes())
        os.unlink(filler)   # nothing else happens: what was not written is tried again
        wait_for(lambda: node.events("state_written_again"), TIMEOUT)
        wait_for(lambda: not cluster.problems("node-b", "state_not_written"), TIMEOUT)
        cluster.kill("node-b")
        cluster.start("node-b")
        cluster.settle()
        wait_for(lambda: totals(cluster) == {4}, 15)
