"""A file that went elsewhere than its user's home is known to all nodes: a chat that names it, through any of
them, goes where the file is. Nobody can be asked for it: a Dify says 400, or leaves the file out without a word."""

import contextlib

import pytest
from cluster import Cluster, new_key
from harness import PATIENCE, TIMEOUT, TOKEN, ring_find, ring_points, settings
from stopwatch import Stopwatch
from stub_client import Stub, wait_for

NAMES = ["dify1", "dify2", "dify3"]
POINTS = ring_points({name: 1 for name in NAMES})


@pytest.fixture(scope="module")
def three():
    with contextlib.ExitStack() as stack:
        yield {name: stack.enter_context(Stub(name)) for name in NAMES}


@pytest.fixture
def stubs(three):
    for stub in three.values():
        stub.fresh()
    return three


def config(stubs, **application):
    return settings(list(stubs.values()), debug_headers=True, application=application)


def user_of(name):
    return next(user for user in (f"user{i}" for i in range(200)) if ring_find(POINTS, "one", user) == name)


def upload(node, user):
    """(instance, id) of a file."""
    body = (f'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\nx'
            f'\r\n--b\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n--b--\r\n').encode()
    head, said = node.json("POST", "/v1/files/upload", token=TOKEN, body=body,
                           headers=[("Content-Type", "multipart/form-data; boundary=b")])
    assert head.status == 201, said
    return head.headers["x-dify-instance"], said["id"]


def chat(node, user, file, path="/v1/chat-messages"):
    """(status, instance) of a run that reads the file."""
    files = [{"type": "document", "transfer_method": "local_file", "upload_file_id": file}]
    head, _ = node.json("POST", path, token=TOKEN, json_body={
        "user": user, "query": "q", "inputs": {}, "response_mode": "blocking", "files": files})
    return head.status, head.headers["x-dify-instance"]


def known(node, file, user):
    """Where a node knows the file to be, by its memory alone; None: it does not know it."""
    head, said = node.json("GET", f"/admin/explain?app=one&user={user}&method=GET&path=/v1/files/{file}/preview")
    assert head.status == 200, said
    return said["placed"] and said["instance"]


def drain(cluster, instance, on=True):
    head, _ = cluster["node-a"].request("POST", f"/admin/instances/one/{instance}/{'drain' if on else 'enable'}")
    assert head.status == 200
    for node in cluster.nodes():
        node.wait_instance(instance, status="draining" if on else "unknown")


def uploaded_elsewhere(cluster, user, home):
    """(instance, id) of a file that came to node-a while its user's home was out of service."""
    drain(cluster, home)
    place, file = upload(cluster["node-a"], user)
    assert place != home
    drain(cluster, home, on=False)
    return place, file


def asked(stubs):
    return sum(len(stub.requests(path="/v1/messages?")) for stub in stubs.values())


def test_a_file_is_found_through_another_node_without_a_question(stubs):
    user = user_of("dify1")
    with Cluster(config(stubs), 2) as cluster:
        cluster.settle()
        place, file = uploaded_elsewhere(cluster, user, "dify1")
        b = cluster["node-b"]
        wait_for(lambda: known(b, file, user) == place, PATIENCE)
        assert chat(b, user, file) == (200, place)
        assert chat(b, user, file, "/v1/workflows/run") == (200, place)
        head, said = b.request("GET", f"/v1/files/{file}/preview?user={user}", token=TOKEN)
        assert (head.status, head.headers["x-dify-instance"]) == (200, place), said
        assert asked(stubs) == 0
        assert [line["placed"] for line in b.wait_access(3, app="one")] == ["remembered"] * 3
        for node in cluster.nodes():
            assert file not in node.stderr()


