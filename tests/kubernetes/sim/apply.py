"""Server-side apply in a simple model: who owns which leaf of an object.

The owners of an item are {manager: set of paths}; a path is a tuple of field names and, inside the
lists that are merged by a key, of ("key", value) pairs.  All other lists are leaves.
"""
import copy

from . import errors, patches

IGNORED = {"kind", "apiVersion"}
IGNORED_METADATA = {"name", "namespace", "uid", "resourceVersion", "generation",
                    "creationTimestamp", "managedFields", "selfLink", "deletionTimestamp",
                    "deletionGracePeriodSeconds", "generateName"}


def list_key(name, value, custom):
    """The field that pairs the elements of a list, or None for a list that is one leaf."""
    if custom or not value or not all(isinstance(e, dict) for e in value):
        return None
    key = patches.merge_key(name, value, {})
    if key and len({e.get(key) for e in value}) == len(value):
        return key
    return None


def leaves(value, path=(), custom=False):
    """{path: value} of all leaves of an object."""
    found = {}
    for name, member in value.items():
        if (not path and name in IGNORED) or (path == ("metadata",) and name in IGNORED_METADATA):
            continue
        here = (*path, name)
        key = list_key(name, member, custom) if isinstance(member, list) else None
        if isinstance(member, dict) and member:
            found.update(leaves(member, here, custom))
        elif key:
            for element in member:
                found.update(leaves(element, (*here, (key, element.get(key))), custom))
        else:
            found[here] = member
    return found


def is_custom(body):
    """True for objects whose lists are all leaves here: those of named groups with a dot-domain."""
    group = body.get("apiVersion", "").partition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def created(manager, body):
    """The owners of a new object."""
    return {manager: body} if manager else None


def settled(owners, custom):
    """Owners with every body that stands for its leaves worked out."""
    return {m: set(leaves(o, (), custom)) if isinstance(o, dict) else o
            for m, o in (owners or {}).items()}


def updated(owners, manager, before, after, subresource=""):
    """The owners after an update by a manager: it owns what it changed."""
    if not manager:
        return owners
    custom = is_custom(after)
    old, new = leaves(before, (), custom), leaves(after, (), custom)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    gone = old.keys() - new.keys()
    result = {m: paths - changed - gone for m, paths in settled(owners, custom).items()}
    name = f"{manager}/{subresource}" if subresource else manager
    result[name] = result.get(name, set()) | changed
    return result


def place_text(path):
    """A path as messages write it: .spec.containers[name="a"].image"""
    return "".join(f'[{p[0]}="{p[1]}"]' if isinstance(p, tuple) else f".{p}" for p in path)


def conflicts(owners, mine, wanted, live, version):
    """The causes of a conflict: leaves of other managers that the applied object would change."""
    found = []
    for manager, paths in owners.items():
        if manager == mine:
            continue
        for path in sorted(paths & wanted.keys(), key=str):
            if path in live and live[path] != wanted[path]:
                found.append({"reason": "FieldManagerConflict", "field": place_text(path),
                              "message": f'conflict with "{manager}" using {version}'})
    return found


def refuse(causes):
    """The 409 of a conflict."""
    managers = sorted({c["message"] for c in causes})
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = []
        for text in managers:
            lines.append(text.replace("conflict", "conflicts", 1) + ":")
            lines += [f"- {c['field']}" for c in causes if c["message"] == text]
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return errors.ApiError(409, "Conflict", message, {"causes": causes})


def drop(body, path):
    """Removes a leaf from a body, and what became empty around it."""
    head, rest = path[0], path[1:]
    if isinstance(body, list):
        place = next((i for i, e in enumerate(body) if e.get(head[0]) == head[1]), None)
        if place is None:
            return
        if rest:
            drop(body[place], rest)
        if not rest or set(body[place]) <= {head[0]}:
            del body[place]
        return
    if head not in body:
        return
    if rest:
        drop(body[head], rest)
    if not rest or body[head] in ({}, []):
        del body[head]


def merge(live, applied, custom, name=""):
    """The live object with the applied one laid over it."""
    if isinstance(applied, dict) and isinstance(live, dict):
        result = dict(live)
        for key, value in applied.items():
            result[key] = merge(live.get(key), value, custom, key)
        return result
    key = list_key(name, applied, custom) if isinstance(applied, list) else None
    if key and isinstance(live, list):
        result = list(live)
        for element in applied:
            place = next((i for i, e in enumerate(result) if e.get(key) == element[key]), None)
            if place is None:
                result.append(element)
            else:
                result[place] = merge(result[place], element, custom)
        return result
    return applied


def apply(item, applied, manager, force, subresource=""):
    """(body, owners) after an apply to an object that is there; raises 409 on conflicts."""
    custom = is_custom(applied)
    owners = settled(item.owners, custom)
    mine = f"{manager}/{subresource}" if subresource else manager
    wanted = leaves(applied, (), custom)
    if subresource == "status":
        wanted = {path: value for path, value in wanted.items() if path[0] == "status"}
        applied = {k: v for k, v in applied.items() if k in ("kind", "apiVersion", "metadata",
                                                             "status")}
    live = leaves(item.body, (), custom)
    causes = conflicts(owners, mine, wanted, live, applied.get("apiVersion", ""))
    if causes and not force:
        raise refuse(causes)
    body = merge(item.body, applied, custom)
    dropped = owners.get(mine, set()) - wanted.keys()
    others = set().union(*(p for m, p in owners.items() if m != mine), set())
    if dropped - others:
        body = copy.deepcopy(body)
        for path in sorted(dropped - others, key=len, reverse=True):
            drop(body, path)
    if force:
        taken = {p for p in wanted if p in live and live[p] != wanted[p]}
        owners = {m: paths - taken for m, paths in owners.items()}
    owners[mine] = set(wanted)
    return body, owners
