"""An instance that is drained with `now`: what belongs there waits, as long as `hold` says (SPEC §5).

What `deploy/dify-migrate cutover` does with it: drain, wait, move, change the host, enable.
"""

import threading

import pytest
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, observe, run_command, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for
from test_placement import asked, at, chat, config, made_at, stubs, three, user_of  # noqa: F401

HOLD = "60s"
LOST = {"user": "nobody", "query": "q", "inputs": {}}


def order(node, name, words="", enable=False):
    path = f"/admin/instances/one/{name}/{'enable' if enable else 'drain'}{words}"
    head, value = node.json("POST", path)
    assert head.status == 200, value
    node.wait_instance(name, status="unknown" if enable else "draining")


class Asking:
    """A request in flight on a thread of its own."""

    def __init__(self, job):
        self.answer = None
        self.thread = threading.Thread(target=self._run, args=(job,), daemon=True)
        self.thread.start()

    def _run(self, job):
        self.answer = job()

    def waits(self, seconds=0.7):
        observe(seconds, lambda: self.answer is None)
        return self

    def result(self):
        self.thread.join(TIMEOUT)
        assert self.answer, "it still waits"
        return self.answer


def chats(stub):
    return len(stub.requests(path="/v1/chat-messages"))


def test_what_belongs_there_waits_and_goes_on_when_it_is_enabled(stubs):  # noqa: F811
    user = user_of("dify1")
    with Node(config(stubs, queue={"size": 10, "timeout": 0.2})) as node:
        _, said = chat(node, user)
        order(node, "dify1", f"?now=1&hold={HOLD}")
        stubs["dify1"].forget()
        asking = Asking(lambda: chat(node, user, said["conversation_id"])).waits()   # far longer than queue.timeout
        head, _ = chat(node, user)
        assert (head.status, at(head)) == (200, "dify2") or at(head) == "dify3"   # what names nothing goes elsewhere
        assert chats(stubs["dify1"]) == 0
        assert node.instances()["dify1"]["queued"] == 1
        order(node, "dify1", enable=True)
        head, again = asking.result()
        assert (head.status, at(head), again["conversation_id"]) == (200, "dify1", said["conversation_id"])
        assert chats(stubs["dify1"]) == 1
        line = [line for line in node.wait_access(3, app="one") if line["queue_time"]][0]
        assert line["queue_time"] >= 0.6 and line["attempts"] == 1 and line["instance"] == "dify1"
        assert node.instances()["dify1"]["queued"] == 0


def test_what_nobody_remembers_waits_too(stubs):  # noqa: F811
    """Several at once: one search, which waits for who cannot be asked."""
    user = user_of("dify2")
    conversation, _ = made_at(stubs["dify1"], user)
    with Node(config(stubs, queue={"size": 10, "timeout": round(0.2 * PATIENCE, 1)})) as node:
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = [Asking(lambda: chat(node, user, conversation)) for _ in range(4)]
        for one in asking:
            one.waits(0.3 * PATIENCE)   # longer than queue.timeout, which what is asked of the others must not take
        assert asked(stubs)["dify1"] == 0
        order(node, "dify1", enable=True)
        for one in asking:
            head, said = one.result()
            assert (head.status, at(head), said["conversation_id"]) == (200, "dify1", conversation)


@pytest.mark.parametrize(("words", "seconds"), [("?now=1&hold=1s", 1.0), ("?now=1", 0.4)])
def test_after_its_time_it_is_503(stubs, words, seconds):  # noqa: F811
    """`hold` counts, else queue.timeout."""
    user = user_of("dify1")
    with Node(config(stubs, queue={"size": 10, "timeout": 0.4})) as node:
        _, said = chat(node, user)
        order(node, "dify1", words)
        watch = Stopwatch()
        head, body = node.request("POST", "/v1/chat-messages", token=TOKEN,
                                  json_body={**LOST, "user": user, "conversation_id": said["conversation_id"]})
        check_error(head, body, 503, "service_unavailable")
        assert seconds - 0.05 < watch.seconds() and watch.fair_seconds() < seconds + 2 * PATIENCE and head.headers["retry-after"]
        line = node.wait_access(1, status=503)[0]
        assert (line["placed"], line["termination"], line["instance"]) == ("lost", "no_instance", None)


