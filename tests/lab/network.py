"""The lab's network: one namespace a host, a bridge in a namespace of its own as the switch between
them, and what can go wrong on it. Nothing of it touches the machine's own network."""

import json
import os
import re
import shutil
import subprocess

NAME = os.environ.get("DIFYRING_LAB", "dlab")   # several labs may stand side by side
FOLDER = f"/run/difyring-{NAME}"   # root's alone: keepalived starts no script that others could change
IPV6 = os.environ.get("DIFYRING_LAB_IPV6") == "1"   # the virtual IP and what is between nodes and clients
NUMBERS = {"node-a": 11, "node-b": 12, "instances": 21, "client": 31}
ADDRESSES_4 = {host: f"10.99.0.{number}" for host, number in NUMBERS.items()}
ADDRESSES_6 = {host: f"fd99::{number}" for host, number in NUMBERS.items()}
ADDRESSES = ADDRESSES_6 if IPV6 else ADDRESSES_4
VIP, VIP_PREFIX = ("fd99::100", 64) if IPV6 else ("10.99.0.100", 24)
NODES = ["node-a", "node-b"]
SWITCH = "switch"


class LabError(Exception):
    """Something that a person is told in one line."""


def run(*command, check=True, text_input=None):
    done = subprocess.run(command, input=text_input, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def namespace(host):
    return f"{NAME}-{host}"


def inside(host, *command):
    """A command line that runs in a host's namespace."""
    return ["ip", "netns", "exec", namespace(host), *command]


def exists():
    return os.path.exists(f"/run/netns/{namespace(SWITCH)}")


def why_impossible():
    """The reason why there can be no lab here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nft", "keepalived"):
        if subprocess.run(["which", program], capture_output=True, check=False).returncode != 0:
            return f"there is no {program}: deploy/install-deps --test installs it"
    probe = namespace("probe")
    tried = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"network namespaces are not possible here: {tried.stderr.strip()}"
    try:
        run("ip", "-n", probe, "link", "add", "br0", "type", "bridge")
        run("ip", "-n", probe, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        run("ip", "netns", "exec", probe, "nft", "add", "table", "bridge", "faults")
    except LabError as error:
        return str(error)
    finally:
        run("ip", "netns", "del", probe, check=False)
    return None


def create():
    run("ip", "netns", "add", namespace(SWITCH))
    run("ip", "-n", namespace(SWITCH), "link", "add", "br0", "type", "bridge", "forward_delay", "0",
        "mcast_snooping", "0")
    run("ip", "-n", namespace(SWITCH), "link", "set", "br0", "up")
    for host in ADDRESSES:
        run("ip", "netns", "add", namespace(host))
        run("ip", "-n", namespace(host), "link", "set", "lo", "up")
        run("ip", "link", "add", "eth0", "netns", namespace(host), "type", "veth",
            "peer", "name", host, "netns", namespace(SWITCH))
        run("ip", "-n", namespace(SWITCH), "link", "set", host, "master", "br0", "up")
        run("ip", "-n", namespace(host), "addr", "add", f"{ADDRESSES_4[host]}/24", "dev", "eth0")
        run("ip", "-n", namespace(host), "addr", "add", f"{ADDRESSES_6[host]}/64", "dev", "eth0", "nodad")
        run("ip", "-n", namespace(host), "link", "set", "eth0", "up")


def remove(name=NAME):
    """Ends what still runs in a lab's namespaces, the namespaces, and its folder."""
    for host in [*NUMBERS, SWITCH]:
        for pid in run("ip", "netns", "pids", f"{name}-{host}", check=False).split():
            try:
                os.kill(int(pid), 9)
            except ProcessLookupError:
                pass
        run("ip", "netns", "del", f"{name}-{host}", check=False)
    shutil.rmtree(f"/run/difyring-{name}", ignore_errors=True)


def remove_left():
    """Labs of `run` whose process was killed before it could tidy up."""
    for entry in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        found = re.fullmatch(rf"(dl(\d+))-{SWITCH}", entry)
        if found and not os.path.exists(f"/proc/{found[2]}"):
            remove(found[1])


def addresses(host, device):
    answer = json.loads(run("ip", "-n", namespace(host), "-j", "addr", "show", "dev", device))
    return [entry["local"] for entry in answer[0]["addr_info"]]


def holders():
    """The nodes whose host has the virtual IP on its interface: one, when all is well."""
    return [node for node in NODES if VIP in addresses(node, "eth0")]


# ---- what can go wrong

def plug(host, plugged=True):
    run("ip", "-n", namespace(SWITCH), "link", "set", host, "up" if plugged else "down")


def set_fault(kind, rules):
    """nft rules of the switch, in place of those of this kind (a word) that were there."""
    text = f"table bridge {kind} {{\n}}\ndelete table bridge {kind}\n"
    if rules:
        text += (f"table bridge {kind} {{\n  chain forward {{\n    type filter hook forward priority 0;\n"
                 + "".join(f"    {rule}\n" for rule in rules) + "  }\n}\n")
    run(*inside(SWITCH, "nft", "-f", "-"), text_input=text)


def heal():
    for kind in ("partition", "loss"):
        set_fault(kind, [])


def partition_rules(senders, receivers, both):
    pairs = [(a, b) for a in senders for b in receivers]
    if both:
        pairs += [(b, a) for a, b in pairs]
    return [f'iifname "{a}" oifname "{b}" counter drop' for a, b in pairs]


def loss_rules(percent):
    if percent >= 100:   # nft takes no comparison that is always true
        return ["counter drop"]
    parts = round(percent * 100)
    return [f"numgen random mod 10000 < {parts} counter drop"] if parts else []


def slow(on):
    """A line of 2 Mbit/s for each host; with 100 ms of delay where the kernel has netem."""
    for host in ADDRESSES:
        device = ["-n", namespace(SWITCH), "qdisc"]
        run("tc", *device, "del", "dev", host, "root", check=False)
        if on:
            try:
                run("tc", *device, "add", "dev", host, "root", "netem", "delay", "100ms", "rate", "2mbit")
            except LabError:
                run("tc", *device, "add", "dev", host, "root", "tbf", "rate", "2mbit", "burst", "16kb",
                    "latency", "200ms")
