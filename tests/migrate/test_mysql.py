"""deploy/dify-migrate with Dify's MySQL variant: dumped, restored, copied over, and compared by another program than the tool."""

import os
import shutil
import subprocess
import time

import pytest

from daemon import CannotStart, Daemon
from test_migrate import HERE, TOOL, Server, migrate

IMAGES = ["langgenius/dify-api:1.16.0", "difyring-test-mysql"]
READY_SECONDS = 90
SCHEMA = r"""
ALTER DATABASE dify CHARACTER SET latin2 COLLATE latin2_bin;
CREATE DATABASE dify_plugin CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
CREATE DATABASE `odd/na me``ö`;
USE dify;
CREATE TABLE conversations (id char(36) PRIMARY KEY, name varchar(255) CHARACTER SET utf8mb4, owner varchar(64) NOT NULL, INDEX (owner)) CHARACTER SET utf8mb4;
CREATE TABLE messages (number bigint AUTO_INCREMENT PRIMARY KEY, conversation_id char(36), query longtext CHARACTER SET utf8mb4, price decimal(30,20),
    at datetime(6), seen timestamp NULL, score double, data longblob, amount int DEFAULT 2, doubled bigint AS (amount * 2) STORED,
    FOREIGN KEY (conversation_id) REFERENCES conversations (id)) CHARACTER SET utf8mb4;
CREATE TABLE `odd ``name\ with % and ö` (`a b` bit(9), c enum('x', 'ÿ') CHARACTER SET latin1, d json, e time(3), f year);
CREATE TABLE empty (id int);
CREATE TABLE counted AS SELECT seq AS id, md5(seq) AS text FROM seq_1_to_100000;
INSERT INTO conversations VALUES ('c1', 'naïve 客服 🦊 \\ '' " \n \0 end', 'ann'), ('c2', '', 'bob'), ('c3', NULL, 'bob');
INSERT INTO messages (conversation_id, query, price, at, seen, score, data) VALUES ('c1', 'hello', 0.00000000000000000001, '2026-11-30 10:00:00.123456',
    '2026-03-29 01:30:00', 1e-300, x'00FF1A5C27220A0D'), ('c2', REPEAT('🦊', 100000), NULL, NULL, NULL, 0.1, REPEAT(x'00', 300000)), (NULL, NULL, -1, NULL, NULL, NULL, NULL);
INSERT INTO `odd ``name\ with % and ö` VALUES (b'101010101', 'ÿ', '{"a": [1, "ö"]}', '-838:59:59', 2026);
CREATE VIEW said AS SELECT c.owner, m.query FROM conversations c JOIN messages m ON m.conversation_id = c.id;
CREATE FUNCTION twice(a int) RETURNS int DETERMINISTIC RETURN 2 * a;
CREATE TRIGGER note BEFORE INSERT ON messages FOR EACH ROW SET NEW.score = coalesce(NEW.score, 7);
CREATE EVENT hourly ON SCHEDULE EVERY 1 HOUR DO DELETE FROM empty;
USE dify_plugin;
CREATE TABLE plugins (id text);
INSERT INTO plugins VALUES ('one');
"""


@pytest.fixture(scope="module")
def daemon():
    try:
        with Daemon(networked=True) as building:
            if not building.docker("images", "--quiet", "debian:trixie-slim").strip():
                building.make_base_image()
            building.docker("build", "--network", "host", "-q", "-f", os.path.join(HERE, "Dockerfile.mysql"), "-t", IMAGES[1], HERE)
            building.docker("tag", IMAGES[1], IMAGES[0])
        with Daemon() as running:
            yield running
    except CannotStart as error:
        pytest.skip(f"Docker cannot run here: {error}")


