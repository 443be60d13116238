#!/usr/bin/env python3
"""`reknit submit` against the simulated API server.

REKNIT_BUILD names the build folder (default: build/release of this tree).
"""
import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
JOBS = os.path.join(ROOT, "tests", "render", "jobs")
sys.path.insert(0, os.path.join(ROOT, "tests", "kubernetes"))
from sim_case import Case  # noqa: E402
from sim_client import config_map, path_of, wait_for  # noqa: E402

DEADLINE = 60
PI = """\
apiVersion: kubeflow.org/v2beta1
kind: MPIJob
metadata: {name: pi}
spec:
  runPolicy: {backoffLimit: 0}
  mpiReplicaSpecs:
    Launcher:
      restartPolicy: Never
      template:
        spec:
          containers:
          - {name: launcher, image: "mpi-pi:1", command: [mpirun, -n, "2", /opt/pi]}
    Worker:
      replicas: 2
      template:
        spec:
          containers:
          - {name: worker, image: "mpi-pi:1", resources: {limits: {cpu: 1000m, memory: 1Gi}}}
"""
OTHERS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: input}
data: {a: b}
---
""" + PI + """\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: output}
"""
OURS = {"jobs": ["pi-launcher"], "secrets": ["pi-reknit"], "services": ["pi"],
        "configmaps": ["pi-config"]}


def rbac(namespace, *more):
    """What `reknit render --rbac` prints, as objects by their plurals."""
    text = subprocess.run([REKNIT, "render", "--rbac", "--namespace", namespace, "-o", "json",
                           *more], check=True, capture_output=True, text=True).stdout
    return [(item["kind"].lower() + "s", item) for item in json.loads(text)["items"]]


class Submitting(Case):
    """A namespace in which the coordinator's rights are installed, and a file."""

    def setUp(self):
        super().setUp()
        self.folder = tempfile.TemporaryDirectory(prefix="reknit-submit-")
        self.addCleanup(self.folder.cleanup)
        self.kubeconfig = self.sim.kubeconfig(self.path("kubeconfig"), namespace=self.space)
        self.install()
        self.file = self.write(PI)

    def install(self):
        """As a namespace's admin does."""
        for resource, item in rbac(self.space, "--gang", "volcano"):
            self.create(resource, item)

    def install_again(self, *more):
        """In place of what is there."""
        for resource, item in rbac(self.space, *more):
            self.delete(resource, item["metadata"]["name"])
            self.create(resource, item)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def write(self, text, name="job.yaml"):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def command(self, *arguments):
        return [REKNIT, "submit", "--kubeconfig", self.kubeconfig, *arguments]

    def submit(self, *arguments, code=0, wrong=""):
        """Runs it to its end; returns what it printed."""
        done = subprocess.run(self.command(*(arguments or (self.file,))), capture_output=True,
                              text=True, timeout=DEADLINE, check=False)
        self.assertEqual(code, done.returncode, done.stdout + done.stderr)
        if wrong:
            self.assertIn(wrong, done.stderr)
        else:
            self.assertEqual("", done.stderr)
        return done.stdout

    def start(self, *arguments):
        """Starts it; its lines come as `stdout`."""
        process = subprocess.Popen(self.command(*arguments), stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        watchdog = threading.Timer(DEADLINE, process.kill)
        watchdog.start()
        self.addCleanup(watchdog.cancel)
        return process

    def until(self, process, text):
        """Reads lines up to the one with this text; returns them."""
        lines = []
        for line in process.stdout:
            lines.append(line)
            if text in line:
                return "".join(lines)
        self.fail(f"no '{text}' in {lines} {process.stderr.read()}")
        return ""

    def made(self):
        """Names of what is there of a job's kinds."""
        hidden = ("kube-root-ca.crt",)
        return {kind: [name for name in self.names(kind) if name not in hidden and
                       "token" not in name] for kind in OURS}

    def whole(self):
        """All that a job consists of, without what differs from time to time."""
        found = {}
        for kind in (*OURS, "pods"):
            for item in self.list(kind)["items"]:
                metadata = item["metadata"]
                name = metadata["name"]
                if kind == "pods" and "launcher" in name or name == "kube-root-ca.crt" or \
                        "token" in name:
                    continue
                owners = [(o["kind"], o["name"]) for o in metadata.get("ownerReferences", [])]
                body = {k: v for k, v in item.items() if k not in ("metadata", "status", "data")}
                body.get("spec", {}).pop("selector", None)
                body.get("spec", {}).get("template", {}).pop("metadata", None)
                body["keys"] = sorted(item.get("data", {}))
                found[kind, name] = (owners, metadata.get("labels"),
                                     metadata.get("annotations"), body)
        return found

    def writes(self, since=0):
        """Writes of our command in this namespace, as (verb, resource, name, code)."""
        return [(r["verb"], r["resource"], r["name"], r["code"])
                for r in self.sim.requests(namespace=self.space)
                if r["number"] > since and r["agent"].startswith("reknit/") and
                r["verb"] not in ("get", "list", "watch")]


class Objects(Submitting):
    """What is made, once, in which order; nothing runs the pods here."""

    def test_exactly_the_objects(self):
        text = self.submit(self.file, "--no-follow")
        self.assertIn("job pi is submitted in namespace", text)
        self.assertEqual(OURS, self.made())
        self.assertEqual([("create", kind, OURS[kind][0], 201)
                          for kind in ("jobs", "secrets", "services", "configmaps")],
                         self.writes())
        uid = self.get("jobs", "pi-launcher")["metadata"]["uid"]
        for kind in ("secrets", "services", "configmaps"):
            owners = self.get(kind, OURS[kind][0])["metadata"]["ownerReferences"]
            self.assertEqual([("Job", "pi-launcher", uid)],
                             [(o["kind"], o["name"], o["uid"]) for o in owners])
        secret = self.get("secrets", "pi-reknit")
        self.assertEqual(["coordinator", "worker"], sorted(secret["data"]))

    def test_what_render_prints_is_made(self):
        self.submit(self.file, "--no-follow")
        text = subprocess.run([REKNIT, "render", "--namespace", self.space, "-o", "json",
                               self.file], check=True, capture_output=True, text=True).stdout
        for item in json.loads(text)["items"]:
            if item["kind"] in ("ConfigMap", "Service"):
                there = self.get(item["kind"].lower() + "s", item["metadata"]["name"])
                self.assertEqual(item["metadata"]["labels"], there["metadata"]["labels"])
                self.assertEqual(item.get("data"), there.get("data"))

    def test_secrets_differ(self):
        self.submit(self.file, "--no-follow")
        first = self.get("secrets", "pi-reknit")["data"]
        self.sim.delete("jobs", "pi-launcher", self.space, propagationPolicy="Background")
        wait_for(lambda: not self.made()["secrets"], "the collector")
        self.submit(self.file, "--no-follow")
        self.assertNotEqual(first, self.get("secrets", "pi-reknit")["data"])

    def test_dry_run_makes_nothing(self):
        before = self.version()
        text = self.submit(self.file, "--dry-run")
        self.assertIn("Job pi-launcher would be created", text)
        self.assertEqual({kind: [] for kind in OURS}, self.made())
        self.assertEqual(before, self.version())
        self.submit(self.file, "--no-follow")
        before = self.version()
        self.assertIn("was submitted before", self.submit(self.file, "--dry-run"))
        self.assertEqual(before, self.version())

    def test_other_kinds_stand_where_they_stood(self):
        self.submit(self.write(OTHERS), "--no-follow")
        self.assertEqual([("patch", "configmaps", "input"), ("create", "jobs", "pi-launcher"),
                          ("patch", "configmaps", "output")],
                         [w[:3] for w in self.writes() if w[0] == "patch" or w[1] == "jobs"])
        self.assertEqual({"a": "b"}, self.get("configmaps", "input")["data"])
        self.submit(self.write(OTHERS), "--no-follow")

    def test_kinds_that_the_file_brings(self):
        text = """\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: inputs.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: inputs, singular: input, kind: Input, listKind: InputList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: example.com/v1
kind: Input
metadata: {name: one}
---
"""
        self.addCleanup(self.sim.delete, "customresourcedefinitions", "inputs.example.com", "")
        self.submit(self.write(text + PI), "--no-follow")
        path = path_of("inputs", self.space, "one", group="example.com/v1")
        self.assertEqual("one", self.sim.ask("GET", path)["metadata"]["name"])

    def test_a_kind_that_nobody_knows(self):
        other = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n---\n"
        self.submit(self.write(other + PI), code=69,
                    wrong="the cluster has no kind Thing of example.org/v1")
        self.assertEqual([], self.writes())

    def test_a_gang_has_its_group_and_pods(self):
        volcano = self.write(PI.replace("spec:\n          containers:\n          - {name: l",
                                        "spec:\n          schedulerName: volcano\n          "
                                        "containers:\n          - {name: l"))
        self.submit(volcano, "--no-follow")
        text = subprocess.run([REKNIT, "render", "-o", "json", volcano], check=True,
                              capture_output=True, text=True).stdout
        wanted = {i["metadata"]["name"]: i["metadata"]["annotations"]
                  for i in json.loads(text)["items"] if i["kind"] == "Pod"}
        there = {i["metadata"]["name"]: i["metadata"]["annotations"]
                 for i in self.list("pods")["items"]}
        self.assertEqual(wanted, there)
        self.assertEqual(2, len(there))
        # A coordinator that has begun replaces what it loses, under another name.
        uid = self.get("jobs", "pi-launcher")["metadata"]["uid"]
        self.sim.control("remove", key="pods", namespace=self.space, name="pi-worker-0")
        record = config_map("pi-record", epochs="17")
        record["metadata"]["ownerReferences"] = [
            {"apiVersion": "batch/v1", "kind": "Job", "name": "pi-launcher", "uid": uid}]
        self.create("configmaps", record)
        self.submit(volcano, "--no-follow")
        self.assertEqual(["pi-worker-1"], self.names("pods"))

    def test_a_group_is_what_its_scheduler_knows(self):
        """Nothing of it is refused or dropped, and it goes with the job."""
        policy = ("{schedulingPolicy: {minAvailable: 2, queue: q, priorityClass: high, "
                  "minResources: {cpu: 2, memory: 1Gi}, scheduleTimeoutSeconds: 60}}")
        file = self.write(PI.replace("{backoffLimit: 0}", policy))
        for gang, group in (("volcano", "scheduling.volcano.sh/v1beta1"),
                            ("scheduler-plugins", "scheduling.x-k8s.io/v1alpha1")):
            with self.subTest(gang):
                self.install_again("--gang", gang)
                self.submit(file, "--gang", gang, "--no-follow")
                text = subprocess.run([REKNIT, "render", "--gang", gang, "-o", "json", file],
                                      check=True, capture_output=True, text=True).stdout
                wanted = [i for i in json.loads(text)["items"] if i["kind"] == "PodGroup"]
                listed = f"/apis/{group}/namespaces/{self.space}/podgroups"
                made = self.sim.ask("GET", listed)["items"]
                self.assertEqual([(group, i["spec"]) for i in wanted],
                                 [(i["apiVersion"], i["spec"]) for i in made])
                self.assertEqual(2, made[0]["spec"]["minMember"])
                self.delete("jobs", "pi-launcher", propagationPolicy="Background")
                wait_for(lambda: not self.sim.ask("GET", listed)["items"], "no PodGroup")
                wait_for(lambda: not self.names("pods") and not self.names("secrets"), "nothing")

    def test_faults_are_those_of_validate(self):
        wrong = self.write(PI.replace("replicas: 2", "replicas: -2"))
        done = subprocess.run([REKNIT, "validate", wrong], capture_output=True, text=True,
                              check=False)
        self.assertEqual(65, done.returncode)
        self.submit(wrong, code=65, wrong=done.stdout.splitlines()[0])
        self.submit(self.write("apiVersion: v1\nkind: Secret\n"), code=65,
                    wrong="there is no MPIJob in it")
        self.assertEqual([], self.writes())

    def test_words_that_are_wrong(self):
        self.submit("--follow", "pi", self.file, code=64, wrong="name one file")
        self.submit("--gangs", "x", self.file, code=64, wrong="did you mean --gang?")
        self.submit(self.file, "-n", "elsewhere", "--timeout", "1", code=64, wrong="no unit")
        self.submit("--follow", "pi", code=69,
                    wrong=f"there is no job pi in namespace {self.space}")
        self.submit(self.write(PI.replace("name: pi", "name: pi, namespace: a")), "-n", "b",
                    code=65, wrong="the manifest says 'a', but 'b' is wanted")

    def test_a_server_that_is_not_there(self):
        with open(self.kubeconfig, encoding="utf-8") as f:
            text = f.read().replace(self.sim.url, "http://127.0.0.1:1")
        with open(self.kubeconfig, "w", encoding="utf-8") as f:
            f.write(text)
        self.submit(self.file, code=69, wrong="context sim): ")

    def test_what_a_quota_or_the_server_refuses(self):
        self.sim.control("fault", verb="create", resource="jobs", namespace=self.space,
                         action="status", code=422, reason="Invalid", message="spec.x: no")
        self.submit(self.file, code=65, wrong="Job pi-launcher: ")
        self.assertEqual({kind: [] for kind in OURS}, self.made())


class Again(Submitting):
    """A second submit: the same, another, half of one."""

    def test_the_same_file(self):
        self.submit(self.file, "--no-follow")
        before = self.version()
        text = self.submit(self.file, "--no-follow")
        self.assertIn("job pi was submitted before, and is as this file has it", text)
        self.assertEqual(before, self.version())

    def test_another_job_of_that_name(self):
        self.submit(self.file, "--no-follow")
        before = self.version()
        other = self.write(PI.replace("replicas: 2", "replicas: 3").replace(
            "spec:\n  run", "spec:\n  slotsPerWorker: 4\n  run"), "other.yaml")
        self.submit(other, code=69, wrong="another job pi is there: spec.mpiReplicaSpecs.Worker."
                    "replicas is 2 there and 3 here; spec.slotsPerWorker is 1 there and 4 "
                    "here.  Delete it (kubectl delete job pi-launcher")
        self.assertEqual(before, self.version())

    def size(self):
        """The number of workers that the coordinator of pi is told."""
        job = self.get("jobs", "pi-launcher")["metadata"]["annotations"]["reknit.dev/workers"]
        config = json.loads(self.get("configmaps", "pi-config")["data"]["mpijob.json"])
        return job, config["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"]

    def test_another_number_of_workers(self):
        self.submit(self.file, "--no-follow")
        self.assertEqual(("2", 2), self.size())
        uid = self.get("jobs", "pi-launcher")["metadata"]["uid"]
        other = self.write(PI.replace("replicas: 2", "replicas: 3"), "other.yaml")
        self.assertIn("job pi would be asked to go on with 3 workers",
                      self.submit(other, "--dry-run"))
        self.assertEqual(("2", 2), self.size())
        self.assertIn("job pi is asked to go on with 3 workers", self.submit(other, "--no-follow"))
        self.assertEqual(("3", 3), self.size())
        self.assertEqual(uid, self.get("jobs", "pi-launcher")["metadata"]["uid"])
        self.assertIn("is as this file has it", self.submit(other, "--no-follow"))

    def test_a_job_that_differs_and_is_half_done(self):
        self.sim.control("fault", verb="create", resource="secrets", namespace=self.space,
                         action="status", code=403, reason="Forbidden", message="no")
        self.submit(self.file, code=69, wrong="Secret pi-reknit: ")
        other = self.write(PI.replace("backoffLimit: 0", "backoffLimit: 4"), "other.yaml")
        self.submit(other, code=69, wrong="backoffLimit is 0 there and 4 here")
        self.assertIn("job pi is complete now", self.submit(self.file, "--no-follow"))

    def test_objects_of_others(self):
        self.create("jobs", {"metadata": {"name": "pi-launcher"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]}}}})
        self.submit(code=69, wrong="a Job pi-launcher is there that reknit has not made")
        self.sim.delete("jobs", "pi-launcher", self.space, propagationPolicy="Background")
        wait_for(lambda: not self.names("jobs"), "the deletion")
        self.create("configmaps", config_map("pi-config"))
        self.submit(code=69, wrong="ConfigMap pi-config is there already and is not of this job")
        self.sim.delete("configmaps", "pi-config", self.space)
        self.assertIn("complete now", self.submit(self.file, "--no-follow"))

    def test_what_was_applied_by_hand_is_adopted(self):
        self.create("services", {"metadata": {"name": "pi", "labels": {"reknit.dev/job": "pi"}},
                                 "spec": {"clusterIP": "None", "selector": {"a": "b"}}})
        self.assertIn("Service pi was there, and is the job's now",
                      self.submit(self.file, "--no-follow"))
        service = self.get("services", "pi")
        self.assertEqual("pi-launcher", service["metadata"]["ownerReferences"][0]["name"])
        self.assertIn("training.kubeflow.org/job-name", service["spec"]["selector"])

    def clean(self, file):
        """The whole of a job that was submitted without trouble; it is gone afterwards."""
        self.submit(file, "--no-follow")
        whole = self.whole()
        self.sim.delete("jobs", "pi-launcher", self.space, propagationPolicy="Background")
        wait_for(lambda: not any(self.made().values()) and not self.names("pods"), "the collector")
        return whole

    def broken_at(self, file, skip, fault):
        """Submits with the write number `skip` going wrong, then once more; returns the whole."""
        self.sim.control("fault", verb="create", namespace=self.space, skip=skip, **fault)
        process = self.start(file, "--no-follow")
        if fault["action"] == "hang":
            wait_for(lambda: process.poll() is not None or
                     not self.sim.control("state")["faults"], "the request that hangs")
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE)
        self.sim.control("faults/clear")
        self.submit(file, "--no-follow")
        whole = self.whole()
        self.sim.delete("jobs", "pi-launcher", self.space, propagationPolicy="Background")
        wait_for(lambda: not any(self.made().values()) and not self.names("pods"), "the collector")
        return whole

    def test_broken_off_at_each_write(self):
        volcano = self.write(PI.replace("spec:\n          containers:\n          - {name: l",
                                        "spec:\n          schedulerName: volcano\n          "
                                        "containers:\n          - {name: l"), "volcano.yaml")
        faults = ({"action": "status", "code": 403, "reason": "Forbidden", "message": "no"},
                  {"action": "status", "code": 500, "count": 2}, {"action": "close", "count": 2},
                  {"action": "lost"}, {"action": "cut"}, {"action": "hang"})
        for file, writes in ((self.file, 4), (volcano, 7)):
            whole = self.clean(file)
            self.assertEqual(writes - 1 if file == volcano else writes, len(whole))
            for skip in range(writes):
                for fault in faults:
                    with self.subTest(skip=skip, fault=fault, gang=file == volcano):
                        self.assertEqual(whole, self.broken_at(file, skip, fault))


