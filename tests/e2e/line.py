"""A line with a delay between two network namespaces of this test's own: the node's side, where the calling
thread then lives, and the far side, where clients are. A kernel need not have netem for it: each side has a
TUN device, and a thread hands the packets over, in order, each some time later.

    with Line(0.015) as line:
        with Node(settings(stubs, listen=[{"address": f"{line.near_ip}:0"}])) as node:
            with line.far():
                client = node.client()

Instances are to be started inside, too: nothing leads out of it.
"""

import collections
import contextlib
import ctypes
import fcntl
import os
import select
import struct
import subprocess
import threading
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def enter(namespace):
    """The calling thread, and what it starts, lives there from now on. Sockets stay where they were made."""
    check(LIBC.setns(namespace, CLONE_NEWNET))


def here():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


def new_side(address):
    """(namespace, TUN device) of a new namespace, which the calling thread has entered."""
    check(LIBC.unshare(CLONE_NEWNET))
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"line", IFF_TUN | IFF_NO_PI))
    for command in (["link", "set", "lo", "up"], ["addr", "add", f"{address}/24", "dev", "line"],
                    ["link", "set", "line", "up", "txqueuelen", "10000"]):
        subprocess.run(["ip", *command], check=True)
    return here(), tun


def why_impossible():
    """The reason why there can be no line here, or None."""
    home = here()
    try:
        for descriptor in new_side("10.77.0.1"):
            os.close(descriptor)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"a network namespace and a TUN device are not possible here: {error}"
    finally:
        enter(home)
        os.close(home)
    return None


class Line:
    near_ip, far_ip = "10.77.0.1", "10.77.0.2"

    def __init__(self, delay):
        """`delay`: seconds, one way."""
        self.delay = delay
        self.home = here()
        self.far_side, far_tun = new_side(self.far_ip)
        self.near_side, near_tun = new_side(self.near_ip)
        self.tuns = {far_tun: near_tun, near_tun: far_tun}
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        waiting = collections.deque()   # (when, device, packet): all wait equally long
        while not self.ending:
            wait = min(0.1, max(0, waiting[0][0] - time.monotonic())) if waiting else 0.1
            for tun in select.select(list(self.tuns), [], [], wait)[0]:
                with contextlib.suppress(BlockingIOError):
                    while True:
                        waiting.append((time.monotonic() + self.delay, self.tuns[tun], os.read(tun, 2048)))
            while waiting and waiting[0][0] <= time.monotonic():
                _, tun, packet = waiting.popleft()
                with contextlib.suppress(OSError):   # a full queue drops, as lines do
                    os.write(tun, packet)

    @contextlib.contextmanager
    def far(self):
        """On the far side meanwhile; also for a thread that was started elsewhere."""
        before = here()
        enter(self.far_side)
        try:
            yield
        finally:
            enter(before)
            os.close(before)

    def __enter__(self):
        return self

    def __exit__(self, *_rest):
        self.ending = True
        self.thread.join()
        enter(self.home)
        for descriptor in (*self.tuns, self.far_side, self.near_side, self.home):
            os.close(descriptor)
