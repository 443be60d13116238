"""The parts of one simulated server, and what it was told to be."""
import dataclasses
import random

from . import clock, resources, store


@dataclasses.dataclass
class Config:
    """What a test chooses; the control endpoint may change most of it while the server runs."""

    version: str = "1.31"
    history: int = 100_000
    bookmark_seconds: float = 60.0
    continue_seconds: float = 300.0
    watch_list: bool = False
    rbac: bool = False
    service_accounts: bool = True
    mpijob: bool = True
    pod_groups: bool = True
    garbage_collector: bool = True
    jobs: bool = False
    scheduler: bool = False
    kubelet: str = "none"
    loopback: bool = False
    seed: int = 1
    authority: str = ""

    @property
    def minor(self):
        """31 of 1.31"""
        return int(self.version.split(".")[1])


class World:
    """One server: what it stores, serves, permits and spoils."""

    def __init__(self, config, factor=1.0):
        from . import access, faults

        self.config = config
        self.clock = clock.Clock(factor)
        self.random = random.Random(config.seed)
        self.store = store.Store(config.history)
        self.registry = resources.Registry(config.mpijob, config.pod_groups)
        self.access = access.Access(self)
        self.faults = faults.Faults()
        self.journal = faults.Journal()
        self.pages = {}
        self.controllers = {}

    def uid(self):
        """A new uid, the same in each run of a seed."""
        bits = self.random.getrandbits(128)
        text = f"{bits:032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"
