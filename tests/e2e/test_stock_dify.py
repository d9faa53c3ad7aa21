"""What is the default, and what stands in conf/examples, is right before a Dify as it comes."""

import glob
import os
import re
import subprocess

import pytest
from harness import ROOT, Node, run_command, settings
from stub_client import Stub, start_stubs
from test_metrics import udp_ports

EXAMPLES = sorted(glob.glob(os.path.join(ROOT, "conf", "examples", "*.yaml")))
VERSIONS = ["1.13.0", "1.16.0"]
PLACES = 10   # connections that a Dify as it comes serves at a time
SOON = {"health_check": {"interval": "50ms"}}   # all else is the default
ENTRY = re.compile(r"port: (\d+).*?token: ([\w-]+)", re.S)


@pytest.mark.parametrize("version", VERSIONS)
def test_default_checks_find_a_stock_dify_healthy_and_its_dead_database(version):
    with Stub("dify1", connections=PLACES, version=version) as stub, Node(settings([stub], **SOON)) as node:
        node.wait_instance("dify1", status="healthy", eligible=True)
        stub.database(False)
        node.wait_instance("dify1", status="unhealthy")
        stub.database(True)
        node.wait_instance("dify1", status="healthy", eligible=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_default_checks_find_a_token_that_the_instance_does_not_know(version):
    stubs = start_stubs("dify1", "dify2", tokens=["app-new"], connections=PLACES, version=version)
    try:
        stubs[0].token = "app-of-another-instance"
        with Node(settings(stubs, **SOON)) as node:
            node.wait_instance("dify1", status="unhealthy")
            node.wait_instance("dify2", status="healthy")
    finally:
        for stub in stubs:
            stub.stop()


def entries_of(text):
    """{port: [tokens of the instances there]}; what two-applications merges in (`<<: *dify1`) counts, too."""
    found = {}
    for port, token in ENTRY.findall(text):
        found.setdefault(port, []).append(token)
    anchors = dict(re.findall(r"&(\w+) \{.*?port: (\d+)", text))
    for anchor, token in re.findall(r"<<: \*(\w+), token: ([\w-]+)", text):
        found[anchors[anchor]].append(token)
    return found


def with_files(text, folder):
    """Does what the example says to make the files that it names; they are in `folder` then."""
    block = re.search(r"in this folder:\n((?:#   .*\n)+)", text)
    if block:
        commands = block[1].replace("#   ", "")
        subprocess.run(["sh", "-ec", commands], cwd=folder, check=True, capture_output=True, timeout=60)
    return re.sub(r"(?<=: )([\w-]+\.(?:crt|key))\b", rf"{folder}/\1", text)


@pytest.mark.parametrize("path", EXAMPLES, ids=os.path.basename)
def test_an_example_runs_before_stock_difys_and_its_checks_are_good(path, tmp_path):
    with open(path, encoding="utf-8") as file:
        text = with_files(file.read(), tmp_path)
    stubs = {port: Stub(f"on-{port}", tokens=tokens, connections=PLACES) for port, tokens in entries_of(text).items()}
    try:
        text = re.sub(r"\bport: (\d+)", lambda found: f"port: {stubs[found[1]].port}", text)
        text = re.sub(r"^  - address: \S+", '  - address: "127.0.0.1:0"', text, flags=re.M)
        text = re.sub(r"^  bind: \S+", f"  bind: 127.0.0.1:{udp_ports(1)[0]}", text, flags=re.M)
        text = re.sub(r"^log:(\n .*)+|^log: .*", "", text, flags=re.M)   # the harness reads it from files
        text = re.sub(r"\binterval: \d+s", "interval: 100ms", text)
        if "\nhealth_check:" not in text:
            text += "health_check: { interval: 100ms }\n"
        text += 'log: { access: access.log, error: stderr }\n'
        with Node(text, env={"DIFYRING_KEY": run_command("keygen").stdout.strip()}) as node:
            for app, found in node.status()["applications"].items():
                for name in found["instances"]:
                    node.wait_instance(name, app=app, status="healthy", eligible=True)
            for token in re.findall(r'user_tokens:\s*(?:\[|- )"?([\w-]+)', text):
                assert node.request("GET", "/v1/parameters?user=u", token=token)[0].status == 200
    finally:
        for stub in stubs.values():
            stub.stop()
