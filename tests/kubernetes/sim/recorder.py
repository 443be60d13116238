"""Events that the simulated controllers write."""
from . import clock, objects


def record(world, item, component, kind, reason, message):
    """Writes one core/v1 event about an object."""
    metadata = item.body["metadata"]
    namespace = metadata.get("namespace", "default")
    now = clock.stamp()
    event = {
        "kind": "Event", "apiVersion": "v1",
        "metadata": {"name": f"{metadata['name']}.{world.random.getrandbits(60):x}"},
        "involvedObject": {"kind": item.body["kind"], "apiVersion": item.body["apiVersion"],
                           "name": metadata["name"], "namespace": namespace,
                           "uid": metadata["uid"],
                           "resourceVersion": metadata["resourceVersion"]},
        "type": kind, "reason": reason, "message": message, "count": 1,
        "source": {"component": component}, "reportingComponent": component,
        "firstTimestamp": now, "lastTimestamp": now, "eventTime": None,
    }
    space = world.store.get("namespaces", "", namespace)
    if space and space.body["status"]["phase"] == "Active":
        objects.create(world, world.registry.core("events"), namespace, event)
