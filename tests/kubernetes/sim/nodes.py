"""Nodes: made by tests, lost and found again, and what the controller manager does about them."""
from . import clock, errors, objects, special, store

UNREACHABLE = "node.kubernetes.io/unreachable"
SILENCE = 40.0  # seconds from the last heartbeat to Ready=Unknown
TOLERATED = 300.0


def body_of(name, given):
    """A Node object: `cpu`, `memory`, `pods`, `labels`, `taints` and other resources as given."""
    amounts = {"cpu": str(given.get("cpu", 64)), "memory": str(given.get("memory", "256Gi")),
               "pods": str(given.get("pods", 110)), **given.get("resources", {})}
    now = clock.stamp()
    return {"kind": "Node", "apiVersion": "v1",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                                                  "kubernetes.io/os": "linux",
                                                  **given.get("labels", {})}},
            "spec": {"taints": given["taints"]} if given.get("taints") else {},
            "status": {"capacity": amounts, "allocatable": amounts,
                       "addresses": [{"type": "InternalIP", "address": "127.0.0.1"},
                                     {"type": "Hostname", "address": name}],
                       "nodeInfo": {"kubeletVersion": "v1.31.0"},
                       "conditions": [{"type": "Ready", "status": "True",
                                       "reason": "KubeletReady", "lastHeartbeatTime": now,
                                       "lastTransitionTime": now,
                                       "message": "kubelet is posting ready status"}]}}


class Nodes:
    """Which nodes are silent, and the timers that follow from it."""

    def __init__(self, world):
        self.world = world
        self.lost = {}
        world.store.listeners.append(self.changed)

    def end(self):
        """Stops the timers."""
        for timers in self.lost.values():
            for timer in timers:
                timer.cancel()
        self.lost.clear()

    def add(self, name, **given):
        """A new node."""
        return objects.create(self.world, self.world.registry.core("nodes"), "",
                              body_of(name, given))

    def call_node_add(self, given):
        """Makes a node: `name`, and what body_of takes."""
        self.add(given.pop("name"), **given)

    def call_node_lost(self, given):
        """A node falls silent: `name`; `silence` and `tolerated` in sim seconds."""
        name = given["name"]
        if name in self.lost:
            return
        silence = given.get("silence", SILENCE)
        later = self.world.clock.later
        self.lost[name] = [
            later(silence, self.unknown, name),
            later(silence + given.get("tolerated", TOLERATED), self.expel, name)]
        kubelet = self.world.controllers.get("kubelet")
        if kubelet:
            kubelet.node_lost(name, given.get("processes", "kill"))

    def call_node_back(self, given):
        """A node speaks again."""
        name = given["name"]
        for timer in self.lost.pop(name, ()):
            timer.cancel()
        self.set_ready(name, "True", "KubeletReady", [])
        kubelet = self.world.controllers.get("kubelet")
        if kubelet:
            kubelet.node_back(name)

    def call_node_drain(self, given):
        """Cordons a node and evicts its pods, as kubectl drain does."""
        item = self.item(given["name"])
        spec = {**item.body["spec"], "unschedulable": True}
        self.world.store.replace("nodes", item, {**item.body, "spec": spec})
        for pod in self.pods_of(given["name"]):
            pod = special.disrupt(self.world, pod, "EvictionByEvictionAPI", "Eviction API:"
                                  " evicting")
            objects.delete(self.world, self.world.registry.core("pods"), pod)

    def item(self, name):
        """A node's item, or 404."""
        item = self.world.store.get("nodes", "", name)
        if item is None:
            raise errors.not_found(self.world.registry.core("nodes"), name)
        return item

    def pods_of(self, name):
        """The pods on a node that have not ended."""
        return [item for item in self.world.store.items("pods")
                if item.body["spec"].get("nodeName") == name
                and item.body["status"].get("phase") not in ("Succeeded", "Failed")]

    def set_ready(self, name, status, reason, taints):
        """Writes a node's Ready condition and its taints of unreachability."""
        item = self.item(name)
        new = special.set_condition(item.body["status"], {
            "type": "Ready", "status": status, "reason": reason, "message": reason})
        kept = [t for t in item.body["spec"].get("taints") or () if t["key"] != UNREACHABLE]
        spec = {k: v for k, v in item.body["spec"].items() if k != "taints"}
        if kept + taints:
            spec["taints"] = kept + taints
        self.world.store.replace("nodes", item, {**item.body, "spec": spec, "status": new})

    def unknown(self, name):
        """The silence was noticed: the node is Unknown, its pods are not ready."""
        now = clock.stamp()
        taints = [{"key": UNREACHABLE, "effect": "NoSchedule", "timeAdded": now},
                  {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": now}]
        self.set_ready(name, "Unknown", "NodeStatusUnknown", taints)
        for item in self.pods_of(name):
            status = special.set_condition(item.body["status"], {
                "type": "Ready", "status": "False", "reason": "NodeStatusUnknown"})
            self.world.store.replace("pods", item, {**item.body, "status": status})

    def expel(self, name):
        """The taint's time is over: the pods are deleted, and nobody there confirms it."""
        for item in self.pods_of(name):
            if item.body["metadata"].get("deletionTimestamp"):
                continue
            item = special.disrupt(self.world, item, "DeletionByTaintManager", "Taint manager:"
                                   " deleting due to NoExecute taint")
            objects.delete(self.world, self.world.registry.core("pods"), item)

    def changed(self, key, change):
        """Pods of a node whose object is gone are collected."""
        if key != "nodes" or change.kind != store.DELETED:
            return
        name = change.item.body["metadata"]["name"]
        for timer in self.lost.pop(name, ()):
            timer.cancel()
        for item in self.pods_of(name):
            item = special.disrupt(self.world, item, "DeletionByPodGC", "PodGC: node no longer"
                                   " exists")
            status = {**item.body["status"], "phase": "Failed"}
            item = self.world.store.replace("pods", item, {**item.body, "status": status})
            objects.delete(self.world, self.world.registry.core("pods"), item,
                           {"gracePeriodSeconds": 0})
