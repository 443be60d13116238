#!/usr/bin/env python3
"""Hours of trouble for the client, in as many seconds as wanted.

    soak.py [--seconds 20] [--seed N]

Random creates, edits and deletions go through client_probe while the server fails, forgets its
history, swaps tokens and restarts.  At each check, every few seconds: each write that was asked for
has been done once and been acknowledged, and what a watch holds equals the server's list.  Prints
its seed, which repeats the choices (not the timing).
"""
import argparse
import collections
import os
import random
import shutil
import sys
import tempfile
import time

import probe as harness
from probe import config_map

WHERE = {"version": "v1", "namespace": "default", "plural": "configmaps"}
LAP = 3.0  # seconds between two checks
DEADLINE_MS = 120_000


class Soak:
    """The server, the client, and a model of what there must be."""

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.folder = folder
        self.token = 0
        self.sim = harness.Simulation("--no-service-accounts", "--bookmark-seconds", "1",
                                      "--token", "t0", token="t0")
        self.sim.delete("configmaps", "kube-root-ca.crt")
        self.owner = self.sim.create("pods", harness.sim_client.pod("owner"))["metadata"]["uid"]
        self.write_token("t0")
        config = harness.write_kubeconfig(os.path.join(folder, "config"), self.sim.url, {},
                                          {"tokenFile": "token"})
        self.client = harness.Probe(kubeconfig=config, seed=seed, rate=200, burst=200)
        self.watch = self.client.watch(page=7, least_s=1, most_s=3)
        self.serial = 0
        self.model = {}     # name: {"uid":, "keys": set()}
        self.running = {}   # id: (kind, name, key)
        self.busy = set()   # names that are created or deleted just now
        self.counts = collections.Counter()

    def write_token(self, token):
        """The token's file, swapped as a kubelet does."""
        path = os.path.join(self.folder, "token")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(token)
        os.rename(path + ".new", path)

    # what is asked of the client

    def create(self):
        """A new object."""
        self.serial += 1
        name = f"m{self.serial}"
        body = config_map(name)
        body["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": self.owner}]
        body["data"]["text"] = "x" * self.random.choice((1, 100, 3000, 20000))
        number = self.client.start("create", **WHERE, object=body, owner=self.owner,
                                   deadline_ms=DEADLINE_MS)
        self.running[number] = ("create", name, None)
        self.busy.add(name)

    def edit(self):
        """A key of its own in an object; several edits may meet in one."""
        names = [name for name in self.model if name not in self.busy]
        if not names:
            return
        self.serial += 1
        name, key = self.random.choice(names), f"k{self.serial}"
        number = self.client.start("edit", **WHERE, name=name, merge={"data": {key: "1"}},
                                   deadline_ms=DEADLINE_MS)
        self.running[number] = ("edit", name, key)

    def delete(self):
        """Deletes an object that nothing else is done to."""
        used = {name for _, name, _ in self.running.values()}
        names = [name for name in self.model if name not in used]
        if not names:
            return
        name = self.random.choice(names)
        number = self.client.start("delete", **WHERE, name=name, uid=self.model[name]["uid"],
                                   deadline_ms=DEADLINE_MS)
        self.running[number] = ("delete", name, None)
        self.busy.add(name)

    def settle(self, line):
        """Takes an answer into the model."""
        if line["event"] in ("refused", "unknown"):
            raise AssertionError(f"the probe refused {line}")
        if line["event"] != "done" or line["id"] not in self.running:
            return
        kind, name, key = self.running.pop(line["id"])
        if line["rc"] != 0:
            raise AssertionError(f"{kind} of {name} failed: {line}")
        self.counts[kind] += 1
        self.busy.discard(name)
        if kind == "create":
            self.model[name] = {"uid": line["body"]["metadata"]["uid"], "keys": set()}
        elif kind == "edit":
            self.model[name]["keys"].add(key)
        else:
            del self.model[name]

    # what is done to the server

    def plant(self):
        """A fault for the next requests."""
        verb = self.random.choice(("create", "patch", "delete", "get", "list", "watch", "*"))
        action = self.random.choice(("status", "status", "status", "lost", "cut", "close", "delay",
                                     "html", "expired", "too_large"))
        fault = {"verb": verb, "action": action, "count": self.random.randint(1, 3)}
        if action in ("expired", "too_large"):
            fault["verb"] = self.random.choice(("list", "watch"))
        if action == "status":
            fault["code"] = self.random.choice((429, 429, 500, 503, 504))
            fault["retry_after"] = 1 if fault["code"] == 429 else 0
        if action == "html":
            fault["code"] = 502
        if action == "delay":
            fault["seconds"] = self.random.uniform(0, 0.5)
        self.sim.control("fault", **fault)
        self.counts["fault " + action] += 1

    def swap_token(self):
        """The old token stops being valid when the new one is on the disk."""
        old, self.token = self.token, self.token + 1
        self.write_token(f"t{self.token}")
        self.sim.control("token", token=f"t{self.token}", old=f"t{old}")
        self.sim.token = f"t{self.token}"

    def harm(self):
        """One thing that goes wrong."""
        control = self.sim.control
        harms = {
            "plant": (self.plant, 12), "compact": (lambda: control("compact"), 3),
            "cut watches": (lambda: control("cut", what="watches"), 3),
            "cut": (lambda: control("cut", what="connections"), 2),
            "expire": (lambda: control("expire"), 2), "token": (self.swap_token, 2),
            "line": (lambda: control("line", key="configmaps", line='{"type":"MOD'), 1),
            "restart": (lambda: control("restart", down=0.1), 1)}
        name = self.random.choices(list(harms), [weight for _, weight in harms.values()])[0]
        harms[name][0]()
        self.counts[name] += 1

    # the test

    def take_lines(self, wait):
        """Takes what the probe has said, for so many seconds."""
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if self.client.lines.empty():
                time.sleep(0.002)
                continue
            line = self.client.next()
            self.client.seen.clear()
            self.settle(line)

    def lap(self):
        """Trouble for a while, then quiet and a check."""
        self.sim.control("slow", piece=self.random.choice((0, 0, 0, 1000, 5000)))
        end = time.monotonic() + LAP
        while time.monotonic() < end:
            if len(self.running) < 40:
                self.write_something()
            if self.random.random() < 0.12:
                self.harm()
            self.take_lines(self.random.uniform(0, 0.03))
        self.sim.control("faults_clear")
        self.finish_writes()
        self.sim.control("slow", piece=0)
        self.check()
        for _ in range(30):  # no list comes after these, which would mend what a stream missed
            self.write_something()
        self.finish_writes()
        self.check()

    def write_something(self):
        """One write."""
        self.random.choices((self.create, self.edit, self.delete), (3, 6, 2))[0]()

    def finish_writes(self):
        """Until all have been acknowledged."""
        end = time.monotonic() + DEADLINE_MS / 1000
        while self.running:
            if time.monotonic() > end:
                raise AssertionError(f"never done: {self.running}")
            self.take_lines(0.05)

    def check(self):
        """The server has what was asked for, and the watch what the server has."""
        items = self.sim.list("configmaps")["items"]
        there = {item["metadata"]["name"]: {
            "uid": item["metadata"]["uid"],
            "keys": set(item["data"]) - {"text"}} for item in items}
        if there != self.model:
            wrong = {name: (there.get(name), self.model.get(name))
                     for name in set(there) | set(self.model)
                     if there.get(name) != self.model.get(name)}
            raise AssertionError(f"lost or doubled (server, asked for): {wrong}")
        listed = {"default/" + item["metadata"]["name"]: (
            item["metadata"]["uid"], item["metadata"]["resourceVersion"]) for item in items}
        end = time.monotonic() + harness.DEADLINE
        while True:
            held = self.client.store(self.watch)
            if held == listed:
                break
            if time.monotonic() > end:
                wrong = set(held.items()) ^ set(listed.items())
                raise AssertionError(f"the watch differs: {wrong}")
            time.sleep(0.02)
        self.counts["checks"] += 1

    def stop(self):
        """Ends all; the server must not have tripped over us."""
        code = self.client.stop()
        errors = self.sim.control("state")["errors"]
        self.sim.stop()
        if code != 0 or errors:
            raise AssertionError(f"the probe ended with {code}, the server says {errors}")


def main():
    """Runs laps until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    given = parser.parse_args()
    print(f"soak.py --seconds {given.seconds:g} --seed {given.seed}", flush=True)
    folder = tempfile.mkdtemp(prefix="reknit-soak-")
    end = time.monotonic() + given.seconds
    soak = Soak(given.seed, folder)
    try:
        while time.monotonic() < end:
            soak.lap()
    finally:
        soak.stop()
        shutil.rmtree(folder)
    print(", ".join(f"{count} {name}" for name, count in sorted(soak.counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
