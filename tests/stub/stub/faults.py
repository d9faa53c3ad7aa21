"""Everything that an instance can do wrong to a response, one coroutine a kind.

A fault is set on the control port and is applied to the next requests that match it.  A coroutine gets the
connection, the request, the reply that would have been right, and its parameters.
"""

import asyncio
import time
from contextlib import aclosing

from . import http
from .connection import wire_pieces

FLUSH_WAIT = 0.02   # between bytes and a reset, so that the peer has read them first
MATCH_KEYS = {"kind", "count", "skip", "match", "method"}


async def accept_reset(_connection, _request, _reply, _p):
    """Applied by the listener: accepted, then reset before a byte is read."""


async def reset_before_head(connection, _request, _reply, _p):
    connection.reset()


async def close_before_head(connection, _request, _reply, _p):
    connection.close()


async def reset_after_head(connection, request, reply, _p):
    async with aclosing(wire_pieces(request, reply)) as pieces:
        async for kind, data in pieces:
            await connection.send(data)
            if kind == "head":
                break
    await asyncio.sleep(FLUSH_WAIT)
    connection.reset()


async def cut_stream(connection, request, reply, p):
    """After `events` body pieces, or in the middle after `bytes` bytes of the body as on the wire."""
    events_left = p["events"] if p["bytes"] is None else None
    bytes_left = p["bytes"]
    async with aclosing(wire_pieces(request, reply)) as pieces:
        async for kind, data in pieces:
            if kind in ("body", "end"):
                if events_left == 0 or bytes_left == 0 or kind == "end":
                    break
                if events_left is not None:
                    events_left -= 1
                else:
                    data = data[:bytes_left]
                    bytes_left -= len(data)
            await connection.send(data)
            if (events_left == 0 or bytes_left == 0) and kind == "body":
                break
    if p["reset"]:
        await asyncio.sleep(FLUSH_WAIT)
        connection.reset()
    else:
        connection.close()


async def cut_length(connection, request, reply, p):
    """Announces `extra` bytes more than it sends."""
    body = await whole_body(reply)
    reply.length = len(body)
    await connection.send(http.reply_head(reply, request, len(body) + p["extra"]))
    await connection.send(body)
    connection.close()


async def stall(connection, seconds):
    """For ever (until the client leaves) or for so many seconds."""
    if seconds is None:
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(seconds)


async def stall_before_head(connection, request, reply, p):
    await stall(connection, p["seconds"])
    await connection.send_reply(request, reply)


async def stall_after_head(connection, request, reply, p):
    async with aclosing(wire_pieces(request, reply)) as pieces:
        async for kind, data in pieces:
            await connection.send(data)
            if kind == "head":
                await stall(connection, p["seconds"])


async def stall_mid_body(connection, request, reply, p):
    """After `bytes` bytes of the body as on the wire; default: half of its first piece."""
    left, stalled = p["bytes"], False
    async with aclosing(wire_pieces(request, reply)) as pieces:
        async for kind, data in pieces:
            if kind == "body" and not stalled:
                left = len(data) // 2 if left is None else left
                if left <= len(data):
                    await connection.send(data[:left])
                    await stall(connection, p["seconds"])
                    data, stalled = data[left:], True
                else:
                    left -= len(data)
            if data:
                await connection.send(data)


async def status(connection, request, _reply, p):
    """nginx's HTML page by default, as the nginx in front of a dead api container answers."""
    code = p["code"]
    if p["body"] is None:
        title = f"{code} {http.REASONS.get(code, 'Unknown').title()}"
        body = (f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
                "<hr><center>nginx/1.27.4</center>\r\n</body>\r\n</html>\r\n").encode()
    else:
        body = p["body"].encode()
    headers = [("Content-Type", p["content_type"])]
    if p["retry_after"] is not None:
        headers.append(("Retry-After", str(p["retry_after"])))
    if p["encoding"]:
        headers.append(("Content-Encoding", p["encoding"]))
    request.record.status = code
    await connection.send_reply(request, http.Reply(code, headers, body))


