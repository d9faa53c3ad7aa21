"""What the bench puts on stage: instances, proxies, load, each its own process on its own core.

Owner of every process is one Stage: leaving its `with` block ends them all by pid and removes the
temporary folder, also on errors and Ctrl-C. Each child also asks the kernel to be ended with us, so
that even a killed bench leaves nothing running. Everything listens on loopback only.
"""
import ctypes
import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import jobs

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Release first. Never a sanitizer's build: a slow yardstick would flatter every proxy.
BUILDS = ("build/release", "build")
# control is a second relay: what it differs from the first is the noise of the measurement.
PROXIES = ("relay", "control", "difyring", "nginx", "haproxy")
INSTANCES = 3
CLIENT_TOKEN = "usertoken--customer-service-v1"
INSTANCE_TOKEN = "app-bench%d"
START_SECONDS = 10  # a proxy that does not answer by then is broken
STOP_SECONDS = 3    # between asking, asking again, and killing
ORDER_SECONDS = 90  # bench_load ends an order by itself after 60; this is for one that hangs
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Missing(Exception):
    """Something that a proxy needs is not on this machine."""


def find_built(name, override):
    """The built program `name`; the environment variable `override` names another (file or folder)."""
    given = os.environ.get(override)
    if given:
        places = [pathlib.Path(given), pathlib.Path(given) / name]
    else:
        places = [ROOT / build / room / name
                  for build in BUILDS for room in ("tests/bench", "node", ".", "bin")]
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return str(place)
    raise Missing(f"{name} is not built (looked in {given or ' and '.join(BUILDS)}; "
                  f"{override} may name it)")


