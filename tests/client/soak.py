#!/usr/bin/env python3
"""Hours of trouble for the client, in as many seconds as wanted.

    soak.py [--seconds 20] [--seed N]

Random creates, edits and deletions go through client_probe while the server fails, forgets its
history, swaps tokens and restarts.  At each check, every few seconds: each write that was asked for
has been done once and been acknowledged, and what a watch holds equals the server's list.  Prints
its seed, which repeats the choices (not the timing).
"""
import argparse
import os
import random
import shutil
import sys
import tempfile
import time

import probe as harness
from soak_work import Work

LAP = 3.0  # seconds between two checks


class Soak:
    """The server, the client, and what is done to both."""

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.folder = folder
        self.token = 0
        self.sim = harness.Simulation("--no-service-accounts", "--bookmark-seconds", "1",
                                      "--token", "t0", token="t0")
        self.sim.delete("configmaps", "kube-root-ca.crt")
        owner = self.sim.create("pods", harness.sim_client.pod("owner"))["metadata"]["uid"]
        self.write_token("t0")
        config = harness.write_kubeconfig(os.path.join(folder, "config"), self.sim.url, {},
                                          {"tokenFile": "token"})
        self.client = harness.Probe(kubeconfig=config, seed=seed, rate=200, burst=200)
        self.watch = self.client.watch(page=7, least_s=1, most_s=3)
        self.work = Work(self.random, [self.client], "default",
                         {"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": owner})
        self.counts = self.work.counts

    def write_token(self, token):
        """The token's file, swapped as a kubelet does."""
        path = os.path.join(self.folder, "token")
        with open(path + ".new", "w", encoding="utf-8") as f:
            f.write(token)
        os.rename(path + ".new", path)

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

    def lap(self):
        """Trouble for a while, then quiet and a check."""
        self.sim.control("slow", piece=self.random.choice((0, 0, 0, 1000, 5000)))
        end = time.monotonic() + LAP
        while time.monotonic() < end:
            if self.work.idle():
                self.work.write_something()
            if self.random.random() < 0.12:
                self.harm()
            self.work.take_lines(self.random.uniform(0, 0.03))
        self.sim.control("faults_clear")
        self.work.finish()
        self.sim.control("slow", piece=0)
        self.check()
        for _ in range(30):  # no list comes after these, which would mend what a stream missed
            self.work.write_something()
        self.work.finish()
        self.check()

    def check(self):
        """The server has what was asked for, and the watch what the server has."""
        items = self.sim.list("configmaps")["items"]
        self.work.check(items)
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