def test_it_is_known_at_once(stubs):
    """Any instance may take the next one, so only who knows goes right; node-b is asked right behind the upload."""
    late = []
    with Cluster(config(stubs, algorithm="weighted_round_robin"), 2) as cluster:
        cluster.settle()
        for i in range(20):
            place, file = upload(cluster["node-a"], f"user{i}")
            watch = Stopwatch()
            wait_for(lambda: known(cluster["node-b"], file, f"user{i}") == place, PATIENCE)
            late.append(watch.fair_seconds())
            assert chat(cluster["node-b"], f"user{i}", file) == (200, place)
    assert sorted(late)[len(late) // 2] < 1, late   # an interval is 200 ms at most


def test_what_went_home_is_told_to_nobody(stubs):
    user, other = user_of("dify1"), user_of("dify2")
    with Cluster(config(stubs), 2) as cluster:
        cluster.settle()
        place, file = upload(cluster["node-a"], user)
        assert place == "dify1"
        elsewhere, later = uploaded_elsewhere(cluster, other, "dify2")
        wait_for(lambda: known(cluster["node-b"], later, other) == elsewhere, PATIENCE)
        assert known(cluster["node-a"], file, user) == "dify1"
        assert known(cluster["node-b"], file, user) is None
        assert chat(cluster["node-b"], user, file) == (200, "dify1")   # its home all the same


def test_replicas_of_one_dify_need_it_not(stubs):
    with Cluster(config(stubs, algorithm="weighted_round_robin", state="shared"), 2) as cluster:
        cluster.settle()
        files = [upload(cluster["node-a"], "u")[1] for _ in range(3)]
        drain(cluster, "dify1")   # told behind it
        assert [known(cluster["node-b"], file, "u") for file in files] == [None] * 3


def test_nodes_that_start_again_one_after_the_other_still_know(stubs):
    user = user_of("dify1")
    with Cluster(config(stubs), 2) as cluster:
        cluster.settle()
        place, file = uploaded_elsewhere(cluster, user, "dify1")
        wait_for(lambda: known(cluster["node-b"], file, user) == place, PATIENCE)
        cluster.kill("node-a")
        cluster.start("node-a")
        cluster.settle()
        wait_for(lambda: known(cluster["node-a"], file, user) == place, TIMEOUT)
        cluster.stop("node-b")
        cluster.start("node-b")
        cluster.settle()
        wait_for(lambda: known(cluster["node-b"], file, user) == place, TIMEOUT)
        assert chat(cluster["node-a"], user, file) == chat(cluster["node-b"], user, file) == (200, place)
        assert asked(stubs) == 0


def test_an_instance_that_a_node_hears_of_later(stubs):
    """What was told of an instance that node-b does not have in force yet is heard again when it has."""
    user = "u"
    two = {name: stubs[name] for name in NAMES[:2]}
    with Cluster(config(stubs, algorithm="weighted_round_robin"), 2) as cluster:
        cluster.settle()
        files = [upload(cluster["node-a"], user) for _ in range(3)]
        assert cluster.reload("node-a", config(two, algorithm="weighted_round_robin"))[0] == 200
        cluster.settle()
        cluster.kill("node-b")
        cluster.start("node-b")   # which never knew the third one
        cluster.settle()
        assert cluster.reload("node-a", config(stubs, algorithm="weighted_round_robin"))[0] == 200
        cluster.settle()
        for place, file in files:
            wait_for(lambda: known(cluster["node-b"], file, user) == place, TIMEOUT)   # noqa: B023
            assert chat(cluster["node-b"], user, file) == (200, place)


def test_while_keys_change_files_are_found_by_either(stubs):
    user = user_of("dify1")
    with Cluster(config(stubs), 2) as cluster:
        cluster.settle()
        place, file = uploaded_elsewhere(cluster, user, "dify1")
        old, new = cluster.key, new_key()
        for keys in ([old, new], [new, old]):
            cluster.local = {name: {"cluster": {"keys": keys}} for name in cluster.names}
            for name in cluster.names:
                assert cluster.reload(name)[0] == 200
                cluster.settle()
                later = uploaded_elsewhere(cluster, user, "dify1")
                for where, it in ((place, file), later):
                    for node in cluster.nodes():
                        wait_for(lambda: known(node, it, user) == where, TIMEOUT)   # noqa: B023
                        assert chat(node, user, it) == (200, where)
