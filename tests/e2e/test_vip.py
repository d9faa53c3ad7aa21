"""The virtual IP as far as one node without keepalived shows it: the track file, the guard, the file for
keepalived. What a pair does with it is measured in tests/lab."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import BIN, PATIENCE, TIMEOUT, TOKEN, Node, observe, run_command, settings
from stopwatch import Stopwatch
from stub_client import wait_for

ADDRESS = "203.0.113.100"   # of no host (RFC 5737)
INTERFACES = [name for name in os.listdir("/sys/class/net") if name != "lo"]   # keepalived wants a real one
KEEPALIVED = shutil.which("keepalived", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def vip(folder, **more):
    return {"address": ADDRESS + "/24", "interface": "lo", "peers": ["203.0.113.12"],
            "track_file": str(folder / "vrrp"), **more}


@pytest.fixture
def node(stubs, folder):
    with Node(settings(stubs, vip=vip(folder), timeouts={"drain": "20s"})) as node:
        yield node


def says(folder):
    try:
        return (folder / "vrrp").read_text()
    except (FileNotFoundError, IsADirectoryError):
        return None


def own_address():
    """An IPv4 address of this host on an interface other than lo, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for name in INTERFACES:
            with contextlib.suppress(OSError):   # it has none
                answer = fcntl.ioctl(any_socket, 0x8915, struct.pack("256s", name.encode()))   # SIOCGIFADDR
                return socket.inet_ntoa(answer[20:24])
    return None


def guard(folder, **more):
    return subprocess.Popen([BIN, "vip-guard", "--socket", str(folder / "vrrp.sock")], **more)


def write_config(folder, config):
    path = folder / "node.yaml"
    path.write_text(json.dumps(config))
    return str(path)


# ---- the node

@pytest.mark.smoke
@pytest.mark.threads
def test_the_track_file_says_0_while_the_node_is_ready_and_1_afterwards(node, folder):
    wait_for(lambda: says(folder) == "0\n", TIMEOUT)
    node.signal(signal.SIGTERM)
    wait_for(lambda: says(folder) == "1\n", TIMEOUT)
    assert node.wait() == 0
    assert says(folder) == "1\n"


def test_a_drain_by_the_endpoint_is_told_and_taken_back(node, folder):
    wait_for(lambda: says(folder) == "0\n", TIMEOUT)
    assert node.json("POST", "/admin/drain")[0].status == 200
    wait_for(lambda: says(folder) == "1\n", TIMEOUT)
    assert node.json("POST", "/admin/enable")[0].status == 200
    wait_for(lambda: says(folder) == "0\n", TIMEOUT)


def test_each_drain_waits_for_what_is_at_work_then(stubs, folder):
    """The address is on an interface, as keepalived puts it: any of this host's will do. It is given away
    when the open streams have ended."""
    if not (held := own_address()):
        pytest.skip("no interface but lo has an IPv4 address")
    config = settings(stubs, vip=vip(folder, address=held + "/24"), timeouts={"drain": "20s"})
    with Node(config) as node:
        wait_for(lambda: says(folder) == "0\n", TIMEOUT)
        with node.client() as client:
            client.request("GET", "/v1/_sse?events=2&interval=60&user=u", TOKEN).head()
            for _ in range(2):   # the other worker has nothing to do and says so at once, each time
                assert node.json("POST", "/admin/drain")[0].status == 200
                observe(0.3, lambda: says(folder) == "0\n")
                assert node.json("POST", "/admin/enable")[0].status == 200
            assert node.json("POST", "/admin/drain")[0].status == 200
            observe(0.3, lambda: says(folder) == "0\n")
        wait_for(lambda: says(folder) == "1\n", TIMEOUT)


