"""A whole cluster of real parts: API server, controllers, scheduler and nodes that run real pods.

Stands on ground (ground.enter), so that nothing of it touches the machine.  The control plane lives
in the ground's own network, where tests run too; each node hangs on a bridge there:

    tests, API server   10.90.0.1, and 10.96.0.1 (the service `kubernetes`)
    nodeN               10.90.0.(10+N)
    its pods            10.244.N.0/24

Everybody reaches everybody by plain routes: no NAT, no kube-proxy.  So services other than
`kubernetes` have no address that works, and no name is resolved: the packages have no CoreDNS.
"""
import os
import shutil
import sys

import ground
import image
from api import SERVICE, ApiServer
from node import BRIDGE, GATEWAY, PAUSE, PREFIX, Node
from process import wait_for

BRIDGE_ADDRESS = "02:00:00:00:00:01"
NODES = 40  # so many may be added in a cluster's life; no name is used twice


class Cluster(ApiServer):
    """start(), stop(), or `with`; kubectl() and its kin are the API server's (api.py)."""

    def __init__(self, binaries, flags=None):
        if ground.VARIABLE not in os.environ:
            raise RuntimeError("a cluster needs ground; see ground.enter and tests/kubernetes/run")
        self.whole = binaries
        super().__init__(os.environ[ground.VARIABLE], os.path.join(os.environ[ground.VARIABLE],
                                                                  "binaries"),
                         address="0.0.0.0", port=443, advertised=GATEWAY, flags=flags,
                         nodes=[f"node{i + 1}" for i in range(NODES)])
        self.running = {}
        self.added = 0
        self.images = []

    @property
    def server(self):
        return f"https://{GATEWAY}:{self.port}"

    def start(self, nodes=1):
        self.wire()
        super().start()
        self.run("kube-scheduler", [f"--kubeconfig={self.path('scheduler.kubeconfig')}",
                                    "--port=0", "--secure-port=0", "--leader-elect=false"])
        self.images = [image.write_pause(self.folder, PAUSE)]
        for _ in range(nodes):
            self.node_add()
        return self

    def wire(self):
        """The bridge that nodes hang on, and the programs where nodes see them."""
        os.makedirs(self.binaries, exist_ok=True)
        ground.command("mount", "--bind", self.whole, self.binaries)
        # Left to itself a bridge takes another address when a port goes, and all nodes lose it.
        ground.command("ip", "link", "add", BRIDGE, "address", BRIDGE_ADDRESS, "type", "bridge")
        ground.command("ip", "address", "add", f"{GATEWAY}/{PREFIX}", "dev", BRIDGE)
        ground.command("ip", "link", "set", BRIDGE, "up")
        ground.command("ip", "address", "add", f"{SERVICE}/32", "dev", "lo")
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="utf-8") as f:
            f.write("1\n")

    def stop(self):
        for name in list(self.running):
            self.running.pop(name).stop()
        super().stop()

    # ---- nodes

    def node_add(self):
        """One more node, Ready, with all images."""
        self.added += 1
        name = f"node{self.added}"
        node = Node(self.folder, self.binaries, self.added, self.path(f"{name}.kubeconfig"),
                    self.pki.path("ca.crt"))
        self.running[name] = node
        node.start()
        for path in self.images:
            node.ctr("images", "import", path)
        self.wait_node(name, "True")
        return node

    def node(self, name="node1"):
        return self.running[name]

    def node_state(self, name):
        """The status of the node's Ready condition: True, False, Unknown; None without a node."""
        found = self.get("node", name) or {}
        conditions = found.get("status", {}).get("conditions", [])
        return next((c["status"] for c in conditions if c["type"] == "Ready"), None)

    def wait_node(self, name, *states):
        def what():
            kubelet = self.running[name].daemons.get("kubelet")
            return f"{name} is {' or '.join(states)}\n{kubelet.tail() if kubelet else ''}"

        wait_for(lambda: self.node_state(name) in states, what)

    def node_lose(self, name):
        """The power of a node is cut: all that ran there is gone.  node(name).start() switches it
        on again."""
        self.running[name].lose()

    def node_remove(self, name):
        """Takes a node away for good, its object too."""
        node = self.running.pop(name)
        node.stop()
        shutil.rmtree(node.folder)
        self.kubectl("delete", "node", name, "--wait=false")

    def image_import(self, path):
        """Gives an archive's images to all nodes, and to those that come."""
        self.images.append(path)
        for node in self.running.values():
            node.ctr("images", "import", path)

    # ---- what is seen of it

    def memory(self):
        """{program: bytes} of what runs now."""
        found = {name: daemon.memory() for name, daemon in self.daemons.items()}
        for name, node in self.running.items():
            found.update({f"{name} {kind}": size for kind, size in node.memory().items()})
        return found

    def report(self, file=sys.stderr):
        """What a person wants to see when a test failed."""
        for line in (["get", "nodes,pods,jobs", "-A", "-o", "wide"],
                     ["get", "events", "-A", "--sort-by=.lastTimestamp"]):
            run = self.kubectl(*line, check=False)
            print(run.stdout[-6000:] + run.stderr[-1000:], file=file)
        daemons = list(self.daemons.values())
        for node in self.running.values():
            daemons += node.daemons.values()
        for daemon in daemons:
            print(f"---- {daemon.log}\n{daemon.tail(2000)}", file=file)
