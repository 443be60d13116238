"""Container images made on the spot, as archives that containerd imports; no registry is asked.

A base comes from Debian's packages by mmdebstrap and is kept in the cache.  Any other image is a
base with a layer of files on top.
"""
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile

import debian
import ground

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LONG_AGO = "1970-01-01T00:00:00Z"
NEXT_PACKAGES = ("mpich", "openmpi-bin")
LIMIT = 900  # seconds for a base
LEFT_OUT = ("doc", "man", "info", "locale", "lintian")
# What holds a pod's namespaces: sleeps, and ends when asked to.
PAUSE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { (void)s; _exit(0); }
static void bury(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
    signal(SIGTERM, end);
    signal(SIGINT, end);
    signal(SIGCHLD, bury);
    for (;;) pause();
}
"""


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def layer(path, files):
    """Writes a layer: {path in the image: local file, or bytes}; executable where the local file
    is, and bytes are when they start with #!."""
    with tarfile.open(path, "w") as tar:
        for name, source in sorted(files.items()):
            entry = tarfile.TarInfo(name.lstrip("/"))
            if isinstance(source, bytes):
                content, runs = source, source.startswith(b"#!")
            else:
                with open(source, "rb") as f:
                    content = f.read()
                runs = os.access(source, os.X_OK)
            entry.size = len(content)
            entry.mode = 0o755 if runs else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return path


def write(path, name, layers, **config):
    """Writes the image NAME of layers, the lowest first, to an archive; returns its path.  config:
    Entrypoint, Cmd, Env, User, WorkingDir as in an image's configuration."""
    digests = [digest(at) for at in layers]
    settings = {"architecture": "amd64", "os": "linux", "created": LONG_AGO,
                "config": {"Env": [PATH], **config},
                "history": [{"created": LONG_AGO, "created_by": "test"} for _ in layers],
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d in digests]}}
    text = json.dumps(settings, sort_keys=True).encode()
    config_name = hashlib.sha256(text).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [name],
                 "Layers": [f"{d}/layer.tar" for d in digests]}]
    with tarfile.open(path, "w") as tar:
        for at, value in zip(layers, digests):
            tar.add(at, f"{value}/layer.tar")
        for at, content in ((config_name, text), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(at)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def extract(archive, folder, *names):
    """Takes files, each of them in one layer, out of an image's archive into a folder."""
    with tarfile.open(archive) as whole:
        for entry in whole:
            if not entry.name.endswith(".tar") or not entry.isfile():
                continue
            with tarfile.open(fileobj=whole.extractfile(entry)) as stack:
                wanted = [e for e in stack if e.name.removeprefix("./") in names]
                stack.extractall(folder, wanted)


def write_pause(folder, name):
    """The image of the container that holds a pod together: one static program."""
    source, program = os.path.join(folder, "pause.c"), os.path.join(folder, "pause")
    with open(source, "w", encoding="utf-8") as f:
        f.write(PAUSE)
    subprocess.run(["gcc", "-static", "-Os", "-s", "-o", program, source], check=True)
    bottom = layer(os.path.join(folder, "pause.layer.tar"), {"/pause": program})
    return write(os.path.join(folder, "pause.tar"), name, [bottom], Entrypoint=["/pause"])


def build(folder, name, context, *arguments, bases=()):
    """Builds the image NAME from the Dockerfile of a folder, with the machine's network, and
    returns the path of its archive.  bases: archives that FROM may name, as they were written.
    Needs ground; everything buildah keeps is under `folder`, so that a second build is quick."""
    store = os.path.join(folder, "buildah")
    archive = os.path.join(folder, name.replace("/", "-").replace(":", "-") + ".tar")
    os.makedirs(store, exist_ok=True)
    policy = os.path.join(store, "policy.json")
    with open(policy, "w", encoding="utf-8") as f:
        json.dump({"default": [{"type": "insecureAcceptAnything"}]}, f)
    buildah = ["buildah", "--root", os.path.join(store, "root"), "--runroot",
               os.path.join(store, "run")]
    for path in bases:
        ground.outside([*buildah, "pull", "-q", "--signature-policy", policy,
                        f"docker-archive:{path}"], stdout=subprocess.DEVNULL)
    ground.outside([*buildah, "build", "-q", "--signature-policy", policy, "--isolation", "chroot",
                    "--network", "host", "--pull-never", "--layers", "-t", name, *arguments,
                    context], stdout=subprocess.DEVNULL)
    if os.path.exists(archive):
        os.unlink(archive)  # buildah would add to it
    ground.outside([*buildah, "push", "-q", "--signature-policy", policy, name,
                    f"docker-archive:{archive}:{name}"])
    return archive


def base_path(cache, packages, release):
    """Where a base is kept, and whether it is there."""
    key = hashlib.sha256(json.dumps([release, LEFT_OUT, sorted(packages)]).encode())
    path = os.path.join(cache, f"debian-{release}-{key.hexdigest()[:8]}.tar")
    return path, os.path.exists(path)


def next_base(cache):
    """The base of the next Debian with its implementations of MPI, or None: it is not kept yet."""
    path, there = base_path(cache, NEXT_PACKAGES, debian.NEXT)
    return path if there else None


def base(cache, *packages, release=debian.RELEASE):
    """A layer: Debian without documentation, with packages; made once, kept in the cache.  Needs
    the network the first time."""
    path, there = base_path(cache, packages, release)
    if there:
        return path
    os.makedirs(cache, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="debian-build-", dir=cache) as work:
        made = os.path.join(work, "base.tar")
        line = ["timeout", "-k", "60", str(LIMIT), "mmdebstrap", "--variant=minbase",
                "--mode=root", f"--include={','.join(packages)}",
                *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT),
                release, made, *debian.source_lines(release=release)]
        run = subprocess.run(line, text=True, check=False, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if run.returncode != 0:
            raise debian.Missing(f"a Debian base could not be made:\n{run.stdout[-3000:]}")
        os.rename(made, path)
    return path
