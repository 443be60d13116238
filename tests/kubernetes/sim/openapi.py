"""As much of /openapi/v3 as has kubectl leave the checking of fields to the server."""

PARAMETERS = [{"name": name, "in": "query", "schema": {"type": "string"}}
              for name in ("dryRun", "fieldManager", "fieldValidation")]


def prefix_of(resource):
    """api/v1 or apis/batch/v1"""
    return "api/v1" if not resource.group else f"apis/{resource.api_version}"


def operation(resource):
    """A write of a resource."""
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {"parameters": PARAMETERS, "x-kubernetes-group-version-kind": kind, "responses": {}}


def document(registry, path):
    """The document of a path, or None where there is none."""
    if not path.startswith("/openapi/v3"):
        return None
    wanted = path.removeprefix("/openapi/v3").strip("/")
    served = list(registry.served.values())
    if not wanted:
        prefixes = sorted({prefix_of(resource) for resource in served})
        return {"paths": {p: {"serverRelativeURL": f"/openapi/v3/{p}?hash=sim"}
                          for p in prefixes}}
    paths = {}
    for resource in served:
        if prefix_of(resource) != wanted:
            continue
        middle = "namespaces/{namespace}/" if resource.namespaced else ""
        here = f"/{wanted}/{middle}{resource.plural}"
        paths[here] = {"post": operation(resource)}
        paths[here + "/{name}"] = {"patch": operation(resource), "put": operation(resource)}
    return {"openapi": "3.0.0", "info": {"title": "sim", "version": "1"}, "paths": paths}
