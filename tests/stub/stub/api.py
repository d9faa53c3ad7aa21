"""The Service API that an application's clients use (DIFY.md §1 to §4), and the static health routes.

`inputs` of a chat, completion or workflow request may steer this stand-in: stub_events, stub_interval,
stub_delay (seconds before a blocking answer or the first event), stub_error (an error event ends the stream),
stub_usage (entries of a run's usage), stub_mode ("chatflow": a chat that is a workflow), stub_ping_after (a ping
behind the last event).
"""

import asyncio
import decimal
import hashlib
import json
import re
import time

from .http import Reply
from .service import ApiError, dump, form_parts, internal_error, json_body, json_reply, not_found, route
from .state import Task, new_id
from .worker import follow

SSE_TYPE = ("Content-Type", "text/event-stream; charset=utf-8")
PING = b"event: ping\n\n"
# What a run of this stand-in's model costs, and what is told of one that was stopped.
USAGE = {"prompt_tokens": 12, "prompt_unit_price": "0.001", "prompt_price_unit": "0.001",
         "prompt_price": "0.0000120", "completion_tokens": 8, "completion_unit_price": "0.002",
         "completion_price_unit": "0.001", "completion_price": "0.0000160", "total_tokens": 20,
         "total_price": "0.0000280", "currency": "USD", "latency": 0.1}
NO_USAGE = {**USAGE, "prompt_tokens": 0, "prompt_price": "0E-7", "completion_tokens": 0, "completion_price": "0E-7",
            "total_tokens": 0, "total_price": "0E-7", "latency": 0.0}
AUDIO_PIECES, AUDIO_PIECE = 8, 4096   # what text-to-audio answers
MB = 1024 * 1024
UPLOAD_MAX = 15 * MB   # and more for these, by the end of the name (DIFY.md §1)
UPLOAD_MAX_OF = {**dict.fromkeys(("mp3", "m4a", "wav", "amr", "mpga"), 50 * MB),
                 **dict.fromkeys(("mp4", "mov", "mpeg", "webm"), 100 * MB),
                 **dict.fromkeys(("jpg", "jpeg", "png", "webp", "gif", "svg"), 10 * MB)}


def event(value):
    """Without blanks, and with each `/` escaped (1.16; nobody looked at 1.13)."""
    return b"data: %b\n\n" % dump(value).replace(b"/", rb"\/")


def blocking(value, delay):
    """The answer of a whole run: with blanks, unlike all other answers."""
    return Reply(200, [("Content-Type", "application/json")], json.dumps(value).encode(), delay=delay)


class Script:
    """How long and how often a run speaks: the instance's options, overridden by the request's `inputs`."""

    def __init__(self, instance, body):
        inputs = body.get("inputs")
        inputs = inputs if isinstance(inputs, dict) else {}
        options = instance.options
        self.inputs = inputs
        self.events = int(inputs.get("stub_events", options.events))
        self.interval = float(inputs.get("stub_interval", options.event_interval))
        self.delay = float(inputs.get("stub_delay", 0))
        self.error = inputs.get("stub_error")
        self.usage = {**USAGE, **(inputs.get("stub_usage") or {})}
        self.chatflow = inputs.get("stub_mode") == "chatflow"
        self.tail = PING if inputs.get("stub_ping_after") else b""
        self.ping = options.ping_interval


async def pause(seconds, ping):
    """Sleeps, with a ping each `ping` seconds of silence."""
    while seconds > ping:
        await asyncio.sleep(ping)
        seconds -= ping
        yield PING
    await asyncio.sleep(seconds)


