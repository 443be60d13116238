#!/usr/bin/env python3
"""The controllers, the scheduler and the fake kubelet around the simulated API server."""
import unittest

import sim_client
from sim_case import Case
from sim_client import config_map, pod, wait_for

LONG = 1_000_000  # sim seconds that do not pass in a test


def job(name, policy="Never", **spec):
    """A small Job."""
    return {"metadata": {"name": name}, "spec": {
        "template": {"spec": pod("x", restartPolicy=policy)["spec"]}, **spec}}


class Cluster(Case):
    """A test with a whole cluster whose time runs fast."""

    ARGUMENTS = ("--all", "--nodes", 2, "--factor", 100)

    def setUp(self):
        super().setUp()
        self.sim.control("plans/clear")

    def tearDown(self):
        self.sim.delete("namespaces", self.space, "")
        super().tearDown()

    def plan(self, **plan):
        self.sim.control("plan", namespace=self.space, **plan)

    def condition(self, resource, name, kind):
        """A true condition of an object, or None."""
        found = self.get(resource, name).get("status", {}).get("conditions", [])
        return next((c for c in found if (c["type"], c["status"]) == (kind, "True")), None)

    def ends(self, name, kind):
        return wait_for(lambda: self.condition("jobs", name, kind), f"{name} is {kind}")

    def pods(self, **query):
        return self.list("pods", **query)["items"]

    def phase(self, name, phase):
        return wait_for(lambda: next((p for p in self.pods() if p["metadata"]["name"] == name
                                      and p["status"]["phase"] == phase), None),
                        f"{name} is {phase}")


class Collector(Cluster):
    """Owners and dependents."""

    def family(self, block=True):
        owner = self.create("configmaps", config_map("owner"))
        for name in ("a", "b"):
            body = config_map(name)
            body["metadata"]["ownerReferences"] = [{
                "apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": block}]
            self.create("configmaps", body)
        return owner

    def gone(self, *names):
        wait_for(lambda: not set(names) & set(self.names("configmaps")), f"{names} are gone")

    def test_background(self):
        self.family()
        self.assertEqual("Success", self.delete("configmaps", "owner")["status"])
        self.gone("a", "b", "owner")

    def test_foreground(self):
        self.family()
        self.patch("configmaps", "a", {"metadata": {"finalizers": ["reknit.dev/x"]}})
        made = self.delete("configmaps", "owner", propagationPolicy="Foreground")
        self.assertEqual(["foregroundDeletion"], made["metadata"]["finalizers"])
        self.gone("b")
        self.assertIn("owner", self.names("configmaps"))
        self.patch("configmaps", "a", {"metadata": {"finalizers": None}})
        self.gone("a", "owner")

    def test_orphan(self):
        self.family()
        self.delete("configmaps", "owner", propagationPolicy="Orphan")
        self.gone("owner")
        self.assertNotIn("ownerReferences", self.get("configmaps", "a")["metadata"])

    def test_no_such_owner(self):
        body = config_map("a")
        body["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap",
                                                "name": "owner", "uid": "none"}]
        self.create("configmaps", body)
        self.gone("a")

    def test_one_owner_of_two(self):
        owner = self.family()
        other = self.create("configmaps", config_map("other"))
        references = self.get("configmaps", "a")["metadata"]["ownerReferences"]
        references.append({"apiVersion": "v1", "kind": "ConfigMap", "name": "other",
                           "uid": other["metadata"]["uid"]})
        self.patch("configmaps", "a", {"metadata": {"ownerReferences": references}})
        self.delete("configmaps", owner["metadata"]["name"])
        self.gone("owner", "b")
        kept = wait_for(lambda: [r["name"] for r in self.get("configmaps", "a")["metadata"][
            "ownerReferences"]] == ["other"], "the reference goes")
        self.assertTrue(kept)


