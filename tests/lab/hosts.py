"""What runs on the lab's hosts: nodes with their keepalived, and the stand-in Dify instances. The
processes outlive the command that started them; FOLDER/processes.json says which they are."""

import base64
import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import time

import network
from network import ADDRESSES, ADDRESSES_4, FOLDER, IPV6, NODES, VIP, VIP_PREFIX, LabError

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
PROGRAM = os.path.abspath(os.environ.get("DIFYRING_BIN") or os.path.join(ROOT, "build/release/node/difyring"))
PORT = 82
GOSSIP_PORT = 7946
CLUSTER_KEY = base64.b64encode(b"a key for the lab alone, no more").decode()
TOKEN = "usertoken--lab"
INSTANCES = {"dify1": 8001, "dify2": 8002, "dify3": 8003}
DRAIN_SECONDS = 15
# What else the machine does shall not be measured: before all that has no fixed priority, where that is allowed.
FIRST = ["chrt", "--rr", "1"]
if subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode != 0:
    FIRST = []
PROCESSES = os.path.join(FOLDER, "processes.json")
WAIT_SECONDS = 20   # for what takes a second or two; far more means that it has failed


def wait_for(condition, what, seconds=WAIT_SECONDS):
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds} s")
        time.sleep(0.005)


# ---- processes

def _start_time(pid):
    """Tells a process from another one that got its number later; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _table():
    try:
        with open(PROCESSES, encoding="utf-8") as file:
            return json.load(file)
    except OSError:
        return {}


def _enter(name, pid):
    table = _table()
    table[name] = [pid, _start_time(pid)]
    with open(PROCESSES + ".new", "w", encoding="utf-8") as file:
        json.dump(table, file)
    os.rename(PROCESSES + ".new", PROCESSES)


def pid_of(name):
    """The process of that name, if it runs."""
    pid, started = _table().get(name, (None, None))
    return pid if pid and started and _start_time(pid) == started else None


def spawn(name, host, *command):
    """Starts a command on a host, its output at the end of FOLDER/NAME.log."""
    with open(os.path.join(FOLDER, name + ".log"), "ab") as log:
        child = subprocess.Popen(network.inside(host, *FIRST, *command), stdin=subprocess.DEVNULL, stdout=log,
                                 stderr=log, start_new_session=True)
    _enter(name, child.pid)
    return child


def send(name, number):
    pid = pid_of(name)
    if not pid:
        raise LabError(f"{name} does not run")
    os.kill(pid, number)


def wait_gone(name, seconds=WAIT_SECONDS):
    def gone():
        with contextlib.suppress(ChildProcessError):   # ours, when one command does all
            os.waitpid(_table()[name][0], os.WNOHANG)
        return not pid_of(name)
    wait_for(gone, f"{name} ends", seconds)


# ---- files

def node_folder(node):
    return os.path.join(FOLDER, node)


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def configure(node, advert_ms=100):
    peers = [address for name, address in ADDRESSES.items() if name in NODES and name != node]
    config = {
        "node": {"name": node, "state_dir": os.path.join(node_folder(node), "state")},
        "listen": [{"address": f"{'[::]' if IPV6 else '0.0.0.0'}:{PORT}"}],
        "workers": 1,
        "timeouts": {"drain": DRAIN_SECONDS},
        "log": {"access": os.path.join(node_folder(node), "access.log"), "error": "stderr"},
        "admin": {"allow": ["0.0.0.0/0", "::/0"]},
        "cluster": {"name": "lab", "bind": f"{'[::]' if IPV6 else '0.0.0.0'}:{GOSSIP_PORT}", "keys": [CLUSTER_KEY],
                    "advertise": f"{bracketed(ADDRESSES[node])}:{GOSSIP_PORT}",
                    "join": [f"{bracketed(address)}:{GOSSIP_PORT}" for address in peers]},
        "vip": {"address": f"{VIP}/{VIP_PREFIX}", "interface": "eth0", "priority": 120 if node == "node-a" else 110,
                "advert_interval": f"{advert_ms}ms", "peers": peers,
                "track_file": os.path.join(node_folder(node), "vrrp")},
        "health_check": {"interval": "1s", "timeout": "1s"},
        "debug_headers": True,
        "applications": {"lab": {"user_tokens": [TOKEN], "instances": [
            {"name": name, "host": ADDRESSES_4["instances"], "port": port, "token": "app-" + name}
            for name, port in INSTANCES.items()]}},
    }
    with open(conf_path(node), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)   # JSON is YAML enough
    text = network.run(*network.inside(node, os.path.join(FOLDER, "difyring"), "vrrp-config", "-c", conf_path(node)))
    with open(os.path.join(node_folder(node), "keepalived.conf"), "w", encoding="utf-8") as file:
        file.write(text)


def conf_path(node):
    return os.path.join(node_folder(node), "node.yaml")


def prepare(advert_ms):
    os.makedirs(FOLDER, mode=0o755)
    # keepalived refuses scripts in folders that anybody but root may write to: a copy where only root may.
    shutil.copy2(PROGRAM, os.path.join(FOLDER, "difyring"))
    os.chown(os.path.join(FOLDER, "difyring"), 0, 0)
    for node in NODES:
        os.makedirs(os.path.join(node_folder(node), "state"))
        configure(node, advert_ms)


# ---- the programs

def start_instance(name):
    spawn(name, "instances", "/usr/bin/python3", os.path.join(ROOT, "tests/stub/dify_stub"), "--name", name,
          "--token", "app-" + name, "--host", ADDRESSES_4["instances"], "--port", str(INSTANCES[name]),
          "--connections", "0")


def start_node(node):
    spawn(node, node, os.path.join(FOLDER, "difyring"), "run", "-c", conf_path(node))


def start_keepalived(node):
    folder = node_folder(node)
    spawn(node + ".keepalived", node, "keepalived", "--dont-fork", "--log-console", "--no-syslog", "--log-detail",
          "--vrrp", "--use-file", os.path.join(folder, "keepalived.conf"),
          "--pid", os.path.join(folder, "keepalived.pid"), "--vrrp_pid", os.path.join(folder, "vrrp.pid"))


def stop_keepalived(node):
    send(node + ".keepalived", signal.SIGTERM)
    wait_gone(node + ".keepalived")


def vrrp_state(node):
    """MASTER, BACKUP, FAULT or STOP, as the node's keepalived said last."""
    state = None
    with open(os.path.join(FOLDER, f"{node}.keepalived.log"), encoding="utf-8", errors="replace") as log:
        for line in log:
            _, found, rest = line.partition(") Entering ")
            if found:
                state = rest.split()[0]
            elif ") entering FAULT" in line:
                state = "FAULT"
    return state