async def garbage(connection, _request, _reply, p):
    await connection.send(p["data"].encode("latin-1"))
    connection.close()


_BASE = b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nContent-Type: application/json\r\n"
_HUGE = _BASE + b"X-Huge: " + b"h" * 1024 * 1024 + b"\r\n"
_MANY = _BASE + b"".join(b"X-Many-%d: m\r\n" % i for i in range(5000))


def _length(body):
    return b"Content-Length: %d\r\n" % len(body)


# variant -> makes the whole wrong response of a body (its head is one that no client may accept)
BAD_HEADS = {
    "two_lengths": lambda body: _BASE + _length(body) + b"Content-Length: %d\r\n\r\n" % (len(body) + 7) + body,
    "length_and_chunked": lambda body: (_BASE + _length(body) + b"Transfer-Encoding: chunked\r\n\r\n"
                                        + http.chunk(body) + b"0\r\n\r\n"),
    "nul": lambda body: _BASE + b"X-Nul: a\0b\r\n" + _length(body) + b"\r\n" + body,
    "huge": lambda body: _HUGE + _length(body) + b"\r\n" + body,
    "many": lambda body: _MANY + _length(body) + b"\r\n" + body,
    "bad_chunk_size": lambda body: _BASE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + body + b"\r\n0\r\n\r\n",
    "bad_length": lambda body: _BASE + b"Content-Length: 12abc\r\n\r\n" + body,
    "space_colon": lambda body: _BASE + b"X-Space : a\r\n" + _length(body) + b"\r\n" + body,
    "obs_fold": lambda body: _BASE + b"X-Fold: a\r\n b\r\n" + _length(body) + b"\r\n" + body,
    "bare_lf": lambda body: (_BASE + _length(body)).replace(b"\r\n", b"\n") + b"\n" + body,
    "cr_cr": lambda body: _BASE.replace(b"200 OK\r\n", b"200 OK\r\r") + _length(body) + b"\r\n" + body,
    "cr_in_head": lambda body: _BASE + b"X-Cr: a\rX-B: b\r\n" + _length(body) + b"\r\n" + body,
    "cr_in_chunk_size": lambda body: (_BASE + b"Transfer-Encoding: chunked\r\n\r\n%x\r\r" % len(body) + body
                                      + b"\r\n0\r\n\r\n"),
    "bad_status": lambda body: _BASE.replace(b"200", b"2x0") + _length(body) + b"\r\n" + body,
    "bad_version": lambda body: _BASE.replace(b"HTTP/1.1", b"HTTP/9.9") + _length(body) + b"\r\n" + body,
    "unasked_101": lambda body: (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"
                                 + body),
    "extra_bytes": lambda body: (_BASE + _length(body) + b"\r\n" + body
                                 + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"),
}


async def bad_head(connection, _request, reply, p):
    await connection.send(BAD_HEADS[p["variant"]](await whole_body(reply)))
    if p["close"]:
        connection.close()


async def slow_bytes(connection, request, reply, p):
    """`per` bytes of the response, head and body, each `ms` milliseconds."""
    step = p["per"]
    async with aclosing(wire_pieces(request, reply)) as pieces:
        async for _kind, data in pieces:
            for at in range(0, len(data), step):
                await connection.send(data[at:at + step])
                await asyncio.sleep(p["ms"] / 1000)


async def slow_read(connection, request, reply, _p):
    """The reading was slowed when the head came (see `begin_slow_read`); the answer is the right one."""
    connection.read_limit = None
    connection.resume()
    await connection.send_reply(request, reply)


def begin_slow_read(connection, p):
    """From the head on: `per` bytes each `ms`.  What came in the head's own read is already here."""
    connection.read_limit = (p["per"], p["ms"] / 1000)
    connection.transport.pause_reading()
    asyncio.get_running_loop().call_later(p["ms"] / 1000, connection.resume)


async def early_close_idle(connection, request, reply, p):
    """Says keep-alive, and closes right after the response (or `ms` later)."""
    await connection.send_reply(request, reply)
    request.record.finished, request.record.ended_mono = True, time.monotonic()
    if p["ms"]:
        await asyncio.sleep(p["ms"] / 1000)
    if p["reset"]:
        await asyncio.sleep(FLUSH_WAIT)
        connection.reset()
    else:
        connection.close()


async def whole_body(reply):
    if type(reply.body) is bytes:
        return reply.body
    return b"".join([data async for data in reply.body])


KINDS = {   # kind -> (coroutine, parameters with their defaults)
    "accept_reset": (accept_reset, {}),
    "reset_before_head": (reset_before_head, {}),
    "close_before_head": (close_before_head, {}),
    "reset_after_head": (reset_after_head, {}),
    "cut_stream": (cut_stream, {"events": 2, "bytes": None, "reset": False}),
    "cut_length": (cut_length, {"extra": 100}),
    "stall_before_head": (stall_before_head, {"seconds": None}),
    "stall_after_head": (stall_after_head, {"seconds": None}),
    "stall_mid_body": (stall_mid_body, {"seconds": None, "bytes": None}),
    "status": (status, {"code": 502, "body": None, "content_type": "text/html", "retry_after": None,
                        "encoding": None}),
    "garbage": (garbage, {"data": "\x16\x03\x01\x00\x05 this is not HTTP\r\n\r\n"}),
    "bad_head": (bad_head, {"variant": "two_lengths", "close": True}),
    "slow_bytes": (slow_bytes, {"ms": 2, "per": 1}),
    "slow_read": (slow_read, {"per": 1024, "ms": 10}),
    "early_close_idle": (early_close_idle, {"ms": 0, "reset": False}),
}


MOMENTS = {"accept_reset": "accept", "slow_read": "head"}   # all others: when the request is complete


class Fault:
    """One entry of the list: what, for which requests, how often."""

    def __init__(self, ident, wish):
        """`wish` is the control request's JSON object. Raises ValueError with a text for people."""
        self.kind = wish.get("kind")
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r}; known: refuse, {', '.join(KINDS)}")
        self.coroutine, defaults = KINDS[self.kind]
        unknown = set(wish) - MATCH_KEYS - set(defaults)
        if unknown:
            raise ValueError(f"{self.kind} has no parameter {', '.join(sorted(unknown))}; it has: "
                             f"{', '.join(sorted(MATCH_KEYS | set(defaults)))}")
        self.parameters = {name: wish.get(name, default) for name, default in defaults.items()}
        if self.kind == "bad_head" and self.parameters["variant"] not in BAD_HEADS:
            raise ValueError(f"unknown variant; known: {', '.join(sorted(BAD_HEADS))}")
        self.id = ident
        self.count_left = wish.get("count", 1)   # None: until cleared
        self.skip_left = wish.get("skip", 0)
        self.match = wish.get("match") or ""
        self.method = wish.get("method")

    def as_dict(self):
        return {"id": self.id, "kind": self.kind, "count": self.count_left, "skip": self.skip_left,
                "match": self.match, "method": self.method, **self.parameters}

    def run(self, connection, request, reply):
        """Called once a request: a coroutine that writes, or does not write, the response."""
        return self.coroutine(connection, request, reply, self.parameters)


class FaultList:
    """The faults in force, oldest first; the first that matches is applied."""

    def __init__(self, journal):
        self.journal = journal
        self.faults = []
        self.next_id = 1

    def add(self, wish):
        fault = Fault(self.next_id, wish)
        self.next_id += 1
        self.faults.append(fault)
        return fault

    def clear(self):
        self.faults.clear()

    def take(self, moment, request=None):
        """The fault for this request at this moment ("accept", "head" or "reply"), counted; or None."""
        for fault in self.faults:
            if MOMENTS.get(fault.kind, "reply") != moment:
                continue
            if request and (fault.match not in request.target or fault.method not in (None, request.method)):
                continue
            if fault.skip_left:
                fault.skip_left -= 1
                continue
            if fault.count_left is not None:
                fault.count_left -= 1
                if fault.count_left <= 0:
                    self.faults.remove(fault)
            self.journal.count_fault(fault.kind)
            if request:
                request.record.fault = fault.kind
            return fault
        return None
