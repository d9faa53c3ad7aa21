"""deploy/dify-migrate without Docker: how it changes an instance's host in a configuration's text. What it does with
containers is in tests/migrate."""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys

import pytest
from harness import run_command

TOOL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "dify-migrate")
TEXT = """\
# dify1 at 10.0.0.1 stands in comments, too
listen: [ { address: "127.0.0.1:0" } ]
applications:
  other:
    user_tokens: [u-other]
    instances:
    - { name: dify1, host: 10.0.0.1, port: 81, token: t-other-1 }
    - { name: dify2, host: 10.0.0.2, port: 81, token: t-other-2 }
  one:
    user_tokens: [u-one]
    instances:
      - { name: dify1, host: 10.0.0.1, port: 80, token: t-one-1 }   # moves
      - name: dify2
        # host: 10.0.0.9
        host: 10.0.0.1
        port: 80
        token: "t-one-2"
        tls: { verify: true, server_name: dify1 }
      - name: dify3
        token: t-one-3
        port: 81
        host: "10.0.0.1"

      - {name: "dify4", "host": "10.0.0.1", "port": 81, token: t-one-4, tls: {verify: true}}
health_check: { path: /v1/info }
"""


@pytest.fixture(scope="module")
def tool():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("dify_migrate", TOOL)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("dify_migrate", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(("entry", "port", "lines"), [
    (("one", "dify1"), 80, ["      - { name: dify1, host: new.example, port: 8080, token: t-one-1 }   # moves"]),
    (("one", "dify2"), 80, ["        host: new.example", "        port: 8080"]),
    (("one", "dify3"), 81, ["        port: 8080", '        host: "new.example"']),
    (("one", "dify4"), 81, ['      - {name: "dify4", "host": "new.example", "port": 8080, token: t-one-4, tls: {verify: true}}']),
    (("other", "dify1"), 81, ["    - { name: dify1, host: new.example, port: 8080, token: t-other-1 }"])])
def test_one_entry_changes_and_nothing_else(tool, tmp_path, entry, port, lines):
    old, new = ("10.0.0.1", port), ("new.example", 8080)
    changed = tool.change_host(TEXT, entry, old, new)
    assert [line for line in changed.splitlines() if line not in TEXT.splitlines()] == lines
    back = tool.change_host(changed, entry, new, old)
    assert back == TEXT
    path = tmp_path / "node.yaml"
    path.write_text(changed)
    assert run_command("check", "-c", str(path)).returncode == 0


@pytest.mark.parametrize(("entry", "host"), [(("one", "dify9"), "10.0.0.1"), (("none", "dify1"), "10.0.0.1"),
                                             (("one", "dify1"), "10.0.0.2"), (("other", "dify3"), "10.0.0.1")])
def test_what_is_not_there_is_refused(tool, entry, host):
    with pytest.raises(tool.Trouble, match="not found"):
        tool.change_host(TEXT, entry, (host, 80), ("new", 80))
    with pytest.raises(tool.Trouble, match="no port 82"):
        tool.change_host(TEXT, ("one", "dify1"), ("10.0.0.1", 82), ("new", 80))


def test_an_address_of_version_6_is_quoted(tool):
    assert 'host: "fd00::1"' in tool.change_host(TEXT, ("one", "dify1"), ("10.0.0.1", 80), ("fd00::1", 80))
    assert tool.host_and_port("[fd00::1]:81") == ("fd00::1", 81) and tool.host_and_port("a.b") == ("a.b", 80)


def test_usage():
    for words, status in ((["-h"], 0), (["cutover", "-h"], 0), (["cutover", "/none"], 2), (["rollback", "-h"], 0), (["clean", "-h"], 0)):
        assert subprocess.run([sys.executable, TOOL, *words], capture_output=True, check=False).returncode == status, words
