"""mpi-operator's `pi` jobs, as their manifests stand, in real pods that keep every rule of Pod
Security `restricted`: no sshd in the image, no keys, no root.

The same programs also run in an image of the next Debian, which has Open MPI 5 and a newer MPICH.
"""
import json
import os
import shutil
import subprocess
import sys
import unittest

import cluster_test
import image
import restricted
from cluster_test import NodeTest
from process import wait_for
from real_pods import AGENT, PLURALS, REKNIT, ROOT, import_agent

NAME = "localhost/mpi-pi:1"
PROGRAM = "/home/mpiuser/pi-openmpi"
DOCKERFILE = f"""FROM {cluster_test.IMAGE}
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev openmpi-bin \\
    libopenmpi-dev mpich libmpich-dev && rm -rf /var/lib/apt/lists/*
# UCX, under MPICH, takes for granted that two pods of one node share memory, and hangs at the end.
ENV UCX_TLS=tcp,self
RUN useradd --create-home --uid 1000 mpiuser
COPY pi.c /home/mpiuser/
RUN mpicc.openmpi -D_GNU_SOURCE -o /home/mpiuser/pi-openmpi /home/mpiuser/pi.c -lm && \\
    mpicc.mpich -D_GNU_SOURCE -o /home/mpiuser/pi-mpich /home/mpiuser/pi.c -lm
"""

NEXT = "localhost/mpi-pi-next:1"
PROGRAMS = ("home/mpiuser/pi-openmpi", "home/mpiuser/pi-mpich")

MANIFEST = """
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: {name}
  annotations: {{reknit.dev/image: {agent}}}
spec:
  slotsPerWorker: 1
  mpiImplementation: {implementation}
  runPolicy: {{cleanPodPolicy: Running, backoffLimit: 0}}
  sshAuthMountPath: /home/mpiuser/.ssh
  mpiReplicaSpecs:
    Launcher:
      replicas: 1
      restartPolicy: Never
      template:
        spec:
          securityContext: {pod}
          containers:
          - image: {image}
            name: mpi-launcher
            securityContext: {container}
            command: [{command}]
            args: [-n, "2", /home/mpiuser/{program}]
            resources: {{limits: {{cpu: 1, memory: 1Gi}}, requests: {{cpu: 100m, memory: 64Mi}}}}
    Worker:
      replicas: 2
      template:
        spec:
          securityContext: {pod}
          containers:
          - image: {image}
            name: mpi-worker
            securityContext: {container}
            command: [/usr/sbin/sshd]
            args: [-De, -f, /home/mpiuser/.sshd_config]
            resources: {{limits: {{cpu: 1, memory: 1Gi}}, requests: {{cpu: 100m, memory: 64Mi}}}}
"""
POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER = {"runAsUser": 1000, "allowPrivilegeEscalation": False,
             "capabilities": {"drop": ["ALL"]}}


def import_pi(test):
    """Makes the image of the user's own programs, once for all tests, and gives it to the nodes."""
    context = os.path.join(test.cluster.folder, "mpi-pi")
    if os.path.exists(context):
        return
    os.makedirs(context)
    with open(os.path.join(context, "Dockerfile"), "w", encoding="utf-8") as out:
        out.write(DOCKERFILE)
    shutil.copy2(os.path.join(ROOT, "tests", "programs", "estimate.c"),
                 os.path.join(context, "pi.c"))
    archive = image.build(test.cluster.folder, NAME, context, bases=[cluster_test.ARCHIVE])
    os.symlink(archive, os.path.join(context, "image.tar"))
    test.cluster.image_import(archive)


class RealLine(NodeTest):
    """A user's own mpirun line."""

    has_next = False

    def setUp(self):
        super().setUp()
        import_agent(self)
        import_pi(self)

    def provide_next(self):
        """The image NEXT: the same programs, and the next Debian's implementations of MPI."""
        if cluster_test.NEXT is None:
            self.skipTest("the next Debian could not be fetched; the runner has said why")
        if RealLine.has_next:
            return
        files = {name: os.path.join(self.cluster.folder, "programs", name) for name in PROGRAMS}
        archive = os.path.join(self.cluster.folder, "mpi-pi", "image.tar")
        image.extract(archive, os.path.join(self.cluster.folder, "programs"), *PROGRAMS)
        top = image.layer(self.cluster.path("programs.tar"), files)
        self.cluster.image_import(image.write(
            self.cluster.path("next.tar"), NEXT, [cluster_test.NEXT, top],
            Env=[image.PATH, "UCX_TLS=tcp,self"]))
        RealLine.has_next = True

    def pods(self, role):
        found = self.get("pods", "-l", f"training.kubeflow.org/job-role={role}")
        return found["items"] if found else []

    def run_pi(self, name, implementation, command, program, image_name=NAME, **container):
        path = os.path.join(self.cluster.folder, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(MANIFEST.format(
                name=name, agent=AGENT, image=image_name, implementation=implementation,
                command=command, program=program, pod=json.dumps(POD),
                container=json.dumps({**CONTAINER, **container})))
        objects = []
        for more in (["--rbac"], [path]):
            made = subprocess.check_output(
                [REKNIT, "render", *more, "-o", "json", "--namespace", self.namespace],
                stderr=subprocess.DEVNULL)
            objects += json.loads(made)["items"]
        self.create(*[o for o in objects if o["kind"] in PLURALS])
        wait_for(lambda: len(self.pods("worker")) == 2, "worker pods", 60)
        workers = self.pods("worker")
        try:
            job = self.wait_get(lambda j: j["status"].get("conditions"), "the job ends", "job",
                                f"{name}-launcher", deadline=180)
        except AssertionError:
            print(self.kubectl("logs", f"job/{name}-launcher"), file=sys.stderr)
            raise
        log = self.kubectl("logs", f"job/{name}-launcher")
        self.assertEqual("Complete", job["status"]["conditions"][0]["type"], log)
        for rank in range(2):
            self.assertRegex(log, rf"rank {rank} of 2 on {name}-worker-{rank}: pi is 3\.14159")
        for pod in workers + self.pods("launcher"):
            faults = restricted.violations(pod)
            self.assertEqual([], list(faults), pod["metadata"]["name"])

    def test_open_mpi(self):
        self.run_pi("pi", "OpenMPI", "mpirun", "pi-openmpi")

    def test_mpich(self):
        self.run_pi("pi-mpich", "MPICH", "mpiexec.hydra", "pi-mpich")

    def test_next_open_mpi(self):
        """Open MPI 5; and nothing but the pod's volumes can be written."""
        self.provide_next()
        self.run_pi("pi-five", "OpenMPI", "mpirun", "pi-openmpi", NEXT,
                    readOnlyRootFilesystem=True)

    def test_next_mpich(self):
        self.provide_next()
        self.run_pi("pi-next", "MPICH", "mpiexec.hydra", "pi-mpich", NEXT)


if __name__ == "__main__":
    unittest.main()
