"""Who may look and who may act, what is in force, and the commands for it."""

import copy
import os

import yaml
from cluster import DEAD_SECONDS, Cluster
from harness import TIMEOUT, TOKEN, Node, check_error, run_command, settings
from stub_client import wait_for

ADMIN_TOKEN, VIEW_TOKEN = "admin-secret-4711", "view-secret-4711"
LOOKS = ["/status", "/metrics", "/dashboard", "/dashboard/data", "/admin/config"]
ACTS = ["/reload-config", "/admin/drain", "/admin/enable", "/admin/instances/one/dify1/drain"]


def roles(config):
    return {**config, "admin": {"allow": ["127.0.0.1/32"], "token": ADMIN_TOKEN, "view_allow": ["127.0.0.2/32"],
                                "view_token": VIEW_TOKEN}}


# ---- who may ask

def test_who_may_look_may_not_act(stubs):
    with Node(roles(settings(stubs))) as node:
        viewers = [{"source": "127.0.0.2"}, {"source": "127.0.0.9", "token": VIEW_TOKEN}]
        for who in viewers:
            for path in LOOKS:
                assert node.request("GET", path, **who)[0].status == 200, (path, who)
            for path in ACTS:
                head, body = node.request("POST", path, **who)
                check_error(head, body, 403, "forbidden")
                assert b"look" in body
            check_error(*node.request("GET", "/reload-config", **who), 403, "forbidden")
            check_error(*node.request("GET", "/admin/config?secrets=1", **who), 403, "forbidden")
            check_error(*node.request("GET", "/admin/nothing", **who), 403, "forbidden")
        for path in LOOKS:
            assert node.request("GET", path, source="127.0.0.9", token=VIEW_TOKEN + "x")[0].status == 403
        assert node.request("GET", "/admin/config?secrets=1", source="127.0.0.9", token=ADMIN_TOKEN)[0].status == 200
        assert not [e for e in node.events() if "drain" in e["event"]]
        assert VIEW_TOKEN not in node.outputs() and ADMIN_TOKEN not in node.outputs()


def test_the_log_says_who_did_it(stubs):
    with Node(roles(settings(stubs))) as node:
        ways = [({"source": "127.0.0.1"}, "127.0.0.1 (admin.allow)"),
                ({"source": "127.0.0.9", "token": ADMIN_TOKEN}, "127.0.0.9 (admin.token)")]
        for who, said in ways:
            assert node.request("POST", "/admin/instances/one/dify1/drain", **who)[0].status == 200
            assert node.request("POST", "/admin/drain", **who)[0].status == 200
            assert node.request("POST", "/admin/enable", **who)[0].status == 200
            assert node.request("POST", "/reload-config", **who)[0].status == 200
            for event in ("instance_drain", "node_drain", "config_reloaded"):
                wait_for(lambda e=event, s=said: node.events(e) and node.events(e)[-1]["asked_by"] == s, TIMEOUT)


# ---- what is in force

def test_what_is_in_force_is_shown_and_reloads_without_a_change(stubs):
    config = settings(stubs, health_check={"interval": "7s"}, retries={"attempts": 2})
    config["applications"]["one"]["retries"] = {"attempts": 5}
    with Node(config) as node:
        shown = node.request("GET", "/admin/config")[1].decode()
        assert TOKEN not in shown and stubs[0].token not in shown
        hidden = yaml.safe_load(shown)
        assert hidden["applications"]["one"]["instances"][0]["token"] == "<hidden>"
        assert hidden["health_check"]["interval"] == "7s" and "health_check" not in hidden["applications"]["one"]
        assert hidden["applications"]["one"]["retries"]["attempts"] == 5
        check_error(*node.request("GET", "/admin/config?secret=1"), 400, "invalid_param")
        head, body = node.request("GET", "/admin/config?secrets=1")
        assert head.headers["cache-control"] == "no-store" and head.headers["content-type"] == "application/yaml"
        own = {key: config[key] for key in ("node", "listen") if key in config}
        for text, status in ((body.decode(), 200), (shown, 400)):   # check refuses what is hidden
            digest = node.status()["node"]["config_digest"]
            node.write({**own, **yaml.safe_load(text)})
            head, value = node.json("POST", "/reload-config")
            assert head.status == status
            assert status != 200 or [line for line in value["changed"] if line.startswith("applications")] == []
            assert node.status()["node"]["config_digest"] == digest


# ---- commands

def command(node, *words, **more):
    return run_command(words[0], "-u", f"http://{node.host}:{node.port}", *words[1:], **more)


