"""doc/MISTAKES.md holds: each mistake there is made in a file, and `difyring check` says what the page says.

`python3 tests/e2e/test_mistakes.py` writes the page's table anew.
"""

import base64
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BIN = os.path.abspath(os.environ.get("DIFYRING_BIN") or os.path.join(ROOT, "build/release/node/difyring"))
PAGE = os.path.join(ROOT, "doc", "MISTAKES.md")
ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.M)

GOOD = """\
listen:
  - address: 127.0.0.1:8282
applications:
  service:
    user_tokens: ["usertoken--v1"]
    instances:
      - name: dify1
        host: 10.0.0.1
        port: 80
        token: app-1
      - { name: dify2, host: 10.0.0.2, port: 80, token: app-2 }
  reports:
    user_tokens: ["usertoken--r1"]
    instances:
      - { name: dify1, host: 10.0.0.1, port: 80, token: app-3 }
"""
MORE = "cluster: { join: [\"10.0.0.12:7946\"], %s }\nnode: { name: a }\n"
VIP = ("node: { name: a }\nvip: { address: %s, interface: lo, router_id: %s, priority: 100, advert_interval: %s, peers: [10.0.0.12], "
       "track_file: /run/x }\n")


def change(old, new):
    assert old in GOOD, old
    return GOOD.replace(old, new, 1)


