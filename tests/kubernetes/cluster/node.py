"""A node: a real containerd and kubelet in namespaces and a cgroup of their own.

Each node has its own network (a veth pair to the bridge of the cluster), mounts, processes and host
name, so that two of them do not touch each other's pods, and so that one can be lost as a machine
is: lose() ends all its processes at once, cut() pulls its cable and leaves the pods running.

The kubelet writes to some settings of the machine (vm.overcommit_memory and others) unless they are
what it wants; inside a node files with just these values lie over them, so nothing is changed.
"""
import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import time

import cgroups
import ground
from process import Daemon, children, die_with_parent, wait_for

BRIDGE = "cluster"
GATEWAY = "10.90.0.1"  # the cluster's end of the bridge, where the API server is
PREFIX = "24"
SETTINGS = {"vm/overcommit_memory": 1, "vm/panic_on_oom": 0, "kernel/panic": 10,
            "kernel/panic_on_oops": 1, "kernel/keys/root_maxkeys": 1000000,
            "kernel/keys/root_maxbytes": 25000000}
SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"
READY_MARK = "ground-is-made"
CONTAINERD = """version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{binaries}/bin/runc"
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{binaries}/cni"
conf_dir = "{cni}"
"""


class Node:
    """number: 1 to 200, its place in the addresses.  binaries: a folder that the node can see."""

    def __init__(self, folder, binaries, number, kubeconfig, authority):
        self.name = f"node{number}"
        self.number = number
        self.folder = os.path.join(folder, self.name)
        self.cgroup = f"{os.path.basename(folder)}/{self.name}"
        self.binaries = binaries
        self.kubeconfig = kubeconfig
        self.authority = authority
        self.address = f"10.90.0.{10 + number}"
        self.pods = f"10.244.{number}.0/24"
        self.first = None
        self.daemons = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    @property
    def within(self):
        """The start of a command line that runs the rest on the node."""
        pid = str(self.pid)
        return ["nsenter", "--target", pid, "--net", "--mount", "--pid", "--uts", "--ipc"]

    @property
    def pid(self):
        """The node's first process."""
        return next(iter(children(self.first.pid)), 0)

    def start(self):
        """Switches the node on, for the first time or after lose(): what is on its disk stays."""
        mark = self.path(READY_MARK)
        shutil.rmtree(self.path("run"), ignore_errors=True)
        for name in (*ground.COVERED.values(), "cni", "logs"):
            os.makedirs(self.path(name), exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(mark)
        cgroups.make(self.cgroup)
        self.first = subprocess.Popen(
            ["unshare", *ground.NAMESPACES, "--fork", "--kill-child=KILL", "--mount-proc",
             "--propagation", "private", sys.executable, os.path.abspath(__file__), self.folder],
            preexec_fn=die_with_parent)
        wait_for(lambda: os.path.exists(mark) or self.first.poll() is not None, "the node's mounts")
        if self.first.poll() is not None:
            raise AssertionError(f"{self.name}: its mounts could not be made; see above")
        self.connect()
        self.write_settings()
        return self.boot()

    def boot(self):
        """containerd and the kubelet."""
        environment = {**os.environ, "PATH": f"{self.binaries}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        for name, options in (("containerd", ["--config", self.path("containerd.toml")]),
                              ("kubelet", self.kubelet_options())):
            line = [os.path.join(self.binaries, "bin", name), *options]
            daemon = Daemon(name, line, self.path("logs"), self.within, environment)
            self.daemons[name] = daemon.start()
            if name == "containerd":
                wait_for(self.containerd_answers, "containerd answers")
        return self

    def containerd_answers(self):
        self.daemons["containerd"].check()
        return self.ctr("version", check=False).returncode == 0

    def run(self, *line, check=True):
        """Runs a command on the node; returns the finished process."""
        run = subprocess.run([*self.within, *line], text=True, check=False,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
        if check and run.returncode != 0:
            raise AssertionError(f"{self.name}: {' '.join(line)} ended with {run.returncode}: "
                                 f"{run.stdout}")
        return run

    def ctr(self, *arguments, check=True):
        return self.run(os.path.join(self.binaries, "bin", "ctr"), "--address", SOCKET,
                        "--namespace", "k8s.io", *arguments, check=check)

    def pids_of(self, container):
        """The processes of a container, its first one first, as the caller sees them."""
        tops = cgroups.hierarchies()
        found = []
        for at, _, _ in os.walk(os.path.join(tops[0], self.cgroup)):
            if container in at:
                found += map(int, cgroups.read(os.path.join(at, "cgroup.procs")).split())
        return sorted(found)

    # ---- its surroundings

    def connect(self):
        """A cable from the node to the bridge, and the ways to and from its pods."""
        link = f"to-{self.name}"
        ground.command("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0",
                       "netns", str(self.pid))
        ground.command("ip", "link", "set", link, "master", BRIDGE, "up")
        ground.command("ip", "route", "replace", self.pods, "via", self.address)
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{self.address}/{PREFIX}", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "add", "default", "via", GATEWAY)
        self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def write_settings(self):
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [
            {"type": "bridge", "bridge": "pods", "isGateway": True, "ipMasq": False,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": self.pods}]],
                      "routes": [{"dst": "0.0.0.0/0"}]}}]}
        files = {"cni/pods.conflist": json.dumps(network, indent=1),
                 "kubelet.json": json.dumps(self.kubelet_settings(), indent=1),
                 "resolv.conf": "",
                 "containerd.toml": CONTAINERD.format(
                     socket=SOCKET, pause=PAUSE, binaries=self.binaries, cni=self.path("cni"),
                     snapshotter="overlayfs" if self.can_overlay() else "native")}
        for name, text in files.items():
            cgroups.write(self.path(name), text)

    def can_overlay(self):
        """Whether layers can be laid over each other here: not in a folder that is such a pile."""
        parts = {name: self.path(f"overlay/{name}") for name in ("lower", "upper", "work", "all")}
        for path in parts.values():
            os.makedirs(path, exist_ok=True)
        options = "lowerdir={lower},upperdir={upper},workdir={work}".format(**parts)
        line = ["unshare", "--mount", "mount", "-t", "overlay", "-o", options, "overlay",
                parts["all"]]
        return subprocess.run(line, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def kubelet_settings(self):
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "address": "0.0.0.0", "readOnlyPort": 0, "cgroupDriver": "cgroupfs",
            "cgroupRoot": "/" + self.cgroup, "enforceNodeAllocatable": [], "failSwapOn": False,
            "makeIPTablesUtilChains": False, "oomScoreAdj": 0, "maxOpenFiles": 20000,
            "resolvConf": self.path("resolv.conf"), "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%",
                             "imagefs.available": "1%"},
            "nodeStatusUpdateFrequency": "4s", "nodeLeaseDurationSeconds": 8,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False},
                               "x509": {"clientCAFile": self.authority}},
            "authorization": {"mode": "AlwaysAllow"}}

    def kubelet_options(self):
        return [f"--config={self.path('kubelet.json')}", f"--kubeconfig={self.kubeconfig}",
                "--container-runtime=remote", f"--container-runtime-endpoint=unix://{SOCKET}",
                "--root-dir=/var/lib/kubelet", "--cert-dir=/var/lib/kubelet/pki",
                "--volume-plugin-dir=/var/lib/kubelet/volume-plugins",
                f"--hostname-override={self.name}", f"--node-ip={self.address}"]

    # ---- its ends

    def cut(self):
        """Pulls the cable; what runs there goes on."""
        ground.command("ip", "link", "set", f"to-{self.name}", "down")

    def join(self):
        """Puts the cable back."""
        ground.command("ip", "link", "set", f"to-{self.name}", "up")

    def lose(self):
        """The power is cut: every process of the node, its pods' too, is gone at once."""
        cgroups.thaw(self.cgroup)
        self.first.kill()
        self.first.wait()
        for daemon in self.daemons.values():
            daemon.kill()
        self.daemons = {}
        wait_for(lambda: cgroups.remove(self.cgroup), f"the processes of {self.name} are gone")
        with contextlib.suppress(RuntimeError):  # the kernel may have been quicker
            ground.command("ip", "link", "delete", f"to-{self.name}")

    def stop(self):
        for name in ("kubelet", "containerd"):
            if name in self.daemons:
                self.daemons.pop(name).stop()
        if self.first is not None:
            self.lose()

    def memory(self):
        return {name: daemon.memory() for name, daemon in self.daemons.items()}


def cover(folder):
    """Own folders in the place of those that programs write to by fixed names, and the settings."""
    ground.command("mount", "--make-rprivate", "/")
    for path, name in ground.COVERED.items():
        ground.command("mount", "--bind", os.path.join(folder, name), path)
    for name, value in SETTINGS.items():
        own = os.path.join(folder, name.replace("/", "."))
        cgroups.write(own, f"{value}\n")
        if os.path.exists(f"/proc/sys/{name}"):
            ground.command("mount", "--bind", own, f"/proc/sys/{name}")
    ground.command("mount", "--make-rshared", "/")  # what the kubelet mounts reaches the pods


def main(argv):
    """The first process of a node: makes its mounts and buries its orphans."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder")
    folder = parser.parse_args(argv).folder
    cover(folder)
    ground.command("hostname", os.path.basename(folder))
    cgroups.write(os.path.join(folder, READY_MARK), "")
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
