"""Answers that go wrong on demand, and the record of every request.

A fault is a dictionary:
    verb, resource, namespace, name, subresource   what it applies to, "*" or absent for any
    count      how many requests it takes (1); skip: how many it lets pass first (0)
    action     status: answer with `code`, `reason`, `message`, and Retry-After of `retry_after`
               too_large: 504 ResourceVersionTooLarge      expired: 410 (in a watch: in the stream)
               hang: never answer      close: hang up      lost: do it, then hang up unanswered
               delay: answer after `seconds`       cut: do it, send half of the answer, hang up
               html: answer `code` with a page, as a proxy does
               line: in a watch, send the bytes of `line` as they are
"""
import collections
import sys
import time
import traceback

MATCHED = ("verb", "resource", "namespace", "name", "subresource")
REASONS = {429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable",
           504: "Timeout", 410: "Expired", 401: "Unauthorized", 403: "Forbidden",
           409: "Conflict", 404: "NotFound", 422: "Invalid"}


class Faults:
    """The faults that are waiting, in the order in which they were planted."""

    def __init__(self):
        self.waiting = []

    def plant(self, fault):
        """Adds a fault."""
        self.waiting.append({"count": 1, "skip": 0, **fault})

    def clear(self):
        """Drops all faults."""
        self.waiting.clear()

    def take(self, target):
        """The fault for a request (a dictionary with MATCHED), or None; used up as counted."""
        for fault in self.waiting:
            if any(fault.get(k, "*") not in ("*", target.get(k)) for k in MATCHED):
                continue
            if fault["skip"] > 0:
                fault["skip"] -= 1
                continue
            fault["count"] -= 1
            if fault["count"] <= 0:
                self.waiting.remove(fault)
            return fault
        return None


class Journal:
    """The last requests, each with what it asked for and what it got."""

    LIMIT = 200_000

    def __init__(self):
        self.entries = collections.deque(maxlen=self.LIMIT)
        self.number = 0
        self.errors = []  # what our own code raised; never anything in a good run

    def report(self, context):
        """Keeps what a timer or a task raised."""
        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if error else context["message"]
        self.errors.append(text)
        print(text, file=sys.stderr, flush=True)

    def open(self, entry):
        """Notes a request as it arrives; the caller fills in code and outcome later."""
        self.number += 1
        entry.update({"number": self.number, "time": time.time(), "code": 0})
        self.entries.append(entry)
        return entry

    def select(self, wanted):
        """The entries whose fields are as wanted; `since` is a number."""
        since = int(wanted.pop("since", 0))
        return [e for e in self.entries if e["number"] > since
                and all(str(e.get(k, "")) == v for k, v in wanted.items())]
