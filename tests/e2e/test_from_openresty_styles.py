"""deploy/from-openresty with tables as people write them: every result passes `difyring check`, and no secret is told."""

import random

import pytest
import yaml
from test_from_openresty import check, convert
from stopwatch import Stopwatch

pytestmark = pytest.mark.slow   # nothing of it is C

MODULE = r"""--[==[ Balancer of the support team. ]] still a comment
   config.token = "SECRET-comment" ]==]
local cjson = require "cjson.safe"
local http = require("resty.http")
local bit = require 'bit'
local _M = { _VERSION = "1.4" }
local mt = { __index = _M }
local cache = ngx.shared.dify_cache           -- a dictionary of Nginx

_M.applications = {
    ["customer-service"] = {                  -- 客服
        user_tokens = { "SECRET-cs-1", 'SECRET-cs-2', [[SECRET-cs-3]] },
        instances = {
            { name = "dify1", host = "172.20.62.200", port = 80, token = "app-SECRET1", weight = 100, max_fails = 3, fail_timeout = 30 },
            { name = "dify2", host = "172.20.62.201", port = 80, token = "app-SECRET2", weight = 100, max_fails = 3, fail_timeout = 30, };
        },
    },
}
_M.health_check = { interval = 30, timeout = 5, unhealthy_threshold = 3, healthy_threshold = 2 }

function _M.new(self) return setmetatable({}, mt) end
function _M.by_token(token)
    for name, app in pairs(_M.applications) do
        for _, t in ipairs(app.user_tokens) do if t == token then return name, app end end
    end
    ngx.log(ngx.ERR, "unknown token ", token)
    return nil
end
function _M.report(status) return cjson.encode({ status = status, at = ngx.now() }) end
return _M
"""

ENVIRONMENT = r"""
local function env(name, default) return os.getenv(name) or default end
local prefix = "app-"
local apps = {}
apps.chat = {
    user_tokens = { env("CHAT_TOKEN", "SECRET-default") },
    instances = {
        { name = "a", host = env("DIFY_A", "10.0.0.1"), port = tonumber(os.getenv("DIFY_A_PORT") or "5001"), token = prefix .. env("DIFY_A_KEY") },
        { name = "b", host = "dify-" .. env("ZONE") .. ".example.com", port = tonumber("0x50"), token = string.format("%s%s", prefix, "SECRET-b"),
          weight = env("DIFY_B_WEIGHT", 2) },
    },
}
if os.getenv("STAGE") == "production" then
    apps.chat.instances[3] = { name = "c", host = "10.0.0.3", token = "SECRET-c" }
end
return { applications = apps, health_check = { interval = env("CHECK_INTERVAL"), timeout = 2 } }
"""

GENERATED = r"""
local M, hosts = { applications = {} }, { "10.1.0.1", "10.1.0.2:5001", "http://10.1.0.3:8080/v1", "https://dify.example.com", "[fd00::1]:81" }
local defaults = { weight = 50, max_fails = "4", fail_timeout = 10.0 }
for n, app in ipairs({ "alpha", "beta", "gamma" }) do
    local instances = {}
    for i, host in ipairs(hosts) do
        instances[#instances + 1] = setmetatable({ name = ("dify%d"):format(i), host = host, token = table.concat({ "app", "SECRET", app, i }, "-") },
                                                 { __index = defaults })
    end
    table.insert(instances, { name = "off", host = "10.1.0.9", token = "SECRET-off", enabled = false })
    M.applications[app] = { instances = instances, user_tokens = "SECRET-" .. app, algorithm = "crc32" }
end
M.applications.gamma.disabled = true
M.applications.delta = { user_tokens = { "SECRET-delta" }, instances = {
    one = { host = "10.2.0.1", token = "SECRET-one" }, two = { host = "10.2.0.2", token = "SECRET-two", weight = 1.5 } } }
return M
"""

