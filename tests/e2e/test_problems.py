"""What is wrong, the worst first (SPEC §5): one list for /status, `difyring status`, metrics and the log."""

import json
import os
import re
import signal
import time

import pytest
from cluster import Cluster, new_key
from commands import server
from harness import PATIENCE, ROOT, TIMEOUT, TOKEN, Node, instance, run_command, settings
from prometheus import Metrics
from stub_client import wait_for

CHECK = {"interval": "100ms", "timeout": f"{500 * PATIENCE}ms", "path": "/health"}
OVER_SECONDS = 5 * PATIENCE   # SPEC §5: a problem that is over goes within
SEVERITIES = ["critical", "warning", "info"]


def problems(node):
    """{(kind, subject): problem}, and the list is as it must be."""
    listed = node.status()["problems"]
    assert [p["severity"] for p in listed] == sorted([p["severity"] for p in listed], key=SEVERITIES.index)
    for problem in listed:
        assert list(problem) == ["severity", "kind", "subject", "since", "detail"] and problem["detail"]
        assert abs(time.time() - problem["since"]) < 600, problem
    return {(p["kind"], p["subject"]): p for p in listed}


def wait_problem(node, kind, subject, seconds=TIMEOUT, **wanted):
    def found():
        problem = problems(node).get((kind, subject))
        return problem if problem and all(problem[key] == value for key, value in wanted.items()) else None
    return wait_for(found, seconds)


def check(node):
    """(exit code, the line) of `difyring status --check`."""
    result = run_command("status", "--check", "-u", f"http://{node.host}:{node.port}")
    assert result.stdout.count("\n") == 1 and result.stderr == ""
    return result.returncode, result.stdout.strip()


def samples(node, name):
    """[(labels, value)] of one metric."""
    found = Metrics(node.request("GET", "/metrics")[1].decode()).samples
    return [(dict(labels), value) for (sample, labels), value in found.items() if sample == name]


def metric(node, severity, kind):
    return next(value for labels, value in samples(node, "difyring_problems")
                if labels == {"severity": severity, "kind": kind})


def logged(node, event, kind):
    return [e for e in node.events(event) if e["kind"] == kind]


def test_instances_that_go_and_come_back(stubs):
    with Node(settings(stubs, health_check=CHECK, application={"all_down": "fail"})) as node:
        for stub in stubs:
            node.wait_instance(stub.name, status="healthy")
        assert problems(node) == {} and check(node) == (0, "OK: 1 of 1 node alive")
        assert metric(node, "warning", "instance_down") == metric(node, "critical", "no_instance") == 0
        stubs[0].fault("status", count=None, code=401, match="/health")
        one = wait_problem(node, "instance_down", "one/dify1", severity="warning")
        entry = node.instances()["dify1"]
        assert one["since"] == entry["since"] and entry["reason"]["text"] in one["detail"] and "node-a" in one["detail"]
        code, line = check(node)
        assert code == 1 and line.startswith("WARNING: instance_down one/dify1: ") and "401" in line
        assert metric(node, "warning", "instance_down") == 1
        assert node.request("POST", "/admin/instances/one/dify2/drain")[0].status == 200
        assert wait_problem(node, "instance_drained", "one/dify2", severity="info")["detail"] == (
            "an operator drained it at node-a")
        assert check(node)[0] == 1
        stubs[2].fault("status", count=None, code=500, match="/health")
        gone = wait_problem(node, "no_instance", "one", severity="critical")
        assert gone["detail"] == "none of 3 instances is eligible; requests get 503"
        assert node.status()["problems"][0] == gone   # the worst first
        code, line = check(node)
        assert code == 2 and line.startswith("CRITICAL: no_instance one: ")
        text = run_command("status", "-u", f"http://{node.host}:{node.port}").stdout
        assert text.splitlines()[0].split()[:3] == ["critical", "no_instance", "one"]
        assert metric(node, "critical", "no_instance") == 1
        [event] = logged(node, "problem", "no_instance")
        assert event["level"] == "error" and event["subject"] == "one" and event["message"] == gone["detail"]
        for stub in stubs:
            stub.clear()
        assert node.request("POST", "/admin/instances/one/dify2/enable")[0].status == 200
        wait_for(lambda: problems(node) == {}, OVER_SECONDS)
        assert check(node)[0] == 0
        wait_for(lambda: {e["kind"] for e in node.events("problem_over")} == {"no_instance", "instance_down", "instance_drained"}, TIMEOUT)
        assert all(e["level"] == "info" for e in node.events("problem_over"))


