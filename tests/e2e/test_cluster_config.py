"""One shared configuration and one list of drained instances, whoever takes them."""

import copy
import os
import time

import pytest
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, settings
from stub_client import wait_for

PATH = "/v1/_echo"
SPREAD_SECONDS = 1 * PATIENCE   # SPEC §6: a reload is taken over within a second


def with_token(config, token):
    """The same with another user token: a change that clients see."""
    changed = copy.deepcopy(config)
    changed["applications"]["one"]["user_tokens"] = [token]
    return changed


def accepts(node, token):
    return node.request("GET", f"{PATH}?user=u", token=token)[0].status == 200


def in_force(cluster, token):
    """Every node that runs takes this token."""
    return all(accepts(node, token) for node in cluster.nodes())


def versions(cluster):
    """{(revision, digest)} of all that run."""
    return {(own["config_revision"], own["config_digest"]) for own in (s["node"] for s in cluster.statuses())}


# ---- reload

@pytest.mark.threads
@pytest.mark.parametrize("who", ["node-a", "node-c"])
def test_a_reload_on_any_node_reaches_all(stubs, who):
    config = settings(stubs)
    with Cluster(config, 3) as cluster:
        cluster.settle(revision=1)
        for node in cluster.nodes():   # a member that nobody knew was not dead before
            assert {event["was"] for event in node.events("member")} == {"unknown"}
        changed = with_token(config, "usertoken--two")
        assert cluster.reload(who, changed) == (
            200, {"status": "success", "message": "Configuration reloaded", "config_revision": 2,
                  "changed": ["applications.one.user_tokens: changed (1 added, 1 removed)"], "restart_needed": [],
                  "warnings": []})
        wait_for(lambda: in_force(cluster, "usertoken--two"), SPREAD_SECONDS)
        assert not any(accepts(node, TOKEN) for node in cluster.nodes())
        cluster.settle(revision=2)
        # The others' files still hold what was before. A reload there is a new revision of what is in force.
        other = "node-b"
        cluster[other].json("POST", "/reload-config")
        cluster.settle(revision=3)
        assert in_force(cluster, "usertoken--two")


def test_a_revision_outlives_the_restart_of_all_and_a_joiner_takes_it(stubs):
    config = settings(stubs)
    with Cluster(config, 3, start=["node-a", "node-b"]) as cluster:
        cluster.settle(revision=1)
        cluster.reload("node-a", with_token(config, "usertoken--two"))
        cluster.settle(revision=2)
        cluster.stop("node-a", "node-b")
        cluster.config = config   # what the files say; that of node-a has been read, that of node-b never changed
        cluster.start("node-b")
        wait_for(lambda: versions(cluster).pop()[0] == 2, TIMEOUT)
        assert accepts(cluster["node-b"], "usertoken--two") and not accepts(cluster["node-b"], TOKEN)
        wait_for(lambda: cluster["node-b"].events("file_differs"), TIMEOUT)
        kinds = {problem["kind"] for problem in cluster["node-b"].status()["problems"]}
        assert "file_differs" in kinds and "changes_lost" not in kinds, kinds   # it would take nothing back
        cluster.start("node-c")   # with a file of its own, and nothing else
        cluster.settle(revision=2)
        assert in_force(cluster, "usertoken--two")


