"""TLS to clients, as SPEC §3 says: versions, suites, names, protocols, sessions, certificates of clients, ends."""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import time

import pytest
from certificates import RSA, Authority
from cluster import Cluster
from harness import LONG, PATIENCE, TIMEOUT, TOKEN, Client, Node, observe, parallel, run_command, settings
from stopwatch import Stopwatch
from stub_client import wait_for

BIG = 3 << 20
ASK = b"GET /v1/_echo HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"


@pytest.fixture(scope="module")
def ca():
    with Authority() as it:
        it.rsa = it.pair("rsa", ["a.test", "*.w.test"], RSA)
        it.ec = it.pair("ec", ["A.test"])
        it.other = it.pair("other", ["b.test"], days=3)
        it.client = it.pair("client", ["client"])
        yield it


def listeners(ca):
    """The first is plain; then with certificates; for clients with one; TLS 1.3 alone, behind a PROXY header."""
    return [{"address": "127.0.0.1:0"},
            {"address": "127.0.0.1:0", "tls": [ca.rsa, ca.ec, ca.other]},
            {"address": "127.0.0.1:0", "tls": [ca.ec], "client_ca": ca.path},
            {"address": "127.0.0.1:0", "tls": [ca.ec], "tls_min": "1.3", "proxy_protocol": True}]


OPEN, MUTUAL, PROXIED = 1, 2, 3


@pytest.fixture(scope="module")
def node(all_stubs, ca):
    with Node(settings(all_stubs[:1], listen=listeners(ca), trusted_proxies=["127.0.0.1"])) as it:
        yield it


def address_of(node, door):
    host, _, port = node.events("listening")[door]["address"].rpartition(":")
    return host, int(port)


def context_of(ca, *, version=None, pair=None, alpn=None, ciphers=None):
    context = ssl.create_default_context(cafile=ca.path)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF   # or Python takes a truncation for an end
    if version:
        context.minimum_version = context.maximum_version = version
    if pair:
        context.load_cert_chain(pair["certificate"], pair["key"])
    if alpn:
        context.set_alpn_protocols(alpn)
    if ciphers:
        context.set_ciphers(ciphers)
    return context


class Secure(Client):
    """A connection with TLS; `first` goes before the handshake."""

    def __init__(self, node, ca, door=OPEN, *, name="a.test", session=None, first=b"", context=None, **more):
        plain = socket.create_connection(address_of(node, door), timeout=TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.sendall(first)
        self.buffer = bytearray()
        self.context = context or context_of(ca, **more)
        try:
            self.socket = self.context.wrap_socket(plain, server_hostname=name, session=session,
                                                   suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise

    def echo(self):
        head, value = self.send(ASK).response()
        assert head.status == 200, head.raw
        return {name.lower(): value for name, value in json.loads(value)["headers"]}


def refused(node, ca, *arguments, **more):
    """The alert that the handshake, or the first read of TLS 1.3, ends with."""
    with pytest.raises(ssl.SSLError) as error, Secure(node, ca, *arguments, **more) as client:
        client.send(ASK)
        client.more()
    return str(error.value).upper()


def handshakes(node):
    _, text = node.request("GET", "/metrics")
    name = 'difyring_tls_handshakes_total{result="'
    return {line[len(name):line.index('"}')]: int(line.split()[-1])
            for line in text.decode().splitlines() if line.startswith(name)}


def subject(client):
    return dict(part[0] for part in client.socket.getpeercert()["subject"])["commonName"]


# ---- what is spoken

@pytest.mark.smoke
@pytest.mark.threads
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_request_comes_and_goes(stubs, node, ca, version):
    with Secure(node, ca, version=getattr(ssl.TLSVersion, version.replace(".", "_"))) as client:
        fields = client.echo()
        assert fields["x-forwarded-proto"] == "https"
        assert fields["x-forwarded-port"] == str(address_of(node, OPEN)[1])
        assert client.socket.version() == version
        client.echo()   # kept
    line = node.wait_access(tls=version)[0]
    assert (line["status"], line["protocol"]) == (200, "HTTP/1.1")
    with node.client() as client:
        client.request("GET", "/v1/_echo?plain", TOKEN).response()
    assert node.wait_access(uri="/v1/_echo?plain")[0]["tls"] is None


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
                                   "ECDHE-RSA-CHACHA20-POLY1305"])
