"""What names a conversation, a message, a run, a file or a task goes to the instance that made it.

The stand-ins have a state of their own each, as separate Difys do.
"""

import contextlib
import json
import threading

import pytest
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, parallel, ring_find, ring_points, run_command, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for

NAMES = ["dify1", "dify2", "dify3"]
POINTS = ring_points({name: 1 for name in NAMES})


@pytest.fixture(scope="module")
def three():
    with contextlib.ExitStack() as stack:
        stubs = [stack.enter_context(Stub(name)) for name in NAMES]
        yield {stub.name: stub for stub in stubs}


@pytest.fixture
def stubs(three):
    for stub in three.values():
        stub.fresh()
    return three


def config(stubs, **sections):
    sections.setdefault("queue", None)
    queue = sections.pop("queue")
    application = {**({"queue": queue} if queue else {}), **sections.pop("application", {})}
    return settings(list(stubs.values()), debug_headers=True, application=application, **sections)


def user_of(name, number=0):
    """A user whose home this is."""
    found = [user for user in (f"user{i}" for i in range(200)) if ring_find(POINTS, "one", user) == name]
    return found[number]


def chat(target, user, conversation=None, **more):
    """(Head, JSON) of a blocking chat, through a node or, with a Stub, straight to the instance."""
    body = {"user": user, "query": "q", "inputs": {}, "response_mode": "blocking", **more}
    if conversation:
        body["conversation_id"] = conversation
    return target.json("POST", "/v1/chat-messages", token=TOKEN, json_body=body)


def made_at(stub, user):
    """(conversation, message) that the node has not seen being made."""
    import urllib.request
    request = urllib.request.Request(stub.url + "/v1/chat-messages", method="POST", headers={
        "Authorization": f"Bearer {stub.token}", "Content-Type": "application/json"},
        data=json.dumps({"user": user, "query": "q", "inputs": {}, "response_mode": "blocking"}).encode())
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        value = json.loads(answer.read())
    stub.forget()
    return value["conversation_id"], value["message_id"]


def at(head):
    return head.headers["x-dify-instance"]


def drained(node, name, on=True):
    head, _ = node.request("POST", f"/admin/instances/one/{name}/{'drain' if on else 'enable'}")
    assert head.status == 200, head.raw
    node.wait_instance(name, status="draining" if on else "unknown")


def asked(stubs, path="/v1/messages?"):
    return {name: len(stub.requests(path=path)) for name, stub in stubs.items()}


def test_a_conversation_is_remembered_when_its_users_home_changes(stubs):
    """Seen being made in a blocking answer; its instance is drained, and gets what is its own all the same."""
    user = user_of("dify1")
    with Node(config(stubs, workers=1)) as node:
        head, said = chat(node, user)
        assert (head.status, at(head)) == (200, "dify1")
        drained(node, "dify1")
        head, again = chat(node, user, said["conversation_id"])
        assert (head.status, at(head), again["conversation_id"]) == (200, "dify1", said["conversation_id"])
        head, other = chat(node, user)
        assert at(head) != "dify1" and other["conversation_id"] != said["conversation_id"]
        for method, target, body in (
                ("GET", f"/v1/messages?user={user}&conversation_id={said['conversation_id']}", None),
                ("POST", f"/v1/messages/{said['message_id']}/feedbacks", {"user": user, "rating": "like"}),
                ("POST", f"/v1/conversations/{said['conversation_id']}/name", {"user": user, "name": "n"})):
            head, _ = node.request(method, target, token=TOKEN, json_body=body)
            assert (head.status, at(head)) == (200, "dify1"), target
        assert sum(asked(stubs).values()) == 1   # the client's own
        lines = node.wait_access(6, app="one")
        assert [line["placed"] for line in lines] == [
            None, "remembered", None, "remembered", "remembered", "remembered"]
        _, text = node.request("GET", "/metrics")
        assert b'difyring_placements_total{result="remembered"} 4' in text
        assert b"\ndifyring_placements 8\n" in text   # of three chats: two conversations, three messages, three tasks


def test_a_streams_ids_are_remembered_and_no_byte_waits_for_that(stubs):
    user = user_of("dify2")
    with Node(config(stubs)) as node, node.client() as client:
        client.request("POST", "/v1/chat-messages", TOKEN, json_body={
            "user": user, "query": "q", "response_mode": "streaming", "inputs": {"stub_events": 50, "stub_interval": 0.2}})
        assert client.head().status == 200
        first = json.loads(client.chunk().split(b"data: ")[1])
        drained(node, "dify2")
        head, said = node.json("GET", f"/v1/messages?user={user}&conversation_id={first['conversation_id']}", token=TOKEN)
        assert (head.status, at(head)) == (200, "dify2"), said


