"""The command line of SPEC §1 but for `run`: what each command prints, its exit code, its errors."""

import base64
import hashlib
import json
import os
import re
import shlex
import subprocess

import pytest

from commands import GOOD, failed, good, keeps_secrets, write  # noqa: F401 (good is a fixture)
from harness import BIN, ROOT, TIMEOUT, Node, ring_points, run_command

COMMANDS = ["run", "check", "ring", "status", "explain", "drain", "enable", "reload", "config", "forget", "vrrp-config",
            "vip-guard", "vip-relay", "keygen", "version"]
NEED_CONFIG = ["run", "check", "ring", "vrrp-config"]
EXAMPLES = [os.path.join(ROOT, "conf", "examples", name) for name in
            ("full.yaml", "quickstart-a.yaml", "quickstart-b.yaml", "two-applications.yaml",
             "behind-a-balancer.yaml", "slots.yaml", "quotas.yaml")]
PROBLEM = re.compile(r"^(?P<file>.+?):(?P<line>\d+):(?P<column>\d+): (?P<message>.+)$")

WEIGHTS = {"a": 1, "b": 2, "c": 1}


# ---- usage

@pytest.mark.smoke
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_everywhere_on_standard_output(option):
    result = run_command(option)
    assert (result.returncode, result.stderr) == (0, "")
    for command in COMMANDS:
        assert re.search(rf"^ +{command} ", result.stdout, re.M)
        own = run_command(command, option)
        assert (own.returncode, own.stderr) == (0, ""), command
        assert own.stdout.startswith(f"usage: difyring {command}") and "--help" in own.stdout


def test_no_command_is_bad_usage_and_lists_them():
    result = run_command()
    assert (result.returncode, result.stdout) == (2, "")
    assert all(command in result.stderr for command in COMMANDS)


@pytest.mark.parametrize("word", ["serve", "", "-x", "--versoin"])
def test_an_unknown_command_is_bad_usage(word):
    failed(run_command(word), 2)


@pytest.mark.parametrize("option", ["-h", "--help", "help"])
def test_help_has_help_too(option):
    assert run_command("help", option).stdout == run_command("-h").stdout != ""
    assert run_command("help", option).returncode == 0


def test_the_man_page_names_every_command_and_option():
    with open(os.path.join(ROOT, "deploy", "man", "difyring.8"), encoding="utf-8") as file:
        page = file.read().replace("\\-", "-")
    commands = re.findall(r"^  ([a-z-]+) ", run_command("help").stdout, re.M)
    assert len(commands) > 14
    for command in commands:
        assert re.search(rf"^\.B .*\b{command}\b", page, re.M), command
        for option in re.findall(r"^ +(?:-\w, |    )?--([a-z-]+)", run_command(*command.split(), "-h").stdout, re.M):
            assert option in ("help", "config", "url") or f"--{option}" in page, (command, option)