def ask(host, address, port, path, timeout=2):
    """The body of a GET, asked from a host of the lab; None if there is no answer."""
    script = ("import http.client,sys\n"
              f"c = http.client.HTTPConnection({address!r}, {port}, timeout={timeout})\n"
              f"c.request('GET', {path!r})\nsys.stdout.write(c.getresponse().read().decode())\n")
    done = subprocess.run(network.inside(host, "/usr/bin/python3", "-c", script), capture_output=True, text=True,
                          check=False)
    return done.stdout if done.returncode == 0 else None


def status(node):
    """/status of a node, asked from its own host."""
    text = ask(node, "::1" if IPV6 else "127.0.0.1", PORT, "/status")
    return json.loads(text) if text else None


def wait_instances(nodes=tuple(NODES)):
    """Each node's checks find all instances healthy. Where none is, all are tried, and nobody would notice."""
    def healthy():
        documents = [status(node) for node in nodes]
        return all(document and "applications" in document   # else it is joining
                   and all(each["status"] == "healthy"
                           for each in document["applications"]["lab"]["instances"].values())
                   for document in documents)
    wait_for(healthy, "the checks of all nodes find the instances healthy")


def access(node, since):
    """The lines of a node's access log since a moment (time.time()), as dicts."""
    with open(os.path.join(node_folder(node), "access.log"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file.read().split("\n")[:-1]]
    moment = datetime.datetime.fromtimestamp(since, datetime.timezone.utc).isoformat()
    return [line for line in lines if line["timestamp"][:23] >= moment[:23]]


def wait_ready(nodes=tuple(NODES)):
    """One holder, the others waiting to become it."""
    def ready():
        states = sorted(str(vrrp_state(node)) for node in nodes)
        held = network.holders()
        return len(held) == 1 and states == ["BACKUP"] * (len(nodes) - 1) + ["MASTER"] and held[0]
    return wait_for(ready, "one node holds the virtual IP and the others stand by")