# What the page calls it: the file.
MISTAKES = {
    "a tab for the indent": change("      - name: dify1", "\t- name: dify1"),
    "a key that is one column off": change("        host: 10.0.0.1", "       host: 10.0.0.1"),
    "an application that stands too deep": change("  service:\n", "    service:\n"),
    "a section twice": GOOD + "log: { level: info }\nlog: { level: debug }\n",
    "a quote that is not closed": change('["usertoken--v1"]', '["usertoken--v1]'),
    "two documents (`---`)": GOOD + "---\n" + GOOD,
    "a mark of a merge (`<<<<<<<`)": GOOD + "<<<<<<< HEAD\n",
    "line ends of Windows, and a byte order mark (taken)": b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode(),
    "a list where a mapping belongs": change("  service:\n    user_tokens", "  service:\n  - user_tokens"),
    "`::1:8282` without quotes": change("  - address: 127.0.0.1:8282", "  - { address: ::1:8282 }"),
    "`address: 8282`": change("127.0.0.1:8282", "8282"),
    "`address: \"[::1]\"`": change("127.0.0.1:8282", '"[::1]"'),
    "`address: localhost:8282`": change("127.0.0.1:8282", "localhost:8282"),
    "an instance without `token`": change("        token: app-1\n", ""),
    "an application without `user_tokens`": change('    user_tokens: ["usertoken--v1"]\n', ""),
    "an instance's name twice": change("name: dify2", "name: dify1"),
    "an instance twice, under two names": change("host: 10.0.0.2, port: 80, token: app-2", "host: 10.0.0.1, port: 80, token: app-1"),
    "a key twice": change("        port: 80\n", "        port: 80\n        port: 81\n"),
    "a user token of two applications": change("usertoken--r1", "usertoken--v1"),
    "`port: \"80\"`": change("        port: 80\n", '        port: "80"\n'),
    "`port: http`": change("        port: 80\n", "        port: http\n"),
    "`port: 70000`": change("        port: 80\n", "        port: 70000\n"),
    "`weight: 0`": change("        port: 80\n", "        port: 80\n        weight: 0\n"),
    "`weight: 1.5`": change("        port: 80\n", "        port: 80\n        weight: 1.5\n"),
    "`log: { level: warn }` (taken)": GOOD + "log: { level: warn }\n",
    "`log: { level: verbose }`": GOOD + "log: { level: verbose }\n",
    "`instnaces:`": change("    instances:", "    instnaces:"),
    "`user_token:`": change("    user_tokens: [\"usertoken--v1\"]", "    user_token: [\"usertoken--v1\"]"),
    "`healthcheck:`": GOOD + "healthcheck: { enabled: true }\n",
    "`apps:`": change("applications:", "apps:"),
    "`health_check: { fall: 3 }`": GOOD + "health_check: { fall: 3 }\n",
    "`algorithm: round_robin`": change("  service:\n", "  service:\n    algorithm: round_robin\n"),
    "`${NAME}` that is not set": change("token: app-1\n", 'token: "${DIFY_NOWHERE}"\n'),
    "`$NAME` without braces": change("token: app-1\n", 'token: "$DIFY_TOKEN"\n'),
    "`${NAME:-x}`": change("token: app-1\n", 'token: "${NAME:-x}"\n'),
    "`${NAME}` in `{ }` without quotes": change("token: app-2 }", "token: ${NAME} }"),
    "a key file that is missing": GOOD + MORE % "key_file: /nowhere/cluster.key",
    "a key that is none": GOOD + MORE % 'keys: ["abc"]',
    "a cluster without a key": GOOD + "node: { name: a }\ncluster: { join: [\"10.0.0.12:7946\"] }\n",
    "`interval: 5sec`": GOOD + "health_check: { interval: 5sec }\n",
    "`body_size: 100MB`": GOOD + "limits: { body_size: 100MB }\n",
    "`connections: 10k`": GOOD + "limits: { connections: 10k }\n",
    "`timeouts: { connect: -1s }`": GOOD + "timeouts: { connect: -1s }\n",
    "one address twice": change("  - address: 127.0.0.1:8282\n", "  - address: 127.0.0.1:8282\n  - address: 127.0.0.1:8282\n"),
    "`host: http://10.0.0.1`": change("        host: 10.0.0.1", "        host: http://10.0.0.1"),
    "`host: 10.0.0.300`": change("        host: 10.0.0.1", "        host: 10.0.0.300"),
    "`host: 10.0.0.1:80`": change("        host: 10.0.0.1", "        host: 10.0.0.1:80"),
    "`advertise: 0.0.0.0:7946`": GOOD + MORE % ('advertise: "0.0.0.0:7946", keys: ["' + "A" * 43 + '="]'),
    "a token with a space": change('["usertoken--v1"]', '["usertoken v1"]'),
    "`user_tokens: x`, no list": change('["usertoken--v1"]', "usertoken--v1"),
    "`token: \"Bearer app-1\"`": change("token: app-1\n", 'token: "Bearer app-1"\n'),
    "curly quotes": change('["usertoken--v1"]', "[“usertoken--v1”]"),
    "an empty file": "",
    "a file in UTF-16": GOOD.encode("utf-16"),
    "a Chinese name": change("  service:", "  客服:"),
    "a full-width colon": change("        port: 80\n", "        port： 80\n"),
    "`x-base: &a`, a habit of compose": "x-base: &a { interval: 5s }\n" + GOOD,
    "`enabled: 1`": GOOD + "health_check: { enabled: 1 }\n",
    "`router_id: 300`": GOOD + VIP % ("10.0.0.100/24", 300, "100ms"),
    "`advert_interval: 55ms`": GOOD + VIP % ("10.0.0.100/24", 51, "55ms"),
    "`0.0.0.0/0` may do everything": GOOD + "admin: { allow: [0.0.0.0/0] }\n",
    "`client_gone: stop` and a budget of tokens": change("  service:\n", "  service:\n    client_gone: stop\n    quotas: [{ per: application, tokens: 9, every: 1d }]\n"),
    "two Difys with keys for data sets": change("token: app-1\n", "token: dataset-1\n").replace("token: app-2", "token: dataset-2"),
    "a queue that nobody waits in": change("  service:\n", "  service:\n    state: shared\n    queue: { size: 9 }\n"),
    "a queue longer than clients wait": change("  service:\n", "  service:\n    queue: { timeout: 2m }\n"),
}


# At the prompt, with a good file and no node that runs: the exit code is part of what is said.
PROMPT = {
    "a command misspelt": ["staus"],
    "an option misspelt": ["reload", "--dryrun"],
    "a file without `-c`": ["check", "node.yaml"],
    "a folder for a file": ["check", "-c", "."],
    "a file that is not there": ["check", "-c", "nod.yaml"],
    "a named pipe for a file": ["reload", "-c", "pipe"],
    "a device for a file": ["check", "-c", "/dev/zero"],
    "a URL without `-u`": ["status", "http://10.0.0.11:82"],
    "a URL without `http://`": ["status", "-u", "10.0.0.11:82"],
    "a URL with a path": ["status", "-u", "http://10.0.0.11:82/status"],
    "IPv6 without brackets": ["status", "-u", "http://::1:82"],
    "a password in the URL": ["status", "-u", "http://admin:secret@10.0.0.11:82"],
    "a node that does not run": ["status", "-u", "http://127.0.0.1:1"],
    "the same, from monitoring": ["status", "--check", "-u", "http://127.0.0.1:1"],
    "`drain` of nothing": ["drain"],
    "`drain` of an application": ["drain", "customer_service"],
    "`--hold` without `--now`": ["drain", "--hold", "5s", "customer_service/dify1"],
    "`forget` of nobody": ["forget"],
    "`config` without a word": ["config", "dif"],
    "an application that is not there": ["ring", "-c", "node.yaml", "--app", "servce"],
    "a pipe to `run`": ["run", "-c", "-"],
}


