"""POST, PUT, PATCH and DELETE on resources."""
from . import apply, errors, objects, patches, reads, selectors, store
from .http import Response

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
ORPHAN_WARNING = ("child pods are preserved by default when jobs are deleted; set"
                  " propagationPolicy=Background to remove them or set propagationPolicy=Orphan to"
                  " suppress this warning")


def answer(code, resource, item, headers=None):
    """An object as an answer."""
    return Response(code, item.json(resource) + b"\n", headers)


def dry(query):
    """True for dryRun=All; 400 for any other value."""
    value = query.get("dryRun")
    if value not in (None, "All"):
        raise errors.bad_request(f'Invalid value: "{value}": dryRun: Unsupported value:'
                                 f' "{value}": supported values: "All"')
    return value == "All"


def manager_of(request):
    """The field manager: as given, or the product of the User-Agent."""
    given = request.query.get("fieldManager")
    return given or request.headers.get("user-agent", "unknown").partition("/")[0] or "unknown"


def create(world, target, request):
    """POST of a new object."""
    if target.name:
        raise errors.method_not_allowed()
    body = patches.decode(request.body, target.resource.kind)
    item = objects.create(world, target.resource, target.namespace, body, manager_of(request),
                          dry(request.query))
    return answer(201, target.resource, item)


def update(world, target, request):
    """PUT of an object or its status."""
    resource = target.resource
    body = patches.decode(request.body, resource.kind)
    item = world.store.get(resource.key, target.namespace, target.name)
    if item is None and resource.key in objects.CREATE_ON_UPDATE and not target.subresource:
        body.get("metadata", {}).pop("resourceVersion", None)
        item = objects.create(world, resource, target.namespace, body, manager_of(request),
                              dry(request.query))
        return answer(201, resource, item)
    if item is None:
        raise errors.not_found(resource, target.name)
    version = (body.get("metadata") or {}).get("resourceVersion")
    if not version and (resource.custom or resource.key in objects.UNCONDITIONAL):
        fault = errors.cause("invalid", "metadata.resourceVersion", "must be specified for an"
                             " update", 0)
        raise errors.invalid(resource, target.name, [fault])
    item = objects.update(world, resource, item, body, target.subresource, manager_of(request),
                          dry(request.query))
    return answer(200, resource, item)


def kind_of_patch(request, resource):
    """The content type of a patch, or 415."""
    accepted = [JSON, MERGE, APPLY] + ([] if resource.custom else [STRATEGIC])
    given = request.headers.get("content-type", "").partition(";")[0].strip()
    if given not in accepted:
        raise errors.unsupported_media(accepted)
    return given


def patched(kind, resource, body, patch):
    """A stored body after a patch of one of the three kinds."""
    shown = store.present(resource, body)
    if kind == JSON:
        return patches.json_patch(shown, patch)
    if not isinstance(patch, dict):
        raise errors.bad_request("error decoding patch: a merge patch is an object")
    if kind == MERGE:
        return patches.merge(shown, patch)
    return patches.strategic(shown, patch)


def patch(world, target, request):
    """PATCH in any of its four kinds."""
    resource = target.resource
    kind = kind_of_patch(request, resource)
    document = patches.decode(request.body, "patch")
    if kind == APPLY:
        return server_side_apply(world, target, request, document)
    item = reads.find(world, target)
    body = patched(kind, resource, item.body, document)
    item = objects.update(world, resource, item, body, target.subresource, manager_of(request),
                          dry(request.query))
    return answer(200, resource, item)


def server_side_apply(world, target, request, document):
    """PATCH with apply: creates what is not there."""
    resource = target.resource
    manager = request.query.get("fieldManager")
    if not manager:
        fault = errors.cause("required", "fieldManager", "is required for apply patch")
        raise errors.ApiError(422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid:'
                              f" {fault['field']}: {fault['message']}",
                              {"group": "meta.k8s.io", "kind": "PatchOptions", "causes": [fault]})
    if (document.get("metadata") or {}).get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    metadata = document.setdefault("metadata", {})
    if metadata.setdefault("name", target.name) != target.name:
        raise errors.bad_request(f"the name of the object ({metadata['name']}) does not match the"
                                 f" name on the URL ({target.name})")
    item = world.store.get(resource.key, target.namespace, target.name)
    if item is None:
        if target.subresource:
            raise errors.not_found(resource, target.name)
        made = objects.create(world, resource, target.namespace, document, manager,
                              dry(request.query))
        made.owners = {manager: set(apply.leaves(document, (), resource.custom))}
        return answer(201, resource, made)
    objects.check_type(resource, document)
    version = metadata.get("resourceVersion")
    if version and version != item.body["metadata"]["resourceVersion"]:
        raise errors.conflict(resource, target.name)
    force = request.query.get("force") in ("1", "true")
    body, owners = apply.apply(item, document, manager, force, target.subresource)
    item = objects.update(world, resource, item, body, target.subresource, None,
                          dry(request.query), owners)
    return answer(200, resource, item)


def options_of(request):
    """DeleteOptions: from the body, and from the query where that has them."""
    options = patches.decode(request.body, "DeleteOptions") if request.body.strip() else {}
    if not isinstance(options, dict):
        raise errors.bad_request("DeleteOptions are an object")
    query = request.query
    if "propagationPolicy" in query:
        options["propagationPolicy"] = query["propagationPolicy"]
    if "orphanDependents" in query:
        options["orphanDependents"] = query["orphanDependents"] == "true"
    if "gracePeriodSeconds" in query:
        options["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
    return options


def delete(world, target, request):
    """DELETE of one object."""
    resource = target.resource
    options = options_of(request)
    dry_run = dry(request.query) or options.get("dryRun") == ["All"]
    item = reads.find(world, target)
    headers = {}
    if resource.key == "jobs.batch" and not options.keys() & {"propagationPolicy",
                                                              "orphanDependents"}:
        headers["Warning"] = f'299 - "{ORPHAN_WARNING}"'
    item, gone = objects.delete(world, resource, item, options, dry_run)
    if not gone or resource.key == "pods":
        return answer(200, resource, item, headers)
    metadata = item.body["metadata"]
    details = errors.details_of(resource, metadata["name"])
    details["uid"] = metadata["uid"]
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
              "details": details}
    return Response(200, store.encode(status) + b"\n", headers)


def delete_collection(world, target, request):
    """DELETE of all objects that selectors choose."""
    resource = target.resource
    options = options_of(request)
    selector = selectors.Selector(resource, request.query)
    dry_run = dry(request.query)
    entries = reads.entries_of(world, target, selector)
    for _, item in entries:
        objects.delete(world, resource, item, {**options, "preconditions": {}}, dry_run)
    metadata = {"resourceVersion": str(world.store.version)}
    return Response(200, reads.list_body(resource, metadata, [item for _, item in entries]))
