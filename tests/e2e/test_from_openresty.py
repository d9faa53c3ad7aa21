"""deploy/from-openresty: what it makes of a Lua table and an nginx.conf, and what a hostile one can do."""

import os
import socket
import subprocess

import pytest

from harness import BIN, ROOT, TOKEN, Node, tool_command
from stopwatch import Stopwatch

pytestmark = pytest.mark.slow   # nothing of it is C

TOOL = os.path.join(ROOT, "deploy", "from-openresty")

TABLE = """
-- two applications, in this order
local config = { debug = os.getenv("DEBUG") }
local function instance(name, port, weight)
    return { name = name, host = "127.0.0.1", port = port, token = "SECRET-" .. name, weight = weight,
             max_fails = 5, fail_timeout = 20 }
end
config.applications = {
    zebra = {
        user_tokens = { "SECRET-zebra-1", "SECRET-shared", "SECRET-zebra-1" },
        instances = { instance("z1", 5001, 100), instance("z2", 5002, 150) },
    },
    ["ant-2"] = {
        user_tokens = { "SECRET-ant", "SECRET-shared" },
        colour = "blue",
        instances = { instance("a1", "5003"), { name = "a2", host = "dify.example.com", token = os.getenv("A2_TOKEN"),
                      scheme = "https" }, instance("a1", 7), { name = "no-host", token = "SECRET-none" } },
    },
    ["bad name"] = { user_tokens = { "SECRET-bad" }, instances = { instance("b", 1) } },
    empty = { user_tokens = { "SECRET-empty" }, instances = {} },
}
config.health_check = { interval = 30, timeout = 10, unhealthy_threshold = 4, path = "/health" }
config.consistent_hash = { virtual_nodes = 200, hash_algorithm = "crc32" }
config.rate_limit = { per_app = { rate = "500r/s" } }
config.log_level = "debug"
return config
"""

NGINX = """
worker_processes 3;
http {
    include /usr/local/openresty/nginx/conf/sites/*.conf;   # as it is called in the container
    client_max_body_size 50m;
    proxy_read_timeout 2m30s;
    log_format json escape=json '{"a":"$time_iso8601;"}';
}
"""

SITE = """
init_worker_by_lua_block {
    local brace = "}"  -- } not the end
    local long = [==[ } ]==]
}
server {
    listen 82; listen [::]:82;
    set_real_ip_from 10.0.0.0/8;
    location /v1/ {
        access_by_lua_block { if x then y = "{" end }
        limit_req zone=per_app burst=200 nodelay;
        proxy_connect_timeout 1500ms;
        proxy_pass $proxy_target;
    }
}
server { listen 446 ssl; ssl_certificate one.crt; ssl_certificate_key one.key; ssl_protocols TLSv1.3; }
server { listen 446 ssl; ssl_certificate two.crt; ssl_certificate_key two.key; }
"""


def convert(tmp_path, table, nginx=None, site=None):
    """(exit status, the configuration, what was said)."""
    (tmp_path / "config.lua").write_bytes(table if isinstance(table, bytes) else table.encode())
    arguments = tool_command(TOOL, tmp_path / "config.lua")
    if nginx is not None:
        (tmp_path / "nginx.conf").write_text(nginx)
        (tmp_path / "sites").mkdir()
        (tmp_path / "sites" / "dify.conf").write_text(site or "")
        arguments.append(tmp_path / "nginx.conf")
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def check(tmp_path, text, **environment):
    path = tmp_path / "difyring.yaml"
    path.write_text(text)
    return subprocess.run([BIN, "check", "-c", path], capture_output=True, text=True, check=False,
                          env=dict(os.environ, **environment))


