"""deploy/monitoring with a real Prometheus: it scrapes a pair, rates are right, each rule and each query of the Grafana
dashboard finds its numbers, and the alarms' own unit tests hold."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import pytest
from cluster import Cluster
from harness import PATIENCE, ROOT, TIMEOUT, TOKEN, settings
from stub_client import wait_for
from test_metrics import FAMILIES

FOLDER = os.path.join(ROOT, "deploy", "monitoring")
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not PROMETHEUS, reason="no prometheus here (deploy/install-deps --test)")]


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def promtool(*arguments):
    result = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, cwd=FOLDER, timeout=60 * PATIENCE, check=False)
    return result.returncode, result.stdout + result.stderr


ALERTS = re.findall(r"- alert: (\w+)\n", read("alerts.yml"))


# ---- the files by themselves

def test_the_alarms_hold_their_own_tests():
    assert promtool("check", "config", "prometheus.yml")[0] == 0
    assert promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")[0] == 0
    code, said = promtool("test", "rules", "alerts_test.yml")
    assert code == 0, said


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alarm_is_seen_to_ring_and_to_be_quiet(alert):
    """Its unit test is of no use if it passes without the alarm: with an expression that never holds it must fail."""
    tests = read("alerts_test.yml")
    assert re.search(rf"alertname: {alert}, exp_alerts: \[\]", tests), "never seen quiet"
    rule = re.search(rf"- alert: {alert}\n(?:(?!- alert:).*\n)*", read("alerts.yml"))[0]
    head, *stories = re.split(r"(?m)^(?=  - name: )", tests)
    rings = [story for story in stories if re.search(rf"alertname: {alert}\n", story)]
    never = re.sub(r"expr: [\s\S]*?\n(?= {8}(for|labels):)", "expr: vector(1) > 2\n", rule, count=1)
    with tempfile.TemporaryDirectory(prefix="difyring-alerts-") as folder:
        for name, text in (("alerts.yml", read("alerts.yml").replace(rule, never)), ("alerts_test.yml", head + "".join(rings))):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        code, said = promtool("test", "rules", os.path.join(folder, "alerts_test.yml"))
        assert code == 1 and f"alertname: {alert}," in said, said


def test_the_dashboard_is_one_that_grafana_takes():
    board = json.loads(read("grafana.json"))
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = {}
    for panel in panels:   # no two lie on each other, none beyond the 24 columns
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"], cell
    names = {variable["name"] for variable in board["templating"]["list"]}
    assert names == {"datasource", "job", "app"}
    for used in re.findall(r"\$\{?(\w+)", json.dumps(board)):
        assert used in names | {"__rate_interval", "__interval", "__all"}, used


# ---- a pair, traffic, and a Prometheus that looks at both

class Server:
    """A real Prometheus over the scrape example; each second instead of each fifteenth."""

    def __init__(self, targets):
        self.folder = tempfile.mkdtemp(prefix="difyring-prometheus-")
        config = read("prometheus.yml").replace("10.0.0.11:82, 10.0.0.12:82", ", ".join(targets)).replace(": 15s", ": 1s")
        rules = re.sub(r"for: \w+", "for: 1s", read("alerts.yml"))
        for name, text in (("prometheus.yml", config), ("alerts.yml", rules)):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.log = open(os.path.join(self.folder, "log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={self.folder}/prometheus.yml", f"--storage.tsdb.path={self.folder}/data",
             "--web.listen-address=127.0.0.1:0", "--log.level=info"], stdout=self.log, stderr=self.log)
        self.port = wait_for(self.find_port, 3 * TIMEOUT)

    def find_port(self):
        with open(self.log.name, encoding="utf-8") as file:
            said = file.read()
        found = re.search(r'msg="Listening on" address=127\.0\.0\.1:(\d+)', said)
        return int(found[1]) if found and "Server is ready to receive web requests" in said else None

    def get(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def query(self, expression):
        """[(labels, number)]"""
        found = self.get("query", query=expression)
        assert found["resultType"] == "vector"
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def close(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Traffic:
    """`rates[name]` requests a second to each node, as evenly as one can."""

    def __init__(self, cluster, rates):
        self.over, self.sent = threading.Event(), {name: 0 for name in rates}
        self.threads = [threading.Thread(target=self.send, args=(cluster[name], name, rate)) for name, rate in rates.items()]
        for thread in self.threads:
            thread.start()

    def send(self, node, name, rate):
        begin = time.monotonic()
        with node.client() as client:
            while not self.over.is_set():
                client.json("POST", "/v1/_echo", token=TOKEN, json_body={"user": f"u{self.sent[name]}"})
                self.sent[name] += 1
                self.over.wait(max(0, begin + self.sent[name] / rate - time.monotonic()))

    def close(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


RATES = {"node-a": 20, "node-b": 10}
VIP = {"address": "10.99.99.99/24", "interface": "lo", "router_id": 51, "priority": 100, "peers": ["10.99.99.98"]}


@pytest.fixture(scope="module")
def watched(all_stubs, tmp_path_factory):
    """(cluster, Prometheus, traffic) after a while; dify3 is down, a reload was refused."""
    folder = tmp_path_factory.mktemp("watched")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3",
                    "-subj", "/CN=dify.example.com", "-addext", "subjectAltName=DNS:dify.example.com",
                    "-keyout", folder / "key.pem", "-out", folder / "crt.pem"], check=True, capture_output=True)
    tls = {"address": "127.0.0.1:0", "tls": [{"certificate": str(folder / "crt.pem"), "key": str(folder / "key.pem")}]}
    local = {name: {"listen": [{"address": "127.0.0.1:0"}, tls], "vip": {**VIP, "track_file": str(folder / name)}} for name in RATES}
    config = settings(all_stubs, health_check={"interval": "200ms", "timeout": "200ms", "path": "/health"})
    for one in config["applications"]["one"]["instances"]:
        one["max_in_flight"] = 2
    config["applications"]["one"]["quotas"] = [{"per": "application", "requests": 1000000, "every": "1h"}]
    for stub in all_stubs:
        stub.clear()
    all_stubs[2].fault("status", count=None, code=500, match="/health")
    with Cluster(config, 2, local=local) as cluster:
        cluster.settle(revision=1)
        cluster["node-a"].wait_instance("dify3", status="unhealthy")
        for node in cluster.nodes():   # one run each, which tells what it cost
            run = {"user": "u", "query": "q", "inputs": {}}
            assert node.request("POST", "/v1/chat-messages", token=TOKEN, json_body=run)[0].status == 200
        traffic = Traffic(cluster, RATES)
        server = Server([f"127.0.0.1:{node.port}" for node in cluster.nodes()])
        try:
            wait_for(lambda: len(server.query("up == 1")) == len(RATES), TIMEOUT)
            assert cluster["node-a"].reload("listen: [")[0] == 400
            cluster["node-a"].write(cluster.node_config("node-a"))
            time.sleep(15)   # as long as rate() looks back, and some scrapes more
            yield cluster, server, traffic
        finally:
            server.close()
            traffic.close()
    all_stubs[2].clear()


@pytest.mark.alone
def test_rates_are_what_was_sent(watched):
    cluster, server, traffic = watched
    address = {name: f"127.0.0.1:{cluster[name].port}" for name in RATES}
    found = server.query('sum by (instance) (rate(difyring_requests_total{app="one",code="200"}[10s]))')
    seen = {labels["instance"]: number for labels, number in found}
    for name, rate in RATES.items():   # the two nodes are two series, and no scrape is taken for a restart
        assert abs(seen[address[name]] - rate) < 0.15 * rate, (seen, rate)
    whole = server.query('sum(rate(difyring_requests_total{app="one"}[10s]))')[0][1]
    assert abs(whole - sum(RATES.values())) < 0.15 * sum(RATES.values())
    both = server.query('sum(max by (app, dify_instance) (rate(difyring_cluster_requests_total[10s])))')[0][1]
    assert abs(both - sum(RATES.values())) < 0.2 * sum(RATES.values())   # either node tells the cluster's
    assert server.query("sum(resets(difyring_requests_total[10s]))")[0][1] == 0
    one = server.query('difyring_requests_total{app="one",dify_instance="dify1"}')
    assert sorted(labels["instance"] for labels, _ in one) == sorted(address.values())
    assert not [labels for labels, _ in one if "exported_instance" in labels]
    assert traffic.sent["node-a"] > 100


def selectors(expression):
    """What an expression looks at: name and labels."""
    return re.findall(r"\b((?:difyring|process)_\w+(?:\{[^}]*\})?|up\{[^}]*\})", expression)


def test_each_rule_looks_at_what_there_is(watched):
    server = watched[1]
    rules = [rule for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert [rule["name"] for rule in rules] == ALERTS
    for rule in rules:
        assert rule["health"] == "ok", rule
        for selector in selectors(rule["query"]):
            whole = re.sub(r',?code=~"5\.\."|,?reason=~"[^"]*"', "", selector)   # those need not have happened
            assert server.query(whole), (rule["name"], selector)


def test_alarms_ring_of_what_is_wrong_here(watched):
    """dify3 is down, a reload was refused, the certificate ends, nobody has the address; nothing else rings."""
    server = watched[1]

    def ringing():
        return {(alert["labels"]["alertname"], alert["labels"].get("dify_instance") or alert["labels"].get("kind"))
                for alert in server.get("alerts")["alerts"] if alert["state"] == "firing"}
    expected = {("DifyringInstanceDown", "dify3"), ("DifyringProblemWarning", "instance_down"),
                ("DifyringProblemCritical", "vip_unheld"), ("DifyringVipUnheld", None), ("DifyringReloadRefused", None),
                ("DifyringCertificateEnds", None), ("DifyringProblemWarning", "certificate_ends")}
    wait_for(lambda: expected <= ringing(), TIMEOUT)
    rest = {one for one in ringing() - expected if one != ("DifyringProblemWarning", "reload_refused")}
    assert rest == set()


def test_each_query_of_the_dashboard_finds_numbers(watched):
    server = watched[1]
    board = json.loads(read("grafana.json"))
    count = 0
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in (("$job", "difyring"), ("$app", ".+"), ("$__rate_interval", "10s"), ("$__interval", "10s")):
                expression = expression.replace(name, value)
            found = server.query(expression.replace(',code=~"5.."', ',code=~"2.."'))   # there are no errors here
            assert found, (panel["title"], expression)
            for labels, _number in found:   # the legend names labels that the result has
                assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= set(labels), (panel["title"], labels)
            count += 1
    assert count > 40


def test_the_scrape_has_every_metric_of_the_contract(watched):
    server = watched[1]
    known = {name: told[0]["type"] for name, told in server.get("metadata").items()}
    assert FAMILIES.items() <= known.items()
