"""Namespaces: those that a new server has, what each begins with, and how one ends."""
from . import objects, store, workqueue

FIRST = ("default", "kube-system", "kube-public", "kube-node-lease")


def begin(world):
    """Makes the first namespaces, and follows all from now on."""
    follower = Namespaces(world)
    world.store.listeners.append(follower.changed)
    for name in FIRST:
        make(world, name)


def make(world, name):
    """A new namespace."""
    body = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}
    return objects.create(world, world.registry.core("namespaces"), "", body)


class Namespaces:
    """The parts of the controller manager that care for namespaces."""

    def __init__(self, world):
        self.world = world
        self.ending = set()
        self.queue = workqueue.Queue(world, self.empty)

    def changed(self, key, change):
        """Furnishes a new namespace; goes on with one that ends as its objects leave."""
        metadata = change.item.body["metadata"]
        if key == "namespaces":
            if change.kind == store.ADDED:
                self.furnish(metadata["name"])
            elif change.kind == store.DELETED:
                self.ending.discard(metadata["name"])
            elif metadata.get("deletionTimestamp"):
                self.ending.add(metadata["name"])
                self.queue.add(metadata["name"])
        elif change.kind == store.DELETED and metadata.get("namespace") in self.ending:
            self.queue.add(metadata["namespace"])

    def furnish(self, name):
        """Each namespace has its default service account and the authority's certificate."""
        for plural, kind, body in (
                ("serviceaccounts", "ServiceAccount", {"metadata": {"name": "default"}}),
                ("configmaps", "ConfigMap", {"metadata": {"name": "kube-root-ca.crt"},
                                             "data": {"ca.crt": self.world.config.authority}})):
            resource = self.world.registry.core(plural)
            objects.create(self.world, resource, name, {"kind": kind, "apiVersion": "v1", **body})

    def empty(self, name):
        """Deletes what is left in an ending namespace, and then the namespace."""
        item = self.world.store.get("namespaces", "", name)
        if item is None or name not in self.ending:
            return
        left = False
        for resource in self.world.registry.stored():
            if not resource.namespaced:
                continue
            for inside in self.world.store.items(resource.key, name):
                if not inside.body["metadata"].get("deletionTimestamp"):
                    _, gone = objects.delete(self.world, resource, inside, {
                        "propagationPolicy": "Background"})
                    left = left or not gone
                else:
                    left = True
        if not left and self.world.store.get("namespaces", "", name):
            self.world.store.remove("namespaces", item)
