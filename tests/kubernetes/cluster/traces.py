"""What a run could leave on the machine, looked at before and after."""
import json
import os
import subprocess
import tempfile

import cgroups
from ground import NAME, VARIABLE, is_held, leftovers
from node import BRIDGE, SETTINGS

OURS = ("kubelet", "containerd", "kubepods", NAME)
FOLDERS = ("/var/log/pods", "/var/log/containers", "/var/lib/kubelet", "/var/lib/cni",
           "/var/lib/containerd", "/run/containerd", "/run/netns", "/etc/cni/net.d")
LINKS = (BRIDGE, "pods", "to-node")


def entries(folder):
    """What is in a folder, and "." for the folder itself."""
    return [".", *sorted(os.listdir(folder))] if os.path.isdir(folder) else []


def is_ours(name):
    """Whether a folder or group is of a run that has ended: others may come and go."""
    return name.startswith(NAME) and not is_held(os.path.join(tempfile.gettempdir(), name))


def processes():
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/environ", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        for word in words:
            if word.startswith(VARIABLE.encode() + b"="):
                folder = word.decode().partition("=")[2]
                if is_ours(os.path.basename(folder)):
                    found.append(entry)
    return found


def mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return sorted(line for line in f if any(word in line for word in OURS))


def links():
    text = subprocess.run(["ip", "-json", "link"], text=True, check=True,
                          stdout=subprocess.PIPE).stdout
    names = [link["ifname"] for link in json.loads(text)]
    return sorted(name for name in names if name.startswith(LINKS))


def settings():
    found = {}
    for name in (*SETTINGS, "net/ipv4/ip_forward"):
        path = f"/proc/sys/{name}"
        found[name] = cgroups.read(path) if os.path.exists(path) else None
    return found


def look():
    """{what: its state} of all that a cluster touches."""
    groups = [os.path.join(top, name) for top in cgroups.hierarchies() for name in entries(top)
              if is_ours(name) or "kube" in name]  # the kubelet's, were it left to itself
    found = {"processes": processes(), "mounts": mounts(), "links": links(),
             "settings": settings(), "control groups": groups, "temporary files": leftovers()}
    found.update({folder: entries(folder) for folder in FOLDERS})
    return found


def compare(before, after):
    """A sentence for each kind of thing that has come, or setting that is another now.  What has
    gone was swept: a leftover of a run that was killed."""
    found = []
    for what in after.keys() - {"settings"}:
        new = sorted(set(after[what]) - set(before[what]))
        if new:
            found.append(f"{what}: {new}")
    return found + [f"{name}: {before['settings'][name]} before, {now} now"
                    for name, now in after["settings"].items() if before["settings"][name] != now]
