"""What a kubelet remembers of one pod, and the addresses that pods get."""
import socket


class Run:
    """One pod on its node."""

    def __init__(self, item, ip):
        metadata = item.body["metadata"]
        self.key = item.key
        self.uid = metadata["uid"]
        self.node = item.body["spec"]["nodeName"]
        self.ip = ip
        self.plan = {}
        self.timers = []
        self.late = []
        self.restarts = 0
        self.last = None
        self.stopping = False
        self.alive = False
        self.log = b""
        self.reason = None
        self.states = {}

    def cancel(self):
        """No step comes any more."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


def claim_addresses():
    """(what holds the claim, prefix): loopback addresses that no other server here gives away."""
    for octet in range(64, 192):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0reknit-sim-{octet}")
            return claim, f"127.{octet}."
        except OSError:
            claim.close()
    raise RuntimeError("too many servers whose pods have loopback addresses run on this machine")


class Addresses:
    """Pod addresses: the lowest free one, so that they come back soon after they were given up."""

    def __init__(self, prefix, first):
        self.prefix = prefix
        self.free = []
        self.next = first

    def take(self):
        """A free address."""
        if self.free:
            self.free.sort()
            number = self.free.pop(0)
        else:
            number = self.next
            self.next += 1 if self.next % 256 < 254 else 3
        return f"{self.prefix}{number // 256}.{number % 256}"

    def give(self, address):
        """An address that is free again."""
        high, low = address.removeprefix(self.prefix).split(".")
        self.free.append(int(high) * 256 + int(low))
