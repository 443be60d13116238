#!/usr/bin/env python3
"""k8s/Dockerfile, followed by buildah on a base that is made on the spot, and the image run.

Everything buildah keeps lies in a folder that goes away.  Takes minutes, and Debian's mirror
(REKNIT_MIRROR names another one).  Skipped (77) without root, buildah or mmdebstrap.
"""
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
IMAGE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "k8s", "image")
BASE = "localhost/reknit-base:test"
DEADLINE = 1200
SKIPPED = 77


def run(*command, **variables):
    done = subprocess.run(command, text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE,
                          env={**os.environ, **variables})
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


class Dockerfile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="rkimage", dir=os.environ.get("TMPDIR", "/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)
        for name in ("graph", "run", "temporary", "empty", "root", "layer"):
            os.mkdir(self.path(name))
        with open(self.path("storage.conf"), "w", encoding="utf-8") as f:
            f.write(f'[storage]\ndriver = "overlay"\ngraphroot = "{self.path("graph")}"\n'
                    f'runroot = "{self.path("run")}"\n')
        self.environment = {"CONTAINERS_STORAGE_CONF": self.path("storage.conf"),
                            "TMPDIR": self.path("temporary")}

    def path(self, name):
        return os.path.join(self.folder, name)

    def build(self):
        mirror = [os.environ["REKNIT_MIRROR"]] if "REKNIT_MIRROR" in os.environ else []
        run(os.path.join(IMAGE, "base"), BASE, *mirror, **self.environment)
        run(os.path.join(IMAGE, "build"), "--with", "buildah", "--base", BASE, "--output",
            self.path("reknit.tar"), "--tag", "localhost/reknit:test", **self.environment)

    def test_is_the_bundle_and_runs(self):
        self.build()
        with tarfile.open(self.path("reknit.tar")) as tar:
            manifest, = json.load(tar.extractfile("manifest.json"))
            config = json.load(tar.extractfile(manifest["Config"]))
            for layer in manifest["Layers"]:
                subprocess.run(["tar", "-x", "-C", self.path("layer")], check=True,
                               input=tar.extractfile(layer).read())
        self.assertEqual(config["config"]["User"], "65532:65532")
        self.assertEqual(config["config"]["Entrypoint"], ["/reknit/bin/reknit"])
        self.assertEqual(os.listdir(self.path("layer")), ["reknit"])
        inside = (os.path.join(HERE, "inside"), self.path("root"), self.path("layer/reknit"),
                  self.path("empty"))
        self.assertEqual(run(*inside, "/reknit/install", "/tmp"), "")
        text = run(*inside, "/reknit/bin/reknit", "run", "--workers", "2", "--virtual-hosts", "2",
                   "--", "/reknit/examples/tiny")
        self.assertIn("interruptions  none", text)


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("buildah") or not shutil.which("mmdebstrap"):
        print("dockerfile_test: skipped: root, buildah and mmdebstrap are needed")
        sys.exit(SKIPPED)
    unittest.main()