def test_suites_with_forward_secrecy_are_taken(node, ca, suite):
    with Secure(node, ca, version=ssl.TLSVersion.TLSv1_2, ciphers=suite) as client:
        assert client.socket.cipher()[0] == suite


@pytest.mark.parametrize("suite", ["AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA384",
                                   "DHE-RSA-AES128-GCM-SHA256"])
def test_other_suites_are_not(node, ca, suite):
    assert "HANDSHAKE_FAILURE" in refused(node, ca, version=ssl.TLSVersion.TLSv1_2, ciphers=suite)


def test_a_listener_may_ask_for_1_3_and_a_proxy_header_comes_first(stubs, node, ca):
    header = b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n"
    with Secure(node, ca, PROXIED, first=header) as client:
        assert client.echo()["x-real-ip"] == "203.0.113.9"
        assert client.socket.version() == "TLSv1.3"
    assert "PROTOCOL_VERSION" in refused(node, ca, PROXIED, first=header, version=ssl.TLSVersion.TLSv1_2)


def test_http_1_1_is_chosen_and_others_alone_are_refused(node, ca):
    with Secure(node, ca, alpn=["h2", "http/1.1"]) as client:
        assert client.socket.selected_alpn_protocol() == "http/1.1"
    with Secure(node, ca) as client:
        assert client.socket.selected_alpn_protocol() is None
    assert refused(node, ca, alpn=["h2"])
    assert handshakes(node)["alpn"] >= 1


def test_certificates_are_chosen_by_name_and_kind(node, ca):
    context = context_of(ca, version=ssl.TLSVersion.TLSv1_2)
    context.check_hostname = False
    for kind, names in {"RSA": {"a.test": "rsa", "x.w.test": "rsa", "X.W.TEST": "rsa", "nobody.test": "rsa"},
                        "ECDSA": {"a.test": "ec", "A.TEST": "ec", "b.test": "other", "nobody.test": "ec",
                                  "w.test": "ec", "y.x.w.test": "ec"}}.items():
        context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
        for name, wanted in names.items():
            with Secure(node, ca, name=name, context=context) as client:
                assert subject(client) == wanted, (kind, name)
    before = handshakes(node)["cipher"]
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")   # of b.test there is none, and no other name's is shown
    assert "HANDSHAKE_FAILURE" in refused(node, ca, name="b.test", context=context)
    wait_for(lambda: handshakes(node)["cipher"] == before + 1, TIMEOUT)


def test_openssl_agrees(node, ca):
    """No renegotiation, no early data, no compression."""
    host, port = address_of(node, OPEN)
    command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "a.test", "-CAfile", ca.path]
    result = subprocess.run([*command, "-tls1_2"], input=b"R\n", capture_output=True, timeout=60, check=False)
    text = result.stdout.decode()
    assert "Verify return code: 0 (ok)" in text and "Compression: NONE" in text
    assert handshakes(node)["renegotiation"] == 0   # it ends a session, and is no handshake of its own
    result = subprocess.run([*command, "-tls1_3", "-msg"], input=b"", capture_output=True, timeout=60, check=False)
    assert b"Max Early Data: 0" in result.stdout or b"Early data was not sent" in result.stdout
    result = subprocess.run([*command, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], input=b"", capture_output=True,
                            timeout=60, check=False)
    assert result.returncode != 0


# ---- sessions

@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_session_resumes_on_every_node(stubs, ca, version):
    listen = {"listen": listeners(ca)[:3]}
    with Cluster(settings(stubs[:1], **listen), 2) as cluster:
        first, second = cluster.nodes()
        context = context_of(ca, version=getattr(ssl.TLSVersion, version), pair=ca.client)
        for door in OPEN, MUTUAL:
            with Secure(first, ca, door, context=context) as client:
                client.echo()
                session = client.socket.session
                assert not client.socket.session_reused
            for node in first, second:
                with Secure(node, ca, door, context=context, session=session) as client:
                    client.echo()
                    assert client.socket.session_reused, (door, node)
        assert (handshakes(first)["ok"], handshakes(first)["resumed"]) == (2, 2)
        assert (handshakes(second)["ok"], handshakes(second)["resumed"]) == (0, 2)


