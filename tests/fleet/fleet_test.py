#!/usr/bin/env python3
"""One coordinator and thousands of worker pods, on the simulated API server.

    fleet_test.py [--workers 1000] [--losses 10] [--heartbeat MS] [--json FILE]

The first generation has all workers; pods fail, are deleted and lose their agents, each is replaced
and a generation of all follows.  Then a hundred are lost at once while no pod can be made.  Asserts
memory and the number of requests; prints, but does not judge, the time from a pod's end to what
the coordinator does about it.
"""
import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
import time

import fleet_parts
from fleet_parts import JOB, WORKERS, progress

sys.path.insert(0, os.path.join(fleet_parts.ROOT, "tests", "kubernetes"))
import sim_client  # noqa: E402  pylint: disable=wrong-import-position

MIB = 1 << 20
MEMORY = 64 * MIB       # of `reknit pods`, and of the coordinator with small queues
COORDINATOR = 24 * MIB  # of one with the machine's libzmq, and for each connection, mostly queues:
CONNECTION = 80 << 10
KINDS = ("exit", "delete", "silence")
LISTS = 2        # of the pods: to adopt them, and the watch's
OTHERS = 60      # requests that a start may take beside one for each pod
QUOTA_SECONDS = 5
REFUSALS = 45    # as many as are on their way at one time, and then one for each wait


def events_of(watch):
    """(type, pod) of a watch."""
    while True:
        try:
            event = watch.next()
        except (OSError, ValueError):
            event = None
        if event is None:
            return
        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
            yield event["type"], event["object"]


class Fleet:
    """A simulated server, a job on it, and its agents."""

    def __init__(self, given, folder, stack):
        self.given = given
        self.random = random.Random(given.seed)
        self.sim = stack.enter_context(sim_client.Simulation(
            "--scheduler", "--kubelet", "fake", "--loopback", "--no-service-accounts"))
        self.sim.control("node/add", name="large", pods=2 * given.workers + 100, cpu=10**6,
                         memory="100Ti")
        kinds, config = fleet_parts.objects_of(given.workers, folder, "default")
        self.sim.create("jobs", kinds["Job"][0])
        self.kubeconfig = self.sim.kubeconfig(os.path.join(folder, "kubeconfig"))
        self.coordinator = fleet_parts.Coordinator(self.kubeconfig, "default", config, folder)
        stack.callback(self.coordinator.stop)
        secret = sim_client.wait_for(self.find_secret, "the job's Secret", 60)
        self.agents = fleet_parts.Agents(fleet_parts.write_secret(secret, folder), given.heartbeat)
        stack.callback(self.agents.close)
        self.agents.mark(given.workers)
        watch = self.sim.watch("pods", timeout=None, labelSelector=WORKERS)
        self.follower = fleet_parts.Follower(events_of(watch), self.agents)
        self.follower.start()

    def find_secret(self):
        """The Secret that the coordinator's pod makes."""
        found = self.sim.list("secrets")["items"]
        return next((s for s in found if s["metadata"]["name"] == f"{JOB}-reknit"), None)

    def creates(self, **wanted):
        """Requests for new worker pods, in their order."""
        return self.sim.requests(verb="create", resource="pods", **wanted)

    # ---- losses ---------------------------------------------------------------------------------

    def lose(self, kind):
        """A pod ends; seconds to the first word to an agent, to another pod, to all as before."""
        pods = [p for p in self.sim.list("pods", labelSelector=WORKERS)["items"]
                if p["status"].get("phase") == "Running"]
        pod = self.random.choice(pods)
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        self.agents.mark(self.given.workers)
        last = self.sim.control("state")["requests"]
        if kind == "exit":
            self.follower.keep.add(name)  # the watch alone brings the news
        began = time.time()
        if kind == "exit":
            self.sim.control("pod/exit", name=name, exit=1)
        elif kind == "delete":
            self.sim.delete("pods", name, gracePeriodSeconds=0)
        else:
            self.agents.stop(uid, "cut")
            began = self.agents.until("stopped", 60)
        told = self.agents.until("told", 60)
        create = sim_client.wait_for(lambda: self.creates(since=last), "another pod", 60)[0]
        whole = self.agents.until("whole", 300)
        seen = {"kind": kind, "told": told - began, "create": create["time"] - began,
                "whole": whole - began}
        self.agents.stop(uid)
        return seen

    def lose_all(self):
        """As many losses as wanted, of all kinds, each when the one before has been digested."""
        seen = []
        for number in range(self.given.losses):
            time.sleep(self.random.uniform(0.5, 1.5))
            seen.append(self.lose(KINDS[number % len(KINDS)]))
            if self.given.verbose:
                progress(seen[-1])
        return seen

    # ---- what was asked of the server -----------------------------------------------------------

    def refuse(self):
        """Creates are refused for a while; how many were sent in vain."""
        self.agents.mark(self.given.workers)
        last = self.sim.control("state")["requests"]
        self.sim.control("fault", verb="create", resource="pods", action="status", code=429,
                         reason="TooManyRequests", count=10**6)
        for pod in self.sim.list("pods", labelSelector=WORKERS, limit=100)["items"]:
            with contextlib.suppress(sim_client.Refused):  # it may be gone already
                self.sim.delete("pods", pod["metadata"]["name"], gracePeriodSeconds=0)
        time.sleep(QUOTA_SECONDS)
        self.sim.control("faults/clear")
        self.agents.until("whole", 300)
        sent = self.creates(since=last)
        return len([r for r in sent if r["code"] == 429]), len(sent)


