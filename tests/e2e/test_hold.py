"""An instance that is drained with `now`: what belongs there waits, as long as `hold` says (SPEC §5).

What `deploy/dify-migrate cutover` does with it: drain, wait, move, change the host, enable.
"""

import threading
import time

import pytest
from cluster import Cluster
from harness import PATIENCE, TIMEOUT, TOKEN, Node, check_error, instance, observe, run_command, settings
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
    """A request under way on a thread of its own."""

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
    with Node(config(stubs, queue={"size": 10, "timeout": 0.2})) as node:
        order(node, "dify1", f"?now=1&hold={HOLD}")
        asking = [Asking(lambda: chat(node, user, conversation)) for _ in range(4)]
        for one in asking:
            one.waits(0.3)
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
        began = time.monotonic()
        head, body = node.request("POST", "/v1/chat-messages", token=TOKEN,
                                  json_body={**LOST, "user": user, "conversation_id": said["conversation_id"]})
        check_error(head, body, 503, "service_unavailable")
        assert seconds - 0.05 < time.monotonic() - began < seconds + 2 * PATIENCE and head.headers["retry-after"]
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
        order(node, "dify1", "?now=1")   # without hold nobody waits where nothing belongs
        head, body = node.request("GET", "/v1/conversations?user=u", token=TOKEN)
        check_error(head, body, 503, "service_unavailable")


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
        order_line = node.events("instance_drain")[-1]
        assert (order_line["now"], order_line["hold_ms"]) == (True, 60000)
        _, said = node.json("GET", f"/admin/explain?app=one&user={user_of('dify1')}")
        assert [row["instance"] for row in said["skipped"]] == ["dify1"] and "waits" in said["skipped"][0]["reason"]["text"]
        result = run_command("drain", "one/dify1", "-u", f"http://127.0.0.1:{node.port}")   # without: what is its own goes there again
        assert result.returncode == 0
        wait_for(lambda: "waits" not in node.instances()["dify1"]["reason"]["text"], TIMEOUT)
        for words in ("?hold=25h", "?hold=x", "?now=2"):
            head, _ = node.request("POST", f"/admin/instances/one/dify1/drain{words}")
            assert head.status == 400, words


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
