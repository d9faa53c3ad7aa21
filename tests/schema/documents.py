"""Configurations at random, as JSON (which is YAML), and what goes wrong with them.

The generator is our own, so that a seed gives the same documents with every Python."""
import copy
import json
import subprocess

HOUR = 3600


class Random:
    def __init__(self, seed):
        self.state = seed

    def below(self, end):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % end

    def of(self, items):
        return items[self.below(len(items))]

    def some(self, items, least=0):
        return [self.of(items) for _ in range(least + self.below(4))]

    def whole(self, least, most):
        return least + self.below(most - least + 1)

    def chance(self, percent):
        return self.below(100) < percent


def duration(r, least_ms, most_ms):
    ms = r.whole(least_ms, most_ms)
    return r.of([f"{ms}ms", f"{ms}ms", f"{ms // 1000 or 1}s", ms // 1000 + 1, least_ms and ms / 1000])


def size(r, least, most):
    number = r.whole(least, most)
    return r.of([number, f"{-(-number // 1024)}KiB" if number <= most - 1024 else number])


def boolean(r):
    return r.of([True, False])


def keys_of(r, percent, makers):
    """Some of the keys, each with a value of its maker."""
    return {key: make(r) for key, make in makers.items() if r.chance(percent)}


def words(*choices):
    return lambda r: r.of(choices)


def numbers(least, most):
    return lambda r: r.whole(least, most)


def durations(least, most):
    return lambda r: duration(r, least, most)


def sizes(least, most):
    return lambda r: size(r, least, most)


NAMES = ["dify1", "a.b", "_x-1", "N" * 64, "7", "customer_service"]
PATHS = ["/tmp", "relative/x.pem", "./stdot", "/etc/difyring/inside.pem", "/with \"quotes\" \\ and space"]
ADDRESSES = ["127.0.0.1:0", "[::1]:8182", "0.0.0.0:65535"]
HOSTS = ["10.0.0.1", "::1", "[fd00::1]", "dify1.default.svc.", "my_dify", "a"]
PEERS = ["node-b:7946", "10.0.0.2:7946", "[fd00::2]:1"]
KEYS = ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
SOURCES = ["header:X-User-ID", "query:a \"b\" \\", "cookie:user_id", "json:Größe", "form:user"]

TIMEOUTS = {key: durations(1, 24 * HOUR * 1000) for key in
            ("request_head", "request_body", "keepalive", "connect", "first_byte", "idle")}
LIMITS = {
    "connections": numbers(1, 1 << 20), "header_size": sizes(1024, 1 << 20), "headers": numbers(8, 1000),
    "uri_size": sizes(64, 1 << 20), "json_inspect": sizes(0, 1 << 30), "body_size": sizes(1, 1 << 40),
    "body_rate": sizes(0, 1 << 30), "spool_memory": sizes(0, 1 << 30), "spool_dir": words(*PATHS)}
LATER_LIMITS = {"spool_memory_all": sizes(0, 1 << 40)}   # drawn apart: all else stays as it was
HEALTH_CHECK = {
    "enabled": boolean, "token": boolean, "path": words("/", "/v1/parameters?a=\\b\"", "/x"),
    "interval": durations(10, 24 * HOUR * 1000), "timeout": durations(1, HOUR * 1000),
    "busy_timeout": durations(0, 24 * HOUR * 1000), "healthy_threshold": numbers(1, 1000),
    "unhealthy_threshold": numbers(1, 1000),
    "expect": lambda r: r.some([200, "200", "200-399", "401-401", 599], 1),
    "failure_statuses": lambda r: r.some([500, 502, 503, 504, 599])}
RETRIES = {"attempts": numbers(1, 16), "timeout": durations(1, 24 * HOUR * 1000),
           "statuses": lambda r: r.some([400, 429, 502, 503, 504])}
USER_ID = {"sources": lambda r: r.some(SOURCES, 1), "missing": words("balance", "reject")}
LOG_TARGET = words("stdout", "stderr", "off", False, *PATHS)


def cluster(r):
    return {"keys": r.some(KEYS, 1), **keys_of(r, 40, {
        "name": words(*NAMES), "bind": words(*ADDRESSES), "advertise": words(*PEERS),
        "join": lambda r: r.some(PEERS), "profile": words("lan", "wan", "local")})}


def vip(r):
    return {"address": r.of(["10.0.0.100/24", "10.0.0.100"]), "interface": r.of(["eth0", "bond0.12"]),
            **keys_of(r, 40, {
                "router_id": numbers(1, 255), "priority": numbers(1, 254),
                "advert_interval": words("100ms", 1, "40950ms"), "track_file": words("/run/x", "rel"),
                "peers": lambda r: r.some(["10.0.0.2", "10.0.0.3"])})}


def instance(r, index):
    tls = {"verify": boolean, "ca": words(*PATHS), "server_name": words(*HOSTS)}
    return {"name": f"{r.of(NAMES)[:50]}{index}", "host": r.of(HOSTS), "port": r.whole(1, 65535),
            "token": r.of(["app-\"\\x", 12, "x" * 512, "dataset-1"]), **keys_of(r, 30, {
                "tls": lambda r: r.of([True, False, keys_of(r, 50, tls)]), "weight": numbers(1, 1000),
                "max_fails": numbers(0, 1000000), "fail_timeout": durations(1, 24 * HOUR * 1000),
                "max_in_flight": numbers(0, 1000000)})}


def application(r, index):
    return {"user_tokens": [f"{r.of(['t', 'Ü', '~'][::2])}{index}-{i}" for i in range(1 + r.below(4))][::-1],
            "instances": [instance(r, i) for i in range(1 + r.below(3))], **keys_of(r, 30, {
                "algorithm": words("consistent_hash", "weighted_round_robin", "least_connections", "ip_hash"),
                "all_down": words("try_all", "fail"),
                "queue": lambda r: keys_of(r, 50, {"size": numbers(1, 100000),
                                                   "timeout": durations(1, HOUR * 1000)}),
                "health_check": lambda r: keys_of(r, 30, HEALTH_CHECK),
                "retries": lambda r: keys_of(r, 50, RETRIES),
                "user_id": lambda r: keys_of(r, 50, USER_ID)})}


def document(r):
    """A configuration that is right."""
    later = Random(r.state + 1)   # for keys that came later: what r gives stays what it was
    right = earlier(r)
    for entry in right["listen"]:
        entry.update(keys_of(later, 20, {"proxy_protocol": boolean}))
    if later.chance(20) or any(entry.get("proxy_protocol") for entry in right["listen"]):
        right["trusted_proxies"] = later.some(["10.0.0.0/8", "::1", "fd00::/8"], 1)
    if later.chance(20):
        right.setdefault("timeouts", {})["first_event"] = durations(0, 24 * HOUR * 1000)(later)
    return right


def quota(r, index):
    kind = r.of(["requests", "tokens", "concurrent"])
    every = {} if kind == "concurrent" else {"every": duration(r, 1000 * (index + 1), 30 * 24 * HOUR * 1000)}
    return {"per": r.of(["user", "token", "address", "application"]), kind: r.whole(1, 4 * 10**9), **every,
            **keys_of(r, 30, {"shadow": boolean})}


def unlike(quotas):
    """Without those that count what another one counts."""
    known, kept = set(), []
    for entry in quotas:
        shape = (entry["per"], *(key for key in entry if key not in ("per", "every", "shadow")))
        if shape not in known:
            kept.append(entry)
            known.add(shape)
    return kept


def newest(r):
    """The same with shared keys that came later: their canonical text is no older version's."""
    right = document(r)
    for application in right["applications"].values():
        application.update(keys_of(r, 30, {"client_gone": words("abort", "finish", "stop")}))
        for entry in application["instances"]:
            if isinstance(entry.get("tls"), dict) and r.chance(50):
                entry["tls"].update({"certificate": r.of(PATHS), "key": r.of(PATHS)})
        if r.chance(30):
            application["quotas"] = unlike([quota(r, i) for i in range(r.below(5))])
    return right


def earlier(r):
    certificates = lambda r: [{"certificate": "a.crt", "key": "/a.key"} for _ in range(1 + r.below(2))]
    return {
        "listen": [{"address": r.of(["127.0.0.1:0", "[::1]:0"]), **keys_of(r, 10, {"tls": certificates})}
                   for _ in range(1 + r.below(2))],
        "node": {"name": r.of(NAMES), **keys_of(r, 20, {"state_dir": words(*PATHS)})},
        "applications": {f"{r.of(NAMES)[:50]}{i}": application(r, i) for i in range(1 + r.below(3))},
        **keys_of(r, 30, {
            "workers": lambda r: r.of(["auto", r.whole(1, 256)]), "debug_headers": boolean,
            "limits": lambda r: {**keys_of(r, 40, LIMITS), **keys_of(Random(r.state), 40, LATER_LIMITS)},
            "timeouts": lambda r: keys_of(r, 40, {**TIMEOUTS, "drain": durations(0, 1000)}),
            "log": lambda r: keys_of(r, 50, {"access": LOG_TARGET, "error": LOG_TARGET,
                                             "level": words("debug", "info", "warning", "warn", "error")}),
            "admin": lambda r: keys_of(r, 50, {"allow": lambda r: r.some(["10.0.0.0/8", "::1", "fd00::/8"]),
                                               "token": words("", "secret")}),
            "cors": lambda r: {"origins": r.some(["*", "null", "https://a.example", "http://[::1]:80"])},
            "cluster": cluster, "vip": vip, "health_check": lambda r: keys_of(r, 40, HEALTH_CHECK),
            "retries": lambda r: keys_of(r, 50, RETRIES), "user_id": lambda r: keys_of(r, 60, USER_ID),
            "consistent_hash": lambda r: keys_of(r, 70, {"virtual_nodes": numbers(1, 1000)})})}


WRONG = [None, True, False, -1, 0, 1, 1.5, 70000, 100000, 10**9, "", "abc", "yes", "12", "0x10", "010", "5 minutes",
         "10m", "64KB", "2GiB", "a b", "..", "${DIFYRING_NOT_SET}", [], {}, [1], ["abc"], [None], {"a": 1},
         [[]], "x" * 600, "1.2.3.4:5", "stdot", "with\ttab", 400, 99, "300-200", "header:", "/"]


def places(node, found=None):
    """(container, key) of everything in it."""
    found = [] if found is None else found
    for key, value in (node.items() if isinstance(node, dict) else enumerate(node)):
        found.append((node, key))
        if isinstance(value, (dict, list)):
            places(value, found)
    return found


def misspell(r, key):
    at = r.below(len(key))
    return r.of([key[:at] + key[at + 1:], key[:at] + "x" + key[at:], key.upper(), key.replace("_", "-"), "zzz"])


def mutate(r, right):
    """A copy with one or two changes, most of them mistakes."""
    changed = copy.deepcopy(right)
    for _ in range(1 + r.chance(25)):
        container, key = r.of(places(changed))
        value = container[key]
        what = r.below(7)
        if what == 0 and isinstance(container, dict):  # misspelt, its place among the keys kept
            items = list(container.items())
            container.clear()
            for name, old in items:
                container[misspell(r, name) if name == key else name] = old
        elif what == 1:
            del container[key]
        elif what == 2 and isinstance(container, dict):
            container[r.of(["extra", "name", "timeout", "tls", "weight"])] = copy.deepcopy(r.of(WRONG))
        elif what == 3 and isinstance(value, (int, float)) and not isinstance(value, bool):
            container[key] = r.of([-value, value * 1000003, value + 0.5, str(value)])
        elif what == 4:
            container[key] = r.of([[copy.deepcopy(value)], {"value": copy.deepcopy(value)}])
        elif what == 5:
            other, name = r.of(places(changed))
            container[key] = copy.deepcopy(other[name])
        else:
            container[key] = copy.deepcopy(r.of(WRONG))
        if not changed:
            break
    return changed


def judge(probe, documents):
    """What tests/support/conf_probe.c makes of each: (True, canonical text) or (False, problems)."""
    texts = [text if isinstance(text, bytes) else json.dumps(text).encode() for text in documents]
    answer = subprocess.run([probe], input=b"".join(b"%d\n%s" % (len(text), text) for text in texts),
                            stdout=subprocess.PIPE, check=True, timeout=300).stdout
    verdicts, at = [], 0
    while at < len(answer):
        end = answer.index(b"\n", at)
        word, length = answer[at:end].split()
        at = end + 1 + int(length)
        verdicts.append((word == b"good", answer[end + 1:at].decode()))
    assert len(verdicts) == len(texts)
    return verdicts
