"""SPEC §5 and §6 from the page itself: its examples are read out of doc/SPEC.md and held against a pair that runs."""

import json
import os
import re
import subprocess

import pytest
from cluster import Cluster
from harness import ROOT, TIMEOUT, TOKEN, Node, instance, run_command, settings
from prometheus import Metrics
from stopwatch import Stopwatch
from stub_client import wait_for

with open(os.path.join(ROOT, "doc", "SPEC.md"), encoding="utf-8") as page:
    SPEC = page.read()
NOT_BUILT = set(re.findall(r"^- (\w+)$", SPEC.split("## 1.")[0], re.M))   # whole words: `usage`, `quotas`
BUILT_LATER = {"usage": {"usage"}, "quotas": {"quotas"}}
LATER_METRICS = {"usage": "difyring_usage", "quotas": "difyring_quota"}
LATER = set().union(*(BUILT_LATER.get(word, set()) for word in NOT_BUILT))


def section(number):
    return re.search(rf"^## {number}\. .*?(?=^## |\Z)", SPEC, re.M | re.S)[0]


# ---- shapes

def same_shape(example, found, path="status"):
    """Keys in the same order, values of the same type. A key of names (nodes, votes, ...) has the names that there are."""
    if isinstance(example, dict):
        assert isinstance(found, dict), path
        named = path.rsplit(".", 1)[-1] in ("applications", "instances", "votes", "price")
        if named:
            for name, value in found.items():
                same_shape(next(iter(example.values())), value, f"{path}.{name}")
            return
        wanted = [key for key in example if key not in LATER]
        assert [key for key in found if key not in LATER] == wanted, path
        for key in wanted:
            same_shape(example[key], found[key], f"{path}.{key}")
    elif isinstance(example, list):
        assert isinstance(found, list) and (found or path.endswith("quotas")), f"{path}: there is none to look at"
        for one in found:
            same_shape(example[0], one, path + "[]")
    else:
        assert type(found) is type(example) or {type(found), type(example)} == {int, float}, (path, example, found)


VIP = {"address": "10.99.99.99/24", "interface": "lo", "router_id": 51, "priority": 100, "peers": ["10.99.99.98"]}