def test_no_more_wait_than_the_queue_takes(stubs):  # noqa: F811
    user = user_of("dify1")
    with Node(config(stubs, queue={"size": 1, "timeout": 30}, workers=1)) as node:
        _, said = chat(node, user)
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = Asking(lambda: chat(node, user, said["conversation_id"])).waits(0.3)
        head, _ = chat(node, user, said["conversation_id"])
        assert head.status == 503
        order(node, "dify1", enable=True)
        assert asking.result()[0].status == 200


def test_drained_without_now_gets_what_is_its_own(stubs):  # noqa: F811
    """And with `now` from the next order on: also who waits for a slot there is held then."""
    user = user_of("dify1")
    stub = stubs["dify1"]
    instances = [instance(one, max_in_flight=2) for one in stubs.values()]
    with Node(settings([], instances=instances, debug_headers=True)) as node:
        _, said = chat(node, user)
        order(node, "dify1")
        assert at(chat(node, user, said["conversation_id"])[0]) == "dify1"
        slow = Asking(lambda: chat(node, user, said["conversation_id"], inputs={"stub_delay": 2}))
        wait_for(lambda: node.instances()["dify1"]["active_requests"] == 1, TIMEOUT)
        waiting = Asking(lambda: chat(node, user, said["conversation_id"]))
        wait_for(lambda: node.instances()["dify1"]["queued"] == 1, TIMEOUT)
        count = chats(stub)
        order(node, "dify1", f"?now=1&hold={HOLD}")
        assert slow.result()[0].status == 200   # what is at work ends well
        waiting.waits(0.5)
        assert chats(stub) == count
        order(node, "dify1", enable=True)
        assert at(waiting.result()[0]) == "dify1"


def test_a_stop_reaches_what_is_at_work_there(stubs):  # noqa: F811
    user = user_of("dify1")
    with Node(config(stubs)) as node:
        order(node, "dify1", f"?now=1&hold={HOLD}")
        head, _ = node.request("POST", "/v1/chat-messages/some-task/stop", token=TOKEN, json_body={"user": user})
        assert head.status == 200
        wait_for(lambda: asked(stubs, "/stop")["dify1"] == 1, TIMEOUT)


def test_what_waits_goes_to_the_new_host(stubs):  # noqa: F811
    """Its host changes meanwhile, twice: the request began under another configuration."""
    user = user_of("dify1")
    with Stub("moved", token=stubs["dify1"].token) as moved, Node(config(stubs)) as node:
        _, said = chat(node, user)
        stubs["dify1"].forget()
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = Asking(lambda: chat(node, user, said["conversation_id"])).waits(0.3)
        changed = config(stubs)
        for port in 1, moved.port:
            changed["applications"]["one"]["instances"][0]["port"] = port
            assert node.reload(changed)[0] == 200
            asking.waits(0.4)
        order(node, "dify1", enable=True)
        head, _ = asking.result()
        assert at(head) == "dify1" and head.status == 404   # the stand-in has no such conversation
        assert (chats(moved), chats(stubs["dify1"])) == (1, 0)


def test_all_requests_of_an_only_instance_wait(stubs):  # noqa: F811
    """There is nobody else: a new chat belongs there, too."""
    old = stubs["dify1"]
    with Stub("moved", token=old.token) as moved, Node(settings([old], application={"queue": {"size": 9, "timeout": 0.2}})) as node:
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = [Asking(lambda: chat(node, "u")), Asking(lambda: node.json("GET", "/v1/conversations?user=u", token=TOKEN))]
        for one in asking:
            one.waits()
        assert node.reload(settings([], instances=[{**instance(moved), "name": "dify1"}], application={
            "queue": {"size": 9, "timeout": 0.2}}))[0] == 200
        order(node, "dify1", enable=True)
        assert [one.result()[0].status for one in asking] == [200, 200]
        assert len(moved.requests(path="/v1/")) == 2 and len(old.requests(path="/v1/")) == 0
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = Asking(lambda: node.request("GET", "/v1/conversations?user=u", token=TOKEN)).waits(0.5)
        order(node, "dify1", "?now=1")   # without hold nobody waits where nothing belongs, nor goes on waiting
        for answer in (asking.result(), node.request("GET", "/v1/conversations?user=u", token=TOKEN)):
            check_error(*answer, 503, "service_unavailable")
        assert [(line["termination"], line["attempts"]) for line in node.wait_access(2, status=503)] == [("no_instance", 0)] * 2


