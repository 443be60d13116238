"""Hundreds of worker pods on a real API server, their kubelets and agents simulated.

REKNIT_FLEET says how many (100), REKNIT_FLEET_LOSSES how many of them are lost in turn (12).
Nothing binds the pods to nodes, which a cluster may have: their scheduler is one that nobody plays.
This test itself says that they run, through their status, and fleet_parts.py plays their agents.
"""
import http.client
import json
import os
import random
import shutil
import ssl
import sys
import tempfile
import time
import unittest
import urllib.parse

from cluster_test import ApiTest
from process import wait_for
from sim import runs

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "fleet"))
import fleet_parts  # noqa: E402  pylint: disable=wrong-import-position

WORKERS = int(os.environ.get("REKNIT_FLEET", "100"))
LOSSES = int(os.environ.get("REKNIT_FLEET_LOSSES", "12"))
MEMORY = 64 << 20


class Client:
    """The API server over one connection of a thread's own."""

    def __init__(self, kubeconfig):
        with open(kubeconfig, encoding="utf-8") as f:
            words = dict(line.strip().split(": ", 1) for line in f if ": " in line)
        self.server = urllib.parse.urlsplit(words["server"])
        self.token = words["token"]
        self.context = ssl.create_default_context(cafile=words["certificate-authority"])
        self.connection = None

    def send(self, method, path, body=None, kind="application/json"):
        """The answer, open."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                self.server.hostname, self.server.port, context=self.context, timeout=600)
        self.connection.request(method, path, json.dumps(body) if body else None,
                                {"Content-Type": kind, "Authorization": f"Bearer {self.token}"})
        answer = self.connection.getresponse()
        if answer.status >= 400:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.read()}")
        return answer

    def ask(self, method, path, body=None, kind="application/json"):
        """The object that a request is answered with."""
        return json.loads(self.send(method, path, body, kind).read())


class Kubelet:
    """All kubelets: makes pods run, and says when each was made."""

    def __init__(self, kubeconfig, namespace):
        self.claim, prefix = runs.claim_addresses()
        self.addresses = runs.Addresses(prefix, 2)
        self.path = f"/api/v1/namespaces/{namespace}/pods"
        self.watcher, self.writer, self.teller = (Client(kubeconfig) for _ in range(3))
        self.given = {}   # uid: address
        self.made = {}    # name: when it was seen first
        self.bad = {}     # name: when it was seen first that it fails or goes

    def events(self):
        """(type, pod) as the server tells them; pods are made to run on the way."""
        query = urllib.parse.urlencode({"watch": 1, "labelSelector": fleet_parts.WORKERS,
                                        "timeoutSeconds": 3600})
        stream = self.watcher.send("GET", f"{self.path}?{query}")
        while True:
            try:
                line = stream.readline()
            except (OSError, ValueError):
                return
            if not line:
                return
            event = json.loads(line)
            kind, pod = event["type"], event["object"]
            self.made.setdefault(pod["metadata"]["name"], time.time())
            if kind == "DELETED" or "deletionTimestamp" in pod["metadata"] or \
                    pod["status"].get("phase") == "Failed":
                self.bad.setdefault(pod["metadata"]["name"], time.time())
            try:
                if kind == "DELETED":
                    self.end(pod["metadata"]["uid"])
                elif pod["status"].get("phase") == "Pending":
                    self.begin(pod)
            except OSError:  # the server has ended, as the test does
                return
            yield kind, pod

    def begin(self, pod):
        """Its containers run, at an address of their own."""
        uid = pod["metadata"]["uid"]
        if uid in self.given or "deletionTimestamp" in pod["metadata"]:
            return
        self.given[uid] = self.addresses.take()
        self.write(self.writer, pod, {
            "phase": "Running", "podIP": self.given[uid], "podIPs": [{"ip": self.given[uid]}],
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [status_of(pod, {"running": {}})]})

    def end(self, uid):
        """Its address is free."""
        if uid in self.given:
            self.addresses.give(self.given.pop(uid))

    def write(self, client, pod, status):
        """A pod's status."""
        client.ask("PATCH", f"{self.path}/{pod['metadata']['name']}/status", {"status": status},
                   "application/merge-patch+json")

    def fail(self, pod):
        """Its main container ends with 1."""
        self.write(self.teller, pod, {
            "phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [status_of(pod, {"terminated": {"exitCode": 1,
                                                                 "reason": "Error"}})]})


