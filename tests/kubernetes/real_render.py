"""What `reknit render` prints is taken by a real API server.

REKNIT_BUILD names the build folder (default: build/release of this tree); MANIFESTS a folder of
more manifests.  An old server knows fewer fields than are rendered: those it drops.
"""
import json
import os
import re
import subprocess
import unittest

import yaml

from cluster_test import ApiTest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
REKNIT = os.path.join(BUILD, "bin", "reknit")
JOBS = os.path.join(ROOT, "tests", "render", "jobs")
KNOWN = {"Job", "Service", "ConfigMap", "Pod", "ServiceAccount", "Role", "RoleBinding"}


def manifests():
    """Files with an MPIJob."""
    for folder in filter(None, (JOBS, os.environ.get("MANIFESTS"))):
        for where, _, names in os.walk(folder):
            for name in sorted(names):
                path = os.path.join(where, name)
                if not name.endswith((".yaml", ".yml")):
                    continue
                with open(path, encoding="utf-8", errors="replace") as stream:
                    if re.search(r"^kind: MPIJob$", stream.read(), flags=re.M):
                        yield path


class RealRender(ApiTest):
    def setUp(self):
        if not os.access(REKNIT, os.X_OK):
            self.skipTest(f"no {REKNIT}; build the tree first")
        super().setUp()

    def render(self, *arguments):
        """The objects, of the kinds that every cluster has, moved to the test's namespace."""
        text = subprocess.run([REKNIT, "render", "-o", "json", *arguments], check=True, text=True,
                              stdout=subprocess.PIPE, timeout=60).stdout
        items = [item for item in json.loads(text)["items"] if item["kind"] in KNOWN]
        for item in items:
            item["metadata"]["namespace"] = self.namespace
        return items

    def dry_run(self, objects):
        """The objects as the server would keep them."""
        given = {"apiVersion": "v1", "kind": "List", "items": objects}
        said = self.kubectl("create", "--dry-run=server", "--validate=false", "-o", "yaml", "-f",
                            "-", given=given)
        return list(yaml.safe_load_all(said))

    def test_every_manifest_dry_runs(self):
        self.create({"apiVersion": "v1", "kind": "ServiceAccount",
                     "metadata": {"name": "reknit"}},
                    {"apiVersion": "v1", "kind": "ServiceAccount",
                     "metadata": {"name": "team-a-jobs"}})
        for path in manifests():
            with self.subTest(path):
                objects = self.render(path)
                kept = self.dry_run(objects)
                self.assertEqual([item["kind"] for item in kept],
                                 [item["kind"] for item in objects])
                for given, item in zip(objects, kept):
                    if given["kind"] == "Pod":
                        self.assertEqual(item["spec"]["containers"][0]["command"],
                                         given["spec"]["containers"][0]["command"])

    def kept(self, objects):
        """What the server has of the objects: a Job's spec, since its status goes on by itself;
        else the version."""
        for item in objects:
            found = self.get(item["kind"], item["metadata"]["name"])
            if item["kind"] == "Job":
                yield found["spec"]
            elif item["kind"] != "Pod":
                yield found["metadata"]["resourceVersion"]

    def test_applying_twice_changes_nothing(self):
        objects = self.render("--rbac", os.path.join(JOBS, "pi.yaml"))
        given = {"apiVersion": "v1", "kind": "List", "items": objects}
        self.kubectl("apply", "--validate=false", "-f", "-", given=given)
        before = list(self.kept(objects))
        self.kubectl("apply", "--validate=false", "-f", "-", given=given)
        self.assertEqual(list(self.kept(objects)), before)


if __name__ == "__main__":
    unittest.main()
