#!/usr/bin/env python3
"""What k8s/deploy has: kustomize builds it, its rights suffice and are no more than it says, its
CRD is taken and keeps its rules, and mpi-operator's CRD does as well."""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.request
from unittest import mock

import operator_case
from operator_case import REKNIT, ROOT, OperatorCase, mpijob
from sim_client import Simulation, wait_for

DEPLOY = os.path.join(ROOT, "k8s", "deploy")
POD, IMAGE = "reknit-operator-1", "registry:5000/reknit:9"
ACCOUNT = "system:serviceaccount:reknit-system:reknit-operator"
PLURALS = {"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
           "Role": "roles", "RoleBinding": "rolebindings", "ServiceAccount": "serviceaccounts",
           "Namespace": "namespaces", "CustomResourceDefinition": "customresourcedefinitions"}


def objects(*paths):
    """Files of YAML as objects, by this build's own reader."""
    made = subprocess.run([REKNIT, "render", "-o", "json", *paths], check=True, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60).stdout
    return json.loads(made)["items"]


def files(*parts):
    """The YAML files of a folder of k8s/deploy, but for what steers kustomize."""
    folder = os.path.join(DEPLOY, *parts)
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder))
            if name.endswith(".yaml") and name != "kustomization.yaml"]


def rules(role):
    """Each (group, resource, verb, name) of a role."""
    return {(group, resource, verb, tuple(rule.get("resourceNames", ())))
            for rule in role["rules"] for group in rule["apiGroups"]
            for resource in rule["resources"] for verb in rule["verbs"]}


@unittest.skipUnless(os.access(REKNIT, os.X_OK), "build the tree first")
class Files(unittest.TestCase):
    """Without a cluster."""

    def test_kustomize_builds(self):
        if shutil.which("kubectl") is None:
            self.skipTest("no kubectl")
        for folder in ("crd", "role", "base", "overlays/namespaced",
                       "overlays/beside-mpi-operator"):
            with self.subTest(folder):
                made = subprocess.run(["kubectl", "kustomize", os.path.join(DEPLOY, folder)],
                                      check=False, text=True, capture_output=True, timeout=60)
                self.assertEqual(0, made.returncode, made.stderr)
                self.assertEqual("", made.stderr)
                with tempfile.NamedTemporaryFile("w", suffix=".yaml") as out:
                    out.write(made.stdout)
                    out.flush()
                    self.look(folder, objects(out.name))

    def look(self, folder, made):
        kinds = {item["kind"] for item in made}
        if folder == "overlays/namespaced":
            self.assertFalse(kinds & {"ClusterRole", "ClusterRoleBinding", "Namespace"})
            self.assertEqual({"reknit-jobs"}, {i["metadata"]["namespace"] for i in made})
        for item in made:
            if item["kind"] == "Deployment":
                arguments = item["spec"]["template"]["spec"]["containers"][0]["args"]
                said = subprocess.run([REKNIT, *arguments, "--help"], check=False, text=True,
                                      capture_output=True, timeout=60)
                self.assertEqual(0, said.returncode, said.stderr)

    def test_the_coordinators_role_is_what_is_rendered(self):
        role = objects(*files("role"))[0]
        wanted = set()
        for gang in ("volcano", "scheduler-plugins"):
            made = json.loads(subprocess.check_output(
                [REKNIT, "render", "--rbac", "--gang", gang, "-o", "json"]))["items"]
            wanted |= rules(next(i for i in made if i["kind"] == "Role"))
        self.assertEqual(wanted, rules(role))

    def test_no_secret_is_read(self):
        for item in objects(*files("base")):
            for group, resource, verb, names in rules(item) if "rules" in item else ():
                if resource == "secrets":
                    self.assertEqual("create", verb)
                self.assertNotIn("*", (group, resource, verb))
                self.assertNotEqual("escalate", verb)
                if verb == "bind":
                    self.assertEqual(("reknit-coordinator",), names)


class Rights(OperatorCase):
    """With the rights of the files, and no others, in a pod as the simulation sees it."""

    ARGUMENTS = ("--all", "--nodes", 1, "--factor", 20, "--rbac", "--token", "boss",
                 "--token", f"op={ACCOUNT}")
    OPERATOR = ()

    @classmethod
    def setUpClass(cls):
        cls.sim = Simulation(*cls.ARGUMENTS, token="boss")
        made = [i for i in objects(*files("base"), *files("role")) if i["kind"] in PLURALS]
        for item in sorted(made, key=lambda i: i["kind"] != "Namespace"):
            space = "" if "Cluster" in item["kind"] or item["kind"] == "Namespace" \
                else "reknit-system"
            for subject in item.get("subjects", ()):
                subject["namespace"] = "reknit-system"
            if item["kind"] == "Namespace":
                cls.sim.create("namespaces", item, "")
            else:
                cls.sim.create(PLURALS[item["kind"]], item, space)

    def setUp(self):
        super().setUp()
        self.config = self.sim.kubeconfig(os.path.join(self.folder, "op"), token="op",
                                          namespace="reknit-system")
        self.sim.create("pods", {"metadata": {"name": POD}, "spec": {"containers": [
            {"name": "mesh", "image": "mesh:1"}, {"name": "operator", "image": IMAGE}]}},
            "reknit-system")
        self.addCleanup(self.sim.delete, "pods", POD, "reknit-system")
        with mock.patch.dict(os.environ, REKNIT_POD_NAME=POD):
            made = operator_case.Operator(self.config, "--metrics", "127.0.0.1:0",
                                          lock="reknit-system")
        self.operators.append(made)
        self.operator = made

    def test_a_whole_life(self):
        self.run_job("a", cleanPodPolicy="All", ttlSecondsAfterFinished=1)
        self.assertEqual(IMAGE, self.get("jobs", "a-launcher")["spec"]["template"]["spec"]
                         ["initContainers"][0]["image"])
        self.suspend("a")
        wait_for(lambda: not self.pods("a"), "no pod")
        spec = self.get("mpijobs", "a")["spec"]
        spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["image"] = "new:2"
        spec["runPolicy"]["suspend"] = False
        self.edit("a", **spec)
        self.becomes("a", "Suspended", "False")
        self.workers("a")
        self.becomes("a", "Running")
        self.end_launcher("a")
        self.gone("mpijobs", "a")
        self.told("MPIJobSucceeded")
        refused = [r for r in self.sim.requests(code=403) if r["user"] == ACCOUNT]
        self.assertEqual([], refused)


