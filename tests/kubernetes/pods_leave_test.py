#!/usr/bin/env python3
"""Pods that say before they end, pods that stand by, pods on their way while nobody coordinates."""
import os
import re
import sys
import unittest

from pods_case import PodsCase, wait_for


class Leaving(PodsCase):
    """Whoever is told in time loses nothing, and nothing is asked for twice."""

    more = ", terminationGracePeriodSeconds: 600"

    def record_of(self, launcher):
        """Where the record of a coordinator's pod is, seen from here."""
        pid = str(self.processes(launcher)[0])
        return os.path.join("/proc", pid, "root", "reknit-run", "state", "record")

    def handed_over(self, name, pods):
        """These pods have left in order: no loss is told, no step lost."""
        log = self.seen(name, f"(?s)(has handed over.*){{{len(pods)}}}")
        for pod in pods:
            self.assertRegex(log, f"worker on {pod} will end soon")
            self.assertRegex(log, f"worker \\w+ on {pod} has handed over")
        self.assertNotIn("recovered", log)
        self.assertNotIn("is gone", log)

    def test_evicted_pods_hand_over(self):
        self.start("evicted", self.chargpt(400, pace=20), 3)
        self.seen("evicted", "generation 1: 3 ranks")
        for number, kind in enumerate(("preempt", "taint", "api")):
            pod = f"evicted-worker-{number}"
            self.sim.control("pod/evict", namespace=self.space, name=pod, kind=kind)
            self.seen("evicted", f"joined on {pod}-1")
        self.assertIn("nodes are not watched", self.launcher_log("evicted"))
        self.handed_over("evicted", [f"evicted-worker-{n}" for n in range(3)])
        self.assertEqual("Complete", self.ended("evicted"))
        self.assertEqual(self.digest_of_laptop(400, 3), self.digest())

    def test_all_pods_are_deleted_at_once(self):
        """The state goes over to those that come, be there nobody else who has it."""
        self.start("moved", self.chargpt(400, pace=20), 2)
        self.seen("moved", "generation 1: 2 ranks")
        for number in range(2):
            self.delete("pods", f"moved-worker-{number}")
        self.handed_over("moved", ["moved-worker-0", "moved-worker-1"])
        self.assertEqual("Complete", self.ended("moved"))
        self.assertEqual(self.digest_of_laptop(400, 2), self.digest())

    def test_a_spare_pod_takes_over(self):
        self.start("spare", self.chargpt(400, pace=20), 2, setting="reknit.dev/spares: '1'")
        self.seen("spare", "generation 1: 2 ranks")
        self.seen("spare", "joined on spare-worker-2")
        self.sim.control("plan", name="spare-worker-2-1", pull=3600)  # the next one never comes
        self.kill_process("spare-worker-1", "worker")
        log = self.seen("spare", "generation \\d+: 2 ranks(?s:.*)generation \\d+: 2 ranks")
        self.assertNotIn("joined on spare-worker-1-1", log)
        self.sim.control("plans/clear")
        self.assertEqual("Complete", self.ended("spare"))
        self.assertEqual(self.digest_of_laptop(400, 2), self.digest())

    def test_a_node_that_is_gone(self):
        """It is told at once to a coordinator that may look at nodes."""
        rbac = "rbac.authorization.k8s.io"
        self.sim.create("clusterroles", {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": self.space},
            "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}]}, "")
        self.sim.create("clusterrolebindings", {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": self.space},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": self.space},
            "subjects": [{"kind": "ServiceAccount", "name": "reknit",
                          "namespace": self.space}]}, "")
        self.start("sees", self.chargpt(300, pace=20), 2)
        self.seen("sees", "generation 1: 2 ranks")
        lost = self.get("pods", "sees-worker-1")["spec"]["nodeName"]
        self.sim.control("node/lost", name=lost, processes="kill", silence=3600, tolerated=3600)
        self.sim.control("remove", key="nodes", name=lost)
        self.seen("sees", f"node {lost} is gone")
        self.assertEqual("Complete", self.ended("sees"))
        self.assertEqual(self.digest_of_laptop(300, 2), self.digest())

    def test_a_record_that_a_power_failure_undid(self):
        """The file of the coordinator's pod is not forced to its disk: an older one, or a damaged
        one, gives way to the copy in the cluster."""
        self.start("power", self.chargpt(400, pace=20), 2, kinds=("Job", "Service", "ConfigMap"))
        self.seen("power", "generation 1: 2 ranks")
        pod = self.launcher("power")["metadata"]
        old = self.kept("power", "record", "\ngeneration 1\n")
        self.delete("pods", "power-worker-1", gracePeriodSeconds=0)
        self.seen("power", "joined on power-worker-1-1(?s:.*)generation \d+: 2 ranks")
        for left in (old, old[:40]):
            newest = self.kept("power", "record", "\ngeneration [3-9]\n")
            with open(self.record_of(pod["name"]), "w", encoding="utf-8") as out:
                out.write(left)
            epoch = int(re.search("\nepoch (\d+)\n", newest)[1])
            self.kill_process(pod["name"], "pods")
            self.seen("power", f"epoch {epoch // 16 * 16 + 17}, goes on")
        self.assertEqual(pod["uid"], self.launcher("power")["metadata"]["uid"])
        self.assertEqual("Complete", self.ended("power"))
        self.assertEqual(self.digest_of_laptop(400, 2), self.digest())

    def test_a_pod_that_pends_is_not_asked_for_again(self):
        """Its coordinator is killed, then the coordinator's pod deleted, while it is on its way."""
        self.start("slow", self.chargpt(400, pace=20), 2)
        self.seen("slow", "generation 1: 2 ranks")
        self.sim.control("plan", name="slow-worker-1-*", pull=3600)
        self.delete("pods", "slow-worker-1", gracePeriodSeconds=0)
        wait_for(lambda: "slow-worker-1-1" in self.job_pods("slow"), "a pod in its place", 30)
        launcher = self.launcher("slow")["metadata"]["name"]
        self.kill_process(launcher, "coordinator")
        self.seen("slow", "epoch 2, goes on")
        self.delete("pods", launcher)
        self.seen("slow", "epoch 17, goes on")
        self.seen("slow", "epoch 17(?s:.*)launcher connected")
        self.sim.control("plans/clear")
        self.delete("pods", "slow-worker-1-1", gracePeriodSeconds=0)  # it pulls for an hour
        self.seen("slow", "joined on slow-worker-1-2")
        self.assertEqual("Complete", self.ended("slow"))
        created = [r["name"] for r in self.sim.requests(verb="create", resource="pods")
                   if r["namespace"] == self.space and "reknit/" in r["agent"]]
        self.assertEqual(4, len(created), f"two, and one for each that was deleted: {created}")
        self.assertEqual(self.digest_of_laptop(400, 2), self.digest())


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: pods as processes need root")
        sys.exit(77)
    unittest.main()
