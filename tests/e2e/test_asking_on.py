"""Requests that name a message, run, form or file which the node has not seen: the request itself asks.

A 404 of these routes proves that nothing has run, so the next instance gets the request; for both versions of
Dify, whose words for an id that they do not know differ.
"""

import contextlib
import json
import threading

import pytest
from harness import TIMEOUT, TOKEN, Node, parallel, ring_find, ring_points, settings
from stub_client import Stub, wait_for

NAMES = ["dify1", "dify2", "dify3"]
POINTS = ring_points({name: 1 for name in NAMES})
NOBODYS = "00000000-0000-4000-8000-000000000009"


@pytest.fixture(scope="module", params=["1.13.0", "1.16.0"])
def three(request):
    with contextlib.ExitStack() as stack:
        stubs = [stack.enter_context(Stub(name, version=request.param)) for name in NAMES]
        yield {stub.name: stub for stub in stubs}


@pytest.fixture
def stubs(three):
    for stub in three.values():
        stub.fresh()
    return three


def config(stubs, **sections):
    sections.setdefault("health_check", {"interval": 0.2, "healthy_threshold": 1})
    application = {"queue": {"size": 20, "timeout": 0.8}} if sections.pop("short", False) else None
    return settings(list(stubs.values()), debug_headers=True, application=application, **sections)


@contextlib.contextmanager
def started(stubs, **sections):
    with Node(config(stubs, **sections)) as node:
        if sections.get("health_check", {}).get("enabled", True):
            for name in NAMES:
                node.wait_instance(name, status="healthy")
        yield node


USER = next(user for user in (f"user{i}" for i in range(200)) if ring_find(POINTS, "one", user) == "dify1")
ORDER = ["dify1", ring_find(POINTS, "one", USER, {"dify2", "dify3"})]
ORDER.append(({*NAMES} - {*ORDER}).pop())


def straight(stub, method, path, **more):
    """JSON of an instance, past every node."""
    import urllib.request
    body, fields = more.get("body"), {"Authorization": f"Bearer {stub.token}", **more.get("fields", {})}
    if "value" in more:
        body = json.dumps(more["value"]).encode()
        fields["Content-Type"] = "application/json"
    request = urllib.request.Request(stub.url + path, method=method, headers=fields, data=body)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        return json.loads(answer.read())


def made_at(stub):
    """Ids of each kind that the node has not seen being made."""
    chat = straight(stub, "POST", "/v1/chat-messages", value={"user": USER, "query": "q", "inputs": {}})
    run = straight(stub, "POST", "/v1/workflows/run", value={"user": USER, "inputs": {}})
    form = (f'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n--b\r\n'
            f'Content-Disposition: form-data; name="user"\r\n\r\n{USER}\r\n--b--\r\n').encode()
    file = straight(stub, "POST", "/v1/files/upload", body=form,
                    fields={"Content-Type": "multipart/form-data; boundary=b"})
    token = stub.control("POST", "/form")["token"]
    annotation = straight(stub, "POST", "/v1/apps/annotations", value={"question": "q", "answer": "a"})
    stub.forget()
    return {"message": chat["message_id"], "run": run["workflow_run_id"], "file": file["id"], "form": token,
            "annotation": annotation["id"], "end user": file["created_by"]}


ROUTES = [   # method, target, its kind, JSON body
    ("GET", "/v1/messages/{id}/suggested?user={user}", "message", None),
    ("POST", "/v1/messages/{id}/feedbacks", "message", {"user": USER, "rating": "like"}),
    ("GET", "/v1/workflows/run/{id}", "run", None),
    ("GET", "/v1/workflow/{id}/events?user={user}", "run", None),
    ("GET", "/v1/files/{id}/preview?user={user}", "file", None),
    ("GET", "/v1/form/human_input/{id}?user={user}", "form", None),
    ("POST", "/v1/form/human_input/{id}", "form", {"user": USER, "inputs": {}, "action": "yes"}),
    ("PUT", "/v1/apps/annotations/{id}", "annotation", {"question": "q", "answer": "b"}),
    ("GET", "/v1/end-users/{id}", "end user", None),
]


def ask(node, method, target, ident, body, **more):
    """`user` is where Dify has it, and in a header for the node: not every route carries one."""
    return node.request(method, target.format(id=ident, user=USER), token=TOKEN, json_body=body,
                        headers=[("X-User-ID", USER)], **more)


def seen(stubs, path="/v1/"):
    return {name: len([r for r in stub.requests(path=path) if "/parameters" not in r["target"]])
            for name, stub in stubs.items()}