def test_an_uploaded_file_takes_its_chat_along(stubs):
    user = user_of("dify3")
    with Node(config(stubs)) as node:
        body = (f'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nx'
                f'\r\n--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n--b--\r\n').encode()
        head, said = node.json("POST", "/v1/files/upload", token=TOKEN, body=body,
                               headers=[("Content-Type", "multipart/form-data; boundary=b")])
        assert (head.status, at(head)) == (201, "dify3")
        drained(node, "dify3")
        head, _ = chat(node, user, files=[{"type": "document", "transfer_method": "local_file", "upload_file_id": said["id"]}])
        assert (head.status, at(head)) == (200, "dify3")


def test_an_unknown_conversation_is_asked_for_once(stubs):
    """It is at the last that is asked. Many ask at once, one question goes to each instance, and later none."""
    user = user_of("dify1")
    order = [ring_find(POINTS, "one", user, {*NAMES} - {*before}) for before in ([], ["dify1"])]
    last = ({*NAMES} - {*order}).pop()
    conversation, _ = made_at(stubs[last], user)
    with Node(config(stubs, workers=4)) as node:
        for head, said in parallel([lambda: chat(node, user, conversation)] * 8):
            assert (head.status, at(head), said["conversation_id"]) == (200, last, conversation)
        assert asked(stubs) == {name: 1 for name in NAMES}
        assert asked(stubs, "/v1/chat-messages") == {**{name: 0 for name in NAMES}, last: 8}
        seen = stubs[order[0]].requests(path="/v1/messages?")[0]
        assert (seen["user"], seen["status"], len(seen["x_request_id"])) == (user, 404, 32)
        head, _ = chat(node, user, conversation)
        assert at(head) == last and asked(stubs) == {name: 1 for name in NAMES}
        placed = [line["placed"] for line in node.wait_access(9) if line["uri"] == "/v1/chat-messages"]
        assert "found" in placed and set(placed) <= {"found", "remembered"} and placed[-1] == "remembered"
        assert all(line["attempts"] == 1 for line in node.access(uri="/v1/chat-messages"))


def test_who_waits_for_a_search_of_another_needs_no_place_in_a_queue(stubs):
    """A page that is opened asks for several things of one conversation at once; a search takes milliseconds."""
    user = user_of("dify1")
    conversation, _ = made_at(stubs["dify2"], user)
    stubs["dify1"].fault("stall_before_head", count=None, seconds=0.2, match="/v1/messages?")
    with Node(config(stubs, queue={"size": 0, "timeout": 5})) as node:
        for head, said in parallel([lambda: chat(node, user, conversation)] * 4):
            assert (head.status, at(head)) == (200, "dify2"), said


def test_a_conversation_that_nobody_has_is_404_from_here(stubs):
    user, stranger = user_of("dify2"), "00000000-0000-4000-8000-000000000000"
    with Node(config(stubs)) as node:
        for _ in range(3):
            head, body = node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
                "user": user, "query": "q", "inputs": {}, "conversation_id": stranger})
            assert check_error(head, body, 404, "not_found")["message"] == "Conversation Not Exists."
        head, body = node.request("DELETE", f"/v1/conversations/{stranger}", token=TOKEN, json_body={"user": user})
        check_error(head, body, 404, "not_found")
        assert asked(stubs) == {name: 1 for name in NAMES}   # for 5 s nobody is asked again
        assert asked(stubs, "/v1/c") == {name: 0 for name in NAMES}
        lines = node.wait_access(4, status=404)
        assert {line["placed"] for line in lines} == {"lost"} and {line["instance"] for line in lines} == {None}


def test_another_users_question_says_nothing_of_ones_own(stubs):
    """Dify says 404 to a wrong user; the right one is asked for at once."""
    user = user_of("dify2")
    conversation, _ = made_at(stubs["dify3"], user)
    with Node(config(stubs)) as node:
        head, _ = chat(node, "somebody", conversation)
        assert head.status == 404
        head, _ = chat(node, user, conversation)
        assert (head.status, at(head)) == (200, "dify3")


def test_a_delete_goes_where_the_conversation_is(stubs):
    user = user_of("dify1")
    conversation, _ = made_at(stubs["dify3"], user)
    with Node(config(stubs)) as node:
        head, _ = node.request("DELETE", f"/v1/conversations/{conversation}", token=TOKEN, json_body={"user": user})
        assert (head.status, at(head)) == (204, "dify3")
        head, _ = chat(node, user, conversation)
        assert head.status == 404   # and is forgotten