def test_a_track_file_that_somebody_removed_is_written_again(node, folder):
    wait_for(lambda: says(folder) == "0\n", TIMEOUT)
    assert node.json("POST", "/admin/drain")[0].status == 200
    wait_for(lambda: says(folder) == "1\n", TIMEOUT)
    (folder / "vrrp").unlink()   # a missing one counts as 0
    wait_for(lambda: says(folder) == "1\n", TIMEOUT)
    wait_for(lambda: node.events("track_file_restored"), TIMEOUT)


def remove(folder):
    def gone():
        try:
            shutil.rmtree(folder)   # the node may have written a file again before the folder goes
        except OSError:
            return False
        return True
    wait_for(gone, TIMEOUT)


@pytest.mark.parametrize("take_away", [remove, lambda run: run.rename(run.with_name("moved"))],
                         ids=["removed", "moved"])
def test_a_folder_that_somebody_took_away_comes_back_with_all_that_was_in_it(stubs, folder, take_away):
    run = folder / "run"
    run.mkdir()
    with Node(settings(stubs, vip=vip(run), timeouts={"drain": "20s"})) as node:
        for _ in range(2):   # the new one is watched, too
            wait_for(lambda: says(run) == "0\n", TIMEOUT)
            wait_for(lambda: guard(run).wait(TIMEOUT) == 0, TIMEOUT)
            shutil.rmtree(folder / "moved", ignore_errors=True)
            take_away(run)
        wait_for(lambda: says(run) == "0\n", TIMEOUT)
        wait_for(lambda: len(node.events("track_folder_restored")) >= 2, TIMEOUT)
        wait_for(lambda: len(node.events("pulse_restored")) >= 2, TIMEOUT)
        assert guard(run).wait(TIMEOUT) == 0


def test_a_socket_that_somebody_removed_comes_back(node, folder):
    wait_for(lambda: says(folder) == "0\n", TIMEOUT)
    (folder / "vrrp.sock").unlink()
    wait_for(lambda: guard(folder).wait(TIMEOUT) == 0, TIMEOUT)
    assert len(node.events("pulse_restored")) == 1


def test_a_node_that_cannot_say_1_has_no_pulse_while_it_drains(node, folder):
    wait_for(lambda: says(folder) == "0\n", TIMEOUT)
    (folder / "vrrp.new").mkdir()
    (folder / "vrrp").unlink()
    (folder / "vrrp").mkdir()
    assert guard(folder).wait(TIMEOUT) == 0   # ready, and alive: nothing is wrong for keepalived
    assert node.json("POST", "/admin/drain")[0].status == 200
    wait_for(lambda: guard(folder).wait(TIMEOUT) == 1, TIMEOUT)
    (folder / "vrrp").rmdir()
    (folder / "vrrp.new").rmdir()
    wait_for(lambda: says(folder) == "1\n", TIMEOUT)
    wait_for(lambda: guard(folder).wait(TIMEOUT) == 0, TIMEOUT)


@pytest.mark.slow
def test_a_node_that_keeps_the_address_tells_the_guard_and_serves_it_some_seconds(stubs, folder):
    if not INTERFACES:
        pytest.skip("there is no interface but lo")
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
    if not own:
        pytest.skip("this host has no address")
    with Node(settings(stubs, vip=vip(folder, address=own[0] + "/24"), timeouts={"drain": "60s"})) as node:
        wait_for(lambda: says(folder) == "0\n", TIMEOUT)
        start = time.monotonic()
        node.signal(signal.SIGTERM)   # no keepalived takes the address away
        wait_for(lambda: node.events("vip_stays"), TIMEOUT)
        wait_for(lambda: guard(folder).wait(TIMEOUT) == 1, TIMEOUT)
        assert node.request("GET", "/health")[0].status == 503   # it is draining, and still answers
        assert node.wait() == 0
        assert 4 <= time.monotonic() - start


def test_without_a_holder_a_drain_waits_for_no_handover(node):
    watch = Stopwatch()
    node.stop()
    assert watch.fair_seconds() < 0.8 * PATIENCE   # LIFE_PATIENCE_MS is a second


