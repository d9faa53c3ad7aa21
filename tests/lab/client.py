#!/usr/bin/python3
"""What a client of the virtual IP sees: a new connection with one request every few milliseconds,
and long event streams that stay open. Prints one line "ready" when all is going, and at the end one
line of JSON.

    client.py ADDRESS PORT TOKEN --seconds S [--every 5] [--streams 50] [--events 40] [--interval 0.1]

A request fails if it is refused, reset, cut, answered with an error, or not connected or answered in
time. A stream is whole if it brought all its events and its end."""

import argparse
import asyncio
import json
import time

CONNECT_SECONDS = 0.5   # below the kernel's first repetition of a SYN (1 s): a lost one is seen as lost
ANSWER_SECONDS = 2.0
APART_SECONDS = 0.5
STREAM_SILENCE_SECONDS = 5.0


class Client:
    def __init__(self, options):
        self.o = options
        self.requests = []   # (start, end, error or None, node)
        self.streams = []    # (start, end, error or None, node)
        self.open_streams = 0
        self.ending = False
        self.late = 0    # how long the client itself stood still: a busy machine
        self.begin = 0   # of the requests; streams begin before

    def head(self, path):
        return (f"GET {path} HTTP/1.1\r\nHost: lab\r\nAuthorization: Bearer {self.o.token}\r\n"
                "Connection: close\r\n\r\n").encode()

    async def connect(self, path):
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection(self.o.address, self.o.port, limit=1 << 20), CONNECT_SECONDS)
        writer.write(self.head(path))
        return reader, writer

    @staticmethod
    async def read_head(reader):
        """(None or what is wrong, the node that answered, Content-Length)"""
        text = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_SECONDS)).decode("latin-1")
        node, length = "", None
        for line in text.split("\r\n"):
            name, _, value = line.partition(":")
            if name.lower() == "x-served-by":
                node = value.strip()
            elif name.lower() == "content-length":
                length = int(value)
        return (None if text.startswith("HTTP/1.1 200 ") else text.split("\r\n")[0]), node, length

    async def one(self, path, into, read_body):
        start = time.time()
        error, node, writer, phase = None, "", None, "connect"
        try:
            reader, writer = await self.connect(path)
            phase = "head"
            error, node, length = await self.read_head(reader)
            phase = "body"
            if not error:
                error = await read_body(reader, length)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as problem:
            error = f"{phase}: {type(problem).__name__} {problem}".strip()
        finally:
            if writer:
                writer.transport.abort() if error else writer.close()
        into.append((start, time.time(), error, node))

    async def request(self):
        async def body(reader, length):
            data = await asyncio.wait_for(reader.read(), ANSWER_SECONDS)
            return None if len(data) == length else f"body: cut at {len(data)} of {length}"
        await self.one(self.o.path, self.requests, body)

    async def stream(self):
        async def body(reader, _length):
            self.open_streams += 1
            data = bytearray()
            try:
                while piece := await asyncio.wait_for(reader.read(65536), STREAM_SILENCE_SECONDS):
                    data += piece
            finally:
                self.open_streams -= 1
            whole = data.count(b"data:") >= self.o.events and data.endswith(b"0\r\n\r\n")
            return None if whole else f"cut after {data.count(b'data:')} events"
        while not self.ending:
            await self.one(f"/v1/_sse?events={self.o.events}&interval={self.o.interval}&user=s", self.streams, body)
            if self.streams[-1][2]:
                await asyncio.sleep(0.05)

    async def run(self):
        # spread over the time of one stream, so that some are young and some are old at any moment
        tasks = []
        for number in range(self.o.streams):
            tasks.append(asyncio.ensure_future(self.stream()))
            if number % 5 == 4:
                await asyncio.sleep(self.o.events * self.o.interval / (self.o.streams // 5) / 2)
        while self.open_streams < self.o.streams * 0.9:
            await asyncio.sleep(0.01)
        running = set()
        begin = self.begin = next_one = time.time()
        told = False
        while time.time() < begin + self.o.seconds:
            task = asyncio.ensure_future(self.request())
            running.add(task)
            task.add_done_callback(running.discard)
            self.late = max(self.late, time.time() - next_one)
            next_one += self.o.every / 1000
            await asyncio.sleep(max(0, next_one - time.time()))
            if not told and len(self.requests) > 20:
                told = True
                print("ready", flush=True)
        self.ending = True
        await asyncio.gather(*running, *tasks)

    @staticmethod
    def outages(requests):
        """From the first that failed to the first good one that began after the last that failed, in ms; what
        lies APART_SECONDS apart is two."""
        found, first, last = [], None, None
        for start, _, error, _ in [*requests, (time.time(), 0, None, "")]:
            if error:
                first = start if first is None else first
                last, good = start, None
            elif first is not None:
                good = start if good is None else good
                if start > last + APART_SECONDS:
                    found.append(round((good - first) * 1000, 1))
                    first = None
        return found + ([] if first is None else [round((time.time() - first) * 1000, 1)])

    def summary(self):
        requests = sorted(self.requests)
        failed = [each for each in requests if each[2]]
        outages = self.outages(requests)
        errors = {}
        for _, _, error, _ in failed:
            errors[error] = errors.get(error, 0) + 1
        cut = [each for each in self.streams if each[2]]
        return {
            "late_ms": round(self.late * 1000, 1),
            "requests": len(requests), "failed": len(failed), "errors": errors,
            "outage_ms": max(outages, default=0), "outages_ms": outages,
            "slowest_ms": round(max((end - start for start, end, error, _ in requests if not error), default=0) * 1000, 1),
            "streams": len(self.streams), "cut": len(cut), "cut_errors": sorted({each[2] for each in cut}),
            "cut_began_at": sorted(round(each[0] - self.begin, 2) for each in cut)[:10],
            "served_by": sorted({each[3] for each in requests if each[3]}),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("token")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--every", type=float, default=5, help="milliseconds between requests")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--events", type=int, default=40, help="of a stream")
    parser.add_argument("--interval", type=float, default=0.1, help="seconds between them")
    parser.add_argument("--path", default="/v1/info")
    client = Client(parser.parse_args())
    asyncio.run(client.run())
    print(json.dumps(client.summary()), flush=True)


if __name__ == "__main__":
    main()