# ---- certificates of clients

def test_clients_must_show_a_certificate_where_a_ca_is_given(stubs, node, ca):
    with Secure(node, ca, MUTUAL, pair=ca.client) as client:
        client.echo()
    with Authority() as stranger:
        foreign = stranger.pair("foreign", ["foreign"])
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            assert refused(node, ca, MUTUAL, version=version)
            assert refused(node, ca, MUTUAL, version=version, pair=foreign)
    seen = wait_for(lambda: (lambda h: h if h["no_certificate"] >= 2 and h["bad_certificate"] >= 2 else None)(
        handshakes(node)), TIMEOUT)
    assert seen["no_certificate"] == 2
    wait_for(lambda: {"no_certificate", "bad_certificate"} <= {e["reason"] for e in node.events("tls_handshake_failed")}, TIMEOUT)


# ---- ends

def test_a_whole_answer_ends_with_a_word(stubs, node, ca):
    with Secure(node, ca) as client:
        head = client.send(ASK.replace(b"Host", b"Connection: close\r\nHost")).head()
        client.body(head)
        assert not client.more()   # an end without one raises SSLError
    with Secure(node, ca) as client:   # a body that ends with the connection
        assert len(client.request("GET", f"/v1/_bytes?size={BIG}&close=1", TOKEN, [("Connection", "close")]).response()[1]) >= BIG


@pytest.mark.parametrize("fault, target", [("cut_length", "/v1/_bytes?size=1000000"),
                                           ("cut_stream", "/v1/_sse?events=20&interval=0.01")])
def test_an_answer_cut_short_ends_without(stubs, node, ca, fault, target):
    stubs[0].fault(fault)
    with Secure(node, ca) as client:
        client.request("GET", target, TOKEN)
        with pytest.raises((ssl.SSLError, ConnectionResetError), match="(?i)unexpected.eof|reset"):
            client.rest()
    assert node.wait_access(uri=target)[-1]["aborted"]


def test_a_client_that_says_its_end_has_left(stubs, node, ca):
    with Secure(node, ca) as client:
        client.request("GET", "/v1/_sse?events=100&interval=0.05", TOKEN).head()
        wait_for(lambda: stubs[0].counts()["streams_open"] == 1, TIMEOUT)
        client.socket.settimeout(0.2)
        with contextlib.suppress(OSError):
            client.socket.unwrap()   # close_notify; nobody waits for the answer
    wait_for(lambda: stubs[0].counts()["streams_open"] == 0, TIMEOUT)


def test_what_the_node_has_to_say_itself_is_heard_by_one_that_has_said_all(node, ca):
    """A lingering close: 413 while the upload goes on."""
    with Secure(node, ca) as client:
        client.send(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999999\r\nAuthorization: Bearer "
                    + TOKEN.encode() + b"\r\n\r\n" + b"x" * 100000)
        head = client.head()
        assert head.status == 413
        client.body(head)
        assert not client.more()
    with Secure(node, ca) as client:   # where the rest is short, the next request needs no other handshake
        client.request("POST", "/v1/x", "usertoken--nobodys", headers=[("Content-Length", "30000")])
        assert client.response()[0].status == 401
        client.send(b"x" * 30000).request("GET", "/v1/_bytes?size=1", TOKEN)
        assert client.response()[0].status == 200


# ---- bodies

def test_large_bodies_pass_both_ways(stubs, node, ca):
    with Secure(node, ca) as client:
        head, body = client.request("GET", f"/v1/_bytes?size={BIG}", TOKEN).response()
        assert len(body) == BIG
        head, plain = node.request("GET", f"/v1/_bytes?size={BIG}", token=TOKEN)
        assert body == plain
        head, body = client.request("POST", "/v1/_echo", TOKEN, body=b"y" * BIG).response()
        assert head.status == 200 and json.loads(body)["body_size"] == BIG
        assert client.request("GET", "/v1/_bytes?size=1", TOKEN).request("GET", "/v1/_bytes?size=2", TOKEN)
        assert [len(client.response()[1]) for _ in range(2)] == [1, 2]   # pipelined