def test_status_has_the_address_and_no_holder(node):
    assert node.status()["cluster"]["vip"] == {"address": ADDRESS, "holder": "", "conflict": False}


def test_a_vip_section_that_changes_at_a_reload_is_named(node, stubs, folder):
    changed = settings(stubs, vip=vip(folder, address="203.0.113.101/24"), timeouts={"drain": "20s"})
    assert node.reload(changed)[0] == 200
    wait_for(lambda: [e for e in node.events("restart_needed") if e["section"] == "vip"], TIMEOUT)
    assert node.status()["cluster"]["vip"]["address"] == ADDRESS


def test_a_track_file_that_cannot_be_written_stops_the_start_with_its_place(stubs, tmp_path):
    path = write_config(tmp_path, settings(stubs, vip=vip(tmp_path, track_file="/proc/none/vrrp")))
    result = run_command("run", "-c", path)
    assert result.returncode == 1
    assert result.stderr.startswith(path + ":") and "/proc/none/vrrp" in result.stderr


# ---- the guard

def test_the_guard_is_content_with_a_node_that_lives(node, folder):
    assert guard(folder).wait(TIMEOUT) == 0


def test_the_guard_ends_as_soon_as_the_node_is_killed(stubs, folder):
    with Node(settings(stubs, vip=vip(folder))) as node:
        child = guard(folder)
        wait_for(lambda: len(os.listdir(f"/proc/{child.pid}/fd")) > 3, TIMEOUT)   # it is connected
        node.process.kill()
        watch = Stopwatch()
        assert child.wait(TIMEOUT) == 1
        assert watch.fair_seconds() < 0.8   # and not at the end of its time
        node.process.wait()
        assert guard(folder).wait(TIMEOUT) == 1
        node.process.returncode = 0   # it was us


def test_the_guard_notices_a_node_that_stands_still(node, folder):
    node.signal(signal.SIGSTOP)
    try:
        codes = [guard(folder).wait(TIMEOUT) for _ in range(2)]   # one may have had a last beat
    finally:
        node.signal(signal.SIGCONT)
    assert codes[-1] == 1


# ---- the relay

RELAY_HOST = """
set -e
ip link set lo up
ip link add eth0 type veth peer name v1
ip link set eth0 up
ip link set v1 up
ip addr add 10.0.0.11/24 dev eth0
relay() { "$DIFYRING" vip-relay --role "$1" --interface eth0 --address "$2" --peer "$3" --port 9 --window 15; }
relay start 10.0.0.100 10.0.0.12
nft add element ip difyring fresh '{ 10.0.0.9 . 5555 }'
"""


