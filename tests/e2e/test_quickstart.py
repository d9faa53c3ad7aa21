"""deploy/quickstart, as a person uses it, but with ports that the kernel picked."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time

import pytest

pytestmark = pytest.mark.slow

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
EXAMPLES = os.path.join(ROOT, "conf", "examples")
NAMES = ("quickstart-a.yaml", "quickstart-b.yaml")
LOGS = os.path.join(ROOT, "build", "quickstart")
STAYS = "Ctrl-C ends all of it."
SECONDS_MAX = 60  # it takes five; sanitizers and a machine that builds take longer


def free_ports(count):
    """Below those that the kernel gives to others meanwhile: the quickstart builds before it listens."""
    ports = []
    while len(ports) < count:
        port = random.randrange(12000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports += [port] if port not in ports else []
    return ports


def wait_for(condition, what):
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {SECONDS_MAX} s"
        time.sleep(0.02)


def is_running(pid):
    """False also for a process that has ended and is only waited for by nobody."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def command_of(pid):
    with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
        return file.read().replace("\0", " ")


class Quickstart:
    """One run of the script; as a context, ended and with what it left behind, too."""

    def __init__(self, folder, *arguments):
        texts = {}
        for name in NAMES:
            with open(os.path.join(EXAMPLES, name), encoding="utf-8") as file:
                texts[name] = file.read()
        old = list(dict.fromkeys(re.findall(r"(?:127\.0\.0\.1:|port: )(\d+)", "".join(texts.values()))))
        assert len(old) == 7, "of each node a listener and a port for the other, and three instances"
        listeners = re.findall(r"address: 127\.0\.0\.1:(\d+)", "".join(texts.values()))
        new = dict(zip(old, free_ports(len(old))))
        self.ports = [new[port] for port in listeners] + [
            new[port] for port in re.findall(r"port: (\d+)", texts[NAMES[0]])]   # the nodes', the instances'
        for name, text in texts.items():
            text = re.sub(r"(127\.0\.0\.1:|port: )(\d+)", lambda found: found[1] + str(new[found[2]]), text)
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        self.config = folder
        self.link = os.path.join(folder, "link")   # it is found through one, too
        os.symlink(os.path.join(ROOT, "deploy", "quickstart"), self.link)
        self.output_path = os.path.join(folder, "output")
        self.arguments = arguments
        self.process = None
        self.children = []

    def __enter__(self):
        with open(self.output_path, "w", encoding="utf-8") as output:
            # pytest ignores nothing, but a shell that started us in the background may have made
            # SIGINT ignored for all below it.
            self.process = subprocess.Popen(
                ["env", "--default-signal=HUP,INT,TERM", self.link, "--config", self.config, *self.arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(SECONDS_MAX)
        for pid in self.children:
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)

    def output(self):
        with open(self.output_path, encoding="utf-8") as file:
            return file.read()

    def wait_until_it_says(self, words):
        wait_for(lambda: words in self.output() or self.process.poll() is not None, "start")
        assert self.process.poll() is None, self.output()
        self.children = children_of(self.process.pid)

    def wait_until_it_stays(self):
        self.wait_until_it_says(STAYS)
        assert len(self.children) == 6

    def wait_for_exit(self):
        return self.process.wait(SECONDS_MAX)

    def assert_nothing_is_left(self):
        assert [pid for pid in self.children if is_running(pid)] == []
        for port in self.ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 1).close()


