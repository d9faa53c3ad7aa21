"""The figures of doc/MOVING.md, on a quiet machine:

    /usr/bin/python3 -m pytest -q -s tests/migrate/figures.py tests/migrate/test_cutover.py::test_there_and_back_while_clients_chat

About ten minutes. An archive of 1 GiB of files that do not compress and 500 000 rows, each step by itself; then what clients see while
an instance moves there and back ("clients: ... 0 failed, longest N s")."""

import os
import re
import subprocess
import time

import pytest

import sshd
from test_faults import there_now
from test_migrate import Server, daemon, migrate, old, ssh_of  # noqa: F401

FILE_BYTES = 4 << 20
FILES = int(os.environ.get("DIFYRING_FIGURES_MIB", "1024")) // 4   # less, to try this file itself
ROWS = 500000 if FILES == 256 else 1000


@pytest.fixture
def took():
    rows = []

    def measure(what, server, *words, count=0):
        began = time.monotonic()
        said = migrate(server, *words)
        seconds = time.monotonic() - began
        rows.append(f"| {what} | {seconds:.0f} | {count / 2**20 / seconds:.0f} |" if count else f"| {what} | {seconds:.0f} | |")
        return said
    measure.rows = rows
    yield measure
    print("\n| step | seconds | MiB/s |\n|---|---|---|\n" + "\n".join(rows))


def test_figures(old, tmp_path, took):  # noqa: F811
    storage = os.path.join(old.folder, "volumes/app/storage/large")
    os.makedirs(storage)
    for number in range(FILES):
        with open(os.path.join(storage, str(number)), "wb") as file:
            file.write(os.urandom(FILE_BYTES))
    subprocess.run(["docker", "exec", old.container("db_postgres"), "psql", "-U", "postgres", "-d", "dify", "-q", "-c",
                    f"CREATE TABLE many AS SELECT g AS id, md5(g::text) AS text, md5((g + 1)::text) AS more FROM generate_series(1, {ROWS}) g"],
                   env=old.env, check=True)
    (tmp_path / "secret").write_text("a passphrase of the figures\n")
    (tmp_path / "secret").chmod(0o600)
    words, plain, sealed, there = ["--passphrase-file", tmp_path / "secret"], tmp_path / "plain", tmp_path / "sealed", tmp_path / "there"
    count = FILES * FILE_BYTES
    took("backup", old, "backup", old.folder, "--to", plain, count=count)
    took("backup with a passphrase", old, "backup", old.folder, "--to", sealed, *words, count=count)
    took("verify-archive", old, "verify-archive", plain, count=count)
    took("verify-archive with a passphrase", old, "verify-archive", sealed, *words, count=count)
    ssh, end = ssh_of(tmp_path, old)
    try:
        total = there_now(sealed)
        carry = ["carry", sealed, f"root@there:{there}", "--ssh", ssh]
        for share in 0.25, 0.6:
            process = migrate(old, *carry, wait=False)
            while there_now(there) < share * total and process.poll() is None:
                time.sleep(0.01)
            process.kill()
            process.communicate()
        left = total - there_now(there)
        said = took("carry, the third call", old, *carry, count=left)
        sent = float(re.search(r"([\d.]+) MiB sent", said).group(1))
        took.rows.append(f"| carry over {'ssh' if sshd.program() else 'a script for ssh'}, killed at 25 % and 60 % | | of {total / 2**20:.0f} MiB "
                         f"{left / 2**20:.1f} were left, {sent:.1f} were sent, **{max(sent - left / 2**20, 0):.1f} again** |")
        took("carry again, when all is there", old, *carry)
    finally:
        end()
    new = Server(old.daemon, tmp_path / "new", 15042)
    try:
        took("restore with a passphrase, started and healthy", old, "restore", there, "--to", new.folder, "--set", "EXPOSE_PORT=15042", *words, count=count)
    finally:
        new.down()
