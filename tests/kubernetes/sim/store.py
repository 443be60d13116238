"""The objects, the log of their changes, and the watchers that follow it.

Invariants.  An object's body is never changed in place: every write makes a new body under a new
resourceVersion, so pages, watch events and controllers may hold bodies as they are.  The log has
the changes after `compacted`, oldest first; undoing it from the end gives any state since then.
"""
import bisect
import collections
import json

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


class Item:
    """One version of one object; `views` keeps its JSON for each apiVersion it was asked in."""

    __slots__ = ("body", "version", "views", "owners")

    def __init__(self, body, version, owners=None):
        self.body = body
        self.version = version
        self.views = {}
        self.owners = owners

    def json(self, resource):
        """The object as bytes, in the form of a resource that has it in store."""
        view = self.views.get(resource.api_version)
        if view is None:
            body = present(resource, self.body)
            view = self.views[resource.api_version] = encode(body)
        return view

    @property
    def key(self):
        """(namespace, name)"""
        metadata = self.body["metadata"]
        return metadata.get("namespace", ""), metadata["name"]


def encode(value):
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def present(resource, body):
    """A stored body in the form of a resource: events have two, versions differ by name."""
    if resource.key == "events":
        from . import events

        return events.present(resource, body)
    if body.get("apiVersion") != resource.api_version:
        return {**body, "apiVersion": resource.api_version}
    return body


Change = collections.namedtuple("Change", "version kind item previous")


class Shelf:
    """All objects of one storage, and the log of their changes."""

    def __init__(self):
        self.items = {}
        self.log = []
        self.versions = []
        self.watchers = set()

    def record(self, change):
        """Appends to the log and tells the watchers."""
        self.log.append(change)
        self.versions.append(change.version)
        for watcher in list(self.watchers):
            watcher.take(change)

    def since(self, version):
        """The changes after a version."""
        return self.log[bisect.bisect_right(self.versions, version):]

    def forget(self, version):
        """Drops the changes up to a version."""
        place = bisect.bisect_right(self.versions, version)
        del self.log[:place]
        del self.versions[:place]


class Store:
    """Every object of the server."""

    def __init__(self, history=100_000):
        self.version = 1000
        self.compacted = 0
        self.history = history
        self.shelves = collections.defaultdict(Shelf)
        self.by_uid = {}
        self.dependents = collections.defaultdict(set)
        self.listeners = []
        self.recent = collections.deque()

    def get(self, key, namespace, name):
        """The item, or None."""
        return self.shelves[key].items.get((namespace, name))

    def items(self, key, namespace=None):
        """The items of a storage, in no order."""
        items = self.shelves[key].items
        if namespace is None:
            return list(items.values())
        return [item for place, item in items.items() if place[0] == namespace]

    def state_at(self, key, version):
        """{(namespace, name): item} as it was at a version that is not compacted."""
        state = dict(self.shelves[key].items)
        for change in reversed(self.shelves[key].since(version)):
            place = change.item.key
            if change.previous is None:
                state.pop(place, None)
            else:
                state[place] = change.previous
        return state

    def add(self, key, body, owners=None):
        """Puts a new object in store; the caller has seen that the name is free."""
        return self._write(key, ADDED, body, None, owners)

    def replace(self, key, previous, body, owners=None):
        """Puts a new version of an object in store; the same body again changes nothing."""
        if body == previous.body:
            previous.owners = owners or previous.owners
            return previous
        return self._write(key, MODIFIED, body, previous, owners or previous.owners)

    def remove(self, key, previous):
        """Takes an object out of the store; returns its last version."""
        return self._write(key, DELETED, previous.body, previous, None)

    def _write(self, key, kind, body, previous, owners):
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        item = Item({**body, "metadata": metadata}, self.version, owners)
        shelf = self.shelves[key]
        if kind == DELETED:
            del shelf.items[item.key]
        else:
            shelf.items[item.key] = item
        self._index(key, item, previous, kind)
        change = Change(self.version, kind, item, previous)
        shelf.record(change)
        self.recent.append(self.version)
        if len(self.recent) > self.history:
            self.compact(self.recent[len(self.recent) // 2])
        for listener in self.listeners:
            listener(key, change)
        return item

    def _index(self, key, item, previous, kind):
        place = (key, *item.key)
        if kind == ADDED:
            self.by_uid[item.body["metadata"]["uid"]] = place
        elif kind == DELETED:
            self.by_uid.pop(item.body["metadata"]["uid"], None)
        before = previous.body["metadata"].get("ownerReferences") or () if previous else ()
        after = () if kind == DELETED else item.body["metadata"].get("ownerReferences") or ()
        for owner in before:
            self.dependents[owner.get("uid")].discard(place)
            if not self.dependents[owner.get("uid")]:
                del self.dependents[owner.get("uid")]
        for owner in after:
            self.dependents[owner.get("uid")].add(place)

    def of_uid(self, uid):
        """(key, item) of an object by uid, or None."""
        place = self.by_uid.get(uid)
        return (place[0], self.get(*place)) if place else None

    def owned_by(self, uid):
        """[(key, item)] of the objects that name an owner's uid."""
        found = [(place[0], self.get(*place)) for place in self.dependents.get(uid, ())]
        return [(key, item) for key, item in found if item is not None]

    def compact(self, version=None):
        """Forgets the history up to a version, the newest when none is given."""
        self.compacted = max(self.compacted, self.version if version is None else version)
        while self.recent and self.recent[0] <= self.compacted:
            self.recent.popleft()
        for shelf in self.shelves.values():
            shelf.forget(self.compacted)