def test_what_the_shells_complete_is_made_of_the_help():
    made = subprocess.run([os.path.join(ROOT, "deploy", "make_completion"), "--check", BIN], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout


@pytest.mark.parametrize("written, meant", [("staus", "status"), ("rnu", "run"), ("hlep", "help"),
                                            ("--verison", "--version"), ("--hepl", "--help")])
def test_a_mistyped_command_gets_the_nearest_one(written, meant):
    assert f"did you mean `{meant}`?" in failed(run_command(written), 2)


@pytest.mark.parametrize("hold", ["xx", "-5", "25h", ""])
def test_a_hold_that_is_no_duration_is_bad_usage(hold):
    assert "--hold is a duration up to 24h" in failed(run_command("drain", "--now", "--hold", hold, "a/b"), 2)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("words", [["--nonsense"], ["-Z"], ["word", "another"]])
def test_unknown_options_and_arguments_are_bad_usage(command, words):
    assert f"difyring {command} -h" in failed(run_command(command, *words), 2)


def rows_of_the_contract():
    """{command: options} of the table in doc/SPEC.md §1, without what is not built yet."""
    with open(os.path.join(ROOT, "doc", "SPEC.md"), encoding="utf-8") as file:
        text = file.read()
    missing = re.findall(r"^- `([a-z]+) (--[a-z-]+)`", text[:text.index("## 1. Command line")], re.M)
    found, last = {}, None
    for row in re.findall(r"^\| (`difyring .*?) \| ", text, re.M):
        for part in re.findall(r"`([^`]+)`", row):
            words = part.replace("difyring ", "").split()
            last = words[0] if re.fullmatch(r"[a-z][a-z-]*", words[0]) else last
            found.setdefault(last, set()).update(re.findall(r"--[a-z-]+", part))
    return {command: {option for option in options if (command, option) not in missing} for command, options in found.items()}


def test_every_command_and_option_of_the_contract_is_there():
    rows = rows_of_the_contract()
    assert set(rows) >= set(COMMANDS) - {"vip-guard", "vip-relay"} | {"help"} and "--format" in rows["check"], rows
    for command, options in rows.items():
        if command not in ("help", "version"):
            text = run_command(command, "-h").stdout
            assert [option for option in options if f"{option}" not in text] == [], command


def test_the_value_of_a_wrong_option_is_not_repeated():
    result = run_command("status", "--token=SECRET-admin")
    assert "--token" in failed(result, 2)
    keeps_secrets(result)


@pytest.mark.parametrize("command", NEED_CONFIG)
@pytest.mark.parametrize("words", [[], ["-c"], ["--config"]])
def test_a_missing_configuration_is_bad_usage(command, words):
    failed(run_command(command, *words), 2)


@pytest.mark.skipif(os.geteuid() != 0, reason="a folder is mounted")
def test_without_a_file_the_machine_s_own_is_meant(tmp_path):
    """In a namespace of its own, whose /etc has one."""
    (tmp_path / "difyring").mkdir()
    (tmp_path / "difyring" / "difyring.yaml").write_text(GOOD)
    command = f"mount --bind {tmp_path} /etc && exec {BIN} check"
    result = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, check=False)
    assert (result.returncode, without_notes(result.stdout)) == (0, "/etc/difyring/difyring.yaml is valid\n"), result


def test_ring_without_an_application_is_bad_usage(good):
    assert "--app" in failed(run_command("ring", "-c", good), 2)


def test_output_that_cannot_be_written_is_a_failure(good):
    with open("/dev/full", "wb") as full:
        for arguments in (["version"], ["keygen"], ["check", "-c", good], ["-h"],
                          ["ring", "-c", good, "--app", "app"]):
            code, errors = run_with_output(full, *arguments)
            assert code == 1, arguments
            assert re.fullmatch(r"difyring: cannot write [^\n]*\n", errors), errors


def run_with_output(file, *arguments):
    result = subprocess.run([*shlex.split(os.environ.get("DIFYRING_WRAP", "")), BIN, *arguments], stdout=file,
                            stderr=subprocess.PIPE, text=True, timeout=TIMEOUT, check=False)
    return result.returncode, result.stderr


# ---- version, keygen

def test_version_names_difyring_and_every_library():
    result = run_command("version")
    assert (result.returncode, result.stderr) == (0, "")
    versions = dict(line.split(" ") for line in result.stdout.splitlines())
    assert {"difyring", "libuv", "llhttp", "OpenSSL", "protobuf-c", "libyaml", "jansson"} == set(versions)
    assert all(re.fullmatch(r"\d+\.\d+(\.\d+)?\S*", version) for version in versions.values()), versions
    assert result.stdout.startswith("difyring ")


def test_each_key_is_new_and_has_32_bytes():
    keys = [run_command("keygen").stdout for _ in range(5)]
    assert all(re.fullmatch(r"[A-Za-z0-9+/]{43}=\n", key) for key in keys), keys
    assert {len(base64.b64decode(key, validate=False)) for key in keys} == {32}
    assert len(set(keys)) == 5


def test_a_new_key_is_one_that_the_configuration_takes(tmp_path):
    key = run_command("keygen").stdout.strip()
    path = write(tmp_path, GOOD + f'cluster: {{ keys: ["{key}"] }}\n')
    result = run_command("check", "-c", path)
    assert result.returncode == 0, result.stdout
    assert key not in result.stdout + result.stderr


# ---- check

def without_notes(text):
    """What `check` has decided for the reader (`state: auto`) is neither a problem nor a warning."""
    return "".join(line for line in text.splitlines(keepends=True) if ": note: " not in line)


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_are_valid(path):
    key = run_command("keygen").stdout.strip()   # two of them want one
    result = run_command("check", "-c", path, env={**os.environ, "DIFYRING_KEY": key})
    assert (result.returncode, without_notes(result.stdout), result.stderr) == (0, f"{path} is valid\n", "")


