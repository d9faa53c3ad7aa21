"""One accepted connection, with gunicorn's manners, and the listener that accepts it.

States of a connection:  head -> body -> reply -> head …, and closed from each of them.
Happy path: buffer_updated() appends, advance() parses as far as it can, the service answers with a Reply,
a plain one is written at once, any other one by a task; then the next request.  A service provides
`scratch`, `journal`, `idle_timeout`, `ending`, on_accept(), on_head(), answer(), closed().
"""

import asyncio
import socket
import struct
import time
import traceback
from contextlib import aclosing

from . import http

PIPELINE_MAX = 1024 * 1024  # bytes of further requests held while a reply runs, then reading pauses
LINGER_RST = struct.pack("ii", 1, 0)


class Connection(asyncio.BufferedProtocol):
    """Reads requests, hands them to `service`, writes what it answers."""

    def __init__(self, service, ident):
        self.service = service
        self.id = ident
        self.transport = None
        self.buffer = bytearray()
        self.state = "head"
        self.request = None
        self.reader = None            # of the body that is being received
        self.pieces = []              # of that body
        self.number = 0
        self.task = None              # writes the present reply, if that takes more than one write
        self.slow_fault = None        # a slow_read that was begun at the head
        self.timer = None
        self.head_deadline = 0.0
        self.room = None              # future, while the transport's write buffer is full
        self.write_paused = False
        self.read_limit = None        # (bytes, seconds) of a slow reader
        self.tap = None               # takes all received bytes instead of the parser (WebSocket)
        self.closing = False
        self.read_paused = False      # too much is pipelined

    # ---- transport callbacks

    def connection_made(self, transport):
        self.transport = transport
        self.await_head()

    def get_buffer(self, _hint):
        scratch = self.service.scratch
        return scratch if self.read_limit is None else scratch[:self.read_limit[0]]

    def buffer_updated(self, size):
        data = self.service.scratch[:size]
        if self.read_limit is not None and not self.closing:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(self.read_limit[1], self.resume)
        if self.closing:
            return
        if self.tap:
            self.tap(bytes(data))
            return
        self.buffer += data
        self.advance()

    def resume(self):
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self):
        """A client that ends its side is gone: a proxy that leaves looks just so."""
        self.abort_record()
        if self.task:
            self.task.cancel()
        self.closing = True
        return False  # the transport flushes and closes

    def connection_lost(self, _error):
        self.closing = True
        self.state = "closed"
        if self.timer:
            self.timer.cancel()
        self.abort_record()
        if self.task:
            self.task.cancel()
        self.resume_writing()
        self.service.closed(self)

    def pause_writing(self):
        self.write_paused = True

    def resume_writing(self):
        self.write_paused = False
        if self.room and not self.room.done():
            self.room.set_result(None)

    # ---- the head timer: one per connection, re-armed only when it fires early

    def await_head(self):
        self.state = "head"
        self.head_deadline = time.monotonic() + self.service.idle_timeout
        if self.timer is None:
            self.timer = asyncio.get_running_loop().call_later(self.service.idle_timeout, self.on_timer)

    def on_timer(self):
        self.timer = None
        if self.state != "head" or self.closing:
            return
        left = self.head_deadline - time.monotonic()
        if left > 0.001:
            self.timer = asyncio.get_running_loop().call_later(left, self.on_timer)
            return
        self.service.journal.idle_closes += 1
        self.close()

    # ---- requests in

    def advance(self):
        try:
            while not self.closing:
                if self.state == "head":
                    if not self.take_head():
                        return
                elif self.state == "body":
                    if not self.take_body():
                        return
                else:
                    if len(self.buffer) > PIPELINE_MAX and self.read_limit is None:
                        self.transport.pause_reading()
                        self.read_paused = True
                    return
        except http.BadRequest as error:
            self.refuse_request(error)

    def take_head(self):
        buffer = self.buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(buffer) > http.REQUEST_LINE_MAX and buffer.find(b"\r\n", 0, http.REQUEST_LINE_MAX + 2) < 0:
                raise http.BadRequest(f"Request Line is too large ({len(buffer)} > {http.REQUEST_LINE_MAX})")
            if len(buffer) > http.HEAD_SIZE_MAX:
                raise http.BadRequest("limit request headers fields size", 431)
            return False
        request = http.parse_head(bytes(buffer[:end + 4]))
        reader = http.body_reader(request.fields, request.minor)
        del buffer[:end + 4]
        self.number += 1
        request.connection_id, request.number = self.id, self.number
        self.request = request
        request.record = self.service.journal.begin(self.id, self.number, request.method, request.target)
        reply = self.service.on_head(self, request)
        if reply is not None:            # answered without its body
            self.start_reply(request, reply, None)
            return True
        if request.fields.get("expect", "").lower() == "100-continue" and request.minor == 1:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if reader is None:
            self.request_complete(request)
        else:
            self.reader = reader
            self.state = "body"
        return True

    def take_body(self):
        request = self.request
        data, complete = self.reader.feed(self.buffer)
        if data:
            request.body_size += len(data)
            request.record.body_size = request.body_size
            if request.digest is not None:
                request.digest.update(data)
            self.pieces.append(data)
        if complete:
            request.body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
            self.pieces = []
            self.reader = None
            self.request_complete(request)
        return complete

    def request_complete(self, request):
        request.record.body_complete = True
        reply, fault = self.service.answer(self, request)
        self.start_reply(request, reply, fault)

    def refuse_request(self, error):
        """gunicorn's HTML answer to what cannot be read, then close."""
        journal = self.service.journal
        journal.bad_requests += 1
        if self.state == "body":
            record = self.request.record
        else:
            record = journal.begin(self.id, self.number + 1, "", bytes(self.buffer[:200]).decode("latin-1"))
        record.bad, record.status = str(error), error.status
        record.finished, record.ended_mono = True, time.monotonic()
        self.state = "reply"
        self.transport.write(http.error_page(error.status, str(error)))
        self.close()

    # ---- replies out

    def start_reply(self, request, reply, fault):
        self.state = "reply"
        request.record.status = reply.status
        reply.close = reply.close or self.service.ending
        if fault is None and type(reply.body) is bytes and not (reply.delay or reply.interim or reply.takeover):
            head = http.reply_head(reply, request)
            self.transport.write(head if request.method == "HEAD" else head + reply.body)
            self.reply_done(request, reply)
            return
        self.task = asyncio.get_running_loop().create_task(self.deliver(request, reply, fault))

    async def deliver(self, request, reply, fault):
        try:
            if fault:
                await fault.run(self, request, reply)
            elif reply.takeover:
                await reply.takeover(self, request)
            else:
                await self.send_reply(request, reply)
        except ConnectionError:
            return
        except Exception:   # a defect of this stand-in: say so, and let no client wait for it
            traceback.print_exc()
            self.reset()
        finally:
            self.task = None
            if type(reply.body) is not bytes:
                await reply.body.aclose()   # lets the stream's own clean-up run now
        if not self.closing:
            self.reply_done(request, reply)
            self.advance()

    async def send_reply(self, request, reply):
        async with aclosing(wire_pieces(request, reply)) as pieces:
            async for _kind, data in pieces:
                await self.send(data)

    def reply_done(self, request, reply):
        record = request.record
        record.finished, record.ended_mono = True, time.monotonic()
        if not http.stays_open(reply, request):
            self.close()
            return
        if self.read_paused:
            self.read_paused = False
            self.resume()
        self.await_head()

    # ---- what faults and takeovers are made of

    async def send(self, data):
        """Writes at once; then waits until the transport has room again."""
        if self.transport.is_closing():
            raise ConnectionResetError
        self.transport.write(data)
        if self.write_paused:
            self.room = asyncio.get_running_loop().create_future()
            await self.room

    def end_record(self):
        """The reply was cut on purpose: neither finished nor the client's doing."""
        if self.request and self.request.record.ended_mono is None:
            self.request.record.ended_mono = time.monotonic()

    def abort_record(self):
        if self.request and self.number:
            self.service.journal.abort(self.request.record)

    def close(self):
        """Flushes, then FIN."""
        self.closing = True
        self.end_record()
        self.transport.close()

    def reset(self):
        """RST, at once; what is still buffered here is lost."""
        self.closing = True
        self.end_record()
        sock = self.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        self.transport.abort()


