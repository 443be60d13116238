#!/usr/bin/env python3
"""The bundle and the image, made from a build and run in roots that hold nothing else.

REKNIT_BUILD names the build folder (default: build/release of this tree).  Skipped (77) where no
root of one's own can be had, or patchelf is missing.
"""
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.realpath(os.environ.get("REKNIT_BUILD", os.path.join(ROOT, "build", "release")))
INSIDE = os.path.join(HERE, "inside")
IMAGE = os.path.join(ROOT, "k8s", "image")
MOST_BYTES = 60_000_000
DEADLINE = 240
SKIPPED = 77

# Asks the bundle's own loader where each file's libraries are; sdk/ is for the image's libc.
LIST = """
cd /reknit
for loader in /reknit/lib/ld-linux-*; do :; done
for program in bin/* examples/*; do
    echo "= $program"; $loader --list /reknit/$program || echo "failed $?"
done
for library in lib/*.so* openmpi/*.so openmpi/pmix/*.so; do
    echo "= $library"
    $loader --library-path /reknit/lib --list /reknit/$library || echo "failed $?"
done
"""


def run(*command, **options):
    return subprocess.run(command, text=True, check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEADLINE,
                          **options)


def make(script, *arguments):
    """Runs a script of k8s/image, which must succeed."""
    done = run(os.path.join(IMAGE, script), *arguments,
               env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
    if done.returncode != 0:
        raise AssertionError(f"{script} {' '.join(arguments)}: {done.returncode}\n{done.stdout}")
    return done.stdout


def tree_of(folder):
    """{path: what makes one tree like another} of all under a folder."""
    found = {}
    for at, folders, names in os.walk(folder):
        for name in folders + names:
            path = os.path.join(at, name)
            seen = os.lstat(path)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    content = hashlib.sha256(f.read()).hexdigest()
            found[os.path.relpath(path, folder)] = (oct(seen.st_mode), content)
    return found


class ImageTest(unittest.TestCase):
    """A folder for each class, and one bundle for all, which no test writes into."""

    shared = None

    @classmethod
    def setUpClass(cls):
        if ImageTest.shared is None:
            ImageTest.shared = tempfile.mkdtemp(prefix="rkimage")
            unittest.addModuleCleanup(shutil.rmtree, cls.shared, ignore_errors=True)
            os.chmod(cls.shared, 0o755)  # the user of a root is not its owner
            make("bundle", os.path.join(cls.shared, "reknit"), "--build", BUILD)
        cls.bundle = os.path.join(cls.shared, "reknit")
        cls.folder = tempfile.mkdtemp(dir=cls.shared)
        os.chmod(cls.folder, 0o755)
        cls.empty = os.path.join(cls.folder, "empty")
        os.mkdir(cls.empty)

    def inside(self, *command, content=None, code=0, bundle=None, **variables):
        """Runs a command in a root of its own; `content`: a folder with what else is in it."""
        root = tempfile.mkdtemp(dir=self.folder)
        done = run(INSIDE, root, bundle or self.bundle, content or self.empty, *command,
                   env={**os.environ, **variables})
        self.assertEqual(done.returncode, code, f"{' '.join(command)}\n{done.stdout}")
        os.rmdir(root)
        return done.stdout

    def musl(self):
        """A root of another libc: musl, busybox, and a probe that is linked with it."""
        content = os.path.join(self.folder, "musl")
        if os.path.isdir(content):
            return content
        gcc, busybox = shutil.which("musl-gcc"), shutil.which("busybox")
        if gcc is None or busybox is None:
            self.skipTest("musl-gcc (musl-tools) and a static busybox are needed")
        for name in ("bin", "lib"):
            os.makedirs(os.path.join(content, name))
        shutil.copy(busybox, os.path.join(content, "bin", "busybox"))
        for name in ("sh", "grep", "env"):
            os.symlink("busybox", os.path.join(content, "bin", name))
        for name, options in (("probe", ()), ("static-probe", ("-static",))):
            done = run(gcc, "-O1", *options, "-o", os.path.join(content, "bin", name),
                       os.path.join(HERE, "probe.c"))
            self.assertEqual(done.returncode, 0, done.stdout)
        loader = f"ld-musl-{os.uname().machine}.so.1"
        shutil.copy(os.path.join("/lib", loader), os.path.join(content, "lib", loader))
        return content


class Bundle(ImageTest):
    def test_small(self):
        size = sum(os.lstat(os.path.join(at, name)).st_size
                   for at, _, names in os.walk(self.bundle) for name in names)
        self.assertLess(size, MOST_BYTES)

    def test_same_inputs_same_bytes(self):
        other = os.path.join(self.folder, "again", "reknit")
        os.mkdir(os.path.dirname(other))
        make("bundle", other, "--build", BUILD)
        one, two = tree_of(self.bundle), tree_of(other)
        self.assertEqual([], [p for p in one.keys() | two.keys() if one.get(p) != two.get(p)])
        archives = [os.path.join(self.folder, name) for name in ("one.tar", "two.tar")]
        for archive, bundle in zip(archives, (self.bundle, other)):
            make("build", "--output", archive, "--bundle", bundle, "--tag", "reknit:test")
        self.assertTrue(filecmp.cmp(*archives, shallow=False))

    def test_replaces_bundles_only(self):
        done = run(os.path.join(IMAGE, "bundle"), self.empty, "--build", BUILD)
        self.assertEqual((done.returncode, os.listdir(self.empty)), (64, []), done.stdout)
        self.assertIn("is no bundle", done.stdout)

    def test_every_file_resolves_inside(self):
        text = self.inside("/reknit/bin/sh", "-c", LIST)
        files = text.split("= ")[1:]
        self.assertGreater(len(files), 100)
        for entry in files:
            self.assertNotRegex(entry, "not found|failed|cannot|error", entry)
            for line in entry.splitlines()[1:]:
                if "=>" in line:
                    self.assertRegex(line, r"=> /reknit/", entry)

    def test_licenses(self):
        texts = os.listdir(os.path.join(self.bundle, "licenses"))
        for name in ("reknit", "libc6", "libzmq5", "libopenmpi3", "openmpi-bin", "dash"):
            self.assertIn(name, texts)

    def test_sdk_is_for_the_image_s_own_libc(self):
        path = os.path.join(self.bundle, "sdk", "libreknit.so")
        self.assertNotRegex(run("readelf", "--dynamic", path).stdout, "RPATH|RUNPATH")
        program = os.path.join(self.folder, "program")
        source = os.path.join(ROOT, "examples", "tiny", "tiny.c")
        sdk = os.path.join(self.bundle, "sdk")
        done = run("cc", f"-I{sdk}", "-o", program, source, f"-L{sdk}", "-lreknit", "-lm")
        self.assertEqual(done.returncode, 0, done.stdout)


class EmptyRoot(ImageTest):
    """Neither a shell nor a library nor an entry for the user."""

    def test_help_and_doctor(self):
        self.assertIn("usage: reknit", self.inside("/reknit/bin/reknit", "--help"))
        text = self.inside("/reknit/bin/reknit", "doctor")
        self.assertIn("jobs can run here", text)
        self.assertRegex(text, r"ok +Open MPI +mpirun \(Open MPI\) .*, /reknit/bin/mpirun\n")

    def test_a_job(self):
        text = self.inside("/reknit/bin/reknit", "run", "--workers", "2", "--",
                           "/reknit/examples/tiny")
        self.assertIn("job tiny finished", text)

    def test_carriers_between_hosts(self):
        text = self.inside("/reknit/bin/reknit", "run", "--workers", "2", "--virtual-hosts", "2",
                           "--", "/reknit/examples/tiny")
        self.assertIn("job tiny finished", text)
        self.assertIn("interruptions  none", text)

    def test_carriers_of_a_user_without_a_home(self):
        text = self.inside("/reknit/bin/sh", "-c", "unset HOME && exec /reknit/bin/reknit run "
                           "--workers 2 --virtual-hosts 2 --checkpoint-dir /tmp/c -- "
                           "/reknit/examples/tiny")
        self.assertIn("interruptions  none", text)

    def test_what_an_image_sets_is_not_followed(self):
        content = os.path.join(self.folder, "hostile")
        os.makedirs(os.path.join(content, "wrong"), exist_ok=True)
        for name in ("libzmq.so.5", "libc.so.6", "libopen-rte.so.40", "libreknit.so.0"):
            with open(os.path.join(content, "wrong", name), "w", encoding="utf-8") as f:
                f.write("no library")
        text = self.inside("/reknit/bin/reknit", "run", "--workers", "2", "--virtual-hosts", "2",
                           "--", "/reknit/examples/tiny", content=content,
                           INSIDE="LD_LIBRARY_PATH=/wrong OPAL_PREFIX=/wrong PMIX_PREFIX=/wrong "
                                  "OMPI_MCA_btl=none HWLOC_PLUGINS_PATH=/wrong")
        self.assertIn("interruptions  none", text)


class MuslRoot(ImageTest):
    def test_ranks_see_only_what_is_theirs(self):
        for probe in ("probe", "static-probe"):
            text = self.inside("/reknit/bin/reknit", "run", "--workers", "2", "--backend", "none",
                               "--", f"/bin/{probe}", content=self.musl())
            self.assertEqual(text.count("only what is mine"), 2, text)

    def test_the_probe_can_find(self):
        self.inside("/bin/probe", content=self.musl(), code=1, INSIDE="LD_LIBRARY_PATH=/lib")
        self.inside("/bin/probe", content=self.musl())

    def test_carriers_between_hosts(self):
        text = self.inside("/reknit/bin/reknit", "run", "--workers", "2", "--virtual-hosts", "2",
                           "--", "/reknit/examples/tiny", content=self.musl())
        self.assertIn("interruptions  none", text)


class Install(ImageTest):
    def setUp(self):
        self.target = tempfile.mkdtemp(dir=self.folder)
        self.program = os.path.join(self.bundle, "install")

    def test_static(self):
        self.assertNotIn("INTERP", run("readelf", "--program-headers", self.program).stdout)
        self.assertIn("no dynamic section", run("readelf", "--dynamic", self.program).stdout)

    def test_twice(self):
        for _ in range(2):
            done = run(self.program, self.target)
            self.assertEqual((done.returncode, done.stdout), (0, ""))
            self.assertEqual(tree_of(self.target), tree_of(self.bundle))

    def test_killed_half_way(self):
        """Whatever stands under its own name is whole; the next run completes the rest."""
        whole = tree_of(self.bundle)
        for files in (1, 20, 120):
            shutil.rmtree(self.target)
            os.mkdir(self.target)
            with subprocess.Popen([self.program, self.target]) as process:
                while process.poll() is None and len(tree_of_names(self.target)) < files:
                    pass
                process.kill()
            for path, seen in tree_of(self.target).items():
                if not path.endswith(".part") and seen[1] is not None:
                    self.assertEqual(seen, whole[path], path)
            self.assertEqual(run(self.program, self.target).returncode, 0)
            self.assertEqual(tree_of(self.target), whole)

    def test_from_an_image_of_its_own(self):
        """Any user, a root that cannot be written, and nothing in it but the bundle."""
        self.assertEqual(self.inside("/reknit/install", "/tmp"), "")

    def test_no_space(self):
        text = self.inside("/reknit/install", "/tmp", code=69, INSIDE_TMP="4m")
        self.assertRegex(text, r"no space in /tmp: \d{8} bytes are needed for \d+ files, \d+ are "
                               r"free; raise")

    def test_what_is_wrong_is_said(self):
        for arguments, code, words in (((), 64, "usage: install TARGET"),
                                       (("a", "b"), 64, "usage: install TARGET"),
                                       (("--fast",), 64, "usage: install TARGET"),
                                       ((self.target + "/none",), 69, "mount an emptyDir there"),
                                       ((self.bundle,), 64, "lie in each other")):
            done = run(self.program, *arguments)
            self.assertEqual(done.returncode, code, done.stdout)
            self.assertIn(words, done.stdout)
        self.assertIn("Read-only", self.inside("/reknit/install", "/etc", code=69))


def tree_of_names(folder):
    return [name for _, folders, names in os.walk(folder) for name in folders + names]


class Archive(ImageTest):
    def test_is_what_loaders_read(self):
        path = os.path.join(self.folder, "reknit.tar")
        make("build", "--output", path, "--tag", "example.org/a/reknit:1.2-3", "--bundle",
             self.bundle)
        with tarfile.open(path) as tar:
            manifest, = json.load(tar.extractfile("manifest.json"))
            config = tar.extractfile(manifest["Config"]).read()
            layer = tar.extractfile(manifest["Layers"][0]).read()
        self.assertEqual(manifest["RepoTags"], ["example.org/a/reknit:1.2-3"])
        self.assertEqual(manifest["Config"], hashlib.sha256(config).hexdigest() + ".json")
        config = json.loads(config)
        self.assertEqual(config["rootfs"]["diff_ids"],
                         ["sha256:" + hashlib.sha256(layer).hexdigest()])
        self.assertEqual(config["config"]["User"], "65532:65532")
        self.layer_is_the_bundle(layer)

    def layer_is_the_bundle(self, layer):
        folder = os.path.join(self.folder, "layer")
        os.mkdir(folder)
        done = subprocess.run(["tar", "-x", "-C", folder], input=layer, check=False)
        self.assertEqual((done.returncode, os.listdir(folder)), (0, ["reknit"]))
        self.assertEqual(tree_of(os.path.join(folder, "reknit")), tree_of(self.bundle))

    def test_bad_input_is_refused(self):
        for arguments, code in ((("--tag", "no tag"), 64), (("--bundle", self.empty), 65),
                                (("--build", "a", "--bundle", "b"), 64), (("--base", "x"), 64),
                                (("--build", self.empty), 69)):
            done = run(os.path.join(IMAGE, "build"), "--output",
                       os.path.join(self.folder, "none.tar"), *arguments)
            self.assertEqual(done.returncode, code, done.stdout)
            self.assertRegex(done.stdout, "^(build|bundle): ")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "none.tar")))


def must_skip():
    """Why nothing of this can be tested here, or None."""
    if shutil.which("patchelf") is None:
        return "patchelf is not installed"
    with tempfile.TemporaryDirectory() as folder:
        for name in ("root", "content"):
            os.mkdir(os.path.join(folder, name))
        # The root is made and holds no program: 127 is what success looks like.
        done = run(INSIDE, *(os.path.join(folder, n) for n in ("root", "content", "content")),
                   "/none")
    return None if done.returncode == 127 else f"no root of one's own here: {done.stdout.strip()}"


if __name__ == "__main__":
    REASON = must_skip()
    if REASON:
        print(f"image_test: skipped: {REASON}")
        sys.exit(SKIPPED)
    unittest.main()