LISTS = "\ufeff" + r"""config = {
  applications = {
    { name = "first", user_tokens = { "SECRET-1", nil, "SECRET-3" }, instances = {
        { name = "x", host = "dify_1.internal", token = "SECRET-x" }, nil, { name = "y", host = "10.0.0.2", token = "SECRET-y" } } },
    { name = "yes", user_tokens = { "SECRET-yes" }, instances = { { name = "no", host = "10.0.0.3", port = "80", token = "SECRET-no" } } },
    { name = "007", user_tokens = { "1e3" }, instances = { { name = "1.0", host = "10.0.0.4", port = 80, token = "0x10" } } },
    { name = "Größe", user_tokens = { "SECRET-g" }, instances = { { name = "z", host = "10.0.0.5", token = "SECRET-z" } } },
  },
}
""".replace("\n", "\r\n")

ODD = r"""
local t = "tab\tquote\"back\\slash"
return { applications = { odd = {
    user_tokens = { "a:b", "a#b", "{SECRET}", "'SECRET'", "*SECRET", "&SECRET", "!SECRET", "%SECRET", "@SECRET", "SECRET,", "-", "~", "null", "${", "x${A B}",
                    "with space", "\255\254", "", t, ("x"):rep(512), ("x"):rep(513) },
    instances = {
        { name = "ok", host = "10.0.0.1", port = 65535, token = ":#SECRET", weight = 1000000 },
        { name = "good", host = "10.0.0.1", port = 5001, token = "[SECRET]", weight = 1, max_fails = 0, fail_timeout = 86400 },
        { name = "also", host = "a.b.c.", port = 70000, token = "\"SECRET\"", weight = -3, max_fails = 1e9, fail_timeout = 0 },
        { name = "h1", host = "bad host", token = "SECRET" }, { name = "h2", host = "10.0.0.1:x", token = "SECRET" },
        { name = "h3", host = "-rf", token = "SECRET" }, { name = "h4", host = "a..b", token = "SECRET" }, { name = "h5", host = "${", token = "SECRET" },
        { name = "..", host = "10.0.0.9", token = "SECRET" }, { name = "t", host = "10.0.0.9", token = 7 }, "no table", 3, false,
        { name = "h6", host = ("x"):rep(70), token = "SECRET" }, { name = "h7", host = "::gg", token = "SECRET" } } } },
    health_check = { interval = 0, timeout = 1e300, healthy_threshold = 0 / 0, unhealthy_threshold = "2" } }
"""


def made(tmp_path, table, **environment):
    """(the configuration as data, what was said). `check` takes it."""
    status, text, said = convert(tmp_path, table)
    assert status == 0, said
    done = check(tmp_path, text, **environment)
    assert done.returncode == 0, done.stdout + done.stderr + text
    assert "SECRET" not in said
    return yaml.safe_load(text), said


def names(config, app):
    return [instance["name"] for instance in config["applications"][app]["instances"]]


def test_a_module_with_functions_and_libraries(tmp_path):
    config, _ = made(tmp_path, MODULE)
    assert config["applications"]["customer-service"]["user_tokens"] == ["SECRET-cs-1", "SECRET-cs-2", "SECRET-cs-3"]
    assert names(config, "customer-service") == ["dify1", "dify2"] and config["health_check"]["interval"] == 30


def test_values_of_the_environment_stay_there(tmp_path):
    config, said = made(tmp_path, ENVIRONMENT, CHAT_TOKEN="t", DIFY_A="10.0.0.1", DIFY_A_PORT="5001", DIFY_A_KEY="k", ZONE="z", DIFY_B_WEIGHT="3",
                        CHECK_INTERVAL="20")
    one, two = config["applications"]["chat"]["instances"]
    assert (one["host"], one["port"], one["token"]) == ("${DIFY_A}", "${DIFY_A_PORT}", "app-${DIFY_A_KEY}")
    assert (two["host"], two["port"], two["weight"]) == ("dify-${ZONE}.example.com", 80, "${DIFY_B_WEIGHT}")
    for name in "CHAT_TOKEN", "STAGE", "CHECK_INTERVAL":   # also what only decided
        assert f"note  {name} is read from the environment" in said


