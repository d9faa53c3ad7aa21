"""Pages of other sites: preflights, and own errors that a browser lets them read (SPEC §3, Token)."""

import pytest
from harness import TOKEN, Node, check_error, settings

PAGE = "https://chat.example.com"
OTHER = "http://localhost:3000"
METHOD = ("Access-Control-Request-Method", "POST")
HEADERS = ("Access-Control-Request-Headers", "authorization,content-type")
DIFYS = {   # DIFY.md §0
    "access-control-allow-origin": PAGE, "access-control-allow-headers": "authorization,content-type",
    "access-control-allow-methods": "DELETE, GET, OPTIONS, PATCH, POST, PUT",
    "access-control-expose-headers": "X-Env, X-Trace-Id, X-Version", "vary": "Origin"}


@pytest.fixture(scope="module")
def node(all_stubs):
    with Node(settings(all_stubs[:1], user_id={"missing": "reject"}, limits={"uri_size": "1KiB", "header_size": "4KiB"})) as it:
        yield it


def cors_fields(head):
    return {name: value for name, value in head.headers.items() if name.startswith("access-control-") or name == "vary"}


def preflight(node, path="/v1/chat-messages", headers=(("Origin", PAGE), METHOD, HEADERS), **more):
    head, body = node.request("OPTIONS", path, headers=headers, **more)
    return head, body, cors_fields(head)


@pytest.mark.parametrize("path", ["/v1/chat-messages", "/v1/", "/v1/files/upload?x=y"])
def test_a_preflight_is_answered_here_as_dify_does(stubs, node, path):
    head, body, fields = preflight(node, path)
    assert (head.status, body, fields) == (200, b"", DIFYS)
    assert head.headers["x-request-id"] and head.headers["content-length"] == "0"
    assert stubs[0].counts()["requests"] == 0
    line = node.wait_access(request_id=head.headers["x-request-id"])[0]
    assert (line["status"], line["app"], line["instance"]) == (200, None, None)
    head, _, fields = preflight(node, path, headers=(("Origin", PAGE), METHOD))
    assert "access-control-allow-headers" not in fields and head.status == 200


def test_a_preflight_keeps_its_connection_and_may_have_a_body(node):
    with node.client() as client:
        for body in (None, None, b"x" * 100):   # with which it is answered before its end
            client.request("OPTIONS", "/v1/x", headers=[("Origin", PAGE), METHOD], body=body)
            head, _ = client.response()
            assert head.status == 200 and head.headers["access-control-allow-origin"] == PAGE


def test_what_is_no_preflight_needs_its_token(stubs, node):
    for headers in ([("Origin", PAGE)], [METHOD], [("Origin", ""), METHOD]):
        head, body = node.request("OPTIONS", "/v1/_echo?user=u", headers=headers)
        check_error(head, body, 401, "unauthorized")
    assert stubs[0].counts()["requests"] == 0
    assert node.echo("/v1/_echo?user=u", method="OPTIONS", headers=[("Origin", PAGE)])["method"] == "OPTIONS"
    head, body = node.request("POST", "/v1/_echo", headers=[("Origin", PAGE), METHOD])
    check_error(head, body, 401, "unauthorized")


@pytest.mark.parametrize("request_, status, code", [
    ((b"POST /v1/x", b""), 401, "unauthorized"),
    ((b"POST /v1/x", b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"), 400, "invalid_param"),
    ((b"GET /elsewhere", b""), 404, "not_found"),
    ((b"TRACE /v1/x", b""), 405, "method_not_allowed"),
    ((b"TRACE /elsewhere", b""), 405, "method_not_allowed"),
    ((b"POST /v1/x", b"Content-Length: 1, 2\r\n"), 400, "bad_request"),
    ((b"POST /v1/x", b"X: " + b"x" * 5000 + b"\r\n"), 431, "request_header_fields_too_large")])
def test_own_errors_can_be_read_by_the_page(node, request_, status, code):
    line, field = request_
    for origin in (PAGE, OTHER, "null"):
        with node.client() as client:
            client.send(line + b" HTTP/1.1\r\nOrigin: " + origin.encode() + b"\r\nHost: h\r\n" + field + b"\r\n")
            head = client.head()
            check_error(head, client.body(head), status, code)
            assert cors_fields(head) == {"access-control-allow-origin": origin, "vary": "Origin",
                                         "access-control-expose-headers": "X-Request-ID"}
    with node.client() as client:
        client.send(line + b" HTTP/1.1\r\nHost: h\r\n" + field + b"\r\n")
        assert cors_fields(client.head()) == {}


def test_what_a_node_tells_of_itself_is_for_no_page(node):
    for method, path in (("GET", "/status"), ("GET", "/health"), ("POST", "/status"), ("POST", "/admin/drain"),
                         ("OPTIONS", "/status"), ("GET", "/metrics")):
        head, _ = node.request(method, path, headers=[("Origin", PAGE), METHOD])
        assert cors_fields(head) == {}, path
    head, _ = node.request("GET", "/status", headers=[("Origin", PAGE)], source="127.0.0.8")
    assert cors_fields(head) == {}


def test_fields_of_an_instance_pass_as_they_are(stubs, node):
    head, _ = node.request("GET", "/v1/nowhere?user=u", token=TOKEN, headers=[("Origin", PAGE)])
    assert (head.status, cors_fields(head)) == (404, {   # ours would expose X-Request-ID
        "access-control-allow-origin": PAGE, "access-control-expose-headers": "X-Env, X-Trace-Id, X-Version",
        "vary": "Origin"})
    assert len([name for name, _ in head.pairs if name.lower().startswith("access-control-allow-origin")]) == 1


def test_an_origin_cannot_make_a_line(node):
    for origin in (b"https://a\xe9", b"a b", b"https://a\tb"):
        with node.client() as client:
            client.send(b"OPTIONS /v1/x HTTP/1.1\r\nHost: h\r\nOrigin: " + origin + b"\r\n"
                        b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: a\xe9\r\n\r\n")
            assert cors_fields(client.response()[0]) == {"vary": "Origin"}


def test_origins_are_configured_and_reloaded(stubs):
    config = settings(stubs[:1], cors={"origins": [PAGE]})
    with Node(config) as node:
        assert preflight(node)[2] == DIFYS
        head, body, fields = preflight(node, headers=(("Origin", OTHER), METHOD))
        assert (head.status, body, fields) == (200, b"", {"vary": "Origin"})
        assert cors_fields(node.request("GET", "/v1/x", headers=[("Origin", OTHER)])[0]) == {"vary": "Origin"}
        assert "access-control-allow-origin" in cors_fields(node.request("GET", "/v1/x", headers=[("Origin", PAGE)])[0])
        config["cors"]["origins"] = []
        assert node.reload(config)[0] == 200
        head, body, fields = preflight(node)
        assert (head.status, body, fields) == (200, b"", {})
        assert cors_fields(node.request("GET", "/v1/x", headers=[("Origin", PAGE)])[0]) == {}
