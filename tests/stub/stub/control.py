"""The control port: what was seen, and which faults to make. No token; JSON both ways."""

import json
import time

from .http import Reply
from .service import READ_SIZE, dump
from .state import Journal, new_id

IDLE_TIMEOUT = 300   # seconds; tests may keep a control connection open


def reply(value, status=200):
    return Reply(status, [("Content-Type", "application/json")], dump(value) + b"\n")


class ControlService:
    """Same shape as DifyService, for the connections of the control port."""

    def __init__(self, api):
        self.api = api
        self.journal = Journal(1)   # its own requests are nobody's business
        self.idle_timeout = IDLE_TIMEOUT
        self.ending = False
        self.scratch = memoryview(bytearray(READ_SIZE))
        self.listener = None
        self.actions = {
            ("GET", "/requests"): self.requests, ("DELETE", "/requests"): self.forget,
            ("GET", "/counts"): self.counts, ("GET", "/faults"): self.faults,
            ("POST", "/faults"): self.fault_add, ("DELETE", "/faults"): self.fault_clear,
            ("DELETE", "/"): self.fresh,
            ("POST", "/connections/close"): self.connections_close, ("POST", "/refuse"): self.refuse,
            ("POST", "/database"): self.database, ("POST", "/worker"): self.worker,
            ("POST", "/form"): self.form, ("POST", "/forget"): self.lose, ("POST", "/know"): self.know,
        }

    def on_accept(self):
        return False

    def on_head(self, _connection, _request):
        return None

    def closed(self, connection):
        self.listener.closed(connection)

    def answer(self, _connection, request):
        action = self.actions.get((request.method, request.path))
        if action is None:
            known = ", ".join(f"{method} {path}" for method, path in self.actions)
            return reply({"error": f"known: {known}"}, 404), None
        try:
            wish = json.loads(request.body) if request.body else {}
            if not isinstance(wish, dict):
                raise ValueError("a JSON object is wanted")
            return reply(action(request, wish)), None
        except (ValueError, TypeError) as error:
            return reply({"error": str(error)}, 400), None

    def requests(self, request, _wish):
        """`?since=ID`: only those with a larger id; `?path=TEXT`: only targets that contain it."""
        args = request.query_args()
        since, path = int(args.get("since", 0)), args.get("path", "")
        return [record.as_dict() for record in self.api.journal.records
                if record.id > since and path in record.target]

    def forget(self, _request, _wish):
        self.api.journal.reset()
        return {"result": "success"}

    def counts(self, _request, _wish):
        journal, listener, instance = self.api.journal, self.api.listener, self.api.instance
        return {"name": instance.name, "requests": journal.requests, "bad_requests": journal.bad_requests,
                "methods": journal.methods, "users": journal.users, "faults": journal.faults,
                "aborts": journal.aborts, "idle_closes": journal.idle_closes,
                "connections_open": listener.open_count, "connections_ever": journal.connections_ever,
                "connections_peak": journal.connections_peak,
                "streams_open": instance.streams_open, "tasks_running": len(instance.tasks),
                "conversations": len(instance.conversations), "files": len(instance.files),
                "refusing": listener.socket is None, "ending": self.api.ending,
                "database_alive": instance.database_alive, "worker_alive": instance.worker.alive,
                "runs_working": len(instance.worker.running), "runs_waiting": len(instance.worker.queue),
                "runs_ended": instance.runs_ended, "time": time.time()}

    def faults(self, _request, _wish):
        return [fault.as_dict() for fault in self.api.faults.faults]

    def fault_add(self, request, wish):
        if wish.get("kind") == "refuse":
            return self.refuse(request, {"on": True})
        return self.api.faults.add(wish).as_dict()

    def fault_clear(self, _request, _wish):
        self.api.faults.clear()
        self.api.instance.database_alive = True
        self.api.instance.worker.restart()
        if not self.api.ending:
            self.api.listener.open()
        return {"result": "success"}

    def fresh(self, request, wish):
        self.fault_clear(request, wish)
        return self.forget(request, wish)

    def connections_close(self, _request, wish):
        """Drops all open connections: FIN, or RST with {"reset": true}."""
        connections = list(self.api.listener.connections)
        for connection in connections:
            if connection.transport:
                if connection.task:
                    connection.task.cancel()
                connection.reset() if wish.get("reset") else connection.close()
        return {"closed": len(connections)}

    def refuse(self, _request, wish):
        if wish.get("on", True):
            self.api.listener.shut()
            self.api.journal.count_fault("refuse")
        elif not self.api.ending:
            self.api.listener.open()
        return {"refusing": self.api.listener.socket is None}

    def database(self, _request, wish):
        """{"alive": false}: whatever needs a token fails, and /health knows nothing of it."""
        self.api.instance.database_alive = bool(wish.get("alive", False))
        return {"database_alive": self.api.instance.database_alive}

    def worker(self, _request, wish):
        """{"alive": false}: chatflows and workflows are a ping and silence until it is back. {"alive": true,
        "busy": true}: those at work go on, and further ones wait."""
        self.api.instance.worker.set_alive(bool(wish.get("alive", False)), bool(wish.get("busy", False)))
        return {"worker_alive": self.api.instance.worker.alive}

    def form(self, _request, _wish):
        """A form that waits for a person; its token."""
        token = new_id().replace("-", "")
        self.api.instance.forms.add(token)
        return {"token": token}

    def lose(self, _request, wish):
        """A message is gone, as after a restore."""
        return {"known": self.api.instance.messages.pop(wish["message"], None) is not None}

    def know(self, _request, wish):
        """A message of another instance is here."""
        self.api.instance.messages[wish["message"]] = (wish["token"], wish["user"])
        return {"result": "success"}
