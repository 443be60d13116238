"""Creation, change and deletion of objects, by requests and by controllers alike."""
import copy

from . import apply, clock, defaults, errors, events, immutable, names, quota, rules, schema
from . import shapes, store, validation

SYSTEM_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                 "generation", "selfLink", "managedFields", "resourceVersion")
UNCONDITIONAL = {"leases.coordination.k8s.io"}  # besides custom ones, these need a version in PUT
CREATE_ON_UPDATE = {"leases.coordination.k8s.io", "events"}
ORPHAN, FOREGROUND = "orphan", "foregroundDeletion"


def check_type(resource, body):
    """400 unless a body is an object of the resource's kind."""
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict):
        raise errors.bad_request("the object provided is unrecognized (must be of type"
                                 f" {resource.kind})")
    given = body.setdefault("apiVersion", resource.api_version)
    if given != resource.api_version:
        raise errors.bad_request(f"the API version in the data ({given}) does not match the"
                                 f" expected API version ({resource.api_version})")
    kind = body.setdefault("kind", resource.kind)
    if kind != resource.kind:
        raise errors.bad_request(f'{kind} in version "{resource.version}" cannot be handled as a'
                                 f" {resource.kind}: converting (v1.{kind}) to"
                                 f" (v1.{resource.kind}): unknown conversion")
    shapes.check(resource, body)


def set_namespace(resource, namespace, metadata):
    """Puts the namespace of the path in place, or refuses another one."""
    if not resource.namespaced:
        metadata.pop("namespace", None)
        return
    if metadata.setdefault("namespace", namespace) != namespace:
        raise errors.bad_request("the namespace of the provided object does not match the"
                                 " namespace sent on the request")


def check_namespace(world, resource, namespace, name):
    """404 for a namespace that is not there, 403 for one that ends."""
    if not resource.namespaced:
        return
    item = world.store.get("namespaces", "", namespace)
    if item is None:
        raise errors.not_found(world.registry.core("namespaces"), namespace)
    if item.body["status"]["phase"] == "Terminating":
        raise errors.forbidden(resource, name, f"unable to create new content in namespace"
                               f" {namespace} because it is being terminated")


def new_body(world, resource, namespace, body):
    """A request's body as a new object: named, stamped, filled in and valid."""
    body = events.accept(resource, body)
    metadata = body.get("metadata") or {}
    if metadata.get("resourceVersion"):
        raise errors.ApiError(500, "InternalError", "resourceVersion should not be set on objects"
                              " to be created")
    metadata = {k: v for k, v in metadata.items() if k not in SYSTEM_FIELDS}
    body = {"kind": body["kind"], "apiVersion": body["apiVersion"], "metadata": metadata, **body}
    body["metadata"] = metadata
    set_namespace(resource, namespace, metadata)
    if not metadata.get("name") and metadata.get("generateName"):
        made = names.generate(world.random, metadata["generateName"], lambda name: world.store.get(
            resource.key, metadata.get("namespace", ""), name))
        metadata["name"] = made or metadata["generateName"]
    metadata["uid"] = world.uid()
    metadata["creationTimestamp"] = clock.stamp()
    if resource.generation:
        metadata["generation"] = 1
    if resource.has_status and resource.key != "nodes":
        body.pop("status", None)
    return body


def create(world, resource, namespace, body, manager=None, dry_run=False):
    """Stores a new object; returns its item."""
    check_type(resource, body)
    body = new_body(world, resource, namespace, body)
    name = body["metadata"].get("name", "")
    if name:
        check_namespace(world, resource, namespace, name)
        schema.fill(resource, body)
        defaults.apply(world, resource, body)
    causes = validation.of_new(resource, body) + schema.causes(resource, body)
    causes += rules.definition_causes(world, resource, body)
    causes += rules.causes(world, resource, body, None, causes)
    if causes:
        raise errors.invalid(resource, name, causes)
    if world.store.get(resource.key, body["metadata"].get("namespace", ""), name):
        raise errors.already_exists(resource, name)
    quota.admit(world, resource, body)
    owners = apply.created(manager, body)
    if dry_run:
        return store.Item(body, 0, owners)
    item = world.store.add(resource.key, body, owners)
    return item


def keep_system_fields(resource, before, after, subresource):
    """What no update changes: identity, and the part that belongs to the other path."""
    old = before["metadata"]
    metadata = dict(after.get("metadata") or {})
    for name in SYSTEM_FIELDS:
        metadata.pop(name, None)
        if name in old:
            metadata[name] = old[name]
    for name in ("name", "namespace", "generateName"):
        if name in old:
            metadata[name] = old[name]
    body = {**after, "metadata": metadata, "kind": before["kind"],
            "apiVersion": before["apiVersion"]}
    if subresource == "status":
        kept = {k: v for k, v in before.items() if k != "status"}
        if not resource.custom:
            kept["metadata"] = {**metadata, "ownerReferences": old.get("ownerReferences"),
                                "finalizers": old.get("finalizers")}
            kept["metadata"] = {k: v for k, v in kept["metadata"].items() if v is not None}
        if "status" in after:
            kept["status"] = after["status"]
        return kept
    if resource.has_status:
        body.pop("status", None)
        if "status" in before:
            body["status"] = before["status"]
    return body


def content_changed(before, after):
    """True when something beside metadata and status differs: a new generation."""
    return any(before.get(k) != after.get(k) for k in before.keys() | after.keys()
               if k not in ("metadata", "status"))


