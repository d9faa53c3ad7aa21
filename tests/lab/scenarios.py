"""The promises of the pair, measured from the client's host. Each scenario does one thing to the node
that holds the virtual IP, a number of times, and keeps the worst figures."""

import json
import os
import signal
import subprocess
import time

import hosts
import network
from hosts import LabError, wait_for, wait_ready
from network import NODES, VIP

CLIENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "client.py")


class Measured:
    """A client that runs while something happens."""

    def __init__(self, seconds, events=40, streams=50):
        self.child = subprocess.Popen(
            network.inside("client", *hosts.NICE, "/usr/bin/python3", CLIENT, VIP, str(hosts.PORT), hosts.TOKEN, "--seconds",
                           str(seconds), "--events", str(events), "--streams", str(streams)),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def wait_ready(self):
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


# name: (advert interval in ms, what is done, {figure: the most it may be}, what it is called)
SCENARIOS = {
    "drain": (100, drain, {"failed": 0, "cut": 0}, "a planned drain of the active node fails no request and cuts no stream"),
    "kill": (100, kill, {"outage_ms": 150}, "kill -9 of the active proxy: 150 ms"),
    "cut-off": (100, cut_off, {"outage_ms": 400}, "the active node's host is cut off, adverts every 100 ms: 400 ms"),
    "stop": (100, stop, {"outage_ms": 3000}, "the active proxy is stopped (SIGSTOP): 3 s"),
    "cut-off-20": (20, cut_off, {"outage_ms": 150}, "the active node's host is cut off, adverts every 20 ms: 150 ms"),
}


def worst(results, figure):
    return max(result[figure] for result in results)


def measure(name, rounds, say):
    """(good, one line of figures) of a scenario."""
    _, act, limits, _ = SCENARIOS[name]
    results = []
    for number in range(1, rounds + 1):
        holder = wait_ready()
        result = act(holder)
        say(f"# {name} {number} of {holder}: {json.dumps(result)}")
        results.append(result)
    wait_ready()
    good = all(worst(results, figure) <= limit for figure, limit in limits.items())
    figures = ", ".join(f"{figure} {worst(results, figure)} (at most {limit})" for figure, limit in limits.items())
    requests, streams = sum(r["requests"] for r in results), sum(r["streams"] for r in results)
    if "drain" not in name and not any(r["failed"] for r in results):
        return False, f"{figures}: nothing failed at all, so nothing was measured"
    return good, (f"worst of {rounds}: {figures}; slowest good request {worst(results, 'slowest_ms')} ms; "
                  f"{requests} requests, {streams} streams in all")