def test_an_ejection_and_one_that_is_held_back(stubs):
    one = settings(stubs[:1], instances=[instance(stubs[0], max_fails=1, fail_timeout="300ms")])
    with Node(one) as node:   # the only one is never ejected, and requests fail
        stubs[0].fault("status", count=None, code=503, match="/v1/")
        node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "u"})
        found = wait_problem(node, "instance_kept", "one/dify1", severity="critical")
        assert "status 503" in found["detail"] and check(node)[0] == 2
        stubs[0].clear()

        def is_over():   # each request is the trial, for it was never out of service
            assert node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "u"})[0].status == 200
            return problems(node) == {}
        wait_for(is_over, OVER_SECONDS)
    two = settings(stubs[:2], instances=[instance(stub, max_fails=1, fail_timeout="60s") for stub in stubs[:2]],
                   application={"algorithm": "weighted_round_robin"})
    with Node(two) as node:
        for stub in stubs[:2]:
            stub.fault("status", count=None, code=503, match="/v1/")
        for _ in range(4):
            node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "u"})
        wait_for(lambda: sorted(kind for kind, _ in problems(node)) == ["instance_ejected", "instance_kept"], TIMEOUT)
        assert metric(node, "critical", "instance_kept") == 1


def test_a_dead_node_and_a_drained_one(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle(revision=1)
        a = cluster["node-a"]
        assert problems(a) == {}
        assert cluster["node-b"].request("POST", "/admin/drain")[0].status == 200
        wait_problem(a, "node_drained", "node-b", severity="info")
        assert cluster["node-b"].request("POST", "/admin/enable")[0].status == 200
        wait_for(lambda: problems(a) == {}, OVER_SECONDS)
        cluster.kill("node-c")
        dead = wait_problem(a, "node_dead", "node-c", severity="warning")
        assert "127.0.0.13" in dead["detail"] and check(a)[0] == 1
        cluster.start("node-c")
        wait_for(lambda: ("node_dead", "node-c") not in problems(a), OVER_SECONDS)
        cluster.stop("node-c")   # one that left is none
        cluster.wait_state("node-c", "left")
        wait_for(lambda: problems(a) == {}, OVER_SECONDS)


def test_a_node_that_does_not_answer_right_now(stubs):
    """Suspected for some seconds (wan), then dead; back it is neither. Who looks too late looks at the next time."""
    with Cluster(settings(stubs), 2, profile="wan") as cluster:
        cluster.settle(revision=1)
        a, b = cluster.nodes()

        def caught(look):
            """What `look` makes of a state in which node-b is suspect; then it answers again."""
            def now():
                b.signal(signal.SIGSTOP)
                try:
                    wait_for(lambda: {kind for kind, _ in problems(a)} & {"node_suspect", "node_dead"}, 2 * TIMEOUT, 0.05)
                    return look()
                finally:
                    b.signal(signal.SIGCONT)
                    cluster.settle()
            return wait_for(now, 6 * TIMEOUT)
        told = caught(lambda: problems(a).get(("node_suspect", "node-b")))
        assert told["severity"] == "warning"
        assert re.fullmatch(r"it does not answer right now at {}:{}: last heard of \d+ s ago".format(*cluster.udp["node-b"]),
                            told["detail"]), told
        wait_for(lambda: problems(a) == {}, OVER_SECONDS)
        for event, level in ("problem", "warning"), ("problem_over", "info"):
            said = wait_for(lambda event=event: logged(a, event, "node_suspect"), TIMEOUT)
            assert said[0]["level"] == level
        text = caught(lambda: next((text for text in [run_command("status", "-u", f"http://{a.host}:{a.port}").stdout]
                                    if "node_suspect" in text), None))
        assert re.search(r"^what to do:\nnode_suspect +wait a second: it is either back or dead then; ", text, re.M), text


def test_files_that_are_refused_differ_or_want_a_restart(stubs):
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        a, b = cluster.nodes()
        assert a.reload("listen: [")[0] == 400
        refused = wait_problem(a, "reload_refused", a.conf_path, severity="warning")
        assert "line 2: " in refused["detail"]
        assert ("reload_refused", a.conf_path) not in problems(b)
        good = cluster.node_config("node-a")
        good["workers"] = 1
        assert a.reload(good)[0] == 200
        wait_problem(a, "restart_needed", "workers", severity="warning")
        wait_for(lambda: ("reload_refused", a.conf_path) not in problems(a), OVER_SECONDS)
        assert cluster.reload("node-a")[0] == 200
        wait_for(lambda: problems(a) == {}, OVER_SECONDS)
        results = {labels["result"]: value for labels, value in samples(a, "difyring_reloads_total")}
        assert results == {"success": 2, "error": 1, "conflict": 0}
        other = settings(stubs, application={"all_down": "fail"})
        assert cluster.reload("node-a", other)[0] == 200
        wait_problem(b, "file_differs", b.conf_path, severity="info")
        assert check(b)[0] == 0
        assert ("file_differs", a.conf_path) not in problems(a)


def test_many_problems_are_bounded_and_counted(stubs):
    stub = stubs[0]
    apps = {f"app{i}": {"user_tokens": [f"usertoken-{i}"], "instances": [
        {"name": f"i{n}", "host": stub.host, "port": stub.port, "token": f"app-{i}-{n}"} for n in range(2)]}
        for i in range(80)}
    with Node({**settings(stubs, health_check=CHECK), "applications": apps}) as node:
        stub.fault("status", count=None, code=503, match="/health")

        def listed():
            found = node.status()["problems"]
            return found if found and found[-1]["kind"] == "more" else None
        found = wait_for(listed, 2 * TIMEOUT, 0.1)   # a long answer
        wait_for(lambda: "and 144 more" in node.status()["problems"][-1]["detail"], 2 * TIMEOUT, 0.1)
        found = node.status()["problems"]
        assert len(found) == 97 and [p["kind"] for p in found[:80]] == ["no_instance"] * 80
        stub.clear()
        wait_for(lambda: node.status()["problems"] == [], 2 * TIMEOUT, 0.1)


def test_more_drains_than_fit_are_said(stubs):
    stub = stubs[0]
    apps = {f"app{i}": {"user_tokens": [f"usertoken-{i}"], "instances": [
        {"name": f"i{n}", "host": stub.host, "port": stub.port, "token": f"app-{i}-{n}"} for n in range(5)]} for i in range(77)}
    with Node({**settings(stubs), "applications": apps}) as node:
        result = run_command("drain", "--host", f"{stub.host}:{stub.port}", "-u", f"http://{node.host}:{node.port}")
        assert result.returncode == 1 and "it is not drained: the cluster keeps no more drains; enable others first" in result.stderr
        told = wait_problem(node, "crowded", "drains", severity="warning")
        assert told["detail"].startswith("more than 384 instances are drained: one more is not")
        assert sum(i["status"] == "draining" for app in node.status()["applications"].values() for i in app["instances"].values()) == 384


def test_each_kind_has_a_row_in_the_night_table(stubs):
    """Both ways: what a node may say is in doc/OPERATING.md, with its severity; nothing else is."""
    with Node(settings(stubs)) as node:
        told = samples(node, "difyring_problems")
    known = {}
    for labels, _value in told:
        known.setdefault(labels["kind"], []).append(labels["severity"])
    with open(os.path.join(ROOT, "doc", "OPERATING.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| (.+) \| (.+) \|$", file.read(), re.M)
    table = {kind: re.split(r", ", severities) for kind, severities, _what, _do in rows}
    assert {kind: sorted(words) for kind, words in table.items()} == {kind: sorted(words) for kind, words in known.items()}
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        assert "doc/OPERATING.md" in file.read()
    # and each is brought about by some test
    here, texts = os.path.dirname(__file__), []
    for name in os.listdir(here):
        if name.startswith("test_") and name.endswith(".py"):
            with open(os.path.join(here, name), encoding="utf-8") as file:
                texts.append(file.read())
    assert not [kind for kind in known if not any(f'"{kind}"' in text for text in texts)]
    # `difyring status` says the same of what to do, once a kind
    advice = {kind: do.replace("`", "") for kind, _severities, _what, do in rows}
    told = [{"severity": "warning", "kind": kind, "subject": "x", "since": 1, "detail": "y"} for kind in [*advice, *advice]]
    body = json.dumps({"problems": told, "node": {}, "cluster": {}, "applications": {}, "timestamp": 2}).encode()
    with server(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as url:
        text = run_command("status", "-u", url).stdout
    said = re.findall(r"^(\w+) +(.+)$", text.partition("\nwhat to do:\n")[2].partition("\n\n")[0], re.M)
    assert len(said) == len(advice)
    for kind, do in said:
        assert advice[kind].startswith(do.replace("`", "")), (kind, do)


@pytest.mark.parametrize("kind", ["unknown_key"])
def test_a_foreign_key_is_a_problem_while_it_lasts(stubs, kind):
    local = {"node-b": {"cluster": {"keys": [new_key()]}}}
    with Cluster(settings(stubs), 2, local=local) as cluster:
        a = cluster["node-a"]
        kinds = (kind, "forged")   # a key's id is one byte
        wait_for(lambda: [key for key in problems(a) if key[0] in kinds], TIMEOUT)
        assert [key for key in problems(a) if key[0] in kinds and "127.0.0.12" in key[1]]
        cluster.local = {}
        assert cluster.reload("node-b")[0] == 200
        wait_for(lambda: not [key for key in problems(a) if key[0] in kinds], OVER_SECONDS)