def test_what_is_taken_passes_check_and_everything_else_is_told(tmp_path):
    status, text, said = convert(tmp_path, TABLE)
    assert status == 0
    done = check(tmp_path, text.replace(", tls: true", ""), A2_TOKEN="SECRET-a2", DEBUG="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert text.index("zebra:") < text.index("ant-2:")   # as in the file
    assert '{ name: z1, host: "127.0.0.1", port: 5001, weight: 2, max_fails: 5, fail_timeout: 20, token: SECRET-z1 }' in text
    assert "weight: 3" in text and "interval: 30" in text and "unhealthy_threshold: 4" in text
    assert 'port: 443, tls: true, token: "${A2_TOKEN}"' in text
    assert text.count("SECRET-shared") == 1 and text.count("SECRET-zebra-1") == 1
    for line in ("took  applications.zebra: user tokens: 2, instances: 2",
                 "left  applications.ant-2.user_tokens[2]: applications.zebra has the same token",
                 "left  applications.ant-2.instances[3]: a second a1",
                 "left  applications.ant-2.instances[4]: has no host",
                 "left  applications.ant-2.colour: difyring has no such key",
                 "left  applications.bad name: a name has 1 to 64",
                 "left  applications.empty: has no instance",
                 "left  health_check.path:", "left  consistent_hash:", "left  rate_limit:", "left  log_level:"):
        assert line in said, line
    assert "SECRET" not in said


def test_listeners_limits_and_time_outs_come_from_nginx(tmp_path):
    status, text, said = convert(tmp_path, TABLE, NGINX, SITE)
    assert status == 0
    for line in ('- { address: "0.0.0.0:82" }', '- { address: "[::]:82" }', "workers: 3", 'body_size: "50MiB"',
                 'idle: "150s"', 'connect: "1.5s"', '- "10.0.0.0/8"',
                 '- { address: "0.0.0.0:446", tls: [{ certificate: "one.crt", key: "one.key" }, '
                 '{ certificate: "two.crt", key: "two.key" }], tls_min: "1.3" }'):
        assert line in text, (line, text)
    assert "dify.conf:11: limit_req: write `quotas`" in said
    assert "SECRET" not in said


def test_what_comes_out_serves(tmp_path, stub):
    table = (f'return {{ applications = {{ one = {{ user_tokens = {{ "{TOKEN}" }}, instances = {{ {{ name = "{stub.name}", '
             f'host = "{stub.host}", port = {stub.port}, token = "{stub.token}" }} }} }} }} }}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    status, text, _said = convert(tmp_path, table, "http { include sites/*.conf; }", f"server {{ listen 127.0.0.1:{port}; }}")
    assert status == 0
    with Node(text) as node:
        assert node.echo("/v1/_echo?user=u")["instance"] == stub.name


@pytest.mark.parametrize("table, wanted", [
    ('io.open("/etc/passwd"):read("*a")', "io.open is not there"),
    ('os.execute("touch {here}/made")', "os.execute is not there"),
    ('require("tokens")', 'require("tokens") is not there'),
    ('dofile("{here}/config.lua")', "dofile is not there"),
    ("while true do end", "3 s of processor time"),
    ("while true do pcall(error) end", "3 s of processor time"),
    ('local s = "x" while true do s = s .. s end', "memory"),
    ("local t = {} t.t = t return t", "contains itself"),
    ("return 1", "returns no table"),
    ("return {}", "no `applications`"),
    ("return { applications = {} }", "no `applications`"),
    ("retrun {}", "config.lua:1:"),
    (b"\x1bLua", "compiled Lua"),
], ids=lambda value: value[:16] if isinstance(value, str) else "bytes")
def test_a_hostile_or_broken_table_is_one_line_and_nothing_happens(tmp_path, table, wanted):
    if isinstance(table, str):
        table = table.replace("{here}", str(tmp_path))
    watch = Stopwatch()
    status, text, said = convert(tmp_path, table)
    assert status == 1 and text == ""
    assert said.count("\n") == 1 and wanted in said
    assert not (tmp_path / "made").exists()
    assert watch.fair_seconds() < 60


@pytest.mark.parametrize("nginx, wanted", [
    ("http {", "ends inside a block"),
    ("}", "ends nothing"),
    ("a_by_lua_block { x = '}'", "does not end"),
    ("http { ; }", "without a directive"),
    ("include nginx.conf;\ninclude nginx.conf;", None),
])
def test_a_broken_nginx_conf_is_one_line(tmp_path, nginx, wanted):
    table = 'return { applications = { a = { user_tokens = { "tokens" }, instances = { { name = "i", host = "h", token = "t" } } } } }'
    status, _text, said = convert(tmp_path, table, nginx)
    assert status == (0 if wanted is None else 1)
    if wanted:
        assert wanted in said.splitlines()[-1] and "nginx.conf" in said.splitlines()[-1]


def test_wrong_calls(tmp_path):
    for arguments, status in ([], 2), (["--nonsense"], 2), (["-h"], 0), ([tmp_path / "none.lua"], 1):
        done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == status, arguments
