"""Behind other balancers: PROXY headers, X-Forwarded-*, trusted_proxies, and whose address counts where."""

import json
import socket
import struct

import pytest
from harness import PATIENCE, TOKEN, Client, Node, observe, ring_find, ring_points, settings
from stopwatch import Stopwatch
from stub_client import wait_for

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRUSTED = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
STRANGER = "203.0.113.9"


def v1(client):
    return f"PROXY TCP{6 if ':' in client else 4} {client} {client} 49152 80\r\n".encode()


def v2(client=None, *, command=1, kind=None, more=b""):
    body = more
    if client:
        version = socket.AF_INET6 if ":" in client else socket.AF_INET
        kind = 0x21 if ":" in client else 0x11
        body = socket.inet_pton(version, client) * 2 + struct.pack(">HH", 49152, 80) + more
    return SIGNATURE + bytes([0x20 | command, kind or 0]) + struct.pack(">H", len(body)) + body


class Door:
    """The second listener of a node: its connections begin with a PROXY header."""

    def __init__(self, node):
        self.host, _, port = node.events("listening")[1]["address"].rpartition(":")
        self.port = int(port)

    def client(self, header=b"", **more):
        return Client(self, **more).send(header)


@pytest.fixture(scope="module")
def node(all_stubs):
    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "proxy_protocol": True}]
    with Node(settings(all_stubs[:1], listen=listen, trusted_proxies=TRUSTED)) as it:
        yield it


@pytest.fixture(scope="module")
def door(node):
    return Door(node)


def fields_of(client, *lines, request_id="r"):
    """What the instance sees of a request with these fields besides: {lower-case name: [values]}."""
    client.send(f"GET /v1/_echo HTTP/1.1\r\nHost: site\r\nAuthorization: Bearer {TOKEN}\r\n"
                f"X-Request-ID: {request_id}\r\n".encode() + b"".join(f"{line}\r\n".encode() for line in lines) + b"\r\n")
    return read_fields(client)


def read_fields(client):
    head, body = client.response()
    assert head.status == 200, (head.raw, body)
    fields = {}
    for name, value in json.loads(body)["headers"]:
        fields.setdefault(name.lower(), []).append(value)
    return fields


# ---- PROXY headers

@pytest.mark.parametrize("header, address", [
    (v1(STRANGER), STRANGER), (v1("2001:DB8:0::9"), "2001:db8::9"), (v1("::ffff:203.0.113.9"), STRANGER),
    (v2(STRANGER), STRANGER), (v2("2001:db8::9", more=b"\x04\0\x02hi"), "2001:db8::9"),
    (v2(STRANGER, more=bytes(60000)), STRANGER), (v2("::ffff:203.0.113.9"), STRANGER),
    (b"PROXY UNKNOWN what ever\r\n", "127.0.0.1"), (v2(command=0), "127.0.0.1"), (v2(), "127.0.0.1"),
    (v2(command=0, kind=0x11, more=b"-"), "127.0.0.1"), (v2(kind=0x31, more=bytes(216)), "127.0.0.1"),
], ids=range(12))
def test_a_proxy_header_says_who_the_client_is(stubs, node, door, header, address):
    name = f"proxy-{hash(header)}"
    with door.client(header) as client:
        fields = fields_of(client, request_id=name)
        assert fields["x-real-ip"] == fields["x-forwarded-for"] == [address]
        assert (fields["x-forwarded-proto"], fields["x-forwarded-port"]) == (["http"], [str(door.port)])
        assert fields_of(client)["x-real-ip"] == [address]   # of the whole connection
    line, = node.wait_access(request_id=name)
    assert (line["remote_addr"], line["peer_addr"], line["forwarded_for"]) == (address, "127.0.0.1", None)


def test_a_header_may_come_byte_by_byte_or_with_what_follows(stubs, door):
    with door.client() as client:
        for byte in v2("2001:db8::9", more=b"\x04\0\x02hi"):
            client.send(bytes([byte]))
        assert fields_of(client)["x-real-ip"] == ["2001:db8::9"]
    request = f"GET /v1/_echo HTTP/1.1\r\nHost: site\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    with door.client(v1(STRANGER) + 2 * request) as client:
        assert read_fields(client)["x-real-ip"] == read_fields(client)["x-real-ip"] == [STRANGER]


