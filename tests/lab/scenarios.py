"""The promises of the pair, measured from the client's host. Each scenario does one thing to the node
that holds the virtual IP, a number of times, and keeps the worst figures."""

import json
import os
import select
import signal
import subprocess
import time

import hosts
import network
from hosts import LabError, wait_for, wait_ready
from network import NODES, VIP

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.py")


READY_SECONDS = 30   # streams begin one after the other for some seconds; a lossy network makes it longer


class Measured:
    """A client that runs while something happens."""

    def __init__(self, seconds, events=40, streams=50):
        self.child = subprocess.Popen(
            network.inside("client", *hosts.FIRST, "/usr/bin/python3", CLIENT, VIP, str(hosts.PORT), hosts.TOKEN, "--seconds",
                           str(seconds), "--events", str(events), "--streams", str(streams)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def wait_ready(self):
        if not select.select([self.child.stdout], [], [], READY_SECONDS)[0]:
            raise LabError(f"the client got no answers for {READY_SECONDS} s; does a node hold {VIP} (tests/lab/status)?")
        line = self.child.stdout.readline()
        if line.strip() != "ready":
            raise LabError(f"the client did not get going: {line}")
        time.sleep(1)   # a second of quiet before anything is done, so that a figure has a before

    def result(self):
        text = self.child.stdout.read()
        if self.child.wait() != 0:
            raise LabError("the client failed")
        return json.loads(text)

    def __enter__(self):
        return self

    def __exit__(self, *_rest):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


def other(node):
    return next(name for name in NODES if name != node)


def moved(holder):
    """The other one holds the address."""
    return other(holder) in network.holders()


def drain(holder):
    with Measured(seconds=7) as client:
        client.wait_ready()
        start = time.monotonic()
        hosts.send(holder, signal.SIGTERM)
        wait_for(lambda: moved(holder), "the address moves")
        took_ms = (time.monotonic() - start) * 1000
        hosts.wait_gone(holder, hosts.DRAIN_SECONDS + 3)
        result = client.result()
    hosts.start_node(holder)
    result["moved_ms"] = round(took_ms)
    return result


def kill(holder):
    with Measured(seconds=3) as client:
        client.wait_ready()
        hosts.send(holder, signal.SIGKILL)
        result = client.result()
    hosts.wait_gone(holder)
    hosts.start_node(holder)
    return result


def cut_off(holder):
    with Measured(seconds=3) as client:
        client.wait_ready()
        network.plug(holder, False)
        result = client.result()
    network.plug(holder, True)
    return result


def stop(holder):
    with Measured(seconds=5) as client:
        client.wait_ready()
        hosts.send(holder, signal.SIGSTOP)
        result = client.result()
    hosts.send(holder, signal.SIGCONT)
    return result


def set_advert(advert_ms):
    for node in NODES:
        hosts.configure(node, advert_ms)
        hosts.stop_keepalived(node)
    for node in NODES:
        hosts.start_keepalived(node)
    wait_ready()


# ---- the cluster behind the address

GOSSIP_SECONDS = 0.5    # counters of the last interval may be lost with the node that had them
NOTICE_SECONDS = 10     # a dead member is noticed within 2 s on a quiet machine (SPEC §6)


def total(node):
    document = hosts.status(node)
    return document["stats"]["total_requests"] if document else None


def row(node, about):
    """What a node's /status says about a node."""
    document = hosts.status(node)
    return next((each for each in document["cluster"]["nodes"] if each["name"] == about), {}) if document else {}


def failover_status(holder):
    """Right after a failover the survivor's /status names the holder and has the totals of both."""
    survivor = other(holder)
    before = total(holder)
    with Measured(seconds=3) as client:
        client.wait_ready()
        hosts.send(holder, signal.SIGKILL)
        wait_for(lambda: moved(holder), "the address moves")
        document = hosts.status(survivor)
        result = client.result()
    hosts.wait_gone(holder)
    after = total(survivor)
    hosts.start_node(holder)
    vip, seen = document["cluster"]["vip"], document["stats"]["total_requests"]
    # the client was ready after 20 requests and 50 streams; each second brings 200 more
    known = before + 70 + int((1 - GOSSIP_SECONDS) * 200)
    sent = result["requests"] + result["streams"]
    lost = before + sent - result["failed"] - result["cut"] - after
    result["wrong"] = ([] if vip["holder"] == survivor and not vip["conflict"] else [f"vip {vip}"]) + (
        [] if seen >= known else [f"total {seen} right after, at least {known} were served"]) + (
        [] if lost <= GOSSIP_SECONDS * 200 else [f"{lost} requests are in no total"])
    return result


def instance_dies_first(holder):
    """An instance dies and then the active node: the standby already knows and sends nothing there."""
    survivor = other(holder)
    with Measured(seconds=4) as client:
        client.wait_ready()
        hosts.send("dify1", signal.SIGKILL)
        time.sleep(0.3)   # the time in which the active node sees it and tells
        moment = time.time()
        hosts.send(holder, signal.SIGKILL)
        result = client.result()
    hosts.wait_gone(holder)
    lines = hosts.access(survivor, moment)
    sent = [line for line in lines if line["instance"] == "dify1" or line["attempts"] > 1]
    result["wrong"] = ([f"{len(sent)} of {len(lines)} requests went to the dead instance, first {sent[0]}"] if sent else []) + (
        [] if lines else ["the survivor served nothing"])
    hosts.start_instance("dify1")
    hosts.start_node(holder)

    def healthy():
        document = hosts.status(survivor)
        return document and document["applications"]["lab"]["instances"]["dify1"]["eligible"]
    wait_for(healthy, "dify1 is back", 45)   # if the survivor ejected it after all, for fail_timeout
    return result


def partition_result(holder, cut_rules, truths):
    """Cuts, waits until each node says what is true of it, heals, and looks whether all is whole."""
    wait_for(lambda: total(NODES[0]) == total(NODES[1]) is not None, "both nodes have the same total")
    start = total(NODES[0])
    wrong = []
    with Measured(seconds=16) as client:
        client.wait_ready()
        network.set_fault("partition", cut_rules)
        for node, truth, what in truths:
            try:
                wait_for(lambda n=node, t=truth: t(hosts.status(n)), f"{node} says {what}", NOTICE_SECONDS)
            except LabError as error:
                wrong.append(f"{error}: {json.dumps((hosts.status(node) or {}).get('cluster'))[:700]}")
        network.heal()
        result = client.result()
    wait_ready()

    def whole():
        documents = [hosts.status(node) for node in NODES]
        clusters = [document["cluster"] for document in documents if document]
        return (len(clusters) == 2 and all(c["alive"] == 2 and c["converged"] and not c["vip"]["conflict"]
                                           and [c["vip"]["holder"]] == network.holders() for c in clusters)
                and total(NODES[0]) == total(NODES[1]))
    try:
        wait_for(whole, "both nodes agree again")
    except LabError as error:
        wrong.append(f"{error}: {[json.dumps((hosts.status(n) or {}).get('cluster'))[:700] for n in NODES]}")
    sent = result["requests"] + result["streams"]
    counted = total(NODES[0]) - start
    if not sent - result["failed"] - result["cut"] <= counted <= sent:
        wrong.append(f"{counted} requests counted of {sent} sent, {result['failed']} failed, {result['cut']} cut")
    result["wrong"] = wrong
    return result


def alone(node):
    def says(document):
        cluster = document["cluster"] if document else {"nodes": []}
        others = [each["state"] for each in cluster["nodes"] if each["name"] != node]
        return others == ["dead"] and cluster["vip"] == {"address": VIP, "holder": node, "conflict": False}
    return says


def split(holder, with_client):
    """The nodes do not see each other; the client sees one of them."""
    away = other(with_client)
    rules = network.partition_rules([away], [with_client, "client"], both=True)
    return partition_result(holder, rules, [(node, alone(node), "that it is alone and holds the address")
                                            for node in NODES])


def split_holder(holder):
    return split(holder, holder)


def split_standby(holder):
    return split(holder, other(holder))


def one_way(holder):
    """The standby does not hear the holder, which hears it: both hold the address, and both can know."""
    def both_hold(document):
        return document and document["cluster"]["vip"]["holder"]
    return partition_result(holder, network.partition_rules([holder], [other(holder)], both=False),
                            [(node, both_hold, "who holds the address") for node in NODES])


# name: (advert interval in ms, what is done, {figure: the most it may be}, what it is called)
SCENARIOS = {
    "drain": (100, drain, {"failed": 0, "cut": 0}, "a planned drain of the active node fails no request and cuts no stream"),
    "kill": (100, kill, {"outage_ms": 150}, "kill -9 of the active proxy: 150 ms"),
    "cut-off": (100, cut_off, {"outage_ms": 400}, "the active node's host is cut off, adverts every 100 ms: 400 ms"),
    "stop": (100, stop, {"outage_ms": 3000}, "the active proxy is stopped (SIGSTOP): 3 s"),
    "status": (100, failover_status, {"wrong": []}, "right after a failover /status has the holder and the totals"),
    "instance": (100, instance_dies_first, {"wrong": []}, "an instance dies before the active node: the standby sends it nothing"),
    "split-holder": (100, split_holder, {"wrong": []}, "the standby is cut off from holder and client: both tell the truth and heal"),
    "split-standby": (100, split_standby, {"wrong": []}, "the holder is cut off from standby and client: both tell the truth and heal"),
    "one-way": (100, one_way, {"wrong": []}, "the standby does not hear the holder: both tell the truth and heal"),
    "cut-off-20": (20, cut_off, {"outage_ms": 150}, "the active node's host is cut off, adverts every 20 ms: 150 ms"),
}


# A client that stood still itself for longer measured the machine: such a round is done again, a few times,
# if it was not good. 150 ms are what is to be told from it.
LATE_MS_MAX = 50
DISTURBED_MAX = 5


def is_good(result, limits):
    return all(result[figure] <= limit for figure, limit in limits.items())


def worst(results, figure):
    if figure == "wrong":
        return sum((result["wrong"] for result in results), [])
    return max(result[figure] for result in results)


def measure(name, rounds, say):
    """(good, one line of figures) of a scenario."""
    _, act, limits, _ = SCENARIOS[name]
    results, disturbed = [], 0
    while len(results) < rounds:
        holder = wait_ready()
        result = act(holder)
        say(f"# {name} {len(results) + 1} of {holder}: {json.dumps(result)}")
        if not is_good(result, limits) and result["late_ms"] > LATE_MS_MAX and disturbed < DISTURBED_MAX:
            disturbed += 1
            say(f"# the client itself stood still for {result['late_ms']} ms: done again")
            continue
        results.append(result)
    wait_ready()
    good = all(is_good(result, limits) for result in results)
    figures = ", ".join(f"{figure} {worst(results, figure)} (at most {limit})" for figure, limit in limits.items())
    requests, streams = sum(r["requests"] for r in results), sum(r["streams"] for r in results)
    if "outage_ms" in limits and not any(r["failed"] for r in results):
        return False, f"{figures}: nothing failed at all, so nothing was measured"
    return good, (f"worst of {rounds}: {figures}; longest outage {worst(results, 'outage_ms')} ms, slowest good request "
                  f"{worst(results, 'slowest_ms')} ms; {requests} requests, {streams} streams in all"
                  + (f"; {disturbed} rounds disturbed by the machine and done again" if disturbed else ""))
