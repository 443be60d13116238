"""Subresources that are no plain part of an object, and the reviews of what one may do."""
import functools

from . import clock, errors, objects, patches, reads, store
from .http import Response


def set_condition(status, condition):
    """A status with a condition set, the transition time kept where its status stays."""
    conditions = list(status.get("conditions") or ())
    place = next((i for i, c in enumerate(conditions) if c["type"] == condition["type"]), None)
    fresh = {"lastProbeTime": None, "lastTransitionTime": clock.stamp(), **condition}
    if place is None:
        conditions.append(fresh)
    else:
        if conditions[place]["status"] == condition["status"]:
            fresh["lastTransitionTime"] = conditions[place]["lastTransitionTime"]
        conditions[place] = fresh
    return {**status, "conditions": conditions}


def disrupt(world, item, reason, message):
    """Sets the DisruptionTarget condition, where the server's version has it."""
    if world.config.minor < 26:
        return item
    status = set_condition(item.body.get("status") or {}, {
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message})
    return world.store.replace("pods", item, {**item.body, "status": status})


def evict(world, target, request):
    """POST pods/NAME/eviction."""
    body = patches.decode(request.body, "Eviction")
    item = reads.find(world, target)
    options = body.get("deleteOptions") or {}
    objects.check_preconditions(target.resource, item, options)
    item = disrupt(world, item, "EvictionByEvictionAPI", "Eviction API: evicting")
    objects.delete(world, target.resource, item, {**options, "preconditions": {}})
    return success(201)


def success(code):
    """A Status that says that all went well."""
    return Response(code, b'{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success",'
                          b'"code":%d}\n' % code)


def bind(world, target, request):
    """POST pods/NAME/binding."""
    body = patches.decode(request.body, "Binding")
    item = reads.find(world, target)
    bind_pod(world, item, body["target"]["name"])
    return success(201)


def bind_pod(world, item, node):
    """Gives a pod its node; returns the new item."""
    if item.body["spec"].get("nodeName"):
        resource = world.registry.core("pods")
        name = item.body["metadata"]["name"]
        raise errors.conflict(resource, name, f'pod {name} is already assigned to node'
                              f' "{item.body["spec"]["nodeName"]}"')
    status = set_condition(item.body["status"], {"type": "PodScheduled", "status": "True"})
    body = {**item.body, "spec": {**item.body["spec"], "nodeName": node}, "status": status}
    return world.store.replace("pods", item, body)


def log(world, target, request):
    """GET pods/NAME/log: what the kubelet kept."""
    item = reads.find(world, target)
    kubelet = world.controllers.get("kubelet")
    text = kubelet.log_of(item, request.query.get("container")) if kubelet else None
    if text is None:
        names = [c["name"] for c in item.body["spec"]["containers"]]
        container = request.query.get("container") or names[0]
        raise errors.bad_request(f'container "{container}" in pod "{target.name}" is waiting to'
                                 " start: ContainerCreating")
    if "tailLines" in request.query:
        count = int(request.query["tailLines"])
        text = b"".join(text.splitlines(True)[-count:]) if count else b""
    if "limitBytes" in request.query:
        text = text[:int(request.query["limitBytes"])]
    return Response(200, text, kind="text/plain")


def token(world, target, request):
    """POST serviceaccounts/NAME/token."""
    body = patches.decode(request.body, "TokenRequest")
    reads.find(world, target)
    seconds = (body.get("spec") or {}).get("expirationSeconds") or 3600
    if seconds < 600:
        fault = errors.cause("invalid", "spec.expirationSeconds", "may not specify a duration less"
                             " than 10 minutes", seconds)
        raise errors.invalid(target.resource, target.name, [fault])
    text = world.access.account_token(target.namespace, target.name)
    body["status"] = {"token": text, "expirationTimestamp": clock.stamp(seconds)}
    return Response(201, store.encode(body))


def walk(body, path, value=None):
    """The value at .a.b.c of a body, or a copy of the body with that value set."""
    steps = [step for step in path.split(".") if step]
    if value is None:
        return functools.reduce(lambda b, s: b.get(s) if isinstance(b, dict) else None, steps,
                                body)
    if not steps:
        return value
    inner = body.get(steps[0]) or {}
    return {**body, steps[0]: walk(inner, ".".join(steps[1:]), value)}


def scale_of(resource, item):
    """An object's Scale."""
    spec, status, selector = resource.scale
    metadata = item.body["metadata"]
    kept = {k: metadata[k] for k in ("name", "namespace", "uid", "resourceVersion",
                                     "creationTimestamp") if k in metadata}
    scale = {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": kept,
             "spec": {"replicas": walk(item.body, spec) or 0},
             "status": {"replicas": walk(item.body, status) or 0}}
    if selector:
        scale["status"]["selector"] = walk(item.body, selector) or ""
    return scale


def scale(world, target, request):
    """GET, PUT and PATCH of NAME/scale."""
    resource = target.resource
    item = reads.find(world, target)
    now = scale_of(resource, item)
    if target.verb == "get":
        return Response(200, store.encode(now))
    given = patches.decode(request.body, "Scale")
    wanted = given if target.verb == "update" else patches.merge(now, given)
    version = (wanted.get("metadata") or {}).get("resourceVersion")
    if version and version != item.body["metadata"]["resourceVersion"]:
        raise errors.conflict(resource, target.name)
    replicas = (wanted.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or replicas < 0:
        fault = errors.cause("invalid", "spec.replicas", "must be greater than or equal to 0",
                             replicas)
        raise errors.invalid(resource, target.name, [fault])
    item = objects.update(world, resource, item, walk(item.body, resource.scale[0], replicas))
    return Response(200, store.encode(scale_of(resource, item)))


HANDLERS = {("pods", "eviction", "create"): evict, ("pods", "binding", "create"): bind,
            ("pods", "log", "get"): log, ("serviceaccounts", "token", "create"): token}


def handler_of(target):
    """The function of a subresource that is no plain part of an object, or None."""
    if target.subresource == "scale":
        return scale
    return HANDLERS.get((target.resource.plural, target.subresource, target.verb))


def review(world, user, body):
    """A SelfSubjectAccessReview with its answer."""
    wanted = (body.get("spec") or {}).get("resourceAttributes") or {}
    what = wanted.get("resource", "*")
    if wanted.get("subresource"):
        what += "/" + wanted["subresource"]
    attributes = (wanted.get("verb", "*"), wanted.get("group", ""), what, wanted.get("name", ""))
    allowed = world.access.allows(user, wanted.get("namespace", ""), attributes)
    return {**body, "status": {"allowed": allowed}}