def test_once_shows_a_cluster_that_loses_nothing_and_ends(tmp_path):
    began = time.monotonic()
    with Quickstart(tmp_path, "--once") as run:
        assert run.wait_for_exit() == 0, run.output()
        text = run.output()
        run.assert_nothing_is_left()
    print(f"{time.monotonic() - began:.1f} s")
    assert len(re.findall(r"^HTTP/1\.1 200 ", text, re.M)) == 3 + 1
    assert re.findall(r"^X-Served-By: (\S+?)\s*$", text, re.M | re.I) == ["node-a", "node-b", "node-a"]
    served = re.findall(r"^X-Dify-Instance: (dify[123])\s*$", text, re.M | re.I)
    assert len(served) == 3 and len(set(served)) == 1   # one user, one instance, through whichever node
    assert '"answer"' in text
    assert '"event":"message_end"' in text.replace(" ", "")
    assert re.findall(r"^(node-\w) says: (\d+) requests in all, (\d) of 2 nodes alive$", text, re.M) == [
        ("node-a", "2", "2"), ("node-b", "2", "2"), ("node-a", "2", "1"), ("node-a", "3", "2"), ("node-b", "3", "2")]
    assert re.search(r"^node-b +\S+ +dead ", text, re.M)
    assert len(re.findall(r"\bdify[123] .*\bhealthy\b", text)) == 3   # in `difyring status`
    assert re.search(r"^quickstart: all went as it should: ", text.splitlines()[-1])
    # the second half
    assert text.count("HTTP/1.1 429 ") == 1 and re.search(r"^Retry-After: [1-9]\d*\s*$", text, re.M)
    assert '"code":"too_many_requests"' in text and "/status says: 2 queued" in text
    served = re.findall(r"^(\w+): 200 after (\d+\.\d+) s$", text, re.M)
    assert [user for user, _ in served] == ["alice", "bob", "carol"]
    # One after the other, two seconds each; who asked a little later than alice has waited a little less.
    assert sorted(round(float(seconds) / 2) for _, seconds in served) == [1, 2, 3]


def test_the_printed_curl_lines_work_when_repeated_and_the_key_is_nowhere(tmp_path):
    with Quickstart(tmp_path) as run:
        run.wait_until_it_stays()
        lines = [line for line in run.output().splitlines() if line.strip().startswith("curl ")]
        assert len(lines) == 10
        for line in lines:
            subprocess.run(["bash", "-c", line + " -f"], check=True, stdout=subprocess.DEVNULL,
                           timeout=SECONDS_MAX, cwd=ROOT)
        node = next(pid for pid in run.children if " run -c " in command_of(pid))
        with open(f"/proc/{node}/environ", encoding="utf-8") as file:
            key = re.search(r"DIFYRING_KEY=([^\0]+)", file.read())[1]
        assert len(key) == 44
        said = run.output() + "".join(command_of(pid) for pid in run.children)
        for name in os.listdir(LOGS):
            with open(os.path.join(LOGS, name), encoding="utf-8", errors="replace") as file:
                said += file.read()
        assert key not in said


@pytest.mark.parametrize("number, when", [(signal.SIGINT, STAYS), (signal.SIGTERM, "kill -9"),
                                          (signal.SIGHUP, "ready: ")])
def test_a_signal_ends_all_of_it(tmp_path, number, when):
    with Quickstart(tmp_path) as run:
        run.wait_until_it_says(when)
        run.process.send_signal(number)
        assert run.wait_for_exit() == 128 + number
        run.assert_nothing_is_left()


@pytest.mark.parametrize("which", ["dify_stub", " run -c "])
def test_the_end_of_one_process_ends_all_of_it(tmp_path, which):
    with Quickstart(tmp_path) as run:
        run.wait_until_it_stays()
        victim = next(pid for pid in run.children if which in command_of(pid))
        os.kill(victim, signal.SIGKILL)
        assert run.wait_for_exit() == 1
        assert " ended (" in run.output()
        run.assert_nothing_is_left()


@pytest.mark.parametrize("index", [0, 1, 3])
def test_a_taken_port_is_named(tmp_path, index):
    run = Quickstart(tmp_path, "--once")
    with socket.create_server(("127.0.0.1", run.ports[index])):
        with run:
            assert run.wait_for_exit() == 1
            assert f"port {run.ports[index]} is taken" in run.output()
