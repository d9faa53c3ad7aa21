"""Several nodes as one cluster, each on a loopback address of its own.

    with Cluster(settings(stubs), 3) as cluster:
        a, b, c = cluster.nodes()
        cluster.kill("node-a"); cluster.start("node-a"); cluster.settle()

UDP ports are free ones of 127.0.0.11, .12, ...: `join` must name them before anybody has started.
At its end every node must have ended well, and no secret may stand in what any of them said.
"""

import base64
import copy
import json
import os
import shutil
import socket
import tempfile

from harness import PATIENCE, TIMEOUT, Node, parallel
from relay import Relay
from stub_client import wait_for

NAMES = ["node-a", "node-b", "node-c", "node-d"]
DEAD_SECONDS = 3 * PATIENCE   # SPEC §6: a host that vanished is noticed within 2 s, and the machine may be busy


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


def free_udp_port(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def text_of(address):
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Cluster:
    """Its nodes by name; those that run, and what those said that no longer do."""

    def __init__(self, config, count=3, *, state=True, local=None, profile="local", start=None, relay=False,
                 host=None):
        """`config` is every node's, `local` {name: sections} overrides it for one. `start`: the names to start
        with, all of them if it is None. `relay`: all packets go through self.relay. `host`: one address for all."""
        self.config = config
        self.local = local or {}
        self.profile = profile
        self.key = new_key()
        self.names = NAMES[:count]
        self.udp = {}
        for index, name in enumerate(self.names):
            own = host or f"127.0.0.{11 + index}"
            self.udp[name] = (own, free_udp_port(own))
        self.relay = Relay(self.udp) if relay else None
        self.folder = tempfile.mkdtemp(prefix="difyring-cluster-")
        self.state = {name: os.path.join(self.folder, name) for name in self.names if state}
        self.running, self.ended = {}, []
        try:
            self.start(*(self.names if start is None else start))
        except BaseException:
            self.destroy()
            raise

    def __getitem__(self, name):
        return self.running[name]

    def address(self, name):
        """Where the others reach it."""
        return self.relay.address(name) if self.relay else self.udp[name]

    def nodes(self):
        return [self.running[name] for name in self.names if name in self.running]

    def node_config(self, name):
        """What stands in the file of `name`."""
        value = copy.deepcopy(self.config)
        value["node"] = {"name": name}
        if name in self.state:
            value["node"]["state_dir"] = self.state[name]
        value["cluster"] = {
            "name": "e2e", "profile": self.profile, "keys": [self.key],
            "bind": text_of(self.udp[name]),
            "join": [text_of(self.address(other)) for other in self.names if other != name],
        }
        for section, more in copy.deepcopy(self.local.get(name, {})).items():
            if isinstance(more, dict) and section in value:
                value[section].update(more)
            else:
                value[section] = more
        return value

    # ---- lives

    def start(self, *names, **more):
        """Starts them side by side; the last one's Node. `more` goes to Node."""
        for name in names:
            self.running[name] = Node(self.node_config(name), wait=False, **more)
        parallel([self.running[name].ready for name in names])
        return self.running[names[-1]] if names else None

    def stop(self, *names):
        """Gracefully, one after the other."""
        for name in names:
            node = self.running.pop(name)
            self.ended.append(node)
            node.stop()

    def kill(self, *names):
        for name in names:
            node = self.running.pop(name)
            self.ended.append(node)
            node.process.kill()
            node.process.wait()

    def reload(self, name, config=None):
        """(status, JSON) of a reload on one node, after `config` has become its file's shared part."""
        if config is not None:
            self.config = config
        return self.running[name].reload(self.node_config(name))

    # ---- what they say

    def statuses(self):
        return [node.status() for node in self.nodes()]

    def states(self, seen_by):
        """{name: state} as one node sees it."""
        return {row["name"]: row["state"] for row in self.running[seen_by].status()["cluster"]["nodes"]}

    def settle(self, seconds=DEAD_SECONDS + TIMEOUT, revision=None):
        """Until all that run see each other alive and have the same configuration and rings. A cluster that starts
        has revision 0 for a while, and serves; `revision` waits for that one."""
        def settled():
            rows = self.statuses()
            own = [row["node"] for row in rows]
            return all(row["cluster"]["alive"] == len(rows) and row["cluster"]["converged"] for row in rows) and len(
                {(row["config_revision"], row["config_digest"], row["ring_digest"]) for row in own}) == 1 and revision in (None, own[0]["config_revision"])
        wait_for(settled, seconds)
        return self

    def wait_state(self, name, state, seconds=DEAD_SECONDS):
        """Until all that run say so of `name`."""
        wait_for(lambda: all(self.states(other).get(name) == state for other in self.running), seconds)

    def problems(self, name, *kinds):
        """What /status of `name` tells of these kinds (of all, if none is given)."""
        told = self.running[name].status()["problems"]
        return [problem for problem in told if not kinds or problem["kind"] in kinds]

    def wait_problem(self, name, *kinds, says="", seconds=TIMEOUT):
        """Until `name` tells of it with these words, in the log and in /status; the detail."""
        def told():
            return [p["detail"] for p in self.problems(name, *kinds) if says in p["detail"]]

        def logged():
            return [e for e in self.running[name].events("problem")
                    if e["kind"] in kinds and says in e["message"]]
        wait_for(logged, seconds)
        return wait_for(told, seconds)[0]

    # ---- the end

    def secrets(self):
        """Every token and key of the configuration."""
        found = [self.key]
        for app in self.config["applications"].values():
            found += app["user_tokens"] + [one["token"] for one in app["instances"]]
        token = self.config.get("admin", {}).get("token")
        return found + ([token] if token else [])

    def check_secrets(self):
        said = [node.outputs() for node in [*self.nodes(), *self.ended]]
        said += [json.dumps(status) for status in self.statuses()]
        for secret in self.secrets():
            assert not [text for text in said if secret in text]

    def destroy(self):
        if self.relay:
            self.relay.close()
        for node in [*self.nodes(), *self.ended]:
            node.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_rest):
        try:
            if kind is None:
                self.check_secrets()
                self.stop(*list(self.running))
            else:
                for node in [*self.nodes(), *self.ended]:
                    print(f"--- the end of {node.error_path}\n{node.stderr()[-6000:]}")
        finally:
            self.destroy()
