"""/dashboard: one page that needs nobody else, who may see it, and the fifteen minutes behind it."""

import html.parser
import re

import pytest
from browser import CHROMIUM, Browser
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, settings
from stub_client import wait_for
from test_metrics import ADMIN_TOKEN, member, udp_ports

pytestmark = pytest.mark.slow

INTERVAL = 5                                # seconds between two points
POINT_SECONDS = 2 * INTERVAL + 5 * PATIENCE   # so long it takes at most until one is there
needs_browser = pytest.mark.skipif(not CHROMIUM, reason="no chromium here: what the script draws is not looked at")


OWN = ("/status", "/metrics", "/admin/config")   # where the page leads to


class Page(html.parser.HTMLParser):
    """The page's tags, ids and labels, as they come from the node."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self.inside = None

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def history(node):
    head, value = node.json("GET", "/dashboard/data")
    assert head.status == 200 and head.headers["content-type"] == "application/json"
    for series in (value["all"], *value["applications"].values()):
        assert set(series) == {"rate", "errors", "tokens", "p50", "p95", "p99"}
        assert all(len(values) == len(value["times"]) for values in series.values())
    return value


def points(node, count=1):
    """The history, once it has so many points that are no gaps."""
    def enough():
        value = history(node)
        return value if len([rate for rate in value["all"]["rate"] if rate is not None]) >= count else None
    return wait_for(enough, count * POINT_SECONDS)


def post(node, user):
    return node.request("POST", "/v1/_echo", token=TOKEN, json_body={"user": user})


# ---- the page

@pytest.mark.smoke
def test_the_page_needs_nobody_else(stubs):
    with Node(settings(stubs)) as node:
        head, body = node.request("GET", "/dashboard")
        assert head.status == 200 and head.headers["content-type"] == "text/html; charset=utf-8"
        policy = dict(part.strip().split(" ", 1) for part in head.headers["content-security-policy"].split(";"))
        assert policy == {"default-src": "'none'", "style-src": "'unsafe-inline'", "script-src": "'unsafe-inline'",
                          "connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'",
                          "frame-ancestors": "'none'"}
        assert head.headers["x-content-type-options"] == "nosniff" and head.headers["cache-control"] == "no-store"
        text = body.decode()
        page = Page(text)
        assert text.startswith("<!DOCTYPE html>") and page.all("html")[0]["lang"] == "en"
        for tag, attrs in page.tags:
            assert not attrs.get("src") and attrs.get("href", "/status") in OWN, (tag, attrs)
            assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        assert set(re.findall(r"https?://[^\"' )]+", text)) <= {"http://www.w3.org/2000/svg"}   # a name, no address
        assert "@import" not in text and "url(" not in text
        script = "".join(page.scripts)
        assert set(re.findall(r"ask\(\"([^\"]+)\"\)", script)) == {"/status", "/dashboard/data"}
        assert script.count("fetch(") == 2   # to ask, and to act


def test_names_of_others_never_become_markup_or_script(stubs):
    with Node(settings(stubs)) as node:
        script = "".join(Page(node.request("GET", "/dashboard")[1].decode()).scripts)
        for door in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(",
                     "createContextualFragment", "DOMParser", "srcdoc", "javascript:"):
            assert door not in script, door


def test_the_page_can_be_read_without_colours(stubs):
    with Node(settings(stubs)) as node:
        page = Page(node.request("GET", "/dashboard")[1].decode())
        assert len(page.all("h1")) == len(page.all("main")) == len(page.all("noscript")) == 1
        assert page.all("meta")[1]["name"] == "viewport"
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        for _, attrs in page.tags:
            assert attrs.get("aria-labelledby", ids[0]) in ids
        assert all(attrs.get("role") == "img" for attrs in page.all("svg"))
        script = "".join(page.scripts)
        assert set(re.findall(r'\$\("([^"]+)"\)', script)) <= set(ids)
        assert 'scope: "col"' in script and 'scope: "row"' in script   # tables with real headers


def test_who_may_see_it(stubs):
    config = settings(stubs, admin={"allow": ["127.0.0.2/32"], "token": ADMIN_TOKEN})
    with Node(config) as node:
        for path in ("/dashboard", "/dashboard/data"):
            check_error(*node.request("GET", path), 403, "forbidden")
            assert node.request("GET", path, token=TOKEN)[0].status == 403
            assert node.request("GET", path, token=ADMIN_TOKEN)[0].status == 200
            assert node.request("GET", path, source="127.0.0.2")[0].status == 200
            assert node.request("POST", path, source="127.0.0.2", body=b"x")[0].status == 405
            with node.client(source="127.0.0.2") as client:
                head = client.request("HEAD", path).head()
                assert head.status == 200 and int(head.headers["content-length"]) > 50
                assert client.request("GET", "/health").response()[0].status == 200   # no body came in between
            whole = node.request("GET", path, source="127.0.0.2")[1].decode()
            assert TOKEN not in whole and ADMIN_TOKEN not in whole and stubs[0].token not in whole
        assert node.request("GET", "/dashboard/nothing", source="127.0.0.2")[0].status == 404


# ---- the fifteen minutes

def test_the_history_holds_what_was_sent(stubs):
    with Node(settings(stubs)) as node:
        stubs[0].fault("status", code=500, count=None, match="/_echo")
        for i in range(40):
            post(node, f"u{i}")
        for i in range(10):
            node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={"user": "u", "query": "q", "inputs": {}})
        failed = len([r for r in stubs[0].requests() if r["fault"]])
        value = points(node)
        assert value["interval_seconds"] == INTERVAL
        for series in (value["all"], value["applications"]["one"]):
            rate = next(i for i, rate in enumerate(series["rate"]) if rate)
            assert abs(series["rate"][rate] - 50 / INTERVAL) < 2
            assert abs(series["errors"][rate] / series["rate"][rate] - failed / 50) < 0.001
            assert abs(series["tokens"][rate] / series["rate"][rate] - 10 * 20 / 50) < 0.001
            assert 0 < series["p50"][rate] <= series["p95"][rate] <= series["p99"][rate] < TIMEOUT * 1000
        assert value["times"] == sorted(value["times"])
        later = points(node, 2)
        assert later["times"][:len(value["times"])] == value["times"]
        assert later["all"]["rate"][-1] == 0 and later["all"]["p50"][-1] is None   # nothing was sent since


@pytest.mark.threads
def test_every_node_shows_the_whole_cluster_and_a_newcomer_no_burst(stubs):
    one, two = udp_ports(2)
    with Node(member(stubs, "node-a", one, two)) as a:
        for i in range(200):
            post(a, f"u{i}")
        with Node(member(stubs, "node-b", two, one)) as b:
            wait_for(lambda: b.status()["stats"]["total_requests"] == 200, TIMEOUT)   # a's, all at once
            old = points(b)
            assert [rate for rate in old["all"]["rate"] if rate] == []
            assert None in old["all"]["rate"]   # the gap in which they came
            for i in range(50):
                post(a, f"u{i}")
            wait_for(lambda: abs(sum(rate or 0 for rate in history(b)["all"]["rate"]) * INTERVAL - 50) < 5, POINT_SECONDS)


# ---- who may act

def data(node, **more):
    return node.json("GET", "/dashboard/data", **more)[1]


def test_the_page_knows_who_may_act(stubs):
    admin = {"allow": ["127.0.0.2/32"], "token": ADMIN_TOKEN, "view_allow": ["127.0.0.1/32"], "view_token": "viewer-4711"}
    with Node(settings(stubs, admin=admin)) as node:
        assert data(node)["may"] == "look" and data(node, token="viewer-4711")["may"] == "look"
        assert data(node, token=ADMIN_TOKEN)["may"] == "act" and data(node, source="127.0.0.2")["may"] == "act"
        check_error(*node.request("POST", "/admin/instances/one/dify1/drain", headers=PAGE), 403, "forbidden")


PAGE = [("X-Difyring-Page", "dashboard"), ("Sec-Fetch-Site", "same-origin")]


def test_what_the_page_does_is_logged_as_such_and_other_sites_cannot(stubs):
    with Node(settings(stubs)) as node:
        for site in ("cross-site", "same-site"):
            fields = [("X-Difyring-Page", "dashboard"), ("Sec-Fetch-Site", site)]
            check_error(*node.request("POST", "/admin/instances/one/dify1/drain", headers=fields), 403, "forbidden")
        assert node.instances()["dify1"]["status"] == "unknown"
        assert node.request("POST", "/admin/instances/one/dify1/drain", headers=PAGE)[0].status == 200
        assert node.request("POST", "/admin/instances/one/dify1/enable")[0].status == 200
        wait_for(lambda: [e["asked_by"] for e in node.events("instance_drain")] == [
            "127.0.0.1 (admin.allow, dashboard)", "127.0.0.1 (admin.allow)"], TIMEOUT)


def test_what_to_do_and_what_has_changed_stand_beside_the_history(stubs):
    with Node(settings(stubs)) as node:
        assert (data(node)["remedies"], data(node)["changes"]) == ({}, [])
        assert node.request("POST", "/admin/instances/one/dify1/drain")[0].status == 200
        wait_for(lambda: data(node)["changes"], TIMEOUT)
        now = data(node)
        assert list(now["remedies"]) == ["instance_drained"] and "enable" in now["remedies"]["instance_drained"]
        assert node.request("POST", "/admin/instances/one/dify1/enable")[0].status == 200
        wait_for(lambda: data(node)["remedies"] == {}, TIMEOUT)
        changes = data(node)["changes"]
        assert [(c["kind"], c["subject"], c["over"]) for c in changes] == [
            ("instance_drained", "one/dify1", True), ("instance_drained", "one/dify1", False)]


# ---- what a browser makes of it

@needs_browser
def test_a_browser_draws_it(stubs):
    instances = [instance(stub, max_fails=1, fail_timeout="60s", max_in_flight=10) for stub in stubs]
    with Node(settings(stubs, instances=instances)) as node:
        stubs[1].fault("status", code=503, count=None, match="/_echo")

        def eject():
            for i in range(20):
                post(node, f"u{i}")
            return node.instances()["dify2"]["status"] == "ejected"
        wait_for(eject, TIMEOUT)
        chat = {"user": "u", "query": "q", "inputs": {}}
        assert node.request("POST", "/v1/chat-messages", token=TOKEN, json_body=chat)[0].status == 200
        points(node)
        with Browser() as browser:
            browser.open(f"http://127.0.0.1:{node.port}/dashboard")
            browser.wait('document.body.innerText.includes("live") && document.querySelector("#rate path") !== null')
            text = re.sub(r"\s+", " ", browser.text())
            for expected in ("as seen by node-a", "● live", "1 of 1", "one configuration, one ring", "dify1 ",
                             "▲ 1 warning", "✕ ejected for", "1 request failed, the last one: status 503",
                             "votes: unknown, tripped: node-a", " of 10", "▲ warning: instance ejected one/dify2 –",
                             "look at the instance's log", "Changes of the last hour", "Requests a second", "p95"):
                assert expected in text, (expected, text)
            assert text.index("instance ejected") < text.index("Requests a second")   # what is wrong comes first
            assert text.index("dify2 127") < text.index("dify1 127")
            assert browser.value("document.title") == "(▲1) instance ejected one/dify2 – node-a – difyring"
            assert browser.value('document.querySelectorAll(\'path[d^="M"]\').length') >= 4   # an area and lines
            assert "requests: last" in browser.value('document.getElementById("rate").getAttribute("aria-label")')
            assert re.search(r"tokens: last \S+, highest [0-9.]*[1-9]", browser.value('document.getElementById("tokens").getAttribute("aria-label")'))
            assert "Tokens a second" in text
            assert browser.complaints == []


CLICK = """(() => { const b = [...document.querySelectorAll("button")].find(b => b.textContent.startsWith("%s") && b.whom === "%s");
               if (b) b.click(); return b ? b.textContent : null; })()"""


@needs_browser
def test_a_drain_takes_two_clicks_and_the_right_to_it(stubs):
    admin = {"allow": [], "token": ADMIN_TOKEN, "view_allow": ["127.0.0.1/32"]}
    with Node(settings(stubs, admin=admin)) as node, Browser() as browser:
        browser.open(f"http://127.0.0.1:{node.port}/dashboard")
        browser.wait('document.body.innerText.includes("You may look, and not act.")')
        assert browser.value(CLICK % ("Drain", "dify1")) is None
        browser.value(f"""document.getElementById("token").value = "{ADMIN_TOKEN}";
                          document.getElementById("unlock").requestSubmit()""")
        browser.wait('document.body.innerText.includes("You may act here.")')
        browser.wait('[...document.querySelectorAll("button")].some(b => b.whom === "dify1")')
        assert browser.value(CLICK % ("Drain", "dify1")) == "Drain dify1?"
        assert node.instances()["dify1"]["status"] == "unknown"   # one click asks
        browser.value(CLICK % ("Drain", "dify1"))
        wait_for(lambda: node.instances()["dify1"]["status"] == "draining", TIMEOUT)
        browser.wait('document.body.innerText.includes("instance drained")')
        browser.wait("(" + CLICK % ("Enable", "dify1") + ') === "Enable dify1?"')
        browser.value(CLICK % ("Enable", "dify1"))
        wait_for(lambda: node.instances()["dify1"]["status"] != "draining", TIMEOUT)
        wait_for(lambda: [e["asked_by"] for e in node.events("instance_drain")] == ["127.0.0.1 (admin.token, dashboard)"] * 2, TIMEOUT)
        assert ADMIN_TOKEN not in browser.value("document.documentElement.outerHTML")


@needs_browser
def test_an_outage_a_dead_node_and_a_node_that_is_gone(stubs):
    check = {"interval": "100ms", "timeout": f"{500 * PATIENCE}ms", "path": "/health"}
    with Cluster(settings(stubs, health_check=check, application={"all_down": "fail"}), 2) as cluster, Browser() as browser:
        cluster.settle(revision=1)
        port = cluster["node-a"].port
        browser.open(f"http://127.0.0.1:{port}/dashboard", dark=True, width=390)
        browser.wait('document.body.innerText.includes("● No problems")')
        link = browser.value('[...document.querySelectorAll("#nodes a")].map(a => a.href).join()')
        assert link == f"http://127.0.0.12:{port}/dashboard"   # node-b's host, and the port of this page
        # nothing scrolls sideways, neither the page nor a table: each number has its column's name beside it
        assert browser.value('[document.documentElement, ...document.querySelectorAll(".scroll")].every(e => e.scrollWidth <= e.clientWidth)')
        assert browser.value('getComputedStyle(document.querySelector(\'td[data-name="Queued"]\'), "::before").content.includes("Queued")')
        for stub in stubs:
            stub.fault("status", count=None, code=500, match="/health")
        browser.wait('document.title.includes("no instance one – ") && document.title.startsWith("(✕1")')
        assert "none of 3 instances is eligible; requests get 503" in browser.text()
        assert browser.value('getComputedStyle(document.body).backgroundColor') == "rgb(21, 24, 27)"
        for stub in stubs:
            stub.clear()
        browser.wait('document.body.innerText.includes("● No problems")')   # it fades when it is over
        cluster.kill("node-b")
        browser.wait('document.title.startsWith("(▲1) node dead node-b – ")')
        cluster.kill("node-a")
        browser.wait('document.title.startsWith("(no answer) ") && document.body.className === "stale"')
