"""`difyring status` of a cluster: what a person needs to see first."""

import re

from cluster import Cluster, new_key
from gate import Gate
from harness import PATIENCE, STATE_SECONDS, run_command, settings
from stub_client import wait_for

CHECK = {"interval": "100ms", "timeout": f"{500 * PATIENCE}ms", "path": "/health", "enabled": True}


def table(node):
    result = run_command("status", "-u", f"http://{node.host}:{node.port}")
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def line_of(text, word):
    """The table row that begins with this word, as its cells."""
    row = next(line for line in text.splitlines() if re.match(rf"(\S+ +)?{re.escape(word)} ", line))
    return re.split(r" {2,}", row.strip())


def test_a_cluster_that_is_well(stubs):
    with Cluster(settings(stubs), 3) as cluster:
        cluster.settle(revision=1)
        cluster["node-b"].echo()
        wait_for(lambda: cluster["node-a"].status()["stats"]["total_requests"] == 1, STATE_SECONDS)
        text = table(cluster["node-a"])
        assert text.startswith("cluster e2e: 3 of 3 nodes alive, converged: yes; as seen by node-a\n")
        own = cluster["node-a"].status()["node"]
        for name in cluster.names:
            row = line_of(text, name)
            assert row[1:4] == ["{}:{}".format(*cluster.udp[name]), "alive", "-"]
            key = cluster["node-a"].status()["cluster"]["nodes"][0]["key"]
            assert row[5:11] == [own["version"], key, "1", own["config_digest"][:8], own["ring_digest"][:8],
                                 str(int(name == "node-b"))]
        assert text.count("all the same") == 3 and "problem" not in text
        assert "one: 1 requests, 0 errors" in text
        lines = text.splitlines()
        header = next(line for line in lines if line.startswith("NODE"))
        assert all(line.index("alive") == header.index("STATE") for line in lines if re.match(r"node-\w ", line))


def test_who_is_not_well_and_what_is_wrong(stubs):
    gates = [Gate(stub) for stub in stubs]
    local = {"node-d": {"cluster": {"keys": [new_key()]}}}
    try:
        with Cluster(settings(gates, health_check=CHECK), 4, local=local) as cluster:
            a, b, c = cluster.nodes()[:3]
            cluster.wait_problem("node-a", "unknown_key", "forged")
            gates[1].shut_for(c)
            wait_for(lambda: a.instances()["dify2"]["votes"].get("node-c", {}).get("active") == "down", STATE_SECONDS)
            b.json("POST", "/admin/drain")
            wait_for(lambda: "draining" in line_of(table(a), "node-b")[2], STATE_SECONDS)
            text = table(a)
            assert line_of(text, "dify2")[-1] == "node-a: up; node-b: up; node-c: down" or set(
                line_of(text, "dify2")[-1].split("; ")) == {"node-a: up", "node-b: up", "node-c: down"}
            assert line_of(text, "dify1")[-1] == "all the same"
            assert re.search(r"^warning +(unknown_key|forged) +[\d.:]+ +\d+ s +.*cluster\.keys", text, re.M)
            cluster.kill("node-c")
            wait_for(lambda: line_of(table(a), "node-c")[2] == "dead", STATE_SECONDS + 5)
            assert "2 of 3 nodes alive" in table(a)
            assert re.fullmatch(r"\d+ m?s", line_of(table(a), "node-c")[4])
            cluster.kill("node-d")
    finally:
        for gate in gates:
            gate.close()