def test_every_problem_has_its_place(tmp_path):
    text = GOOD.replace("admin:", "adnim:").replace("port: 2", "port: 99999").replace("weight: 2", "weight: heavy")
    path = write(tmp_path, text)
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr) == (1, "")
    found = [PROBLEM.match(line).groupdict() for line in result.stdout.splitlines()]
    lines = text.splitlines()
    expected = [(number + 1, line.index(word) + 1) for word in ("adnim", "99999", "heavy")
                for number, line in enumerate(lines) if word in line]
    assert [(int(one["line"]), int(one["column"])) for one in found] == expected
    assert {one["file"] for one in found} == {path}
    keeps_secrets(result)


BAD_FILES = {
    "empty": b"", "binary": bytes(range(256)) * 64, "nul": GOOD.encode() + b"\0", "open quote": b'listen: "',
    "a list": b"- 1\n- 2\n", "a number": b"7\n", "cut off": GOOD.encode()[:-20], "latin1": GOOD.encode() + b"# \xe4\n",
    "deep": b"[" * 5000, "huge": b"# " + b"x" * (5 << 20), "tab": b"listen:\n\t- address: 127.0.0.1:0\n",
    "duplicate": GOOD.encode() + b"workers: 1\nworkers: 2\n", "unset": GOOD.replace("SECRET-admin", "${NOT_SET_HERE}").encode(),
    "secret as number": GOOD.replace("port: 1", "port: SECRET-app-1").encode(),
    "secret as key": GOOD.replace("weight:", "weigth:").encode(),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_told_in_clear_lines(tmp_path, name):
    path = write(tmp_path, BAD_FILES[name])
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr) == (1, ""), result
    assert result.stdout
    for line in result.stdout.splitlines():
        found = PROBLEM.match(line)
        assert found and found["file"] == path, line
    keeps_secrets(result)


@pytest.mark.parametrize("command", ["run", "ring"])
def test_other_commands_tell_the_same_problems_on_standard_error(tmp_path, command):
    path = write(tmp_path, GOOD.replace("admin:", "adnim:"))
    more = ["--app", "app"] if command == "ring" else []
    result = run_command(command, "-c", path, *more)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{path}:3:1: " in result.stderr
    assert run_command("check", "-c", path).stdout.strip().split(": ", 1)[1] in result.stderr
    keeps_secrets(result)


def test_files_that_cannot_be_read_say_why(tmp_path):
    for path, why in ((tmp_path / "none.yaml", "No such file"), (tmp_path, "directory"), ("/dev/null", "regular")):
        result = run_command("check", "-c", str(path))
        assert (result.returncode, result.stderr) == (1, "")
        assert result.stdout.startswith(f"{path}:0:0: ") and why in result.stdout, result.stdout


def test_a_short_token_is_a_warning_here_and_in_the_log(tmp_path):
    text = GOOD.replace("SECRET-user", "qqq")
    path = write(tmp_path, text)
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr) == (0, "")
    warning, last = without_notes(result.stdout).splitlines()
    assert warning.startswith(f"{path}:5:") and "warning: 1 of the user tokens of `app`" in warning
    assert last == f"{path} is valid" and "qqq" not in result.stdout
    with Node(text) as node:
        event, = node.events("config_unwise")
        assert event["level"] == "warning" and event["line"] == 5 and "qqq" not in node.stderr()


def test_check_speaks_json_to_programs(tmp_path):
    path = write(tmp_path, GOOD)
    result = run_command("check", "-c", path, "--format", "json")
    value = json.loads(result.stdout)
    assert (result.returncode, value["valid"], value["errors"]) == (0, True, [])
    assert not value["warnings"]
    path = write(tmp_path, GOOD + "\nhealth_check: { interval: 1s, timeout: 5s }\n")   # no fault: no reload warns of it either
    value = json.loads(run_command("check", "-c", path, "--format", "json").stdout)
    assert not value["warnings"] and [note for note in value["notes"] if "longer than `interval`" in note["message"]], value
    text = run_command("check", "-c", path, "--format=text").stdout
    assert len(value["warnings"]) == text.count(": warning: ") and len(value["notes"]) == text.count(": note: ")
    path = write(tmp_path, GOOD + "\nnobody: knows\nnor: this\n")
    result = run_command("check", "--format", "json", "-c", path)
    value = json.loads(result.stdout)
    assert (result.returncode, value["valid"], len(value["errors"])) == (1, False, 2)
    lines = [f"{e['file']}:{e['line']}:{e['column']}: {e['message']}" for e in value["errors"]]
    assert lines == run_command("check", "-c", path).stdout.splitlines()
    assert "did you mean `json`" in failed(run_command("check", "-c", path, "--format", "jsn"), 2)