def test_a_file_that_changed_while_its_node_was_down_is_brought_by_a_node_alone(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        cluster.stop("node-b", "node-a")
        cluster.config = with_token(config, "usertoken--two")
        cluster.start("node-a")
        cluster.settle(revision=2)
        assert accepts(cluster["node-a"], "usertoken--two")
        cluster.config = config
        cluster.start("node-b")   # its file is as it was: it takes the newer
        cluster.settle(revision=2)
        assert in_force(cluster, "usertoken--two")


def test_a_changed_file_does_not_overrule_a_cluster_that_runs(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        cluster.stop("node-b")
        cluster.config = with_token(config, "usertoken--two")
        cluster.start("node-b")
        cluster.settle(revision=1)
        assert in_force(cluster, TOKEN)
        found = wait_for(lambda: cluster["node-b"].events("file_differs"), TIMEOUT)   # and it says so
        assert "reload" in found[-1]["message"]
        cluster.reload("node-b")
        cluster.settle(revision=2)
        assert in_force(cluster, "usertoken--two")
        cluster.reload("node-a")   # whose file has not changed since it was last brought
        cluster.settle(revision=3)
        assert in_force(cluster, "usertoken--two")


def test_a_restart_without_state_takes_what_the_cluster_has(stubs):
    config = settings(stubs)
    with Cluster(config, 2, state=False) as cluster:
        cluster.settle(revision=1)
        cluster.reload("node-a", with_token(config, "usertoken--two"))
        cluster.settle(revision=2)
        cluster.config = config
        cluster.kill("node-b")
        cluster.start("node-b")
        cluster.settle(revision=2)
        assert in_force(cluster, "usertoken--two")


def test_equal_revisions_with_other_content_are_settled_and_named(stubs):
    """Both reloaded while they did not see each other."""
    config = settings(stubs)
    tokens = ("usertoken--a", "usertoken--b")
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        for name, token in zip(("node-a", "node-b"), tokens):
            cluster.stop(*list(cluster.running))
            cluster.start(name)
            cluster.settle(revision=1)
            cluster.reload(name, with_token(config, token))
            cluster.config = config
        cluster.config = with_token(config, tokens[0])   # node-a's file
        cluster.start("node-a")
        cluster.settle(revision=2)
        digest = versions(cluster).pop()[1]
        winner = next(token for token in tokens if accepts(cluster["node-a"], token))
        assert in_force(cluster, winner)
        found = [problem for status in cluster.statuses() for problem in status["problems"]
                 if problem["kind"] == "config_conflict"]
        assert found and digest[:12] in found[0]["detail"] and "reload" in found[0]["detail"]
        wait_for(lambda: [e for node in cluster.nodes() for e in node.events("problem") if e["kind"] == "config_conflict"], TIMEOUT)


def digest_alone(config):
    with Node(config) as node:
        return node.status()["node"]["config_digest"]


def test_a_change_that_another_reload_overtakes_is_told(stubs):
    """SPEC §6: no change is lost silently, though two nodes reload before they have heard of each other."""
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        assert cluster.reload("node-a", with_token(config, "usertoken--mine"))[0] == 200
        assert cluster.reload("node-b", with_token(config, "usertoken--theirs"))[0] == 200   # within 300 ms: it has not heard
        assert cluster["node-b"].json("POST", "/reload-config")[1]["config_revision"] == 3   # and goes on
        wait_for(lambda: in_force(cluster, "usertoken--theirs"), TIMEOUT)
        told = wait_for(lambda: [one for one in cluster["node-a"].status()["problems"] if one["kind"] == "config_conflict"], TIMEOUT)
        assert told[0]["subject"] == "node-b" and "revision 2, which was in force here" in told[0]["detail"]
        event = wait_for(lambda: [one for one in cluster["node-a"].events("config_taken_over") if one["config_revision"] == 3], TIMEOUT)[0]
        assert event["brought_by"] == "node-b" and "user_tokens" in event["changed"]


def test_a_reload_soon_after_the_start_reaches_who_has_not_heard_of_it(stubs):
    """Nodes that start wait for a cluster, then each brings its own file as a revision. A reload meanwhile is
    above that, whose digest is the larger or not."""
    config = settings(stubs)
    token, of_start = sorted(["usertoken--mine", "usertoken--theirs"], key=lambda each: digest_alone(with_token(config, each)))
    with Cluster(with_token(config, of_start), 2, profile="lan", relay=True, start=[]) as cluster:
        cluster.relay.drops = lambda *_: True
        cluster.start("node-a", "node-b")
        assert cluster.reload("node-a", with_token(config, token))[0] == 200
        wait_for(lambda: cluster["node-b"].status()["node"]["config_revision"] == 1, TIMEOUT)
        cluster.relay.drops = lambda *_: False
        cluster.settle()
        assert in_force(cluster, token)


def test_local_sections_stay_local(stubs):
    """listen, admin, limits and log are each node's own, also where a revision of another node's is taken."""
    config = settings(stubs)
    local = {"node-a": {"limits": {"uri_size": "1KiB"}}, "node-b": {"admin": {"allow": ["127.0.0.0/30"]}}}
    with Cluster(config, 2, local=local) as cluster:
        a, b = cluster.nodes()
        cluster.settle(revision=1)
        ports = (a.port, b.port)
        cluster.reload("node-a", with_token(config, "usertoken--two"))
        cluster.settle(revision=2)
        assert (a.port, b.port) == ports and in_force(cluster, "usertoken--two")
        long_target = f"{PATH}?user=" + "u" * 2000
        assert a.request("GET", long_target, token="usertoken--two")[0].status == 414
        assert b.request("GET", long_target, token="usertoken--two")[0].status == 200
        assert a.request("GET", "/status", source="127.0.0.9")[0].status == 200
        assert b.request("GET", "/status", source="127.0.0.9")[0].status == 403
        # A local change comes into force with a reload of that node, and is no change of the shared part.
        digest = versions(cluster).pop()[1]
        cluster.local = {"node-a": {"limits": {"uri_size": "4KiB"}}}
        cluster.reload("node-a")
        assert a.request("GET", long_target, token="usertoken--two")[0].status == 200
        cluster.settle()
        assert versions(cluster).pop()[1] == digest


def test_a_bad_file_on_one_node_changes_nothing_anywhere(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        node = cluster["node-b"]
        node.write("listen: [")
        head, value = node.json("POST", "/reload-config")
        assert head.status == 400 and value["errors"]
        assert len(versions(cluster)) == 1 and versions(cluster).pop()[0] == 1
        assert in_force(cluster, TOKEN)


# ---- drained instances

def ask(node, path):
    return node.json("POST", path)


def drained(cluster, name="dify2"):
    return {status["applications"]["one"]["instances"][name]["status"] == "draining" for status in cluster.statuses()}


@pytest.mark.threads
def test_an_instance_is_drained_on_all_and_stays_so(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle()
        a, b, c = cluster.nodes()
        before = a.status()["node"]["ring_digest"]
        with b.client() as streaming:   # what is at work finishes
            user = next(f"u{i}" for i in range(100) if b.echo(f"{PATH}?user=u{i}")["instance"] == "dify2")
            stream = streaming.request("GET", f"/v1/_sse?events=30&interval=0.02&user={user}", TOKEN).head()
            head, value = ask(a, "/admin/instances/one/dify2/drain")
            assert head.status == 200 and value["draining"] is True
            wait_for(lambda: drained(cluster) == {True}, SPREAD_SECONDS)
            assert streaming.body(stream).count(b"data:") == 30
        assert len({node.status()["node"]["ring_digest"] for node in cluster.nodes()} | {before}) == 2
        for node in cluster.nodes():
            assert node.echo(f"{PATH}?user={user}")["instance"] != "dify2"
        cluster.kill("node-a")   # that took it
        assert drained(cluster) == {True}
        cluster.stop("node-b", "node-c")
        cluster.start("node-c")   # from its disk
        assert drained(cluster) == {True}
        cluster.start("node-a", "node-b")
        cluster.settle()
        assert drained(cluster) == {True}
        head, value = ask(cluster["node-b"], "/admin/instances/one/dify2/enable")
        assert head.status == 200 and value["draining"] is False
        wait_for(lambda: drained(cluster) == {False}, SPREAD_SECONDS)
        cluster.settle()
        assert cluster["node-a"].status()["node"]["ring_digest"] == before


def test_the_last_word_on_a_drain_wins_everywhere(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle()
        for turn in range(7):   # from one and the other, faster than anything spreads
            ask(cluster.nodes()[turn % 2], "/admin/instances/one/dify1/" + ("drain", "enable")[turn % 2])
            # of two in one millisecond the larger name's wins
            said = time.time_ns() // 1_000_000
            wait_for(lambda said=said: time.time_ns() // 1_000_000 > said, TIMEOUT, interval=0)
        wait_for(lambda: drained(cluster, "dify1") == {True}, TIMEOUT)
        cluster.settle()
        assert drained(cluster, "dify1") == {True}


@pytest.mark.parametrize("path", ["/admin/instances/one/nobody/drain", "/admin/instances/nothing/dify1/enable",
                                  "/admin/instances/one/dify1/explode", "/admin/instances/one/dify1",
                                  "/admin/instances//dify1/drain", "/admin/instances/one/dify1/drain/x", "/admin/nothing"])
def test_unknown_names_are_404(stubs, path):
    with Cluster(settings(stubs), 2) as cluster:
        for node in cluster.nodes():
            head, body = node.request("POST", path)
            check_error(head, body, 404, "not_found")
        assert not any(drained(cluster, stub.name) == {True} for stub in stubs)


def test_drains_are_for_admins_and_for_post(stubs):
    config = settings(stubs, admin={"allow": ["127.0.0.0/30"], "token": "admin-secret-4711"})
    with Cluster(config, 2) as cluster:
        node = cluster["node-a"]
        for path in ("/admin/instances/one/dify1/drain", "/admin/drain"):
            assert node.request("POST", path, source="127.0.0.9")[0].status == 403
            assert node.request("GET", path)[0].status == 405
        assert drained(cluster, "dify1") == {False}
        path = "/admin/instances/one/dify1/drain"
        assert node.request("POST", path, token="admin-secret-4711", source="127.0.0.9")[0].status == 200
        wait_for(lambda: drained(cluster, "dify1") == {True}, SPREAD_SECONDS)


# ---- a node out of service

@pytest.mark.threads
def test_a_node_is_drained_serves_on_and_comes_back(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle()
        a, b = cluster.nodes()

        def seen(by):
            return {row["name"]: row["draining"] for row in by.status()["cluster"]["nodes"]}
        head, value = ask(a, "/admin/drain")
        assert head.status == 200 and value["draining"] is True
        head, body = a.request("GET", "/health")
        assert (head.status, body.strip()) == (503, b"draining")
        assert a.echo()["head"].status == 200
        wait_for(lambda: seen(b) == {"node-a": True, "node-b": False}, SPREAD_SECONDS)
        assert a.status()["node"]["draining"] and b.request("GET", "/health")[0].status == 200
        head, value = ask(a, "/admin/enable")
        assert head.status == 200 and value["draining"] is False
        assert a.request("GET", "/health")[0].status == 200
        wait_for(lambda: seen(b) == {"node-a": False, "node-b": False}, SPREAD_SECONDS)


# ---- one node alone

def test_a_node_alone_keeps_what_it_knows(stubs, tmp_path):
    from harness import Node
    config = settings(stubs)
    config["node"]["state_dir"] = os.path.join(tmp_path, "state")
    with Node(config) as node:
        for i in range(7):
            node.echo(f"{PATH}?user=u{i}")
        counts = {name: one["requests"] for name, one in node.instances().items()}
        ask(node, "/admin/instances/one/dify3/drain")
        node.reload(with_token(config, "usertoken--two"))
        first = node.status()["node"]
        assert first["config_revision"] == 2
    with Node(with_token(config, "usertoken--two")) as node:
        own = node.status()
        assert own["stats"]["total_requests"] == 7
        assert {name: one["requests"] for name, one in node.instances().items()} == counts
        assert node.instances()["dify3"]["status"] == "draining"
        assert (own["node"]["config_revision"], own["node"]["config_digest"]) == (2, first["config_digest"])
        assert own["node"]["generation"] > first["generation"]
        node.signal(9)
        node.wait()
        node.process.returncode = 0   # meant
    with Node(config) as node:   # its file changed while it was down
        assert node.status()["node"]["config_revision"] == 3 and node.status()["stats"]["total_requests"] == 7
        assert accepts(node, TOKEN)
