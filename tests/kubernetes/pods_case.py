"""A whole job in pods: what the tests of the coordinator's pod stand on.

The pods are processes of this machine (sim_server.py --kubelet process).  The image that brings the
agent is a folder with this build's programs and a shell script in place of the installer.
"""
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile

import sim_client
from sim_case import Case
from sim_client import path_of, wait_for

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
TEXT = "/usr/share/common-licenses/GPL-3"
PLURALS = {"Job": "jobs", "Service": "services", "ConfigMap": "configmaps", "Pod": "pods",
           "ServiceAccount": "serviceaccounts", "Role": "roles", "RoleBinding": "rolebindings"}
ENDED = ("Complete", "Failed")

MANIFEST = """
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: {name}
  annotations:
    reknit.dev/program: '{program}'
    reknit.dev/checkpoint-dir: /checkpoints
    reknit.dev/image: agent:1
    {setting}
spec:
  runPolicy: {policy}
  mpiReplicaSpecs:
    Launcher:
      template: {{spec: {{containers: [{{name: l, image: user:1, {mounts}}}], {volumes}}}}}
    Worker:
      replicas: {workers}
      template: {{spec: {{containers: [{{name: w, image: user:1, {mounts}}}], {volumes}}}}}
"""


def make_image(folder):
    """The agent's image: /reknit with all that a pod's volume will have."""
    inside = os.path.join(folder, "reknit")
    os.makedirs(os.path.join(inside, "bin"))
    for name in ("reknit", "reknit-carrier", "reknit-rsh", "reknit-sshd", "chargpt"):
        shutil.copy2(os.path.join(BUILD, "bin", name), os.path.join(inside, "bin", name))
    install = os.path.join(inside, "install")
    with open(install, "w", encoding="utf-8") as script:
        script.write('#!/bin/sh\nexec cp -a /reknit/bin "$1/"\n')
    os.chmod(install, 0o755)


