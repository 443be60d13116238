"""The status of a Job: counts and conditions, written when they changed."""
from . import clock

KEY = "jobs.batch"
ENDS = ("Complete", "Failed")
TARGETS = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}


def condition(body, kind):
    """A condition that is true, or None."""
    for one in (body.get("status") or {}).get("conditions") or ():
        if one["type"] == kind and one["status"] == "True":
            return one
    return None


def finished(body):
    """The condition that ended a Job, or None."""
    return condition(body, "Complete") or condition(body, "Failed")


class Status:
    """A Job's status while the controller works on it."""

    def __init__(self, world, item):
        self.world = world
        self.item = item
        self.body = dict(item.body.get("status") or {})
        self.body["conditions"] = list(self.body.get("conditions") or ())

    def add(self, name, number):
        """Counts pods that ended."""
        self.body[name] = self.body.get(name, 0) + number

    def has(self, kind):
        """True when a condition is true."""
        return condition({"status": self.body}, kind) is not None

    def set(self, kind, value, reason, message):
        """Sets a condition; False when it was so already."""
        text = "True" if value else "False"
        conditions = self.body["conditions"]
        old = next((c for c in conditions if c["type"] == kind), None)
        if old and old["status"] == text:
            return False
        now = clock.stamp()
        fresh = {"type": kind, "status": text, "lastProbeTime": now, "lastTransitionTime": now,
                 "reason": reason, "message": message}
        self.body["conditions"] = [c for c in conditions if c is not old] + [fresh]
        return True

    def target(self):
        """The end that was decided, while pods may still be leaving: a condition's type."""
        for end, interim in TARGETS.items():
            if self.has(end) or self.has(interim):
                return end
        return None

    def fail(self, reason, message):
        """Decides that the Job failed."""
        self.decide("Failed", reason, message)

    def succeed(self):
        """Decides that the Job is complete."""
        self.decide("Complete", "CompletionsReached", "Reached expected number of succeeded pods")

    def decide(self, end, reason, message):
        """Sets the condition of an end; servers before 1.31 do not wait for the pods to leave."""
        late = self.world.config.minor >= 31
        self.set(TARGETS[end] if late else end, True, reason, message)

    def write(self, count):
        """Stores the status as it is with these pods; returns the new item if one was needed."""
        end = self.target()
        if end and not self.has(end) and not count.active and not count.terminating:
            told = condition({"status": self.body}, TARGETS[end])
            self.set(end, True, told["reason"], told["message"])
        if self.has("Complete"):
            self.body.setdefault("completionTime", clock.stamp())
        self.number("active", len(count.active))
        if self.world.config.minor >= 24:
            self.body["ready"] = count.ready
        if self.world.config.minor >= 28:
            self.body["terminating"] = len(count.terminating)
        if not self.body["conditions"]:
            del self.body["conditions"]
        current = self.world.store.get(KEY, *self.item.key)
        if current is None or self.body == current.body.get("status"):
            return None
        return self.world.store.replace(KEY, current, {**current.body, "status": self.body})

    def number(self, name, value):
        """Sets a count; none is written as absent."""
        if value:
            self.body[name] = value
        else:
            self.body.pop(name, None)
