"""The control port: what tests do to the server, as POST requests with a JSON body.

README.md lists the calls; each is a method of Control named after its path.
"""
import asyncio
import json

from . import errors, store, watch
from .http import Response

SETTABLE = {"version", "history", "bookmark_seconds", "continue_seconds", "watch_list", "rbac",
            "service_accounts"}


class Control:
    """The handler of the control port."""

    def __init__(self, world, server):
        self.world = world
        self.server = server

    async def handle(self, request):
        """Calls the method that a path names."""
        name = "call_" + request.path.strip("/").replace("/", "_")
        method = getattr(self, name, None)
        if method is None:
            for controller in self.world.controllers.values():
                method = method or getattr(controller, name, None)
        if method is None:
            return Response(404, b'{"error":"no such call"}')
        try:
            given = json.loads(request.body) if request.body.strip() else dict(request.query)
            result = method(given)
            if asyncio.iscoroutine(result):
                result = await result
        except errors.ApiError as error:
            return Response(error.code, error.body())
        except (KeyError, TypeError, ValueError) as error:
            return Response(400, store.encode({"error": repr(error)}))
        return Response(200, store.encode({} if result is None else result))

    def call_requests(self, given):
        """The journal, or the entries in it whose fields are as given."""
        return {"requests": self.world.journal.select({k: str(v) for k, v in given.items()})}

    def call_state(self, given):
        """Numbers of the server, and what our own code raised."""
        del given
        shelves = self.world.store.shelves
        return {"version": self.world.store.version, "compacted": self.world.store.compacted,
                "objects": {key: len(shelf.items) for key, shelf in shelves.items()},
                "watches": {key: len(shelf.watchers) for key, shelf in shelves.items()},
                "faults": self.world.faults.waiting, "requests": self.world.journal.number,
                "connections": len(self.server.writers), "errors": self.world.journal.errors}

    def call_dump(self, given):
        """All objects of a storage ("pods", "jobs.batch"), as they are stored."""
        items = self.world.store.items(given["key"], given.get("namespace"))
        return {"items": [item.body for item in items]}

    def call_fault(self, given):
        """Plants a fault, or each of `faults`."""
        for fault in given.get("faults", [given]):
            if "action" not in fault:
                raise KeyError("action")
            self.world.faults.plant(fault)

    def call_faults_clear(self, given):
        """Drops all faults that wait."""
        del given
        self.world.faults.clear()

    def call_compact(self, given):
        """Forgets the history, or that up to `version`."""
        self.world.store.compact(given.get("version"))

    def call_cut(self, given):
        """Ends all watches cleanly (`what`: watches) or breaks all connections (connections)."""
        if given.get("what", "watches") == "watches":
            watch.cut_all(self.world)
        else:
            self.server.cut(given.get("reset", False))

    def call_line(self, given):
        """Puts a line into every open watch of a storage, as it is."""
        for watcher in list(self.world.store.shelves[given["key"]].watchers):
            watcher.push_line(given["line"].encode() + b"\n")

    def call_expire(self, given):
        """Sends 410 into every open watch, or into those of a storage."""
        for key, shelf in self.world.store.shelves.items():
            for watcher in list(shelf.watchers) if given.get("key", key) == key else ():
                watcher.fail(errors.expired("too old resource version"))

    def call_stall(self, given):
        """No connection is written to (half-open, as after a lost link) until `on` is false."""
        if given.get("on", True):
            self.server.wire.open.clear()
        else:
            self.server.wire.open.set()

    def call_slow(self, given):
        """Answers trickle: `piece` bytes, then `pause` seconds; piece 0 ends it."""
        self.server.wire.piece = given.get("piece", 0)
        self.server.wire.pause = given.get("pause", 0.001)

    def call_token(self, given):
        """Makes a token valid for `user`, with `groups` and `rules`; `old` stops being valid."""
        if "old" in given:
            self.world.access.drop_token(given["old"])
        self.world.access.give_token(given["token"], given.get("user", "kubernetes-admin"),
                                     given.get("groups"), given.get("rules"))

    def call_token_drop(self, given):
        """Makes a token invalid."""
        self.world.access.drop_token(given["token"])

    def call_certificate(self, given):
        """New connections get another certificate."""
        self.server.tls.load_cert_chain(given["cert"], given["key"])

    def call_config(self, given):
        """Changes settings while the server runs."""
        for name, value in given.items():
            if name == "factor":
                self.world.clock.set_factor(value)
            elif name in SETTABLE:
                setattr(self.world.config, name, value)
            else:
                raise KeyError(name)

    async def call_stop(self, given):
        """Stops listening and breaks all connections; the store is kept."""
        await self.server.stop()
        if given.get("forget", True):
            self.world.store.compact()

    async def call_start(self, given):
        """Listens again on the same port."""
        del given
        if self.server.listener is None:
            await self.server.start()

    async def call_restart(self, given):
        """Stops, and starts again after `down` seconds; the history of before is gone."""
        await self.call_stop(given)
        await asyncio.sleep(given.get("down", 0))
        await self.server.start()