@pytest.mark.parametrize("method, target, kind, body", ROUTES)
def test_it_is_found_at_the_last_that_is_asked_and_remembered(stubs, method, target, kind, body):
    last = ORDER[2]
    ident = made_at(stubs[last])[kind]
    with started(stubs, workers=1) as node:   # one worker's log lines are in order
        head, _ = ask(node, method, target, ident, body)
        assert (head.status, head.headers["x-dify-instance"]) == (200, last)
        assert seen(stubs) == {name: 1 for name in NAMES}
        ids = {r["x_request_id"] for stub in stubs.values() for r in stub.requests(path="/v1/")
               if "/parameters" not in r["target"]}
        assert ids == {head.headers["x-request-id"]}   # what is asked on keeps the client's
        head, _ = ask(node, method, target, ident, body)
        assert (head.status, head.headers["x-dify-instance"]) == (200, last)
        assert seen(stubs) == {**{name: 1 for name in NAMES}, last: 2}   # it is remembered
        lines = node.wait_access(2, app="one")
        assert [(line["placed"], line["instance"], line["attempts"], line["tried"]) for line in lines] == [
            ("found", last, 1, []), ("remembered", last, 1, [])]
        _, status = node.json("GET", "/status")
        served = {name: value["requests"] for name, value in status["applications"]["one"]["instances"].items()}
        assert served == {**{name: 0 for name in NAMES}, last: 2}   # asking counts as no request


def test_what_an_owner_makes_is_remembered_where_it_was_made(stubs):
    """No request of these has a user, so each goes to another instance in turn; of a job nobody can be asked."""
    with Node(config(stubs, health_check={"enabled": False})) as node:
        def call(method, target, body=None):
            head, said = node.request(method, target, token=TOKEN, json_body=body)
            return head.status, head.headers["x-dify-instance"], json.loads(said) if said else None

        jobs = [call("POST", "/v1/apps/annotation-reply/enable", {"score_threshold": 0.9}) for _ in range(3)]
        made = [call("POST", "/v1/apps/annotations", {"question": "q", "answer": "a"}) for _ in range(3)]
        assert {at for _, at, _ in jobs} == {at for _, at, _ in made} == {*NAMES}
        for _, at, said in jobs * 2:
            status = call("GET", f"/v1/apps/annotation-reply/enable/status/{said['job_id']}")
            assert status == (200, at, {"job_id": said["job_id"], "job_status": "completed", "error_msg": ""})
        for _, at, said in made:
            assert call("DELETE", f"/v1/apps/annotations/{said['id']}") == (204, at, None)
        assert sum(seen(stubs, "/v1/apps/annotations/").values()) == 3   # nobody was asked
        assert call("DELETE", f"/v1/apps/annotations/{made[0][2]['id']}")[0] == 404   # it is gone everywhere


@pytest.mark.parametrize("method, target, kind, body", ROUTES)
def test_what_nobody_has_is_404_in_the_first_choices_words(stubs, method, target, kind, body):
    with started(stubs) as node:
        for again in range(2):
            head, said = ask(node, method, target, NOBODYS, body)
            assert head.status == 404 and json.loads(said)["code"].endswith("not_found")
            assert head.headers["x-request-id"]
            if {r["status"] for r in stubs["dify1"].requests(path="/v1/workflows/run/")} == {500}:   # 1.13
                assert json.loads(said)["message"] == "Workflow run not found."
            else:
                assert head.headers["x-dify-instance"] == "dify1" and head.headers["x-version"]
        expected = {**{name: 1 for name in NAMES}, "dify1": 2}   # for 5 s the others are not asked again
        assert seen(stubs) in (expected, {name: 1 for name in NAMES})
        lines = node.wait_access(2, app="one")
        assert {line["placed"] for line in lines} == {"lost"}


def test_many_ask_for_one_id_and_one_search_is_made(stubs):
    last = ORDER[2]
    ident = made_at(stubs[last])["message"]
    with started(stubs, workers=4) as node:
        target = f"/v1/messages/{ident}/suggested?user={USER}"
        for stub in stubs.values():
            stub.fault("stall_before_head", seconds=0.2, match="/suggested")
        answers = parallel([lambda: node.request("GET", target, token=TOKEN)] * 8)
        assert {(head.status, head.headers["x-dify-instance"]) for head, _ in answers} == {(200, last)}
        assert seen(stubs, "/suggested") == {**{name: 1 for name in NAMES}, last: 8}


