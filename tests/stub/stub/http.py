"""HTTP/1.1 bytes: request heads and bodies in, response heads and chunks out.

Pure: no sockets and no asyncio.  Strict on purpose: what gunicorn 22+ refuses is refused here too,
so a proxy that lets an ambiguous request through is seen.  Sources: RFC 9112; gunicorn's limits.
"""

import re
import time
from urllib.parse import parse_qsl, unquote

REQUEST_LINE_MAX = 4094  # gunicorn --limit-request-line
HEADERS_MAX = 100        # gunicorn --limit-request-fields
HEADER_SIZE_MAX = 8190   # gunicorn --limit-request-field_size
HEAD_SIZE_MAX = REQUEST_LINE_MAX + HEADERS_MAX * (HEADER_SIZE_MAX + 2) + 4  # what those three allow
CHUNK_LINE_MAX = 256     # a size and short extensions; gunicorn reads on for ever

REASONS = {
    100: "Continue", 101: "Switching Protocols", 103: "Early Hints", 200: "OK", 201: "CREATED",
    202: "ACCEPTED", 204: "NO CONTENT", 206: "PARTIAL CONTENT", 301: "MOVED PERMANENTLY", 302: "FOUND",
    304: "NOT MODIFIED", 400: "BAD REQUEST", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT FOUND",
    405: "METHOD NOT ALLOWED", 408: "REQUEST TIMEOUT", 409: "CONFLICT", 413: "REQUEST ENTITY TOO LARGE",
    415: "UNSUPPORTED MEDIA TYPE", 422: "UNPROCESSABLE ENTITY", 429: "TOO MANY REQUESTS",
    431: "REQUEST HEADER FIELDS TOO LARGE", 500: "INTERNAL SERVER ERROR", 501: "NOT IMPLEMENTED",
    502: "BAD GATEWAY", 503: "SERVICE UNAVAILABLE", 504: "GATEWAY TIMEOUT",
}  # in capitals as werkzeug writes them

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
_FIELD_LINES = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class BadRequest(Exception):
    """What the peer sent cannot be taken as a request; str() says why."""

    def __init__(self, why, status=400):
        super().__init__(why)
        self.status = status


class Request:
    """One request head and, once complete, its body."""

    __slots__ = ("method", "target", "path", "query", "minor", "headers", "fields", "body", "body_size",
                 "digest", "keep_alive", "record", "route", "path_args", "token", "user", "json_cache",
                 "form_cache", "connection_id", "number")

    def __init__(self, method, target, minor, headers, fields):
        self.method = method
        self.target = target
        path, _, self.query = target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.minor = minor
        self.headers = headers   # [(name, value)] as received
        self.fields = fields     # lower-case name -> first value
        self.body = b""
        self.body_size = 0
        self.digest = None       # a running hash where the route wants one
        connection = fields.get("connection", "").lower()
        self.keep_alive = "keep-alive" in connection if minor == 0 else "close" not in connection
        self.record = self.route = self.token = self.user = self.json_cache = self.form_cache = None
        self.path_args = ()
        self.connection_id = self.number = 0

    def query_args(self):
        """name -> first value, as Flask's request.args.get() answers."""
        args = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            args.setdefault(name, value)
        return args


def parse_head(head):
    """`head` runs to and includes the empty line. Returns a Request or raises BadRequest."""
    end = head.find(b"\r\n")
    if end > REQUEST_LINE_MAX:
        raise BadRequest(f"Request Line is too large ({end} > {REQUEST_LINE_MAX})")
    match = _REQUEST_LINE.fullmatch(head, 0, end)
    if not match:
        raise BadRequest(f"Invalid HTTP request line: {bytes(head[:min(end, 80)])!r}")
    if not _FIELD_LINES.fullmatch(head, end + 2, len(head) - 2):
        raise BadRequest("Invalid HTTP Header")
    method, target, minor = match.groups()
    headers, fields = [], {}
    lines = head[end + 2:-4].decode("latin-1").split("\r\n") if len(head) - end > 4 else ()
    if len(lines) > HEADERS_MAX:
        raise BadRequest("limit request headers fields", 431)
    for line in lines:
        if len(line) > HEADER_SIZE_MAX:
            raise BadRequest("limit request headers fields size", 431)
        name, _, value = line.partition(":")
        value = value.strip(" \t")
        headers.append((name, value))
        name = name.lower()
        if name not in fields:
            fields[name] = value
        elif name in ("content-length", "transfer-encoding", "host"):
            raise BadRequest(f"Invalid HTTP Header: {name} given twice")
    return Request(method.decode(), target.decode("latin-1"), int(minor), headers, fields)


def body_reader(fields, minor):
    """The reader for the body that these headers announce; None when there is none."""
    coding = fields.get("transfer-encoding")
    length = fields.get("content-length")
    if coding is not None:
        if length is not None or minor == 0 or coding.lower() != "chunked":
            raise BadRequest("Invalid HTTP Header: 'TRANSFER-ENCODING'")
        return ChunkedBody()
    if length is None:
        return None
    if not (length.isascii() and length.isdigit()):
        raise BadRequest("Invalid HTTP Header: 'CONTENT-LENGTH'")
    return SizedBody(int(length)) if int(length) else None


class SizedBody:
    """Exactly `left` more bytes."""

    def __init__(self, size):
        self.left = size

    def feed(self, buffer):
        """Takes what belongs to the body out of `buffer`; returns (bytes, complete?)."""
        data = bytes(buffer[:self.left])
        del buffer[:self.left]
        self.left -= len(data)
        return data, self.left == 0


