"""Time for the controllers: sim seconds pass `factor` times as fast as real ones."""
import asyncio
import datetime
import time


class Clock:
    """Delays are scaled; stamps in objects are the real time, since clients compare them."""

    def __init__(self, factor=1.0):
        self.factor = factor
        self.real = time.monotonic()
        self.passed = 0.0

    def now(self):
        """Sim seconds since the start."""
        return self.passed + (time.monotonic() - self.real) * self.factor

    def set_factor(self, factor):
        """Time passes at another speed from now on; delays that wait keep theirs."""
        self.passed, self.real = self.now(), time.monotonic()
        self.factor = factor

    def later(self, seconds, function, *arguments):
        """Calls a function after so many sim seconds; returns a handle that can be cancelled."""
        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, seconds) / self.factor, function, *arguments)


def stamp(offset=0.0):
    """The time as objects have it, in seconds."""
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=offset)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_stamp():
    """The time as leases and events have it, in microseconds."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
