"""The programs that a cluster is made of: fetched and built once, then kept.

Kubernetes is built from Debian's source package, whose binary package has only kubectl; the rest is
unpacked from binary packages.  What comes of it stands in one folder of the cache,
kubernetes-VERSION-RECIPE, where RECIPE is a digest of all that decides what is built.  It is made
under another name and renamed when it is whole, and its files are checked by digest each time it is
used, so that half a build, or a damaged one, is never taken for whole.
"""
import contextlib
import fcntl
import glob
import hashlib
import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time

import debian

VERSION = "1.20.2"
SOURCE = "kubernetes"
COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
# Without the cloud providers' SDKs and dockershim, which no test uses: three quarters of the work.
TAGS = "providerless dockerless"
# The copy in vendor/ reads the runtime's maps in a way that Go 1.18 ended: a crash at the first
# custom resource.
REPLACED = "github.com/modern-go/reflect2"
MODULE = "k8s.io/kubernetes"
OPENAPI = "zz_generated.openapi"
# Programs of binary packages, by the path that they are unpacked to.
UNPACKED = ("usr/bin/etcd", "usr/bin/kubectl", "usr/bin/containerd", "usr/bin/ctr",
            "usr/bin/containerd-shim-runc-v2", "usr/sbin/runc")
GO = "usr/lib/go-1.19"
PLUGINS = "usr/lib/cni"
BUILDING = "kubernetes-build-"
MADE = "made.json"
FORMAT = 1  # counts changes to how the folder is laid out


def say(text):
    print(f"kubernetes: {text}", flush=True)


def cache_folder():
    """Where builds are kept unless an option says otherwise."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get("REKNIT_KUBERNETES") or os.path.join(base, "reknit")


def recipe():
    """A digest of what decides what is built."""
    parts = [FORMAT, VERSION, COMMANDS, TAGS, REPLACED, UNPACKED, debian.RELEASE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def is_whole(folder):
    """Whether a folder has every file that its list names, to the bit."""
    try:
        with open(os.path.join(folder, MADE), encoding="utf-8") as f:
            files = json.load(f)["files"]
        return all(digest(os.path.join(folder, name)) == value for name, value in files.items())
    except (OSError, ValueError, KeyError):
        return False


@contextlib.contextmanager
def locked(path):
    """One build at a time; whoever comes second finds the first one's."""
    with open(path, "w", encoding="utf-8") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that builds ({path})")
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def ensure(cache=None):
    """The folder with all programs in bin/ and the CNI plug-ins in cni/; builds it when needed."""
    cache = cache or cache_folder()
    os.makedirs(cache, exist_ok=True)
    folder = os.path.join(cache, f"kubernetes-{VERSION}-{recipe()}")
    with locked(os.path.join(cache, "kubernetes.lock")):
        for left in glob.glob(os.path.join(glob.escape(cache), BUILDING + "*")):
            shutil.rmtree(left)  # of a run that was killed: a living one would hold the lock
        if is_whole(folder):
            return folder
        if os.path.exists(folder):
            say(f"{folder} is damaged; built again")
            shutil.rmtree(folder)
        with tempfile.TemporaryDirectory(prefix=BUILDING, dir=cache) as work:
            made = os.path.join(work, "made")
            Build(work).into(made)
            os.rename(made, folder)
    return folder