def test_events_are_not_held(stubs, node, ca):
    with Secure(node, ca) as client:
        client.request("GET", "/v1/_sse?events=5&interval=0.1", TOKEN).head()
        for _ in range(5):
            value = json.loads(client.chunk().split(b"data: ")[1])
            assert time.clock_gettime(time.CLOCK_MONOTONIC) - value["mono"] < 0.08 * PATIENCE


def test_a_tunnel_goes_through(stubs, node, ca):
    with Secure(node, ca) as client:
        client.send(b"GET /v1/_ws?user=u HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nAuthorization: Bearer "
                    + TOKEN.encode() + b"\r\n\r\n")
        assert client.head().status == 101
        client.send(b"\x81\x85\0\0\0\0hello")
        assert client.take(7) == b"\x81\x05hello"


# ---- who does not speak, or not well

def test_what_is_no_tls_is_counted_and_logged_at_most_so_often(stubs, ca):
    with Node(settings(stubs[:1], listen=listeners(ca)[:2])) as node:
        for _ in range(40):
            with socket.create_connection(address_of(node, OPEN), timeout=TIMEOUT) as client:
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                client.recv(100)
        wait_for(lambda: handshakes(node)["not_tls"] == 40, TIMEOUT)
        events = node.events("tls_handshake_failed")
        by_second = {}
        for event in events:
            second = event["timestamp"][:19]
            by_second[second] = by_second.get(second, 0) + 1
        assert 1 <= len(events) and max(by_second.values()) <= 20 and len(events) <= 10 * (len(by_second) + 1)
        assert {event["reason"] for event in events} == {"not_tls"}
        with socket.create_connection(address_of(node, OPEN), timeout=TIMEOUT) as client:
            client.sendall(b"\x16\x03\x01\x02")
        wait_for(lambda: handshakes(node)["left"] == 1, TIMEOUT)


def test_handshake_and_first_head_share_a_time(stubs, ca):
    timeouts = {"timeouts": {"request_head": 1.5 * PATIENCE}}
    with Node(settings(stubs[:1], listen=listeners(ca)[:2], **timeouts)) as node:
        silent = [socket.create_connection(address_of(node, OPEN), timeout=TIMEOUT) for _ in range(3)]
        watch = Stopwatch()
        time_left = 1.5 * PATIENCE / 2
        observe(time_left, lambda: True)
        with socket.create_connection(address_of(node, OPEN), timeout=TIMEOUT) as plain:
            del plain
        for one in silent:
            assert one.recv(1) == b""
            one.close()
        assert 1.4 * PATIENCE <= watch.seconds() and watch.fair_seconds() < 3 * PATIENCE
        wait_for(lambda: handshakes(node)["timeout"] == 3, TIMEOUT)


def test_half_handshakes_take_places_as_connections_do(stubs, ca):
    with Node(settings(stubs[:1], listen=listeners(ca)[:2], limits={"connections": 8})) as node:
        silent = [socket.create_connection(address_of(node, OPEN), timeout=TIMEOUT) for _ in range(8)]
        wait_for(lambda: node.status()["node"]["active_connections"] >= 8, TIMEOUT)
        with Secure(node, ca) as client:
            assert client.send(ASK).head().status in (200, 503)   # a place of admin.allow, or none
        for one in silent:
            one.close()


# ---- reloads

