#!/usr/bin/python3
"""What of Dify's api a move must keep: conversations in PostgreSQL, files in storage, a counter in Redis' place.

GET  /v1/info, /v1/parameters, /v1/meta, /v1/site
GET  /v1/conversations?user=   /v1/messages?user=&conversation_id=   /v1/files/ID/preview
POST /v1/chat-messages {"query", "user", "conversation_id"}           404 for a conversation that is not here
POST /v1/files/upload?user=    the body is the file
"""
import contextlib
import http.server
import json
import os
import sys
import urllib.parse
import uuid

import psycopg2

STORAGE = "/app/api/storage/upload_files"


@contextlib.contextmanager
def database(name="dify"):
    """A cursor; each statement is a transaction."""
    connection = psycopg2.connect(host=os.environ["DB_HOST"], user=os.environ["DB_USERNAME"], dbname=name,
                                  password=os.environ["DB_PASSWORD"], connect_timeout=60)
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()


def prepare():
    with database("postgres") as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'dify_plugin'")
        if not cursor.fetchone():
            cursor.execute("CREATE DATABASE dify_plugin")
    with database() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS end_users (id text PRIMARY KEY, session_id text)")
        cursor.execute("CREATE TABLE IF NOT EXISTS conversations (id text PRIMARY KEY, owner text, name text)")
        cursor.execute("CREATE TABLE IF NOT EXISTS messages (id text PRIMARY KEY, conversation_id text, query text, number serial)")
        cursor.execute('CREATE TABLE IF NOT EXISTS "odd "" name" (value bytea)')
    with database("dify_plugin") as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS plugins (id text)")
    os.makedirs(STORAGE, exist_ok=True)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(value, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/health":
            return self.answer(200, {"status": "ok"})
        if self.headers.get("Authorization") != f"Bearer {os.environ['APP_TOKEN']}":
            return self.answer(401, {"code": "unauthorized"})
        with database() as cursor:
            if url.path == "/v1/conversations":
                cursor.execute("SELECT id, name FROM conversations WHERE owner = %s ORDER BY id", (query["user"],))
                return self.answer(200, {"data": [{"id": one[0], "name": one[1]} for one in cursor.fetchall()]})
            if url.path == "/v1/messages":
                cursor.execute("SELECT id, query FROM messages WHERE conversation_id = %s ORDER BY number", (query["conversation_id"],))
                rows = cursor.fetchall()
                return self.answer(200 if rows else 404, {"data": [{"id": one[0], "query": one[1]} for one in rows]})
        if url.path.startswith("/v1/files/"):
            try:
                with open(os.path.join(STORAGE, os.path.basename(url.path.split("/")[3])), "rb") as file:
                    return self.answer(200, file.read())
            except FileNotFoundError:
                return self.answer(404, {"code": "file_not_found"})
        return self.answer(200, {"path": url.path, "version": os.environ.get("VERSION", "")})

    def do_POST(self):
        data = self.body()
        if self.headers.get("Authorization") != f"Bearer {os.environ['APP_TOKEN']}":
            return self.answer(401, {"code": "unauthorized"})
        if self.path.startswith("/v1/files/upload"):
            identity = str(uuid.uuid4())
            with open(os.path.join(STORAGE, identity), "wb") as file:
                file.write(data)
            return self.answer(201, {"id": identity})
        request = json.loads(data)
        with database() as cursor:
            identity = request.get("conversation_id") or str(uuid.uuid4())
            if request.get("conversation_id"):
                cursor.execute("SELECT 1 FROM conversations WHERE id = %s AND owner = %s", (identity, request["user"]))
                if not cursor.fetchone():
                    return self.answer(404, {"code": "not_found", "message": "Conversation Not Exists.", "status": 404})
            else:
                cursor.execute("INSERT INTO conversations VALUES (%s, %s, %s)", (identity, request["user"], request["query"]))
                cursor.execute("INSERT INTO end_users VALUES (%s, %s)", (str(uuid.uuid4()), request["user"]))
            message = str(uuid.uuid4())
            cursor.execute("INSERT INTO messages VALUES (%s, %s, %s)", (message, identity, request["query"]))
        return self.answer(200, {"conversation_id": identity, "message_id": message, "answer": request["query"]})


def main():
    if sys.argv[1:] == ["worker"]:
        import signal
        signal.pause()
    while True:
        try:
            prepare()
            break
        except psycopg2.OperationalError:
            continue
    http.server.ThreadingHTTPServer(("", 5001), Handler).serve_forever()


if __name__ == "__main__":
    main()
