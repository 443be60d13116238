"""What a request is about: verb, resource, namespace, name, subresource, from method and path."""
from . import errors, selectors

METHODS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch",
           "DELETE": "delete"}
OF_NAMESPACE = ("status", "finalize")


class Target:
    """The parts of a request's path and its verb."""

    __slots__ = ("verb", "resource", "namespace", "name", "subresource", "meant")

    def __init__(self, verb, resource, namespace, name, subresource, meant=""):
        self.meant = name or meant  # the name that rules see: a selector may single one out
        self.verb = verb
        self.resource = resource
        self.namespace = namespace
        self.name = name
        self.subresource = subresource

    def fields(self):
        """What faults and the journal know of it."""
        return {"verb": self.verb, "resource": self.resource.plural,
                "group": self.resource.group, "namespace": self.namespace, "name": self.name,
                "subresource": self.subresource}


def split(parts):
    """(group, version, rest) of a path's parts, or None for no resource's path."""
    if parts[:1] == ["api"] and len(parts) >= 3:
        return "", parts[1], parts[2:]
    if parts[:1] == ["apis"] and len(parts) >= 4:
        return parts[1], parts[2], parts[3:]
    return None


def verb_of(request, name):
    """The API's verb: a GET or DELETE without a name speaks of many."""
    verb = METHODS.get(request.method)
    if verb is None:
        raise errors.method_not_allowed()
    if verb == "get" and request.query.get("watch") in ("1", "true"):
        return "watch"
    if not name:
        return {"get": "list", "delete": "deletecollection"}.get(verb, verb)
    return verb


def find(registry, request):
    """The target of a request; 404 for a path that no resource serves."""
    parts = [part for part in request.path.split("/") if part]
    place = split(parts)
    if place is None:
        raise errors.no_such_path()
    group, version, rest = place
    namespace = ""
    if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in OF_NAMESPACE:
        namespace, rest = rest[1], rest[2:]
    resource = registry.find(group, version, rest[0])
    rest = rest[1:] + ["", ""]
    name, subresource = rest[0], rest[1]
    if resource is None or len(rest) > 4:
        raise errors.no_such_path()
    if subresource and subresource not in resource.subresources:
        raise errors.no_such_path()
    if bool(namespace) != resource.namespaced and (name or namespace or request.method == "POST"):
        raise errors.no_such_path()
    fields = selectors.split(request.query.get("fieldSelector", ""))
    meant = [text.partition("=")[2].lstrip("=") for text in fields
             if text.startswith("metadata.name=")]
    return Target(verb_of(request, name), resource, namespace, name, subresource,
                  meant[0] if meant else "")
