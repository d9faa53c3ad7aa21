"""The bench itself: small runs, and that its tools tell wrong from right. No timing decides anything."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import signal
import socket
import ssl
import subprocess
import threading

import pytest

import jobs
import stage

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE = 60


def built(name, override):
    try:
        return stage.find_built(name, override)
    except stage.Missing:
        return None


needs_tools = pytest.mark.skipif(built("bench_relay", "DIFYRING_BENCH_DIR") is None,
                                 reason="bench_relay is not built")
needs_difyring = pytest.mark.skipif(built("difyring", "DIFYRING_BIN") is None,
                                    reason="difyring is not built")
pytestmark = needs_tools


def run_bench(*words, **environment):
    done = subprocess.run([HERE / "run", *words, "--json", "-"], capture_output=True, text=True,
                          timeout=DEADLINE, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["proxies"]


def assert_sane(report, requests):
    assert report["errors"] == 0, report["first_error"]
    assert [one["requests"] for one in report["rounds"]] == [requests]
    for key in ("cpu_us", "requests_per_second", "p50_us", "p99_us"):
        assert report[key]["median"] > 0
    assert report["p50_us"]["median"] <= report["p99_us"]["median"]
    assert report["rss_kib"]["before"] > 0


def test_the_relay_is_measured_without_errors():
    reports = run_bench("--rounds", "1", "--requests", "500", "--only", "relay")
    assert list(reports) == ["relay"]
    assert_sane(reports["relay"], 500)
    assert reports["relay"]["ratio"]["median"] == 1


@needs_difyring
def test_difyring_is_measured_without_errors():
    reports = run_bench("--rounds", "1", "--requests", "500", "--only", "relay,difyring")
    assert_sane(reports["difyring"], 500)
    assert reports["difyring"]["ratio"]["median"] > 0


@needs_difyring
@pytest.mark.parametrize("job", ["follow", "queue"])
def test_a_job_of_ours_alone_is_measured_beside_another(job):
    reports = run_bench("--job", job, "--rounds", "1", "--requests", "500", "--slices", "2", "--warm-up", "200")
    assert list(reports) == ["chat", "control", "difyring"]
    for report in reports.values():
        assert_sane(report, 500)
    assert reports["chat"]["ratio"]["median"] == 1 != reports["difyring"]["ratio"]["median"]


def test_a_proxy_that_is_not_there_is_missing_and_has_no_figures():
    reports = run_bench("--rounds", "1", "--requests", "500", "--only", "relay,difyring",
                        DIFYRING_BIN="/nonexistent/difyring")
    assert "not built" in reports["difyring"]["missing"]
    assert list(reports["difyring"]) == ["missing"]
    assert_sane(reports["relay"], 500)


def test_an_interrupted_run_leaves_no_process_and_no_file(tmp_path):
    bench = subprocess.Popen([HERE / "run", "--only", "relay", "--rounds", "100000"],
                             stderr=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)})
    said = b""
    while b"round 1:" not in said:
        assert select.select([bench.stderr], [], [], DEADLINE)[0]
        said += os.read(bench.stderr.fileno(), 4096)
    children = stage.process_tree(bench.pid)[1:]
    assert len(children) == 3
    assert len(list(tmp_path.iterdir())) == 1
    bench.send_signal(signal.SIGINT)
    bench.stderr.close()
    assert bench.wait(DEADLINE) == 130
    assert not [pid for pid in children if pathlib.Path(f"/proc/{pid}").exists()]
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------- the tools

@pytest.fixture
def scene(request):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with stage.Stage(None, None, getattr(request, "param", "chat")) as one:
        yield one
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(DEADLINE)
        yield sock


def read_all(sock):
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def test_the_relay_keeps_every_byte_when_the_reader_is_slow(scene, listener):
    _, (port,) = scene.start_tool("bench_relay", [listener.getsockname()[1]], scene.proxy_core)
    sent = os.urandom(1 << 16) * 400  # 25 MiB: far beyond what socket buffers take
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        instance, _ = listener.accept()
        with instance:
            instance.settimeout(DEADLINE)
            # Nobody reads until the relay takes no more.
            client.setblocking(False)
            at = 0
            while select.select([], [client], [], 0.5)[1]:
                at += client.send(sent[at:at + (1 << 20)])
            assert 0 < at < len(sent)
            client.settimeout(DEADLINE)

            def send_rest():
                client.sendall(sent[at:])
                client.shutdown(socket.SHUT_WR)

            sender = threading.Thread(target=send_rest)
            sender.start()
            assert read_all(instance) == sent
            sender.join(DEADLINE)
            # The other half is still open.
            instance.sendall(b"answer")
            instance.shutdown(socket.SHUT_WR)
            assert read_all(client) == b"answer"


ANSWERS = {
    "status is not 200": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    "length differs": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "connection lost": b"",
}


@pytest.mark.parametrize("reason", ANSWERS)
def test_the_load_counts_each_wrong_answer(scene, listener, reason):
    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # the test is over
            with client:
                client.recv(4096)
                client.sendall(ANSWERS[reason])

    threading.Thread(target=serve, daemon=True).start()
    result = scene.start_load(listener.getsockname()[1], 1).order(20)
    listener.shutdown(socket.SHUT_RDWR)
    assert (result["requests"], result["errors"]) == (0, 20)
    assert result["first_error"] == reason


def test_errors_are_those_of_the_process_that_has_ended(scene):
    proxy = scene.start_proxy("relay", scene.start_instances())
    load = scene.start_load(proxy.port, 1, "relay")
    assert load.order(20)["errors"] == 0
    instances = scene.processes[0]
    instances.kill()
    instances.wait(DEADLINE)
    with pytest.raises(RuntimeError, match="bench_backend ended with -9"):
        load.order(20)


def test_the_load_finds_one_changed_byte(scene, listener):
    instance_port = scene.start_instances()[0]
    status, body = stage.ask(instance_port, "POST", "/v1/chat-messages")
    assert status == 200
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    answers = [head + body, head + body[:100] + b"#" + body[101:], head + body]

    def serve():
        while answers:
            client, _ = listener.accept()
            with client:
                while answers and client.recv(4096):
                    client.sendall(answers.pop(0))

    server = threading.Thread(target=serve)
    server.start()
    result = scene.start_load(listener.getsockname()[1], 1).order(3)
    server.join(DEADLINE)
    assert (result["requests"], result["errors"]) == (2, 1)
    assert result["first_error"] == "body differs"


@pytest.mark.parametrize("scene", ["new", "tls-new", "tls-resumed"], indirect=True)
def test_the_load_takes_a_connection_for_each_request(scene, listener):
    status, body = stage.ask(scene.start_instances()[0], "POST", "/v1/chat-messages")
    assert status == 200
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    context = None
    if scene.job.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*scene.certificate[:2])
    asked = []

    def serve():
        for _ in range(20):
            client, _ = listener.accept()
            with context.wrap_socket(client, server_side=True) if context else client as one:
                asked.append(one.recv(4096))
                one.sendall(answer)

    server = threading.Thread(target=serve)
    server.start()
    result = scene.start_load(listener.getsockname()[1], 1).order(20)
    server.join(DEADLINE)
    assert (result["requests"], result["errors"], len(asked)) == (20, 0, 20), result
    assert all(b"\r\nConnection: close\r\n" in head for head in asked)
    assert result["resumed"] == (19 if scene.job.resumed else 0)


def test_figures_of_full_handshakes_are_not_taken_for_resumed_ones():
    jobs.demand_resumed([{"nginx": {"requests": 100, "resumed": 95}}])
    with pytest.raises(RuntimeError, match="resumed 3 of 100"):
        jobs.demand_resumed([{"nginx": {"requests": 100, "resumed": 3}}])


@pytest.mark.parametrize("scene", ["stream"], indirect=True)
def test_the_load_reads_event_streams_however_they_are_cut_and_finds_one_changed_byte(scene, listener):
    port = scene.start_instances()[0]
    assert scene.start_load(port, 3).order(3)["errors"] == 0   # as the instances send them
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("POST", "/v1/chat-messages", '{"response_mode":"streaming"}')
    events = connection.getresponse().read()
    connection.close()
    assert events.count(b"data: ") == 50 and len(events) == 50 * len(events.partition(b"\n\n")[0] + b"\n\n")

    def chunked(body, size):
        return b"".join(b"%X\r\n%s\r\n" % (len(body[at:at + size]), body[at:at + size])
                        for at in range(0, len(body), size)) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = {"": chunked(events, 37), "event differs": chunked(events[:3000] + b"#" + events[3001:], 1000),
               "length differs": chunked(events[:-2], 5000), "chunk is broken": chunked(events, 900).replace(b"0\r\n\r\n", b"x")}

    def serve():
        for answer in answers.values():
            asked = b""
            while not asked:   # the load opens a connection anew after each error, and asks nothing on it
                client, _ = listener.accept()
                with client, contextlib.suppress(ConnectionError):
                    asked = client.recv(4096)
                    client.sendall(head + answer)
                    client.recv(1)   # until the load has read it

    server = threading.Thread(target=serve)
    server.start()
    for wrong in answers:
        load = scene.start_load(listener.getsockname()[1], 1)
        result = load.order(1)
        assert (result["first_error"], result["requests"]) == (wrong, 0 if wrong else 1)
        scene.stop(load.process)
    server.join(DEADLINE)


@needs_difyring
def test_uploads_go_through_each_proxy():
    done = subprocess.run([HERE / "uploads", "--rounds", "1", "--size", "3"], capture_output=True, text=True,
                          timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    assert "MB a CPU second" in done.stdout
    assert re.search(r"^difyring +[0-9]+ MB a CPU second", done.stdout, re.M)


@needs_difyring
@pytest.mark.parametrize("tls", [[], ["--tls"]])
def test_each_event_of_many_streams_comes(tls):
    done = subprocess.run([HERE / "streams", "--rounds", "1", "--streams", "300", "--seconds", "2", "--only", "difyring", *tls],
                          capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    row = re.search(r"^difyring .* ([0-9]+) +([0-9]+)$", done.stdout, re.M)
    # One a second in each makes 600; on a busy machine the tool itself comes late, with more or less behind it.
    assert int(row[1]) >= 200 and row[2] == "0", done.stdout