class Mysql(Server):
    def sql(self, text, *, database="mysql"):
        done = subprocess.run(["docker", "exec", "-i", "-e", "MYSQL_PWD=SECRET-database", self.container("db_mysql"), "mysql", "-uroot", "-N", "-B",
                               "--protocol=tcp", "-h127.0.0.1", "--default-character-set=utf8mb4", database], env=self.env, input=text.encode(),
                              capture_output=True, check=False)
        if done.returncode != 0:
            raise OSError(done.stderr.decode())
        return done.stdout.decode()

    def begin(self):
        self.compose("up", "-d")
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                return self.sql("SELECT 1")
            except OSError as error:
                assert time.monotonic() < deadline, error
                time.sleep(0.3)

    def picture(self):
        """All of it as text, rows in order; without the time at which it was made."""
        return subprocess.run(["docker", "exec", "-e", "MYSQL_PWD=SECRET-database", self.container("db_mysql"), "mysqldump", "-uroot", "--routines",
                               "--triggers", "--events", "--hex-blob", "--order-by-primary", "--skip-dump-date", "--skip-extended-insert",
                               "--databases", *self.names()], env=self.env, capture_output=True, check=True).stdout

    def names(self):
        system = {"mysql", "sys", "information_schema", "performance_schema"}
        return [name for name in self.sql("SHOW DATABASES").splitlines() if name not in system]


@pytest.fixture(scope="module")
def old(daemon, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mysql") / "old Größe"   # Compose makes its name of it
    shutil.copytree(os.path.join(HERE, "project-mysql"), folder)
    server = Mysql(daemon, folder, 0)
    server.begin()
    server.sql(SCHEMA)
    yield server
    server.down()


def test_what_comes_out_is_what_went_in(old, tmp_path):
    """Over an archive, into a folder whose database is made by that: and its first server, which goes away, is not taken for it."""
    assert "database  dify (mysql" in migrate(old, "plan", old.folder)
    archive = tmp_path / "ar chive ü"
    migrate(old, "backup", old.folder, "--to", archive, "--digests")
    migrate(old, "verify-archive", archive)
    new = Mysql(old.daemon, tmp_path / "new Größe 2", 0)
    try:
        migrate(new, "restore", archive, "--to", new.folder)
        assert new.names() == old.names() and "odd/na me`ö" in new.names()
        assert new.picture() == old.picture()
        assert new.sql("SELECT doubled FROM messages ORDER BY number; SELECT twice(4)", database="dify").split() == ["4", "4", "4", "8"]
        again(old, new)
    finally:
        new.down()


def again(old, new):
    """What cutover does: dumps over what is there already, and each table compared."""
    keys = os.path.join(old.folder, "..", "keys")
    with open(keys, "w", encoding="utf-8") as file:
        file.write("none SECRET-key\n")
    assert agent(old, "digests") == agent(new, "digests")
    assert {"odd `name\\ with % and ö": [1, agent(old, "digests")["dify"]["odd `name\\ with % and ö"][1]]}.items() <= agent(old, "digests")["dify"].items()
    assert agent(old, "digests")["dify"]["counted"][0] == 100000 and "said" not in agent(old, "digests")["dify"]
    old.sql("UPDATE counted SET text = 'changed' WHERE id = 77777; DELETE FROM empty; INSERT INTO empty VALUES (1), (NULL); DROP TRIGGER note", database="dify")
    new.sql("CREATE TABLE stray (id int)", database="dify")
    differing = {name for name, tables in agent(old, "digests").items() for table in tables if tables[table] != agent(new, "digests")[name].get(table)}
    assert differing == {"dify"}
    for name in old.names():
        dump = subprocess.run(command(old, "dump", name), env=old.env, capture_output=True, check=True).stdout
        subprocess.run(command(new, "load", name), env=new.env, input=dump, check=True)
    assert new.picture() == old.picture() and agent(old, "digests") == agent(new, "digests")


def command(server, *words):
    return ["nsenter", "-n", "-t", server.daemon_pid(), TOOL, "agent", server.folder, *words]


def agent(server, *words):
    import json
    return json.loads(subprocess.run(command(server, *words), env=server.env, capture_output=True, check=True).stdout)


def test_a_password_that_is_another_one_is_told(old, tmp_path):
    """A database keeps the password of its first start."""
    environment = os.path.join(old.folder, ".env")
    with open(environment, "w", encoding="utf-8") as file:
        file.write("DB_PASSWORD=SECRET-other\n")
    try:
        old.compose("up", "-d")
        time.sleep(3)
        said = migrate(old, "backup", old.folder, "--to", tmp_path / "archive", status=1)
        assert "Access denied" in said and "SECRET" not in said
    finally:
        with open(environment, "w", encoding="utf-8") as file:
            file.write("DB_PASSWORD=SECRET-database\n")
        old.compose("up", "-d")