def check(condition, what):
    """Fails with a sentence."""
    if not condition:
        raise AssertionError(what)


def check_requests(fleet):
    """One POST for each pod, and few others, whatever was lost on the way."""
    creates = fleet.creates()
    check(all(r["code"] == 201 for r in creates), "a create was refused")
    sim_client.wait_for(lambda: len(fleet.follower.seen) >= len(creates), "all pods seen")
    check(len(fleet.follower.seen) == len(creates), f"{len(creates)} creates made "
          f"{len(fleet.follower.seen)} pods")
    others = collections.Counter((r["verb"], r["resource"]) for r in fleet.sim.requests()
                                 if "reknit/" in r["agent"])
    del others["create", "pods"]
    progress(f"beside {len(creates)} creates: {dict(others)}")
    check(others["list", "pods"] <= LISTS, "pods were listed again")
    check(sum(n for (verb, _), n in others.items() if verb != "delete") < OTHERS,
          f"too many other requests: {others}")


def in_mib(memory):
    """For people."""
    return {k: round(v / MIB, 1) for k, v in memory.items()}


def summary(seen, memory, formed):
    """What was measured."""
    actions = [min(s["told"], s["create"]) for s in seen]
    result = {"formed_s": round(formed, 2), "memory_mib": in_mib(memory)}
    for what, values in (("event_to_action", actions), ("told", [s["told"] for s in seen]),
                         ("create", [s["create"] for s in seen]),
                         ("whole", [s["whole"] for s in seen])):
        if values:
            result[what + "_ms"] = {"p50": round(1e3 * fleet_parts.share(values, 0.5), 1),
                                    "p99": round(1e3 * fleet_parts.share(values, 0.99), 1)}
    return result


def run(given, folder, stack):
    """The whole test."""
    began = time.time()
    fleet = Fleet(given, folder, stack)
    try:
        fleet.agents.until("whole", 60 + given.workers / 5)
        formed = time.time() - began
        progress(f"generation 1 has {given.workers} workers after {formed:.1f} s")
        check_requests(fleet)
        seen = fleet.lose_all()
        refused, sent = fleet.refuse()
        progress(f"{refused} of {sent} creates were refused")
        check(0 < refused <= REFUSALS, f"{refused} creates were sent in vain")
        memory = fleet.coordinator.memory()
        check(not fleet.agents.fenced or given.losses, "an agent was put out")
        check(fleet.sim.control("state")["errors"] == [], "the simulated server has failed")
    except BaseException:
        sys.stderr.write(fleet.coordinator.log()[-8000:])
        raise
    result = {"workers": given.workers, **summary(seen, memory, formed)}
    print(json.dumps(result, indent=1))
    if given.json:
        with open(given.json, "w", encoding="utf-8") as out:
            json.dump({**result, "losses": seen}, out)
    small = os.path.isdir(fleet_parts.SMALL_QUEUES)
    coordinator = MEMORY if small else COORDINATOR + given.workers * CONNECTION
    for name, most in (("pods", MEMORY), ("coordinator", coordinator)):
        check(memory[name] < most, f"{name}: {memory[name] / MIB:.1f} MiB, over {most / MIB:.1f}")


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--losses", type=int, default=9)
    parser.add_argument("--heartbeat", type=int, default=0,
                        help="of agents, in ms; 0: as they are told")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="where the numbers go too")
    parser.add_argument("--keep", help="a folder that stays")
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    folder = given.keep or tempfile.mkdtemp(prefix="reknit-fleet-")
    try:
        with contextlib.ExitStack() as stack:
            run(given, folder, stack)
    finally:
        if not given.keep:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