class Jobs(Cluster):
    """The Job controller."""

    def test_success(self):
        self.plan(name="j-*", run=1)
        self.create("jobs", job("j"))
        self.ends("j", "Complete")
        status = self.get("jobs", "j")["status"]
        self.assertEqual((1, 0), (status["succeeded"], status.get("active", 0)))
        self.assertIn("completionTime", status)
        labels = self.pods()[0]["metadata"]["labels"]
        self.assertEqual("j", labels["batch.kubernetes.io/job-name"])
        wait_for(lambda: "finalizers" not in self.pods()[0]["metadata"], "the pod is counted")

    def test_retries_and_limit(self):
        self.plan(name="j-*", run=0, exit=3)
        self.create("jobs", job("j", backoffLimit=2))
        self.assertEqual("BackoffLimitExceeded", self.ends("j", "Failed")["reason"])
        self.assertEqual(3, self.get("jobs", "j")["status"]["failed"])
        self.assertEqual(["Failed"] * 3, [p["status"]["phase"] for p in self.pods()])
        ended = self.pods()[0]["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual((3, "Error"), (ended["exitCode"], ended["reason"]))

    def test_a_retry_waits(self):
        with sim_client.Simulation("--all", "--nodes", 1) as sim:
            sim.control("plan", run=0, exit=3)
            sim.create("jobs", job("j"))
            wait_for(lambda: sim.get("jobs", "j").get("status", {}).get("failed"), "the failure")
            self.assertEqual(1, len(sim.list("pods")["items"]))

    def test_limit_of_restarts_leaves_no_pod(self):
        self.plan(name="j-*", run=0, exit=3)
        self.create("jobs", job("j", "OnFailure", backoffLimit=1))
        self.ends("j", "Failed")
        self.assertEqual([], self.pods())

    def test_deadline(self):
        self.create("jobs", job("j", activeDeadlineSeconds=5))
        self.assertEqual("DeadlineExceeded", self.ends("j", "Failed")["reason"])
        self.assertEqual([], self.pods())

    def test_time_to_live(self):
        self.plan(name="j-*", run=1)
        self.create("jobs", job("j", ttlSecondsAfterFinished=10))
        wait_for(lambda: not self.names("jobs") and not self.pods(), "the job is gone")

    def test_suspend(self):
        self.create("jobs", job("j", suspend=True))
        wait_for(lambda: self.condition("jobs", "j", "Suspended"), "suspended")
        self.assertEqual([], self.pods())
        self.patch("jobs", "j", {"spec": {"suspend": False}})
        wait_for(lambda: self.get("jobs", "j")["status"].get("ready"), "it runs")
        self.patch("jobs", "j", {"spec": {"suspend": True}})
        wait_for(lambda: not self.pods(), "no pod is left")
        status = self.get("jobs", "j")["status"]
        self.assertNotIn("startTime", status)
        self.assertEqual(0, status.get("active", 0) + status.get("failed", 0))

    def test_a_deleted_pod_is_replaced(self):
        self.plan(name="j-*", stop=LONG)
        self.create("jobs", job("j", template={"spec": pod(
            "x", restartPolicy="Never", terminationGracePeriodSeconds=LONG)["spec"]}))
        first = wait_for(self.pods, "a pod")[0]["metadata"]["name"]
        self.phase(first, "Running")
        self.delete("pods", first)
        wait_for(lambda: len(self.pods()) == 2, "the next pod beside the old one")

    def test_patient_replacement(self):
        self.plan(name="j-*", stop=LONG)
        self.create("jobs", job("j", podReplacementPolicy="Failed", template={"spec": pod(
            "x", restartPolicy="Never", terminationGracePeriodSeconds=LONG)["spec"]}))
        first = wait_for(self.pods, "a pod")[0]["metadata"]["name"]
        self.phase(first, "Running")
        self.delete("pods", first)
        wait_for(lambda: self.get("jobs", "j")["status"].get("terminating") == 1, "it is told")
        self.assertEqual([first], self.names("pods"))
        self.assertNotIn("failed", self.get("jobs", "j")["status"])
        self.sim.control("pod/exit", namespace=self.space, name=first, exit=1)
        wait_for(lambda: self.names("pods") not in ([first], []), "the next pod")

    def test_deletion_keeps_the_pods_unless_told(self):
        self.create("jobs", job("j"))
        name = wait_for(self.pods, "a pod")[0]["metadata"]["name"]
        self.phase(name, "Running")
        self.delete("jobs", "j")
        wait_for(lambda: not self.names("jobs"), "the job goes")
        left = wait_for(lambda: [p for p in self.pods() if not p["metadata"].get("finalizers")],
                        "the pod is free")
        self.assertEqual([name], [p["metadata"]["name"] for p in left])
        self.create("jobs", job("k"))
        wait_for(lambda: len(self.pods()) == 2, "a pod")
        self.delete("jobs", "k", propagationPolicy="Background")
        wait_for(lambda: self.names("pods") == [name], "the pod of k goes")

    def test_failure_policy(self):
        self.plan(name="j-*", run=0, exit=42)
        rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
        self.create("jobs", job("j", podFailurePolicy={"rules": rules}))
        self.assertEqual("PodFailurePolicy", self.ends("j", "Failed")["reason"])
        self.assertEqual(1, self.get("jobs", "j")["status"]["failed"])

    def test_indexed(self):
        self.plan(name="j-*", run=1)
        self.create("jobs", job("j", completionMode="Indexed", completions=3, parallelism=3))
        self.ends("j", "Complete")
        key = "batch.kubernetes.io/job-completion-index"
        self.assertEqual(["0", "1", "2"], sorted(p["metadata"]["annotations"][key]
                                                 for p in self.pods()))


class Pods(Cluster):
    """The scheduler and the kubelet."""

    def test_life(self):
        self.plan(name="p", pull=5, ready=5)
        with self.watch("pods", resourceVersion=self.version("pods")) as watch:
            self.create("pods", pod("p"))
            seen = []
            while not seen or seen[-1] != ("Running", True, True):
                body = watch.next()["object"]
                ready = any(c["type"] == "Ready" and c["status"] == "True"
                            for c in body["status"].get("conditions", []))
                seen.append((body["status"]["phase"], "podIP" in body["status"], ready))
        self.assertEqual([("Pending", False, False), ("Running", True, False),
                          ("Running", True, True)], list(dict.fromkeys(seen)))

    def test_addresses_come_back(self):
        self.create("pods", pod("a"))
        address = self.phase("a", "Running")["status"]["podIP"]
        self.delete("pods", "a")
        wait_for(lambda: not self.pods(), "a is gone")
        self.create("pods", pod("b"))
        self.assertEqual(address, self.phase("b", "Running")["status"]["podIP"])

    def test_out_of_memory(self):
        self.create("pods", pod("p", restartPolicy="Never"))
        self.phase("p", "Running")
        self.sim.control("pod/exit", namespace=self.space, name="p", reason="OOMKilled")
        status = self.phase("p", "Failed")["status"]["containerStatuses"][0]["state"]
        self.assertEqual((137, "OOMKilled"), (status["terminated"]["exitCode"],
                                              status["terminated"]["reason"]))

    def test_restarts(self):
        self.plan(name="p", run=0, exit=1, count=2)
        self.create("pods", pod("p", restartPolicy="OnFailure"))
        status = wait_for(lambda: next((p["status"] for p in self.pods() if p["status"].get(
            "containerStatuses", [{}])[0].get("restartCount") == 2 and p["status"][
                "containerStatuses"][0]["ready"]), None), "two restarts")
        self.assertEqual(1, status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"])

    def test_pull_errors(self):
        self.plan(name="p", pull_error="ErrImagePull")
        self.create("pods", pod("p"))
        wait_for(lambda: self.get("pods", "p")["status"].get("containerStatuses", [{}])[0].get(
            "state", {}).get("waiting", {}).get("reason") == "ErrImagePull", "the error")
        self.delete("pods", "p")
        wait_for(lambda: not self.pods(), "p is gone")

    def test_evictions(self):
        for kind, reason in (("kubelet", "TerminationByKubelet"),
                             ("preempt", "PreemptionByScheduler"),
                             ("api", "EvictionByEvictionAPI")):
            self.plan(name=f"p-{kind}", stop=LONG)
            self.create("pods", pod(f"p-{kind}", terminationGracePeriodSeconds=LONG))
            self.phase(f"p-{kind}", "Running")
            self.sim.control("pod/evict", namespace=self.space, name=f"p-{kind}", kind=kind)
            found = self.condition("pods", f"p-{kind}", "DisruptionTarget")
            self.assertEqual(reason, found["reason"])
        status = self.get("pods", "p-kubelet")["status"]
        self.assertEqual(("Failed", "Evicted"), (status["phase"], status["reason"]))

    def test_no_room(self):
        body = pod("p")
        body["spec"]["containers"][0]["resources"] = {"requests": {"nvidia.com/gpu": "1"}}
        self.create("pods", body)
        wait_for(lambda: "2 Insufficient nvidia.com/gpu" in str(
            self.get("pods", "p")["status"]), "the reason")
        self.sim.control("node/add", name="gpu-" + self.space, resources={"nvidia.com/gpu": "1"})
        self.assertEqual("gpu-" + self.space, self.phase("p", "Running")["spec"]["nodeName"])
        self.create("pods", {**body, "metadata": {"name": "q"}})
        wait_for(lambda: "Insufficient nvidia.com/gpu" in str(
            self.get("pods", "q")["status"]), "no room for two")
        self.delete("pods", "p")
        self.phase("q", "Running")
        self.sim.delete("nodes", "gpu-" + self.space, "")

    def test_selectors_taints_gates(self):
        self.sim.control("node/add", name="t-" + self.space, labels={"zone": "z"},
                         taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
        self.create("pods", pod("p", nodeSelector={"zone": "z"}))
        wait_for(lambda: "untolerated taint" in str(self.get("pods", "p")["status"]), "the reason")
        self.create("pods", pod("q", nodeSelector={"zone": "z"}, schedulingGates=[{"name": "g/h"}],
                                tolerations=[{"key": "k", "operator": "Exists"}]))
        self.assertNotIn("nodeName", self.get("pods", "q")["spec"])
        self.patch("pods", "q", {"spec": {"schedulingGates": []}})
        self.phase("q", "Running")
        self.sim.delete("nodes", "t-" + self.space, "")

    def test_a_lost_node(self):
        node = "lost-" + self.space
        self.sim.control("node/add", name=node, labels={"l": node})
        self.create("pods", pod("p", nodeSelector={"l": node}))
        self.phase("p", "Running")
        self.sim.control("node/lost", name=node)
        wait_for(lambda: any(c["type"] == "Ready" and c["status"] == "Unknown" for c in
                             self.sim.get("nodes", node, "")["status"]["conditions"]), "Unknown")
        self.assertIsNone(self.condition("pods", "p", "Ready"))
        keys = {t["key"] for t in self.sim.get("nodes", node, "")["spec"]["taints"]}
        self.assertEqual({"node.kubernetes.io/unreachable"}, keys)
        wait_for(lambda: self.get("pods", "p")["metadata"].get("deletionTimestamp"), "expelled")
        self.assertEqual("DeletionByTaintManager",
                         self.condition("pods", "p", "DisruptionTarget")["reason"])
        self.assertEqual(["p"], self.names("pods"))
        self.delete("pods", "p", gracePeriodSeconds=0)
        self.assertEqual([], self.names("pods"))
        self.sim.delete("nodes", node, "")

    def test_a_node_that_comes_back(self):
        node = "back-" + self.space
        self.sim.control("node/add", name=node, labels={"l": node})
        self.create("pods", pod("p", nodeSelector={"l": node}))
        self.phase("p", "Running")
        self.sim.control("node/lost", name=node, tolerated=1)
        wait_for(lambda: self.get("pods", "p")["metadata"].get("deletionTimestamp"), "expelled")
        self.sim.control("node/back", name=node)
        wait_for(lambda: not self.pods(), "the deletion is confirmed")
        self.sim.delete("nodes", node, "")

    def test_grace(self):
        self.plan(name="p", stop=10000)
        self.create("pods", pod("p", terminationGracePeriodSeconds=20))
        self.phase("p", "Running")
        with self.watch("pods", resourceVersion=self.version("pods")) as watch:
            self.delete("pods", "p")
            last = watch.until(lambda e: e["type"] == "DELETED")["object"]
        ended = last["status"]["containerStatuses"][0]["state"]["terminated"]
        self.assertEqual((137, 9), (ended["exitCode"], ended["signal"]))

    def test_old_versions_say_less(self):
        with sim_client.Simulation("--all", "--nodes", 1, "--version", "1.20") as sim:
            sim.create("pods", pod("p"))
            wait_for(lambda: sim.get("pods", "p")["status"]["phase"] == "Running", "it runs")
            sim.control("pod/evict", name="p")
            self.assertNotIn("DisruptionTarget", str(sim.get("pods", "p")))

    def test_thousands(self):
        with sim_client.Simulation("--all", "--nodes", 20, "--factor", 50) as sim:
            sim.control("plans/clear", defaults={"pull": [0, 10]})
            with sim.watch("pods", resourceVersion=sim.list("pods")["metadata"][
                    "resourceVersion"], timeout=60) as watch:
                for number in range(2000):
                    sim.create("pods", pod(f"p{number}"))
                running = set()
                while len(running) < 2000:
                    body = watch.next()["object"]
                    if body["status"]["phase"] == "Running":
                        running.add(body["status"]["podIP"])
            self.assertEqual([], sim.control("state")["errors"])


if __name__ == "__main__":
    unittest.main()