def test_check_is_content_with_a_good_file(tmp_path):
    path = write(tmp_path, GOOD)
    result = run_command("check", "-c", path)
    assert (result.returncode, result.stderr, without_notes(result.stdout)) == (0, "", f"{path} is valid\n")


def test_commands_read_a_pipe(tmp_path):
    result = run_command("check", "-c", "/dev/stdin", input=GOOD)
    assert (result.returncode, without_notes(result.stdout)) == (0, "/dev/stdin is valid\n")
    result = run_command("check", "-c", "-", input=GOOD)
    assert (result.returncode, without_notes(result.stdout)) == (0, "/dev/stdin is valid\n")
    assert "a\t1\t160" in run_command("ring", "-c", "-", "--app", "app", input=GOOD).stdout
    result = run_command("check", "-c", "/dev/stdin", input="#" * (16 * 1024 * 1024 + 1))
    assert (result.returncode, result.stdout) == (1, "/dev/stdin:0:0: the configuration cannot be read: is too large\n")
    assert "is not a regular file" in run_command("check", "-c", "/dev/null").stdout
    result = run_command("run", "-c", "-", input=GOOD)   # that could not be read again
    assert result.returncode == 1 and "is a pipe, and a node reads its file again" in result.stderr


def test_no_command_waits_for_what_is_no_file(tmp_path):
    """A named pipe that nobody writes to, a folder, a device, a file of 50 GB: one line at once, and what to do."""
    good, fifo, huge = write(tmp_path, GOOD), str(tmp_path / "fifo"), str(tmp_path / "huge")
    os.mkfifo(fifo)
    with open(huge, "wb") as file:
        file.truncate(50 * 1024 ** 3)
    says = {fifo: "is a named pipe: name a file, or give its text to standard input (`-c -`)", huge: "is too large",
            str(tmp_path): "is a directory, not a file", "/dev/zero": "is not a regular file"}
    commands = [["check", "-c"], ["vrrp-config", "-c"], ["ring", "--app", "app", "-c"], ["ring", "--app", "app", "-c", good, "--was"],
                ["status", "-c"], ["reload", "-c"], ["config", "diff", "-c"], ["config", "show", "-c"], ["forget", "x", "-c"],
                ["drain", "--node", "-c"], ["explain", "-c"]]
    for path, words in says.items():
        for command in commands:
            result = run_command(*command, path)
            assert result.returncode == 1 and words in result.stdout + result.stderr, (command, path, result)
    result = run_command("run", "-c", fifo)   # it would be read again at a reload
    assert result.returncode == 1 and "a node reads its file again" in result.stderr
    with open(good, "rb") as file:   # a shell's `<(...)` is a pipe without a name
        shell = subprocess.run(["bash", "-c", f"exec {BIN} check -c <(cat)"], stdin=file, capture_output=True, text=True,
                               timeout=TIMEOUT, check=False)
    assert shell.returncode == 0 and " is valid" in shell.stdout, shell


def test_a_word_too_many_may_have_been_meant_for_an_option(tmp_path):
    good = write(tmp_path, GOOD)
    for command in ["check"], ["ring"], ["status"], ["reload"], ["config", "diff"], ["vrrp-config"]:
        assert f"did you mean `-c {good}`?" in failed(run_command(*command, good), 2), command
    assert "did you mean `-u http://127.0.0.1:1`?" in failed(run_command("status", "http://127.0.0.1:1"), 2)
    assert "did you mean" not in failed(run_command("check", str(tmp_path / "none")), 2)
    assert "did you mean" not in failed(run_command("keygen", good), 2)


# ---- ring

def tables(result):
    """(rows of instances, rows of users) without their titles."""
    assert result.returncode == 0, result.stderr
    keeps_secrets(result)
    first, _, second = result.stdout.partition("\n\n")
    instances, users = [[line.split("\t") for line in part.splitlines()] for part in (first, second)]
    assert instances[0] == ["instance", "weight", "points", "share", "state"]
    assert not users or users[0] == ["user", "instance", "key"]
    return instances[1:], users[1:]


