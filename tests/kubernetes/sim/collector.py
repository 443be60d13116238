"""The garbage collector: dependents go when their owners are gone, in the order of the policy."""
from . import objects, store, workqueue

ORPHAN, FOREGROUND = objects.ORPHAN, objects.FOREGROUND


class Collector:
    """Follows all objects that own or are owned."""

    def __init__(self, world):
        self.world = world
        self.queue = workqueue.Queue(world, self.look)
        world.store.listeners.append(self.changed)

    def end(self):
        """Collects no more."""
        self.queue.end()

    def changed(self, key, change):
        """Wants a look at whatever a change may have set free."""
        metadata = change.item.body["metadata"]
        if change.kind == store.DELETED:
            for place in self.world.store.dependents.get(metadata["uid"], ()):
                self.queue.add(place)
            for owner in metadata.get("ownerReferences") or ():
                self.add_uid(owner["uid"])
            return
        if metadata.get("ownerReferences") or metadata.get("deletionTimestamp"):
            self.queue.add((key, *change.item.key))

    def add_uid(self, uid):
        """Wants a look at an object that is known by uid."""
        place = self.world.store.by_uid.get(uid)
        if place:
            self.queue.add(place)

    def look(self, place):
        """Does what is to be done about one object."""
        item = self.world.store.get(*place)
        if item is None:
            return
        finalizers = item.body["metadata"].get("finalizers") or ()
        if item.body["metadata"].get("deletionTimestamp"):
            if ORPHAN in finalizers:
                self.orphan(place[0], item)
            elif FOREGROUND in finalizers:
                self.foreground(place[0], item)
            return
        if item.body["metadata"].get("ownerReferences"):
            self.dependent(place[0], item)

    def resource_of(self, key):
        """The resource of a storage."""
        return next(r for r in self.world.registry.stored() if r.key == key)

    def owner_state(self, item, reference):
        """solid, waiting (for its dependents to go) or absent."""
        found = self.world.store.of_uid(reference.get("uid"))
        if found is None:
            return "absent"
        metadata = found[1].body["metadata"]
        inside = metadata.get("namespace", "")
        if metadata["name"] != reference["name"] or (
                inside and inside != item.body["metadata"].get("namespace", "")):
            return "absent"
        if metadata.get("deletionTimestamp") and FOREGROUND in metadata.get("finalizers", ()):
            return "waiting"
        return "solid"

    def dependent(self, key, item):
        """Deletes an object whose owners are gone, or drops the references to those that are."""
        references = item.body["metadata"]["ownerReferences"]
        states = [(r, self.owner_state(item, r)) for r in references]
        solid = [r for r, state in states if state == "solid"]
        if solid:
            if len(solid) < len(states):
                self.set_metadata(key, item, ownerReferences=solid)
            return
        waiting = any(state == "waiting" for _, state in states)
        has_own = bool(self.world.store.dependents.get(item.body["metadata"]["uid"]))
        policy = "Foreground" if waiting and has_own else "Background"
        objects.delete(self.world, self.resource_of(key), item, {"propagationPolicy": policy})

    def orphan(self, key, item):
        """Sets the dependents free, then the object."""
        uid = item.body["metadata"]["uid"]
        for inner_key, inner in self.world.store.owned_by(uid):
            kept = [r for r in inner.body["metadata"]["ownerReferences"] if r["uid"] != uid]
            self.set_metadata(inner_key, inner, ownerReferences=kept or None)
        self.finish(key, item, ORPHAN)

    def foreground(self, key, item):
        """Deletes the dependents; the object goes when none is left that blocks it."""
        uid = item.body["metadata"]["uid"]
        blocked = False
        for inner_key, inner in self.world.store.owned_by(uid):
            reference = next(r for r in inner.body["metadata"]["ownerReferences"]
                             if r["uid"] == uid)
            blocked = blocked or bool(reference.get("blockOwnerDeletion"))
            self.queue.add((inner_key, *inner.key))
        if not blocked:
            self.finish(key, item, FOREGROUND)

    def finish(self, key, item, finalizer):
        """Takes a finalizer of the collector away."""
        kept = [f for f in item.body["metadata"]["finalizers"] if f != finalizer]
        item = self.set_metadata(key, item, finalizers=kept or None)
        objects.end_if_free(self.world, self.resource_of(key), item)

    def set_metadata(self, key, item, **values):
        """Writes fields of an object's metadata; None takes a field away."""
        metadata = {**item.body["metadata"], **values}
        metadata = {k: v for k, v in metadata.items() if v is not None}
        return self.world.store.replace(key, item, {**item.body, "metadata": metadata})
