"""Events stand in one store and are served in two forms: core/v1 and events.k8s.io/v1."""

# core/v1 name -> events.k8s.io/v1 name
NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
BACK = {new: old for old, new in NAMES.items()}


def present(resource, body):
    """The stored (core/v1) form in that of a resource."""
    if not resource.group:
        return body
    renamed = {NAMES.get(name, name): value for name, value in body.items()}
    return {**renamed, "apiVersion": resource.api_version}


def accept(resource, body):
    """A body in the form of a resource as it is stored."""
    if resource.key != "events" or not resource.group:
        return body
    renamed = {BACK.get(name, name): value for name, value in body.items()}
    return {**renamed, "apiVersion": "v1"}