@pytest.mark.parametrize("code", [401, 403])
def test_who_does_not_let_us_in_has_not_been_asked(stubs, code):
    """The others are; if nobody has it the request waits, and is not told that it does not exist."""
    ident = made_at(stubs[ORDER[2]])["message"]
    with started(stubs, short=True, health_check={"enabled": False}) as node:
        stubs["dify1"].fault("status", code=code, match="/messages/", count=None, body="{}")
        head, _ = ask(node, *ROUTES[0][:2], ident, None)
        assert (head.status, head.headers["x-dify-instance"]) == (200, ORDER[2])
        head, said = ask(node, *ROUTES[0][:2], NOBODYS, None)
        assert (head.status, json.loads(said)["code"]) == (503, "service_unavailable")
        assert node.wait_access(1, status=503)[0]["placed"] == "lost"


def test_a_5xx_of_a_get_asks_on_and_one_of_a_post_is_passed_on(stubs):
    ids = made_at(stubs[ORDER[2]])
    with started(stubs, health_check={"enabled": False}) as node:
        stubs["dify1"].fault("status", code=500, match="/messages/", count=None, body="{}")
        head, _ = ask(node, "GET", ROUTES[0][1], ids["message"], None)
        assert (head.status, head.headers["x-dify-instance"]) == (200, ORDER[2])
        for stub in stubs.values():
            stub.forget()
        other = made_at(stubs[ORDER[2]])
        head, _ = ask(node, "POST", ROUTES[1][1], other["message"], ROUTES[1][3])
        assert (head.status, head.headers["x-dify-instance"]) == (500, "dify1")
        assert seen(stubs, "/feedbacks") == {"dify1": 1, "dify2": 0, "dify3": 0}   # it may have run


def test_a_get_that_is_lost_asks_on(stubs):
    """No mere retry: that would end with the 404 of the second one."""
    ident = made_at(stubs[ORDER[2]])["file"]
    with started(stubs, health_check={"enabled": False}) as node:
        stubs["dify1"].fault("reset_before_head", match="/preview")
        head, _ = ask(node, *ROUTES[4][:2], ident, None)
        assert (head.status, head.headers["x-dify-instance"]) == (200, ORDER[2])
        assert seen(stubs, "/preview") == {name: 1 for name in NAMES}


def test_one_that_refuses_may_have_it(stubs):
    """While it is away the request waits, and it gets the request when it is back."""
    ident = made_at(stubs["dify1"])["message"]
    with started(stubs, health_check={"enabled": False}, workers=1) as node:
        stubs["dify1"].refuse()
        stubs["dify1"].close_connections()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(node, *ROUTES[0][:2], ident, None)))
        thread.start()
        wait_for(lambda: all(count == 1 for name, count in seen(stubs, "/suggested").items() if name != "dify1"), TIMEOUT)
        assert not answers
        stubs["dify1"].refuse(False)
        thread.join(TIMEOUT)
        assert (answers[0][0].status, answers[0][0].headers["x-dify-instance"]) == (200, "dify1")
        assert seen(stubs, "/suggested") == {name: 1 for name in NAMES}


def test_who_said_no_is_not_asked_again_when_another_comes_back(stubs):
    with started(stubs, health_check={"enabled": False}, workers=1) as node:
        stubs["dify1"].refuse()
        stubs["dify1"].close_connections()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(ask(node, *ROUTES[0][:2], NOBODYS, None)))
        thread.start()
        wait_for(lambda: all(count == 1 for name, count in seen(stubs, "/suggested").items() if name != "dify1"), TIMEOUT)
        stubs["dify1"].refuse(False)
        thread.join(TIMEOUT)
        assert answers[0][0].status == 404
        assert seen(stubs, "/suggested") == {name: 1 for name in NAMES}


def test_what_has_gone_from_where_it_was_remembered_is_looked_for(stubs):
    """An instance that was restored elsewhere, from a backup, say."""
    with started(stubs) as node:
        head, said = node.json("POST", "/v1/chat-messages", token=TOKEN, json_body={
            "user": USER, "query": "q", "inputs": {}, "response_mode": "blocking"})
        assert head.headers["x-dify-instance"] == "dify1"
        message = said["message_id"]
        stubs["dify1"].control("POST", "/forget", {"message": message})
        stubs[ORDER[2]].control("POST", "/know", {"message": message, "token": stubs[ORDER[2]].token, "user": USER})
        head, _ = ask(node, *ROUTES[0][:2], message, None)
        assert (head.status, head.headers["x-dify-instance"]) == (200, ORDER[2])


