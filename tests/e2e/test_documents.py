"""The pages: each configuration in them is taken, each command in them exists, and the contract's defaults are ours."""

import json
import os
import re
import subprocess
import textwrap

import pytest
import yaml

from commands import write
from harness import ROOT, run_command

PAGES = ["README.md", "CONTRIBUTING.md", *(os.path.join("doc", name) for name in sorted(os.listdir(os.path.join(ROOT, "doc")))
                                           if name.endswith(".md")), "deploy/PAIR.md", "deploy/monitoring/README.md"]
KEY = "A" * 43 + "="
APPLICATIONS = {"one": {"user_tokens": ["usertoken--one"],
                        "instances": [{"name": "dify1", "host": "127.0.0.1", "port": 80, "token": "app-1"}]}}
ENVIRONMENT = {"DIFY1_TOKEN": "app-0123456789", "DIFY2_TOKEN": "app-9876543210"}


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as file:
        return file.read()


def fences(page, kind):
    return [textwrap.dedent(text) for text in re.findall(rf"^ *```{kind}\n(.*?)^ *```", read(page), re.M | re.S)]


FRAGMENTS = [(page, index) for page in PAGES for index in range(len(fences(page, "yaml")))]


def whole(text):
    """A fragment as part of a file: the sections that it does not have, and the application that its keys belong to."""
    found = yaml.safe_load(text.replace("base64…", KEY).replace("app-...", "app-0123456789"))
    if "quotas" in found or "queue" in found:
        found = {"applications": {"one": {**APPLICATIONS["one"], **found}}}
    return {"listen": [{"address": "127.0.0.1:82"}], "applications": APPLICATIONS, **found}


def test_there_are_fragments():
    assert {"README.md", "doc/SPEC.md", "deploy/PAIR.md"} <= {page for page, _ in FRAGMENTS}


@pytest.mark.slow
@pytest.mark.parametrize("page, index", FRAGMENTS)
def test_yaml_of_the_pages_is_taken(tmp_path, page, index):
    write(tmp_path, KEY + "\n", "cluster.key")
    (tmp_path / "cluster.key").chmod(0o600)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "90",
                    "-subj", "/CN=dify.example.com", "-keyout", tmp_path / "site.key", "-out", tmp_path / "site.crt"],
                   check=True, capture_output=True)
    write(tmp_path, (tmp_path / "site.crt").read_text(), "ca.crt")
    text = fences(page, "yaml")[index]
    if "\napplications:" in text and "listen:" in text:   # as it stands, comments and all
        text = text.replace("base64…", KEY).replace("app-...", "app-0123456789")
    else:
        text = json.dumps(whole(text))
    result = run_command("check", "-c", write(tmp_path, text), env={**os.environ, **ENVIRONMENT})
    assert (result.returncode, result.stderr) == (0, "") and result.stdout.endswith(" is valid\n"), result.stdout


# ---- defaults

def schema_of(key, schema, root):
    """The schema of a key of this schema, through its $refs and forms."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    for form in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        inner = form if "$ref" not in form else root["$defs"][form["$ref"].rsplit("/", 1)[-1]]
        if key in inner.get("properties", {}):
            return inner["properties"][key]
        if isinstance(inner.get("additionalProperties"), dict):
            return inner["additionalProperties"]
    raise AssertionError(f"no key {key} in the schema")


def keys_of(found, schema, root, path=""):
    """(path, value in the page, schema of the key) of each key that holds no other."""
    for key, value in found.items():
        own = schema_of(key, schema, root)
        where = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from keys_of(value, own, root, where)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            while "$ref" in own:
                own = root["$defs"][own["$ref"].rsplit("/", 1)[-1]]
            for one in value:
                yield from keys_of(one, own["items"], root, where)
        else:
            yield where, value, own


# Of these the page shows an example, for there is no default, or none that is a value.
NO_DEFAULT = {"node.name", "node.state_dir", "listen.address", "listen.tls.certificate", "listen.tls.key", "listen.tls_min", "listen.client_ca",
              "cluster.advertise", "cluster.join", "cluster.keys", "vip.address", "vip.interface", "vip.peers", "health_check.expect",
              "applications.customer_service.user_tokens", "applications.customer_service.instances.name",
              "applications.customer_service.instances.host", "applications.customer_service.instances.port",
              "applications.customer_service.instances.tls", "applications.customer_service.instances.token"}


def test_the_contracts_defaults_are_ours():
    root = json.loads(run_command("check", "--schema").stdout)
    page = yaml.safe_load(fences("doc/SPEC.md", "yaml")[0])
    found = list(keys_of(page, root, root))
    for path, value, own in found:
        if path in NO_DEFAULT:
            continue
        plain = "30s" if path.endswith("fail_timeout") and value == 30 else value   # a plain number is seconds
        assert own["default"] == plain, (path, value, own)
    assert len(found) > 75 and {path for path, _, _ in found} >= NO_DEFAULT


# ---- commands

def lines_of_commands(page):
    """What the page says to type: in its code, and between backquotes."""
    text = read(page)
    for block in fences(page, r"\w*"):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))


def commands_of(page):
    """(command, options) of each `difyring ...`; an option is a word that begins with a dash."""
    for line in lines_of_commands(page):
        for part in re.findall(r"(?:^|[;&(] ?)(?:\w+=\S+ )*(?:\S*/)?difyring ([a-z][a-z-]+(?: .*?)?)(?:$|[|;>#&])", line.strip()):
            part = re.sub(r"\[--|\]", lambda mark: " --" if mark[0] == "[--" else " ", part)
            words = part.replace("'", "").replace('"', "").replace("[", " ").split()
            yield words[0], [word.split("=")[0] for word in words[1:] if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)]


@pytest.mark.slow
def test_commands_of_the_pages_exist():
    helps = {"help": run_command("help").stdout}
    known = set(re.findall(r"^  ([a-z-]+) ", helps["help"], re.M)) | {"help"}
    seen = 0
    for page in PAGES:
        for command, options in commands_of(page):
            assert command in known, (page, command)
            if command not in helps:
                helps[command] = run_command(command, "-h").stdout
            for option in options:
                assert re.search(rf"(?<![\w-]){option}\b", helps[command]), (page, command, option)
            seen += 1
    assert seen > 60, seen
