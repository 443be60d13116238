"""CustomResourceDefinitions at work: what they add is served, and their conditions say so."""
from . import clock, resources, store

KEY = "customresourcedefinitions.apiextensions.k8s.io"


class Definitions:
    """Follows the definitions in the store."""

    def __init__(self, world):
        self.world = world
        world.store.listeners.append(self.changed)

    def changed(self, key, change):
        """Serves what a new or changed definition adds, no longer what a deleted one added."""
        if key != KEY:
            return
        spec = change.item.body["spec"]
        plural = spec["names"]["plural"]
        self.world.registry.drop(spec["group"], plural)
        if change.kind == store.DELETED:
            storage = f"{plural}.{spec['group']}"
            for item in self.world.store.items(storage):
                self.world.store.remove(storage, item)
            return
        for resource in resources.from_definition(change.item.body,
                                                  self.world.config.minor):
            self.world.registry.add(resource)
        if not change.item.body.get("status"):
            self.establish(change.item)

    def establish(self, item):
        """Says that a definition is served."""
        names = item.body["spec"]["names"]
        now = clock.stamp()
        conditions = [{"type": kind, "status": "True", "reason": reason, "message": message,
                       "lastTransitionTime": now} for kind, reason, message in (
            ("NamesAccepted", "NoConflicts", "no conflicts found"),
            ("Established", "InitialNamesAccepted", "the initial names have been accepted"))]
        stored = [v["name"] for v in item.body["spec"].get("versions", ()) if v.get("storage")]
        body = {**item.body, "status": {"conditions": conditions, "acceptedNames": names,
                                        "storedVersions": stored}}
        self.world.store.replace(KEY, item, body)
