"""Jobs in real pods: the image that brings the agent, a user's image that is plain Debian, and
every loss that a cluster knows."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import cluster_test
from cluster_test import NodeTest
from process import wait_for

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
AGENT = "localhost/reknit:test"
TEXT = os.path.join(ROOT, "LICENSE")
WORKERS = 4

MANIFEST = """
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: {name}
  annotations:
    reknit.dev/program: '{program}'
    reknit.dev/checkpoint-dir: /shared/checkpoints
    reknit.dev/image: {agent}
spec:
  runPolicy: {{cleanPodPolicy: None}}
  mpiReplicaSpecs:
    Launcher:
      template:
        spec:
          nodeSelector: {{kubernetes.io/hostname: node1}} # the other one is to be lost
          containers: [{{name: l, image: {image}, {mounts}}}]
          {volumes}
          {tolerate}
    Worker:
      replicas: {workers}
      template:
        spec:
          containers:
          - {{name: w, image: {image}, {mounts}, resources: {{limits: {{memory: 2Gi}}}}}}
          {volumes}
          {tolerate}
"""
PLURALS = ("Job", "Service", "ConfigMap", "ServiceAccount", "Role", "RoleBinding")


def program(steps, pace):
    return ["/reknit/examples/chargpt", "--steps", str(steps), "--size", "tiny", "--pace",
            str(pace), "--text", "/shared/text"]


def import_agent(test):
    """Makes the image that brings the agent, once for all tests, and gives it to the nodes."""
    if not os.path.exists(REKNIT):
        test.skipTest(f"{REKNIT} is not built")
    archive = os.path.join(test.cluster.folder, "reknit.tar")
    if os.path.exists(archive):
        return
    subprocess.run([os.path.join(ROOT, "k8s", "image", "build"), "--output", archive, "--tag",
                    AGENT, "--build", BUILD], check=True, timeout=300)
    test.cluster.image_import(archive)


class RealPods(NodeTest):
    """chargpt with four worker pods, whose digest is that of a laptop."""

    def setUp(self):
        super().setUp()
        import_agent(self)
        self.shared = os.path.join(self.cluster.folder, self.namespace)
        os.makedirs(os.path.join(self.shared, "checkpoints"))
        with open(TEXT, "rb") as text, open(os.path.join(self.shared, "text"), "wb") as out:
            out.write(text.read())

    def submit(self, name, steps, pace):
        """Applies what `reknit render` makes of the job, but its worker pods."""
        path = os.path.join(self.shared, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(MANIFEST.format(
                name=name, program=json.dumps(program(steps, pace)), agent=AGENT, workers=WORKERS,
                image=cluster_test.IMAGE, mounts="volumeMounts: [{name: s, mountPath: /shared}]",
                volumes=f"volumes: [{{name: s, hostPath: {{path: {self.shared}}}}}]",
                tolerate="terminationGracePeriodSeconds: 5"))
        objects = []
        for more in (["--rbac"], [path]):
            made = subprocess.check_output(
                [REKNIT, "render", *more, "-o", "json", "--namespace", self.namespace],
                stderr=subprocess.DEVNULL)
            objects += json.loads(made)["items"]
        self.create(*[o for o in objects if o["kind"] in PLURALS])

    # ---- looking --------------------------------------------------------------------------------

    def pods(self, name, role):
        label = f"training.kubeflow.org/job-name={name},training.kubeflow.org/job-role={role}"
        found = self.get("pods", "-l", label) or {"items": []}
        return {p["metadata"]["name"]: p for p in found["items"]}

    def launchers(self, name):
        return [p["metadata"]["name"] for p in self.pods(name, "launcher").values()
                if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]]

    def log(self, name):
        """What the coordinators that are there have said, each as far as it can be read."""
        text = ""
        for pod in self.pods(name, "launcher"):
            for more in (["--previous"], []):
                done = self.api.kubectl("-n", self.namespace, "logs", pod, *more, check=False)
                text += done.stdout if done.returncode == 0 else ""
        return text

    def wait(self, name, condition, what, deadline=120):
        """As wait_for, and shows the coordinator's log when it was in vain."""
        try:
            return wait_for(condition, what, deadline)
        except AssertionError:
            print(self.log(name), file=sys.stderr)
            raise

    def seen(self, name, what):
        self.wait(name, lambda: re.search(what, self.log(name)), what)

    def replaced(self, name, lost, harm):
        """Does harm to a worker pod, which it has met when `harm` returns, and waits for the one in
        its place; how long that took from there."""
        place = "-".join(lost.split("-")[:3])
        before = {n for n in self.pods(name, "worker") if n.startswith(place)}
        harm()
        start = time.monotonic()

        def come():
            return [n for n, p in self.pods(name, "worker").items() if n.startswith(place)
                    and n not in before and p["status"]["phase"] == "Running"]

        self.wait(name, come, f"a replacement of {lost}")
        took = time.monotonic() - start
        self.seen(name, f"joined on {come()[0]}")
        print(f"   {lost}: its replacement ran {took:.1f} s after the loss", file=sys.stderr)
        return come()[0]

    def kill_process(self, pod, word):
        container = "l" if "launcher" in pod else "w"
        for pid in self.pids(pod, container):
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")
            if len(words) > 1 and words[1] == word:
                os.kill(pid, signal.SIGKILL)
                return
        self.fail(f"{pod} has no process {word}")

    def out_of_memory(self, pod):
        """Many processes fill the container's memory, each too small to be chosen before the first
        one, on which the kernel is set.  Returns when that has ended, and the container with it."""
        self.api.kubectl("-n", self.namespace, "exec", pod, "-c", "w", "--", "sh", "-c",
                         "echo 1000 > /proc/1/oom_score_adj; exec perl -e '"
                         "for (1..40) { fork or do { $x = \"x\" x 60_000_000; sleep 100 } }"
                         " sleep 100'", check=False)

    def digest(self, folder):
        return subprocess.check_output([REKNIT, "checkpoint", "digest", folder], text=True).strip()

    def digest_of_laptop(self, steps):
        folder = os.path.join(self.shared, "laptop")
        words = program(steps, 0)
        words[0] = os.path.join(BUILD, "bin", "chargpt")
        words[-1] = TEXT
        with tempfile.TemporaryDirectory(prefix="rk-") as short:  # sockets' paths are short
            done = subprocess.run(
                [REKNIT, "run", "--workers", str(WORKERS), "--quiet", "--checkpoint-dir", folder,
                 "--", *words], check=False, timeout=300, text=True, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env={**os.environ, "REKNIT_RUNTIME_DIR": short})
        self.assertEqual(0, done.returncode, done.stdout)
        return self.digest(folder)

    # ---- the run --------------------------------------------------------------------------------

    def test_every_loss_in_one_run(self):
        steps = 1500
        other = self.cluster.node_add()
        try:
            self.submit("storm", steps, 40)
            self.seen("storm", "generation 1: 4 ranks")
            uids = {n: p["metadata"]["uid"] for n, p in self.pods("storm", "worker").items()}
            away = [n for n, p in self.pods("storm", "worker").items()
                    if p["spec"]["nodeName"] == other.name]
            here = sorted(n for n in uids if n not in away)
            self.assertTrue(away and len(here) >= 1, "both nodes have pods")

            victim = here[0]
            victim = self.replaced("storm", victim, lambda: self.kubectl(
                "delete", "pod", victim, "--wait=false"))
            victim = self.replaced("storm", victim, lambda: self.kill_process(victim, b"worker"))
            self.replaced("storm", victim, lambda: self.out_of_memory(victim))

            launcher = self.launchers("storm")[0]
            self.kill_process(launcher, b"coordinator")
            self.seen("storm", "epoch 2, goes on")
            self.kubectl("delete", "pod", launcher, "--wait=false")
            wait_for(lambda: [n for n in self.launchers("storm") if n != launcher],
                     "another coordinator's pod", 120)
            self.seen("storm", "epoch 17, goes on")

            lost = [n for n in away if n in self.pods("storm", "worker")]
            self.cluster.node_lose(other.name)
            self.seen("storm", f"on {lost[0]} (is gone|fell silent)")

            job = self.wait_get(lambda j: j["status"].get("conditions"), "the job ends", "job",
                                "storm-launcher", deadline=300)
            self.assertEqual("Complete", job["status"]["conditions"][0]["type"], self.log("storm"))
            self.assertEqual(self.digest_of_laptop(steps),
                             self.digest(os.path.join(self.shared, "checkpoints")))
            after = self.pods("storm", "worker")
            for name in here[1:]:
                self.assertEqual(uids[name], after[name]["metadata"]["uid"], "it was healthy")
                status = after[name]["status"]["containerStatuses"][0]
                self.assertEqual(0, status["restartCount"])
        finally:
            self.cluster.node_remove(other.name)


if __name__ == "__main__":
    unittest.main()
