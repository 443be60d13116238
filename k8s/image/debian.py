"""Debian's packages and source packages, fetched beside apt and without a change to the machine.

An Apt has its own sources list, package lists and cache in a folder of its own, so it needs no
root, reads what the machine's list lacks (sources) and leaves /etc/apt and /var/lib/apt alone.
Mirrors and keys are those that the machine uses.  Names of packages stand in launch/packages.
"""
import functools
import os
import re
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = os.path.join(ROOT, "launch", "packages")
RELEASE = "bookworm"
NEXT = "trixie"
TARGET = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Missing(Exception):
    """Something that this machine lacks, with what to do about it."""


def names(group):
    """The packages of a group of launch/packages."""
    run = subprocess.run([PACKAGES, "--list", group], text=True, check=True,
                         stdout=subprocess.PIPE)
    return run.stdout.split()


def install(*groups):
    """Installs what is missing of these groups."""
    if subprocess.run([PACKAGES, *groups], check=False).returncode != 0:
        raise Missing(f"could not install what {' '.join(groups)} needs; see apt's words above")


def known_mirrors(*options):
    """[(address, suite)] of our release, as far as apt has their lists."""
    run = subprocess.run(["apt-get", *options, "indextargets", "--format", TARGET,
                          "Created-By: Packages"], text=True, check=True, stdout=subprocess.PIPE)
    found = []
    for line in run.stdout.splitlines():
        address, suite, component = line.split()
        entry = (address, suite)
        if suite.split("-")[0] == RELEASE and component == "main" and entry not in found:
            found.append(entry)
    return found


def fetched_mirrors():
    """The same where apt's lists were removed, as container images do: fetched into a folder that
    goes away, which needs no root."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "partial"))
        options = ("-o", f"Dir::State::lists={folder}", "-o", "APT::Sandbox::User=")
        subprocess.run(["apt-get", "-q", *options, "update"], check=False,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        return known_mirrors(*options)


@functools.lru_cache(maxsize=None)
def mirrors():
    """[(address, suite)] of the machine's sources that have the release we build from."""
    found = known_mirrors() or fetched_mirrors()
    if not found:
        raise Missing(f"apt has no source of Debian {RELEASE} here; its packages and sources "
                      f"are what this builds from, so run it on Debian {RELEASE}")
    return found


def source_lines(kinds=("deb",), release=RELEASE):
    """Lines of a sources list for a release, with the machine's mirrors.  Of another release than
    ours only what it came with, which a mirror has that has ours."""
    signed = f"[signed-by={KEYRING}] " if os.path.exists(KEYRING) else ""
    found = [(address, suite if release == RELEASE else release) for address, suite in mirrors()
             if release == RELEASE or suite == RELEASE]
    return [f"{kind} {signed}{address} {suite} main" for address, suite in found for kind in kinds]


class Apt:
    """apt in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("lists/partial", "cache/archives/partial", "files"):
            os.makedirs(os.path.join(folder, name), exist_ok=True)
        self.sources = os.path.join(folder, "sources.list")
        with open(self.sources, "w", encoding="utf-8") as f:
            f.write("\n".join(source_lines(("deb", "deb-src"))) + "\n")
        self._apt("update")

    def _apt(self, *arguments):
        options = {"Dir::Etc::sourcelist": self.sources, "Dir::Etc::sourceparts": "-",
                   "Dir::Etc::preferencesparts": "-", "Dir::Etc::preferences": "-",
                   "Dir::State::lists": os.path.join(self.folder, "lists"),
                   "Dir::Cache": os.path.join(self.folder, "cache"),
                   "APT::Sandbox::User": "", "Acquire::Retries": "3"}
        line = ["apt-get", "-q"]
        for name, value in options.items():
            line += ["-o", f"{name}={value}"]
        run = subprocess.run([*line, *arguments], text=True, check=False,
                             cwd=os.path.join(self.folder, "files"), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if run.returncode != 0:
            raise Missing(f"apt-get {' '.join(arguments)} failed:\n{run.stdout}")

    def _files(self, pattern):
        folder = os.path.join(self.folder, "files")
        return [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if re.match(pattern, n)]

    def unpack(self, packages, into):
        """Fetches binary packages and unpacks them into a folder: nothing is installed."""
        self._apt("download", *packages)
        for path in self._files(r".*\.deb$"):
            subprocess.run(["dpkg-deb", "-x", path, into], check=True)
            os.unlink(path)

    def source(self, package, into):
        """Fetches a source package, its digests checked by apt, and unpacks the upstream archive
        without its first folder; returns the archive's version."""
        self._apt("source", "--download-only", "--only-source", package)
        archives = self._files(re.escape(package) + r"_.*\.orig\.tar\.\w+$")
        if len(archives) != 1:
            raise Missing(f"source package {package}: expected one archive, got {archives}")
        os.makedirs(into)
        subprocess.run(["tar", "-xf", archives[0], "-C", into, "--strip-components=1"], check=True)
        return re.search(r"_(.*)\.orig\.", os.path.basename(archives[0])).group(1)

    def patched_source(self, package, into):
        """As `source`, with Debian's patches applied; needs dpkg-dev."""
        self._apt("source", "--download-only", "--only-source", package)
        descriptions = self._files(re.escape(package) + r"_.*\.dsc$")
        if len(descriptions) != 1:
            raise Missing(f"source package {package}: expected one .dsc, got {descriptions}")
        run = subprocess.run(["dpkg-source", "--no-check", "--extract", descriptions[0], into],
                             text=True, check=False, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        if run.returncode != 0:
            raise Missing(f"dpkg-source could not unpack {package}:\n{run.stdout}")