@pytest.mark.parametrize("bytes_sent", [
    b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01\x02\0", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
    b"PROXY TCP4 ::1 ::1 1 2\r\n", b"PROXY UNKNOWN" + 100 * b"x", v2(kind=0x41), v2(command=2), SIGNATURE + b"\x21\x11\0\x04",
], ids=range(8))
def test_what_is_no_header_is_closed_without_a_word(stubs, node, door, bytes_sent):
    before = len(node.events("proxy_header_refused"))
    with door.client(bytes_sent) as client:
        assert client.ended() in ("fin", "rst")
    wait_for(lambda: len(node.events("proxy_header_refused")) > before)


def test_who_is_not_trusted_may_not_say_who_it_is(stubs, node, door):
    def refused():
        text = node.request("GET", "/metrics")[1].decode()
        return int(text.split("\ndifyring_proxy_headers_refused_total ")[1].split()[0])
    before = refused()
    with door.client(source="127.0.0.2") as client:
        assert client.ended() in ("fin", "rst")   # before it has said anything
    event = wait_for(lambda: [e for e in node.events("proxy_header_refused") if e["peer_addr"] == "127.0.0.2"])[0]
    assert "trusted_proxies" in event["fault"]
    assert refused() == before + 1
    assert node.client().request("GET", "/health").response()[0].status == 200   # the other listener takes it


@pytest.mark.alone
def test_header_and_first_head_share_their_time(stubs):
    seconds = 1 * PATIENCE
    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "proxy_protocol": True}]
    with Node(settings(stubs[:1], listen=listen, trusted_proxies=["127.0.0.1"],
                       timeouts={"request_head": f"{seconds}s"})) as node:
        door = Door(node)
        watch = Stopwatch()
        silent = door.client(v1(STRANGER)[:-1])
        slow = door.client()
        observe(0.6 * seconds, slow.quiet)
        slow.send(v1(STRANGER) + b"GET ")
        assert slow.response()[0].status == 408
        assert silent.ended() == "fin"
        assert watch.fair_seconds() < 1.5 * seconds
        again = door.client(v1(STRANGER))   # later heads have their own time
        assert fields_of(again)["x-real-ip"] == [STRANGER]
        observe(0.6 * seconds, again.quiet)
        assert fields_of(again)["x-real-ip"] == [STRANGER]
        observe(0.6 * seconds, again.quiet)
        assert fields_of(again)["x-real-ip"] == [STRANGER]
        for client in (silent, slow, again):
            client.close()


# ---- X-Forwarded-*

@pytest.mark.parametrize("lines, address", [
    ([], "127.0.0.1"),
    ([f"X-Forwarded-For: {STRANGER}"], STRANGER),
    ([f"X-Forwarded-For: 198.51.100.1, {STRANGER}:4711, 10.0.0.2, [fd00::1]:443"], STRANGER),
    (["X-Forwarded-For: 198.51.100.1", "x-forwarded-for: 2001:DB8::9", "X-Forwarded-For: 10.0.0.2"], "2001:db8::9"),
    (["X-Forwarded-For: 10.0.0.4, 10.0.0.3"], "10.0.0.4"),
    ([f"X-Forwarded-For: {STRANGER}, unknown, 10.0.0.2"], "10.0.0.2"),
    ([f"X-Forwarded-For: {STRANGER}, unknown"], "127.0.0.1"),
    ([f"X-Forwarded-For: {STRANGER}", "X-Forwarded-For: " + ", ".join(["10.0.0.2"] * 700)], STRANGER),
], ids=range(8))
def test_the_client_is_the_rightmost_address_that_is_not_trusted(stubs, node, lines, address):
    name = f"forwarded-{hash(str(lines))}"
    with node.client() as client:
        fields = fields_of(client, *lines, "X-Real-IP: 6.6.6.6", request_id=name)
    told = [line.partition(": ")[2] for line in lines]
    assert fields["x-real-ip"] == [address]
    assert fields["x-forwarded-for"] == [", ".join([*told, "127.0.0.1"])]
    line, = node.wait_access(request_id=name)
    assert (line["remote_addr"], line["peer_addr"]) == (address, "127.0.0.1")