def test_a_large_body_is_kept_and_sent_to_each(stubs):
    ident = made_at(stubs[ORDER[2]])["form"]
    text = "x" * 300_000
    with started(stubs) as node:
        head, _ = ask(node, "POST", ROUTES[6][1], ident, {"user": USER, "inputs": {"text": text}})
        assert (head.status, head.headers["x-dify-instance"]) == (200, ORDER[2])
        sizes = {stub.requests(path="/form/")[-1]["body_size"] for stub in stubs.values()}
        assert len(sizes) == 1 and sizes.pop() > 300_000


def test_a_head_request_asks_on_too(stubs):
    ident = made_at(stubs[ORDER[1]])["file"]
    with started(stubs) as node, node.client() as client:
        client.request("HEAD", ROUTES[4][1].format(id=ident, user=USER), TOKEN)
        head = client.head()
        assert (head.status, head.headers["x-dify-instance"]) == (200, ORDER[1])
        client.request("GET", f"/v1/parameters?user={USER}", TOKEN)
        assert client.response()[0].status == 200


def test_a_404_that_is_none_of_the_ids_passes(stubs):
    """An unknown path below /v1: HTML, at the first choice's alone."""
    with started(stubs) as node:
        head, body = ask(node, "GET", "/v1/messages/{id}/nothing?user={user}", NOBODYS, None)
        assert head.status == 404 and body.startswith(b"<!doctype html>")
        assert seen(stubs) == {"dify1": 1, "dify2": 0, "dify3": 0}
        stubs["dify1"].fault("status", code=404, match="/suggested", body='{"code": "app_unavailable"}')
        head, body = ask(node, *ROUTES[0][:2], NOBODYS, None)   # of a route with an id, and not of the id
        assert (head.status, head.headers["x-dify-instance"], body) == (404, "dify1", b'{"code": "app_unavailable"}')
        assert seen(stubs, "/suggested") == {"dify1": 1, "dify2": 0, "dify3": 0}


def test_a_kept_404_of_unknown_length_has_one_for_its_client(stubs):
    text = '{"code": "not_found", "status": 404}'
    with started(stubs, health_check={"enabled": False}) as node, node.client() as client:
        stubs["dify1"].fault("garbage", match="/suggested", data=(
            f"HTTP/1.1 404 NOT FOUND\r\nTransfer-Encoding: chunked\r\n\r\n{len(text):x}\r\n{text}\r\n0\r\n\r\n"))
        client.request("GET", f"/v1/messages/{NOBODYS}/suggested?user={USER}", TOKEN, headers=[("X-User-ID", USER)])
        head, body = client.response()
        assert (head.status, body) == (404, text.encode())
        assert int(head.headers["content-length"]) == len(body)
        client.request("GET", f"/v1/parameters?user={USER}", TOKEN)
        assert client.response()[0].status == 200


@pytest.mark.parametrize("holder", [None, ORDER[2]])
def test_a_404_that_ends_with_its_connection_is_heard_and_kept_too(stubs, holder):
    text = '{"code": "not_found", "status": 404}'
    ident = made_at(stubs[holder])["message"] if holder else NOBODYS
    with started(stubs, health_check={"enabled": False}) as node:
        for name in {*NAMES} - {holder}:
            stubs[name].fault("garbage", match="/suggested", data=f"HTTP/1.1 404 NOT FOUND\r\n\r\n{text}")
        head, body = ask(node, *ROUTES[0][:2], ident, None)
        assert (head.status, head.headers["x-dify-instance"]) == ((200, holder) if holder else (404, "dify1"))
        assert holder or body == text.encode()
        assert seen(stubs) == {name: 1 for name in NAMES}
        stubs["dify1"].fault("garbage", match="/suggested", data="HTTP/1.1 404 NOT FOUND\r\n\r\nno such page")
        head, body = ask(node, *ROUTES[0][:2], NOBODYS[:-1] + "8", None)   # none of the ids: it is passed on
        assert (head.status, head.headers["x-dify-instance"], body) == (404, "dify1", b"no such page")


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_kept_404_is_framed_for_its_client(stubs, version):
    with started(stubs) as node, node.client() as client:
        client.send(f"GET /v1/messages/{NOBODYS}/suggested?user={USER} {version}\r\nHost: x\r\n"
                    f"Authorization: Bearer {TOKEN}\r\n\r\n".encode())
        head, body = client.response()
        assert head.status == 404 and json.loads(body)["code"] == "not_found"
        assert int(head.headers["content-length"]) == len(body)
        if version == "HTTP/1.1":
            client.request("GET", f"/v1/parameters?user={USER}", TOKEN)
            assert client.response()[0].status == 200