@pytest.mark.parametrize(("method", "target", "body"), [
    ("GET", "/v1/messages?user={user}&conversation_id={id}", False), ("POST", "/v1/conversations/{id}/name", True),
    ("GET", "/v1/conversations/{id}/variables?user={user}", False)])
def test_other_requests_find_their_conversation_too(stubs, method, target, body):
    user = user_of("dify1")
    conversation, _ = made_at(stubs["dify3"], user)
    with Node(config(stubs)) as node:
        json_body = {"user": user, "name": "n"} if body else None
        head, _ = node.request(method, target.format(user=user, id=conversation), token=TOKEN, json_body=json_body)
        assert (head.status, at(head)) == (200, "dify3")
        stranger = "00000000-0000-4000-8000-000000000002"
        for _ in range(2):   # nobody has it: in the first choice's own words
            head, said = node.json(method, target.format(user=user, id=stranger), token=TOKEN, json_body=json_body)
            assert (head.status, at(head)) == (404, "dify1") and len(said["message"]) > len("Conversation Not Exists.")
        lines = node.wait_access(3, app="one")
        assert sorted(line["placed"] for line in lines) == ["found", "lost", "lost"]


def test_a_stop_goes_to_all_that_are_not_down(stubs):
    user = user_of("dify1")
    with Node(config(stubs)) as node:
        head, body = node.request("POST", "/v1/chat-messages/some-task/stop", token=TOKEN, json_body={"user": user})
        assert (head.status, at(head), body) == (200, "dify1", b'{"result":"success"}\n')
        wait_for(lambda: asked(stubs, "/stop") == {name: 1 for name in NAMES}, TIMEOUT)
        ids = {stub.requests(path="/stop")[0]["x_request_id"] for stub in stubs.values()}
        assert ids == {head.headers["x-request-id"]}   # what is asked on for a client keeps the client's


def take_away(node, stub, user):
    """It refuses from now on, and no kept connection to it is left, in which a POST would be lost."""
    stub.refuse()
    stub.close_connections()
    head, _ = node.request("GET", f"/v1/parameters?user={user}", token=TOKEN)
    assert (head.status, at(head) != stub.name) == (200, True)
    stub.forget()


def test_what_belongs_to_an_instance_waits_for_it(stubs):
    """It restarts: the request is sent when it is back, to nobody else, and once."""
    user = user_of("dify1")
    with Node(config(stubs, workers=1)) as node:
        _, said = chat(node, user)
        for stub in stubs.values():
            stub.forget()
        take_away(node, stubs["dify1"], user)
        results = []
        thread = threading.Thread(target=lambda: results.append(chat(node, user, said["conversation_id"])))
        thread.start()
        failed = b'difyring_instance_failures_total{app="one",dify_instance="dify1"} '
        wait_for(lambda: int(node.request("GET", "/metrics")[1].split(failed)[1].split(b"\n")[0]) >= 2, TIMEOUT)
        assert not results
        stubs["dify1"].refuse(False)
        thread.join(TIMEOUT)
        head, again = results[0]
        assert (head.status, at(head), again["conversation_id"]) == (200, "dify1", said["conversation_id"])
        assert asked(stubs, "/v1/chat-messages") == {"dify1": 1, "dify2": 0, "dify3": 0}


def test_one_that_stays_away_is_503_after_the_queues_time(stubs):
    user = user_of("dify1")
    with Node(config(stubs, queue={"size": 1, "timeout": 0.6}, workers=1)) as node:
        _, said = chat(node, user)
        conversation, _ = made_at(stubs["dify2"], user)
        take_away(node, stubs["dify1"], user)
        watch = Stopwatch()
        head, body = node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
            "user": user, "query": "q", "inputs": {}, "conversation_id": said["conversation_id"]})
        check_error(head, body, 503, "service_unavailable")
        assert head.headers["retry-after"] and 0.5 < watch.seconds() and watch.fair_seconds() < 3 * PATIENCE
        head, _ = chat(node, user, conversation)   # whose own is up is not held up
        assert (head.status, at(head)) == (200, "dify2")
        stranger = "00000000-0000-4000-8000-000000000001"
        head, body = node.request("POST", "/v1/chat-messages", token=TOKEN, json_body={
            "user": user, "query": "q", "inputs": {}, "conversation_id": stranger})
        check_error(head, body, 503, "service_unavailable")   # dify1 may have it: no false 404
        lines = node.wait_access(2, status=503)
        assert {line["placed"] for line in lines} == {"lost"}


