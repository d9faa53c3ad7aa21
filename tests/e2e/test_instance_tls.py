"""TLS to instances: who is believed, what is shown, what a failure does, and that bytes are cut where they were."""

import contextlib
import json
import os
import shutil
import socket
import ssl
import threading
import time

import pytest
from certificates import EC, Authority, openssl
from harness import TIMEOUT, TOKEN, Node, check_error, run_command, settings
from stub_client import wait_for
from terminator import Terminator

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
WHOLE = HEAD + b"Content-Length: 5\r\n\r\nwhole"


@pytest.fixture(scope="module")
def ca():
    with Authority() as it:
        it.good = it.pair("good", ["localhost", "dify.test"])
        it.shown = it.pair("node", ["node.test"])
        yield it


def pair_for(ca, name, extension, days=30):
    """Another pair of the CA, with this subjectAltName."""
    openssl("req", "-new", "-nodes", *EC, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}",
            folder=ca.folder)
    with open(ca.file(f"{name}.san"), "w", encoding="ascii") as file:
        file.write(f"subjectAltName={extension}\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days",
            str(days), "-extfile", f"{name}.san", "-out", f"{name}.crt", folder=ca.folder)
    return {"certificate": ca.file(f"{name}.crt"), "key": ca.file(f"{name}.key")}


def entry(port, name="dify1", token="app-one", host="localhost", tls=True, **more):
    return {"name": name, "host": host, "port": port, "token": token, "tls": tls, "max_fails": 0, **more}


def node_with(*instances, **more):
    return Node(settings([], instances=list(instances), **{"workers": 1, **more}))


def get(node, **more):
    return node.request("GET", "/v1/_echo", token=TOKEN, **more)


# ---- what works

def test_requests_streams_and_websockets_go_over_tls(stubs, ca):
    with Terminator(ca.good, stubs[0]) as tls, \
            node_with(entry(tls.port, tls={"ca": ca.path}), health_check={"interval": "50ms"}) as node:
        node.wait_instance("dify1", status="healthy", eligible=True)   # by checks
        seen = node.echo(method="POST", body=b"x" * 300_000, headers=[("X-Y", "z")])
        assert (seen["fields"]["x-y"], seen["fields"]["authorization"]) == (["z"], ["Bearer app-one"])
        assert seen["body_size"] == 300_000
        assert (tls.seen[0]["name"], tls.seen[0]["version"]) == ("localhost", "TLSv1.3")
        head, answer = node.request("GET", "/v1/_bytes?size=3000000", token=TOKEN)
        assert (head.status, len(answer)) == (200, 3_000_000)
        with node.client() as client:
            assert client.request("GET", "/v1/_sse?events=3&interval=0.01", TOKEN).head().status == 200
            assert len(client.chunks()) >= 3
        with node.client() as client:
            client.request("GET", "/v1/_ws", TOKEN, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                                     ("Sec-WebSocket-Key", "a2V5"), ("Sec-WebSocket-Version", "13")])
            assert client.head().status == 101
            client.send(b"\x81\x82\0\0\0\0hi")   # a masked frame comes back unmasked
            assert client.take(4) == b"\x81\x02hi"


def test_sessions_are_resumed_until_the_instance_forgets_them(stubs, ca):
    with Terminator(ca.good, stubs[0]) as tls, node_with(entry(tls.port, tls={"ca": ca.path})) as node:
        def new_connection():
            stubs[0].close_connections()
            wait_for(lambda: tls.closed == len(tls.seen), TIMEOUT)   # the pool is empty
            assert get(node)[0].status == 200
            return tls.seen[-1]["resumed"]
        assert [new_connection() for _ in range(3)] == [False, True, True]
        tls.load(ca.good)   # as a restart: nobody knows its tickets
        assert [new_connection() for _ in range(2)] == [False, True]
        assert node.reload()[0] == 200   # the CA is read again, and no session that another one vouched for counts
        assert [new_connection() for _ in range(2)] == [False, True]


def test_names_addresses_and_certificates_of_clients(stubs, ca):
    address = pair_for(ca, "address", "IP:127.0.0.1")
    with Terminator(address, stubs[0]) as tls, node_with(entry(tls.port, host="127.0.0.1", tls={"ca": ca.path})) as node:
        assert get(node)[0].status == 200
        assert tls.seen[0]["name"] is None   # an address is no server name (RFC 6066)
    with Terminator(ca.good, stubs[0], client_ca=ca.path) as tls, \
            node_with(entry(tls.port, host="127.0.0.1", tls={"ca": ca.path, "server_name": "dify.test", **ca.shown})) as node:
        assert get(node)[0].status == 200
        assert (tls.seen[0]["name"], tls.seen[0]["certificate"]) == ("dify.test", True)