def find_installed(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def free_port():
    """A port that the kernel holds free. nginx, haproxy and difyring want a number beforehand; should
    another process take it in between, their start fails and is tried again with the next."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# ---------------------------------------------------------------- what the kernel says of a process

def process_tree(pid):
    """The process and all its descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path("/proc", entry, "stat").read_text()
            except OSError:
                continue  # ended meanwhile
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    tree = [pid]
    for member in tree:
        tree.extend(parents.get(member, ()))
    return tree


def cpu_clock(pids):
    """(ns run, ns waited for the core while runnable, times put on it), over all threads."""
    run = waited = turns = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            fields = pathlib.Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()
            run += int(fields[0])
            waited += int(fields[1])
            turns += int(fields[2])
    return run, waited, turns


def rss_kib(pids):
    """From smaps_rollup, which counts pages: VmRSS may be some hundred KiB behind on new kernels."""
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Rss:"):
                total += int(line.split()[1])
    return total


# ------------------------------------------------------------------------------- configurations

DIFYRING = """\
node: {{ name: bench }}
listen: [{{ address: "127.0.0.1:{port}"{tls} }}]
workers: 1
timeouts: {{ keepalive: 600s }}
log: {{ access: "off", error: "{folder}/difyring.error.log", level: warning }}
health_check: {{ enabled: false }}
user_id: {{ sources: ["json:user"], missing: balance }}
applications:
  customer_service:
    user_tokens: ["{client_token}"]
    algorithm: consistent_hash
{more}    instances:
{instances}
"""
DIFYRING_INSTANCE = "      - {{ name: dify{n}, host: 127.0.0.1, port: {port}, token: {token}%s }}"

NGINX = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log warn;
events {{ worker_connections 18000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/nginx.body;
    proxy_temp_path {folder}/nginx.proxy;
    fastcgi_temp_path {folder}/nginx.fastcgi;
    uwsgi_temp_path {folder}/nginx.uwsgi;
    scgi_temp_path {folder}/nginx.scgi;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    upstream instances {{
        hash $http_x_user_id consistent;
{instances}
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{tls};
        location /v1/ {{
            proxy_pass http://instances;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header Authorization "Bearer {token}";
            {more}
        }}
    }}
}}
"""
NGINX_INSTANCE = "        server 127.0.0.1:{port};"

HAPROXY = """\
global
    nbthread 1
    maxconn 9000
defaults
    mode http
    no log
    timeout connect 2s
    timeout client 600s
    timeout server 600s
    timeout http-keep-alive 600s
    {more}
frontend clients
    bind 127.0.0.1:{port} backlog 4096{tls}
    default_backend instances
backend instances
    option http-buffer-request
    http-reuse always
    balance hash req.body,json_query('$.user')
    hash-type consistent
    http-request set-header Authorization "Bearer {token}"
{instances}
"""
HAPROXY_INSTANCE = "    server dify{n} 127.0.0.1:{port}"


# What follows the address where the job is over TLS.
TLS = {"difyring": ", tls: [{{ certificate: {certificate}, key: {key} }}]",
       "nginx": " ssl; ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3",
       "haproxy": " ssl crt {both} ssl-min-ver TLSv1.2"}


def fill(text, instance_text, port, instance_ports, folder, tls, more=""):
    instances = "\n".join(
        instance_text.format(n=n, port=instance_port, token=INSTANCE_TOKEN % n)
        for n, instance_port in enumerate(instance_ports, 1))
    # As root nginx would drop to a user that may not use our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    return text.format(port=port, folder=folder, instances=instances, user=user, tls=tls, more=more,
                       client_token=CLIENT_TOKEN, token=INSTANCE_TOKEN % 1)


# -------------------------------------------------------------------------------------- processes

class Proxy:
    def __init__(self, name, process, port, program):
        self.name, self.port, self.program = name, port, program
        self.process = process
        self.pids = process_tree(process.pid)


class Load:
    """bench_load: order N requests, get what became of them. Errors while a process on the same stage has ended, as
    none should before the stage does, are that one's, and it is named."""

    def __init__(self, process, others=()):
        self.process, self.others = process, others

    def order(self, requests):
        try:
            self.process.stdin.write(f"{requests}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended: seen below
        if not select.select([self.process.stdout], [], [], ORDER_SECONDS)[0]:
            raise RuntimeError("the load hangs")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(f"{self.ended()}; their words are above")
        result = json.loads(line)
        if result["errors"] and self.ended():
            raise RuntimeError(f"{result['errors']} errors: {self.ended()}; their words are above")
        return result

    def ended(self):
        """Of who is asked through, and this one: another load may have been told to end."""
        return ", ".join(f"{pathlib.Path(one.args[0]).name} ended with {one.returncode}"
                         for one in (*self.others, self.process) if one.poll() is not None)


def exit_on_signal(number, _frame):
    raise SystemExit(128 + number)


class Stage:
    def __init__(self, proxy_core, load_core, job="chat"):
        """A job's name. Of the cores, None: the first usable core for the proxies, another for load and instances."""
        usable = sorted(os.sched_getaffinity(0))
        self.proxy_core = usable[0] if proxy_core is None else proxy_core
        others = [core for core in usable if core != self.proxy_core] or usable
        self.load_core = others[0] if load_core is None else load_core
        for core in (self.proxy_core, self.load_core):
            if core not in usable:
                raise SystemExit(f"core {core} is not usable here (usable: {usable})")
        if self.proxy_core == self.load_core:
            print("bench: proxies and load share one core: believe no figure", file=sys.stderr)
        self.job = jobs.JOBS[job]
        self.processes = []
        self.folder = None

    def __enter__(self):
        signal.signal(signal.SIGTERM, exit_on_signal)
        self.folder = tempfile.mkdtemp(prefix="difyring-bench-")
        self.certificate = jobs.make_certificate(pathlib.Path(self.folder)) if self.job.tls else None
        return self

    def __exit__(self, *_):
        for impatient in (signal.SIGINT, signal.SIGTERM):
            signal.signal(impatient, signal.SIG_IGN)  # the tidying up is bounded; let it finish
        try:
            while self.processes:
                self.stop(self.processes.pop())  # the last started first: load, proxies, instances
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def stop(process):
        if process.stdin:
            try:
                process.stdin.close()
            except OSError:
                pass  # unread orders of a load that has ended
        for ask in (process.terminate, process.terminate, process.kill):
            if process.poll() is not None:
                return
            tree = process_tree(process.pid) if ask == process.kill else []
            ask()
            for pid in tree[1:]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass

    def start(self, words, core, pipes=False):
        def child():
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            os.sched_setaffinity(0, {core})
        pipe = subprocess.PIPE if pipes else None
        # Its own session: Ctrl-C reaches us alone, and we end the others in order.
        process = subprocess.Popen([str(word) for word in words], preexec_fn=child, text=True,
                                   stdin=pipe if pipes else subprocess.DEVNULL, stdout=pipe,
                                   start_new_session=True)
        self.processes.append(process)
        return process

    def start_tool(self, name, words, core):
        """One of our tools; returns the ports that it prints first."""
        process = self.start([find_built(name, "DIFYRING_BENCH_DIR"), *words], core, pipes=True)
        if not select.select([process.stdout], [], [], START_SECONDS)[0]:
            raise RuntimeError(f"{name} does not start")
        return process, [int(word) for word in process.stdout.readline().split()[1:]]

    def start_instances(self):
        return self.start_tool("bench_backend", [INSTANCES], self.load_core)[1]

    def start_load(self, port, connections, row="difyring"):
        words = jobs.job_of(self.job, row).load
        asked = [process for process in self.processes if not str(process.args[0]).endswith("bench_load")]
        return Load(self.start([find_built("bench_load", "DIFYRING_BENCH_DIR"), "--port", port,
                                "--connections", connections, *words], self.load_core, pipes=True), asked)

    def start_proxy(self, name, instance_ports):
        """Raises Missing when the machine lacks it, RuntimeError when it does not come up."""
        if name == "relay" or (name == "control" and not self.job.beside):
            if self.job.tls:
                raise Missing("it has no TLS")
            process, ports = self.start_tool("bench_relay", instance_ports, self.proxy_core)
            proxy = Proxy(name, process, ports[0], process.args[0])
            self.await_answer(proxy)
            return proxy
        for attempt in range(3):  # another process may have taken the port
            try:
                return self.start_configured(name, instance_ports)
            except RuntimeError:
                if attempt == 2:
                    raise

    def start_configured(self, name, instance_ports):
        port = free_port()
        config = pathlib.Path(self.folder, f"{name}.conf")
        tls = ""
        ours = name not in ("nginx", "haproxy")
        if self.job.tls:
            tls = TLS[name].format(**dict(zip(("certificate", "key", "both"), self.certificate)))
        if ours:
            program = find_built("difyring", "DIFYRING_BIN")
            job = jobs.job_of(self.job, name)
            text, words = fill(DIFYRING, DIFYRING_INSTANCE % job.difyring, port, instance_ports, self.folder, tls,
                               job.application), [program, "run", "-c", config]
        elif name == "nginx":
            program = find_installed(name)
            text, words = fill(NGINX, NGINX_INSTANCE, port, instance_ports, self.folder, tls, self.job.nginx), \
                [program, "-c", config, "-e", f"{self.folder}/nginx.error.log"]
        else:
            program = find_installed(name)
            text, words = fill(HAPROXY, HAPROXY_INSTANCE, port, instance_ports, self.folder, tls, self.job.haproxy), \
                [program, "-db", "-q", "-f", config]
        config.write_text(text)
        if ours:
            demand_accepted(program, config)
        process = self.start(words, self.proxy_core)
        proxy = Proxy(name, process, port, program)
        try:
            self.await_answer(proxy)
        except RuntimeError as error:
            self.processes.remove(process)
            self.stop(process)
            log = pathlib.Path(self.folder, f"{'difyring' if ours else name}.error.log")
            tail = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{error}\n{tail}") from None
        proxy.pids = process_tree(process.pid)
        return proxy

    def await_answer(self, proxy):
        """Until the proxy carries one real request (and difyring says itself that it is healthy)."""
        deadline = time.monotonic() + START_SECONDS
        problem = "no answer"
        while time.monotonic() < deadline:
            if proxy.process.poll() is not None:
                raise RuntimeError(f"{proxy.name} ended with {proxy.process.returncode}")
            try:
                if proxy.name == "difyring" and ask(proxy.port, "GET", "/health", self.job.tls)[0] != 200:
                    problem = "/health is not 200"
                else:
                    status, body = ask(proxy.port, "POST", "/v1/chat-messages", self.job.tls)
                    if status == 200:
                        return
                    problem = f"status {status}: {body[:200]!r}"
            except OSError as error:
                problem = str(error)
            except http.client.HTTPException as error:
                problem = repr(error)
            select.select([], [], [], 0.02)  # nothing tells us when it listens: ask again soon
        raise RuntimeError(f"{proxy.name} does not come up: {problem}")


def demand_accepted(program, config):
    """Raises Missing where this build cannot do the job yet."""
    done = subprocess.run([program, "check", "-c", config], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(((done.stderr + done.stdout).splitlines() or ["its check fails"])[0])


def ask(port, method, path, tls=False):
    if tls:
        context = ssl._create_unverified_context()  # a certificate of this run
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    body = json.dumps({"inputs": {}, "query": "?", "response_mode": "blocking",
                       "conversation_id": "", "user": "user-000000"})
    headers = {"Authorization": f"Bearer {CLIENT_TOKEN}", "Content-Type": "application/json",
               "X-User-ID": "user-000000"}
    try:
        connection.request(method, path, body if method == "POST" else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
