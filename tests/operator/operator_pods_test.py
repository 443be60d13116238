#!/usr/bin/env python3
"""Whole jobs from their MPIJob: the operator makes a coordinator, that makes workers, these
compute; the simulated cluster runs pods as processes of this machine."""
import json
import os
import sys
import time
import unittest

from operator_case import Operator
from operator_install_test import files, objects
from pods_case import PodsCase, wait_for

STEPS = 300


class Whole(PodsCase):
    """The result is a laptop's, whatever happens to the job."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for item in objects(*files("role")):
            cls.sim.create("clusterroles", item, "")

    def setUp(self):
        super().setUp()
        self.config = self.sim.kubeconfig(os.path.join(self.folder, "config"), token="boss",
                                          authority=os.path.join(self.scratch, "ca.pem"))
        self.operator = self.begin()
        self.addCleanup(self.end)

    def begin(self):
        return Operator(self.config, "--namespace", self.space, "--leader-elect", "no",
                        lock=self.space)

    def end(self):
        if self.operator is not None:
            self.assertEqual(0, self.operator.stop())
            self.operator = None

    def submit(self, name, steps, workers, policy):
        """The MPIJob of which `start` makes the objects; without them."""
        config = next(o for o in self.objects(name, self.chargpt(steps, pace=20), workers)
                      if o["kind"] == "ConfigMap")
        job = json.loads(config["data"]["mpijob.json"])
        job["spec"]["runPolicy"] = policy
        self.create("mpijobs", job)

    def condition(self, name, kind):
        found = self.get("mpijobs", name).get("status", {}).get("conditions", [])
        return next((c for c in found if c["type"] == kind), {})

    def becomes(self, name, kind, value="True", deadline=120):
        try:
            return wait_for(lambda: self.condition(name, kind).get("status") == value,
                            f"{name} is {kind} {value}", deadline)
        except AssertionError:
            sys.stderr.write(self.launcher_log(name))
            if self.operator is not None:
                sys.stderr.write(self.operator.said())
            raise

    def test_suspended_edited_and_resumed(self):
        self.submit("pause", STEPS, 2, {})
        self.becomes("pause", "Running")
        self.seen("pause", "generation 1: 2 ranks")
        self.patch("mpijobs", "pause", {"spec": {"runPolicy": {"suspend": True}}})
        wait_for(lambda: not self.names("pods"), "no pod", 90)
        counts = wait_for(lambda: self.get("mpijobs", "pause")["status"]["replicaStatuses"], "")
        wait_for(lambda: all(c["active"] == 0 for c in self.get("mpijobs", "pause")["status"][
            "replicaStatuses"].values()), f"active is 0, not {counts}")
        record = self.get("configmaps", "pause-record")["metadata"]["uid"]
        self.patch("mpijobs", "pause", {"spec": {
            "runPolicy": {"suspend": False}, "mpiReplicaSpecs": {"Launcher": {"template": {
                "metadata": {"labels": {"kueue.x-k8s.io/podset": "launcher"}}}}}}})
        self.becomes("pause", "Succeeded")
        self.assertEqual(record, self.get("configmaps", "pause-record")["metadata"]["uid"])
        self.assertEqual(self.digest_of_laptop(STEPS, 2), self.digest())

    def test_without_the_operator_jobs_go_on(self):
        self.submit("alone", STEPS, 2, {"ttlSecondsAfterFinished": 3})
        self.seen("alone", "generation 1: 2 ranks")
        self.operator.kill()
        self.operator = None
        self.delete("pods", "alone-worker-1", gracePeriodSeconds=0)
        self.seen("alone", "joined on alone-worker-1-1")
        self.assertEqual("Complete", self.ended("alone"))
        self.assertEqual(self.digest_of_laptop(STEPS, 2), self.digest())
        time.sleep(0.2)
        self.assertNotIn("completionTime", self.get("mpijobs", "alone")["status"])
        self.operator = self.begin()
        wait_for(lambda: "alone" not in self.names("mpijobs"), "its time to live is over", 60)
        wait_for(lambda: not self.names("pods"), "no pods", 60)
        wait_for(lambda: not [n for kind in ("jobs", "configmaps", "secrets", "services")
                              for n in self.names(kind) if n.startswith("alone")], "nothing", 60)


if __name__ == "__main__":
    unittest.main()
