"""The control groups of a run: one of its name in every hierarchy of the machine, no more."""
import contextlib
import os

CGROUPS = "/sys/fs/cgroup"
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
OTHERS = ("systemd", "hugetlb", "perf_event", "net_cls", "net_prio")  # used where they are there
UNIFIED = ("cpu", "cpuset", "memory", "pids", "io")


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read().strip()


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(str(text))


def is_unified():
    """Whether the machine has the second version of cgroups alone."""
    return os.path.exists(os.path.join(CGROUPS, "cgroup.controllers"))


def hierarchies():
    """The roots under which a cluster gets a cgroup of its name."""
    if is_unified():
        return [CGROUPS]
    tops = [os.path.join(CGROUPS, name) for name in (*CONTROLLERS, *OTHERS)]
    found = {}
    for top in tops:
        if os.path.exists(os.path.join(top, "tasks")):
            found.setdefault(os.path.realpath(top), top)  # cpu and cpuacct may be one
    return sorted(found)


def make(path):
    """The cgroup /PATH in each hierarchy, with processors and memory to use."""
    for top in hierarchies():
        at = top
        for part in path.strip("/").split("/"):
            if is_unified():
                write(os.path.join(at, "cgroup.subtree_control"),
                      " ".join("+" + name for name in UNIFIED))
            parent, at = at, os.path.join(at, part)
            os.makedirs(at, exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if not is_unified() and os.path.exists(os.path.join(at, name)):
                    write(os.path.join(at, name), read(os.path.join(parent, name)))


def folders(name):
    """All folders of a cgroup in all hierarchies, the innermost first."""
    return [at for top in hierarchies()
            for at, _, _ in os.walk(os.path.join(top, name), topdown=False)]


def thaw(name):
    """A process in a frozen cgroup does not even die."""
    for at in folders(name):
        for file, text in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            if os.path.exists(os.path.join(at, file)):
                with contextlib.suppress(OSError):
                    write(os.path.join(at, file), text)


def members(name):
    found = set()
    for at in folders(name):
        with contextlib.suppress(OSError):
            found.update(int(pid) for pid in read(os.path.join(at, "cgroup.procs")).split())
    return found - {0}


def remove(name):
    """True when nothing of that name is left."""
    for at in folders(name):
        with contextlib.suppress(OSError):
            os.rmdir(at)
    return not folders(name)


def lacking():
    """What a kubelet needs and this machine has not, as sentences."""
    if is_unified():
        have = read(os.path.join(CGROUPS, "cgroup.controllers")).split()
        missing = [name for name in UNIFIED if name not in have]
    else:
        missing = [n for n in CONTROLLERS if not os.path.exists(os.path.join(CGROUPS, n, "tasks"))]
    faults = [f"no cgroup controller {name} under {CGROUPS}" for name in missing]
    return faults + [f"{top} cannot be written" for top in hierarchies()
                     if os.statvfs(top).f_flag & os.ST_RDONLY]