def test_the_commands_of_a_day(stubs):
    """drain, enable, config, reload: what they print, and their exit codes."""
    config = settings(stubs)
    with Cluster(config, 2) as cluster:
        cluster.settle(revision=1)
        a, b = cluster.nodes()

        def drained(name):
            return b.instances()[name]["status"] == "draining"
        done = command(a, "drain", "one/dify1", "one/dify2")
        assert (done.returncode, done.stdout, done.stderr) == (0, "one/dify1: draining\none/dify2: draining\n", "")
        done = command(a, "drain", "one/dify3")   # the last one: done, and told what it means
        assert (done.returncode, done.stdout) == (0, "one/dify3: draining\n")
        assert done.stderr == ("difyring drain: warning: one: none of 3 instances is eligible; requests get 503; "
                               "`difyring enable` takes it back\n")
        assert command(a, "enable", "one/dify3").stderr == ""
        wait_for(lambda: drained("dify1") and drained("dify2"), TIMEOUT)
        assert command(a, "enable", "one/dify2").returncode == 0
        wait_for(lambda: not drained("dify2"), TIMEOUT)
        port = a.instances()["dify3"]["port"]
        done = command(a, "drain", "--now", "--hold", "60s", "--host", f"{stubs[2].host}:{port}")
        assert (done.returncode, done.stdout) == (0, "one/dify3: draining\n")
        assert command(a, "enable", "--host", f"{stubs[2].host}:{port}").returncode == 0
        done = command(a, "drain", "--host", "10.255.255.1")
        assert done.returncode == 1 and "difyring status" in done.stderr
        done = command(a, "drain", "one/nobody")
        assert done.returncode == 1 and "no such application and instance" in done.stderr and "one/nobody: " in done.stderr
        done = command(a, "forget", "node-q")
        assert done.returncode == 1 and "node-q: " in done.stderr
        done = command(a, "explain", "--app", "nothing")
        assert done.returncode == 1 and "nothing: " in done.stderr
        done = command(a, "drain", "--node")
        assert (done.stdout, done.stderr) == ("node node-a: draining\n", "")
        assert a.request("GET", "/health")[0].status == 503
        wait_for(lambda: {row["name"]: row["draining"] for row in b.status()["cluster"]["nodes"]}["node-a"], TIMEOUT)
        done = command(b, "drain", "--node")
        assert done.returncode == 0 and "warning: no other node is alive and in service" in done.stderr
        for node, name in (b, "node-b"), (a, "node-a"):
            assert command(node, "enable", "--node").stdout == f"node {name}: in service\n"
        for words in (("drain",), ("drain", "dify1"), ("drain", "--node", "one/dify1"), ("enable", "--now", "one/dify1"),
                      ("drain", "--node", "--now"), ("config",), ("config", "shwo"), ("reload", "now"), ("forget",)):
            assert command(a, *words).returncode == 2, words

        shown = command(b, "config", "show")
        assert shown.returncode == 0 and "<hidden>" in shown.stdout and TOKEN not in shown.stdout
        assert TOKEN in command(b, "config", "show", "--secrets").stdout
        assert command(b, "config", "diff").stdout == "the file says what is in force\n"
        changed = copy.deepcopy(config)
        changed["applications"]["one"]["instances"][0]["weight"] = 2
        cluster.config = changed
        a.write(cluster.node_config("node-a"))
        line = "applications.one.instances.dify1.weight: changed from 1 to 2"
        assert command(a, "config", "diff").stdout == line + "\n"
        dry = command(a, "reload", "--dry-run")
        assert (dry.returncode, dry.stdout) == (0, f"would be reloaded, revision 2\n  {line}\n")
        assert command(a, "reload").stdout == f"reloaded, revision 2\n  {line}\n"
        cluster.settle(revision=2)
        # The other's file is older.
        assert "not changed" in command(b, "config", "diff").stdout
        changed = copy.deepcopy(config)
        changed["retries"] = {"attempts": 2}
        cluster.config = changed
        b.write(cluster.node_config("node-b"))
        back = "applications.one.instances.dify1.weight: changed from 2 to 1"
        diff = command(b, "config", "diff").stdout
        assert f"{back}  (takes back)\n" in diff and "retries.attempts: changed from 3 to 2\n" in diff
        done = command(b, "reload")
        assert done.returncode == 1 and back in done.stderr and "--force" in done.stderr and not done.stdout
        assert command(b, "reload", "--force").returncode == 0
        b.write("listen: [")
        done = command(b, "reload")
        assert done.returncode == 1 and os.path.basename(b.conf_path) in done.stderr and "mistakes" in done.stderr
        assert command(b, "config", "diff").returncode == 1


def test_a_slip_gets_the_nearest_word():
    for words, said in ((("staus",), "did you mean `status`?"), (("relod", "-f"), "did you mean `reload`?"),
                        (("drain", "--hots", "x"), "did you mean `--host`?"), (("config", "dif"), "did you mean `diff`?"),
                        (("help", "drian"), "did you mean `drain`?")):
        done = run_command(*words)
        assert done.returncode == 2 and said in done.stderr and not done.stdout, words
    for words in (("--version",), ("-V",)):
        assert run_command(*words).stdout.startswith("difyring ")
    assert run_command("help", "drain").stdout == run_command("drain", "-h").stdout
    assert "difyring drain" in run_command("drain", "--help").stdout
    assert run_command("help").stdout == run_command("-h").stdout


