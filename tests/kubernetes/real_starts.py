"""Twenty starts on a real node, each unlike the others: images that come late, objects that come in
any order, worker pods that are there before their coordinator.  No launch may fail.

REKNIT_SEED repeats what is drawn (not the timing).
"""
import heapq
import itertools
import json
import os
import random
import subprocess
import sys
import time
import unittest

from cluster_test import NodeTest
from process import wait_for
from real_line import CONTAINER, POD, PROGRAM, import_pi
from real_line import NAME as PI
from real_pods import AGENT, PLURALS, REKNIT, import_agent

STARTS = 20
AT_ONCE = 4
WITHIN = 480  # seconds, for one job beside the others
LATE = (1, 6)  # seconds after the job, for an image that was not there
KINDS = {"program": "reknit.dev/program: /reknit/examples/tiny 50 20",
         "line": 'reknit.dev/min-workers: "{workers}"'}  # it asks for so many slots
POLICIES = ("None", "Running", "All")
OURS = "pods,services,configmaps,secrets,jobs,leases"

MANIFEST = """
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata:
  name: {name}
  annotations: {{reknit.dev/image: {agent}, {kind}}}
spec:
  slotsPerWorker: 1
  runPolicy: {{cleanPodPolicy: {policy}, backoffLimit: 0}}
  mpiReplicaSpecs:
    Launcher:
      restartPolicy: Never
      template:
        spec:
          securityContext: {pod}
          containers:
          - name: l
            image: {launcher}
            securityContext: {container}
            command: [mpirun, -n, "{workers}", {program}]
    Worker:
      replicas: {workers}
      template:
        spec:
          securityContext: {pod}
          containers: [{{name: w, image: {worker}, securityContext: {container}}}]
"""


class Start:
    """One job: what is drawn for it."""

    def __init__(self, number, kind, chance):
        self.name = f"s{number}"
        self.kind = kind
        self.workers = chance.randint(1, 3)
        self.policy = chance.choice(POLICIES)
        self.with_pods = chance.random() < 0.5  # or they are left to the coordinator
        self.order = chance.random()
        self.pauses = [chance.uniform(0, 2) for _ in range(chance.randint(0, 2))]
        self.late = {image: chance.uniform(*LATE) if chance.random() < 0.25 else 0
                     for image in ("agent", "launcher", "worker")}
        self.due = None

    def image(self, which):
        """A name that only this job uses, so that it can be missing."""
        return f"localhost/{which}:{self.name}"

    def manifest(self):
        return MANIFEST.format(
            name=self.name, kind=KINDS[self.kind].format(workers=self.workers),
            policy=self.policy, workers=self.workers, program=PROGRAM, pod=json.dumps(POD),
            container=json.dumps(CONTAINER), **{which: self.image(which) for which in self.late})

    def parts(self, objects):
        """The objects in the order drawn, cut where there are pauses."""
        objects = [o for o in objects if o["kind"] != "Pod" or self.with_pods]
        chance = random.Random(self.order)
        chance.shuffle(objects)
        cuts = sorted(chance.randint(0, len(objects)) for _ in self.pauses)
        return [objects[a:b] for a, b in zip([0, *cuts], [*cuts, len(objects)])]

    def __str__(self):
        late = ", ".join(f"{w} {s:.1f} s late" for w, s in self.late.items() if s)
        return (f"{self.name}: {self.kind}, cleanPodPolicy {self.policy}, {self.workers} workers"
                f"{' that come with it' if self.with_pods else ''}{', ' if late else ''}{late}")


