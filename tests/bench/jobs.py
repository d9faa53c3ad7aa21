"""The jobs of the bench, one a row: what the load does, and whether the proxies are spoken to over TLS.

Before each slice some requests are not counted: while the others had their turns, difyring closed what other
clients of Dify may need (all but two idle connections an instance, SPEC §3), and a proxy's code left the cache.

A new one: a row here; what the load must do for it is a switch of load.c. What a proxy cannot do is told as
missing: the relay speaks no TLS, and neither does a difyring whose `check` refuses the configuration.
"""
import subprocess
import typing


class Job(typing.NamedTuple):
    what: str
    load: tuple = ()       # switches of bench_load
    tls: bool = False
    nginx: str = ""        # a directive more
    haproxy: str = ""      # the same
    difyring: str = ""     # keys more of each instance
    application: str = ""  # lines more of the application
    connections: int = 64
    requests: int = 60000  # a round and proxy
    warm_up: int = 2000    # before each slice, not counted
    resumed: bool = False  # nearly all of its connections must resume a session
    beside: str = ""       # a job: what difyring takes more than for that one, in the same run; the others do neither


THREE_QUOTAS = """\
    quotas:
      - { per: user, requests: 1000000, every: 1m }
      - { per: address, requests: 1000000, every: 1h }
      - { per: application, requests: 4000000, every: 1d }
"""
# Of events: each goes on at once.
AS_IT_COMES = {"nginx": "proxy_buffering off;", "haproxy": "option http-no-delay"}

JOBS = {
    "chat": Job("64 kept-alive connections"),
    # difyring alone knows what a conversation is: beside `chat` it shows what remembering costs.
    "follow": Job("the same in conversations that are remembered, one a user", ("--follow",), beside="chat"),
    # Beside `chat`: what counting slots costs, and waiting for one. nginx and haproxy do neither here.
    "slots": Job("instances whose slots are counted, and never taken", difyring=", max_in_flight: 4096", beside="chat"),
    "queue": Job("64 connections for 3 x 15 slots, of which long requests get 12", difyring=", max_in_flight: 15",
                 beside="chat"),
    "quotas": Job("an application with three quotas, none of which refuses", application=THREE_QUOTAS, beside="chat"),
    "new": Job("a new connection for each request", ("--once",)),
    # Streams last a second, so no proxy is busy all the time: each pays for waking up.
    "stream": Job("512 event streams at a time; a request is one, of 50 events in a second", ("--stream",),
                  **AS_IT_COMES, connections=512, requests=5120, warm_up=512),
    "tls": Job("kept-alive connections with TLS", ("--tls",), tls=True),
    "tls-new": Job("a full TLS handshake for each request", ("--tls", "--once"), tls=True),
    "tls-resumed": Job("a resumed TLS session for each request", ("--tls", "--once", "--resume"), tls=True,
                       resumed=True),
}


def rows_of(job, proxies):
    """Whom a run measures unless it is told: all proxies, or difyring with this job, with the one beside it, and with
    that once more (control)."""
    beside = JOBS[job].beside
    return [beside, "control", "difyring"] if beside else list(proxies)


def share_a_process(job):
    """Whether only the load of its rows differs. Two processes of one program differ by 2 % for as long as they live,
    by where their memory happens to be."""
    one, beside = JOBS[job], JOBS.get(JOBS[job].beside)
    return beside is not None and (one.difyring, one.application, one.tls) == (
        beside.difyring, beside.application, beside.tls)


def job_of(job, row):
    """What a row's load does."""
    return JOBS[job.beside] if job.beside and row in (job.beside, "control") else job


def make_certificate(folder):
    """(certificate, key, both in one file) for this run alone: P-256, as most sites have today."""
    certificate, key, both = folder / "bench.crt", folder / "bench.key", folder / "bench.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both.write_text(certificate.read_text() + key.read_text())
    return certificate, key, both


def demand_resumed(rounds):
    """Else the figures would be of full handshakes."""
    for one in rounds:
        for name, figures in one.items():
            if figures["resumed"] < 0.9 * figures["requests"]:
                raise RuntimeError(f"{name} resumed {figures['resumed']} of {figures['requests']} sessions")
