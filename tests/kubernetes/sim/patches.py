"""The three kinds of patch: merge, JSON, and the simple form of strategic merge."""
import copy
import json

from . import errors

# Lists of built-in objects whose elements a strategic merge pairs by a key.
MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name",
    "volumes": "name", "env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath",
    "imagePullSecrets": "name", "secrets": "name", "hostAliases": "ip", "conditions": "type",
    "ownerReferences": "uid", "podIPs": "ip", "addresses": "type", "taints": "key",
    "topologySpreadConstraints": "topologyKey", "resourceClaims": "name",
}
PRIMITIVE_SETS = {"finalizers"}


def merge(target, patch):
    """RFC 7386: null deletes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def pointer(path):
    """The steps of a JSON pointer."""
    if path and not path.startswith("/"):
        raise errors.bad_request(f"the pointer {path!r} does not start with a slash")
    return [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]


def failed(operation, why):
    """The refusal of one operation of a JSON patch."""
    text = f"{operation.get('op')} operation does not apply: doc is missing path:"
    return errors.ApiError(422, "Invalid", "the server rejected our request due to an error in our"
                           f" request: {text} {operation.get('path')}: {why}", {})


def step_into(place, step, operation):
    """The member of an object or list that a step names."""
    try:
        return place[int(step)] if isinstance(place, list) else place[step]
    except (KeyError, IndexError, ValueError, TypeError):
        raise failed(operation, "missing value") from None


def look(document, path, operation):
    """The value at a pointer."""
    for step in pointer(path):
        document = step_into(document, step, operation)
    return document


def put(document, path, value, operation, fresh):
    """Adds (fresh) or replaces the value at a pointer; returns the document."""
    steps = pointer(path)
    if not steps:
        return value
    place = document
    for step in steps[:-1]:
        place = step_into(place, step, operation)
    last = steps[-1]
    if isinstance(place, list) and fresh:
        place.insert(len(place) if last == "-" else int(last), value)
    elif isinstance(place, list):
        step_into(place, last, operation)
        place[int(last)] = value
    else:
        if not fresh:
            step_into(place, last, operation)
        place[last] = value
    return document


def take(document, path, operation):
    """Removes the value at a pointer and returns it."""
    steps = pointer(path)
    place = document
    for step in steps[:-1]:
        place = step_into(place, step, operation)
    value = step_into(place, steps[-1], operation)
    del place[int(steps[-1]) if isinstance(place, list) else steps[-1]]
    return value


def json_patch(target, operations):
    """RFC 6902; a test that fails refuses the whole patch."""
    if not isinstance(operations, list):
        raise errors.bad_request("error decoding patch: a JSON patch is a list")
    document = copy.deepcopy(target)
    for operation in operations:
        kind, path = operation.get("op"), operation.get("path", "")
        if kind == "test":
            if look(document, path, operation) != operation.get("value"):
                raise errors.ApiError(422, "Invalid", "the server rejected our request due to an"
                                      f" error in our request: testing value {path} failed: test"
                                      " failed", {})
        elif kind in ("add", "replace"):
            value = copy.deepcopy(operation.get("value"))
            document = put(document, path, value, operation, kind == "add")
        elif kind == "remove":
            take(document, path, operation)
        elif kind in ("move", "copy"):
            source = operation.get("from", "")
            value = take(document, source, operation) if kind == "move" else copy.deepcopy(
                look(document, source, operation))
            document = put(document, path, value, operation, True)
        else:
            raise errors.bad_request(f"unexpected kind: {kind}")
    return document


def merge_key(name, elements, parent):
    """The key that pairs the elements of a list, or None for a list that is replaced."""
    if name == "ports":
        return "containerPort" if "image" in parent or any(
            "containerPort" in e for e in elements if isinstance(e, dict)) else "port"
    return MERGE_KEYS.get(name)


def strategic(target, patch, name=""):
    """A strategic merge patch, with its directives for lists and objects."""
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        result = {key: value for key, value in result.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.split("/", 1)[1]
            result[field] = [v for v in result.get(field, ()) if v not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            result[key] = strategic_list(result.get(key) or [], value, key, result or patch)
        else:
            result[key] = strategic(result.get(key), value, key)
    return result


def strategic_list(target, patch, name, parent):
    """Merges a list by its key, or replaces it where it has none."""
    if name in PRIMITIVE_SETS:
        return target + [value for value in patch if value not in target]
    key = merge_key(name, target + patch, parent)
    if key is None or not all(isinstance(e, dict) for e in patch):
        return patch
    if any(e.get("$patch") == "replace" for e in patch):
        return [e for e in patch if "$patch" not in e]
    result = list(target)
    for element in patch:
        place = next((i for i, e in enumerate(result) if e.get(key) == element.get(key)), None)
        if element.get("$patch") == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(strategic({}, element, name))
        else:
            result[place] = strategic(result[place], element, name)
    return result


def decode(body, what="request"):
    """JSON as a Python value, or 400."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise errors.bad_request(f"the object provided is unrecognized (must be of type"
                                 f" {what}): {error}") from None