def test_beyond_the_limit_what_was_used_least_recently_is_forgotten(stubs):
    """A blocking chat tells three ids: its conversation's, its message's, its task's."""
    user = user_of("dify1")
    with Node(config(stubs, workers=1, limits={"placements": 12})) as node:
        first, *_, last = [chat(node, user)[1]["conversation_id"] for _ in range(9)]
        drained(node, "dify1")
        for conversation, placed in ((last, "remembered"), (first, "found")):
            head, _ = chat(node, user, conversation)
            assert (head.status, at(head)) == (200, "dify1")
            assert node.wait_access(1, request_id=head.headers["x-request-id"])[0]["placed"] == placed
        assert b"\ndifyring_placements 12\n" in node.request("GET", "/metrics")[1]


def test_shared_instances_pay_nothing(stubs):
    """As long as `state` says so, whatever the tokens."""
    user = user_of("dify1")
    with Node(config(stubs, application={"state": "shared"})) as node:
        _, said = chat(node, user)
        drained(node, "dify1")
        head, _ = chat(node, user, said["conversation_id"])
        assert (head.status, at(head) != "dify1") == (404, True)
        assert sum(asked(stubs).values()) == 0
        assert node.wait_access(1, status=404)[0]["placed"] is None


@pytest.mark.parametrize(("tokens", "state", "said"), [
    (["app-a", "app-b"], None, "separate"), (["app-a", "app-a"], None, "shared"), (["app-a", "app-a"], "separate", None)])
def test_check_says_which_state_it_is(tmp_path, tokens, state, said):
    path = tmp_path / "node.yaml"
    instances = [{"name": f"dify{i}", "host": "127.0.0.1", "port": 5001 + i, "token": token} for i, token in enumerate(tokens)]
    path.write_text(json.dumps(settings([], instances=instances, application={"state": state} if state else None)))
    result = run_command("check", "-c", str(path))
    assert result.returncode == 0, result.stdout
    notes = [line for line in result.stdout.splitlines() if ": note: `state`" in line]
    assert len(notes) == (1 if said else 0) and all(f"`state` of `one` is {said}," in note for note in notes)


def explained(node, method, path, user):
    head, said = node.json("GET", f"/admin/explain?app=one&user={user}&method={method}&path={path.replace('?', '%3F')}")
    assert head.status == 200, said
    return said["instance"], said["placed"]


def test_explain_says_where_an_id_lives(stubs):
    """By the memory alone: nobody is asked for one that is not known."""
    user = user_of("dify1")
    conversation, message = made_at(stubs["dify3"], user)
    with Node(config(stubs)) as node:
        path = f"/v1/messages?conversation_id={conversation}"
        assert explained(node, "GET", path, user) == ("dify1", None)
        head, _ = chat(node, user, conversation)
        assert at(head) == "dify3"
        assert explained(node, "GET", path, user) == ("dify3", "remembered")
        assert explained(node, "DELETE", f"/v1/conversations/{conversation}", user) == ("dify3", "remembered")
        assert explained(node, "GET", path, user_of("dify3")) == ("dify3", "home")
        _, said = node.json("GET", f"/admin/explain?app=one&user={user}&path={path.replace('?', '%3F')}")   # no method: GET
        assert (said["instance"], said["placed"]) == ("dify3", "remembered")
        assert explained(node, "GET", f"/v1/messages/{message}/suggested", user) == ("dify1", None)
        assert explained(node, "POST", "/v1/chat-messages", user) == ("dify1", None)
        drained(node, "dify1")
        assert explained(node, "GET", "/v1/datasets", user) == ("dify2", None)   # the first one in the file's order


def test_debug_tells_each_instance_that_was_asked(stubs):
    """A message that the last one has: the others' attempts are there too, though they count as none."""
    user = user_of("dify1")
    order = [ring_find(POINTS, "one", user, {*NAMES} - {*before}) for before in ([], ["dify1"])]
    last = ({*NAMES} - {*order}).pop()
    _, message = made_at(stubs[last], user)
    with Node(config(stubs), logs={"level": "debug"}) as node:
        head, _ = node.json("GET", f"/v1/messages/{message}/suggested?user={user}", token=TOKEN)
        assert (head.status, at(head)) == (200, last)
        lines = wait_for(lambda: len(node.events("attempt")) == 3 and node.events("attempt"), TIMEOUT)
        assert [(line["instance"], line["result"], line["status"], line["asks"]) for line in lines] == [
            (order[0], "not_here", 404, True), (order[1], "not_here", 404, True), (last, "complete", 200, True)]
        assert len({line["request_id"] for line in lines}) == 1
        assert node.wait_access(1, app="one")[0]["attempts"] == 1
