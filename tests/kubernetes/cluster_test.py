"""What the tests on a real cluster stand on: a namespace of their own, and waiting for conditions.

ApiTest needs an API server and nothing else; NodeTest needs nodes that run real pods, and is
skipped where there are none.  `run` sets SERVER, and CLUSTER where there are nodes, before it loads
tests.
"""
import sys
import time
import unittest

from process import wait_for

SERVER = None    # an ApiServer, a Cluster or a Kubectl of a cluster that is not ours
CLUSTER = None   # the Cluster
BASE = None      # the layer of plain Debian, a file
NEXT = None      # the layer of the next Debian with its implementations of MPI, a file
ARCHIVE = None   # the image IMAGE of it, as an archive
BINARIES = None  # the folder of programs (binaries.py)
IMAGE = "localhost/debian:1"
GONE = 60        # seconds in which a deleted namespace is gone


class ApiTest(unittest.TestCase):
    """A test with a namespace, self.namespace, that goes with it."""

    def setUp(self):
        if SERVER is None:
            self.skipTest("no API server")
        self.api = SERVER
        self.namespace = f"t-{self._testMethodName.removeprefix('test_').replace('_', '-')}"[:40]
        self.namespace += f"-{time.time_ns() % 1000000}"
        self.api.create({"apiVersion": "v1", "kind": "Namespace",
                         "metadata": {"name": self.namespace}})
        self.addCleanup(self.remove_namespace)

    def run(self, result=None):
        """As unittest's, and shows the cluster when the test fails."""
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before and CLUSTER is not None:
            print(f"==== the cluster when {self.id()} failed", file=sys.stderr)
            CLUSTER.report()

    def remove_namespace(self, wait=False):
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found",
                     f"--wait={str(wait).lower()}", deadline=GONE)

    def kubectl(self, *arguments, **options):
        """kubectl in the test's namespace; its output."""
        return self.api.kubectl("-n", self.namespace, *arguments, **options).stdout

    def get(self, *arguments):
        return self.api.get("-n", self.namespace, *arguments)

    def create(self, *objects):
        self.api.create(list(objects), "-n", self.namespace)

    def wait_defined(self, name):
        """Waits until a kind is served.  kubectl's own wait fails while there is no status."""
        self.wait_get(lambda d: any((c["type"], c["status"]) == ("Established", "True")
                                    for c in d.get("status", {}).get("conditions") or ()),
                      f"the kind {name} is served", "crd", name)

    def wait_get(self, condition, what, *arguments, deadline=60):
        """Gets an object until condition(object) holds; the object."""
        seen = []

        def look():
            seen[:] = [self.get(*arguments)]
            return seen[0] is not None and condition(seen[0])

        wait_for(look, lambda: f"{what}; last seen: {seen}", deadline)
        return seen[0]


class NodeTest(ApiTest):
    """A test that runs real pods."""

    def setUp(self):
        if CLUSTER is None:
            self.skipTest("needs nodes of our own")
        super().setUp()
        self.cluster = CLUSTER

    def pod(self, name, *command, node=None, **spec):
        """A pod of one container of the base image, which runs a command once."""
        container = {"name": "main", "image": IMAGE, "imagePullPolicy": "Never",
                     "command": list(command), **spec.pop("container", {})}
        settings = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
                    "containers": [container], **spec}
        if node:
            settings["nodeName"] = node
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": settings}

    def start_pod(self, name, *command, **options):
        """Creates a pod and waits until it runs."""
        self.create(self.pod(name, *command, **options))
        return self.wait_phase(name, "Running")

    def wait_phase(self, name, *phases):
        return self.wait_get(lambda pod: pod["status"]["phase"] in phases,
                             f"pod {name} is {' or '.join(phases)}", "pod", name)

    def end_of(self, name):
        """How the container of a pod ended: exitCode, reason and the rest."""
        pod = self.wait_phase(name, "Succeeded", "Failed")
        return pod["status"]["containerStatuses"][0]["state"]["terminated"]

    def pids(self, pod, name="main"):
        """The processes of a pod's container, as this namespace of processes sees them."""
        wanted = self.get("pod", pod)
        node = self.cluster.node(wanted["spec"]["nodeName"])
        status = next(s for s in wanted["status"]["containerStatuses"] if s["name"] == name)
        return node.pids_of(status["containerID"].removeprefix("containerd://"))