def status_of(pod, state):
    """The status of the main container."""
    main = pod["spec"]["containers"][0]
    return {"name": main["name"], "image": main["image"], "imageID": "", "restartCount": 0,
            "ready": "running" in state, "state": state}


class RealFleet(ApiTest):
    """One coordinator and as many workers as REKNIT_FLEET says."""

    def setUp(self):
        super().setUp()
        self.random = random.Random(1)
        self.folder = tempfile.mkdtemp(prefix="reknit-fleet-")
        self.addCleanup(shutil.rmtree, self.folder)
        kinds, config = fleet_parts.objects_of(WORKERS, self.folder, self.namespace,
                                               scheduler="nobody")
        wait_for(lambda: self.get("serviceaccount", "default"), "the namespace's account")
        self.create(kinds["Job"][0])
        self.coordinator = fleet_parts.Coordinator(self.api.kubeconfig, self.namespace, config,
                                                   self.folder)
        self.addCleanup(self.coordinator.stop)
        wait_for(lambda: self.get("secret", f"{fleet_parts.JOB}-reknit"), "the job's Secret")
        secret = self.get("secret", f"{fleet_parts.JOB}-reknit")
        self.agents = fleet_parts.Agents(fleet_parts.write_secret(secret, self.folder))
        self.addCleanup(self.agents.close)
        self.agents.mark(WORKERS)
        self.kubelet = Kubelet(self.api.kubeconfig, self.namespace)
        self.follower = fleet_parts.Follower(self.kubelet.events(), self.agents)
        self.follower.start()

    def lose(self, number):
        """A pod fails, or is deleted.

        Seconds to the first word to an agent or the next pod, from the call that did it and from
        when a watch of ours told of it, which leaves out what the server itself takes.
        """
        pods = self.get("pods", "-l", fleet_parts.WORKERS)["items"]
        pod = self.random.choice([p for p in pods if p["status"].get("phase") == "Running"])
        name = pod["metadata"]["name"]
        made = set(self.kubelet.made)
        self.agents.mark(WORKERS)
        began = time.time()
        if number % 2:
            self.follower.keep.add(name)
            self.kubelet.fail(pod)
        else:
            self.kubelet.teller.ask("DELETE", f"{self.kubelet.path}/{name}")
        told = self.agents.until("told", 60)
        wait_for(lambda: set(self.kubelet.made) - made, "another pod")
        other = min(self.kubelet.made[n] for n in set(self.kubelet.made) - made)
        action = min(told, other)
        wait_for(lambda: name in self.kubelet.bad, "the event")
        self.agents.until("whole", 300)
        self.agents.stop(pod["metadata"]["uid"])
        return {"call": action - began, "event": max(action - self.kubelet.bad[name], 0)}

    def test_fleet(self):
        began = time.time()
        try:
            self.agents.until("whole", 300 + WORKERS)
            formed = time.time() - began
            seen = [self.lose(number) for number in range(LOSSES)]
        except AssertionError:
            sys.stderr.write(self.coordinator.log()[-8000:])
            raise
        memory = self.coordinator.memory()
        fleet_parts.progress(f"from the event, ms: {sorted(round(1e3 * s['event']) for s in seen)}")
        spans = ", ".join(
            f"{since} to action p50 {1e3 * fleet_parts.share([s[since] for s in seen], 0.5):.0f} ms"
            f" p99 {1e3 * fleet_parts.share([s[since] for s in seen], 0.99):.0f} ms"
            for since in ("event", "call"))
        fleet_parts.progress(f"{WORKERS} workers after {formed:.1f} s; {spans}; memory "
                             f"{ {k: v >> 20 for k, v in memory.items()} } MiB")
        pods = self.get("pods", "-l", fleet_parts.WORKERS)["items"]
        running = [p for p in pods if p["status"].get("phase") == "Running"]
        self.assertEqual(WORKERS, len(running))
        self.assertLess(memory["pods"], MEMORY)


if __name__ == "__main__":
    unittest.main()