async def wire_pieces(request, reply):
    """The reply as it goes over the wire: (kind, bytes), kind one of interim, head, body, end."""
    if reply.delay:
        await asyncio.sleep(reply.delay)
    if reply.interim:
        yield "interim", reply.interim
    if type(reply.body) is bytes or request.method == "HEAD":
        yield "head", http.reply_head(reply, request)
        if request.method != "HEAD" and reply.body:
            yield "body", reply.body
        return
    chunked = http.is_chunked(reply, request)
    head_sent = False
    async for data in reply.body:
        if not head_sent:                    # gunicorn sends the head with the first piece, not before
            yield "head", http.reply_head(reply, request)
            head_sent = True
        if data:
            yield "body", http.chunk(data) if chunked else data
    if not head_sent:
        yield "head", http.reply_head(reply, request)
    if chunked:
        yield "end", b"0\r\n\r\n"


class Listener:
    """Accepts up to `limit` connections at a time (0 = no limit); the others wait in the kernel's queue,
    as behind gunicorn's gevent pool.  A second socket, bound but never listening, keeps the port ours while
    the first is closed, so that connects are refused and the kernel gives the port to nobody else."""

    BACKLOG = 2048   # gunicorn's default

    def __init__(self, service, host, port, limit=0):
        self.service = service
        self.host = host
        self.limit = limit
        self.holder = self.bind(port)
        self.port = self.holder.getsockname()[1]
        self.socket = None
        self.accepting = False
        self.open_count = 0
        self.next_id = 1
        self.pending = set()   # tasks that set up accepted connections
        self.connections = set()

    def bind(self, port):
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind((self.host, port))
        return sock

    def open(self):
        if self.socket is None:
            self.socket = self.bind(self.port)
            self.socket.listen(self.BACKLOG)
        self.update()

    def shut(self):
        """From now on connects are refused; open connections live on."""
        if self.socket is not None:
            if self.accepting:
                asyncio.get_running_loop().remove_reader(self.socket)
                self.accepting = False
            self.socket.close()
            self.socket = None

    def has_room(self):
        return not self.limit or self.open_count < self.limit

    def update(self):
        """Accepts while there is room, and only then."""
        wanted = self.socket is not None and self.has_room()
        if wanted != self.accepting:
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_reader(self.socket, self.on_readable)
            else:
                loop.remove_reader(self.socket)
            self.accepting = wanted

    def on_readable(self):
        loop = asyncio.get_running_loop()
        for _ in range(64):   # then the loop gets a turn
            if self.socket is None or not self.has_room():
                break
            try:
                sock, _peer = self.socket.accept()
            except OSError:   # taken back by the peer, or out of descriptors: later
                break
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)   # as gunicorn; asyncio does not for proto 0
            if self.service.on_accept():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
                sock.close()
                continue
            sock.setblocking(False)
            connection = Connection(self.service, self.next_id)
            self.next_id += 1
            self.open_count += 1
            self.connections.add(connection)
            self.service.journal.count_connection(self.open_count)
            task = loop.create_task(loop.connect_accepted_socket(lambda it=connection: it, sock))
            self.pending.add(task)
            task.add_done_callback(self.pending.discard)
        self.update()

    def closed(self, connection):
        self.open_count -= 1
        self.connections.discard(connection)
        self.update()