@pytest.fixture(scope="module")
def pair(all_stubs, tmp_path_factory):
    """Two nodes with all that the example of /status shows."""
    folder = tmp_path_factory.mktemp("contract")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
                    "-subj", "/CN=dify.example.com", "-addext", "subjectAltName=DNS:dify.example.com",
                    "-keyout", folder / "key.pem", "-out", folder / "crt.pem"], check=True, capture_output=True)
    tls = {"address": "127.0.0.1:0", "tls": [{"certificate": str(folder / "crt.pem"), "key": str(folder / "key.pem")}]}
    local = {name: {"listen": [{"address": "127.0.0.1:0"}, tls], "vip": {**VIP, "track_file": str(folder / name)}}
             for name in ("node-a", "node-b")}
    config = settings(all_stubs, health_check={"interval": "100ms", "timeout": "200ms", "path": "/health"},
                      instances=[instance(stub, max_in_flight=10) for stub in all_stubs])
    with Cluster(config, 2, local=local) as cluster:
        cluster.settle(revision=1)
        for stub in all_stubs:
            cluster["node-a"].wait_instance(stub.name, status="healthy", eligible=True)
        for i in range(20):
            assert cluster["node-a"].request("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"u{i}"})[0].status == 200
        yield cluster


def test_status_is_the_example(pair):
    example = json.loads(re.search(r"```json\n(\{\"status\":\"running\".*?)```", section(5), re.S)[1].replace("…", "x"))
    node = pair["node-a"]
    wait_for(lambda: [p for p in node.status()["problems"] if p["kind"] == "vip_unheld"], TIMEOUT)
    wait_for(lambda: all(i["last_check"] for i in node.instances().values()), TIMEOUT)
    found = node.status()
    found["cluster"]["vip"]["holder"] = found["cluster"]["vip"]["holder"] or ""
    same_shape(example, found)
    assert re.fullmatch(r"[0-9a-f]{8}", found["cluster"]["nodes"][0]["key"])
    for name in ("config_digest", "ring_digest"):
        assert re.fullmatch(r"[0-9a-f]{64}", found["node"][name]) and found["node"][name] == found["cluster"]["nodes"][1][name]
    one = found["applications"]["one"]["instances"]["dify1"]
    assert one["reason"]["kind"] == "check_passed" and one["reason"]["text"] == "2 checks in a row passed"
    assert one["last_check"]["result"] == "up" and one["max_in_flight"] == 10 and one["eligible"] is True
    assert found["cluster"]["converged"] is True and found["stats"]["total_requests"] == 20


def test_metrics_are_those_of_the_contract(pair):
    """Names, labels and which are histograms, as the paragraph says it."""
    bullet = re.search(r"^- `GET /metrics`.*$", section(5), re.M)[0]
    now = Metrics(pair["node-a"].request("GET", "/metrics")[1].decode())
    seen = 0
    for name, labels, after in re.findall(r"`((?:difyring|…)_\w+)(?:\{([\w,]+)\})?`(?=(.{0,20}))", bullet):
        name = name.replace("…", "difyring_gossip")
        if any(name.startswith(LATER_METRICS[word]) for word in NOT_BUILT & set(LATER_METRICS)):
            continue
        assert name in now.families, name
        assert (now.families[name][0] == "histogram") == after.lstrip().startswith("(histogram)"), name
        for (sample, pairs), _value in now.samples.items():
            if re.sub(r"_(bucket|sum|count)$", "", sample) == name or sample == name:
                told = {label for label, _ in pairs} - {"le"}
                assert set(filter(None, labels.split(","))) <= told, (name, told)
                assert "instance" not in told
                if "dify_instance" in told:
                    assert "app" in told
        seen += 1
    assert seen >= 26, seen
    for name in ("process_start_time_seconds", "process_open_fds", "process_resident_memory_bytes"):
        assert now.families[name][0] == "gauge"
    assert {dict(pairs)["reason"] for (name, pairs) in now.samples if name == "difyring_queue_rejected_total"} == {"full", "timeout"}


def test_explain_is_the_example(pair):
    example = json.loads(re.search(r"as JSON: `(\{\"application\".*?\})`;", section(5))[1].replace('"application"', '"application":""')
                         .replace('"id","source"', '"id":"","source":""').replace('"key","home","instance","placed"',
                                                                                 '"key":"","home":"","instance":"","placed":""')
                         .replace('"skipped":[{"instance","reason":{"kind","text","node"}}]', '"skipped":[]'))
    head, found = pair["node-a"].json("GET", "/admin/explain?app=one&user=u1")
    assert head.status == 200 and list(found) == list(example)
    assert list(found["user"]) == ["id", "source"] and found["user"] == {"id": "u1", "source": None}
    assert re.fullmatch(r"[0-9a-f]{16}", found["key"]) and found["home"] == found["instance"]
    assert pair["node-a"].request("GET", "/admin/explain?app=nobody&user=u1")[0].status == 404


# ---- what answers what

def test_a_reload_answers_as_told(stubs):
    with Node(settings(stubs[:2])) as node:
        status, value = node.reload()
        revision = value["config_revision"]
        assert (status, value["status"], value["message"]) == (200, "success", "Configuration reloaded")
        assert value["changed"] == value["restart_needed"] == [] and revision >= 1
        more = settings(stubs, workers=1)
        node.write(more)
        head, dry = node.json("POST", "/reload-config?dry_run=1")
        assert head.status == 200 and dry["changed"] == ["applications.one.instances.dify3: added"]
        assert list(node.instances()) == ["dify1", "dify2"] and node.status()["node"]["config_revision"] == revision
        status, value = node.reload()
        assert status == 200 and list(value) == ["status", "message", "config_revision", "changed", "restart_needed", "warnings"]
        assert value["changed"] == dry["changed"] and value["restart_needed"] == ["workers"] == dry["restart_needed"]
        assert value["config_revision"] == revision + 1
        status, value = node.reload("applications: 7\nlisten: []\n")
        assert status == 400 and value["status"] == "error" and value["message"]
        assert all(list(error) == ["file", "line", "column", "message"] for error in value["errors"])
        assert node.status()["node"]["config_revision"] == revision + 1   # the old one stays
        assert node.request("GET", "/reload-config")[0].status == 400   # GET is taken, too


def test_secrets_are_named_and_never_shown(stubs):
    with Node(settings(stubs[:1])) as node:
        changed = settings(stubs[:1], instances=[instance(stubs[0], token="app-other-4711")])
        changed["applications"]["one"]["user_tokens"].append("usertoken--two-4711")
        status, value = node.reload(changed)
        assert status == 200 and "4711" not in json.dumps(value)
        assert [line.split(":")[0] for line in value["changed"]] == ["applications.one.user_tokens",
                                                                     "applications.one.instances.dify1.token"], value["changed"]
        head, shown = node.request("GET", "/admin/config")
        assert head.status == 200 and b"4711" not in shown and b'"<hidden>"' in shown
        with_secrets = node.request("GET", "/admin/config?secrets=1")[1]
        assert b"app-other-4711" in with_secrets
        path = os.path.join(node.folder, "shown.yaml")
        for text, code in ((shown, 1), (with_secrets, 0)):
            with open(path, "wb") as file:
                file.write(b"listen: [{ address: 127.0.0.1:0 }]\n" + text)
            assert run_command("check", "-c", path).returncode == code, text


def test_no_change_is_lost_silently(stubs):
    """§6: base, would_lose, force, and what is taken all the same."""
    def config(application=None, **more):
        unwise = {"queue": {"size": 10}}   # without a max_in_flight
        return settings(stubs[:2], application={**unwise, **(application or {})}, **more)
    with Cluster(config(), 2) as cluster:
        cluster.settle(revision=1)
        a, b = cluster.nodes()
        token_added = config(application={"user_tokens": [TOKEN, "usertoken--new"]})
        assert cluster.reload("node-a", token_added)[0] == 200
        wait_for(lambda: b.status()["node"]["config_revision"] == 2, TIMEOUT)
        # a file that has not changed while something newer is in force: 200, and it differs
        cluster.config = config()
        status, value = b.reload()
        assert status == 200 and value["changed"] == [] and any("differ" in text for text in value["warnings"]), value
        # what is unwise in it is told at the file's own lines, as `check` does
        checked = json.loads(run_command("check", "-c", b.conf_path, "--format", "json").stdout)["warnings"]
        lines = {(one["line"], one["column"]) for one in checked if "`queue`" in one["message"]}
        told = {tuple(map(int, text.split(":")[1:3])) for text in value["warnings"] if "`queue`" in text}
        assert lines and told == lines, (checked, value)
        # one that has the base's value where another is in force by now would take that back, whatever else it brings
        status, value = b.reload({**cluster.node_config("node-b"), "debug_headers": True})
        assert status == 409 and [lost.split(":")[0] for lost in value["would_lose"]] == ["applications.one.user_tokens"], value
        assert "usertoken--new" not in json.dumps(value)
        assert a.request("POST", "/v1/_echo", token="usertoken--new", json_body={"user": "u"})[0].status == 200
        # a file that has those changes, too
        cluster.config = {**token_added, "debug_headers": True}
        status, value = b.reload(cluster.node_config("node-b"))
        assert status == 200 and len(value["changed"]) == 1 and value["changed"][0].startswith("debug_headers: "), value
        wait_for(lambda: a.status()["node"]["config_revision"] == value["config_revision"], TIMEOUT)
        for node in (a, b):   # each new revision is logged on every node: what changed, who brought it, who asked
            event = wait_for(lambda node=node: [e for e in node.events() if e.get("config_revision") == value["config_revision"]
                                                and "changed" in e], TIMEOUT)[0]
            assert "debug_headers" in event["changed"] and event["brought_by"] == "node-b" and "127.0.0.1" in event["asked_by"]
        # force takes it back, and says what
        cluster.config = config()
        a.write(cluster.node_config("node-a"))
        assert a.json("POST", "/reload-config")[0].status == 409
        head, value = a.json("POST", "/reload-config?force=1")
        assert head.status == 200 and value["changed"]
        wait_for(lambda: b.request("POST", "/v1/_echo", token="usertoken--new", json_body={"user": "u"})[0].status == 401, TIMEOUT)


def test_nodes_are_forgotten_or_not(stubs):
    with Cluster(settings(stubs[:1]), 3, state=False) as cluster:
        cluster.settle(revision=1)
        a = cluster["node-a"]
        assert a.request("POST", "/admin/nodes/node-b/forget")[0].status == 409
        assert a.request("POST", "/admin/nodes/nobody/forget")[0].status == 404
        cluster["node-c"].request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "u"})
        wait_for(lambda: a.status()["stats"]["total_requests"] == 1, TIMEOUT)
        cluster.kill("node-c")
        cluster.wait_state("node-c", "dead")
        assert a.request("POST", "/admin/nodes/node-c/forget")[0].status == 200
        wait_for(lambda: all(status["cluster"]["size"] == 2 for status in cluster.statuses()), TIMEOUT)
        assert a.status()["stats"]["total_requests"] == 1   # its counts stay in the totals
        assert not a.status()["problems"]


