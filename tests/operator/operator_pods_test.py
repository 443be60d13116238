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

    def submit(self, name, steps, workers, policy, program=None, setting=""):
        """The MPIJob of which `start` makes the objects; without them."""
        program = program or self.chargpt(steps, pace=20)
        config = next(o for o in self.objects(name, program, workers, setting=setting)
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

    def scale(self, name, workers):
        """As `kubectl scale` does."""
        self.patch("mpijobs", name, {"spec": {"mpiReplicaSpecs": {"Worker": {
            "replicas": workers}}}})

    def test_scaled(self):
        self.submit("scale", 900, 2, {}, setting="reknit.dev/max-workers: '4'")
        self.becomes("scale", "Running")
        self.seen("scale", "generation 1: 2 ranks")
        first = self.get("pods", "scale-worker-0")["metadata"]["uid"]
        self.scale("scale", 4)
        self.seen("scale", r"generation \d+: 4 ranks, workers 4")
        wait_for(lambda: self.get("mpijobs", "scale")["status"]["replicaStatuses"]["Worker"][
            "active"] == 4, "4 active", 60)
        self.scale("scale", 1)
        self.seen("scale", r"generation \d+: 1 ranks, workers 1")
        self.assertEqual(first, self.get("pods", "scale-worker-0")["metadata"]["uid"])
        self.becomes("scale", "Succeeded")

    def test_a_size_without_room(self):
        self.submit("wide", 10000, 2, {})
        self.becomes("wide", "Running")
        self.scale("wide", 3)
        wait_for(lambda: "Worker.replicas 3 is not followed" in self.condition(
            "wide", "Created").get("message", ""), "the reason in Created", 60)
        wait_for(lambda: self.condition("wide", "Restarting").get("status") != "True",
                 "no loss is told", 60)

    def test_why_it_failed_is_in_its_status(self):
        self.submit("fault", 0, 2, {"backoffLimit": 0, "cleanPodPolicy": "All"}, program=[
            "sh", "-c", "[ $RANK = 1 ] || exec sleep 1000; echo rank $RANK fails; exit 7"])
        self.becomes("fault", "Failed")
        self.assertRegex(self.condition("fault", "Failed")["message"], "exit code 7: the program "
                         "failed for good: rank 1 on fault-worker-1 ended with exit code 7; its "
                         "last lines: rank 1 fails; .*rank 1 ")

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
