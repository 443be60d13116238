"""Control calls on objects that work whether or not a kubelet runs."""
from . import errors, patches, special


class ObjectCalls:
    """Writes past the API, as a controller of the cluster would."""

    def __init__(self, world):
        self.world = world

    def end(self):
        """Has nothing to stop."""

    def call_pod_status(self, given):
        """Lays `status` over a pod's status (a merge patch)."""
        namespace, name = given.get("namespace", "default"), given["name"]
        item = self.world.store.get("pods", namespace, name)
        if item is None:
            raise errors.not_found(self.world.registry.core("pods"), name)
        status = patches.merge(item.body.get("status") or {}, given["status"])
        self.world.store.replace("pods", item, {**item.body, "status": status})

    def call_pod_condition(self, given):
        """Sets one condition of a pod: `name`, `condition`."""
        namespace, name = given.get("namespace", "default"), given["name"]
        item = self.world.store.get("pods", namespace, name)
        if item is None:
            raise errors.not_found(self.world.registry.core("pods"), name)
        status = special.set_condition(item.body.get("status") or {}, given["condition"])
        self.world.store.replace("pods", item, {**item.body, "status": status})

    def call_remove(self, given):
        """Takes an object out of the store at once: `key` of its storage, `namespace`, `name`."""
        item = self.world.store.get(given["key"], given.get("namespace", ""), given["name"])
        if item:
            self.world.store.remove(given["key"], item)