class Build:
    """One build in a folder of its own, which holds sources, compiler and objects till the end."""

    def __init__(self, work):
        self.work = work
        self.tools = os.path.join(work, "tools")
        self.gopath = os.path.join(work, "go")
        self.tree = os.path.join(self.gopath, "src", *MODULE.split("/"))
        self.started = time.monotonic()

    def step(self, text):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        say(f"{time.monotonic() - self.started:4.0f} s, {used.ru_utime + used.ru_stime:4.0f} s of "
            f"CPU: {text}")

    def into(self, folder):
        self.step("fetching packages and sources")
        self.fetch()
        self.step("generating the API's description")
        self.generate()
        self.step(f"building {', '.join(COMMANDS)}")
        self.build()
        self.collect(folder)
        self.step("done")

    def fetch(self):
        apt = debian.Apt(os.path.join(self.work, "apt"))
        apt.unpack(debian.names("kubernetes-parts"), self.tools)
        version = apt.source(SOURCE, self.tree)
        if not version.endswith(VERSION):
            raise debian.Missing(f"Debian's {SOURCE} is now {version}; this builds {VERSION}")
        old = os.path.join(self.tree, "vendor", *REPLACED.split("/"))
        shutil.rmtree(old)
        shutil.copytree(os.path.join(self.tools, "usr/share/gocode/src", *REPLACED.split("/")), old)

    def go(self, *arguments):
        self.go_tool(os.path.join(self.tools, GO, "bin", "go"), *arguments)

    def go_tool(self, *line):
        """Runs go, or a program that asks it, with nothing from outside: no module proxy, none of
        the user's settings."""
        root = os.path.join(self.tools, GO)
        environment = {"PATH": f"{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.work,
                       "GOROOT": root, "GOPATH": self.gopath, "GO111MODULE": "off",
                       "GOPROXY": "off", "GOENV": "off", "CGO_ENABLED": "0",
                       "GOCACHE": os.path.join(self.work, "objects"),
                       "GOGC": "400"}  # memory for time, about a tenth
        log = os.path.join(self.work, "log")
        with open(log, "wb") as out, subprocess.Popen(
                line, cwd=self.tree, env=environment, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT) as process:
            self.follow(process)
        if process.returncode != 0:
            with open(log, encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{' '.join(line)[:200]} failed:\n{f.read()[-4000:]}")

    def follow(self, process):
        """Waits for it, with a sign of life every half minute."""
        while True:
            try:
                return process.wait(30)
            except subprocess.TimeoutExpired:
                say(f"{time.monotonic() - self.started:4.0f} s: still at it")
            except BaseException:
                process.kill()
                raise

    def generate(self):
        """The one generated file that the source package lacks: the types' descriptions, by which
        the server answers kubectl's explain and merges server-side applies."""
        generator = os.path.join(self.work, "openapi-gen")
        self.go("build", "-o", generator, f"{MODULE}/vendor/k8s.io/kube-openapi/cmd/openapi-gen")
        self.go_tool(generator, "--logtostderr", "-i", ",".join(self.described()),
                     "-p", f"{MODULE}/pkg/generated/openapi", "-O", OPENAPI,
                     "-h", "hack/boilerplate/boilerplate.generatego.txt", "-r", os.devnull)

    def described(self):
        """Packages whose types are marked for the description."""
        found = set()
        for top in ("pkg", "staging", "plugin", "cmd"):
            for folder, _, files in os.walk(os.path.join(self.tree, top)):
                if "code-generator" in folder or "sample-apiserver" in folder:
                    continue
                if any(self.is_marked(os.path.join(folder, name)) for name in files):
                    path = os.path.relpath(folder, self.tree)
                    found.add(f"{MODULE}/" + re.sub("^staging/src/", "vendor/", path))
        return sorted(found)

    @staticmethod
    def is_marked(path):
        if not path.endswith(".go") or path.endswith("_test.go"):
            return False
        with open(path, "rb") as f:
            return b"+k8s:openapi-gen=" in f.read()

    def build(self):
        version = f"-X {MODULE}/vendor/k8s.io/component-base/version.gitVersion=v{VERSION}"
        out = os.path.join(self.work, "out") + "/"
        os.makedirs(out)
        self.go("build", "-tags", TAGS, "-ldflags", f"-s -w {version}", "-o", out,
                *(f"{MODULE}/cmd/{name}" for name in COMMANDS))

    def collect(self, folder):
        """Puts what is kept into one folder, with a list of digests."""
        for name in ("bin", "cni"):
            os.makedirs(os.path.join(folder, name))
        for name in COMMANDS:
            shutil.move(os.path.join(self.work, "out", name), os.path.join(folder, "bin", name))
        for path in UNPACKED:
            shutil.copy(os.path.join(self.tools, path), os.path.join(folder, "bin"))
        plugins = os.path.join(self.tools, PLUGINS)
        for name in os.listdir(plugins):
            shutil.copy(os.path.join(plugins, name), os.path.join(folder, "cni"))
        names = [os.path.join(kind, name) for kind in ("bin", "cni")
                 for name in sorted(os.listdir(os.path.join(folder, kind)))]
        files = {name: digest(os.path.join(folder, name)) for name in names}
        with open(os.path.join(folder, MADE), "w", encoding="utf-8") as f:
            json.dump({"version": VERSION, "files": files}, f, indent=1)
