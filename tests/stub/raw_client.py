"""A client that sees the bytes: sends exactly what it is told, reads heads, chunks and ends one by one."""

import json
import socket

TIMEOUT = 10   # seconds; a test that waits so long has failed


class Head:
    """A response head: status, version, headers (lower-case name -> last value), pairs in order, raw bytes."""

    def __init__(self, raw):
        self.raw = raw
        first, *lines = raw[:-4].decode("latin-1").split("\r\n")
        self.version, status, _ = (first + " ").split(" ", 2)
        self.status = int(status)
        self.pairs = [tuple(line.split(": ", 1)) for line in lines]
        self.headers = {name.lower(): value for name, value in self.pairs}


class Raw:
    """One TCP connection to (host, port) of a Stub or anything else."""

    def __init__(self, host, port, timeout=TIMEOUT):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()   # received, not yet taken

    @classmethod
    def to(cls, stub, **more):
        return cls(stub.host, stub.port, **more)

    def send(self, data):
        self.socket.sendall(data)
        return self

    def request(self, method, target, token=None, headers=(), body=None, json_body=None):
        """A well-formed request with Content-Length where there is a body."""
        lines = [f"{method} {target} HTTP/1.1", "Host: stub"]
        if token:
            lines.append(f"Authorization: Bearer {token}")
        if json_body is not None:
            body = json.dumps(json_body).encode()
            lines.append("Content-Type: application/json")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers]
        return self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def more(self):
        """Reads once; False at the end of the stream. Raises ConnectionResetError on RST."""
        data = self.socket.recv(65536)
        self.buffer += data
        return bool(data)

    def take(self, size):
        """Exactly so many bytes; EOFError when the stream ends before."""
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"ended {size - len(self.buffer)} bytes early")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def take_until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"ended before {mark!r}; had {self.buffer[:200]!r}")
        end = self.buffer.index(mark) + len(mark)
        return self.take(end)

    def head(self):
        return Head(self.take_until(b"\r\n\r\n"))

    def chunk(self):
        """The next chunk's bytes; b"" for the last one (its trailers are read too)."""
        size = int(self.take_until(b"\r\n").split(b";")[0], 16)
        if size:
            data = self.take(size)
            assert self.take(2) == b"\r\n"
            return data
        while self.take_until(b"\r\n") != b"\r\n":
            pass
        return b""

    def chunks(self):
        """All chunks up to the last one."""
        found = []
        while True:
            data = self.chunk()
            if not data:
                return found
            found.append(data)

    def body(self, head):
        """The body that `head` frames."""
        if head.headers.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks())
        if "content-length" in head.headers:
            return self.take(int(head.headers["content-length"]))
        if head.status in (204, 304):
            return b""
        return self.rest()

    def response(self):
        """(Head, body)"""
        head = self.head()
        return head, self.body(head)

    def rest(self):
        """Everything up to the end of the stream."""
        while self.more():
            pass
        return self.take(len(self.buffer))

    def ended(self):
        """Waits for the end: "fin" or "rst"; AssertionError when bytes come instead."""
        assert not self.buffer, self.buffer[:200]
        try:
            more = self.more()
        except ConnectionResetError:
            return "rst"
        assert not more, self.buffer[:200]
        return "fin"

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
