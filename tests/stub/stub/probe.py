"""Routes that Dify has not and tests need: /v1/_echo and its like. The token is asked for as everywhere."""

import asyncio
import base64
import hashlib
import json
import struct
import time

from .http import Reply, chunk, reply_head
from .service import JSON_TYPE, ApiError, at_head, json_reply, route

ECHO_BODY_MAX = 64 * 1024   # bodies up to this come back as text
PATTERN_PERIOD = 65521      # a prime: no piece size shares its period, so misplaced pieces always show
WS_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"   # RFC 6455 §1.3


def bad_argument(text):
    return ApiError(400, "invalid_param", text)


def number(args, name, default, kind=int):
    try:
        value = kind(args.get(name, default))
    except ValueError:
        raise bad_argument(f"{name} must be a number") from None
    if value < 0:
        raise bad_argument(f"{name} must not be negative")
    return value


def echo_value(instance, request):
    small = request.body_size <= ECHO_BODY_MAX
    return {"method": request.method, "target": request.target, "version": f"HTTP/1.{request.minor}",
            "headers": request.headers, "body_size": request.body_size,
            "body_sha256": request.digest.hexdigest(),
            "body": request.body.decode("utf-8", "replace") if small else None,
            # half a surrogate pair is no text that can be sent
            "user": request.user and request.user.encode("utf-8", "replace").decode(),
            "connection_id": request.connection_id, "request_number_on_connection": request.number,
            "instance": instance.name}


@route("*", "/v1/_echo", user="any")
@route("*", "/v1/_echo/*", user="any")
def echo(instance, request):
    return json_reply(echo_value(instance, request))


def pattern(seed):
    """One period of the deterministic bytes."""
    return hashlib.shake_128(str(seed).encode()).digest(PATTERN_PERIOD)


async def pattern_pieces(size, piece, seed, interval):
    period = pattern(seed)
    period += period
    at = 0
    while at < size:
        want = min(piece, size - at)
        start = at % PATTERN_PERIOD
        yield (period * (want // PATTERN_PERIOD + 1))[start:start + want]
        at += want
        if interval:
            await asyncio.sleep(interval)


@route("GET POST", "/v1/_bytes", user="any")
def sized(_instance, request):
    args = request.query_args()
    size = number(args, "size", 0)
    piece = max(1, number(args, "piece", 65536))
    body = pattern_pieces(size, piece, args.get("seed", "0"), number(args, "interval", 0, float))
    headers = [("Content-Type", "application/octet-stream")]
    if args.get("close") == "1":
        return Reply(200, headers, body, delimited_by_close=True)
    return Reply(200, headers, body, None if args.get("chunked") == "1" else size)


async def timed_events(count, interval, instance):
    instance.streams_open += 1
    try:
        for index in range(count):
            now = json.dumps({"n": index, "time": time.time(), "mono": time.clock_gettime(time.CLOCK_MONOTONIC)})
            yield b"data: %b\n\n" % now.encode()
            if interval and index + 1 < count:
                await asyncio.sleep(interval)
    finally:
        instance.streams_open -= 1


@route("GET POST", "/v1/_sse", user="any")
def sse(instance, request):
    args = request.query_args()
    return Reply(200, [("Content-Type", "text/event-stream; charset=utf-8")],
                 timed_events(number(args, "events", 5), number(args, "interval", 0.05, float), instance))


@route("*", "/v1/_status/{}", user="any")
def any_status(instance, request):
    text = request.path_args[0]
    code = int(text) if text.isdigit() else 0
    if not 200 <= code <= 599:
        raise bad_argument("the status must be 200 to 599")
    if code in (204, 304):
        return Reply(code, [JSON_TYPE])
    return json_reply({"code": "stub_status", "message": f"from {instance.name}", "status": code}, code)


@route("*", "/v1/_1xx", user="any")
def interim(instance, request):
    """`?n=` times 103 (default 1), then 200."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    return json_reply(echo_value(instance, request), interim=hints * number(request.query_args(), "n", 1))


@route("*", "/v1/_http10", user="any")
def http10(instance, request):
    body = json_reply(echo_value(instance, request)).body
    return Reply(200, [JSON_TYPE], body, delimited_by_close=True, version="1.0")


@route("*", "/v1/_trailers", user="any")
def trailers(_instance, _request):
    async def write(connection, _request):
        await connection.send(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
                              b"Trailer: X-Sum\r\nContent-Type: text/plain\r\n\r\n" + chunk(b"with trailers")
                              + b"0\r\nX-Sum: 13\r\n\r\n")
    return Reply(200, takeover=write)


@at_head("/v1/_early")
def early(request):
    """413 before the body is read. `?linger=S` (1.0): our side ends, the unread connection stays so long."""
    seconds = number(request.query_args(), "linger", 1.0, float)
    reply = ApiError(413, "file_too_large", "File size exceeded.").reply
    reply.close = True

    async def write(connection, _request):
        connection.transport.pause_reading()
        await connection.send(reply_head(reply, request) + reply.body)
        connection.transport.write_eof()
        await asyncio.sleep(seconds)

    reply.takeover = write
    return reply


# ---- WebSocket (RFC 6455)

def take_frame(buffer):
    """(first byte, payload, size taken), or None while the frame is not whole."""
    if len(buffer) < 2:
        return None
    size, at = buffer[1] & 0x7F, 2
    if size == 126:
        size, at = (struct.unpack_from(">H", buffer, 2)[0], 4) if len(buffer) >= 4 else (1 << 62, 4)
    elif size == 127:
        size, at = (struct.unpack_from(">Q", buffer, 2)[0], 10) if len(buffer) >= 10 else (1 << 62, 10)
    masked = buffer[1] & 0x80
    whole = at + (4 if masked else 0) + size
    if len(buffer) < whole:
        return None
    payload = bytes(buffer[whole - size:whole])
    if masked:
        mask = bytes(buffer[at:at + 4])
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return buffer[0], payload, whole


def make_frame(first, payload):
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    if size < 65536:
        return bytes([first, 126]) + struct.pack(">H", size) + payload
    return bytes([first, 127]) + struct.pack(">Q", size) + payload


@route("GET", "/v1/_ws", user="query")
def websocket(_instance, request):
    fields = request.fields
    if fields.get("upgrade", "").lower() != "websocket" or "sec-websocket-key" not in fields:
        return json_reply({"code": "upgrade_required", "message": "not a WebSocket handshake", "status": 426}, 426)
    return Reply(101, takeover=websocket_echo)


async def websocket_echo(connection, request):
    accept = base64.b64encode(hashlib.sha1(request.fields["sec-websocket-key"].encode() + WS_GUID).digest())
    head = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    done = asyncio.get_running_loop().create_future()
    buffer = connection.buffer

    def on_bytes(data):
        buffer.extend(data)
        while not done.done():
            frame = take_frame(buffer)
            if frame is None:
                return
            first, payload, taken = frame
            del buffer[:taken]
            opcode = first & 0x0F
            if opcode == 9:      # ping -> pong
                connection.transport.write(make_frame(first & 0xF0 | 10, payload))
            elif opcode == 8:    # close, answered and done
                connection.transport.write(make_frame(first, payload))
                done.set_result(None)
            elif opcode != 10:
                connection.transport.write(make_frame(first, payload))

    await connection.send(head)
    connection.tap = on_bytes
    on_bytes(b"")
    await done
    connection.tap = None
    connection.request.record.finished = True
    connection.close()