def check_target(resource, item, body):
    """Refuses a body that names another object, another life or an older version."""
    given = body.get("metadata") or {}
    old = item.body["metadata"]
    if given.get("name", old["name"]) != old["name"]:
        raise errors.bad_request(f"the name of the object ({given['name']}) does not match the"
                                 f" name on the URL ({old['name']})")
    if given.get("namespace", old.get("namespace")) != old.get("namespace"):
        raise errors.bad_request("the namespace of the provided object does not match the"
                                 " namespace sent on the request")
    if given.get("uid", old["uid"]) != old["uid"]:
        raise errors.conflict(resource, old["name"], f"Precondition failed: UID in precondition:"
                              f" {given['uid']}, UID in object meta: {old['uid']}")
    version = given.get("resourceVersion")
    if version and version != old["resourceVersion"]:
        raise errors.conflict(resource, old["name"])


def update(world, resource, item, body, subresource="", manager=None, dry_run=False,
           applied=None):
    """Stores a new version of an object; returns its item, the last one where it ended it.

    A body under metadata.resourceVersion must be of that version.  `applied` has the owners that
    a server-side apply worked out.
    """
    check_type(resource, body)
    body = events.accept(resource, body)
    check_target(resource, item, body)
    before = item.body
    after = keep_system_fields(resource, before, body, subresource)
    if resource.key == "secrets":
        defaults.secret(world, after)
    if resource.generation and not subresource and content_changed(before, after):
        after["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
    if resource.schema:
        after = copy.deepcopy(after)  # it may share parts with the stored body
        schema.fill(resource, after)
    causes = names.of_metadata(resource, after["metadata"]) + schema.causes(resource, after)
    if not subresource:
        causes += immutable.causes(resource, before, after)
        causes += rules.definition_causes(world, resource, after)
        if resource.key != "events":
            causes += validation.of_body(resource, after)
    causes += rules.causes(world, resource, after, before, causes)
    if causes:
        raise errors.invalid(resource, before["metadata"]["name"], causes)
    owners = applied if applied is not None else apply.updated(
        item.owners, manager, before, after, subresource)
    if dry_run:
        return store.Item(after, item.version, owners)
    item = world.store.replace(resource.key, item, after, owners)
    return end_if_free(world, resource, item)


def end_if_free(world, resource, item):
    """Removes an object that was only waiting for its finalizers."""
    metadata = item.body["metadata"]
    if (metadata.get("deletionTimestamp") and not metadata.get("finalizers")
            and not metadata.get("deletionGracePeriodSeconds")):
        return world.store.remove(resource.key, item)
    return item


def check_preconditions(resource, item, options):
    """409 unless the object is the one that the deletion means."""
    wanted = options.get("preconditions") or {}
    metadata = item.body["metadata"]
    for name, what in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if wanted.get(name) and wanted[name] != metadata[name]:
            raise errors.conflict(resource, metadata["name"], f"Precondition failed: {what} in"
                                  f" precondition: {wanted[name]}, {what} in object meta:"
                                  f" {metadata[name]}")


def propagation_of(resource, options):
    """The policy of a deletion; Jobs leave their pods alone unless told otherwise."""
    policy = options.get("propagationPolicy")
    if policy is None and "orphanDependents" in options:
        policy = "Orphan" if options["orphanDependents"] else "Background"
    if policy not in (None, "Orphan", "Background", "Foreground"):
        raise errors.bad_request(f"invalid propagationPolicy {policy}")
    return policy or ("Orphan" if resource.key == "jobs.batch" else "Background")


def grace_of(resource, item, options):
    """The seconds that a deletion leaves; None for an object without grace."""
    if resource.key != "pods":
        return None
    spec, status = item.body["spec"], item.body.get("status") or {}
    given = options.get("gracePeriodSeconds")
    grace = spec.get("terminationGracePeriodSeconds", 30) if given is None else max(0, given)
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        grace = 0
    return grace


def finalizers_for(metadata, policy):
    """The finalizers of an object that is being deleted under a policy."""
    kept = [f for f in metadata.get("finalizers") or () if f not in (ORPHAN, FOREGROUND)]
    added = {"Orphan": [ORPHAN], "Foreground": [FOREGROUND]}.get(policy, [])
    return kept + added


def delete(world, resource, item, options=None, dry_run=False):
    """Deletes an object, or marks it; returns (item, True when it is gone)."""
    options = options or {}
    check_preconditions(resource, item, options)
    policy = propagation_of(resource, options)
    old = item.body["metadata"]
    if policy == "Orphan" and not world.store.dependents.get(old["uid"]):
        policy = "Background"
    grace = grace_of(resource, item, options)
    if resource.key == "namespaces":
        return mark_namespace(world, resource, item, dry_run)
    finalizers = finalizers_for(old, policy)
    if not finalizers and not grace:
        if not dry_run:
            item = world.store.remove(resource.key, item)
        return item, True
    metadata = copy.copy(old)
    if finalizers:
        metadata["finalizers"] = finalizers
    if not old.get("deletionTimestamp"):
        metadata["deletionTimestamp"] = clock.stamp(grace or 0)
        metadata["deletionGracePeriodSeconds"] = grace or 0
        if resource.generation:
            metadata["generation"] = old.get("generation", 0) + 1
    elif grace is not None and grace < old.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = clock.stamp(grace)
        metadata["deletionGracePeriodSeconds"] = grace
    if dry_run:
        return item, False
    return world.store.replace(resource.key, item, {**item.body, "metadata": metadata}), False


def mark_namespace(world, resource, item, dry_run):
    """A namespace ends when all that is in it has ended (the namespace controller)."""
    if item.body["metadata"].get("deletionTimestamp") or dry_run:
        return item, False
    metadata = {**item.body["metadata"], "deletionTimestamp": clock.stamp()}
    body = {**item.body, "metadata": metadata, "status": {"phase": "Terminating"}}
    return world.store.replace(resource.key, item, body), False
