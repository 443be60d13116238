#!/usr/bin/env python3
"""Whole renderings by the real command line, against golden/ byte by byte.

REKNIT_BUILD names the build folder (default: build/release of this tree); MANIFESTS a folder of
more manifests, each MPIJob of which must render; RENDER_GOLDEN=write writes golden/ anew.  A
manifest's line `# render: OPTIONS` says with which options it is rendered.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest

import yaml

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
JOBS = os.path.join(HERE, "jobs")
GOLDEN = os.path.join(HERE, "golden")
sys.path.insert(0, os.path.join(ROOT, "tests", "kubernetes"))
import restricted  # noqa: E402

TOP_KEYS = {"apiVersion", "kind", "metadata"}
KEYS = {
    "Job": {"spec"}, "Service": {"spec"}, "Pod": {"spec"}, "ConfigMap": {"data"},
    "PodGroup": {"spec"}, "ServiceAccount": set(), "Role": {"rules"},
    "RoleBinding": {"roleRef", "subjects"}, "PersistentVolumeClaim": {"spec"},
}
JOB_KEYS = {"backoffLimit", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "suspend",
            "template"}
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def names_of_jobs():
    return sorted(name for name in os.listdir(JOBS) if name.endswith(".yaml"))


def options_of(name):
    """The options with which a manifest is rendered."""
    with open(os.path.join(JOBS, name), encoding="utf-8") as stream:
        match = re.match(r"# render: (.*)\n", stream.readline())
    return match.group(1).split() if match else []


def render(*arguments, stdin=None):
    return subprocess.run([REKNIT, "render", *arguments], input=stdin, text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)


def shuffled(value, source):
    """The same value with the keys of all its maps in another order."""
    if isinstance(value, dict):
        keys = list(value)
        source.shuffle(keys)
        return {key: shuffled(value[key], source) for key in keys}
    if isinstance(value, list):
        return [shuffled(item, source) for item in value]
    return value


def nulls(value, path=""):
    """Paths of fields that are null."""
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nulls(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nulls(item, f"{path}[{index}]")


class Rendering(unittest.TestCase):
    """Every manifest of jobs/, and those of MANIFESTS."""

    maxDiff = None

    def rendered(self, *arguments, stdin=None):
        """Standard output of a rendering that must succeed."""
        run = render(*arguments, stdin=stdin)
        self.assertEqual(run.returncode, 0, f"{arguments}: {run.stderr}")
        return run.stdout

    def test_golden(self):
        for name in names_of_jobs():
            with self.subTest(name):
                text = self.rendered(os.path.join(JOBS, name), *options_of(name))
                path = os.path.join(GOLDEN, name)
                if os.environ.get("RENDER_GOLDEN") == "write":
                    with open(path, "w", encoding="utf-8") as stream:
                        stream.write(text)
                with open(path, encoding="utf-8") as stream:
                    self.assertEqual(text, stream.read(), f"see {HERE}/README.md")
        kept = sorted(name for name in os.listdir(GOLDEN) if name.endswith(".yaml"))
        self.assertEqual(kept, names_of_jobs())

    def test_order_of_keys_does_not_matter(self):
        source = random.Random(7)
        for name in names_of_jobs():
            with self.subTest(name), open(os.path.join(JOBS, name), encoding="utf-8") as stream:
                documents = list(yaml.safe_load_all(stream))
                # what passes through keeps the order of its own text
                jobs = [item for item in documents if item["kind"] == "MPIJob"]
                texts = {self.rendered("-", *options_of(name), stdin="\n---\n".join(
                    json.dumps(shuffled(item, source)) for item in jobs)) for _ in range(3)}
                texts.add(self.rendered("-", *options_of(name), stdin=yaml.safe_dump_all(jobs)))
                self.assertEqual(len(texts), 1)

    def test_json_says_the_same(self):
        for name in names_of_jobs():
            path = os.path.join(JOBS, name)
            text = self.rendered(path, *options_of(name))
            listed = json.loads(self.rendered(path, *options_of(name), "-o", "json"))
            self.assertEqual(listed["kind"], "List")
            self.assertEqual(listed["items"], list(yaml.safe_load_all(text)), name)

    def check_metadata(self, item):
        metadata = item["metadata"]
        self.assertLessEqual(len(metadata["name"]), 253)
        self.assertTrue(NAME.fullmatch(metadata["name"]), metadata["name"])
        for key, value in metadata.get("labels", {}).items():
            self.assertTrue(LABEL_KEY.fullmatch(key), key)
            self.assertTrue(LABEL_VALUE.fullmatch(value), value)
        for key, value in metadata.get("annotations", {}).items():
            self.assertTrue(LABEL_KEY.fullmatch(key), key)
            self.assertIsInstance(value, str)

    def check_pod(self, pod):
        spec = pod["spec"]
        self.assertTrue(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", spec["hostname"]))
        volumes = [volume["name"] for volume in spec["volumes"]]
        self.assertEqual(len(volumes), len(set(volumes)))
        names = [container["name"] for _, container in restricted.containers(spec)]
        self.assertEqual(len(names), len(set(names)))
        for path, container in restricted.containers(spec):
            mounts = container.get("volumeMounts", [])
            self.assertLessEqual({mount["name"] for mount in mounts}, set(volumes), path)
            paths = [mount["mountPath"] for mount in mounts]
            self.assertEqual(len(paths), len(set(paths)), path)
            variables = [variable["name"] for variable in container.get("env", [])]
            self.assertEqual(len(variables), len(set(variables)), path)
            for word in container.get("command", []):
                self.assertIsInstance(word, str)

    def check_objects(self, objects):
        """What the API server would look at first."""
        for item in objects:
            with self.subTest(f"{item['kind']} {item['metadata']['name']}"):
                self.check_metadata(item)
                self.assertEqual(list(nulls(item)), [])
                if item["kind"] in KEYS:
                    self.assertLessEqual(set(item), TOP_KEYS | KEYS[item["kind"]])
                if item["kind"] == "Job":
                    self.assertLessEqual(set(item["spec"]), JOB_KEYS)
                    self.check_metadata({"metadata": {"name": "x", **item["spec"]["template"].get(
                        "metadata", {})}})
                for _, pod in restricted.pods_of(item):
                    self.check_pod(pod)
        keys = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
                for item in objects]
        self.assertEqual(len(keys), len(set(keys)))

    def test_structure(self):
        for name in names_of_jobs():
            self.check_objects(list(yaml.safe_load_all(
                self.rendered(os.path.join(JOBS, name), *options_of(name)))))

    def test_restricted_stays_restricted(self):
        text = self.rendered(os.path.join(JOBS, "restricted.yaml"))
        pods = [pod for item in yaml.safe_load_all(text) for _, pod in restricted.pods_of(item)]
        self.assertEqual(len(pods), 3)
        for pod in pods:
            self.assertEqual(restricted.violations(pod), [])

    def test_nothing_of_ours_needs_a_privilege(self):
        """A job that keeps `baseline` does so rendered; and our own container keeps everything."""
        for name in names_of_jobs():
            text = self.rendered(os.path.join(JOBS, name), *options_of(name))
            for item in yaml.safe_load_all(text):
                for _, pod in restricted.pods_of(item):
                    found = restricted.violations(pod, baseline=True)
                    if not pod["spec"].get("hostNetwork"):
                        self.assertEqual(found, [], name)
                    ours = [item for item in restricted.violations(pod)
                            if "initContainers[0]" in item[0]]
                    self.assertEqual(ours, [], name)

    def test_others_pass_through_in_place(self):
        path = os.path.join(JOBS, "training.yaml")
        with open(path, encoding="utf-8") as stream:
            given = list(yaml.safe_load_all(stream))
        objects = list(yaml.safe_load_all(self.rendered(path)))
        self.assertEqual(objects[0], given[0])
        self.assertEqual(objects[-1], given[-1])
        self.assertEqual([item["kind"] for item in objects],
                         ["PersistentVolumeClaim", "Job", "Service", "ConfigMap"] + ["Pod"] * 3
                         + ["ConfigMap"])

    def test_manifests_of_others(self):
        """Each MPIJob in the folder that MANIFESTS names."""
        folder = os.environ.get("MANIFESTS")
        if not folder:
            self.skipTest("MANIFESTS names no folder")
        for where, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(where, name)
                with open(path, encoding="utf-8", errors="replace") as stream:
                    text = stream.read()
                if not name.endswith((".yaml", ".yml")) or not re.search(
                        r"^kind: MPIJob$", text, flags=re.M):
                    continue
                with self.subTest(path):
                    first = self.rendered(path)
                    self.assertEqual(first, self.rendered(path))
                    self.check_objects(list(yaml.safe_load_all(first)))


class Rights(unittest.TestCase):
    """render --rbac."""

    def test_alone_and_in_front(self):
        alone = render("--rbac", "--namespace", "ml")
        self.assertEqual(alone.returncode, 0, alone.stderr)
        kinds = [item["kind"] for item in yaml.safe_load_all(alone.stdout)]
        self.assertEqual(kinds, ["ServiceAccount", "Role", "RoleBinding"])
        both = render("--rbac", "--namespace", "ml", os.path.join(JOBS, "pi.yaml"))
        self.assertTrue(both.stdout.startswith(alone.stdout))

    def test_least(self):
        """Verbs are named, none is for all namespaces, and no secret can be listed."""
        for item in yaml.safe_load_all(render("--rbac").stdout):
            self.assertNotIn("Cluster", item["kind"])
            for rule in item.get("rules", []):
                self.assertNotIn("*", rule["verbs"] + rule["resources"] + rule["apiGroups"])
                if "secrets" in rule["resources"]:
                    self.assertEqual(rule["verbs"], ["get", "create"])


class Refusals(unittest.TestCase):
    """What is wrong is said, with an exit code, and nothing is printed that could be applied."""

    def refused(self, code, part, *arguments, stdin=None):
        run = render(*arguments, stdin=stdin)
        self.assertEqual(run.returncode, code, run.stderr)
        self.assertEqual(run.stdout, "")
        self.assertIn(part, run.stderr)
        return run.stderr

    def test_faults_are_those_of_validate(self):
        with open(os.path.join(JOBS, "pi.yaml"), encoding="utf-8") as stream:
            text = stream.read().replace("slotsPerWorker: 1", "slotsPerWorker: -1").replace(
                "cleanPodPolicy: Running", "cleanPodPolicy: Some")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "bad.yaml")
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            said = self.refused(65, "spec.slotsPerWorker", path)
            valid = subprocess.run([REKNIT, "validate", path], text=True, stdout=subprocess.PIPE,
                                   check=False)
        self.assertEqual(len(said.splitlines()), 2)
        for line in said.splitlines():
            self.assertIn(line, valid.stdout)

    def test_good_and_bad_together(self):
        bad = "apiVersion: kubeflow.org/v2beta1\nkind: MPIJob\nmetadata: {name: x}\nspec: {}\n"
        self.refused(65, "stdin:", os.path.join(JOBS, "pi.yaml"), "-", stdin=bad)

    def test_usage(self):
        self.refused(64, "name a file")
        self.refused(64, "--gang", os.path.join(JOBS, "pi.yaml"), "--gang", "slurm")
        self.refused(64, "-o", os.path.join(JOBS, "pi.yaml"), "-o", "toml")
        self.refused(69, "nowhere.yaml", "nowhere.yaml")

    def test_two_namespaces(self):
        path = os.path.join(JOBS, "restricted.yaml")
        said = self.refused(65, "metadata.namespace", path, "--namespace", "other")
        self.assertTrue(said.startswith(f"{path}:"), said)

    def test_full_disk(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            run = subprocess.run([REKNIT, "render", os.path.join(JOBS, "pi.yaml")], stdout=full,
                                 stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(run.returncode, 69, run.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=1)