def test_a_node_that_is_gone_for_good_leaves_every_list(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle(revision=1)
        a, b, c = cluster.nodes()
        for i in range(3):
            c.echo(f"/v1/_echo?user=u{i}")
        wait_for(lambda: a.status()["stats"]["total_requests"] == 3, TIMEOUT)
        done = command(a, "forget", "node-c")
        assert done.returncode == 1 and "alive" in done.stderr
        check_error(*a.request("POST", "/admin/nodes/node-c/forget"), 409, "conflict")
        check_error(*a.request("POST", "/admin/nodes/nobody/forget"), 404, "not_found")
        cluster.kill("node-c")
        cluster.wait_state("node-c", "dead")
        total = a.status()["stats"]["total_requests"]
        assert command(a, "forget", "node-c").stdout == "node node-c: forgotten\n"
        wait_for(lambda: all("node-c" not in cluster.states(name) for name in ("node-a", "node-b")), TIMEOUT)
        for node in (a, b):
            assert node.status()["stats"]["total_requests"] == total >= 3
            assert wait_for(lambda n=node: n.events("member_forgotten"), TIMEOUT)[0]["member"] == "node-c"
        assert wait_for(lambda: a.events("node_forget"), TIMEOUT)[0]["asked_by"] == "127.0.0.1 (admin.allow)"
        check_error(*a.request("POST", "/admin/nodes/node-c/forget"), 404, "not_found")
        cluster.start("node-c")   # a new start of it is welcome
        cluster.settle()
        assert cluster.states("node-a")["node-c"] == "alive"


def test_nodes_come_and_go_as_the_page_says(stubs):
    """doc/OPERATING.md: adding, removing and renaming a node, step by step."""
    with Cluster(settings(stubs), 3, start=["node-a", "node-b"]) as cluster:
        cluster.settle(revision=1)
        a = cluster["node-a"]
        for i in range(4):
            a.echo(f"/v1/_echo?user=u{i}")
        alone = cluster.node_config("node-c")   # adding: it knows one that runs, and nobody's file names it
        cluster.local = {"node-c": {"cluster": {**alone["cluster"], "join": alone["cluster"]["join"][:1]}}}
        c = cluster.start("node-c")
        cluster.settle(revision=1)
        wait_for(lambda: c.status()["stats"]["total_requests"] == 4, TIMEOUT)   # node-a tells its counts once an interval
        assert set(cluster.states("node-c")) == {"node-a", "node-b", "node-c"}
        assert command(c, "drain", "--node").returncode == 0   # removing
        cluster.stop("node-c")
        cluster.wait_state("node-c", "left")
        assert command(a, "status", "--check").returncode == 0   # nobody alarms
        assert command(a, "forget", "node-c").returncode == 0
        wait_for(lambda: all("node-c" not in cluster.states(name) for name in ("node-a", "node-b")), TIMEOUT)
        cluster.stop("node-b")   # renaming, with its state_dir
        renamed = cluster.node_config("node-b")
        renamed["node"]["name"] = "edge-b"
        with Node(renamed) as edge:
            wait_for(lambda: cluster.states("node-a").get("edge-b") == "alive", TIMEOUT)
            wait_for(lambda: {problem["kind"] for problem in edge.status()["problems"]} == {"state_cloned"}, TIMEOUT)
            assert command(edge, "forget", "node-b").returncode == 0
            wait_for(lambda: set(cluster.states("node-a")) == {"node-a", "edge-b"}, TIMEOUT)
            assert a.status()["cluster"]["alive"] == a.status()["cluster"]["size"] == 2
            wait_for(lambda: edge.status()["stats"]["total_requests"] == 4, TIMEOUT)


def test_a_member_that_left_or_died_is_forgotten_after_its_time(stubs):
    with Cluster(settings(stubs), 2) as cluster:
        cluster.settle(revision=1)
        times = {"reap_left": "1s", "reap": "1s"}
        cluster.local = {"node-a": {"cluster": {**cluster.node_config("node-a")["cluster"], **times}}}
        status, value = cluster.reload("node-a")
        assert (status, value["changed"]) == (200, ["cluster.reap: changed from 3d to 1s", "cluster.reap_left: changed from 1h to 1s"])
        for end in (cluster.stop, cluster.kill):
            end("node-b")
            wait_for(lambda: "node-b" not in cluster.states("node-a"), DEAD_SECONDS + 1 + TIMEOUT)
            assert not cluster.problems("node-a", "node_dead", "node_suspect")
            cluster.start("node-b")
            cluster.settle()
