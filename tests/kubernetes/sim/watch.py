"""WATCH: the log of a storage as a stream, with bookmarks, time limits and 410 for lost history."""
import asyncio
import collections

from . import errors, selectors, store
from .http import Stream

BEHIND = 200_000  # a watcher with so many unread events is cut off


class Watcher:
    """One watch: takes changes as they are recorded, keeps what its client is to see."""

    def __init__(self, world, target, selector):
        self.world = world
        self.resource = target.resource
        self.namespace = target.namespace
        self.selector = selector
        self.waiting = collections.deque()
        self.wake = asyncio.Event()
        self.ended = False
        self.version = 0

    def sees(self, item):
        """True for an object that the watch is about."""
        if item is None:
            return False
        if self.namespace and item.body["metadata"].get("namespace") != self.namespace:
            return False
        return not self.selector or self.selector.accepts(item.body)

    def take(self, change):
        """Turns a change into what it is for this watch: an object may enter or leave its sight."""
        self.version = change.version
        if change.kind == store.DELETED:
            if self.sees(change.previous):
                self.push(store.DELETED, change.item)
            return
        now, before = self.sees(change.item), self.sees(change.previous)
        if now:
            self.push(store.MODIFIED if before else store.ADDED, change.item)
        elif before:
            metadata = {**change.previous.body["metadata"],
                        "resourceVersion": str(change.version)}
            body = {**change.previous.body, "metadata": metadata}
            self.push(store.DELETED, store.Item(body, change.version))

    def push(self, kind, item):
        """Queues an event."""
        line = b'{"type":"%s","object":%s}\n' % (kind.encode(), item.json(self.resource))
        self.push_line(line)

    def push_line(self, line):
        """Queues bytes."""
        self.waiting.append(line)
        if len(self.waiting) > BEHIND:
            self.end()
        self.wake.set()

    def fail(self, error):
        """Queues an ERROR event and ends the watch behind it."""
        self.push_line(b'{"type":"ERROR","object":%s}\n' % error.body().rstrip())
        self.end()

    def end(self):
        """Ends the stream when all that waits is sent."""
        self.ended = True
        self.wake.set()

    def bookmark(self, initial=False):
        """Queues a BOOKMARK at the newest version."""
        metadata = {"resourceVersion": str(self.world.store.version), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        body = {"kind": self.resource.kind, "apiVersion": self.resource.api_version,
                "metadata": metadata}
        self.push_line(b'{"type":"BOOKMARK","object":%s}\n' % store.encode(body))


def wants_initial(world, query):
    """True when the watch is to begin with the state, where the server's version has that."""
    given = query.get("sendInitialEvents")
    if given is None or world.config.minor < 27:
        return None
    if not world.config.watch_list and world.config.minor < 32:
        cause = errors.cause("forbidden", "sendInitialEvents", "sendInitialEvents is forbidden for"
                             " watch unless the WatchList feature gate is enabled")
        raise errors.ApiError(422, "Invalid", "ListOptions.meta.k8s.io \"\" is invalid:"
                              f" {cause['field']}: {cause['message']}",
                              {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]})
    if query.get("resourceVersionMatch") != "NotOlderThan":
        raise errors.bad_request("resourceVersionMatch is required when sendInitialEvents is set")
    return given == "true"


def begin(watcher, query):
    """Queues what the watch starts with: the state, or the changes since a version."""
    world = watcher.world
    shelf = world.store.shelves[watcher.resource.key]
    text = query.get("resourceVersion", "")
    initial = wants_initial(world, query)
    if initial or (initial is None and text in ("", "0")):
        for key in sorted(shelf.items):
            if watcher.sees(shelf.items[key]):
                watcher.push(store.ADDED, shelf.items[key])
        if initial:
            watcher.bookmark(True)
        return
    from .reads import version_of

    version = version_of(text or "0")
    if version < world.store.compacted:
        watcher.fail(errors.expired(f"too old resource version: {version}"
                                    f" ({world.store.compacted})"))
        return
    for change in shelf.since(version):
        watcher.take(change)


def watch(world, target, query, fault=None):
    """The answer to a watch."""
    selector = selectors.Selector(target.resource, query)
    if target.name:
        selector.fields.append(lambda body: body["metadata"]["name"] == target.name)
    watcher = Watcher(world, target, selector)
    limit = float(query.get("timeoutSeconds") or 0) or world.random.uniform(1800, 3600)
    bookmarks = query.get("allowWatchBookmarks") in ("1", "true")
    if fault and fault["action"] == "line":
        watcher.push_line(fault["line"].encode() + b"\n")
    elif fault and fault["action"] == "expired":
        watcher.fail(errors.expired("The resourceVersion for the provided watch is too old."))
    if not watcher.ended:
        begin(watcher, query)
    shelf = world.store.shelves[target.resource.key]
    if not watcher.ended:
        shelf.watchers.add(watcher)

    async def run(send):
        try:
            await follow(watcher, send, limit, bookmarks)
        finally:
            shelf.watchers.discard(watcher)

    return Stream(run)


async def follow(watcher, send, limit, bookmarks):
    """Sends what is queued until the watch ends or its time is over."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    period = watcher.world.config.bookmark_seconds
    mark = min(loop.time() + period, max(end - 2, loop.time())) if bookmarks else end
    while True:
        await send_all(watcher, send)
        if watcher.ended or loop.time() >= end:
            await send_all(watcher, send)
            return
        if bookmarks and loop.time() >= mark:
            watcher.bookmark()
            mark = loop.time() + period
            continue
        wait = min(end, mark) - loop.time()
        try:
            await asyncio.wait_for(watcher.wake.wait(), max(0.0, wait))
        except TimeoutError:
            pass


async def send_all(watcher, send):
    """Sends the queued events, several in one chunk."""
    watcher.wake.clear()
    while watcher.waiting:
        batch, size = [], 0
        while watcher.waiting and size < 65536:
            batch.append(watcher.waiting.popleft())
            size += len(batch[-1])
        await send(b"".join(batch))


def cut_all(world):
    """Ends every watch without a word."""
    for shelf in world.store.shelves.values():
        for watcher in list(shelf.watchers):
            watcher.end()