def test_drains_answer_the_new_state(stubs):
    with Node(settings(stubs)) as node:
        head, value = node.json("POST", "/admin/instances/one/dify1/drain?now=1&hold=60s")
        assert head.status == 200 and value["instance_status"] == "draining"
        head, value = node.json("POST", "/admin/instances/one/dify1/enable")
        assert head.status == 200 and value["instance_status"] != "draining"
        for path in ("/admin/instances/one/nobody/drain", "/admin/instances/nobody/dify1/enable"):
            assert node.request("POST", path)[0].status == 404
        head, body = node.request("GET", "/health")
        assert (head.status, body) == (200, b"healthy")
        assert node.request("POST", "/admin/drain")[0].status == 200
        head, body = node.request("GET", "/health")
        assert (head.status, body) == (503, b"draining")
        assert node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "u"})[0].status == 200   # still served
        assert node.request("POST", "/admin/enable")[0].status == 200
        assert node.request("GET", "/health")[0].status == 200


LOOKS = ["/status", "/metrics", "/dashboard", "/admin/explain?app=one&user=u", "/admin/config"]
ACTS = [("POST", "/admin/drain"), ("POST", "/admin/instances/one/dify1/drain"), ("POST", "/admin/nodes/x/forget"),
        ("POST", "/reload-config"), ("GET", "/reload-config"), ("GET", "/admin/config?secrets=1")]


