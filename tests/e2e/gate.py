"""A door before an instance that may be shut for some nodes only: then they alone see it down.

All nodes of a test come from the same address, so the door asks the kernel whose socket knocks.
"""

import asyncio
import contextlib
import os
import socket
import struct
import threading

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1   # linux/netlink.h, linux/sock_diag.h


def inode_of(client, server):
    """The inode of the socket of the loopback connection client -> server, both (host, port); 0 if it is gone.
    By netlink (sock_diag(7)): a busy machine's /proc/net/tcp is long, and this is asked for each connection."""
    ports = struct.pack("!HH", client[1], server[1])
    hosts = b"".join(socket.inet_aton(host) + bytes(12) for host in (client[0], server[0]))
    ask = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + ports + hosts + struct.pack(
        "=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(ask), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + ask)
        answer = netlink.recv(4096)
    found = struct.unpack_from("=H", answer, 4)[0] == SOCK_DIAG_BY_FAMILY
    return struct.unpack_from("=I", answer, 16 + 4 + 48 + 16)[0] if found else 0


def owner_of(client, server, pids):
    """Which of these processes has that socket; None if none has."""
    wanted = f"socket:[{inode_of(client, server)}]"
    for pid in pids:
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") == wanted:
                        return pid
    return None


class Gate:
    """Stands in for a stub in a configuration: name, host, port, token. `shut` holds the pids that it resets."""

    def __init__(self, stub):
        self.name, self.token, self.stub = stub.name, stub.token, stub
        self.host, self.port = "127.0.0.1", None
        self.shut = set()
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(self.on_client, self.host, 0))
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def shut_for(self, *nodes):
        """Shut for these nodes, open for all others."""
        self.shut = {node.pid for node in nodes}

    async def on_client(self, reader, writer):
        if self.shut and owner_of(writer.get_extra_info("peername"), (self.host, self.port), self.shut):
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            inner_reader, inner_writer = await asyncio.open_connection(self.stub.host, self.stub.port)
            await asyncio.gather(self.pump(reader, inner_writer), self.pump(inner_reader, writer))

    @staticmethod
    async def pump(reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def close(self):
        async def end():
            self.server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
