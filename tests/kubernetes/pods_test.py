#!/usr/bin/env python3
"""The coordinator's pod: jobs whose pods are lost in every way, on a simulated API server."""
import os
import re
import sys
import unittest

from pods_case import PodsCase, wait_for


class Pods(PodsCase):
    """Each job computes what it computes on a laptop, whatever happens to its pods."""

    def test_a_job_runs_to_its_end(self):
        self.start("calm", self.chargpt(60), 3)
        self.assertEqual("Complete", self.ended("calm"))
        self.assertEqual(self.digest_of_laptop(60, 3), self.digest())
        record = self.get("configmaps", "calm-record")["data"]
        self.assertIn("\nended 1\n", record["record"])
        self.assertEqual("17", record["epochs"])

    def test_pods_that_were_there_before_are_taken(self):
        """Of a job that may grow, since the most workers decide about the tickets of the first."""
        self.start("early", self.chargpt(40), 2, kinds=("Pod", "Job", "Service", "ConfigMap"),
                   setting="reknit.dev/max-workers: '6'")
        self.assertEqual("Complete", self.ended("early"))
        self.assertIn("generation 1: 2 ranks", self.launcher_log("early"))
        created = [r for r in self.sim.requests(verb="create", resource="pods")
                   if r["namespace"] == self.space and "reknit/" in r["agent"]]
        self.assertEqual([], created)

    def test_every_loss_in_one_run(self):
        self.start("storm", self.chargpt(400, pace=20), 4)
        self.seen("storm", "generation 1: 4 ranks")
        before = self.job_pods("storm")

        self.delete("pods", "storm-worker-0", gracePeriodSeconds=0)
        self.seen("storm", "joined on storm-worker-0-1")
        self.kill_process("storm-worker-1", "worker")
        self.seen("storm", "joined on storm-worker-1-1")
        self.sim.control("pod/exit", namespace=self.space, name="storm-worker-2",
                         reason="OOMKilled")
        self.seen("storm", "joined on storm-worker-2-1")

        launcher = self.launcher("storm")["metadata"]["name"]
        self.kill_process(launcher, "coordinator")
        self.seen("storm", "epoch 2, goes on")
        self.delete_launcher("storm")
        self.seen("storm", "epoch 17, goes on")

        self.assertEqual("Complete", self.ended("storm"))
        self.assertEqual(self.digest_of_laptop(400, 4), self.digest())
        survivor = self.get("pods", "storm-worker-3")
        self.assertEqual(before["storm-worker-3"]["metadata"]["uid"], survivor["metadata"]["uid"])

    def test_a_lost_node(self):
        self.start("node", self.chargpt(300, pace=20), 3)
        self.seen("node", "generation 1: 3 ranks")
        lost = self.get("pods", "node-worker-1")["spec"]["nodeName"]
        self.sim.control("node/lost", name=lost, processes="kill", silence=1, tolerated=1)
        self.assertEqual("Complete", self.ended("node"))
        self.assertEqual(self.digest_of_laptop(300, 3), self.digest())
        self.sim.control("node/back", name=lost)

    def test_why_a_pod_was_lost_outlives_it(self):
        script = ["sh", "-c", "echo the end of $RANK; exec sleep 1000"]
        self.start("cause", script, 2)
        wait_for(lambda: "the end of 1" in self.log("cause-worker-1"), "rank 1 has spoken")
        node = self.get("pods", "cause-worker-1")["spec"]["nodeName"]
        self.sim.control("pod/exit", namespace=self.space, name="cause-worker-1",
                         reason="OOMKilled")
        cause = (rf"worker 1 \(rank 1\): pod cause-worker-1 on node {node} was killed by signal 9, "
                 r"out of memory: .*; its last lines: .*\[rank 1\] the end of 1")
        self.kept("cause", "losses", r"(?m)^20\S+Z " + cause)
        wait_for(lambda: any(re.search(cause, t) for t in self.told("cause", "WorkerLost")),
                 "an Event that says so")
        self.delete("pods", self.launcher("cause")["metadata"]["name"])
        self.seen("cause", "epoch 17, goes on")
        self.kept("cause", "losses", cause)

    def test_why_the_program_failed_outlives_its_pods(self):
        script = ["sh", "-c", "[ $RANK = 1 ] || exec sleep 1000; echo rank $RANK fails; exit 7"]
        self.start("fault", script, 2, policy="{cleanPodPolicy: All, backoffLimit: 0}")
        self.assertEqual("Failed", self.ended("fault"))
        losses = self.kept("fault", "losses", "rank 1 ")
        self.assertRegex(losses, r"rank 1 on fault-worker-1 ended with exit code 7 \(node \S+\); "
                                 "its last lines: rank 1 fails")
        end = self.kept("fault", "end", "exit code")
        self.assertRegex(end, "exit code 7: the program failed for good: rank 1 on fault-worker-1 "
                              "ended with exit code 7; its last lines: rank 1 fails")
        self.assertIn(end, self.told("fault", "JobFailed"))
        self.assertTrue(self.told("fault", "RankLost"))

    def only_node(self, name):
        """The scheduler binds to this one alone; None: to all."""
        for node in self.list("nodes")["items"]:
            other = name is not None and node["metadata"]["name"] != name
            self.patch("nodes", node["metadata"]["name"], {"spec": {"unschedulable": other}})

    def test_a_lost_node_that_the_scheduler_takes_for_well(self):
        """The replacement is bound to it at first, and then asked for elsewhere."""
        self.start("stale", self.chargpt(400, pace=20), 3)
        self.seen("stale", "generation 1: 3 ranks")
        lost = self.get("pods", "stale-worker-1")["spec"]["nodeName"]
        self.addCleanup(self.sim.control, "node/back", name=lost)
        self.addCleanup(self.only_node, None)
        self.only_node(lost)
        self.sim.control("node/lost", name=lost, processes="kill", silence=3000)
        first = wait_for(lambda: self.job_pods("stale").get("stale-worker-1-1", {}).get(
            "spec", {}).get("nodeName"), "a replacement that is bound", 30)
        self.assertEqual(lost, first)
        self.only_node(None)
        self.seen("stale", "joined on stale-worker-1-2")
        second = self.get("pods", "stale-worker-1-2")
        self.assertEqual(lost, second["metadata"]["annotations"]["reknit.dev/avoids"])
        self.assertNotEqual(lost, second["spec"]["nodeName"])
        self.assertEqual("Complete", self.ended("stale"))
        self.assertEqual(self.digest_of_laptop(400, 3), self.digest())

    def test_suspend_and_resume(self):
        self.start("pause", self.chargpt(300, pace=20), 2)
        self.seen("pause", "generation 1: 2 ranks")
        self.suspend_and_resume("pause")
        self.assertEqual(self.digest_of_laptop(300, 2), self.digest())

    def test_a_server_that_does_not_answer_yet(self):
        """What is asked, of whom and why again is said, less often than it is asked."""
        self.sim.control("fault", verb="get", resource="jobs", namespace=self.space,
                         name="late-launcher", action="status", code=503, count=8, retry_after=1,
                         message="not yet")
        self.start("late", self.chargpt(10), 1)
        what = (r"https://127\.\d+\.\d+\.\d+:\d+ is asked for the Job that owns this pod, without"
                r" success for \d+ s; it is asked again \(GET .*/jobs/late-launcher: 503 .*not yet")
        self.seen("late", what)
        log = self.seen("late", r"https://.* answers again")
        self.assertLess(len(re.findall("is asked again", log)), 8)
        self.assertEqual("Complete", self.ended("late"))
        self.assertEqual(1, len(re.findall("answers again", self.launcher_log("late"))))

    def test_nothing_is_left_of_a_deleted_job(self):
        self.start("gone", self.chargpt(10000, pace=20), 2)
        self.seen("gone", "generation 1: 2 ranks")
        self.delete("jobs", "gone-launcher", propagationPolicy="Background")
        wait_for(lambda: not self.names("pods"), "no pods", 60)
        wait_for(lambda: not [n for kind in ("configmaps", "secrets", "services")
                              for n in self.names(kind) if n.startswith("gone-")],
                 "nothing that the job's pods have made", 30)


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: pods as processes need root")
        sys.exit(77)
    unittest.main()
