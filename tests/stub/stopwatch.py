"""Seconds for tests that say "at the latest".

A host may stand still for a second: a virtual machine that waits for its turn, a group of processes that has used
up its share. Everything on it is late then, the test too, and says nothing about the program. A thread that wants
to run each 20 ms notices such pauses; fair_seconds() leaves them out.

    watch = Stopwatch()
    ...
    assert 2 <= watch.seconds() and watch.fair_seconds() < 3
"""

import threading
import time

TICK = 0.02
LATE = 0.05   # later than that is a pause: the kernel's own turns are shorter


class Host:
    """What its pauses were so far. Whoever asks looks, too: the thread may not have had its turn since the last one."""

    def __init__(self):
        self.lock = threading.Lock()
        self.looked, self.paused = time.monotonic(), 0.0
        threading.Thread(target=self.watch, daemon=True).start()

    def look(self):
        with self.lock:
            now = time.monotonic()
            late = now - self.looked - TICK
            self.paused += late if late > LATE else 0
            self.looked = now
            return now, self.paused

    def watch(self):
        while True:
            time.sleep(TICK)
            self.look()


HOST = Host()


class Stopwatch:
    def __init__(self):
        self.begin, self.paused = HOST.look()

    def seconds(self):
        return time.monotonic() - self.begin

    def fair_seconds(self):
        """Without the time in which the host stood still."""
        now, paused = HOST.look()
        return now - self.begin - (paused - self.paused)