def key_of(app, user):
    data = user if isinstance(user, bytes) else user.encode()
    return int.from_bytes(hashlib.sha256(app.encode() + b":" + data).digest()[:8], "big")


def place(points, key, eligible):
    """SPEC §3, word for word: the first point at or after the key whose instance is eligible."""
    for value, name in [point for point in points if point[0] >= key] + points:
        if name in eligible:
            return name
    return "-"


def exact_shares(points, eligible):
    left = [point for point in points if point[1] in eligible]
    shares = dict.fromkeys(WEIGHTS, 0)
    for index, (value, name) in enumerate(left):
        shares[name] += (value - left[index - 1][0]) % 2**64
    return {name: share / 2**64 for name, share in shares.items()}


@pytest.mark.parametrize("down", [[], ["a"], ["a", "c"]])
def test_ten_thousand_users_land_where_the_specification_says(good, down):
    users = [f"user-{i}" if i % 3 else f"ユーザー {i}@例" for i in range(10000)]
    points = ring_points(WEIGHTS)
    eligible = set(WEIGHTS) - set(down)
    words = [word for name in down for word in ("--down", name)]
    result = run_command("ring", "-c", good, "--app", "app", "--user", "-", *words, input="\n".join(users) + "\n")
    instances, rows = tables(result)
    assert rows == [[user, place(points, key_of("app", user), eligible), f"{key_of('app', user):016x}"]
                    for user in users]
    shares = exact_shares(points, eligible)
    assert instances == [[name, str(weight), str(160 * weight), f"{shares[name]:.6f}",
                          "down" if name in down else "up"] for name, weight in WEIGHTS.items()]


def test_with_one_instance_down_only_its_users_move(good):
    users = "\n".join(f"u{i}" for i in range(3000))
    arguments = ["ring", "-c", good, "--app", "app", "--user", "-"]
    before = tables(run_command(*arguments, input=users))[1]
    after = tables(run_command(*arguments, "--down", "b", input=users))[1]
    assert len(before) == len(after) == 3000
    for (user, old, _), (again, new, _) in zip(before, after):
        assert user == again and new != "b"
        assert new == old or old == "b"


def test_users_are_printed_in_the_order_given(good):
    rows = tables(run_command("ring", "-c", good, "--app", "app", "--user", "z", "--user", "-", "--user", "a b",
                              input="m\n\nn"))[1]
    assert [row[0] for row in rows] == ["z", "m", "n", "a b"]   # an empty line is no user


def test_without_users_there_is_one_table(good):
    result = run_command("ring", "-c", good, "--app", "app")
    assert len(tables(result)[0]) == 3 and "user" not in result.stdout


def test_all_down_is_honoured(tmp_path):
    everything = [word for name in WEIGHTS for word in ("--down", name)]
    for setting, served in (("try_all", True), ("fail", False)):
        path = write(tmp_path, GOOD.replace("    instances:", f"    all_down: {setting}\n    instances:"))
        instances, rows = tables(run_command("ring", "-c", path, "--app", "app", "--user", "x", *everything))
        assert {row[4] for row in instances} == {"down"}
        assert (sum(float(row[3]) for row in instances) > 0.99) == served
        wanted = place(ring_points(WEIGHTS), key_of("app", "x"), set(WEIGHTS) if served else set())
        assert rows[0][1] == wanted


def test_virtual_nodes_are_those_of_the_file(tmp_path):
    path = write(tmp_path, GOOD + "consistent_hash: { virtual_nodes: 7 }\n")
    users = [f"u{i}" for i in range(500)]
    instances, rows = tables(run_command("ring", "-c", path, "--app", "app", "--user", "-", input="\n".join(users)))
    assert [row[2] for row in instances] == ["7", "14", "7"]
    points = ring_points(WEIGHTS, 7)
    assert [row[1] for row in rows] == [place(points, key_of("app", user), set(WEIGHTS)) for user in users]


def test_unknown_names_come_with_the_known_ones(good):
    application = failed(run_command("ring", "-c", good, "--app", "nope"), 1)
    assert "`nope`" in application and application.rstrip().endswith(" app")
    instance = failed(run_command("ring", "-c", good, "--app", "app", "--down", "zz"), 1)
    assert "`zz`" in instance and instance.rstrip().endswith("a, b, c")


