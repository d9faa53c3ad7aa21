"""What the tests of commands share: a good configuration, and what a failure looks like."""

import re

import pytest

SECRETS = ["SECRET-user", "SECRET-app", "SECRET-admin"]

GOOD = """\
listen:
  - address: 127.0.0.1:0
admin: { token: SECRET-admin }
applications:
  app:
    user_tokens: [SECRET-user]
    instances:
      - { name: a, host: 127.0.0.1, port: 1, token: SECRET-app-1 }
      - { name: b, host: 127.0.0.1, port: 2, token: SECRET-app-2, weight: 2 }
      - { name: c, host: 127.0.0.1, port: 3, token: SECRET-app-3 }
"""


def write(folder, text, name="node.yaml"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.fixture
def good(tmp_path):
    return write(tmp_path, GOOD)


def failed(result, code):
    """Nothing but one clear line on stderr, and this exit code."""
    assert (result.returncode, result.stdout) == (code, ""), result
    assert re.fullmatch(r"difyring.*: .+\n", result.stderr), result.stderr
    return result.stderr


def keeps_secrets(result):
    for secret in SECRETS:
        assert secret not in result.stdout + result.stderr