class Definition(OperatorCase):
    """Our CRD, and mpi-operator's where $MANIFESTS has it."""

    ARGUMENTS = (*OperatorCase.ARGUMENTS, "--no-mpijob")
    OPERATOR = ()

    def install(self, *paths):
        for item in objects(*paths):
            self.sim.create("customresourcedefinitions", item, "")
        self.addCleanup(self.sim.delete, "customresourcedefinitions", "mpijobs.kubeflow.org", "")

    def start_with_pages(self):
        """An operator that has pages for probes; it and their address."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        operator = self.start_operator("--leader-elect", "no", "--metrics", address)
        return operator, f"http://{address}"

    @staticmethod
    def page(address):
        """(status, text) of a page; (0, "") while there is none."""
        try:
            with urllib.request.urlopen(address, timeout=10) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def life(self):
        operator, address = self.start_with_pages()
        self.run_job("a")
        text = self.page(f"{address}/metrics")[1]
        self.assertIn("mpi_operator_is_leader 1\n", text)
        self.assertIn("mpi_operator_jobs_created_total 1\n", text)
        before = len(self.sim.requests(verb="patch", resource="mpijobs"))
        self.patch("mpijobs", "a", {"metadata": {"labels": {"x": "y"}}})
        wait_for(lambda: '"x"' in self.get("configmaps", "a-config")["data"]["mpijob.json"], "seen")
        after = len(self.sim.requests(verb="patch", resource="mpijobs"))
        self.assertLessEqual(after - before, 2, "a status that is as it should be is not written")
        self.end_launcher("a")
        self.becomes("a", "Succeeded")
        self.operators.remove(operator)
        self.assertEqual(0, operator.stop())

    def test_ours(self):
        self.install(*files("crd"))
        body = mpijob("x")
        for wrong in ({"slotsPerWorker": -4}, {"launcherCreationPolicy": "Bogus"},
                      {"runPolicy": {"cleanPodPolicy": "Nope"}},
                      {"runPolicy": {"managedBy": "x/y"}}, {"mpiImplementation": "LAM"},
                      {"mpiReplicaSpecs": {**body["spec"]["mpiReplicaSpecs"], "Extra": {}}}):
            with self.subTest(wrong), self.refused(422):
                self.create("mpijobs", {**body, "spec": {**body["spec"], **wrong}})
        worker = body["spec"]["mpiReplicaSpecs"]["Worker"]
        worker["template"]["spec"]["aFieldOfTomorrow"] = {"a": 1}
        worker["template"]["spec"]["containers"][0]["another"] = [1]
        made = self.create("mpijobs", body)
        kept = made["spec"]["mpiReplicaSpecs"]["Worker"]["template"]["spec"]
        self.assertEqual({"a": 1}, kept["aFieldOfTomorrow"])
        self.assertEqual([1], kept["containers"][0]["another"])
        self.assertEqual("OpenMPI", made["spec"]["mpiImplementation"])
        self.delete("mpijobs", "x")
        self.life()

    def test_ready_when_the_kind_is_there(self):
        operator, address = self.start_with_pages()
        wait_for(lambda: self.page(f"{address}/healthz") == (200, "OK\n"), "the process is well")
        self.assertEqual(503, self.page(f"{address}/readyz")[0])
        self.assertEqual(404, self.page(f"{address}/else")[0])
        self.install(*files("crd"))
        wait_for(lambda: self.page(f"{address}/readyz") == (200, "OK\n"), "it is ready", 90)
        self.operators.remove(operator)
        self.assertEqual(0, operator.stop())

    def test_theirs(self):
        path = os.path.join(os.environ.get("MANIFESTS", ""), "crd-kubeflow.org_mpijobs.yaml")
        if not os.path.exists(path):
            self.skipTest("MANIFESTS names no folder with crd-kubeflow.org_mpijobs.yaml")
        self.install(path)
        self.life()


if __name__ == "__main__":
    unittest.main()