def said_at_prompt(words):
    with tempfile.TemporaryDirectory(prefix="difyring-mistake-") as folder:
        with open(os.path.join(folder, "node.yaml"), "w", encoding="utf-8") as file:
            file.write(GOOD)
        os.mkfifo(os.path.join(folder, "pipe"))
        result = subprocess.run([BIN, *words], capture_output=True, text=True, check=False, timeout=60, cwd=folder, input=GOOD)
    said, *more = (result.stderr + result.stdout).splitlines()
    assert len(more) <= 1, more   # the file is told first, then that the command needs it
    return f"`{' '.join(words)}`", said, result.returncode


def prompt_table():
    return [f"| {name}: {typed} | {cell(said)} | {code} |"
            for name, (typed, said, code) in ((name, said_at_prompt(words)) for name, words in PROMPT.items())]


def said_of(text):
    """(exit code, what `check` says about the mistake: the first message, without its place)."""
    with tempfile.TemporaryDirectory(prefix="difyring-mistake-") as folder:
        path = os.path.join(folder, "node.yaml")
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        result = subprocess.run([BIN, "check", "-c", path], capture_output=True, text=True, check=False, timeout=60)
    lines = [line for line in (result.stderr + result.stdout).splitlines() if line.startswith(path + ":")]
    wanted = [line for line in lines if "state_dir" not in line and ": note: " not in line]
    wanted.sort(key=lambda line: "is missing in" in line)   # what it is called instead is said first
    assert "usertoken--" not in result.stdout + result.stderr and "app-1" not in result.stdout + result.stderr
    if not wanted:
        return result.returncode, "is valid"
    place, _, message = wanted[0][len(path) + 1:].partition(": ")
    assert re.fullmatch(r"\d+(:\d+)?", place), wanted[0]
    return result.returncode, message


def cell(text):
    return text.replace("|", "\\|")


def table():
    rows = []
    for name, text in MISTAKES.items():
        code, message = said_of(text)
        rows.append(f"| {cell(name)} | {cell(message)}{'' if code else ' (exit 0)'} |")
    return rows


def test_each_mistake_is_told_as_the_page_says():
    with open(PAGE, encoding="utf-8") as file:
        written = [line for line in file.read().splitlines() if ROW.match(line)][1:]
    assert [line for line in written if not re.search(r" \| \d \|$", line)] == table() + ["| at the prompt | it says | exit |"]
    assert [line for line in written if re.search(r" \| \d \|$", line)] == prompt_table()


def checked_here(path, text, mode=0o600):
    """(exit code, output) of `check --host`."""
    path.write_text(text)
    path.chmod(mode)
    result = subprocess.run([BIN, "check", "--host", "-c", str(path)], capture_output=True, text=True, check=False, timeout=60)
    assert result.stderr == ""
    return result.returncode, result.stdout


def test_check_with_host_looks_at_this_machine(tmp_path):
    """Warnings: the node starts all the same."""
    path = tmp_path / "node.yaml"
    good = GOOD.replace("127.0.0.1:8282", "127.0.0.1:0") + f"node: {{ name: a, state_dir: {tmp_path}/new/state }}\n"
    code, text = checked_here(path, good)
    assert code == 0 and "warning: " not in text, text
    vip = good.replace("node: {", "vip: { address: 192.0.2.9/24, interface: %s, router_id: 1, priority: 1, peers: [192.0.2.8], track_file: /run/x }\nnode: {")
    key = tmp_path / "cluster.key"
    key.write_text(base64.b64encode(bytes(32)).decode())
    key.chmod(0o640)
    cluster = f"cluster: {{ bind: \"%s:7946\", key_file: {key}, join: [\"%s:7946\"] }}\n"
    open_folder = tmp_path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    for text, said in (
            (good.replace("127.0.0.1:0", "192.0.2.7:8282"), "this machine does not have the address 192.0.2.7"),
            (vip % "eth-none", "`vip.interface`: this machine has no interface eth-none"),
            ((vip % "lo").replace("/run/x", f"{path}/x"), f"`vip.track_file` ({path}/x): this user may not write into {path}"),
            (good.replace("host: 10.0.0.2", "host: nowhere.invalid"), "the name nowhere.invalid of `dify2` does not resolve"),
            (good + cluster % ("127.0.0.1", "nowhere.invalid"), "`cluster.join`: the name nowhere.invalid does not resolve"),
            (good.replace("token: app-2", "token: app-..."), "the token of `dify2` looks like an example's"),
            (good + f"log: {{ access: {open_folder}/access.log }}\n", f"`log.access`: every user of this host may write into {open_folder}"),
            (good.replace(f"{tmp_path}/new/state", str(open_folder)), f"`node.state_dir`: every user of this host may write into {open_folder}"),
            (good + "timeouts: { drain: 5m }\n", "`timeouts.drain` is longer than the ")):
        code, out = checked_here(path, text)
        assert code == 0 and said in out, (said, out)
        assert ":0:0: " not in out, out   # each says where
    assert "192.0.2.9" not in checked_here(path, (vip % "lo").replace("127.0.0.1:0", "192.0.2.9:82"))[1]   # keepalived brings that one
    assert "drain" not in checked_here(path, good + "timeouts: { drain: 90s }\n")[1]
    open_folder.chmod(0o1777)   # as /tmp: nobody can replace another's files
    assert "may write" not in checked_here(path, good.replace(f"{tmp_path}/new/state", str(open_folder)))[1]