def on_a_host(script):
    """What a shell script prints on a host of its own (a network namespace) with a relay in place."""
    namespace = ["unshare", "--net"]
    if os.geteuid() != 0 or subprocess.run([*namespace, "nft", "list", "tables"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces, or no nft")
    return subprocess.run([*namespace, "sh", "-c", RELAY_HOST + script], capture_output=True, text=True, check=True,
                          env={**os.environ, "DIFYRING": BIN}).stdout


@pytest.mark.parametrize("role", ["standby", "master"])
def test_a_change_of_roles_follows_another_address_and_other_peers(role):
    told = on_a_host(f"relay {role} 10.0.0.101 10.0.0.13; ip addr show lo; nft list ruleset")
    assert "10.0.0.100" not in told and "10.0.0.12" not in told
    assert "inet 10.0.0.101/32" in told and "dup to 10.0.0.13" in told
    assert "10.0.0.9 . 5555" in told   # what is known of connections


def test_a_change_of_roles_restores_what_somebody_took_away():
    told = on_a_host("nft flush ruleset; ip addr del 10.0.0.100/32 dev lo; relay standby 10.0.0.100 10.0.0.12\n"
                     "ip addr show lo; nft list ruleset")
    assert "inet 10.0.0.100/32" in told and "dup to 10.0.0.12" in told


def test_peers_of_one_network_are_named_by_their_ends():
    told = on_a_host("relay standby 10.0.0.100 10.0.0.12,+13,10.0.1.4,+5; nft list ruleset")
    assert "dup to 10.0.0.12 dup to 10.0.0.13 dup to 10.0.1.4 dup to 10.0.1.5 drop" in told


def test_only_what_the_relay_put_on_lo_is_taken_off_again():
    told = on_a_host("ip addr add 10.0.0.55/32 dev lo; relay off 10.0.0.101 10.0.0.12; ip addr show lo; nft list ruleset")
    assert "10.0.0.55" in told and "10.0.0.100" not in told and "table" not in told


# ---- the file for keepalived

def test_vrrp_config_needs_a_vip_section(stubs, tmp_path):
    result = run_command("vrrp-config", "-c", write_config(tmp_path, settings(stubs)))
    assert result.returncode == 1
    assert "no `vip` section" in result.stderr and not result.stdout


def test_the_own_address_in_peers_is_known_however_it_is_written(stubs, tmp_path):
    path = write_config(tmp_path, settings(
        stubs, vip=vip(tmp_path, address="2001:db8::100/64", peers=["2001:DB8:0::11", "2001:db8::12"]),
        cluster={**CLUSTER, "advertise": "[2001:db8::11]:7946"}))
    told = run_command("vrrp-config", "-c", path).stdout
    assert "--peer 2001:db8::12" in told and "2001:DB8" not in told and "2001:db8:0" not in told


def test_more_peers_than_a_line_of_keepalived_can_name_are_refused(stubs, tmp_path):
    peers = [f"2001:db8::{n:04x}:1111:2222:3333" for n in range(1, 65)]
    result = run_command("vrrp-config", "-c", write_config(
        tmp_path, settings(stubs, vip=vip(tmp_path, address="2001:db8::100/64", peers=peers),
                           cluster={**CLUSTER, "advertise": "[2001:db8::11]:7946"})))
    assert (result.returncode, result.stdout) == (1, "") and "use fewer of the 64 vip.peers" in result.stderr


CLUSTER = {"keys": ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="], "advertise": "203.0.113.11:7946"}


@pytest.mark.parametrize("section", [
    {}, {"advert_interval": "20ms"}, {"peers": []}, {"peers": ["203.0.113.12", "203.0.113.11", "203.0.113.13"]},
    {"address": "2001:db8::100/64", "peers": ["2001:db8::12"]},
    {"peers": [f"203.0.113.{n}" for n in range(100, 164)]},
    {"address": "2001:db8::100/64", "peers": [f"2001:db8::aaaa:bbbb:cccc:d{n}" for n in range(100, 164)]}])
def test_keepalived_takes_the_file(stubs, tmp_path, section):
    if not KEEPALIVED or not INTERFACES:
        pytest.skip("there is no keepalived, or no interface but lo")
    six = ":" in section.get("address", "")
    cluster = {**CLUSTER, **({"advertise": "[2001:db8::11]:7946"} if six else {})}
    result = run_command("vrrp-config", "-c", write_config(
        tmp_path, settings(stubs, vip=vip(tmp_path, interface=INTERFACES[0], **section), cluster=cluster)))
    assert (result.returncode, result.stderr) == (0, "")
    assert (CLUSTER["keys"][0] not in result.stdout) and "unicast_peer {\n        203.0.113.11" not in result.stdout
    path = tmp_path / "keepalived.conf"
    path.write_text(result.stdout)
    for more in ([], ["-i", "host"]):
        told = subprocess.run([KEEPALIVED, "-t", *more, "-f", str(path)], capture_output=True, text=True, check=False)
        # where scripts may not be run (a folder that others may write to) it says so, and means this machine
        complaints = [line for line in told.stderr.splitlines() if "nsafe" not in line and "disabl" not in line]
        assert not complaints, told.stderr
