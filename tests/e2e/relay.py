"""Stands between the nodes of a cluster: every packet goes through here, is kept, and may be dropped.

Each node has a second address, at which the others reach it; what comes there from another node is handed on
from that one's second address. So the nodes see nothing but second addresses, and everything works.
"""

import selectors
import socket
import threading


class Relay:
    def __init__(self, udp):
        """`udp`: {name: (host, port)} that the nodes bind."""
        self.udp = udp
        self.name_of = {address: name for name, address in udp.items()}
        self.kept = []              # [(from, to, bytes)]
        self.drops = lambda sender, receiver: False
        self.sockets = {}
        self.selector = selectors.DefaultSelector()
        for name, (host, port) in udp.items():
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((host.replace("127.0.0.", "127.0.1."), port))
            self.sockets[name] = sock
            self.selector.register(sock, selectors.EVENT_READ, name)
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def address(self, name):
        return self.sockets[name].getsockname()

    def run(self):
        while not self.ending:
            for key, _ in self.selector.select(0.1):
                data, source = key.fileobj.recvfrom(2048)
                receiver, sender = key.data, self.name_of.get(source)
                if sender is None or self.drops(sender, receiver):
                    continue
                self.kept.append((sender, receiver, data))
                self.sockets[sender].sendto(data, self.udp[receiver])

    def replay(self, sender, receiver, data):
        """Once more, from where it came the first time."""
        self.sockets[sender].sendto(data, self.udp[receiver])

    def close(self):
        self.ending = True
        self.thread.join()
        for sock in self.sockets.values():
            sock.close()
        self.selector.close()