def test_a_client_that_leaves_frees_its_place(stubs):  # noqa: F811
    with Node(settings([stubs["dify1"]], workers=1)) as node, node.client() as client:
        order(node, "dify1", f"?now=1&hold={HOLD}")
        client.request("GET", "/v1/conversations?user=u", TOKEN)
        wait_for(lambda: node.instances()["dify1"]["queued"] == 1, TIMEOUT)
        client.close()
        wait_for(lambda: node.instances()["dify1"]["queued"] == 0, TIMEOUT)


def test_the_command_and_what_is_said_of_it(stubs):  # noqa: F811
    with Node(config(stubs)) as node:
        result = run_command("drain", "--now", "--hold", "1m", "one/dify1", "-u", f"http://127.0.0.1:{node.port}")
        assert result.returncode == 0, result
        reason = node.wait_instance("dify1", status="draining")["reason"]
        assert reason["kind"] == "drained" and "waits" in reason["text"], reason
        order_line = wait_for(lambda: node.events("instance_drain"), TIMEOUT)[-1]
        assert (order_line["now"], order_line["hold_ms"]) == (True, 60000)
        _, said = node.json("GET", f"/admin/explain?app=one&user={user_of('dify1')}")
        assert [row["instance"] for row in said["skipped"]] == ["dify1"] and "waits" in said["skipped"][0]["reason"]["text"]
        result = run_command("drain", "one/dify1", "-u", f"http://127.0.0.1:{node.port}")   # without: what is its own goes there again
        assert result.returncode == 0
        wait_for(lambda: "waits" not in node.instances()["dify1"]["reason"]["text"], TIMEOUT)
        for words in ("?now=1&hold=25h", "?now=1&hold=x", "?now=2", "?hold=60s", "?now=0&hold=60s", "?now=1&hold=60s&dry_run=1"):
            head, _ = node.request("POST", f"/admin/instances/one/dify1/drain{words}")
            assert head.status == 400, words
        for words in ("drain", "--hold", "60s", "one/dify1"), ("enable", "--now", "one/dify1"), ("drain", "--now", "--node"):
            assert run_command(*words, "-u", f"http://127.0.0.1:{node.port}").returncode == 2, words
        assert "waits" not in node.instances()["dify1"]["reason"]["text"]   # none of these has changed it


def test_all_nodes_hold_and_let_go(stubs):  # noqa: F811
    """Drained at one node, asked at the other, which has never seen the conversation, and enabled there."""
    user = user_of("dify1")
    with Cluster(config(stubs, queue={"size": 10, "timeout": 0.2}), 2) as cluster:
        a, b = cluster.settle().nodes()
        _, said = chat(a, user)
        stubs["dify1"].forget()
        order(a, "dify1", f"?now=1&hold={HOLD}")
        b.wait_instance("dify1", status="draining")
        asking = [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in (a, b)]
        for one in asking:
            one.waits()
        assert (chats(stubs["dify1"]), asked(stubs)["dify1"]) == (0, 0)
        order(b, "dify1", enable=True)
        for one in asking:
            head, again = one.result()
            assert (head.status, at(head), again["conversation_id"]) == (200, "dify1", said["conversation_id"])
        order(b, "dify1", f"?now=1&hold={HOLD}")   # survives the node that took it
        a.wait_instance("dify1", status="draining")
        cluster.kill("node-b")
        Asking(lambda: chat(a, user, said["conversation_id"])).waits(0.5)
        cluster.start("node-b")
        cluster.settle()
        asking = [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in cluster.nodes()]
        for one in asking:
            one.waits(0.4)
        order(a, "dify1", enable=True)
        for one in asking:
            assert one.result()[0].status == 200


