"""The ground that a cluster stands on: namespaces, cgroups and a folder of its own.

enter() runs a command with its own network, mounts, processes and host name.  All that the command
starts, pods included, dies with it, because the kernel ends a namespace of processes with its first
one.  What the kernel does not take back is the keeper's: a process of its own that waits until the
run has ended, however it ended, and then removes cgroups and files.  A run whose keeper was killed
too is cleaned up by the next one (sweep).
"""
import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import cgroups
import debian
from cgroups import write
from process import children, die_with_parent, wait_for

NAME = "reknit-test-"
VARIABLE = "REKNIT_GROUND"  # the folder; in the environment of every process of a run
OUTSIDE = "REKNIT_OUTSIDE"  # a descriptor of the machine's own network
NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc")
# Folders that programs of a node write to by fixed names, so that each node has its own.
COVERED = {"/run": "run", "/var/lib": "lib", "/var/log": "log"}
ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def command(*line):
    """Runs a command that must succeed."""
    run = subprocess.run(line, text=True, check=False, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(line)} ended with {run.returncode}: {run.stdout.strip()}")
    return run.stdout


def check():
    """Fails, with what is missing, where no cluster can run."""
    if os.geteuid() != 0:
        raise debian.Missing("a cluster with real pods needs root: namespaces, cgroups and mounts")
    lacking = cgroups.lacking()
    if lacking:
        raise debian.Missing("; ".join(lacking))
    run = subprocess.run(["unshare", *NAMESPACES, "--fork", "--mount-proc", "true"], check=False,
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if run.returncode != 0:
        raise debian.Missing(f"namespaces cannot be made here: {run.stdout.strip()}")
    temporary = os.path.realpath(tempfile.gettempdir()) + "/"
    if any(temporary.startswith(path + "/") for path in COVERED):
        raise debian.Missing(f"{temporary} is hidden from a node's programs; set TMPDIR to a "
                             f"folder outside {', '.join(COVERED)}")


# ---- making and leaving


def enter(line):
    """Runs a command on ground of its own; its exit code.  The folder, which the keeper removes, is
    in its environment as REKNIT_GROUND."""
    sweep()
    folder = tempfile.mkdtemp(prefix=f"{NAME}{os.getpid()}-")
    os.chmod(folder, 0o755)  # pods of any user read what is mounted from below it
    held = hold(folder)
    keeper = start_keeper(folder)
    inside = None
    try:
        cgroups.make(os.path.basename(folder))
        inside = start_inside(folder, line)
        wait_for(lambda: children(inside.pid) or inside.poll() is not None, "the ground's first")
        write(os.path.join(folder, "first"), " ".join(map(str, children(inside.pid))))
        return inside.wait()
    finally:
        if inside and inside.poll() is None:
            end_inside(inside)
        keeper.stdin.close()
        code = keeper.wait()
        os.close(held)
        if code != 0:
            raise RuntimeError(f"something of {folder} is left; see the keeper's words above")


def start_inside(folder, line):
    """unshare with the command; both end when this process does."""
    outer = os.open("/proc/self/ns/net", os.O_RDONLY)
    environment = {**os.environ, VARIABLE: folder, OUTSIDE: str(outer)}
    try:
        return subprocess.Popen(
            ["unshare", *NAMESPACES, "--fork", "--kill-child=KILL", "--mount-proc",
             "--propagation", "private", sys.executable, os.path.abspath(__file__), "first",
             *line], env=environment, pass_fds=[outer], preexec_fn=die_with_parent,
            start_new_session=True)  # a Ctrl-C is for the run, which passes it on once
    finally:
        os.close(outer)


def end_inside(inside):
    """Asks the command to end, as Ctrl-C would, and does not wait for ever."""
    for pid in children(inside.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    try:
        inside.wait(20)
    except subprocess.TimeoutExpired:
        inside.kill()
        inside.wait()


def bury(child):
    """The life of a namespace's first process: waits for whatever ends, until the child has; the
    child's exit code."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child.pid:
            return os.waitstatus_to_exitcode(status)


def first(line):
    """The first process of the ground."""
    command("ip", "link", "set", "lo", "up")
    child = subprocess.Popen(line, pass_fds=[int(os.environ[OUTSIDE])])
    for number in ASKED:
        signal.signal(number, lambda *_: child.send_signal(signal.SIGINT))
    code = bury(child)
    return code if code >= 0 else 128 - code


def outside(line, **options):
    """Runs a command, from on the ground, in the machine's own network: for what must fetch."""
    within = ["nsenter", f"--net=/proc/1/fd/{os.environ[OUTSIDE]}"]
    return subprocess.run([*within, *line], check=True, **options)


# ---- the keeper


def hold(folder):
    """Marks a folder as one that somebody looks after, until the descriptor is closed or its
    process is gone."""
    fd = os.open(os.path.join(folder, "held"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


def is_held(folder):
    """Whether a run or its keeper still looks after a folder; so it seems before either began, and
    not when the folder is gone."""
    try:
        fd = os.open(os.path.join(folder, "held"), os.O_RDWR)
    except FileNotFoundError:
        return os.path.isdir(folder)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def start_keeper(folder):
    """A process that no signal to the run reaches, and that knows of the run's end by a pipe."""
    keeper = subprocess.Popen([sys.executable, os.path.abspath(__file__), "keep", folder],
                              stdin=subprocess.PIPE, start_new_session=True)
    write(os.path.join(folder, "keeper"), keeper.pid)
    return keeper


def keep(folder):
    for number in (*ASKED, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    hold(folder)
    sys.stdin.buffer.read()
    return clean(folder)


def processes_of(folder):
    """The living processes of a run: by their environment, and those in its cgroups."""
    found = cgroups.members(os.path.basename(folder))
    mark = f"{VARIABLE}={folder}".encode()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                with open(f"/proc/{entry}/environ", "rb") as f:
                    if mark in f.read().split(b"\0"):
                        found.add(int(entry))
    return found


def mounts_under(folder):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [at for at in (line.split()[4] for line in f) if at.startswith(folder + "/")]


def left_of(folder):
    """What is there of a run, but for its folder: a line for each thing.  A mount is never there,
    since a run mounts in a namespace of its own, or its target would be removed through it."""
    return ([f"process {pid}" for pid in sorted(processes_of(folder))]
            + cgroups.folders(os.path.basename(folder)) + mounts_under(folder))


def clean(folder):
    """Removes all that is left of a run; 0 when it could, 1 when it said what is left."""
    name = os.path.basename(folder)

    def gone():
        cgroups.thaw(name)
        found = processes_of(folder)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found and cgroups.remove(name)

    with contextlib.suppress(AssertionError):
        wait_for(gone, "nothing runs", 30)
    left = left_of(folder)
    if not left:
        shutil.rmtree(folder, ignore_errors=True)
        left += [folder] if os.path.exists(folder) else []
    for what in left:
        print(f"kubernetes: left behind: {what}", file=sys.stderr)
    return 1 if left else 0


def leftovers():
    """Folders of runs that nobody looks after any more."""
    top = tempfile.gettempdir()
    return [os.path.join(top, entry) for entry in sorted(os.listdir(top))
            if entry.startswith(NAME) and not is_held(os.path.join(top, entry))]


def sweep():
    """Cleans up after runs that were killed together with their keepers."""
    for folder in leftovers():
        clean(folder)


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=("first", "keep"))
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    return keep(given.rest[0]) if given.what == "keep" else first(given.rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