class Slow(Submitting):
    """No collector: what a deleted job has left goes when the test says so."""

    ARGUMENTS = ("--no-garbage-collector",)

    def test_what_an_earlier_job_left_is_waited_for(self):
        self.create("secrets", {"metadata": {
            "name": "pi-reknit", "labels": {"reknit.dev/job": "pi"}, "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "pi-launcher", "uid": "old"}]}})
        process = self.start(self.file, "--no-follow")
        self.until(process, "Secret pi-reknit is of an earlier job and going")
        self.sim.delete("secrets", "pi-reknit", self.space)
        self.until(process, "job pi is submitted")
        self.assertEqual(0, process.wait(DEADLINE))
        self.assertIn("coordinator", self.get("secrets", "pi-reknit")["data"])


    def test_a_job_of_an_operator(self):
        self.submit(self.file, "--no-follow")
        self.patch("jobs", "pi-launcher", {"metadata": {"ownerReferences": [
            {"apiVersion": "kubeflow.org/v2beta1", "kind": "MPIJob", "name": "pi", "uid": "u",
             "controller": True}]}})
        self.submit(code=69, wrong="is the MPIJob pi's, which an operator runs")


class Rights(Submitting):
    """With roles: what is missing is named before anything is made."""

    ARGUMENTS = ("--rbac", "--token", "boss", "--no-service-accounts")
    ALL = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.sim.token = "boss"

    def allow(self, rules):
        """A user with these rights uses the kubeconfig from now on."""
        self.sim.control("token", token="jo", user="jo", groups=[], rules=rules)
        self.kubeconfig = self.sim.kubeconfig(self.path("kubeconfig"), token="jo",
                                              namespace=self.space)

    def test_a_missing_verb_is_named(self):
        self.allow([{"apiGroups": [""], "resources": ["*"], "verbs": ["*"]},
                    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "list"]}])
        text = self.submit(code=69, wrong="2 rights are missing; an admin of namespace")
        self.assertIn(f"you may not create jobs.batch in namespace {self.space}; the ClusterRole"
                      " edit gives it", text)
        self.assertIn("you may not watch jobs.batch", text)
        self.assertIn("the Role reknit (`reknit render --rbac`) gives it", text)
        self.assertEqual([], [w for w in self.writes() if w[1] != "selfsubjectaccessreviews"])

    def test_without_events_and_logs(self):
        self.allow([{"apiGroups": ["", "batch"], "verbs": ["*"],
                     "resources": ["jobs", "pods", "secrets", "services", "configmaps"]}])
        process = self.start(self.file)
        self.until(process, "you may not get pods/log")
        self.until(process, "job pi is submitted")
        self.patch("jobs", "pi-launcher", {"status": {"conditions": [
            {"type": "Complete", "status": "True"}]}}, subresource="status")
        self.until(process, "job pi succeeded")
        self.assertEqual(0, process.wait(DEADLINE))

    def test_the_account_is_missing(self):
        self.allow(self.ALL)
        self.sim.delete("serviceaccounts", "reknit", self.space)
        self.submit(code=69, wrong=f"namespace {self.space} has no ServiceAccount reknit, by which"
                    " the coordinator makes its pods; the namespace's admin installs it once:"
                    f" reknit render --rbac --namespace {self.space} | kubectl apply -f -")
        self.assertEqual([], self.names("jobs"))
        named = self.write(PI.replace("spec:\n          containers:\n          - {name: l",
                                      "spec:\n          serviceAccountName: own\n          "
                                      "containers:\n          - {name: l"))
        self.submit(named, code=69, wrong="no ServiceAccount own, which the manifest's launcher")

    def test_the_role_lacks_something(self):
        self.allow(self.ALL)
        role = self.sim.get("roles", "reknit", self.space)
        for rule in role["rules"]:
            if "pods" in rule["resources"]:
                rule["verbs"].remove("delete")
        self.sim.update("roles", role)
        text = self.submit(self.file, "--no-follow")
        self.assertIn("the Role reknit in namespace", text)
        self.assertIn("has not all of them (delete pods)", text)

    def test_an_account_in_the_file(self):
        self.allow(self.ALL)
        for resource in ("serviceaccounts", "roles", "rolebindings"):
            self.sim.delete(resource, "reknit", self.space)
        account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reknit}\n---\n"
        self.submit(self.write(account + PI), "--dry-run")
        self.submit(self.write(account + PI), "--no-follow")
        self.assertEqual(["pi-launcher"], self.names("jobs"))

    def test_other_kinds_need_rights_too(self):
        self.allow([{"apiGroups": ["batch"], "resources": ["*"], "verbs": ["*"]},
                    {"apiGroups": [""], "resources": ["*"], "verbs": [
                        "get", "list", "watch", "create"]}])
        self.submit(self.write(OTHERS), code=69, wrong="you may not patch configmaps in namespace")
        self.assertEqual([], self.names("jobs"))


