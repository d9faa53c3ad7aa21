"""What one instance knows (conversations, files, runs, tasks) and what it has seen (records, counts).

All of it is per process and bounded: the oldest entries go first, so that long runs stay flat in memory.
"""

import os
import time
from collections import OrderedDict, deque

from .worker import Worker

CONVERSATIONS_MAX = 100_000          # ten users' worth of the largest test, then some
MESSAGES_MAX = 50                    # kept in a conversation
FILES_BYTES_MAX = 256 * 1024 * 1024  # two of Dify's largest uploads
RUNS_MAX = 10_000
USERS_MAX = 200_000                  # users counted one by one


def new_id():
    """A random UUID (version 4) without importing uuid, which would double the start-up time."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Record:
    """One request head that was received, and what became of it."""

    __slots__ = ("id", "connection", "number", "time", "mono", "method", "target", "token", "user",
                 "x_request_id", "body_size", "body_complete", "status", "aborted", "finished", "fault",
                 "bad", "ended_mono")

    def __init__(self, ident, connection, number, method, target):
        self.id = ident
        self.connection = connection      # id of the connection, unique in this process
        self.number = number              # 1 for the first request of a connection
        self.time = time.time()
        self.mono = time.monotonic()
        self.method = method
        self.target = target
        self.token = self.user = self.x_request_id = None
        self.body_size = 0
        self.body_complete = False
        self.status = None                # of the reply that was meant to go out
        self.aborted = False              # the client went away first
        self.finished = False             # the last byte of the response was handed to the kernel's care
        self.fault = None                 # kind of the fault that was applied
        self.bad = None                   # why the head or body could not be read
        self.ended_mono = None            # when it was finished, aborted or cut

    def as_dict(self):
        return {name: getattr(self, name) for name in self.__slots__}


class Journal:
    """The requests seen, newest last, and the sums over them."""

    def __init__(self, size):
        self.records = deque(maxlen=size)
        self.next_id = 1
        self.connections_ever = 0
        self.reset()

    def reset(self):
        """Forgets requests and sums; connection ids go on."""
        self.records.clear()
        self.requests = self.bad_requests = self.aborts = self.connections_seen = self.idle_closes = 0
        self.connections_peak = 0
        self.methods, self.users, self.statuses, self.faults = {}, {}, {}, {}

    def begin(self, connection, number, method, target):
        record = Record(self.next_id, connection, number, method, target)
        self.next_id += 1
        self.requests += 1
        self.methods[method] = self.methods.get(method, 0) + 1
        self.records.append(record)
        return record

    def count_connection(self, open_count):
        self.connections_ever += 1
        self.connections_peak = max(self.connections_peak, open_count)

    def count_user(self, user):
        if user in self.users or len(self.users) < USERS_MAX:
            self.users[user] = self.users.get(user, 0) + 1

    def count_fault(self, kind):
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def abort(self, record):
        if not record.finished and record.ended_mono is None:
            record.aborted = True
            record.ended_mono = time.monotonic()
            self.aborts += 1


class Conversation:
    __slots__ = ("id", "owner", "name", "created_at", "messages", "variables")

    def __init__(self, owner, name):
        self.id = new_id()
        self.owner = owner         # (token, user): the same user under two keys is two end users
        self.name = name
        self.created_at = int(time.time())
        self.messages = deque(maxlen=MESSAGES_MAX)
        self.variables = {}


class Task:
    """A running stream that a stop request can end."""

    __slots__ = ("id", "owner", "stopped", "anybodys")

    def __init__(self, owner, anybodys=False):
        self.id = new_id()
        self.owner = owner
        self.anybodys = anybodys   # a workflow's or a chatflow's: Dify does not look at the user there
        self.stopped = False


class Instance:
    """The state of one Dify: nothing of it is shared with another process."""

    def __init__(self, options):
        self.name = options.name
        self.tokens = frozenset(options.token)
        self.options = options
        self.database_alive = True           # all that a token leads to is in there
        self.conversations = OrderedDict()   # id -> Conversation
        self.by_owner = {}                   # (token, user) -> {conversation id: None}, oldest first
        self.messages = OrderedDict()        # message id -> owner
        self.files = OrderedDict()           # file id -> dict with "data"
        self.files_size = 0
        self.runs = OrderedDict()            # workflow run id -> dict
        self.tasks = {}                      # task id -> Task, running ones only
        self.forms = set()                   # tokens of forms that wait for a person
        self.annotations = {}                # id -> dict
        self.jobs = set()                    # (enable or disable, id) of annotations' jobs
        self.end_users = set()               # ids of those who have uploaded
        self.streams_open = 0
        self.worker = Worker()
        self.runs_ended = {}                 # status -> how many

    def conversation_add(self, owner, name):
        conversation = Conversation(owner, name)
        self.conversations[conversation.id] = conversation
        self.by_owner.setdefault(owner, {})[conversation.id] = None
        if len(self.conversations) > CONVERSATIONS_MAX:
            self.conversation_remove(next(iter(self.conversations.values())))
        return conversation

    def conversation_remove(self, conversation):
        del self.conversations[conversation.id]
        owned = self.by_owner[conversation.owner]
        del owned[conversation.id]
        if not owned:
            del self.by_owner[conversation.owner]

    def conversation_find(self, owner, ident):
        """None unless it is here and belongs to this end user of this application."""
        conversation = self.conversations.get(ident)
        return conversation if conversation and conversation.owner == owner else None

    def conversations_of(self, owner):
        return [self.conversations[ident] for ident in reversed(self.by_owner.get(owner, {}))]

    def message_add(self, owner, conversation, query, answer):
        ident = new_id()
        self.messages[ident] = owner
        if len(self.messages) > CONVERSATIONS_MAX:
            self.messages.popitem(last=False)
        message = {"id": ident, "conversation_id": conversation.id if conversation else "", "inputs": {},
                   "query": query, "answer": answer, "message_files": [], "feedback": None,
                   "created_at": int(time.time())}
        if conversation:
            conversation.messages.append(message)
        return message

    def file_add(self, entry):
        self.files[entry["id"]] = entry
        self.end_users.add(entry["created_by"])
        self.files_size += len(entry["data"])
        while self.files_size > FILES_BYTES_MAX and len(self.files) > 1:
            self.files_size -= len(self.files.popitem(last=False)[1]["data"])

    def run_add(self, run):
        self.runs[run["id"]] = run
        if len(self.runs) > RUNS_MAX:
            self.runs.popitem(last=False)
