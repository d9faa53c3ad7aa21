"""Python's own json module beside the node, on documents that nobody thought of: Dify reads its requests with it."""

import json
import random

import pytest
from harness import BUILD, TOKEN, Node, settings

DOCUMENTS = 3000 if BUILD == "release" else 300
BATCH = 20
STRINGS = ["", "a", "user", "x" * 40, "\\n", '\\"', "\\u00e9", "\\ud83d\\ude00", "\\u0000", "\\ud800", "\\uDFFF", "\u00e9",
           "\u5f20", "\U0001f600", "\ud83d", "\udc00", "\x7f", "\\\\", " ", "{"]
SCALARS = ["0", "-1", "12.5e-3", "1e999", "-0", "true", "false", "null", "NaN", "Infinity", "-Infinity", "9" * 300]
BLANKS = ["", "", "", " ", "\n\t", "\r\n"]
WRONG = ["\x01", "\\x", "01", "1.", "-", "-NaN", "nan", "+1", "\x0b", ",", "\\u12"]
ENCODINGS = ["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
DAMAGE = b'"\\{}[]:,0-.eE+tn\x01\x80\xe5 u\n\0\xed\xfe\xffNI'


@pytest.fixture(scope="module")
def node(all_stubs):
    with Node(settings(all_stubs[:1], debug_headers=True)) as it:
        yield it


def one_of(draw, good):
    return draw.choice(WRONG if draw.random() < 0.01 else good)


def string(draw):
    return '"' + "".join(one_of(draw, STRINGS) for _ in range(draw.randrange(4))) + '"'


def value(draw, depth=0):
    kind = 3 if depth == 0 else draw.randrange(2 if depth > 3 else 5)
    if kind == 0:
        return one_of(draw, SCALARS)
    if kind == 1:
        return string(draw)
    blank = lambda: one_of(draw, BLANKS)   # noqa: E731
    if kind == 2:
        return "[" + ",".join(blank() + value(draw, depth + 1) + blank() for _ in range(draw.randrange(4))) + "]"
    keys = ['"user"', '"user"', '"use"', '"\\u0075ser"', string(draw)]
    return "{" + ",".join(f"{blank()}{draw.choice(keys)}{blank()}:{blank()}{value(draw, depth + 1)}{blank()}"
                          for _ in range(draw.randrange(5))) + "}"


def document(draw):
    text = draw.choice(BLANKS) + value(draw) + draw.choice(BLANKS)
    data = bytearray(text.encode(draw.choice(ENCODINGS), "surrogatepass"))
    for _ in range(draw.choice([0, 0, 0, 0, 1, 2])):
        if data:
            data[draw.randrange(len(data))] = draw.choice(DAMAGE)
    return bytes(data)


class Number(str):
    """A number's text."""


def user_of(data):
    """What Dify would take for the user: Flask's request.get_json() is json.loads() of the bytes."""
    try:
        found = json.loads(data, parse_int=Number, parse_float=Number, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return b""
    user = found.get("user") if isinstance(found, dict) else None
    return user.encode("utf-8", "surrogatepass") if isinstance(user, str) else b""


def as_field(user):
    """As a header can carry it."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7f else f"%{byte:02X}" for byte in user).strip(" ")


def test_the_user_is_the_one_that_python_finds(stubs, node):
    draw = random.Random(2026)
    found = 0
    with node.client() as client:
        for _ in range(DOCUMENTS // BATCH):
            batch = [document(draw) for _ in range(BATCH)]
            for data in batch:
                client.request("POST", "/v1/_echo", TOKEN, [("Content-Type", "application/json")], body=data)
            for data in batch:
                head, body = client.response()
                assert head.status == 200, head.raw
                fields = dict(json.loads(body)["headers"])
                assert fields.get("X-User-ID-Used", "") == as_field(user_of(data)), data
                found += fields.get("X-User-ID-Used", "") != ""
    assert DOCUMENTS / 20 < found < DOCUMENTS   # the documents are neither all bad nor all good


def test_deep_nesting_that_python_takes_has_its_user(stubs, node):
    for depth in (100, 900):
        data = b'{"a":' + b'[' * depth + b']' * depth + b',"user":"deep"}'
        seen = node.echo(method="POST", headers=[("Content-Type", "application/json")], body=data)
        assert user_of(data) == b"deep" and seen["fields"]["x-user-id-used"] == ["deep"]
