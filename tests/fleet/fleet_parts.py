"""What plays the surroundings of a coordinator with thousands of workers.

Agents are one process (fleet.h), whom a follower of the pods tells what runs where, as a kubelet
would.  `reknit pods` and its coordinator are the real ones, as processes of this machine.
"""
import base64
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
AGENTS = os.path.join(BUILD, "tests", "fleet_agents")
SMALL_QUEUES = os.path.join(BUILD, "zmq")  # where k8s/image/zmq was told to put its libzmq
JOB = "fleet"
PORT = 7465
WORKERS = f"reknit.dev/job={JOB},training.kubeflow.org/job-role=worker"

MANIFEST = """
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: {name}
  annotations:
    reknit.dev/program: 'true'
    reknit.dev/backend: none
    reknit.dev/gather: 1h
    reknit.dev/max-restarts: '1000000'
    reknit.dev/image: agent:1
spec:
  mpiReplicaSpecs:
    Launcher:
      template: {{spec: {{containers: [{{name: l, image: user:1}}]}}}}
    Worker:
      replicas: {workers}
      template: {{spec: {{schedulerName: {scheduler}, containers: [{{name: w, image: user:1}}]}}}}
"""


class Agents:
    """The process that plays all agents, and what it printed."""

    def __init__(self, secret, heartbeat=0):
        self.process = subprocess.Popen(
            [AGENTS, "--secret", secret, "--heartbeat", str(heartbeat)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.news = threading.Condition()
        self.number = 0     # of the newest mark
        self.times = {}     # (told or whole, mark): when
        self.fenced = []
        self.address = {}   # uid: address of its agent
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        """Takes what the agents print."""
        for line in self.process.stdout:
            word = line.split()
            with self.news:
                if word[0] == "fenced":
                    self.fenced.append(word[1])
                else:
                    self.times[word[0], int(word[1])] = float(word[2])
                self.news.notify_all()

    def tell(self, line):
        """One line of orders."""
        with contextlib.suppress(OSError, ValueError):  # close() finds out how it ended
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()

    def start(self, pod):
        """The agent of a pod that runs; once."""
        metadata, address = pod["metadata"], pod["status"]["podIP"]
        if self.address.get(metadata["uid"]) == address:
            return
        self.address[metadata["uid"]] = address
        ticket = metadata["annotations"]["reknit.dev/ticket"]
        self.tell(f"start {address} {PORT} {ticket} {metadata['uid']} {metadata['name']}")

    def stop(self, uid, how="stop"):
        """The agent of a pod that has ended, if it is there; `cut`: its link, which stands."""
        address = self.address.pop(uid, None)
        if address:
            self.tell(f"{how} {address}")

    def mark(self, members):
        """What happens from now on is waited for by until()."""
        self.number += 1
        self.tell(f"mark {self.number} {members}")

    def until(self, what, deadline):
        """When the first agent was told to do something (`told`), or the last (`whole`), or one
        `stopped`."""
        with self.news:
            self.news.wait_for(lambda: (what, self.number) in self.times, deadline)
            if (what, self.number) not in self.times:
                raise AssertionError(f"no agents were '{what}' within {deadline} s")
            return self.times[what, self.number]

    def close(self):
        """Ends the process."""
        self.process.stdin.close()
        code = self.process.wait(timeout=60)
        self.reader.join()
        self.process.stdout.close()
        if code != 0:
            raise AssertionError(f"the agents' process ended with {code}")


class Follower(threading.Thread):
    """Follows the pods and keeps the agents in step, as the kubelets of all nodes would.

    `events` gives (type, pod) of a watch from now on, without an end.
    """

    def __init__(self, events, agents):
        super().__init__(daemon=True)
        self.events = events
        self.agents = agents
        self.seen = set()  # uids
        self.keep = set()  # names whose agents stay, whatever becomes of their pods

    def run(self):
        for kind, pod in self.events:
            metadata, status = pod["metadata"], pod["status"]
            self.seen.add(metadata["uid"])
            alive = kind != "DELETED" and status.get("phase") == "Running"
            if alive and status.get("podIP"):
                self.agents.start(pod)
            elif not alive and metadata["name"] not in self.keep:
                self.agents.stop(metadata["uid"])


class Coordinator:
    """`reknit pods` of a job, with its log."""

    def __init__(self, kubeconfig, namespace, config, folder):
        self.path = os.path.join(folder, "pods.log")
        self.secret = os.path.join(folder, "state", "run", "job.secret")
        with open(self.path, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [REKNIT, "pods", "--config", config, "--namespace", namespace, "--kubeconfig",
                 kubeconfig, "--pod-name", f"{JOB}-launcher-0", "--pod-uid", "u", "--state-dir",
                 os.path.join(folder, "state")], stderr=log, stdout=log,
                env={**os.environ, "LD_LIBRARY_PATH": SMALL_QUEUES})

    def log(self):
        """All that was logged."""
        with open(self.path, encoding="utf-8") as f:
            return f.read()

    def child(self):
        """The process of the coordinator."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children",
                  encoding="utf-8") as f:
            return int((f.read().split() or ["0"])[0])

    def memory(self):
        """Most memory that was resident, in bytes: of `reknit pods`, of the coordinator."""
        return {"pods": peak(self.process.pid), "coordinator": peak(self.child())}

    def stop(self):
        """Ends both at once; the pods stay."""
        child = self.child()
        self.process.kill()
        self.process.wait()
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def peak(pid):
    """VmHWM of a process."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1]) << 10


def objects_of(workers, folder, namespace, scheduler="default-scheduler"):
    """What `reknit render` makes of a job, by kind; the MPIJob as a file for `reknit pods`."""
    manifest = os.path.join(folder, "job.yaml")
    with open(manifest, "w", encoding="utf-8") as out:
        out.write(MANIFEST.format(name=JOB, workers=workers, scheduler=scheduler))
    made = json.loads(subprocess.check_output(
        [REKNIT, "render", manifest, "-o", "json", "--namespace", namespace],
        stderr=subprocess.DEVNULL))
    kinds = collections.defaultdict(list)
    for item in made["items"]:
        kinds[item["kind"]].append(item)
    config = os.path.join(folder, "mpijob.json")
    with open(config, "w", encoding="utf-8") as out:
        out.write(next(m["data"]["mpijob.json"] for m in kinds["ConfigMap"]
                       if "mpijob.json" in m["data"]))
    return kinds, config


def write_secret(secret, folder):
    """The file for the agents, of the Secret that the coordinator has made."""
    path = os.path.join(folder, "worker.secret")
    text = next(v for k, v in secret["data"].items() if "worker" in k)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
        out.write(base64.b64decode(text))
    return path


def share(values, part):
    """The value that so large a part of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def progress(what):
    """A line for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