def test_an_unverified_instance_is_served_and_check_warns(stubs, ca, tmp_path):
    wrong = pair_for(ca, "wrong", "DNS:other.test")
    with Terminator(wrong, stubs[0]) as tls:
        value = settings([], instances=[entry(tls.port, tls={"verify": False})], workers=1)
        with Node(value) as node:
            assert get(node)[0].status == 200
            assert [e for e in node.events("config_unwise") if "verify" in e["message"]]
        path = tmp_path / "node.yaml"
        path.write_text(json.dumps(value))
        result = run_command("check", "-c", str(path))
        assert result.returncode == 0 and "verify: false" in result.stdout + result.stderr


# ---- what does not

class Denier:
    """Demands a certificate and never gets one: of TLS 1.3 that is said behind the end of the client's handshake."""

    def __init__(self, pair, ca):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair["certificate"], pair["key"])
        self.context.load_verify_locations(ca)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):   # of accept(), once it is closed
            while True:
                sock, _ = self.listener.accept()
                with contextlib.suppress(OSError), sock:
                    self.context.wrap_socket(sock, server_side=True).close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()


class Silent:
    """The kernel accepts, nobody speaks."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def close(self):
        self.listener.close()


@pytest.mark.parametrize("kind, fault", [
    ("wrong_ca", "certificate"), ("wrong_name", "hostname mismatch"), ("expired", "expired"),
    ("certificate_demanded", "certificate required"), ("plain_http", "timed out"), ("silent", "timed out"),
])
def test_a_failed_handshake_moves_the_request_on(stubs, ca, kind, fault):
    late = kind in ("silent", "plain_http")
    with contextlib.ExitStack() as stack:
        if kind == "plain_http":
            port = stubs[0].port
        elif kind == "silent":
            port = stack.enter_context(contextlib.closing(Silent())).port
        elif kind == "certificate_demanded":
            port = stack.enter_context(contextlib.closing(Denier(ca.good, ca.path))).port
        else:
            pair = {"wrong_ca": lambda: stack.enter_context(Authority()).pair("x", ["localhost"]),
                    "wrong_name": lambda: pair_for(ca, "name", "DNS:other.test"),
                    "expired": lambda: pair_for(ca, "expired", "DNS:localhost", days=0)}[kind]()
            port = stack.enter_context(Terminator(pair, stubs[0])).port
        good = stack.enter_context(Terminator(ca.good, stubs[1]))
        node = stack.enter_context(node_with(
            entry(port, tls={"ca": ca.path}), entry(good.port, "dify2", tls={"ca": ca.path}),
            timeouts={"connect": "400ms" if late else "5s"}, application={"algorithm": "weighted_round_robin"},
            health_check={"interval": "100ms", "unhealthy_threshold": 3 if late else 100, "timeout": "300ms"}))
        if kind == "expired":   # it ends with the second in which it was made
            wait_for(lambda: time.time() - os.stat(pair["certificate"]).st_mtime > 1.1, TIMEOUT)
        for _ in range(4):
            head, answer = node.request("POST", "/v1/_echo", token=TOKEN, body=b"once")
            assert head.status == 200, answer
        lines = node.wait_access(4, app="one")
        assert {line["instance"] for line in lines} == {"dify2"}
        assert stubs[0].requests(path="/v1/_echo") == []
        tried = {one["failed"] for line in lines for one in line["tried"]}
        assert tried <= {"connect_timeout" if late else "tls"} and (late or tried), lines
        if not late:
            assert max(line["attempts"] for line in lines) == 2
            event = wait_for(lambda: node.events("instance_tls_failed"), TIMEOUT)[0]
            assert (event["instance"], fault in event["fault"]) == ("dify1", True), event


@pytest.mark.parametrize("kind, fault", [("wrong_name", "hostname mismatch"), ("plain_http", "connecting timed out")])
def test_a_check_says_what_is_wrong_with_tls(stubs, ca, kind, fault):
    with Terminator(pair_for(ca, "check", "DNS:other.test"), stubs[0]) as tls, \
            node_with(entry(stubs[0].port if kind == "plain_http" else tls.port, tls={"ca": ca.path}),
                      health_check={"interval": "50ms", "unhealthy_threshold": 1, "timeout": "200ms"}) as node:
        event = wait_for(lambda: node.events("check_result"), TIMEOUT)[0]
        assert (event["active"], event["reason"]) == ("down", fault)
        node.wait_instance("dify1", status="unhealthy")


def test_where_all_handshakes_fail_it_is_503_and_the_log_says_why(stubs, ca):
    with Terminator(ca.good, stubs[0]) as tls, node_with(entry(tls.port)) as node:   # the system knows no such CA
        check_error(*get(node), 503, "service_unavailable")
        event = wait_for(lambda: node.events("instance_tls_failed"), TIMEOUT)[0]
        assert (event["app"], event["instance"]) == ("one", "dify1") and "certificate" in event["fault"]
        line, = node.wait_access(app="one")
        assert (line["status"], line["termination"]) == (503, "tls")


def test_where_tls_13_denies_behind_the_handshake_it_is_503_too(ca):
    with contextlib.closing(Denier(ca.good, ca.path)) as denier, node_with(entry(denier.port, tls={"ca": ca.path})) as node:
        for method, body in (("GET", b""), ("POST", b"once")):
            answer = node.request(method, "/v1/_echo", token=TOKEN, body=body)
            check_error(*answer, 503, "service_unavailable")
            assert answer[0].headers.get("retry-after"), answer
        assert {(line["status"], line["termination"]) for line in node.wait_access(2, app="one")} == {(503, "tls")}


def test_failed_handshakes_eject_and_status_says_so(stubs, ca):
    with Terminator(ca.good, stubs[0]) as tls, Terminator(ca.good, stubs[1]) as good, \
            node_with(entry(tls.port, max_fails=1), entry(good.port, "dify2", tls={"ca": ca.path}),
                      application={"algorithm": "weighted_round_robin"}) as node:
        for _ in range(2):
            assert get(node)[0].status == 200
        node.wait_instance("dify1", status="ejected")
        assert node.instances()["dify1"]["reason"]["kind"] == "tls"
        tried = [line["tried"] for line in node.wait_access(2, app="one") if line["tried"]]
        assert tried == [[{"instance": "dify1", "failed": "tls"}]]


def test_a_node_that_cannot_read_a_file_goes_on_without_the_instance(stubs, ca, tmp_path):
    path = tmp_path / "later.crt"
    with Terminator(ca.good, stubs[0]) as tls, Terminator(ca.good, stubs[1]) as other:
        instances = [entry(tls.port, tls={"ca": str(path)}), entry(other.port, "dify2", tls={"ca": ca.path})]
        with node_with(*instances, application={"algorithm": "weighted_round_robin"},
                       health_check={"interval": "50ms", "unhealthy_threshold": 1}) as node:
            result = run_command("check", "--host", "-c", node.conf_path)
            assert "`tls.ca` of `dify1`" in result.stdout and "dify2" not in result.stdout, result
            event, = node.events("instance_tls_unreadable")
            assert event["instance"] == "dify1" and "tls.ca" in event["fault"]
            problems = wait_for(lambda: [one for one in [{p["kind"]: p for p in node.status()["problems"]}]
                                         if "instance_unreachable" in one], TIMEOUT)[0]
            assert problems["file_unreadable"]["subject"] == problems["instance_unreachable"]["subject"] == "one/dify1"
            # nobody else is there to reach it, and nothing has been seen of it
            assert problems["instance_unreachable"]["detail"] == "this node alone does not reach it, and skips it"
            for _ in range(6):
                assert get(node)[0].status == 200
            assert {line["instance"] for line in node.wait_access(6, app="one")} == {"dify2"}
            assert all(line["attempts"] == 1 for line in node.access(app="one"))   # it is skipped, not tried
            assert node.instances()["dify1"]["failures"] == 0 and not tls.failed
            assert node.reload()[0] == 200   # it goes on: nothing ends, and nothing begins
            wait_for(lambda: len(node.events("instance_tls_unreadable")) == 2, TIMEOUT)
            assert node.request("POST", "/admin/drain")[0].status == 200
            wait_for(lambda: node.events("node_drain"), TIMEOUT)   # behind whatever else was told
            assert [e["event"] for e in node.events() if e.get("kind") == "file_unreadable"] == ["problem"]
            assert node.request("POST", "/admin/enable")[0].status == 200
            shutil.copy(ca.path, path)
            assert node.reload()[0] == 200   # the files are read again
            node.wait_instance("dify1", status="healthy")
            wait_for(lambda: get(node)[0].status == 200 and node.access(instance="dify1"), TIMEOUT)
            assert [one for one in node.status()["problems"] if one["kind"] == "file_unreadable"] == []


# ---- the end of what comes

@pytest.mark.parametrize("answer, cut, whole", [
    (WHOLE, True, True), (HEAD + b"\r\npart", False, True), (HEAD + b"\r\npart", True, False),
    (HEAD + b"Content-Length: 9\r\n\r\npart", False, False), (HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", False, False),
])
def test_an_answer_that_was_cut_is_cut_for_the_client(ca, answer, cut, whole):
    with Terminator(ca.good, answer=answer, cut=cut) as tls, node_with(entry(tls.port, tls={"ca": ca.path})) as node:
        with node.client() as client:
            head = client.request("GET", "/v1/x", TOKEN).head()
            assert head.status == 200
            if whole:
                assert client.body(head) in (b"whole", b"part")
            else:
                with pytest.raises((EOFError, ConnectionResetError)):
                    client.body(head)
        line, = node.wait_access(app="one")
        assert line["aborted"] is not whole


def test_a_kept_connection_that_the_instance_ends_loses_no_request(stubs, ca):
    with Terminator(ca.good, stubs[0]) as tls, node_with(entry(tls.port, tls={"ca": ca.path})) as node:
        for number in range(8):
            assert node.request("POST", "/v1/_echo", token=TOKEN, body=b"x")[0].status == 200
            stubs[0].close_connections()   # a close_notify comes while it is idle
            wait_for(lambda: tls.closed > number, TIMEOUT)
        assert len(stubs[0].requests(path="/v1/_echo")) == 8
