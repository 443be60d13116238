"""The work of a soak: writes at random through one or more client_probes, and a model of what must
come of them.  Each has a name or a key of its own, so that the server shows what became of it.
"""
import collections
import time

from probe import config_map

DEADLINE_MS = 120_000
FINISH = 2 * DEADLINE_MS / 1000  # seconds; some are asked for once more
SIZES = (1, 100, 3000, 20000)  # of texts in objects
MOST = 40  # actions of one client at a time
ENOUGH = 200  # objects; with more of them, more are deleted than are made

Action = collections.namedtuple("Action", "kind name key command")


class Work:
    """chance: a random.Random.  owner: the ownerReference of all objects; this says it is ours.
    again: codes after which an action is asked for once more; after any other it has failed.
    see: called with (client, line) for each line that is not the end of an action."""

    def __init__(self, chance, clients, namespace, owner, again=(), see=None):
        self.random = chance
        self.clients = clients
        self.where = {"version": "v1", "namespace": namespace, "plural": "configmaps"}
        self.owner = owner
        self.again = again
        self.see = see or (lambda client, line: None)
        self.serial = 0
        self.model = {}     # name: {"uid":, "keys": set()}
        self.running = {}   # (client, id): Action
        self.busy = set()   # names that are created or deleted just now
        self.counts = collections.Counter()
        self.history = collections.defaultdict(collections.Counter)  # name: {kind: how often}

    # what is asked of the clients

    def ask(self, kind, target, key=None, **command):
        """Gives an action on an object to one of the clients."""
        action = Action(kind, target, key, {**self.where, "deadline_ms": DEADLINE_MS, **command})
        self.start(self.random.choice(self.idle() or self.clients), action)

    def idle(self):
        """The clients that may be asked for more."""
        load = collections.Counter(client for client, _ in self.running)
        return [client for client in self.clients if load[client] < MOST]

    def start(self, client, action):
        """Gives an action to this client."""
        self.running[client, client.start(action.kind, **action.command)] = action

    def create(self):
        """A new object."""
        self.serial += 1
        name = f"m{self.serial}"
        body = config_map(name, text="x" * self.random.choice(SIZES))
        body["metadata"]["ownerReferences"] = [self.owner]
        self.ask("create", name, object=body, owner=self.owner["uid"])
        self.busy.add(name)

    def edit(self):
        """A key of its own in an object; several edits may meet in one."""
        names = [name for name in self.model if name not in self.busy]
        if not names:
            return
        self.serial += 1
        name, key = self.random.choice(names), f"k{self.serial}"
        self.ask("edit", name, key, name=name, merge={"data": {key: "1"}})

    def delete(self):
        """Deletes an object that nothing else is done to."""
        used = {action.name for action in self.running.values()}
        names = [name for name in self.model if name not in used]
        if not names:
            return
        name = self.random.choice(names)
        self.ask("delete", name, name=name, uid=self.model[name]["uid"])
        self.busy.add(name)

    def write_something(self):
        """One write."""
        weights = (3, 6, 2 if len(self.model) < ENOUGH else 6)
        self.random.choices((self.create, self.edit, self.delete), weights)[0]()

    # what they answer

    def settle(self, client, line):
        """Takes an answer into the model."""
        if line["event"] in ("refused", "unknown"):
            raise AssertionError(f"the probe refused {line}")
        if line["event"] != "done" or (client, line["id"]) not in self.running:
            self.see(client, line)
            return
        action = self.running.pop((client, line["id"]))
        if line["rc"] == 0:
            self.take(action, line)
        elif line["rc"] in self.again:
            self.counts[f"{action.kind} again after {line['rc']}"] += 1
            self.start(client, action)
        else:
            raise AssertionError(f"{action.kind} of {action.name} failed: {line}")

    def take(self, action, line):
        """An action was done."""
        kind, name, key, _ = action
        self.counts[kind] += 1
        self.history[name][kind] += 1
        self.busy.discard(name)
        if kind == "create":
            self.model[name] = {"uid": line["body"]["metadata"]["uid"], "keys": set()}
        elif kind == "edit":
            self.model[name]["keys"].add(key)
        else:
            del self.model[name]

    def take_lines(self, wait):
        """Takes what the probes have said, for so many seconds."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            idle = True
            for client in self.clients:
                if not client.lines.empty():
                    line = client.next()
                    client.seen.clear()
                    self.settle(client, line)
                    idle = False
            if idle:
                time.sleep(0.002)

    def finish(self):
        """Until all have been acknowledged."""
        end = time.monotonic() + FINISH
        while self.running:
            if time.monotonic() > end:
                raise AssertionError(f"never done: {list(self.running.values())}")
            self.take_lines(0.05)

    def check(self, items):
        """Fails unless the server's objects are what was asked for, no more and no less."""
        there = {item["metadata"]["name"]: {
            "uid": item["metadata"]["uid"],
            "keys": set(item["data"]) - {"text"}} for item in items}
        if there != self.model:
            wrong = {name: (there.get(name), self.model.get(name))
                     for name in set(there) | set(self.model)
                     if there.get(name) != self.model.get(name)}
            raise AssertionError(f"lost or doubled (server, asked for): {wrong}")
