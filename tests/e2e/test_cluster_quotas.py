"""Quotas over a cluster: what one node has granted counts at the others within a gossip interval, also behind its
death, for who joins later, and for requests in flight."""

import time

import pytest
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, parallel, settings
from stub_client import wait_for


def quotas(stubs, *entries):
    return settings(stubs, application={"quotas": list(entries)})


def ask(node, user="u"):
    return node.request("GET", f"/v1/_echo?user={user}", token=TOKEN)[0].status


def stream(client, user="u"):
    client.request("POST", "/v1/chat-messages", TOKEN, json_body={
        "user": user, "query": "q", "response_mode": "streaming",
        "inputs": {"stub_events": 2000, "stub_interval": 0.05}})
    return client.head().status


def chat(node, user="u"):
    return node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
        "user": user, "query": "q", "inputs": {}, "response_mode": "blocking"})[0].status


def used(node, user="u", quota=0):
    """As this node knows; nothing is counted."""
    head, value = node.json("GET", f"/admin/explain?app=one&user={user}")
    assert head.status == 200
    return value["quotas"][quota]["used"]


@pytest.mark.threads
def test_a_limit_holds_over_all_nodes(stub):
    """One after the other, with time to tell between: as many pass as may, whichever node is asked."""
    with Cluster(quotas([stub], {"per": "user", "requests": 6, "every": "1h"}), 3) as cluster:
        nodes = cluster.settle().nodes()
        for left in range(5, -1, -1):
            turn = nodes[left % 3]
            assert ask(turn, "u") == 200
            for other in nodes:
                wait_for(lambda node=other, left=left: used(node) == 6 - left, TIMEOUT)
        assert [ask(node) for node in nodes] == [429] * 3
        assert [ask(node, "v") for node in nodes] == [200] * 3


def test_at_most_what_others_admit_within_an_interval_is_over(stub):
    """Both nodes are asked as fast as they answer: together they let pass hardly more than there is."""
    limit = 400
    with Cluster(quotas([stub], {"per": "application", "requests": limit, "every": "1h"}), 2) as cluster:
        nodes = cluster.settle().nodes()

        def customer(node):
            passed = []
            with node.client() as client:
                while client.request("GET", "/v1/_echo?user=u", TOKEN).response()[0].status == 200:
                    passed.append(time.monotonic())
            return passed
        began = time.monotonic()
        found = parallel([lambda node=node: customer(node) for node in nodes])
        total = sum(len(passed) for passed in found)
        rate = total / (time.monotonic() - began)
        assert limit <= total <= limit + rate * 0.5 * PATIENCE   # the interval is 0.1 s
        assert total < 2 * limit
        assert [ask(node) for node in nodes] == [429] * 2


def test_what_a_dead_node_had_told_counts_and_what_it_had_under_way_does_not(stub):
    config = quotas([stub], {"per": "user", "requests": 20, "every": "1h"}, {"per": "user", "concurrent": 1})
    with Cluster(config, 2) as cluster:
        cluster.settle()
        for _ in range(18):
            assert ask(cluster["node-a"]) == 200
        with cluster["node-a"].client() as client:
            assert stream(client) == 200
            wait_for(lambda: used(cluster["node-b"], quota=1) == 1 and used(cluster["node-b"]) == 19, TIMEOUT)
            assert chat(cluster["node-b"]) == 429
            assert chat(cluster["node-b"], "v") == 200
            cluster.kill("node-a")
        wait_for(lambda: cluster.states("node-b")["node-a"] == "dead", 10 * PATIENCE)
        assert chat(cluster["node-b"]) == 200
        assert [ask(cluster["node-b"]) for _ in range(2)] == [429] * 2   # 20 of 20


def test_requests_under_way_count_everywhere_until_they_end(stub):
    with Cluster(quotas([stub], {"per": "user", "concurrent": 2}), 2) as cluster:
        a, b = cluster.settle().nodes()
        with a.client() as one, b.client() as two:
            assert stream(one) == 200 and stream(two) == 200
            wait_for(lambda: chat(a) == 429 and chat(b) == 429, TIMEOUT)
        wait_for(lambda: chat(a) == 200, TIMEOUT)
        wait_for(lambda: chat(b) == 200, TIMEOUT)


def test_who_joins_later_is_told_what_was_granted(stub):
    with Cluster(quotas([stub], {"per": "user", "requests": 3, "every": "1h"}), 2, start=["node-a"]) as cluster:
        assert [ask(cluster["node-a"]) for _ in range(4)] == [200, 200, 200, 429]
        time.sleep(0.1)
        b = cluster.start("node-b")
        cluster.settle()
        wait_for(lambda: used(b) == 3, 20 * PATIENCE)
        assert ask(b) == 429


def test_a_partition_gives_each_side_the_limit_and_its_end_adds_them_up(stub):
    config = quotas([stub], {"per": "user", "requests": 4, "every": "1h"})
    with Cluster(config, 2, relay=True) as cluster:
        a, b = cluster.settle().nodes()
        cluster.relay.drops = lambda sender, receiver: True
        assert [ask(a) for _ in range(5)] == [200] * 4 + [429]
        assert [ask(b) for _ in range(5)] == [200] * 4 + [429]
        wait_for(lambda: cluster.states("node-a")["node-b"] == "dead", 10 * PATIENCE)
        cluster.relay.drops = lambda sender, receiver: False
        cluster.settle()
        wait_for(lambda: used(a) == 8 and used(b) == 8, 20 * PATIENCE)


def test_status_names_those_nearest_to_their_limit_and_no_user(stub):
    config = quotas([stub], {"per": "user", "requests": 3, "every": "1h"},
                    {"per": "application", "requests": 1000, "every": "1d", "shadow": True},
                    {"per": "user", "concurrent": 9})
    with Cluster(config, 2) as cluster:
        a, b = cluster.settle().nodes()
        for count, user in enumerate(["secret-u1", "secret-u2", "secret-u3"], 1):
            assert [ask(a, user) for _ in range(count)] == [200] * count
        assert [ask(a, "secret-u3") for _ in range(2)] == [429] * 2
        for node in (a, b):   # the other one has heard of it
            def told(node=node):
                rows = node.status()["applications"]["one"]["quotas"]
                return rows if rows[0]["rejected"] == 2 and len(rows[0]["nearest"]) == 3 else None
            users, whole, concurrent = wait_for(told, TIMEOUT)
            assert {name: users[name] for name in ("per", "requests", "every", "shadow")} == {
                "per": "user", "requests": 3, "every": "1h", "shadow": False}
            assert [one["used"] for one in users["nearest"]] == [3, 2, 1]
            assert whole["nearest"] == [{"subject": "one", "used": 6}] and whole["every"] == "1d" and whole["shadow"]
            assert concurrent == {"per": "user", "concurrent": 9, "rejected": 0, "shadow": False, "nearest": []}
            _, explained = node.json("GET", "/admin/explain?user=secret-u3")
            assert explained["quotas"][0] == {"per": "user", "requests": 3, "every": "1h", "shadow": False, "used": 3,
                                              "subject": users["nearest"][0]["subject"], "over": True}
            assert (explained["quotas"][1]["subject"], explained["quotas"][1]["used"]) == ("one", 6)   # as /status calls it
            assert "secret-u" not in node.request("GET", "/status")[1].decode()
        text = a.request("GET", "/metrics")[1].decode()
        assert 'difyring_quota_rejected_total{app="one",per="user"} 2' in text
        assert 'difyring_quota_rejected_total{app="one",per="application"} 0' in text
        assert "difyring_quota_subjects 4" in text
