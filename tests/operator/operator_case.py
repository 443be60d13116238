"""What the operator's script tests stand on: a simulated cluster whose time runs fast, operators as
processes, MPIJobs, and the worker pods that a coordinator would make.

REKNIT_BUILD names the build folder (default: build/release of this tree).
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "kubernetes"))
import sim_client  # noqa: E402, the folder must be known first
from sim_case import Case  # noqa: E402
from sim_client import wait_for  # noqa: E402

BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
ENDED = ("Succeeded", "Failed")


def template(image="user:1", **spec):
    """A pod template of one container."""
    return {"spec": {"containers": [{"name": "main", "image": image,
                                     "command": ["mpirun", "work"]}], **spec}}


def mpijob(name, workers=2, launcher=None, annotations=None, **policy):
    """An MPIJob; `policy` is its runPolicy."""
    return {"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob",
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": {"runPolicy": policy, "mpiReplicaSpecs": {
                "Launcher": {"replicas": 1, "template": launcher or template()},
                "Worker": {"replicas": workers, "template": {"spec": {"containers": [
                    {"name": "main", "image": "user:1"}]}}}}}}


class Operator:
    """A running operator; what it says is kept in a file."""

    def __init__(self, kubeconfig, *arguments, lock="default"):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [REKNIT, "operator", "--kubeconfig", kubeconfig, "--lock-namespace", lock,
             *arguments], stderr=self.log, stdout=self.log)

    def said(self):
        """All that it said so far."""
        self.log.flush()
        with open(f"/proc/self/fd/{self.log.fileno()}", encoding="utf-8") as text:
            return text.read()

    def leads(self):
        """Whether it ever led."""
        return " leads\n" in self.said()

    def kill(self):
        """As the kernel's memory killer would."""
        self.process.kill()
        self.process.wait(timeout=30)
        self.log.close()

    def stop(self):
        """As a drain would; its exit code, 0 when all was well."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        if code != 0:
            print(self.said(), file=sys.stderr)
        self.log.close()
        return code


class OperatorCase(Case):
    """One simulated cluster for all tests of a class, a namespace and an operator for each."""

    ARGUMENTS = ("--all", "--nodes", 2, "--factor", 20)
    OPERATOR = ("--leader-elect", "no")

    def setUp(self):
        if not os.access(REKNIT, os.X_OK):
            self.skipTest(f"no {REKNIT}; build the tree first")
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="reknit-operator-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.config = self.sim.kubeconfig(os.path.join(self.folder, "config"),
                                          namespace=self.space)
        self.sim.control("plans/clear")
        self.operators = []
        self.operator = self.start_operator(*self.OPERATOR) if self.OPERATOR else None

    def tearDown(self):
        for operator in self.operators:
            self.assertEqual(0, operator.stop())
        self.sim.delete("namespaces", self.space, "")
        super().tearDown()

    def start_operator(self, *arguments):
        """Starts one for this test's namespace; it ends with the test."""
        made = Operator(self.config, "--namespace", self.space, *arguments, lock=self.space)
        self.operators.append(made)
        return made

    def kill_operator(self, operator):
        self.operators.remove(operator)
        operator.kill()

    # ---- jobs -----------------------------------------------------------------------------------

    def plan(self, **plan):
        self.sim.control("plan", namespace=self.space, **plan)

    def submit(self, *arguments, **more):
        return self.create("mpijobs", mpijob(*arguments, **more))

    def edit(self, name, **spec):
        return self.patch("mpijobs", name, {"spec": spec})

    def suspend(self, name, value=True):
        return self.edit(name, runPolicy={"suspend": value})

    def status(self, name):
        return self.get("mpijobs", name).get("status", {})

    def condition(self, name, kind):
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def becomes(self, name, kind, status="True"):
        """Waits for a condition; it."""
        return wait_for(lambda: self.condition(name, kind).get("status") == status
                        and self.condition(name, kind), f"{name} is {kind} {status}; "
                        f"{json.dumps(self.status(name))}")

    def has(self, resource, name):
        return name in self.names(resource)

    def launcher(self, name):
        """The Job."""
        def look():
            return next((job for job in self.list("jobs")["items"]
                         if job["metadata"]["name"] == f"{name}-launcher"), None)
        return wait_for(look, f"{name}-launcher is there")

    def pods(self, name, role=None):
        labels = f"reknit.dev/job={name}"
        if role:
            labels += f",training.kubeflow.org/job-role={role}"
        return self.list("pods", labelSelector=labels)["items"]

    def worker(self, name, place, life=0):
        """Makes a worker pod as a coordinator would."""
        uid = self.launcher(name)["metadata"]["uid"]
        suffix = f"-{life}" if life else ""
        pod = sim_client.pod(f"{name}-worker-{place}{suffix}", restartPolicy="Never")
        pod["metadata"].update({
            "labels": {"reknit.dev/job": name, "training.kubeflow.org/job-role": "worker",
                       "training.kubeflow.org/operator-name": "mpi-operator",
                       "training.kubeflow.org/job-name": name},
            "annotations": {"reknit.dev/place": str(place), "reknit.dev/ticket": str(1 + place)},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job",
                                 "name": f"{name}-launcher", "uid": uid}]})
        return self.create("pods", pod)

    def workers(self, name, count=2):
        for place in range(count):
            self.worker(name, place)

    def run_job(self, name, workers=2, **more):
        """A job that runs with all of its workers."""
        self.submit(name, workers, **more)
        self.workers(name, workers)
        return self.becomes(name, "Running")

    def end_launcher(self, name, code=0, **more):
        """The coordinator's container ends."""
        pod = wait_for(lambda: next((p for p in self.pods(name, "launcher")
                                     if p.get("status", {}).get("phase") == "Running"), None),
                       f"the coordinator of {name} runs")
        self.sim.control("pod/exit", namespace=self.space, name=pod["metadata"]["name"],
                         exit=code, **more)

    def notes(self, reason):
        """The notes of the Events with a reason."""
        found = self.sim.ask("GET", f"/apis/events.k8s.io/v1/namespaces/{self.space}/events")
        return [e.get("note", "") for e in found["items"] if e["reason"] == reason]

    def told(self, reason):
        """Waits for an Event; its note."""
        return wait_for(lambda: self.notes(reason), f"an Event {reason}")[0]

    def gone(self, resource, *names):
        wait_for(lambda: not set(names) & set(self.names(resource)), f"{resource} {names} gone")
