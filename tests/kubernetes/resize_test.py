#!/usr/bin/env python3
"""The number of workers of a job that runs, changed on a simulated API server."""
import os
import sys
import unittest

from pods_case import PodsCase, wait_for
from sim_client import path_of


class Resize(PodsCase):
    """Those that stay are never started again."""

    def uids(self, name, *places):
        """Of the first pods in these places."""
        return [self.get("pods", f"{name}-worker-{p}")["metadata"]["uid"] for p in places]

    def hosts(self, name):
        """Lines of the hostfile."""
        return self.get("configmaps", f"{name}-config")["data"]["hostfile"].splitlines()

    def test_resized_up_and_down(self):
        self.start("size", self.chargpt(700, pace=20), 2, setting="reknit.dev/max-workers: '6'")
        self.seen("size", "generation 1: 2 ranks")
        first = self.uids("size", 0, 1)
        self.resize("size", 4)
        self.seen("size", r"generation \d+: 4 ranks, workers 4")
        self.kept("size", "workers", "^4$")
        self.assertEqual(["the job goes on with 4 workers, it had 2"],
                         self.told("size", "WorkersResized"))
        wait_for(lambda: len(self.hosts("size")) == 4, "4 hosts")
        self.resize("size", 2)
        self.seen("size", r"generation [2-9]\d*: 2 ranks, workers 2")
        wait_for(lambda: sorted(n for n, p in self.job_pods("size").items()
                                if p["status"].get("phase") == "Running")
                 == ["size-worker-0", "size-worker-1"], "the highest places are empty", 60)
        self.assertEqual(first, self.uids("size", 0, 1))
        self.assertEqual("Complete", self.ended("size"))
        self.assertEqual([], self.told("size", "WorkerLost"))

    def test_a_rendering_that_is_applied_again(self):
        """With one worker more: its pod is the job's, or goes."""
        wide = "reknit.dev/max-workers: '4'"
        self.start("apply", self.chargpt(500, pace=20), 2, setting=wide)
        self.seen("apply", "generation 1: 2 ranks")
        objects = self.objects("apply", self.chargpt(500, pace=20), 3, setting=wide)
        self.create("pods", next(o for o in objects if o["metadata"]["name"] == "apply-worker-2"))
        size = next(o for o in objects if o["kind"] == "Job")["metadata"]["annotations"]
        self.resize("apply", size["reknit.dev/workers"])
        self.seen("apply", r"generation \d+: 3 ranks, workers 3")
        wait_for(lambda: all(p["metadata"].get("ownerReferences")
                             for p in self.job_pods("apply").values()), "no pod without an owner")
        self.assertEqual("Complete", self.ended("apply"))

    def test_a_gang(self):
        """Its scheduler would place no successor while there are fewer pods than its least."""
        wide = "reknit.dev/max-workers: '4'"
        self.gang = ("--gang", "volcano")
        where = path_of("podgroups", self.space, group="scheduling.volcano.sh/v1beta1")
        objects = self.objects("gang", self.chargpt(500, pace=20), 3, setting=wide)
        self.start("gang", self.chargpt(500, pace=20), 3, setting=wide)
        self.sim.ask("POST", where, next(o for o in objects if o["kind"] == "PodGroup"))
        self.seen("gang", "generation 1: 3 ranks")
        for workers in (2, 4):
            self.resize("gang", workers)
            self.seen("gang", rf"generation \d+: {workers} ranks, workers {workers}")
            wait_for(lambda n=workers: self.sim.ask("GET", f"{where}/gang")["spec"]["minMember"]
                     == n + 1, "the least of the group")
        self.assertEqual("Complete", self.ended("gang"))

    def test_a_size_that_cannot_be(self):
        self.start("wide", self.chargpt(300, pace=20), 2)
        self.seen("wide", "generation 1: 2 ranks")
        self.resize("wide", 3)
        refused = self.kept("wide", "refused", "room for 1 to 2 workers")
        self.assertRegex(refused, "Worker.replicas 3 is not followed, the job goes on with 2: .*"
                                  "annotation reknit.dev/max-workers of the MPIJob to 3")
        wait_for(lambda: self.told("wide", "WorkersNotResized") == [refused], "an Event")
        self.assertEqual(2, len(self.job_pods("wide")))
        self.resize("wide", 1)
        self.seen("wide", r"generation \d+: 1 ranks, workers 1")
        self.assertEqual("Complete", self.ended("wide"))
        self.assertNotIn("refused", self.get("configmaps", "wide-record")["data"])

    def test_a_new_size_holds(self):
        """Asked for while a worker is being replaced; then another coordinator's pod goes on."""
        self.start("hold", self.chargpt(900, pace=20), 3, setting="reknit.dev/max-workers: '6'")
        self.seen("hold", "generation 1: 3 ranks")
        kept = self.uids("hold", 0)
        self.kill_process("hold-worker-1", "worker")
        self.resize("hold", 5)
        self.seen("hold", r"generation \d+: 5 ranks, workers 5")
        self.kept("hold", "workers", "^5$")
        self.delete("pods", self.launcher("hold")["metadata"]["name"])
        self.seen("hold", "epoch 17, goes on")
        self.kill_process("hold-worker-4", "worker")
        self.seen("hold", "joined on hold-worker-4-1")
        launcher = self.launcher("hold")["metadata"]["name"]
        self.delete("pods", launcher, gracePeriodSeconds=0)
        self.resize("hold", 2)  # which the next one finds
        self.seen("hold", r"generation \d+: 2 ranks, workers 2")
        self.kept("hold", "workers", "^2$")
        self.assertEqual(kept, self.uids("hold", 0))
        self.assertEqual("Complete", self.ended("hold"))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: pods as processes need root")
        sys.exit(77)
    unittest.main()
