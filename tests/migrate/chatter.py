"""Clients of difyring while an instance moves: each goes on with one conversation, through the nodes by turns.

    chatter.py TOKEN,TOKEN URL,URL CLIENTS      until SIGTERM; then one line of JSON

{"requests", "failed": ["..."], "longest": seconds, "longest_gap": seconds without any answer,
 "conversations": [{"token", "user", "id", "texts": [...]}]}
Every seventh chat of a client begins a new conversation. A client waits up to 400 s for an answer: this is about failures, not about patience.
"""
import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse

STOP = threading.Event()
LOCK = threading.Lock()


class Chatter:
    def __init__(self, tokens, urls, clients):
        self.urls, self.requests, self.failed, self.longest = urls, 0, [], 0.0
        self.conversations, self.answered = [], []
        self.threads = [threading.Thread(target=self.run, args=(n, tokens[n % len(tokens)])) for n in range(clients)]

    def ask(self, turn, method, path, token, body=None):
        url = urllib.parse.urlsplit(self.urls[turn % len(self.urls)])
        began = time.monotonic()
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=400)
        try:
            connection.request(method, path, body=json.dumps(body) if body else None,
                               headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
            answer = connection.getresponse()
            status, text = answer.status, answer.read()
        except OSError as error:
            status, text = 0, repr(error).encode()
        finally:
            connection.close()
        now = time.monotonic()
        with LOCK:
            self.requests += 1
            self.longest = max(self.longest, now - began)
            self.answered.append(now)
            if status != 200:
                self.failed.append(f"{method} {path} {status} {text[:200]!r} after {now - began:.1f} s")
        return json.loads(text) if status == 200 else None

    def run(self, number, token):
        user, conversation, turn = f"client{number}", None, number
        while not STOP.is_set():
            turn += 1
            if turn % 7 == 0:
                conversation = None
            text = f"{user} says {turn}"
            said = self.ask(turn, "POST", "/v1/chat-messages", token, {
                "user": user, "query": text, "inputs": {}, "response_mode": "blocking",
                "conversation_id": conversation["id"] if conversation else ""})
            if said and conversation is None:
                conversation = {"token": token, "user": user, "id": said["conversation_id"], "texts": []}
                self.conversations.append(conversation)
            if said:
                conversation["texts"].append(text)
            STOP.wait(0.15)

    def report(self):
        gaps = [after - before for before, after in zip(self.answered, self.answered[1:])]
        return {"requests": self.requests, "failed": self.failed, "longest": round(self.longest, 2),
                "longest_gap": round(max(gaps, default=0), 2), "conversations": self.conversations}


def main():
    chatter = Chatter(sys.argv[1].split(","), sys.argv[2].split(","), int(sys.argv[3]))
    signal.signal(signal.SIGTERM, lambda *_: STOP.set())
    for thread in chatter.threads:
        thread.start()
    print("started", flush=True)
    for thread in chatter.threads:
        thread.join()
    print(json.dumps(chatter.report()), flush=True)


if __name__ == "__main__":
    main()
