#!/usr/bin/env python3
"""Lives of jobs under the operator: status, suspension, deadlines, what is left and what is not."""
import time
import unittest

from operator_case import OperatorCase, mpijob
from sim_client import wait_for


class Life(OperatorCase):
    """From the first object to the last."""

    def test_success(self):
        self.submit("a")
        self.assertEqual("MPIJobCreated", self.becomes("a", "Created")["reason"])
        self.workers("a")
        self.assertEqual("MPIJobRunning", self.becomes("a", "Running")["reason"])
        status = wait_for(lambda: self.status("a")["replicaStatuses"]["Worker"]["active"] == 2
                          and self.status("a"), "two workers")
        self.assertEqual(1, status["replicaStatuses"]["Launcher"]["active"])
        self.assertIn("startTime", status)
        self.assertNotIn("completionTime", status)
        self.assertEqual(1, status["observedGeneration"])
        self.end_launcher("a")
        self.assertEqual("MPIJobSucceeded", self.becomes("a", "Succeeded")["reason"])
        status = self.status("a")
        self.assertEqual("False", self.condition("a", "Running")["status"])
        self.assertIn("completionTime", status)
        self.assertEqual(1, status["replicaStatuses"]["Launcher"]["succeeded"])
        for reason in ("MPIJobCreated", "MPIJobRunning", "MPIJobSucceeded"):
            self.told(reason)
            self.assertEqual(1, len(self.notes(reason)))

    def test_objects_and_their_owner(self):
        uid = self.submit("a")["metadata"]["uid"]
        self.launcher("a")
        wait_for(lambda: self.has("secrets", "a-reknit"), "the secret")
        for resource, name in (("jobs", "a-launcher"), ("services", "a"),
                               ("configmaps", "a-config"), ("secrets", "a-reknit")):
            owners = self.get(resource, name)["metadata"]["ownerReferences"]
            self.assertEqual([("MPIJob", uid)], [(o["kind"], o["uid"]) for o in owners], name)
        self.assertEqual("reknit-coordinator",
                         self.get("rolebindings", "reknit")["roleRef"]["name"])
        self.get("serviceaccounts", "reknit")

    def test_deletion_leaves_nothing(self):
        self.run_job("a")
        self.delete("mpijobs", "a")
        self.gone("jobs", "a-launcher")
        self.gone("services", "a")
        self.gone("configmaps", "a-config")
        self.gone("secrets", "a-reknit")
        wait_for(lambda: not self.pods("a"), "no pod")

    def test_deleted_objects_come_back(self):
        self.submit("a")
        first = self.launcher("a")["metadata"]["uid"]
        self.delete("services", "a")
        self.delete("configmaps", "a-config")
        self.delete("jobs", "a-launcher", propagationPolicy="Background")
        for resource, name in (("services", "a"), ("configmaps", "a-config")):
            wait_for(lambda r=resource, n=name: self.has(r, n), f"{resource} {name}")
        wait_for(lambda: self.launcher("a")["metadata"]["uid"] != first, "another Job")

    def test_many(self):
        self.plan(name="*-launcher-*", run=[5, 20])
        for number in range(30):
            self.submit(f"m{number}")
        for number in range(30):
            self.becomes(f"m{number}", "Succeeded")
        self.assertEqual(30, len(self.list("jobs")["items"]))

    def test_a_job_of_the_launcher_alone(self):
        body = mpijob("a")
        del body["spec"]["mpiReplicaSpecs"]["Worker"]
        body["spec"]["runLauncherAsWorker"] = True
        self.create("mpijobs", body)
        self.becomes("a", "Running")
        self.assertNotIn("Worker", self.status("a")["replicaStatuses"])

    def test_replicas_edited_while_it_runs(self):
        self.run_job("a")
        before = self.launcher("a")["metadata"]["uid"]
        self.edit("a", mpiReplicaSpecs={"Worker": {"replicas": 5}})
        wait_for(lambda: '"replicas": 5' in self.get("configmaps", "a-config")["data"][
            "mpijob.json"], "the coordinator's text of the job")
        self.assertEqual(before, self.launcher("a")["metadata"]["uid"])