class RealStarts(NodeTest):
    def setUp(self):
        super().setUp()
        import_agent(self)
        import_pi(self)
        self.actions = []  # (time, its number, what is done then)
        self.numbers = itertools.count()
        self.ended = {}    # seconds from the first object to the end, by job

    # ---- doing ----------------------------------------------------------------------------------

    def at(self, when, act):
        heapq.heappush(self.actions, (when, next(self.numbers), act))

    def act(self):
        """Does all that is due."""
        while self.actions and self.actions[0][0] <= time.monotonic():
            heapq.heappop(self.actions)[2]()

    def render(self, *arguments):
        made = subprocess.check_output(
            [REKNIT, "render", *arguments, "-o", "json", "--namespace", self.namespace],
            stderr=subprocess.DEVNULL)
        return json.loads(made)["items"]

    def tag(self, start, which):
        source = AGENT if which == "agent" else PI
        self.cluster.node().ctr("images", "tag", source, start.image(which))
        self.addCleanup(self.cluster.node().ctr, "images", "rm", start.image(which), check=False)

    def begin(self, start):
        """Everything that is to come of a job, each at its time."""
        print(f"   {start}", file=sys.stderr)
        path = os.path.join(self.cluster.folder, f"{start.name}.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(start.manifest())
        objects = [o for o in self.render(path) if o["kind"] in (*PLURALS, "Pod")]
        now = time.monotonic()
        start.due = now + WITHIN
        for which, seconds in start.late.items():
            self.at(now + seconds, lambda w=which: self.tag(start, w))
        self.act()  # what is not late is there before
        for pause, part in zip([0, *start.pauses], start.parts(objects)):
            now += pause
            if part:
                self.at(now, lambda p=part: self.bring(p))

    def bring(self, objects):
        """Creates them; a worker's pod that the coordinator has made meanwhile is as good."""
        try:
            self.create(*objects)
        except AssertionError as fault:
            errors = [line for line in str(fault).splitlines() if line.startswith("Error")]
            if not errors or any("(AlreadyExists): pods " not in line for line in errors):
                raise

    # ---- looking --------------------------------------------------------------------------------

    def log(self, start):
        return self.api.kubectl("-n", self.namespace, "logs", f"job/{start.name}-launcher",
                                check=False).stdout

    def fail_start(self, start, what):
        print(self.log(start), file=sys.stderr)
        self.fail(f"{start}: {what}")

    def has_ended(self, start, job):
        """Whether a job is complete; it may not have failed in between, and not be too late."""
        status = job["status"] if job else {}
        if status.get("failed", 0) > 0:
            self.fail_start(start, f"a launch failed: {status}")
        if time.monotonic() > start.due:
            self.fail_start(start, f"not at its end within {WITHIN} s: {status}")
        return any(c["type"] == "Complete" for c in status.get("conditions", []))

    def items(self, *arguments):
        """A list of objects, maybe none."""
        found = self.get(*arguments)
        return found["items"] if found else []

    def pods(self, start, role):
        label = f"reknit.dev/job={start.name},training.kubeflow.org/job-role={role}"
        return self.items("pods", "-l", label)

    def check(self, start):
        """One launcher, which never started twice, and the result; no worker that still runs."""
        launchers = self.pods(start, "launcher")
        self.assertEqual(1, len(launchers), f"{start}: its launchers")
        status = launchers[0]["status"]
        for each in status["initContainerStatuses"] + status["containerStatuses"]:
            self.assertEqual(0, each["restartCount"], f"{start}: {each['name']}")
        log = self.log(start)
        for rank in range(start.workers if start.kind == "line" else 0):
            self.assertRegex(log, rf"rank {rank} of {start.workers} on .*: pi is 3\.14159")
        if start.kind == "program":
            self.assertIn("job ended, exit code 0", log)
        wait_for(lambda: self.is_clean(start), lambda: f"{start}: pods left: "
                 f"{[(p['metadata']['name'], p['status']) for p in self.pods(start, 'worker')]}")

    def is_clean(self, start):
        """Whether there are no worker pods but those that the policy keeps."""
        phases = {pod["status"]["phase"] for pod in self.pods(start, "worker")}
        kept = {"None": phases, "Running": {"Succeeded", "Failed"}, "All": set()}
        return phases <= kept[start.policy]

    def end(self, start):
        self.ended[start.name] = time.monotonic() - start.due + WITHIN
        self.check(start)
        self.kubectl("delete", "job", f"{start.name}-launcher", "--wait=false")

    def left(self):
        """What is there of any job, in the cluster and on the node."""
        found = self.items(OURS, "-l", "reknit.dev/job")
        label = f'labels."io.kubernetes.pod.namespace"=={self.namespace}'
        containers = self.cluster.node().ctr("containers", "list", "--quiet", label).stdout.split()
        return [f"{o['kind']}/{o['metadata']['name']}" for o in found] + containers

    def test_twenty_starts(self):
        seed = int(os.environ.get("REKNIT_SEED") or random.SystemRandom().randrange(1 << 31))
        print(f"   REKNIT_SEED={seed}", file=sys.stderr)
        chance = random.Random(seed)
        kinds = [*KINDS] * (STARTS // len(KINDS))
        chance.shuffle(kinds)
        waiting = [Start(number, kind, chance) for number, kind in enumerate(kinds)]
        running = []
        self.create(*self.render("--rbac"))
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                running.append(waiting.pop(0))
                self.begin(running[-1])
            self.act()
            jobs = {j["metadata"]["name"]: j for j in self.items("jobs")}
            for start in [s for s in running if self.has_ended(s, jobs.get(f"{s.name}-launcher"))]:
                self.end(start)
                running.remove(start)
            time.sleep(0.5)
        took = sorted(self.ended.values())
        print(f"   {len(took)} starts, from object to end {took[0]:.1f} to {took[-1]:.1f} s, "
              f"median {took[len(took) // 2]:.1f} s", file=sys.stderr)
        wait_for(lambda: not self.left(), lambda: f"left: {self.left()}")


if __name__ == "__main__":
    unittest.main()
