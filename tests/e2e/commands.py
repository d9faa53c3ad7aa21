"""What the tests of commands share: a good configuration, and what a failure looks like."""

import contextlib
import re
import socket
import threading

import pytest

from harness import TIMEOUT

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


@contextlib.contextmanager
def server(answer, seen=None):
    """(URL) of something that reads one request's head, keeps it in `seen`, answers these bytes and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)

        def serve():
            with contextlib.suppress(OSError), listener.accept()[0] as peer:
                peer.settimeout(TIMEOUT)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += peer.recv(4096)
                if seen is not None:
                    seen.append(request.decode())
                peer.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread.join()