class Losses(OperatorCase):
    """What is told of lost pods."""

    def test_out_of_memory(self):
        self.run_job("a", 3)
        self.sim.control("pod/exit", namespace=self.space, name="a-worker-1", reason="OOMKilled")
        said = self.becomes("a", "Restarting")["message"]
        node = self.get("pods", "a-worker-1")["spec"]["nodeName"]
        for word in ("2 of 3 workers run", "worker 1 (rank 1)", node, "out of memory"):
            self.assertIn(word, said)
        self.assertEqual("True", self.condition("a", "Running")["status"])
        self.worker("a", 1, 1)
        self.becomes("a", "Restarting", "False")
        self.delete("pods", "a-worker-1", gracePeriodSeconds=0)
        time.sleep(0.3)
        self.assertIn("out of memory", self.condition("a", "Restarting")["message"])
        self.assertEqual(said, self.told("MPIJobRestarting"))

    def test_fewer_than_the_least(self):
        self.run_job("a", 3, annotations={"reknit.dev/min-workers": "2"})
        self.sim.control("pod/exit", namespace=self.space, name="a-worker-0", exit=3)
        self.becomes("a", "Restarting")
        self.assertEqual("True", self.condition("a", "Running")["status"])
        self.sim.control("pod/exit", namespace=self.space, name="a-worker-2", exit=9)
        found = self.becomes("a", "Running", "False")
        self.assertIn("exit code 9", found["message"])
        self.assertEqual("MPIJobRestarting", found["reason"])
        self.worker("a", 0, 1)
        self.becomes("a", "Running")
        self.becomes("a", "Restarting")

    def test_the_least_is_enough_to_begin(self):
        self.submit("a", 3, annotations={"reknit.dev/min-workers": "2"})
        self.workers("a", 2)
        self.becomes("a", "Running")

    def test_backoff_limit(self):
        body = mpijob("a", backoffLimit=0)
        body["spec"]["mpiReplicaSpecs"]["Launcher"]["restartPolicy"] = "Never"
        self.create("mpijobs", body)
        self.workers("a")
        self.becomes("a", "Running")
        self.sim.control("pod/exit", namespace=self.space, name="a-worker-1", exit=7)
        self.end_launcher("a", 1)
        found = self.becomes("a", "Failed")
        self.assertTrue(found["reason"].startswith("BackoffLimitExceeded"), found)
        for word in ("worker 1 (rank 1)", "exit code 7"):
            self.assertIn(word, found["message"])
        self.assertIn("completionTime", self.status("a"))
        self.told("MPIJobFailed")


class Ends(OperatorCase):
    """cleanPodPolicy, ttlSecondsAfterFinished, activeDeadlineSeconds."""

    def ended(self, policy):
        self.run_job("a", cleanPodPolicy=policy)
        self.sim.control("pod/exit", namespace=self.space, name="a-worker-1", exit=0)
        self.end_launcher("a")
        self.becomes("a", "Succeeded")

    def left(self, role):
        return sorted(p["metadata"]["name"] for p in self.pods("a", role))

    def test_clean_none(self):
        self.ended("None")
        time.sleep(0.5)
        self.assertEqual(["a-worker-0", "a-worker-1"], self.left("worker"))
        self.assertEqual(1, len(self.left("launcher")))

    def test_clean_running(self):
        self.ended("Running")
        wait_for(lambda: self.left("worker") == ["a-worker-1"], "the ended one stays")
        wait_for(lambda: self.status("a")["replicaStatuses"]["Worker"]["active"] == 0, "none runs")
        self.assertEqual(1, len(self.left("launcher")))

    def test_clean_all(self):
        self.ended("All")
        wait_for(lambda: not self.pods("a"), "no pod")
        self.assertEqual(1, self.status("a")["replicaStatuses"]["Worker"]["succeeded"])

    def test_time_to_live(self):
        self.run_job("a", ttlSecondsAfterFinished=1)
        self.end_launcher("a")
        self.becomes("a", "Succeeded")
        self.gone("mpijobs", "a")
        self.gone("jobs", "a-launcher")
        wait_for(lambda: not self.pods("a"), "no pod")

    def test_deadline(self):
        self.run_job("a", activeDeadlineSeconds=20)
        self.assertEqual("DeadlineExceeded", self.becomes("a", "Failed")["reason"])
        wait_for(lambda: not self.left("worker"), "nothing is active past the deadline")