class ChunkedBody:
    """Chunks up to and including the trailer section, which is dropped."""

    def __init__(self):
        self.left = 0         # bytes of the present chunk still to come
        self.state = "size"   # size -> data -> crlf -> size …, and trailer after the chunk of size 0

    def feed(self, buffer):
        out = []
        while True:
            if self.state == "data":
                data = bytes(buffer[:self.left])
                del buffer[:self.left]
                out.append(data)
                self.left -= len(data)
                if self.left:
                    return b"".join(out), False
                self.state = "crlf"
                continue
            if self.state == "crlf":
                if len(buffer) < 2:
                    return b"".join(out), False
                if buffer[:2] != b"\r\n":
                    raise BadRequest("Invalid chunk terminator")
                del buffer[:2]
                self.state = "size"
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > CHUNK_LINE_MAX:
                    raise BadRequest("Invalid chunk size")
                return b"".join(out), False
            line = bytes(buffer[:end])
            del buffer[:end + 2]
            if self.state == "trailer":
                if not line:
                    return b"".join(out), True
                continue
            match = _CHUNK_LINE.fullmatch(line)
            if not match:
                raise BadRequest(f"Invalid chunk size: {line[:40]!r}")
            self.left = int(match[1], 16)
            self.state = "data" if self.left else "trailer"


class Reply:
    """What a handler wants sent.

    `body`: bytes, or an async generator of bytes (then `length` makes it Content-Length, else chunked on
    HTTP/1.1).  `delimited_by_close`: neither.  `delay`: seconds before the head.  `interim`: bytes before it.
    `takeover(connection, request)`: a coroutine that writes everything by itself (WebSocket).
    """

    __slots__ = ("status", "headers", "body", "length", "delimited_by_close", "close", "delay", "interim",
                 "version", "takeover")

    def __init__(self, status=200, headers=(), body=b"", length=None, *, delimited_by_close=False,
                 close=False, delay=0.0, interim=b"", version=None, takeover=None):
        self.status = status
        self.headers = headers
        self.body = body
        self.length = length
        self.delimited_by_close = delimited_by_close
        self.close = close
        self.delay = delay
        self.interim = interim
        self.version = version
        self.takeover = takeover


_date = (0, "")


def http_date():
    """Now as an HTTP date; made once a second."""
    global _date
    now = int(time.time())
    if _date[0] != now:
        _date = (now, time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now)))
    return _date[1]


def is_chunked(reply, request):
    return (type(reply.body) is not bytes and reply.length is None and not reply.delimited_by_close
            and request.minor == 1 and request.method != "HEAD")


def stays_open(reply, request):
    """Whether the connection can carry another request after this reply."""
    unframed = type(reply.body) is not bytes and reply.length is None and not is_chunked(reply, request)
    return (request.keep_alive and not reply.close and not reply.delimited_by_close
            and not (unframed and request.method != "HEAD"))


def reply_head(reply, request, length=None):
    """The head in gunicorn's order of headers; `length` overrides Content-Length (for faults)."""
    if length is None:
        length = len(reply.body) if type(reply.body) is bytes else reply.length
    bare = reply.status in (204, 304) or reply.delimited_by_close or length is None
    lines = [f"HTTP/{reply.version or f'1.{request.minor}'} {reply.status} {REASONS.get(reply.status, 'UNKNOWN')}",
             "Server: gunicorn", f"Date: {http_date()}",
             f"Connection: {'keep-alive' if stays_open(reply, request) else 'close'}"]
    if is_chunked(reply, request):
        lines.append("Transfer-Encoding: chunked")
    lines.extend([f"{name}: {value}" for name, value in reply.headers])
    if not bare:
        lines.append(f"Content-Length: {length}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode("latin-1")


def chunk(data):
    return b"%X\r\n%b\r\n" % (len(data), data)


def error_page(status, why):
    """gunicorn's own HTML answer to a request that it cannot read, whole."""
    reason = REASONS.get(status, "Bad Request").title()
    why = why.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    body = (f"<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n"
            f"    <h1><p>{reason}</p></h1>\n    {why}\n  </body>\n</html>\n").encode()
    return (f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: text/html\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


def form_parts(body, content_type):
    """multipart/form-data -> [(name, filename or None, content type, bytes)]; [] when it is none (RFC 7578)."""
    match = re.search(r'multipart/form-data\s*;.*?boundary=(?:"([^"]+)"|([^;\s]+))', content_type, re.I)
    if not match:
        return []
    mark = b"--" + (match[1] or match[2]).encode("latin-1")
    parts = []
    for piece in (b"\r\n" + body).split(b"\r\n" + mark)[1:]:
        if piece.startswith(b"--"):
            break
        head, found, data = piece.partition(b"\r\n\r\n")
        disposition = re.search(rb"content-disposition:\s*form-data([^\r\n]*)", head, re.I)
        name = disposition and re.search(rb'[; ]name="([^"]*)"', disposition[1])
        if not found or not name:
            continue
        filename = re.search(rb'filename="([^"]*)"', disposition[1])
        kind = re.search(rb"content-type:\s*([^\r\n]+)", head, re.I)
        parts.append((name[1].decode("utf-8", "replace"), filename and filename[1].decode("utf-8", "replace"),
                      kind[1].decode("latin-1") if kind else "text/plain", data))
    return parts
