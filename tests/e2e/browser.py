"""A headless Chromium, steered over its DevTools protocol. Standard library only.

    with Browser() as browser:
        browser.open(url, dark=True)
        browser.wait('document.title.includes("x")')
"""

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import urllib.request

from harness import PATIENCE, TIMEOUT
from stub_client import wait_for

CHROMIUM = shutil.which("chromium")
SWITCHES = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0"]


class Browser:
    """One page of a browser of its own. `complaints`: what the page's script threw, and what the browser refused it."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="difyring-browser-")
        self.process = subprocess.Popen([CHROMIUM, *SWITCHES, f"--user-data-dir={self.folder}", "about:blank"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.complaints, self.number, self.socket = [], 0, None
        try:
            self.connect(wait_for(self.debugger_port, 3 * TIMEOUT))
            for domain in ("Page", "Runtime", "Log"):
                self.call(domain + ".enable")
        except BaseException:
            self.close()
            raise

    def debugger_port(self):
        try:
            with open(os.path.join(self.folder, "DevToolsActivePort"), encoding="ascii") as file:
                return int(file.readline())
        except (OSError, ValueError):
            return None

    def connect(self, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=TIMEOUT) as answer:
            page = next(page for page in json.load(answer) if page["type"] == "page")
        path = page["webSocketDebuggerUrl"].split(str(port), 1)[1]
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)

    # ---- WebSocket (RFC 6455): whole text messages

    def read(self, size):
        found = b""
        while len(found) < size:
            more = self.socket.recv(size - len(found))
            assert more, "the browser has gone"
            found += more
        return found

    def receive(self):
        message = b""
        while True:
            first, size = self.read(2)
            size &= 0x7F
            if size >= 126:
                size = int.from_bytes(self.read(2 if size == 126 else 8), "big")
            message += self.read(size)
            if first & 0x80:
                return json.loads(message)

    def send(self, text):
        data, mask = text.encode(), os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + struct.pack(">H", len(data))
        self.socket.sendall(b"\x81" + size + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data)))

    def call(self, method, **params):
        self.number += 1
        self.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(answer["params"])

    # ---- a page

    def open(self, url, width=1200, height=900, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self.wait(f'document.readyState === "complete" && location.href === "{url}"')

    def value(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression, seconds=3 * TIMEOUT):
        return wait_for(lambda: self.value(expression), seconds, 0.1)

    def text(self):
        return self.value("document.body.innerText")

    def screenshot(self, path):
        """The whole page, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def close(self):
        if self.socket:
            self.socket.close()
        self.process.terminate()
        self.process.wait(60 * PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
