"""No change is lost silently: what a reload says, refuses and logs."""

import copy
import signal

import pytest
from cluster import Cluster
from harness import TIMEOUT, TOKEN, Node, instance, settings
from stub_client import wait_for

PATH = "/v1/_echo"
SECOND = "usertoken--second"


def with_token(config, token=SECOND):
    changed = copy.deepcopy(config)
    changed["applications"]["one"]["user_tokens"].append(token)
    return changed


def with_weight(config, weight, name="dify1"):
    changed = copy.deepcopy(config)
    for one in changed["applications"]["one"]["instances"]:
        if one["name"] == name:
            one["weight"] = weight
    return changed


def without_instance(config, name):
    changed = copy.deepcopy(config)
    rows = changed["applications"]["one"]["instances"]
    changed["applications"]["one"]["instances"] = [row for row in rows if row["name"] != name]
    return changed


def accepts(node, token):
    return node.request("GET", f"{PATH}?user=u", token=token)[0].status == 200


def reload_with(node, query, **more):
    head, value = node.json("POST", f"/reload-config{query}", **more)
    return head.status, value


def weight_line(before, after, name="dify1"):
    return f"applications.one.instances.{name}.weight: changed from {before} to {after}"


LOST_TOKEN = "applications.one.user_tokens: changed (0 added, 1 removed)"