def test_check_with_host_says_who_can_read_secrets(tmp_path):
    path, key = tmp_path / "node.yaml", tmp_path / "cluster.key"
    key.write_text(base64.b64encode(bytes(32)).decode())
    text = GOOD + f"cluster: {{ bind: \"127.0.0.1:7946\", key_file: {key} }}\n"
    for mode, told in ((0o600, False), (0o640, False), (0o644, True), (0o604, True)):
        key.chmod(mode)
        assert ("can read `key_file`" in checked_here(path, text)[1]) == told, oct(mode)
    for mode, told in ((0o640, False), (0o644, True)):
        assert ("can read this file" in checked_here(path, GOOD, mode)[1]) == told, oct(mode)
    assert "can change this file" in checked_here(path, GOOD, 0o602)[1]


def test_check_with_host_refuses_what_run_refuses_here(tmp_path):
    """Exit 0 only for what `run` accepts: on this machine, for this user."""
    path = tmp_path / "node.yaml"
    good = GOOD.replace("127.0.0.1:8282", "127.0.0.1:0")
    key = base64.b64encode(bytes(32)).decode()
    for more, said in (
            ("log: { access: /nowhere/access.log }", "`log.access` (/nowhere/access.log): the folder /nowhere is missing"),
            ("log: { error: /nowhere/error.log }", "`log.error` (/nowhere/error.log): the folder /nowhere is missing"),
            (f"node: {{ state_dir: {path} }}", "is not a folder"),
            (f"node: {{ state_dir: {path}/below }}", f"`node.state_dir` ({path}/below)"),
            (f"cluster: {{ bind: \"192.0.2.7:7946\", keys: [\"{key}\"] }}", "`cluster.bind`: this machine does not have the address 192.0.2.7")):
        code, out = checked_here(path, good + more + "\n")
        ran = subprocess.run([BIN, "run", "-c", str(path)], capture_output=True, text=True, check=False, timeout=60)
        told, = [line for line in out.splitlines() if said in line]
        assert ":0:0: " not in told
        assert (code, ran.returncode) == (1, 1) and ": warning: " not in told and "is valid" not in out, (more, out, ran)
    # what is there and is another user's; root without its right to write everything is a user like others
    (tmp_path / "kept").mkdir(mode=0o500)
    (tmp_path / "kept.log").touch(mode=0o400)
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "--"] if os.geteuid() == 0 else []
    for more, said in ((f"node: {{ state_dir: {tmp_path}/kept }}", f"`node.state_dir` ({tmp_path}/kept): this user may not write it: Permission"),
                       (f"log: {{ access: {tmp_path}/kept.log }}", f"`log.access` ({tmp_path}/kept.log): this user may not write it: Permission")):
        path.write_text(good + more + "\n")
        here, ran = (subprocess.run([*plain, BIN, *words, "-c", str(path)], capture_output=True, text=True, check=False, timeout=60)
                     for words in (["check", "--host"], ["run"]))
        assert (here.returncode, ran.returncode) == (1, 1) and said in here.stdout, (here, ran)


if __name__ == "__main__":
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    head, _, tail = page.partition("|---|---|\n")
    rest = tail[tail.index("\n\n"):tail.index("|---|---|---|\n")]
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(head + "|---|---|\n" + "\n".join(table()) + rest + "|---|---|---|\n" + "\n".join(prompt_table()) + "\n")
    sys.exit(0)
