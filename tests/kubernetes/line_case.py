"""What the tests of a user's own mpirun line stand on: a job with a command, on a simulated API
server."""
import json
import os
import re
import shutil

from pods_case import BUILD, PLURALS, PodsCase, wait_for

PROGRAM = "/checkpoints/estimate"
RESTRICTED = json.dumps({"runAsUser": 12345, "runAsGroup": 12345, "readOnlyRootFilesystem": True,
                         "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}})

MANIFEST = """
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: {name}
  annotations: {{reknit.dev/image: "agent:1"{annotations}}}
spec:
  mpiImplementation: {mpi}
  runLauncherAsWorker: {works}
  runPolicy: {{backoffLimit: {retries}}}
  mpiReplicaSpecs:
    Launcher:
      restartPolicy: Never
      template:
        spec:
          containers:
          - name: l
            image: {image}
            securityContext: {security}
            command: {command}
            env: [{{name: OMPI_ALLOW_RUN_AS_ROOT, value: "1"}},
                  {{name: OMPI_ALLOW_RUN_AS_ROOT_CONFIRM, value: "1"}}, {env}]
            volumeMounts: [{{name: c, mountPath: /checkpoints}}]
          volumes: [{{name: c, hostPath: {{path: {folder}}}}}]
    Worker:
      replicas: {workers}
      template:
        spec:
          containers:
          - {{name: w, image: {image}, securityContext: {security}, {worker}
             volumeMounts: [{{name: c, mountPath: /checkpoints}}]}}
          volumes: [{{name: c, hostPath: {{path: {folder}}}}}]
"""


class LineCase(PodsCase):
    """Runs of a command, and what is lost meanwhile."""

    def setUp(self):
        super().setUp()
        shutil.copy2(os.path.join(BUILD, "tests", "estimate"), self.checkpoints)

    def begin(self, name, *command, **more):
        """Creates a job that has this command, and no worker pods."""
        given = {"mpi": "OpenMPI", "workers": 3, "retries": 0, "annotations": "", "env": "",
                 "worker": "", "image": "user:1", "security": "{}", "works": "false", **more}
        path = os.path.join(self.folder, f"{name}.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(MANIFEST.format(name=name, command=json.dumps(command),
                                      folder=self.checkpoints, **given))
        objects = [o for o in self.rendered(path) if o["kind"] in ("Job", "Service", "ConfigMap")]
        rights = self.rendered("--rbac") if not self.list("roles")["items"] else []
        for made in rights + objects:
            self.create(PLURALS[made["kind"]], made)

    def open_to_all(self):
        """Volumes here belong to root; any user may use those of the test."""
        os.chmod(self.folder, 0o755)
        os.chmod(self.checkpoints, 0o777)

    def runs(self, name):
        """How many workers each run of the command had."""
        return re.findall(r"run \d+ of the command starts on (\d+) of", self.launcher_log(name))

    def wait_for_ranks(self):
        """Until the program runs, which was told to hold its locks in /checkpoints."""
        wait_for(lambda: os.path.exists(os.path.join(self.checkpoints, "rank-2")), "ranks run")

    def kill_pod(self, name):
        """All processes of a pod, at once."""
        self.sim.control("pod/exit", namespace=self.space, name=name)


__all__ = ["LineCase", "PROGRAM", "RESTRICTED", "wait_for"]