def pieces_of(answer, count):
    """`answer` in `count` pieces, whole words where there are enough of them; together they are the answer."""
    words = re.findall(r"\S*\s*", answer)[:-1]
    units = words if len(words) >= count else answer
    return ["".join(units[i * len(units) // count:(i + 1) * len(units) // count]) for i in range(count)]


def streamed(usage):
    """As events tell it: prices are text, small ones with an exponent (Python's decimals)."""
    return {key: str(decimal.Decimal(value)) if key.endswith("price") else value for key, value in usage.items()}


def plainly(usage):
    """As blocking answers tell it: the same without exponents."""
    return {key: f"{decimal.Decimal(value):f}" if key.endswith("price") else value for key, value in usage.items()}


def node_finished(ids, index, usage):
    """Of a node with a model: its prompts and its own usage, twice. Large, and not the run's."""
    prompts = [{"role": "system", "text": 'data: {"event":"message_end","total_tokens":1}', "files": []}]
    return event({"event": "node_finished", **ids, "data": {
        "id": new_id(), "node_type": "llm", "index": index, "status": "succeeded",
        "process_data": {"model_mode": "chat", "prompts": prompts, "usage": streamed(usage)},
        "outputs": {"text": "a word", "usage": streamed(usage), "finish_reason": "stop"},
        "execution_metadata": {"total_tokens": usage["total_tokens"], "total_price": usage["total_price"],
                               "currency": usage["currency"]}}})


# ---- chat and completion

def conversation_for(instance, request, body, query):
    ident = body.get("conversation_id")
    owner = (request.token, request.user)
    if not ident:
        return instance.conversation_add(owner, str(query)[:40])
    conversation = instance.conversation_find(owner, ident)
    if not conversation and not (instance.options.chatflow and is_1_13(instance)):
        raise not_found(request, "Conversation Not Exists.")
    return conversation


def is_1_13(instance):
    return instance.options.version.startswith("1.13")


def check_files(instance, request, body):
    for item in body.get("files") or ():
        ident = isinstance(item, dict) and item.get("upload_file_id")
        if ident and (ident not in instance.files or instance.files[ident]["owner"] != (request.token, request.user)):
            raise ApiError(400, "invalid_param", "Invalid upload file")


async def generate(instance, owner, message, script, name):
    """The event stream of a chat or completion run."""
    task = Task(owner)
    ids = {"conversation_id": message["conversation_id"], "message_id": message["id"],
           "created_at": message["created_at"], "task_id": task.id, "id": message["id"]}
    instance.tasks[task.id] = task
    instance.streams_open += 1
    try:
        async for data in pause(script.delay, script.ping):
            yield data
        for piece in pieces_of(message["answer"], script.events):
            if task.stopped:
                break
            yield event({"event": name, **ids, "answer": piece, "from_variable_selector": None})
            async for data in pause(script.interval, script.ping):
                yield data
        if script.error:
            yield event({"event": "error", "conversation_id": ids["conversation_id"], "message_id": ids["message_id"],
                         "created_at": ids["created_at"], "code": "completion_request_error",
                         "message": str(script.error), "status": 400})
        else:
            usage = NO_USAGE if task.stopped else script.usage
            yield event({"event": "message_end", **ids,
                         "metadata": {"usage": streamed(usage), "retriever_resources": []}, "files": None})
        if script.tail:
            yield script.tail
    finally:
        instance.streams_open -= 1
        instance.tasks.pop(task.id, None)


def speak(instance, request, *, chat):
    body = json_body(request)
    query = body.get("query") or (body.get("inputs") or {}).get("query") or ""
    check_files(instance, request, body)
    conversation = conversation_for(instance, request, body, query) if chat else None
    script = Script(instance, body)
    owner = (request.token, request.user)
    if chat and not conversation:   # 1.13: the worker says nothing of a conversation that it does not know
        return Reply(200, [SSE_TYPE], silence())
    answer = f"This is {instance.name}. Hello {request.user}, you said: {query}"
    message = instance.message_add(owner, conversation, query, answer)
    if body.get("response_mode") == "streaming":
        if chat and (instance.options.chatflow or script.chatflow):
            return in_worker(instance, chatflow_events(instance, owner, message, new_run(script), script), script)
        return Reply(200, [SSE_TYPE], generate(instance, owner, message, script, "message"))
    return blocking({"event": "message", "task_id": new_id(), "id": message["id"], "message_id": message["id"],
                     "conversation_id": message["conversation_id"], "mode": "chat" if chat else "completion",
                     "answer": answer, "metadata": {"usage": plainly(script.usage), "retriever_resources": []},
                     "created_at": message["created_at"]}, script.delay)


@route("POST", "/v1/chat-messages", user="json", required=True)
def chat_messages(instance, request):
    return speak(instance, request, chat=True)


@route("POST", "/v1/completion-messages", user="json", required=True)
def completion_messages(instance, request):
    return speak(instance, request, chat=False)


@route("POST", "/v1/chat-messages/{}/stop", user="json", required=True)
@route("POST", "/v1/completion-messages/{}/stop", user="json", required=True)
def stop(instance, request):
    """Always a success; it works only where the task runs, and for its own user."""
    task = instance.tasks.get(request.path_args[0])
    if task and (task.anybodys or task.owner == (request.token, request.user)):
        task.stopped = True
    return json_reply({"result": "success"})


@route("POST", "/v1/workflows/tasks/{}/stop", user="json", required=True)
def workflow_stop(instance, request):
    task = instance.tasks.get(request.path_args[0])
    if task:   # Dify does not look at the user here
        task.stopped = True
    return json_reply({"result": "success"})


# ---- workflows

def new_run(script):
    return {"id": new_id(), "workflow_id": new_id(), "status": "running", "inputs": script.inputs, "outputs": None,
            "error": None, "total_steps": script.events, "total_tokens": script.usage["total_tokens"], "created_at": int(time.time()),
            "finished_at": None, "elapsed_time": 0.0}


def run_finish(run, instance, user, *, stopped=False):
    run.update(status="stopped" if stopped else "succeeded", total_tokens=0 if stopped else run["total_tokens"],
               finished_at=int(time.time()),
               outputs={} if stopped else {"text": f"This is {instance.name}. Hello {user}"})
    instance.runs_ended[run["status"]] = instance.runs_ended.get(run["status"], 0) + 1
    return {key: run[key] for key in ("id", "workflow_id", "status", "outputs", "error", "elapsed_time",
                                      "total_tokens", "total_steps", "created_at", "finished_at")}


async def pause_in_worker(seconds, task):
    """Sleeps, but a stop ends it."""
    until = time.monotonic() + seconds
    while not task.stopped and (left := until - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 0.02))


def in_worker(instance, events, script):
    """The streamed answer of what the worker does."""
    return Reply(200, [SSE_TYPE], stream_of(instance, instance.worker.start(events), script))


async def stream_of(instance, job, script):
    instance.streams_open += 1
    try:
        async for data in follow(instance.worker, job, PING, script.ping):
            yield data
    finally:
        instance.streams_open -= 1


async def silence():
    yield PING
    await asyncio.sleep(300)


async def run_events(instance, owner, run, script):
    """What the worker says of a workflow."""
    task = Task(owner, anybodys=True)
    ids = {"task_id": task.id, "workflow_run_id": run["id"]}
    instance.tasks[task.id] = task
    try:
        yield event({"event": "workflow_started", **ids, "data": {"id": run["id"], "workflow_id": run["workflow_id"],
                                                                  "created_at": run["created_at"]}})
        await pause_in_worker(script.delay, task)
        for index in range(script.events):
            if task.stopped:
                break
            await pause_in_worker(script.interval, task)
            yield node_finished(ids, index + 1, script.usage)
        yield event({"event": "workflow_finished", **ids,
                     "data": run_finish(run, instance, owner[1], stopped=task.stopped)})
        if script.tail:
            yield script.tail
    finally:
        instance.tasks.pop(task.id, None)


async def chatflow_events(instance, owner, message, run, script):
    """What the worker says of a chatflow; a stopped one, and any one of 1.13, has no message_end."""
    task = Task(owner, anybodys=True)
    ids = {"conversation_id": message["conversation_id"], "message_id": message["id"],
           "created_at": message["created_at"], "task_id": task.id}
    flow = {**ids, "workflow_run_id": run["id"]}
    instance.tasks[task.id] = task
    instance.run_add(run)
    try:
        yield event({"event": "workflow_started", **flow, "data": {"id": run["id"], "workflow_id": run["workflow_id"],
                                                                   "created_at": run["created_at"]}})
        await pause_in_worker(script.delay, task)
        for piece in pieces_of(message["answer"], script.events):
            if task.stopped:
                break
            yield event({"event": "message", **ids, "id": message["id"], "answer": piece, "from_variable_selector": None})
            await pause_in_worker(script.interval, task)
        if not task.stopped:
            yield node_finished(flow, 1, script.usage)
        if not task.stopped and not is_1_13(instance):
            yield event({"event": "message_end", **ids, "id": message["id"],
                         "metadata": {"usage": streamed(script.usage), "retriever_resources": []}, "files": None})
        yield event({"event": "workflow_finished", **flow,
                     "data": run_finish(run, instance, owner[1], stopped=task.stopped)})
        if script.tail:
            yield script.tail
    finally:
        instance.tasks.pop(task.id, None)


@route("POST", "/v1/workflows/run", user="json", required=True)
@route("POST", "/v1/workflows/{}/run", user="json", required=True)
def workflow_run(instance, request):
    body = json_body(request)
    script = Script(instance, body)
    run = new_run(script)
    instance.run_add(run)
    if body.get("response_mode") == "streaming":
        return in_worker(instance, run_events(instance, (request.token, request.user), run, script), script)
    return blocking({"task_id": new_id(), "workflow_run_id": run["id"],
                     "data": run_finish(run, instance, request.user)}, script.delay)


def run_of(instance, request):
    run = instance.runs.get(request.path_args[0])
    if not run:
        raise not_found(request, "Workflow run not found.")
    return run


@route("GET", "/v1/workflows/run/{}")
def workflow_run_detail(instance, request):
    if request.path_args[0] not in instance.runs and is_1_13(instance):
        raise internal_error()
    return json_reply(run_of(instance, request))


async def one_event(data):
    yield data


@route("GET", "/v1/workflow/{}/events", user="query", required=True)
def workflow_run_resume(instance, request):
    run = run_of(instance, request)
    return Reply(200, [SSE_TYPE, ("Cache-Control", "no-cache")],
                 one_event(event({"event": "workflow_finished", "workflow_run_id": run["id"], "data": run})))


# ---- what a person is asked by a run

@route("GET POST", "/v1/form/human_input/{}")
def form(instance, request):
    """`POST /form` of the control port makes one. A submit needs its user; who may submit is not looked at."""
    if request.path_args[0] not in instance.forms:
        raise not_found(request, "Human input form not found.")
    if request.method == "POST":
        if not json_body(request).get("user"):
            raise ApiError(400, "invalid_param", "Arg user must be provided.")
        return json_reply({})
    return json_reply({"form_content": f"{instance.name} asks", "inputs": [], "user_actions": []})


# ---- conversations and messages

def conversation_of(instance, request):
    conversation = instance.conversation_find((request.token, request.user), request.path_args[0])
    if not conversation:
        raise not_found(request, "Conversation Not Exists.")
    return conversation


def as_item(conversation):
    return {"id": conversation.id, "name": conversation.name, "inputs": {}, "status": "normal", "introduction": "",
            "created_at": conversation.created_at, "updated_at": conversation.created_at}


def page(items, request):
    """`limit` items and has_more, as Dify pages."""
    text = request.query_args().get("limit", "20")
    limit = int(text) if text.isdigit() else 20
    return json_reply({"limit": limit, "has_more": len(items) > limit, "data": items[:limit]})


@route("GET", "/v1/conversations", user="query")
def conversations(instance, request):
    return page([as_item(each) for each in instance.conversations_of((request.token, request.user))], request)


@route("GET", "/v1/messages", user="query")
def messages(instance, request):
    ident = request.query_args().get("conversation_id")
    found = instance.conversation_find((request.token, request.user), ident)
    if ident and not found:
        raise not_found(request, "Conversation Not Exists.")
    return page(list(found.messages) if found else [], request)


@route("DELETE", "/v1/conversations/{}", user="json")
def conversation_delete(instance, request):
    known = instance.conversation_find((request.token, request.user), request.path_args[0])
    if not known and is_1_13(instance):   # a success, and nothing is deleted
        return Reply(204, [("Content-Type", "application/json")])
    instance.conversation_remove(conversation_of(instance, request))
    return Reply(204, [("Content-Type", "application/json")])


@route("POST", "/v1/conversations/{}/name", user="json")
def conversation_rename(instance, request):
    conversation = conversation_of(instance, request)
    conversation.name = str(json_body(request).get("name") or conversation.name)
    return json_reply(as_item(conversation))


@route("GET", "/v1/conversations/{}/variables", user="query")
def variables(instance, request):
    return page(list(conversation_of(instance, request).variables.values()), request)


@route("PUT", "/v1/conversations/{}/variables/{}", user="json")
def variable_put(instance, request):
    conversation = conversation_of(instance, request)
    ident = request.path_args[1]
    conversation.variables[ident] = {"id": ident, "name": ident, "value_type": "string",
                                     "value": json_body(request).get("value"), "updated_at": int(time.time())}
    return json_reply(conversation.variables[ident])


def check_message(instance, request):
    if instance.messages.get(request.path_args[0]) != (request.token, request.user):
        raise not_found(request, "Message Not Exists.")


@route("POST", "/v1/messages/{}/feedbacks", user="json", required=True)
def feedback(instance, request):
    check_message(instance, request)
    return json_reply({"result": "success"})


@route("GET", "/v1/messages/{}/suggested", user="query", required=True)
def suggested(instance, request):
    check_message(instance, request)
    return json_reply({"result": "success", "data": [f"What else does {instance.name} know?"]})


# ---- files and audio

def uploaded(request):
    """(name, content type, bytes) of the part `file`; 400 without one."""
    for name, filename, kind, data in form_parts(request):
        if name == "file" and filename is not None:
            return filename, kind, data
    raise ApiError(400, "no_file_uploaded", "Please upload your file.")


@route("POST", "/v1/files/upload", user="form")
def upload(instance, request):
    filename, kind, data = uploaded(request)
    if len(data) > UPLOAD_MAX_OF.get(filename.rpartition(".")[2].lower(), UPLOAD_MAX):
        raise ApiError(413, "file_too_large", "")
    answer = {"id": new_id(), "name": filename, "size": len(data), "extension": filename.rpartition(".")[2],
              "mime_type": kind, "created_by": new_id(), "created_at": int(time.time()),
              "sha256": hashlib.sha256(data).hexdigest(), "user": request.user, "instance": instance.name}
    instance.file_add({**answer, "owner": (request.token, request.user), "data": data})
    return json_reply(answer, 201)


@route("GET", "/v1/files/{}/preview", user="query")
def preview(instance, request):
    entry = instance.files.get(request.path_args[0])
    if not entry:
        raise ApiError(404, "file_not_found", "The requested file was not found.")
    return Reply(200, [("Content-Type", entry["mime_type"]), ("Cache-Control", "public, max-age=3600")],
                 entry["data"])


@route("POST", "/v1/audio-to-text", user="form")
def audio_to_text(instance, request):
    return json_reply({"text": f"{instance.name} heard {len(uploaded(request)[2])} bytes"})


async def audio():
    for index in range(AUDIO_PIECES):
        yield bytes([0xFF, 0xFB, index, 0]) * (AUDIO_PIECE // 4)
        await asyncio.sleep(0)


@route("POST", "/v1/text-to-audio", user="json")
def text_to_audio(_instance, _request):
    return Reply(200, [("Content-Type", "audio/mpeg")], audio())


# ---- static

# Not here: GET /v1/. flask-restx's own root stands before Dify's index, so it is 404 (DIFY.md §0).

@route("GET", "/health", auth=False)
def health(instance, _request):
    return Reply(200, [("Content-Type", "application/json")],
                 json.dumps({"pid": 1, "status": "ok", "version": instance.options.version}).encode())


@route("GET", "/console/api/ping", auth=False)
def pong(_instance, _request):
    return json_reply({"result": "pong"})


@route("GET", "/v1/info")
def info(instance, _request):
    return json_reply({"name": f"Stand-in app on {instance.name}", "description": "", "tags": [], "mode": "chat",
                       "author_name": "stub"})


@route("GET", "/v1/parameters")
def parameters(_instance, _request):
    return json_reply({"opening_statement": "", "suggested_questions": [], "user_input_form": [],
                       "file_upload": {"image": {"enabled": True, "number_limits": 3}},
                       "system_parameters": {"file_size_limit": 15, "image_file_size_limit": 10,
                                             "audio_file_size_limit": 50, "video_file_size_limit": 100}})


@route("GET", "/v1/meta")
def meta(_instance, _request):
    return json_reply({"tool_icons": {}})


@route("GET", "/v1/site")
def site(instance, _request):
    return json_reply({"title": instance.name, "default_language": "en-US"})


@route("GET", "/v1/datasets")
def datasets(_instance, _request):
    return json_reply({"data": [], "has_more": False, "limit": 20, "total": 0, "page": 1})
