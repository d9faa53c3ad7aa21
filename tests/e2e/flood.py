#!/usr/bin/python3
"""Sends packets to a UDP port as an attacker would; a process of its own, so that it disturbs no clock of a test.

    flood.py HOST PORT COUNT SECONDS < PACKETS

Standard input: one packet a line, in hex; they are sent in turn, from 127.0.0.99, COUNT of them over SECONDS.
Prints as JSON how many were sent and what came back: {"sent", "bytes", "answers", "answer_bytes", "largest"}.
"""

import json
import socket
import sys
import time

BATCH = 32   # between two looks at the clock
QUIET_SECONDS = 0.1


def main():
    host, port, count, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    packets = [bytes.fromhex(line) for line in sys.stdin.read().split()]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.99", 0))
    sock.connect((host, port))
    sock.setblocking(False)
    said = {"sent": 0, "bytes": 0, "answers": 0, "answer_bytes": 0, "largest": 0}

    def listen():
        try:
            while True:
                size = len(sock.recv(4096))
                said["answers"] += 1
                said["answer_bytes"] += size
                said["largest"] = max(said["largest"], size)
        except OSError:
            pass   # nothing more, or nobody there

    began = time.monotonic()
    while said["sent"] < count:
        for _ in range(BATCH):
            packet = packets[said["sent"] % len(packets)]
            try:
                sock.send(packet)
            except OSError:
                continue   # nobody there
            said["sent"] += 1
            said["bytes"] += len(packet)
        listen()
        ahead = said["sent"] * seconds / count - (time.monotonic() - began)
        if ahead > 0:
            time.sleep(ahead)
    sock.settimeout(QUIET_SECONDS)
    listen()   # until nothing more has come for so long
    print(json.dumps(said))


main()
