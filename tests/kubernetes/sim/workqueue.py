"""The work queue of a controller: keys that want a look, each once, after the present request."""
import asyncio
import sys
import traceback


class Queue:
    """Calls `work(key)` for each key that was added, soon; what it raises is kept as our fault."""

    def __init__(self, world, work):
        self.world = world
        self.work = work
        self.waiting = {}
        self.scheduled = False
        self.timers = {}

    def add(self, key):
        """Wants a look at a key."""
        self.waiting[key] = True
        if not self.scheduled:
            self.scheduled = True
            asyncio.get_running_loop().call_soon(self.run)

    def later(self, key, seconds):
        """Wants a look at a key after so many sim seconds, sooner if it is wanted sooner."""
        old = self.timers.pop(key, None)
        if old:
            old.cancel()
        self.timers[key] = self.world.clock.later(seconds, self.add, key)

    def drop(self, key):
        """Wants no look any more."""
        timer = self.timers.pop(key, None)
        if timer:
            timer.cancel()
        self.waiting.pop(key, None)

    def run(self):
        """Looks at the keys that wait now."""
        self.scheduled = False
        keys, self.waiting = list(self.waiting), {}
        for key in keys:
            try:
                self.work(key)
            except Exception:  # a controller goes on; the tests look at the record
                self.world.journal.errors.append(traceback.format_exc())
                traceback.print_exc(file=sys.stderr)

    def end(self):
        """Looks at nothing any more."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        self.waiting.clear()