@pytest.mark.threads
def test_a_reload_that_would_take_back_anothers_change_is_refused(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        a, b = cluster.nodes()
        assert cluster.reload("node-a", with_token(config))[0] == 200
        cluster.settle(revision=2)
        status, value = cluster.reload("node-b", with_weight(config, 2))   # whose file has no second token
        assert (status, value["status"], value["would_lose"]) == (409, "error", [LOST_TOKEN])
        assert value["config_revision"] == 2
        assert accepts(b, SECOND) and cluster.settle(revision=2)
        refused = wait_for(lambda: b.events("reload_refused"), TIMEOUT)[-1]
        assert refused["level"] == "warning" and refused["would_lose"] == LOST_TOKEN and "127.0.0.1" in refused["asked_by"]
        assert cluster.wait_problem("node-b", "reload_refused", says="user_tokens")
        # The same file again is no other answer, and a dry run gives it without the log.
        told = len(b.events("reload_refused"))
        assert reload_with(b, "?dry_run=1") == (409, value)
        assert len(b.events("reload_refused")) == told
        assert reload_with(b, "")[0] == 409
        # A file that has the other's change too is taken.
        status, value = cluster.reload("node-b", with_weight(with_token(config), 2))
        assert (status, value["changed"], value["warnings"]) == (200, [weight_line(1, 2)], [])
        wait_for(lambda: not cluster.problems("node-b", "reload_refused"), TIMEOUT)
        cluster.settle(revision=3)
        assert all(accepts(node, SECOND) for node in (a, b))
        # Every node tells what has changed, which node brought it, and who asked.
        for node, event in ((a, "config_taken_over"), (b, "config_reloaded")):
            line = wait_for(lambda n=node, e=event: [x for x in n.events(e) if x["config_revision"] == 3], TIMEOUT)[0]
            assert line["changed"] == weight_line(1, 2) and line["brought_by"] == "node-b"
            assert line["asked_by"] == "127.0.0.1 (admin.allow)" and line["level"] == "info"
        # By force it is taken back, and said.
        cluster.config = config
        b.write(cluster.node_config("node-b"))
        status, value = reload_with(b, "?dry_run=1&force=1")
        assert status == 200 and sorted(value["changed"]) == sorted([LOST_TOKEN, weight_line(2, 1)])
        assert value["config_revision"] == 4 and accepts(b, SECOND)
        assert reload_with(b, "?force=1")[1]["changed"] == value["changed"]
        cluster.settle(revision=4)
        assert not accepts(a, SECOND)
        cluster.check_secrets()


def test_a_file_that_has_not_changed_is_no_change(stubs):
    """SPEC §6: 200, and a warning says that it differs."""
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        cluster.reload("node-a", without_instance(config, "dify3"))
        cluster.settle(revision=2)
        status, value = reload_with(cluster["node-b"], "")
        assert (status, value["changed"]) == (200, []) and "config diff" in value["warnings"][0]
        cluster.settle(revision=3)
        assert "dify3" not in cluster["node-b"].instances()
        # Both have changed the same key: the file's value is taken, and the one that it replaces is named.
        changed = without_instance(with_weight(config, 3), "dify3")
        assert cluster.reload("node-a", changed)[0] == 200
        cluster.settle(revision=4)
        status, value = cluster.reload("node-b", without_instance(with_weight(config, 2), "dify3"))
        assert (status, value["changed"], value["warnings"]) == (200, [weight_line(3, 2)], [])
        # An instance that another has removed would come back, one that another has added would go.
        cluster.settle(revision=5)
        more = copy.deepcopy(without_instance(config, "dify2"))
        more["applications"]["one"]["instances"].append(dict(instance(stubs[0]), name="dify9"))
        cluster.config = more
        cluster["node-a"].write(cluster.node_config("node-a"))
        assert reload_with(cluster["node-a"], "?force=1")[0] == 200
        cluster.settle(revision=6)
        status, value = cluster.reload("node-b", without_instance(with_weight(config, 7), "dify3"))
        assert status == 409
        assert sorted(value["would_lose"]) == ["applications.one.instances.dify2: added",
                                               "applications.one.instances.dify3: removed",
                                               "applications.one.instances.dify9: removed"]


def test_a_start_does_not_take_back_what_others_have_changed(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        cluster.reload("node-a", with_token(config))
        cluster.settle(revision=2)
        cluster.stop("node-a", "node-b")
        cluster.config = with_weight(config, 2)   # made from the older one
        cluster.start("node-b")
        cluster.settle(revision=2)
        assert accepts(cluster["node-b"], SECOND)
        assert cluster.wait_problem("node-b", "changes_lost", says="user_tokens")
        assert cluster.reload("node-b")[0] == 409   # and the base has outlived the restart
        cluster.stop("node-b")
        cluster.config = with_weight(with_token(config), 2)
        cluster.start("node-b")
        cluster.settle(revision=3)
        brought = wait_for(lambda: cluster["node-b"].events("config_brought"), TIMEOUT)[0]
        assert (brought["changed"], brought["brought_by"], brought["asked_by"]) == (weight_line(1, 2), "node-b", "start")


def test_a_signal_is_told_as_a_request_is(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        a, b = cluster.nodes()
        cluster.reload("node-a", with_token(config))
        cluster.settle(revision=2)
        cluster.config = with_weight(config, 2)
        b.write(cluster.node_config("node-b"))
        b.signal(signal.SIGHUP)
        refused = wait_for(lambda: b.events("reload_refused"), TIMEOUT)[0]
        assert (refused["would_lose"], refused["asked_by"]) == (LOST_TOKEN, "SIGHUP")
        cluster.config = with_weight(with_token(config), 2)
        b.write(cluster.node_config("node-b"))
        b.signal(signal.SIGHUP)
        taken = wait_for(lambda: [e for e in a.events("config_taken_over") if e["config_revision"] == 3], TIMEOUT)[0]
        assert (taken["changed"], taken["asked_by"]) == (weight_line(1, 2), "SIGHUP")


def test_an_answer_names_what_waits_for_a_restart_and_what_is_unwise(stubs):
    config = settings(stubs)
    with Node(config) as node:
        changed = copy.deepcopy(config)
        changed["workers"] = 3
        changed["limits"] = {"uri_size": "1KiB"}
        changed["admin"] = {"token": "a-token-nobody-may-see"}
        changed["applications"]["one"]["user_tokens"] = [TOKEN, "abc"]
        node.write(changed)
        status, dry = reload_with(node, "?dry_run=1")
        assert status == 200 and node.status()["node"]["config_revision"] == 1 and not accepts(node, "abc")
        status, value = reload_with(node, "")
        assert status == 200
        assert value["restart_needed"] == ["workers"]
        assert value["changed"] == ["limits.uri_size: changed from 8192 to 1024", "admin.token: changed",
                                    "applications.one.user_tokens: changed (1 added, 0 removed)"]
        assert len(value["warnings"]) == 1 and "shorter than 4" in value["warnings"][0]
        assert {**dry, "message": 0} == {**value, "message": 0}
        again = reload_with(node, "")[1]   # until the restart
        assert (again["changed"], again["restart_needed"]) == ([], ["workers"])
        assert reload_with(node, "?dryrun=1")[0] == 400   # a slip must not reload
        assert node.status()["node"]["config_revision"] == 3