class Suspended(OperatorCase):
    """Kueue's contract."""

    def active(self):
        return [c["active"] for c in self.status("a").get("replicaStatuses", {}).values()]

    def test_nothing_is_made_before_it_is_admitted(self):
        self.submit("a", suspend=True)
        self.assertEqual("MPIJobSuspended", self.becomes("a", "Suspended")["reason"])
        self.assertEqual([], self.names("jobs"))
        self.assertNotIn("startTime", self.status("a"))
        types = {"spec": {"nodeSelector": {"pool": "x"}, "tolerations": [{"operator": "Exists"}]},
                 "metadata": {"labels": {"kueue.x-k8s.io/podset": "launcher"}}}
        self.edit("a", runPolicy={"suspend": False},
                  mpiReplicaSpecs={"Launcher": {"template": types}, "Worker": {"template": types}})
        made = self.launcher("a")["spec"]["template"]
        self.assertEqual({"pool": "x"}, made["spec"]["nodeSelector"])
        self.assertEqual("launcher", made["metadata"]["labels"]["kueue.x-k8s.io/podset"])
        self.assertIn('"pool": "x"', self.get("configmaps", "a-config")["data"]["mpijob.json"])
        self.assertEqual("MPIJobResumed", self.becomes("a", "Suspended", "False")["reason"])

    def test_suspend_and_resume(self):
        self.run_job("a")
        began = self.status("a")["startTime"]
        job = self.launcher("a")["metadata"]["uid"]
        time.sleep(1.1)
        self.suspend("a")
        self.becomes("a", "Suspended")
        wait_for(lambda: not self.pods("a"), "no pod")
        wait_for(lambda: self.active() == [0, 0], "active is 0")
        self.assertEqual("MPIJobSuspended", self.condition("a", "Running")["reason"])
        self.suspend("a", False)
        self.becomes("a", "Suspended", "False")
        wait_for(lambda: self.pods("a", "launcher"), "a coordinator again")
        self.assertEqual(job, self.launcher("a")["metadata"]["uid"])
        self.assertGreater(self.status("a")["startTime"], began)
        self.workers("a")
        self.becomes("a", "Running")

    def test_workers_stay_until_the_coordinator_is_gone(self):
        self.plan(name="a-launcher-*", stop=30)
        self.run_job("a")
        self.suspend("a")
        wait_for(lambda: self.pods("a", "launcher")[0]["metadata"].get("deletionTimestamp"),
                 "the coordinator is to end")
        time.sleep(0.3)
        self.assertEqual(2, len(self.pods("a", "worker")))
        wait_for(lambda: not self.pods("a"), "no pod")

    def test_edited_while_suspended(self):
        self.run_job("a")
        owner = self.launcher("a")["metadata"]["uid"]
        self.create("configmaps", {"metadata": {
            "name": "a-record", "labels": {"reknit.dev/job": "a"}, "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "a-launcher", "uid": owner}]},
            "data": {"record": "epoch 7"}})
        self.suspend("a")
        wait_for(lambda: not self.pods("a"), "no pod")
        spec = self.get("mpijobs", "a")["spec"]
        spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["image"] = "new:2"
        spec["runPolicy"]["suspend"] = False
        self.edit("a", **spec)
        wait_for(lambda: self.has("jobs", "a-launcher") and self.launcher("a")["metadata"]["uid"]
                 != owner, "another Job")
        made = self.launcher("a")["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual("new:2", made["image"])
        time.sleep(0.5)
        self.assertEqual("epoch 7", self.get("configmaps", "a-record")["data"]["record"])
        self.delete("mpijobs", "a")
        self.gone("configmaps", "a-record")

    def test_a_gang(self):
        self.plan(name="a-launcher-*", pull=[100, 200])
        body = mpijob("a")
        for one in body["spec"]["mpiReplicaSpecs"].values():
            one["template"]["spec"]["schedulerName"] = "volcano"
        self.create("mpijobs", body)
        group = "scheduling.volcano.sh/v1beta1"
        listed = f"/apis/{group}/namespaces/{self.space}/podgroups"
        found = wait_for(lambda: self.sim.ask("GET", listed)["items"], "a PodGroup")
        self.assertEqual(3, found[0]["spec"]["minMember"])
        wait_for(lambda: len(self.pods("a", "worker")) == 2, "workers that its scheduler waits for")
        self.suspend("a")
        wait_for(lambda: not self.sim.ask("GET", listed)["items"], "no PodGroup")
        wait_for(lambda: not self.pods("a"), "no pod")
        self.suspend("a", False)
        wait_for(lambda: self.sim.ask("GET", listed)["items"], "a PodGroup again")
        wait_for(lambda: len(self.pods("a", "worker")) == 2, "workers again")


if __name__ == "__main__":
    unittest.main()