class Following(Submitting):
    """What becomes of a job, with a Job controller, a scheduler and a fake kubelet."""

    ARGUMENTS = ("--all", "--nodes", 3, "--factor", 20)

    def setUp(self):
        super().setUp()
        self.sim.control("plans/clear")

    def plan(self, **more):
        self.sim.control("plan", namespace=self.space, **more)

    def worker(self, place, life=0, **more):
        """A worker pod as the coordinator makes it."""
        name = f"pi-worker-{place}" + (f"-{life}" if life else "")
        uid = self.get("jobs", "pi-launcher")["metadata"]["uid"]
        self.create("pods", {"metadata": {
            "name": name, "labels": {"reknit.dev/job": "pi",
                                     "training.kubeflow.org/job-role": "worker"},
            "annotations": {"reknit.dev/place": str(place), "reknit.dev/ticket": str(place + 3)},
            "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "pi-launcher",
                                 "uid": uid}]},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "worker", "image": "i:1"}],
                     **more}})
        return name

    def test_success(self):
        self.plan(name="pi-launcher-*", run=5)
        text = self.submit()
        self.assertIn("coordinator pod pi-launcher-", text)
        self.assertIn(" runs on node-", text)
        self.assertTrue(text.endswith("reknit: job pi succeeded\n"), text)
        again = self.submit()
        self.assertIn("was submitted before, and is over; to run it again: kubectl delete", again)
        self.assertTrue(again.endswith("reknit: job pi succeeded\n"), again)

    def test_the_exit_code_of_the_program(self):
        self.plan(name="pi-launcher-*", run=40, exit=3)
        process = self.start(self.file)
        self.until(process, " runs on node-")
        pod = next(n for n in self.names("pods"))
        self.sim.control("pod/log", namespace=self.space, name=pod,
                         text="\n".join(f"line {i}" for i in range(50)) + "\n\x1b[2Jbye\xe9\n")
        text = self.until(process, "job pi failed: BackoffLimitExceeded")
        self.assertIn("exit code 3", text)
        self.assertIn(f"the last lines of {pod}:", text)
        self.assertIn("line 49\n", text)
        self.assertNotIn("line 20\n", text)
        self.assertEqual(3, process.wait(DEADLINE))
        self.submit(code=3)

    def test_a_coordinator_whose_pod_is_deleted_at_its_end(self):
        """As Jobs do whose pods restart in place: what it said was kept before."""
        self.plan(name="pi-launcher-*", run=40, exit=4, stop=20)
        process = self.start(self.write(PI.replace("restartPolicy: Never",
                                                   "restartPolicy: OnFailure")))
        self.until(process, " runs on node-")
        pod = next(n for n in self.names("pods"))
        self.sim.control("pod/log", namespace=self.space, name=pod, text="the last word\n")
        text = self.until(process, "job pi failed: BackoffLimitExceeded")
        self.assertIn("the last word\n", text)
        self.assertIn("exit code 4", text)
        self.assertEqual(4, process.wait(DEADLINE))

    def test_what_the_coordinator_has_noted_outlives_its_pods(self):
        self.plan(name="pi-launcher-*", run=40, exit=5)
        process = self.start(self.file)
        self.until(process, " runs on node-")
        job = self.get("jobs", "pi-launcher")["metadata"]["uid"]
        self.create("configmaps", {
            "metadata": {"name": "pi-record", "ownerReferences": [
                {"apiVersion": "batch/v1", "kind": "Job", "name": "pi-launcher", "uid": job}]},
            "data": {"losses": "2027-01-15T08:00:00Z worker 1 (rank 1): pod x\n"
                               "2027-01-15T08:00:01Z rank 0 on y\n",
                     "end": "exit code 5: its command failed; its last lines: a | b"}})
        text = self.until(process, "job pi failed")
        self.assertIn("lost: 2027-01-15T08:00:00Z worker 1 (rank 1): pod x\n", text)
        self.assertIn("lost: 2027-01-15T08:00:01Z rank 0 on y\n", text)
        process.wait(DEADLINE)
        for pod in self.names("pods"):
            self.delete("pods", pod)
        text = self.submit(code=5)
        self.assertIn("the coordinator ended with exit code 5: its command failed; its last lines: "
                      "a | b\n", text)

    def test_a_deadline_is_the_clusters_failure(self):
        late = self.write(PI.replace("backoffLimit: 0", "activeDeadlineSeconds: 1"))
        text = self.submit(late, code=69)
        self.assertIn("job pi failed: DeadlineExceeded", text)

    def test_deletion_ends_the_following(self):
        process = self.start(self.file)
        self.until(process, " runs on node-")
        self.sim.delete("jobs", "pi-launcher", self.space, propagationPolicy="Background")
        self.until(process, "job pi was deleted")
        self.assertEqual(69, process.wait(DEADLINE))

    def test_ctrl_c_leaves_the_job(self):
        self.plan(name="pi-launcher-*", run=200)
        process = self.start(self.file)
        self.until(process, " runs on node-")
        process.send_signal(signal.SIGINT)
        text = self.until(process, "to follow it again")
        self.assertIn(f"reknit submit --follow pi -n {self.space}", text)
        self.assertEqual(130, process.wait(DEADLINE))
        self.assertEqual([], [w for w in self.writes() if w[0] == "delete"])
        self.assertEqual(["pi-launcher"], self.names("jobs"))
        text = self.submit("--follow", "pi")
        self.assertTrue(text.endswith("reknit: job pi succeeded\n"), text)

    def test_timeout(self):
        text = self.submit(self.file, "--timeout", "1s", code=69,
                           wrong="the time that --timeout gives has passed")
        self.assertIn("job pi goes on", text)

    def test_workers(self):
        process = self.start(self.file)
        self.until(process, " runs on node-")
        for place in range(4):
            self.worker(place)
        self.until(process, "pod")
        wait_for(lambda: all(p["status"]["phase"] == "Running"
                             for p in self.list("pods")["items"]), "the workers")
        self.sim.control("pod/exit", namespace=self.space, name="pi-worker-1", exit=137,
                         reason="OOMKilled")
        self.until(process, "worker pod pi-worker-1 is lost: exit code 137, out of memory")
        self.worker(1, 1)
        self.until(process, "worker pod pi-worker-1-1")
        self.sim.control("pod/evict", namespace=self.space, name="pi-worker-2", kind="kubelet")
        self.until(process, "worker pod pi-worker-2 is lost: Evicted")
        self.worker(2, 1, nodeSelector={"no": "such"})
        text = self.until(process, ": Unschedulable: ")
        self.assertIn("in place of pi-worker-2", text)
        self.sim.delete("pods", "pi-worker-3", self.space, gracePeriodSeconds=0)
        self.until(process, "worker pod pi-worker-3 goes")

    def test_many_workers_are_one_line(self):
        process = self.start(self.file, "--json")
        self.until(process, "pod_running")
        self.sim.control("slow", piece=1 << 20, pause=0.5)
        for place in range(8):
            self.worker(place)
        self.sim.control("slow", piece=0)
        wait_for(lambda: sum(p["status"]["phase"] == "Running"
                             for p in self.list("pods")["items"]) == 9, "the workers")
        self.sim.delete("jobs", "pi-launcher", self.space, propagationPolicy="Background")
        pods = set()
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "pod_running":
                pods |= set(event.get("pods") or [event["pod"]])
        self.assertEqual({f"pi-worker-{i}" for i in range(8)}, pods)

    def test_events_of_the_job(self):
        process = self.start(self.file)
        self.until(process, " runs on node-")
        uid = self.get("jobs", "pi-launcher")["metadata"]["uid"]
        for number, (kind, who, about) in enumerate((
                ("Normal", "reknit.dev/coordinator", uid), ("Normal", "somebody", uid),
                ("Warning", "somebody", "another"), ("Warning", "somebody", uid))):
            self.create("events", {
                "metadata": {"name": f"e{number}", "namespace": self.space}, "type": kind,
                "reason": f"Reason{number}", "message": f"message {number}",
                "involvedObject": {"kind": "Job", "apiVersion": "batch/v1", "uid": about,
                                   "name": "pi-launcher", "namespace": self.space},
                "reportingComponent": who, "reportingInstance": "x", "action": "A",
                "eventTime": "2026-01-01T00:00:00.000000Z"})
        text = self.until(process, "Reason3: message 3")
        self.assertIn("Reason0: message 0", text)
        self.assertNotIn("Reason1", text)
        self.assertNotIn("Reason2", text)

    def test_suspended_and_resumed(self):
        process = self.start(self.write(PI.replace("{backoffLimit: 0}", "{suspend: true}")))
        self.until(process, "job pi is suspended")
        self.plan(name="pi-launcher-*", run=5)
        self.patch("jobs", "pi-launcher", {"spec": {"suspend": False}})
        self.until(process, "job pi is resumed")
        self.until(process, "job pi succeeded")
        self.assertEqual(0, process.wait(DEADLINE))

    def test_a_server_that_goes_and_comes(self):
        self.plan(name="pi-launcher-*", run=60)
        process = self.start(self.file)
        self.until(process, " runs on node-")
        self.sim.control("stop")
        self.sim.connections.pop(self.sim.url).close()
        self.until(process, "trying again")
        self.sim.control("start")
        self.until(process, "job pi succeeded")
        self.assertEqual(0, process.wait(DEADLINE))

    def test_json(self):
        self.plan(name="pi-launcher-*", run=5)
        events = [json.loads(line) for line in self.submit(self.file, "--json").splitlines()]
        self.assertEqual(["created"] * 4 + ["submitted"], [e["event"] for e in events[:5]])
        self.assertEqual("job_succeeded", events[-1]["event"])
        self.assertEqual(0, events[-1]["exit_code"])
        self.assertTrue(all(e["time"] and e["text"] for e in events))
        self.submit(self.write(PI.replace("replicas: 2", "replicas: 3")), "--json", code=69,
                    wrong="another job pi")

    def test_a_terminal_has_a_live_line(self):
        self.plan(name="pi-launcher-*", run=60)
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm"}
        environment.pop("NO_COLOR", None)
        process = subprocess.Popen(self.command(self.file), stdout=theirs, stderr=theirs,
                                   env=environment)
        os.close(theirs)
        text = b""
        try:
            while True:
                text += os.read(ours, 65536)
        except OSError:
            pass
        os.close(ours)
        self.assertEqual(0, process.wait(DEADLINE))
        self.assertIn(b"0/0 workers run, the coordinator runs", text)
        self.assertIn(b"\033[32mreknit: job pi succeeded", text)

    def test_two_jobs_in_a_file(self):
        self.plan(name="*-launcher-*", run=5)
        self.plan(name="second-launcher-*", run=5, exit=7)
        text = self.submit(self.write(PI + "---\n" + PI.replace("name: pi}", "name: second}")),
                           code=7)
        self.assertIn("job pi succeeded", text)
        self.assertIn("job second failed", text)


if __name__ == "__main__":
    unittest.main()
