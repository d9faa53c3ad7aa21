"""The worker of one instance: chatflows and workflows run here, apart from the api that streams what they say.

So a run goes on when its client has left, and a dead worker is a ping and silence: its runs wait in the queue
until it is back, and those that it had at work end without a word (DIFY.md §0).
"""

import asyncio

SILENCE_MAX = 300   # seconds; then the api ends a stream that has had no event


class Job:
    """One run: what it has said so far, and who waits for more."""

    def __init__(self, events):
        self.events = events     # async generator of bytes
        self.said = []
        self.ended = False
        self.news = asyncio.Event()
        self.task = None

    def tell(self):
        self.news.set()
        self.news = asyncio.Event()


class Worker:
    def __init__(self):
        self.alive = True
        self.busy = False    # it begins no further run
        self.queue = []      # jobs that nobody has begun
        self.running = set()
        self.ended = 0

    def start(self, events):
        job = Job(events)
        self.queue.append(job)
        if self.alive and not self.busy:
            self.begin_all()
        return job

    def begin_all(self):
        for job in self.queue:
            job.task = asyncio.get_running_loop().create_task(self.work(job))
            self.running.add(job)
        self.queue.clear()

    async def work(self, job):
        try:
            async for data in job.events:
                job.said.append(data)
                job.tell()
            job.ended = True
            self.ended += 1
        finally:
            self.running.discard(job)
            job.tell()

    def restart(self):
        """What it had at work is gone, and what waits too."""
        self.set_alive(False)
        self.queue.clear()
        self.set_alive(True)

    def set_alive(self, alive, busy=False):
        self.alive, self.busy = alive, busy
        if alive and not busy:
            self.begin_all()
        elif not alive:
            for job in list(self.running):
                job.task.cancel()


async def follow(worker, job, ping, ping_interval):
    """What a streamed answer says of a job: a ping at once, its events, pings while it is silent."""
    yield ping
    at, silent = 0, 0.0
    while True:
        while at < len(job.said):
            yield job.said[at]
            at, silent = at + 1, 0.0
        if job.ended or silent >= SILENCE_MAX:
            return
        news = job.news
        try:
            await asyncio.wait_for(news.wait(), ping_interval)
        except TimeoutError:
            silent += ping_interval
            if job in worker.running:   # pings come from what runs
                yield ping
