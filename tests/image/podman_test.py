#!/usr/bin/env python3
"""The image's archive as podman takes it: loaded, and run by its own user with nothing allowed.

Everything podman keeps lies in a folder that goes away.  REKNIT_BUILD names the build folder
(default: build/release).  Skipped (77) without root or podman.
"""
import os
import shutil
import sys
import tempfile
import unittest

from dockerfile_test import run

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
NAME = "localhost/reknit:test"
SKIPPED = 77
# Limits that a machine has which is itself a container, and no service manager.
SETTINGS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
STORAGE = """[storage]
driver = "overlay"
graphroot = "{0}/graph"
runroot = "{0}/run"
"""
STRICT = ("--rm", "--pull", "never", "--network", "none", "--read-only", "--cap-drop", "all",
          "--security-opt", "no-new-privileges")


class Podman(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rkpodman")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.archive = os.path.join(self.folder, "reknit.tar")
        run(os.path.join(ROOT, "k8s", "image", "build"), "--output", self.archive, "--tag", NAME,
            "--build", BUILD)
        runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
        self.variables = {"CONTAINERS_CONF": self.write("containers.conf", SETTINGS + runtime),
                          "CONTAINERS_STORAGE_CONF": self.write("storage.conf",
                                                                STORAGE.format(self.folder))}

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    def podman(self, *arguments):
        return run("podman", *arguments, **self.variables)

    def test_loads_and_runs(self):
        self.assertIn(NAME, self.podman("load", "--input", self.archive))
        self.addCleanup(self.podman, "rmi", "--force", NAME)
        self.assertEqual("65532:65532",
                         self.podman("inspect", "--format", "{{.Config.User}}", NAME).strip())
        self.assertIn("reknit ", self.podman("run", *STRICT, NAME, "--version"))
        text = self.podman("run", *STRICT, "--env", "HOME=/tmp", NAME, "run", "--workers", "2",
                           "--", "/reknit/examples/tiny")
        self.assertIn("interruptions  none", text)


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("podman"):
        print("podman_test: skipped: root and podman are needed")
        sys.exit(SKIPPED)
    unittest.main()
