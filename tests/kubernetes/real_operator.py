"""`reknit operator` and our MPIJob definition at a real API server, with its own controllers.

There need be no node: what a kubelet would tell of pods, the tests write themselves.  An old server
passes over the definition's CEL rules, and drops `suspend` of a Job.

REKNIT_BUILD names the build folder (default: build/release of this tree).
"""
import json
import os
import subprocess
import tempfile
import unittest

from cluster_test import ApiTest
from process import wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
CRD = os.path.join(ROOT, "k8s", "deploy", "crd", "mpijobs.yaml")
NAME = "mpijobs.kubeflow.org"
GANGS = {"volcano": ("scheduling.volcano.sh", "v1beta1"),
         "scheduler-plugins": ("scheduling.x-k8s.io", "v1alpha1")}


def group_definition(group, version):
    """A PodGroup kind that takes anything: the operator's side of it is what is looked at."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"podgroups.{group}", "annotations": {
                "api-approved.kubernetes.io": "unapproved, a test's own"}},
            "spec": {"group": group, "scope": "Namespaced",
                     "names": {"kind": "PodGroup", "listKind": "PodGroupList",
                               "plural": "podgroups", "singular": "podgroup"},
                     "versions": [{"name": version, "served": True, "storage": True,
                                   "schema": {"openAPIV3Schema": schema}}]}}


def mpijob(**policy):
    """An MPIJob of two workers that no node can run: the tests say what becomes of its pods."""
    def template():
        return {"spec": {"nodeSelector": {"reknit.dev/none": "none"},
                         "containers": [{"name": "main", "image": "none:1",
                                         "command": ["mpirun", "work"]}]}}

    return {"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "metadata": {"name": "a"},
            "spec": {"runPolicy": policy, "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "template": template()},
                "Worker": {"replicas": 2, "template": template()}}}}


class RealOperator(ApiTest):
    def setUp(self):
        if not os.access(REKNIT, os.X_OK):
            self.skipTest(f"no {REKNIT}; build the tree first")
        super().setUp()
        if self.api.get("crd", NAME) is None:
            self.api.kubectl("create", "--validate=false", "-f", CRD)
            self.addCleanup(self.api.kubectl, "delete", "crd", NAME)
        self.wait_defined(NAME)

    def start(self, *more):
        """The operator, for this test's namespace."""
        log = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the test
        process = subprocess.Popen(
            [REKNIT, "operator", "--kubeconfig", self.api.kubeconfig, "--namespace",
             self.namespace, "--lock-namespace", self.namespace, "--coordinator-role", "view",
             *more], stderr=log)

        def stop():
            process.terminate()
            code = process.wait(timeout=30)
            log.seek(0)
            said = log.read()
            log.close()
            self.assertEqual(0, code, said)

        self.addCleanup(stop)

    def condition(self, kind, value="True"):
        """Waits until the MPIJob has the condition."""
        def has(job):
            return job is not None and any(
                (c["type"], c["status"]) == (kind, value)
                for c in job.get("status", {}).get("conditions", []))

        return self.wait_get(has, f"{kind} {value}", "mpijob", "a")

    def tell(self, pod, **status):
        """Writes a pod's status as a kubelet would."""
        found = self.get("pod", pod)
        found["status"].update(status)
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/status"
        self.kubectl("replace", "--raw", path, "-f", "-", given=found)

    def names(self, kind):
        """All objects of a kind that are ours."""
        found = self.get(kind, "-l", "reknit.dev/job=a")
        return [item["metadata"]["name"] for item in found["items"]] if found else []

    def launcher(self):
        """The coordinator's pod, when the Job's controller has made it."""
        def one():
            return [p for p in self.names("pods") if p.startswith("a-launcher-")]

        wait_for(one, lambda: "no coordinator's pod", 60)
        return one()[0]

    def worker(self, place):
        """A worker pod, as the coordinator makes it."""
        owner = self.get("job", "a-launcher")["metadata"]["uid"]
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": {
            "name": f"a-worker-{place}", "annotations": {"reknit.dev/place": str(place)},
            "labels": {"reknit.dev/job": "a", "training.kubeflow.org/job-role": "worker"},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "a-launcher",
                                 "uid": owner}]},
            "spec": {"restartPolicy": "Never", "nodeSelector": {"reknit.dev/none": "none"},
                     "containers": [{"name": "main", "image": "none:1"}]}})

    def run_all(self):
        """All pods run, as far as anybody can see."""
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reknit"}})
        self.create(mpijob(cleanPodPolicy="Running"))
        self.start()
        self.condition("Created")
        self.tell(self.launcher(), phase="Running")
        for place in range(2):
            self.worker(place)
            self.tell(f"a-worker-{place}", phase="Running")
        self.condition("Running")

    def test_definition(self):
        for wrong in ({"slotsPerWorker": -4}, {"launcherCreationPolicy": "Bogus"},
                      {"runPolicy": {"cleanPodPolicy": "Nope"}}):
            given = mpijob()
            given["spec"].update(wrong)
            run = self.api.kubectl("-n", self.namespace, "create", "--validate=false", "-f", "-",
                                   given=given, check=False)
            self.assertNotEqual(0, run.returncode, wrong)
            self.assertIn(next(iter(wrong)), run.stderr)
        given = mpijob()
        given["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]["tomorrow"] = [1]
        self.create(given)
        self.kubectl("scale", "mpijob", "a", "--replicas=3")
        found = self.get("mpijob", "a")["spec"]["mpiReplicaSpecs"]["Worker"]
        self.assertEqual((3, [1]), (found["replicas"], found["template"]["spec"]["tomorrow"]))
        self.assertIn("WORKERS", self.kubectl("get", "mpijobs"))

    def test_a_life(self):
        self.run_all()
        self.tell("a-worker-1", phase="Failed", reason="Evicted", message="the node is full")
        found = self.condition("Restarting")
        said = next(c for c in found["status"]["conditions"] if c["type"] == "Restarting")
        self.assertIn("was evicted (Evicted): the node is full", said["message"])
        self.tell(self.launcher(), phase="Succeeded")
        self.condition("Succeeded")
        wait_for(lambda: "a-worker-0" not in self.names("pods"), lambda: "a worker runs on", 60)
        events = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        told = {e["reason"] for e in events}
        self.assertLessEqual({"MPIJobCreated", "MPIJobRunning", "MPIJobSucceeded"}, told)

    def test_deletion_leaves_nothing(self):
        self.run_all()
        self.kubectl("delete", "mpijob", "a")
        for kind in ("jobs", "services", "configmaps", "secrets", "pods"):
            wait_for(lambda k=kind: not self.names(k), lambda k=kind: f"{k} are left", 60)

    def gang(self, name):
        """A life with a PodGroup, which its scheduler would wait for; its spec and the pods."""
        kind = f"podgroups.{GANGS[name][0]}"
        self.api.create(group_definition(*GANGS[name]))
        self.addCleanup(self.api.kubectl, "delete", "crd", kind)
        self.wait_defined(kind)
        self.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reknit"}})
        self.create(mpijob(cleanPodPolicy="Running", schedulingPolicy={
            "queue": "night", "scheduleTimeoutSeconds": 30}))
        self.start("--gang", name)
        group = self.wait_get(lambda g: True, "a PodGroup", kind, "a")
        owner, = group["metadata"]["ownerReferences"]
        self.assertEqual(("MPIJob", self.get("mpijob", "a")["metadata"]["uid"]),
                         (owner["kind"], owner["uid"]))
        wait_for(lambda: {"a-worker-0", "a-worker-1"} <= set(self.names("pods")),
                 lambda: f"no workers for the gang: {self.names('pods')}", 60)
        pods = [self.get("pod", pod) for pod in ("a-worker-0", "a-worker-1", self.launcher())]
        self.tell(pods[2]["metadata"]["name"], phase="Succeeded")
        self.condition("Succeeded")
        wait_for(lambda: self.get(kind, "a") is None, lambda: "the PodGroup is left", 60)
        return group["spec"], pods

    def test_gang_of_volcano(self):
        spec, pods = self.gang("volcano")
        self.assertEqual({"minMember": 3, "queue": "night"}, spec)
        for pod in pods:
            self.assertEqual("volcano", pod["spec"]["schedulerName"])
            self.assertEqual("a", pod["metadata"]["annotations"]["scheduling.k8s.io/group-name"])

    def test_gang_of_scheduler_plugins(self):
        spec, pods = self.gang("scheduler-plugins")
        self.assertEqual({"minMember": 3, "scheduleTimeoutSeconds": 30}, spec)
        for pod in pods:
            self.assertEqual("scheduler-plugins-scheduler", pod["spec"]["schedulerName"])
            self.assertEqual("a", pod["metadata"]["labels"]["scheduling.x-k8s.io/pod-group"])

    def test_not_valid(self):
        given = mpijob()
        del given["spec"]["mpiReplicaSpecs"]["Launcher"]
        self.create(given)
        self.start()
        found = self.condition("Failed")
        said = next(c for c in found["status"]["conditions"] if c["type"] == "Failed")
        self.assertEqual("ValidationError", said["reason"])
        self.assertIn("spec.mpiReplicaSpecs", said["message"])
        self.assertEqual([], self.names("jobs"))


if __name__ == "__main__":
    unittest.main()