def run(*command, **more):
    """A program of this build, which must end well; its output."""
    done = subprocess.run(command, text=True, timeout=120, check=False, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, **more)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class PodsCase(Case):
    """One simulated cluster; a folder for checkpoints for each test."""

    more = ""  # of the pods' specs
    gang = ()  # --gang and a scheduler
    manifest = MANIFEST

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="reknit-cluster-")
        path = sim_client.certificates(cls.scratch)
        cls.sim = sim_client.Simulation(
            "--all", "--kubelet", "process", "--nodes", 4, "--factor", 5, "--rbac", "--tls-cert",
            path("server.pem"), "--tls-key", path("server.key"), "--cluster-ca", path("ca.pem"),
            "--token", "boss", token="boss",
            context=ssl.create_default_context(cafile=path("ca.pem")))
        make_image(os.path.join(cls.scratch, "image"))
        cls.sim.control("image", name="agent:1", folder=os.path.join(cls.scratch, "image"))

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.scratch)

    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="reknit-pods-")
        self.checkpoints = os.path.join(self.folder, "checkpoints")
        os.mkdir(self.checkpoints)
        self.addCleanup(shutil.rmtree, self.folder)

    # ---- starting -------------------------------------------------------------------------------

    def objects(self, name, program, workers, policy="{}", setting=""):
        """What `reknit render` makes of a job with this program, and one annotation more."""
        mounts = "volumeMounts: [{name: c, mountPath: /checkpoints}]"
        volumes = f"volumes: [{{name: c, hostPath: {{path: {self.checkpoints}}}}}]{self.more}"
        path = os.path.join(self.folder, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(self.manifest.format(name=name, program=json.dumps(program), workers=workers,
                                           mounts=mounts, volumes=volumes, policy=policy,
                                           setting=setting))
        return self.rendered(path)

    def rendered(self, *arguments):
        made = json.loads(subprocess.check_output(
            [REKNIT, "render", *arguments, *self.gang, "-o", "json", "--namespace", self.space],
            stderr=subprocess.DEVNULL))
        return made["items"] if isinstance(made, dict) else made

    def start(self, name, program, workers, policy="{}", kinds=("Job", "Service", "ConfigMap"),
              setting=""):
        """Creates a job's objects, without its worker pods unless `kinds` says so, and the rights
        of its coordinator."""
        objects = [o for o in self.objects(name, program, workers, policy, setting)
                   if o["kind"] in kinds]
        for made in self.rendered("--rbac") + objects:
            self.create(PLURALS[made["kind"]], made)

    def chargpt(self, steps, pace=0):
        return ["/reknit/bin/chargpt", "--steps", str(steps), "--size", "tiny", "--text", TEXT,
                "--pace", str(pace)]

    # ---- looking --------------------------------------------------------------------------------

    def job_pods(self, name, role="worker"):
        """Pods of the job that are there and not on their way out, by name."""
        label = f"training.kubeflow.org/job-name={name},training.kubeflow.org/job-role={role}"
        return {p["metadata"]["name"]: p for p in self.list("pods", labelSelector=label)["items"]
                if "deletionTimestamp" not in p["metadata"]}

    def launcher(self, name):
        """The coordinator's pod that runs, or None."""
        pods = [p for p in self.job_pods(name, "launcher").values()
                if p["status"].get("phase") == "Running"]
        return pods[0] if pods else None

    def log(self, name):
        return self.sim.send("GET", path_of("pods", self.space, name, "log"))[2].decode()

    def launcher_log(self, name):
        pods = self.job_pods(name, "launcher")
        return "".join(self.log(pod) for pod in pods)

    def seen(self, name, what, deadline=60):
        """Waits until the coordinator's log has a line that matches; the whole log."""
        def look():
            log = self.launcher_log(name)
            return log if re.search(what, log) else None
        try:
            return wait_for(look, what, deadline)
        except AssertionError:
            sys.stderr.write(self.launcher_log(name))
            raise

    def ended(self, name, deadline=120):
        """Waits for the Job's end; the type of the condition that says so."""
        def look():
            status = self.get("jobs", f"{name}-launcher").get("status", {})
            return next((c["type"] for c in status.get("conditions", [])
                         if c["type"] in ENDED and c["status"] == "True"), None)
        try:
            return wait_for(look, f"the end of {name}", deadline)
        except AssertionError:
            sys.stderr.write(self.launcher_log(name))
            raise

    def told(self, name, reason):
        """The notes of the Events with this reason about a job."""
        events = self.list("events")["items"]
        return [e.get("message") or e.get("note", "") for e in events
                if e.get("reason") == reason and e.get(
                    "involvedObject", e.get("regarding", {})).get("name") == f"{name}-launcher"]

    def kept(self, name, key, what, deadline=30):
        """Waits until the job's record has a text that matches; the whole of it."""
        def look():
            text = self.get("configmaps", f"{name}-record")["data"].get(key, "")
            return text if re.search(what, text) else None
        return wait_for(look, f"{key} of {name}: {what}", deadline)

    def resize(self, name, workers):
        """As an operator does when Worker.replicas is edited."""
        self.patch("jobs", f"{name}-launcher", {"metadata": {"annotations": {
            "reknit.dev/workers": str(workers)}}})

    def steps_of(self, name):
        """The step of the newest checkpoint that the log speaks of."""
        found = re.findall(r"checkpoint of step (\d+) committed", self.launcher_log(name))
        return int(found[-1]) if found else 0

    # ---- harm -----------------------------------------------------------------------------------

    def processes(self, pod):
        """Process numbers of a pod's main container."""
        containers = self.sim.control("pod/processes", namespace=self.space, name=pod)
        return containers["w" if "w" in containers else "l"]

    def kill_process(self, pod, word):
        """Kills (9) the process of a pod whose command line has this word as its second."""
        for pid in self.processes(pod):
            with open(f"/proc/{pid}/cmdline", "rb") as stream:
                words = stream.read().split(b"\0")
            if len(words) > 1 and words[1] == word.encode():
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError(f"{pod} has no process '{word}'")

    def suspend_and_resume(self, name):
        """A job that runs: no pod is left while it is suspended, and it goes on to its end."""
        self.patch("jobs", f"{name}-launcher", {"spec": {"suspend": True}})
        wait_for(lambda: not self.job_pods(name) and not self.job_pods(name, "launcher"),
                 "no pods while it is suspended", 60)
        self.patch("jobs", f"{name}-launcher", {"spec": {"suspend": False}})
        self.assertEqual("Complete", self.ended(name))

    def delete_launcher(self, name):
        """Deletes the coordinator's pod and waits until another one runs."""
        launcher = self.launcher(name)["metadata"]["name"]
        self.delete("pods", launcher)
        wait_for(lambda: (self.launcher(name) or {"metadata": {"name": launcher}})
                 ["metadata"]["name"] != launcher, "another coordinator's pod", 60)

    # ---- comparing ------------------------------------------------------------------------------

    def digest(self):
        return run(REKNIT, "checkpoint", "digest", self.checkpoints).strip()

    def digest_of_laptop(self, steps, workers):
        """The same program under `reknit run`, without a loss."""
        folder = os.path.join(self.folder, "laptop")
        program = [os.path.join(BUILD, "bin", "chargpt"), *self.chargpt(steps)[1:]]
        run(REKNIT, "run", "--workers", str(workers), "--quiet", "--checkpoint-dir", folder, "--",
            *program,
            env={**os.environ, "REKNIT_RUNTIME_DIR": os.path.join(self.folder, "run")})
        return run(REKNIT, "checkpoint", "digest", folder).strip()


__all__ = ["MANIFEST", "PodsCase", "sim_client", "wait_for"]
