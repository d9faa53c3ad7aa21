"""TLS before a stand-in instance, or before nothing: what a node has on the other side of `tls` of an instance.

    with Terminator(pair, stub) as it:      # {"certificate": path, "key": path}
        node's instance: {"host": "127.0.0.1", "port": it.port, "tls": {"ca": …}}

Each connection is decrypted and handed on to the stub, byte by byte as it comes. `seen` has one dict a handshake.
"""

import asyncio
import contextlib
import socket
import ssl
import threading


class Terminator:
    def __init__(self, pair, stub=None, *, client_ca=None, answer=None, cut=False, port=0, tickets=True):
        """Without `stub`, `answer` is sent to each request's head. `cut`: ends without a close_notify."""
        self.stub, self.answer, self.cut, self.client_ca, self.tickets = stub, answer, cut, client_ca, tickets
        self.seen, self.failed, self.closed = [], 0, 0
        self.names = {}
        self.tasks = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.load(pair)
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.loop.call_soon_threadsafe(lambda: self.keep(self.serve()))

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def load(self, pair):
        """Another certificate from the next handshake on, and tickets of before are unknown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair["certificate"], pair["key"])
        if self.client_ca:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        if not self.tickets:
            context.num_tickets = 0
        context.sni_callback = self.on_name
        self.context = context

    def on_name(self, ssl_object, name, _context):
        self.names[id(ssl_object)] = name

    def keep(self, coroutine):
        """A task that is not thrown away while it waits: the loop itself holds none."""
        task = self.loop.create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def serve(self):
        while True:
            sock, _ = await self.loop.sock_accept(self.listener)
            self.keep(self.accept(sock))

    async def accept(self, sock):
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, sock, ssl=self.context)
        except OSError:   # ssl.SSLError is one
            self.failed += 1
            return
        it = transport.get_extra_info("ssl_object")
        self.seen.append({"name": self.names.pop(id(it), None), "resumed": it.session_reused, "version": it.version(),
                          "certificate": bool(it.getpeercert(True))})
        writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await (self.relay(reader, writer) if self.stub else self.reply(reader, writer))
        self.finish(writer)
        self.closed += 1

    def finish(self, writer):
        if self.cut:
            writer.transport.abort()
        else:
            writer.close()

    async def reply(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        await writer.drain()

    async def relay(self, reader, writer):
        behind_reader, behind = await asyncio.open_connection(self.stub.host, self.stub.port)

        async def pump(source, sink):
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
        tasks = [self.loop.create_task(pump(reader, behind)), self.loop.create_task(pump(behind_reader, writer))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        behind.close()

    def close(self):
        async def end():
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()