def test_an_algorithm_without_a_ring_is_told(tmp_path):
    path = write(tmp_path, GOOD.replace("    instances:", "    algorithm: least_connections\n    instances:"))
    result = run_command("ring", "-c", path, "--app", "app", "--user", "x")
    assert "warning" in result.stderr and len(tables(result)[1]) == 1


@pytest.mark.parametrize("user", ["", "two\nlines"])
def test_ids_that_no_request_has_are_bad_usage(good, user):
    failed(run_command("ring", "-c", good, "--app", "app", "--user", user), 2)


# ---- ring --was

def moves(result):
    """{(from, to): (share, users)} of the last table."""
    assert result.returncode == 0, result.stderr
    keeps_secrets(result)
    rows = [line.split("\t") for line in result.stdout.rpartition("\n\n")[2].splitlines()]
    assert rows[0] == ["from", "to", "share", "users"]
    return {(old, new): (float(share), int(users)) for old, new, share, users in rows[1:]}


def exact_moves(before, after):
    """Shares by the points themselves: each arc between two neighbours of both rings."""
    values = sorted({value for value, _ in before + after})
    names = {*before, *after}
    owners = [{value: place(ring, value, {name for _, name in names}) for value in values} for ring in (before, after)]
    found = {}
    for index, value in enumerate(values):
        pair = (owners[0][value], owners[1][value])
        if pair[0] != pair[1]:
            found[pair] = found.get(pair, 0) + (value - values[index - 1]) % 2**64 / 2**64
    return found



@pytest.mark.parametrize("change", ["added", "weight", "renamed"])
def test_was_tells_who_moves_from_where_to_where(tmp_path, change):
    now = {"added": {**WEIGHTS, "d": 1}, "weight": {**WEIGHTS, "a": 3},
           "renamed": {("z" if name == "a" else name): weight for name, weight in WEIGHTS.items()}}[change]
    names = {}
    for label, weights in (("was", WEIGHTS), ("is", now)):
        instances = "".join(f"      - {{ name: {name}, host: 10.0.0.1, port: {5000 + i}, token: app-{i}, weight: {weight} }}\n"
                            for i, (name, weight) in enumerate(weights.items()))
        path = tmp_path / f"{label}.yaml"
        path.write_text(f"listen: [{{ address: '127.0.0.1:0' }}]\nconsistent_hash: {{ virtual_nodes: 16 }}\n"
                        f"applications:\n  app:\n    user_tokens: [t-1234]\n    instances:\n{instances}")
        names[label] = str(path)
    users = [f"u{i}" for i in range(2000)]
    result = run_command("ring", "-c", names["is"], "--was", names["was"], "--app", "app", "--user", "-",
                         input="\n".join(users))
    before, after = ring_points(WEIGHTS, 16), ring_points(now, 16)
    wanted = exact_moves(before, after)
    told = moves(result)
    share, count = told.pop(("*", "*"))
    assert {pair: value[0] for pair, value in told.items()} == {
        pair: pytest.approx(value, abs=1e-6) for pair, value in wanted.items()}
    assert share == pytest.approx(sum(wanted.values()), abs=1e-6)
    rows = [line.split("\t") for line in result.stdout.split("\n\n")[1].splitlines()]
    assert rows[0] == ["user", "instance", "key", "was"] and len(rows) == 2001
    for user, instance, key, was in rows[1:]:
        assert (place(before, int(key, 16), set(WEIGHTS)), place(after, int(key, 16), set(now))) == (was, instance)
    assert count == sum(row[1] != row[3] for row in rows[1:]) == sum(value[1] for value in told.values())
    if change == "added":
        assert {new for _, new in told} == {"d"}   # nobody else moves


def test_was_of_the_same_file_moves_nobody(good):
    assert moves(run_command("ring", "-c", good, "--was", good, "--app", "app")) == {("*", "*"): (0.0, 0)}


def test_was_needs_the_same_application(good, tmp_path):
    other = write(tmp_path, GOOD.replace("  app:", "  another:"), "other.yaml")
    assert "no application `app`" in failed(run_command("ring", "-c", good, "--was", other, "--app", "app"), 1)
    assert "--was" not in run_command("ring", "-c", good, "--app", "app").stderr