def test_streams_and_uploads_at_work_end_well(stubs):  # noqa: F811
    """Two nodes, two workers each: what has begun there goes to its end, a stream's last byte and an upload's."""
    user = user_of("dify1")
    with Cluster(config(stubs), 2) as cluster:
        nodes = cluster.settle().nodes()
        clients = [node.client() for node in nodes for _ in range(4)]
        heads = [client.request("GET", f"/v1/_sse?events=40&interval=0.05&user={user}", TOKEN).head() for client in clients]
        assert {at(head) for head in heads} == {"dify1"}
        form = (b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n' + user.encode() +
                b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + b"x" * 200000 + b"\r\n--b--\r\n")
        uploading = nodes[0].client()
        uploading.send(f"POST /v1/files/upload HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {len(form)}\r\n"
                       "Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode() + form[:150000])
        wait_for(lambda: nodes[0].instances()["dify1"]["active_requests"] == 9, TIMEOUT)
        order(nodes[1], "dify1", f"?now=1&hold={HOLD}")
        nodes[0].wait_instance("dify1", status="draining")
        uploading.send(form[150000:])
        head, body = uploading.response()
        assert (head.status, at(head)) == (201, "dify1"), body
        for client, head in zip(clients, heads):
            assert client.body(head).count(b"data:") == 40
        for node in nodes:
            wait_for(lambda node=node: node.instances()["dify1"]["active_requests"] == 0, TIMEOUT)   # what cutover waits for


def test_a_file_that_lives_there_waits(stubs):  # noqa: F811
    """Its preview, and a chat that names it; at a node that has not seen the upload, too."""
    user = user_of("dify1")
    form = (b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n' + user.encode() +
            b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--b--\r\n')
    with Node(config(stubs, queue={"size": 10, "timeout": 0.2})) as node:
        head, said = node.json("POST", "/v1/files/upload", token=TOKEN, body=form, headers=[("Content-Type", "multipart/form-data; boundary=b")])
        assert (head.status, at(head)) == (201, "dify1")
        order(node, "dify1", f"?now=1&hold={HOLD}")
        file = {"type": "document", "transfer_method": "local_file", "upload_file_id": said["id"]}
        asking = [Asking(lambda: chat(node, user, files=[file])),
                  Asking(lambda: node.request("GET", f"/v1/files/{said['id']}/preview?user={user}", token=TOKEN))]
        for one in asking:
            one.waits()
        head, _ = node.json("POST", "/v1/files/upload", token=TOKEN, body=form, headers=[("Content-Type", "multipart/form-data; boundary=b")])
        assert head.status == 201 and at(head) != "dify1"   # a new one does not
        order(node, "dify1", enable=True)
        for one in asking:
            head, _ = one.result()
            assert (head.status, at(head)) == (200, "dify1")


def test_a_later_order_counts_for_who_waits_already(stubs):  # noqa: F811
    """A longer hold, a shorter one, and none; said at the other node."""
    user = user_of("dify1")
    with Cluster(config(stubs, queue={"size": 10, "timeout": 0.3}), 2) as cluster:
        a, b = cluster.settle().nodes()
        _, said = chat(a, user)
        order(a, "dify1", "?now=1&hold=3s")
        b.wait_instance("dify1", status="draining")
        asking = [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in (a, b)]
        for one in asking:
            one.waits(1)
        order(b, "dify1", f"?now=1&hold={HOLD}")
        for one in asking:
            one.waits(3)
        order(b, "dify1", "?now=1&hold=1s")
        for one in asking:
            assert one.result()[0].status == 503
        order(a, "dify1", f"?now=1&hold={HOLD}")
        wait_for(lambda: b.instances()["dify1"]["reason"]["text"] == a.instances()["dify1"]["reason"]["text"], TIMEOUT)
        asking = [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in (a, b)]
        for one in asking:
            one.waits(0.5)
        order(b, "dify1")   # without `now`: what is its own goes there
        for one in asking:
            head, _ = one.result()
            assert (head.status, at(head)) == (200, "dify1")


def test_a_dry_run_of_a_reload_lets_nobody_go(stubs):  # noqa: F811
    user = user_of("dify1")
    with Node(config(stubs, queue={"size": 10, "timeout": 0.2})) as node:
        _, said = chat(node, user)
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = Asking(lambda: chat(node, user, said["conversation_id"])).waits(0.3)
        changed = config(stubs, queue={"size": 10, "timeout": 0.2})
        changed["applications"]["one"]["instances"][0]["host"] = "127.0.0.9"
        node.write(changed)
        head, value = node.json("POST", "/reload-config?dry_run=1")
        assert head.status == 200 and any("dify1" in line for line in value["changed"]), value
        asking.waits(0.7)
        assert node.instances()["dify1"]["status"] == "draining"
        node.write(config(stubs, queue={"size": 10, "timeout": 0.2}))
        order(node, "dify1", enable=True)
        assert asking.result()[0].status == 200


def test_who_may_only_look_changes_nothing(stubs):  # noqa: F811
    admin = {"allow": [], "token": "admin-4711", "view_token": "view-4711"}
    with Node(config(stubs, admin=admin)) as node:
        for token in "view-4711", "admin-471", TOKEN, None:
            for path in ("/admin/instances/one/dify1/drain?now=1&hold=60s", "/admin/instances/one/dify1/enable", "/admin/drain", "/admin/enable",
                         "/admin/instances/one/none/drain"):
                assert node.request("POST", path, token=token)[0].status == 403, (path, token)
        assert node.request("POST", "/admin/instances/one/dify1/drain?now=1&hold=60s", token="admin-4711")[0].status == 200
        for path in "/admin/instances/one/none/drain", "/admin/instances/none/dify1/enable":
            assert node.request("POST", path, token="admin-4711")[0].status == 404
        assert node.request("GET", "/admin/instances/one/dify1/enable", token="admin-4711")[0].status == 405
        head, said = node.json("GET", f"/admin/explain?app=one&user={user_of('dify1')}", token="view-4711")
        assert head.status == 200 and said["skipped"][0]["reason"]["kind"] == "drained"


def test_a_host_is_drained_in_all_applications(stubs):  # noqa: F811
    """`--host HOST:PORT`: one Dify is an instance of several."""
    changed = config(stubs)
    changed["applications"]["two"] = {"user_tokens": ["user-two"], "queue": {"size": 9, "timeout": 0.2},
                                      "instances": [dict(changed["applications"]["one"]["instances"][0])]}
    with Node(changed) as node:
        url = ("-u", f"http://127.0.0.1:{node.port}")
        host = f"{changed['applications']['one']['instances'][0]['host']}:{stubs['dify1'].port}"
        result = run_command("drain", "--now", "--hold", "60s", "--host", host, *url)
        assert result.returncode == 0 and "one/dify1: draining" in result.stdout and "two/dify1: draining" in result.stdout, result
        waiting = Asking(lambda: node.request("GET", "/v1/conversations?user=u", token="user-two")).waits()
        assert run_command("enable", "--host", host, *url).returncode == 0
        assert waiting.result()[0].status == 200
        assert {node.instances(app)["dify1"]["status"] for app in ("one", "two")} == {"unknown"}


def test_nobody_is_left_behind_by_a_worker(stubs):  # noqa: F811
    """Sixty that wait at four workers of two nodes, and all go on at once; new ones come meanwhile."""
    user = user_of("dify1")
    with Cluster(config(stubs, workers=4, queue={"size": 100, "timeout": 30}), 2) as cluster:
        nodes = cluster.settle().nodes()
        _, said = chat(nodes[0], user)
        order(nodes[0], "dify1", f"?now=1&hold={HOLD}")
        nodes[1].wait_instance("dify1", status="draining")
        stubs["dify1"].forget()
        asking = [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in nodes for _ in range(30)]
        for node in nodes:
            wait_for(lambda node=node: node.instances()["dify1"]["queued"] == 30, TIMEOUT)
        assert chats(stubs["dify1"]) == 0
        order(nodes[1], "dify1", enable=True)
        asking += [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in nodes for _ in range(5)]
        for one in asking:
            head, _ = one.result()
            assert (head.status, at(head)) == (200, "dify1")
        assert chats(stubs["dify1"]) == 70   # each once


def test_a_drain_is_remembered_over_the_death_of_all_nodes(stubs):  # noqa: F811
    """A move during which the machines lose their power: nothing goes to the old host afterwards."""
    user = user_of("dify1")
    with Cluster(config(stubs, queue={"size": 10, "timeout": 0.2}), 2) as cluster:
        a, _ = cluster.settle().nodes()
        _, said = chat(a, user)
        order(a, "dify1", f"?now=1&hold={HOLD}")
        cluster["node-b"].wait_instance("dify1", status="draining")
        observe(1.5, lambda: True)   # the state is written within a second
        cluster.kill("node-a", "node-b")
        stubs["dify1"].forget()
        cluster.start("node-a", "node-b")
        asking = [Asking(lambda node=node: chat(node, user, said["conversation_id"])) for node in cluster.settle().nodes()]
        for one in asking:
            one.waits(0.7)
        assert chats(stubs["dify1"]) == 0
        order(cluster["node-b"], "dify1", enable=True)
        for one in asking:
            assert one.result()[0].status == 200