def test_who_may_do_what(stubs):
    admin = {"allow": ["127.0.0.2/32"], "token": "admin-4711", "view_allow": ["127.0.0.3/32"], "view_token": "view-4711"}
    with Node(settings(stubs, admin=admin)) as node:
        assert node.request("GET", "/health")[0].status == 200
        for path in LOOKS:
            assert node.request("GET", path)[0].status == 403, path
            for who in ({"source": "127.0.0.2"}, {"source": "127.0.0.3"}, {"token": "view-4711"}, {"token": "admin-4711"}):
                assert node.request("GET", path, **who)[0].status == 200, (path, who)
        for method, path in ACTS:
            for who in ({}, {"source": "127.0.0.3"}, {"token": "view-4711"}):
                assert node.request(method, path, **who)[0].status == 403, (path, who)
            assert node.request(method, path, token="admin-4711")[0].status in (200, 404), path
        asked = [e["asked_by"] for e in wait_for(lambda: node.events("instance_drain"), TIMEOUT)]
        assert asked == ["127.0.0.1 (admin.token)"]


@pytest.mark.slow
def test_a_problem_that_is_over_goes_within_five_seconds(stubs):
    with Node(settings(stubs, instances=[instance(stubs[0], max_in_flight=1)], application={"queue": {"size": 1, "timeout": "2s"}})) as node:
        clients = [node.client() for _ in range(4)]
        try:
            for client in clients:
                client.request("POST", "/v1/chat-messages", TOKEN, json_body={"user": "u", "query": "x", "inputs": {"stub_delay": 1}})
            wait_for(lambda: [p for p in node.status()["problems"] if p["kind"] == "queue_full"], TIMEOUT)
            for client in clients:
                client.response()
            watch = Stopwatch()
            wait_for(lambda: not [p for p in node.status()["problems"] if p["kind"] == "queue_full"], TIMEOUT)
            assert watch.fair_seconds() < 6
        finally:
            for client in clients:
                client.socket.close()


def test_each_field_and_end_of_the_access_log_is_named_in_the_page_of_logs(stubs):
    fields = re.search(r"one JSON object a line: `([\w, ]+)`", section(8))[1].split(", ")
    with open(os.path.join(ROOT, "doc", "LOGS.md"), encoding="utf-8") as file:
        page = file.read()
    named = set(re.findall(r"`(\w+)`", page))
    ends = re.search(r"`termination` is one word for how it ended: (.+?)\. Tokens and keys never", section(8))[1]
    words = [word for code in re.findall(r"`([\w, ]+)`", ends) for word in code.split(", ")]
    rows = [word for row in re.findall(r"^\| (`[a-z_`, ]+`) \| [^|]+ \| [^|]+ \|$", page, re.M) for word in re.findall(r"`(\w+)`", row)]
    assert len(words) == 22 and rows[rows.index("complete"):] == words   # each has a row that says what to do, in this order
    with Node(settings(stubs)) as node:
        node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": "u"})
        line = node.wait_access(1, app="one")[0]
    assert list(line) == fields and set(fields) <= named, set(fields) - named
