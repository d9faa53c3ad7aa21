"""Command line and start-up: one instance, one control port, one JSON line when both are ready."""

import argparse
import asyncio
import gc
import json
import os
import signal
import sys

from . import annotations, api, nursery, probe   # noqa: F401  (they register their routes)
from .connection import Listener
from .control import ControlService
from .service import DifyService
from .state import Instance, Journal

VERSIONS = ("1.13.0", "1.16.0")   # those that DIFY.md §0 tells of


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="dify_stub", description="A stand-in Dify instance for tests and demos.")
    parser.add_argument("--name", required=True, help="shown in answers, so that one sees who answered")
    parser.add_argument("--token", action="append", required=True, help="app token; more than one: more applications")
    parser.add_argument("--version", choices=VERSIONS, default=VERSIONS[-1], help="of the Dify to answer as")
    parser.add_argument("--chatflow", action="store_true", help="chats are chatflows, which the worker runs")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the kernel picks one")
    parser.add_argument("--control-port", type=int, default=0)
    parser.add_argument("--connections", type=int, default=0, help="served at a time; 0: no limit, Dify: 10")
    parser.add_argument("--idle-timeout", type=float, default=2.0, help="seconds without a request head; gunicorn: 2")
    parser.add_argument("--graceful-timeout", type=float, default=30.0,
                        help="seconds that SIGTERM leaves to open connections; gunicorn: 30")
    parser.add_argument("--event-interval", type=float, default=0.05, help="seconds between events of a stream")
    parser.add_argument("--events", type=int, default=5, help="answer events of a stream")
    parser.add_argument("--ping-interval", type=float, default=10.0, help="seconds of silence before a ping")
    parser.add_argument("--records", type=int, default=50_000, help="requests remembered for GET /requests")
    parser.add_argument("--exit-with-stdin", action="store_true", help="end when standard input ends")
    return parser.parse_args(arguments)


async def serve(options):
    journal = Journal(options.records)
    service = DifyService(Instance(options), journal)
    service.listener = Listener(service, options.host, options.port, options.connections)
    service.listener.open()
    control = ControlService(service)
    control.listener = Listener(control, options.host, options.control_port)
    control.listener.open()

    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end():
        if not ended.done():
            ended.set_result(None)

    def on_stdin():
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end()

    loop.add_signal_handler(signal.SIGTERM, lambda: service.end_gracefully(end, options.graceful_timeout))
    loop.add_signal_handler(signal.SIGINT, end)
    if options.exit_with_stdin:
        loop.add_reader(0, on_stdin)
    print(json.dumps({"name": options.name, "port": service.listener.port, "control_port": control.listener.port,
                      "pid": os.getpid()}), flush=True)
    await ended
    for listener in (service.listener, control.listener):
        listener.shut()
        for connection in list(listener.connections):
            if connection.transport:
                connection.transport.abort()
    await asyncio.sleep(0)   # lets the transports' own callbacks run


def run(arguments):
    options = options_of(arguments)
    gc.freeze()   # what the imports made stays: no need to walk it again
    try:
        asyncio.run(serve(options))
    except OSError as error:
        sys.exit(f"dify_stub: {error}")


def main():
    if sys.argv[1:2] == ["--nursery"]:   # for tests: see there
        nursery.serve(int(sys.argv[2]), run)
    else:
        run(sys.argv[1:])
