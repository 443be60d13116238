#!/usr/bin/env python3
"""Jobs whose launcher is a worker too: an agent in the coordinator's own pod."""
import os
import re
import sys
import unittest

from pods_case import MANIFEST, PodsCase, wait_for

WORKS = MANIFEST.replace("  runPolicy:", "  runLauncherAsWorker: true\n  runPolicy:")


class Own(PodsCase):
    """Each job computes what it computes on a laptop with as many workers."""

    manifest = WORKS

    def coordinator_pod(self, name):
        """The name of the coordinator's pod, which runs."""
        return self.launcher(name)["metadata"]["name"]

    def test_a_job_runs_to_its_end(self):
        self.start("calm", self.chargpt(60), 2)
        log = self.seen("calm", "generation 1: 3 ranks")
        self.assertRegex(log, r"joined on calm-launcher-\w+")
        self.assertEqual("Complete", self.ended("calm"))
        self.assertEqual(self.digest_of_laptop(60, 3), self.digest())
        self.assertEqual(["calm-worker-0", "calm-worker-1"], sorted(self.job_pods("calm")))

    def test_pods_that_were_there_before_are_taken(self):
        self.start("early", self.chargpt(40), 2, kinds=("Pod", "Job", "Service", "ConfigMap"))
        self.assertEqual("Complete", self.ended("early"))
        self.assertIn("generation 1: 3 ranks", self.launcher_log("early"))
        created = [r for r in self.sim.requests(verb="create", resource="pods")
                   if r["namespace"] == self.space and "reknit/" in r["agent"]]
        self.assertEqual([], created)

    def test_the_launcher_alone(self):
        self.manifest = WORKS[:WORKS.index("    Worker:")]
        self.start("alone", self.chargpt(40), 0)
        self.assertEqual("Complete", self.ended("alone"))
        self.assertEqual(self.digest_of_laptop(40, 1), self.digest())
        self.assertEqual({}, self.job_pods("alone"))

    def test_every_loss_in_one_run(self):
        self.start("storm", self.chargpt(400, pace=20), 2)
        self.seen("storm", "generation 1: 3 ranks")
        before = self.job_pods("storm")
        launcher = self.coordinator_pod("storm")

        self.kill_process(launcher, "worker")
        wait_for(lambda: len(re.findall(f"joined on {launcher}", self.launcher_log("storm"))) > 1,
                 "another agent in the coordinator's pod")
        self.delete("pods", "storm-worker-0", gracePeriodSeconds=0)
        self.seen("storm", "joined on storm-worker-0-1")
        self.kill_process(launcher, "coordinator")
        self.seen("storm", "epoch 2, goes on")
        self.delete_launcher("storm")
        self.seen("storm", f"joined on {self.coordinator_pod('storm')}")

        self.assertEqual("Complete", self.ended("storm"))
        self.assertEqual(self.digest_of_laptop(400, 3), self.digest())
        survivor = self.get("pods", "storm-worker-1")
        self.assertEqual(before["storm-worker-1"]["metadata"]["uid"], survivor["metadata"]["uid"])

    def test_a_spare_takes_a_place(self):
        """Whichever is lost, a pod or the worker beside the coordinator."""
        self.start("spare", self.chargpt(400, pace=20), 2, setting="reknit.dev/spares: '1'")
        self.seen("spare", "generation 1: 3 ranks")
        wait_for(lambda: len(self.job_pods("spare")) == 3, "a pod that waits")
        self.seen("spare", "joined on spare-worker-2")
        survivor = self.get("pods", "spare-worker-1")["metadata"]["uid"]
        self.delete("pods", "spare-worker-0", gracePeriodSeconds=0)
        self.seen("spare", r"generation \d+: 3 ranks, workers 3")
        self.kill_process(self.coordinator_pod("spare"), "worker")
        self.assertEqual("Complete", self.ended("spare"))
        self.assertEqual(self.digest_of_laptop(400, 3), self.digest())
        self.assertEqual(survivor, self.get("pods", "spare-worker-1")["metadata"]["uid"])

    def test_suspend_and_resume(self):
        self.start("pause", self.chargpt(300, pace=20), 1)
        self.seen("pause", "generation 1: 2 ranks")
        self.suspend_and_resume("pause")
        self.assertEqual(self.digest_of_laptop(300, 2), self.digest())


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: pods as processes need root")
        sys.exit(77)
    unittest.main()
