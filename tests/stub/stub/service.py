"""From a complete request to its reply: route table, token, end user, faults, errors in Dify's shape."""

import asyncio
import hashlib
import json
import re
import traceback

from . import http
from .faults import FaultList, begin_slow_read
from .http import Reply

JSON_TYPE = ("Content-Type", "application/json")
HTML_TYPE = ("Content-Type", "text/html; charset=utf-8")
DEFAULT_USER = "DEFAULT-USER"
READ_SIZE = 256 * 1024   # asyncio's own
DATASET_TOKENS = ("dataset-", "ds-")   # keys of another kind, for routes of their own
DATASET_ROUTES = ("/v1/datasets", "/v1/workspaces/")

_ROUTES = {}     # path without parameters -> {method: Route}
_AT_HEAD = {}    # path -> handler(request) -> Reply, called before the body is read
_PATTERNS = []   # [(compiled path, {method: Route})]


class Route:
    """`user`: where the end user travels: json, query, form, any (test routes) or None.
    `auth`: whether the app token is asked for."""

    __slots__ = ("handler", "user", "required", "auth")

    def __init__(self, handler, user, required, auth):
        self.handler = handler
        self.user = user
        self.required = required
        self.auth = auth


def route(methods, path, user=None, required=False, auth=True):
    """Registers handler(instance, request) -> Reply. `{}` in the path is one segment; methods "*" is any."""
    def register(handler):
        if "{" in path or path.endswith("*"):
            shape = re.escape(path).replace(r"\{\}", "([^/]+)").replace(r"\*", "(.*)")
            table = next((table for known, table in _PATTERNS if known.pattern == shape), None)
            if table is None:
                table = {}
                _PATTERNS.append((re.compile(shape), table))
        else:
            table = _ROUTES.setdefault(path, {})
        for method in methods.split():
            table[method] = Route(handler, user, required, auth)
        return handler
    return register


def at_head(path):
    """Registers handler(request) -> Reply for a path below /v1/_: answered as soon as the head is there."""
    def register(handler):
        _AT_HEAD[path] = handler
        return handler
    return register


class ApiError(Exception):
    """Becomes Dify's error JSON (DIFY.md §2)."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        self.reply = Reply(status, [JSON_TYPE, *headers],
                           dump({"code": code, "message": message, "status": status}) + b"\n")


def internal_error():
    """What Dify makes of an exception that nobody expected, of a dead database too (DIFY.md §0)."""
    error = ApiError(500, "unknown", "Internal Server Error")
    error.reply.body = b'{"message":"Internal Server Error","code":"unknown","status":500}\n'
    return error


def dump(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:   # half a surrogate pair, which JSON can say and UTF-8 cannot
        return json.dumps(value, separators=(",", ":")).encode()


def json_reply(value, status=200, **more):
    return Reply(status, [JSON_TYPE], dump(value) + b"\n", **more)


def not_found(request, message):
    """flask-restx's 404: the text has a tail of route hints, its slashes escaped as ujson does."""
    path = request.path.replace("/", "\\/")
    tail = (f" You have requested this URI [{path}] but did you mean {path} or "
            "\\/v1\\/chat-messages\\/<string:task_id>\\/stop or \\/v1\\/completion-messages ?")
    body = b'{"code":"not_found","message":%b,"status":404}\n' % json.dumps(message + tail).replace(
        "\\\\/", "\\/").encode()
    error = ApiError(404, "not_found", message)
    error.reply.body = body
    return error


def html_not_found():
    return Reply(404, [HTML_TYPE], (
        b"<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL was "
        b"not found on the server. If you entered the URL manually please check your spelling and try again.</p>\n"))


def find_route(request):
    """Sets request.route and path_args; returns an error Reply, or None when a route was found."""
    table = _ROUTES.get(request.path)
    if table is None:
        for shape, candidates in _PATTERNS:
            match = shape.fullmatch(request.path)
            if match:
                table, request.path_args = candidates, match.groups()
                break
        else:
            return html_not_found()
    method = request.method
    allowed = ", ".join(sorted({*table, "OPTIONS"}))
    if is_preflight(request):
        return Reply(200, [HTML_TYPE, ("Allow", allowed), *preflight_fields(request)])
    request.route = table.get(method) or (method == "HEAD" and table.get("GET")) or table.get("*")
    if request.route:
        return None
    if method == "OPTIONS":
        return Reply(200, [HTML_TYPE, ("Allow", allowed)])
    return ApiError(405, "method_not_allowed", "The method is not allowed for the requested URL.",
                    [("Allow", allowed)]).reply


# ---- CORS: a browser's questions, on /v1 only

def is_preflight(request):
    return (request.method == "OPTIONS" and "origin" in request.fields and request.path.startswith("/v1/")
            and "access-control-request-method" in request.fields)


def preflight_fields(request):
    asked = request.fields.get("access-control-request-headers")
    return [("Access-Control-Allow-Methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"),
            *([("Access-Control-Allow-Headers", asked)] if asked else [])]


def origin_fields(request):
    """On preflights as seen (DIFY.md §0); on other answers as flask-cors does it by its source."""
    origin = request.fields.get("origin")
    if not origin or not request.path.startswith("/v1/"):
        return []
    return [("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", "X-Env, X-Trace-Id, X-Version"), ("Vary", "Origin")]


def bearer(request):
    """The token, or None when there is no Authorization: Bearer."""
    scheme, _, token = request.fields.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token else None


