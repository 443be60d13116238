"""What an etcd has done, by its own account: the independent witness of a test.

    with Journal("http://127.0.0.1:2379", "/registry/configmaps/default/") as journal:
        journal.compact_every(2)
        journal.tallies["name"]  # Counter(create=1, edit=3, delete=1)
"""
import base64
import collections
import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse

DEADLINE = 30
MARK = "/reknit-compaction"


def encode(text):
    return base64.b64encode(text.encode()).decode()


class Journal:
    """Counts what happens to each key under a prefix, from now on."""

    def __init__(self, url, prefix):
        self.address = urllib.parse.urlsplit(url)
        self.prefix = prefix
        self.tallies = collections.defaultdict(collections.Counter)
        self.history = collections.defaultdict(list)  # of a key: (time, what, revision)
        self.lock = threading.Lock()  # of the tallies
        self.compacted = None  # up to this revision
        self.compactions = 0
        self.end = None  # why it counts no more
        self.over = threading.Event()
        self.stream = self.connect(None)
        self.answer = self.post(self.stream, "watch", {"create_request": {
            "key": encode(prefix), "range_end": encode(prefix[:-1] + chr(ord(prefix[-1]) + 1))}})
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        with contextlib.suppress(OSError):
            self.stream.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(DEADLINE)
        self.stream.close()

    def connect(self, timeout=DEADLINE):
        return http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=timeout)

    @staticmethod
    def post(connection, call, body):
        connection.request("POST", f"/v3/{call}", json.dumps(body))
        return connection.getresponse()

    def ask(self, call, **body):
        """One call of etcd's JSON gateway; what it answers."""
        connection = self.connect()
        with contextlib.closing(connection):
            answer = self.post(connection, call, body)
            text = answer.read()
        if answer.status != 200:
            raise AssertionError(f"etcd refuses {call}: {text}")
        return json.loads(text)

    def follow(self):
        try:
            for line in self.answer:
                self.take(json.loads(line)["result"])
            self.end = "its stream has ended"
        except (OSError, ValueError, KeyError, AttributeError, http.client.HTTPException) as why:
            self.end = repr(why)

    def take(self, result):
        if result.get("canceled"):
            raise ValueError(f"etcd has ended the watch: {result}")
        for event in result.get("events", ()):
            name = base64.b64decode(event["kv"]["key"]).decode().removeprefix(self.prefix)
            kind = "create" if event["kv"].get("version") == "1" else "edit"
            kind = "delete" if event.get("type") == "DELETE" else kind
            with self.lock:
                self.tallies[name][kind] += 1
                self.history[name].append((round(time.monotonic(), 2), kind,
                                           event["kv"].get("mod_revision")))

    def agrees(self, tallies):
        """Whether so much, and no more, was done until now, and nothing is wrong here."""
        with self.lock:
            return self.end is None and self.tallies == tallies

    def compact_every(self, seconds):
        """Forgets all but the present state, again and again, until the end.

        At a revision of our own, which is no deletion: where an etcd was compacted just at one, a
        watch from there on never hears of it (etcd-io/etcd#18089; 3.4.23 has it).
        """
        threading.Thread(target=self.compact, args=(seconds,), daemon=True).start()

    def compact(self, seconds):
        while not self.over.wait(seconds):
            try:
                now = self.ask("kv/range", key=encode(self.prefix))["header"]["revision"]
                if now != self.compacted:
                    now = self.ask("kv/put", key=encode(MARK))["header"]["revision"]
                    self.ask("kv/compaction", revision=now)
                    self.compactions += 1
                self.compacted = now
            except (OSError, AssertionError, http.client.HTTPException) as why:
                if not self.over.is_set():
                    self.end = f"no compaction: {why!r}"
                return