def test_an_address_of_a_proxy_header_may_be_a_trusted_one(stubs, node, door):
    forwarded = [f"X-Forwarded-For: {STRANGER}", "X-Forwarded-Proto: https"]
    with door.client(v1("10.0.0.7")) as client:
        fields = fields_of(client, *forwarded, request_id="both")
        assert (fields["x-real-ip"], fields["x-forwarded-for"]) == ([STRANGER], [f"{STRANGER}, 10.0.0.7"])
        assert fields["x-forwarded-proto"] == ["https"]
    with door.client(v1("198.51.100.1")) as client:   # the client itself has written these
        fields = fields_of(client, *forwarded)
        assert (fields["x-real-ip"], fields["x-forwarded-proto"]) == (["198.51.100.1"], ["http"])
    line, = node.wait_access(request_id="both")
    assert (line["remote_addr"], line["peer_addr"], line["forwarded_for"]) == (STRANGER, "127.0.0.1", STRANGER)


def test_scheme_host_and_port_are_a_trusted_proxys_to_tell(stubs, node):
    told = ["X-Forwarded-Proto: https", "X-Forwarded-Host: dify.example.com", "X-Forwarded-Port: 8443"]
    with node.client() as client:
        fields = fields_of(client, *told)
        assert (fields["x-forwarded-proto"], fields["x-forwarded-host"], fields["x-forwarded-port"]) == \
            (["https"], ["dify.example.com"], ["8443"])
        own = (["http"], ["site"], [str(node.port)])
        fields = fields_of(client)
        assert (fields["x-forwarded-proto"], fields["x-forwarded-host"], fields["x-forwarded-port"]) == own
        fields = fields_of(client, told[0])   # our port is none of https's
        assert (fields["x-forwarded-proto"], fields["x-forwarded-host"], fields.get("x-forwarded-port")) == \
            (["https"], ["site"], None)
    with node.client(source="127.0.0.2") as client:
        fields = fields_of(client, *told, "X_Forwarded_Port: 1")
        assert (fields["x-forwarded-proto"], fields["x-forwarded-host"], fields["x-forwarded-port"]) == own
        assert "x_forwarded_port" not in fields


def test_ip_hash_goes_by_the_clients_address(stubs):
    points = ring_points({stub.name: 1 for stub in stubs})
    with Node(settings(stubs, application={"algorithm": "ip_hash"}, trusted_proxies=TRUSTED)) as node:
        with node.client() as client:
            for number in range(1, 20):
                fields_of(client, f"X-Forwarded-For: 203.0.113.{number}:{number}", request_id=f"h{number}")
        for number in range(1, 20):
            line, = node.wait_access(request_id=f"h{number}")
            assert line["instance"] == ring_find(points, "one", f"203.0.113.{number}")


def test_who_comes_through_a_balancer_has_not_its_rights(stubs):
    listen = [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "proxy_protocol": True}]
    value = settings(stubs[:1], listen=listen, trusted_proxies=["127.0.0.1", "127.0.0.3"],
                     admin={"allow": ["127.0.0.1", "127.0.0.4", "198.51.100.0/24"], "token": "admin-secret"})
    with Node(value) as node:
        def asked(forwarded=None, source="127.0.0.1", token=None):
            headers = [("X-Forwarded-For", forwarded)] if forwarded else []
            return node.request("GET", "/status", headers=headers, source=source, token=token)[0].status
        assert asked() == 200
        assert asked("198.51.100.7") == 200
        assert asked(STRANGER) == asked(f"198.51.100.7, {STRANGER}") == 403
        assert asked(STRANGER, token="admin-secret") == 200
        assert asked("198.51.100.7", source="127.0.0.3") == 403   # the balancer itself may not
        assert asked(STRANGER, source="127.0.0.4") == 200   # who is not trusted cannot be made another, nor worse
        door = Door(node)
        for address, status in (("198.51.100.7", 200), (STRANGER, 403), ("127.0.0.1", 200)):
            with door.client(v2(address)) as client:
                assert client.request("GET", "/status").response()[0].status == status
        with door.client(v2(command=0)) as client:
            assert client.request("GET", "/status").response()[0].status == 200


def test_a_reload_changes_whom_to_trust(stubs):
    value = settings(stubs[:1], trusted_proxies=[])
    with Node(value) as node, node.client() as client:
        told = f"X-Forwarded-For: {STRANGER}"
        assert fields_of(client, told)["x-real-ip"] == ["127.0.0.1"]
        value["trusted_proxies"] = ["::/0", "127.0.0.0/8"]
        assert node.reload(value)[0] == 200
        wait_for(lambda: fields_of(client, told)["x-real-ip"] == [STRANGER])
        value["trusted_proxies"] = ["::/0"]   # all of IPv6, and nothing else
        assert node.reload(value)[0] == 200
        wait_for(lambda: fields_of(client, told)["x-real-ip"] == ["127.0.0.1"])