def json_body(request):
    """As Flask's get_json(): 415 for another content type, 400 for no JSON."""
    if request.json_cache is None:
        kind = request.fields.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
            raise ApiError(415, "unsupported_media_type", "Did not attempt to load JSON data because the request "
                           "Content-Type was not 'application/json'.")
        try:
            request.json_cache = json.loads(request.body)
        except ValueError:
            raise ApiError(400, "bad_request", "The browser (or proxy) sent a request that this server could "
                           "not understand.") from None
    if not isinstance(request.json_cache, dict):   # Dify calls .get() on it
        raise internal_error()
    return request.json_cache


def form_parts(request):
    """The parts of a multipart body; cut up once, since it may be a hundred megabytes."""
    if request.form_cache is None:
        request.form_cache = http.form_parts(request.body, request.fields.get("content-type", ""))
    return request.form_cache


def form_field(request, wanted):
    for name, filename, _kind, data in form_parts(request):
        if name == wanted and filename is None:
            return data.decode("utf-8", "replace")
    return None


def user_of(request):
    """The `user` value where this route wants it, not yet normalised (DIFY.md §1)."""
    source = request.route.user
    if source == "json":
        return json_body(request).get("user")
    if source == "query":
        return request.query_args().get("user")
    if source == "form":
        return form_field(request, "user")
    kind = request.fields.get("content-type", "")   # "any": wherever it is, for the test routes
    if request.body and "json" in kind:
        try:
            found = json_body(request).get("user")
        except ApiError:
            found = None
        if found:
            return found
    return request.query_args().get("user") or ("multipart" in kind and form_field(request, "user")) or None


class DifyService:
    """The API side of one instance, as the connections see it."""

    def __init__(self, instance, journal):
        self.instance = instance
        self.journal = journal
        self.faults = FaultList(journal)
        self.idle_timeout = instance.options.idle_timeout
        self.ending = False
        self.marks = [("X-Version", instance.options.version), ("X-Env", "PRODUCTION")]   # on each answer
        self.scratch = memoryview(bytearray(READ_SIZE))
        self.listener = None
        self.on_empty = None   # what to call when the last connection has ended

    def on_accept(self):
        """True: reset this connection at once."""
        return bool(self.faults.faults) and self.faults.take("accept") is not None

    def closed(self, connection):
        self.listener.closed(connection)
        if self.ending and not self.listener.connections:
            self.on_empty()

    def end_gracefully(self, on_empty, seconds):
        """As gunicorn at SIGTERM: refuses connections, serves those that are open, for so long at most;
        idle ones end by their own time, a further request on one is answered with a close."""
        self.ending, self.on_empty = True, on_empty
        self.listener.shut()
        asyncio.get_running_loop().call_later(seconds, on_empty)
        if not self.listener.connections:
            on_empty()

    def marked(self, request, reply):
        """The reply with what each answer of Dify's has."""
        reply.headers = [*reply.headers, *self.marks, *origin_fields(request)]
        return reply

    def on_head(self, connection, request):
        record = request.record
        record.token = bearer(request)
        record.x_request_id = request.fields.get("x-request-id")
        if request.path.startswith("/v1/_"):
            early = _AT_HEAD.get(request.path)
            if early:
                return self.marked(request, early(request))
            request.digest = hashlib.sha256()
        if self.faults.faults:
            slow = self.faults.take("head", request)
            if slow:
                connection.slow_fault = slow
                begin_slow_read(connection, slow.parameters)
        return None

    def answer(self, connection, request):
        """(reply, fault or None) to a complete request."""
        try:
            reply = find_route(request) or self.identify(request) or request.route.handler(self.instance, request)
        except ApiError as error:
            reply = error.reply
        except Exception:   # odd values in the body, as in Dify's own code
            traceback.print_exc()
            reply = internal_error().reply
        self.marked(request, reply)
        fault = connection.slow_fault
        connection.slow_fault = None
        if fault is None and self.faults.faults:
            fault = self.faults.take("reply", request)
        return reply, fault

    def identify(self, request):
        """Checks the token, finds the end user. None when all is well."""
        wanted = request.route
        if wanted.auth:
            self.check_token(request)
        request.token = request.record.token
        if wanted.user is None:
            return None
        user = user_of(request)
        if user:
            user = str(user)
        elif wanted.required:
            raise ApiError(400, "invalid_param", "Arg user must be provided.")
        else:
            user = None if wanted.user == "any" else DEFAULT_USER
        if user is not None and "\0" in user and wanted.user != "any":   # the code was seen, not the text
            raise ApiError(400, "invalid_param", "user must not contain NUL")
        request.user = request.record.user = user
        if user is not None:
            self.journal.count_user(user)
        return None

    def check_token(self, request):
        token = request.record.token
        if token is None:
            raise unauthorized("Authorization header must be provided and start with 'Bearer'")
        if not self.instance.database_alive:   # it would be looked up there
            raise internal_error()
        if token not in self.instance.tokens or not is_of_its_kind(token, request.path):
            raise unauthorized("Access token is invalid")


def is_of_its_kind(token, path):
    """Each kind of key opens its own routes only; the test routes take both."""
    return path.startswith("/v1/_") or token.startswith(DATASET_TOKENS) == path.startswith(DATASET_ROUTES)


def unauthorized(message):
    return ApiError(401, "unauthorized", message, [("WWW-Authenticate", 'Bearer realm="api"')])