def test_a_reload_reads_the_files_again_and_open_streams_go_on(stubs, ca):
    changing = ca.pair("changing", ["a.test"])
    config = settings(stubs[:1], listen=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": [changing]}])
    with Node(config) as node, Secure(node, ca) as stream:
        stream.request("GET", "/v1/_sse?events=20&interval=0.1", TOKEN).head()
        old = stream.socket.getpeercert()["serialNumber"]
        ca.pair("changing", ["a.test"], days=2)
        assert node.reload()[0] == 200
        with Secure(node, ca) as client:
            assert client.socket.getpeercert()["serialNumber"] != old
            client.echo()
        wait_for(lambda: [event["name"] for event in node.events("certificate_ends")] == ["a.test"], TIMEOUT)
        # a pair that does not match, or cannot be read, is located, and the old one stays
        shutil.copy(ca.ec["key"], changing["key"])
        status, value = node.reload()
        line = open(node.conf_path, encoding="utf-8").read()[:open(node.conf_path, encoding="utf-8").read().index('"certificate"')].count("\n")
        assert status == 400 and "not the key" in value["errors"][0]["message"]
        assert abs(value["errors"][0]["line"] - line) <= 1, value
        os.unlink(changing["certificate"])
        assert node.reload()[0] == 400
        with Secure(node, ca) as client:
            client.echo()
        # `tls` of a listener is taken over, the rest needs a restart
        config["listen"][1].update(tls=[ca.other], tls_min="1.3")
        assert node.reload(config)[0] == 200 and not node.events("restart_needed")
        with Secure(node, ca, name="b.test") as client:
            assert client.socket.version() == "TLSv1.3" and subject(client) == "other"
        assert len(stream.chunks()) == 20
        assert node.status()["node"]["certificates"][0]["names"] == ["b.test"]


def test_nobody_loses_anything_while_certificates_change_under_load(stubs, ca):
    """New files with each reload; kept connections, new ones, resumed ones and open streams beside it."""
    turns = 100 if LONG else 12
    changing = ca.pair("turning", ["a.test"])
    config = settings(stubs[:1], workers=2,
                      listen=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": [changing]}])
    done, over = {"kept": 0, "new": 0, "resumed": 0, "events": 0}, []

    def kept(node):
        with Secure(node, ca) as client:
            while not over:
                client.echo()
                done["kept"] += 1

    def new(node):
        while not over:
            with Secure(node, ca) as client:
                client.echo()
                session, context = client.socket.session, client.context
            done["new"] += 1
            with Secure(node, ca, session=session, context=context) as client:
                client.echo()
                done["resumed"] += client.socket.session_reused

    def streams(node):
        while not over:
            with Secure(node, ca) as client:
                client.request("GET", "/v1/_sse?events=50&interval=0.02", TOKEN).head()
                assert len(client.chunks()) == 50
                done["events"] += 50

    def operator(node):
        try:
            for turn in range(turns):
                ca.pair("turning", ["a.test"], days=10 + turn)   # certificate and key, each time
                status, said = node.reload()
                assert status == 200, said
                deadline = node.status()["node"]["certificates"][0]["not_after"] - time.time()
                assert abs(deadline - (10 + turn) * 86400) < 3600
        finally:
            over.append(True)

    with Node(config) as node:
        parallel([lambda: operator(node), lambda: kept(node), lambda: new(node), lambda: new(node), lambda: streams(node)])
        assert all(done.values()), done
        assert not [line for line in node.access() if line["status"] >= 400 or line["termination"] not in
                    ("complete", "local")]
        failed = {name: count for name, count in handshakes(node).items() if name not in ("ok", "resumed") and count}
        assert not failed, failed
        print(f"{turns} reloads with new files: {done}, failed: 0")


@pytest.mark.threads
def test_no_handshake_fails_while_certificates_change(stubs, ca):
    changing = ca.pair("changing", ["a.test"])
    other = ca.pair("changing2", ["a.test"], RSA)
    config = settings(stubs[:1], listen=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": [changing]}])
    with Node(config) as node:
        done = 0
        for turn in range(10):
            config["listen"][1]["tls"] = [[changing, other], [other]][turn % 2]
            node.write(config)
            node.signal(1)
            for _ in range(4):
                with Secure(node, ca) as client:
                    client.echo()
                    done += 1
        assert done == 40


# ---- what is told

def told_of_ends(node):
    return [(e["event"], e["subject"], e["severity"]) for e in node.events() if e.get("kind") == "certificate_ends"]


def test_an_ending_certificate_is_told_once_and_when_it_ends(stubs, ca):
    """A reload changes nothing of what goes on; the end comes without a look at the clock of a day."""
    good = ca.pair("renewed", ["c.test"])
    ending = ca.pair("ending", ["c.test"], days=2)
    config = settings(stubs[:1], listen=[{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": [ending]}])
    with Node(config) as node:
        since = wait_for(lambda: [one["since"] for one in node.status()["problems"] if one["kind"] == "certificate_ends"], TIMEOUT)
        time.sleep(1.1)   # `since` is in seconds
        assert node.reload()[0] == 200
        assert [one["since"] for one in node.status()["problems"] if one["kind"] == "certificate_ends"] == since
        assert told_of_ends(node) == [("problem", "c.test", "warning")]
        checked = run_command("check", "-c", node.conf_path)
        assert checked.returncode == 0 and "warning: the certificate of c.test ends within 14 days; renew its file" in checked.stdout
        ca.end_in("ending", 5)
        assert node.reload()[0] == 200
        wait_for(lambda: ("problem", "c.test", "critical") in told_of_ends(node), 10 + TIMEOUT)
        assert node.status()["problems"][0]["severity"] == "critical"
        checked = run_command("check", "-c", node.conf_path)
        assert checked.returncode == 0 and "warning: the certificate of c.test has ended: clients refuse it" in checked.stdout
        for which in ("certificate", "key"):
            shutil.copy(good[which], ending[which])
        assert node.reload()[0] == 200
        wait_for(lambda: told_of_ends(node)[-1][:2] == ("problem_over", "c.test"), TIMEOUT)
        assert [one for one in node.status()["problems"] if one["kind"] == "certificate_ends"] == []


def test_status_and_metrics_tell_names_and_ends(node, ca):
    told = node.status()["node"]["certificates"]
    assert [one["names"] for one in told] == [["a.test", "*.w.test"], ["A.test"], ["b.test"], ["A.test"], ["A.test"]]
    assert told[2]["not_after"] - time.time() < 4 * 86400 < told[0]["not_after"] - time.time()
    assert all(one["listen"] == "127.0.0.1:0" for one in told)
    _, text = node.request("GET", "/metrics")
    found = [line for line in text.decode().splitlines() if line.startswith("difyring_certificate_not_after_seconds{")]
    assert len(found) == 5 and found[2].endswith(f" {told[2]['not_after']}")
    assert [event["name"] for event in node.events("certificate_ends")] == ["b.test"]
    assert [(one["severity"], one["subject"]) for one in node.status()["problems"] if one["kind"] == "certificate_ends"] == [
        ("warning", "b.test")]


def test_check_reads_the_files(stubs, ca, tmp_path):
    """Located; paths are relative to the file."""
    path = tmp_path / "node.yaml"
    for name in ("ec.crt", "ec.key", "rsa.key"):
        shutil.copy(ca.file(name), tmp_path / name)
    config = settings(stubs[:1], listen=[{"address": "127.0.0.1:0", "tls": [{"certificate": "ec.crt", "key": "ec.key"}]}])
    path.write_text(json.dumps(config))
    os.chmod(tmp_path / "ec.key", 0o600)
    assert run_command("check", "-c", str(path), "--host").stdout.count("can read `key`") == 0
    os.chmod(tmp_path / "ec.key", 0o644)
    result = run_command("check", "-c", str(path), "--host")
    assert result.returncode == 0 and result.stdout.count("warning: every user of this host can read `key`") == 1
    config["listen"][0]["tls"][0]["key"] = "rsa.key"
    config["listen"][0]["client_ca"] = "ec.key"
    path.write_text(json.dumps(config, indent=1))
    for command in "check", "run":
        result = run_command(command, "-c", str(path))
        text = result.stdout + result.stderr
        assert result.returncode == 1
        assert "`key` is not the key of the first certificate" in text and "`client_ca` holds no certificate" in text
        assert f"{path}:" in text and "PRIVATE" not in text.replace("-----BEGIN PRIVATE KEY-----", "")