def test_a_table_that_a_program_makes(tmp_path):
    config, said = made(tmp_path, GENERATED)
    assert set(config["applications"]) == {"alpha", "beta", "delta"} and names(config, "alpha") == [f"dify{i}" for i in range(1, 6)]
    assert [(one["host"], one["port"], one.get("tls")) for one in config["applications"]["beta"]["instances"]] == [
        ("10.1.0.1", 80, None), ("10.1.0.2", 5001, None), ("10.1.0.3", 8080, None), ("dify.example.com", 443, True), ("fd00::1", 81, None)]
    assert all((one["max_fails"], one["fail_timeout"], one["weight"]) == (4, 10, 1) for one in config["applications"]["alpha"]["instances"])
    assert config["applications"]["alpha"]["user_tokens"] == ["SECRET-alpha"] and names(config, "delta") == ["one", "two"]
    for line in ("left  applications.alpha.instances[6]: enabled = false", "left  applications.gamma: disabled = true",
                 "left  applications.alpha.instances[3].host: paths reach", "left  applications.delta.instances[two].weight"):
        assert line in said, line


def test_lists_with_holes_and_names_that_yaml_takes_for_something_else(tmp_path):
    config, said = made(tmp_path, LISTS)
    assert list(config["applications"]) == ["first", "yes", "007"] and names(config, "first") == ["x", "y"] and names(config, "007") == ["1.0"]
    assert config["applications"]["first"]["user_tokens"] == ["SECRET-1", "SECRET-3"]
    assert config["applications"]["007"]["user_tokens"] == ["1e3"] and config["applications"]["007"]["instances"][0]["token"] == "0x10"
    assert "left  applications.Größe: a name has" in said


def test_odd_values_are_quoted_or_left(tmp_path):
    config, said = made(tmp_path, ODD)
    tokens = config["applications"]["odd"]["user_tokens"]
    assert tokens == ["a:b", "a#b", "{SECRET}", "'SECRET'", "*SECRET", "&SECRET", "!SECRET", "%SECRET", "@SECRET", "SECRET,", "-", "~", "null", "x" * 512]
    assert names(config, "odd") == ["ok", "good", "also"] and config["applications"]["odd"]["instances"][1]["token"] == "[SECRET]"
    assert config["health_check"] == {"unhealthy_threshold": 2} and said.count("left  applications.odd.instances[") >= 12


@pytest.mark.parametrize(("table", "wanted"), [
    ('local s = ("x"):rep(1000000) local t = {} for i = 1, 400000 do t[i] = s end return { applications = t }', "longer than 32 MiB"),
    ('error(("x"):rep(100000000))', "config.lua"),
    ("error({})", "config.lua"),
    ("local function f() return f() + 1 end return f()", "config.lua"),
    ("while true do setmetatable({}, { __index = function() end }) end", "3 s of processor time"),
    ('return { applications = { a = require("tokens") } }', 'require("tokens") is not there'),
    ('local cjson = require "cjson" return cjson.decode("{}")', "cjson.decode is not there"),
    ('return { applications = { a = os.getenv("A B") } }', "takes no such name"),
    ('getmetatable("").__index.format = nil return {}', "config.lua:1"),
    (random.Random(1).randbytes(4096), "config.lua"),   # the same in every process of xdist
    (b"\x7fELF" + bytes(4096), "config.lua"),
    (b"\x1bLJ\x02" + bytes(64), "compiled Lua"),
    (b"return " + b"{" * 300, "config.lua"),
    (b"return " + b"{" * 150 + b"}" * 150, "too deep"),
    (b"", "returns no table"),
    (b"x" * (9 << 20), "longer than 8 MiB"),
], ids=lambda value: str(value)[:24])
def test_whatever_it_is_it_ends_with_one_line(tmp_path, table, wanted):
    watch = Stopwatch()
    status, text, said = convert(tmp_path, table)
    assert (status, text) == (1, "") and said.count("\n") == 1 and len(said) < 600 and wanted in said, said
    assert watch.fair_seconds() < 60


def test_more_than_difyring_takes_is_left(tmp_path):
    config, said = made(tmp_path, """
        local apps = {}
        for a = 1, 300 do
            local instances = {}
            for i = 1, (a == 1 and 300 or 1) do instances[i] = { name = "i" .. i, host = "10.0.0.1", port = i, token = "SECRET-" .. a .. "-" .. i } end
            apps["app" .. a] = { user_tokens = { "SECRET-u" .. a }, instances = instances }
        end
        return { applications = apps }""")
    assert len(config["applications"]) == 256 and "difyring has at most 256" in said
    assert max(len(app["instances"]) for app in config["applications"].values()) <= 256
