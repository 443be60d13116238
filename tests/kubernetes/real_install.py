"""The operator as an administrator installs it: `kubectl apply -k k8s/deploy`, the project's image
in pods of its own, with the rights of those files and no others, and jobs whose pods are real.

MANIFESTS names a folder that may hold mpi-operator's definition, crd-kubeflow.org_mpijobs.yaml.
"""
import os
import shutil
import sys
import time
import unittest
import urllib.request

import cluster_test
import restricted
from cluster_test import NodeTest
from process import wait_for
from real_line import CONTAINER, POD
from real_pods import AGENT, ROOT, import_agent

CRD = "mpijobs.kubeflow.org"
THEIRS = os.path.join(os.environ.get("MANIFESTS", ""), "crd-kubeflow.org_mpijobs.yaml")
SYSTEM = "reknit-system"
NAME = "reknit-operator"
# What an administrator writes where the image has another name.  This kubectl's kustomize is an old
# one, which calls other kustomizations `bases`.
OVERLAY = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
bases: [../../base]
images: [{{name: reknit, newName: {name}, newTag: {tag}}}]
"""


def mpijob(name, steps, pace):
    """Two workers that take so many steps, with so many ms between them."""
    def template():
        return {"spec": {"securityContext": POD, "containers": [
            {"name": "main", "image": cluster_test.IMAGE, "securityContext": CONTAINER}]}}

    return {"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob",
            "metadata": {"name": name, "annotations": {
                "reknit.dev/program": f"/reknit/examples/tiny {steps} {pace}"}},
            "spec": {"runPolicy": {"cleanPodPolicy": "Running"}, "mpiReplicaSpecs": {
                "Launcher": {"template": template()},
                "Worker": {"replicas": 2, "template": template()}}}}


class RealInstall(NodeTest):
    def setUp(self):
        super().setUp()
        import_agent(self)
        self.deploy = os.path.join(self.cluster.folder, "deploy")
        shutil.rmtree(self.deploy, ignore_errors=True)
        shutil.copytree(os.path.join(ROOT, "k8s", "deploy"), self.deploy)
        overlay = os.path.join(self.deploy, "overlays", "test")
        os.makedirs(overlay)
        image, tag = AGENT.rsplit(":", 1)
        with open(os.path.join(overlay, "kustomization.yaml"), "w", encoding="utf-8") as out:
            out.write(OVERLAY.format(name=image, tag=tag))

    # ---- installing -----------------------------------------------------------------------------

    def kustomize(self, verb, folder, *more):
        self.api.kubectl(verb, "-k", os.path.join(self.deploy, folder), *more, deadline=120)

    def install(self):
        """The operator and the coordinators' role; both operators are ready."""
        self.kustomize("apply", "role")
        self.addCleanup(self.kustomize, "delete", "role", "--ignore-not-found")
        self.addCleanup(self.kustomize, "delete", "overlays/test", "--ignore-not-found")
        self.apply()

    def apply(self):
        self.kustomize("apply", "overlays/test")
        self.api.kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{NAME}",
                         "--timeout=90s", deadline=100)

    def define(self, *how):
        """The kind, which other tests define too."""
        self.api.kubectl("delete", "crd", CRD, "--ignore-not-found")
        self.api.kubectl("create", "--validate=false", *how)
        self.addCleanup(self.api.kubectl, "delete", "crd", CRD)
        self.wait_defined(CRD)

    # ---- looking --------------------------------------------------------------------------------

    def operators(self):
        found = self.api.get("-n", SYSTEM, "pods", "-l", f"app.kubernetes.io/name={NAME}")
        return {p["metadata"]["name"]: p for p in (found["items"] if found else [])
                if "deletionTimestamp" not in p["metadata"]}

    def leader(self):
        """The operator's pod that acts."""
        lease = self.api.get("-n", SYSTEM, "lease", NAME)
        holder = (lease["spec"].get("holderIdentity") or "") if lease else ""
        return holder.split("_")[0]

    def said(self):
        """What all operators that are there have said."""
        return "".join(self.api.kubectl("-n", SYSTEM, "logs", pod, check=False).stdout
                       for pod in self.operators())

    def becomes(self, name, kind, deadline=120):
        """Waits until the MPIJob has the condition; shows what was said when it was in vain."""
        def has(job):
            return any((c["type"], c["status"]) == (kind, "True")
                       for c in job.get("status", {}).get("conditions", []))

        try:
            return self.wait_get(has, f"{name} is {kind}", "mpijob", name, deadline=deadline)
        except AssertionError:
            print(self.said(), self.api.kubectl("-n", self.namespace, "logs",
                                                f"job/{name}-launcher", check=False).stdout,
                  file=sys.stderr)
            raise

    def pods(self, name):
        found = self.get("pods", "-l", f"reknit.dev/job={name}")
        return found["items"] if found else []

    def kept_rules(self, pods):
        self.assertTrue(pods)
        for pod in pods:
            self.assertEqual([], restricted.violations(pod), pod["metadata"]["name"])
            for status in pod["status"]["containerStatuses"]:
                self.assertEqual(0, status["restartCount"], pod["metadata"]["name"])

    def metrics(self, pod):
        address = f"http://{pod['status']['podIP']}:8080/metrics"
        with urllib.request.urlopen(address, timeout=10) as page:
            return page.read().decode()

    # ---- the tests ------------------------------------------------------------------------------

    def lose_leader(self):
        """Deletes the operator that acts; another one does."""
        lost = self.leader()
        self.assertIn(lost, self.operators())
        self.assertIn("mpi_operator_is_leader 1\n", self.metrics(self.operators()[lost]))
        start = time.monotonic()
        self.api.kubectl("-n", SYSTEM, "delete", "pod", lost, "--wait=false")
        wait_for(lambda: self.leader() in set(self.operators()) - {lost}, "another one acts")
        print(f"   another operator acts {time.monotonic() - start:.1f} s after the loss",
              file=sys.stderr)

    def life(self):
        """A job to its end, with the operator lost in the middle."""
        self.install()
        wait_for(self.leader, "an operator acts")
        self.kept_rules(list(self.operators().values()))
        self.create(mpijob("a", 200, 50))
        self.becomes("a", "Running")
        pods = self.pods("a")
        self.assertEqual(3, len(pods))
        self.lose_leader()
        self.becomes("a", "Succeeded")
        self.kept_rules(pods)
        self.assertIn("job ended, exit code 0", self.kubectl("logs", "job/a-launcher"))
        events = self.get("events")["items"]
        told = {e["reason"] for e in events if e["involvedObject"]["kind"] == "MPIJob"}
        self.assertLessEqual({"MPIJobCreated", "MPIJobRunning", "MPIJobSucceeded"}, told)
        self.kubectl("delete", "mpijob", "a")
        wait_for(lambda: not self.left(), lambda: f"left: {self.left()}")
        self.assertNotIn("orbidden", self.said())

    def left(self):
        found = self.get("pods,services,configmaps,secrets,jobs", "-l", "reknit.dev/job")
        return [f"{item['kind']}/{item['metadata']['name']}" for item in found["items"]] \
            if found else []

    def uninstalled(self):
        """A job that goes on without an operator; one that comes again tells how it ended."""
        self.create(mpijob("b", 800, 50))
        self.becomes("b", "Running")
        before = {p["metadata"]["uid"] for p in self.pods("b")}
        self.kustomize("delete", "overlays/test", "--wait=false")
        wait_for(lambda: not self.operators(), "the operators are asked to end")
        self.assertNotIn("completionTime", self.get("job", "b-launcher")["status"], "too quick")
        self.wait_get(lambda j: j["status"].get("succeeded") == 1, "the job ends", "job",
                      "b-launcher", deadline=120)
        launcher = [p for p in self.pods("b") if "launcher" in p["metadata"]["name"]]
        self.assertLessEqual({p["metadata"]["uid"] for p in self.pods("b")}, before)
        self.kept_rules(launcher)
        wait_for(lambda: not self.api.get("namespace", SYSTEM), "nothing of the operator is left")
        self.apply()
        self.becomes("b", "Succeeded")

    def test_ours(self):
        self.define("-f", os.path.join(self.deploy, "crd", "mpijobs.yaml"))
        self.life()
        self.uninstalled()

    def test_theirs(self):
        if not os.path.exists(THEIRS):
            self.skipTest("MANIFESTS names no folder with crd-kubeflow.org_mpijobs.yaml")
        self.define("-f", THEIRS)
        self.life()
        self.uninstalled()


if __name__ == "__main__":
    unittest.main()
